/* cairn_options.max_bytes: what is full is refused as a whole, and what makes room goes through. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void limit_to(sim_box *b, uint64_t max_bytes) {
    b->options.max_bytes = max_bytes;
    sim_box_reopen(b);
}

static uint64_t live_of(const sim_box *b) { return stats_of(b->store).live_bytes; }

static int put(const sim_box *b, const char *key, size_t size) {
    return cairn_put(b->store, key, strlen(key), random_pool(), size, NULL, NULL);
}

static void expect_full(const sim_box *b, const char *key, size_t size) {
    cairn_error error = {0};
    cairn_stats before = stats_of(b->store), after;
    assert_int_equal(cairn_put(b->store, key, strlen(key), random_pool(), size, NULL, &error), CAIRN_FULL);
    assert_non_null(strstr(error.message, "quota"));
    after = stats_of(b->store);
    assert_int_equal(after.keys, before.keys);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.dead_bytes, before.dead_bytes);
    assert_int_equal(after.segments, before.segments);
}

static const size_t sizes[] = {1, 3000, 100000, SIM_BOX_PAYLOAD_MAX + 1};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void a_put_fits_up_to_the_very_bound_and_not_a_unit_beyond(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < SIZES; i++) {
        limit_to(b, 0);
        assert_int_equal(put(b, "k", sizes[i]), CAIRN_OK);
        uint64_t needed = entry_of(b->store, "k").stored_size;
        delete_text(b->store, "k");
        limit_to(b, live_of(b) + needed - 1);
        expect_full(b, "k", sizes[i]);
        expect_absent(b->store, "k");
        limit_to(b, live_of(b) + needed);
        assert_int_equal(put(b, "k", sizes[i]), CAIRN_OK);
        assert_int_equal(live_of(b), b->options.max_bytes);
        expect_full(b, "another", 1);
        assert_int_equal(put(b, "k", sizes[i]), CAIRN_OK); /* over itself, as large */
        delete_text(b->store, "k");
        for (int again = 0; again < 3; again++) { /* what was deleted is room */
            assert_int_equal(put(b, "k", sizes[i]), CAIRN_OK);
            delete_text(b->store, "k");
        }
        sim_box_kill(b);
        assert_int_equal(put(b, "k", sizes[i]), CAIRN_OK);
        expect_full(b, "another", 1);
        delete_text(b->store, "k");
    }
}

static void what_gets_smaller_goes_through_above_the_quota(void **state) {
    sim_box *b = *state;
    assert_int_equal(put(b, "large", 200000), CAIRN_OK);
    assert_int_equal(put(b, "file", 600000), CAIRN_OK);
    assert_int_equal(put(b, "small", 1000), CAIRN_OK);
    limit_to(b, 5000);
    expect_everywhere(b->store, "file", random_pool(), 600000);
    expect_full(b, "large", 200001 + 4096);
    assert_int_equal(put(b, "large", 150000), CAIRN_OK);
    assert_int_equal(put(b, "file", 300000), CAIRN_OK);
    assert_int_equal(put(b, "file", 200000), CAIRN_OK);
    expect_full(b, "new", 1);
    cairn_batch *batch; /* smaller as a whole */
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_delete(batch, "large", 5), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "new", 3, "n", 1), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    assert_true(live_of(b) > b->options.max_bytes);
    assert_int_equal(cairn_delete(b->store, "file", 4, NULL, NULL), CAIRN_OK);
    assert_true(live_of(b) < b->options.max_bytes);
    assert_int_equal(put(b, "more", 1000), CAIRN_OK);
    expect_text(b->store, "new", "n");
}

static void a_batch_over_the_quota_changes_nothing(void **state) {
    sim_box *b = *state;
    assert_int_equal(put(b, "old", 1000), CAIRN_OK);
    limit_to(b, live_of(b) + 400000);
    for (int files = 0; files < 2; files++) {
        cairn_batch *batch;
        cairn_stats before = stats_of(b->store);
        size_t size = files ? 300000 : 100000;
        assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
        assert_int_equal(cairn_batch_put(batch, "old", 3, "changed", 7), CAIRN_OK);
        for (unsigned i = 0; i < 5; i++) {
            char key[8];
            (void)snprintf(key, sizeof key, "k%u", i);
            assert_int_equal(cairn_batch_put(batch, key, 2, random_pool(), size), CAIRN_OK);
        }
        for (int times = 0; times < 3; times++) {
            assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_FULL);
            assert_int_equal(stats_of(b->store).keys, 1);
            assert_int_equal(live_of(b), before.live_bytes);
            assert_int_equal(stats_of(b->store).streams, 0);
        }
        cairn_batch_free(batch);
        expect_get(b->store, "old", 3, random_pool(), 1000);
        assert_int_equal(put(b, "k", 380000), CAIRN_OK); /* all the room is still there */
        delete_text(b->store, "k");
        sim_box_kill(b);
        expect_get(b->store, "old", 3, random_pool(), 1000);
        assert_int_equal(stats_of(b->store).keys, 1);
    }
}

static void a_stream_over_the_quota_fails_and_leaves_nothing(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "before", 6);
    limit_to(b, live_of(b) + 500000);
    const size_t pieces[] = {2000, 200000, 7};
    for (int i = 0; i < 3; i++) {
        cairn_writer *w;
        int rc = CAIRN_OK;
        assert_int_equal(cairn_writer_open(b->store, "k", 1, NULL, &w, NULL), CAIRN_OK);
        for (size_t done = 0; done < 600000 && rc == CAIRN_OK; done += pieces[i])
            rc = cairn_writer_write(w, random_pool(), pieces[i], NULL);
        assert_true(rc == CAIRN_OK || rc == CAIRN_FULL);
        assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_FULL);
        expect_text(b->store, "k", "before");
        assert_int_equal(sim_box_files(b, ".val"), 0);
        assert_int_equal(put(b, "other", 400000), CAIRN_OK);
        assert_int_equal(cairn_delete(b->store, "other", 5, NULL, NULL), CAIRN_OK);
        sim_box_reopen(b);
    }
}

static void expired_keys_make_room_by_themselves(void **state) {
    sim_box *b = *state;
    limit_to(b, 700000);
    for (int round = 0; round < 4; round++) {
        put_for(b->store, "file", random_pool(), 400000, 100);
        put_for(b->store, "value", random_pool(), 200000, 100);
        expect_full(b, "new", 300000);
        sim_clock_advance(b->disk, 100);
        if (round == 0) {
            assert_int_equal(put(b, "new", 600000), CAIRN_OK);
        } else if (round == 1) {
            cairn_batch *batch;
            assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
            assert_int_equal(cairn_batch_put(batch, "new", 3, random_pool(), 250000), CAIRN_OK);
            assert_int_equal(cairn_batch_put(batch, "other", 5, random_pool(), 300000), CAIRN_OK);
            assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
            cairn_batch_free(batch);
        } else {
            cairn_writer *w;
            assert_int_equal(cairn_writer_open(b->store, "new", 3, NULL, &w, NULL), CAIRN_OK);
            assert_int_equal(cairn_writer_write(w, random_pool(), 600000, NULL), CAIRN_OK);
            assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
        }
        if (round == 2) sim_box_kill(b);
        delete_text(b->store, "new");
        delete_text(b->store, "other");
        assert_int_equal(live_of(b), 0);
    }
}

/* A failing append gives its room back. */
static void a_put_that_fails_takes_no_room(void **state) {
    sim_box *b = *state;
    limit_to(b, 300000);
    for (int i = 0; i < 20; i++) {
        sim_fault fault = {.kinds = SIM_WRITE, .error = -5, .sticky = true};
        sim_fault_set(b->disk, &fault);
        assert_int_equal(put(b, "k", i % 2 == 0 ? 200000 : SIM_BOX_PAYLOAD_MAX + 10), CAIRN_IO);
        sim_fault_set(b->disk, NULL);
    }
    assert_int_equal(put(b, "k", SIM_BOX_PAYLOAD_MAX + 10), CAIRN_OK);
    expect_full(b, "l", 100000);
}

static void a_value_that_shrinks_by_compression_counts_as_it_is_stored(void **state) {
    sim_box *b = *state;
    static char text[900000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "what is said again and again "[i % 29];
    limit_to(b, 100000);
    assert_int_equal(cairn_put(b->store, "k", 1, text, 200000, NULL, NULL), CAIRN_FULL);
    assert_int_equal(cairn_put(b->store, "k", 1, text, sizeof text, NULL, NULL), CAIRN_FULL);
    b->options.compression = CAIRN_COMPRESSION_ZSTD;
    sim_box_reopen(b);
    assert_int_equal(cairn_put(b->store, "k", 1, text, 200000, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_put(b->store, "l", 1, text, sizeof text, NULL, NULL), CAIRN_OK);
    assert_int_equal(live_of(b), entry_of(b->store, "k").stored_size + entry_of(b->store, "l").stored_size);
    expect_everywhere(b->store, "l", text, sizeof text);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_put_fits_up_to_the_very_bound_and_not_a_unit_beyond),
        TEST(what_gets_smaller_goes_through_above_the_quota),
        TEST(a_batch_over_the_quota_changes_nothing),
        TEST(a_stream_over_the_quota_fails_and_leaves_nothing),
        TEST(expired_keys_make_room_by_themselves),
        TEST(a_put_that_fails_takes_no_room),
        TEST(a_value_that_shrinks_by_compression_counts_as_it_is_stored),
    };
    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}

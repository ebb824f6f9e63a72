/* Times to live, under a clock that the test moves: from its expiry on a key is absent everywhere at once, and the
 * figures say so. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BEGINNING 1000000000000u /* of the simulated clock */

static void later(sim_box *b, uint64_t ms) { sim_clock_advance(b->disk, ms); }

/* ---- Absent everywhere at once ---- */

static const size_t sizes[] = {0, 1, 5000, 70000, SIM_BOX_PAYLOAD_MAX + 5};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void a_key_is_there_until_its_expiry_and_absent_from_then_on(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < SIZES; i++) {
        uint64_t now = BEGINNING + i * 1000;
        put_for(b->store, "k", random_pool(), sizes[i], 1000);
        assert_int_equal(entry_of(b->store, "k").expires_at_ms, now + 1000);
        later(b, 999);
        expect_everywhere(b->store, "k", random_pool(), sizes[i]);
        later(b, 1);
        expect_absent(b->store, "k");
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void a_time_to_live_of_every_size_counts(void **state) {
    sim_box *b = *state;
    put_for(b->store, "none", "n", 1, 0);
    put_for(b->store, "one", "o", 1, 1);
    put_for(b->store, "most", "m", 1, UINT64_MAX);
    put_for(b->store, "last", "l", 1, UINT64_MAX - BEGINNING);
    assert_int_equal(entry_of(b->store, "none").expires_at_ms, 0);
    assert_int_equal(entry_of(b->store, "one").expires_at_ms, BEGINNING + 1);
    assert_int_equal(entry_of(b->store, "most").expires_at_ms, UINT64_MAX); /* it does not wrap */
    assert_int_equal(entry_of(b->store, "last").expires_at_ms, UINT64_MAX);
    later(b, (uint64_t)1 << 60);
    for (int way = 0; way < 3; way++) {
        expect_absent(b->store, "one");
        expect_text(b->store, "none", "n");
        expect_text(b->store, "most", "m");
        expect_text(b->store, "last", "l");
        if (way == 0) sim_box_kill(b);
        if (way == 1) sim_box_rebuild(b);
    }
}

static void an_expired_key_counts_as_absent_for_conditions_and_deletes(void **state) {
    sim_box *b = *state;
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true};
    put_for(b->store, "k", "v", 1, 10);
    uint64_t version = version_of(b->store, "k");
    assert_int_equal(cairn_put(b->store, "k", 1, "w", 1, &o, NULL), CAIRN_EXISTS);
    later(b, 10);
    cairn_put_options same = {.struct_size = sizeof same, .if_version = version};
    assert_int_equal(cairn_put(b->store, "k", 1, "w", 1, &same, NULL), CAIRN_EXISTS);
    assert_int_equal(cairn_delete(b->store, "k", 1, &same, NULL), CAIRN_EXISTS);
    assert_int_equal(cairn_delete(b->store, "k", 1, NULL, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_put(b->store, "k", 1, "w", 1, &o, NULL), CAIRN_OK);
    assert_true(version_of(b->store, "k") > version);
    later(b, 1000);
    expect_text(b->store, "k", "w");
    /* A writer's condition is judged at commit. */
    cairn_writer *w;
    put_for(b->store, "s", "v", 1, 10);
    assert_int_equal(cairn_writer_open(b->store, "s", 1, &o, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, "stream", 6, NULL), CAIRN_OK);
    later(b, 10);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    expect_text(b->store, "s", "stream");
}

static void an_overwrite_begins_a_new_life(void **state) {
    sim_box *b = *state;
    put_for(b->store, "longer", "1", 1, 10);
    put_for(b->store, "longer", "2", 1, 1000);
    put_for(b->store, "for ever", "1", 1, 10);
    put_for(b->store, "for ever", "2", 1, 0);
    put_for(b->store, "shorter", "1", 1, 0);
    put_for(b->store, "shorter", "2", 1, 20);
    put_for(b->store, "away", "1", 1, 10);
    delete_text(b->store, "away");
    assert_int_equal(stats_of(b->store).expiring_keys, 2);
    later(b, 15);
    for (int way = 0; way < 4; way++) {
        expect_text(b->store, "longer", "2");
        expect_text(b->store, "for ever", "2");
        expect_text(b->store, "shorter", "2");
        expect_absent(b->store, "away");
        assert_int_equal(stats_of(b->store).keys, 3);
        assert_int_equal(stats_of(b->store).expiring_keys, 2);
        if (way == 0) sim_box_kill(b);
        if (way == 1) sim_box_reopen(b);
        if (way == 2) sim_box_rebuild(b);
    }
    later(b, 5);
    expect_absent(b->store, "shorter");
    later(b, 980);
    expect_absent(b->store, "longer");
    expect_text(b->store, "for ever", "2");
    assert_int_equal(stats_of(b->store).expiring_keys, 0);
}

/* The older version does not come back when the newer one expires, however the index is made. */
static void what_an_expired_value_replaced_does_not_come_back(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "for ever", 8);
    put_for(b->store, "k", "short", 5, 10);
    later(b, 10);
    for (int way = 0; way < 5; way++) {
        expect_absent(b->store, "k");
        assert_int_equal(keys_by_scan(b->store, NULL), 0);
        if (way == 0) sim_box_kill(b);
        if (way == 1) sim_box_reopen(b);
        if (way == 2) sim_box_rebuild(b);
        if (way == 3) sim_box_reopen_read_only(b);
    }
}

static void a_batch_gives_every_put_its_time_to_live(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    put_text(b->store, "away", "a", 1);
    put_text(b->store, "large", "l", 1);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "small", 5, "s", 1), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "large", 5, random_pool(), 300000), CAIRN_OK);
    assert_int_equal(cairn_batch_delete(batch, "away", 4), CAIRN_OK);
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = 100};
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_OK);
    for (int way = 0; way < 2; way++) {
        assert_int_equal(entry_of(b->store, "small").expires_at_ms, BEGINNING + 100);
        assert_int_equal(entry_of(b->store, "large").expires_at_ms, BEGINNING + 100);
        assert_int_equal(stats_of(b->store).expiring_keys, 2);
        if (way == 0) sim_box_kill(b);
    }
    later(b, 100);
    expect_absent(b->store, "small");
    expect_absent(b->store, "large");
    expect_absent(b->store, "away");
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    later(b, 1000);
    expect_text(b->store, "small", "s");
}

static void a_stream_lives_from_its_commit_on(void **state) {
    sim_box *b = *state;
    const size_t streamed[] = {10, 700000};
    for (int i = 0; i < 2; i++) {
        cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = 50};
        cairn_writer *w;
        assert_int_equal(cairn_writer_open(b->store, "s", 1, &o, &w, NULL), CAIRN_OK);
        assert_int_equal(cairn_writer_write(w, random_pool(), streamed[i], NULL), CAIRN_OK);
        later(b, 1000);
        assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
        later(b, 49);
        expect_everywhere(b->store, "s", random_pool(), streamed[i]);
        later(b, 1);
        expect_absent(b->store, "s");
    }
}

static void what_is_open_goes_on_over_the_expiry(void **state) {
    sim_box *b = *state;
    for (unsigned i = 1; i < SIZES; i++) {
        size_t size = sizes[i], got;
        uint8_t *buf = malloc(size);
        cairn_reader *reader;
        cairn_view *view;
        cairn_snapshot *snapshot;
        cairn_scan *scan;
        const void *listed;
        put_for(b->store, "k", random_pool(), size, 10);
        assert_int_equal(cairn_reader_open(b->store, "k", 1, &reader, NULL), CAIRN_OK);
        assert_int_equal(cairn_view_open(b->store, "k", 1, &view, NULL), CAIRN_OK);
        assert_int_equal(cairn_snapshot_open(b->store, &snapshot, NULL), CAIRN_OK);
        assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
        later(b, 10);
        expect_absent(b->store, "k");
        assert_int_equal(stats_of(b->store).keys, 0);
        assert_int_equal(cairn_reader_pread(reader, buf, size, 0, &got, NULL), CAIRN_OK);
        assert_int_equal(got, size);
        assert_memory_equal(buf, random_pool(), size);
        assert_memory_equal(cairn_view_data(view), random_pool(), size);
        void *value;
        assert_int_equal(cairn_snapshot_get(snapshot, "k", 1, &value, &got, NULL), CAIRN_OK);
        assert_memory_equal(value, random_pool(), size);
        cairn_free(value);
        assert_int_equal(keys_by_scan(b->store, snapshot), 1);
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_OK);
        assert_int_equal(cairn_scan_value(scan, &listed, &got, NULL), CAIRN_OK);
        assert_memory_equal(listed, random_pool(), size);
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
        cairn_scan_close(scan);
        cairn_snapshot_close(snapshot);
        cairn_view_close(view);
        cairn_reader_close(reader);
        free(buf);
    }
}

/* ---- The figures ---- */

/* With many keys of which a third expires at each step: the same as in a store that never had those that are gone. */
static void figures_are_exact_whatever_expired_and_however_it_was_opened(void **state) {
    sim_box *b = *state;
    enum { KEYS = 90 };
    uint64_t stored[KEYS], total = 0, streams = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %d", i);
        size_t size = i % 10 == 4 ? SIM_BOX_PAYLOAD_MAX + 77 : (size_t)i * 300;
        put_for(b->store, key, random_pool(), size, i % 3 == 0 ? 0 : (uint64_t)(i % 3) * 100);
        stored[i] = entry_of(b->store, key).stored_size;
        total += stored[i];
        streams += i % 10 == 4;
    }
    cairn_stats before = stats_of(b->store);
    assert_int_equal(before.keys, KEYS);
    assert_int_equal(before.expiring_keys, KEYS / 3 * 2);
    assert_int_equal(before.live_bytes, total);
    assert_int_equal(before.streams, streams);
    for (int step = 0; step < 3; step++) {
        uint64_t live = 0, files = 0, keys = 0;
        for (int i = 0; i < KEYS; i++) {
            if (i % 3 != 0 && i % 3 <= step) continue;
            live += stored[i];
            files += i % 10 == 4;
            keys++;
        }
        for (int way = 0; way < 4; way++) {
            cairn_stats s = stats_of(b->store);
            assert_int_equal(s.keys, keys);
            assert_int_equal(s.live_bytes, live);
            assert_int_equal(s.streams, files);
            assert_int_equal(s.expiring_keys, keys - KEYS / 3);
            if (way == 0) assert_int_equal(s.dead_bytes, before.dead_bytes + total - live);
            if (way == 0) sim_box_kill(b);
            if (way == 1) sim_box_reopen(b);
            if (way == 2) sim_box_rebuild(b);
        }
        before.dead_bytes = stats_of(b->store).dead_bytes - (total - live);
        later(b, 100);
    }
    sim_box_reopen(b);
    sim_box_reopen(b);
    assert_int_equal(sim_box_files(b, ".val"), stats_of(b->store).streams);
}

/* What a session never noticed: the keys expire between close and open. */
static void keys_may_expire_while_the_store_is_closed(void **state) {
    sim_box *b = *state;
    put_for(b->store, "gone", random_pool(), 400000, 100);
    put_for(b->store, "there", "t", 1, 100000);
    for (int way = 0; way < 3; way++) {
        if (way == 0) sim_box_close(b);
        if (way == 0) later(b, 100);
        if (way == 0) sim_box_open(b);
        if (way == 1) sim_box_reopen_read_only(b);
        expect_absent(b->store, "gone");
        expect_text(b->store, "there", "t");
        assert_int_equal(stats_of(b->store).keys, 1);
        assert_int_equal(stats_of(b->store).streams, 0);
    }
}

static void a_read_only_handle_notices_and_writes_nothing(void **state) {
    sim_box *b = *state;
    put_for(b->store, "file", random_pool(), 400000, 100);
    put_for(b->store, "small", "s", 1, 100);
    sim_box_reopen_read_only(b);
    uint64_t fingerprint = sim_fingerprint(b->disk);
    expect_text(b->store, "small", "s");
    later(b, 100);
    expect_absent(b->store, "file");
    expect_absent(b->store, "small");
    assert_int_equal(stats_of(b->store).keys, 0);
    assert_int_equal(stats_of(b->store).live_bytes, 0);
    sim_box_close(b);
    assert_int_equal(sim_fingerprint(b->disk), fingerprint);
}

/* Puts notice what expired, a few keys at a time, where nobody asks for figures. */
static void expired_keys_go_by_themselves_in_a_store_without_threads(void **state) {
    sim_box *b = *state;
    char key[16];
    for (int i = 0; i < 500; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        put_for(b->store, key, "v", 1, 100);
    }
    later(b, 100);
    for (int i = 0; i < 20; i++)
        put_text(b->store, "other", "o", 1);
    sim_box_reopen(b); /* the checkpoint says how many were left */
    assert_int_equal(stats_of(b->store).keys, 1);
    assert_int_equal(stats_of(b->store).expiring_keys, 0);
}

static void the_first_time_to_live_sets_its_feature_and_no_other(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "v", 1);
    assert_int_equal(sim_box_features(b), 0);
    put_for(b->store, "k", "v", 1, 1);
    assert_int_equal(sim_box_features(b), 4);
    later(b, 10);
    sim_box_kill(b);
    assert_int_equal(sim_box_features(b), 4);
}

/* ---- The clock ---- */

static uint64_t wall_ms = BEGINNING;
static uint64_t set_clock(os *self) {
    (void)self;
    return wall_ms;
}

static void a_clock_that_runs_back_brings_nothing_back_within_a_handle(void **state) {
    sim_box *b = *state;
    os_override(sim_os(b->disk), &(os){.clock_ms = set_clock});
    wall_ms = BEGINNING;
    put_for(b->store, "k", "v", 1, 100);
    put_for(b->store, "l", "v", 1, 200);
    wall_ms = BEGINNING + 150;
    expect_absent(b->store, "k");
    wall_ms = BEGINNING - 100000;
    expect_absent(b->store, "k");
    expect_text(b->store, "l", "v");
    put_for(b->store, "m", "v", 1, 10); /* from the latest that the clock was seen at */
    assert_int_equal(entry_of(b->store, "m").expires_at_ms, BEGINNING + 160);
    assert_int_equal(stats_of(b->store).keys, 2);
    wall_ms = BEGINNING + 159;
    expect_text(b->store, "m", "v");
    wall_ms = BEGINNING + 200;
    expect_absent(b->store, "m");
    expect_absent(b->store, "l");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_there_until_its_expiry_and_absent_from_then_on),
        TEST(a_time_to_live_of_every_size_counts),
        TEST(an_expired_key_counts_as_absent_for_conditions_and_deletes),
        TEST(an_overwrite_begins_a_new_life),
        TEST(what_an_expired_value_replaced_does_not_come_back),
        TEST(a_batch_gives_every_put_its_time_to_live),
        TEST(a_stream_lives_from_its_commit_on),
        TEST(what_is_open_goes_on_over_the_expiry),
        TEST(figures_are_exact_whatever_expired_and_however_it_was_opened),
        TEST(keys_may_expire_while_the_store_is_closed),
        TEST(a_read_only_handle_notices_and_writes_nothing),
        TEST(expired_keys_go_by_themselves_in_a_store_without_threads),
        TEST(the_first_time_to_live_sets_its_feature_and_no_other),
        TEST(a_clock_that_runs_back_brings_nothing_back_within_a_handle),
    };
    return cmocka_run_group_tests_name("time_to_live", tests, NULL, NULL);
}

/* Batches: what they take, what they do, and that they do all of it or nothing, whatever fails or dies meanwhile. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"
#include "tests/support/store_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cairn_batch *batch_new(void) {
    cairn_batch *batch = NULL;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    return batch;
}

static void add_put(cairn_batch *batch, const char *key, const void *value, size_t size) {
    assert_int_equal(cairn_batch_put(batch, key, strlen(key), value, size), CAIRN_OK);
}

static void add_text(cairn_batch *batch, const char *key, const char *value) {
    add_put(batch, key, value, strlen(value));
}

static void add_delete(cairn_batch *batch, const char *key) {
    assert_int_equal(cairn_batch_delete(batch, key, strlen(key)), CAIRN_OK);
}

static void commit(cairn *store, cairn_batch *batch) {
    cairn_error error = {0};
    int rc = cairn_batch_commit(store, batch, NULL, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_batch_commit: %d, %s", rc, error.message);
}

static void commit_and_free(cairn *store, cairn_batch *batch) {
    commit(store, batch);
    cairn_batch_free(batch);
}

/* ---- What a batch is ---- */

static void nothing_is_there_before_the_commit_and_all_of_it_after(void **state) {
    sim_box *b = *state;
    put_text(b->store, "old", "o", 1);
    put_text(b->store, "gone", "g", 1);
    cairn_batch *batch = batch_new();
    add_text(batch, "new", "n");
    add_text(batch, "old", "changed");
    add_delete(batch, "gone");
    expect_absent(b->store, "new");
    expect_text(b->store, "old", "o");
    commit_and_free(b->store, batch);
    for (int way = 0; way < 4; way++) {
        expect_everywhere(b->store, "new", "n", 1);
        expect_everywhere(b->store, "old", "changed", 7);
        expect_absent(b->store, "gone");
        assert_int_equal(keys_by_scan(b->store, NULL), 2);
        assert_int_equal(verify_damage(b->store), 0);
        if (way == 0) sim_box_kill(b);
        if (way == 1) sim_box_reopen(b);
        if (way == 2) sim_box_rebuild(b);
    }
}

static void keys_and_values_are_copied_when_they_are_added(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    char key[] = "key", value[] = "value";
    put_text(b->store, "away", "", 0);
    assert_int_equal(cairn_batch_put(batch, key, 3, value, 5), CAIRN_OK);
    memcpy(key, "xxx", 3);
    memcpy(value, "yyyyy", 5);
    char other[] = "away";
    assert_int_equal(cairn_batch_delete(batch, other, 4), CAIRN_OK);
    memset(other, 'z', 4);
    commit_and_free(b->store, batch);
    expect_text(b->store, "key", "value");
    assert_int_equal(keys_by_scan(b->store, NULL), 1);
}

static void the_last_operation_on_a_key_wins(void **state) {
    sim_box *b = *state;
    put_text(b->store, "d", "before", 6);
    cairn_batch *batch = batch_new();
    for (int i = 0; i < 40; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "value %d", i);
        add_text(batch, "a", value);
        add_text(batch, "b", value);
        add_delete(batch, "c");
        if (i < 39) add_text(batch, "c", value);
        add_delete(batch, "d");
        add_text(batch, "d", value);
    }
    add_delete(batch, "b");
    commit_and_free(b->store, batch);
    for (int way = 0; way < 2; way++) {
        expect_text(b->store, "a", "value 39");
        expect_absent(b->store, "b");
        expect_absent(b->store, "c");
        expect_text(b->store, "d", "value 39");
        if (way == 0) sim_box_kill(b);
    }
}

/* Deleting an absent key is no error. */
static void a_batch_that_changes_nothing_writes_nothing(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    uint64_t before = sim_operations(b->disk);
    commit(b->store, batch);
    add_delete(batch, "absent");
    add_delete(batch, "absent too");
    commit_and_free(b->store, batch);
    assert_int_equal(sim_operations(b->disk), before);
    assert_int_equal(sim_box_features(b), 0);
}

static void conditions_are_invalid_and_a_batch_takes_sync(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    cairn_error error = {0};
    add_text(batch, "k", "v");
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true};
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, &error), CAIRN_INVALID);
    assert_true(error.message[0] != '\0');
    o = (cairn_put_options){.struct_size = sizeof o, .if_version = 1};
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_INVALID);
    o = (cairn_put_options){.struct_size = 0};
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_INVALID);
    expect_absent(b->store, "k");
    o = (cairn_put_options){.struct_size = sizeof o, .sync = true};
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    sim_box_crash(b, 0); /* nothing that was not synced survives */
    expect_text(b->store, "k", "v");
}

static void what_cannot_be_added_is_refused_and_the_batch_stays_good(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    static char key[CAIRN_KEY_SIZE_MAX + 1];
    memset(key, 'k', sizeof key);
    assert_int_equal(cairn_batch_new(NULL), CAIRN_INVALID);
    assert_int_equal(cairn_batch_put(NULL, "k", 1, "v", 1), CAIRN_INVALID);
    assert_int_equal(cairn_batch_delete(NULL, "k", 1), CAIRN_INVALID);
    assert_int_equal(cairn_batch_put(batch, "", 0, "v", 1), CAIRN_INVALID);
    assert_int_equal(cairn_batch_put(batch, NULL, 1, "v", 1), CAIRN_INVALID);
    assert_int_equal(cairn_batch_put(batch, "k", 1, NULL, 1), CAIRN_INVALID);
    assert_int_equal(cairn_batch_delete(batch, "", 0), CAIRN_INVALID);
    assert_int_equal(cairn_batch_put(batch, key, sizeof key, "v", 1), CAIRN_TOO_BIG);
    assert_int_equal(cairn_batch_delete(batch, key, sizeof key), CAIRN_TOO_BIG);
    assert_int_equal(cairn_batch_put(batch, "k", 1, "v", CAIRN_VALUE_SIZE_MAX + 1), CAIRN_TOO_BIG);
    assert_int_equal(cairn_batch_put(batch, "k", 1, "v", SIZE_MAX), CAIRN_TOO_BIG);
    assert_int_equal(cairn_batch_put(batch, key, sizeof key - 1, NULL, 0), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(NULL, batch, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_batch_commit(b->store, NULL, NULL, NULL), CAIRN_INVALID);
    commit_and_free(b->store, batch);
    cairn_batch_free(NULL);
    expect_get(b->store, key, sizeof key - 1, "", 0);
    assert_int_equal(stats_of(b->store).keys, 1);
}

static void a_batch_may_be_committed_again_and_into_other_stores(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    cairn *other = NULL;
    cairn_options o = {.struct_size = sizeof o, .create = true};
    assert_int_equal(store_open_on(&other, sim_os(b->disk), "other", &o, UINT64_MAX, NULL), CAIRN_OK);
    put_text(b->store, "away", "1", 1);
    put_text(other, "away", "2", 1);
    add_text(batch, "k", "v");
    add_delete(batch, "away");
    commit(b->store, batch);
    uint64_t version = version_of(b->store, "k");
    put_text(b->store, "away", "3", 1);
    put_text(b->store, "k", "between", 7);
    commit(b->store, batch);
    assert_true(version_of(b->store, "k") > version + 2);
    commit(other, batch);
    sim_box_close(b);
    add_text(batch, "later", "l"); /* it is of no store */
    commit(other, batch);
    cairn_batch_free(batch);
    expect_text(other, "k", "v");
    expect_text(other, "later", "l");
    expect_absent(other, "away");
    assert_int_equal(cairn_close(other), CAIRN_OK);
    sim_box_open(b);
    expect_text(b->store, "k", "v");
    expect_absent(b->store, "away");
    expect_absent(b->store, "later");
}

static void versions_ascend_in_the_order_of_the_calls(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    char key[16];
    put_text(b->store, "key 3", "old", 3);
    uint64_t last = version_of(b->store, "key 3");
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        add_text(batch, key, key);
    }
    commit_and_free(b->store, batch);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        assert_true(version_of(b->store, key) > last);
        last = version_of(b->store, key);
    }
    put_text(b->store, "key 3", "new", 3);
    assert_true(version_of(b->store, "key 3") > last);
}

static void a_read_only_handle_takes_no_batch(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = batch_new();
    put_text(b->store, "k", "v", 1);
    sim_box_reopen_read_only(b);
    add_delete(batch, "k");
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_READ_ONLY);
    cairn_batch_free(batch);
    expect_text(b->store, "k", "v");
}

/* ---- Values of all sizes ---- */

static const size_t sizes[] = {0, 1, 4000, 65536, 65537, 200000, SIM_BOX_PAYLOAD_MAX, SIM_BOX_PAYLOAD_MAX + 1, 700000};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void expect_sizes(sim_box *b, unsigned shift) {
    for (unsigned i = 0; i < SIZES; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %u", i);
        expect_everywhere(b->store, key, random_pool() + i, sizes[(i + shift) % SIZES]);
    }
    assert_int_equal(verify_damage(b->store), 0);
}

/* Every kind overwrites every other one, over several segments. */
static void values_of_every_size_come_back_after_a_kill_and_a_rebuild(void **state) {
    sim_box *b = *state;
    for (unsigned shift = 0; shift < SIZES; shift++) {
        cairn_batch *batch = batch_new();
        for (unsigned i = 0; i < SIZES; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "key %u", i);
            add_put(batch, key, random_pool() + i, sizes[(i + shift) % SIZES]);
        }
        commit_and_free(b->store, batch);
        cairn_stats stats = stats_of(b->store);
        assert_int_equal(stats.streams, 2);
        assert_int_equal(stats.keys, SIZES);
        if (shift % 3 == 0) sim_box_kill(b);
        if (shift % 4 == 1) sim_box_reopen(b);
        expect_sizes(b, shift);
    }
    sim_box_rebuild(b);
    expect_sizes(b, SIZES - 1);
    sim_box_reopen(b);
    assert_int_equal(sim_box_files(b, ".val"), 2);
}

static void a_value_beyond_32_mib_lies_in_a_file_of_its_own(void **state) {
    sim_box *b = *state;
    b->options.segment_bytes = 0;
    sim_box_reopen(b);
    size_t size = ((size_t)32 << 20) + 4097;
    uint8_t *value = malloc(size);
    CHECK(value != NULL);
    for (size_t at = 0; at < size; at += POOL_BYTES)
        memcpy(value + at, random_pool(), size - at < POOL_BYTES ? size - at : POOL_BYTES);
    cairn_batch *batch = batch_new();
    add_put(batch, "huge", value, size);
    add_put(batch, "large", value, (size_t)32 << 20);
    add_text(batch, "small", "s");
    commit_and_free(b->store, batch);
    assert_int_equal(sim_box_files(b, ".val"), 1);
    sim_box_kill(b);
    expect_get(b->store, "huge", 4, value, size);
    expect_get(b->store, "large", 5, value, (size_t)32 << 20);
    expect_text(b->store, "small", "s");
    free(value);
}

static void keys_whose_hashes_collide_are_told_apart(void **state) {
    sim_box *b = *state;
    uint64_t rng = 3;
    char model[12][24] = {""};
    sim_box_close(b);
    b->hash_mask = 0x3;
    sim_box_open(b);
    for (int round = 0; round < 60; round++) {
        cairn_batch *batch = batch_new();
        for (int i = 0; i < 8; i++) {
            unsigned k = (unsigned)random_below(&rng, 12);
            char key[8];
            (void)snprintf(key, sizeof key, "k%u", k);
            if (random_one_in(&rng, 3)) {
                add_delete(batch, key);
                model[k][0] = '\0';
            } else {
                (void)snprintf(model[k], sizeof model[k], "value %d of %d", i, round);
                add_text(batch, key, model[k]);
            }
        }
        commit_and_free(b->store, batch);
        if (round % 7 == 3) sim_box_kill(b);
        if (round % 7 == 5) sim_box_rebuild(b);
        for (unsigned k = 0; k < 12; k++) {
            char key[8];
            (void)snprintf(key, sizeof key, "k%u", k);
            if (model[k][0] == '\0') {
                expect_absent(b->store, key);
            } else {
                expect_text(b->store, key, model[k]);
            }
        }
    }
    assert_int_equal(verify_damage(b->store), 0);
}

/* ---- All or nothing ---- */

/* Puts of every kind, an overwrite, deletes. */
static cairn_batch *mixed_batch(void) {
    cairn_batch *batch = batch_new();
    add_text(batch, "small", "new");
    add_put(batch, "frames", random_pool(), 150000);
    add_delete(batch, "gone");
    add_put(batch, "file", random_pool() + 5, 400000);
    add_put(batch, "was a file", random_pool() + 6, 10);
    add_delete(batch, "never there");
    add_text(batch, "fresh", "f");
    return batch;
}

static void put_before(cairn *store) {
    put_text(store, "small", "old", 3);
    put_text(store, "gone", "g", 1);
    put_text(store, "was a file", random_pool() + 7, 300000);
}

static bool is_there(cairn *store, const char *key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    int rc = cairn_stat(store, key, strlen(key), &entry, NULL);
    assert_true(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    return rc == CAIRN_OK;
}

/* Whether it is all there; half of it fails the test. */
static bool expect_all_or_nothing(cairn *store) {
    bool all = is_there(store, "fresh");
    if (all) {
        expect_text(store, "small", "new");
        expect_get(store, "frames", 6, random_pool(), 150000);
        expect_absent(store, "gone");
        expect_get(store, "file", 4, random_pool() + 5, 400000);
        expect_get(store, "was a file", 10, random_pool() + 6, 10);
        expect_text(store, "fresh", "f");
    } else {
        expect_text(store, "small", "old");
        assert_false(is_there(store, "frames"));
        expect_text(store, "gone", "g");
        assert_false(is_there(store, "file"));
        expect_get(store, "was a file", 10, random_pool() + 7, 300000);
    }
    assert_int_equal(verify_damage(store), 0);
    return all;
}

/* The power fails at every operation of the commit; and again after the recovery. */
static void a_power_cut_at_any_moment_leaves_all_or_nothing(void **state) {
    sim_box *b = *state;
    put_before(b->store);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    cairn_batch *batch = mixed_batch();
    uint64_t whole = 0, none = 0;
    bool done = false;
    sim_disk *base = sim_clone(b->disk);
    for (uint64_t n = 0; !done; n++) {
        for (uint64_t seed = 0; seed < rung_choose(6, 3, 60); seed++) {
            sim_box c = {.disk = sim_clone(base), .options = b->options, .hash_mask = UINT64_MAX};
            sim_box_open(&c);
            sim_cut_at(c.disk, sim_operations(c.disk) + n);
            done = cairn_batch_commit(c.store, batch, NULL, NULL) == CAIRN_OK;
            if (seed == 5) {
                sim_box_kill(&c);
            } else {
                sim_box_crash(&c, seed);
            }
            bool all = expect_all_or_nothing(c.store);
            if (done && (seed == 5 || seed % 4 == 1)) assert_true(all);
            whole += all;
            none += !all;
            sim_box_crash(&c, seed + 1);
            assert_int_equal(expect_all_or_nothing(c.store), all);
            commit(c.store, batch);
            assert_true(expect_all_or_nothing(c.store));
            sim_box_close(&c);
            sim_free(c.disk);
        }
    }
    if (whole == 0 || none < 5) fail_msg("%llu whole, %llu none", (unsigned long long)whole, (unsigned long long)none);
    cairn_batch_free(batch);
    sim_free(base);
}

/* One write fails, or one and all behind it. A single one may be made good. */
static void a_commit_that_fails_changes_nothing_and_can_be_repeated(void **state) {
    sim_box *b = *state;
    put_before(b->store);
    cairn_batch *batch = mixed_batch();
    uint64_t failures = 0;
    bool hit = true;
    for (uint64_t i = 0; hit; i++) {
        sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
        sim_fault fault = {.kinds = SIM_WRITE | SIM_CREATE, .nth = i / 4, .error = -ENOSPC};
        fault.partial = i % 4 < 2;
        fault.sticky = i % 2 == 0;
        sim_box_open(&c);
        cairn_stats before = stats_of(c.store);
        sim_fault_set(c.disk, &fault);
        int rc = cairn_batch_commit(c.store, batch, NULL, NULL);
        hit = sim_fault_hits(c.disk) > 0;
        sim_fault_set(c.disk, NULL);
        assert_int_equal(expect_all_or_nothing(c.store), rc == CAIRN_OK);
        if (rc != CAIRN_OK) {
            failures++;
            assert_int_equal(rc, CAIRN_FULL);
            assert_int_equal(sim_box_files(&c, ".val"), 1);
            assert_int_equal(stats_of(c.store).live_bytes, before.live_bytes);
            commit(c.store, batch);
        }
        sim_box_kill(&c);
        assert_true(expect_all_or_nothing(c.store));
        sim_box_close(&c);
        sim_free(c.disk);
    }
    assert_true(failures > 6);
    cairn_batch_free(batch);
}

/* Also those that were compressed already and wait to be written together with others. */
static void a_look_up_that_fails_gives_up_the_parts_before_it(void **state) {
    sim_box *b = *state;
    char text[4000];
    memset(text, 't', sizeof text);
    b->options.compression = CAIRN_COMPRESSION_ZSTD;
    sim_box_reopen(b);
    put_text(b->store, "there", "before", 6);
    cairn_batch *batch = batch_new();
    for (int i = 0; i < 10; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "new %d", i);
        add_put(batch, key, text, sizeof text);
    }
    add_text(batch, "there", "after");
    sim_fault fault = {.kinds = SIM_READ, .error = -EIO};
    sim_fault_set(b->disk, &fault);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_IO);
    assert_true(sim_fault_hits(b->disk) > 0);
    sim_fault_set(b->disk, NULL);
    expect_text(b->store, "there", "before");
    assert_int_equal(keys_by_scan(b->store, NULL), 1);
    commit_and_free(b->store, batch);
    expect_text(b->store, "there", "after");
    expect_everywhere(b->store, "new 9", text, sizeof text);
}

/* Parts without a COMMIT stay dead, also when other batches and puts stand between and behind them. */
static void a_batch_that_was_given_up_stays_dead_over_reopenings(void **state) {
    sim_box *b = *state;
    put_before(b->store);
    cairn_batch *batch = mixed_batch(), *other = batch_new();
    add_text(other, "other", "o");
    add_text(other, "another", "a");
    sim_fault fault = {.kinds = SIM_WRITE, .nth = 3, .error = -EIO};
    sim_fault_set(b->disk, &fault);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_IO);
    sim_fault_set(b->disk, NULL);
    commit_and_free(b->store, other);
    cairn_batch_free(batch);
    for (int way = 0; way < 5; way++) {
        assert_false(expect_all_or_nothing(b->store));
        expect_text(b->store, "other", "o");
        expect_text(b->store, "another", "a");
        if (way == 0) sim_box_kill(b);
        if (way == 1) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        if (way == 2) sim_box_rebuild(b);
        if (way == 3) sim_box_reopen(b);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_there_before_the_commit_and_all_of_it_after),
        TEST(keys_and_values_are_copied_when_they_are_added),
        TEST(the_last_operation_on_a_key_wins),
        TEST(a_batch_that_changes_nothing_writes_nothing),
        TEST(conditions_are_invalid_and_a_batch_takes_sync),
        TEST(what_cannot_be_added_is_refused_and_the_batch_stays_good),
        TEST(a_batch_may_be_committed_again_and_into_other_stores),
        TEST(versions_ascend_in_the_order_of_the_calls),
        TEST(a_read_only_handle_takes_no_batch),
        TEST(values_of_every_size_come_back_after_a_kill_and_a_rebuild),
        TEST(a_value_beyond_32_mib_lies_in_a_file_of_its_own),
        TEST(keys_whose_hashes_collide_are_told_apart),
        TEST(a_power_cut_at_any_moment_leaves_all_or_nothing),
        TEST(a_commit_that_fails_changes_nothing_and_can_be_repeated),
        TEST(a_look_up_that_fails_gives_up_the_parts_before_it),
        TEST(a_batch_that_was_given_up_stays_dead_over_reopenings),
    };
    return cmocka_run_group_tests_name("batches", tests, NULL, NULL);
}

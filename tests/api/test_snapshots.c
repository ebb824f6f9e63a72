/* Snapshots: what the store held at their opening, whatever is changed, for gets, stats and scans; and what they cost.
 */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_not_in(cairn_snapshot *s, const char *key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error;
    void *got = (void *)1;
    size_t size;
    assert_int_equal(cairn_snapshot_get(s, key, strlen(key), &got, &size, &error), CAIRN_NOT_FOUND);
    assert_null(got);
    assert_non_null(strstr(error.message, key));
    assert_int_equal(cairn_snapshot_stat(s, key, strlen(key), &entry, NULL), CAIRN_NOT_FOUND);
}

static void a_snapshot_keeps_what_was_there_at_its_opening(void **state) {
    sim_box *b = *state;
    put_text(b->store, "small", "1", 1);
    put_text(b->store, "frames", random_pool(), 200000);
    put_text(b->store, "file", random_pool() + 1, 400000);
    put_text(b->store, "untouched", "u", 1);
    put_text(b->store, "deleted", "d", 1);
    uint64_t version = version_of(b->store, "small");
    cairn_snapshot *s = snapshot_of(b->store);
    for (int i = 0; i < 3; i++) { /* more than once */
        put_text(b->store, "small", "2", 1);
        put_text(b->store, "frames", "small now", 9);
        put_text(b->store, "file", random_pool() + 2, 500000);
        put_text(b->store, "small", random_pool(), 300000);
        delete_text(b->store, "deleted");
        put_text(b->store, "new", "n", 1);
        delete_text(b->store, "new");
        put_text(b->store, "new", "n", 1);
        expect_in(s, "small", "1", 1);
        expect_in(s, "frames", random_pool(), 200000);
        expect_in(s, "file", random_pool() + 1, 400000);
        expect_in(s, "untouched", "u", 1);
        expect_in(s, "deleted", "d", 1);
        expect_not_in(s, "new");
        assert_int_equal(keys_by_scan(b->store, s), 5);
        assert_int_equal(keys_by_scan(b->store, NULL), 5);
        if (i == 1) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    }
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_snapshot_stat(s, "small", 5, &entry, NULL), CAIRN_OK);
    assert_int_equal(entry.version, version);
    cairn_snapshot_close(s);
    expect_get(b->store, "small", 5, random_pool(), 300000);
    expect_absent(b->store, "deleted");
    expect_text(b->store, "new", "n");
}

static void a_batch_is_in_it_whole_or_not_at_all(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    put_text(b->store, "a", "1", 1);
    put_text(b->store, "b", "1", 1);
    cairn_snapshot *before = snapshot_of(b->store);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "a", 1, "2", 1), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "c", 1, random_pool(), 300000), CAIRN_OK);
    assert_int_equal(cairn_batch_delete(batch, "b", 1), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_snapshot *after = snapshot_of(b->store);
    delete_text(b->store, "c");
    put_text(b->store, "b", "3", 1);
    expect_in(before, "a", "1", 1);
    expect_in(before, "b", "1", 1);
    expect_not_in(before, "c");
    expect_in(after, "a", "2", 1);
    expect_not_in(after, "b");
    expect_in(after, "c", random_pool(), 300000);
    cairn_batch_free(batch);
    cairn_snapshot_close(before);
    cairn_snapshot_close(after);
}

static void expiry_is_judged_by_the_time_of_its_opening(void **state) {
    sim_box *b = *state;
    put_for(b->store, "gone before", "g", 1, 10);
    put_for(b->store, "k", "v", 1, 100);
    put_for(b->store, "file", random_pool(), 400000, 100);
    sim_clock_advance(b->disk, 10);
    cairn_snapshot *s = snapshot_of(b->store);
    sim_clock_advance(b->disk, 1000);
    for (int way = 0; way < 3; way++) { /* not noticed, noticed, overwritten */
        expect_not_in(s, "gone before");
        expect_in(s, "k", "v", 1);
        expect_in(s, "file", random_pool(), 400000);
        assert_int_equal(keys_by_scan(b->store, s), 2);
        if (way == 0) assert_int_equal(stats_of(b->store).keys, 0);
        if (way == 1) put_text(b->store, "k", "w", 1);
        if (way == 1) put_text(b->store, "gone before", "back", 4);
    }
    cairn_snapshot_close(s);
    s = snapshot_of(b->store);
    expect_not_in(s, "file");
    expect_in(s, "k", "w", 1);
    cairn_snapshot_close(s);
}

/* ---- Many at once, against a plain model ---- */

#define KEYS 12u
#define GENERATIONS 8u

typedef struct remembered {
    cairn_snapshot *snapshot;
    unsigned value[KEYS]; /* 0: absent */
} remembered;

static void key_of(char key[16], unsigned i) { (void)snprintf(key, 16, "key %u", i); }

static const uint8_t *value_of(unsigned number, size_t *size) {
    *size = number % 20 == 7 ? SIM_BOX_PAYLOAD_MAX + number : number % 9 == 3 ? 70000 : number;
    return random_pool() + number;
}

static void expect_remembered(cairn *store, remembered *r) {
    size_t keys = 0, size;
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        key_of(key, i);
        keys += r->value[i] != 0;
        if (r->value[i] == 0) {
            expect_not_in(r->snapshot, key);
            continue;
        }
        const uint8_t *value = value_of(r->value[i], &size);
        expect_in(r->snapshot, key, value, size);
    }
    assert_int_equal(keys_by_scan(store, r->snapshot), keys);
}

static void change_something(cairn *store, unsigned now[KEYS], unsigned *number, uint64_t *rng) {
    char key[16];
    size_t size;
    cairn_batch *batch = NULL;
    bool in_batch = random_one_in(rng, 3);
    if (in_batch) assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (uint64_t i = 0, count = 1 + random_below(rng, 4); i < count; i++) {
        unsigned k = (unsigned)random_below(rng, KEYS);
        bool away = random_one_in(rng, 3);
        key_of(key, k);
        now[k] = away ? 0 : ++*number;
        const uint8_t *value = value_of(now[k], &size);
        if (in_batch && away) assert_int_equal(cairn_batch_delete(batch, key, strlen(key)), CAIRN_OK);
        if (in_batch && !away) assert_int_equal(cairn_batch_put(batch, key, strlen(key), value, size), CAIRN_OK);
        if (!in_batch && away) delete_text(store, key);
        if (!in_batch && !away) put_text(store, key, value, size);
    }
    if (in_batch) assert_int_equal(cairn_batch_commit(store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void many_snapshots_in_any_order(sim_box *b, uint64_t seed, uint64_t steps) {
    remembered open[GENERATIONS] = {{.snapshot = NULL}};
    unsigned now[KEYS] = {0}, number = 0;
    uint64_t rng = seed;
    for (uint64_t step = 0; step < steps; step++) {
        remembered *r = &open[random_below(&rng, GENERATIONS)];
        if (r->snapshot != NULL) {
            expect_remembered(b->store, r);
            cairn_snapshot_close(r->snapshot);
            r->snapshot = NULL;
        } else {
            r->snapshot = snapshot_of(b->store);
            memcpy(r->value, now, sizeof now);
        }
        change_something(b->store, now, &number, &rng);
        size_t count = 0;
        for (unsigned i = 0; i < GENERATIONS; i++)
            count += open[i].snapshot != NULL;
        cairn_stats stats = stats_of(b->store);
        assert_int_equal(stats.snapshots, count);
        if (count == 0) assert_int_equal(stats.pinned_bytes, 0);
    }
    for (unsigned i = 0; i < GENERATIONS; i++) {
        if (open[i].snapshot != NULL) expect_remembered(b->store, &open[i]);
        cairn_snapshot_close(open[i].snapshot);
    }
    assert_int_equal(stats_of(b->store).pinned_bytes, 0);
    remembered last = {.snapshot = snapshot_of(b->store)};
    memcpy(last.value, now, sizeof now);
    expect_remembered(b->store, &last);
    cairn_snapshot_close(last.snapshot);
}

static void snapshots_opened_and_closed_in_any_order_keep_their_moments(void **state) {
    many_snapshots_in_any_order(*state, 1, rung_choose(400, 100, 20000));
}

static void they_do_so_where_hashes_collide(void **state) {
    sim_box *b = *state;
    sim_box_close(b);
    b->hash_mask = 0x3;
    sim_box_open(b);
    many_snapshots_in_any_order(b, 2, rung_choose(400, 100, 20000));
}

/* ---- What they cost ---- */

static void what_they_pin_is_in_the_figures_until_the_last_one_closes(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", random_pool(), 50000);
    put_text(b->store, "file", random_pool(), 400000);
    uint64_t k = entry_of(b->store, "k").stored_size, file = entry_of(b->store, "file").stored_size;
    cairn_stats before = stats_of(b->store);
    assert_int_equal(before.pinned_bytes + before.snapshots + before.snapshot_age_ms, 0);
    cairn_snapshot *first = snapshot_of(b->store);
    sim_clock_advance(b->disk, 1000);
    cairn_snapshot *second = snapshot_of(b->store);
    sim_clock_advance(b->disk, 500);
    cairn_stats s = stats_of(b->store);
    assert_int_equal(s.snapshots, 2);
    assert_int_equal(s.snapshot_age_ms, 1500);
    assert_int_equal(s.pinned_bytes, 0);
    put_text(b->store, "k", "new", 3);
    s = stats_of(b->store);
    assert_int_equal(s.pinned_bytes, k);
    assert_int_equal(s.dead_bytes, before.dead_bytes);
    assert_true(s.index_bytes > before.index_bytes);
    delete_text(b->store, "file");
    assert_int_equal(stats_of(b->store).pinned_bytes, k + file);
    put_text(b->store, "k", "newer", 5); /* nobody saw what this supersedes */
    assert_int_equal(stats_of(b->store).pinned_bytes, k + file);
    cairn_snapshot_close(first);
    s = stats_of(b->store);
    assert_int_equal(s.pinned_bytes, k + file);
    assert_int_equal(s.snapshot_age_ms, 500);
    cairn_snapshot_close(second);
    s = stats_of(b->store);
    assert_int_equal(s.pinned_bytes + s.snapshots + s.snapshot_age_ms, 0);
    assert_true(s.dead_bytes >= before.dead_bytes + k + file);
}

static void a_snapshot_is_a_child_of_its_handle(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "v", 1);
    cairn_snapshot *s = snapshot_of(b->store), *none = (cairn_snapshot *)1;
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    expect_in(s, "k", "v", 1);
    cairn_snapshot_close(s);
    cairn_snapshot_close(NULL);
    assert_int_equal(cairn_snapshot_open(NULL, &none, NULL), CAIRN_INVALID);
    assert_null(none);
    sim_box_reopen_read_only(b); /* they write nothing */
    s = snapshot_of(b->store);
    expect_in(s, "k", "v", 1);
    cairn_snapshot_close(s);
}

static void a_scan_takes_a_snapshot_of_its_own_handle_only(void **state) {
    sim_box *b = *state;
    cairn *other = NULL;
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    assert_int_equal(store_open_on(&other, sim_os(b->disk), "other", &o, UINT64_MAX, NULL), CAIRN_OK);
    cairn_snapshot *s = snapshot_of(other);
    cairn_scan_options scan_options = {.struct_size = sizeof scan_options, .snapshot = s};
    cairn_scan *scan;
    assert_int_equal(cairn_scan_open(b->store, &scan_options, &scan, NULL), CAIRN_INVALID);
    cairn_snapshot_close(s);
    assert_int_equal(cairn_close(other), CAIRN_OK);
}

/* The list is made at the opening, so the scan goes on after its snapshot. */
static void a_scan_of_a_snapshot_reads_the_values_of_its_moment(void **state) {
    sim_box *b = *state;
    put_text(b->store, "small", "old", 3);
    put_text(b->store, "file", random_pool(), 400000);
    cairn_scan_options o = {.struct_size = sizeof o, .snapshot = snapshot_of(b->store)};
    put_text(b->store, "small", "changed", 7);
    delete_text(b->store, "file");
    put_text(b->store, "new", "n", 1);
    cairn_scan *scan;
    size_t size, count = 0;
    assert_int_equal(cairn_scan_open(b->store, &o, &scan, NULL), CAIRN_OK);
    while (cairn_scan_next(scan, NULL) == CAIRN_OK) {
        const void *value;
        const char *key = cairn_scan_key(scan, &size);
        bool small = size == 5 && memcmp(key, "small", 5) == 0;
        assert_int_equal(cairn_scan_value_size(scan), small ? 3 : 400000);
        assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
        assert_memory_equal(value, small ? (const uint8_t *)"old" : random_pool(), size);
        count++;
    }
    assert_int_equal(count, 2);
    cairn_scan_close(scan);
    cairn_snapshot_close(o.snapshot);
}

static void a_damaged_value_is_an_error_in_a_snapshot_too(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    put_text(b->store, "bad", random_pool() + 99, 3000);
    put_text(b->store, "good", "g", 1);
    sim_box_close(b);
    sim_box_locate(b, ".seg", random_pool() + 99, 3000, name, &offset);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset + 7, 0x10));
    sim_box_open(b);
    cairn_snapshot *s = snapshot_of(b->store);
    put_text(b->store, "bad", "mended", 6);
    void *value;
    size_t size;
    cairn_error error;
    assert_int_equal(cairn_snapshot_get(s, "bad", 3, &value, &size, &error), CAIRN_CORRUPT);
    assert_non_null(strstr(error.message, name));
    expect_in(s, "good", "g", 1);
    cairn_snapshot_close(s);
    expect_text(b->store, "bad", "mended");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_keeps_what_was_there_at_its_opening),
        TEST(a_batch_is_in_it_whole_or_not_at_all),
        TEST(expiry_is_judged_by_the_time_of_its_opening),
        TEST(snapshots_opened_and_closed_in_any_order_keep_their_moments),
        TEST(they_do_so_where_hashes_collide),
        TEST(what_they_pin_is_in_the_figures_until_the_last_one_closes),
        TEST(a_snapshot_is_a_child_of_its_handle),
        TEST(a_scan_takes_a_snapshot_of_its_own_handle_only),
        TEST(a_scan_of_a_snapshot_reads_the_values_of_its_moment),
        TEST(a_damaged_value_is_an_error_in_a_snapshot_too),
    };
    return cmocka_run_group_tests_name("snapshots", tests, NULL, NULL);
}

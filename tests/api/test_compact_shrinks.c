/* After most keys were deleted, a full compaction leaves a store that is as small as one without them ever: also its
 * index, in memory and in the checkpoint. */
#include "include/cairn.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VALUE_BYTES ((size_t)100)
#define MANY 20000u
#define FEW (MANY / 10)

static void small_key(char key[16], unsigned i) { (void)snprintf(key, 16, "k%u", i); }

static void put_small(sim_box *b, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char key[16];
        small_key(key, i);
        put_text(b->store, key, random_pool() + i, VALUE_BYTES);
    }
}

static void delete_small(sim_box *b, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char key[16];
        small_key(key, i);
        delete_text(b->store, key);
    }
}

static void expect_small(sim_box *b, unsigned count) {
    assert_int_equal(stats_of(b->store).keys, count);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        small_key(key, i);
        expect_get(b->store, key, strlen(key), random_pool() + i, VALUE_BYTES);
    }
}

static int compact_all(sim_box *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    return cairn_compact(b->store, &o, NULL, NULL);
}

/* All garbage goes, and the index keeps its size. */
static void compact_segments(sim_box *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .min_garbage_ratio = 1e-6};
    uint64_t freed = 1;
    for (unsigned i = 0; i < 4 && freed > 0; i++) {
        cairn_compact_result r = {.struct_size = sizeof r};
        assert_int_equal(cairn_compact(b->store, &o, &r, NULL), CAIRN_OK);
        freed = r.bytes_freed;
    }
}

/* An opening makes the reserve anew. */
static uint64_t allocated_besides_reserve(sim_box *b) {
    size_t size = 0;
    free(sim_file_read(b->disk, SIM_BOX_STORE, "RESERVE", &size));
    return stats_of(b->store).allocated_bytes - size;
}

static uint64_t size_aim(const cairn_stats *s) { return s->live_bytes + s->live_bytes / 50 + ((uint64_t)2 << 20); }

/* So many small values that their index alone would be above the aim. */
static void what_is_left_after_deleting_most_takes_little_more_than_what_lives(void **state) {
    sim_box *b = *state;
    const unsigned many = 200000, few = many / 10;
    put_small(b, 0, many);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    uint64_t index_bytes = stats_of(b->store).index_bytes;
    delete_small(b, few, many);
    assert_int_equal(compact_all(b), CAIRN_OK);
    cairn_stats after = stats_of(b->store);
    assert_true(after.allocated_bytes <= size_aim(&after));
    assert_true(after.index_bytes < index_bytes / 4);
    sim_box_kill(b);
    assert_int_equal(stats_of(b->store).replay_records, 0);
    expect_small(b, few);
    sim_box_reopen(b);
    cairn_stats reopened = stats_of(b->store);
    assert_int_equal(reopened.replay_records, 0);
    assert_true(allocated_besides_reserve(b) <= size_aim(&reopened));
    assert_true(reopened.index_bytes <= after.index_bytes);
    expect_small(b, few);
}

static void the_stores_own_thread_gives_memory_back_too(void **state) {
    sim_box *b = *state;
    put_small(b, 0, 5 * MANY);
    uint64_t index_bytes = stats_of(b->store).index_bytes;
    delete_small(b, 5 * FEW, 5 * MANY);
    (void)store_compact_in_background(b->store);
    assert_true(stats_of(b->store).index_bytes < index_bytes / 3);
    expect_small(b, 5 * FEW);
}

static void a_store_that_shrank_grows_again(void **state) {
    sim_box *b = *state;
    put_small(b, 0, MANY);
    delete_small(b, FEW, MANY);
    assert_int_equal(compact_all(b), CAIRN_OK);
    put_small(b, FEW, MANY);
    expect_small(b, MANY);
    delete_small(b, 0, MANY);
    assert_int_equal(compact_all(b), CAIRN_OK);
    assert_true(stats_of(b->store).allocated_bytes < 200000);
    put_small(b, 0, FEW);
    sim_box_kill(b);
    expect_small(b, FEW);
}

static void times_to_live_that_are_void_take_no_memory(void **state) {
    sim_box *b = *state;
    uint64_t before = stats_of(b->store).index_bytes;
    for (unsigned i = 0; i < 5000; i++) {
        char key[16];
        small_key(key, i);
        put_for(b->store, key, random_pool() + i, VALUE_BYTES, 1000000);
    }
    assert_true(stats_of(b->store).index_bytes - before > 100000);
    delete_small(b, 0, 5000);
    assert_int_equal(compact_all(b), CAIRN_OK);
    assert_true(stats_of(b->store).index_bytes - before < 30000);
}

/* ---- Failures, on copies of one disk ---- */

/* FEW of MANY keys are left, for which the only checkpoint is too large; `compacted`: and nothing else is. */
static sim_disk *disk_of_few(sim_box *b, bool compacted) {
    put_small(b, 0, MANY);
    if (!compacted) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    delete_small(b, FEW, MANY);
    if (compacted) compact_segments(b);
    sim_disk *disk = sim_kill(b->disk);
    sim_box_kill(b);
    return disk;
}

static void go_on_with_copy(sim_box *b, sim_disk *disk) {
    sim_box_close(b);
    sim_free(b->disk);
    b->disk = sim_clone(disk);
    sim_box_open(b);
}

static void expect_shrunk(sim_box *b) {
    assert_int_equal(compact_all(b), CAIRN_OK);
    assert_true(allocated_besides_reserve(b) < FEW * (VALUE_BYTES + 350));
    expect_small(b, FEW);
}

static void cut_everywhere(sim_box *b, bool compacted) {
    sim_disk *disk = disk_of_few(b, compacted);
    int rc = CAIRN_IO;
    for (uint64_t cut = 0; rc != CAIRN_OK; cut += rung_choose(1, 7, 1)) {
        go_on_with_copy(b, disk);
        sim_cut_at(b->disk, sim_operations(b->disk) + cut);
        rc = compact_all(b);
        sim_box_crash(b, cut);
        expect_small(b, FEW);
        expect_shrunk(b);
    }
    sim_free(disk);
}

static void a_power_cut_at_any_operation_loses_nothing(void **state) { cut_everywhere(*state, false); }
static void nor_does_one_where_only_the_index_is_to_shrink(void **state) { cut_everywhere(*state, true); }

static void a_disk_that_becomes_full_fails_no_compaction_that_is_done_but_for_the_checkpoint(void **state) {
    sim_box *b = *state;
    sim_disk *disk = disk_of_few(b, true);
    bool hit = true, spared = false;
    for (uint64_t nth = 0; hit; nth++) {
        go_on_with_copy(b, disk);
        sim_fault full = {.kinds = SIM_WRITE, .nth = nth, .error = -ENOSPC, .sticky = true, .partial = true};
        sim_fault_set(b->disk, &full);
        int rc = compact_all(b);
        hit = sim_fault_hits(b->disk) > 0;
        sim_fault_set(b->disk, NULL);
        assert_true(rc == CAIRN_OK || (rc == CAIRN_FULL && hit));
        spared = spared || (rc == CAIRN_OK && hit);
        expect_small(b, FEW);
        expect_shrunk(b);
    }
    assert_true(spared);
    sim_free(disk);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_left_after_deleting_most_takes_little_more_than_what_lives),
        TEST(the_stores_own_thread_gives_memory_back_too),
        TEST(a_store_that_shrank_grows_again),
        TEST(times_to_live_that_are_void_take_no_memory),
        TEST(a_power_cut_at_any_operation_loses_nothing),
        TEST(nor_does_one_where_only_the_index_is_to_shrink),
        TEST(a_disk_that_becomes_full_fails_no_compaction_that_is_done_but_for_the_checkpoint),
    };
    return cmocka_run_group_tests_name("compact_shrinks", tests, NULL, NULL);
}

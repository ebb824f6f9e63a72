/* Holes: the blocks of large dead records come back without a copy, nobody who sees a record loses it, and what fails
 * on the way changes nothing. */
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cairn_compact_result compact_with(sim_box *b, bool full, int expected) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = full};
    cairn_compact_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    int rc = cairn_compact(b->store, &o, &result, &error);
    if (rc != expected) fail_msg("cairn_compact: %d, %s", rc, error.message);
    return result;
}

static cairn_compact_result compact(sim_box *b, int expected) { return compact_with(b, true, expected); }

/* Without a copy for the sake of little; the active segment is looked at as well. */
static cairn_compact_result compact_some(sim_box *b) {
    vlog *log = b->store->log;
    assert_int_equal(vlog_sync(log, vlog_appended_place(log), NULL), CAIRN_OK);
    assert_int_equal(vlog_seal_active(log, 1, 0, NULL), CAIRN_OK);
    return compact_with(b, false, CAIRN_OK);
}

/* Four segments, of whose twenty values every second one is dead. */
static void make_dead(sim_box *b) {
    put_bulk(b, "a", 0, 20);
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
}

static void expect_half(sim_box *b) {
    for (unsigned i = 1; i < 20; i += 2) {
        expect_bulk(b, "a", i, i + 1);
    }
    expect_absent(b->store, "a0");
    expect_absent(b->store, "a18");
    assert_int_equal(verify_damage(b->store), 0);
}

static void fail_calls(sim_box *b, unsigned kinds, int error, bool sticky) {
    sim_fault_set(b->disk, &(sim_fault){.kinds = kinds, .error = error, .sticky = sticky});
}

/* ---- What comes back ---- */

static void large_dead_records_give_their_blocks_back_without_a_copy(void **state) {
    sim_box *b = *state;
    make_dead(b);
    uint64_t before = stats_of(b->store).allocated_bytes;
    cairn_compact_result r = compact(b, CAIRN_OK);
    assert_int_equal(r.bytes_moved, 0);
    assert_true(r.bytes_freed >= 10 * BULK_WHOLE_BYTES);
    cairn_stats after = stats_of(b->store);
    assert_true(before - after.allocated_bytes >= 10 * BULK_BYTES - (64 << 10));
    assert_true(after.dead_bytes < 64 << 10);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_half(b);
        /* A power cut may undo holes; the next punch makes them again. */
        if (way == CUT) (void)compact(b, CAIRN_OK);
        assert_true(stats_of(b->store).dead_bytes < 256 << 10);
    }
}

/* ---- Blocks that dead and live records share ---- */

#define SHARED                                                                                                         \
    12u /* large values in a segment, each behind a small one, so that every one begins elsewhere in a block */

static void put_shared(sim_box *b) {
    char key[16];
    for (unsigned i = 0; i < SHARED; i++) {
        bulk_key(key, "small", i);
        put_text(b->store, key, random_pool(), 100 + 320 * i);
        bulk_key(key, "value", i);
        put_text(b->store, key, random_pool() + i, RECORD_LARGE_BYTES);
    }
}

static void expect_shared(sim_box *b, unsigned first) {
    char key[16];
    for (unsigned i = 0; i < SHARED; i++) {
        bulk_key(key, "small", i);
        expect_get(b->store, key, strlen(key), random_pool(), 100 + 320 * i);
        bulk_key(key, "value", i);
        if (i % 2 == first) expect_get(b->store, key, strlen(key), random_pool() + i, RECORD_LARGE_BYTES);
        if (i % 2 != first) expect_absent(b->store, key);
    }
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_dead_record_of_64_kib_gives_its_whole_blocks_back_wherever_it_begins(void **state) {
    sim_box *b = *state;
    put_shared(b);
    for (unsigned i = 0; i < SHARED; i += 2) {
        delete_bulk(b, "value", i, i + 1);
    }
    cairn_compact_result r = compact_some(b);
    assert_int_equal(r.bytes_moved, 0);
    assert_true(r.bytes_freed >= SHARED / 2 * (RECORD_LARGE_BYTES - BLOCK_BYTES));
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_shared(b, 1);
    }
}

static void what_holes_leave_in_shared_blocks_is_told_apart_from_garbage(void **state) {
    sim_box *b = *state;
    put_shared(b);
    assert_int_equal(stats_of(b->store).edge_bytes, 0);
    for (unsigned i = 0; i < SHARED; i += 2) {
        delete_bulk(b, "value", i, i + 1);
    }
    (void)compact_some(b);
    cairn_stats stats = stats_of(b->store);
    assert_in_range(stats.edge_bytes, 1, SHARED / 2 * 2 * BLOCK_BYTES);
    assert_true(stats.dead_bytes < BLOCK_BYTES); /* the deletions */
    for (unsigned i = 0; i < SHARED; i++) {
        delete_bulk(b, "value", i, i + 1);
        delete_bulk(b, "small", i, i + 1);
    }
    (void)compact(b, CAIRN_OK);
    assert_int_equal(stats_of(b->store).edge_bytes, 0);
}

/* Every third one lives, between holes: a copy needs a block less for each. */
static void a_full_compaction_copies_what_is_scattered_among_holes(void **state) {
    sim_box *b = *state;
    put_bulk(b, "fill", 0, 1);
    for (unsigned i = 0; i < SHARED; i++) {
        char key[16];
        bulk_key(key, "value", i);
        put_text(b->store, key, random_pool() + i, RECORD_LARGE_BYTES);
    }
    for (unsigned i = 0; i < SHARED; i++) {
        if (i % 3 != 1) delete_bulk(b, "value", i, i + 1);
    }
    delete_bulk(b, "fill", 0, 1);
    assert_int_equal(compact_some(b).bytes_moved, 0);
    assert_true(stats_of(b->store).edge_bytes > 0);
    cairn_compact_result full = compact(b, CAIRN_OK);
    assert_true(full.bytes_moved >= SHARED / 3 * RECORD_LARGE_BYTES);
    assert_int_equal(stats_of(b->store).edge_bytes, 0);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        for (unsigned i = 1; i < SHARED; i += 3) {
            char key[16];
            bulk_key(key, "value", i);
            expect_get(b->store, key, strlen(key), random_pool() + i, RECORD_LARGE_BYTES);
        }
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void what_dies_later_is_freed_later(void **state) {
    sim_box *b = *state;
    make_dead(b);
    (void)compact(b, CAIRN_OK);
    for (unsigned i = 1; i < 17; i += 4) {
        delete_bulk(b, "a", i, i + 1);
    }
    cairn_compact_result r = compact(b, CAIRN_OK);
    assert_true(r.bytes_freed >= 4 * BULK_WHOLE_BYTES && r.bytes_moved < BULK_BYTES);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_bulk(b, "a", 3, 4);
        expect_bulk(b, "a", 19, 20);
        expect_absent(b->store, "a5");
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static uint64_t punches_after_deleting(sim_box *b, unsigned i) {
    delete_bulk(b, "a", i, i + 1);
    sim_box_count(b, SIM_PUNCH);
    (void)compact(b, CAIRN_OK);
    uint64_t punches = sim_box_counted(b);
    sim_fault_set(b->disk, NULL);
    return punches;
}

static void what_is_a_hole_is_punched_again_by_another_handle_only(void **state) {
    enum { COUNT = 40 };
    sim_box *b = *state;
    b->options.segment_bytes = 4 * SIM_BOX_SEGMENT_BYTES;
    sim_box_reopen(b);
    put_bulk(b, "a", 0, COUNT);
    for (unsigned i = 0; i < COUNT; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    (void)compact(b, CAIRN_OK);
    assert_in_range(punches_after_deleting(b, 1), 1,
                    3); /* to see whether it can be done, the new one, the old footer */
    sim_box_reopen(b);
    assert_in_range(punches_after_deleting(b, 5), 5, COUNT / 2);
    assert_in_range(punches_after_deleting(b, 9), 1, 3);
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_segment_in_which_little_lives_goes_as_a_whole(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    put_text(b->store, "small", "s", 1);
    delete_bulk(b, "a", 0, 20);
    cairn_compact_result r = compact(b, CAIRN_OK);
    assert_true(r.bytes_freed >= 20 * BULK_WHOLE_BYTES && r.bytes_moved < 4096);
    assert_true(stats_of(b->store).allocated_bytes < 2 * BULK_BYTES);
    expect_text(b->store, "small", "s");
}

/* Every second one of many, each too small for a hole: the store's own thread cannot free them where they lie. */
static void what_dies_in_short_runs_goes_by_moving_what_lives_between(void **state) {
    enum { COUNT = 1200, BYTES = 20000 };
    sim_box *b = *state;
    char key[16];
    for (unsigned i = 0; i < COUNT; i++) {
        bulk_key(key, "a", i);
        put_text(b->store, key, random_pool() + i, BYTES);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    uint64_t before = stats_of(b->store).dead_bytes;
    assert_true(before >= COUNT / 2 * BYTES);
    assert_true(store_compact_in_background(b->store));
    assert_true(stats_of(b->store).dead_bytes <= before - (uint64_t)COUNT / 4 * BYTES);
    for (unsigned i = 1; i < COUNT; i += 2) {
        bulk_key(key, "a", i);
        expect_get(b->store, key, strlen(key), random_pool() + i, BYTES);
    }
    assert_int_equal(verify_damage(b->store), 0);
}

/* Small values between large ones: the dead ones are given back by moving the small ones that live, and no large one.
 */
static void small_garbage_between_large_values_goes_without_a_copy_of_these(void **state) {
    sim_box *b = *state;
    put_mixed(b);
    cairn_compact_options o = {.struct_size = sizeof o, .min_garbage_ratio = MIXED_RATIO};
    cairn_compact_result r = {.struct_size = sizeof r};
    assert_int_equal(cairn_compact(b->store, &o, &r, NULL), CAIRN_OK);
    assert_in_range(r.bytes_moved, MIXED_SMALL / 8 * MIXED_SMALL_BYTES, BULK_BYTES * MIXED_LARGE / 4);
    assert_true(r.bytes_freed >= MIXED_SMALL / 2 * MIXED_SMALL_BYTES);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_mixed(b);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

/* ---- Who sees what is dead ---- */

static void what_a_snapshot_sees_keeps_its_blocks_until_it_is_closed(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    cairn_snapshot *snapshot = snapshot_of(b->store);
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    assert_true(compact(b, CAIRN_OK).bytes_freed < BULK_BYTES);
    expect_in(snapshot, "a4", random_pool() + 4, BULK_BYTES);
    cairn_snapshot_close(snapshot);
    assert_true(compact(b, CAIRN_OK).bytes_freed >= 10 * BULK_WHOLE_BYTES);
    expect_half(b);
}

static void what_a_view_or_reader_or_scan_has_open_keeps_its_blocks(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    cairn_reader *reader = NULL;
    cairn_scan *scan = NULL;
    put_bulk(b, "a", 0, 20);
    assert_int_equal(cairn_view_open(b->store, "a0", 2, &view, NULL), CAIRN_OK);
    assert_int_equal(cairn_reader_open(b->store, "a18", 3, &reader, NULL), CAIRN_OK);
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    (void)compact(b, CAIRN_OK);
    assert_memory_equal(cairn_view_data(view), random_pool(), BULK_BYTES);
    uint8_t *bytes = malloc(BULK_BYTES);
    size_t got = 0;
    assert_int_equal(cairn_reader_pread(reader, bytes, BULK_BYTES, 0, &got, NULL), CAIRN_OK);
    assert_int_equal(got, BULK_BYTES);
    assert_memory_equal(bytes, random_pool() + 18, got);
    free(bytes);
    cairn_view_close(view);
    cairn_reader_close(reader);
    assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
    delete_bulk(b, "a", 1, 2);
    (void)compact(b, CAIRN_OK);
    unsigned count = 0;
    while (cairn_scan_next(scan, NULL) == CAIRN_OK) {
        const void *value;
        size_t size;
        assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
        count++;
    }
    assert_int_equal(count, 10);
    cairn_scan_close(scan);
    (void)compact(b, CAIRN_OK);
    assert_true(stats_of(b->store).dead_bytes < 64 << 10);
}

static void what_is_viewed_again_keeps_its_blocks(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    put_bulk(b, "a", 0, 20);
    assert_int_equal(cairn_view_open(b->store, "a0", 2, &view, NULL), CAIRN_OK);
    cairn_view_close(view);
    assert_int_equal(cairn_view_open(b->store, "a0", 2, &view, NULL), CAIRN_OK);
    delete_bulk(b, "a", 0, 4);
    (void)compact(b, CAIRN_OK);
    sim_box_locate(b, ".seg", random_pool(), BULK_BYTES, name, &offset); /* it is there */
    cairn_view_close(view);
    (void)compact(b, CAIRN_OK);
    assert_true(stats_of(b->store).dead_bytes < 64 << 10);
}

/* ---- What fails ---- */

static void where_no_hole_can_be_punched_records_are_moved(void **state) {
    sim_box *b = *state;
    make_dead(b);
    fail_calls(b, SIM_PUNCH, -EOPNOTSUPP, true);
    cairn_compact_result r = compact(b, CAIRN_OK);
    assert_true(r.bytes_moved >= 8 * BULK_BYTES && r.bytes_freed > r.bytes_moved);
    sim_fault_set(b->disk, NULL);
    expect_half(b);
}

static void where_a_hole_fails_the_space_comes_back_in_another_way(void **state) {
    sim_box *b = *state;
    make_dead(b);
    uint64_t before = stats_of(b->store).allocated_bytes;
    /* The first call asks whether it is possible at all. */
    sim_fault_set(b->disk, &(sim_fault){.kinds = SIM_PUNCH, .nth = 1, .error = -EIO, .sticky = true});
    cairn_compact_result r = compact(b, CAIRN_OK);
    assert_true(r.bytes_moved >= 8 * BULK_BYTES);
    sim_fault_set(b->disk, NULL);
    expect_half(b);
    sim_box_reopen(b);
    (void)compact(b, CAIRN_OK);
    assert_true(before - stats_of(b->store).allocated_bytes >= 10 * BULK_BYTES - (64 << 10));
    expect_half(b);
}

/* With so little garbage the store itself copies nothing. */
static void a_hole_that_failed_is_punched_the_next_time_by_the_same_handle(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 40);
    delete_bulk(b, "a", 0, 2);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    assert_int_equal(vlog_maintain(b->store->log, NULL), CAIRN_OK); /* full segments are sealed */
    /* The first call asks whether it is possible at all. */
    sim_fault_set(b->disk, &(sim_fault){.kinds = SIM_PUNCH, .nth = 1, .error = -EIO, .sticky = true});
    (void)store_compact_in_background(b->store);
    assert_true(sim_fault_hits(b->disk) > 0);
    sim_fault_set(b->disk, NULL);
    uint64_t failed = stats_of(b->store).allocated_bytes;
    (void)store_compact_in_background(b->store);
    assert_true(failed - stats_of(b->store).allocated_bytes >= 2 * BULK_BYTES - (64 << 10));
    expect_bulk(b, "a", 2, 40);
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_footer_that_does_not_fit_changes_nothing(void **state) {
    sim_box *b = *state;
    make_dead(b);
    fail_calls(b, SIM_WRITE, -ENOSPC, true);
    (void)compact(b, CAIRN_FULL);
    sim_fault_set(b->disk, NULL);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_half(b);
    }
    assert_true(compact(b, CAIRN_OK).bytes_freed >= 10 * BULK_WHOLE_BYTES);
}

/* Zeros that a footer lists were freed; with the footer damaged nobody can tell, and nothing wrong is returned. */
static void a_damaged_footer_of_a_segment_with_holes_is_seen(void **state) {
    sim_box *b = *state;
    make_dead(b);
    (void)compact(b, CAIRN_OK);
    sim_box_close(b);
    char names[16][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, 16), damaged = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        if (strstr(names[i], ".seg") == NULL) continue;
        free(sim_file_read(b->disk, SIM_BOX_STORE, names[i], &size));
        damaged += size > BULK_BYTES && sim_file_poke(b->disk, SIM_BOX_STORE, names[i], size - 60, 0x10);
    }
    assert_true(damaged >= 3);
    sim_box_open(b);
    assert_true(verify_damage(b->store) >= damaged);
    for (unsigned i = 1; i < 20; i += 2) {
        expect_bulk(b, "a", i, i + 1);
    }
    sim_box_close(b);
    (void)sim_file_remove(b->disk, SIM_BOX_STORE, "CHECKPOINT");
    cairn *store = NULL;
    assert_int_equal(store_open_on(&store, sim_os(b->disk), SIM_BOX_STORE, &b->options, b->hash_mask, NULL),
                     CAIRN_CORRUPT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(large_dead_records_give_their_blocks_back_without_a_copy),
        TEST(a_dead_record_of_64_kib_gives_its_whole_blocks_back_wherever_it_begins),
        TEST(what_holes_leave_in_shared_blocks_is_told_apart_from_garbage),
        TEST(a_full_compaction_copies_what_is_scattered_among_holes),
        TEST(what_dies_later_is_freed_later),
        TEST(what_is_a_hole_is_punched_again_by_another_handle_only),
        TEST(a_segment_in_which_little_lives_goes_as_a_whole),
        TEST(what_dies_in_short_runs_goes_by_moving_what_lives_between),
        TEST(small_garbage_between_large_values_goes_without_a_copy_of_these),
        TEST(what_a_snapshot_sees_keeps_its_blocks_until_it_is_closed),
        TEST(what_a_view_or_reader_or_scan_has_open_keeps_its_blocks),
        TEST(what_is_viewed_again_keeps_its_blocks),
        TEST(where_no_hole_can_be_punched_records_are_moved),
        TEST(where_a_hole_fails_the_space_comes_back_in_another_way),
        TEST(a_hole_that_failed_is_punched_the_next_time_by_the_same_handle),
        TEST(a_footer_that_does_not_fit_changes_nothing),
        TEST(a_damaged_footer_of_a_segment_with_holes_is_seen),
    };
    return cmocka_run_group_tests_name("holes", tests, NULL, NULL);
}

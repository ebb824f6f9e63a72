/* Compaction: what it gives back, what it keeps, and that nobody sees it: no key is lost, changed or brought back,
 * whatever is held open, fails or dies meanwhile, and also where the index is built from the log alone. */
#include "include/cairn.h"
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/moving.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WRITE_BYTES ((size_t)64 << 10) /* of what is moved */

/* ---- What it gives back ---- */

static unsigned long_writes, askew;

static int watched_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    bool is_long = os_pieces_bytes(iov, count) >= WRITE_BYTES;
    long_writes += is_long;
    askew += is_long && offset % WRITE_BYTES != 0;
    return sim_calls()->file_write(file, iov, count, offset);
}

/* Where the page cache has one large page for each. */
static void long_writes_begin_on_multiples_of_their_length(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    put_mixed(b);
    delete_bulk(b, "a", 0, 10);
    long_writes = askew = 0;
    os_override(sim_os(b->disk), &(os){.file_write = watched_write});
    cairn_compact_result r = compact_all(b);
    assert_true(long_writes >= 10 && r.bytes_moved > 10 * WRITE_BYTES);
    assert_int_equal(askew, 0);
    expect_bulk(b, "a", 10, 20);
    expect_mixed(b);
}

static void live_records_move_together_and_the_old_segments_go(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    delete_bulk(b, "a", 0, 10);
    put_text(b->store, "small", "s", 1);
    uint64_t version = version_of(b->store, "small");
    size_t before = sim_box_files(b, ".seg");
    cairn_compact_result r = compact_all(b);
    assert_true(r.bytes_freed >= 10 * BULK_BYTES && r.bytes_moved > 0 && r.bytes_scanned >= r.bytes_moved);
    assert_true(sim_box_files(b, ".seg") < before);
    assert_true(stats_of(b->store).dead_bytes < BULK_BYTES);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_bulk(b, "a", 10, 20);
        expect_absent(b->store, "a0");
        expect_everywhere(b->store, "small", "s", 1);
        assert_int_equal(version_of(b->store, "small"), version);
        assert_int_equal(keys_by_scan(b->store, NULL), 11);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void a_store_without_garbage_is_left_as_it_is(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 12);
    seal(b);
    uint64_t before = 0;
    for (int i = 0; i < 2; i++) { /* the first one gives the reserve back */
        cairn_compact_result r = compact_all(b);
        assert_int_equal(r.bytes_moved, 0);
        assert_int_equal(r.bytes_freed, 0);
        if (i == 1) assert_int_equal(sim_fingerprint(b->disk), before);
        before = sim_fingerprint(b->disk);
    }
    expect_bulk(b, "a", 0, 12);
}

static void a_dry_run_counts_and_changes_nothing(void **state) {
    sim_box *b = *state;
    cairn_compact_result r;
    put_bulk(b, "a", 0, 12);
    delete_bulk(b, "a", 0, 11);
    seal(b);
    uint64_t before = sim_fingerprint(b->disk);
    assert_int_equal(compact_with(b, (cairn_compact_options){.dry_run = true}, &r), CAIRN_OK);
    assert_true(r.bytes_freed >= 10 * BULK_BYTES && r.bytes_scanned >= r.bytes_freed);
    assert_int_equal(sim_fingerprint(b->disk), before);
}

static void a_segment_with_less_garbage_than_was_asked_for_stays(void **state) {
    sim_box *b = *state;
    cairn_compact_result r;
    put_bulk(b, "a", 0, 5);
    seal(b);
    delete_bulk(b, "a", 0, 1);
    assert_int_equal(compact_with(b, (cairn_compact_options){.min_garbage_ratio = 0.5}, &r), CAIRN_OK);
    assert_int_equal(r.bytes_moved, 0);
    assert_int_equal(compact_with(b, (cairn_compact_options){.min_garbage_ratio = 0.1}, &r), CAIRN_OK);
    assert_true(r.bytes_moved >= 4 * BULK_BYTES);
    expect_bulk(b, "a", 1, 5);
}

static int cancel(const cairn_progress *progress, void *ctx) {
    uint64_t *calls = ctx;
    assert_true(progress->done <= progress->total);
    return --*calls == 0;
}

static void what_was_moved_before_a_cancellation_stays_moved(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 30);
    delete_bulk(b, "a", 0, 3);
    put_bulk(b, "b", 0, 5);
    delete_bulk(b, "b", 0, 2);
    for (uint64_t at = 1; at < 12; at++) {
        cairn_compact_result r;
        uint64_t calls = at;
        cairn_compact_options o = {.full = true, .progress = cancel, .ctx = &calls};
        int rc = compact_with(b, o, &r);
        assert_true(rc == CAIRN_OK || rc == CAIRN_CANCELLED);
        if (at == 1) assert_int_equal(rc, CAIRN_CANCELLED);
        expect_bulk(b, "a", 3, 30);
        expect_bulk(b, "b", 2, 5);
        expect_absent(b->store, "a0");
    }
    sim_box_rebuild(b);
    expect_bulk(b, "a", 3, 30);
    expect_bulk(b, "b", 2, 5);
    assert_int_equal(keys_by_scan(b->store, NULL), 30);
}

static void options_that_make_no_sense_are_refused(void **state) {
    sim_box *b = *state;
    cairn_compact_result r;
    static const double wrong[] = {-0.1, 1.1, (double)__builtin_nanf("")};
    for (size_t i = 0; i < 3; i++) {
        cairn_compact_options o = {.min_garbage_ratio = wrong[i]};
        assert_int_equal(compact_with(b, o, &r), CAIRN_INVALID);
    }
    sim_box_reopen_read_only(b);
    assert_true(compact_with(b, (cairn_compact_options){.full = true}, &r) != CAIRN_OK);
}

/* ---- Deletions ---- */

/* Segment by segment: an old value, its deletion, and others that stay. */
static void a_deleted_key_does_not_come_back_in_whatever_order_segments_go(void **state) {
    sim_box *b = *state;
    for (unsigned order = 0; order < 6; order++) {
        char key[16];
        bulk_key(key, "k", order);
        for (unsigned s = 0; s < 3; s++) {
            char other[16];
            bulk_key(other, "other", 10 * order + s);
            if (s == 0) put_text(b->store, key, random_pool(), BULK_BYTES);
            if (s == 1) put_text(b->store, key, random_pool() + 1, BULK_BYTES);
            if (s == 2) delete_text(b->store, key);
            put_text(b->store, other, random_pool(), BULK_BYTES);
            if (s == order % 3) put_text(b->store, "garbage", random_pool(), 4 * BULK_BYTES / 5);
            seal(b);
        }
        delete_text(b->store, "garbage");
        cairn_compact_result r;
        assert_int_equal(compact_with(b, (cairn_compact_options){.min_garbage_ratio = 0.3}, &r), CAIRN_OK);
        expect_absent(b->store, key);
        if (order % 2 == 0) sim_box_rebuild(b);
        expect_absent(b->store, key);
    }
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        assert_int_equal(keys_by_scan(b->store, NULL), 18);
    }
    compact_all(b);
    sim_box_rebuild(b);
    assert_int_equal(keys_by_scan(b->store, NULL), 18);
}

static void a_deletion_goes_with_the_last_older_value(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 50);
    delete_bulk(b, "a", 0, 50);
    compact_all(b);
    assert_int_equal(stats_of(b->store).dead_bytes, 0); /* not a deletion is left */
    sim_box_rebuild(b);
    assert_int_equal(keys_by_scan(b->store, NULL), 0);
}

/* ---- Times to live ---- */

static void what_expires_between_two_compactions_is_gone_also_in_a_rebuilt_index(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "older", 5);
    put_bulk(b, "a", 0, 4);
    seal(b);
    put_for(b->store, "k", "expires", 7, 1000);
    put_for(b->store, "stays", "s", 1, 1000000);
    put_bulk(b, "b", 0, 4);
    delete_bulk(b, "b", 0, 2);
    compact_all(b);
    expect_text(b->store, "k", "expires");
    sim_clock_advance(b->disk, 1000);
    delete_bulk(b, "b", 2, 3);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_absent(b->store, "k");
        expect_text(b->store, "stays", "s");
        compact_all(b);
        expect_absent(b->store, "k");
        assert_int_equal(keys_by_scan(b->store, NULL), 6);
    }
}

static void an_expiry_of_a_removed_segment_takes_nothing_that_came_later(void **state) {
    sim_box *b = *state;
    put_for(b->store, "k", "short", 5, 1000);
    delete_text(b->store, "k");
    compact_all(b);
    put_for(b->store, "k", "later", 5, 1000000); /* nothing else is there: where the first one was, if anywhere */
    sim_clock_advance(b->disk, 2000);
    assert_int_equal(stats_of(b->store).keys, 1);
    expect_text(b->store, "k", "later");
    put_text(b->store, "other", "o", 1);
    expect_text(b->store, "k", "later");
}

/* ---- The checkpoint ---- */

typedef struct saved_file {
    const char *name;
    uint8_t *bytes;
    size_t size;
} saved_file;

static void an_older_checkpoint_that_is_put_back_is_not_used(void **state) {
    sim_box *b = *state;
    saved_file files[2] = {{.name = "CHECKPOINT"}, {.name = "CHECKPOINT.DATA"}};
    put_bulk(b, "a", 0, 8);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    for (size_t i = 0; i < 2; i++) {
        files[i].bytes = sim_file_read(b->disk, SIM_BOX_STORE, files[i].name, &files[i].size);
        assert_non_null(files[i].bytes);
    }
    delete_bulk(b, "a", 0, 4);
    put_text(b->store, "new", "n", 1);
    compact_all(b);
    sim_cut_at(b->disk, sim_operations(b->disk)); /* no checkpoint of a close */
    sim_box_kill(b);
    sim_box_close(b);
    for (size_t i = 0; i < 2; i++) {
        sim_file_write(b->disk, SIM_BOX_STORE, files[i].name, files[i].bytes, files[i].size);
        free(files[i].bytes);
    }
    sim_box_open(b);
    expect_bulk(b, "a", 4, 8);
    expect_absent(b->store, "a0");
    expect_text(b->store, "new", "n");
    assert_int_equal(verify_damage(b->store), 0);
}

/* ---- Damage and errors ---- */

static void a_moved_segment_of_another_size_keeps_no_other_from_being_emptied(void **state) {
    sim_box *b = *state;
    char names[16][SIM_NAME_SIZE];
    put_bulk(b, "a", 0, 4);
    delete_bulk(b, "a", 0, 1);
    compact_all(b);
    seal(b);
    assert_int_equal(sim_names(b->disk, SIM_BOX_STORE, names, 16) > 0, 1);
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    sim_box_locate(b, ".seg", random_pool() + 1, BULK_BYTES, name, &offset);
    delete_bulk(b, "a", 1, 2); /* some garbage in it */
    put_text(b->store, "b", random_pool() + 9, BULK_BYTES);
    delete_text(b->store, "b");
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, SIM_BOX_STORE, name, &size);
    free(bytes);
    assert_true(sim_file_resize(b->disk, SIM_BOX_STORE, name, size - 64));
    cairn_compact_result r;
    assert_int_equal(compact_with(b, (cairn_compact_options){.full = true}, &r), CAIRN_CORRUPT);
    assert_true(r.bytes_freed >= BULK_BYTES);
    assert_int_equal(compact_with(b, (cairn_compact_options){.full = true}, &r), CAIRN_OK);
    expect_bulk(b, "a", 2, 4);
}

/* ---- What is held open ---- */

static void a_reader_and_a_view_keep_what_they_see(void **state) {
    sim_box *b = *state;
    cairn_reader *reader;
    cairn_view *view;
    static uint8_t got[BULK_BYTES];
    size_t n;
    put_bulk(b, "a", 0, 10);
    assert_int_equal(cairn_reader_open(b->store, "a1", 2, &reader, NULL), CAIRN_OK);
    assert_int_equal(cairn_view_open(b->store, "a6", 2, &view, NULL), CAIRN_OK);
    delete_bulk(b, "a", 0, 10);
    for (int i = 0; i < 2; i++) {
        compact_all(b);
        assert_int_equal(cairn_reader_pread(reader, got, sizeof got, 0, &n, NULL), CAIRN_OK);
        assert_int_equal(n, BULK_BYTES);
        assert_memory_equal(got, random_pool() + 1, BULK_BYTES);
        assert_memory_equal(cairn_view_data(view), random_pool() + 6, BULK_BYTES);
    }
    cairn_reader_close(reader);
    cairn_view_close(view);
    compact_all(b);
    assert_true(stats_of(b->store).allocated_bytes < 2 * BULK_BYTES);
}

static void a_value_file_stays_while_a_reader_snapshot_or_scan_may_read_it(void **state) {
    sim_box *b = *state;
    cairn_reader *reader;
    static uint8_t got[FILE_BYTES];
    size_t n;
    put_text(b->store, "f", random_pool() + 3, FILE_BYTES);
    assert_int_equal(cairn_reader_open(b->store, "f", 1, &reader, NULL), CAIRN_OK);
    cairn_snapshot *s = snapshot_of(b->store);
    delete_text(b->store, "f");
    compact_all(b);
    assert_int_equal(sim_box_files(b, ".val"), 1);
    expect_in(s, "f", random_pool() + 3, FILE_BYTES);
    cairn_snapshot_close(s);
    compact_all(b);
    assert_int_equal(sim_box_files(b, ".val"), 0);
    assert_int_equal(cairn_reader_pread(reader, got, sizeof got, 0, &n, NULL), CAIRN_OK);
    assert_memory_equal(got, random_pool() + 3, FILE_BYTES);
    cairn_reader_close(reader);
}

static void snapshots_see_through_compactions_what_they_saw_before(void **state) {
    sim_box *b = *state;
    cairn_snapshot *s[4];
    for (unsigned i = 0; i < 4; i++) {
        put_text(b->store, "k", random_pool() + i, BULK_BYTES);
        put_bulk(b, "a", 0, 3);
        s[i] = snapshot_of(b->store);
        compact_all(b);
    }
    delete_text(b->store, "k");
    delete_bulk(b, "a", 0, 3);
    static const unsigned order[4] = {1, 3, 0, 2};
    for (unsigned i = 0; i < 4; i++) {
        compact_all(b);
        for (unsigned j = i; j < 4; j++) {
            expect_in(s[order[j]], "k", random_pool() + order[j], BULK_BYTES);
            expect_in(s[order[j]], "a2", random_pool() + 2, BULK_BYTES);
            assert_int_equal(keys_by_scan(b->store, s[order[j]]), 4);
        }
        cairn_snapshot_close(s[order[i]]);
    }
    compact_all(b);
    assert_int_equal(stats_of(b->store).pinned_bytes, 0);
    assert_true(stats_of(b->store).allocated_bytes < 2 * BULK_BYTES);
}

static void a_scan_lists_what_was_there_though_all_of_it_moves_and_dies(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 12);
    put_bulk(b, "b", 0, 12);
    delete_bulk(b, "b", 0, 12);
    cairn_scan *scan;
    assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
    unsigned count = 0;
    while (cairn_scan_next(scan, NULL) == CAIRN_OK) {
        const void *value;
        size_t size;
        if (count == 0) compact_all(b);
        if (count == 1) delete_bulk(b, "a", 0, 12);
        compact_all(b);
        assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
        assert_int_equal(size, BULK_BYTES);
        count++;
    }
    assert_int_equal(count, 12);
    cairn_scan_close(scan);
    compact_all(b);
    assert_true(stats_of(b->store).allocated_bytes < 2 * BULK_BYTES);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(long_writes_begin_on_multiples_of_their_length),
        TEST(live_records_move_together_and_the_old_segments_go),
        TEST(a_store_without_garbage_is_left_as_it_is),
        TEST(a_dry_run_counts_and_changes_nothing),
        TEST(a_segment_with_less_garbage_than_was_asked_for_stays),
        TEST(what_was_moved_before_a_cancellation_stays_moved),
        TEST(options_that_make_no_sense_are_refused),
        TEST(a_deleted_key_does_not_come_back_in_whatever_order_segments_go),
        TEST(a_deletion_goes_with_the_last_older_value),
        TEST(what_expires_between_two_compactions_is_gone_also_in_a_rebuilt_index),
        TEST(an_expiry_of_a_removed_segment_takes_nothing_that_came_later),
        TEST(an_older_checkpoint_that_is_put_back_is_not_used),
        TEST(a_moved_segment_of_another_size_keeps_no_other_from_being_emptied),
        TEST(a_reader_and_a_view_keep_what_they_see),
        TEST(a_value_file_stays_while_a_reader_snapshot_or_scan_may_read_it),
        TEST(snapshots_see_through_compactions_what_they_saw_before),
        TEST(a_scan_lists_what_was_there_though_all_of_it_moves_and_dies),
    };
    return cmocka_run_group_tests_name("compact", tests, NULL, NULL);
}

/* Write-back that begins before the sync (vlog_write_back): what it is told to write, how often, and that a failure is
 * nobody's. Crashes need no test of their own: a system may write what is not synced whenever it likes, and the
 * simulated one does. */
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#define STEP ((uint64_t)64 << 10) /* write-back ends on a multiple of it */

static unsigned flushes;
static uint64_t flushed_from, flushed_end, flushed_bytes; /* of the last one; of all */
static int refusal;

static int noted_flush(os_file *file, uint64_t offset, uint64_t size) {
    (void)file;
    flushes++;
    flushed_from = offset;
    flushed_end = offset + size;
    flushed_bytes += size;
    return refusal;
}

static void write_back(sim_box *b) {
    assert_int_equal(vlog_maintain(b->store->log, NULL), CAIRN_OK); /* the next segment is there */
    flushes = 0;
    flushed_bytes = 0;
    assert_true(vlog_write_back(b->store->log));
}

static uint64_t active_end(sim_box *b) { return vlog_appended_bytes(b->store->log) + SEGMENT_DATA_OFFSET; }

static void what_was_appended_is_written_up_to_what_is_still_being_filled(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 3);
    assert_true(active_end(b) > STEP);
    write_back(b);
    assert_int_equal(flushes, 1);
    assert_int_equal(flushed_from, 0);
    assert_int_equal(flushed_end, active_end(b) / STEP * STEP);
}

static void what_was_written_once_is_not_again(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 2);
    write_back(b);
    uint64_t end = flushed_end;
    write_back(b);
    assert_int_equal(flushes, 0);
    put_bulk(b, "a", 2, 3);
    write_back(b);
    assert_int_equal(flushes, 1);
    assert_int_equal(flushed_from, end);
    assert_true(flushed_end > end);
}

static void full_segments_are_written_with_their_footers_and_synced_ones_are_left(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 40);
    write_back(b);
    assert_true(flushes >= 4);
    assert_true(flushed_bytes > vlog_appended_bytes(b->store->log) - STEP);
    put_bulk(b, "a", 40, 80);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    write_back(b);
    assert_in_range(flushes, 0, 1); /* of the active one */
    expect_bulk(b, "a", 0, 80);
}

/* Which is made durably, and so waits for a device that is busy, while the one that is being filled grows. */
static void it_gives_way_to_the_next_segment_until_that_is_made(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 3);
    flushes = 0;
    assert_false(vlog_write_back(b->store->log));
    assert_int_equal(flushes, 0);
    write_back(b);
    assert_int_equal(flushes, 1);
}

static void nothing_depends_on_it(void **state) {
    sim_box *b = *state;
    refusal = -EIO;
    put_bulk(b, "a", 0, 12);
    write_back(b);
    assert_true(flushes > 0);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    come_back(b, CUT);
    expect_bulk(b, "a", 0, 12);
}

/* ---- By the store itself, on the real file system ---- */

static atomic_uint real_flushes;

static int counted_flush(os_file *file, uint64_t offset, uint64_t size) {
    atomic_fetch_add(&real_flushes, 1);
    return os_posix()->file_flush(file, offset, size);
}

/* Puts so much while no sync is due, waits a little for write-back to begin, and returns how often it did. */
static unsigned write_backs_of(void **state, unsigned durability, unsigned mib) {
    static char value[1 << 20];
    os table = os_posix_with(&(os){.file_flush = counted_flush});
    cairn_options o = {.struct_size = sizeof o, .create = true, .durability = durability, .sync_interval_ms = 600000};
    cairn *store = NULL;
    char path[REAL_PATH_SIZE], key[16];
    real_path(path, *state, "store");
    atomic_store(&real_flushes, 0);
    assert_int_equal(store_open_on(&store, &table, path, &o, UINT64_MAX, NULL), CAIRN_OK);
    for (unsigned i = 0; i < mib; i++) {
        bulk_key(key, "a", i);
        assert_int_equal(cairn_put(store, key, strlen(key), value, sizeof value, NULL, NULL), CAIRN_OK);
    }
    unsigned count = 0;
    for (int looks = 0; looks < 500 && count == 0; looks++) {
        os_nap_us(1000);
        count = atomic_load(&real_flushes);
    }
    assert_int_equal(cairn_close(store), CAIRN_OK);
    real_folder_remove(path);
    return count;
}

static void much_is_written_before_a_sync_is_due(void **state) {
    assert_true(write_backs_of(state, CAIRN_DURABILITY_DEFAULT, 48) > 0);
}

static void little_waits_for_the_sync(void **state) {
    assert_int_equal(write_backs_of(state, CAIRN_DURABILITY_DEFAULT, 24), 0);
}

static void where_each_put_is_synced_nothing_is_left_to_write(void **state) {
    assert_int_equal(write_backs_of(state, CAIRN_DURABILITY_SYNC, 48), 0);
}

static void where_nothing_is_synced_nothing_is_written_either(void **state) {
    assert_int_equal(write_backs_of(state, CAIRN_DURABILITY_NONE, 48), 0);
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    os_override(sim_os(((sim_box *)*state)->disk), &(os){.file_flush = noted_flush});
    refusal = 0;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)
#define REAL_TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_appended_is_written_up_to_what_is_still_being_filled),
        TEST(what_was_written_once_is_not_again),
        TEST(full_segments_are_written_with_their_footers_and_synced_ones_are_left),
        TEST(it_gives_way_to_the_next_segment_until_that_is_made),
        TEST(nothing_depends_on_it),
        REAL_TEST(much_is_written_before_a_sync_is_due),
        REAL_TEST(little_waits_for_the_sync),
        REAL_TEST(where_each_put_is_synced_nothing_is_left_to_write),
        REAL_TEST(where_nothing_is_synced_nothing_is_written_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

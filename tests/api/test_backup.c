/* Backups: what is in one, what a later one adds, that neither store sees what becomes of the other, and that what is
 * no backup of this store is never touched. */
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/second_store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_BYTES ((size_t)300000) /* a file of its own */

static void compact(cairn *store) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    cairn_error error = {0};
    int rc = cairn_compact(store, &o, NULL, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_compact: %d, %s", rc, error.message);
}

/* One of each kind. */
static void put_kinds(sim_box *b) {
    put_bulk(b, "a", 0, 12);
    put_text(b->store, "small", "s", 1);
    put_text(b->store, "empty", "", 0);
    put_text(b->store, "file", random_pool(), FILE_BYTES);
    put_for(b->store, "mortal", "m", 1, 100000);
    put_text(b->store, "gone", "g", 1);
    delete_text(b->store, "gone");
}

static int refused(sim_box *b, const char *text) {
    cairn_error error = {0};
    int rc = backup_with(b, false, NULL, &error);
    if (rc == CAIRN_OK || strstr(error.message, text) == NULL) fail_msg("%d, %s", rc, error.message);
    return rc;
}

/* ---- What is in it ---- */

static void a_backup_is_a_store_that_holds_the_same(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    cairn_backup_result r = backup_now(b, false);
    assert_true(r.bytes_shared > FILE_BYTES && r.bytes_kept == 0);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
    cairn *second = second_open(b->disk, false);
    assert_int_equal(stats_of(second).replay_records, 0);
    expect_everywhere(second, "file", random_pool(), FILE_BYTES);
    expect_everywhere(second, "empty", "", 0);
    expect_absent(second, "gone");
    put_text(second, "own", "o", 1);
    assert_true(version_of(second, "own") > version_of(second, "mortal"));
    assert_int_equal(cairn_close(second), CAIRN_OK);
    expect_absent(b->store, "own");
}

static void a_copy_shares_no_file_with_the_store(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    cairn_backup_result r = backup_now(b, true);
    assert_true(r.bytes_copied > FILE_BYTES && r.bytes_shared == 0);
    uint64_t sum = contents_fingerprint(b->store);
    assert_int_equal(second_fingerprint(b->disk), sum);
    char names[64][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SECOND_STORE, names, 64);
    for (size_t i = 0; i < count; i++) {
        size_t size;
        free(sim_file_read(b->disk, SECOND_STORE, names[i], &size));
        for (uint64_t at = 0; at < size; at += 4096) {
            (void)sim_file_poke(b->disk, SECOND_STORE, names[i], at, 1);
        }
    }
    assert_int_equal(contents_fingerprint(b->store), sum);
    assert_int_equal(verify_damage(b->store), 0);
}

static void an_empty_store_has_a_backup_too(void **state) {
    sim_box *b = *state;
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), 0);
    put_kinds(b);
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
}

static void a_store_that_was_emptied_and_compacted_has_a_backup_too(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 12);
    delete_bulk(b, "a", 0, 12);
    compact(b->store);
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), 0);
    compact(b->store);
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), 0);
}

static void its_checkpoint_is_its_own(void **state) {
    sim_box *b = *state;
    size_t size, size_now;
    put_kinds(b);
    (void)backup_now(b, false);
    uint8_t *before = sim_file_read(b->disk, SECOND_STORE, "CHECKPOINT.DATA", &size);
    put_bulk(b, "a", 0, 12);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        put_kinds(b);
    }
    uint8_t *now = sim_file_read(b->disk, SECOND_STORE, "CHECKPOINT.DATA", &size_now);
    assert_int_equal(size_now, size);
    assert_memory_equal(now, before, size);
    free(before);
    free(now);
}

static void what_comes_later_is_not_in_it_and_what_goes_later_is(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    uint64_t sum = contents_fingerprint(b->store);
    (void)backup_now(b, false);
    put_bulk(b, "b", 0, 6);
    put_text(b->store, "small", "other", 5);
    put_text(b->store, "file", "short", 5);
    delete_bulk(b, "a", 0, 11);
    for (int i = 0; i < 3; i++) {
        compact(b->store);
        assert_int_equal(second_fingerprint(b->disk), sum);
    }
    sim_box_close(b);
    assert_int_equal(second_fingerprint(b->disk), sum);
    sim_box_open(b);
    expect_absent(b->store, "a3");
    expect_text(b->store, "file", "short");
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_backup_outlives_its_store(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    uint64_t sum = contents_fingerprint(b->store);
    (void)backup_now(b, false);
    sim_box_close(b);
    char names[64][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, 64);
    for (size_t i = 0; i < count; i++) {
        (void)sim_file_remove(b->disk, SIM_BOX_STORE, names[i]);
    }
    assert_int_equal(second_fingerprint(b->disk), sum);
    sim_box_open(b);
}

static void half_of_a_batch_is_never_in_it(void **state) {
    sim_box *b = *state;
    cairn_batch *batch = NULL;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (int i = 0; i < 3; i++) {
        const char *keys[] = {"x", "y", "z"};
        assert_int_equal(cairn_batch_put(batch, keys[i], 1, random_pool(), 200000), CAIRN_OK);
    }
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
}

static void what_expired_is_gone_from_the_backup_too(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    (void)backup_now(b, false);
    sim_clock_advance(b->disk, 100001);
    cairn *second = second_open(b->disk, true);
    expect_absent(second, "mortal");
    expect_text(second, "small", "s");
    assert_int_equal(cairn_close(second), CAIRN_OK);
}

/* ---- The next one ---- */

static void a_second_one_transfers_only_what_is_new(void **state) {
    sim_box *b = *state;
    for (int copy = 0; copy < 2; copy++) {
        put_bulk(b, copy ? "c" : "a", 0, 12);
        (void)backup_now(b, copy);
        put_bulk(b, copy ? "d" : "b", 0, 1);
        cairn_backup_result r = backup_now(b, copy);
        assert_true(r.bytes_kept >= 12 * BULK_BYTES);
        assert_true(r.bytes_shared + r.bytes_copied >= BULK_BYTES);
        assert_true(r.bytes_shared + r.bytes_copied < 2 * BULK_BYTES + (64 << 10));
        assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
    }
}

static void what_the_store_gave_back_goes_from_the_next_backup(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    put_bulk(b, "b", 0, 12);
    (void)backup_now(b, false);
    size_t before = second_files(b->disk, ".");
    delete_bulk(b, "a", 0, 12);
    delete_bulk(b, "b", 1, 12);
    delete_text(b->store, "file");
    compact(b->store);
    (void)backup_now(b, false);
    assert_true(second_files(b->disk, ".") + 4 < before);
    assert_int_equal(second_files(b->disk, ".val"), 0);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
}

/* Of a copied segment more is punched each time: both versions are there until the new manifest counts. */
static void segments_that_were_punched_since_are_replaced(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    (void)backup_now(b, true);
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = i; j < 20; j += 5) {
            delete_bulk(b, "a", j, j + 1);
        }
        compact(b->store);
        cairn_backup_result r = backup_now(b, true);
        assert_true(r.bytes_copied > 0 && r.bytes <= (20 - 4 * (i + 1)) * (BULK_BYTES + 8192) + (512 << 10));
        assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
        assert_int_equal(second_files(b->disk, ".alt") > 0, i % 2 == 0);
    }
}

static void a_backup_of_a_backup_is_a_store_as_well(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    (void)backup_now(b, true);
    delete_bulk(b, "a", 3, 4);
    compact(b->store);
    (void)backup_now(b, true); /* replaced segments, under their other names */
    uint64_t sum = contents_fingerprint(b->store);
    for (int i = 0; i < 2; i++) {
        cairn *second = second_open(b->disk, false), *third = NULL;
        if (i == 1) put_text(second, "own", "o", 1);
        sum = contents_fingerprint(second);
        cairn_error error = {0};
        if (cairn_backup(second, "third", NULL, &error) != CAIRN_OK) fail_msg("%s", error.message);
        assert_int_equal(store_open_on(&third, sim_os(b->disk), "third", NULL, UINT64_MAX, &error), CAIRN_OK);
        assert_int_equal(contents_fingerprint(third), sum);
        assert_int_equal(verify_damage(third), 0);
        /* Opened with threads, but untouched: the next backup still knows it. */
        assert_int_equal(cairn_close(third), CAIRN_OK);
        assert_int_equal(cairn_close(second), CAIRN_OK);
    }
}

/* ---- Neither changes the other ---- */

/* Rule 11: a hole in a shared file would be one in both stores. */
static void shared_segments_are_emptied_instead_of_punched(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    (void)backup_now(b, false);
    uint64_t sum = contents_fingerprint(b->store);
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    compact(b->store);
    compact(b->store);
    assert_true(stats_of(b->store).dead_bytes < BULK_BYTES);
    assert_int_equal(second_fingerprint(b->disk), sum);
    assert_int_equal(verify_damage(b->store), 0);
    for (unsigned i = 1; i < 20; i += 2) {
        expect_bulk(b, "a", i, i + 1);
    }
}

static void the_backup_compacts_without_touching_the_store(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    put_bulk(b, "b", 0, 12);
    (void)backup_now(b, false);
    uint64_t sum = contents_fingerprint(b->store);
    cairn *second = second_open(b->disk, false);
    delete_text(second, "file");
    for (unsigned i = 0; i < 12; i += 2) {
        char key[16];
        bulk_key(key, "b", i);
        delete_text(second, key);
    }
    compact(second);
    compact(second);
    uint64_t second_sum = contents_fingerprint(second);
    assert_int_equal(verify_damage(second), 0);
    assert_int_equal(cairn_close(second), CAIRN_OK);
    assert_int_equal(second_fingerprint(b->disk), second_sum);
    sim_box_rebuild(b);
    assert_int_equal(contents_fingerprint(b->store), sum);
    assert_int_equal(verify_damage(b->store), 0);
}

static void holes_are_made_again_once_the_backup_is_gone(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 20);
    (void)backup_now(b, false);
    char names[64][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SECOND_STORE, names, 64);
    for (size_t i = 0; i < count; i++) {
        (void)sim_file_remove(b->disk, SECOND_STORE, names[i]);
    }
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    cairn_compact_result r = {.struct_size = sizeof r};
    assert_int_equal(cairn_compact(b->store, &o, &r, NULL), CAIRN_OK);
    assert_int_equal(r.bytes_moved, 0);
    assert_true(r.bytes_freed >= 10 * BULK_WHOLE_BYTES);
}

/* As a file system does that shares blocks: here by copying them. */
static int clone_by_copying(os_file *from, os_file *to) {
    static uint8_t bytes[1 << 20];
    size_t got;
    uint64_t offset = 0;
    int rc;
    while ((rc = os_file_read(from, bytes, sizeof bytes, offset, &got)) == 0 && got > 0) {
        if ((rc = os_file_write(to, bytes, got, offset)) != 0) break;
        offset += got;
    }
    return rc;
}

static void where_files_can_be_cloned_both_stores_go_on_making_holes(void **state) {
    sim_box *b = *state;
    os_override(sim_os(b->disk), &(os){.file_clone = clone_by_copying});
    put_bulk(b, "a", 0, 20);
    put_text(b->store, "file", random_pool(), FILE_BYTES);
    cairn_backup_result r = backup_now(b, false);
    assert_true(r.bytes_shared >= 20 * BULK_BYTES + FILE_BYTES && r.bytes_copied < BULK_BYTES);
    uint64_t sum = contents_fingerprint(b->store);
    for (unsigned i = 0; i < 20; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    cairn_compact_result freed = {.struct_size = sizeof freed};
    assert_int_equal(cairn_compact(b->store, &o, &freed, NULL), CAIRN_OK);
    assert_int_equal(freed.bytes_moved, 0);
    assert_true(freed.bytes_freed >= 10 * BULK_WHOLE_BYTES);
    assert_int_equal(second_fingerprint(b->disk), sum);
    (void)backup_now(b, false);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
}

/* ---- While it is made ---- */

static void *delete_and_compact(void *arg) {
    sim_box *b = arg;
    delete_bulk(b, "a", 0, 12);
    delete_text(b->store, "another file"); /* the first one is copied by then */
    compact(b->store);
    return NULL;
}

static int meddle(const cairn_progress *progress, void *ctx) {
    static const int behind_the_checkpoint = 3; /* whose two files come first, under the lock of compaction */
    sim_box *b = ((sim_box **)ctx)[0];
    int *calls = ((int **)ctx)[1];
    os_thread thread;
    (void)progress;
    if (++*calls != behind_the_checkpoint) return 0;
    assert_int_equal(os_thread_start(&thread, delete_and_compact, b), 0);
    os_thread_join(&thread);
    assert_true(stats_of(b->store).pinned_bytes > 6 * BULK_BYTES);
    return 0;
}

static void what_it_still_needs_stays_while_it_copies_and_goes_afterwards(void **state) {
    sim_box *b = *state;
    int calls = 0;
    void *ctx[] = {b, &calls};
    put_kinds(b);
    put_text(b->store, "another file", random_pool() + 1, FILE_BYTES);
    uint64_t sum = contents_fingerprint(b->store);
    cairn_backup_options o = {.struct_size = sizeof o, .copy = true, .progress = meddle, .ctx = ctx};
    cairn_error error = {0};
    int rc = cairn_backup(b->store, SECOND_STORE, &o, &error);
    if (rc != CAIRN_OK) fail_msg("%d, %s", rc, error.message);
    assert_true(calls > 3);
    assert_int_equal(second_fingerprint(b->disk), sum);
    assert_int_equal(stats_of(b->store).pinned_bytes, 0);
    compact(b->store);
    assert_int_equal(sim_box_files(b, ".val"), 1);
    assert_true(stats_of(b->store).allocated_bytes < FILE_BYTES + 2 * BULK_BYTES);
}

/* ---- Refused, and nothing changed ---- */

static void a_backup_that_was_written_to_is_left_alone(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    (void)backup_now(b, false);
    cairn *second = second_open(b->disk, false);
    put_text(second, "own", "o", 1);
    uint64_t sum = contents_fingerprint(second);
    assert_int_equal(cairn_close(second), CAIRN_OK);
    put_bulk(b, "b", 0, 6);
    assert_int_equal(refused(b, "written to"), CAIRN_EXISTS);
    assert_int_equal(second_fingerprint(b->disk), sum);
}

static void another_store_or_another_copy_is_left_alone(void **state) {
    sim_box *b = *state;
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    cairn *other = NULL;
    put_text(b->store, "k", "v", 1);
    assert_int_equal(store_open_on(&other, sim_os(b->disk), SECOND_STORE, &o, UINT64_MAX, NULL), CAIRN_OK);
    assert_int_equal(refused(b, "open"), CAIRN_BUSY);
    assert_int_equal(cairn_close(other), CAIRN_OK);
    assert_int_equal(refused(b, "another store"), CAIRN_EXISTS);
    /* Its third's backup: the same identity, another history. */
    assert_int_equal(cairn_backup(b->store, "third", NULL, NULL), CAIRN_OK);
    assert_int_equal(store_open_on(&other, sim_os(b->disk), "third", NULL, UINT64_MAX, NULL), CAIRN_OK);
    assert_int_equal(cairn_backup(other, "fourth", NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_close(other), CAIRN_OK);
    cairn_error error = {0};
    assert_int_equal(cairn_backup(b->store, "fourth", NULL, &error), CAIRN_EXISTS);
    assert_non_null(strstr(error.message, "another copy"));
}

static void a_directory_with_anything_else_in_it_is_left_alone(void **state) {
    sim_box *b = *state;
    os *system = sim_os(b->disk);
    os_dir *dir = NULL;
    put_text(b->store, "k", "v", 1);
    assert_int_equal(system->dir_open(system, SECOND_STORE, OS_CREATE, &dir), 0);
    os_dir_close(dir);
    sim_file_write(b->disk, SECOND_STORE, "letter", "dear", 4);
    assert_int_equal(refused(b, "letter"), CAIRN_NO_STORE);
    assert_int_equal(second_files(b->disk, ""), 1);
    assert_true(sim_file_remove(b->disk, SECOND_STORE, "letter"));
    (void)backup_now(b, false);
    /* A store that lost its identity may be all that somebody has. */
    assert_true(sim_file_remove(b->disk, SECOND_STORE, "CAIRN"));
    size_t files = second_files(b->disk, "");
    assert_int_equal(refused(b, "CAIRN"), CAIRN_NO_STORE);
    assert_int_equal(second_files(b->disk, ""), files);
}

static void arguments_are_checked(void **state) {
    sim_box *b = *state;
    cairn_backup_options o = {.struct_size = 0};
    cairn_backup_result r = {.struct_size = 0};
    assert_int_equal(cairn_backup(NULL, SECOND_STORE, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_backup(b->store, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_backup(b->store, "", NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_backup(b->store, SECOND_STORE, &o, NULL), CAIRN_INVALID);
    o = (cairn_backup_options){.struct_size = sizeof o, .result = &r};
    assert_int_equal(cairn_backup(b->store, SECOND_STORE, &o, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_backup(b->store, SIM_BOX_STORE, NULL, NULL), CAIRN_BUSY);
    assert_int_equal(cairn_backup(b->store, "no/such", NULL, NULL), CAIRN_IO);
    sim_box_reopen_read_only(b);
    assert_int_equal(cairn_backup(b->store, SECOND_STORE, NULL, NULL), CAIRN_READ_ONLY);
    assert_int_equal(second_files(b->disk, ""), 0);
}

/* ---- Cut short ---- */

typedef struct countdown {
    uint64_t calls, done;
    cairn *store;
} countdown;

static int cancel(const cairn_progress *progress, void *ctx) {
    countdown *c = ctx;
    assert_true(progress->done <= progress->total && progress->done >= c->done);
    c->done = progress->done;
    /* It is a child of the store's. */
    assert_int_equal(cairn_close(c->store), CAIRN_BUSY);
    return c->calls-- == 0;
}

static void a_cancelled_one_leaves_what_was_there(void **state) {
    sim_box *b = *state;
    uint64_t sum = 0;
    put_kinds(b);
    for (int round = 0; round < 2; round++) {
        for (uint64_t at = 0;; at++) {
            countdown c = {.calls = at, .store = b->store};
            cairn_backup_options o = {.struct_size = sizeof o, .copy = at % 2, .progress = cancel, .ctx = &c};
            int rc = cairn_backup(b->store, SECOND_STORE, &o, NULL);
            if (rc == CAIRN_OK) {
                assert_true(at > 3);
                break;
            }
            assert_int_equal(rc, CAIRN_CANCELLED);
            if (round == 0) assert_int_equal(second_files(b->disk, ""), 0);
            if (round == 1) assert_int_equal(second_fingerprint(b->disk), sum);
        }
        sum = contents_fingerprint(b->store);
        assert_int_equal(second_fingerprint(b->disk), sum);
        put_bulk(b, "b", 0, 12);
    }
}

static void what_a_cancelled_one_held_can_go(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    countdown c = {.calls = 2, .store = b->store};
    cairn_backup_options o = {.struct_size = sizeof o, .copy = true, .progress = cancel, .ctx = &c};
    assert_int_equal(cairn_backup(b->store, SECOND_STORE, &o, NULL), CAIRN_CANCELLED);
    assert_int_equal(stats_of(b->store).pinned_bytes, 0);
    delete_bulk(b, "a", 0, 12);
    delete_text(b->store, "file");
    compact(b->store);
    assert_true(stats_of(b->store).allocated_bytes < 2 * BULK_BYTES);
}

static void a_full_disk_leaves_what_was_there(void **state) {
    sim_box *b = *state;
    put_kinds(b);
    (void)backup_now(b, true);
    uint64_t sum = contents_fingerprint(b->store);
    put_bulk(b, "b", 0, 12);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    cairn_stats s = stats_of(b->store);
    sim_set_capacity(b->disk, 2 * s.allocated_bytes - 6 * BULK_BYTES);
    cairn_error error = {0};
    assert_int_equal(backup_with(b, true, NULL, &error), CAIRN_FULL);
    assert_int_equal(second_fingerprint(b->disk), sum);
    sim_set_capacity(b->disk, UINT64_MAX);
    (void)backup_now(b, true);
    assert_int_equal(second_fingerprint(b->disk), contents_fingerprint(b->store));
}

#define SIM_BOX_TEST(test) cmocka_unit_test_setup_teardown(test, sim_box_setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SIM_BOX_TEST(a_backup_is_a_store_that_holds_the_same),
        SIM_BOX_TEST(a_copy_shares_no_file_with_the_store),
        SIM_BOX_TEST(an_empty_store_has_a_backup_too),
        SIM_BOX_TEST(a_store_that_was_emptied_and_compacted_has_a_backup_too),
        SIM_BOX_TEST(its_checkpoint_is_its_own),
        SIM_BOX_TEST(what_comes_later_is_not_in_it_and_what_goes_later_is),
        SIM_BOX_TEST(a_backup_outlives_its_store),
        SIM_BOX_TEST(half_of_a_batch_is_never_in_it),
        SIM_BOX_TEST(what_expired_is_gone_from_the_backup_too),
        SIM_BOX_TEST(a_second_one_transfers_only_what_is_new),
        SIM_BOX_TEST(what_the_store_gave_back_goes_from_the_next_backup),
        SIM_BOX_TEST(segments_that_were_punched_since_are_replaced),
        SIM_BOX_TEST(a_backup_of_a_backup_is_a_store_as_well),
        SIM_BOX_TEST(shared_segments_are_emptied_instead_of_punched),
        SIM_BOX_TEST(the_backup_compacts_without_touching_the_store),
        SIM_BOX_TEST(holes_are_made_again_once_the_backup_is_gone),
        SIM_BOX_TEST(where_files_can_be_cloned_both_stores_go_on_making_holes),
        SIM_BOX_TEST(what_it_still_needs_stays_while_it_copies_and_goes_afterwards),
        SIM_BOX_TEST(a_backup_that_was_written_to_is_left_alone),
        SIM_BOX_TEST(another_store_or_another_copy_is_left_alone),
        SIM_BOX_TEST(a_directory_with_anything_else_in_it_is_left_alone),
        SIM_BOX_TEST(arguments_are_checked),
        SIM_BOX_TEST(a_cancelled_one_leaves_what_was_there),
        SIM_BOX_TEST(what_a_cancelled_one_held_can_go),
        SIM_BOX_TEST(a_full_disk_leaves_what_was_there),
    };
    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}

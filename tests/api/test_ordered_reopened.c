/* What ordered scans list after a reopening: clean, behind a kill, read-only; and with the file of the ordered index
 * gone, cut short, garbled, another store's, or put back from an older state. It is derived from the log: whatever
 * becomes of it, the keys are those that were put. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/listed.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_NAME "ORDERED"
#define MANY 3000u

static const cairn_scan_options reverse = {.struct_size = sizeof reverse, .reverse = true};

static void put_many(cairn *store, unsigned from, unsigned to) {
    char key[16];
    for (unsigned i = from; i < to; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        put_text(store, key, "v", 1);
    }
}

/* So many numbered keys, both ways, and no other. */
static void expect_many(cairn *store, unsigned from, unsigned to) {
    char key[16];
    cairn_scan *forth = scan_of(store, NULL), *back = scan_of(store, &reverse);
    for (unsigned i = from; i < to; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        expect_next(forth, key);
        (void)snprintf(key, sizeof key, "%05u", from + to - 1 - i);
        expect_next(back, key);
    }
    expect_rest(forth, "");
    expect_rest(back, "");
}

static void open_read_only(box *b) {
    b->options.create = false;
    b->options.read_only = true;
    box_reopen(b);
}

static void open_writable(box *b) {
    b->options.create = true;
    b->options.read_only = false;
    box_reopen(b);
}

/* ---- The file as it should be ---- */

static void a_clean_close_leaves_nothing_to_be_caught_up_with(void **state) {
    box *b = *state;
    put_keys(b->store, "a b c");
    delete_text(b->store, "b");
    box_reopen(b);
    assert_int_equal(stats_of(b->store).ordered_pending, 0);
    expect_keys(b->store, &reverse, "c a");
    put_keys(b->store, "b");
    expect_keys(b->store, &reverse, "c b a");
}

static void what_was_not_absorbed_before_a_kill_is_replayed(void **state) {
    box *b = *state;
    box_quiet(b);
    put_keys(b->store, "a b c d");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    delete_text(b->store, "b");
    delete_text(b->store, "c");
    put_keys(b->store, "c e a");
    box_crash(b);
    expect_keys(b->store, &reverse, "e d c a");
    delete_text(b->store, "e");
    put_keys(b->store, "b");
    box_crash(b);
    delete_text(b->store, "d"); /* before the first scan has caught up */
    cairn_snapshot *s = snapshot_of(b->store);
    put_keys(b->store, "d z");
    expect_keys(b->store, NULL, "a b c d z");
    cairn_scan_options of = {.struct_size = sizeof of, .snapshot = s};
    expect_keys(b->store, &of, "a b c");
    cairn_snapshot_close(s);
    box_reopen(b);
    expect_keys(b->store, NULL, "a b c d z");
}

static void an_index_dropped_before_a_first_scan_has_nothing_pending(void **state) {
    box *b = *state;
    box_quiet(b);
    put_keys(b->store, "a b");
    box_crash(b);
    assert_true(stats_of(b->store).ordered_pending > 0);
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    assert_int_equal(stats_of(b->store).ordered_pending, 0);
    delete_text(b->store, "a");
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    expect_keys(b->store, NULL, "b");
}

static void a_drop_or_add_before_a_kill_stays(void **state) {
    box *b = *state;
    box_quiet(b);
    put_keys(b->store, "a b");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    box_crash(b);
    assert_false(stats_of(b->store).ordered || real_file_is_there(b->path, FILE_NAME));
    delete_text(b->store, "a");
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    put_keys(b->store, "c");
    box_crash(b);
    assert_true(stats_of(b->store).ordered);
    expect_keys(b->store, &reverse, "c b");
}

/* 25 MB of keys: more than what is due at once. Without threads the put that makes it so much absorbs it. */
static void many_changes_are_absorbed_whenever(void **state) {
    box *b = *state;
    static char key[5000];
    memset(key, 'k', sizeof key);
    for (unsigned quiet = 0; quiet < 2; quiet++) {
        if (quiet) box_quiet(b);
        for (unsigned i = 0; i < 5000; i++) {
            (void)snprintf(key, sizeof key, "%05u", 5000 * quiet + i);
            key[5] = 'k';
            assert_int_equal(cairn_put(b->store, key, sizeof key, "v", 1, NULL, NULL), CAIRN_OK);
        }
        if (quiet) assert_in_range(stats_of(b->store).ordered_pending, 0, 4999);
        assert_int_equal(count_keys(b->store, &reverse), 5000 * (quiet + 1));
        box_reopen(b);
        assert_int_equal(count_keys(b->store, NULL), 5000 * (quiet + 1));
    }
}

/* ---- Read-only ---- */

static void expect_read_only(box *b, const char *keys) {
    open_read_only(b);
    char *before = real_folder_describe(b->path);
    for (unsigned i = 0; i < 2; i++) {
        expect_keys(b->store, &(cairn_scan_options){.struct_size = sizeof reverse, .upper = "zz", .upper_size = 2},
                    keys);
        cairn_snapshot *s = snapshot_of(b->store);
        expect_keys(b->store, &(cairn_scan_options){.struct_size = sizeof reverse, .snapshot = s}, keys);
        cairn_snapshot_close(s);
    }
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_READ_ONLY);
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_READ_ONLY);
    assert_int_equal(cairn_delete_range(b->store, NULL, NULL, NULL, NULL), CAIRN_READ_ONLY);
    box_close(b);
    char *after = real_folder_describe(b->path);
    assert_string_equal(before, after);
    free(before);
    free(after);
    open_writable(b);
}

static void a_read_only_handle_lists_after_a_clean_close(void **state) {
    box *b = *state;
    put_keys(b->store, "a b c");
    delete_text(b->store, "b");
    expect_read_only(b, "a c");
}

static void a_read_only_handle_lists_what_a_kill_left(void **state) {
    box *b = *state;
    box_quiet(b);
    put_keys(b->store, "a b c");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    delete_text(b->store, "b");
    put_keys(b->store, "d");
    char next[REAL_PATH_SIZE];
    real_folder_duplicate(b->path, next);
    box_close(b);
    real_folder_remove(b->path);
    memcpy(b->path, next, sizeof next);
    expect_read_only(b, "a c d");
    expect_keys(b->store, NULL, "a c d");
}

static void a_read_only_handle_needs_no_file(void **state) {
    box *b = *state;
    put_many(b->store, 0, MANY);
    box_close(b);
    real_file_remove(b->path, FILE_NAME);
    open_read_only(b);
    cairn_scan *scan = scan_of(b->store, &reverse);
    expect_next(scan, "02999");
    expect_many(b->store, 0, MANY);
    expect_next(scan, "02998");
    cairn_scan_close(scan);
    assert_false(real_file_is_there(b->path, FILE_NAME));
}

static void a_read_only_handle_without_an_index_refuses_what_needs_order(void **state) {
    box *b = *state;
    cairn_scan *scan;
    put_keys(b->store, "a");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    open_read_only(b);
    assert_int_equal(cairn_scan_open(b->store, &reverse, &scan, NULL), CAIRN_UNSUPPORTED);
    expect_keys(b->store, NULL, "a");
}

/* Everything behind the head: pages that a walk will meet. */
static void garble_pages(const box *b) {
    size_t size;
    uint8_t *bytes = real_file_load(b->path, FILE_NAME, &size);
    CHECK(size > 16384);
    for (size_t i = 12288; i < size; i++)
        bytes[i] ^= 0x5a;
    char path[REAL_PATH_SIZE];
    real_path(path, b->path, FILE_NAME);
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
}

/* A scan that meets it may fail; no scan leaves anything out. */
static void expect_all_or_failure(box *b, bool may_fail) {
    cairn_scan *scan = NULL;
    unsigned count = 0;
    int rc = cairn_scan_open(b->store, &reverse, &scan, NULL), failures = 0;
    while (rc != CAIRN_DONE && failures < 3) {
        if (scan == NULL) break;
        rc = cairn_scan_next(scan, NULL);
        count += rc == CAIRN_OK;
        failures += rc != CAIRN_OK && rc != CAIRN_DONE;
    }
    cairn_scan_close(scan);
    assert_true(may_fail || rc == CAIRN_DONE);
    if (rc == CAIRN_DONE) assert_int_equal(count, MANY);
}

static void a_file_that_fails_under_a_handle_costs_no_scan_a_key(void **state) {
    box *b = *state;
    put_many(b->store, 0, MANY);
    for (unsigned read_only = 0; read_only < 2; read_only++) {
        if (read_only) open_read_only(b);
        if (!read_only) box_reopen(b);
        garble_pages(b);
        expect_all_or_failure(b, true);
        expect_all_or_failure(b, false);
        expect_many(b->store, 0, MANY);
    }
}

/* ---- The file as it should not be ---- */

typedef void (*harm)(const box *b, size_t how);

static void remove_it(const box *b, size_t how) {
    (void)how;
    real_file_remove(b->path, FILE_NAME);
}
static void cut_it(const box *b, size_t how) {
    size_t size;
    free(real_file_load(b->path, FILE_NAME, &size));
    const size_t sizes[] = {0, 1, 4095, 4096, 8192, 12288, size / 2, size - 4096, size - 1};
    real_file_cut(b->path, FILE_NAME, min_u64(sizes[how], size));
}
static void garble_it(const box *b, size_t how) {
    size_t size;
    free(real_file_load(b->path, FILE_NAME, &size));
    uint64_t rng = how;
    real_file_save(b->path, FILE_NAME, random_window(&rng, size), how == 0 ? 3 : size);
}

static void spoil_a_page(const box *b, size_t how) {
    size_t size, page = 4096;
    uint8_t *bytes = real_file_load(b->path, FILE_NAME, &size);
    uint8_t *at = bytes + (2 + how / 2 % (size / page - 2)) * page;
    uint64_t rng = how;
    if (how % 2 == 0) memset(at, 0, page);
    if (how % 2 == 1) memcpy(at, random_window(&rng, page), page);
    real_file_save(b->path, FILE_NAME, bytes, size);
    free(bytes);
}

/* Harms it between a close and an opening of each kind. */
static void harm_and_look(box *b, unsigned keys, harm does, size_t ways) {
    char more[16];
    (void)snprintf(more, sizeof more, "%05u", keys);
    put_many(b->store, 0, keys);
    for (size_t way = 0; way < ways; way++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            box_close(b);
            does(b, way);
            b->options.no_background = kind == 1;
            b->options.create = kind != 2;
            b->options.read_only = kind == 2;
            box_open(b);
            if (kind == 3) { /* used before it is built */
                put_many(b->store, keys, keys + 1);
                delete_text(b->store, more);
            }
            expect_many(b->store, 0, keys);
        }
    }
}

static void a_file_that_is_gone_is_made_anew(void **state) { harm_and_look(*state, 1000, remove_it, 1); }
static void a_file_that_was_cut_is_made_anew(void **state) { harm_and_look(*state, 1000, cut_it, 9); }
static void a_file_of_garbage_is_made_anew(void **state) { harm_and_look(*state, 1000, garble_it, 3); }

static void a_file_with_a_damaged_page_is_made_anew(void **state) { harm_and_look(*state, 1000, spoil_a_page, 40); }

/* So many that the file has checksums of its pages. */
#define PAGES_WITH_SUMS 20000u
#define SUMS_NAME "ORDERED.SUMS"

static void a_large_file_with_a_damaged_page_is_made_anew(void **state) {
    harm_and_look(*state, PAGES_WITH_SUMS, spoil_a_page, 6);
    box_close(*state);
    assert_true(real_file_is_there(((box *)*state)->path, SUMS_NAME));
    box_open(*state);
}

static void spoil_checksums(const box *b, size_t how) {
    size_t size;
    free(real_file_load(b->path, SUMS_NAME, &size));
    real_file_flip(b->path, SUMS_NAME, mix(how) % size, how % 8);
}

static void spoilt_checksums_of_pages_cost_no_key(void **state) {
    harm_and_look(*state, PAGES_WITH_SUMS, spoil_checksums, 4);
}

/* The page that has the last key is not looked at before somebody comes to it. */
static void a_short_scan_behind_a_close_reads_only_the_pages_that_it_needs(void **state) {
    box *b = *state;
    size_t size, now;
    put_many(b->store, 0, PAGES_WITH_SUMS);
    box_close(b);
    uint8_t *bytes = real_file_load(b->path, FILE_NAME, &size);
    for (uint8_t *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), "19999", 5)) != NULL;)
        *at ^= 0x40;
    real_file_save(b->path, FILE_NAME, bytes, size);
    box_open(b);
    expect_keys(b->store, &(cairn_scan_options){.struct_size = sizeof reverse, .prefix = "0000", .prefix_size = 4},
                "00000 00001 00002 00003 00004 00005 00006 00007 00008 00009");
    uint8_t *same = real_file_load(b->path, FILE_NAME, &now);
    assert_int_equal(now, size);
    assert_memory_equal(same, bytes, size);
    expect_many(b->store, 0, PAGES_WITH_SUMS);
    free(same);
    free(bytes);
}

/* By the changes of a handle that never scans. */
static void a_damaged_page_stops_no_put(void **state) {
    box *b = *state;
    box_quiet(b);
    put_many(b->store, 0, MANY);
    for (unsigned i = 0; i < 30; i++) {
        box_reopen(b);
        box_close(b);
        spoil_a_page(b, i);
        box_open(b);
        put_many(b->store, MANY, MANY + 2);
        delete_text(b->store, "03001");
        assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        box_reopen(b);
        expect_many(b->store, 0, MANY + 1);
        delete_text(b->store, "03000");
    }
}

/* It looks again, also where nothing was wrong before. */
static void a_verification_tells_of_a_damaged_page(void **state) {
    box *b = *state;
    box_quiet(b);
    put_many(b->store, 0, MANY);
    box_reopen(b);
    expect_many(b->store, 0, MANY);
    assert_int_equal(verify_damage(b->store), 0);
    garble_pages(b);
    assert_int_equal(verify_damage(b->store), 1);
    assert_int_equal(verify_damage(b->store), 0);
    expect_many(b->store, 0, MANY);
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_file_of_another_store_is_made_anew(void **state) {
    box *b = *state;
    char other[REAL_PATH_SIZE];
    real_folder_make(other);
    cairn *store = store_open_or_fail(other, &b->options);
    put_keys(store, "x y z");
    assert_int_equal(cairn_close(store), CAIRN_OK);
    put_keys(b->store, "a b c");
    box_close(b);
    real_file_copy(other, b->path, FILE_NAME);
    real_folder_remove(other);
    open_read_only(b);
    expect_keys(b->store, NULL, "a b c");
    open_writable(b);
    expect_keys(b->store, NULL, "a b c");
}

static void keep_file(const box *b, char folder[REAL_PATH_SIZE]) {
    real_folder_make(folder);
    real_file_copy(b->path, folder, FILE_NAME);
}

static void put_file_back(const box *b, const char *folder) {
    real_file_copy(folder, b->path, FILE_NAME);
    real_folder_remove(folder);
}

static void an_older_file_put_back_after_a_close_is_not_believed(void **state) {
    box *b = *state;
    char older[REAL_PATH_SIZE];
    put_keys(b->store, "a b c");
    box_close(b);
    keep_file(b, older);
    box_open(b);
    put_keys(b->store, "d");
    delete_text(b->store, "a");
    box_close(b);
    put_file_back(b, older);
    open_read_only(b);
    expect_keys(b->store, NULL, "b c d");
    open_writable(b);
    expect_keys(b->store, &reverse, "d c b");
}

static void an_older_file_put_back_after_a_kill_is_brought_up_to_date_or_made_anew(void **state) {
    box *b = *state;
    char older[REAL_PATH_SIZE], next[REAL_PATH_SIZE];
    box_quiet(b);
    put_keys(b->store, "a b c");
    for (unsigned checkpoints = 0; checkpoints < 3; checkpoints++) {
        assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        keep_file(b, older);
        delete_text(b->store, "a");
        put_keys(b->store, "d");
        for (unsigned i = 0; i < checkpoints; i++) {
            assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
            put_keys(b->store, "e");
        }
        real_folder_duplicate(b->path, next);
        box_close(b);
        real_folder_remove(b->path);
        memcpy(b->path, next, sizeof next);
        put_file_back(b, older);
        box_open(b);
        expect_keys(b->store, NULL, checkpoints == 0 ? "b c d" : "b c d e");
        delete_text(b->store, "d");
        delete_text(b->store, "e");
        put_keys(b->store, "a");
    }
}

/* Of a state that the log has lost; and then the log grows past it. */
static void a_file_ahead_of_the_log_is_not_believed_later_either(void **state) {
    box *b = *state;
    char ahead[REAL_PATH_SIZE], back[REAL_PATH_SIZE];
    box_quiet(b);
    put_keys(b->store, "a");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    real_folder_duplicate(b->path, back);
    put_keys(b->store, "b");
    delete_text(b->store, "a");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    keep_file(b, ahead);
    box_close(b);
    real_folder_remove(b->path);
    memcpy(b->path, back, sizeof back);
    put_file_back(b, ahead);
    box_open(b);
    put_keys(b->store, "c d e f g");
    box_crash(b);
    expect_keys(b->store, NULL, "a c d e f g");
}

static void a_store_closed_while_its_index_is_built_is_none_the_worse(void **state) {
    box *b = *state;
    put_many(b->store, 0, MANY);
    for (unsigned i = 0; i < 10; i++) {
        box_close(b);
        if (i < 9) real_file_remove(b->path, FILE_NAME);
        b->options.no_background = i % 3 == 2;
        box_open(b);
        put_many(b->store, MANY + i, MANY + i + 1);
    }
    expect_many(b->store, 0, MANY + 10);
}

static void a_backup_is_listed_in_order(void **state) {
    box *b = *state;
    char folder[REAL_PATH_SIZE];
    real_folder_make(folder);
    put_many(b->store, 0, MANY);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    put_many(b->store, MANY, MANY + 10);
    assert_int_equal(cairn_backup(b->store, folder, NULL, NULL), CAIRN_OK);
    put_many(b->store, MANY + 10, MANY + 20);
    cairn *copy = store_open_or_fail(folder, &b->options);
    expect_many(copy, 0, MANY + 10);
    assert_int_equal(cairn_close(copy), CAIRN_OK);
    real_folder_remove(folder);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_clean_close_leaves_nothing_to_be_caught_up_with),
        TEST(what_was_not_absorbed_before_a_kill_is_replayed),
        TEST(an_index_dropped_before_a_first_scan_has_nothing_pending),
        TEST(a_drop_or_add_before_a_kill_stays),
        TEST(many_changes_are_absorbed_whenever),
        TEST(a_read_only_handle_lists_after_a_clean_close),
        TEST(a_read_only_handle_lists_what_a_kill_left),
        TEST(a_read_only_handle_needs_no_file),
        TEST(a_read_only_handle_without_an_index_refuses_what_needs_order),
        TEST(a_file_that_fails_under_a_handle_costs_no_scan_a_key),
        TEST(a_file_that_is_gone_is_made_anew),
        TEST(a_file_that_was_cut_is_made_anew),
        TEST(a_file_of_garbage_is_made_anew),
        TEST(a_file_with_a_damaged_page_is_made_anew),
        TEST(a_large_file_with_a_damaged_page_is_made_anew),
        TEST(spoilt_checksums_of_pages_cost_no_key),
        TEST(a_short_scan_behind_a_close_reads_only_the_pages_that_it_needs),
        TEST(a_damaged_page_stops_no_put),
        TEST(a_verification_tells_of_a_damaged_page),
        TEST(a_file_of_another_store_is_made_anew),
        TEST(an_older_file_put_back_after_a_close_is_not_believed),
        TEST(an_older_file_put_back_after_a_kill_is_brought_up_to_date_or_made_anew),
        TEST(a_file_ahead_of_the_log_is_not_believed_later_either),
        TEST(a_store_closed_while_its_index_is_built_is_none_the_worse),
        TEST(a_backup_is_listed_in_order),
    };
    return cmocka_run_group_tests_name("ordered_reopened", tests, NULL, NULL);
}

/* Checksums of the pages of the ordered index: with them a walk of a few pages reads those and no more; whatever is
 * wrong with them, or with a page, walks give the right keys or say that the file is damaged. */
#include "index/ordered_sums.h"
#include "index/store_seed.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/os/os_thread.h"
#include "tests/support/ordered_box.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 30000u
#define KEY_SIZE 60u
#define LONG_SIZE 600u
#define LONG_EVERY 100u

static size_t key_make(uint8_t key[LONG_SIZE], uint64_t number) {
    size_t size = number % LONG_EVERY == 0 ? LONG_SIZE : KEY_SIZE;
    memset(key, 'k', size);
    for (unsigned i = 0; i < 4; i++)
        key[i] = (uint8_t)(number >> (24 - 8 * i));
    return size;
}

static void absorb_numbers(ordered *o, uint64_t from, uint64_t to, bool erase, uint64_t place) {
    static uint8_t keys[KEYS][LONG_SIZE];
    static ordered_change changes[KEYS];
    for (uint64_t i = from; i < to; i++)
        changes[i - from] =
            (ordered_change){.key = keys[i - from], .size = key_make(keys[i - from], i), .erase = erase};
    CHECK(ordered_absorb(o, changes, to - from, place, NULL) == CAIRN_OK);
}

static void leave_sums(ordered_box *b) {
    ordered_leave_sums(b->index, b->dir);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
}

/* A folder with an index of KEYS keys, and its checksums, open. */
static int setup(void **state) {
    if (real_folder_setup(state) != 0) return 1;
    ordered_box *b = malloc(sizeof *b);
    CHECK(b != NULL);
    ordered_box_open(b, *state, true);
    absorb_numbers(b->index, 0, KEYS, false, 1);
    leave_sums(b);
    CHECK(real_file_is_there(b->folder, ORDERED_SUMS_NAME));
    *state = b;
    return 0;
}

static int teardown(void **state) {
    ordered_box *b = *state;
    void *folder = (void *)(uintptr_t)b->folder;
    ordered_box_close(b);
    free(b);
    return real_folder_teardown(&folder);
}

/* Keys of the numbers from `from` on, so many, and not one of them wrong: CAIRN_OK, or the code that the walk ended
 * with. */
static int list(ordered *o, uint64_t from, uint64_t count, bool reverse) {
    uint8_t lower[LONG_SIZE], upper[LONG_SIZE];
    key_range range = {.lower = lower, .upper = upper, .upper_exclusive = true, .reverse = reverse};
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t got;
    uint64_t seen = 0;
    int code;
    range.lower_size = key_make(lower, from);
    range.upper_size = key_make(upper, from + count);
    CHECK(ordered_cursor_open(&cursor, o, &range, NULL) == CAIRN_OK);
    while ((code = ordered_next(cursor, 100, &keys, &got, NULL)) == CAIRN_OK) {
        for (size_t i = 0; i < got; i++, seen++) {
            uint8_t expected[LONG_SIZE];
            size_t size = key_make(expected, reverse ? from + count - 1 - seen : from + seen);
            CHECK(seen < count && keys[i].size == size && memcmp(keys[i].bytes, expected, size) == 0);
        }
    }
    ordered_cursor_close(cursor);
    CHECK(code != CAIRN_DONE || seen == count);
    return code == CAIRN_DONE ? CAIRN_OK : code;
}

/* In the last leaf, which a look at the first keys does not meet: a byte of a key. The file is closed meanwhile. */
static void spoil_far_page(ordered_box *b) {
    uint8_t key[LONG_SIZE];
    size_t size, key_size = key_make(key, KEYS - 1);
    ordered_close(b->index);
    b->index = NULL;
    uint8_t *bytes = real_file_load(b->folder, ORDERED_NAME, &size);
    for (size_t at = 0; at + key_size <= size; at++) {
        if (memcmp(bytes + at, key, key_size) == 0) bytes[at + key_size - 1] ^= 1;
    }
    real_file_save(b->folder, ORDERED_NAME, bytes, size);
    free(bytes);
    CHECK(ordered_box_reopen(b, false) == CAIRN_OK);
}

/* ---- A few pages ---- */

static void a_short_walk_is_answered_from_the_pages_that_it_meets(void **state) {
    ordered_box *b = *state;
    spoil_far_page(b);
    assert_int_equal(list(b->index, 0, 300, false), CAIRN_OK);
    assert_int_equal(list(b->index, 5000, 300, true), CAIRN_OK);
    assert_int_equal(list(b->index, KEYS - 100, 100, false), CAIRN_CORRUPT);
    assert_int_equal(list(b->index, 0, 300, false), CAIRN_CORRUPT);
}

static void without_checksums_the_whole_file_is_checked_first(void **state) {
    ordered_box *b = *state;
    real_file_remove(b->folder, ORDERED_SUMS_NAME);
    spoil_far_page(b);
    assert_int_equal(list(b->index, 0, 300, false), CAIRN_CORRUPT);
}

static void an_absorb_checks_the_whole_file_first(void **state) {
    ordered_box *b = *state;
    spoil_far_page(b);
    assert_int_equal(list(b->index, 0, 300, false), CAIRN_OK);
    assert_int_equal(ordered_absorb(b->index, &(ordered_change){"new", 3, false}, 1, 2, NULL), CAIRN_CORRUPT);
    assert_int_equal(list(b->index, 0, 300, false), CAIRN_CORRUPT);
}

static void many_short_walks_end_with_a_check_of_the_whole_file(void **state) {
    ordered_box *b = *state;
    spoil_far_page(b);
    unsigned walks = 0;
    while (walks < KEYS && list(b->index, (uint64_t)walks * 100 % (KEYS / 2), 1, false) == CAIRN_OK)
        walks++;
    assert_in_range(walks, 5, 100);
}

static void all_keys_are_listed_both_ways(void **state) {
    ordered_box *b = *state;
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        for (unsigned read_only = 0; read_only < 2; read_only++) {
            assert_int_equal(ordered_box_reopen(b, read_only != 0), CAIRN_OK);
            assert_int_equal(list(b->index, 0, KEYS, reverse != 0), CAIRN_OK);
        }
    }
}

static void any_short_walk_gives_what_is_there(void **state) {
    ordered_box *b = *state;
    uint64_t rng = 1;
    for (uint64_t n = 0; n < rung_choose(400, 60, 20000); n++) {
        uint64_t from = random_below(&rng, KEYS - 200);
        if (n % 4 == 0) assert_int_equal(ordered_box_reopen(b, n % 8 == 0), CAIRN_OK);
        assert_int_equal(list(b->index, from, random_below(&rng, 200), random_one_in(&rng, 2)), CAIRN_OK);
    }
}

/* ---- Checksums that are not right ---- */

/* The file has a damaged page far away: only checksums that fit keep a short walk from noticing it. */
static void expect_checksums_refused(ordered_box *b) {
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 100, false), CAIRN_CORRUPT);
}

static void checksums_with_any_bit_wrong_are_not_used(void **state) {
    ordered_box *b = *state;
    size_t size;
    spoil_far_page(b);
    uint8_t *bytes = real_file_load(b->folder, ORDERED_SUMS_NAME, &size);
    for (size_t bit = 0; bit < 8 * size; bit += rung_choose(61, 607, 1)) {
        real_file_flip(b->folder, ORDERED_SUMS_NAME, bit / 8, bit % 8);
        expect_checksums_refused(b);
        real_file_save(b->folder, ORDERED_SUMS_NAME, bytes, size);
    }
    free(bytes);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 100, false), CAIRN_OK);
}

/* Whatever is changed, the last checksum is right. */
static void save_sealed(ordered_box *b, uint8_t *bytes, size_t size) {
    le64_put(bytes + size - 8, checksum(bytes, size - 8, store_seed(ordered_box_id)));
    real_file_save(b->folder, ORDERED_SUMS_NAME, bytes, size);
}

static void checksums_that_say_they_belong_to_something_else_are_not_used(void **state) {
    ordered_box *b = *state;
    size_t size;
    const size_t fields[] = {0, 8, 9, 16, 31, 32, 39, 40, 47, 48, 49, 55, 56, 63};
    spoil_far_page(b);
    uint8_t *bytes = real_file_load(b->folder, ORDERED_SUMS_NAME, &size);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        bytes[fields[i]] ^= 2;
        save_sealed(b, bytes, size);
        expect_checksums_refused(b);
        bytes[fields[i]] ^= 2;
    }
    free(bytes);
}

static void a_later_minor_version_may_use_its_own_bytes(void **state) {
    ordered_box *b = *state;
    size_t size;
    spoil_far_page(b);
    uint8_t *bytes = real_file_load(b->folder, ORDERED_SUMS_NAME, &size);
    memset(bytes + 10, 0xa5, 6);
    save_sealed(b, bytes, size);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 100, false), CAIRN_OK);
    free(bytes);
}

static void checksums_of_another_length_are_not_used(void **state) {
    ordered_box *b = *state;
    size_t size;
    spoil_far_page(b);
    uint8_t *bytes = real_file_load(b->folder, ORDERED_SUMS_NAME, &size);
    uint8_t *longer = calloc(1, size + 8);
    CHECK(longer != NULL);
    memcpy(longer, bytes, size);
    for (size_t cut = 0; cut < size; cut += cut < 80 ? 1 : 97) {
        real_file_save(b->folder, ORDERED_SUMS_NAME, bytes, cut);
        expect_checksums_refused(b);
    }
    real_file_save(b->folder, ORDERED_SUMS_NAME, longer, size + 8);
    expect_checksums_refused(b);
    free(longer);
    free(bytes);
}

static void checksums_of_an_older_commit_are_not_used(void **state) {
    ordered_box *b = *state;
    size_t size;
    uint8_t *older = real_file_load(b->folder, ORDERED_SUMS_NAME, &size);
    absorb_numbers(b->index, KEYS, KEYS + 1, false, 2);
    leave_sums(b);
    spoil_far_page(b);
    assert_int_equal(list(b->index, 0, 100, false), CAIRN_OK);
    real_file_save(b->folder, ORDERED_SUMS_NAME, older, size);
    expect_checksums_refused(b);
    free(older);
}

static void a_kill_behind_a_commit_leaves_checksums_that_are_not_used(void **state) {
    ordered_box *b = *state;
    absorb_numbers(b->index, KEYS, KEYS + 1, false, 2);
    spoil_far_page(b);
    expect_checksums_refused(b);
}

static void checksums_of_another_index_are_not_used(void **state) {
    ordered_box *b = *state, other;
    char folder[REAL_PATH_SIZE];
    real_folder_make(folder);
    ordered_box_open(&other, folder, true);
    absorb_numbers(other.index, 1, KEYS, false, 1);
    leave_sums(&other);
    ordered_box_close(&other);
    real_file_copy(folder, b->folder, ORDERED_SUMS_NAME);
    real_folder_remove(folder);
    spoil_far_page(b);
    expect_checksums_refused(b);
}

static void a_page_that_does_not_fit_but_is_sound_costs_no_key(void **state) {
    ordered_box *b = *state;
    size_t size;
    uint8_t *bytes = real_file_load(b->folder, ORDERED_NAME, &size);
    size_t page = le32_get(bytes + 40);
    for (size_t at = 2 * page; at < size; at += page)
        bytes[at + 8] ^= 1; /* where LMDB writes what was in memory */
    ordered_close(b->index);
    b->index = NULL;
    real_file_save(b->folder, ORDERED_NAME, bytes, size);
    free(bytes);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, KEYS, false), CAIRN_OK);
}

/* ---- Who leaves them ---- */

static void expect_left(ordered_box *b, bool left) {
    real_file_remove(b->folder, ORDERED_SUMS_NAME);
    ordered_leave_sums(b->index, b->dir);
    assert_int_equal(real_file_is_there(b->folder, ORDERED_SUMS_NAME), left);
}

static void a_handle_that_has_not_checked_the_file_leaves_none(void **state) {
    ordered_box *b = *state;
    expect_left(b, false);
    assert_int_equal(list(b->index, 0, 10, false), CAIRN_OK); /* page by page */
    expect_left(b, false);
}

static void a_handle_that_may_not_write_leaves_none(void **state) {
    ordered_box *b = *state;
    real_file_remove(b->folder, ORDERED_SUMS_NAME);
    assert_int_equal(ordered_box_reopen(b, true), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 10, false), CAIRN_OK);
    expect_left(b, false);
}

static void a_handle_that_met_damage_leaves_none(void **state) {
    ordered_box *b = *state;
    spoil_far_page(b);
    assert_int_equal(list(b->index, 0, KEYS, false), CAIRN_CORRUPT);
    expect_left(b, false);
}

static void a_handle_that_checked_a_file_without_any_leaves_them(void **state) {
    ordered_box *b = *state;
    real_file_remove(b->folder, ORDERED_SUMS_NAME);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 10, false), CAIRN_OK);
    expect_left(b, true);
}

static void they_are_left_once(void **state) {
    ordered_box *b = *state;
    absorb_numbers(b->index, KEYS, KEYS + 1, false, 2);
    expect_left(b, true);
    expect_left(b, false);
}

static void a_small_file_has_none(void **state) {
    ordered_box *b = *state;
    absorb_numbers(b->index, 1000, KEYS, true, 2);
    ordered_close(b->index);
    b->index = NULL;
    key_set few = {0};
    uint8_t key[LONG_SIZE];
    for (uint64_t i = 0; i < 1000; i++)
        key_set_apply(&few, &(ordered_change){.key = key, .size = key_make(key, i)});
    ordered_box_build(b, &few, 3);
    key_set_free(&few);
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, 1000, false), CAIRN_OK);
    expect_left(b, false);
}

static int no_room(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    (void)file, (void)iov, (void)count, (void)offset;
    return -ENOSPC;
}

static void where_they_cannot_be_written_none_are_left(void **state) {
    ordered_box *b = *state;
    os full = os_posix_with(&(os){.file_write = no_room});
    os_dir *dir;
    assert_int_equal(full.dir_open(&full, b->folder, 0, &dir), 0);
    absorb_numbers(b->index, KEYS, KEYS + 1, false, 2);
    ordered_leave_sums(b->index, dir);
    os_dir_close(dir);
    assert_false(real_file_is_there(b->folder, ORDERED_SUMS_NAME));
    assert_int_equal(ordered_box_reopen(b, false), CAIRN_OK);
    assert_int_equal(list(b->index, 0, KEYS + 1, false), CAIRN_OK);
}

static void they_go_with_the_index(void **state) {
    ordered_box *b = *state;
    ordered_close(b->index);
    b->index = NULL;
    assert_int_equal(ordered_drop(b->dir, NULL), CAIRN_OK);
    assert_false(real_file_is_there(b->folder, ORDERED_SUMS_NAME));
}

/* ---- Beside one that absorbs ---- */

typedef struct walker {
    ordered *index;
    atomic_bool *stop;
    os_thread thread;
    uint64_t rng, walks;
} walker;

/* Below KEYS / 2 nobody changes anything. */
static void *walk_until_stopped(void *arg) {
    walker *w = arg;
    for (; w->walks == 0 || !atomic_load(w->stop); w->walks++)
        CHECK(list(w->index, random_below(&w->rng, KEYS / 2 - 500), 500, w->walks % 2 != 0) == CAIRN_OK);
    return NULL;
}

static void a_walk_page_by_page_is_not_disturbed_by_commits(void **state) {
    ordered_box *b = *state;
    uint64_t place = 2;
    for (uint64_t round = 0; round < rung_choose(30, 10, 1000); round++) {
        walker walkers[2];
        atomic_bool stop = false;
        for (size_t i = 0; i < 2; i++) {
            walkers[i] = (walker){.index = b->index, .stop = &stop, .rng = 2 * round + i};
            assert_int_equal(os_thread_start(&walkers[i].thread, walk_until_stopped, &walkers[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++, place++)
            absorb_numbers(b->index, KEYS / 2 + 500, KEYS / 2 + 1500, place % 2 == 0, place);
        atomic_store(&stop, true);
        for (size_t i = 0; i < 2; i++)
            os_thread_join(&walkers[i].thread);
        leave_sums(b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_short_walk_is_answered_from_the_pages_that_it_meets),
        TEST(without_checksums_the_whole_file_is_checked_first),
        TEST(an_absorb_checks_the_whole_file_first),
        TEST(many_short_walks_end_with_a_check_of_the_whole_file),
        TEST(all_keys_are_listed_both_ways),
        TEST(any_short_walk_gives_what_is_there),
        TEST(checksums_with_any_bit_wrong_are_not_used),
        TEST(checksums_that_say_they_belong_to_something_else_are_not_used),
        TEST(a_later_minor_version_may_use_its_own_bytes),
        TEST(checksums_of_another_length_are_not_used),
        TEST(checksums_of_an_older_commit_are_not_used),
        TEST(a_kill_behind_a_commit_leaves_checksums_that_are_not_used),
        TEST(checksums_of_another_index_are_not_used),
        TEST(a_page_that_does_not_fit_but_is_sound_costs_no_key),
        TEST(a_handle_that_has_not_checked_the_file_leaves_none),
        TEST(a_handle_that_may_not_write_leaves_none),
        TEST(a_handle_that_met_damage_leaves_none),
        TEST(a_handle_that_checked_a_file_without_any_leaves_them),
        TEST(they_are_left_once),
        TEST(a_small_file_has_none),
        TEST(where_they_cannot_be_written_none_are_left),
        TEST(they_go_with_the_index),
        TEST(a_walk_page_by_page_is_not_disturbed_by_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

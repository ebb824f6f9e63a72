/* Scans in order: what bounds, prefixes, patterns, direction and limit mean, alone and together; what a snapshot says,
 * whatever becomes of its keys; the index dropped, added and rebuilt under scans. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/listed.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCAN(...)                                                                                                      \
    &(cairn_scan_options) { .struct_size = sizeof(cairn_scan_options), __VA_ARGS__ }
#define LOWER(text) .lower = (text), .lower_size = strlen(text)
#define UPPER(text) .upper = (text), .upper_size = strlen(text)
#define PREFIX(text) .prefix = (text), .prefix_size = strlen(text)
#define LIKE(text) .like = (text), .like_size = strlen(text)

/* ---- Conditions ---- */

static void keys_are_listed_in_the_order_of_memcmp_the_shorter_first(void **state) {
    box *b = *state;
    put_keys(b->store, "b ab \xff a aa \x01 B");
    expect_keys(b->store, NULL, "\x01 B a aa ab b \xff");
    expect_keys(b->store, SCAN(.reverse = true), "\xff b ab aa a B \x01");
    delete_text(b->store, "aa");
    put_keys(b->store, "aa0 b");
    expect_keys(b->store, NULL, "\x01 B a aa0 ab b \xff");
}

static void bounds_include_their_key_unless_they_are_exclusive(void **state) {
    box *b = *state;
    put_keys(b->store, "a b c d e");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d")), "b c d");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d"), .lower_exclusive = true), "c d");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d"), .upper_exclusive = true), "b c");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d"), .lower_exclusive = true, .upper_exclusive = true), "c");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d"), .lower_exclusive = true, .reverse = true), "d c");
    expect_keys(b->store, SCAN(LOWER("b"), UPPER("d"), .upper_exclusive = true, .reverse = true), "c b");
    expect_keys(b->store, SCAN(LOWER("bb")), "c d e");
    expect_keys(b->store, SCAN(UPPER("bb"), .reverse = true), "b a");
    expect_keys(b->store, SCAN(LOWER("c"), UPPER("c")), "c");
    expect_keys(b->store, SCAN(LOWER("c"), UPPER("c"), .lower_exclusive = true), "");
    expect_keys(b->store, SCAN(LOWER("d"), UPPER("b")), "");
    expect_keys(b->store, SCAN(LOWER("d"), UPPER("b"), .reverse = true), "");
    expect_keys(b->store, SCAN(.lower_exclusive = true, .upper_exclusive = true), "a b c d e"); /* of no bound */
}

static void the_empty_key_is_a_bound_before_all_others(void **state) {
    box *b = *state;
    put_keys(b->store, "a b");
    expect_keys(b->store, SCAN(LOWER("")), "a b");
    expect_keys(b->store, SCAN(LOWER(""), .lower_exclusive = true, .reverse = true), "b a");
    expect_keys(b->store, SCAN(UPPER("")), "");
    expect_keys(b->store, SCAN(UPPER(""), .reverse = true), "");
}

static void a_bound_may_be_longer_than_any_key(void **state) {
    box *b = *state;
    size_t size = CAIRN_KEY_SIZE_MAX + 100;
    char *bound = malloc(size);
    CHECK(bound != NULL);
    memset(bound, 'b', size);
    put_keys(b->store, "a c");
    assert_int_equal(cairn_put(b->store, bound, CAIRN_KEY_SIZE_MAX, "v", 1, NULL, NULL), CAIRN_OK);
    expect_keys(b->store, SCAN(.lower = bound, .lower_size = size), "c");
    assert_int_equal(count_keys(b->store, SCAN(.upper = bound, .upper_size = size)), 2);
    assert_int_equal(count_keys(b->store, SCAN(.prefix = bound, .prefix_size = size)), 0);
    assert_int_equal(count_keys(b->store, SCAN(.prefix = bound, .prefix_size = CAIRN_KEY_SIZE_MAX)), 1);
    free(bound);
}

static void a_prefix_takes_the_keys_that_begin_with_it(void **state) {
    box *b = *state;
    put_keys(b->store, "a a\xff a\xff\xff a\xff\xff\x01 b \xff \xff\xff \xff\xff\xff ab");
    expect_keys(b->store, SCAN(PREFIX("a")), "a ab a\xff a\xff\xff a\xff\xff\x01");
    expect_keys(b->store, SCAN(PREFIX("a\xff")), "a\xff a\xff\xff a\xff\xff\x01");
    expect_keys(b->store, SCAN(PREFIX("a\xff\xff"), .reverse = true), "a\xff\xff\x01 a\xff\xff");
    expect_keys(b->store, SCAN(PREFIX("\xff\xff")), "\xff\xff \xff\xff\xff");
    expect_keys(b->store, SCAN(PREFIX("\xff\xff\xff\xff")), "");
    expect_keys(b->store, SCAN(PREFIX("b"), .reverse = true), "b");
    assert_int_equal(count_keys(b->store, SCAN(PREFIX(""))), 9);
    assert_int_equal(count_keys(b->store, SCAN(PREFIX(""), .reverse = true)), 9);
}

static void like_means_what_sql_says_of_bytes(void **state) {
    box *b = *state;
    put_keys(b->store, "a a%b a_b ab a\\b axxb b%");
    expect_keys(b->store, SCAN(LIKE("a%b")), "a%b a\\b a_b ab axxb");
    expect_keys(b->store, SCAN(LIKE("a_b")), "a%b a\\b a_b");
    expect_keys(b->store, SCAN(LIKE("a\\%b")), "a%b");
    expect_keys(b->store, SCAN(LIKE("a\\_b")), "a_b");
    expect_keys(b->store, SCAN(LIKE("a\\\\b")), "a\\b");
    expect_keys(b->store, SCAN(LIKE("%!%"), .like_escape = '!'), "b%");
    expect_keys(b->store, SCAN(LIKE("a!_b"), .like_escape = '!', .reverse = true), "a_b");
    expect_keys(b->store, SCAN(LIKE("%b"), .reverse = true), "axxb ab a_b a\\b a%b");
    expect_keys(b->store, SCAN(LIKE("a")), "a");
    expect_keys(b->store, SCAN(LIKE("")), "");
    assert_int_equal(count_keys(b->store, SCAN(LIKE("%"))), 7);
}

static void all_conditions_hold_together(void **state) {
    box *b = *state;
    put_keys(b->store, "aa1 aa2 aa3 ab1 ab2 ac1 b1");
    expect_keys(b->store, SCAN(PREFIX("a"), LIKE("%1")), "aa1 ab1 ac1");
    expect_keys(b->store, SCAN(PREFIX("aa"), LIKE("a%2")), "aa2");
    expect_keys(b->store, SCAN(PREFIX("aa"), LIKE("ab%")), ""); /* no key has both beginnings */
    expect_keys(b->store, SCAN(PREFIX("a"), LIKE("ab%")), "ab1 ab2");
    expect_keys(b->store, SCAN(PREFIX("aa"), LOWER("aa2"), UPPER("ab1")), "aa2 aa3");
    expect_keys(b->store, SCAN(PREFIX("a"), LIKE("%1"), LOWER("aa1"), .lower_exclusive = true, .reverse = true),
                "ac1 ab1");
    expect_keys(b->store, SCAN(PREFIX("a"), LIKE("__1"), UPPER("ac1"), .reverse = true, .limit = 2), "ac1 ab1");
    expect_keys(b->store, SCAN(PREFIX("a"), LIKE("__1"), UPPER("ac1"), .upper_exclusive = true, .limit = 9), "aa1 ab1");
    expect_keys(b->store, SCAN(LOWER("ab"), .limit = 1), "ab1");
    expect_keys(b->store, SCAN(PREFIX("ab"), LOWER("ac")), "");
    expect_keys(b->store, SCAN(PREFIX("ab"), UPPER("ab")), "");
}

static void what_makes_no_sense_is_refused(void **state) {
    box *b = *state;
    cairn_scan *scan = (cairn_scan *)1;
    assert_int_equal(cairn_scan_open(b->store, SCAN(LIKE("a\\")), &scan, NULL), CAIRN_INVALID);
    assert_null(scan);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.lower_size = 1), &scan, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.upper_size = 1), &scan, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.prefix_size = 1), &scan, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.like_size = 1), &scan, NULL), CAIRN_INVALID);
    assert_int_equal(stats_of(b->store).scans, 0);
}

static void long_keys_that_share_long_beginnings_are_in_order(void **state) {
    box *b = *state;
    static const size_t sizes[] = {509, 510, 511, 512, 513, 1022, 1024, 5000, 65535, 65536};
    static char key[65536];
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(cairn_put(b->store, key, sizes[(i * 7) % 10], &i, sizeof i, NULL, NULL), CAIRN_OK);
    for (unsigned round = 0; round < 2; round++) { /* from the overlay, then from the file */
        for (unsigned reverse = 0; reverse < 2; reverse++) {
            cairn_scan *scan;
            size_t size, i = 0;
            assert_int_equal(
                cairn_scan_open(b->store, SCAN(.prefix = key, .prefix_size = 500, .reverse = reverse), &scan, NULL),
                CAIRN_OK);
            for (; cairn_scan_next(scan, NULL) == CAIRN_OK; i++) {
                assert_memory_equal(cairn_scan_key(scan, &size), key, sizes[reverse ? 9 - i : i]);
                assert_int_equal(size, sizes[reverse ? 9 - i : i]);
            }
            assert_int_equal(i, 10);
            cairn_scan_close(scan);
        }
        assert_int_equal(count_keys(b->store, SCAN(.lower = key, .lower_size = 512, .lower_exclusive = true)), 6);
        assert_int_equal(count_keys(b->store, SCAN(.upper = key, .upper_size = 65535)), 9);
        assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        assert_int_equal(stats_of(b->store).ordered_pending, 0);
    }
}

static void keys_are_listed_whether_the_file_has_them_or_not_yet(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof key, "%05u", i * 7919 % 3000);
        put_text(b->store, key, "v", 1);
        if (i == 1500) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    }
    assert_true(stats_of(b->store).ordered_pending >= 1499);
    assert_int_equal(count_keys(b->store, SCAN(.keys_only = true)), 3000);
    assert_int_equal(count_keys(b->store, SCAN(LOWER("00100"), UPPER("00900"), .reverse = true)), 801);
    expect_keys(b->store, SCAN(LIKE("0100_"), .limit = 3), "01000 01001 01002");
    for (unsigned i = 0; i < 3000; i += 2) {
        (void)snprintf(key, sizeof key, "%05u", i);
        delete_text(b->store, key);
    }
    assert_int_equal(count_keys(b->store, SCAN(.reverse = true)), 1500);
}

/* ---- Values ---- */

static void values_and_their_sizes_are_those_of_the_key(void **state) {
    box *b = *state;
    const void *value;
    size_t size;
    cairn_scan *scan;
    put_text(b->store, "empty", "", 0);
    put_text(b->store, "file", random_pool(), 300000);
    put_text(b->store, "small", "1", 1);
    put_text(b->store, "small", "two", 3); /* overwritten: nothing that the index is told */
    static const size_t sizes[] = {0, 300000, 3};
    const void *const values[] = {"", random_pool(), "two"};
    assert_int_equal(cairn_scan_open(b->store, SCAN(LOWER("a")), &scan, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_INVALID); /* on no entry yet */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_OK);
        assert_int_equal(cairn_scan_value_size(scan), sizes[i]);
        for (unsigned twice = 0; twice < 2; twice++) {
            assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
            assert_int_equal(size, sizes[i]);
            assert_non_null(value);
            if (size > 0) assert_memory_equal(value, values[i], size);
        }
    }
    assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
    assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
    cairn_scan_close(scan);
}

static void a_scan_of_keys_only_still_tells_sizes_of_its_moment(void **state) {
    box *b = *state;
    const void *value;
    size_t size;
    cairn_scan *scan;
    put_text(b->store, "k", "four", 4);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.keys_only = true), &scan, NULL), CAIRN_OK);
    delete_text(b->store, "k");
    assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_value_size(scan), 4);
    assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_INVALID);
    cairn_scan_close(scan);
}

/* ---- Moments ---- */

static void a_scan_lists_what_was_there_at_its_opening(void **state) {
    box *b = *state;
    put_keys(b->store, "a b c d");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "e f");
    cairn_scan *scan = scan_of(b->store, NULL);
    expect_next(scan, "a");
    put_keys(b->store, "aa b1 z");
    delete_text(b->store, "b");
    delete_text(b->store, "e");
    put_text(b->store, "f", "other", 5);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    expect_rest(scan, "b c d e f");
    expect_keys(b->store, NULL, "a aa b1 c d f z");
}

/* More keys than one page of what the file lacks; those behind it are put again and absorbed before they are read. */
static void keys_that_went_and_came_again_behind_a_scan_are_in_it(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        put_text(b->store, key, "v", 1);
    }
    cairn_scan *scan = scan_of(b->store, NULL);
    expect_next(scan, "000");
    for (unsigned i = 300; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        delete_text(b->store, key);
        put_text(b->store, key, "w", 1);
    }
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    for (unsigned i = 1; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        expect_next(scan, key);
    }
    expect_rest(scan, "");
}

static void commit(cairn *store, const char *puts, const char *deletes) {
    cairn_batch *batch;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (; *puts != '\0'; puts++)
        assert_int_equal(cairn_batch_put(batch, puts, 1, "batch", 5), CAIRN_OK);
    for (; *deletes != '\0'; deletes++)
        assert_int_equal(cairn_batch_delete(batch, deletes, 1), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void change_everything(cairn *store, unsigned round) {
    static const char *const puts[] = {"bxy", "ac", "d"}, *const deletes[] = {"ac", "bxy", "abc"};
    put_text(store, "f", random_pool(), 300000 + round);
    commit(store, puts[round], deletes[round]);
    delete_text(store, "e");
    if (round == 1) put_text(store, "e", "again", 5);
    if (round == 2) delete_text(store, "f");
}

static void nothing_changes_what_a_snapshot_lists_and_gets(void **state) {
    box *b = *state;
    cairn_compact_options full = {.struct_size = sizeof full, .full = true};
    put_keys(b->store, "a b c d");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "e f");
    cairn_snapshot *s = snapshot_of(b->store);
    cairn_scan *early = scan_of(b->store, SCAN(.snapshot = s));
    expect_next(early, "a");
    for (unsigned round = 0; round < 3; round++) {
        change_everything(b->store, round);
        if (round != 1) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        if (round != 0) assert_int_equal(cairn_compact(b->store, &full, NULL, NULL), CAIRN_OK);
        expect_keys(b->store, SCAN(.snapshot = s), "a b c d e f");
        expect_keys(b->store, SCAN(.snapshot = s, LOWER("b"), UPPER("e"), .reverse = true), "e d c b");
        for (const char *const *key = (const char *const[]){"a", "b", "c", "d", "e", "f", NULL}; *key != NULL; key++)
            expect_in(s, *key, *key, 1);
        if (round == 1) assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    }
    expect_rest(early, "b c d e f");
    cairn_snapshot_close(s);
    expect_keys(b->store, NULL, "d");
}

static uint64_t now_ms;
static uint64_t clock_of_the_test(os *self) {
    (void)self;
    return __atomic_load_n(&now_ms, __ATOMIC_RELAXED);
}

/* A box whose clock the test moves. */
static int clock_setup(void **state) {
    static os table;
    if (box_setup(state) != 0) return 1;
    box *b = *state;
    now_ms = 1000000;
    table = os_posix_with(&(os){.clock_ms = clock_of_the_test});
    box_close(b);
    real_folder_remove(b->path);
    b->system = &table;
    b->options.no_background = true;
    box_open(b);
    return 0;
}

static void wait_ms(uint64_t ms) { __atomic_fetch_add(&now_ms, ms, __ATOMIC_RELAXED); }

static void what_expires_is_judged_by_the_time_of_the_opening(void **state) {
    box *b = *state;
    put_keys(b->store, "a c");
    put_for(b->store, "b", "b", 1, 100);
    cairn_snapshot *s = snapshot_of(b->store);
    cairn_scan *scan = scan_of(b->store, NULL);
    wait_ms(200);
    expect_keys(b->store, NULL, "a c"); /* nobody has noticed */
    assert_int_equal(stats_of(b->store).keys, 2);
    expect_keys(b->store, NULL, "a c");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    expect_keys(b->store, NULL, "a c");
    expect_keys(b->store, SCAN(.snapshot = s, .reverse = true), "c b a");
    expect_in(s, "b", "b", 1);
    expect_rest(scan, "a b c");
    put_keys(b->store, "b");
    expect_keys(b->store, SCAN(.keys_only = true), "a b c");
    cairn_snapshot_close(s);
}

/* The file forgets the key after the checkpoint that has it; a crash brings the record back, expired. */
static void a_key_put_again_after_it_had_expired_and_a_crash_is_listed(void **state) {
    box *b = *state;
    put_keys(b->store, "a");
    put_for(b->store, "b", "b", 1, 100);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    wait_ms(200);
    assert_int_equal(stats_of(b->store).keys, 1);
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    box_crash(b);
    put_keys(b->store, "b");
    expect_keys(b->store, SCAN(.keys_only = true), "a b");
    wait_ms(1000);
    expect_keys(b->store, SCAN(.keys_only = true), "a b");
}

/* ---- Colliding hashes ---- */

static void open_with_mask(box *b, uint64_t mask) {
    assert_int_equal(store_open_on(&b->store, b->system, b->path, &b->options, mask, NULL), CAIRN_OK);
}

static void begin_with_mask(box *b, uint64_t mask) {
    box_close(b);
    real_folder_remove(b->path);
    open_with_mask(b, mask);
}

static void keys_that_share_a_hash_are_told_apart(void **state) {
    box *b = *state;
    for (uint64_t mask = 0; mask < 4; mask += 3) {
        begin_with_mask(b, mask);
        nothing_changes_what_a_snapshot_lists_and_gets(state);
        begin_with_mask(b, mask);
        a_scan_lists_what_was_there_at_its_opening(state);
        begin_with_mask(b, mask);
        keys_that_went_and_came_again_behind_a_scan_are_in_it(state);
    }
}

/* A record that collides with nothing alive supersedes all of its hash when it is replayed. */
static void an_expired_key_that_a_replayed_record_collides_with_is_not_listed(void **state) {
    box *b = *state;
    char next[REAL_PATH_SIZE];
    begin_with_mask(b, 0);
    put_for(b->store, "b", "b", 1, 100);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    wait_ms(200);
    assert_int_equal(stats_of(b->store).keys, 0);
    put_keys(b->store, "c");
    real_folder_duplicate(b->path, next);
    box_close(b);
    real_folder_remove(b->path);
    memcpy(b->path, next, sizeof next);
    open_with_mask(b, 0);
    expect_keys(b->store, SCAN(.keys_only = true), "c");
    expect_keys(b->store, SCAN(.reverse = true), "c");
}

/* ---- The index comes and goes ---- */

static void without_an_index_what_needs_order_is_unsupported(void **state) {
    box *b = *state;
    cairn_scan *scan;
    cairn_error error;
    put_keys(b->store, "a b");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_NOT_FOUND);
    for (unsigned again = 0; again < 2; again++) {
        const cairn_scan_options *const needs[] = {SCAN(LOWER("")), SCAN(UPPER("z")), SCAN(PREFIX("")), SCAN(LIKE("%")),
                                                   SCAN(.reverse = true)};
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(cairn_scan_open(b->store, needs[i], &scan, &error), CAIRN_UNSUPPORTED);
        assert_non_null(strstr(error.message, "index add"));
        assert_int_equal(count_keys(b->store, SCAN(.keys_only = true)), 2);
        assert_false(stats_of(b->store).ordered);
        assert_int_equal(cairn_delete_range(b->store, SCAN(PREFIX("a")), NULL, NULL, NULL), CAIRN_UNSUPPORTED);
        box_reopen(b);
    }
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_EXISTS);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
}

static void a_store_made_without_an_index_can_get_one(void **state) {
    box *b = *state;
    box_close(b);
    real_folder_remove(b->path);
    b->options.ordered_index = CAIRN_ORDERED_OFF;
    box_open(b);
    put_keys(b->store, "b a");
    assert_false(stats_of(b->store).ordered || real_file_is_there(b->path, "ORDERED"));
    box_close(b);
    b->options.ordered_index = CAIRN_ORDERED_ON;
    expect_refused(b->path, &b->options, CAIRN_UNSUPPORTED, "");
    b->options.ordered_index = CAIRN_ORDERED_AUTO;
    box_open(b);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
    b->options.ordered_index = CAIRN_ORDERED_OFF; /* of a store that has one: as it is */
    box_reopen(b);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
}

static void a_scan_over_a_dropped_index_fails_for_good(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "%04u", i);
        put_text(b->store, key, "v", 1);
    }
    cairn_scan *scan = scan_of(b->store, NULL), *unread = scan_of(b->store, NULL);
    expect_next(scan, "0000");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    int rc;
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) { /* what it had read */
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rc, CAIRN_UNSUPPORTED);
        assert_int_equal(cairn_scan_next(unread, NULL), CAIRN_UNSUPPORTED);
        rc = cairn_scan_next(scan, NULL);
        if (i == 1) assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK); /* which is another one */
    }
    cairn_scan_close(scan);
    cairn_scan_close(unread);
    assert_int_equal(count_keys(b->store, SCAN(.reverse = true)), 2000);
}

static void a_snapshot_from_before_the_index_is_listed_in_any_order_only(void **state) {
    box *b = *state;
    cairn_scan *scan;
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "b a");
    cairn_snapshot *s = snapshot_of(b->store);
    delete_text(b->store, "a");
    cairn_scan *listing = scan_of(b->store, NULL);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.snapshot = s, .reverse = true), &scan, NULL), CAIRN_UNSUPPORTED);
    assert_int_equal(count_keys(b->store, SCAN(.snapshot = s)), 2);
    expect_rest(listing, "b");
    expect_keys(b->store, NULL, "b");
    cairn_snapshot_close(s);
}

static int stop(const cairn_progress *progress, void *ctx) {
    ++*(unsigned *)ctx;
    return progress->done <= progress->total;
}

static void rebuilding_and_cancelling_change_nothing_for_scans(void **state) {
    box *b = *state;
    unsigned calls = 0;
    cairn_index_options cancelled = {.struct_size = sizeof cancelled, .progress = stop, .ctx = &calls};
    put_keys(b->store, "a b c");
    cairn_scan *scan = scan_of(b->store, SCAN(.reverse = true));
    expect_next(scan, "c");
    assert_int_equal(cairn_index_rebuild(b->store, &cancelled, NULL), CAIRN_CANCELLED);
    assert_true(calls > 0);
    delete_text(b->store, "b");
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    expect_rest(scan, "b a");
    expect_keys(b->store, NULL, "a c");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_add(b->store, &cancelled, NULL), CAIRN_CANCELLED);
    assert_false(stats_of(b->store).ordered || real_file_is_there(b->path, "ORDERED.NEW"));
    box_reopen(b);
    assert_false(stats_of(b->store).ordered);
}

/* ---- Deleting what a scan lists ---- */

static int stop_after_the_first(const cairn_progress *progress, void *ctx) {
    *(uint64_t *)ctx = progress->done;
    return 1;
}

static void delete_range_deletes_what_the_scan_would_list(void **state) {
    box *b = *state;
    uint64_t deleted = 99;
    put_keys(b->store, "a1 a2 a3 b1 b2 c1");
    cairn_snapshot *s = snapshot_of(b->store);
    assert_int_equal(cairn_delete_range(b->store, SCAN(LIKE("%1"), UPPER("b")), NULL, &deleted, NULL), CAIRN_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(cairn_delete_range(b->store, SCAN(.reverse = true, .limit = 2), NULL, &deleted, NULL), CAIRN_OK);
    assert_int_equal(deleted, 2);
    expect_keys(b->store, NULL, "a2 a3 b1");
    put_keys(b->store, "a9");
    cairn_delete_options sync = {.struct_size = sizeof sync, .sync = true};
    assert_int_equal(cairn_delete_range(b->store, SCAN(.snapshot = s, PREFIX("a")), &sync, &deleted, NULL), CAIRN_OK);
    assert_int_equal(deleted, 2); /* a1 was not there any more */
    expect_keys(b->store, NULL, "a9 b1");
    expect_keys(b->store, SCAN(.snapshot = s), "a1 a2 a3 b1 b2 c1");
    cairn_snapshot_close(s);
    assert_int_equal(cairn_delete_range(b->store, NULL, NULL, NULL, NULL), CAIRN_OK);
    expect_keys(b->store, NULL, "");
}

static void delete_range_can_be_cancelled_and_tells_how_many_went(void **state) {
    box *b = *state;
    char key[16];
    uint64_t deleted = 0, told = 0;
    cairn_delete_options o = {.struct_size = sizeof o, .progress = stop_after_the_first, .ctx = &told};
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        put_text(b->store, key, "v", 1);
    }
    assert_int_equal(cairn_delete_range(b->store, SCAN(LOWER("1")), &o, &deleted, NULL), CAIRN_CANCELLED);
    assert_true(deleted > 0 && deleted < 900 && told == deleted);
    assert_int_equal(count_keys(b->store, NULL), 1000 - deleted);
    (void)snprintf(key, sizeof key, "%03u", (unsigned)(100 + deleted));
    expect_keys(b->store, SCAN(LOWER("1"), .limit = 1), key); /* in the order of the scan */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
#define CLOCK(name) cmocka_unit_test_setup_teardown(name, clock_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(keys_are_listed_in_the_order_of_memcmp_the_shorter_first),
        TEST(bounds_include_their_key_unless_they_are_exclusive),
        TEST(the_empty_key_is_a_bound_before_all_others),
        TEST(a_bound_may_be_longer_than_any_key),
        TEST(a_prefix_takes_the_keys_that_begin_with_it),
        TEST(like_means_what_sql_says_of_bytes),
        TEST(all_conditions_hold_together),
        TEST(what_makes_no_sense_is_refused),
        TEST(long_keys_that_share_long_beginnings_are_in_order),
        TEST(keys_are_listed_whether_the_file_has_them_or_not_yet),
        TEST(values_and_their_sizes_are_those_of_the_key),
        TEST(a_scan_of_keys_only_still_tells_sizes_of_its_moment),
        TEST(a_scan_lists_what_was_there_at_its_opening),
        TEST(keys_that_went_and_came_again_behind_a_scan_are_in_it),
        TEST(nothing_changes_what_a_snapshot_lists_and_gets),
        CLOCK(what_expires_is_judged_by_the_time_of_the_opening),
        CLOCK(a_key_put_again_after_it_had_expired_and_a_crash_is_listed),
        TEST(keys_that_share_a_hash_are_told_apart),
        CLOCK(an_expired_key_that_a_replayed_record_collides_with_is_not_listed),
        TEST(without_an_index_what_needs_order_is_unsupported),
        TEST(a_store_made_without_an_index_can_get_one),
        TEST(a_scan_over_a_dropped_index_fails_for_good),
        TEST(a_snapshot_from_before_the_index_is_listed_in_any_order_only),
        TEST(rebuilding_and_cancelling_change_nothing_for_scans),
        TEST(delete_range_deletes_what_the_scan_would_list),
        TEST(delete_range_can_be_cancelled_and_tells_how_many_went),
    };
    return cmocka_run_group_tests_name("ordered_scans", tests, NULL, NULL);
}

/* Scans in order: what bounds, prefixes, patterns, direction and limit mean, alone and together; the values that come
 * with the keys; deleting what a scan would list. */
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
        TEST(delete_range_deletes_what_the_scan_would_list),
        TEST(delete_range_can_be_cancelled_and_tells_how_many_went),
    };
    return cmocka_run_group_tests_name("ordered_scans", tests, NULL, NULL);
}

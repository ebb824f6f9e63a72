/* Scans in order take their keys in batches. Whatever is changed while a scan is inside one, it lists its moment, and
 * tells the sizes and values of that moment. */
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

#define KEYS 3000u /* batches of 16, 32, 64 and so on up to 1,024 */
#define KEY_BYTES 16

static size_t size_of(unsigned i) { return i % 50; }

static const char *key_of(unsigned i, char text[KEY_BYTES]) {
    (void)snprintf(text, KEY_BYTES, "%05u", i);
    return text;
}

/* The file of the index has every key, and the overlay none. */
static int filled_setup(void **state) {
    if (box_setup(state) != 0) return 1;
    const box *b = *state;
    char key[KEY_BYTES];
    for (unsigned i = 0; i < KEYS; i++)
        put_text(b->store, key_of(i, key), random_pool(), size_of(i));
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    assert_int_equal(stats_of(b->store).ordered_pending, 0);
    return 0;
}

static void expect_key(cairn_scan *scan, unsigned i) {
    char key[KEY_BYTES];
    expect_next(scan, key_of(i, key));
}

static void expect_value_of(cairn_scan *scan, unsigned i) {
    const void *value;
    size_t size;
    assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
    assert_int_equal(size, size_of(i));
    if (size > 0) assert_memory_equal(value, random_pool(), size);
}

/* ---- What is changed: around a key that the scan has still before it ---- */

static void delete_it(cairn *store, const char *key) { delete_text(store, key); }
static void overwrite_it(cairn *store, const char *key) { put_text(store, key, random_pool(), 1000); }
static void let_it_expire(cairn *store, const char *key) { put_for(store, key, "v", 1, 1); }

static void put_beside_it(cairn *store, const char *key) {
    char other[KEY_BYTES + 1];
    (void)snprintf(other, sizeof other, "%s+", key);
    put_text(store, other, "new", 3);
}

static void delete_and_put_it_again(cairn *store, const char *key) {
    delete_text(store, key);
    put_text(store, key, "again", 5);
}

static void change_it_by_a_batch(cairn *store, const char *key) {
    cairn_batch *batch;
    char other[KEY_BYTES + 1];
    int length = snprintf(other, sizeof other, "%s-", key);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, other, (size_t)length, "new", 3), CAIRN_OK);
    assert_int_equal(cairn_batch_delete(batch, key, strlen(key)), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void absorb_a_change_of_it(cairn *store, const char *key) {
    delete_text(store, key);
    put_beside_it(store, key);
    assert_int_equal(cairn_checkpoint(store, NULL), CAIRN_OK);
}

typedef void (*change)(cairn *store, const char *key);
static const change changes[] = {delete_it,
                                 overwrite_it,
                                 let_it_expire,
                                 put_beside_it,
                                 delete_and_put_it_again,
                                 change_it_by_a_batch,
                                 absorb_a_change_of_it};
#define CHANGES (sizeof changes / sizeof changes[0])

/* Beginning at one key, changes one that is a few keys ahead, after each of `many`. */
static void list_while_it_changes(cairn *store, const cairn_scan_options *options, change one, unsigned from,
                                  unsigned many) {
    cairn_scan *scan = scan_of(store, options);
    char key[KEY_BYTES];
    for (unsigned n = 0; n < KEYS; n++) {
        unsigned i = options->reverse ? KEYS - 1 - n : n;
        expect_key(scan, i);
        if (n % 7 == 0) assert_int_equal(cairn_scan_value_size(scan), size_of(i));
        if (!options->keys_only && n % 5 == 0) expect_value_of(scan, i);
        unsigned ahead = n + 1 + n % 9;
        if (n < from || n >= from + many || ahead >= KEYS) continue;
        one(store, key_of(options->reverse ? KEYS - 1 - ahead : ahead, key));
    }
    expect_rest(scan, "");
}

static void changes_inside_a_batch_are_not_seen(void **state) {
    const box *b = *state;
    cairn_snapshot *s = snapshot_of(b->store);
    for (size_t c = 0; c < CHANGES; c++) {
        unsigned from = 700 + 300 * (unsigned)c; /* behind what the change before has changed */
        list_while_it_changes(b->store, SCAN(.snapshot = s, .keys_only = c % 2 == 0), changes[c], from, 12);
        list_while_it_changes(b->store, SCAN(.snapshot = s, .reverse = true), changes[c], from, 12);
    }
    cairn_snapshot_close(s);
}

static box *filled_anew(void **state) {
    void *fresh;
    assert_int_equal(box_teardown(state), 0);
    assert_int_equal(filled_setup(&fresh), 0);
    return *state = fresh;
}

/* All of a scan's batches up to the first change need nothing but the file. */
static void the_first_change_since_a_scan_began_is_not_seen(void **state) {
    for (size_t c = 0; c < CHANGES; c++) {
        const box *b = filled_anew(state);
        list_while_it_changes(b->store, SCAN(.keys_only = c % 2 == 0, .reverse = c % 3 == 0), changes[c], 500, 12);
        b = filled_anew(state);
        cairn_snapshot *s = snapshot_of(b->store);
        list_while_it_changes(b->store, SCAN(.snapshot = s, .keys_only = true), changes[c], 500, 12);
        list_while_it_changes(b->store, SCAN(.snapshot = s, .keys_only = true), changes[c], 1500, 2);
        cairn_snapshot_close(s);
    }
}

static void the_next_scan_sees_them(void **state) {
    const box *b = *state;
    cairn_scan *scan = scan_of(b->store, SCAN(.keys_only = true));
    for (unsigned i = 0; i < 1500; i++)
        expect_key(scan, i);
    put_keys(b->store, "01600+");
    delete_text(b->store, "01601");
    expect_keys(b->store, SCAN(.keys_only = true, .lower = "01600", .lower_size = 5, .limit = 3), "01600 01600+ 01602");
    for (unsigned i = 1500; i < KEYS; i++)
        expect_key(scan, i);
    expect_rest(scan, "");
}

/* ---- What is asked between two keys of a batch ---- */

static void sizes_are_told_anywhere_in_a_batch(void **state) {
    const box *b = *state;
    const void *value;
    size_t size;
    cairn_scan *scan = scan_of(b->store, SCAN(.keys_only = true));
    for (unsigned i = 0; i < KEYS; i++) {
        expect_key(scan, i);
        if (i % 3 != 0) continue;
        assert_int_equal(cairn_scan_value_size(scan), size_of(i));
        assert_int_equal(cairn_scan_value_size(scan), size_of(i));
        assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_INVALID);
    }
    expect_rest(scan, "");
}

static void a_limit_ends_a_scan_inside_a_batch(void **state) {
    const box *b = *state;
    static const unsigned limits[] = {1, 2, 16, 17, 18, 500, 1008, KEYS - 1, KEYS};
    for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
        cairn_scan *scan = scan_of(b->store, SCAN(.keys_only = true, .limit = limits[l]));
        for (unsigned i = 0; i < limits[l]; i++)
            expect_key(scan, i);
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
        cairn_scan_close(scan);
    }
}

static void a_pattern_leaves_out_keys_of_a_batch(void **state) {
    const box *b = *state;
    cairn_scan *scan = scan_of(b->store, SCAN(.keys_only = true, .like = "%7", .like_size = 2));
    for (unsigned i = 7; i < KEYS; i += 10)
        expect_key(scan, i);
    expect_rest(scan, "");
}

/* A batch holds fewer of these: each is longer than the memory of a small one, or than what LMDB takes as a key. */
static void long_keys_and_short_ones_share_batches(void **state) {
    const box *b = *state;
    static const size_t sizes[] = {1, 509, 510, 511, 3000, 60000, 65536};
    static char key[65536];
    size_t count = sizeof sizes / sizeof sizes[0] * 40, n = 0, size;
    for (size_t i = 0; i < count; i++) {
        memset(key, 'k', sizeof key);
        key[0] = (char)('A' + i % 40); /* before the digits of the others come these */
        assert_int_equal(cairn_put(b->store, key, sizes[i / 40], "v", 1, NULL, NULL), CAIRN_OK);
    }
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    for (int reverse = 0; reverse <= 1; reverse++) {
        cairn_scan *scan =
            scan_of(b->store, SCAN(.keys_only = true, .reverse = reverse, .lower = "A", .lower_size = 1));
        for (n = 0; cairn_scan_next(scan, NULL) == CAIRN_OK; n++) {
            size_t rank = reverse ? count - 1 - n : n;
            const char *found = cairn_scan_key(scan, &size);
            assert_int_equal(size, sizes[rank % 7]);
            assert_int_equal(found[0], 'A' + rank / 7);
            assert_int_equal(found[size - 1], size == 1 ? found[0] : 'k');
        }
        assert_int_equal(n, count);
        cairn_scan_close(scan);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, filled_setup, box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(changes_inside_a_batch_are_not_seen),
        TEST(the_first_change_since_a_scan_began_is_not_seen),
        TEST(the_next_scan_sees_them),
        TEST(sizes_are_told_anywhere_in_a_batch),
        TEST(a_limit_ends_a_scan_inside_a_batch),
        TEST(a_pattern_leaves_out_keys_of_a_batch),
        TEST(long_keys_and_short_ones_share_batches),
    };
    return cmocka_run_group_tests_name("ordered_scan_batches", tests, NULL, NULL);
}

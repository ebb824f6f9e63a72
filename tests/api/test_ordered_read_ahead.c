/* What a scan tells the system of the values that it will read: when reads are slow, and never more than it comes to. A
 * clock that the test drives says how long they take. */
#include "src/base/check.h"
#include "tests/support/listed.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 400u
#define VALUE_BYTES ((size_t)9000)
#define TOLD_MAX ((uint64_t)16 << 20)

static _Atomic uint64_t now_ns, step_ns; /* each look at the clock takes a step */
static _Atomic uint64_t hints, hint_bytes;

static uint64_t stepping_clock(os *self) {
    (void)self;
    return atomic_fetch_add(&now_ns, step_ns) + step_ns;
}

static void noted_hint(os_file *file, uint64_t offset, uint64_t size) {
    os_file_info info;
    assert_int_equal(os_file_info_get(file, &info), 0);
    assert_true(size > 0 && offset + size <= info.size);
    hints++;
    hint_bytes += size;
    os_posix()->file_will_need(file, offset, size);
}

static int setup(void **state) {
    static os table;
    if (box_setup(state) != 0) return 1;
    box *b = *state;
    table = os_posix_with(&(os){.monotonic_ns = stepping_clock, .file_will_need = noted_hint});
    box_close(b);
    real_folder_remove(b->path);
    b->system = &table;
    b->options.no_background = true;
    b->options.compression = CAIRN_COMPRESSION_NONE;
    now_ns = 1000000;
    step_ns = 0;
    hints = hint_bytes = 0;
    box_open(b);
    return 0;
}

static void fill(cairn *store, unsigned keys, size_t size) {
    char key[16];
    for (unsigned i = 0; i < keys; i++) {
        (void)snprintf(key, sizeof key, "%05u", i * 7919 % keys);
        put_text(store, key, random_pool() + i % 100, size);
    }
    assert_int_equal(cairn_checkpoint(store, NULL), CAIRN_OK);
    hints = hint_bytes = 0; /* the file of the index was told of by its check */
}

/* Of scans whose reads each take that long; returns the number of entries. */
static unsigned list(cairn *store, const cairn_scan_options *options, uint64_t read_ns, bool values,
                     size_t value_size) {
    unsigned count = 0;
    const void *value;
    size_t size;
    cairn_scan *scan = scan_of(store, options);
    step_ns = read_ns;
    for (; cairn_scan_next(scan, NULL) == CAIRN_OK; count++) {
        if (!values) continue;
        assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
        assert_int_equal(size, value_size);
    }
    step_ns = 0;
    cairn_scan_close(scan);
    return count;
}

static void slow_reads_make_a_scan_tell_of_what_follows_once(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, 50000, true, VALUE_BYTES), KEYS);
    assert_true(hints > KEYS * 3 / 4 && hints < KEYS); /* not of the first one of a batch */
    assert_true(hint_bytes >= hints * VALUE_BYTES);
}

static void fast_reads_and_keys_alone_are_not_told_of(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, 1000, true, VALUE_BYTES), KEYS);
    assert_int_equal(list(b->store, SCAN(.keys_only = true), 50000, false, 0), KEYS);
    assert_int_equal(hints, 0);
}

static void a_limit_bounds_what_is_told(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, SCAN(.limit = 5), 50000, true, VALUE_BYTES), 5);
    assert_int_equal(hints, 4);
    assert_int_equal(list(b->store, SCAN(.limit = 1, .reverse = true), 50000, true, VALUE_BYTES), 1);
    assert_int_equal(hints, 4);
}

static void a_scan_that_reads_no_values_tells_of_the_beginnings_of_records(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, 50000, false, 0), KEYS);
    assert_true(hints > KEYS * 3 / 4);
    assert_true(hint_bytes < 20 * VALUE_BYTES + KEYS * 4096); /* it begins as if values were read */
}

static void a_long_scan_ends_telling(void **state) {
    const box *b = *state;
    const size_t size = 100000;
    fill(b->store, KEYS, size);
    assert_int_equal(list(b->store, NULL, 50000, true, size), KEYS);
    assert_true(hint_bytes > TOLD_MAX / 2 && hint_bytes < TOLD_MAX + ((uint64_t)9 << 20));
}

static void keys_that_went_are_told_of_only_where_the_scan_sees_them(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_snapshot *s = snapshot_of(b->store);
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        if (i % 2 == 0) delete_text(b->store, key);
        if (i % 2 == 1) put_text(b->store, key, "short", 5);
    }
    assert_int_equal(list(b->store, SCAN(.snapshot = s), 50000, true, VALUE_BYTES), KEYS);
    assert_true(hints > KEYS / 2 && hint_bytes >= hints * VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, 50000, true, 5), KEYS / 2);
    cairn_snapshot_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(slow_reads_make_a_scan_tell_of_what_follows_once),
        TEST(fast_reads_and_keys_alone_are_not_told_of),
        TEST(a_limit_bounds_what_is_told),
        TEST(a_scan_that_reads_no_values_tells_of_the_beginnings_of_records),
        TEST(a_long_scan_ends_telling),
        TEST(keys_that_went_are_told_of_only_where_the_scan_sees_them),
    };
    return cmocka_run_group_tests_name("ordered_read_ahead", tests, NULL, NULL);
}

/* What a scan asks the system for of the values that it will read: when they are not in memory, each once, together,
 * and never more than it comes to. What is in memory is as the test says. */
#include "src/base/check.h"
#include "tests/support/listed.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 400u
#define AHEAD_KEYS 128u
#define AHEAD_BYTES ((uint64_t)8 << 20)
#define VALUE_BYTES ((size_t)9000) /* its record is read for the answer */
#define LONG_BYTES ((size_t)100000)
#define PIECE_BYTES ((uint64_t)256 << 10) /* of the log */
#define A_FAR_RECORD ((uint64_t)64 << 10) /* costs as much as so much of the log in its order */

static bool is_far; /* nothing is in memory; else all is */
static struct {
    uint64_t records, hints, bytes; /* records whether they were in memory or not */
    uint64_t hinted;                /* the last place */
    uint64_t pieces, first_piece;   /* hints that begin on one; how many records were asked about before the first */
} asked;

static void forget_asked(void) { memset(&asked, 0, sizeof asked); }

static void note_range(os_file *file, uint64_t offset, uint64_t size) {
    os_file_info info;
    assert_int_equal(os_file_info_get(file, &info), 0);
    assert_true(size > 0 && offset + size <= info.size);
}

static int noted_read_now(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    size_t got;
    assert_int_equal(count, 1);
    note_range(file, offset, iov->iov_len);
    asked.records++;
    if (asked.hinted != offset) asked.bytes += iov->iov_len;
    if (is_far) return -EAGAIN;
    return os_posix()->file_readv(file, iov, count, offset, &got) == 0 && got == iov->iov_len ? 0 : -EAGAIN;
}

static void noted_hint(os_file *file, uint64_t offset, uint64_t size) {
    note_range(file, offset, size);
    asked.hints++;
    if (offset % PIECE_BYTES == 0 && asked.pieces++ == 0) asked.first_piece = asked.records;
    assert_true(size <= PIECE_BYTES);
    asked.bytes += size;
    asked.hinted = offset;
}

static uint64_t machine_bytes; /* of memory, of a machine that the test makes up; 0: this one's */

uint64_t __real_os_memory_bytes(void);
uint64_t __wrap_os_memory_bytes(void);
uint64_t __wrap_os_memory_bytes(void) { return machine_bytes != 0 ? machine_bytes : __real_os_memory_bytes(); }

static int setup(void **state) {
    static os table;
    machine_bytes = 0;
    if (box_setup(state) != 0) return 1;
    box *b = *state;
    table = os_posix_with(&(os){.file_readv_now = noted_read_now, .file_will_need = noted_hint});
    box_close(b);
    real_folder_remove(b->path);
    b->system = &table;
    b->options.no_background = true;
    b->options.compression = CAIRN_COMPRESSION_NONE;
    is_far = true;
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
    forget_asked(); /* the file of the index was told of by its check */
}

static void read_entry(cairn_scan *scan, size_t value_size) {
    const void *value;
    size_t size;
    assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
    assert_int_equal(size, value_size);
}

/* Reads the next `count` entries of the scan. */
static void read_some(cairn_scan *scan, unsigned count, size_t value_size) {
    while (count-- > 0) {
        assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_OK);
        read_entry(scan, value_size);
    }
}

/* Returns the number of entries. */
static unsigned list(cairn *store, const cairn_scan_options *options, bool values, size_t value_size) {
    unsigned count = 0;
    cairn_scan *scan = scan_of(store, options);
    for (; cairn_scan_next(scan, NULL) == CAIRN_OK; count++) {
        if (values) read_entry(scan, value_size);
    }
    cairn_scan_close(scan);
    return count;
}

static void what_is_not_in_memory_is_asked_for_once(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, true, VALUE_BYTES), KEYS);
    assert_int_equal(asked.records, KEYS);
    assert_true(asked.bytes >= KEYS * VALUE_BYTES);
}

static void how_far_it_goes_ahead_doubles_with_each_key(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_scan *scan = scan_of(b->store, NULL);
    for (unsigned i = 0, reach = 8; i < 20; i++, reach = reach < AHEAD_KEYS ? 2 * reach : AHEAD_KEYS) {
        read_some(scan, 1, VALUE_BYTES);
        assert_int_equal(asked.records, i + reach);
    }
    cairn_scan_close(scan);
}

static void a_long_record_is_asked_for_whole_before_it_is_looked_at(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, LONG_BYTES);
    assert_int_equal(list(b->store, NULL, true, LONG_BYTES), KEYS);
    assert_int_equal(asked.records, KEYS);
    assert_int_equal(asked.hints, KEYS);
    assert_true(asked.bytes >= KEYS * LONG_BYTES && asked.bytes < KEYS * (LONG_BYTES + 10000));
}

static void bytes_bound_how_far_it_goes_ahead(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, LONG_BYTES);
    cairn_scan *scan = scan_of(b->store, NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        read_some(scan, 1, LONG_BYTES);
        assert_true(asked.bytes <= i * (LONG_BYTES + 10000) + AHEAD_BYTES + LONG_BYTES + 10000);
    }
    cairn_scan_close(scan);
}

static void who_reads_short_records_for_long_gets_the_log_by_its_pieces(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    uint64_t log_bytes = stats_of(b->store).live_bytes;
    assert_int_equal(list(b->store, NULL, true, VALUE_BYTES), KEYS);
    assert_in_range(asked.first_piece, log_bytes / A_FAR_RECORD - 2, log_bytes / A_FAR_RECORD + 2);
    assert_int_equal(asked.pieces, asked.hints);
    assert_int_equal(asked.hints, KEYS - asked.first_piece + 1);
}

static void of_a_log_that_does_not_fit_a_quarter_of_the_memory_no_pieces_are_read(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    uint64_t log_bytes = stats_of(b->store).live_bytes;
    machine_bytes = 4 * log_bytes - 4 * PIECE_BYTES;
    assert_int_equal(list(b->store, NULL, true, VALUE_BYTES), KEYS);
    assert_int_equal(asked.pieces, 0);
    machine_bytes = 4 * log_bytes + 4 * PIECE_BYTES;
    forget_asked();
    assert_int_equal(list(b->store, NULL, true, VALUE_BYTES), KEYS);
    assert_true(asked.pieces > 0);
}

static void who_reads_long_records_does_not(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, 40000);
    assert_int_equal(list(b->store, NULL, true, 40000), KEYS);
    assert_true(asked.bytes < KEYS * 50000);
}

static void of_what_is_in_memory_one_of_sixteen_is_asked_about(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    is_far = false;
    assert_int_equal(list(b->store, NULL, true, VALUE_BYTES), KEYS);
    assert_int_equal(asked.records, KEYS / 16);
}

static void keys_alone_are_not_asked_about(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, SCAN(.keys_only = true), false, 0), KEYS);
    assert_int_equal(asked.records + asked.hints, 0);
}

static void it_stops_where_all_is_in_memory_and_begins_where_it_is_not(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_scan *scan = scan_of(b->store, NULL);
    read_some(scan, 1, VALUE_BYTES);
    assert_int_equal(asked.records, 8);
    is_far = false;
    read_some(scan, 79, VALUE_BYTES); /* 64 behind the 8, then 8 from key to key */
    assert_int_equal(asked.records, 8 + 64);
    is_far = true;
    read_some(scan, 7, VALUE_BYTES); /* 16 with the first one of all */
    assert_int_equal(asked.records, 8 + 64);
    read_some(scan, 1, VALUE_BYTES);
    assert_int_equal(asked.records, 8 + 64 + AHEAD_KEYS);
    cairn_scan_close(scan);
}

static void a_limit_bounds_what_is_asked_for(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, SCAN(.limit = 5), true, VALUE_BYTES), 5);
    assert_int_equal(asked.records, 5);
    assert_int_equal(list(b->store, SCAN(.limit = 1, .reverse = true), true, VALUE_BYTES), 1);
    assert_int_equal(asked.records, 6);
}

static void keys_that_do_not_match_are_not_asked_for(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, SCAN(LIKE("%7")), true, VALUE_BYTES), KEYS / 10);
    assert_int_equal(asked.records, KEYS / 10);
}

static void a_scan_that_reads_no_values_asks_for_the_beginnings_of_records(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    assert_int_equal(list(b->store, NULL, false, 0), KEYS);
    assert_int_equal(asked.records, KEYS);
    assert_true(asked.bytes < 8 * (VALUE_BYTES + 1000) + KEYS * 4096); /* it begins as if values were read */
}

static void keys_that_went_are_asked_for_only_where_the_scan_sees_them(void **state) {
    const box *b = *state;
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_snapshot *s = snapshot_of(b->store);
    char key[16];
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        if (i % 2 == 0) delete_text(b->store, key);
        if (i % 2 == 1) put_text(b->store, key, "short", 5);
    }
    assert_int_equal(list(b->store, SCAN(.snapshot = s), true, VALUE_BYTES), KEYS);
    assert_true(asked.records > KEYS / 2 && asked.bytes >= asked.records * VALUE_BYTES);
    forget_asked();
    assert_int_equal(list(b->store, NULL, true, 5), KEYS / 2);
    assert_true(asked.records > KEYS / 4 && asked.records <= KEYS / 2); /* what is read often is warm */
    cairn_snapshot_close(s);
}

static void keys_that_change_behind_the_walk_are_given_as_they_were(void **state) {
    const box *b = *state;
    char key[16];
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_scan *scan = scan_of(b->store, NULL);
    read_some(scan, 3, VALUE_BYTES); /* some that follow were found and asked for */
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        if (i % 3 == 0) delete_text(b->store, key);
        if (i % 3 == 1) put_text(b->store, key, "short", 5);
    }
    assert_int_equal(cairn_compact(b->store, NULL, NULL, NULL), CAIRN_OK);
    read_some(scan, KEYS - 3, VALUE_BYTES);
    assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_DONE);
    cairn_scan_close(scan);
}

/* Where the walk fails, that is said behind the keys that it had found before. */
static void a_failure_is_told_behind_the_keys_that_were_found_before_it(void **state) {
    const box *b = *state;
    char key[16];
    unsigned i = 0;
    int rc;
    cairn_error error = {0};
    fill(b->store, KEYS, VALUE_BYTES);
    cairn_scan *scan = scan_of(b->store, NULL);
    read_some(scan, 1, VALUE_BYTES);
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    for (i = 1; (rc = cairn_scan_next(scan, &error)) == CAIRN_OK; i++) {
        size_t size;
        (void)snprintf(key, sizeof key, "%05u", i);
        assert_memory_equal(cairn_scan_key(scan, &size), key, 5);
        read_entry(scan, VALUE_BYTES);
    }
    assert_int_equal(rc, CAIRN_UNSUPPORTED);
    assert_int_equal(error.code, rc);
    assert_true(i >= 8 && i < KEYS);
    assert_int_equal(cairn_scan_next(scan, &error), CAIRN_UNSUPPORTED);
    cairn_scan_close(scan);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_in_memory_is_asked_for_once),
        TEST(how_far_it_goes_ahead_doubles_with_each_key),
        TEST(a_long_record_is_asked_for_whole_before_it_is_looked_at),
        TEST(bytes_bound_how_far_it_goes_ahead),
        TEST(who_reads_short_records_for_long_gets_the_log_by_its_pieces),
        TEST(of_a_log_that_does_not_fit_a_quarter_of_the_memory_no_pieces_are_read),
        TEST(who_reads_long_records_does_not),
        TEST(of_what_is_in_memory_one_of_sixteen_is_asked_about),
        TEST(keys_alone_are_not_asked_about),
        TEST(it_stops_where_all_is_in_memory_and_begins_where_it_is_not),
        TEST(a_limit_bounds_what_is_asked_for),
        TEST(keys_that_do_not_match_are_not_asked_for),
        TEST(a_scan_that_reads_no_values_asks_for_the_beginnings_of_records),
        TEST(keys_that_went_are_asked_for_only_where_the_scan_sees_them),
        TEST(keys_that_change_behind_the_walk_are_given_as_they_were),
        TEST(a_failure_is_told_behind_the_keys_that_were_found_before_it),
    };
    return cmocka_run_group_tests_name("ordered_read_ahead", tests, NULL, NULL);
}

/* Zeros that a longer append takes along, to the end of what the page cache makes of it (vlog/ahead.h): when, and that
 * they are neither data nor in the way. */
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/small_puts.h"
#include "vlog/mapped_append.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ENOUGH ((unsigned)(MAPPED_AFTER_BYTES / BULK_BYTES) + 1)

static unsigned with_zeros, without; /* writes that succeeded; zeros: a whole block of them or more at the end */
static int refusal;                  /* of writes with zeros, after a part of them; 0: none */

static bool ends_in_zeros(const struct iovec *iov, int count) {
    const uint8_t *bytes = iov[count - 1].iov_base;
    size_t size = iov[count - 1].iov_len;
    return size >= BLOCK_BYTES && bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static int watched_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    bool zeros = ends_in_zeros(iov, count);
    if (zeros && refusal != 0) {
        (void)sim_calls()->file_write(file, iov, 1, offset);
        return refusal;
    }
    int rc = sim_calls()->file_write(file, iov, count, offset);
    if (rc == 0) *(zeros ? &with_zeros : &without) += 1;
    return rc;
}

static void watch(sim_box *b) {
    os_override(sim_os(b->disk), &(os){.file_write = watched_write});
    with_zeros = without = 0;
    refusal = 0;
}

/* Keys "a0" to "aN", the last of which end behind zeros where they do so at all. */
static unsigned put_enough(sim_box *b) {
    put_bulk(b, "a", 0, ENOUGH);
    watch(b);
    return ENOUGH;
}

static void zeros_come_along_when_much_was_put_since_the_last_sync(void **state) {
    sim_box *b = *state;
    watch(b);
    put_bulk(b, "a", 0, ENOUGH - 1);
    assert_int_equal(with_zeros, 0);
    put_bulk(b, "a", ENOUGH - 1, ENOUGH + 1);
    assert_true(with_zeros >= 1);
    size_t zeros, size = newest_segment(b, &zeros);
    assert_int_equal(size % AHEAD_STEP_MIN, 0);
    assert_true(zeros < AHEAD_STEP_MIN);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    with_zeros = 0;
    put_bulk(b, "a", ENOUGH + 1, ENOUGH + 2);
    assert_int_equal(with_zeros, 0);
}

static void an_append_that_ends_in_them_takes_none_along(void **state) {
    sim_box *b = *state;
    unsigned count = put_enough(b);
    put_bulk(b, "a", count, count + 1);
    size_t zeros, size = newest_segment(b, &zeros);
    assert_true(zeros > MAPPED_BYTES_MAX + 2000);
    with_zeros = without = 0;
    put_text(b->store, "into", random_pool(), MAPPED_BYTES_MAX + 1000);
    assert_int_equal(with_zeros, 0);
    assert_int_equal(without, 1);
    assert_int_equal(newest_segment(b, &zeros), size);
    expect_everywhere(b->store, "into", random_pool(), MAPPED_BYTES_MAX + 1000);
}

static void they_are_no_data_however_the_store_comes_back(void **state) {
    sim_box *b = *state;
    unsigned count = put_enough(b);
    for (int way = 0; way < WAYS; way++) {
        put_bulk(b, "a", count, count + ENOUGH + 1);
        put_text(b->store, "small", "1", 1);
        count += ENOUGH + 1;
        if (way == CUT) assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
        come_back(b, way);
        expect_bulk(b, "a", 0, count);
        expect_text(b->store, "small", "1");
        assert_int_equal(verify_damage(b->store), 0);
    }
    assert_true(with_zeros >= 1);
}

static void a_closed_store_has_none(void **state) {
    sim_box *b = *state;
    unsigned count = put_enough(b);
    put_bulk(b, "a", count, count + 1);
    assert_true(zeros_ahead(b) >= BLOCK_BYTES);
    sim_box_close(b);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    sim_box_open(b);
    expect_bulk(b, "a", 0, count + 1);
}

static void where_they_find_no_room_the_value_is_put_without(void **state) {
    sim_box *b = *state;
    unsigned count = put_enough(b);
    const int no_room[] = {-ENOSPC, -EDQUOT};
    for (unsigned i = 0; i < 2; i++) {
        put_small(b, 20 * i, 20 * i + 20); /* into a mapping of zeros, of which some are left */
        assert_true(zeros_ahead(b) >= BLOCK_BYTES);
        with_zeros = 0;
        refusal = no_room[i];
        put_bulk(b, "a", count, count + 1);
        assert_int_equal(with_zeros, 0);
        assert_true(zeros_ahead(b) < BLOCK_BYTES);
        refusal = 0;
        count++;
    }
    put_small(b, 40, 60);
    expect_bulk(b, "a", 0, count);
    expect_small(b, 0, 60);
    sim_box_kill(b);
    expect_bulk(b, "a", 0, count);
    expect_small(b, 0, 60);
    assert_int_equal(verify_damage(b->store), 0);
}

static void another_failure_is_that_of_the_put(void **state) {
    sim_box *b = *state;
    cairn_error error;
    unsigned count = put_enough(b);
    refusal = -EIO;
    assert_int_equal(cairn_put(b->store, "torn", 4, random_pool(), BULK_BYTES, NULL, &error), CAIRN_IO);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    refusal = 0;
    expect_absent(b->store, "torn");
    put_bulk(b, "a", count, count + 1);
    sim_box_kill(b);
    expect_bulk(b, "a", 0, count + 1);
    expect_absent(b->store, "torn");
}

/* With segments that are not full, nor is the next one there, after what these tests put. */
static int setup(void **state) {
    if (sim_box_setup(state) != 0) return 1;
    sim_box *b = *state;
    sim_box_close(b);
    sim_free(b->disk);
    b->disk = sim_new(1);
    b->options.segment_bytes = 16 * SIM_BOX_SEGMENT_BYTES;
    sim_box_open(b);
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(zeros_come_along_when_much_was_put_since_the_last_sync),
        TEST(an_append_that_ends_in_them_takes_none_along),
        TEST(they_are_no_data_however_the_store_comes_back),
        TEST(a_closed_store_has_none),
        TEST(where_they_find_no_room_the_value_is_put_without),
        TEST(another_failure_is_that_of_the_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

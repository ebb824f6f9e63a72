/* Numbers in byte buffers, and the arithmetic on lengths that come from a file. */
#include "src/base/check.h"
#include "src/base/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void integers_are_little_endian_at_any_alignment(void **state) {
    (void)state;
    uint8_t b[16] = {0};
    le16_put(b + 1, 0x0201);
    le32_put(b + 3, 0x06050403);
    le64_put(b + 7, 0x0e0d0c0b0a090807);
    for (uint8_t i = 0; i < 15; i++)
        assert_int_equal(b[i], i);
    assert_int_equal(le16_get(b + 1), 0x0201);
    assert_int_equal(le32_get(b + 3), 0x06050403);
    assert_int_equal(le64_get(b + 7), 0x0e0d0c0b0a090807);
}

static void varints_come_back_in_the_fewest_bytes(void **state) {
    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t edge = bits == 0 ? 0 : bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
        for (uint64_t v = edge - (bits > 0); v <= edge && v + 1 != 0; v++) {
            uint8_t b[VARINT_SIZE_MAX];
            uint64_t out = 1;
            uint8_t *end = varint_put(b, v);
            size_t least = 1;
            while (least < 10 && v >> (7 * least) != 0)
                least++;
            assert_int_equal(end - b, least);
            assert_ptr_equal(varint_get(b, end, &out), end);
            assert_int_equal(out, v);
        }
    }
    uint8_t b[VARINT_SIZE_MAX];
    uint64_t out = 0;
    assert_int_equal(varint_put(b, UINT64_MAX) - b, VARINT_SIZE_MAX);
    assert_non_null(varint_get(b, b + VARINT_SIZE_MAX, &out));
    assert_int_equal(out, UINT64_MAX);
}

static void a_varint_that_is_cut_is_refused(void **state) {
    (void)state;
    uint8_t b[VARINT_SIZE_MAX];
    uint64_t out;
    uint8_t *end = varint_put(b, UINT64_MAX);
    for (const uint8_t *cut = b; cut < end; cut++)
        assert_null(varint_get(b, cut, &out));
}

static void a_varint_beyond_64_bits_is_refused(void **state) {
    (void)state;
    uint8_t b[11] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 0};
    uint64_t out;
    assert_null(varint_get(b, b + 10, &out));
    b[9] = 0x81;
    assert_null(varint_get(b, b + 11, &out));
    b[9] = 0x01;
    assert_ptr_equal(varint_get(b, b + 10, &out), b + 10);
    assert_int_equal(out, 1ull << 63);
}

static void zigzag_makes_small_numbers_of_small_differences(void **state) {
    (void)state;
    const int64_t values[] = {0, -1, 1, -2, 2, 1000, -1000, INT64_MAX, INT64_MIN};
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(unzigzag(zigzag((uint64_t)values[i])), (uint64_t)values[i]);
    assert_int_equal(zigzag(0), 0);
    assert_int_equal(zigzag((uint64_t)-1), 1);
    assert_int_equal(zigzag(1), 2);
    assert_int_equal(zigzag((uint64_t)-64), 127);
}

static void sums_and_products_that_do_not_fit_are_seen(void **state) {
    (void)state;
    uint64_t result = 0;
    assert_false(add_overflows(UINT64_MAX - 1, 1, &result));
    assert_int_equal(result, UINT64_MAX);
    assert_true(add_overflows(UINT64_MAX, 1, &result));
    assert_false(mul_overflows(1ull << 32, (1ull << 32) - 1, &result));
    assert_true(mul_overflows(1ull << 32, 1ull << 32, &result));
    assert_int_equal(round_up(0, 4096), 0);
    assert_int_equal(round_up(1, 4096), 4096);
    assert_int_equal(round_up(4096, 4096), 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_little_endian_at_any_alignment),
        cmocka_unit_test(varints_come_back_in_the_fewest_bytes),
        cmocka_unit_test(a_varint_that_is_cut_is_refused),
        cmocka_unit_test(a_varint_beyond_64_bits_is_refused),
        cmocka_unit_test(zigzag_makes_small_numbers_of_small_differences),
        cmocka_unit_test(sums_and_products_that_do_not_fit_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

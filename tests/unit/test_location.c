/* Locations: 64 bits that hold an address, an exact length and a kind. */
#include "src/base/location.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_location_gives_back_what_it_was_made_of(void **state) {
    (void)state;
    const uint64_t addresses[] = {1, 2, 12345678, ADDRESS_MAX - 1, ADDRESS_MAX};
    const uint64_t lengths[] = {0,     1,     16383,      16384,      32767,
                                32768, 65536, 1ull << 30, 1ull << 56, (1ull << 56) - (1ull << 41)};
    const location_kind kinds[] = {LOCATION_VALUE, LOCATION_STREAM, LOCATION_PACKED,
                                   (location_kind)(LOCATION_PACKED | LOCATION_EXPIRES)};
    for (unsigned a = 0; a < 5; a++) {
        for (unsigned l = 0; l < 10; l++) {
            for (unsigned k = 0; k < 4; k++) {
                location where = location_make(addresses[a], length_round(lengths[l]), kinds[k]);
                assert_true(where != LOCATION_NONE);
                assert_int_equal(location_address(where), addresses[a]);
                assert_int_equal(location_units(where), length_round(lengths[l]));
                assert_int_equal(location_kind_of(where), kinds[k]);
            }
        }
    }
}

static void lengths_below_a_mebibyte_are_exact(void **state) {
    (void)state;
    for (uint64_t units = 0; units < 32768; units++) {
        assert_int_equal(length_round(units), units);
        assert_int_equal(location_units(location_make(1, units, LOCATION_VALUE)), units);
    }
}

static void rounding_adds_less_than_one_part_in_16384(void **state) {
    (void)state;
    for (uint64_t units = 1; units < 1ull << 56; units += units / 977 + 1) {
        uint64_t rounded = length_round(units);
        assert_true(rounded >= units && (rounded - units) * 16384 < units);
        assert_int_equal(length_round(rounded), rounded);
        assert_int_equal(location_units(location_make(7, rounded, LOCATION_STREAM)), rounded);
    }
}

static void rounding_never_falls_behind_a_smaller_length(void **state) {
    (void)state;
    for (unsigned bit = 14; bit < 56; bit++) {
        uint64_t before = 0;
        for (uint64_t units = (1ull << bit) - 3; units <= (1ull << bit) + 3; units++) {
            assert_true(length_round(units) >= before);
            before = length_round(units);
        }
    }
}

/* Pinned: checkpoints and segment footers hold these bits. */
static void the_bits_are_those_of_the_format(void **state) {
    (void)state;
    assert_int_equal(location_make(64, 1, LOCATION_VALUE), 0x0000010000000040);
    assert_int_equal(location_make(256, 8, LOCATION_STREAM), 0x1000080000000100);
    assert_int_equal(location_make(1, 16384, LOCATION_VALUE), 0x0040000000000001);
    assert_int_equal(location_make(1, 32768, LOCATION_VALUE), 0x0080000000000001);
    assert_int_equal(location_make(1, 32770, LOCATION_VALUE), 0x0080010000000001);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_location_gives_back_what_it_was_made_of),
        cmocka_unit_test(lengths_below_a_mebibyte_are_exact),
        cmocka_unit_test(rounding_adds_less_than_one_part_in_16384),
        cmocka_unit_test(rounding_never_falls_behind_a_smaller_length),
        cmocka_unit_test(the_bits_are_those_of_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The checksum that a copy makes on its way is that of the library, and the copy is a copy. */
#include "src/base/checksum.h"
#include "src/base/checksum_copy.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MARGIN 64u

static const uint64_t seeds[] = {0, 1, 0x9E3779B97F4A7C15u, UINT64_MAX};
enum { SEEDS = sizeof seeds / sizeof seeds[0] };

/* Nothing before and behind the copy is touched. */
static void check(const uint8_t *from, size_t size, size_t lead, uint64_t seed) {
    uint8_t *memory = malloc(lead + size + 1);
    assert_non_null(memory);
    memset(memory, 0xA5, lead + size + 1);
    assert_true(checksum_copy(memory + lead, from, size, seed) == checksum(from, size, seed));
    assert_true(size == 0 || memcmp(memory + lead, from, size) == 0);
    for (size_t i = 0; i < lead; i++) {
        assert_int_equal(memory[i], 0xA5);
    }
    assert_int_equal(memory[lead + size], 0xA5);
    free(memory);
}

static void every_size_up_to_some_blocks_gives_the_sum_of_the_library(void **state) {
    (void)state;
    for (size_t size = 0; size <= 5000; size++) {
        check(random_pool() + size % MARGIN, size, size % 33, seeds[size % SEEDS]);
    }
}

static void sizes_around_a_frame_do_with_every_seed(void **state) {
    static const size_t sizes[] = {16384, 32767, 65535, 65536, 65537, 70000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < SEEDS; j++) {
            check(random_pool() + j, sizes[i], 16 * i, seeds[j]);
        }
    }
}

static void one_bit_anywhere_makes_another_sum(void **state) {
    static const size_t sizes[] = {1, 240, 241, 1024, 1025, 4096, 5000};
    uint8_t from[5000], to[5000];
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memcpy(from, random_pool(), sizes[i]);
        uint64_t sum = checksum_copy(to, from, sizes[i], 0);
        for (size_t bit = 0; bit < 8 * sizes[i]; bit++) {
            from[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(checksum_copy(to, from, sizes[i], 0) != sum);
            from[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_up_to_some_blocks_gives_the_sum_of_the_library),
        cmocka_unit_test(sizes_around_a_frame_do_with_every_seed),
        cmocka_unit_test(one_bit_anywhere_makes_another_sum),
    };
    return cmocka_run_group_tests_name("checksum_copy", tests, NULL, NULL);
}

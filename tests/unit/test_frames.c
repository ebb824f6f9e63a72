/* Checksums of frames. */
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FRAMES_MAX 4

static uint8_t *make_value(size_t size) {
    uint8_t *value = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(i * 31 + (i >> 8) * 17 + (i >> 16));
    return value;
}

static void compute(uint8_t table[FRAMES_MAX * 8], const uint8_t *value, size_t size) {
    uint64_t frames[FRAMES_MAX];
    frames_compute(frames, value, size);
    for (uint64_t i = 0; i < frames_of(size); i++)
        le64_put(table + 8 * i, frames[i]);
}

static const size_t edges[] = {
    0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 3 * FRAME_BYTES + 12345};
#define EDGES (sizeof edges / sizeof *edges)

static void a_value_has_as_many_frames_as_it_fills_or_begins(void **state) {
    (void)state;
    const uint64_t expected[EDGES] = {0, 1, 1, 1, 2, 2, 4};
    for (size_t i = 0; i < EDGES; i++)
        assert_int_equal(frames_of(edges[i]), expected[i]);
    assert_int_equal(frames_of(UINT64_MAX), (uint64_t)1 << 48);
}

static void each_frame_has_the_checksum_of_its_own_bytes(void **state) {
    (void)state;
    size_t size = 3 * FRAME_BYTES + 12345;
    uint8_t *value = make_value(size);
    uint64_t frames[FRAMES_MAX];
    frames_compute(frames, value, size);
    for (size_t i = 0; i < FRAMES_MAX; i++)
        assert_int_equal(frames[i], checksum(value + i * FRAME_BYTES, i < 3 ? FRAME_BYTES : 12345, 0));
    free(value);
}

static void whole_values_verify_at_every_edge(void **state) {
    (void)state;
    for (size_t i = 0; i < EDGES; i++) {
        uint8_t *value = make_value(edges[i]), table[FRAMES_MAX * 8];
        compute(table, value, edges[i]);
        assert_true(frames_verify(table, value, edges[i]) == UINT64_MAX);
        free(value);
    }
}

static void the_first_damaged_frame_is_named(void **state) {
    (void)state;
    size_t size = 3 * FRAME_BYTES + 12345;
    uint8_t *value = make_value(size), table[FRAMES_MAX * 8];
    compute(table, value, size);
    for (size_t frame = 0; frame < FRAMES_MAX; frame++) {
        size_t at = frame * FRAME_BYTES + 5000;
        value[at] ^= 0x10;
        assert_int_equal(frames_verify(table, value, size), frame);
        value[size - 1] ^= 1;
        assert_int_equal(frames_verify(table, value, size), frame);
        value[size - 1] ^= 1;
        value[at] ^= 0x10;
    }
    free(value);
}

static void a_part_verifies_against_its_part_of_the_table(void **state) {
    (void)state;
    size_t size = 3 * FRAME_BYTES + 12345;
    uint8_t *value = make_value(size), table[FRAMES_MAX * 8];
    compute(table, value, size);
    assert_true(frames_verify(table + 8, value + FRAME_BYTES, 2 * FRAME_BYTES) == UINT64_MAX);
    assert_true(frames_verify(table + 24, value + 3 * FRAME_BYTES, 12345) == UINT64_MAX);
    assert_int_equal(frames_verify(table, value + FRAME_BYTES, FRAME_BYTES), 0);
    assert_int_equal(frames_verify(table + 24, value + 3 * FRAME_BYTES, 12344), 0);
    free(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_has_as_many_frames_as_it_fills_or_begins),
        cmocka_unit_test(each_frame_has_the_checksum_of_its_own_bytes),
        cmocka_unit_test(whole_values_verify_at_every_edge),
        cmocka_unit_test(the_first_damaged_frame_is_named),
        cmocka_unit_test(a_part_verifies_against_its_part_of_the_table),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}

/* Damage to value files, to their tables and to the descriptors in the log: every one is refused, and named. */
#include "src/base/codec.h"
#include "tests/support/rung.h"
#include "tests/support/value_damage.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t other_id[16] = "another store's";

static void a_file_that_is_missing_or_anothers_is_refused(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *value = value_make(5000);
    value_descriptor d = value_box_write(&f, value, 5000);
    value_file *file;
    cairn_error error;
    value_file_env other = f.env;
    other.store_id = other_id;
    assert_value_damaged(value_file_open(&file, &other, &d, &error), &error);
    other = f.env;
    other.salt++;
    assert_value_damaged(value_file_open(&file, &other, &d, &error), &error);
    assert_null(file);

    /* Under another id, with everything else the same. */
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &size);
    sim_file_write(f.disk, VALUE_STORE, "0000000000000008.val", bytes, size);
    value_descriptor moved = d;
    moved.id = 8;
    assert_int_equal(value_file_open(&file, &f.env, &moved, &error), CAIRN_CORRUPT);
    assert_int_equal(error.segment, 8);

    /* Another key's, or another value's of the same size. */
    file = value_box_file(&f, &d);
    uint64_t counted = 0;
    const value_verify verify = {.bytes = &counted};
    assert_value_damaged(value_file_verify(file, "b key", VALUE_KEY_SIZE, &verify, &error), &error);
    assert_value_damaged(value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE - 1, &verify, &error), &error);
    value_file_close(file);
    moved = d;
    moved.trailer_checksum++;
    file = value_box_file(&f, &moved);
    assert_value_damaged(value_verify_all(file, NULL, &error), &error);
    assert_int_equal(error.offset, d.trailer_offset);
    value_file_close(file);

    sim_file_remove(f.disk, VALUE_STORE, VALUE_NAME);
    assert_value_damaged(value_file_open(&file, &f.env, &d, &error), &error);
    assert_non_null(strstr(error.message, "missing"));
    free(bytes);
    free(value);
    value_box_close(&f);
}

static void every_flipped_bit_is_found_and_none_gives_a_wrong_value(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *value = value_make(100);
    value_descriptor d = value_box_write(&f, value, 100);
    /* Sanitized every seventh: one or two of each byte. */
    for (uint64_t bit = 0; bit < d.file_size * 8; bit += rung_choose(1, 7, 1)) {
        uint64_t byte = bit / 8;
        bool verified, read = value_is_right_or_refused_with(&f, &d, value, bit, &verified);
        if (verified) fail_msg("bit %llu is not found", (unsigned long long)bit);
        bool unread = byte >= d.trailer_offset || (byte >= VALUE_FILE_DATA_OFFSET + 100 && byte < d.table_offset);
        assert_int_equal(read, unread);
    }
    free(value);
    value_box_close(&f);
}

static void damage_in_any_frame_of_a_long_value_is_named(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 34 * MIB + 9;
    uint8_t *value = value_make(size);
    value_descriptor d = value_box_write(&f, value, size);
    value_file *file = value_box_file(&f, &d);
    const uint64_t frames[] = {0, 1, 3, 4, 100, 510, 511, 512, 543, 544};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        assert_damaged_frame_is_named(&f, &d, file, frames[i], VALUE_FILE_DATA_OFFSET + frames[i] * FRAME_BYTES);
    value_file_close(file);
    free(value);
    value_box_close(&f);
}

static void pages_of_the_table_in_another_order_are_refused(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 33 * MIB;
    uint8_t *value = value_make(size);
    memcpy(value + 511 * FRAME_BYTES, value, FRAME_BYTES); /* so that the first entries of both pages are alike */
    value_descriptor d = value_box_write(&f, value, size);
    assert_exchanged_pages_are_refused(&f, &d, 511);
    free(value);
    value_box_close(&f);
}

static void a_spilled_table_that_was_damaged_fails_the_value(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 33 * MIB;
    uint8_t *value = value_make(size);
    assert_damaged_spill_fails(&f, value, size, NULL);
    free(value);
    value_box_close(&f);
}

static void every_other_length_of_the_file_is_refused(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *value = value_make(100), buf[100];
    value_descriptor d = value_box_write(&f, value, 100);
    assert_other_lengths_are_refused(&f, &d);
    /* Cut while it is open. */
    const void *data;
    cairn_error error;
    value_file *file = value_box_file(&f, &d);
    assert_true(sim_file_resize(f.disk, VALUE_STORE, VALUE_NAME, VALUE_FILE_DATA_OFFSET + 50));
    assert_value_damaged(value_file_read(file, buf, 100, 0, &error), &error);
    assert_value_damaged(value_file_map(file, &data, &error), &error);
    assert_value_damaged(value_verify_all(file, NULL, &error), &error);
    value_file_close(file);
    free(value);
    value_box_close(&f);
}

static bool same(const value_descriptor *a, const value_descriptor *b) {
    return a->id == b->id && a->value_size == b->value_size && a->stored_size == b->stored_size &&
           a->frames == b->frames && a->table_offset == b->table_offset && a->trailer_offset == b->trailer_offset &&
           a->file_size == b->file_size && a->trailer_checksum == b->trailer_checksum && a->codec == b->codec &&
           a->frame_shift == b->frame_shift;
}

static void a_descriptor_that_is_accepted_describes_a_possible_file(void **state) {
    (void)state;
    const uint64_t sizes[] = {0, 1, FRAME_BYTES, 33 * MIB, (uint64_t)5 << 30, CAIRN_VALUE_SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t frames = frames_of(sizes[i]), pages = (frames + 510) / 511;
        uint64_t table = (4096 + sizes[i] + 4095) / 4096 * 4096;
        value_descriptor d = {.id = VALUE_ID,
                              .value_size = sizes[i],
                              .stored_size = sizes[i],
                              .frames = frames,
                              .table_offset = table,
                              .trailer_offset = table + pages * 4096,
                              .file_size = table + pages * 4096 + 128,
                              .trailer_checksum = 99,
                              .frame_shift = FRAME_SHIFT};
        uint8_t bytes[VALUE_DESCRIPTOR_BYTES];
        value_descriptor got;
        value_descriptor_encode(bytes, &d);
        assert_true(value_descriptor_decode(&got, bytes, sizes[i]));
        assert_true(same(&got, &d));
        assert_false(value_descriptor_decode(&got, bytes, sizes[i] + 1));
        for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool accepted = value_descriptor_decode(&got, bytes, sizes[i]);
            bool free_field = bit / 64 == 0 || bit / 64 == 6 || bit / 8 >= 58; /* id, checksum, reserved */
            if (bit / 64 != 5 && accepted != (free_field && got.id != 0)) fail_msg("bit %zu", bit);
            if (accepted) assert_true(got.file_size >= got.trailer_offset + 128);
            if (accepted) assert_true(got.file_size <= got.trailer_offset + 64 + 65536);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        le64_put(bytes, 0);
        assert_false(value_descriptor_decode(&got, bytes, sizes[i]));
    }
    uint8_t zeros[VALUE_DESCRIPTOR_BYTES] = {0};
    value_descriptor got;
    assert_false(value_descriptor_decode(&got, zeros, 0));
    assert_false(value_descriptor_decode(&got, zeros, UINT64_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_missing_or_anothers_is_refused),
        cmocka_unit_test(every_flipped_bit_is_found_and_none_gives_a_wrong_value),
        cmocka_unit_test(damage_in_any_frame_of_a_long_value_is_named),
        cmocka_unit_test(pages_of_the_table_in_another_order_are_refused),
        cmocka_unit_test(a_spilled_table_that_was_damaged_fails_the_value),
        cmocka_unit_test(every_other_length_of_the_file_is_refused),
        cmocka_unit_test(a_descriptor_that_is_accepted_describes_a_possible_file),
    };
    return cmocka_run_group_tests_name("value_file_damage", tests, NULL, NULL);
}

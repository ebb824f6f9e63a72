/* Damage to value files in compressed frames, and forgeries of them whose checksums are right: nothing crashes, reads
 * beyond what is there or gives a wrong value, and what is refused is named. */
#include "src/base/codec.h"
#include "tests/support/rung.h"
#include "tests/support/value_damage.h"
#include "vlog/value_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE_FRAMES 340u

/* A value in its file, and the bytes of that as they should be. */
typedef struct specimen {
    value_box box;
    value_descriptor d;
    uint8_t *value, *bytes;
    size_t size, file_size;
} specimen;

static void specimen_open(specimen *s, value_kind kind, size_t size) {
    value_box_open(&s->box, sim_new(1));
    s->size = size;
    s->value = value_make_kind(kind, size);
    s->d = value_box_pack(&s->box, s->value, size);
    s->bytes = sim_file_read(s->box.disk, VALUE_STORE, VALUE_NAME, &s->file_size);
}

static void specimen_close(specimen *s) {
    free(s->bytes);
    free(s->value);
    value_box_close(&s->box);
}

static uint8_t *page_of(const specimen *s, uint8_t *bytes, uint64_t number) {
    return bytes + s->d.table_offset + number * VALUE_TABLE_PAGE_BYTES;
}
static uint8_t *entry_of(const specimen *s, uint8_t *bytes, uint64_t frame) {
    return page_of(s, bytes, frame / PAGE_FRAMES) + value_page_entry(CODEC_ZSTD, frame % PAGE_FRAMES);
}
static uint64_t offset_of(const specimen *s, uint64_t frame) {
    uint64_t at = VALUE_FILE_DATA_OFFSET;
    for (uint64_t i = 0; i < frame; i++)
        at += le32_get(entry_of(s, s->bytes, i) + VALUE_ENTRY_LENGTH);
    return at;
}

/* ---- Damage ---- */

static void every_flipped_bit_is_found_or_changes_nothing(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_TEXT, 1500);
    const uint64_t end = VALUE_FILE_DATA_OFFSET + s.d.stored_size;
    uint64_t silent = 0;
    for (uint64_t bit = 0; bit < s.d.file_size * 8; bit += rung_choose(1, 7, 1)) {
        uint64_t byte = bit / 8;
        bool verified, read = value_is_right_or_refused_with(&s.box, &s.d, s.value, bit, &verified);
        bool in_frame = byte >= VALUE_FILE_DATA_OFFSET && byte < end; /* the codec leaves some bits unused */
        if (in_frame) {
            assert_int_equal(read, verified);
            silent += verified;
        } else {
            if (verified) fail_msg("bit %llu is not found", (unsigned long long)bit);
            assert_int_equal(read, byte >= s.d.trailer_offset || (byte >= end && byte < s.d.table_offset));
        }
    }
    assert_true(silent < s.d.stored_size / 2);
    specimen_close(&s);
}

static void damage_in_any_frame_of_a_long_value_is_named(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_MIXED, 43 * MIB + 9);
    value_file *file = value_box_file(&s.box, &s.d);
    const uint64_t frames[] = {0, 1, 3, 4, 100, 339, 340, 341, 679, 680, 688};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        assert_damaged_frame_is_named(&s.box, &s.d, file, frames[i], offset_of(&s, frames[i]));
    value_file_close(file);
    specimen_close(&s);
}

static void pages_of_the_table_in_another_order_are_refused(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_TEXT, 2 * PAGE_FRAMES * FRAME_BYTES);
    assert_exchanged_pages_are_refused(&s.box, &s.d, PAGE_FRAMES);
    specimen_close(&s);
}

static void a_spilled_table_that_was_damaged_fails_the_value(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 22 * MIB;
    uint8_t *value = value_make_kind(VALUE_TEXT, size);
    const pack_options packing = {.level = 0};
    assert_damaged_spill_fails(&f, value, size, &packing);
    free(value);
    value_box_close(&f);
}

static void every_other_length_of_the_file_is_refused(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_TEXT, 1500);
    assert_other_lengths_are_refused(&s.box, &s.d);
    /* Cut while it is open, in the frames and behind them. */
    uint8_t buf[1500];
    cairn_error error;
    value_file *file = value_box_file(&s.box, &s.d);
    for (uint64_t cut = VALUE_FILE_DATA_OFFSET; cut < s.d.table_offset + 100; cut += 1000) {
        assert_true(sim_file_resize(s.box.disk, VALUE_STORE, VALUE_NAME, cut));
        assert_value_damaged(value_file_read(file, buf, s.size, 0, &error), &error);
        assert_value_damaged(value_verify_all(file, NULL, &error), &error);
        sim_file_write(s.box.disk, VALUE_STORE, VALUE_NAME, s.bytes, s.file_size);
    }
    value_file_close(file);
    specimen_close(&s);
}

/* ---- Forgeries ---- */

/* Reads a file with these bytes: some bytes at `offset`, and, when `whole` is set, all. Every result is the value or a
 * refusal. Whether the part was refused. */
static bool forgery_is_refused(specimen *s, const uint8_t *bytes, uint64_t offset, bool whole) {
    uint8_t part[100], *buf = whole ? malloc(s->size) : NULL;
    cairn_error error;
    sim_file_write(s->box.disk, VALUE_STORE, VALUE_NAME, bytes, s->file_size);
    value_file *file = value_box_file(&s->box, &s->d);
    int rc = value_file_read(file, part, sizeof part, offset, &error);
    if (rc == CAIRN_OK) {
        assert_memory_equal(part, s->value + offset, sizeof part);
    } else {
        assert_value_damaged(rc, &error);
    }
    if (whole) {
        cairn_error at_end;
        assert_value_damaged(value_file_read(file, buf, s->size, 0, &at_end), &at_end);
        assert_value_damaged(value_verify_all(file, NULL, &at_end), &at_end);
    }
    value_file_close(file);
    free(buf);
    return rc != CAIRN_OK;
}

static const uint64_t extremes[] = {0,
                                    1,
                                    7,
                                    FRAME_BYTES - 1,
                                    FRAME_BYTES,
                                    FRAME_BYTES + 1,
                                    0x7fffffff,
                                    UINT32_MAX,
                                    (uint64_t)1 << 56,
                                    (uint64_t)1 << 63,
                                    UINT64_MAX - 4096,
                                    UINT64_MAX};
#define EXTREMES (sizeof extremes / sizeof *extremes)

static void lengths_and_offsets_that_lie_are_refused(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_TEXT, (2 * PAGE_FRAMES + 3) * FRAME_BYTES - 5);
    const uint64_t frames[] = {0, 3, PAGE_FRAMES - 1, PAGE_FRAMES, 2 * PAGE_FRAMES, 2 * PAGE_FRAMES + 2};
    uint8_t *bytes = malloc(s.file_size);
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint64_t number = frames[i] / PAGE_FRAMES, offset = frames[i] * FRAME_BYTES + 11;
        for (size_t e = 0; e < 2 * EXTREMES + 4; e++) {
            memcpy(bytes, s.bytes, s.file_size);
            uint8_t *page = page_of(&s, bytes, number), *length = entry_of(&s, bytes, frames[i]) + VALUE_ENTRY_LENGTH;
            if (e < EXTREMES) {
                le64_put(page + VALUE_PAGE_FIRST, extremes[e]);
            } else if (e < 2 * EXTREMES) {
                le32_put(length, (uint32_t)extremes[e - EXTREMES]);
            } else if (e < 2 * EXTREMES + 2) {
                le64_put(page + VALUE_PAGE_FIRST, le64_get(page + VALUE_PAGE_FIRST) + (e % 2 ? 1 : UINT64_MAX));
            } else {
                le32_put(length, le32_get(length) + (e % 2 ? 1 : UINT32_MAX));
            }
            if (memcmp(bytes, s.bytes, s.file_size) == 0) continue;
            value_page_seal(page, number, file_seed(VALUE_SALT, VALUE_ID, 0));
            assert_true(forgery_is_refused(&s, bytes, offset, number == 0 || e >= 2 * EXTREMES));
        }
    }
    free(bytes);
    specimen_close(&s);
}

static void every_bit_of_a_sealed_page_may_lie_without_harm(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_MIXED, 5 * FRAME_BYTES - 70);
    uint8_t *bytes = malloc(s.file_size);
    const uint64_t offset = 3 * FRAME_BYTES - 50;
    for (size_t bit = 8 * 8; bit < value_page_entry(CODEC_ZSTD, 5) * 8; bit++) {
        memcpy(bytes, s.bytes, s.file_size);
        page_of(&s, bytes, 0)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        value_page_seal(page_of(&s, bytes, 0), 0, file_seed(VALUE_SALT, VALUE_ID, 0));
        (void)forgery_is_refused(&s, bytes, offset, true);
    }
    free(bytes);
    specimen_close(&s);
}

/* Two lengths that are exchanged have the same sum: only what the frames decode to tells. */
static void frames_cut_at_another_place_are_refused(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_MIXED, 20 * FRAME_BYTES);
    uint8_t *bytes = malloc(s.file_size);
    for (uint32_t shift = 1; shift <= 20; shift++) {
        memcpy(bytes, s.bytes, s.file_size);
        uint8_t *a = entry_of(&s, bytes, 0) + VALUE_ENTRY_LENGTH, *b = entry_of(&s, bytes, 1) + VALUE_ENTRY_LENGTH;
        le32_put(a, le32_get(a) + shift);
        le32_put(b, le32_get(b) - shift);
        value_page_seal(page_of(&s, bytes, 0), 0, file_seed(VALUE_SALT, VALUE_ID, 0));
        assert_true(forgery_is_refused(&s, bytes, 0, true));
        assert_true(forgery_is_refused(&s, bytes, FRAME_BYTES, false));
        assert_false(forgery_is_refused(&s, bytes, 2 * FRAME_BYTES, false)); /* which is where it was */
    }
    free(bytes);
    specimen_close(&s);
}

/* ---- Descriptors ---- */

static void a_descriptor_that_is_accepted_describes_a_possible_file(void **state) {
    (void)state;
    const uint64_t sizes[] = {2, FRAME_BYTES, 33 * MIB, (uint64_t)5 << 30, CAIRN_VALUE_SIZE_MAX};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        uint64_t size = sizes[i / 2], frames = frames_of(size), stored = i % 2 ? frames : size - 1;
        value_descriptor d = {.id = VALUE_ID, .trailer_checksum = 99}, got;
        uint8_t bytes[VALUE_DESCRIPTOR_BYTES];
        value_descriptor_layout(&d, CODEC_ZSTD, size, stored, 5);
        value_descriptor_encode(bytes, &d);
        assert_true(value_descriptor_decode(&got, bytes, size));
        assert_int_equal(got.codec, CODEC_ZSTD);
        assert_int_equal(got.stored_size, stored);
        assert_int_equal(got.table_offset, (4096 + stored + 4095) / 4096 * 4096);
        assert_int_equal(got.trailer_offset, got.table_offset + (frames + 339) / 340 * 4096);
        for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool accepted = value_descriptor_decode(&got, bytes, size);
            size_t field = bit / 64;
            if (field == 2 || field == 3 || field == 4) assert_false(accepted); /* frames, table, trailer */
            if (bit / 8 == 56 || bit / 8 == 57) assert_false(accepted);         /* codec, frame shift */
            if (accepted) {
                value_descriptor same = {0};
                value_descriptor_layout(&same, CODEC_ZSTD, size, got.stored_size, 1);
                assert_true(got.stored_size >= frames && got.stored_size < size);
                assert_int_equal(got.trailer_offset, same.trailer_offset);
                assert_true(got.file_size >= same.file_size && got.file_size <= same.trailer_offset + 64 + 65536);
            }
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        const uint64_t impossible[] = {0, frames - 1, size, size + 1, (uint64_t)1 << 63, UINT64_MAX};
        for (size_t k = 0; k < sizeof impossible / sizeof *impossible; k++) {
            le64_put(bytes + 8, impossible[k]);
            assert_false(value_descriptor_decode(&got, bytes, size));
        }
    }
}

/* One that is accepted, and names a size of the frames that is not theirs: the table tells. */
static void a_stored_size_that_lies_is_refused_by_the_table(void **state) {
    (void)state;
    specimen s;
    specimen_open(&s, VALUE_TEXT, 3 * FRAME_BYTES);
    for (uint64_t stored = s.d.stored_size - 20; stored < s.d.stored_size + 20; stored++) {
        if (stored == s.d.stored_size) continue;
        value_descriptor d = s.d;
        d.stored_size = stored;
        bool verified;
        assert_int_equal(d.table_offset, round_up(4096 + stored, 4096));
        assert_false(value_is_right_or_refused(&s.box, &d, s.value, &verified));
        assert_false(verified);
    }
    specimen_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_found_or_changes_nothing),
        cmocka_unit_test(damage_in_any_frame_of_a_long_value_is_named),
        cmocka_unit_test(pages_of_the_table_in_another_order_are_refused),
        cmocka_unit_test(a_spilled_table_that_was_damaged_fails_the_value),
        cmocka_unit_test(every_other_length_of_the_file_is_refused),
        cmocka_unit_test(lengths_and_offsets_that_lie_are_refused),
        cmocka_unit_test(every_bit_of_a_sealed_page_may_lie_without_harm),
        cmocka_unit_test(frames_cut_at_another_place_are_refused),
        cmocka_unit_test(a_descriptor_that_is_accepted_describes_a_possible_file),
        cmocka_unit_test(a_stored_size_that_lies_is_refused_by_the_table),
    };
    return cmocka_run_group_tests_name("value_packed_damage", tests, NULL, NULL);
}

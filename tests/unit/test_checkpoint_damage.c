/* The bytes of a checkpoint: those of the format page, those of a later version, and every damage to them, which is
 * refused. */
#include "index/checkpoint_root.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "tests/support/checkpoint_box.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- The root's file ---- */

typedef struct root_file {
    sim_disk *disk; /* with checkpoints 1 to 2 */
    uint8_t *bytes;
    size_t size;
} root_file;

static root_file root_file_make(void) {
    root_file r = {.disk = checkpoint_disk(2)};
    r.bytes = sim_file_read(r.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, &r.size);
    assert_non_null(r.bytes);
    return r;
}

static void root_file_release(root_file *r) {
    free(r->bytes);
    sim_free(r->disk);
}

static void put_root(sim_disk *disk, const uint8_t *bytes, size_t size) {
    sim_file_write(disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, bytes, size);
}

static void poke(sim_disk *disk, const char *name, uint64_t at, uint8_t mask) {
    assert_true(sim_file_poke(disk, CHECKPOINT_STORE, name, at, mask));
}

static int decode(const uint8_t *bytes, size_t size) {
    static checkpoint_root root;
    const uint8_t *blob;
    size_t blob_size;
    return root_decode(&root, bytes, size, &blob, &blob_size, NULL);
}

static int load_code(sim_disk *disk) {
    checkpoint_info info;
    return checkpoint_load_from(disk, &info, NULL);
}

/* Makes a whole root of changed bytes, as a liar would. */
static void seal(uint8_t *bytes, size_t size) {
    uint64_t seed = le64_get(bytes + 16) ^ le64_get(bytes + 24);
    le64_put(bytes + size - 8, checksum(bytes, size - 8, seed));
}

/* ---- The format ---- */

static void assert_hex(const uint8_t *bytes, size_t at, const char *hex) {
    for (; *hex != '\0'; hex += *hex == ' ' ? 1 : 2) {
        if (*hex == ' ') continue;
        char digits[3] = {hex[0], hex[1], '\0'};
        assert_int_equal(bytes[at++], strtoul(digits, NULL, 16));
    }
}

static void assert_zeros(const uint8_t *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        assert_int_equal(bytes[i], 0);
}

static void bytes_of_the_example_in_the_format_page(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    index_insert(f.index, 5, location_make(64, 1, LOCATION_VALUE));
    index_insert(f.index, UINT64_MAX, location_make(256, 8, LOCATION_STREAM));
    checkpoint_info info = {
        .epoch = 3, .start_place = 17, .start_segment = 2, .start_offset = 4096, .time_ms = 1700000000000};
    assert_int_equal(checkpoint_box_write_info(&f, &info), CAIRN_OK);
    size_t root_size = 0, data_size = 0;
    uint8_t *root = sim_file_read(f.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, &root_size);
    uint8_t *data = sim_file_read(f.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, &data_size);
    static const char head[] = "63616972 6e2d6978 01000000 80000000 00010203 04050607 08090a0b 0c0d0e0f"
                               "03000000 00000000 11000000 00000000 02000000 00000000 00100000 00000000"
                               "15000000 00000000 0068e5cf 8b010000 02000000 00000000 00040000 20000000"
                               "05000000 00000000 00020000 00000000 00000000 00000000 00000000 00000000";
    static const char row_0[] = "00000000 00000000 02000000 00000000 01000000 00000000 affc0685 d4073603";
    static const char row_1023[] = "00010000 00000000 02000000 00000000 01000000 00000000 cf291b32 90575fc2";
    static const char end[] = "68656c6c 6fd3f8f5 93315193 c9";
    assert_int_equal(root_size, 0x808d);
    assert_hex(root, 0, head);
    assert_hex(root, 0x80, row_0);
    assert_zeros(root, 0xa0, 0x8060);
    assert_hex(root, 0x8060, row_1023);
    assert_hex(root, 0x8080, end);
    assert_int_equal(data_size, 0x200);
    assert_zeros(data, 0, 0x80);
    assert_hex(data, 0x80, "05000000 00000000 40000000 00010000");
    assert_zeros(data, 0x90, 0x100);
    assert_hex(data, 0x100, "ffffffff ffffffff 00010000 00080010");
    assert_zeros(data, 0x110, 0x200);
    free(root);
    free(data);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void a_newer_format_is_refused_by_name(void **state) {
    (void)state;
    sim_disk *disk = checkpoint_disk(1);
    poke(disk, CHECKPOINT_ROOT_NAME, 8, 3); /* 1 becomes 2 */
    checkpoint_info info;
    cairn_error error = {0};
    assert_int_equal(checkpoint_load_from(disk, &info, &error), CAIRN_CORRUPT);
    assert_non_null(strstr(error.message, "newer format"));
    sim_free(disk);
}

static void a_longer_head_and_longer_rows_of_a_later_minor_version_are_skipped(void **state) {
    (void)state;
    root_file r = root_file_make();
    const size_t head = ROOT_HEAD_BYTES + 24, row = ROOT_ROW_BYTES + 8, larger = r.size + 24 + 1024 * 8;
    uint8_t *later = malloc(larger);
    memset(later, 0xee, larger);
    memcpy(later, r.bytes, ROOT_HEAD_BYTES);
    le16_put(later + 10, 7);
    le32_put(later + 12, (uint32_t)head);
    le32_put(later + 92, (uint32_t)row);
    for (unsigned i = 0; i < 1024; i++)
        memcpy(later + head + i * row, r.bytes + 128 + i * 32, 32);
    memcpy(later + head + 1024 * row, r.bytes + 128 + 1024 * 32, 5);
    seal(later, larger);
    put_root(r.disk, later, larger);
    assert_int_equal(load_code(r.disk), CAIRN_OK);
    free(later);
    root_file_release(&r);
}

/* ---- Damage ---- */

static void a_root_of_which_any_bit_is_flipped_is_refused(void **state) {
    (void)state;
    root_file r = root_file_make();
    for (size_t i = 0; i < r.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            r.bytes[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(decode(r.bytes, r.size), CAIRN_CORRUPT);
            r.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(decode(r.bytes, r.size), CAIRN_OK);
    for (size_t i = 0; i < r.size; i += 97) {
        poke(r.disk, CHECKPOINT_ROOT_NAME, i, 0x10);
        assert_int_equal(load_code(r.disk), CAIRN_CORRUPT);
        poke(r.disk, CHECKPOINT_ROOT_NAME, i, 0x10);
    }
    root_file_release(&r);
}

static void a_root_of_any_other_length_is_refused(void **state) {
    (void)state;
    root_file r = root_file_make();
    for (size_t length = 0; length < r.size; length++) {
        uint8_t *cut = malloc(length + 1); /* of its own, so that a read behind the end is seen */
        memcpy(cut, r.bytes, length);
        assert_int_equal(decode(cut, length), CAIRN_CORRUPT);
        free(cut);
        length += length > 200 && length + 300 < r.size ? 36 : 0;
    }
    const size_t lengths[] = {0, 1, 127, 128, r.size - 1, r.size + 1, r.size + 4096};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_true(sim_file_resize(r.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, lengths[i]));
        assert_int_equal(load_code(r.disk), CAIRN_CORRUPT);
        put_root(r.disk, r.bytes, r.size);
    }
    assert_int_equal(load_code(r.disk), CAIRN_OK);
    root_file_release(&r);
}

/* Fields that lie under a right checksum are refused without a crash, or harmless. */
static void rows_that_lie_are_refused(void **state) {
    (void)state;
    root_file r = root_file_make();
    uint8_t *lie = malloc(r.size);
    unsigned shard = hash_index_shard_of(mix(25));
    const uint64_t values[] = {0, 1, 63, 64, 1u << 20, UINT32_MAX, UINT64_MAX - 63, UINT64_MAX};
    for (size_t field = 0; field < 24; field += field == 8 ? 4 : field == 12 ? 4 : 8) {
        for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
            memcpy(lie, r.bytes, r.size);
            uint8_t *at = lie + 128 + shard * 32 + field;
            if (field == 8 || field == 12) {
                le32_put(at, (uint32_t)values[i]);
            } else {
                le64_put(at, values[i]);
            }
            if (memcmp(lie, r.bytes, r.size) == 0) continue;
            seal(lie, r.size);
            put_root(r.disk, lie, r.size);
            assert_int_equal(load_code(r.disk), CAIRN_CORRUPT);
        }
    }
    const size_t head_fields[] = {12, 80, 88, 92, 96, 104};
    for (unsigned i = 0; i < 6; i++) {
        memcpy(lie, r.bytes, r.size);
        lie[head_fields[i] + 3] ^= 0x80;
        seal(lie, r.size);
        put_root(r.disk, lie, r.size);
        assert_int_equal(load_code(r.disk), CAIRN_CORRUPT);
    }
    free(lie);
    root_file_release(&r);
}

/* An image with a right checksum, in which an entry lies where it cannot. */
static void an_entry_in_a_wrong_place_is_refused(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        checkpoint_box f;
        checkpoint_box_open(&f, sim_new(1), false);
        for (uint64_t i = 0; i < 30; i++)
            index_insert(f.index, mix(i) >> 10, i + 1);
        assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
        checkpoint_box_close(&f);
        size_t size = 0, root_size = 0;
        uint8_t *data = sim_file_read(f.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, &size);
        uint8_t *root = sim_file_read(f.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, &root_size);
        uint8_t *slot = data;
        while (le64_get(slot + 8) == 0)
            slot += 16;
        if (kind == 0) le64_put(slot, le64_get(slot) | (uint64_t)1 << 63); /* another shard's */
        if (kind == 1) le64_put(slot + 8, 0);                              /* one too few */
        if (kind == 2) memset(slot, 0x21, 7);                              /* another bucket's, very likely */
        le64_put(root + 128 + 24, checksum(data, size, root_image_seed(checkpoint_store_id, 0)));
        seal(root, root_size);
        sim_file_write(f.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, data, size);
        put_root(f.disk, root, root_size);
        checkpoint_info info;
        cairn_error error = {0};
        assert_int_equal(checkpoint_load_from(f.disk, &info, &error), CAIRN_CORRUPT);
        assert_non_null(strstr(error.message, "cannot be there"));
        free(data);
        free(root);
        sim_free(f.disk);
    }
}

static void data_of_which_any_bit_is_flipped_is_refused(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (uint64_t i = 0; i < 4; i++)
        index_insert(f.index, mix(i), i + 1);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    hash_index_clear(f.index);
    uint64_t size = checkpoint_data_size(f.disk);
    checkpoint_info info;
    for (uint64_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            poke(f.disk, CHECKPOINT_DATA_NAME, i, (uint8_t)(1u << bit));
            assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_CORRUPT);
            poke(f.disk, CHECKPOINT_DATA_NAME, i, (uint8_t)(1u << bit));
        }
        if (i % 64 != 0) continue;
        sim_disk *cut = sim_clone(f.disk);
        assert_true(sim_file_resize(cut, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, i));
        assert_int_equal(load_code(cut), CAIRN_CORRUPT);
        sim_free(cut);
    }
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_root_of_which_any_bit_is_flipped_is_refused),
        cmocka_unit_test(a_root_of_any_other_length_is_refused),
        cmocka_unit_test(a_newer_format_is_refused_by_name),
        cmocka_unit_test(a_longer_head_and_longer_rows_of_a_later_minor_version_are_skipped),
        cmocka_unit_test(rows_that_lie_are_refused),
        cmocka_unit_test(an_entry_in_a_wrong_place_is_refused),
        cmocka_unit_test(data_of_which_any_bit_is_flipped_is_refused),
        cmocka_unit_test(bytes_of_the_example_in_the_format_page),
    };
    return cmocka_run_group_tests_name("checkpoint_damage", tests, NULL, NULL);
}

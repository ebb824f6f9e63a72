#include "tests/support/value_damage.h"

#include "src/base/check.h"
#include "vlog/value_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

bool value_is_right_or_refused(value_box *b, const value_descriptor *d, const uint8_t *value, bool *verified) {
    value_file *file;
    cairn_error error;
    const void *data;
    bool read = false;
    *verified = false;
    int rc = value_file_open(&file, &b->env, d, &error);
    if (rc != CAIRN_OK) {
        assert_value_damaged(rc, &error);
        return false;
    }
    uint8_t *buf = malloc(d->value_size);
    rc = value_file_read(file, buf, d->value_size, 0, &error);
    if (rc == CAIRN_OK) {
        assert_memory_equal(buf, value, d->value_size);
        read = true;
    } else {
        assert_value_damaged(rc, &error);
    }
    rc = value_file_read(file, buf, d->value_size - 2, 1, &error);
    assert_int_equal(rc == CAIRN_OK, read);
    if (rc == CAIRN_OK) assert_memory_equal(buf, value + 1, d->value_size - 2);
    if (value_file_is_raw(file)) {
        rc = value_file_map(file, &data, &error);
        assert_int_equal(rc == CAIRN_OK, read);
        if (rc == CAIRN_OK) {
            assert_memory_equal(data, value, d->value_size);
            value_file_unmap(file, data);
        }
    }
    rc = value_verify_all(file, NULL, &error);
    *verified = rc == CAIRN_OK;
    if (rc != CAIRN_OK) assert_value_damaged(rc, &error);
    free(buf);
    value_file_close(file);
    return read;
}

bool value_is_right_or_refused_with(value_box *b, const value_descriptor *d, const uint8_t *value, uint64_t bit,
                                    bool *verified) {
    const uint8_t mask = (uint8_t)(1u << bit % 8);
    assert_true(sim_file_poke(b->disk, VALUE_STORE, VALUE_NAME, bit / 8, mask));
    bool read = value_is_right_or_refused(b, d, value, verified);
    assert_true(sim_file_poke(b->disk, VALUE_STORE, VALUE_NAME, bit / 8, mask));
    return read;
}

/* ---- Refused ---- */

void assert_damaged_frame_is_named(value_box *b, const value_descriptor *d, value_file *file, uint64_t frame,
                                   uint64_t at) {
    const uint64_t begin = frame * FRAME_BYTES, size = d->value_size;
    uint8_t *buf = malloc(size);
    cairn_error error;
    CHECK(buf != NULL);
    assert_true(sim_file_poke(b->disk, VALUE_STORE, VALUE_NAME, at + 3, 0x20));
    assert_value_damaged(value_file_read(file, buf, size, 0, &error), &error);
    assert_int_equal(error.offset, at);
    assert_value_damaged(value_file_read(file, buf, 1, begin + 7, &error), &error);
    assert_int_equal(error.offset, at);
    if (value_file_is_raw(file)) {
        const void *data;
        assert_value_damaged(value_file_map(file, &data, &error), &error);
        assert_int_equal(error.offset, at);
    }
    assert_value_damaged(value_verify_all(file, NULL, &error), &error);
    assert_int_equal(error.offset, at);
    if (begin > 0)
        assert_int_equal(value_file_read(file, buf, 70000, begin > 70000 ? begin - 70000 : 0, &error),
                         begin >= 70000 ? CAIRN_OK : CAIRN_CORRUPT);
    assert_true(sim_file_poke(b->disk, VALUE_STORE, VALUE_NAME, at + 3, 0x20));
    free(buf);
}

void assert_other_lengths_are_refused(value_box *b, const value_descriptor *d) {
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, VALUE_STORE, VALUE_NAME, &size);
    for (size_t length = 0; length <= size + 64; length += length < size - 200 ? 37 : 1) {
        value_file *file;
        cairn_error error;
        if (length == size) continue;
        assert_true(sim_file_resize(b->disk, VALUE_STORE, VALUE_NAME, length));
        assert_value_damaged(value_file_open(&file, &b->env, d, &error), &error);
        sim_file_write(b->disk, VALUE_STORE, VALUE_NAME, bytes, size);
    }
    free(bytes);
}

void assert_exchanged_pages_are_refused(value_box *b, const value_descriptor *d, uint64_t frames_a_page) {
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, VALUE_STORE, VALUE_NAME, &size), page[VALUE_TABLE_PAGE_BYTES], byte;
    uint8_t *first = bytes + d->table_offset, *second = first + sizeof page;
    memcpy(page, first, sizeof page);
    memcpy(first, second, sizeof page);
    memcpy(second, page, sizeof page);
    sim_file_write(b->disk, VALUE_STORE, VALUE_NAME, bytes, size);
    value_file *file = value_box_file(b, d);
    for (uint64_t i = 0; i < 2; i++) {
        cairn_error error;
        assert_value_damaged(value_file_read(file, &byte, 1, i * frames_a_page * FRAME_BYTES, &error), &error);
        assert_int_equal(error.offset, d->table_offset + i * sizeof page);
    }
    value_file_close(file);
    free(bytes);
}

void assert_damaged_spill_fails(value_box *b, const uint8_t *value, size_t size, const pack_options *packing) {
    value_writer *w;
    value_descriptor d;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &b->env, VALUE_ID, 1, packing, NULL), CAIRN_OK);
    assert_int_equal(value_writer_write(w, value, size, NULL), CAIRN_OK);
    assert_true(sim_file_poke(b->disk, VALUE_STORE, VALUE_TABLE_NAME, 2000, 1));
    assert_int_equal(value_writer_finish(w, VALUE_KEY, VALUE_KEY_SIZE, &d, &error), CAIRN_IO);
    assert_non_null(strstr(error.message, VALUE_TABLE_NAME));
    value_writer_abort(w);
    assert_int_equal(value_box_files(b), 0);
}

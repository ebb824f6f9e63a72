#include "tests/support/value_box.h"

#include "src/base/check.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const uint8_t value_store_id[16] = "0123456789abcde";

void value_box_open(value_box *b, sim_disk *disk) {
    b->disk = disk;
    b->env = (value_file_env){.store_id = value_store_id, .salt = VALUE_SALT};
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), VALUE_STORE, OS_CREATE, &b->env.dir), 0);
}

void value_box_close(value_box *b) {
    os_dir_close(b->env.dir);
    assert_int_equal(sim_open_handles(b->disk), 0);
    sim_free(b->disk);
}

size_t value_box_files(const value_box *b) { return sim_names(b->disk, VALUE_STORE, NULL, 0); }

uint8_t *value_make(size_t size) {
    uint8_t *value = malloc(size + 1);
    CHECK(value != NULL);
    uint64_t x = size * 2 + 1;
    for (size_t i = 0; i < size; i += 8) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t word = x ^ x >> 29;
        memcpy(value + i, &word, size - i < 8 ? size - i : 8);
    }
    return value;
}

int value_write(const value_file_env *env, value_writing *writing, value_descriptor *d, cairn_error *error) {
    const size_t size = writing->size, piece = writing->piece;
    value_writer *w;
    int rc = value_writer_open(&w, env, VALUE_ID, writing->table_memory, error);
    if (rc != CAIRN_OK) {
        assert_null(w);
        return rc;
    }
    for (size_t at = 0; at < size && rc == CAIRN_OK; at += piece)
        rc = value_writer_write(w, writing->value + at, size - at < piece ? size - at : piece, error);
    if (rc == CAIRN_OK) {
        assert_int_equal(value_writer_size(w), size);
        rc = value_writer_finish(w, VALUE_KEY, VALUE_KEY_SIZE, d, error);
    }
    writing->sync_failed = value_writer_sync_failed(w);
    if (rc == CAIRN_OK) {
        value_writer_close(w);
    } else {
        value_writer_abort(w);
    }
    return rc;
}

value_descriptor value_box_write(value_box *b, const uint8_t *value, size_t size) {
    value_descriptor d;
    cairn_error error;
    value_writing w = {.value = value, .size = size, .piece = SIZE_MAX, .table_memory = VALUE_TABLE_MEMORY_MAX};
    if (value_write(&b->env, &w, &d, &error) != CAIRN_OK) fail_msg("%s", error.message);
    return d;
}

value_file *value_box_file(value_box *b, const value_descriptor *d) {
    value_file *file;
    cairn_error error;
    if (value_file_open(&file, &b->env, d, &error) != CAIRN_OK) fail_msg("%s", error.message);
    return file;
}

void assert_value_damaged(int rc, const cairn_error *error) {
    assert_int_equal(rc, CAIRN_CORRUPT);
    assert_int_equal(error->code, CAIRN_CORRUPT);
    assert_int_equal(error->segment, VALUE_ID);
    assert_non_null(strstr(error->message, VALUE_NAME));
}

static void check_ranges(value_file *file, const uint8_t *value, size_t size) {
    uint8_t *buf = malloc(size + 1);
    uint64_t x = size + 1;
    for (int i = 0; i < 24; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t offset = i == 0 ? 0 : (size_t)((x >> 11) % (size + 1));
        size_t length = i == 0 ? size : (size_t)((x >> 33) % (size - offset + 1));
        if (i > 0 && length > 3 * MIB) length = 3 * MIB;
        if (i % 4 == 1) offset -= offset % FRAME_BYTES; /* begins with a whole frame */
        if (i % 4 == 2) length = length < 10 ? length : 10;
        buf[length] = 0xa5;
        cairn_error error;
        if (value_file_read(file, buf, length, offset, &error) != CAIRN_OK) fail_msg("%s", error.message);
        assert_memory_equal(buf, value + offset, length);
        assert_int_equal(buf[length], 0xa5);
    }
    free(buf);
}

void assert_value_reads(value_box *b, const value_descriptor *d, const uint8_t *value, size_t size) {
    value_file *file = value_box_file(b, d);
    check_ranges(file, value, size);
    uint64_t bytes = 0;
    cairn_error error;
    if (value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE, &bytes, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(bytes, d->file_size);
    if (size > 0) {
        const void *data;
        assert_int_equal(value_file_map(file, &data, &error), CAIRN_OK);
        assert_memory_equal(data, value, size);
        value_file_unmap(file, data);
    }
    value_file_close(file);
}

bool value_is_right_or_refused(value_box *b, const value_descriptor *d, const uint8_t *value, bool *verified) {
    value_file *file;
    cairn_error error;
    uint64_t counted = 0;
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
    rc = value_file_map(file, &data, &error);
    assert_int_equal(rc == CAIRN_OK, read);
    if (rc == CAIRN_OK) {
        assert_memory_equal(data, value, d->value_size);
        value_file_unmap(file, data);
    }
    rc = value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE, &counted, &error);
    *verified = rc == CAIRN_OK;
    if (rc != CAIRN_OK) assert_value_damaged(rc, &error);
    free(buf);
    value_file_close(file);
    return read;
}

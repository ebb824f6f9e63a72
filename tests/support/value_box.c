#include "tests/support/value_box.h"

#include "src/base/check.h"
#include "src/os/os_thread.h"
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
    assert_int_equal(packer_new(&b->env.packer), CAIRN_OK);
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), VALUE_STORE, OS_CREATE, &b->env.dir), 0);
}

void value_box_close(value_box *b) {
    os_dir_close(b->env.dir);
    packer_free(b->env.packer);
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

bool value_frame_is_text(value_kind kind, uint64_t frame) {
    return kind == VALUE_TEXT || (kind == VALUE_MIXED && (frame < 3 || frame % 8 == 0));
}

uint8_t *value_make_kind(value_kind kind, size_t size) {
    uint8_t *value = value_make(size);
    for (size_t at = 0; at < size; at += FRAME_BYTES) {
        size_t end = size - at < FRAME_BYTES ? size : at + FRAME_BYTES;
        if (!value_frame_is_text(kind, at / FRAME_BYTES)) continue;
        for (size_t i = at; i < end; i++)
            value[i] = (uint8_t)("a line of text, and its number: "[i % 32] + (i % 32 == 31 ? at / FRAME_BYTES : 0));
    }
    return value;
}

int value_write(const value_file_env *env, value_writing *writing, value_descriptor *d, cairn_error *error) {
    const size_t size = writing->size, piece = writing->piece;
    const pack_options packing = {.level = PACK_LEVEL_DEFAULT};
    value_writer *w;
    int rc = value_writer_open(&w, env, VALUE_ID, writing->table_memory, writing->packing ? &packing : NULL, error);
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

static value_descriptor write_whole(value_box *b, const uint8_t *value, size_t size, bool packing) {
    value_descriptor d;
    cairn_error error;
    value_writing w = {
        .value = value, .size = size, .piece = SIZE_MAX, .table_memory = VALUE_TABLE_MEMORY_MAX, .packing = packing};
    if (value_write(&b->env, &w, &d, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(d.codec, packing ? CODEC_ZSTD : CODEC_RAW);
    return d;
}

value_descriptor value_box_write(value_box *b, const uint8_t *value, size_t size) {
    return write_whole(b, value, size, false);
}

value_descriptor value_box_pack(value_box *b, const uint8_t *value, size_t size) {
    return write_whole(b, value, size, true);
}

value_file *value_box_file(value_box *b, const value_descriptor *d) {
    value_file *file;
    cairn_error error;
    if (value_file_open(&file, &b->env, d, &error) != CAIRN_OK) fail_msg("%s", error.message);
    return file;
}

int value_verify_all(value_file *file, uint64_t *bytes, cairn_error *error) {
    uint64_t counted = 0;
    value_verify v = {.bytes = bytes != NULL ? bytes : &counted};
    return value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE, &v, error);
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
    if (value_verify_all(file, &bytes, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(bytes, d->file_size);
    assert_int_equal(value_file_is_raw(file), d->codec == CODEC_RAW);
    if (size > 0 && value_file_is_raw(file)) {
        const void *data;
        assert_int_equal(value_file_map(file, &data, &error), CAIRN_OK);
        assert_memory_equal(data, value, size);
        value_file_unmap(file, data);
    }
    value_file_close(file);
}

/* ---- In threads ---- */

typedef struct reading {
    value_file *file;
    const uint8_t *value;
    size_t size, longest;
    unsigned times;
    uint64_t seed, wrong;
    os_thread thread;
} reading;

static void *read_much(void *arg) {
    reading *r = arg;
    uint8_t *buf = malloc(r->longest < r->size ? r->longest : r->size);
    CHECK(buf != NULL);
    for (unsigned i = 0; i < r->times; i++) {
        r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
        size_t offset = (size_t)((r->seed >> 11) % r->size), limit = min_u64(r->size - offset, r->longest);
        size_t length = (size_t)((r->seed >> 33) % limit);
        if (value_file_read(r->file, buf, length, offset, NULL) != CAIRN_OK ||
            memcmp(buf, r->value + offset, length) != 0)
            r->wrong++;
    }
    free(buf);
    return NULL;
}

void assert_value_reads_in_threads(value_file *file, const uint8_t *value, size_t size, unsigned times,
                                   size_t longest) {
    enum { THREADS = 4 };
    reading readings[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        reading *r = &readings[i];
        *r = (reading){.file = file, .value = value, .size = size, .longest = longest, .times = times, .seed = i + 1};
        assert_int_equal(os_thread_start(&r->thread, read_much, r), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        os_thread_join(&readings[i].thread);
        assert_int_equal(readings[i].wrong, 0);
    }
}

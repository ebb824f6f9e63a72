/* A value of more than 4 GiB, on an operating system that keeps only what is not value: the bytes of the value follow a
 * pattern, which writes are compared with and reads are made from. So the arithmetic of offsets, frames and table pages
 * is seen where 32 bits do not reach, in little time and memory. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/record.h"
#include "vlog/value_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID 9
#define KEPT_BYTES ((size_t)1 << 20)
#define PIECE_BYTES ((size_t)1 << 20)
#define VALUE_SIZE (((uint64_t)4 << 30) + 3 * PIECE_BYTES + 70001)
#define VALUE_END (VALUE_FILE_DATA_OFFSET + VALUE_SIZE)

static const uint8_t store_id[16] = "0123456789abcde";

/* ---- The pattern: a frame begins with its number ---- */

static uint8_t pattern[FRAME_BYTES];

static void pattern_copy(uint8_t *out, uint64_t offset, size_t size) {
    while (size > 0) {
        uint64_t frame = offset / FRAME_BYTES, begin = offset % FRAME_BYTES;
        size_t piece = (size_t)min_u64(size, FRAME_BYTES - begin);
        uint8_t number[8];
        le64_put(number, frame);
        memcpy(out, pattern + begin, piece);
        if (begin < 8) memcpy(out, number + begin, min_u64(piece, 8 - begin));
        out += piece;
        offset += piece;
        size -= piece;
    }
}

/* ---- The operating system ---- */

typedef struct fake_file {
    os_file base;
    bool exists, table;
    uint64_t size, synced, unsynced_max;
    uint8_t header[VALUE_FILE_DATA_OFFSET];
    uint8_t kept[KEPT_BYTES]; /* of the value file: from the value's end on */
} fake_file;

static fake_file value, table;

static uint8_t *kept_at(fake_file *f, uint64_t offset, size_t size) {
    if (!f->table && offset + size <= sizeof f->header) return f->header + offset;
    uint64_t begin = f->table ? 0 : VALUE_END;
    CHECK(offset >= begin && offset - begin + size <= KEPT_BYTES);
    return f->kept + (offset - begin);
}

/* The part of a range that is value; `size` is then the part behind or before it. */
static uint64_t value_part(const fake_file *f, uint64_t offset, size_t size) {
    if (f->table || offset < VALUE_FILE_DATA_OFFSET || offset >= VALUE_END) return 0;
    return min_u64(size, VALUE_END - offset);
}

static int fake_write(os_file *base, const struct iovec *iov, int count, uint64_t offset) {
    fake_file *f = (fake_file *)base;
    CHECK(count == 1 && offset == f->size); /* front to back, each byte once */
    const uint8_t *data = iov->iov_base;
    uint64_t in_value = value_part(f, offset, iov->iov_len);
    static uint8_t expected[PIECE_BYTES];
    CHECK(in_value <= sizeof expected);
    if (in_value > 0) {
        pattern_copy(expected, offset - VALUE_FILE_DATA_OFFSET, in_value);
        assert_memory_equal(data, expected, in_value);
    }
    size_t rest = iov->iov_len - in_value;
    if (rest > 0) memcpy(kept_at(f, offset + in_value, rest), data + in_value, rest);
    f->size += iov->iov_len;
    f->unsynced_max = max_u64(f->unsynced_max, f->size - f->synced);
    return 0;
}

static int fake_read(os_file *base, void *buf, size_t size, uint64_t offset, size_t *got) {
    fake_file *f = (fake_file *)base;
    *got = (size_t)min_u64(size, f->size - min_u64(offset, f->size));
    uint64_t in_value = value_part(f, offset, *got);
    if (in_value > 0) pattern_copy(buf, offset - VALUE_FILE_DATA_OFFSET, in_value);
    size_t rest = *got - in_value;
    if (rest > 0) memcpy((uint8_t *)buf + in_value, kept_at(f, offset + in_value, rest), rest);
    return 0;
}

static int fake_open(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    fake_file *f = strstr(name, ".tab") != NULL ? &table : &value;
    if (!f->exists && !(flags & OS_CREATE)) return -ENOENT;
    f->base.os = dir->os;
    f->exists = true;
    f->table = f == &table;
    *out = &f->base;
    return 0;
}

static int fake_info(os_file *base, os_file_info *info) {
    *info = (os_file_info){.size = ((fake_file *)base)->size, .links = 1};
    return 0;
}

static int fake_sync(os_file *base) {
    ((fake_file *)base)->synced = ((fake_file *)base)->size;
    return 0;
}

static int fake_unlink(os_dir *dir, const char *name) {
    (void)dir;
    CHECK(strstr(name, ".tab") != NULL);
    table.exists = false;
    return 0;
}

static int fake_flush(os_file *file, uint64_t offset, uint64_t size) {
    (void)file, (void)offset, (void)size;
    return 0;
}
static int fake_dir_sync(os_dir *dir) { return dir->os == NULL; }
static void fake_close(os_file *file) { (void)file; }

static os fake_os = {.unlink = fake_unlink,
                     .dir_sync = fake_dir_sync,
                     .file_open = fake_open,
                     .file_close = fake_close,
                     .file_info = fake_info,
                     .file_read = fake_read,
                     .file_write = fake_write,
                     .file_sync = fake_sync,
                     .file_flush = fake_flush};

/* ---- The test ---- */

static value_descriptor write_huge(const value_file_env *env) {
    uint8_t *piece = malloc(PIECE_BYTES);
    value_writer *w;
    value_descriptor d;
    assert_int_equal(value_writer_open(&w, env, ID, 8192, NULL), CAIRN_OK);
    for (uint64_t at = 0; at < VALUE_SIZE; at += PIECE_BYTES) {
        size_t size = (size_t)min_u64(PIECE_BYTES, VALUE_SIZE - at);
        pattern_copy(piece, at, size);
        assert_int_equal(value_writer_write(w, piece, size, NULL), CAIRN_OK);
    }
    assert_int_equal(value_writer_finish(w, "huge", 4, &d, NULL), CAIRN_OK);
    value_writer_close(w);
    free(piece);
    return d;
}

static void a_value_beyond_4_gib_is_written_and_read_in_bounded_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < FRAME_BYTES; i++)
        pattern[i] = (uint8_t)(i * 131 + (i >> 8));
    os_dir dir = {.os = &fake_os};
    value_file_env env = {.dir = &dir, .store_id = store_id, .salt = 5};
    value_descriptor d = write_huge(&env), decoded;
    assert_int_equal(value.size, d.file_size);
    assert_int_equal(value.synced, d.file_size);
    assert_true(value.unsynced_max <= (uint64_t)33 << 20);
    assert_false(table.exists);
    assert_int_equal(d.frames, frames_of(VALUE_SIZE));
    assert_int_equal(d.table_offset, (VALUE_END + 4095) / 4096 * 4096);
    uint8_t bytes[VALUE_DESCRIPTOR_BYTES];
    value_descriptor_encode(bytes, &d);
    assert_true(value_descriptor_decode(&decoded, bytes, VALUE_SIZE));

    value_file *file;
    cairn_error error;
    if (value_file_open(&file, &env, &decoded, &error) != CAIRN_OK) fail_msg("%s", error.message);
    const size_t length = 3 * PIECE_BYTES;
    uint8_t *got = malloc(length), *expected = malloc(length);
    const uint64_t page = 511 * FRAME_BYTES;
    const uint64_t offsets[] = {0,
                                page - 100,
                                127 * page - PIECE_BYTES,
                                ((uint64_t)4 << 30) - PIECE_BYTES - 1,
                                (uint64_t)4 << 30,
                                VALUE_SIZE - length};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        if (value_file_read(file, got, length, offsets[i], &error) != CAIRN_OK) fail_msg("%s", error.message);
        pattern_copy(expected, offsets[i], length);
        assert_memory_equal(got, expected, length);
    }
    uint64_t counted = 0;
    if (value_file_verify(file, "huge", 4, &counted, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(counted, d.file_size);

    const uint64_t last = 128; /* the page that serves the value around 4 GiB and to its end */
    value.kept[d.table_offset - VALUE_END + last * 4096 + 77] ^= 1;
    assert_int_equal(value_file_read(file, got, 1, (uint64_t)4 << 30, &error), CAIRN_CORRUPT);
    assert_int_equal(error.offset, d.table_offset + last * 4096);
    assert_int_equal(value_file_read(file, got, 1, last * page - 1, &error), CAIRN_OK);
    free(expected);
    free(got);
    value_file_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_beyond_4_gib_is_written_and_read_in_bounded_memory),
    };
    return cmocka_run_group_tests_name("value_huge", tests, NULL, NULL);
}

/* A value of more than 4 GiB, on an operating system that keeps only what is not value: the bytes of the value follow a
 * pattern, which writes are compared with and reads are made from. So the arithmetic of offsets, frames and table pages
 * is seen where 32 bits do not reach, in little time and memory. A compressed value begins with frames that shrink,
 * which are kept, and goes on with some that do not, and are therefore stored as they are. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/pack.h"
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
#define SHRINKING_FRAMES ((uint64_t)4)

static const uint8_t store_id[16] = "0123456789abcde";

/* The part of the file that is made from the pattern: where it begins and ends there, and in the value. */
static uint64_t made_begin, made_end, made_value;

/* ---- The pattern: a frame begins with its number ---- */

static uint8_t pattern[FRAME_BYTES], noise[FRAME_BYTES];

static void pattern_copy(uint8_t *out, uint64_t offset, size_t size) {
    while (size > 0) {
        uint64_t frame = offset / FRAME_BYTES, begin = offset % FRAME_BYTES;
        size_t piece = (size_t)min_u64(size, FRAME_BYTES - begin);
        uint8_t number[8];
        le64_put(number, frame);
        memcpy(out, (frame < SHRINKING_FRAMES ? pattern : noise) + begin, piece);
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
    uint8_t head[VALUE_FILE_DATA_OFFSET + SHRINKING_FRAMES * FRAME_BYTES]; /* of the value file: up to made_begin */
    uint8_t kept[KEPT_BYTES];                                              /* of the value file: from made_end on */
} fake_file;

static fake_file value, table;

/* The bytes from `offset` on as far as they are kept in one place, or NULL where they are made; *size becomes how many
 * of them there are. */
static uint8_t *kept_at(fake_file *f, uint64_t offset, size_t *size) {
    if (!f->table && offset < made_begin) {
        *size = (size_t)min_u64(*size, made_begin - offset);
        return f->head + offset;
    }
    if (!f->table && offset < made_end) {
        *size = (size_t)min_u64(*size, made_end - offset);
        return NULL;
    }
    uint64_t begin = f->table ? 0 : made_end;
    CHECK(offset - begin + *size <= KEPT_BYTES);
    return f->kept + (offset - begin);
}

static int fake_write(os_file *base, const struct iovec *iov, int count, uint64_t offset) {
    fake_file *f = (fake_file *)base;
    CHECK(count == 1 && offset == f->size); /* front to back, each byte once */
    const uint8_t *data = iov->iov_base;
    for (size_t done = 0, size; done < iov->iov_len; done += size) {
        size = iov->iov_len - done;
        uint8_t *kept = kept_at(f, offset + done, &size);
        if (kept != NULL) {
            memcpy(kept, data + done, size);
        } else {
            static uint8_t expected[PIECE_BYTES];
            CHECK(size <= sizeof expected);
            pattern_copy(expected, offset + done - made_begin + made_value, size);
            assert_memory_equal(data + done, expected, size);
        }
    }
    f->size += iov->iov_len;
    f->unsynced_max = max_u64(f->unsynced_max, f->size - f->synced);
    return 0;
}

static int fake_read(os_file *base, void *buf, size_t wanted, uint64_t offset, size_t *got) {
    fake_file *f = (fake_file *)base;
    *got = (size_t)min_u64(wanted, f->size - min_u64(offset, f->size));
    for (size_t done = 0, size; done < *got; done += size) {
        size = *got - done;
        const uint8_t *kept = kept_at(f, offset + done, &size);
        if (kept != NULL) {
            memcpy((uint8_t *)buf + done, kept, size);
        } else {
            pattern_copy((uint8_t *)buf + done, offset + done - made_begin + made_value, size);
        }
    }
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

static int fake_truncate(os_file *base, uint64_t size) {
    CHECK(size == ((fake_file *)base)->size); /* gives back what is allocated beyond */
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
                     .file_truncate = fake_truncate,
                     .file_sync = fake_sync,
                     .file_flush = fake_flush};

/* ---- The test ---- */

static const pack_options level_1 = {.level = 1};

/* Says where which part of the file will lie. */
static void prepare(bool packing) {
    memset(&value, 0, sizeof value);
    memset(&table, 0, sizeof table);
    uint64_t x = 1, kept = 0;
    for (size_t i = 0; i < FRAME_BYTES; i++) {
        pattern[i] = (uint8_t)(i * 131 + (i >> 8));
        noise[i] = (uint8_t)((x = x * 6364136223846793005u + 1442695040888963407u) >> 40);
    }
    packer *p = NULL;
    assert_int_equal(packer_new(&p), CAIRN_OK);
    for (uint64_t frame = 0; packing && frame < SHRINKING_FRAMES; frame++) {
        uint8_t raw[FRAME_BYTES], out[FRAME_BYTES];
        pattern_copy(raw, frame * FRAME_BYTES, sizeof raw);
        kept += pack_frame(p, &level_1, raw, sizeof raw, out);
    }
    packer_free(p);
    made_begin = VALUE_FILE_DATA_OFFSET + kept;
    made_value = packing ? SHRINKING_FRAMES * FRAME_BYTES : 0;
    made_end = made_begin + VALUE_SIZE - made_value;
}

static value_descriptor write_huge(const value_file_env *env, bool packing) {
    uint8_t *piece = malloc(PIECE_BYTES);
    value_writer *w;
    value_descriptor d;
    assert_int_equal(value_writer_open(&w, env, ID, 8192, packing ? &level_1 : NULL, NULL), CAIRN_OK);
    for (uint64_t at = 0; at < VALUE_SIZE; at += PIECE_BYTES) {
        size_t size = (size_t)min_u64(PIECE_BYTES, VALUE_SIZE - at);
        pattern_copy(piece, at, size);
        assert_int_equal(value_writer_write(w, piece, size, NULL), CAIRN_OK);
    }
    assert_int_equal(value_writer_finish(w, "huge", 4, &d, NULL), CAIRN_OK);
    value_writer_close(w);
    free(piece);
    assert_int_equal(value.size, d.file_size);
    assert_int_equal(value.synced, d.file_size);
    assert_true(value.unsynced_max <= (uint64_t)33 << 20);
    assert_false(table.exists);
    assert_int_equal(d.codec, packing ? CODEC_ZSTD : CODEC_RAW);
    assert_int_equal(d.stored_size, made_end - VALUE_FILE_DATA_OFFSET);
    assert_int_equal(d.frames, frames_of(VALUE_SIZE));
    assert_int_equal(d.table_offset, (made_end + 4095) / 4096 * 4096);
    return d;
}

static void read_huge(value_file *file, uint64_t page) {
    const size_t length = 3 * PIECE_BYTES;
    uint8_t *got = malloc(length), *expected = malloc(length);
    cairn_error error;
    const uint64_t gib4 = (uint64_t)4 << 30;
    const uint64_t offsets[] = {0,    page - 100,         127 * page - PIECE_BYTES, gib4 - PIECE_BYTES - 1,
                                gib4, VALUE_SIZE - length};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        if (value_file_read(file, got, length, offsets[i], &error) != CAIRN_OK) fail_msg("%s", error.message);
        pattern_copy(expected, offsets[i], length);
        assert_memory_equal(got, expected, length);
    }
    free(expected);
    free(got);
}

static void write_and_read_huge(bool packing) {
    prepare(packing);
    os_dir dir = {.os = &fake_os};
    value_file_env env = {.dir = &dir, .store_id = store_id, .salt = 5};
    assert_int_equal(packer_new(&env.packer), CAIRN_OK);
    value_descriptor d = write_huge(&env, packing), decoded;
    uint8_t bytes[VALUE_DESCRIPTOR_BYTES], byte;
    value_descriptor_encode(bytes, &d);
    assert_true(value_descriptor_decode(&decoded, bytes, VALUE_SIZE));
    value_file *file;
    cairn_error error;
    if (value_file_open(&file, &env, &decoded, &error) != CAIRN_OK) fail_msg("%s", error.message);
    const uint64_t page = (packing ? 340 : 511) * FRAME_BYTES;
    read_huge(file, page);
    uint64_t counted = 0;
    const value_verify verify = {.bytes = &counted};
    if (value_file_verify(file, "huge", 4, &verify, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(counted, d.file_size);

    const uint64_t last = VALUE_SIZE / page; /* the page that serves the value's end */
    value.kept[d.table_offset - made_end + last * 4096 + 77] ^= 1;
    assert_int_equal(value_file_read(file, &byte, 1, VALUE_SIZE - 1, &error), CAIRN_CORRUPT);
    assert_int_equal(error.offset, d.table_offset + last * 4096);
    assert_int_equal(value_file_read(file, &byte, 1, last * page - 1, &error), CAIRN_OK);
    value_file_close(file);
    packer_free(env.packer);
}

static void a_value_beyond_4_gib_is_written_and_read_in_bounded_memory(void **state) {
    (void)state;
    write_and_read_huge(false);
}

static void so_is_a_compressed_one(void **state) {
    (void)state;
    write_and_read_huge(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_beyond_4_gib_is_written_and_read_in_bounded_memory),
        cmocka_unit_test(so_is_a_compressed_one),
    };
    return cmocka_run_group_tests_name("value_huge", tests, NULL, NULL);
}

/* Value files: what goes in comes out at every edge, damage is always refused, and nothing is left of what failed. */
#include "src/base/codec.h"
#include "src/base/status.h"
#include "src/os/os_thread.h"
#include "tests/support/os_sim.h"
#include "vlog/record.h"
#include "vlog/value_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SALT 0x0f1e2d3c4b5a6978u
#define STORE "store"
#define ID 7
#define NAME "0000000000000007.val"
#define TABLE_NAME "0000000000000007.tab"
#define MIB ((size_t)1 << 20)

static const uint8_t store_id[16] = "0123456789abcde";
static const uint8_t other_id[16] = "another store's";
static const char key[] = "a key";
#define KEY_SIZE (sizeof key - 1)

typedef struct fixture {
    sim_disk *disk;
    value_file_env env;
} fixture;

static void attach(fixture *f, sim_disk *disk) {
    f->disk = disk;
    f->env = (value_file_env){.store_id = store_id, .salt = SALT};
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), STORE, OS_CREATE, &f->env.dir), 0);
}

static void detach(fixture *f) {
    os_dir_close(f->env.dir);
    assert_int_equal(sim_open_handles(f->disk), 0);
    sim_free(f->disk);
}

static size_t file_count(fixture *f) {
    char names[8][SIM_NAME_SIZE];
    return sim_names(f->disk, STORE, names, 8);
}

/* Differs from byte to byte and from frame to frame. */
static uint8_t *make_value(size_t size) {
    uint8_t *value = malloc(size + 1);
    uint64_t x = size * 2 + 1;
    for (size_t i = 0; i < size; i += 8) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t word = x ^ x >> 29;
        memcpy(value + i, &word, size - i < 8 ? size - i : 8);
    }
    return value;
}

/* The first failure, or CAIRN_OK. The writer is gone in any case, and after a failure aborted. */
static int write_pieces(const value_file_env *env, const uint8_t *value, size_t size, size_t piece, size_t table_memory,
                        value_descriptor *d, bool *sync_failed, cairn_error *error) {
    value_writer *w;
    if (sync_failed != NULL) *sync_failed = false;
    int rc = value_writer_open(&w, env, ID, table_memory, error);
    if (rc != CAIRN_OK) {
        assert_null(w);
        return rc;
    }
    for (size_t at = 0; at < size && rc == CAIRN_OK; at += piece)
        rc = value_writer_write(w, value + at, size - at < piece ? size - at : piece, error);
    if (rc == CAIRN_OK) {
        assert_int_equal(value_writer_size(w), size);
        rc = value_writer_finish(w, key, KEY_SIZE, d, error);
    }
    if (sync_failed != NULL) *sync_failed = value_writer_sync_failed(w);
    if (rc == CAIRN_OK) {
        value_writer_close(w);
    } else {
        value_writer_abort(w);
    }
    return rc;
}

static value_descriptor write_value(fixture *f, const uint8_t *value, size_t size) {
    value_descriptor d;
    cairn_error error;
    if (write_pieces(&f->env, value, size, SIZE_MAX, VALUE_TABLE_MEMORY_MAX, &d, NULL, &error) != CAIRN_OK)
        fail_msg("%s", error.message);
    return d;
}

static value_file *open_value(fixture *f, const value_descriptor *d) {
    value_file *file;
    cairn_error error;
    if (value_file_open(&file, &f->env, d, &error) != CAIRN_OK) fail_msg("%s", error.message);
    return file;
}

static void assert_damaged(int rc, const cairn_error *error) {
    assert_int_equal(rc, CAIRN_CORRUPT);
    assert_int_equal(error->code, CAIRN_CORRUPT);
    assert_int_equal(error->segment, ID);
    assert_non_null(strstr(error->message, NAME));
}

/* ---- Names ---- */

static void names_are_parsed_strictly(void **state) {
    (void)state;
    char name[FILE_NAME_SIZE], suffix[4];
    uint64_t id;
    file_name(name, 0x0123456789abcdef, "seg");
    assert_string_equal(name, "0123456789abcdef.seg");
    file_name(name, UINT64_MAX, "tab");
    assert_true(file_name_parse(name, &id, suffix));
    assert_int_equal(id, UINT64_MAX);
    assert_string_equal(suffix, "tab");
    file_name(name, ID, "val");
    assert_string_equal(name, NAME);
    assert_true(file_name_parse(name, &id, suffix));
    assert_int_equal(id, ID);
    assert_string_equal(suffix, "val");
    const char *foreign[] = {"",
                             "MANIFEST",
                             "0123456789abcdef",
                             "0123456789abcdef.",
                             "0123456789abcdef.se",
                             "0123456789abcdef.segs",
                             "0123456789abcdef.sst",
                             "0123456789abcdef.SEG",
                             "0123456789ABCDEF.seg",
                             "0123456789abcdeg.seg",
                             "0123456789abcde.seg0",
                             " 123456789abcdef.seg",
                             "-123456789abcdef.seg",
                             "00123456789abcdef.seg",
                             "0123456789abcdef-seg"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(file_name_parse(foreign[i], &id, suffix));
}

/* ---- Round trips ---- */

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

static void check_whole(fixture *f, const value_descriptor *d, const uint8_t *value, size_t size) {
    value_file *file = open_value(f, d);
    check_ranges(file, value, size);
    uint64_t bytes = 0;
    cairn_error error;
    if (value_file_verify(file, key, KEY_SIZE, &bytes, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(bytes, d->file_size);
    if (size > 0) {
        const void *data;
        assert_int_equal(value_file_map(file, &data, &error), CAIRN_OK);
        assert_memory_equal(data, value, size);
        value_file_unmap(file, data);
    }
    value_file_close(file);
}

static void values_of_every_edge_size_come_back(void **state) {
    (void)state;
    const size_t sizes[] = {0,           1,
                            4095,        4096,
                            4097,        FRAME_BYTES - 1,
                            FRAME_BYTES, 65537,
                            262143,      262144,
                            262145,      MIB - 1,
                            MIB,         MIB + 1,
                            2 * MIB,     2 * MIB + 5,
                            3000000,     5 * MIB,
                            9 * MIB - 1, 9 * MIB + FRAME_BYTES};
    const size_t pieces[] = {999, 65536, 100001, MIB, SIZE_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t *value = make_value(sizes[s]);
        for (size_t p = sizes[s] > MIB; p < sizeof pieces / sizeof *pieces; p++) {
            fixture f;
            attach(&f, sim_new(1));
            value_descriptor d = {0}, decoded = {0};
            cairn_error error;
            assert_int_equal(write_pieces(&f.env, value, sizes[s], pieces[p], 1, &d, NULL, &error), CAIRN_OK);
            assert_int_equal(file_count(&f), 1);
            assert_int_equal(d.value_size, sizes[s]);
            uint8_t encoded[VALUE_DESCRIPTOR_BYTES];
            value_descriptor_encode(encoded, &d);
            assert_true(value_descriptor_decode(&decoded, encoded, sizes[s]));
            if (pieces[p] == SIZE_MAX) check_whole(&f, &decoded, value, sizes[s]);
            size_t file_size;
            uint8_t *file = sim_file_read(f.disk, STORE, NAME, &file_size);
            assert_int_equal(file_size, d.file_size);
            assert_memory_equal(file + VALUE_FILE_DATA_OFFSET, value, sizes[s]);
            free(file);
            detach(&f);
        }
        free(value);
    }
}

static void a_table_that_outgrows_memory_spills_and_makes_the_same_file(void **state) {
    (void)state;
    const size_t size = 70 * MIB + 77; /* three pages of table */
    uint8_t *value = make_value(size), *files[3];
    const size_t memory[] = {1, (size_t)2 * 4096, VALUE_TABLE_MEMORY_MAX};
    value_descriptor d;
    for (int i = 0; i < 3; i++) {
        fixture f;
        attach(&f, sim_new(1));
        cairn_error error;
        sim_fault count = {.kinds = SIM_CREATE, .nth = UINT64_MAX, .error = -EIO};
        sim_fault_set(f.disk, &count);
        assert_int_equal(write_pieces(&f.env, value, size, 3 * MIB + 1, memory[i], &d, NULL, &error), CAIRN_OK);
        assert_int_equal(sim_fault_calls(f.disk), i == 2 ? 1 : 2);
        assert_int_equal(file_count(&f), 1);
        if (i == 0) check_whole(&f, &d, value, size);
        size_t file_size;
        files[i] = sim_file_read(f.disk, STORE, NAME, &file_size);
        assert_int_equal(file_size, d.file_size);
        detach(&f);
    }
    assert_memory_equal(files[0], files[2], d.file_size);
    assert_memory_equal(files[1], files[2], d.file_size);
    for (int i = 0; i < 3; i++)
        free(files[i]);
    free(value);
}

static void unsynced_bytes_of_a_long_value_stay_bounded(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *piece = make_value(MIB);
    sim_fault count = {.kinds = SIM_SYNC, .nth = UINT64_MAX, .error = -EIO};
    sim_fault_set(f.disk, &count);
    value_writer *w;
    assert_int_equal(value_writer_open(&w, &f.env, ID, VALUE_TABLE_MEMORY_MAX, NULL), CAIRN_OK);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(value_writer_write(w, piece, MIB, NULL), CAIRN_OK);
        assert_true(i - 32 * sim_fault_calls(f.disk) <= 32);
    }
    value_writer_abort(w);
    free(piece);
    detach(&f);
}

static void a_real_file_system_serves_as_well(void **state) {
    (void)state;
    char path[256];
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(path, sizeof path, "%s/cairn-value-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    fixture f = {.env = {.store_id = store_id, .salt = SALT}};
    assert_int_equal(os_posix()->dir_open(os_posix(), path, 0, &f.env.dir), 0);
    const size_t size = 34 * MIB + 5;
    uint8_t *value = make_value(size);
    value_descriptor d;
    cairn_error error;
    assert_int_equal(write_pieces(&f.env, value, size, 700001, 1, &d, NULL, &error), CAIRN_OK);
    check_whole(&f, &d, value, size);
    assert_int_equal(os_unlink(f.env.dir, NAME), 0);
    assert_int_equal(os_unlink(f.env.dir, TABLE_NAME), -ENOENT);
    value_file *file;
    char other[300];
    (void)snprintf(other, sizeof other, "%s/" NAME, path);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_damaged(value_file_open(&file, &f.env, &d, &error), &error);
    assert_int_equal(rmdir(other), 0);
    os_dir_close(f.env.dir);
    assert_int_equal(rmdir(path), 0);
    free(value);
}

/* ---- Damage ---- */

static void a_file_that_is_missing_or_anothers_is_refused(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *value = make_value(5000);
    value_descriptor d = write_value(&f, value, 5000);
    value_file *file;
    cairn_error error;
    value_file_env other = f.env;
    other.store_id = other_id;
    assert_damaged(value_file_open(&file, &other, &d, &error), &error);
    other = f.env;
    other.salt++;
    assert_damaged(value_file_open(&file, &other, &d, &error), &error);
    assert_null(file);

    /* Under another id, with everything else the same. */
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, STORE, NAME, &size);
    sim_file_write(f.disk, STORE, "0000000000000008.val", bytes, size);
    value_descriptor moved = d;
    moved.id = 8;
    assert_int_equal(value_file_open(&file, &f.env, &moved, &error), CAIRN_CORRUPT);
    assert_int_equal(error.segment, 8);

    /* Another key's, or another value's of the same size. */
    file = open_value(&f, &d);
    uint64_t counted = 0;
    assert_damaged(value_file_verify(file, "b key", KEY_SIZE, &counted, &error), &error);
    assert_damaged(value_file_verify(file, key, KEY_SIZE - 1, &counted, &error), &error);
    value_file_close(file);
    moved = d;
    moved.trailer_checksum++;
    file = open_value(&f, &moved);
    assert_damaged(value_file_verify(file, key, KEY_SIZE, &counted, &error), &error);
    assert_int_equal(error.offset, d.trailer_offset);
    value_file_close(file);

    sim_file_remove(f.disk, STORE, NAME);
    assert_damaged(value_file_open(&file, &f.env, &d, &error), &error);
    assert_non_null(strstr(error.message, "missing"));
    free(bytes);
    free(value);
    detach(&f);
}

/* Opens and reads the value in ways that use all code paths: right bytes or an error, never wrong ones. */
static bool reads_right_or_refuses(fixture *f, const value_descriptor *d, const uint8_t *value, bool *verified) {
    value_file *file;
    cairn_error error;
    uint64_t counted = 0;
    const void *data;
    bool read = false;
    *verified = false;
    int rc = value_file_open(&file, &f->env, d, &error);
    if (rc != CAIRN_OK) {
        assert_damaged(rc, &error);
        return false;
    }
    uint8_t *buf = malloc(d->value_size);
    rc = value_file_read(file, buf, d->value_size, 0, &error);
    if (rc == CAIRN_OK) {
        assert_memory_equal(buf, value, d->value_size);
        read = true;
    } else {
        assert_damaged(rc, &error);
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
    rc = value_file_verify(file, key, KEY_SIZE, &counted, &error);
    *verified = rc == CAIRN_OK;
    if (rc != CAIRN_OK) assert_damaged(rc, &error);
    free(buf);
    value_file_close(file);
    return read;
}

static void every_flipped_bit_is_found_and_none_gives_a_wrong_value(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *value = make_value(100);
    value_descriptor d = write_value(&f, value, 100);
    for (uint64_t bit = 0; bit < d.file_size * 8; bit++) {
        uint64_t byte = bit / 8;
        bool verified;
        assert_true(sim_file_poke(f.disk, STORE, NAME, byte, (uint8_t)(1u << bit % 8)));
        bool read = reads_right_or_refuses(&f, &d, value, &verified);
        if (verified) fail_msg("bit %llu is not found", (unsigned long long)bit);
        bool unread = byte >= d.trailer_offset || (byte >= VALUE_FILE_DATA_OFFSET + 100 && byte < d.table_offset);
        assert_int_equal(read, unread);
        assert_true(sim_file_poke(f.disk, STORE, NAME, byte, (uint8_t)(1u << bit % 8)));
    }
    free(value);
    detach(&f);
}

static void damage_in_any_frame_of_a_long_value_is_named(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    const size_t size = 34 * MIB + 9;
    uint8_t *value = make_value(size), *buf = malloc(size);
    value_descriptor d = write_value(&f, value, size);
    value_file *file = open_value(&f, &d);
    const uint64_t frames[] = {0, 1, 3, 4, 100, 510, 511, 512, 543, 544};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint64_t begin = frames[i] * FRAME_BYTES, at = VALUE_FILE_DATA_OFFSET + begin;
        cairn_error error;
        const void *data;
        assert_true(sim_file_poke(f.disk, STORE, NAME, at + 3, 0x20));
        assert_damaged(value_file_read(file, buf, size, 0, &error), &error);
        assert_int_equal(error.offset, at);
        assert_damaged(value_file_read(file, buf, 1, begin + 7, &error), &error);
        assert_int_equal(error.offset, at);
        assert_damaged(value_file_map(file, &data, &error), &error);
        assert_int_equal(error.offset, at);
        if (begin > 0)
            assert_int_equal(value_file_read(file, buf, 70000, begin > 70000 ? begin - 70000 : 0, &error),
                             begin >= 70000 ? CAIRN_OK : CAIRN_CORRUPT);
        assert_true(sim_file_poke(f.disk, STORE, NAME, at + 3, 0x20));
    }
    value_file_close(file);
    free(buf);
    free(value);
    detach(&f);
}

static void pages_of_the_table_in_another_order_are_refused(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    const size_t value_size = 33 * MIB;
    uint8_t *value = make_value(value_size), byte;
    memcpy(value + 511 * FRAME_BYTES, value, FRAME_BYTES); /* so that the first entries of both pages are alike */
    value_descriptor d = write_value(&f, value, value_size);
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, STORE, NAME, &size), page[4096];
    memcpy(page, bytes + d.table_offset, 4096);
    memcpy(bytes + d.table_offset, bytes + d.table_offset + 4096, 4096);
    memcpy(bytes + d.table_offset + 4096, page, 4096);
    sim_file_write(f.disk, STORE, NAME, bytes, size);
    value_file *file = open_value(&f, &d);
    cairn_error error;
    assert_damaged(value_file_read(file, &byte, 1, 0, &error), &error);
    assert_int_equal(error.offset, d.table_offset);
    assert_damaged(value_file_read(file, &byte, 1, 511 * FRAME_BYTES, &error), &error);
    assert_int_equal(error.offset, d.table_offset + 4096);
    value_file_close(file);
    free(bytes);
    free(value);
    detach(&f);
}

static void a_spilled_table_that_was_damaged_fails_the_value(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    const size_t size = 33 * MIB;
    uint8_t *value = make_value(size);
    value_writer *w;
    value_descriptor d;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &f.env, ID, 1, NULL), CAIRN_OK);
    assert_int_equal(value_writer_write(w, value, size, NULL), CAIRN_OK);
    assert_true(sim_file_poke(f.disk, STORE, TABLE_NAME, 2000, 1));
    assert_int_equal(value_writer_finish(w, key, KEY_SIZE, &d, &error), CAIRN_IO);
    assert_non_null(strstr(error.message, TABLE_NAME));
    value_writer_abort(w);
    assert_int_equal(file_count(&f), 0);
    free(value);
    detach(&f);
}

static void every_other_length_of_the_file_is_refused(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *value = make_value(100), buf[100];
    value_descriptor d = write_value(&f, value, 100);
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, STORE, NAME, &size);
    value_file *file;
    cairn_error error;
    for (size_t length = 0; length <= size + 64; length += length < size - 200 ? 37 : 1) {
        if (length == size) continue;
        assert_true(sim_file_resize(f.disk, STORE, NAME, length));
        assert_damaged(value_file_open(&file, &f.env, &d, &error), &error);
        sim_file_write(f.disk, STORE, NAME, bytes, size);
    }
    /* Cut while it is open. */
    const void *data;
    uint64_t counted = 0;
    file = open_value(&f, &d);
    assert_true(sim_file_resize(f.disk, STORE, NAME, VALUE_FILE_DATA_OFFSET + 50));
    assert_damaged(value_file_read(file, buf, 100, 0, &error), &error);
    assert_damaged(value_file_map(file, &data, &error), &error);
    assert_damaged(value_file_verify(file, key, KEY_SIZE, &counted, &error), &error);
    value_file_close(file);
    free(bytes);
    free(value);
    detach(&f);
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
        value_descriptor d = {.id = ID,
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

/* ---- Failures ---- */

static void an_aborted_value_leaves_nothing(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *value = make_value(70 * MIB);
    value_writer *w;
    value_descriptor d;
    assert_int_equal(value_writer_open(&w, &f.env, ID, 1, NULL), CAIRN_OK);
    assert_int_equal(value_writer_write(w, value, 70 * MIB, NULL), CAIRN_OK);
    assert_int_equal(file_count(&f), 2);
    value_writer_abort(w);
    assert_int_equal(file_count(&f), 0);

    assert_int_equal(value_writer_open(&w, &f.env, ID, 1, NULL), CAIRN_OK);
    assert_int_equal(value_writer_finish(w, key, KEY_SIZE, &d, NULL), CAIRN_OK);
    assert_int_equal(file_count(&f), 1);
    value_writer_abort(w);
    assert_int_equal(file_count(&f), 0);
    value_writer_abort(NULL);
    value_writer_close(NULL);
    value_file_close(NULL);
    free(value);
    detach(&f);
}

static void a_value_above_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    value_writer *w;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &f.env, ID, 1, &error), CAIRN_OK);
    assert_int_equal(value_writer_write(w, "x", CAIRN_VALUE_SIZE_MAX + 1, &error), CAIRN_TOO_BIG);
    value_writer_abort(w);
    detach(&f);
}

static void an_existing_file_is_never_overwritten(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    sim_file_write(f.disk, STORE, NAME, "abc", 3);
    value_writer *w;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &f.env, ID, 1, &error), CAIRN_IO);
    assert_int_equal(error.sys_errno, EEXIST);
    assert_int_equal(error.segment, ID);
    assert_int_equal(file_count(&f), 1);
    detach(&f);
}

static void every_failing_call_fails_the_value_and_leaves_nothing(void **state) {
    (void)state;
    const size_t size = 37 * MIB;
    const unsigned kinds[] = {SIM_CREATE, SIM_WRITE, SIM_SYNC, SIM_DIR_SYNC, SIM_READ, SIM_FLUSH, SIM_UNLINK};
    uint8_t *value = make_value(size);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint64_t nth = 0;; nth += nth < 4 || nth > 33 ? 1 : 29) { /* the writes in the middle are all alike */
            fixture f;
            attach(&f, sim_new(1));
            sim_fault fault = {.kinds = kinds[k], .nth = nth, .error = -ENOSPC, .partial = nth % 2 == 0};
            sim_fault_set(f.disk, &fault);
            value_descriptor d;
            cairn_error error = {0};
            bool sync_failed;
            int rc = write_pieces(&f.env, value, size, MIB, 1, &d, &sync_failed, &error);
            bool hit = sim_fault_hits(f.disk) > 0;
            bool hint = kinds[k] == SIM_FLUSH || kinds[k] == SIM_UNLINK; /* what only helps may fail */
            assert_int_equal(rc, hit && !hint ? CAIRN_FULL : CAIRN_OK);
            assert_int_equal(sync_failed, hit && (kinds[k] == SIM_SYNC || kinds[k] == SIM_DIR_SYNC));
            if (rc != CAIRN_OK) {
                assert_int_equal(error.segment, ID);
                assert_non_null(strstr(error.message, "0000000000000007."));
                assert_int_equal(file_count(&f), 0);
            }
            sim_fault_set(f.disk, NULL);
            if (rc == CAIRN_OK && hit) check_whole(&f, &d, value, size);
            detach(&f);
            if (!hit) break;
        }
    }
    free(value);
}

static void a_read_that_fails_is_not_taken_for_damage(void **state) {
    (void)state;
    fixture f;
    attach(&f, sim_new(1));
    uint8_t *value = make_value(300000), *buf = malloc(300000);
    value_descriptor d = write_value(&f, value, 300000);
    const unsigned kinds[] = {SIM_OPEN, SIM_INFO, SIM_READ, SIM_MAP};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint64_t nth = 0;; nth++) {
            sim_fault fault = {.kinds = kinds[k], .nth = nth, .error = -EIO};
            sim_fault_set(f.disk, &fault);
            value_file *file;
            cairn_error error = {0};
            uint64_t counted = 0;
            const void *data;
            int rc = value_file_open(&file, &f.env, &d, &error);
            if (rc == CAIRN_OK) {
                rc = value_file_read(file, buf, 299000, 500, &error);
                if (rc == CAIRN_OK) rc = value_file_verify(file, key, KEY_SIZE, &counted, &error);
                if (rc == CAIRN_OK && (rc = value_file_map(file, &data, &error)) == CAIRN_OK)
                    value_file_unmap(file, data);
                value_file_close(file);
            }
            bool hit = sim_fault_hits(f.disk) > 0;
            assert_int_equal(rc, hit ? CAIRN_IO : CAIRN_OK);
            if (hit) assert_int_equal(error.sys_errno, EIO);
            if (!hit) break;
        }
    }
    sim_fault_set(f.disk, NULL);
    free(buf);
    free(value);
    detach(&f);
}

static void a_finished_value_survives_every_power_cut(void **state) {
    (void)state;
    const size_t size = 200000;
    uint8_t *value = make_value(size);
    fixture f, after;
    attach(&f, sim_new(1));
    value_descriptor d = write_value(&f, value, size);
    for (uint64_t seed = 0; seed < 40; seed++) {
        attach(&after, sim_crash(f.disk, seed));
        assert_int_equal(file_count(&after), 1);
        check_whole(&after, &d, value, size);
        detach(&after);
    }
    detach(&f);
    free(value);
}

/* Nothing says that the value is there before finish returned; but whatever is on the disk, a reader is safe. */
static void a_value_cut_off_at_any_operation_is_whole_or_refused(void **state) {
    (void)state;
    const size_t size = 200000;
    uint8_t *value = make_value(size);
    fixture whole;
    attach(&whole, sim_new(1));
    value_descriptor d = write_value(&whole, value, size);
    uint64_t operations = sim_operations(whole.disk);
    detach(&whole);
    uint64_t refused = 0;
    for (uint64_t cut = 0; cut <= operations; cut++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            fixture f, after;
            value_descriptor unused;
            cairn_error error;
            sim_disk *disk = sim_new(1);
            attach(&f, disk);
            if (cut < sim_operations(disk)) {
                detach(&f);
                break;
            }
            sim_cut_at(disk, cut);
            int rc = write_pieces(&f.env, value, size, 50000, 1, &unused, NULL, &error);
            assert_int_equal(rc == CAIRN_OK, cut == operations);
            attach(&after, sim_crash(disk, seed));
            bool verified;
            refused += !reads_right_or_refuses(&after, &d, value, &verified);
            if (rc == CAIRN_OK) assert_true(verified);
            detach(&after);
            detach(&f);
        }
    }
    assert_true(refused > 50);
    free(value);
}

/* ---- Threads ---- */

typedef struct reading {
    value_file *file;
    const uint8_t *value;
    size_t size;
    uint64_t seed, wrong;
} reading;

static void *read_much(void *arg) {
    reading *r = arg;
    uint8_t *buf = malloc(r->size);
    for (int i = 0; i < 60; i++) {
        r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
        size_t offset = (size_t)((r->seed >> 11) % r->size), length = (size_t)((r->seed >> 33) % (r->size - offset));
        if (value_file_read(r->file, buf, length, offset, NULL) != CAIRN_OK ||
            memcmp(buf, r->value + offset, length) != 0)
            r->wrong++;
    }
    free(buf);
    return NULL;
}

static void many_threads_read_one_open_file(void **state) {
    (void)state;
    enum { THREADS = 4 };
    fixture f;
    attach(&f, sim_new(1));
    const size_t size = 34 * MIB;
    uint8_t *value = make_value(size);
    value_descriptor d = write_value(&f, value, size);
    value_file *file = open_value(&f, &d);
    reading readings[THREADS];
    os_thread threads[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        readings[i] = (reading){.file = file, .value = value, .size = size, .seed = i + 1};
        assert_int_equal(os_thread_start(&threads[i], read_much, &readings[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        os_thread_join(&threads[i]);
        assert_int_equal(readings[i].wrong, 0);
    }
    value_file_close(file);
    free(value);
    detach(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_parsed_strictly),
        cmocka_unit_test(values_of_every_edge_size_come_back),
        cmocka_unit_test(a_table_that_outgrows_memory_spills_and_makes_the_same_file),
        cmocka_unit_test(unsynced_bytes_of_a_long_value_stay_bounded),
        cmocka_unit_test(a_real_file_system_serves_as_well),
        cmocka_unit_test(a_file_that_is_missing_or_anothers_is_refused),
        cmocka_unit_test(every_flipped_bit_is_found_and_none_gives_a_wrong_value),
        cmocka_unit_test(damage_in_any_frame_of_a_long_value_is_named),
        cmocka_unit_test(pages_of_the_table_in_another_order_are_refused),
        cmocka_unit_test(a_spilled_table_that_was_damaged_fails_the_value),
        cmocka_unit_test(every_other_length_of_the_file_is_refused),
        cmocka_unit_test(a_descriptor_that_is_accepted_describes_a_possible_file),
        cmocka_unit_test(an_aborted_value_leaves_nothing),
        cmocka_unit_test(a_value_above_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(an_existing_file_is_never_overwritten),
        cmocka_unit_test(every_failing_call_fails_the_value_and_leaves_nothing),
        cmocka_unit_test(a_read_that_fails_is_not_taken_for_damage),
        cmocka_unit_test(a_finished_value_survives_every_power_cut),
        cmocka_unit_test(a_value_cut_off_at_any_operation_is_whole_or_refused),
        cmocka_unit_test(many_threads_read_one_open_file),
    };
    return cmocka_run_group_tests_name("value_file", tests, NULL, NULL);
}

/* Value files in compressed frames: what goes in comes out at every edge, only what is worth it is compressed, and a
 * range read touches only its frames. */
#include "src/base/codec.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/value_box.h"
#include "vlog/value_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRIAL_BYTES ((size_t)262144)
#define PAGE_BYTES (340 * (size_t)FRAME_BYTES) /* of value that one page of the table serves */

/* ---- Looking into a file ---- */

/* Where frame `frame` is stored, from byte 4096 on, and how long it is there; from the table, whose pages are linked.
 */
static uint64_t stored_at(const uint8_t *file, const value_descriptor *d, uint64_t frame, uint32_t *length) {
    const uint8_t *page = file + d->table_offset + frame / 340 * 4096;
    uint64_t at = le64_get(page + 8);
    for (uint64_t slot = 0; slot < frame % 340; slot++)
        at += le32_get(page + 16 + 12 * slot + 8);
    *length = le32_get(page + 16 + 12 * (frame % 340) + 8);
    return at;
}

/* The parts lie as FORMAT.md says: frames without a gap, zeros to a block, pages that say where they begin. */
static void check_layout(value_box *f, const value_descriptor *d, value_kind kind) {
    size_t size;
    uint8_t *file = sim_file_read(f->disk, VALUE_STORE, VALUE_NAME, &size);
    uint64_t at = 0;
    assert_int_equal(size, d->file_size);
    assert_int_equal(d->table_offset, round_up(4096 + d->stored_size, 4096));
    assert_int_equal(d->trailer_offset, d->table_offset + (d->frames + 339) / 340 * 4096);
    for (uint64_t frame = 0; frame < d->frames; frame++) {
        uint32_t length;
        size_t raw = value_frame_length(d->value_size, frame);
        assert_int_equal(stored_at(file, d, frame, &length), at);
        if (raw >= 4096) assert_int_equal(length < raw, value_frame_is_text(kind, frame));
        at += length;
    }
    assert_int_equal(at, d->stored_size);
    for (uint64_t i = 4096 + d->stored_size; i < d->table_offset; i++)
        assert_int_equal(file[i], 0);
    free(file);
}

/* ---- Round trips ---- */

static void round_trip(value_kind kind, size_t size, size_t piece) {
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *value = value_make_kind(kind, size), encoded[VALUE_DESCRIPTOR_BYTES];
    value_descriptor d = {0}, decoded = {0};
    cairn_error error;
    value_writing w = {.value = value, .size = size, .piece = piece, .table_memory = 1, .packing = true};
    assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
    assert_int_equal(value_box_files(&f), 1);
    assert_int_equal(d.value_size, size);
    value_descriptor_encode(encoded, &d);
    assert_true(value_descriptor_decode(&decoded, encoded, size));
    assert_value_reads(&f, &decoded, value, size);
    assert_int_equal(d.codec, size >= 128 ? CODEC_ZSTD : CODEC_RAW);
    if (d.codec == CODEC_ZSTD) check_layout(&f, &d, kind);
    free(value);
    value_box_close(&f);
}

static void compressed_values_of_every_edge_size_come_back(void **state) {
    (void)state;
    const size_t sizes[] = {0,
                            1,
                            50,
                            128,
                            4095,
                            FRAME_BYTES - 1,
                            FRAME_BYTES,
                            FRAME_BYTES + 1,
                            TRIAL_BYTES - 1,
                            TRIAL_BYTES,
                            TRIAL_BYTES + 1,
                            TRIAL_BYTES + FRAME_BYTES,
                            MIB - 1,
                            MIB,
                            MIB + 1,
                            3 * MIB + 77};
    const size_t pieces[] = {999, 65536, 100001, MIB, SIZE_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            round_trip(VALUE_TEXT, sizes[s], pieces[p]);
            round_trip(VALUE_MIXED, sizes[s], pieces[p]);
        }
    }
}

static void compressed_values_come_back_at_the_edges_of_table_pages(void **state) {
    (void)state;
    const size_t sizes[] = {PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 2 * PAGE_BYTES + 1};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        round_trip(VALUE_TEXT, sizes[s], 5 * MIB - 3);
    round_trip(VALUE_MIXED, PAGE_BYTES + 70000, SIZE_MAX);
}

static void a_compressed_table_that_outgrows_memory_spills_and_makes_the_same_file(void **state) {
    (void)state;
    const size_t size = 2 * PAGE_BYTES + 77; /* three pages of table */
    uint8_t *value = value_make_kind(VALUE_MIXED, size), *files[2];
    value_descriptor d;
    for (int i = 0; i < 2; i++) {
        value_box f;
        value_box_open(&f, sim_new(1));
        cairn_error error;
        sim_fault count = {.kinds = SIM_CREATE, .nth = UINT64_MAX, .error = -1};
        sim_fault_set(f.disk, &count);
        value_writing w = {.value = value, .size = size, .piece = 3 * MIB + 1, .packing = true};
        w.table_memory = i == 0 ? 1 : VALUE_TABLE_MEMORY_MAX;
        assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
        assert_int_equal(sim_fault_calls(f.disk), i == 0 ? 2 : 1);
        assert_int_equal(value_box_files(&f), 1);
        if (i == 0) check_layout(&f, &d, VALUE_MIXED);
        size_t file_size;
        files[i] = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &file_size);
        value_box_close(&f);
    }
    assert_memory_equal(files[0], files[1], d.file_size);
    free(files[0]);
    free(files[1]);
    free(value);
}

static void a_real_file_system_serves_as_well(void **state) {
    const char *path = *state;
    value_box f = {.env = {.store_id = value_store_id, .salt = VALUE_SALT}};
    assert_int_equal(packer_new(&f.env.packer), CAIRN_OK);
    assert_int_equal(os_posix()->dir_open(os_posix(), path, 0, &f.env.dir), 0);
    const size_t size = 24 * MIB + 5;
    uint8_t *value = value_make_kind(VALUE_MIXED, size);
    value_writing w = {.value = value, .size = size, .piece = 700001, .table_memory = 1, .packing = true};
    value_descriptor d;
    cairn_error error;
    assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
    assert_value_reads(&f, &d, value, size);
    assert_int_equal(os_unlink(f.env.dir, VALUE_NAME), 0);
    os_dir_close(f.env.dir);
    packer_free(f.env.packer);
    free(value);
}

/* ---- What is compressed ---- */

/* The file that a value becomes, for free(). */
static uint8_t *file_of(const uint8_t *value, size_t size, size_t piece, bool packing, value_descriptor *d) {
    value_box f;
    cairn_error error;
    size_t file_size;
    value_box_open(&f, sim_new(1));
    value_writing w = {.value = value, .size = size, .piece = piece, .table_memory = 1, .packing = packing};
    assert_int_equal(value_write(&f.env, &w, d, &error), CAIRN_OK);
    uint8_t *file = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &file_size);
    assert_int_equal(file_size, d->file_size);
    value_box_close(&f);
    return file;
}

static void a_value_that_does_not_begin_compressibly_makes_the_file_that_it_makes_uncompressed(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 100, FRAME_BYTES, TRIAL_BYTES - 1, TRIAL_BYTES, TRIAL_BYTES + 1, MIB, 3 * MIB + 5};
    const size_t pieces[] = {999, TRIAL_BYTES, 700001, SIZE_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t *value = value_make(sizes[s]);
        if (sizes[s] > TRIAL_BYTES) memset(value + TRIAL_BYTES, 'x', sizes[s] - TRIAL_BYTES); /* decided by then */
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            value_descriptor raw, d;
            uint8_t *expected = file_of(value, sizes[s], pieces[p], false, &raw);
            uint8_t *got = file_of(value, sizes[s], pieces[p], true, &d);
            assert_int_equal(d.codec, CODEC_RAW);
            assert_int_equal(d.file_size, raw.file_size);
            assert_memory_equal(got, expected, raw.file_size);
            free(got);
            free(expected);
        }
        free(value);
    }
}

static void one_part_in_eight_of_the_beginning_decides(void **state) {
    (void)state;
    uint8_t *value = value_make(MIB);
    value_descriptor d;
    for (size_t text = 0; text <= TRIAL_BYTES; text += FRAME_BYTES / 4) {
        memset(value + TRIAL_BYTES - text, 'x', text);
        free(file_of(value, MIB, SIZE_MAX, true, &d));
        if (text < TRIAL_BYTES / 8) assert_int_equal(d.codec, CODEC_RAW);
        if (text >= TRIAL_BYTES / 4) assert_int_equal(d.codec, CODEC_ZSTD);
    }
    free(value);
}

static void what_other_values_were_like_decides_nothing(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const pack_options options = {.level = PACK_LEVEL_DEFAULT};
    uint8_t *noise = value_make(FRAME_BYTES), *text = value_make_kind(VALUE_TEXT, MIB), out[FRAME_BYTES];
    memcpy(noise + FRAME_BYTES / 4 + 512, noise + FRAME_BYTES / 4, 64); /* looks worth trying, and is not */
    for (int i = 0; i < 1000; i++)
        (void)pack_frame(f.env.packer, &options, noise, FRAME_BYTES, out);
    value_descriptor d = value_box_pack(&f, text, MIB);
    assert_true(d.stored_size < MIB / 10);
    free(text);
    free(noise);
    value_box_close(&f);
}

static void the_rest_of_a_value_that_stops_to_shrink_is_stored_raw(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 40 * MIB;
    uint8_t *value = value_make(size);
    memset(value, 'x', FRAME_BYTES);
    value_descriptor d = value_box_pack(&f, value, size);
    assert_true(d.stored_size > size - FRAME_BYTES && d.stored_size < size);
    assert_value_reads(&f, &d, value, size);
    free(value);
    value_box_close(&f);
}

static void unsynced_bytes_of_a_long_value_stay_bounded(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *piece = value_make_kind(VALUE_MIXED, MIB);
    const pack_options packing = {.level = PACK_LEVEL_DEFAULT};
    sim_fault count = {.kinds = SIM_SYNC, .nth = UINT64_MAX, .error = -1};
    sim_fault_set(f.disk, &count);
    value_writer *w;
    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, VALUE_TABLE_MEMORY_MAX, &packing, NULL), CAIRN_OK);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(value_writer_write(w, piece, MIB, NULL), CAIRN_OK);
        size_t size;
        uint8_t *file = i % 10 == 0 ? sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &size) : NULL;
        if (file != NULL) assert_true(size <= (sim_fault_calls(f.disk) + 1) * 33 * MIB);
        free(file);
    }
    assert_true(sim_fault_calls(f.disk) >= 2);
    value_writer_abort(w);
    assert_int_equal(value_box_files(&f), 0);
    free(piece);
    value_box_close(&f);
}

/* ---- Reading ---- */

static uint64_t reads, read_bytes, read_min, read_max; /* of the stored frames: where from and to */
static uint64_t frames_end;                            /* where the table begins */

static int counting_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    reads++;
    read_bytes += size;
    if (offset < frames_end) {
        read_min = min_u64(read_min, offset);
        read_max = max_u64(read_max, offset + size);
    }
    return sim_calls()->file_read(file, buf, size, offset, got);
}

static void a_range_read_fetches_its_frames_and_one_page_of_the_table(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 2 * PAGE_BYTES + 12345;
    uint8_t *value = value_make_kind(VALUE_MIXED, size), *buf = malloc(MIB);
    value_descriptor d = value_box_pack(&f, value, size);
    size_t file_size;
    uint8_t *bytes = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &file_size);
    value_file *file = value_box_file(&f, &d);
    const os counting = {.file_read = counting_read};
    os_override(sim_os(f.disk), &counting);
    frames_end = d.table_offset;
    const uint64_t frames[] = {0, 5, 8, 339, 340, 341, 500, 679, 680};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint64_t offset = frames[i] * FRAME_BYTES + 9;
        uint32_t length;
        uint64_t at = 4096 + stored_at(bytes, &d, frames[i], &length);
        reads = read_bytes = read_max = 0;
        read_min = UINT64_MAX;
        assert_int_equal(value_file_read(file, buf, 100, offset, NULL), CAIRN_OK);
        assert_memory_equal(buf, value + offset, 100);
        assert_int_equal(reads, 2);
        assert_int_equal(read_bytes, 4096 + length);
        assert_int_equal(read_min, at);
        assert_int_equal(read_max, at + length);
    }
    reads = read_bytes = 0;
    assert_int_equal(value_file_read(file, buf, MIB, 40 * FRAME_BYTES + 1, NULL), CAIRN_OK); /* 17 frames */
    assert_memory_equal(buf, value + 40 * FRAME_BYTES + 1, MIB);
    assert_true(reads <= 1 + 6 && read_bytes <= 4096 + 17 * FRAME_BYTES);
    value_file_close(file);
    free(bytes);
    free(buf);
    free(value);
    value_box_close(&f);
}

typedef struct watching {
    uint64_t calls, bytes, cancel_at;
} watching;

static int watch_progress(void *ctx, uint64_t bytes) {
    watching *w = ctx;
    w->bytes += bytes;
    return ++w->calls == w->cancel_at;
}

static void verification_tells_how_far_it_is_and_can_be_cancelled(void **state) {
    (void)state;
    for (int packing = 0; packing < 2; packing++) {
        value_box f;
        value_box_open(&f, sim_new(1));
        const size_t size = 3 * MIB + 1;
        uint8_t *value = value_make_kind(VALUE_MIXED, size);
        value_descriptor d = packing ? value_box_pack(&f, value, size) : value_box_write(&f, value, size);
        value_file *file = value_box_file(&f, &d);
        uint64_t counted = 0, calls;
        cairn_error error;
        watching w = {0};
        const value_verify v = {.progress = watch_progress, .ctx = &w, .bytes = &counted};
        assert_int_equal(value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE, &v, &error), CAIRN_OK);
        assert_int_equal(counted, d.file_size);
        assert_int_equal(w.bytes, d.file_size);
        assert_true((calls = w.calls) >= 12);
        for (uint64_t cancel_at = 1; cancel_at <= calls; cancel_at++) {
            counted = 0;
            w = (watching){.cancel_at = cancel_at};
            assert_int_equal(value_file_verify(file, VALUE_KEY, VALUE_KEY_SIZE, &v, &error), CAIRN_CANCELLED);
            assert_int_equal(error.code, CAIRN_CANCELLED);
            assert_int_equal(w.calls, cancel_at);
            assert_int_equal(counted, w.bytes);
        }
        value_file_close(file);
        free(value);
        value_box_close(&f);
    }
}

/* ---- Threads ---- */

static void many_threads_read_one_open_file(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = PAGE_BYTES + 5 * MIB;
    uint8_t *value = value_make_kind(VALUE_MIXED, size);
    value_descriptor d = value_box_pack(&f, value, size);
    value_file *file = value_box_file(&f, &d);
    assert_value_reads_in_threads(file, value, size, 100, MIB);
    value_file_close(file);
    free(value);
    value_box_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_values_of_every_edge_size_come_back),
        cmocka_unit_test(compressed_values_come_back_at_the_edges_of_table_pages),
        cmocka_unit_test(a_compressed_table_that_outgrows_memory_spills_and_makes_the_same_file),
        cmocka_unit_test_setup_teardown(a_real_file_system_serves_as_well, real_folder_setup, real_folder_teardown),
        cmocka_unit_test(a_value_that_does_not_begin_compressibly_makes_the_file_that_it_makes_uncompressed),
        cmocka_unit_test(one_part_in_eight_of_the_beginning_decides),
        cmocka_unit_test(what_other_values_were_like_decides_nothing),
        cmocka_unit_test(the_rest_of_a_value_that_stops_to_shrink_is_stored_raw),
        cmocka_unit_test(unsynced_bytes_of_a_long_value_stay_bounded),
        cmocka_unit_test(a_range_read_fetches_its_frames_and_one_page_of_the_table),
        cmocka_unit_test(verification_tells_how_far_it_is_and_can_be_cancelled),
        cmocka_unit_test(many_threads_read_one_open_file),
    };
    return cmocka_run_group_tests_name("value_packed", tests, NULL, NULL);
}

/* Value files: what goes in comes out at every edge, in bounded memory, on either system and in many threads. What is
 * special to compressed ones is in test_value_packed.c. */
#include "tests/support/real_folder.h"
#include "tests/support/value_box.h"
#include "vlog/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

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
    file_name(name, VALUE_ID, "val");
    assert_string_equal(name, VALUE_NAME);
    assert_true(file_name_parse(name, &id, suffix));
    assert_int_equal(id, VALUE_ID);
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
        uint8_t *value = value_make(sizes[s]);
        for (size_t p = sizes[s] > MIB; p < sizeof pieces / sizeof *pieces; p++) {
            value_box f;
            value_box_open(&f, sim_new(1));
            value_descriptor d = {0}, decoded = {0};
            cairn_error error;
            value_writing w = {.value = value, .size = sizes[s], .piece = pieces[p], .table_memory = 1};
            assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
            assert_int_equal(value_box_files(&f), 1);
            assert_int_equal(d.value_size, sizes[s]);
            uint8_t encoded[VALUE_DESCRIPTOR_BYTES];
            value_descriptor_encode(encoded, &d);
            assert_true(value_descriptor_decode(&decoded, encoded, sizes[s]));
            if (pieces[p] == SIZE_MAX) assert_value_reads(&f, &decoded, value, sizes[s]);
            size_t file_size;
            uint8_t *file = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &file_size);
            assert_int_equal(file_size, d.file_size);
            assert_memory_equal(file + VALUE_FILE_DATA_OFFSET, value, sizes[s]);
            free(file);
            value_box_close(&f);
        }
        free(value);
    }
}

static void a_table_that_outgrows_memory_spills_and_makes_the_same_file(void **state) {
    (void)state;
    const size_t size = 70 * MIB + 77; /* three pages of table */
    uint8_t *value = value_make(size), *files[3];
    const size_t memory[] = {1, (size_t)2 * 4096, VALUE_TABLE_MEMORY_MAX};
    value_descriptor d;
    for (int i = 0; i < 3; i++) {
        value_box f;
        value_box_open(&f, sim_new(1));
        cairn_error error;
        sim_fault count = {.kinds = SIM_CREATE, .nth = UINT64_MAX, .error = -EIO};
        sim_fault_set(f.disk, &count);
        value_writing w = {.value = value, .size = size, .piece = 3 * MIB + 1, .table_memory = memory[i]};
        assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
        assert_int_equal(sim_fault_calls(f.disk), i == 2 ? 1 : 2);
        assert_int_equal(value_box_files(&f), 1);
        if (i == 0) assert_value_reads(&f, &d, value, size);
        size_t file_size;
        files[i] = sim_file_read(f.disk, VALUE_STORE, VALUE_NAME, &file_size);
        assert_int_equal(file_size, d.file_size);
        value_box_close(&f);
    }
    assert_memory_equal(files[0], files[2], d.file_size);
    assert_memory_equal(files[1], files[2], d.file_size);
    for (int i = 0; i < 3; i++)
        free(files[i]);
    free(value);
}

static void unsynced_bytes_of_a_long_value_stay_bounded(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *piece = value_make(MIB);
    sim_fault count = {.kinds = SIM_SYNC, .nth = UINT64_MAX, .error = -EIO};
    sim_fault_set(f.disk, &count);
    value_writer *w;
    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, VALUE_TABLE_MEMORY_MAX, NULL, NULL), CAIRN_OK);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(value_writer_write(w, piece, MIB, NULL), CAIRN_OK);
        assert_true(i - 32 * sim_fault_calls(f.disk) <= 32);
    }
    value_writer_abort(w);
    free(piece);
    value_box_close(&f);
}

static void a_real_file_system_serves_as_well(void **state) {
    const char *path = *state;
    value_box f = {.env = {.store_id = value_store_id, .salt = VALUE_SALT}};
    assert_int_equal(os_posix()->dir_open(os_posix(), path, 0, &f.env.dir), 0);
    const size_t size = 34 * MIB + 5;
    uint8_t *value = value_make(size);
    value_writing w = {.value = value, .size = size, .piece = 700001, .table_memory = 1};
    value_descriptor d;
    cairn_error error;
    assert_int_equal(value_write(&f.env, &w, &d, &error), CAIRN_OK);
    assert_value_reads(&f, &d, value, size);
    assert_int_equal(os_unlink(f.env.dir, VALUE_NAME), 0);
    assert_int_equal(os_unlink(f.env.dir, VALUE_TABLE_NAME), -ENOENT);
    value_file *file;
    char other[REAL_PATH_SIZE];
    real_path(other, path, VALUE_NAME);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_value_damaged(value_file_open(&file, &f.env, &d, &error), &error);
    os_dir_close(f.env.dir);
    free(value);
}

/* ---- Threads ---- */

static void many_threads_read_one_open_file(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    const size_t size = 34 * MIB;
    uint8_t *value = value_make(size);
    value_descriptor d = value_box_write(&f, value, size);
    value_file *file = value_box_file(&f, &d);
    assert_value_reads_in_threads(file, value, size, 60, SIZE_MAX);
    value_file_close(file);
    free(value);
    value_box_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_parsed_strictly),
        cmocka_unit_test(values_of_every_edge_size_come_back),
        cmocka_unit_test(a_table_that_outgrows_memory_spills_and_makes_the_same_file),
        cmocka_unit_test(unsynced_bytes_of_a_long_value_stay_bounded),
        cmocka_unit_test_setup_teardown(a_real_file_system_serves_as_well, real_folder_setup, real_folder_teardown),
        cmocka_unit_test(many_threads_read_one_open_file),
    };
    return cmocka_run_group_tests_name("value_file", tests, NULL, NULL);
}

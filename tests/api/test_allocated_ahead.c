/* On a file system that allocates beyond the end of files that grow, as xfs does, a file that is finished keeps none of
 * it. */
#include "tests/support/bulk.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NAMES_MAX 64
#define BLOCK_BYTES 4096

static bool has_more_than_its_size(sim_box *b, const char *name) {
    os *o = sim_os(b->disk);
    os_dir *dir = NULL;
    os_file *file = NULL;
    os_file_info info;
    assert_int_equal(o->dir_open(o, SIM_BOX_STORE, 0, &dir), 0);
    assert_int_equal(os_file_open(dir, name, OS_READ_ONLY, &file), 0);
    assert_int_equal(os_file_info_get(file, &info), 0);
    os_file_close(file);
    os_dir_close(dir);
    return info.allocated > (info.size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static size_t files_ahead(sim_box *b, const char *suffix) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, NAMES_MAX), ahead = 0;
    assert_true(count < NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], suffix) != NULL && has_more_than_its_size(b, names[i])) ahead++;
    }
    return ahead;
}

static void compact_all(sim_box *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    assert_int_equal(cairn_compact(b->store, &o, NULL, NULL), CAIRN_OK);
}

static void a_segment_is_cut_to_its_size_when_it_is_sealed(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 40);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    assert_true(sim_box_files(b, ".seg") >= 8);
    assert_int_equal(files_ahead(b, ".seg"), 2); /* the active one and the one that comes next */
}

static void a_value_file_is_cut_to_its_size(void **state) {
    sim_box *b = *state;
    put_text(b->store, "large", random_pool(), 3 << 20);
    assert_int_equal(sim_box_files(b, ".val"), 1);
    assert_int_equal(files_ahead(b, ".val"), 0);
}

static void a_footer_behind_holes_leaves_nothing_allocated(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 40);
    for (unsigned i = 0; i < 40; i += 2) {
        delete_bulk(b, "a", i, i + 1);
    }
    compact_all(b);
    assert_true(files_ahead(b, ".seg") <= 1);
}

static void a_compacted_segment_is_cut_to_its_size(void **state) {
    enum { COUNT = 1000, BYTES = 5000 };
    sim_box *b = *state;
    char key[16];
    for (unsigned i = 0; i < COUNT; i++) {
        bulk_key(key, "a", i);
        put_text(b->store, key, random_pool() + i, BYTES);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 3 != 0) delete_bulk(b, "a", i, i + 1);
    }
    compact_all(b);
    assert_true(sim_box_files(b, ".seg") >= 2);
    assert_true(files_ahead(b, ".seg") <= 1);
}

static void a_segment_that_an_opening_repairs_is_cut_to_its_size(void **state) {
    sim_box *b = *state;
    put_bulk(b, "a", 0, 7);
    sim_box_kill(b);
    assert_true(files_ahead(b, ".seg") <= 1);
    expect_bulk(b, "a", 0, 7);
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    sim_allocate_ahead(((sim_box *)*state)->disk);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_segment_is_cut_to_its_size_when_it_is_sealed),       TEST(a_value_file_is_cut_to_its_size),
        TEST(a_footer_behind_holes_leaves_nothing_allocated),       TEST(a_compacted_segment_is_cut_to_its_size),
        TEST(a_segment_that_an_opening_repairs_is_cut_to_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

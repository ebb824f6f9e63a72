/* Views of one value again and again: the first one verifies it, later ones only look whose it is. */
#include "tests/support/bulk.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZES 4u
static const size_t sizes[SIZES] = {1, 4000, 70000, SIM_BOX_PAYLOAD_MAX};

static const void *open_view(sim_box *b, const void *key, size_t key_size, cairn_view **view, size_t size) {
    assert_int_equal(cairn_view_open(b->store, key, key_size, view, NULL), CAIRN_OK);
    assert_int_equal(cairn_view_size(*view), size);
    return cairn_view_data(*view);
}

static void expect_view(sim_box *b, const char *key, const void *value, size_t size) {
    cairn_view *view = NULL;
    assert_memory_equal(open_view(b, key, strlen(key), &view, size), value, size);
    cairn_view_close(view);
}

static void put_sizes(sim_box *b) {
    char key[16];
    for (unsigned i = 0; i < SIZES; i++) {
        bulk_key(key, "k", i);
        put_text(b->store, key, random_pool() + i, sizes[i]);
    }
}

static void expect_sizes(sim_box *b) {
    char key[16];
    for (unsigned i = 0; i < SIZES; i++) {
        bulk_key(key, "k", i);
        expect_view(b, key, random_pool() + i, sizes[i]);
    }
}

static void a_value_that_was_viewed_is_not_mapped_or_opened_again(void **state) {
    sim_box *b = *state;
    put_sizes(b);
    expect_sizes(b);
    sim_box_count(b, SIM_MAP | SIM_OPEN | SIM_INFO);
    expect_sizes(b);
    assert_int_equal(sim_box_counted(b), 0);
    sim_box_count(b, SIM_READ);
    expect_sizes(b);
    assert_int_equal(sim_box_counted(b), SIZES); /* of the key, in the window */
}

static void two_views_of_a_value_are_the_same_bytes(void **state) {
    sim_box *b = *state;
    cairn_view *first = NULL, *second = NULL;
    put_sizes(b);
    const void *data = open_view(b, "k2", 2, &first, sizes[2]);
    assert_ptr_equal(open_view(b, "k2", 2, &second, sizes[2]), data);
    cairn_view_close(first);
    assert_memory_equal(data, random_pool() + 2, sizes[2]);
    cairn_view_close(second);
}

static void a_view_of_what_was_viewed_before_stays_through_everything(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    cairn_compact_options full = {.struct_size = sizeof full, .full = true};
    put_sizes(b);
    expect_sizes(b);
    const void *data = open_view(b, "k1", 2, &view, sizes[1]);
    put_text(b->store, "k1", "another", 7);
    assert_int_equal(cairn_compact(b->store, &full, NULL, NULL), CAIRN_OK);
    assert_memory_equal(data, random_pool() + 1, sizes[1]);
    expect_view(b, "k1", "another", 7);
    cairn_view_close(view);
    assert_int_equal(cairn_compact(b->store, &full, NULL, NULL), CAIRN_OK);
    expect_view(b, "k1", "another", 7);
}

static void a_value_that_came_or_went_since_is_seen_so(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    put_sizes(b);
    expect_sizes(b);
    put_text(b->store, "k0", "new", 3);
    delete_text(b->store, "k1");
    expect_view(b, "k0", "new", 3);
    assert_int_equal(cairn_view_open(b->store, "k1", 2, &view, NULL), CAIRN_NOT_FOUND);
    put_text(b->store, "k1", "back", 4);
    expect_view(b, "k1", "back", 4);
}

static void what_has_expired_is_not_viewed_again(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    put_for(b->store, "k", "mortal", 6, 1000);
    expect_view(b, "k", "mortal", 6);
    expect_view(b, "k", "mortal", 6);
    sim_clock_advance(b->disk, 2000);
    assert_int_equal(cairn_view_open(b->store, "k", 1, &view, NULL), CAIRN_NOT_FOUND);
}

static void keys_with_the_same_hash_have_each_its_own(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    b->hash_mask = 0;
    sim_box_close(b);
    sim_free(b->disk);
    b->disk = sim_new(2);
    sim_box_open(b);
    put_sizes(b);
    for (int round = 0; round < 3; round++) {
        expect_sizes(b);
        assert_int_equal(cairn_view_open(b->store, "none", 4, &view, NULL), CAIRN_NOT_FOUND);
    }
}

static void the_longest_keys_are_told_apart(void **state) {
    static char key[CAIRN_KEY_SIZE_MAX];
    const size_t key_sizes[] = {431, 432, 433, sizeof key};
    sim_box *b = *state;
    memset(key, 'k', sizeof key);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < sizeof key_sizes / sizeof key_sizes[0]; i++) {
            cairn_view *view = NULL;
            if (round == 0) {
                assert_int_equal(cairn_put(b->store, key, key_sizes[i], random_pool() + i, 100, NULL, NULL), CAIRN_OK);
            }
            assert_memory_equal(open_view(b, key, key_sizes[i], &view, 100), random_pool() + i, 100);
            cairn_view_close(view);
        }
    }
}

static void a_damaged_value_is_refused_each_time(void **state) {
    sim_box *b = *state;
    cairn_view *view = NULL;
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    put_sizes(b);
    sim_box_locate(b, ".seg", random_pool() + 2, sizes[2], name, &offset);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset + sizes[2] - 1, 1));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(cairn_view_open(b->store, "k2", 2, &view, NULL), CAIRN_CORRUPT);
        expect_view(b, "k1", random_pool() + 1, sizes[1]);
    }
}

static void without_windows_each_view_has_a_mapping_of_its_own(void **state) {
    sim_box *b = *state;
    b->options.no_mapped_reads = true;
    sim_box_reopen(b);
    put_sizes(b);
    for (int round = 0; round < 3; round++) {
        sim_box_count(b, SIM_MAP);
        expect_sizes(b);
        assert_int_equal(sim_box_counted(b), SIZES);
    }
}

static void where_a_window_cannot_be_had_a_mapping_serves(void **state) {
    sim_box *b = *state;
    put_sizes(b);
    for (uint64_t nth = 0; nth < 3; nth++) {
        sim_fault fault = {.kinds = SIM_MAP, .nth = nth, .error = -12};
        sim_fault_set(b->disk, &fault);
        expect_sizes(b);
        sim_fault_set(b->disk, NULL);
        sim_box_reopen(b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_value_that_was_viewed_is_not_mapped_or_opened_again),
        TEST(two_views_of_a_value_are_the_same_bytes),
        TEST(a_view_of_what_was_viewed_before_stays_through_everything),
        TEST(a_value_that_came_or_went_since_is_seen_so),
        TEST(what_has_expired_is_not_viewed_again),
        TEST(keys_with_the_same_hash_have_each_its_own),
        TEST(the_longest_keys_are_told_apart),
        TEST(a_damaged_value_is_refused_each_time),
        TEST(without_windows_each_view_has_a_mapping_of_its_own),
        TEST(where_a_window_cannot_be_had_a_mapping_serves),
    };
    return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}

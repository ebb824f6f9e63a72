/* The index that an opening builds from the log alone: made as large as the log's records let expect, it holds what it
 * should, and no more memory than one that has grown; whether a thread of its own applies them or the opener. */
#include "index/hash_index.h"
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 100000u

static void put_round(sim_box *b, unsigned keys, unsigned round) {
    char key[16], value[16];
    for (unsigned i = 0; i < keys; i++) {
        int key_size = snprintf(key, sizeof key, "k%u", i), size = snprintf(value, sizeof value, "%u-%u", i, round);
        assert_int_equal(cairn_put(b->store, key, (size_t)key_size, value, (size_t)size, NULL, NULL), CAIRN_OK);
    }
}

static void expect_round(sim_box *b, unsigned keys, unsigned round) {
    char key[16], value[16], seen[16];
    for (unsigned i = 0; i < keys; i++) {
        size_t got = 0;
        int key_size = snprintf(key, sizeof key, "k%u", i), size = snprintf(value, sizeof value, "%u-%u", i, round);
        assert_int_equal(cairn_get_into(b->store, key, (size_t)key_size, seen, sizeof seen, &got, NULL), CAIRN_OK);
        assert_int_equal(got, size);
        assert_memory_equal(seen, value, got);
    }
}

/* Bytes a key of the index, but for what an empty one has. */
static void expect_bytes_of_index(sim_box *b, unsigned keys, double at_most) {
    hash_index *empty = NULL;
    assert_int_equal(hash_index_new(&empty, b->store->readers), CAIRN_OK);
    uint64_t bytes = hash_index_bytes(b->store->index) - hash_index_bytes(empty);
    hash_index_free(empty);
    assert_int_equal(hash_index_entries(b->store->index), keys);
    assert_true((double)bytes <= at_most * keys);
}

static void of_many_keys_it_takes_no_more_than_one_that_has_grown(void **state) {
    sim_box *b = *state;
    put_round(b, KEYS, 0);
    assert_true(sim_box_files(b, ".seg") >= 4); /* most are listed */
    for (int times = 0; times < 2; times++) {
        come_back(b, REBUILT);
        expect_bytes_of_index(b, KEYS, 25);
        expect_round(b, KEYS, 0);
    }
    come_back(b, KILLED);
    expect_round(b, KEYS, 0);
}

static void what_was_expected_of_records_that_are_dead_is_given_back(void **state) {
    enum { FEW = KEYS / 5, ROUNDS = 10 };
    sim_box *b = *state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        put_round(b, FEW, round);
    }
    come_back(b, REBUILT);
    expect_bytes_of_index(b, FEW, 40); /* 20 keys a shard: heads count */
    expect_round(b, FEW, ROUNDS - 1);
}

/* Three of four keys are written twice, one of four is deleted: enough records for several batches. */
static void by_a_thread_of_its_own_it_holds_the_last_of_each_key(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        unsigned k = i % KEYS;
        int size = snprintf(key, sizeof key, "k%u", k);
        int rc = i < KEYS || k % 4 != 0 ? cairn_put(b->store, key, (size_t)size, &i, sizeof i, NULL, NULL)
                                        : cairn_delete(b->store, key, (size_t)size, NULL, NULL);
        assert_int_equal(rc, CAIRN_OK);
    }
    box_close(b);
    real_file_remove(b->path, "CHECKPOINT");
    real_file_remove(b->path, "CHECKPOINT.DATA");
    b->options.no_background = false;
    box_open(b);
    for (unsigned k = 0; k < KEYS; k++) {
        unsigned seen = 0;
        size_t got = 0;
        int size = snprintf(key, sizeof key, "k%u", k);
        int rc = cairn_get_into(b->store, key, (size_t)size, &seen, sizeof seen, &got, NULL);
        assert_int_equal(rc, k % 4 != 0 ? CAIRN_OK : CAIRN_NOT_FOUND);
        if (k % 4 != 0) assert_int_equal(seen, KEYS + k);
    }
    assert_int_equal(hash_index_entries(b->store->index), KEYS / 4 * 3);
}

static int setup_box(void **state) {
    if (box_setup(state) != 0) return -1;
    box_quiet(*state);
    return 0;
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    sim_box *b = *state;
    b->options.durability = CAIRN_DURABILITY_NONE;
    sim_box_reopen(b);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(of_many_keys_it_takes_no_more_than_one_that_has_grown),
        TEST(what_was_expected_of_records_that_are_dead_is_given_back),
        cmocka_unit_test_setup_teardown(by_a_thread_of_its_own_it_holds_the_last_of_each_key, setup_box, box_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The ordered index against a sorted array: order, bounds, absorbing, building, and what opening says. */
#include "index/ordered_state.h"
#include "src/base/codec.h"
#include "tests/support/ordered_box.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CHANGES_MAX 200u
#define TINY_MAP 65536u

static void absorb(ordered_box *b, key_set *model, const ordered_change *changes, size_t count, uint64_t place) {
    cairn_error error = {0};
    int code = ordered_absorb(b->index, changes, count, place, &error);
    if (code != CAIRN_OK) print_error("absorb: %s\n", error.message);
    assert_int_equal(code, CAIRN_OK);
    for (size_t i = 0; i < count; i++)
        key_set_apply(model, &changes[i]);
    assert_int_equal(ordered_place(b->index), place);
    assert_int_equal(ordered_keys(b->index), model->count);
}

static void absorb_text(ordered_box *b, key_set *model, const char *key, bool erase) {
    ordered_change c = {.key = key, .size = strlen(key), .erase = erase};
    absorb(b, model, &c, 1, ordered_place(b->index) + 1);
}

/* ---- Random keys ---- */

/* Lengths at which a chunk ends, and some further on. */
static const size_t edges[] = {510, 1012, 1514, 2016};

static size_t random_long_size(uint64_t *rng) {
    if (random_one_in(rng, 60)) return ORDERED_KEY_MAX - random_below(rng, 3);
    if (random_one_in(rng, 40)) return 1 + random_below(rng, ORDERED_KEY_MAX);
    return edges[random_below(rng, 4)] - 3 + random_below(rng, 7);
}

/* Long keys are all `x` but for a byte or two near the edges, so that they share what is before. */
static size_t random_key(uint64_t *rng, uint8_t key[ORDERED_KEY_MAX]) {
    static const uint8_t letters[] = {0, 1, 'x', 0xff};
    if (random_one_in(rng, 3)) {
        size_t size = 1 + random_below(rng, 5);
        for (size_t i = 0; i < size; i++)
            key[i] = letters[random_below(rng, 4)];
        return size;
    }
    size_t size = random_long_size(rng);
    memset(key, 'x', size);
    for (uint64_t i = random_below(rng, 3); i > 0; i--) {
        size_t at = edges[random_below(rng, 4)] - 3 + random_below(rng, 6);
        if (random_one_in(rng, 8)) at = random_below(rng, size);
        if (at < size) key[at] = letters[random_below(rng, 4)];
    }
    return size;
}

typedef struct change_batch {
    ordered_change changes[CHANGES_MAX];
    size_t count;
} change_batch;

static void batch_make(change_batch *batch, uint64_t *rng, const key_set *model, uint64_t erase_percent) {
    static uint8_t key[ORDERED_KEY_MAX];
    batch->count = 1 + random_below(rng, CHANGES_MAX);
    for (size_t i = 0; i < batch->count; i++) {
        ordered_change *c = &batch->changes[i];
        *c = (ordered_change){.erase = random_below(rng, 100) < erase_percent};
        const void *from = key;
        if (c->erase && model->count > 0 && !random_one_in(rng, 8)) {
            const ordered_key *k = &model->keys[random_below(rng, model->count)];
            from = k->bytes;
            c->size = k->size;
        } else {
            c->size = random_key(rng, key);
        }
        void *copy = malloc(c->size);
        assert_non_null(copy);
        c->key = memcpy(copy, from, c->size);
    }
}

static void batch_release(change_batch *batch) {
    for (size_t i = 0; i < batch->count; i++)
        free((void *)(uintptr_t)batch->changes[i].key);
}

/* A key of the model, cut or not, or one that may not be there. */
static const void *random_bound(uint64_t *rng, const key_set *model, uint8_t buffer[ORDERED_KEY_MAX], size_t *size) {
    *size = random_key(rng, buffer);
    if (model->count > 0 && !random_one_in(rng, 3)) {
        const ordered_key *k = &model->keys[random_below(rng, model->count)];
        memcpy(buffer, k->bytes, *size = k->size);
    }
    if (random_one_in(rng, 4)) *size = random_below(rng, *size + 1);
    return random_one_in(rng, 3) ? NULL : buffer;
}

static void check_random_walk(const ordered_box *b, const key_set *model, uint64_t *rng) {
    static uint8_t lower[ORDERED_KEY_MAX], upper[ORDERED_KEY_MAX], prefix[ORDERED_KEY_MAX];
    key_range r = {.lower_exclusive = random_one_in(rng, 2),
                   .upper_exclusive = random_one_in(rng, 2),
                   .reverse = random_one_in(rng, 2)};
    r.lower = random_bound(rng, model, lower, &r.lower_size);
    r.upper = random_bound(rng, model, upper, &r.upper_size);
    if (random_one_in(rng, 2)) {
        r.prefix = random_bound(rng, model, prefix, &r.prefix_size);
        r.prefix_size = random_below(rng, r.prefix_size + 1);
        if (random_one_in(rng, 2)) r.lower = r.upper = NULL;
    }
    ordered_box_check_walk(b, model, &r, 1 + random_below(rng, random_one_in(rng, 4) ? 3 : ORDERED_BATCH_KEYS));
}

/* ---- Tests ---- */

static void the_number_of_records_in_a_table_is(const ordered_box *b, MDB_dbi table, size_t expected) {
    MDB_txn *txn;
    MDB_stat stat;
    assert_int_equal(mdb_txn_begin(b->index->env.env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_stat(txn, table, &stat), 0);
    mdb_txn_abort(txn);
    assert_int_equal(stat.ms_entries, expected);
}

static void erase_all(ordered_box *b, key_set *model) {
    while (model->count > 0) {
        ordered_change changes[100];
        size_t count = 0;
        for (; count < 100 && count < model->count; count++) {
            const ordered_key *k = &model->keys[count];
            void *copy = malloc(k->size);
            assert_non_null(copy);
            changes[count] = (ordered_change){.key = memcpy(copy, k->bytes, k->size), .size = k->size, .erase = true};
        }
        absorb(b, model, changes, count, ordered_place(b->index) + 1);
        for (size_t i = 0; i < count; i++)
            free((void *)(uintptr_t)changes[i].key);
    }
    the_number_of_records_in_a_table_is(b, b->index->env.keys, 0);
    the_number_of_records_in_a_table_is(b, b->index->env.tails, 0);
}

static void it_holds_what_a_sorted_array_holds(void **state) {
    ordered_box b;
    key_set model = {0};
    uint64_t rng = 1, rounds = rung_choose(250, 60, 10000);
    if (rung_seed(&rng)) rounds = 10000;
    ordered_box_open(&b, *state, true);
    b.map_bytes = TINY_MAP;
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    for (uint64_t round = 1; round <= rounds; round++) {
        change_batch batch;
        batch_make(&batch, &rng, &model, model.count > 3000 ? 80 : 35);
        absorb(&b, &model, batch.changes, batch.count, round);
        if (random_one_in(&rng, 8)) absorb(&b, &model, batch.changes, batch.count, round);
        batch_release(&batch);
        for (unsigned i = 0; i < 6; i++)
            check_random_walk(&b, &model, &rng);
        if (!random_one_in(&rng, 20)) continue;
        bool read_only = random_one_in(&rng, 2);
        assert_int_equal(ordered_box_reopen(&b, read_only), CAIRN_OK);
        assert_int_equal(ordered_place(b.index), round);
        ordered_box_check(&b, &model);
        if (read_only) assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    }
    ordered_box_check(&b, &model);
    erase_all(&b, &model);
    ordered_box_check(&b, &model);
    ordered_box_close(&b);
    key_set_free(&model);
}

/* Every key of up to two bytes around every edge, with all lengths near it as bounds. */
static void bounds_are_exact_at_the_edges_of_chunks(void **state) {
    ordered_box b;
    key_set model = {0};
    static uint8_t key[2020];
    memset(key, 'x', sizeof key);
    ordered_box_open(&b, *state, true);
    for (size_t e = 0; e < 3; e++) {
        for (size_t size = edges[e] - 2; size <= edges[e] + 2; size++) {
            for (unsigned last = 0; last < 4; last++) {
                const uint8_t letters[] = {0, 1, 'x', 0xff};
                key[size - 1] = letters[last];
                ordered_change c = {.key = key, .size = size};
                if ((size + last) % 3 != 0) absorb(&b, &model, &c, 1, size);
                key[size - 1] = 'x';
            }
        }
    }
    for (size_t e = 0; e < 3; e++) {
        for (size_t size = edges[e] - 3; size <= edges[e] + 3; size++) {
            for (unsigned bits = 0; bits < 32; bits++) {
                const uint8_t letters[] = {0, 1, 'x', 0xff};
                bool exclusive = bits & 1, reverse = bits & 2, upper = bits & 4;
                key[size - 1] = letters[bits >> 3];
                key_range r = {.reverse = reverse};
                if (upper) {
                    r.upper = key, r.upper_size = size, r.upper_exclusive = exclusive;
                } else {
                    r.lower = key, r.lower_size = size, r.lower_exclusive = exclusive;
                }
                ordered_box_check_walk(&b, &model, &r, 7);
                ordered_box_check_walk(&b, &model, &(key_range){.prefix = key, .prefix_size = size, .reverse = reverse},
                                       2);
                key[size - 1] = 'x';
            }
        }
    }
    ordered_box_close(&b);
    key_set_free(&model);
}

static void bounds_beyond_every_key_and_empty_ones_mean_what_they_say(void **state) {
    ordered_box b;
    key_set model = {0};
    size_t size = ORDERED_KEY_MAX + 10;
    uint8_t *longest = malloc(size);
    assert_non_null(longest);
    memset(longest, 'x', size);
    ordered_box_open(&b, *state, true);
    absorb_text(&b, &model, "a", false);
    absorb_text(&b, &model, "z", false);
    ordered_change c = {.key = longest, .size = ORDERED_KEY_MAX};
    absorb(&b, &model, &c, 1, 3);
    for (unsigned bits = 0; bits < 4; bits++) {
        bool exclusive = bits & 1, reverse = bits & 2;
        const key_range ranges[] = {
            {.lower = longest, .lower_size = size, .lower_exclusive = exclusive, .reverse = reverse},
            {.upper = longest, .upper_size = size, .upper_exclusive = exclusive, .reverse = reverse},
            {.lower = "", .lower_exclusive = exclusive, .reverse = reverse},
            {.upper = "", .upper_exclusive = exclusive, .reverse = reverse},
            {.prefix = longest, .prefix_size = size, .reverse = reverse},
            {.prefix = longest, .prefix_size = ORDERED_KEY_MAX, .reverse = reverse},
            {.prefix = "", .reverse = reverse},
            {.lower = "z", .lower_size = 1, .upper = "a", .upper_size = 1, .reverse = reverse},
            {.prefix = "\xff", .prefix_size = 1, .reverse = reverse},
        };
        for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
            ordered_box_check_walk(&b, &model, &ranges[i], 1);
    }
    ordered_box_close(&b);
    key_set_free(&model);
    free(longest);
}

static void changes_between_two_batches_are_seen_or_not_but_never_disorder(void **state) {
    ordered_box b;
    key_set model = {0};
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count;
    ordered_box_open(&b, *state, true);
    absorb_text(&b, &model, "b", false);
    absorb_text(&b, &model, "d", false);
    absorb_text(&b, &model, "f", false);
    assert_int_equal(ordered_cursor_open(&cursor, b.index, &(key_range){0}, NULL), CAIRN_OK);
    assert_int_equal(ordered_next(cursor, 2, &keys, &count, NULL), CAIRN_OK);
    assert_int_equal(count, 2);
    absorb_text(&b, &model, "d", true); /* where the walk rests */
    absorb_text(&b, &model, "a", false);
    absorb_text(&b, &model, "e", false);
    assert_int_equal(ordered_next(cursor, 2, &keys, &count, NULL), CAIRN_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(keys[0].bytes, "e", 1);
    assert_memory_equal(keys[1].bytes, "f", 1);
    assert_int_equal(ordered_next(cursor, 2, &keys, &count, NULL), CAIRN_DONE);
    ordered_cursor_close(cursor);
    ordered_box_close(&b);
    key_set_free(&model);
}

static void the_last_change_of_a_key_in_a_batch_wins(void **state) {
    ordered_box b;
    key_set model = {0};
    const ordered_change changes[] = {
        {"k", 1, false}, {"k", 1, true}, {"l", 1, true}, {"l", 1, false}, {"l", 1, false}, {"m", 1, true},
    };
    ordered_box_open(&b, *state, true);
    absorb(&b, &model, changes, 6, 9);
    assert_int_equal(model.count, 1);
    ordered_box_check(&b, &model);
    absorb(&b, &model, NULL, 0, 12);
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    assert_int_equal(ordered_place(b.index), 12);
    ordered_box_close(&b);
    key_set_free(&model);
}

/* More than one commit may hold, into a map that is too small for the first key. */
static void a_large_batch_grows_the_map_by_itself(void **state) {
    ordered_box b;
    enum { COUNT = 40000 };
    ordered_change *changes = malloc(COUNT * sizeof *changes);
    uint8_t(*keys)[16] = malloc(COUNT * sizeof *keys);
    assert_true(changes != NULL && keys != NULL);
    for (uint64_t i = 0; i < COUNT; i++) {
        le64_put(keys[i], mix(i));
        le64_put(keys[i] + 8, i);
        changes[i] = (ordered_change){.key = keys[i], .size = sizeof keys[i]};
    }
    ordered_box_open(&b, *state, true);
    b.map_bytes = TINY_MAP;
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    assert_int_equal(ordered_absorb(b.index, changes, COUNT, 5, NULL), CAIRN_OK);
    assert_int_equal(ordered_keys(b.index), COUNT);
    assert_in_range(ordered_bytes(b.index), 16 * COUNT, 200 * COUNT);
    key_set model = {0};
    for (uint64_t i = 0; i < COUNT; i++)
        key_set_apply(&model, &changes[i]);
    ordered_box_check(&b, &model);
    ordered_box_close(&b);
    key_set_free(&model);
    free(changes);
    free(keys);
}

static void the_place_is_set_when_the_last_change_is_in(void **state) {
    ordered_box b;
    enum { COUNT = 80 };
    uint8_t *key = malloc(ORDERED_KEY_MAX);
    ordered_change changes[COUNT];
    assert_non_null(key);
    memset(key, 'k', ORDERED_KEY_MAX);
    for (size_t i = 0; i < COUNT; i++)
        changes[i] = (ordered_change){.key = key, .size = ORDERED_KEY_MAX - i};
    ordered_box_open(&b, *state, true);
    assert_int_equal(ordered_absorb(b.index, changes, COUNT, 7, NULL), CAIRN_OK);
    assert_int_equal(ordered_box_reopen(&b, true), CAIRN_OK);
    assert_int_equal(ordered_place(b.index), 7);
    assert_int_equal(ordered_keys(b.index), COUNT);
    ordered_box_close(&b);
    free(key);
}

static void an_index_built_from_keys_in_any_order_is_the_same(void **state) {
    ordered_box b;
    key_set model = {0};
    uint64_t rng = 3;
    static uint8_t key[ORDERED_KEY_MAX];
    ordered_box_open(&b, *state, true);
    ordered_close(b.index);
    b.index = NULL;
    b.map_bytes = TINY_MAP;
    ordered_build *build;
    ordered_options options = ordered_box_options(&b);
    assert_int_equal(ordered_build_begin(&build, b.dir, &options, NULL), CAIRN_OK);
    for (uint64_t i = 0; i < rung_choose(20000, 4000, 200000); i++) {
        ordered_change c = {.key = key, .size = random_key(&rng, key)};
        key_set_apply(&model, &c);
        assert_int_equal(ordered_build_add(build, key, c.size, NULL), CAIRN_OK);
    }
    assert_int_equal(ordered_box_reopen(&b, true), CAIRN_OK); /* nothing is visible before the end */
    ordered_box_check(&b, &(key_set){0});
    ordered_close(b.index);
    b.index = NULL;
    assert_int_equal(ordered_build_finish(build, 77, NULL), CAIRN_OK);
    assert_false(real_file_is_there(*state, ORDERED_NEW_NAME));
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    assert_int_equal(ordered_place(b.index), 77);
    ordered_box_check(&b, &model);
    erase_all(&b, &model);
    ordered_box_close(&b);
    key_set_free(&model);
}

static void a_build_given_up_leaves_the_old_index_and_no_file(void **state) {
    ordered_box b;
    key_set model = {0};
    ordered_box_open(&b, *state, true);
    absorb_text(&b, &model, "kept", false);
    ordered_close(b.index);
    b.index = NULL;
    ordered_build *build;
    ordered_options options = ordered_box_options(&b);
    real_file_save(*state, ORDERED_NEW_NAME, "left by a crash", 15);
    assert_int_equal(ordered_build_begin(&build, b.dir, &options, NULL), CAIRN_OK);
    assert_int_equal(ordered_build_add(build, "lost", 4, NULL), CAIRN_OK);
    ordered_build_abort(build);
    assert_false(real_file_is_there(*state, ORDERED_NEW_NAME));
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    ordered_box_check(&b, &model);
    ordered_box_close(&b);
    key_set_free(&model);
}

static void opening_says_why_there_is_no_index(void **state) {
    ordered_box b;
    ordered *o = NULL;
    ordered_box_open(&b, *state, true);
    ordered_options options = ordered_box_options(&b);
    ordered_close(b.index);
    b.index = NULL;
    options.store_id[15] ^= 1;
    assert_int_equal(ordered_open(&o, b.dir, &options, NULL), CAIRN_CORRUPT);
    assert_int_equal(ordered_drop(b.dir, NULL), CAIRN_OK);
    size_t names;
    free(real_folder_names(*state, &names));
    assert_int_equal(names, 0);
    assert_int_equal(ordered_open(&o, b.dir, &options, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(ordered_drop(b.dir, NULL), CAIRN_OK);
    ordered_box_close(&b);
}

/* A meta record of a major version to come, and otherwise right. */
static void a_newer_format_is_unsupported(void **state) {
    ordered_box b;
    size_t size;
    ordered_box_open(&b, *state, true);
    ordered_close(b.index);
    b.index = NULL;
    uint8_t *bytes = real_file_load(*state, ORDERED_NAME, &size);
    for (size_t at = 0; at + 10 < size; at++) {
        if (memcmp(bytes + at, "cairn-or", 8) == 0) bytes[at + 8] = 2;
    }
    real_file_save(*state, ORDERED_NAME, bytes, size);
    free(bytes);
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_UNSUPPORTED);
    ordered_box_close(&b);
}

static void opened_read_only_it_changes_nothing_on_disk(void **state) {
    ordered_box b;
    key_set model = {0};
    ordered_box_open(&b, *state, true);
    absorb_text(&b, &model, "k", false);
    ordered_close(b.index);
    b.index = NULL;
    real_file_remove(*state, ORDERED_LOCK_NAME);
    char *before = real_folder_describe(*state);
    assert_int_equal(ordered_box_reopen(&b, true), CAIRN_OK);
    ordered_box_check(&b, &model);
    ordered_change c = {.key = "l", .size = 1};
    assert_int_equal(ordered_absorb(b.index, &c, 1, 9, NULL), CAIRN_READ_ONLY);
    ordered_close(b.index);
    b.index = NULL;
    char *after = real_folder_describe(*state);
    assert_string_equal(before, after);
    free(before);
    free(after);
    ordered_box_close(&b);
    key_set_free(&model);
}

static void no_descriptor_of_it_goes_to_programs_that_are_started(void **state) {
    ordered_box b;
    unsigned found = 0;
    ordered_box_open(&b, *state, true);
    for (int fd = 0; fd < 200; fd++) {
        char link[64], target[REAL_PATH_SIZE] = {0};
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) < 0 || strstr(target, ORDERED_NAME) == NULL) continue;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        found++;
    }
    assert_in_range(found, 3, 4);
    ordered_box_close(&b);
}

static int no_path(os_dir *dir, char path[OS_PATH_SIZE]) {
    (void)dir, (void)path;
    return -EOPNOTSUPP;
}

static void where_a_directory_has_no_path_there_is_no_index(void **state) {
    os table = os_posix_with(&(os){.dir_path = no_path});
    os_dir *dir;
    ordered_build *build;
    ordered_options options = {0};
    assert_int_equal(table.dir_open(&table, *state, 0, &dir), 0);
    assert_int_equal(ordered_build_begin(&build, dir, &options, NULL), CAIRN_UNSUPPORTED);
    assert_false(real_file_is_there(*state, ORDERED_NEW_NAME));
    os_dir_close(dir);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, real_folder_setup, real_folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(it_holds_what_a_sorted_array_holds),
        IN_A_FOLDER(bounds_are_exact_at_the_edges_of_chunks),
        IN_A_FOLDER(bounds_beyond_every_key_and_empty_ones_mean_what_they_say),
        IN_A_FOLDER(changes_between_two_batches_are_seen_or_not_but_never_disorder),
        IN_A_FOLDER(the_last_change_of_a_key_in_a_batch_wins),
        IN_A_FOLDER(a_large_batch_grows_the_map_by_itself),
        IN_A_FOLDER(the_place_is_set_when_the_last_change_is_in),
        IN_A_FOLDER(an_index_built_from_keys_in_any_order_is_the_same),
        IN_A_FOLDER(a_build_given_up_leaves_the_old_index_and_no_file),
        IN_A_FOLDER(opening_says_why_there_is_no_index),
        IN_A_FOLDER(a_newer_format_is_unsupported),
        IN_A_FOLDER(opened_read_only_it_changes_nothing_on_disk),
        IN_A_FOLDER(no_descriptor_of_it_goes_to_programs_that_are_started),
        IN_A_FOLDER(where_a_directory_has_no_path_there_is_no_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

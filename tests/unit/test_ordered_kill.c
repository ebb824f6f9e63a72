/* A process killed amid absorbing leaves what one of its commits left, and the place says which. */
#include "index/ordered_tree.h"
#include "src/base/codec.h"
#include "tests/support/ordered_box.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BATCH_MAX 120u

/* The changes that lead to a place, the same ones each time. Every eighth batch takes two commits. */
typedef struct batch_of {
    ordered_change changes[BATCH_MAX];
    uint8_t *keys; /* of ORDERED_KEY_MAX bytes each */
    size_t count;
} batch_of;

static void batch_make(batch_of *b, uint64_t place) {
    uint64_t rng = place;
    bool large = place % 8 == 7;
    b->count = large ? 80 : 1 + random_below(&rng, BATCH_MAX);
    b->keys = malloc(b->count * (size_t)ORDERED_KEY_MAX);
    CHECK(b->keys != NULL);
    for (size_t i = 0; i < b->count; i++) {
        uint8_t *key = b->keys + i * (size_t)ORDERED_KEY_MAX;
        size_t size = large ? 60000 : random_one_in(&rng, 8) ? 505 + random_below(&rng, 12) : 10;
        memset(key, 'x', size);
        le16_put(key + size - 2, (uint16_t)random_below(&rng, large ? 30 : 400));
        b->changes[i] = (ordered_change){.key = key, .size = size, .erase = random_below(&rng, 5) < 2};
    }
}

static _Noreturn void absorb_until_killed(const char *folder, int pipe_end) {
    ordered_box b;
    ordered_box_open(&b, folder, false);
    for (;;) {
        batch_of batch;
        uint64_t place = ordered_place(b.index) + 1;
        batch_make(&batch, place);
        CHECK(ordered_absorb(b.index, batch.changes, batch.count, place, NULL) == CAIRN_OK);
        CHECK(write(pipe_end, &place, sizeof place) == sizeof place);
        free(batch.keys);
    }
}

/* The highest place that was acknowledged before the kill, or `before`. */
static uint64_t run_and_kill(const char *folder, uint64_t before, uint64_t delay_us) {
    int ends[2], status;
    uint64_t place = before;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        absorb_until_killed(folder, ends[1]);
    }
    close(ends[1]);
    nanosleep(&(struct timespec){.tv_nsec = (long)delay_us * 1000}, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &place, sizeof place) == sizeof place) {
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return place;
}

static void apply(key_set *model, uint64_t place) {
    batch_of batch;
    batch_make(&batch, place);
    for (size_t i = 0; i < batch.count; i++)
        key_set_apply(model, &batch.changes[i]);
    free(batch.keys);
}

static bool holds(const ordered_box *b, const key_set *model) {
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count, at = 0;
    bool same = ordered_keys(b->index) == model->count;
    int code;
    assert_int_equal(ordered_cursor_open(&cursor, b->index, &(key_range){0}, NULL), CAIRN_OK);
    while ((code = ordered_next(cursor, ORDERED_BATCH_KEYS, &keys, &count, NULL)) == CAIRN_OK) {
        for (size_t i = 0; i < count; i++, at++) {
            same = same && at < model->count &&
                   plain_key_compare(keys[i].bytes, keys[i].size, model->keys[at].bytes, model->keys[at].size) == 0;
        }
    }
    assert_int_equal(code, CAIRN_DONE);
    ordered_cursor_close(cursor);
    return same && at == model->count;
}

/* The model is that of the index's place; or the first commit of the next batch is in it besides. */
static void check(const ordered_box *b, const key_set *model) {
    if (holds(b, model)) return;
    batch_of batch;
    key_set ahead = {0};
    batch_make(&batch, ordered_place(b->index) + 1);
    size_t first = tree_commit_count(batch.changes, batch.count);
    assert_true(first < batch.count);
    for (size_t i = 0; i < model->count; i++)
        key_set_apply(&ahead, &(ordered_change){.key = model->keys[i].bytes, .size = model->keys[i].size});
    for (size_t i = 0; i < first; i++)
        key_set_apply(&ahead, &batch.changes[i]);
    assert_true(holds(b, &ahead));
    key_set_free(&ahead);
    free(batch.keys);
}

static void a_killed_process_leaves_what_a_commit_left(void **state) {
    ordered_box b;
    key_set model = {0};
    uint64_t rng = 1, place = 0, kills = rung_choose(40, 10, 5000);
    ordered_box_open(&b, *state, true);
    ordered_box_close(&b);
    for (uint64_t i = 0; i < kills; i++) {
        uint64_t told = run_and_kill(*state, place, 1000 + random_below(&rng, rung_choose(60000, 300000, 60000)));
        ordered_box_open(&b, *state, false);
        uint64_t reached = ordered_place(b.index);
        assert_in_range(reached, told, told + 1);
        while (place < reached)
            apply(&model, ++place);
        check(&b, &model);
        ordered_box_close(&b);
    }
    assert_true(place > kills / 2);
    key_set_free(&model);
}

static void a_build_that_is_killed_counts_for_nothing(void **state) {
    ordered_box b;
    int status;
    ordered_box_open(&b, *state, true);
    assert_int_equal(ordered_absorb(b.index, &(ordered_change){.key = "old", .size = 3}, 1, 4, NULL), CAIRN_OK);
    ordered_box_close(&b);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ordered_build *build;
        ordered_options options = ordered_box_options(&b);
        os_dir *dir;
        CHECK(os_posix()->dir_open(os_posix(), *state, 0, &dir) == 0);
        CHECK(ordered_build_begin(&build, dir, &options, NULL) == CAIRN_OK);
        for (;;) {
            batch_of batch;
            batch_make(&batch, 7);
            for (size_t i = 0; i < batch.count; i++)
                CHECK(ordered_build_add(build, batch.changes[i].key, batch.changes[i].size, NULL) == CAIRN_OK);
            free(batch.keys);
        }
    }
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(real_file_is_there(*state, ORDERED_NEW_NAME));
    ordered_box_open(&b, *state, false);
    assert_int_equal(ordered_place(b.index), 4);
    assert_int_equal(ordered_keys(b.index), 1);
    ordered_close(b.index);
    b.index = NULL;
    ordered_box_build(&b, &(key_set){0}, 9); /* over what the killed one left */
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    assert_int_equal(ordered_place(b.index), 9);
    ordered_box_close(&b);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, real_folder_setup, real_folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_killed_process_leaves_what_a_commit_left),
        IN_A_FOLDER(a_build_that_is_killed_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Batches beside other threads: nobody sees half of one, and nobody waits for all of one. Threads other than the test's
 * own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAIRS 4u
#define THREADS_MAX 4u

typedef struct contest {
    cairn *store;
    uint64_t commits; /* of each writer */
    atomic_bool stop; /* for the readers */
} contest;

typedef struct runner {
    contest *race;
    unsigned number;
    uint64_t rng;
    os_thread thread;
} runner;

static void start(runner *r, contest *race, unsigned number, void *(*run)(void *)) {
    *r = (runner){.race = race, .number = number, .rng = number};
    CHECK(os_thread_start(&r->thread, run, r) == 0);
}

/* ---- Pairs of keys that only change together ---- */

#define WORDS 70u /* of a value at most: its number again and again */

static size_t key_of(char key[16], unsigned pair, bool second) {
    return (size_t)snprintf(key, 16, "%s %u", second ? "second" : "first", pair);
}

static void add_numbered(cairn_batch *batch, unsigned pair, bool second, uint64_t number) {
    char key[16];
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = number;
    size_t size = 8 * (1 + (number + second) % WORDS), key_size = key_of(key, pair, second);
    CHECK(cairn_batch_put(batch, key, key_size, words, size) == CAIRN_OK);
}

/* Each writer has a pair of its own, whose numbers ascend; every tenth batch deletes both keys. */
static void *write_pairs(void *arg) {
    runner *r = arg;
    for (uint64_t n = 1; n <= r->race->commits; n++) {
        cairn_batch *batch;
        CHECK(cairn_batch_new(&batch) == CAIRN_OK);
        if (n % 10 == 0) {
            char key[16];
            CHECK(cairn_batch_delete(batch, key, key_of(key, r->number, true)) == CAIRN_OK);
            CHECK(cairn_batch_delete(batch, key, key_of(key, r->number, false)) == CAIRN_OK);
        } else {
            add_numbered(batch, r->number, n % 2 == 0, n);
            add_numbered(batch, r->number, n % 2 != 0, n);
        }
        CHECK(cairn_batch_commit(r->race->store, batch, NULL, NULL) == CAIRN_OK);
        cairn_batch_free(batch);
    }
    return NULL;
}

static uint64_t number_in(const void *value, size_t size) {
    uint64_t words[WORDS];
    CHECK(size >= 8 && size <= sizeof words && size % 8 == 0);
    memcpy(words, value, size);
    for (size_t i = 1; i < size / 8; i++)
        CHECK(words[i] == words[0]);
    return words[0];
}

/* 0: absent. */
static uint64_t read_number(runner *r, unsigned pair, bool second) {
    char key[16];
    size_t key_size = key_of(key, pair, second), size;
    uint64_t words[WORDS], number = 0;
    cairn_view *view;
    void *value;
    int rc;
    switch (random_below(&r->rng, 3)) {
    case 0:
        rc = cairn_get(r->race->store, key, key_size, &value, &size, NULL);
        if (rc == CAIRN_OK) number = number_in(value, size);
        cairn_free(value);
        break;
    case 1:
        rc = cairn_get_into(r->race->store, key, key_size, words, sizeof words, &size, NULL);
        if (rc == CAIRN_OK) number = number_in(words, size);
        break;
    default:
        rc = cairn_view_open(r->race->store, key, key_size, &view, NULL);
        if (rc == CAIRN_OK) number = number_in(cairn_view_data(view), cairn_view_size(view));
        cairn_view_close(view);
    }
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    return number;
}

/* What a read after another one sees is not older than what that one saw. An absent key may be any number that is a
 * multiple of ten, or the beginning. */
static void *read_pairs(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->race->stop)) {
        unsigned pair = (unsigned)random_below(&r->rng, PAIRS);
        bool second = random_one_in(&r->rng, 2);
        uint64_t newer = read_number(r, pair, second), after = read_number(r, pair, !second);
        if (newer != 0 && after != 0) CHECK(after >= newer);
    }
    return NULL;
}

static void *scan_pairs(void *arg) {
    runner *r = arg;
    for (unsigned n = 0; !atomic_load(&r->race->stop); n++) {
        cairn_scan_options o = {.struct_size = sizeof o};
        cairn_scan *scan;
        uint64_t numbers[2][PAIRS] = {{0}};
        int rc;
        if (n % 2 == 0) CHECK(cairn_snapshot_open(r->race->store, &o.snapshot, NULL) == CAIRN_OK);
        CHECK(cairn_scan_open(r->race->store, &o, &scan, NULL) == CAIRN_OK);
        while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
            size_t key_size, size;
            const void *value;
            const char *key = cairn_scan_key(scan, &key_size);
            CHECK(cairn_scan_value(scan, &value, &size, NULL) == CAIRN_OK);
            unsigned pair = (unsigned)(key[key_size - 1] - '0');
            CHECK(pair < PAIRS && numbers[key[0] == 's'][pair] == 0);
            numbers[key[0] == 's'][pair] = number_in(value, size);
        }
        CHECK(rc == CAIRN_DONE);
        cairn_scan_close(scan);
        cairn_snapshot_close(o.snapshot);
        CHECK(memcmp(numbers[0], numbers[1], sizeof numbers[0]) == 0);
    }
    return NULL;
}

static void no_thread_ever_sees_half_a_batch(void **state) {
    box *b = *state;
    static runner writers[PAIRS], readers[THREADS_MAX], scanner;
    contest race = {.store = b->store, .commits = rung_choose(1500, 150, 40000)};
    for (unsigned i = 0; i < THREADS_MAX; i++)
        start(&readers[i], &race, 100 + i, read_pairs);
    start(&scanner, &race, 200, scan_pairs);
    for (unsigned i = 0; i < PAIRS; i++)
        start(&writers[i], &race, i, write_pairs);
    for (unsigned i = 0; i < PAIRS; i++)
        os_thread_join(&writers[i].thread);
    atomic_store(&race.stop, true);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        os_thread_join(&readers[i].thread);
    os_thread_join(&scanner.thread);
}

/* ---- Batches over the same keys ---- */

#define SHARED_KEYS 6u

/* All keys in one batch, in any order, beside single puts and deletes of the same keys: the versions of what is written
 * later are higher, whichever thread it is, or the log and the index would not agree. */
static void *commit_shared(void *arg) {
    runner *r = arg;
    for (uint64_t n = 0; n < r->race->commits; n++) {
        cairn_batch *batch;
        char key[16], value[32];
        size_t value_size = (size_t)snprintf(value, sizeof value, "%u:%llu", r->number, (unsigned long long)n);
        CHECK(cairn_batch_new(&batch) == CAIRN_OK);
        for (unsigned i = 0; i < SHARED_KEYS; i++) {
            unsigned k = r->number % 2 == 0 ? i : SHARED_KEYS - 1 - i;
            CHECK(cairn_batch_put(batch, key, key_of(key, k, false), value, value_size) == CAIRN_OK);
        }
        CHECK(cairn_batch_commit(r->race->store, batch, NULL, NULL) == CAIRN_OK);
        cairn_batch_free(batch);
        size_t key_size = key_of(key, (unsigned)random_below(&r->rng, SHARED_KEYS), false);
        if (random_one_in(&r->rng, 4)) CHECK(cairn_put(r->race->store, key, key_size, "p", 1, NULL, NULL) == CAIRN_OK);
        if (random_one_in(&r->rng, 8)) {
            int rc = cairn_delete(r->race->store, key, key_size, NULL, NULL);
            CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        }
    }
    return NULL;
}

typedef struct shared_look {
    uint64_t versions[SHARED_KEYS];
    char values[SHARED_KEYS][32];
} shared_look;

static void look(cairn *store, shared_look *seen) {
    memset(seen, 0, sizeof *seen);
    for (unsigned i = 0; i < SHARED_KEYS; i++) {
        char key[16];
        size_t key_size = key_of(key, i, false), size;
        int rc = cairn_get_into(store, key, key_size, seen->values[i], sizeof seen->values[i], &size, NULL);
        if (rc == CAIRN_OK) seen->versions[i] = version_of(store, key);
        assert_true(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    }
}

static void batches_over_the_same_keys_leave_log_and_index_in_agreement(void **state) {
    box *b = *state;
    static runner writers[THREADS_MAX];
    for (unsigned round = 0; round < rung_choose(6, 2, 100); round++) {
        contest race = {.store = b->store, .commits = rung_choose(150, 40, 500)};
        shared_look before, after;
        for (unsigned i = 0; i < THREADS_MAX; i++)
            start(&writers[i], &race, i + 1, commit_shared);
        for (unsigned i = 0; i < THREADS_MAX; i++)
            os_thread_join(&writers[i].thread);
        look(b->store, &before);
        box_close(b);
        real_file_remove(b->path, "CHECKPOINT");
        real_file_remove(b->path, "CHECKPOINT.DATA");
        box_open(b);
        look(b->store, &after);
        assert_memory_equal(&before, &after, sizeof before);
    }
}

static void *write_checkpoints(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->race->stop)) {
        CHECK(cairn_checkpoint(r->race->store, NULL) == CAIRN_OK);
    }
    return NULL;
}

/* A checkpoint that begins between a part and its COMMIT must not lose the part. */
static void checkpoints_between_the_parts_of_a_batch_lose_none_of_it(void **state) {
    box *b = *state;
    static runner writers[PAIRS], keeper;
    box_quiet(b);
    for (unsigned round = 0; round < rung_choose(8, 2, 100); round++) {
        contest race = {.store = b->store, .commits = rung_choose(99, 29, 99)};
        start(&keeper, &race, 0, write_checkpoints);
        for (unsigned i = 0; i < PAIRS; i++)
            start(&writers[i], &race, i, write_pairs);
        for (unsigned i = 0; i < PAIRS; i++)
            os_thread_join(&writers[i].thread);
        atomic_store(&race.stop, true);
        os_thread_join(&keeper.thread);
        box_crash(b);
        runner r = {.race = &(contest){.store = b->store}, .rng = round};
        for (unsigned i = 0; i < PAIRS; i++) {
            assert_int_equal(read_number(&r, i, false), race.commits);
            assert_int_equal(read_number(&r, i, true), race.commits);
        }
    }
}

/* ---- Others' puts beside a large batch ---- */

#define PARTS 240u
#define FILE_PART 120u

/* The committing thread stops in the middle of a value file, which is in the middle of its batch. */
static atomic_bool with_file, stopped, go_on;
static _Thread_local bool committing;

static int stopping_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (committing && iov[0].iov_len >= BOX_PAYLOAD_MAX && !atomic_exchange(&stopped, true)) {
        while (!atomic_load(&go_on))
            usleep(200);
    }
    return os_posix()->file_write(file, iov, count, offset);
}

static void *commit_large(void *arg) {
    runner *r = arg;
    cairn_batch *batch;
    committing = true;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (unsigned i = 0; i < PARTS; i++) {
        char key[16];
        size_t size = i == FILE_PART && atomic_load(&with_file) ? 3 * BOX_PAYLOAD_MAX : 200000;
        CHECK(cairn_batch_put(batch, key, key_of(key, i, false), random_pool() + i, size) == CAIRN_OK);
    }
    CHECK(cairn_batch_commit(r->race->store, batch, NULL, NULL) == CAIRN_OK);
    cairn_batch_free(batch);
    return NULL;
}

/* Also one of a key of the batch, which the batch then overwrites: the part that it had written is written again. */
static void puts_return_while_a_batch_is_half_written(void **state) {
    static os table; /* outlives a test that fails */
    static runner committer;
    table = os_posix_with(&(os){.file_write = stopping_write});
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = BOX_SEGMENT_BYTES};
    contest race = {.store = store_open_on_or_fail(&table, *state, &o)};
    (void)random_pool(); /* not made by two threads at once */
    atomic_store(&with_file, true);
    atomic_store(&stopped, false);
    atomic_store(&go_on, false);
    start(&committer, &race, 1, commit_large);
    while (!atomic_load(&stopped))
        usleep(200);
    put_text(race.store, "beside", random_pool(), 4096);
    put_text(race.store, "first 7", "between", 7);
    expect_get(race.store, "beside", 6, random_pool(), 4096);
    expect_get(race.store, "first 7", 7, "between", 7);
    uint64_t between = version_of(race.store, "first 7");
    assert_int_equal(cairn_get_into(race.store, "first 8", 7, NULL, 0, &(size_t){0}, NULL), CAIRN_NOT_FOUND);
    atomic_store(&go_on, true);
    os_thread_join(&committer.thread);
    for (int way = 0; way < 3; way++) {
        expect_get(race.store, "first 7", 7, random_pool() + 7, 200000);
        expect_get(race.store, "first 120", 9, random_pool() + FILE_PART, 3 * BOX_PAYLOAD_MAX);
        expect_get(race.store, "beside", 6, random_pool(), 4096);
        assert_true(version_of(race.store, "first 7") > between);
        assert_int_equal(cairn_close(race.store), CAIRN_OK);
        if (way == 0) real_file_remove(*state, "CHECKPOINT");
        if (way < 2) race.store = store_open_on_or_fail(&table, *state, &o);
    }
}

static _Atomic uint64_t large_bytes; /* in long writes */

static int slow_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    size_t bytes = os_pieces_bytes(iov, count);
    if (bytes >= 200000) {
        usleep(1000);
        atomic_fetch_add(&large_bytes, bytes);
    }
    return os_posix()->file_write(file, iov, count, offset);
}

/* Counted, not timed: between two parts of a batch another thread's put gets its turn. */
static void puts_return_between_the_parts_of_a_batch(void **state) {
    static os table; /* outlives a test that fails */
    static runner committer;
    table = os_posix_with(&(os){.file_write = slow_write});
    /* With threads of its own: without them the put would have to look after segments, which waits for syncs. */
    cairn_options o = {.struct_size = sizeof o, .create = true, .durability = CAIRN_DURABILITY_NONE};
    contest race = {.store = store_open_on_or_fail(&table, *state, &o)};
    (void)random_pool(); /* not made by two threads at once */
    uint64_t puts = 0;
    atomic_store(&with_file, false);
    atomic_store(&large_bytes, 0);
    start(&committer, &race, 1, commit_large);
    while (atomic_load(&large_bytes) < 3 * 200000)
        usleep(200);
    for (; atomic_load(&large_bytes) < (PARTS - 10) * 200000; puts++)
        put_text(race.store, "beside", random_pool(), 4096);
    os_thread_join(&committer.thread);
    if (puts < 3) fail_msg("%llu puts", (unsigned long long)puts);
    assert_int_equal(cairn_close(race.store), CAIRN_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(no_thread_ever_sees_half_a_batch),
        TEST(batches_over_the_same_keys_leave_log_and_index_in_agreement),
        TEST(checkpoints_between_the_parts_of_a_batch_lose_none_of_it),
        FOLDER_TEST(puts_return_while_a_batch_is_half_written),
        FOLDER_TEST(puts_return_between_the_parts_of_a_batch),
    };
    return cmocka_run_group_tests_name("batch_threads", tests, NULL, NULL);
}

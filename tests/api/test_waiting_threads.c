/* Threads that wait for the log: for a sync, for the next segment, for one that goes away. The system under the store
 * is the real one, slowed down where the wait is. Threads other than the test's own use CHECK: a failed one ends the
 * program. */
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

#define KEYS 48u
#define THREADS 8u

typedef struct contest {
    cairn *store;
    uint64_t ops;     /* of each thread */
    atomic_bool stop; /* for those that run until the others are done */
} contest;

typedef struct runner {
    contest *race;
    uint64_t rng;
    os_thread thread;
} runner;

static runner runners[THREADS];

static void start(unsigned count, contest *race, void *(*run)(void *)) {
    for (unsigned i = 0; i < count; i++) {
        runners[i] = (runner){.race = race, .rng = i};
        CHECK(os_thread_start(&runners[i].thread, run, &runners[i]) == 0);
    }
}

static void finish(unsigned count) {
    for (unsigned i = 0; i < count; i++)
        os_thread_join(&runners[i].thread);
}

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "key %u", i); }

/* ---- Shared syncs ---- */

static _Atomic uint64_t syncs;

static int slow_sync(os_file *file) {
    atomic_fetch_add(&syncs, 1);
    usleep(2000);
    return os_posix()->file_sync(file);
}

static void *put_durably(void *arg) {
    runner *r = arg;
    for (uint64_t i = 0; i < r->race->ops; i++) {
        char key[16];
        size_t key_size = key_of(key, (unsigned)random_below(&r->rng, KEYS));
        CHECK(cairn_put(r->race->store, key, key_size, "durable", 7, NULL, NULL) == CAIRN_OK);
    }
    return NULL;
}

static void threads_that_wait_for_durability_share_syncs(void **state) {
    static os counted; /* outlives a test that fails */
    counted = os_posix_with(&(os){.file_sync = slow_sync});
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .durability = CAIRN_DURABILITY_SYNC};
    contest r = {.ops = 50};
    assert_int_equal(store_open_on(&r.store, &counted, *state, &o, UINT64_MAX, NULL), CAIRN_OK);
    atomic_store(&syncs, 0);
    start(THREADS, &r, put_durably);
    finish(THREADS);
    uint64_t puts = THREADS * r.ops, used = atomic_load(&syncs);
    print_message("%llu durable puts of %u threads took %llu syncs\n", (unsigned long long)puts, THREADS,
                  (unsigned long long)used);
    assert_true(used >= r.ops);
    assert_true(used * 2 <= puts);
    assert_int_equal(cairn_close(r.store), CAIRN_OK);
}

/* ---- Verification beside a segment that goes ---- */

static atomic_bool looking;

/* Whoever looks at the header block of an empty segment takes its time. */
static int slow_header_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    os_file_info info;
    int rc = os_posix()->file_read(file, buf, size, offset, got);
    if (offset != 0 || size != 4096 || os_posix()->file_info(file, &info) != 0 || info.size != size) return rc;
    atomic_store(&looking, true);
    usleep(20000);
    atomic_store(&looking, false);
    return rc;
}

static void *verify_on_and_on(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->race->stop)) {
        cairn_verify_result result = {.struct_size = sizeof result};
        CHECK(cairn_verify(r->race->store, NULL, &result, NULL) == CAIRN_OK);
        CHECK(result.damaged == 0);
    }
    return NULL;
}

/* The name of the segment that was made last. */
static void newest_segment(const char *folder, char name[REAL_NAME_SIZE]) {
    size_t count = 0;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(folder, &count);
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") != NULL) memcpy(name, names[i], REAL_NAME_SIZE);
    }
    free(names);
}

/* A session with small segments leaves a prepared one that is too small for what the next session puts: it is dropped,
 * while others look at all segments. */
static void a_prepared_segment_may_be_dropped_while_a_verification_runs(void **state) {
    const uint8_t *value = random_pool();
    static os slow; /* outlives a test that fails */
    slow = os_posix_with(&(os){.file_read = slow_header_read});
    cairn_options small = {
        .struct_size = sizeof small, .create = true, .no_background = true, .segment_bytes = BOX_SEGMENT_BYTES};
    cairn_options large = {.struct_size = sizeof large, .no_background = true, .segment_bytes = (uint64_t)64 << 20};
    for (unsigned i = 0; i < 5; i++) {
        cairn *store = store_open_or_fail(*state, &small);
        for (unsigned k = 0; k < 12; k++)
            put_text(store, "small", value,
                     200000); /* and the next segment is prepared before the active one is full */
        assert_int_equal(cairn_close(store), CAIRN_OK);
        contest r = {.stop = false};
        char prepared[REAL_NAME_SIZE] = "";
        newest_segment(*state, prepared);
        assert_int_equal(store_open_on(&r.store, &slow, *state, &large, UINT64_MAX, NULL), CAIRN_OK);
        start(2, &r, verify_on_and_on);
        for (int wait = 0; wait < 500 && !atomic_load(&looking); wait++)
            usleep(1000);
        put_text(r.store, "large", value, POOL_BYTES / 2); /* does not fit into the prepared one */
        assert_false(real_file_is_there(*state, prepared));
        atomic_store(&r.stop, true);
        finish(2);
        assert_int_equal(cairn_close(r.store), CAIRN_OK);
    }
}

/* ---- Puts beside the creation of the next segment ---- */

static atomic_bool creations_wait, creation_waits;

static int held_dir_sync(os_dir *dir) {
    while (atomic_load(&creations_wait)) {
        atomic_store(&creation_waits, true);
        usleep(1000);
    }
    return os_posix()->dir_sync(dir);
}

/* The first segment is meant for 4 MiB. */
static void puts_go_on_while_the_next_segment_is_being_created(void **state) {
    static os held; /* outlives a test that fails */
    held = os_posix_with(&(os){.dir_sync = held_dir_sync});
    const uint8_t *value = random_pool();
    cairn_options o = {.struct_size = sizeof o, .create = true};
    cairn *store = NULL;
    atomic_store(&creations_wait, false);
    atomic_store(&creation_waits, false);
    assert_int_equal(store_open_on(&store, &held, *state, &o, UINT64_MAX, NULL), CAIRN_OK);
    put_text(store, "zeroth", value, 64 << 10); /* the first large one is noted in the manifest */
    atomic_store(&creations_wait, true);
    put_text(store, "first", value, 2 << 20);
    while (!atomic_load(&creation_waits))
        usleep(1000);
    for (unsigned i = 0; i < 12; i++) { /* hangs where one waits */
        char key[16];
        (void)key_of(key, i);
        put_text(store, key, value + i, 1 << 20);
    }
    atomic_store(&creations_wait, false);
    put_text(store, "last", value, 1 << 20);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    store = store_open_or_fail(*state, &o);
    for (unsigned i = 0; i < 12; i++) {
        char key[16];
        size_t key_size = key_of(key, i);
        expect_get(store, key, key_size, value + i, 1 << 20);
    }
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

/* ---- Puts beside a stream ---- */

#define STREAM_BYTES ((size_t)6 << 20) /* more than becomes an ordinary record */

static atomic_bool stream_is_writing, stream_may_go_on;

/* Long writes are the stream's. */
static int held_long_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (os_pieces_bytes(iov, count) >= 64 << 10) {
        atomic_store(&stream_is_writing, true);
        while (!atomic_load(&stream_may_go_on))
            usleep(1000);
    }
    return os_posix()->file_write(file, iov, count, offset);
}

static void *write_a_stream(void *arg) {
    runner *r = arg;
    cairn_writer *writer = NULL;
    CHECK(cairn_writer_open(r->race->store, "stream", 6, NULL, &writer, NULL) == CAIRN_OK);
    CHECK(cairn_writer_write(writer, random_pool(), STREAM_BYTES, NULL) == CAIRN_OK);
    CHECK(cairn_writer_commit(writer, NULL) == CAIRN_OK);
    return NULL;
}

static void puts_and_gets_do_not_wait_for_a_stream_that_is_held_up(void **state) {
    static os held; /* outlives a test that fails */
    held = os_posix_with(&(os){.file_write = held_long_write});
    cairn_options o = {.struct_size = sizeof o, .create = true};
    contest r = {.stop = false};
    size_t size;
    atomic_store(&stream_is_writing, false);
    atomic_store(&stream_may_go_on, false);
    (void)random_pool();
    assert_int_equal(store_open_on(&r.store, &held, *state, &o, UINT64_MAX, NULL), CAIRN_OK);
    start(1, &r, write_a_stream);
    while (!atomic_load(&stream_is_writing))
        usleep(1000);
    for (unsigned i = 0; i < KEYS; i++) { /* hangs where one waits */
        char key[16];
        size_t key_size = key_of(key, i);
        assert_int_equal(cairn_put(r.store, key, key_size, random_pool(), 4096, NULL, NULL), CAIRN_OK);
        expect_get(r.store, key, key_size, random_pool(), 4096);
    }
    assert_int_equal(cairn_sync(r.store, NULL), CAIRN_OK);
    assert_int_equal(cairn_get_into(r.store, "stream", 6, NULL, 0, &size, NULL), CAIRN_NOT_FOUND);
    atomic_store(&stream_may_go_on, true);
    finish(1);
    expect_get(r.store, "stream", 6, random_pool(), STREAM_BYTES);
    assert_int_equal(cairn_close(r.store), CAIRN_OK);
}

/* ---- Writers that wait for the same segment ---- */

static int slow_dir_sync(os_dir *dir) {
    usleep(10000);
    return os_posix()->dir_sync(dir);
}

static void *put_a_fifth_of_a_segment(void *arg) {
    runner *r = arg;
    char key[16];
    for (uint64_t i = 0; i < r->race->ops; i++) {
        size_t key_size = key_of(key, (unsigned)random_below(&r->rng, KEYS));
        CHECK(cairn_put(r->race->store, key, key_size, random_pool(), 200000, NULL, NULL) == CAIRN_OK);
    }
    return NULL;
}

static void writers_that_wait_for_a_segment_fill_it_together(void **state) {
    static os slow; /* outlives a test that fails */
    slow = os_posix_with(&(os){.dir_sync = slow_dir_sync});
    cairn_options o = {.struct_size = sizeof o,
                       .create = true,
                       .segment_bytes = BOX_SEGMENT_BYTES,
                       .max_space_amp = 100}; /* no compaction: it would take segments away */
    contest r = {.ops = 15};
    (void)random_pool();
    assert_int_equal(store_open_on(&r.store, &slow, *state, &o, UINT64_MAX, NULL), CAIRN_OK);
    start(THREADS, &r, put_a_fifth_of_a_segment);
    finish(THREADS);
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(r.store, &stats, NULL), CAIRN_OK);
    assert_in_range(stats.segments, THREADS * 15 / 5, THREADS * 15 / 5 + 3);
    assert_int_equal(cairn_close(r.store), CAIRN_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(threads_that_wait_for_durability_share_syncs),
        TEST(a_prepared_segment_may_be_dropped_while_a_verification_runs),
        TEST(puts_go_on_while_the_next_segment_is_being_created),
        TEST(puts_and_gets_do_not_wait_for_a_stream_that_is_held_up),
        TEST(writers_that_wait_for_a_segment_fill_it_together),
    };
    return cmocka_run_group_tests_name("waiting_threads", tests, NULL, NULL);
}

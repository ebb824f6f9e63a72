/* Threads whose puts meet share a write. The real system under the store, with its writes held up, counted and failed.
 * Threads other than the test's own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 8u
#define GATE_BYTES ((size_t)5000) /* the write of a value of this size waits for the gate */

static _Atomic uint64_t writes; /* of values, not of what else a log needs */
static _Atomic size_t value_size;
static _Atomic int fail_writes; /* as many of the next writes fail for want of space */
static atomic_bool gate_reached, gate_open;

static bool writes_a_value(const struct iovec *iov, int count, size_t size) {
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len == size) return true;
    }
    return false;
}

static int held_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (writes_a_value(iov, count, GATE_BYTES)) {
        atomic_store(&gate_reached, true);
        while (!atomic_load(&gate_open))
            usleep(1000);
        return os_posix()->file_write(file, iov, count, offset);
    }
    if (writes_a_value(iov, count, atomic_load(&value_size))) atomic_fetch_add(&writes, 1);
    if (atomic_load(&fail_writes) > 0) {
        atomic_fetch_sub(&fail_writes, 1);
        return -ENOSPC;
    }
    return os_posix()->file_write(file, iov, count, offset);
}

typedef struct runner {
    cairn *store;
    unsigned number;
    size_t size;
    int rc;
    os_thread thread;
} runner;

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "key %u", i); }

static void *put_one(void *arg) {
    runner *r = arg;
    char key[16];
    r->rc = cairn_put(r->store, key, key_of(key, r->number), random_pool() + r->number, r->size, NULL, NULL);
    return NULL;
}

static os held; /* outlives a test that fails */

static cairn *open_held(const char *path) {
    held = os_posix_with(&(os){.file_write = held_write});
    cairn *store = NULL;
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    atomic_store(&gate_open, false);
    atomic_store(&gate_reached, false);
    atomic_store(&fail_writes, 0);
    assert_int_equal(store_open_on(&store, &held, path, &o, UINT64_MAX, NULL), CAIRN_OK);
    put_text(store, "first", "value", 5);
    return store;
}

/* One put is held up in its write until all the others wait; then `failures` writes fail. */
static void run_behind_a_held_put(cairn *store, runner runners[THREADS], size_t size, int failures) {
    atomic_store(&value_size, size);
    for (unsigned i = 0; i < THREADS; i++) {
        runners[i] = (runner){.store = store, .number = i, .size = i == 0 ? GATE_BYTES : size};
        CHECK(os_thread_start(&runners[i].thread, put_one, &runners[i]) == 0);
        while (!atomic_load(&gate_reached))
            usleep(1000);
    }
    usleep(100000); /* until they have asked for the lock; too short a time makes more writes, and no wrong value */
    atomic_store(&writes, 0);
    atomic_store(&fail_writes, failures);
    atomic_store(&gate_open, true);
    for (unsigned i = 0; i < THREADS; i++)
        os_thread_join(&runners[i].thread);
    atomic_store(&fail_writes, 0);
}

static void expect_values(cairn *store, const runner runners[THREADS]) {
    for (unsigned i = 0; i < THREADS; i++) {
        char key[16];
        size_t key_size = key_of(key, i), size;
        if (runners[i].rc == CAIRN_OK) {
            expect_get(store, key, key_size, random_pool() + i, runners[i].size);
        } else {
            assert_int_equal(runners[i].rc, CAIRN_FULL);
            assert_int_equal(cairn_get_into(store, key, key_size, NULL, 0, &size, NULL), CAIRN_NOT_FOUND);
        }
    }
}

static cairn *reopen(cairn *store, const char *path) {
    assert_int_equal(cairn_close(store), CAIRN_OK);
    return store_open_or_fail(path, &(cairn_options){.struct_size = sizeof(cairn_options)});
}

/* All values are there, also after the next opening. Closes the store. */
static void expect_all_stored(cairn *store, const char *path, const runner runners[THREADS]) {
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(runners[i].rc, CAIRN_OK);
    expect_values(store, runners);
    store = reopen(store, path);
    expect_values(store, runners);
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

static void puts_that_wait_for_another_share_one_write(void **state) {
    cairn *store = open_held(*state);
    runner runners[THREADS];
    run_behind_a_held_put(store, runners, 700, 0);
    print_message("%u puts behind a held one took %llu writes\n", THREADS - 1, (unsigned long long)writes);
    assert_true(atomic_load(&writes) < THREADS - 1);
    expect_all_stored(store, *state, runners);
}

static void large_values_are_not_combined_beyond_a_write_of_a_mebibyte(void **state) {
    cairn *store = open_held(*state);
    runner runners[THREADS];
    run_behind_a_held_put(store, runners, 600000, 0);
    assert_int_equal(atomic_load(&writes), THREADS - 1);
    expect_values(store, runners);
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

static void when_a_shared_write_fails_each_put_is_tried_alone(void **state) {
    cairn *store = open_held(*state);
    runner runners[THREADS];
    run_behind_a_held_put(store, runners, 700, 1);
    expect_all_stored(store, *state, runners);
}

static void puts_that_fail_in_a_shared_write_leave_nothing_behind(void **state) {
    cairn *store = open_held(*state);
    runner runners[THREADS];
    run_behind_a_held_put(store, runners, 700, 1000);
    for (unsigned i = 1; i < THREADS; i++)
        assert_int_equal(runners[i].rc, CAIRN_FULL);
    expect_values(store, runners);
    put_text(store, "last", "value", 5); /* the log goes on */
    store = reopen(store, *state);
    expect_values(store, runners);
    expect_get(store, "last", 4, "value", 5);
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

/* ---- Many threads, many rolls ---- */

static void *put_many(void *arg) {
    runner *r = arg;
    uint64_t rng = r->number;
    for (unsigned i = 0; i < 400; i++) {
        char key[32];
        size_t key_size = (size_t)snprintf(key, sizeof key, "%u of %u", i, r->number);
        size_t size = random_below(&rng, random_one_in(&rng, 8) ? 200000 : 5000);
        CHECK(cairn_put(r->store, key, key_size, random_pool() + i, size, NULL, NULL) == CAIRN_OK);
    }
    return NULL;
}

static void threads_lose_nothing_where_segments_end_between_their_puts(void **state) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .segment_bytes = BOX_SEGMENT_BYTES};
    cairn *store = store_open_or_fail(*state, &o);
    runner runners[THREADS];
    (void)random_pool();
    for (unsigned i = 0; i < THREADS; i++) {
        runners[i] = (runner){.store = store, .number = i};
        CHECK(os_thread_start(&runners[i].thread, put_many, &runners[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        os_thread_join(&runners[i].thread);
    store = reopen(store, *state);
    for (unsigned n = 0; n < THREADS; n++) {
        uint64_t rng = n;
        for (unsigned i = 0; i < 400; i++) {
            char key[32];
            size_t key_size = (size_t)snprintf(key, sizeof key, "%u of %u", i, n);
            size_t size = random_below(&rng, random_one_in(&rng, 8) ? 200000 : 5000);
            expect_get(store, key, key_size, random_pool() + i, size);
        }
    }
    cairn_verify_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_verify(store, NULL, &result, NULL), CAIRN_OK);
    assert_int_equal(result.damaged, 0);
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(puts_that_wait_for_another_share_one_write),
        TEST(large_values_are_not_combined_beyond_a_write_of_a_mebibyte),
        TEST(when_a_shared_write_fails_each_put_is_tried_alone),
        TEST(puts_that_fail_in_a_shared_write_leave_nothing_behind),
        TEST(threads_lose_nothing_where_segments_end_between_their_puts),
    };
    return cmocka_run_group_tests_name("combined_puts", tests, NULL, NULL);
}

/* Values that are read often are copied out of memory: the same bytes, the same errors, no system call. On the real
 * file system, with the calls that read files counted. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"
#include "tests/support/window_signal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 24u
#define ROUNDS 100u /* more than makes any value warm */

static const size_t sizes[] = {0, 1, 700, 4096, 5000, 16000, 65536, 70000, 200000, 1048576};
#define SIZES (sizeof sizes / sizeof sizes[0])

static _Atomic uint64_t reads, windows, loads;
static _Atomic int load_result;
static atomic_bool slow; /* copies take as long as a device */

static int counted_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    atomic_fetch_add(&reads, 1);
    return os_posix()->file_read(file, buf, size, offset, got);
}

static int counted_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    atomic_fetch_add(&reads, 1);
    return os_posix()->file_readv(file, iov, count, offset, got);
}

static int counted_open(os_file *file, uint64_t size, unsigned flags, os_window **out) {
    atomic_fetch_add(&windows, 1);
    return os_posix()->window_open(file, size, flags, out);
}

static int counted_load(os_window *window, os_file *file, uint64_t offset, size_t size) {
    atomic_fetch_add(&loads, 1);
    int rc = atomic_load(&load_result);
    return rc != 0 ? rc : os_posix()->window_load(window, file, offset, size);
}

/* A test's machine may be busy, which makes copies slow. */
static int patient_read(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    int rc = os_posix()->window_read(window, buf, size, offset, sum);
    return rc >= 0 ? atomic_load(&slow) : rc;
}

typedef struct shelf {
    cairn *store;
    const char *path;
} shelf;

static os counting; /* outlives a test that fails */

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "key %u", i); }

static size_t size_of(unsigned i, unsigned generation) { return sizes[(i + generation) % SIZES]; }

static const uint8_t *value_of(unsigned i, unsigned generation) { return random_pool() + 4096 * generation + 13 * i; }

static void put(cairn *store, unsigned i, unsigned generation) {
    char key[16];
    CHECK(cairn_put(store, key, key_of(key, i), value_of(i, generation), size_of(i, generation), NULL, NULL) ==
          CAIRN_OK);
}

static void open_shelf(shelf *s, const char *path, bool no_mapped_reads) {
    window_signal_restore();
    counting = os_posix_with(&(os){.file_read = counted_read,
                                   .file_readv = counted_readv,
                                   .window_open = counted_open,
                                   .window_load = counted_load,
                                   .window_read = patient_read});
    atomic_store(&load_result, 0);
    atomic_store(&slow, false);
    cairn_options o = {.struct_size = sizeof o,
                       .create = true,
                       .no_background = true,
                       .segment_bytes = (uint64_t)16 << 20,
                       .no_mapped_reads = no_mapped_reads};
    s->path = path;
    assert_int_equal(store_open_on(&s->store, &counting, path, &o, UINT64_MAX, NULL), CAIRN_OK);
    for (unsigned i = 0; i < KEYS; i++)
        put(s->store, i, 0);
}

/* One of the ways to read a value. */
static int read_by(cairn *store, unsigned way, unsigned i, uint8_t *buf, size_t cap, size_t *size) {
    char key[16];
    size_t key_size = key_of(key, i);
    void *value = NULL;
    int rc;
    switch (way % 3) {
    case 0:
        return cairn_get_into(store, key, key_size, buf, cap, size, NULL);
    case 1:
        rc = cairn_get(store, key, key_size, &value, size, NULL);
        if (rc == CAIRN_OK) memcpy(buf, value, *size);
        cairn_free(value);
        return rc;
    default:
        return cairn_read(store, key, key_size, 0, buf, cap, size, NULL);
    }
}

static void expect_generation(cairn *store, unsigned way, unsigned i, unsigned generation) {
    static uint8_t buf[1 << 20];
    size_t size = 0;
    assert_int_equal(read_by(store, way, i, buf, sizeof buf, &size), CAIRN_OK);
    assert_int_equal(size, size_of(i, generation));
    assert_memory_equal(buf, value_of(i, generation), size);
}

static void read_all(cairn *store, unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < KEYS; i++)
            expect_generation(store, round, i, 0);
    }
}

/* File reads that one round of every way of reading takes. */
static uint64_t reads_of_a_round(cairn *store) {
    uint64_t before = atomic_load(&reads);
    read_all(store, 3);
    return atomic_load(&reads) - before;
}

static void values_read_often_cost_no_read_of_a_file(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    assert_true(reads_of_a_round(s.store) > KEYS);
    read_all(s.store, ROUNDS);
    assert_int_equal(reads_of_a_round(s.store), 0);
    /* What is appended behind them is read from the file first, and then becomes warm as well. */
    for (unsigned i = 0; i < KEYS; i++)
        put(s.store, i + KEYS, 0);
    uint64_t before = atomic_load(&reads);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS - 1) before = atomic_load(&reads);
        for (unsigned i = KEYS; i < 2 * KEYS; i++)
            expect_generation(s.store, round, i, 0);
    }
    assert_int_equal(atomic_load(&reads), before);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

static void a_reader_and_a_part_of_a_value_are_warm_as_well(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    char key[16];
    unsigned large = 0;
    while (size_of(large, 0) != 200000)
        large++;
    size_t key_size = key_of(key, large), got = 0;
    uint8_t buf[100];
    uint64_t before = 0;
    read_all(s.store, ROUNDS);
    cairn_reader *reader = NULL;
    assert_int_equal(cairn_reader_open(s.store, key, key_size, &reader, NULL), CAIRN_OK);
    before = atomic_load(&reads);
    for (uint64_t at = 0; at < 199900; at += 9973) {
        assert_int_equal(cairn_reader_pread(reader, buf, sizeof buf, at, &got, NULL), CAIRN_OK);
        assert_memory_equal(buf, value_of(large, 0) + at, sizeof buf);
        assert_int_equal(cairn_read(s.store, key, key_size, at, buf, sizeof buf, &got, NULL), CAIRN_OK);
        assert_memory_equal(buf, value_of(large, 0) + at, sizeof buf);
    }
    assert_int_equal(atomic_load(&reads), before);
    cairn_reader_close(reader);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

static void overwritten_and_deleted_values_are_not_seen_again(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    read_all(s.store, ROUNDS);
    for (unsigned generation = 1; generation < 12; generation++) {
        for (unsigned i = 0; i < KEYS; i++)
            put(s.store, i, generation);
        for (unsigned i = 0; i < KEYS; i++)
            for (unsigned way = 0; way < 3; way++)
                expect_generation(s.store, way, i, generation);
    }
    assert_int_equal(cairn_delete(s.store, "key 3", 5, NULL, NULL), CAIRN_OK);
    size_t size;
    assert_int_equal(cairn_get_into(s.store, "key 3", 5, NULL, 0, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

static void without_mapped_reads_every_value_is_read_from_its_file(void **state) {
    shelf s;
    open_shelf(&s, *state, true);
    uint64_t before = atomic_load(&loads), opened = atomic_load(&windows);
    read_all(s.store, ROUNDS);
    assert_true(reads_of_a_round(s.store) > KEYS);
    assert_int_equal(atomic_load(&loads), before);
    assert_int_equal(atomic_load(&windows), opened); /* the first of which brings the handler */
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

static void what_is_not_in_memory_is_read_from_its_file(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    atomic_store(&load_result, -EAGAIN);
    read_all(s.store, ROUNDS);
    assert_true(reads_of_a_round(s.store) > KEYS);
    atomic_store(&load_result, 0);
    read_all(s.store, ROUNDS);
    assert_int_equal(reads_of_a_round(s.store), 0);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

static void what_proves_slow_is_read_from_its_file_again(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    read_all(s.store, ROUNDS);
    assert_int_equal(reads_of_a_round(s.store), 0);
    atomic_store(&slow, true);
    read_all(s.store, 3); /* right all the same */
    atomic_store(&slow, false);
    assert_true(reads_of_a_round(s.store) > KEYS);
    read_all(s.store, ROUNDS);
    assert_int_equal(reads_of_a_round(s.store), 0);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

/* ---- Damage under a store that has mapped the file ---- */

static void name_of_the_segment(const char *path, char name[REAL_NAME_SIZE]) {
    size_t count = 0;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(path, &count);
    name[0] = '\0';
    for (size_t i = 0; i < count && name[0] == '\0'; i++) {
        if (strstr(names[i], ".seg") != NULL) memcpy(name, names[i], REAL_NAME_SIZE);
    }
    free(names);
    assert_true(name[0] != '\0');
}

/* Everything is warm, in one segment, whose name is given. */
static void open_warm_shelf(shelf *s, const char *path, char name[REAL_NAME_SIZE]) {
    open_shelf(s, path, false);
    read_all(s->store, ROUNDS);
    name_of_the_segment(path, name);
}

static void a_file_cut_short_is_an_error_and_not_a_signal(void **state) {
    static uint8_t buf[1 << 20];
    char name[REAL_NAME_SIZE];
    shelf s;
    open_warm_shelf(&s, *state, name);
    real_file_cut(s.path, name, 4096);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            size_t size;
            int rc = read_by(s.store, round, i, buf, sizeof buf, &size);
            assert_int_equal(rc, CAIRN_CORRUPT);
        }
    }
    (void)cairn_close(s.store);
}

static void a_bit_that_flips_in_the_file_is_found(void **state) {
    static uint8_t buf[1 << 20];
    char name[REAL_NAME_SIZE];
    shelf s;
    open_warm_shelf(&s, *state, name);
    size_t file_size;
    free(real_file_load(s.path, name, &file_size));
    uint64_t rng = 7;
    unsigned found = 0;
    for (unsigned trial = 0; trial < 200; trial++) {
        size_t at = 4096 + random_below(&rng, file_size - 4096);
        unsigned bit = (unsigned)random_below(&rng, 8);
        real_file_flip(s.path, name, at, bit);
        for (unsigned i = 0; i < KEYS; i++) {
            size_t size;
            int rc = read_by(s.store, trial, i, buf, sizeof buf, &size);
            if (rc == CAIRN_CORRUPT) {
                found++;
            } else {
                assert_int_equal(rc, CAIRN_OK);
                assert_int_equal(size, size_of(i, 0));
                assert_memory_equal(buf, value_of(i, 0), size);
            }
        }
        real_file_flip(s.path, name, at, bit);
    }
    assert_true(found > 100);
    (void)cairn_close(s.store);
}

/* ---- Threads ---- */

typedef struct race {
    cairn *store;
    atomic_bool stop;
} race;

typedef struct runner {
    race *race;
    unsigned number;
    os_thread thread;
} runner;

/* A value tells its key and generation in its first bytes. */
static void *put_on_and_on(void *arg) {
    runner *r = arg;
    for (unsigned generation = 0; !atomic_load(&r->race->stop); generation = (generation + 1) % 64) {
        for (unsigned i = r->number; i < KEYS; i += 2)
            put(r->race->store, i, generation);
    }
    return NULL;
}

static void *get_on_and_on(void *arg) {
    runner *r = arg;
    uint8_t *buf = malloc(1 << 20);
    CHECK(buf != NULL);
    uint64_t rng = r->number;
    for (unsigned n = 0; n < rung_choose(4000, 800, 100000); n++) {
        unsigned i = (unsigned)random_below(&rng, KEYS), generation = 0;
        size_t size = 0;
        CHECK(read_by(r->race->store, n, i, buf, 1 << 20, &size) == CAIRN_OK);
        while (generation < 64 && (size_of(i, generation) != size || memcmp(buf, value_of(i, generation), size) != 0))
            generation++;
        CHECK(generation < 64);
    }
    free(buf);
    return NULL;
}

static void threads_read_whole_values_while_parts_become_warm(void **state) {
    shelf s;
    open_shelf(&s, *state, false);
    race r = {.store = s.store};
    runner runners[4];
    for (unsigned i = 0; i < 4; i++) {
        runners[i] = (runner){.race = &r, .number = i % 2};
        CHECK(os_thread_start(&runners[i].thread, i < 2 ? put_on_and_on : get_on_and_on, &runners[i]) == 0);
    }
    os_thread_join(&runners[2].thread);
    os_thread_join(&runners[3].thread);
    atomic_store(&r.stop, true);
    os_thread_join(&runners[0].thread);
    os_thread_join(&runners[1].thread);
    assert_int_equal(cairn_close(s.store), CAIRN_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_read_often_cost_no_read_of_a_file),
        TEST(a_reader_and_a_part_of_a_value_are_warm_as_well),
        TEST(overwritten_and_deleted_values_are_not_seen_again),
        TEST(without_mapped_reads_every_value_is_read_from_its_file),
        TEST(what_is_not_in_memory_is_read_from_its_file),
        TEST(what_proves_slow_is_read_from_its_file_again),
        TEST(a_file_cut_short_is_an_error_and_not_a_signal),
        TEST(a_bit_that_flips_in_the_file_is_found),
        TEST(threads_read_whole_values_while_parts_become_warm),
    };
    return cmocka_run_group_tests_name("warm_reads", tests, NULL, NULL);
}

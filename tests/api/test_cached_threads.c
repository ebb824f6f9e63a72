/* The cache of values under threads that overwrite while others read: a value read is one that was put for that key,
 * and none older than what had been put when the read began. Threads other than the test's own use CHECK: a failed one
 * ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 24u
#define WRITERS 3u
#define READERS 4u
#define VALUE_MAX ((size_t)40000)

typedef struct contest {
    cairn *store;
    uint64_t writes;                /* of each writer */
    uint64_t budget;                /* of the cache */
    _Atomic uint64_t settled[KEYS]; /* number of the newest value whose put returned */
    atomic_bool stop;
} contest;

typedef struct runner {
    contest *race;
    unsigned number;
    uint64_t rng;
    uint8_t buf[VALUE_MAX];
    os_thread thread;
} runner;

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "key %u", i); }

/* Key, number, and bytes that follow from both. */
static size_t fill(uint8_t *value, uint64_t key, uint64_t number) {
    uint64_t rng = number * KEYS + key;
    size_t size = 16 + (random_one_in(&rng, 10) ? random_below(&rng, VALUE_MAX - 16) : random_below(&rng, 2000));
    memcpy(value, &key, 8);
    memcpy(value + 8, &number, 8);
    memcpy(value + 16, random_window(&rng, size - 16), size - 16);
    return size;
}

static void check_value(const void *value, size_t size, unsigned key, uint64_t at_least) {
    static _Thread_local uint8_t expected[VALUE_MAX];
    uint64_t head[2];
    CHECK(size >= 16);
    memcpy(head, value, 16);
    CHECK(head[0] == key && head[1] >= at_least);
    CHECK(fill(expected, key, head[1]) == size && memcmp(expected, value, size) == 0);
}

/* Keys are shared out among the writers, so that a key's numbers ascend; every seventh change is a delete and a put, in
 * which the key may be absent. */
static void *overwrite(void *arg) {
    runner *r = arg;
    cairn *s = r->race->store;
    for (uint64_t n = 1; n <= r->race->writes; n++) {
        char key[16];
        unsigned k = (unsigned)random_below(&r->rng, KEYS / WRITERS) * WRITERS + r->number;
        size_t key_size = key_of(key, k), size = fill(r->buf, k, n);
        cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = random_one_in(&r->rng, 5) ? 3600000 : 0};
        if (n % 7 == 0) {
            int rc = cairn_delete(s, key, key_size, NULL, NULL);
            CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        }
        CHECK(cairn_put(s, key, key_size, r->buf, size, &o, NULL) == CAIRN_OK);
        atomic_store(&r->race->settled[k], n);
    }
    return NULL;
}

static void read_once(runner *r, unsigned k, uint64_t at_least) {
    cairn *s = r->race->store;
    char key[16];
    size_t key_size = key_of(key, k), size;
    cairn_view *view;
    void *value;
    int rc;
    switch (random_below(&r->rng, 3)) {
    case 0:
        rc = cairn_get(s, key, key_size, &value, &size, NULL);
        if (rc == CAIRN_OK) check_value(value, size, k, at_least);
        cairn_free(value);
        break;
    case 1:
        rc = cairn_get_into(s, key, key_size, r->buf, sizeof r->buf, &size, NULL);
        if (rc == CAIRN_OK) check_value(r->buf, size, k, at_least);
        break;
    default:
        rc = cairn_view_open(s, key, key_size, &view, NULL);
        if (rc != CAIRN_OK) break;
        check_value(cairn_view_data(view), cairn_view_size(view), k, at_least);
        os_yield(); /* it stays, whatever is put meanwhile */
        check_value(cairn_view_data(view), cairn_view_size(view), k, at_least);
        cairn_view_close(view);
    }
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
}

static void *read_on(void *arg) {
    runner *r = arg;
    for (uint64_t n = 0; !atomic_load(&r->race->stop); n++) {
        unsigned k = (unsigned)random_below(&r->rng, KEYS);
        read_once(r, k, atomic_load(&r->race->settled[k]));
        if (n % 200 != 0) continue;
        cairn_stats stats = {.struct_size = sizeof stats};
        CHECK(cairn_stats_get(r->race->store, &stats, NULL) == CAIRN_OK);
        CHECK(stats.cache_bytes <= r->race->budget);
    }
    return NULL;
}

static void run(box *b, uint64_t budget, int compression) {
    static contest race;
    static runner writers[WRITERS], readers[READERS];
    (void)random_pool(); /* not made by two threads at once */
    b->options.cache_bytes = budget;
    b->options.compression = compression;
    box_reopen(b);
    race = (contest){.store = b->store, .budget = budget, .writes = rung_choose(3000, 400, 100000)};
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (runner){.race = &race, .rng = 50 + i};
        CHECK(os_thread_start(&readers[i].thread, read_on, &readers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (runner){.race = &race, .number = i, .rng = i};
        CHECK(os_thread_start(&writers[i].thread, overwrite, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        os_thread_join(&writers[i].thread);
    atomic_store(&race.stop, true);
    for (unsigned i = 0; i < READERS; i++)
        os_thread_join(&readers[i].thread);
    runner *last = &readers[0];
    for (unsigned k = 0; k < KEYS; k++) {
        for (int times = 0; times < 4; times++)
            read_once(last, k, atomic_load(&race.settled[k]));
    }
    /* What was left behind in a race would stay for ever where all is resident. */
    for (unsigned k = 0; k < KEYS; k++) {
        char key[16];
        size_t key_size = key_of(key, k);
        int rc = cairn_delete(b->store, key, key_size, NULL, NULL);
        assert_true(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    }
    value_cache_stats left;
    value_cache_stats_get(b->store->cache, &left);
    if (budget == UINT64_MAX) assert_int_equal(left.entries, 0);
}

static void readers_of_resident_values_see_nothing_stale(void **state) { run(*state, UINT64_MAX, 0); }
static void readers_through_a_cache_see_nothing_stale(void **state) { run(*state, 400000, 0); }
static void readers_of_compressed_values_see_nothing_stale(void **state) {
    run(*state, 100000, CAIRN_COMPRESSION_ZSTD);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(readers_of_resident_values_see_nothing_stale),
        TEST(readers_through_a_cache_see_nothing_stale),
        TEST(readers_of_compressed_values_see_nothing_stale),
    };
    return cmocka_run_group_tests_name("cached_threads", tests, NULL, NULL);
}

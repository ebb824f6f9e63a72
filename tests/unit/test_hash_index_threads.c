/* Readers without locks: what is in the index during a whole look-up is found, whatever writers do beside it. */
#include "include/cairn.h"
#include "index/hash_index.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* All entries lie in two shards, so that displacement and growth happen under the readers' eyes all the time. A key is
 * a number, its location is key + version * VERSION_STEP, and match compares the key. */
#define STAYING 4000u
#define VERSION_STEP ((uint64_t)1 << 24)

typedef struct race {
    epoch *readers;
    hash_index *index;
    uint64_t hash_mask;
    _Atomic int stop, misses, ghosts;
    _Atomic uint64_t lookups;
} race;

typedef struct worker {
    race *race;
    uint64_t seed, first_key;
} worker;

static uint64_t hash_of(const race *r, uint64_t key) { return mix(key) & r->hash_mask; }

static int match_key(void *ctx, location candidate) { return candidate % VERSION_STEP == *(uint64_t *)ctx; }

static int find(race *r, uint64_t key) {
    location found = LOCATION_NONE;
    epoch_guard guard = epoch_enter(r->readers);
    int answer = hash_index_find(r->index, hash_of(r, key), match_key, &key, &found);
    epoch_exit(r->readers, guard);
    return answer;
}

static void put(race *r, uint64_t key, location where) {
    uint64_t hash = hash_of(r, key);
    hash_index_lock(r->index, hash);
    if (hash_index_reserve(r->index, hash) == CAIRN_OK) hash_index_insert(r->index, hash, where);
    hash_index_unlock(r->index, hash);
}

static void *reader(void *arg) {
    worker *w = arg;
    race *r = w->race;
    uint64_t n = 0;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        uint64_t key = 1 + mix(w->seed + n++) % STAYING;
        if (find(r, key) != 1) atomic_fetch_add(&r->misses, 1);
        if (find(r, (1 << 23) + key) != 0) atomic_fetch_add(&r->ghosts, 1);
    }
    atomic_fetch_add(&r->lookups, n);
    return NULL;
}

/* Inserts and removes keys of its own, so that the shards grow and are displaced in, over and over. */
static void *churn(void *arg) {
    worker *w = arg;
    race *r = w->race;
    const uint64_t span = 3000;
    for (uint64_t round = 0; round < 6; round++) {
        for (uint64_t k = 0; k < span * (round + 1) / 2; k++)
            put(r, w->first_key + k, w->first_key + k);
        for (uint64_t k = 0; k < span * (round + 1) / 2; k++) {
            uint64_t key = w->first_key + k, hash = hash_of(r, key);
            hash_index_lock(r->index, hash);
            hash_index_remove(r->index, hash, key);
            hash_index_unlock(r->index, hash);
        }
    }
    return NULL;
}

/* Replaces the locations of the keys that the readers look for. */
static void *overwrite(void *arg) {
    worker *w = arg;
    race *r = w->race;
    for (uint64_t version = 0; version < 10; version++) {
        for (uint64_t key = 1; key <= STAYING; key++) {
            uint64_t hash = hash_of(r, key);
            hash_index_lock(r->index, hash);
            hash_index_replace(r->index, hash, key + version * VERSION_STEP, key + (version + 1) * VERSION_STEP);
            hash_index_unlock(r->index, hash);
        }
    }
    return NULL;
}

/* What churn leaves empty goes at once, while readers are in it. */
static void *shrink(void *arg) {
    race *r = ((worker *)arg)->race;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        hash_index_shrink(r->index, 1);
        os_nap_us(200);
    }
    return NULL;
}

#define READERS 2u
#define CHURNERS 2u
#define WORKERS (READERS + 1 + CHURNERS + 1) /* readers, shrink; then those that come to an end */

static void *(*task_of(unsigned number))(void *) {
    if (number < READERS) return reader;
    if (number == READERS) return shrink;
    return number <= READERS + CHURNERS ? churn : overwrite;
}

static void run_race(uint64_t hash_mask) {
    race r = {.hash_mask = hash_mask};
    assert_int_equal(epoch_new(&r.readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&r.index, r.readers), CAIRN_OK);
    for (uint64_t key = 1; key <= STAYING; key++)
        put(&r, key, key);

    worker workers[WORKERS];
    os_thread threads[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.race = &r, .seed = i * 1000003ull, .first_key = (i + 1) * 100000ull};
        assert_int_equal(os_thread_start(&threads[i], task_of(i), &workers[i]), 0);
    }
    for (unsigned i = READERS + 1; i < WORKERS; i++)
        os_thread_join(&threads[i]);
    atomic_store(&r.stop, 1);
    for (unsigned i = 0; i <= READERS; i++)
        os_thread_join(&threads[i]);

    assert_int_equal(atomic_load(&r.misses), 0);
    assert_int_equal(atomic_load(&r.ghosts), 0);
    assert_true(atomic_load(&r.lookups) > 0);
    assert_int_equal(hash_index_entries(r.index), STAYING);
    for (uint64_t key = 1; key <= STAYING; key++)
        assert_int_equal(find(&r, key), 1);
    hash_index_free(r.index);
    epoch_free(r.readers);
}

static void readers_never_miss_a_present_key(void **state) {
    (void)state;
    run_race(((uint64_t)1 << 55) - 1); /* two shards */
}

static void readers_never_miss_a_present_key_among_colliding_hashes(void **state) {
    (void)state;
    run_race(0x3ff);
}

/* One small shard kept just below the load at which it would grow: nearly every insertion displaces an entry that a
 * reader may be looking for. (Without the version, readers miss keys here within a second.) */
#define CROWD_STAYING 64u
#define CROWD_FLEETING 60u

static void *look_in_crowd(void *arg) {
    race *r = arg;
    uint64_t n = 0;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        for (uint64_t key = 1; key <= CROWD_STAYING; key++, n++) {
            if (find(r, key) != 1) atomic_fetch_add(&r->misses, 1);
        }
    }
    atomic_fetch_add(&r->lookups, n);
    return NULL;
}

static void *push_in_crowd(void *arg) {
    race *r = arg;
    for (uint64_t key = 1000, oldest = 1000; key < 300000; key++) {
        for (; key - oldest >= CROWD_FLEETING; oldest++) {
            uint64_t hash = hash_of(r, oldest);
            hash_index_lock(r->index, hash);
            hash_index_remove(r->index, hash, oldest);
            hash_index_unlock(r->index, hash);
        }
        put(r, key, key);
    }
    return NULL;
}

static void readers_never_miss_a_key_that_is_displaced_all_the_time(void **state) {
    (void)state;
    race r = {.hash_mask = UINT64_MAX >> 10};
    os_thread threads[3];
    assert_int_equal(epoch_new(&r.readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&r.index, r.readers), CAIRN_OK);
    for (uint64_t key = 1; key <= CROWD_STAYING; key++)
        put(&r, key, key);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(os_thread_start(&threads[i], i < 2 ? look_in_crowd : push_in_crowd, &r), 0);
    }
    os_thread_join(&threads[2]);
    atomic_store(&r.stop, 1);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&threads[i]);
    assert_int_equal(atomic_load(&r.misses), 0);
    assert_true(atomic_load(&r.lookups) > 0);
    hash_index_free(r.index);
    epoch_free(r.readers);
}

typedef struct counted {
    hash_index *index;
    _Atomic int stop, torn;
} counted;

/* Each round leaves an even number of entries in the index, in two shards. */
static void *insert_pairs(void *arg) {
    counted *c = arg;
    for (uint64_t round = 1; !atomic_load(&c->stop); round++) {
        uint64_t hash = mix(round) >> 10;
        hash_index_lock(c->index, hash);
        if (hash_index_reserve(c->index, hash) == CAIRN_OK) hash_index_insert(c->index, hash, 2 * round);
        if (hash_index_reserve(c->index, hash) == CAIRN_OK) hash_index_insert(c->index, hash, 2 * round + 1);
        if (round % 3 != 0) {
            hash_index_remove(c->index, hash, 2 * round);
            hash_index_remove(c->index, hash, 2 * round + 1);
        }
        hash_index_unlock(c->index, hash);
    }
    return NULL;
}

static int count_entry(void *ctx, uint64_t hash, location where) {
    (void)hash;
    (void)where;
    ++*(uint64_t *)ctx;
    return 0;
}

static void *walk_all(void *arg) {
    counted *c = arg;
    for (unsigned i = 0; i < 60; i++) {
        uint64_t before = 0, after = 0;
        hash_index_lock_all(c->index);
        (void)hash_index_visit_all(c->index, count_entry, &before);
        (void)hash_index_visit_all(c->index, count_entry, &after);
        hash_index_unlock_all(c->index);
        if (before != after || before % 2 != 0) atomic_fetch_add(&c->torn, 1);
        hash_index_quiesce(c->index);
    }
    return NULL;
}

static void nobody_writes_while_all_stripes_are_held(void **state) {
    (void)state;
    counted c = {0};
    epoch *readers = NULL;
    os_thread writers[2], walkers[2];
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&c.index, readers), CAIRN_OK);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&writers[i], insert_pairs, &c), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&walkers[i], walk_all, &c), 0);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&walkers[i]);
    atomic_store(&c.stop, 1);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&writers[i]);
    assert_int_equal(atomic_load(&c.torn), 0);
    hash_index_free(c.index);
    epoch_free(readers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_never_miss_a_present_key),
        cmocka_unit_test(readers_never_miss_a_present_key_among_colliding_hashes),
        cmocka_unit_test(readers_never_miss_a_key_that_is_displaced_all_the_time),
        cmocka_unit_test(nobody_writes_while_all_stripes_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

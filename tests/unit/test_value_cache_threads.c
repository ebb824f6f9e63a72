/* The value cache under threads: whoever finds an entry reads the right bytes, whatever inserts, removes, evicts and
 * grows beside it. */
#include "include/cairn.h"
#include "src/base/epoch.h"
#include "src/os/os_thread.h"
#include "src/store/value_cache.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define IDS 30000u
#define STEPS 30000u
#define PINS 8u

typedef struct race {
    epoch *readers;
    value_cache *cache;
    uint64_t budget;
    _Atomic int stop, wrong, too_many_bytes;
    _Atomic uint64_t hits;
} race;

typedef struct worker {
    race *race;
    uint64_t seed;
    uint64_t first, end; /* ids that it inserts and removes */
} worker;

static location location_of(uint64_t id) { return location_make(64 + id * 4, 4, LOCATION_VALUE); }
static uint64_t words_of(uint64_t id) { return mix(id) % 40; } /* of the value: 0 to 312 bytes */

static void insert(race *r, uint64_t id) {
    cached_value *v = value_cache_prepare(r->cache, sizeof id, words_of(id) * sizeof(uint64_t));
    if (v == NULL) return;
    v->where = location_of(id);
    v->version = mix(id);
    memcpy(v->bytes, &id, sizeof id);
    for (uint64_t i = 0; i < words_of(id); i++) {
        uint64_t word = mix(id + i);
        memcpy(v->bytes + cached_data_offset(v) + i * sizeof word, &word, sizeof word);
    }
    value_cache_insert(r->cache, v);
}

static void check(race *r, const cached_value *v, uint64_t id) {
    bool right = v->where == location_of(id) && v->version == mix(id) && v->key_size == sizeof id &&
                 memcmp(cached_key(v), &id, sizeof id) == 0 && v->value_size == words_of(id) * sizeof(uint64_t);
    for (uint64_t i = 0; right && i < words_of(id); i++) {
        uint64_t word = mix(id + i);
        right = memcmp(cached_data(v) + i * sizeof word, &word, sizeof word) == 0;
    }
    if (!right) atomic_store(&r->wrong, 1);
}

static void *reader(void *arg) {
    worker *w = arg;
    race *r = w->race;
    uint64_t hits = 0;
    for (uint64_t n = 0; !atomic_load_explicit(&r->stop, memory_order_relaxed); n++) {
        epoch_guard guard = epoch_enter(r->readers);
        for (unsigned i = 0; i < 8; i++) {
            uint64_t id = mix(w->seed + n * 8 + i) % IDS;
            const cached_value *v = value_cache_find(r->cache, location_of(id), guard.slot);
            if (v == NULL) continue;
            check(r, v, id);
            hits++;
        }
        epoch_exit(r->readers, guard);
    }
    atomic_fetch_add(&r->hits, hits);
    return NULL;
}

/* Holds some entries across epochs, and looks at them when it gives them back. */
static void *pinner(void *arg) {
    worker *w = arg;
    race *r = w->race;
    const cached_value *pinned[PINS] = {NULL};
    uint64_t ids[PINS] = {0};
    for (uint64_t n = 0; !atomic_load_explicit(&r->stop, memory_order_relaxed); n++) {
        unsigned slot = (unsigned)(n % PINS);
        if (pinned[slot] != NULL) {
            check(r, pinned[slot], ids[slot]);
            value_cache_unpin(pinned[slot]);
        }
        epoch_guard guard = epoch_enter(r->readers);
        ids[slot] = mix(w->seed + n) % IDS;
        pinned[slot] = value_cache_find(r->cache, location_of(ids[slot]), guard.slot);
        if (pinned[slot] != NULL) value_cache_pin(pinned[slot]);
        epoch_exit(r->readers, guard);
    }
    for (unsigned slot = 0; slot < PINS; slot++) {
        if (pinned[slot] != NULL) value_cache_unpin(pinned[slot]);
    }
    return NULL;
}

/* Inserts ids in order, so that the tables grow all the while, and removes one for each two. */
static void *writer(void *arg) {
    worker *w = arg;
    race *r = w->race;
    value_cache_stats stats;
    for (uint64_t n = 0; n < STEPS; n++) {
        uint64_t span = 1 + n * (w->end - w->first) / STEPS;
        insert(r, w->first + mix(w->seed + n) % span);
        if (n % 2 == 0) value_cache_remove(r->cache, location_of(w->first + mix(w->seed + n / 2) % span));
        if (n % 64 == 0) {
            value_cache_stats_get(r->cache, &stats);
            if (stats.bytes > r->budget) atomic_store(&r->too_many_bytes, 1);
        }
    }
    return NULL;
}

static void race_open(race *r, uint64_t budget) {
    *r = (race){.budget = budget};
    assert_int_equal(epoch_new(&r->readers), CAIRN_OK);
    assert_int_equal(value_cache_new(&r->cache, r->readers, budget), CAIRN_OK);
}

static void race_close(race *r) {
    value_cache_free(r->cache);
    epoch_free(r->readers);
}

/* Two writers, whose ids overlap, two readers, one that pins. */
static void run_race(uint64_t budget) {
    race r;
    race_open(&r, budget);
    void *(*const run[])(void *) = {writer, writer, reader, reader, pinner};
    worker workers[5];
    os_thread threads[5];
    for (unsigned i = 0; i < 5; i++) {
        workers[i] = (worker){.race = &r, .seed = i * 1000003ull, .first = i * IDS / 3, .end = (i + 2) * IDS / 3};
        assert_int_equal(os_thread_start(&threads[i], run[i], &workers[i]), 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        if (i == 2) atomic_store(&r.stop, 1);
        os_thread_join(&threads[i]);
    }
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_int_equal(atomic_load(&r.too_many_bytes), 0);
    assert_true(atomic_load(&r.hits) > 0);

    value_cache_stats stats;
    value_cache_stats_get(r.cache, &stats);
    uint64_t there = 0;
    epoch_guard guard = epoch_enter(r.readers);
    for (uint64_t id = 0; id < IDS; id++) {
        const cached_value *v = value_cache_find(r.cache, location_of(id), guard.slot);
        if (v != NULL) check(&r, v, id);
        there += v != NULL;
    }
    epoch_exit(r.readers, guard);
    assert_int_equal(there, stats.entries);
    assert_int_equal(atomic_load(&r.wrong), 0);
    race_close(&r);
}

static void readers_of_a_resident_cache_see_right_bytes_while_it_changes(void **state) {
    (void)state;
    run_race(VALUE_CACHE_RESIDENT);
}

static void readers_of_a_bounded_cache_see_right_bytes_while_it_evicts(void **state) {
    (void)state;
    run_race(400000);
}

/* Every reader wants the same few entries, which leave and come back all the time. */
static void readers_of_a_tiny_cache_see_right_bytes(void **state) {
    (void)state;
    run_race(30000);
}

/* All read through the cache as a store does: look, and insert on a miss, inside one epoch. Whoever inserts the same
 * location at the same time, it is there once. */
static void *read_through(void *arg) {
    worker *w = arg;
    race *r = w->race;
    for (uint64_t n = 0; n < STEPS; n++) {
        uint64_t id = mix(w->seed + n) % 2000;
        epoch_guard guard = epoch_enter(r->readers);
        const cached_value *v = value_cache_find(r->cache, location_of(id), guard.slot);
        if (v != NULL) {
            check(r, v, id);
        } else {
            insert(r, id);
        }
        epoch_exit(r->readers, guard);
    }
    return NULL;
}

static void threads_that_read_through_it_insert_each_location_once(void **state) {
    (void)state;
    race r;
    race_open(&r, VALUE_CACHE_RESIDENT);
    worker workers[4];
    os_thread threads[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (worker){.race = &r, .seed = i % 2 * 7}; /* two and two do the same at the same time */
        assert_int_equal(os_thread_start(&threads[i], read_through, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        os_thread_join(&threads[i]);
    value_cache_stats stats;
    value_cache_stats_get(r.cache, &stats);
    assert_int_equal(stats.entries, 2000);
    assert_int_equal(stats.hits + stats.misses, 4 * STEPS);
    assert_int_equal(atomic_load(&r.wrong), 0);
    race_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_of_a_resident_cache_see_right_bytes_while_it_changes),
        cmocka_unit_test(readers_of_a_bounded_cache_see_right_bytes_while_it_evicts),
        cmocka_unit_test(readers_of_a_tiny_cache_see_right_bytes),
        cmocka_unit_test(threads_that_read_through_it_insert_each_location_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A bounded value cache: the budget holds, newcomers do not push out what is used, and its hits are those of the
 * algorithm as it was published.
 *
 * value_cache.c is included, since its header tells neither the queues nor how many bytes are leaving. */
#include "src/store/value_cache.c"
#include "tests/support/cache_box.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- The budget ---- */

static void the_budget_is_never_exceeded(void **state) {
    (void)state;
    const uint64_t budgets[] = {0, 1, 2000, 5000, 20 * KIB, 300 * KIB, 4 * MIB};
    for (unsigned i = 0; i < 7; i++) {
        cache_box b = cache_box_open(budgets[i]);
        uint64_t seed = i, fullest = 0;
        for (unsigned n = 0; n < 20000; n++) {
            uint64_t id = random_next(&seed) % 3000, r = random_next(&seed);
            uint64_t size = r % 64 == 0 ? r % (budgets[i] / 8 + 1) : r % min_u64(3000, budgets[i] / 8 + 1);
            if (r >> 60 == 0) {
                cache_box_remove(&b, id);
            } else {
                (void)cache_box_get(&b, id, size);
            }
            uint64_t bytes = cache_box_stats(&b).bytes;
            assert_true(bytes <= budgets[i]);
            if (bytes > fullest) fullest = bytes;
        }
        if (budgets[i] >= 300 * KIB) assert_true(fullest > budgets[i] / 10 * 9);
        cache_box_close(&b);
    }
}

static void a_value_above_a_tenth_of_the_budget_is_not_wanted(void **state) {
    (void)state;
    cache_box b = cache_box_open(MIB);
    assert_null(value_cache_prepare(b.cache, 8, MIB / 10));
    assert_true(cache_box_insert(&b, 1, MIB / 10 - 200));
    cache_box_close(&b);
    b = cache_box_open(0);
    assert_null(value_cache_prepare(b.cache, 1, 0));
    cache_box_close(&b);
}

static void a_pin_outlives_eviction_and_its_bytes_count_no_more(void **state) {
    (void)state;
    cache_box b = cache_box_open(MIB);
    assert_true(cache_box_insert(&b, 0, 50 * KIB));
    const cached_value *v = cache_box_find(&b, 0);
    value_cache_pin(v);
    cache_box_fill(&b, 1, 200, 50 * KIB);
    assert_false(cache_box_has(&b, 0));
    assert_true(cache_box_stats(&b).bytes > 900 * KIB); /* all of it other entries */
    assert_true(cached_is_right(v, 0, 50 * KIB));
    value_cache_unpin(v);
    cache_box_close(&b);
}

/* Those that left but may be read are memory as well: above an eighth of the budget nothing comes in. */
static void a_reader_that_stays_does_not_make_memory_grow(void **state) {
    (void)state;
    cache_box b = cache_box_open(MIB);
    epoch_guard guard = epoch_enter(b.readers);
    for (uint64_t id = 0; id < 1000; id++) {
        assert_true(cache_box_insert(&b, id, 10 * KIB));
        assert_true(atomic_load(&b.cache->leaving) < MIB / 8 + 22 * KIB);
    }
    assert_null(cache_box_find(&b, 999));
    epoch_exit(b.readers, guard);
    assert_true(cache_box_insert(&b, 1000, 10 * KIB));
    assert_true(cache_box_has(&b, 1000));
    cache_box_close(&b);
}

/* ---- What stays and what goes ---- */

#define VALUE_BYTES 4096

static void a_scan_of_values_read_once_does_not_evict_the_hot_set(void **state) {
    (void)state;
    const uint64_t hot = 800, scanned = 20000; /* 3.5 MiB in use, a scan of 80 MiB */
    cache_box b = cache_box_open(4 * MIB);
    for (unsigned round = 0; round < 4; round++)
        for (uint64_t id = 0; id < hot; id++)
            (void)cache_box_get(&b, id, VALUE_BYTES);
    for (uint64_t id = hot; id < hot + scanned; id++)
        assert_false(cache_box_get(&b, id, VALUE_BYTES));
    uint64_t kept = 0;
    for (uint64_t id = 0; id < hot; id++)
        kept += cache_box_has(&b, id);
    assert_true(kept >= hot * 99 / 100);
    cache_box_close(&b);
}

static void a_value_that_the_ghost_remembers_enters_the_main_queue(void **state) {
    (void)state;
    cache_box b = cache_box_open(4 * MIB);
    for (uint64_t id = 0; id < 1500; id++)
        (void)cache_box_get(&b, id, VALUE_BYTES); /* the first third has left, the last of them a moment ago */
    uint64_t first_there = 0;
    while (!cache_box_has(&b, first_there))
        first_there++;
    assert_true(first_there > 0);
    uint64_t back = first_there - 1;
    assert_false(cache_box_get(&b, back, VALUE_BYTES));
    assert_int_equal(value_map_find(&b.cache->map, cached_location(back))->queue, QUEUE_MAIN);
    assert_false(cache_box_get(&b, 9999, VALUE_BYTES));
    assert_int_equal(value_map_find(&b.cache->map, cached_location(9999))->queue, QUEUE_SMALL);
    cache_box_close(&b);
}

static void the_ghost_forgets_what_is_too_long_ago(void **state) {
    (void)state;
    cache_box b = cache_box_open(4 * MIB);
    for (uint64_t id = 0; id < 10000; id++)
        (void)cache_box_get(&b, id, VALUE_BYTES);
    for (uint64_t id = 0; id < 20; id++) {
        assert_false(cache_box_get(&b, id, VALUE_BYTES));
        assert_int_equal(value_map_find(&b.cache->map, cached_location(id))->queue, QUEUE_SMALL);
    }
    cache_box_close(&b);
}

/* ---- The ghost alone ---- */

static void a_ghost_that_grows_remembers(void **state) {
    (void)state;
    value_ghost ghost = {0};
    assert_false(value_ghost_take(&ghost, 1, 100));
    assert_true(value_ghost_growth(&ghost, 100) > 0);
    assert_true(value_ghost_grow(&ghost, 100));
    assert_int_equal(value_ghost_growth(&ghost, 100), 0);
    for (uint32_t i = 0; i < 60; i++)
        value_ghost_add(&ghost, i * 0x9e3779b9u);
    assert_true(value_ghost_grow(&ghost, 5000));
    for (uint32_t i = 0; i < 60; i++) {
        assert_true(value_ghost_take(&ghost, i * 0x9e3779b9u, 60));
        assert_false(value_ghost_take(&ghost, i * 0x9e3779b9u, 60));
    }
    value_ghost_release(&ghost);
}

static void a_ghost_remembers_what_came_twice_once(void **state) {
    (void)state;
    value_ghost ghost = {0};
    assert_true(value_ghost_grow(&ghost, 10));
    for (uint32_t i = 0; i < 4; i++) {
        value_ghost_add(&ghost, 0);
        value_ghost_add(&ghost, 2);
    }
    assert_true(value_ghost_take(&ghost, 2, 1)); /* as young as its last coming */
    assert_true(value_ghost_take(&ghost, 0, 2));
    assert_false(value_ghost_take(&ghost, 0, 100));
    assert_false(value_ghost_take(&ghost, 2, 100));
    value_ghost_release(&ghost);
}

static void a_ghost_loses_few_before_their_time(void **state) {
    (void)state;
    const unsigned window = 10000;
    value_ghost ghost = {0};
    assert_true(value_ghost_grow(&ghost, window));
    uint64_t seed = 1, found = 0;
    uint32_t *added = calloc(window, sizeof *added);
    assert_non_null(added);
    for (unsigned i = 0; i < 5 * window; i++) {
        added[i % window] = (uint32_t)random_next(&seed);
        value_ghost_add(&ghost, added[i % window]);
    }
    for (unsigned i = 0; i < window; i++)
        found += value_ghost_take(&ghost, added[i], window);
    assert_true(found >= window * 95 / 100);
    free(added);
    value_ghost_release(&ghost);
}

/* ---- Beside a plain simulation of the paper's algorithm: entries of one size, arrays, an exact ghost ---- */

#define MODEL_IDS 20000u

typedef struct model_queue {
    uint32_t ids[MODEL_IDS * 64]; /* from head on, to tail */
    size_t head, tail;
} model_queue;

typedef struct model {
    model_queue small, main;
    bool in[MODEL_IDS];
    uint8_t frequency[MODEL_IDS];
    uint64_t ghost_time[MODEL_IDS], ghost_now; /* 0: not in the ghost */
    size_t capacity;
} model;

static size_t model_count(const model_queue *q) { return q->tail - q->head; }
static void model_push(model_queue *q, uint32_t id) {
    assert_true(q->tail < MODEL_IDS * 64);
    q->ids[q->tail++] = id;
}

static void model_evict(model *m) {
    if (model_count(&m->small) >= m->capacity / 10 || model_count(&m->main) == 0) {
        while (model_count(&m->small) > 0) {
            uint32_t id = m->small.ids[m->small.head++];
            if (m->frequency[id] <= 1) {
                m->in[id] = false;
                m->ghost_time[id] = ++m->ghost_now;
                return;
            }
            m->frequency[id] = 0;
            model_push(&m->main, id);
        }
    }
    for (;;) {
        uint32_t id = m->main.ids[m->main.head++];
        if (m->frequency[id] == 0) {
            m->in[id] = false;
            return;
        }
        m->frequency[id]--;
        model_push(&m->main, id);
    }
}

static bool model_get(model *m, uint32_t id) {
    if (m->in[id]) {
        if (m->frequency[id] < 3) m->frequency[id]++;
        return true;
    }
    if (model_count(&m->small) + model_count(&m->main) == m->capacity) model_evict(m);
    bool remembered = m->ghost_time[id] != 0 && m->ghost_now - m->ghost_time[id] < m->capacity;
    m->ghost_time[id] = 0;
    model_push(remembered ? &m->main : &m->small, id);
    m->in[id] = true;
    m->frequency[id] = 0;
    return false;
}

/* Skewed ids, and every now and then a run of ids in order. */
static uint32_t trace_next(uint64_t *seed, uint64_t i) {
    uint64_t r = random_next(seed);
    if (i % 20000 >= 16000) return (uint32_t)(i % MODEL_IDS);
    uint64_t span = MODEL_IDS >> (r >> 32) % 10;
    return (uint32_t)(r % span);
}

static void hits_are_those_of_a_plain_simulation(void **state) {
    (void)state;
    const uint64_t steps = 300000;
    const uint64_t budgets[] = {200 * KIB, MIB, 2 * MIB};
    for (unsigned i = 0; i < 3; i++) {
        cache_box b = cache_box_open(budgets[i]);
        uint64_t seed = 7;
        for (uint64_t n = 0; n < steps; n++)
            (void)cache_box_get(&b, trace_next(&seed, n), 256);
        value_cache_stats stats = cache_box_stats(&b);
        cache_box_close(&b);

        model *m = calloc(1, sizeof *m);
        assert_non_null(m);
        m->capacity = stats.entries;
        uint64_t hits = 0;
        seed = 7;
        for (uint64_t n = 0; n < steps; n++)
            hits += model_get(m, trace_next(&seed, n));
        free(m);
        assert_true(stats.hits + stats.misses == steps);
        assert_in_range(stats.hits, hits - steps / 200, hits + steps / 200); /* half a point of the ratio */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_is_never_exceeded),
        cmocka_unit_test(a_value_above_a_tenth_of_the_budget_is_not_wanted),
        cmocka_unit_test(a_pin_outlives_eviction_and_its_bytes_count_no_more),
        cmocka_unit_test(a_reader_that_stays_does_not_make_memory_grow),
        cmocka_unit_test(a_scan_of_values_read_once_does_not_evict_the_hot_set),
        cmocka_unit_test(a_value_that_the_ghost_remembers_enters_the_main_queue),
        cmocka_unit_test(the_ghost_forgets_what_is_too_long_ago),
        cmocka_unit_test(a_ghost_that_grows_remembers),
        cmocka_unit_test(a_ghost_remembers_what_came_twice_once),
        cmocka_unit_test(a_ghost_loses_few_before_their_time),
        cmocka_unit_test(hits_are_those_of_a_plain_simulation),
    };
    return cmocka_run_group_tests_name("value_cache_eviction", tests, NULL, NULL);
}

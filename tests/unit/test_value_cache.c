/* The value cache: what was inserted is given back, the budget holds, newcomers do not push out what is used, and
 * without memory it is silent.
 *
 * The sources are included, so that their allocations can be made to fail here. */
#include "include/cairn.h"
#include "src/base/epoch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The allocations number `first` to `end` - 1 fail. */
static struct { uint64_t calls, first, end; } heap;

static bool heap_is_out(void) {
    uint64_t number = heap.calls++;
    return number >= heap.first && number < heap.end;
}
static void heap_plan(uint64_t first, uint64_t end) {
    heap.calls = 0;
    heap.first = first;
    heap.end = end;
}
static void *heap_malloc(size_t size) { return heap_is_out() ? NULL : malloc(size); }
static void *heap_calloc(size_t count, size_t size) { return heap_is_out() ? NULL : calloc(count, size); }
static void *heap_aligned_alloc(size_t align, size_t size) { return heap_is_out() ? NULL : aligned_alloc(align, size); }

#define malloc heap_malloc
#define calloc heap_calloc
#define aligned_alloc heap_aligned_alloc
#include "src/store/value_cache.c"
#include "src/store/value_ghost.c"
#include "src/store/value_map.c"
#undef malloc
#undef calloc
#undef aligned_alloc

#define MIB ((uint64_t)1 << 20)
#define KIB ((uint64_t)1 << 10)

typedef struct box {
    epoch *readers;
    value_cache *cache;
} box;

static box box_open(uint64_t budget) {
    box b = {NULL, NULL};
    assert_int_equal(epoch_new(&b.readers), CAIRN_OK);
    assert_int_equal(value_cache_new(&b.cache, b.readers, budget), CAIRN_OK);
    return b;
}

static void box_close(box *b) {
    value_cache_free(b->cache);
    epoch_free(b->readers);
}

static uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Records of 66 units in a row, as a log of 4 KiB values has them. */
static location location_of(uint64_t id) { return location_make(64 + id * 66, 66, LOCATION_VALUE); }
static uint8_t byte_of(uint64_t id, uint64_t at) { return (uint8_t)(id * 31 + at * 7 + (at >> 8)); }

static value_cache_stats stats_of(const box *b) {
    value_cache_stats stats;
    value_cache_stats_get(b->cache, &stats);
    return stats;
}

/* false: the cache did not want it, or had no memory. */
static bool insert(box *b, uint64_t id, uint64_t value_size) {
    cached_value *v = value_cache_prepare(b->cache, sizeof id, value_size);
    if (v == NULL) return false;
    v->where = location_of(id);
    v->version = id + 1;
    memcpy(v->bytes, &id, sizeof id);
    uint8_t *data = v->bytes + cached_data_offset(v);
    for (uint64_t i = 0; i < value_size; i++) {
        data[i] = byte_of(id, i);
    }
    value_cache_insert(b->cache, v);
    return true;
}

static bool is_right(const cached_value *v, uint64_t id, uint64_t value_size) {
    if (v->where != location_of(id) || v->version != id + 1 || v->value_size != value_size) return false;
    if (v->key_size != sizeof id || memcmp(cached_key(v), &id, sizeof id) != 0) return false;
    for (uint64_t i = 0; i < value_size; i++) {
        if (cached_data(v)[i] != byte_of(id, i)) return false;
    }
    return true;
}

static bool has(box *b, uint64_t id) {
    epoch_guard guard = epoch_enter(b->readers);
    bool found = value_cache_find(b->cache, location_of(id), guard.slot) != NULL;
    epoch_exit(b->readers, guard);
    return found;
}

/* As a store reads: a miss is inserted. True: a hit. */
static bool get(box *b, uint64_t id, uint64_t value_size) {
    bool hit = has(b, id);
    if (!hit) (void)insert(b, id, value_size);
    return hit;
}

/* ---- What was inserted ---- */

static void a_hit_returns_the_same_bytes(void **state) {
    (void)state;
    const uint64_t sizes[] = {0, 1, 15, 16, 17, 4096, 65536, 3 * MIB + 5};
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 8; id++)
        assert_true(insert(&b, id, sizes[id]));
    epoch_guard guard = epoch_enter(b.readers);
    for (uint64_t id = 0; id < 8; id++) {
        const cached_value *v = value_cache_find(b.cache, location_of(id), guard.slot);
        assert_non_null(v);
        assert_true(is_right(v, id, sizes[id]));
        assert_int_equal((uintptr_t)cached_data(v) % 16, 0);
    }
    epoch_exit(b.readers, guard);
    box_close(&b);
}

static void hits_and_misses_are_counted_in_every_stripe(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    assert_true(insert(&b, 1, 100));
    for (unsigned stripe = 0; stripe < 200; stripe++) {
        assert_non_null(value_cache_find(b.cache, location_of(1), stripe));
        assert_null(value_cache_find(b.cache, location_of(2), stripe));
        assert_null(value_cache_find(b.cache, location_of(3), stripe));
    }
    assert_int_equal(stats_of(&b).hits, 200);
    assert_int_equal(stats_of(&b).misses, 400);
    box_close(&b);
}

static void locations_that_differ_in_length_or_kind_alone_are_two(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    assert_true(insert(&b, 5, 64));
    assert_null(value_cache_find(b.cache, location_make(64 + 5 * 66, 67, LOCATION_VALUE), 0));
    assert_null(value_cache_find(b.cache, location_make(64 + 5 * 66, 66, LOCATION_PACKED), 0));
    box_close(&b);
}

static void a_second_insertion_of_a_location_is_dropped(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    assert_true(insert(&b, 1, 1000));
    value_cache_stats before = stats_of(&b);
    const cached_value *first = value_cache_find(b.cache, location_of(1), 0);
    assert_true(insert(&b, 1, 1000));
    assert_ptr_equal(value_cache_find(b.cache, location_of(1), 0), first);
    assert_int_equal(stats_of(&b).bytes, before.bytes);
    assert_int_equal(stats_of(&b).entries, 1);
    box_close(&b);
}

static void what_was_removed_is_gone_and_so_are_its_bytes(void **state) {
    (void)state;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        box b = box_open(bounded ? 64 * MIB : VALUE_CACHE_RESIDENT);
        for (uint64_t id = 0; id < 1000; id++)
            assert_true(insert(&b, id, 500));
        uint64_t full = stats_of(&b).bytes;
        for (uint64_t id = 0; id < 1000; id += 2)
            value_cache_remove(b.cache, location_of(id));
        value_cache_remove(b.cache, location_of(5000));
        for (uint64_t id = 0; id < 1000; id++)
            assert_int_equal(has(&b, id), id % 2 == 1);
        assert_int_equal(stats_of(&b).entries, 500);
        assert_true(full - stats_of(&b).bytes >= 500 * 500);
        for (uint64_t id = 0; id < 1000; id += 2)
            assert_true(insert(&b, id, 500));
        assert_int_equal(stats_of(&b).bytes, full);
        box_close(&b);
    }
}

static void a_discarded_entry_leaves_no_trace(void **state) {
    (void)state;
    box b = box_open(MIB);
    value_cache_discard(value_cache_prepare(b.cache, 10, 1000));
    assert_int_equal(stats_of(&b).bytes, 0);
    box_close(&b);
}

/* ---- How long an entry lives ---- */

static void an_entry_found_inside_the_epoch_outlives_its_removal(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 200; id++)
        assert_true(insert(&b, id, 3000));
    epoch_guard guard = epoch_enter(b.readers);
    const cached_value *v = value_cache_find(b.cache, location_of(77), guard.slot);
    for (uint64_t id = 0; id < 200; id++)
        value_cache_remove(b.cache, location_of(id));
    assert_true(is_right(v, 77, 3000));
    epoch_exit(b.readers, guard);
    box_close(&b);
}

static void a_pin_outlives_removal_and_the_epoch(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 200; id++)
        assert_true(insert(&b, id, 3000));
    epoch_guard guard = epoch_enter(b.readers);
    const cached_value *v = value_cache_find(b.cache, location_of(77), guard.slot);
    value_cache_pin(v);
    value_cache_pin(v);
    epoch_exit(b.readers, guard);
    for (uint64_t id = 0; id < 200; id++)
        value_cache_remove(b.cache, location_of(id));
    epoch_poll(b.readers);
    assert_int_equal(stats_of(&b).entries, 0);
    value_cache_unpin(v);
    assert_true(is_right(v, 77, 3000));
    value_cache_unpin(v);
    box_close(&b);
}

static void a_pin_outlives_eviction_and_its_bytes_count_no_more(void **state) {
    (void)state;
    box b = box_open(MIB);
    assert_true(insert(&b, 0, 50 * KIB));
    const cached_value *v = value_cache_find(b.cache, location_of(0), 0);
    value_cache_pin(v);
    for (uint64_t id = 1; id < 200; id++)
        assert_true(insert(&b, id, 50 * KIB));
    assert_false(has(&b, 0));
    assert_true(stats_of(&b).bytes > 900 * KIB); /* all of it other entries */
    assert_true(is_right(v, 0, 50 * KIB));
    value_cache_unpin(v);
    box_close(&b);
}

static void an_entry_that_stays_survives_its_pins(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    assert_true(insert(&b, 1, 100));
    const cached_value *v = value_cache_find(b.cache, location_of(1), 0);
    value_cache_pin(v);
    value_cache_unpin(v);
    assert_true(is_right(value_cache_find(b.cache, location_of(1), 0), 1, 100));
    box_close(&b);
}

/* ---- The budget ---- */

static void the_budget_is_never_exceeded(void **state) {
    (void)state;
    const uint64_t budgets[] = {0, 1, 2000, 5000, 20 * KIB, 300 * KIB, 4 * MIB};
    for (unsigned i = 0; i < 7; i++) {
        box b = box_open(budgets[i]);
        uint64_t seed = i, fullest = 0;
        for (unsigned n = 0; n < 20000; n++) {
            uint64_t id = random_next(&seed) % 3000, r = random_next(&seed);
            uint64_t size = r % 64 == 0 ? r % (budgets[i] / 8 + 1) : r % min_u64(3000, budgets[i] / 8 + 1);
            if (r >> 60 == 0) {
                value_cache_remove(b.cache, location_of(id));
            } else {
                (void)get(&b, id, size);
            }
            uint64_t bytes = stats_of(&b).bytes;
            assert_true(bytes <= budgets[i]);
            if (bytes > fullest) fullest = bytes;
        }
        if (budgets[i] >= 300 * KIB) assert_true(fullest > budgets[i] / 10 * 9);
        box_close(&b);
    }
}

static void a_value_above_a_tenth_of_the_budget_is_not_wanted(void **state) {
    (void)state;
    box b = box_open(MIB);
    assert_null(value_cache_prepare(b.cache, 8, MIB / 10));
    assert_true(insert(&b, 1, MIB / 10 - 200));
    box_close(&b);
    b = box_open(0);
    assert_null(value_cache_prepare(b.cache, 1, 0));
    box_close(&b);
}

static void sizes_that_overflow_are_not_wanted(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    assert_null(value_cache_prepare(b.cache, 8, UINT64_MAX));
    assert_null(value_cache_prepare(b.cache, UINT32_MAX, UINT64_MAX - 50));
    assert_null(value_cache_prepare(b.cache, 8, (uint64_t)1 << 63));
    box_close(&b);
}

/* Those that left but may be read are memory as well: above an eighth of the budget nothing comes in. */
static void a_reader_that_stays_does_not_make_memory_grow(void **state) {
    (void)state;
    box b = box_open(MIB);
    epoch_guard guard = epoch_enter(b.readers);
    for (uint64_t id = 0; id < 1000; id++) {
        assert_true(insert(&b, id, 10 * KIB));
        assert_true(atomic_load(&b.cache->leaving) < MIB / 8 + 22 * KIB);
    }
    assert_null(value_cache_find(b.cache, location_of(999), 0));
    epoch_exit(b.readers, guard);
    assert_true(insert(&b, 1000, 10 * KIB));
    assert_true(has(&b, 1000));
    box_close(&b);
}

static void a_resident_cache_evicts_nothing(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 20000; id++)
        assert_true(insert(&b, id, id % 97));
    assert_true(insert(&b, 20000, 16 * MIB));
    for (uint64_t id = 0; id <= 20000; id++)
        assert_true(has(&b, id));
    assert_int_equal(stats_of(&b).entries, 20001);
    box_close(&b);
}

/* Addresses in equal steps of a power of two, as large records have them. */
static void growth_keeps_every_entry_and_its_chains_short(void **state) {
    (void)state;
    const uint64_t entries = 100000, step = 4096;
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t i = 0; i < entries; i++) {
        assert_true(insert(&b, i * step, 1));
        if (i % 1000 == 0) assert_true(has(&b, i / 2 * step));
    }
    unsigned longest = 0;
    for (uint64_t i = 0; i < entries; i++) {
        const cached_value *v = value_cache_find(b.cache, location_of(i * step), 0);
        unsigned length = 0;
        assert_non_null(v);
        for (; v != NULL; v = follow(&v->chain))
            length++;
        if (length > longest) longest = length;
    }
    assert_true(longest <= 9);
    box_close(&b);
}

static void the_bytes_are_those_of_entries_and_tables(void **state) {
    (void)state;
    const uint64_t entries = 50000;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        box b = box_open(bounded ? 64 * MIB : VALUE_CACHE_RESIDENT);
        for (uint64_t id = 0; id < entries; id++)
            assert_true(insert(&b, id, 200));
        uint64_t of_entries = entries * heap_bytes(sizeof(cached_value) + 16 + 200);
        uint64_t of_tables = stats_of(&b).bytes - of_entries; /* two to four chains an entry, and 256 heads */
        assert_in_range(of_tables, 2 * entries * sizeof(void *), 4 * entries * sizeof(void *) + VALUE_TABLES * 64);
        for (uint64_t id = 0; id < entries; id++)
            value_cache_remove(b.cache, location_of(id));
        assert_int_equal(stats_of(&b).bytes, of_tables);
        box_close(&b);
    }
}

/* ---- What stays and what goes ---- */

#define VALUE_BYTES 4096

static void a_scan_of_values_read_once_does_not_evict_the_hot_set(void **state) {
    (void)state;
    const uint64_t hot = 800, scanned = 20000; /* 3.5 MiB in use, a scan of 80 MiB */
    box b = box_open(4 * MIB);
    for (unsigned round = 0; round < 4; round++)
        for (uint64_t id = 0; id < hot; id++)
            (void)get(&b, id, VALUE_BYTES);
    for (uint64_t id = hot; id < hot + scanned; id++)
        assert_false(get(&b, id, VALUE_BYTES));
    uint64_t kept = 0;
    for (uint64_t id = 0; id < hot; id++)
        kept += has(&b, id);
    assert_true(kept >= hot * 99 / 100);
    box_close(&b);
}

static void a_value_that_the_ghost_remembers_enters_the_main_queue(void **state) {
    (void)state;
    box b = box_open(4 * MIB);
    for (uint64_t id = 0; id < 1500; id++)
        (void)get(&b, id, VALUE_BYTES); /* the first third has left, the last of them a moment ago */
    uint64_t first_there = 0;
    while (!has(&b, first_there))
        first_there++;
    assert_true(first_there > 0);
    uint64_t back = first_there - 1;
    assert_false(get(&b, back, VALUE_BYTES));
    assert_int_equal(value_map_find(&b.cache->map, location_of(back))->queue, QUEUE_MAIN);
    assert_false(get(&b, 9999, VALUE_BYTES));
    assert_int_equal(value_map_find(&b.cache->map, location_of(9999))->queue, QUEUE_SMALL);
    box_close(&b);
}

static void the_ghost_forgets_what_is_too_long_ago(void **state) {
    (void)state;
    box b = box_open(4 * MIB);
    for (uint64_t id = 0; id < 10000; id++)
        (void)get(&b, id, VALUE_BYTES);
    for (uint64_t id = 0; id < 20; id++) {
        assert_false(get(&b, id, VALUE_BYTES));
        assert_int_equal(value_map_find(&b.cache->map, location_of(id))->queue, QUEUE_SMALL);
    }
    box_close(&b);
}

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
        box b = box_open(budgets[i]);
        uint64_t seed = 7;
        for (uint64_t n = 0; n < steps; n++)
            (void)get(&b, trace_next(&seed, n), 256);
        value_cache_stats stats = stats_of(&b);
        box_close(&b);

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

/* ---- Without memory ---- */

static void without_memory_nothing_is_inserted_and_nothing_breaks(void **state) {
    (void)state;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        box b = box_open(bounded ? 300 * KIB : VALUE_CACHE_RESIDENT);
        heap_plan(0, UINT64_MAX);
        assert_false(insert(&b, 1, 100));
        heap_plan(1, UINT64_MAX); /* the entry, but no table for it */
        assert_true(insert(&b, 1, 100));
        assert_false(has(&b, 1));
        assert_int_equal(stats_of(&b).bytes, 0);
        heap_plan(UINT64_MAX, UINT64_MAX);
        assert_true(insert(&b, 1, 100));
        assert_true(has(&b, 1));
        box_close(&b);
    }
}

static void tables_that_cannot_grow_still_take_entries(void **state) {
    (void)state;
    box b = box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 4000; id++)
        assert_true(insert(&b, id, 10));
    for (uint64_t id = 4000; id < 12000; id++) {
        heap_plan(1, UINT64_MAX);
        assert_true(insert(&b, id, 10));
    }
    heap_plan(UINT64_MAX, UINT64_MAX);
    for (uint64_t id = 0; id < 12000; id++)
        assert_true(has(&b, id));
    assert_int_equal(stats_of(&b).entries, 12000);
    box_close(&b);
}

static void a_cache_whose_ghost_got_no_memory_goes_on(void **state) {
    (void)state;
    box b = box_open(300 * KIB);
    for (uint64_t id = 0; id < 2000; id++) {
        heap_plan(1, UINT64_MAX);
        if (id < 200) heap_plan(UINT64_MAX, UINT64_MAX); /* tables */
        (void)get(&b, id, 1000);
        assert_true(stats_of(&b).bytes <= 300 * KIB);
    }
    assert_true(has(&b, 1999));
    heap_plan(UINT64_MAX, UINT64_MAX);
    box_close(&b);
}

static void each_allocation_may_fail_in_turn(void **state) {
    (void)state;
    for (uint64_t first = 0; first < 400; first++) {
        heap_plan(UINT64_MAX, UINT64_MAX);
        box b = box_open(100 * KIB);
        heap_plan(first, first + 1);
        uint64_t seed = 3;
        for (unsigned n = 0; n < 300; n++) {
            (void)get(&b, random_next(&seed) % 150, 900);
            assert_true(stats_of(&b).bytes <= 100 * KIB);
        }
        heap_plan(UINT64_MAX, UINT64_MAX);
        for (uint64_t id = 0; id < 150; id++) {
            const cached_value *v = value_cache_find(b.cache, location_of(id), 0);
            if (v != NULL) assert_true(is_right(v, id, 900));
        }
        box_close(&b);
    }
    epoch *readers = NULL;
    value_cache *cache = NULL;
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    heap_plan(0, 1);
    assert_int_equal(value_cache_new(&cache, readers, MIB), CAIRN_NO_MEMORY);
    assert_null(cache);
    heap_plan(UINT64_MAX, UINT64_MAX);
    epoch_free(readers);
}

int main(void) {
    heap_plan(UINT64_MAX, UINT64_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_returns_the_same_bytes),
        cmocka_unit_test(hits_and_misses_are_counted_in_every_stripe),
        cmocka_unit_test(locations_that_differ_in_length_or_kind_alone_are_two),
        cmocka_unit_test(a_second_insertion_of_a_location_is_dropped),
        cmocka_unit_test(what_was_removed_is_gone_and_so_are_its_bytes),
        cmocka_unit_test(a_discarded_entry_leaves_no_trace),
        cmocka_unit_test(an_entry_found_inside_the_epoch_outlives_its_removal),
        cmocka_unit_test(a_pin_outlives_removal_and_the_epoch),
        cmocka_unit_test(a_pin_outlives_eviction_and_its_bytes_count_no_more),
        cmocka_unit_test(an_entry_that_stays_survives_its_pins),
        cmocka_unit_test(the_budget_is_never_exceeded),
        cmocka_unit_test(a_value_above_a_tenth_of_the_budget_is_not_wanted),
        cmocka_unit_test(sizes_that_overflow_are_not_wanted),
        cmocka_unit_test(a_reader_that_stays_does_not_make_memory_grow),
        cmocka_unit_test(a_resident_cache_evicts_nothing),
        cmocka_unit_test(growth_keeps_every_entry_and_its_chains_short),
        cmocka_unit_test(the_bytes_are_those_of_entries_and_tables),
        cmocka_unit_test(a_scan_of_values_read_once_does_not_evict_the_hot_set),
        cmocka_unit_test(a_value_that_the_ghost_remembers_enters_the_main_queue),
        cmocka_unit_test(the_ghost_forgets_what_is_too_long_ago),
        cmocka_unit_test(a_ghost_that_grows_remembers),
        cmocka_unit_test(a_ghost_remembers_what_came_twice_once),
        cmocka_unit_test(a_ghost_loses_few_before_their_time),
        cmocka_unit_test(hits_are_those_of_a_plain_simulation),
        cmocka_unit_test(without_memory_nothing_is_inserted_and_nothing_breaks),
        cmocka_unit_test(tables_that_cannot_grow_still_take_entries),
        cmocka_unit_test(a_cache_whose_ghost_got_no_memory_goes_on),
        cmocka_unit_test(each_allocation_may_fail_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

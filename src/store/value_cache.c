/* Entries, queues and the budget; see value_cache.h. Look-ups: src/store/value_map.c.
 *
 * Memory is malloc's. glibc gives blocks of 128 KiB and more back by munmap at first, and pays their page faults again,
 * but raises that limit to the size of what was freed (to 32 MiB at most), so a full cache soon lives on its own
 * blocks. Measured, replacing values of 1 MiB and of 0.5 to 1.5 MiB in 256 MiB in random order: 45 and 75 microseconds
 * each, copy included; pages from mmap 1,800 and 1,800; pages with sixteen freed blocks kept for reuse 45 and 440.
 * Mixed sizes cost 15 % of memory beyond the budget in that order, and 2 % where they leave in the order in which they
 * came. */
#include "src/store/value_cache.h"

#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/value_ghost.h"
#include "src/store/value_map.h"

#include <stdlib.h>

#define STRIPES 64u
#define FREQUENCY_MAX 3u
/* Entries that one eviction spares for their frequency, at most. Look-ups raise frequencies while an eviction lowers
 * them, so without it one might never end; and it bounds how long the lock is held. */
#define SPARED_MAX 1000u
/* Entries that left are retired together: so many, or so many bytes. */
#define LEFT_COUNT_MAX 32u
#define LEFT_BYTES_MAX ((uint64_t)256 << 10)

enum { QUEUE_SMALL, QUEUE_MAIN, QUEUES };

typedef struct value_queue {
    cached_value *newest, *oldest;
    uint64_t bytes;
} value_queue;

typedef struct hit_counter {
    _Alignas(64) _Atomic uint64_t hits;
    _Atomic uint64_t misses;
} hit_counter;

struct value_cache {
    /* Fixed. */
    epoch *readers;
    uint64_t budget;
    /* Written under the lock (`leaving` also without) and read by anybody. */
    _Alignas(64) value_map map;
    hit_counter counters[STRIPES];
    _Alignas(64) _Atomic uint64_t bytes; /* of entries, tables and ghost */
    _Atomic uint64_t entries;
    _Atomic uint64_t leaving;   /* bytes of entries that left and wait for readers */
    os_mutex lock;              /* guards what follows */
    value_queue queues[QUEUES]; /* of a bounded cache; empty in a resident one */
    value_ghost ghost;
    cached_value *left; /* entries that left and are not yet retired, linked by `older` */
    uint64_t left_count, left_bytes;
};

static bool is_bounded(const value_cache *c) { return c->budget != VALUE_CACHE_RESIDENT; }
static uint32_t fingerprint_of(const cached_value *v) { return (uint32_t)(value_map_mix(v->where) >> 20); }

static uint64_t entry_bytes(const cached_value *v) {
    return heap_bytes(sizeof *v + cached_data_offset(v) + v->value_size);
}

/* Sums that only the lock's holder changes. */
static uint64_t held_bytes(const value_cache *c) { return atomic_load_explicit(&c->bytes, memory_order_relaxed); }
static void hold_bytes(value_cache *c, uint64_t more) {
    atomic_store_explicit(&c->bytes, held_bytes(c) + more, memory_order_relaxed);
}
static uint64_t held_entries(const value_cache *c) { return atomic_load_explicit(&c->entries, memory_order_relaxed); }
static void hold_entries(value_cache *c, uint64_t more) {
    atomic_store_explicit(&c->entries, held_entries(c) + more, memory_order_relaxed);
}

/* ---- Look-ups ---- */

/* Raises the frequency only where that changes it, so that the lines of hot entries stay shared. Two that do it at once
 * may count as one. */
static void touch(cached_value *v) {
    uint8_t frequency = atomic_load_explicit(&v->frequency, memory_order_relaxed);
    if (frequency < FREQUENCY_MAX) {
        atomic_store_explicit(&v->frequency, (uint8_t)(frequency + 1), memory_order_relaxed);
    }
}

/* Without a locked instruction, so that two threads of one stripe may count as one: on the way of a hit of 4 KiB it is
 * worth 6 % (measured). */
static void count_one(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

const cached_value *value_cache_find(value_cache *c, location where, unsigned stripe) {
    cached_value *v = value_map_find(&c->map, where);
    hit_counter *counter = &c->counters[stripe % STRIPES];
    count_one(v != NULL ? &counter->hits : &counter->misses);
    if (v != NULL) touch(v);
    return v;
}

void value_cache_stats_get(const value_cache *c, value_cache_stats *stats) {
    *stats = (value_cache_stats){.bytes = held_bytes(c), .entries = held_entries(c)};
    for (unsigned i = 0; i < STRIPES; i++) {
        stats->hits += atomic_load_explicit(&c->counters[i].hits, memory_order_relaxed);
        stats->misses += atomic_load_explicit(&c->counters[i].misses, memory_order_relaxed);
    }
}

/* ---- Holding and leaving ---- */

static void let_go(cached_value *v) {
    if (atomic_fetch_sub_explicit(&v->holds, 1, memory_order_acq_rel) == 1) free(v);
}

void value_cache_pin(const cached_value *found) {
    cached_value *v = (cached_value *)(uintptr_t)found;
    CHECK(atomic_fetch_add_explicit(&v->holds, 1, memory_order_relaxed) != 0);
}

void value_cache_unpin(const cached_value *pinned) { let_go((cached_value *)(uintptr_t)pinned); }

/* The first of entries that left together, linked by `older`. No reader that is not counted in `holds` has them. */
static void release_values(epoch_entry *first) {
    for (cached_value *v = (cached_value *)first, *next; v != NULL; v = next) {
        next = v->older;
        atomic_fetch_sub_explicit(&v->cache->leaving, entry_bytes(v), memory_order_release);
        let_go(v);
    }
}

/* Out of the map; it is in no queue any more. */
static void drop(value_cache *c, cached_value *v) {
    uint64_t bytes = entry_bytes(v);
    value_map_remove(&c->map, v);
    hold_entries(c, (uint64_t)-1);
    hold_bytes(c, -bytes);
    atomic_fetch_add_explicit(&c->leaving, bytes, memory_order_relaxed);
    v->older = c->left;
    c->left = v;
    c->left_count++;
    c->left_bytes += bytes;
}

/* Gives the lock back, and hands what left to the epoch when enough has gathered: a retirement costs 1 to 2
 * microseconds, half a put of 4 KiB. Not under the lock, since it may free much. */
static void unlock(value_cache *c, epoch_entry *replaced_table) {
    cached_value *left = NULL;
    if (c->left_count >= LEFT_COUNT_MAX || c->left_bytes >= min_u64(LEFT_BYTES_MAX, c->budget / 16)) {
        left = c->left;
        c->left = NULL;
        c->left_count = c->left_bytes = 0;
    }
    os_mutex_unlock(&c->lock);
    if (left != NULL) epoch_retire(c->readers, &left->retired, release_values);
    if (replaced_table != NULL) epoch_retire(c->readers, replaced_table, value_map_release_table);
}

/* ---- Queues ---- */

static void enqueue(value_cache *c, unsigned queue, cached_value *v) {
    value_queue *q = &c->queues[queue];
    v->queue = (uint8_t)queue;
    v->newer = NULL;
    v->older = q->newest;
    if (q->newest != NULL) q->newest->newer = v;
    q->newest = v;
    if (q->oldest == NULL) q->oldest = v;
    q->bytes += entry_bytes(v);
}

static void dequeue(value_cache *c, cached_value *v) {
    value_queue *q = &c->queues[v->queue];
    *(v->newer != NULL ? &v->newer->older : &q->newest) = v->older;
    *(v->older != NULL ? &v->older->newer : &q->oldest) = v->newer;
    q->bytes -= entry_bytes(v);
}

/* From the small queue the first that was not asked for twice; the others have proved themselves. */
static cached_value *victim_of_small(value_cache *c) {
    for (cached_value *v; (v = c->queues[QUEUE_SMALL].oldest) != NULL;) {
        dequeue(c, v);
        if (atomic_load_explicit(&v->frequency, memory_order_relaxed) <= 1) {
            value_ghost_add(&c->ghost, fingerprint_of(v));
            return v;
        }
        atomic_store_explicit(&v->frequency, 0, memory_order_relaxed);
        enqueue(c, QUEUE_MAIN, v);
    }
    return NULL;
}

/* From the main queue the first whose frequency has been used up. */
static cached_value *victim_of_main(value_cache *c) {
    unsigned spared = 0;
    for (cached_value *v; (v = c->queues[QUEUE_MAIN].oldest) != NULL; spared++) {
        dequeue(c, v);
        uint8_t frequency = atomic_load_explicit(&v->frequency, memory_order_relaxed);
        if (frequency == 0 || spared == SPARED_MAX) return v;
        atomic_store_explicit(&v->frequency, (uint8_t)(frequency - 1), memory_order_relaxed);
        enqueue(c, QUEUE_MAIN, v);
    }
    return NULL;
}

/* false: the cache is empty. */
static bool evict(value_cache *c) {
    cached_value *v = NULL;
    bool small_is_full = c->queues[QUEUE_SMALL].bytes >= c->budget / 10;
    if (small_is_full || c->queues[QUEUE_MAIN].oldest == NULL) v = victim_of_small(c);
    if (v == NULL) v = victim_of_main(c);
    if (v != NULL) drop(c, v);
    return v != NULL;
}

/* ---- Entering ---- */

cached_value *value_cache_prepare(value_cache *c, uint32_t key_size, uint64_t value_size) {
    uint64_t size;
    if (add_overflows(value_size, sizeof(cached_value) + round_up(key_size, 16), &size) || size > PTRDIFF_MAX / 2) {
        return NULL;
    }
    if (is_bounded(c) && heap_bytes(size) > c->budget / 10) return NULL;
    cached_value *v = malloc(size);
    if (v == NULL) return NULL;
    *v = (cached_value){.cache = c, .key_size = key_size, .value_size = value_size};
    atomic_init(&v->holds, 1);
    return v;
}

void value_cache_discard(cached_value *prepared) { free(prepared); }

static bool fits(const value_cache *c, uint64_t more) { return !is_bounded(c) || held_bytes(c) + more <= c->budget; }

/* Evicts until so many bytes fit. The ghost is made and enlarged here, where it is needed: while the cache fills for
 * the first time it costs nothing. false: they do not fit even alone. */
static bool make_room(value_cache *c, uint64_t more) {
    if (fits(c, more)) return true;
    uint64_t entries = held_entries(c), ghost_more = value_ghost_growth(&c->ghost, entries);
    while (!fits(c, more + ghost_more)) {
        if (!evict(c)) return false;
    }
    if (ghost_more != 0 && value_ghost_grow(&c->ghost, entries)) hold_bytes(c, ghost_more);
    return true;
}

/* false: it was not taken over. */
static bool admit(value_cache *c, cached_value *v, epoch_entry **replaced_table) {
    if (value_map_find(&c->map, v->where) != NULL) return false;
    if (!make_room(c, entry_bytes(v) + value_map_growth(&c->map, v->where))) return false;
    uint64_t growth = value_map_growth(&c->map, v->where);
    if (growth != 0 && value_map_grow(&c->map, v->where, replaced_table)) hold_bytes(c, growth);
    if (!value_map_add(&c->map, v)) return false;
    if (is_bounded(c)) {
        bool remembered = value_ghost_take(&c->ghost, fingerprint_of(v), held_entries(c));
        enqueue(c, remembered ? QUEUE_MAIN : QUEUE_SMALL, v);
    }
    hold_bytes(c, entry_bytes(v));
    hold_entries(c, 1);
    return true;
}

static bool too_many_leave(const value_cache *c) {
    return is_bounded(c) && atomic_load_explicit(&c->leaving, memory_order_acquire) > c->budget / 8;
}

void value_cache_insert(value_cache *c, cached_value *filled) {
    CHECK(filled->cache == c && filled->where != LOCATION_NONE);
    epoch_entry *replaced_table = NULL;
    if (too_many_leave(c)) epoch_poll(c->readers);
    os_mutex_lock_eagerly(&c->lock, NULL);
    bool admitted = !too_many_leave(c) && admit(c, filled, &replaced_table);
    unlock(c, replaced_table);
    if (!admitted) free(filled);
}

void value_cache_remove(value_cache *c, location where) {
    os_mutex_lock_eagerly(&c->lock, NULL);
    cached_value *v = value_map_find(&c->map, where);
    if (v != NULL) {
        if (is_bounded(c)) dequeue(c, v);
        drop(c, v);
    }
    unlock(c, NULL);
}

/* ---- Beginning and end ---- */

int value_cache_new(value_cache **out, epoch *readers, uint64_t budget) {
    value_cache *c = aligned_alloc(_Alignof(value_cache), sizeof *c);
    if (c == NULL) return CAIRN_NO_MEMORY;
    *c = (value_cache){.readers = readers, .budget = budget};
    os_mutex_init(&c->lock);
    *out = c;
    return CAIRN_OK;
}

static void release_last(cached_value *v) {
    CHECK(atomic_load_explicit(&v->holds, memory_order_acquire) == 1);
    free(v);
}

void value_cache_free(value_cache *c) {
    if (c == NULL) return;
    if (c->left != NULL) release_values(&c->left->retired);
    epoch_poll(c->readers); /* what was retired refers to the cache until it is released */
    CHECK(atomic_load_explicit(&c->leaving, memory_order_acquire) == 0);
    value_map_clear(&c->map, release_last);
    value_ghost_release(&c->ghost);
    os_mutex_destroy(&c->lock);
    free(c);
}

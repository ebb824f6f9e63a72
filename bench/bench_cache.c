/* The value cache alone: what it keeps, beside an LRU, and what a hit costs, beside a plain hash map.
 *
 * 1. Hit ratio in percent on a trace of gets over N keys of 4 KiB, zipf-distributed, each miss inserted; beside an
 * exact LRU with the same budget on the same trace. "scans": after each 5 N gets, N / 2 other keys are read once
 * through the cache, always the same ones; only the gets count. The first 5 N gets warm up and do not count.
 * 2. Look-ups a second of uniform keys with a copy of the value: value_cache_find inside the epoch, and a chained hash
 *    map without any lock. Runs in turn, medians.
 * 3. Replacing values in a full cache of 256 MiB, sizes uniform from half to one and a half times the one named; RAM
 *    is resident memory over the budget.
 *
 * Argument: N (default 100,000, at most 400,000). It takes less than 1 GiB. */
#include "bench/bench_common.h"
#include "src/base/epoch.h"
#include "src/store/value_cache.h"

#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES 4096u
#define ROUND_KEYS 5u /* gets between scans, in N */
#define ROUNDS 4u     /* the first warms up */
#define REPETITIONS 7
#define MIB ((uint64_t)1 << 20)

static char source[2 * MIB]; /* what values are copied from, and to */
static char target[2 * MIB];

static location location_of(uint64_t key) { return location_make(64 + key * 66, 66, LOCATION_VALUE); }

static value_cache *cache_new(epoch *readers, uint64_t budget) {
    value_cache *cache = NULL;
    if (value_cache_new(&cache, readers, budget) != CAIRN_OK) die("cache", "no memory");
    return cache;
}

static void insert(value_cache *cache, uint64_t key, uint64_t value_size) {
    cached_value *v = value_cache_prepare(cache, BENCH_KEY_SIZE, value_size);
    if (v == NULL) return;
    v->where = location_of(key);
    (void)key_of((char *)v->bytes, key);
    memcpy(v->bytes + cached_data_offset(v), source, value_size);
    value_cache_insert(cache, v);
}

/* ---- 1. Hit ratio ---- */

/* Exact LRU over key numbers, without values: a list with one link each way for each key. */
typedef struct lru {
    uint32_t *newer, *older; /* by key; the list's ends meet in `end` */
    bool *there;
    uint32_t end;
    uint64_t count, capacity;
} lru;

static lru lru_new(uint32_t keys, uint64_t capacity) {
    lru l = {.end = keys, .capacity = capacity};
    l.newer = allocate((keys + 1) * sizeof *l.newer);
    l.older = allocate((keys + 1) * sizeof *l.older);
    l.there = allocate(keys + 1);
    memset(l.there, 0, keys + 1);
    l.newer[l.end] = l.older[l.end] = l.end;
    return l;
}

static void lru_free(lru *l) {
    free(l->newer);
    free(l->older);
    free(l->there);
}

static void lru_unlink(lru *l, uint32_t key) {
    l->older[l->newer[key]] = l->older[key];
    l->newer[l->older[key]] = l->newer[key];
}

static bool lru_get(lru *l, uint32_t key) {
    bool hit = l->there[key];
    if (hit) {
        lru_unlink(l, key);
    } else if (l->count == l->capacity) {
        uint32_t oldest = l->newer[l->end];
        lru_unlink(l, oldest);
        l->there[oldest] = false;
    } else {
        l->count++;
    }
    l->there[key] = true;
    l->older[key] = l->older[l->end];
    l->newer[key] = l->end;
    l->newer[l->older[l->end]] = key;
    l->older[l->end] = key;
    return hit;
}

typedef struct trace {
    epoch *readers;
    const double *cumulated;
    uint32_t keys;
    bool scans;
} trace;

static bool cache_get(const trace *t, value_cache *cache, uint32_t key) {
    epoch_guard guard = epoch_enter(t->readers);
    bool hit = value_cache_find(cache, location_of(key), guard.slot) != NULL;
    if (!hit) insert(cache, key, VALUE_BYTES);
    epoch_exit(t->readers, guard);
    return hit;
}

/* Hits of the counted gets. */
static void run_trace(const trace *t, uint64_t budget, uint64_t *cache_hits, uint64_t *lru_hits) {
    value_cache *cache = cache_new(t->readers, budget);
    /* An LRU's entry is charged what the cache's is, and 16 bytes for the table. */
    lru list = lru_new(t->keys + t->keys / 2, budget / (sizeof(cached_value) + BENCH_KEY_SIZE + VALUE_BYTES + 16));
    uint64_t seed = 1;
    *cache_hits = *lru_hits = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < (uint64_t)t->keys * ROUND_KEYS; i++) {
            uint32_t key = zipf_next(t->cumulated, t->keys, &seed);
            bool in_cache = cache_get(t, cache, key), in_lru = lru_get(&list, key);
            *cache_hits += round > 0 && in_cache;
            *lru_hits += round > 0 && in_lru;
        }
        for (uint32_t key = t->keys; t->scans && key < t->keys + t->keys / 2; key++) {
            (void)cache_get(t, cache, key);
            (void)lru_get(&list, key);
        }
    }
    lru_free(&list);
    value_cache_free(cache);
}

static void hit_ratios(epoch *readers, uint32_t keys) {
    const double skews[] = {0.99, 0.8};
    const unsigned percents[] = {1, 5, 10, 25};
    double gets = (double)keys * ROUND_KEYS * (ROUNDS - 1);
    printf("hit ratio, %" PRIu32 " keys of 4 KiB      cache     LRU\n", keys);
    for (unsigned s = 0; s < 2; s++) {
        double *cumulated = zipf_new(keys, skews[s]);
        for (unsigned scans = 0; scans < 2; scans++) {
            trace t = {readers, cumulated, keys, scans != 0};
            for (unsigned p = 0; p < 4; p++) {
                uint64_t cache_hits, lru_hits;
                run_trace(&t, (uint64_t)keys * VALUE_BYTES / 100 * percents[p], &cache_hits, &lru_hits);
                printf("zipf %.2f %-8s %2u %% of data  %6.2f  %6.2f\n", skews[s], scans ? "scans" : "no scans",
                       percents[p], 100 * (double)cache_hits / gets, 100 * (double)lru_hits / gets);
                flush_rows();
            }
        }
        free(cumulated);
    }
}

/* ---- 2. Look-ups ---- */

typedef struct node {
    struct node *next;
    uint64_t key;
    char value[];
} node;

typedef struct plain_map {
    node **heads;
    uint64_t mask;
} plain_map;

static node **plain_head(const plain_map *map, uint64_t key) {
    return &map->heads[random_next(&key) & map->mask]; /* mixed, as the keys of a store are */
}

static plain_map plain_new(uint64_t keys, size_t value_size) {
    plain_map map = {.mask = 1};
    while (map.mask < keys) {
        map.mask = map.mask * 2 + 1;
    }
    map.heads = allocate((map.mask + 1) * sizeof *map.heads);
    memset(map.heads, 0, (map.mask + 1) * sizeof *map.heads);
    for (uint64_t key = 0; key < keys; key++) {
        node *n = allocate(sizeof *n + value_size), **head = plain_head(&map, key);
        n->key = key;
        memcpy(n->value, source, value_size);
        n->next = *head;
        *head = n;
    }
    return map;
}

static void plain_free(plain_map *map) {
    for (uint64_t i = 0; i <= map->mask; i++) {
        for (node *n = map->heads[i], *next; n != NULL; n = next) {
            next = n->next;
            free(n);
        }
    }
    free(map->heads);
}

static double plain_rate(const plain_map *map, uint64_t keys, size_t value_size, uint64_t lookups) {
    uint64_t seed = 1;
    double begin = now_s();
    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t key = random_next(&seed) % keys;
        const node *n = *plain_head(map, key);
        while (n != NULL && n->key != key) {
            n = n->next;
        }
        if (n == NULL) die("plain map", "a key is missing");
        memcpy(target, n->value, value_size);
        __asm__ volatile("" ::"r"(target) : "memory");
    }
    return (double)lookups / (now_s() - begin);
}

static double cache_rate(epoch *readers, value_cache *cache, uint64_t keys, size_t value_size, uint64_t lookups) {
    uint64_t seed = 1;
    double begin = now_s();
    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t key = random_next(&seed) % keys;
        epoch_guard guard = epoch_enter(readers);
        const cached_value *v = value_cache_find(cache, location_of(key), guard.slot);
        if (v == NULL) die("cache", "a key is missing");
        memcpy(target, cached_data(v), value_size);
        epoch_exit(readers, guard);
        __asm__ volatile("" ::"r"(target) : "memory");
    }
    return (double)lookups / (now_s() - begin);
}

static void lookup_rates(epoch *readers, size_t value_size, uint64_t data_bytes) {
    uint64_t keys = data_bytes / value_size, lookups = (2048 * MIB) / value_size;
    value_cache *cache = cache_new(readers, VALUE_CACHE_RESIDENT);
    for (uint64_t key = 0; key < keys; key++) {
        insert(cache, key, value_size);
    }
    plain_map map = plain_new(keys, value_size);
    double cached[REPETITIONS], plain[REPETITIONS];
    for (unsigned i = 0; i < REPETITIONS; i++) {
        cached[i] = cache_rate(readers, cache, keys, value_size, lookups);
        plain[i] = plain_rate(&map, keys, value_size, lookups);
    }
    double c = median(cached, REPETITIONS), p = median(plain, REPETITIONS);
    printf("look-up and copy, %2zu KiB of %3" PRIu64 " MiB: cache %7.0f /ms, plain map %7.0f /ms, ratio %.2f\n",
           value_size / 1024, data_bytes / MIB, c * 1e-3, p * 1e-3, c / p);
    flush_rows();
    plain_free(&map);
    value_cache_free(cache);
}

/* ---- 3. Replacing ---- */

static void replace_rate(epoch *readers, uint64_t value_size) {
    const uint64_t budget = 256 * MIB;
    (void)malloc_trim(0); /* what was freed before is not to be counted as there already */
    uint64_t resident = ram_bytes(), seed = 1, key = 0, bytes = 0;
    value_cache *cache = cache_new(readers, budget);
    double begin = 0;
    for (uint64_t copied = 0; copied < 24 * budget; key++) {
        uint64_t size = value_size / 2 + random_next(&seed) % value_size;
        if (copied < 8 * budget) begin = now_s(); /* until then it fills and malloc finds its ways */
        insert(cache, key, size);
        if (copied >= 8 * budget) bytes += size;
        copied += size;
    }
    double seconds = now_s() - begin;
    printf("replace, about %4" PRIu64 " KiB: %6.0f MiB/s, RAM %.2f of the budget\n", value_size / 1024,
           (double)bytes / (double)MIB / seconds, (double)(ram_bytes() - resident) / (double)budget);
    flush_rows();
    value_cache_free(cache);
}

int main(int argc, char **argv) {
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    epoch *readers = NULL;
    if (keys < 1000 || keys > 400000) die("N", "from 1,000 to 400,000");
    if (epoch_new(&readers) != CAIRN_OK) die("epoch", "no memory");
    random_fill(source, sizeof source, 1);
    hit_ratios(readers, (uint32_t)keys);
    lookup_rates(readers, VALUE_BYTES, 64 * MIB);
    lookup_rates(readers, VALUE_BYTES, 256 * MIB);
    lookup_rates(readers, (size_t)64 << 10, 256 * MIB);
    replace_rate(readers, 64 << 10);
    replace_rate(readers, MIB);
    epoch_free(readers);
    return 0;
}

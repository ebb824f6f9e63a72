/* Gets where every value is in RAM: a store with cache_bytes = UINT64_MAX beside the least that such a thing can be, a
 * chained hash map and memcpy; in one run, interleaved, medians of the ratios.
 *
 *     bench_resident DIRECTORY [REPETITIONS [MiB]]
 *
 * Both hold the same keys and values, MiB (default 512) at each value size, and are asked for all of them in random
 * order, by one thread and by two. Both copy the value into the caller's buffer and compare the key. The map hashes
 * with XXH3 and has one entry a bucket on average.
 */
#include "bench/bench_common.h"
#include "src/base/checksum.h"
#include "src/os/os_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPETITIONS_MAX 32
#define THREADS_MAX 2

typedef struct entry {
    struct entry *next;
    uint64_t hash;
    char key[BENCH_KEY_SIZE];
    char value[];
} entry;

typedef struct plan {
    size_t value_size, count, buckets;
    entry **map;
    cairn *store;
    size_t *order;
} plan;

/* ---- The map ---- */

static void map_fill(plan *p, char *value) {
    p->buckets = 1;
    while (p->buckets < p->count)
        p->buckets *= 2;
    p->map = allocate(p->buckets * sizeof *p->map);
    memset(p->map, 0, p->buckets * sizeof *p->map);
    for (size_t i = 0; i < p->count; i++) {
        entry *e = malloc(sizeof *e + p->value_size);
        if (e == NULL) die("the map", "no memory");
        memcpy(value, &i, sizeof i);
        memcpy(e->value, value, p->value_size);
        e->hash = checksum(e->key, key_of(e->key, i), 0);
        e->next = p->map[e->hash % p->buckets];
        p->map[e->hash % p->buckets] = e;
    }
}

static void map_free(plan *p) {
    for (size_t i = 0; i < p->buckets; i++) {
        for (entry *e = p->map[i], *next; e != NULL; e = next) {
            next = e->next;
            free(e);
        }
    }
    free(p->map);
}

static void map_get(const plan *p, const char *key, char *buffer) {
    uint64_t hash = checksum(key, BENCH_KEY_SIZE, 0);
    const entry *e = p->map[hash % p->buckets];
    while (e != NULL && (e->hash != hash || memcmp(e->key, key, BENCH_KEY_SIZE) != 0))
        e = e->next;
    if (e == NULL) die("the map", "lost a key");
    memcpy(buffer, e->value, p->value_size);
}

/* ---- The store ---- */

static void store_fill(plan *p, char *value) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    cairn_options o = {.struct_size = sizeof o, .create = true, .cache_bytes = UINT64_MAX};
    must(cairn_open(&p->store, "store", &o, &error), "open", &error);
    for (size_t i = 0; i < p->count; i++) {
        memcpy(value, &i, sizeof i);
        must(cairn_put(p->store, key, key_of(key, i), value, p->value_size, NULL, &error), "put", &error);
    }
    must(cairn_checkpoint(p->store, &error), "checkpoint", &error); /* nothing is left to be done meanwhile */
}

static void store_get(const plan *p, const char *key, char *buffer) {
    cairn_error error;
    size_t size;
    must(cairn_get_into(p->store, key, BENCH_KEY_SIZE, buffer, p->value_size, &size, &error), "get", &error);
}

/* ---- Asking ---- */

typedef struct asking {
    const plan *plan;
    bool map;
    size_t first, end;
} asking;

static void *ask(void *arg) {
    const asking *a = arg;
    const plan *p = a->plan;
    char key[BENCH_KEY_SIZE], *buffer = allocate(p->value_size);
    for (size_t i = a->first; i < a->end; i++) {
        size_t found, at = p->order[i];
        (void)key_of(key, at);
        if (a->map) {
            map_get(p, key, buffer);
        } else {
            store_get(p, key, buffer);
        }
        memcpy(&found, buffer, sizeof found);
        if (found != at) die("a value", "is another one's");
    }
    free(buffer);
    return NULL;
}

/* Gets a second. */
static double ask_all(const plan *p, bool map, size_t threads) {
    os_thread thread[THREADS_MAX];
    asking a[THREADS_MAX];
    double begin = now_s();
    for (size_t i = 0; i < threads; i++) {
        a[i] = (asking){p, map, p->count * i / threads, p->count * (i + 1) / threads};
        if (os_thread_start(&thread[i], ask, &a[i]) != 0) die("a thread", "cannot be started");
    }
    for (size_t i = 0; i < threads; i++) {
        os_thread_join(&thread[i]);
    }
    return (double)p->count / (now_s() - begin);
}

static void measure(const plan *p, size_t threads, int repetitions) {
    double map[REPETITIONS_MAX], store[REPETITIONS_MAX];
    for (int r = 0; r < repetitions; r++) {
        if (r % 2 == 0) map[r] = ask_all(p, true, threads);
        store[r] = ask_all(p, false, threads);
        if (r % 2 != 0) map[r] = ask_all(p, true, threads);
    }
    double ratio = median_ratio(store, map, repetitions);
    printf("%8zu %8zu %12.0f %12.0f %9.2f\n", p->value_size, threads, median(map, repetitions),
           median(store, repetitions), ratio);
    flush_rows();
}

static void run_size(size_t value_size, size_t bytes, int repetitions) {
    plan p = {.value_size = value_size, .count = bytes / value_size};
    char *value = allocate(value_size);
    random_fill(value, value_size, value_size);
    p.order = allocate(p.count * sizeof *p.order);
    shuffle(p.order, 0, p.count, 7);
    map_fill(&p, value);
    store_fill(&p, value);
    for (size_t threads = 1; threads <= THREADS_MAX; threads++) {
        measure(&p, threads, repetitions);
    }
    map_free(&p);
    (void)cairn_close(p.store);
    folder_remove("store");
    free(p.order);
    free(value);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {4096, 65536};
    if (argc < 2) die("usage", "bench_resident DIRECTORY [REPETITIONS [MiB]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 7;
    size_t bytes = (argc > 3 ? (size_t)atol(argv[3]) : 512) << 20;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || bytes < 1 << 20) die("usage", "1 to 32, 1 MiB up");
    scratch_make(argv[1]);
    printf("%8s %8s %12s %12s %9s\n", "bytes", "threads", "map, gets/s", "cairn", "cairn:map");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        run_size(sizes[i], bytes, repetitions);
    }
    return 0;
}

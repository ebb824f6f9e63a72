/* Batches: how fast they commit beside single puts, what memory they take, and what a put beside them waits.
 *
 *     bench_batch DIRECTORY [REPETITIONS [MiB]]
 *
 * Rows: a batch of 10,000 values of 1 KiB and of 4 KiB; batches of MiB (default 4096) of values of 64 KiB and of
 * 1 MiB. `single` is the same values by cairn_put. `beside` are puts of 4 KiB by another thread, one every 100
 * microseconds, while the batch commits: their 99th percentile and the longest, next to the same with nothing beside
 * ("alone"). `memory` is what the process holds during the commit beyond what it held before, in bytes a change (the
 * batch's own copy of keys and values is there before).
 */
#include "bench/bench_common.h"
#include "src/os/os_thread.h"
#include "src/store/batch_list.h" /* so that single puts take the values from where the batch has them */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPETITIONS_MAX 16
#define BESIDE_BYTES 4096
#define BESIDE_EVERY_US 100

typedef struct plan {
    size_t value_size, count;
    char *value;
} plan;

static cairn *fresh_store(void) {
    folder_remove("store");
    return store_open("store");
}

/* ---- The put beside ---- */

typedef struct beside {
    cairn *store;
    atomic_bool stop;
    latencies *seen;
    _Atomic uint64_t most_ram;
} beside;

static void *put_beside(void *arg) {
    beside *b = arg;
    char key[BENCH_KEY_SIZE], value[BESIDE_BYTES];
    cairn_error error;
    random_fill(value, sizeof value, 3);
    for (uint64_t i = 0; !atomic_load(&b->stop); i++) {
        double begin = now_s();
        must(cairn_put(b->store, key, key_of(key, 900000000000 + i % 1000), value, sizeof value, NULL, &error), "put",
             &error);
        latencies_add(b->seen, now_s() - begin);
        if (i % 64 == 0) {
            uint64_t ram = ram_bytes();
            if (ram > atomic_load(&b->most_ram)) atomic_store(&b->most_ram, ram);
        }
        usleep(BESIDE_EVERY_US);
    }
    return NULL;
}

/* ---- One size ---- */

static void stamp(const plan *p, size_t i) { memcpy(p->value, &i, sizeof i); }

/* A virtual machine may get its memory only when it touches it, which takes longer than all that is measured here. */
static void touch_memory(const plan *p) {
    char *memory = allocate(2 * p->count * p->value_size);
    __asm__ volatile("" : : "r"(memory) : "memory");
    free(memory);
}

static double put_singly(const plan *p, const cairn_batch *batch) {
    cairn_error error;
    touch_memory(p);
    cairn *store = fresh_store();
    double begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        const batch_change *c = &batch->changes[i];
        must(cairn_put(store, batch_key(c), c->key_size, batch_value(c), c->value_size, NULL, &error), "put", &error);
    }
    double seconds = now_s() - begin;
    (void)cairn_close(store);
    return seconds;
}

static cairn_batch *make_batch(const plan *p) {
    char key[BENCH_KEY_SIZE];
    cairn_batch *batch = NULL;
    must(cairn_batch_new(&batch), "a batch", NULL);
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        must(cairn_batch_put(batch, key, key_of(key, i), p->value, p->value_size), "a batch", NULL);
    }
    return batch;
}

static double commit(const plan *p, cairn_batch *batch) {
    cairn_error error;
    touch_memory(p);
    cairn *store = fresh_store();
    double begin = now_s();
    must(cairn_batch_commit(store, batch, NULL, &error), "commit", &error);
    double seconds = now_s() - begin;
    (void)cairn_close(store);
    return seconds;
}

/* The same with puts beside it; with no batch, for as long as one took. */
static void run_beside(const plan *p, cairn_batch *batch, double seconds, latencies *seen, uint64_t *memory) {
    cairn_error error;
    os_thread thread;
    touch_memory(p);
    beside b = {.store = fresh_store(), .seen = seen};
    if (os_thread_start(&thread, put_beside, &b) != 0) die("a thread", "cannot be started");
    usleep(200000);
    memset(seen, 0, sizeof *seen);
    uint64_t before = ram_bytes();
    if (batch == NULL) {
        usleep((useconds_t)(seconds * 1e6));
    } else {
        must(cairn_batch_commit(b.store, batch, NULL, &error), "commit", &error);
    }
    atomic_store(&b.stop, true);
    os_thread_join(&thread);
    *memory = atomic_load(&b.most_ram) > before ? atomic_load(&b.most_ram) - before : 0;
    (void)cairn_close(b.store);
}

static void run_size(size_t value_size, size_t count, int repetitions) {
    static latencies with, alone;
    double single[REPETITIONS_MAX], batched[REPETITIONS_MAX];
    uint64_t memory, ignored;
    plan p = {.value_size = value_size, .count = count, .value = allocate(value_size)};
    random_fill(p.value, value_size, value_size);
    cairn_batch *batch = make_batch(&p);
    for (int r = 0; r < repetitions; r++) {
        if (r % 2 == 0) single[r] = put_singly(&p, batch);
        batched[r] = commit(&p, batch);
        if (r % 2 != 0) single[r] = put_singly(&p, batch);
        sync();
    }
    double mib = (double)(count * value_size) / 1048576.0;
    double ratio = median_ratio(single, batched, repetitions), seconds = median(batched, repetitions);
    run_beside(&p, NULL, seconds < 0.5 ? 0.5 : seconds, &alone, &ignored);
    run_beside(&p, batch, seconds, &with, &memory);
    printf("%8zu %8zu %10.0f %10.0f %8.2f %10.0f %10.0f %10.0f %10.0f %8.0f\n", value_size, count,
           mib / median(single, repetitions), mib / seconds, ratio, latencies_at(&alone, 0.99) * 1e6,
           latencies_at(&with, 0.99) * 1e6, alone.longest * 1e6, with.longest * 1e6, (double)memory / (double)count);
    flush_rows();
    cairn_batch_free(batch);
    free(p.value);
    folder_remove("store");
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage", "bench_batch DIRECTORY [REPETITIONS [MiB]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 5;
    size_t bytes = (argc > 3 ? (size_t)atol(argv[3]) : 4096) << 20;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || bytes < 1 << 20) die("usage", "1 to 16, 1 MiB up");
    scratch_make(argv[1]);
    printf("%8s %8s %10s %10s %8s %21s %21s %8s\n", "bytes", "values", "single", "batch", "batch:", "beside, p99 us",
           "beside, longest us", "memory");
    printf("%8s %8s %10s %10s %8s %10s %10s %10s %10s %8s\n", "", "", "MiB/s", "MiB/s", "single", "alone", "with",
           "alone", "with", "a change");
    run_size(1024, 10000, repetitions);
    run_size(4096, 10000, repetitions);
    run_size(65536, bytes / 65536, repetitions > 3 ? 3 : repetitions);
    run_size(1048576, bytes / 1048576, repetitions > 3 ? 3 : repetitions);
    return 0;
}

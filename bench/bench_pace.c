/* What compaction costs those who put at a steady pace.
 *
 *     bench_pace DIRECTORY [MiB/s [SECONDS [MiB [REPETITIONS]]]]
 *
 * A store gets MiB (default 256) of values, and they are replaced once over as fast as they can be, so that there is
 * garbage. Then for SECONDS (default 8) values of MiB/s (default 16) replace others, keys drawn uniformly, each at
 * its time, or as soon as the one before has returned. A put's latency counts from its time on, so that waiting behind
 * another one counts as well. Two stores take turns, REPETITIONS (default 3) times:
 *
 *   cairn      every default: compaction goes on beside the puts, and the bound on disk space holds
 *   off        max_space_amp so large that nothing is ever compacted
 *
 * p50, p99, p99.9 and the longest in microseconds, medians of the repetitions; `ratio` is that of p99 within a
 * repetition, its median. `amp` is the allocated over the current bytes at the end. */
#include "bench/bench_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define BYTES_MAX (1024 * MIB)
#define REPETITIONS_MAX 16
#define SPACE_AMP_OFF 1e6

static const size_t sizes[] = {4096, 65536, 1048576};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

typedef struct run {
    cairn *store;
    size_t size;
    uint64_t keys, seed;
    char *value;
} run;

typedef struct outcome {
    double p50, p99, p999, longest, amp;
} outcome;

static void put_one(run *r, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    size_t key_size = key_of(key, i);
    memcpy(r->value, &r->seed, sizeof r->seed);
    must(cairn_put(r->store, key, key_size, r->value, r->size, NULL, &error), "put", &error);
}

static void put_any(run *r) { put_one(r, random_next(&r->seed) % r->keys); }

static void make_garbage(run *r) {
    for (uint64_t i = 0; i < r->keys; i++) {
        put_one(r, i);
    }
    for (uint64_t i = 0; i < r->keys; i++) {
        put_any(r);
    }
}

static void put_at_pace(run *r, double bytes_a_second, double seconds, latencies *l) {
    double begin = now_s(), step = (double)r->size / bytes_a_second;
    for (uint64_t i = 0; (double)i * step < seconds; i++) {
        double due = begin + (double)i * step, early = due - now_s();
        if (early > 60e-6) usleep((useconds_t)((early - 50e-6) * 1e6));
        while (now_s() < due) {
        }
        put_any(r);
        latencies_add(l, now_s() - due);
    }
}

static outcome run_once(size_t size, uint64_t bytes, double amp, double bytes_a_second, double seconds, uint64_t seed) {
    static latencies l;
    cairn_error error;
    cairn_options options = {.struct_size = sizeof options, .create = true, .max_space_amp = amp};
    cairn_stats stats = {.struct_size = sizeof stats};
    run r = {.size = size, .keys = bytes / size, .seed = seed, .value = allocate(size)};
    memset(&l, 0, sizeof l);
    random_fill(r.value, size, seed);
    must(cairn_open(&r.store, "store", &options, &error), "open", &error);
    make_garbage(&r);
    sleep(1); /* compaction gets back to where it begins */
    put_at_pace(&r, bytes_a_second, seconds, &l);
    must(cairn_stats_get(r.store, &stats, &error), "stats", &error);
    must(cairn_close(r.store), "close", NULL);
    free(r.value);
    folder_remove("store");
    sync(); /* so that nobody pays for the write-back of the one before */
    return (outcome){.p50 = latencies_at(&l, 0.5) * 1e6,
                     .p99 = latencies_at(&l, 0.99) * 1e6,
                     .p999 = latencies_at(&l, 0.999) * 1e6,
                     .longest = l.longest * 1e6,
                     .amp = (double)stats.allocated_bytes / (double)(r.keys * (size + BENCH_KEY_SIZE))};
}

static void print_row(size_t size, const char *name, const outcome *o, int count, double ratio) {
    double of[5][REPETITIONS_MAX];
    for (int i = 0; i < count; i++) {
        const double figures[5] = {o[i].p50, o[i].p99, o[i].p999, o[i].longest, o[i].amp};
        for (int j = 0; j < 5; j++) {
            of[j][i] = figures[j];
        }
    }
    printf("%-8zu %-6s %9.1f %9.1f %9.1f %9.0f %6.2f", size, name, median(of[0], count), median(of[1], count),
           median(of[2], count), median(of[3], count), median(of[4], count));
    if (ratio > 0) printf(" %6.2f", ratio);
    printf("\n");
    flush_rows();
}

static void rows(size_t size, uint64_t bytes, double bytes_a_second, double seconds, int repetitions) {
    outcome with[REPETITIONS_MAX], without[REPETITIONS_MAX];
    double a[REPETITIONS_MAX], b[REPETITIONS_MAX];
    for (int i = 0; i < repetitions; i++) {
        for (int turn = 0; turn < 2; turn++) {
            bool off = (i + turn) % 2 != 0;
            outcome o = run_once(size, bytes, off ? SPACE_AMP_OFF : 0, bytes_a_second, seconds, (uint64_t)i + 1);
            *(off ? &without[i] : &with[i]) = o;
        }
        a[i] = with[i].p99;
        b[i] = without[i].p99;
    }
    print_row(size, "off", without, repetitions, 0);
    print_row(size, "cairn", with, repetitions, median_ratio(a, b, repetitions));
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 6) die("usage", "bench_pace DIRECTORY [MiB/s [SECONDS [MiB [REPETITIONS]]]]");
    double rate = argc > 2 ? atof(argv[2]) : 16, seconds = argc > 3 ? atof(argv[3]) : 8;
    uint64_t bytes = (argc > 4 ? strtoull(argv[4], NULL, 10) : 256) * MIB;
    int repetitions = argc > 5 ? atoi(argv[5]) : 3;
    if (rate <= 0 || seconds <= 0 || rate * seconds > 4096) die("usage", "MiB/s times SECONDS is 0 to 4096");
    if (bytes < 16 * MIB || bytes > BYTES_MAX) die("usage", "16 to 1024 MiB");
    if (repetitions < 1 || repetitions > REPETITIONS_MAX) die("usage", "1 to 16 repetitions");
    scratch_make(argv[1]);
    printf("%-8s %-6s %9s %9s %9s %9s %6s %6s\n", "bytes", "store", "p50 us", "p99", "p99.9", "max", "amp", "ratio");
    for (size_t i = 0; i < SIZES; i++) {
        rows(sizes[i], bytes, rate * (double)MIB, seconds, repetitions);
    }
    return 0;
}

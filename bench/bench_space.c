/* How the store holds its bound on disk space, what that costs, and how fast and how far it gives space back.
 *
 *     bench_space DIRECTORY [REPETITIONS [MiB [ROUNDS [SIZE]]]]
 *
 * Overwriting: a store gets MiB (default 512) of values, then ROUNDS (default 10; 0: only the second table) times as
 * many bytes replace them. `bytes` is the size of a value; mix: each put draws 4 KiB, 64 KiB or 1 MiB, so that each has
 * a third of the bytes; with SIZE (as it stands in that column) only those rows. `keys` are drawn by zipf 0.99, with
 * the frequent ones anywhere, or uniformly. Three stores take turns with the same puts, REPETITIONS (default 3) times:
 *
 *   cairn      every default
 *   cairn off  max_space_amp so large that nothing is ever compacted
 *   rocksdb    with blob files (engine_rocksdb.c); only where it was there when this was built
 *
 *   amp peak, mean   allocated bytes of the directory, as du counts them, over the keys and values that are current;
 *                    looked at 400 times while values are replaced
 *   of bound         the largest ratio, from the first put on, of the allocated bytes to what cairn.h promises:
 *                    A * live + the larger of 8 MiB and two segments. A: 1.25, 1.10 for values of 64 KiB and more, in
 *                    the mix by their shares of what is current. live: cairn_stats; a segment: the largest one
 *                    in the directory at that moment. Above 1.00 the promise was broken.
 *   of 8 MiB         the same to A * live + 8 MiB: how much of the room for segments is made use of
 *   write amp, proc  bytes that the process handed to the file system (/proc/self/io, less what was cancelled before
 *                    it got to the device) over bytes of all values put, the first ones too; from before the opening
 *                    to after the close and a sync
 *   write amp, dev   sectors written to the device over the same, when DIRECTORY is on a loop device; by
 *                    everybody, and with the file system's journal
 *   MiB/s            of values, while they are replaced
 *   p50, p99, max    microseconds that a replacing put took
 *
 * Deleting: a store gets MiB of values, and then 90 % of its keys are deleted in random order.
 *
 *   bound, 8 MiB s   seconds from the last delete until the directory is by itself within the bound, and within A *
 *                    live + 8 MiB; - when it has not changed for 10 seconds before that
 *   amp settled      allocated over current keys and values then
 *   compact s        how long cairn_compact with `full` takes after that
 *   moved MiB        what it wrote again
 *   amp full         allocated over current keys and values then
 *   of aim           allocated over 1.02 * live + 2 MiB
 *
 * Figures are medians of the repetitions, `of bound` and `of 8 MiB` the largest ones. After each run up to 1,000 keys
 * are read and must have their newest values, or none. The disk holds one store at a time: at most MiB * (ROUNDS + 1)
 * and some, which may not be above 8 GiB. */
#include "bench/bench_common.h"
#include "bench/disk_use.h"
#include "bench/engine.h"
#include "bench/stamped.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define TOTAL_MAX (8192 * MIB)
#define REPETITIONS_MAX 16
#define SAMPLES 400
#define CHECKED 1000
#define SPACE_AMP_SMALL 1.25 /* the defaults of max_space_amp: of values below 64 KiB, */
#define SPACE_AMP_LARGE 1.10 /* and of the others */
#define LARGE_BYTES ((size_t)65536)
#define SLACK_BYTES ((double)(8 * MIB))
#define SKEW 0.99
#define QUIET_SECONDS 10.0 /* a sync may take some, and changes nothing meanwhile */
#define POLL_US 10000

/* ---- Values: of three sizes, each of random bytes with key and version at both ends ---- */

enum { SIZES = 3, MIX = SIZES };
static const size_t sizes[SIZES] = {4096, 65536, 1048576};
static const char *const size_names[SIZES + 1] = {"4096", "65536", "1048576", "mix"};
static stamped values[SIZES];

static size_t draw_size(size_t of, uint64_t *seed) {
    if (of != MIX) return of;
    uint64_t r = random_next(seed) % 273; /* 256 + 16 + 1: as the sizes are to each other */
    return r < 256 ? 0 : r < 272 ? 1 : 2;
}

static double mean_size(size_t of) { return of == MIX ? 3.0 * 1048576 / 273 : (double)sizes[of]; }

/* ---- Stores ---- */

static const engine *const engines[] = {
    &engine_cairn,
    &engine_cairn_off,
#ifdef BENCH_ROCKSDB
    &engine_rocksdb,
#endif
};
#define ENGINES (sizeof engines / sizeof engines[0])

/* ---- The bound ---- */

static double live_bytes(cairn *store) {
    cairn_error error;
    cairn_stats stats = {.struct_size = sizeof stats};
    must(cairn_stats_get(store, &stats, &error), "stats", &error);
    return (double)(stats.live_bytes + stats.edge_bytes);
}

/* Both: what is allocated, to what live bytes may take (may_take), with the room that is left besides. */
static double of_bound(disk_use use, double may_take) {
    return (double)use.allocated / (may_take + fmax(SLACK_BYTES, 2.0 * (double)use.segment));
}

static double of_slack(disk_use use, double may_take) { return (double)use.allocated / (may_take + SLACK_BYTES); }

/* ---- A table: columns of medians ---- */

#define COLUMNS_MAX 10

typedef struct column {
    const char *above, *name;
    int decimals;
    bool worst; /* the largest of the repetitions, not the median */
} column;

typedef double figures[COLUMNS_MAX][REPETITIONS_MAX];

static void print_heads(const column *columns, size_t count) {
    printf("\n%-8s %-8s %-10s", "", "", "");
    for (size_t i = 0; i < count; i++) {
        printf(" %9s", columns[i].above);
    }
    printf("\n%-8s %-8s %-10s", "bytes", "keys", "store");
    for (size_t i = 0; i < count; i++) {
        printf(" %9s", columns[i].name);
    }
    printf("\n");
}

/* What is unknown in one repetition is unknown in all, or it is for ever: INFINITY. Both are a dash. */
static void print_row(const column *columns, size_t count, figures of, int repetitions) {
    for (size_t i = 0; i < count; i++) {
        double middle = isnan(of[i][0]) ? NAN : median(of[i], repetitions); /* sorts them */
        double value = columns[i].worst ? of[i][repetitions - 1] : middle;
        if (isfinite(value)) {
            printf(" %9.*f", columns[i].decimals, value);
        } else {
            printf(" %9s", "-");
        }
    }
    printf("\n");
    flush_rows();
}

/* ---- One store with its keys ---- */

static const engine_setup every_default;

typedef struct plan {
    size_t size; /* an index of sizes, or MIX */
    uint32_t keys;
    uint64_t bytes, rounds;
    double *zipf;  /* NULL: uniform */
    size_t *order; /* rank -> key */
} plan;

typedef struct run {
    const plan *plan;
    const engine *engine;
    void *store, *session;
    uint32_t *versions; /* of each key; 0: none */
    uint8_t *key_sizes; /* the index of its value's size */
    uint64_t seed;
    uint64_t put, live; /* bytes of values put; of keys and values that are current */
    uint64_t large;     /* of live: with values of LARGE_BYTES and more */
} run;

static void run_begin(run *r, const plan *p, const engine *e, uint64_t seed) {
    *r = (run){.plan = p, .engine = e, .seed = seed};
    r->versions = allocate(p->keys * sizeof *r->versions);
    r->key_sizes = allocate(p->keys);
    memset(r->versions, 0, p->keys * sizeof *r->versions);
    r->store = e->open("store", &every_default);
    r->session = engine_session(e, r->store);
}

static void run_end(run *r) {
    engine_session_end(r->engine, r->session);
    r->engine->close(r->store);
    free(r->versions);
    free(r->key_sizes);
}

static uint64_t current_bytes(const run *r, uint32_t i) { return BENCH_KEY_SIZE + sizes[r->key_sizes[i]]; }

static bool is_large(const run *r, uint32_t i) { return sizes[r->key_sizes[i]] >= LARGE_BYTES; }

static void forget(run *r, uint32_t i) {
    if (r->versions[i] == 0) return;
    r->live -= current_bytes(r, i);
    if (is_large(r, i)) r->large -= current_bytes(r, i);
    r->versions[i] = 0;
}

static void remember(run *r, uint32_t i, uint32_t version, size_t size) {
    r->versions[i] = version;
    r->key_sizes[i] = (uint8_t)size;
    r->live += current_bytes(r, i);
    if (is_large(r, i)) r->large += current_bytes(r, i);
}

static double may_take(const run *r) {
    double large = (double)r->large / (double)r->live;
    return (large * SPACE_AMP_LARGE + (1 - large) * SPACE_AMP_SMALL) * live_bytes(r->store);
}

/* Returns the seconds it took. */
static double put_key(run *r, uint32_t i) {
    char key[BENCH_KEY_SIZE];
    uint32_t version = r->versions[i] + 1;
    size_t key_size = key_of(key, i), size = draw_size(r->plan->size, &r->seed);
    const char *value = stamped_value(&values[size], i, version);
    double begin = now_s();
    r->engine->put(r->session, key, key_size, value, sizes[size]);
    double seconds = now_s() - begin;
    forget(r, i);
    remember(r, i, version, size);
    r->put += sizes[size];
    return seconds;
}

static void check_absent(const run *r, uint32_t i) {
    char key[BENCH_KEY_SIZE];
    cairn_entry entry = {.struct_size = sizeof entry};
    int code = cairn_stat(r->store, key, key_of(key, i), &entry, NULL);
    if (code != CAIRN_NOT_FOUND) die("a deleted key", cairn_strerror(code));
}

static void check_newest(const run *r, uint32_t i, char *buffer) {
    char key[BENCH_KEY_SIZE];
    size_t size = r->engine->get(r->session, key, key_of(key, i), buffer, sizes[SIZES - 1]);
    if (!stamped_is(&values[r->key_sizes[i]], i, r->versions[i], buffer, size)) {
        die(r->engine->name, "a value is not the newest one of its key");
    }
}

/* Every key where there are few of them. */
static void check_sample(run *r) {
    char *buffer = allocate(sizes[SIZES - 1]);
    uint32_t step = r->plan->keys / CHECKED + 1;
    for (uint32_t i = (uint32_t)(random_next(&r->seed) % step); i < r->plan->keys; i += step) {
        if (r->versions[i] == 0) {
            check_absent(r, i);
        } else {
            check_newest(r, i, buffer);
        }
    }
    free(buffer);
}

/* ---- Overwriting ---- */

enum { PEAK, MEAN, OF_BOUND, OF_SLACK, PROCESS, DEVICE, SPEED, P50, P99, LONGEST, OVERWRITING };
static const column overwriting[OVERWRITING] = {
    [PEAK] = {"amp", "peak", 2, false},
    [MEAN] = {"amp", "mean", 2, false},
    [OF_BOUND] = {"of", "bound", 2, true},
    [OF_SLACK] = {"of", "8 MiB", 2, true},
    [PROCESS] = {"write amp", "proc", 2, false},
    [DEVICE] = {"write amp", "dev", 2, false},
    [SPEED] = {"", "MiB/s", 0, false},
    [P50] = {"p50", "us", 1, false},
    [P99] = {"p99", "us", 1, false},
    [LONGEST] = {"max", "us", 0, false},
};

typedef struct samples {
    double peak, sum, of_bound, of_slack;
    unsigned count;
} samples;

static void sample(const run *r, samples *s, bool filled) {
    disk_use use = disk_use_of("store");
    double amp = (double)use.allocated / (double)r->live;
    if (filled) {
        s->peak = fmax(s->peak, amp);
        s->sum += amp;
        s->count++;
    }
    if (r->engine != &engine_cairn) return;
    double bytes = may_take(r);
    s->of_bound = fmax(s->of_bound, of_bound(use, bytes));
    s->of_slack = fmax(s->of_slack, of_slack(use, bytes));
}

static uint32_t next_key(run *r) {
    const plan *p = r->plan;
    if (p->zipf == NULL) return (uint32_t)(random_next(&r->seed) % p->keys);
    return (uint32_t)p->order[zipf_next(p->zipf, p->keys, &r->seed)];
}

static void fill(run *r, samples *s) {
    uint64_t step = r->plan->bytes / SAMPLES, next = step;
    for (uint32_t i = 0; i < r->plan->keys; i++) {
        (void)put_key(r, i);
        if (r->put < next) continue;
        if (s != NULL) sample(r, s, false);
        next = r->put + step;
    }
}

/* Returns the seconds it took, without what the looking took. */
static double overwrite(run *r, samples *s, latencies *l) {
    uint64_t total = r->plan->bytes * r->plan->rounds, step = total / SAMPLES;
    uint64_t next = r->put + step, end = r->put + total;
    double begin = now_s(), looking = 0;
    while (r->put < end) {
        latencies_add(l, put_key(r, next_key(r)));
        if (r->put < next) continue;
        double look = now_s();
        sample(r, s, true);
        looking += now_s() - look;
        next += step;
    }
    return now_s() - begin - looking;
}

static void overwrite_once(const plan *p, const engine *e, uint64_t seed, int repetition, figures of) {
    static latencies l;
    run r;
    samples s = {.of_bound = NAN, .of_slack = NAN};
    memset(&l, 0, sizeof l);
    written before = written_now();
    run_begin(&r, p, e, seed);
    fill(&r, &s);
    double seconds = overwrite(&r, &s, &l);
    check_sample(&r);
    run_end(&r);
    written after = written_now();
    const double figure[OVERWRITING] = {
        [PEAK] = s.peak,
        [MEAN] = s.sum / s.count,
        [OF_BOUND] = s.of_bound,
        [OF_SLACK] = s.of_slack,
        [PROCESS] = (after.process - before.process) / (double)r.put,
        [DEVICE] = (after.device - before.device) / (double)r.put,
        [SPEED] = (double)(p->bytes * p->rounds / MIB) / seconds,
        [P50] = latencies_at(&l, 0.5) * 1e6,
        [P99] = latencies_at(&l, 0.99) * 1e6,
        [LONGEST] = l.longest * 1e6,
    };
    for (size_t i = 0; i < OVERWRITING; i++) {
        of[i][repetition] = figure[i];
    }
    folder_remove("store");
}

static void overwrite_rows(const plan *p, int repetitions) {
    static figures of[ENGINES];
    for (int i = 0; i < repetitions; i++) {
        for (size_t j = 0; j < ENGINES; j++) {
            size_t turn = (j + (size_t)i) % ENGINES;
            overwrite_once(p, engines[turn], (uint64_t)i + 1, i, of[turn]);
        }
    }
    for (size_t j = 0; j < ENGINES; j++) {
        printf("%-8s %-8s %-10s", size_names[p->size], p->zipf != NULL ? "zipf" : "uniform", engines[j]->name);
        print_row(overwriting, OVERWRITING, of[j], repetitions);
    }
}

/* ---- Deleting ---- */

enum { DELETE_S, BOUND_S, SLACK_S, SETTLED, COMPACT_S, MOVED, FULL, OF_AIM, DELETING };
static const column deleting[DELETING] = {
    [DELETE_S] = {"delete", "s", 2, false},   [BOUND_S] = {"bound", "s", 2, false},
    [SLACK_S] = {"8 MiB", "s", 2, false},     [SETTLED] = {"amp", "settled", 2, false},
    [COMPACT_S] = {"compact", "s", 2, false}, [MOVED] = {"moved", "MiB", 1, false},
    [FULL] = {"amp", "full", 3, false},       [OF_AIM] = {"of", "aim", 3, false},
};

static double delete_most(run *r) {
    uint32_t keys = r->plan->keys, gone = (uint32_t)((uint64_t)keys * 9 / 10);
    double begin = now_s();
    for (uint32_t i = 0; i < gone; i++) {
        char key[BENCH_KEY_SIZE];
        cairn_error error;
        uint32_t k = (uint32_t)r->plan->order[i];
        must(cairn_delete(r->store, key, key_of(key, k), NULL, &error), "delete", &error);
        forget(r, k);
    }
    return now_s() - begin;
}

/* Waits until the directory is within what live bytes may take and 8 MiB, or does not change any more. */
static void await_settled(const run *r, double *bound_s, double *slack_s) {
    double begin = now_s(), changed = begin, now = begin, bytes = may_take(r);
    uint64_t last = 0;
    *bound_s = *slack_s = INFINITY;
    while (isinf(*slack_s) && now < changed + QUIET_SECONDS) {
        disk_use use = disk_use_of("store");
        now = now_s();
        if (use.allocated != last) changed = now;
        last = use.allocated;
        if (isinf(*bound_s) && of_bound(use, bytes) <= 1) *bound_s = now - begin;
        if (of_slack(use, bytes) <= 1) *slack_s = now - begin;
        if (isinf(*slack_s)) usleep(POLL_US);
    }
}

static void delete_once(const plan *p, uint64_t seed, int repetition, figures of) {
    run r;
    double bound_s, slack_s;
    cairn_error error;
    cairn_compact_options options = {.struct_size = sizeof options, .full = true};
    cairn_compact_result result = {.struct_size = sizeof result};
    run_begin(&r, p, &engine_cairn, seed);
    fill(&r, NULL);
    double delete_s = delete_most(&r);
    await_settled(&r, &bound_s, &slack_s);
    disk_use settled = disk_use_of("store");
    double begin = now_s();
    must(cairn_compact(r.store, &options, &result, &error), "compact", &error);
    double compact_s = now_s() - begin;
    disk_use full = disk_use_of("store");
    const double figure[DELETING] = {
        [DELETE_S] = delete_s,
        [BOUND_S] = bound_s,
        [SLACK_S] = slack_s,
        [SETTLED] = (double)settled.allocated / (double)r.live,
        [COMPACT_S] = compact_s,
        [MOVED] = (double)result.bytes_moved / (double)MIB,
        [FULL] = (double)full.allocated / (double)r.live,
        [OF_AIM] = (double)full.allocated / (1.02 * live_bytes(r.store) + 2.0 * (double)MIB),
    };
    for (size_t i = 0; i < DELETING; i++) {
        of[i][repetition] = figure[i];
    }
    check_sample(&r);
    run_end(&r);
    folder_remove("store");
    sync(); /* so that nobody pays for the write-back of the one before */
}

static void delete_row(const plan *p, int repetitions) {
    static figures of;
    for (int i = 0; i < repetitions; i++) {
        delete_once(p, (uint64_t)i + 1, i, of);
    }
    printf("%-8s %-8s %-10s", size_names[p->size], "random", engine_cairn.name);
    print_row(deleting, DELETING, of, repetitions);
}

/* ---- The tables ---- */

static plan plan_new(size_t size, bool zipf, uint64_t bytes, uint64_t rounds) {
    plan p = {.size = size, .bytes = bytes, .rounds = rounds, .keys = (uint32_t)((double)bytes / mean_size(size))};
    p.order = allocate(p.keys * sizeof *p.order);
    shuffle(p.order, 0, p.keys, size + 1);
    if (zipf) p.zipf = zipf_new(p.keys, SKEW);
    return p;
}

static void plan_free(plan *p) {
    free(p->order);
    free(p->zipf);
}

static void overwrite_table(int repetitions, uint64_t bytes, uint64_t rounds, const char *only) {
    print_heads(overwriting, OVERWRITING);
    for (size_t size = 0; size <= MIX; size++) {
        if (only != NULL && strcmp(only, size_names[size]) != 0) continue;
        for (int zipf = 1; zipf >= 0; zipf--) {
            plan p = plan_new(size, zipf != 0, bytes, rounds);
            overwrite_rows(&p, repetitions);
            plan_free(&p);
        }
    }
}

static void delete_table(int repetitions, uint64_t bytes, const char *only) {
    print_heads(deleting, DELETING);
    for (size_t size = 0; size <= MIX; size++) {
        if (only != NULL && strcmp(only, size_names[size]) != 0) continue;
        plan p = plan_new(size, false, bytes, 0);
        delete_row(&p, repetitions);
        plan_free(&p);
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 6) die("usage", "bench_space DIRECTORY [REPETITIONS [MiB [ROUNDS [SIZE]]]]");
    const char *only = argc > 5 ? argv[5] : NULL;
    int repetitions = argc > 2 ? atoi(argv[2]) : 3;
    long mib = argc > 3 ? atol(argv[3]) : 512, rounds = argc > 4 ? atol(argv[4]) : 10;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || mib < 16 || rounds < 0) {
        die("usage", "1 to 16 repetitions, 16 MiB up");
    }
    if (mib > (long)(TOTAL_MAX / MIB) || rounds > (long)(TOTAL_MAX / MIB) / mib - 1) {
        die("usage", "MiB * (ROUNDS + 1) is above 8192");
    }
    scratch_make(argv[1]);
    for (size_t i = 0; i < SIZES; i++) {
        values[i] = stamped_new(sizes[i], false, i);
    }
    if (rounds > 0) overwrite_table(repetitions, (uint64_t)mib * MIB, (uint64_t)rounds, only);
    delete_table(repetitions, (uint64_t)mib * MIB, only);
    return 0;
}

/* Scans in order, beside LMDB and RocksDB.
 *
 *     bench_scan DIRECTORY [REPETITIONS [KEYS [MiB]]]
 *
 * Three kinds of stores: KEYS (default 5,000,000) keys with values of 100 bytes, of which only the keys are listed, and
 * MiB (default 512) of values of 4 KiB and of 64 KiB. Keys are "user/9a3f01c7/img-000042.jpg", a hundred of each user,
 * put in random order, the same into each of
 *
 *   cairn     every default
 *   lmdb      LMDB by itself (scan_lmdb.c), the same values; empty ones where only keys are listed of values of 100
 *             bytes. Only where the ordered index is built.
 *   rocksdb   values of 1 KiB and more in blob files (scan_rocksdb.c), others among the keys, as its own compaction
 *             leaves them; only where it was there when this was built. Its iterator reads every value in a blob file
 *             that it passes, also where only keys are listed: release 7.8 can do no other.
 *
 * The first table of each kind is about filling: `fill s` to the return of the last put, `settle s` until nothing goes
 * on any more and the store is closed, `MiB` is what it takes on the disk, as du counts.
 *
 * The second one is about listing, in thousands of keys a second, opening the scan included:
 *
 *   list       keys, or also the values, of which every byte is looked at
 *   all        the whole store
 *   range      1,000 keys between two bounds, anywhere
 *   prefix     the 100 keys of a user
 *   first      the same once, of a store that was just opened, cold: a listing that somebody waits for
 *   like a%    user/H%/img-____42.jpg, once for each hexadecimal digit H: together they walk the whole store, and that
 *              is what is counted. The others walk between the same bounds, and match with scan_like.c.
 *   like %a%   %/img-____42%, likewise
 *   order      forward or reverse
 *   cache      warm: all has been listed before. cold: the store was closed, the page cache dropped and the store
 *              opened again, which is not counted; - where dropping is not permitted. Warm, ranges and prefixes list
 *              as many keys as there are; cold, a twentieth.
 *   of lmdb    cairn's keys a second over those of lmdb, within a repetition: 0.77 is 1.3 times the time
 *   of rocksdb the same to rocksdb
 *
 * Figures are medians of REPETITIONS (default 3), in which the stores take turns at each line. The number of keys of
 * every run must be right, and a hash of what was listed, in its order, the same for all stores. The disk holds the
 * stores of one kind at a time: for MiB some five times as much. Cold lists of all values take most of the time. */
#include "bench/bench_common.h"
#include "bench/disk_use.h"
#include "bench/scan_engine.h"
#include "bench/scan_keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define MIB_MAX 1536
#define REPETITIONS_MAX 16
#define RANGE_KEYS 1000
#define COLD_PART 20
#define SMALL_VALUE 100

/* ---- Stores ---- */

static const scan_engine *const engines[] = {
    &scan_cairn,
#ifdef BENCH_LMDB
    &scan_lmdb,
#endif
#ifdef BENCH_ROCKSDB
    &scan_rocksdb,
#endif
};
#define ENGINES (sizeof engines / sizeof engines[0])

typedef struct plan {
    scan_keys keys;
    size_t value_size;
    bool values; /* they are listed too */
    int repetitions;
} plan;

/* Each value begins with the rank of its key. */
static void fill(const plan *p, const scan_engine *e, void *store) {
    char key[SCAN_KEY_SIZE], *value = allocate(p->value_size);
    size_t *order = allocate(p->keys.count * sizeof *order);
    bool empty = false;
#ifdef BENCH_LMDB
    empty = e == &scan_lmdb && !p->values;
#endif
    random_fill(value, p->value_size, 1);
    shuffle(order, 0, p->keys.count, 1);
    for (uint64_t i = 0; i < p->keys.count; i++) {
        memcpy(value, &order[i], sizeof order[i]);
        e->put(store, key, scan_key(&p->keys, order[i], key), value, empty ? 0 : p->value_size);
    }
    free(order);
    free(value);
}

static void fill_row(const plan *p, const scan_engine *e) {
    double begin = now_s();
    void *store = e->open(e->name);
    fill(p, e, store);
    double filled = now_s();
    e->settle(store);
    e->close(store);
    double settled = now_s();
    printf("%-8zu %-8s %9.1f %9.1f %9.0f\n", p->value_size, e->name, filled - begin, settled - filled,
           (double)disk_use_of(e->name).allocated / (double)MIB);
    flush_rows();
}

static void fill_table(const plan *p) {
    printf("\n%-8s %-8s %9s %9s %9s\n", "bytes", "store", "fill s", "settle s", "MiB");
    for (size_t i = 0; i < ENGINES; i++) {
        fill_row(p, engines[i]);
    }
}

/* ---- What is asked ---- */

typedef enum kind { ALL, RANGE, PREFIX, FIRST, LIKE_PREFIX, LIKE_ANY, KINDS } kind;
static const char *const kind_names[KINDS] = {"all", "range", "prefix", "first", "like a%", "like %a%"};

typedef struct row {
    kind kind;
    bool values, reverse, cold;
} row;

static uint64_t range_keys(const plan *p) { return p->keys.count < RANGE_KEYS ? p->keys.count : RANGE_KEYS; }

static uint64_t query_count(const plan *p, const row *r) {
    if (r->kind == ALL || r->kind == FIRST || r->kind == LIKE_ANY) return 1;
    if (r->kind == LIKE_PREFIX) return 16;
    uint64_t of_each = r->kind == RANGE ? range_keys(p) : SCAN_KEYS_A_USER;
    uint64_t count = p->keys.count / of_each / (r->cold ? COLD_PART : 1);
    return count != 0 ? count : 1;
}

static uint64_t looked_at(const plan *p, const row *r) {
    if (r->kind == RANGE) return query_count(p, r) * range_keys(p);
    if (r->kind == PREFIX || r->kind == FIRST) return query_count(p, r) * SCAN_KEYS_A_USER;
    return p->keys.count;
}

/* The patterns match one key of each user. */
static uint64_t listed(const plan *p, const row *r) {
    return r->kind == LIKE_PREFIX || r->kind == LIKE_ANY ? p->keys.count / SCAN_KEYS_A_USER : looked_at(p, r);
}

static void ask_range(scan_query *q, const plan *p, uint64_t *seed) {
    uint64_t first = random_next(seed) % (p->keys.count - range_keys(p) + 1), behind = first + range_keys(p);
    q->lower_size = scan_key(&p->keys, first, q->lower);
    if (behind < p->keys.count) q->upper_size = scan_key(&p->keys, behind, q->upper);
}

/* All that begins with `lower`. */
static void bound_above(scan_query *q, size_t size) {
    q->lower_size = q->upper_size = size;
    memcpy(q->upper, q->lower, size);
    q->upper[size - 1]++;
}

static void ask_prefix(scan_query *q, const plan *p, uint64_t *seed) {
    (void)scan_key(&p->keys, random_next(seed) % p->keys.count, q->lower);
    bound_above(q, SCAN_PREFIX_SIZE);
    q->is_prefix = true;
}

static void ask_like_prefix(scan_query *q, uint64_t i) {
    q->like_size = (size_t)snprintf(q->like, sizeof q->like, "user/%x%%/img-____42.jpg", (unsigned)i);
    memcpy(q->lower, q->like, strlen("user/H"));
    bound_above(q, strlen("user/H"));
}

static void ask_like_any(scan_query *q) { q->like_size = (size_t)snprintf(q->like, sizeof q->like, "%%/img-____42%%"); }

static void ask(scan_query *q, const plan *p, const row *r, uint64_t i, uint64_t *seed) {
    *q = (scan_query){.reverse = r->reverse, .values = r->values};
    q->is_long = r->kind != RANGE && r->kind != PREFIX && r->kind != FIRST;
    if (r->kind == RANGE) ask_range(q, p, seed);
    if (r->kind == PREFIX || r->kind == FIRST) ask_prefix(q, p, seed);
    if (r->kind == LIKE_PREFIX) ask_like_prefix(q, i);
    if (r->kind == LIKE_ANY) ask_like_any(q);
}

/* ---- Listing ---- */

/* Returns the seconds it took. */
static double list(const plan *p, const row *r, const scan_engine *e, void *store, uint64_t seed, scan_sum *sum) {
    scan_query q;
    uint64_t count = query_count(p, r);
    *sum = (scan_sum){0};
    double begin = now_s();
    for (uint64_t i = 0; i < count; i++) {
        ask(&q, p, r, i, &seed);
        e->scan(store, &q, sum);
    }
    double seconds = now_s() - begin;
    if (sum->keys != listed(p, r)) die(e->name, "lists another number of keys than there are");
    return seconds;
}

/* False: the page cache cannot be dropped. */
static bool list_cold(const plan *p, const row *r, const scan_engine *e, uint64_t seed, scan_sum *sum,
                      double *seconds) {
    if (!caches_drop()) return false;
    void *store = e->open(e->name);
    *seconds = list(p, r, e, store, seed, sum);
    e->close(store);
    return true;
}

typedef double figures[ENGINES][REPETITIONS_MAX]; /* keys a second; NAN: unknown */

static void list_once(const plan *p, const row *r, void **stores, int repetition, figures of) {
    scan_sum sums[ENGINES];
    uint64_t seed = (uint64_t)repetition + 1;
    for (size_t i = 0; i < ENGINES; i++) {
        size_t turn = (i + (size_t)repetition) % ENGINES;
        const scan_engine *e = engines[turn];
        double seconds = NAN;
        if (!r->cold) {
            seconds = list(p, r, e, stores[turn], seed, &sums[turn]);
        } else if (!list_cold(p, r, e, seed, &sums[turn], &seconds)) {
            sums[turn] = (scan_sum){0};
        }
        of[turn][repetition] = (double)looked_at(p, r) / seconds;
    }
    for (size_t i = 1; i < ENGINES; i++) {
        if (sums[i].hash != sums[0].hash || sums[i].keys != sums[0].keys) die(engines[i]->name, "lists other keys");
    }
}

/* ---- The tables ---- */

static void print_number(double value, int width, int decimals) {
    if (isfinite(value)) {
        printf(" %*.*f", width, decimals, value);
    } else {
        printf(" %*s", width, "-");
    }
}

static void list_heads(void) {
    printf("\n%-8s %-7s %-9s %-8s %-6s", "bytes", "list", "what", "order", "cache");
    for (size_t i = 0; i < ENGINES; i++) {
        printf(" %9s", engines[i]->name);
    }
    for (size_t i = 1; i < ENGINES; i++) {
        printf(" %3s%7s", "of ", engines[i]->name);
    }
    printf("\n");
}

static void list_row(const plan *p, const row *r, figures of) {
    double ratio[ENGINES];
    bool unknown = isnan(of[0][0]);
    for (size_t i = 1; i < ENGINES; i++) {
        ratio[i] = unknown ? NAN : median_ratio(of[0], of[i], p->repetitions);
    }
    printf("%-8zu %-7s %-9s %-8s %-6s", p->value_size, r->values ? "values" : "keys", kind_names[r->kind],
           r->reverse ? "reverse" : "forward", r->cold ? "cold" : "warm");
    for (size_t i = 0; i < ENGINES; i++) {
        print_number(unknown ? NAN : median(of[i], p->repetitions) / 1e3, 9, 1);
    }
    for (size_t i = 1; i < ENGINES; i++) {
        print_number(ratio[i], 10, 2);
    }
    printf("\n");
    flush_rows();
}

/* All stores are open while it is warm, and none when it is cold. */
static void open_all(const plan *p, void **stores) {
    for (size_t i = 0; i < ENGINES; i++) {
        scan_sum sum;
        const row all = {.kind = ALL, .values = p->values};
        stores[i] = engines[i]->open(engines[i]->name);
        (void)list(p, &all, engines[i], stores[i], 0, &sum);
    }
}

static void close_all(void **stores) {
    for (size_t i = 0; i < ENGINES; i++) {
        engines[i]->close(stores[i]);
    }
}

static size_t rows_of(const plan *p, bool cold, row *rows) {
    size_t count = 0;
    for (int values = 0; values <= (p->values ? 1 : 0); values++) {
        for (int k = 0; k < KINDS; k++) {
            if (k == FIRST && !cold) continue;
            if (p->values && (values ? k >= LIKE_PREFIX : k != ALL)) continue;
            for (int reverse = 0; reverse <= 1; reverse++) {
                rows[count++] = (row){.kind = (kind)k, .values = values != 0, .reverse = reverse != 0, .cold = cold};
            }
        }
    }
    return count;
}

#define ROWS_MAX ((size_t)KINDS * 4)

static void list_table(const plan *p) {
    static figures of[ROWS_MAX];
    row rows[ROWS_MAX];
    void *stores[ENGINES];
    list_heads();
    for (int cold = 0; cold <= 1; cold++) {
        size_t count = rows_of(p, cold != 0, rows);
        if (cold == 0) open_all(p, stores);
        for (int i = 0; i < p->repetitions; i++) {
            for (size_t j = 0; j < count; j++) {
                list_once(p, &rows[j], stores, i, of[j]);
            }
        }
        if (cold == 0) close_all(stores);
        for (size_t j = 0; j < count; j++) {
            list_row(p, &rows[j], of[j]);
        }
    }
}

static void tables(uint64_t keys, size_t value_size, bool values, int repetitions) {
    plan p = {.keys = scan_keys_new(keys), .value_size = value_size, .values = values, .repetitions = repetitions};
    fill_table(&p);
    list_table(&p);
    for (size_t i = 0; i < ENGINES; i++) {
        folder_remove(engines[i]->name);
    }
    scan_keys_free(&p.keys);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 5) die("usage", "bench_scan DIRECTORY [REPETITIONS [KEYS [MiB]]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 3;
    uint64_t keys = argc > 3 ? strtoull(argv[3], NULL, 10) : 5000000;
    uint64_t mib = argc > 4 ? strtoull(argv[4], NULL, 10) : 512;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX) die("usage", "1 to 16 repetitions");
    if ((keys != 0 && keys < 1000) || keys > 10000000) die("usage", "1,000 to 10,000,000 keys, or 0 for none");
    if ((mib != 0 && mib < 16) || mib > MIB_MAX) die("usage", "16 to 1536 MiB, or 0 for none");
    scratch_make(argv[1]);
    if (keys != 0) tables(keys, SMALL_VALUE, false, repetitions);
    if (mib == 0) return 0;
    tables(mib * MIB / 4096, 4096, true, repetitions);
    tables(mib * MIB / 65536, 65536, true, repetitions);
    return 0;
}

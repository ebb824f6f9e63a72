/* What the ordered index costs those who put, and how long it takes to build.
 *
 *     bench_ordered DIRECTORY [REPETITIONS [MiB [KEYS]]]
 *
 * Putting: MiB (default 1024; 0: none) of values of 4 KiB and of 64 KiB, and KEYS (default 5,000,000) of 100 bytes,
 * each under a key of its own ("user/9a3f01c7/img-000042.jpg"), in random order, by one thread into a new store. Stores
 * with and without the index take turns, with the same puts, REPETITIONS (default 5) times; of 100 bytes once.
 *
 *   returned   thousands of puts a second until the last one has returned
 *   closed     the same until the store is closed, by when all keys are in the index and all is synced
 *   p99, max   microseconds that a put took
 *   pending    thousands of keys that the index did not have yet when the last put returned
 *   ratios     with to without, within a repetition
 *
 * Building: the store of KEYS keys with values of 100 bytes. Rows, medians of REPETITIONS:
 *
 *   rebuild, warm   cairn_index_rebuild
 *   rebuild, cold   the same, the page cache dropped and the store opened before; without where that is not permitted
 *   drop, add       cairn_index_drop and cairn_index_add after it
 *   file removed    from the opening of a store without the index's file until a scan gives its first key
 *   index file      its length after the filling, and after a rebuild
 *
 * Behind each of them all keys are listed: the number, and that they ascend. The disk holds one store at a time: MiB
 * and a tenth, or 400 bytes a key. */
#include "bench/bench_common.h"
#include "bench/scan_keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define REPETITIONS_MAX 16
#define SMALL_VALUE 100

static void tell(void *ctx, int level, const char *message) {
    (void)ctx;
    if (level <= CAIRN_LOG_WARNING) fprintf(stderr, "bench_ordered: cairn says: %s\n", message);
}

static cairn *open_with(int ordered, bool silent) {
    cairn *store = NULL;
    cairn_error error;
    cairn_options options = {.struct_size = sizeof options, .create = true, .ordered_index = ordered};
    if (!silent) options.log = tell;
    must(cairn_open(&store, "store", &options, &error), "open", &error);
    return store;
}

static void close_store(cairn *store) {
    int code = cairn_close(store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
}

static cairn_stats stats_of(cairn *store) {
    cairn_stats stats = {.struct_size = sizeof stats};
    cairn_error error;
    must(cairn_stats_get(store, &stats, &error), "stats", &error);
    return stats;
}

static void check_keys(cairn *store, uint64_t expected) {
    int code;
    size_t size;
    uint64_t count = 0;
    char last[SCAN_KEY_SIZE] = {0};
    cairn_error error;
    cairn_scan *scan = NULL;
    const cairn_scan_options options = {.struct_size = sizeof options, .keys_only = true};
    must(cairn_scan_open(store, &options, &scan, &error), "scan", &error);
    for (; (code = cairn_scan_next(scan, &error)) == CAIRN_OK; count++) {
        const void *key = cairn_scan_key(scan, &size);
        if (size != SCAN_KEY_SIZE || memcmp(key, last, size) <= 0) die("scan", "keys do not ascend");
        memcpy(last, key, size);
    }
    if (code != CAIRN_DONE) must(code, "scan", &error);
    if (count != expected) die("scan", "the number of keys is wrong");
    cairn_scan_close(scan);
}

/* ---- Putting ---- */

typedef struct plan {
    scan_keys keys;
    size_t *order;
    size_t value_size;
    char *value;
    int repetitions;
} plan;

static plan plan_new(uint64_t keys, size_t value_size, int repetitions) {
    plan p = {.keys = scan_keys_new(keys), .value_size = value_size, .repetitions = repetitions};
    p.order = allocate(p.keys.count * sizeof *p.order);
    p.value = allocate(value_size);
    random_fill(p.value, value_size, 1);
    return p;
}

static void plan_free(plan *p) {
    scan_keys_free(&p->keys);
    free(p->order);
    free(p->value);
}

static void fill(const plan *p, cairn *store, latencies *l) {
    char key[SCAN_KEY_SIZE];
    cairn_error error;
    double last = now_s();
    for (uint64_t i = 0; i < p->keys.count; i++) {
        size_t size = scan_key(&p->keys, p->order[i], key);
        memcpy(p->value, &p->order[i], sizeof p->order[i]);
        must(cairn_put(store, key, size, p->value, p->value_size, NULL, &error), "put", &error);
        double now = now_s();
        latencies_add(l, now - last);
        last = now;
    }
}

enum { RETURNED, CLOSED, P99, LONGEST, PENDING, FIGURES };
typedef double figures[FIGURES][REPETITIONS_MAX];

static void fill_once(const plan *p, bool with, int repetition, figures of) {
    static latencies l;
    memset(&l, 0, sizeof l);
    sync(); /* so that nobody pays for the write-back of the one before */
    cairn *store = open_with(with ? CAIRN_ORDERED_ON : CAIRN_ORDERED_OFF, false);
    double begin = now_s();
    fill(p, store, &l);
    double returned = now_s();
    uint64_t pending = stats_of(store).ordered_pending;
    double looked = now_s();
    close_store(store);
    double closed = now_s() - (looked - returned);
    of[RETURNED][repetition] = (double)p->keys.count / (returned - begin) / 1e3;
    of[CLOSED][repetition] = (double)p->keys.count / (closed - begin) / 1e3;
    of[P99][repetition] = latencies_at(&l, 0.99) * 1e6;
    of[LONGEST][repetition] = l.longest * 1e6;
    of[PENDING][repetition] = with ? (double)pending / 1e3 : NAN;
}

static void put_heads(void) {
    printf("%-8s %-8s %9s %9s %9s %9s %9s %9s %9s\n", "", "", "returned", "closed", "p99", "max", "pending", "ratio",
           "ratio");
    printf("%-8s %-8s %9s %9s %9s %9s %9s %9s %9s\n", "bytes", "index", "1000/s", "1000/s", "us", "us", "1000",
           "returned", "closed");
}

static void put_row(const plan *p, const char *index, figures of, int count, const double *ratios) {
    printf("%-8zu %-8s %9.1f %9.1f %9.1f %9.0f", p->value_size, index, median(of[RETURNED], count),
           median(of[CLOSED], count), median(of[P99], count), median(of[LONGEST], count));
    if (ratios != NULL) {
        printf(" %9.1f %9.2f %9.2f\n", median(of[PENDING], count), ratios[0], ratios[1]);
    } else {
        printf(" %9s\n", "-");
    }
    flush_rows();
}

/* What is left is the store with an index, when it is to be kept. */
static void put_rows(plan *p, int repetitions, bool keep) {
    static figures with, without;
    for (int i = 0; i < repetitions; i++) {
        shuffle(p->order, 0, p->keys.count, (uint64_t)i + 1);
        for (int turn = 1; turn >= 0; turn--) {
            bool ordered = keep ? turn == 0 : (i + turn) % 2 == 0;
            fill_once(p, ordered, i, ordered ? with : without);
            if (ordered) {
                cairn *store = open_with(CAIRN_ORDERED_AUTO, false);
                check_keys(store, p->keys.count);
                close_store(store);
            }
            if (!keep || turn == 1) folder_remove("store");
        }
    }
    const double ratios[2] = {median_ratio(with[RETURNED], without[RETURNED], repetitions),
                              median_ratio(with[CLOSED], without[CLOSED], repetitions)};
    put_row(p, "without", without, repetitions, NULL);
    put_row(p, "with", with, repetitions, ratios);
}

static void put_table(size_t value_size, uint64_t mib, int repetitions) {
    plan p = plan_new(mib * MIB / value_size, value_size, repetitions);
    put_rows(&p, repetitions, false);
    plan_free(&p);
}

/* ---- Building ---- */

static void row(const char *what, int decimals, double value, const char *unit) {
    printf("%-28s %12.*f %s\n", what, decimals, value, unit);
    flush_rows();
}

static double rebuild(cairn *store) {
    cairn_error error;
    double begin = now_s();
    must(cairn_index_rebuild(store, NULL, &error), "rebuild", &error);
    return now_s() - begin;
}

static void build_row(const char *what, double *seconds, const plan *p) {
    row(what, 2, median(seconds, p->repetitions), "s");
}

static void rebuild_warm(const plan *p, cairn *store) {
    double seconds[REPETITIONS_MAX];
    row("index file, filled", 1, (double)stats_of(store).ordered_bytes / (double)MIB, "MiB");
    for (int i = 0; i < p->repetitions; i++) {
        seconds[i] = rebuild(store);
        check_keys(store, p->keys.count);
    }
    row("index file, rebuilt", 1, (double)stats_of(store).ordered_bytes / (double)MIB, "MiB");
    build_row("rebuild, warm", seconds, p);
}

/* Returns the store, opened again. */
static cairn *rebuild_cold(const plan *p, cairn *store) {
    double seconds[REPETITIONS_MAX];
    for (int i = 0; i < p->repetitions; i++) {
        close_store(store);
        bool dropped = caches_drop();
        store = open_with(CAIRN_ORDERED_AUTO, false);
        if (!dropped) return store;
        seconds[i] = rebuild(store);
        check_keys(store, p->keys.count);
    }
    build_row("rebuild, cold", seconds, p);
    return store;
}

static void drop_and_add(const plan *p, cairn *store) {
    cairn_error error;
    double drop[REPETITIONS_MAX], add[REPETITIONS_MAX];
    for (int i = 0; i < p->repetitions; i++) {
        double begin = now_s();
        must(cairn_index_drop(store, &error), "drop", &error);
        double dropped = now_s();
        must(cairn_index_add(store, NULL, &error), "add", &error);
        add[i] = now_s() - dropped;
        drop[i] = dropped - begin;
        check_keys(store, p->keys.count);
    }
    build_row("drop", drop, p);
    build_row("add", add, p);
}

static void open_without_file(const plan *p) {
    double seconds[REPETITIONS_MAX];
    for (int i = 0; i < p->repetitions; i++) {
        cairn_error error;
        cairn_scan *scan = NULL;
        const cairn_scan_options options = {.struct_size = sizeof options, .keys_only = true, .limit = 1};
        if (unlink("store/ORDERED") != 0) die("store/ORDERED", "cannot be removed");
        double begin = now_s();
        cairn *store = open_with(CAIRN_ORDERED_AUTO, true);
        must(cairn_scan_open(store, &options, &scan, &error), "scan", &error);
        must(cairn_scan_next(scan, &error), "scan", &error);
        seconds[i] = now_s() - begin;
        cairn_scan_close(scan);
        check_keys(store, p->keys.count);
        close_store(store);
    }
    build_row("file removed", seconds, p);
}

static void build_table(const plan *p) {
    printf("\n");
    row("keys", 0, (double)p->keys.count, "");
    cairn *store = open_with(CAIRN_ORDERED_AUTO, false);
    rebuild_warm(p, store);
    store = rebuild_cold(p, store);
    drop_and_add(p, store);
    close_store(store);
    open_without_file(p);
    folder_remove("store");
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 5) die("usage", "bench_ordered DIRECTORY [REPETITIONS [MiB [KEYS]]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 5;
    uint64_t mib = argc > 3 ? strtoull(argv[3], NULL, 10) : 1024;
    uint64_t keys = argc > 4 ? strtoull(argv[4], NULL, 10) : 5000000;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX) die("usage", "1 to 16 repetitions");
    if ((mib != 0 && mib < 16) || mib > 4096) die("usage", "16 to 4096 MiB, or 0 for none");
    if (keys < 1000 || keys > 20000000) die("usage", "1,000 to 20,000,000 keys");
    scratch_make(argv[1]);
    put_heads();
    if (mib != 0) put_table(4096, mib, repetitions);
    if (mib != 0) put_table(65536, mib, repetitions);
    plan small = plan_new(keys, SMALL_VALUE, repetitions);
    put_rows(&small, 1, true);
    build_table(&small);
    plan_free(&small);
    return 0;
}

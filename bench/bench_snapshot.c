/* What a snapshot costs that is held open while everything is overwritten, that it tells the truth, and that its space
 * comes back.
 *
 *     bench_snapshot DIRECTORY [OVERWRITES [KEYS [VALUE]]]
 *
 * A store with every default gets KEYS (default 1,000,000) values of VALUE bytes (default 100, at least 16). OVERWRITES
 * (default 1,000,000) puts replace them, keys drawn uniformly: first with no snapshot open, then with one. Then as many
 * keys as there are, drawn at random, are read through the snapshot, and all by a scan of it in order: each must have
 * the value from before. The store itself must give the newest ones in the same ways. The snapshot is closed: after
 * 5 seconds, and again after one more put and 5 seconds, it shows what the store does by itself; then cairn_compact is
 * called with `full`.
 *
 * The first table is the store at these moments:
 *
 *   MiB         allocated bytes of the directory, as du counts
 *   amp         these over the current keys and values
 *   of bound    these to what cairn.h promises: A * (live + pinned) + the larger of 8 MiB and two segments.
 * A: 1.25, 1.10 for values of 64 KiB and more. Above 1.00 it is not kept: compaction may be late, or have nothing to do
 *   live, dead, pinned, index   MiB, of cairn_stats
 *   RAM         resident memory that is no file's, MiB
 *
 * The second one is how long things took. `listed` is by a scan with values, in thousands of keys a second. The disk
 * holds at most twice the values and all that overwrite them, which may not be above 8 GiB. */
#include "bench/bench_common.h"
#include "bench/disk_use.h"
#include "bench/scan_keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define TOTAL_MAX (8192 * MIB)
#define RECORD_BYTES 200 /* and less: what a value takes besides itself */
#define SETTLE_SECONDS 5
#define SPACE_AMP_SMALL 1.25 /* the defaults of max_space_amp: of values below 64 KiB, */
#define SPACE_AMP_LARGE 1.10 /* and of the others */
#define LARGE_BYTES ((size_t)65536)
#define SLACK_BYTES ((double)(8 * MIB))

typedef struct stamp {
    uint64_t rank, version;
} stamp;

typedef struct state {
    cairn *store;
    scan_keys keys;
    uint32_t *versions; /* of each key, newest */
    uint32_t *before;   /* at the opening of the snapshot */
    char *value;        /* as it should be: random, with a stamp at its begin */
    size_t value_size;
    uint64_t seed;
} state;

static const char *value_of(state *s, uint64_t rank, uint32_t version) {
    stamp of = {.rank = rank, .version = version};
    memcpy(s->value, &of, sizeof of);
    return s->value;
}

static void put_next(state *s, uint64_t rank) {
    char key[SCAN_KEY_SIZE];
    cairn_error error;
    size_t size = scan_key(&s->keys, rank, key);
    const char *value = value_of(s, rank, ++s->versions[rank]);
    must(cairn_put(s->store, key, size, value, s->value_size, NULL, &error), "put", &error);
}

/* ---- The tables ---- */

static void look_heads(void) {
    printf("%-36s %8s %6s %8s %8s %8s %8s %8s %8s\n", "", "MiB", "amp", "of bound", "live", "dead", "pinned", "index",
           "RAM");
}

static double mib(uint64_t bytes) { return (double)bytes / (double)MIB; }

static double bound(const state *s, disk_use use, const cairn_stats *stats) {
    double amp = s->value_size >= LARGE_BYTES ? SPACE_AMP_LARGE : SPACE_AMP_SMALL;
    return amp * (double)(stats->live_bytes + stats->edge_bytes + stats->pinned_bytes) +
           fmax(SLACK_BYTES, 2.0 * (double)use.segment);
}

static void look(const state *s, const char *when) {
    cairn_error error;
    cairn_stats stats = {.struct_size = sizeof stats};
    must(cairn_stats_get(s->store, &stats, &error), "stats", &error);
    disk_use use = disk_use_of("store");
    uint64_t current = s->keys.count * (SCAN_KEY_SIZE + s->value_size);
    printf("%-36s %8.1f %6.2f %8.2f %8.1f %8.1f %8.1f %8.1f %8.1f\n", when, mib(use.allocated),
           (double)use.allocated / (double)current, (double)use.allocated / bound(s, use, &stats),
           mib(stats.live_bytes), mib(stats.dead_bytes), mib(stats.pinned_bytes), mib(stats.index_bytes),
           mib(ram_bytes()));
    flush_rows();
}

#define TIMES_MAX 16
static struct {
    const char *what, *unit;
    double value;
} times[TIMES_MAX];
static size_t times_count;

/* For the second table. */
static void note(const char *what, double value, const char *unit) {
    if (times_count == TIMES_MAX) die("times", "too many");
    times[times_count].what = what;
    times[times_count].unit = unit;
    times[times_count++].value = value;
}

static void times_table(void) {
    printf("\n");
    for (size_t i = 0; i < times_count; i++) {
        printf("%-44s %12.3f %s\n", times[i].what, times[i].value, times[i].unit);
    }
}

/* ---- Putting ---- */

static void fill(state *s) {
    size_t *order = allocate(s->keys.count * sizeof *order);
    shuffle(order, 0, s->keys.count, 1);
    double begin = now_s();
    for (uint64_t i = 0; i < s->keys.count; i++) {
        put_next(s, order[i]);
    }
    note("puts, new keys", (double)s->keys.count / (now_s() - begin) / 1e3, "1000/s");
    free(order);
}

static void overwrite(state *s, uint64_t count, const char *what) {
    double begin = now_s();
    for (uint64_t i = 0; i < count; i++) {
        put_next(s, random_next(&s->seed) % s->keys.count);
    }
    note(what, (double)count / (now_s() - begin) / 1e3, "1000/s");
}

/* ---- Checking ---- */

static void check_value(state *s, uint64_t rank, uint32_t version, const void *value, size_t size, const char *where) {
    if (size != s->value_size || memcmp(value, value_of(s, rank, version), size) != 0) {
        die(where, "a value is not the one that was put");
    }
}

/* Of the snapshot, or of the store where it is NULL. */
static void check_scan(state *s, cairn_snapshot *snapshot, const uint32_t *versions, const char *what) {
    char expected[SCAN_KEY_SIZE];
    const void *value;
    size_t size;
    cairn_error error;
    cairn_scan *scan = NULL;
    const cairn_scan_options options = {.struct_size = sizeof options, .snapshot = snapshot};
    double begin = now_s();
    must(cairn_scan_open(s->store, &options, &scan, &error), what, &error);
    for (uint64_t rank = 0; rank < s->keys.count; rank++) {
        must(cairn_scan_next(scan, &error), what, &error);
        const void *key = cairn_scan_key(scan, &size);
        if (size != scan_key(&s->keys, rank, expected) || memcmp(key, expected, size) != 0) die(what, "another key");
        must(cairn_scan_value(scan, &value, &size, &error), what, &error);
        check_value(s, rank, versions[rank], value, size, what);
    }
    if (cairn_scan_next(scan, &error) != CAIRN_DONE) die(what, "more keys than there are");
    cairn_scan_close(scan);
    note(what, (double)s->keys.count / (now_s() - begin) / 1e3, "1000/s");
}

static void check_gets(state *s, cairn_snapshot *snapshot, const uint32_t *versions, const char *what) {
    char key[SCAN_KEY_SIZE];
    cairn_error error;
    double begin = now_s();
    for (uint64_t i = 0; i < s->keys.count; i++) {
        void *value;
        size_t size, key_size;
        uint64_t rank = random_next(&s->seed) % s->keys.count;
        key_size = scan_key(&s->keys, rank, key);
        must(snapshot != NULL ? cairn_snapshot_get(snapshot, key, key_size, &value, &size, &error)
                              : cairn_get(s->store, key, key_size, &value, &size, &error),
             what, &error);
        check_value(s, rank, versions[rank], value, size, what);
        cairn_free(value);
    }
    note(what, (double)s->keys.count / (now_s() - begin) / 1e3, "1000/s");
}

/* ---- The run ---- */

static void compact(state *s, const char *what) {
    cairn_error error;
    const cairn_compact_options options = {.struct_size = sizeof options, .full = true};
    cairn_compact_result result = {.struct_size = sizeof result};
    double begin = now_s();
    must(cairn_compact(s->store, &options, &result, &error), what, &error);
    note(what, now_s() - begin, "s");
}

static void run(state *s, uint64_t overwrites) {
    cairn_error error;
    cairn_snapshot *snapshot = NULL;
    look_heads();
    fill(s);
    look(s, "filled");
    overwrite(s, overwrites, "overwrites, no snapshot");
    look(s, "overwritten, no snapshot");
    compact(s, "compact, full, before");
    look(s, "compacted");

    memcpy(s->before, s->versions, s->keys.count * sizeof *s->before);
    double begin = now_s();
    must(cairn_snapshot_open(s->store, &snapshot, &error), "snapshot", &error);
    note("opening the snapshot", (now_s() - begin) * 1e3, "ms");
    overwrite(s, overwrites, "overwrites, snapshot open");
    look(s, "overwritten, snapshot open");
    check_gets(s, snapshot, s->before, "get, snapshot");
    check_scan(s, snapshot, s->before, "listed, snapshot");
    check_gets(s, NULL, s->versions, "get, newest, snapshot open");
    check_scan(s, NULL, s->versions, "listed, newest, snapshot open");
    compact(s, "compact, full, snapshot open");
    look(s, "compacted, snapshot open");
    check_scan(s, snapshot, s->before, "listed, snapshot, compacted");

    begin = now_s();
    cairn_snapshot_close(snapshot);
    note("closing the snapshot", (now_s() - begin) * 1e3, "ms");
    look(s, "snapshot closed");
    sleep(SETTLE_SECONDS);
    look(s, "5 seconds later");
    put_next(s, 0);
    sleep(SETTLE_SECONDS);
    look(s, "a put, and 5 seconds later");
    compact(s, "compact, full, after");
    look(s, "compacted");
    check_scan(s, NULL, s->versions, "listed, newest, after");
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 5) die("usage", "bench_snapshot DIRECTORY [OVERWRITES [KEYS [VALUE]]]");
    uint64_t overwrites = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    uint64_t keys = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000;
    uint64_t value_size = argc > 4 ? strtoull(argv[4], NULL, 10) : 100;
    if (keys < 1000 || keys > 20000000 || overwrites < 1000 || overwrites > 100000000) {
        die("usage", "1,000 to 100,000,000 overwrites of 1,000 to 20,000,000 keys");
    }
    if (value_size < sizeof(stamp) || (2 * keys + overwrites) > TOTAL_MAX / (value_size + RECORD_BYTES)) {
        die("usage", "values of 16 bytes up, all together 8 GiB");
    }
    scratch_make(argv[1]);
    state s = {.keys = scan_keys_new(keys), .value_size = value_size, .seed = 1, .value = allocate(value_size)};
    random_fill(s.value, value_size, 1);
    s.versions = allocate(s.keys.count * sizeof *s.versions);
    s.before = allocate(s.keys.count * sizeof *s.before);
    memset(s.versions, 0, s.keys.count * sizeof *s.versions);
    s.store = store_open("store");
    run(&s, overwrites);
    int code = cairn_close(s.store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
    times_table();
    free(s.value);
    free(s.versions);
    free(s.before);
    scan_keys_free(&s.keys);
    return 0;
}

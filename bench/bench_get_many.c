/* Many gets in one call beside a loop of gets, and beside plain reads of the same ranges of the store's files.
 *
 *     bench_get_many DIRECTORY [REPETITIONS [MiB]]
 *
 * A store with MiB (default 512) of values of each size. Each side gets a sample of the keys in random order, the sides
 * in turn, REPETITIONS (default 5) times, after the page cache was dropped ("cold") or with everything in it ("warm"):
 *
 *   plain    pread one by one: what any store that reads one value at a time has as its limit
 *   uring    io_uring with 64 reads in flight, through the page cache
 *   direct   the same with O_DIRECT
 *   loop     cairn_get, its values kept until there are 1,024
 *   many     cairn_get_many, 1,024 keys a call
 *   loop-to  cairn_get_into, each of 1,024 into a buffer of its own
 *   many-to  cairn_get_many into the same buffers
 *
 * Thousands a second, medians; and the medians of `many` and `many-to` over each side within a repetition. The plain
 * reads are of as many ranges of the length of a record, which follow each other in the files from the first block on.
 * io_uring where liburing is installed. Dropping the cache needs the right to do so. */
#include "bench/bench_common.h"
#include "bench/raw_reads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define MANY 1024u
#define DEPTH 64u
#define SAMPLE_BYTES (96 * MIB)
#define SAMPLE_MAX 8192u

enum { PLAIN, URING, DIRECT, LOOP, MANY_GETS, LOOP_TO, MANY_TO, SIDES };
static const char *const names[SIDES] = {"plain", "uring", "direct", "loop", "many", "loop-to", "many-to"};

typedef struct plan {
    size_t value_size, keys, sample, range_count;
    store_files files;
    raw_range *ranges; /* all there are, mixed anew for each run */
    size_t *order;     /* likewise of the keys */
    char *buffers;     /* MANY of value_size and a block */
    uint64_t seed;
} plan;

/* ---- The sides ---- */

static cairn_get_item items[MANY];

static void get_one_by_one(cairn *store, size_t count) {
    cairn_error error;
    for (size_t i = 0; i < count; i++) {
        cairn_get_item *g = &items[i];
        int code = g->buf != NULL ? cairn_get_into(store, g->key, g->key_size, g->buf, g->cap, &g->value_size, &error)
                                  : cairn_get(store, g->key, g->key_size, &g->value, &g->value_size, &error);
        must(code, "get", &error);
    }
}

static void get_together(cairn *store, size_t count) {
    cairn_error error;
    must(cairn_get_many(store, items, sizeof items[0], count, NULL, &error), "get many", &error);
    for (size_t i = 0; i < count; i++) {
        error = (cairn_error){.message = "see its item"};
        must(items[i].code, "get many", &error);
    }
}

static void get_sample(const plan *p, cairn *store, bool together, bool into) {
    static char keys[MANY][BENCH_KEY_SIZE];
    size_t room = p->value_size + 4096, count;
    for (size_t done = 0; done < p->sample; done += count) {
        count = p->sample - done < MANY ? p->sample - done : MANY;
        for (size_t i = 0; i < count; i++) {
            items[i] = (cairn_get_item){.key = keys[i], .key_size = key_of(keys[i], p->order[done + i])};
            if (into) items[i].buf = p->buffers + i * room;
            if (into) items[i].cap = room;
        }
        if (together) {
            get_together(store, count);
        } else {
            get_one_by_one(store, count);
        }
        for (size_t i = 0; i < count && !into; i++) {
            cairn_free(items[i].value);
        }
    }
}

/* false: it cannot be run here. */
static bool run_side(int side, const plan *p, cairn *store) {
    if (side == PLAIN) raw_read_one_by_one(&p->files, p->ranges, p->sample);
    if (side >= LOOP) get_sample(p, store, side == MANY_GETS || side == MANY_TO, side >= LOOP_TO);
    if (side != URING && side != DIRECT) return true;
    return raw_read_in_flight(&p->files, p->ranges, p->sample, DEPTH, side == DIRECT);
}

/* Thousands a second; 0: it cannot be run here. */
static double time_side(int side, plan *p, cairn *store) {
    double begin = now_s();
    if (!run_side(side, p, store)) return 0;
    return (double)p->sample / (now_s() - begin) / 1000;
}

/* ---- The runs ---- */

static void mix(plan *p) {
    shuffle(p->order, 0, p->keys, p->seed++);
    for (size_t i = p->range_count; i > 1; i--) {
        size_t j = random_next(&p->seed) % i;
        raw_range r = p->ranges[i - 1];
        p->ranges[i - 1] = p->ranges[j];
        p->ranges[j] = r;
    }
}

/* A store that was just opened has nothing mapped, so that all of the cache goes. */
static double run_cold(int side, plan *p) {
    mix(p);
    cairn *store = store_open("store");
    if (!caches_drop()) die("/proc/sys/vm/drop_caches", "it is not permitted");
    double speed = time_side(side, p, store);
    must(cairn_close(store), "close", NULL);
    return speed;
}

static double run_warm(int side, plan *p, cairn *store) {
    mix(p);
    return time_side(side, p, store);
}

static void rows(const char *state, const plan *p, double speed[SIDES][MEDIAN_MAX], int runs) {
    for (int side = 0; side < SIDES; side++) {
        if (speed[side][0] == 0) continue;
        double sorted[MEDIAN_MAX];
        double many = median_ratio(speed[MANY_GETS], speed[side], runs);
        double many_to = median_ratio(speed[MANY_TO], speed[side], runs);
        memcpy(sorted, speed[side], sizeof sorted);
        printf("%-5s %-6zu %-8s %10.1f %10.2f %12.2f\n", state, p->value_size, names[side], median(sorted, runs), many,
               many_to);
    }
    flush_rows();
}

static void fill(const plan *p) {
    char key[BENCH_KEY_SIZE], *value = allocate(p->value_size);
    cairn *store = store_open("store");
    cairn_error error;
    random_fill(value, p->value_size, 1);
    for (size_t i = 0; i < p->keys; i++) {
        size_t key_size = key_of(key, i);
        memcpy(value, &i, sizeof i);
        must(cairn_put(store, key, key_size, value, p->value_size, NULL, &error), "put", &error);
    }
    must(cairn_close(store), "close", NULL);
    free(value);
}

static void find_ranges(plan *p) {
    char key[BENCH_KEY_SIZE];
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error;
    cairn *store = store_open("store");
    must(cairn_stat(store, key, key_of(key, 0), &entry, &error), "stat", &error);
    must(cairn_close(store), "close", NULL);
    store_files_open(&p->files, "store");
    p->ranges = allocate(2 * p->keys * sizeof *p->ranges);
    p->range_count = 0;
    for (unsigned file = 0; file < p->files.count; file++) {
        uint64_t offset = 4096;
        for (; offset + entry.stored_size <= p->files.sizes[file] && p->range_count < 2 * p->keys;
             offset += entry.stored_size) {
            p->ranges[p->range_count++] = (raw_range){file, offset, entry.stored_size};
        }
    }
    if (p->range_count < p->sample) die("store", "fewer ranges than the sample has keys");
}

static void measure(size_t value_size, uint64_t bytes, int runs) {
    double cold[SIDES][MEDIAN_MAX], warm[SIDES][MEDIAN_MAX];
    plan p = {.value_size = value_size, .keys = bytes / value_size, .seed = 1};
    p.sample = SAMPLE_BYTES / value_size < SAMPLE_MAX ? SAMPLE_BYTES / value_size : SAMPLE_MAX;
    if (p.sample > p.keys) p.sample = p.keys;
    p.order = allocate(p.keys * sizeof *p.order);
    p.buffers = allocate(MANY * (value_size + 4096));
    fill(&p);
    find_ranges(&p);
    for (int i = 0; i < runs; i++) {
        for (int side = 0; side < SIDES; side++)
            cold[(side + i) % SIDES][i] = run_cold((side + i) % SIDES, &p);
    }
    rows("cold", &p, cold, runs);
    cairn *store = store_open("store");
    for (int i = -2; i < runs; i++) {
        for (int side = 0; side < SIDES; side++)
            warm[side][i < 0 ? 0 : i] = run_warm(side, &p, store);
    }
    must(cairn_close(store), "close", NULL);
    rows("warm", &p, warm, runs);
    store_files_close(&p.files);
    free(p.ranges);
    free(p.order);
    free(p.buffers);
    folder_remove("store");
}

int main(int argc, char **argv) {
    int runs = argc > 2 ? atoi(argv[2]) : 5;
    uint64_t bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : 512) * MIB;
    if (argc < 2 || runs < 1 || runs > MEDIAN_MAX || bytes < MIB) {
        fprintf(stderr, "usage: bench_get_many DIRECTORY [REPETITIONS [MiB]]\n");
        return 2;
    }
    scratch_make(argv[1]);
    printf("%-5s %-6s %-8s %10s %10s %12s\n", "", "value", "side", "thousand/s", "many over", "many-to over");
    measure(4096, bytes, runs);
    measure(65536, bytes, runs);
    return 0;
}

/* Overwriting: half of a cell's bytes of values are put, and then OVERWRITES times as many bytes replace them, with a
 * get after each put; both draw keys by zipf 0.99, with the frequent ones anywhere. Each get's value is compared with
 * the newest of its key, and at the end all are. Only the calls are timed, and a sync behind the last one. Plain files
 * are written in place.
 *
 * cairn syncs every 200 ms by itself; so that the others promise about the same, and do not overwrite again and again
 * in the page cache what never comes to the device, a thread syncs them as often.
 *
 * Space is what du counts over the keys and values that are current, the highest of SAMPLES looks. Written is what came
 * to the device, or was handed to the file system by the process, from before the opening to after the close and a
 * sync, over the bytes of all values put; the device's counter has what others write to it as well. */
#include "bench/disk_use.h"
#include "bench/peers.h"
#include "bench/stamped.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OVERWRITES 4
#define SAMPLES 32
#define SKEW 0.99
#define SYNC_INTERVAL 0.2

enum { SPEED, PUT_P99, GET_P99, SPACE, DEVICE, PROCESS, FIGURES };
static const figure figures[FIGURES] = {
    [SPEED] = {"overwrite", "put and get", "MiB/s", false},
    [PUT_P99] = {"overwrite", "put, p99", "us", true},
    [GET_P99] = {"overwrite", "get, p99", "us", true},
    [SPACE] = {"overwrite", "space, peak", "bytes on disk a live byte", true},
    [DEVICE] = {"overwrite", "written to the device", "bytes a byte put", true},
    [PROCESS] = {"overwrite", "written by the process", "bytes a byte put", true},
};

typedef struct run {
    cell *c;
    void *store, *session;
    atomic_bool ends; /* for the thread that syncs */
    stamped bytes;
    char *buffer;
    uint32_t *versions;
    size_t *order; /* rank -> key */
    double *zipf;
    uint64_t seed;
    double seconds, space; /* in calls; the highest so far */
    latencies puts, gets;
} run;

static void put(run *r, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    size_t key_size = key_of(key, i);
    const char *value = stamped_value(&r->bytes, i, ++r->versions[i]);
    double begin = now_s();
    r->c->engine->put(r->session, key, key_size, value, r->c->value_size);
    double seconds = now_s() - begin;
    r->seconds += seconds;
    latencies_add(&r->puts, seconds);
}

static void get(run *r, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    size_t key_size = key_of(key, i);
    double begin = now_s();
    size_t size = r->c->engine->get(r->session, key, key_size, r->buffer, r->c->value_size);
    double seconds = now_s() - begin;
    r->seconds += seconds;
    latencies_add(&r->gets, seconds);
    if (!stamped_is(&r->bytes, i, r->versions[i], r->buffer, size)) {
        die(r->c->engine->name, "a value is not the newest one of its key");
    }
}

static void look(run *r) {
    double live = (double)(r->c->count * (r->c->value_size + BENCH_KEY_SIZE));
    r->space = fmax(r->space, (double)disk_use_of(STORE).allocated / live);
}

static void overwrite(run *r) {
    uint32_t keys = (uint32_t)r->c->count;
    uint64_t puts = (uint64_t)keys * OVERWRITES, step = puts / SAMPLES + 1;
    r->seconds = 0;
    memset(&r->puts, 0, sizeof r->puts);
    for (uint64_t i = 0; i < puts; i++) {
        put(r, r->order[zipf_next(r->zipf, keys, &r->seed)]);
        get(r, r->order[zipf_next(r->zipf, keys, &r->seed)]);
        if (i % step == 0) look(r);
    }
    double begin = now_s();
    r->c->engine->sync(r->session);
    r->seconds += now_s() - begin;
    r->c->out[SPEED] = (double)(2 * puts * r->c->value_size) / (double)MIB / r->seconds;
    look(r);
    r->c->out[SPACE] = r->space;
    r->c->out[PUT_P99] = latencies_at(&r->puts, 0.99) * 1e6;
    r->c->out[GET_P99] = latencies_at(&r->gets, 0.99) * 1e6;
}

static void *sync_often(void *arg) {
    run *r = arg;
    const engine *e = r->c->engine;
    void *session = engine_session(e, r->store);
    for (double due = now_s() + SYNC_INTERVAL; !atomic_load(&r->ends); due += SYNC_INTERVAL) {
        sleep_until(due);
        e->sync(session);
        due = fmax(due, now_s() - SYNC_INTERVAL);
    }
    engine_session_end(e, session);
    return NULL;
}

static void run_begin(run *r, cell *c) {
    r->c = c;
    r->seed = (uint64_t)c->repetition + 1;
    r->store = store_open_as(c, false, c->count, c->count);
    r->session = engine_session(c->engine, r->store);
    r->bytes = stamped_new(c->value_size, false, c->value_size);
    r->buffer = allocate_pages(c->value_size);
    r->versions = calloc(c->count, sizeof *r->versions);
    r->order = allocate(c->count * sizeof *r->order);
    if (r->versions == NULL) die("memory", "none");
    shuffle(r->order, 0, c->count, c->value_size);
    r->zipf = zipf_new((uint32_t)c->count, SKEW);
}

static void run_end(run *r) {
    engine_session_end(r->c->engine, r->session);
    r->c->engine->close(r->store);
    stamped_free(&r->bytes);
    free(r->buffer);
    free(r->versions);
    free(r->order);
    free(r->zipf);
}

static void put_and_get(run *r) {
    pthread_t thread;
    bool helped = !r->c->engine->syncs;
    if (helped && pthread_create(&thread, NULL, sync_often, r) != 0) die("thread", "cannot be made");
    for (uint64_t i = 0; i < r->c->count; i++) {
        put(r, i);
    }
    overwrite(r);
    atomic_store(&r->ends, true);
    if (helped) pthread_join(thread, NULL);
    for (uint64_t i = 0; i < r->c->count; i++) {
        get(r, i);
    }
}

static void overwrite_step(cell *c) {
    static run r; /* of zeros; its process does this once */
    written before = written_now();
    run_begin(&r, c);
    put_and_get(&r);
    run_end(&r);
    written after = written_now();
    double bytes = (double)(c->count * (OVERWRITES + 1) * c->value_size);
    c->out[DEVICE] = (after.device - before.device) / bytes;
    c->out[PROCESS] = (after.process - before.process) / bytes;
}

void peers_overwrite(const plan *p) {
    static cell_step *const steps[] = {overwrite_step, NULL};
    const cell_kind kind = {.parts = PART_OVERWRITE, .steps = steps, .figures = figures, .figure_count = FIGURES};
    for (size_t i = 0; i < p->size_count; i++) {
        char row[24];
        size_t size = p->sizes[i];
        if (size < 4 * KIB || size > MIB) continue; /* larger ones are too few for a distribution */
        cell like = {.plan = p, .value_size = size, .count = count_of(p, size, p->bytes / 2)};
        cells_run(&kind, &like, size_name(size, row));
    }
}

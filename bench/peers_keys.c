/* Many small values: what a key costs in memory, look-ups, and opening.
 *
 *   1. A process opens a store, puts every key in mixed order, and is killed (SIGKILL) when the last put has returned.
 *   2. Another one opens it, gets every key and compares it, and closes it.
 *   3. A third one opens it, and looks up keys that are there and keys that are not, which lie between them.
 *
 * An opening is timed until one value has been got, since some engines put work off until then; files are in the page
 * cache. Memory is resident and no file's (RssAnon + RssShmem), less what it was before the opening: pages that LMDB
 * maps do not count, and caches and write buffers do. */
#include "bench/peers.h"
#include "bench/stamped.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define VALUE_SIZE 100
#define LOOK_UPS_MAX 1000000
#define MIXER 2654435761u /* a prime above every number of keys that is not a multiple of it */

enum { PUTS, GETS, ABSENT, RAM_FILLED, RAM_OPENED, OPEN_CLEAN, OPEN_KILLED, FIGURES };
static const figure figures[FIGURES] = {
    [PUTS] = {"keys", "put", "thousands/s", false},
    [GETS] = {"keys", "get", "thousands/s", false},
    [ABSENT] = {"keys", "get, absent", "thousands/s", false},
    [RAM_FILLED] = {"keys", "memory when filled", "bytes a key", true},
    [RAM_OPENED] = {"keys", "memory when opened and read", "bytes a key", true},
    [OPEN_CLEAN] = {"keys", "open after a clean close", "ms", true},
    [OPEN_KILLED] = {"keys", "open after kill -9", "ms", true},
};

typedef struct run {
    cell *c;
    void *store, *session;
    stamped bytes;
    char buffer[VALUE_SIZE];
    double ram_before;
} run;

static uint64_t mixed(const run *r, uint64_t i) { return i * MIXER % r->c->count; }

/* Even numbers are there, odd ones are not. */
static size_t key_there(char *key, uint64_t i) { return key_of(key, 2 * i); }
static size_t key_absent(char *key, uint64_t i) { return key_of(key, 2 * i + 1); }

static void get(run *r, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    size_t size = r->c->engine->get(r->session, key, key_there(key, i), r->buffer, VALUE_SIZE);
    if (size == ENGINE_ABSENT) die(r->c->engine->name, "a put that had returned is lost");
    if (!stamped_is(&r->bytes, i, 1, r->buffer, size)) die(r->c->engine->name, "not the value that was put");
}

static run run_begin(cell *c) {
    run r = {.c = c, .bytes = stamped_new(VALUE_SIZE, false, 1), .ram_before = (double)ram_bytes()};
    r.store = store_open_as(c, false, c->count, c->count);
    r.session = engine_session(c->engine, r.store);
    return r;
}

/* Returns the milliseconds that it took. */
static double run_begin_timed(run *r, cell *c) {
    double begin = now_s();
    *r = run_begin(c);
    get(r, 0);
    return (now_s() - begin) * 1e3;
}

static void run_end(run *r) {
    engine_session_end(r->c->engine, r->session);
    r->c->engine->close(r->store);
    stamped_free(&r->bytes);
}

static double ram_a_key(const run *r) { return ((double)ram_bytes() - r->ram_before) / (double)r->c->count; }

static void fill_step(cell *c) {
    run r = run_begin(c);
    double begin = now_s();
    for (uint64_t i = 0; i < c->count; i++) {
        char key[BENCH_KEY_SIZE];
        uint64_t at = mixed(&r, i);
        c->engine->put(r.session, key, key_there(key, at), stamped_value(&r.bytes, at, 1), VALUE_SIZE);
    }
    c->out[PUTS] = (double)c->count / (now_s() - begin) / 1e3;
    c->out[RAM_FILLED] = ram_a_key(&r);
    (void)kill(getpid(), SIGKILL);
    pause();
}

static void killed_step(cell *c) {
    run r;
    c->out[OPEN_KILLED] = run_begin_timed(&r, c);
    for (uint64_t i = 0; i < c->count; i++) {
        get(&r, i);
    }
    run_end(&r);
}

static void look_up_step(cell *c) {
    run r;
    uint64_t count = c->count < LOOK_UPS_MAX ? c->count : LOOK_UPS_MAX;
    c->out[OPEN_CLEAN] = run_begin_timed(&r, c);
    double begin = now_s();
    for (uint64_t i = 0; i < count; i++) {
        get(&r, mixed(&r, i));
    }
    double middle = now_s();
    for (uint64_t i = 0; i < count; i++) {
        char key[BENCH_KEY_SIZE];
        size_t size = c->engine->get(r.session, key, key_absent(key, mixed(&r, i)), r.buffer, VALUE_SIZE);
        if (size != ENGINE_ABSENT) die(c->engine->name, "a key is there that was not put");
    }
    c->out[GETS] = (double)count / (middle - begin) / 1e3;
    c->out[ABSENT] = (double)count / (now_s() - middle) / 1e3;
    c->out[RAM_OPENED] = ram_a_key(&r);
    run_end(&r);
}

static void run_keys(const plan *p, uint64_t keys) {
    static cell_step *const steps[] = {fill_step, killed_step, look_up_step, NULL};
    const cell_kind kind = {
        .parts = PART_KEYS, .steps = steps, .killed = fill_step, .figures = figures, .figure_count = FIGURES};
    char row[ROW_SIZE];
    cell like = {.plan = p, .value_size = VALUE_SIZE, .count = keys};
    (void)snprintf(row, sizeof row, "%llu keys", (unsigned long long)keys);
    cells_run(&kind, &like, row);
}

void peers_keys(const plan *p) { run_keys(p, p->keys); }

void peers_growth(const plan *p) {
    static const uint64_t keys[] = {1000000, 5000000, 20000000};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        run_keys(p, keys[i]);
    }
}

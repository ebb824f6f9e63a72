/* Small puts beside a stream: 4 KiB are put every PUT_INTERVAL, first alone and then while another thread puts one
 * large value, until that is durable. A latency is the time in the call; what is missed is made up for at once, but for
 * what is missed by more than PUT_DELAY_MAX. Only for engines that take a value in pieces: cairn, and plain files, of
 * which the puts have one and the stream another. Both are read and compared at the end. */
#include "bench/peers.h"
#include "bench/stamped.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PUT_SIZE 4096
#define PUT_KEYS 10000
#define PUT_INTERVAL 200e-6
#define PUT_DELAY_MAX 10e-3
#define ALONE_TIMES 4 /* the length of a measurement */
#define PIECE MIB
#define STREAM_KEY "stream", 6

enum { ALONE, BESIDE, STREAM, FIGURES };
static const figure figures[FIGURES] = {
    [ALONE] = {"mixed", "4 KiB put alone, p99", "us", true},
    [BESIDE] = {"mixed", "4 KiB put beside a stream, p99", "us", true},
    [STREAM] = {"mixed", "stream, durable", "MiB/s", false},
};

typedef struct run {
    cell *c;
    void *store, *session;
    stamped bytes;
    uint32_t versions[PUT_KEYS];
    uint64_t puts, pieces;
    char *piece;
    atomic_bool streaming;
    latencies l;
} run;

static void *stream_in(void *arg) {
    run *r = arg;
    const engine *e = r->c->engine;
    void *session = engine_session(e, r->store);
    double begin = now_s();
    e->stream(session, STREAM_KEY, r->piece, PIECE, r->pieces);
    r->c->out[STREAM] = (double)(r->pieces * PIECE) / (double)MIB / (now_s() - begin);
    atomic_store(&r->streaming, false);
    engine_session_end(e, session);
    return NULL;
}

static double put_one(run *r) {
    char key[BENCH_KEY_SIZE];
    uint64_t i = r->puts++ % PUT_KEYS;
    const char *value = stamped_value(&r->bytes, i, ++r->versions[i]);
    size_t key_size = key_of(key, i);
    double begin = now_s();
    r->c->engine->put(r->session, key, key_size, value, PUT_SIZE);
    double done = now_s();
    latencies_add(&r->l, done - begin);
    return done;
}

/* Until the clock shows `end`, or with 0 for as long as the stream runs; microseconds. */
static double put_paced(run *r, double end) {
    double due = now_s(), done = due;
    memset(&r->l, 0, sizeof r->l);
    while (end != 0 ? done < end : atomic_load(&r->streaming)) {
        done = put_one(r);
        due += PUT_INTERVAL;
        if (due < done - PUT_DELAY_MAX) due = done - PUT_DELAY_MAX;
        if (done < due) sleep_until(due);
    }
    return latencies_at(&r->l, 0.99) * 1e6;
}

static void check(run *r) {
    const engine *e = r->c->engine;
    char *buffer = allocate_pages(PIECE);
    for (uint64_t i = 0; i < r->pieces; i++) {
        e->stream_read(r->session, STREAM_KEY, i * PIECE, buffer, PIECE);
        if (memcmp(buffer, r->piece, PIECE) != 0) die(e->name, "the stream has other bytes");
    }
    for (uint64_t i = 0; i < PUT_KEYS && r->versions[i] != 0; i++) {
        char key[BENCH_KEY_SIZE];
        size_t size = e->get(r->session, key, key_of(key, i), buffer, PUT_SIZE);
        if (!stamped_is(&r->bytes, i, r->versions[i], buffer, size)) die(e->name, "not the value that was put");
    }
    free(buffer);
}

static void mixed_step(cell *c) {
    static run r; /* of zeros; its process does this once */
    pthread_t thread;
    r.c = c;
    r.bytes = stamped_new(PUT_SIZE, false, 1);
    r.pieces = c->plan->stream_bytes / PIECE;
    r.piece = allocate_pages(PIECE);
    random_fill(r.piece, PIECE, 2);
    r.store = store_open_as(c, false, PUT_KEYS, PUT_KEYS);
    r.session = engine_session(c->engine, r.store);
    c->out[ALONE] = put_paced(&r, now_s() + ALONE_TIMES * c->plan->seconds);
    atomic_store(&r.streaming, true);
    if (pthread_create(&thread, NULL, stream_in, &r) != 0) die("thread", "cannot be made");
    c->out[BESIDE] = put_paced(&r, 0);
    pthread_join(thread, NULL);
    check(&r);
    engine_session_end(c->engine, r.session);
    c->engine->close(r.store);
    stamped_free(&r.bytes);
    free(r.piece);
}

void peers_mixed(const plan *p) {
    static cell_step *const steps[] = {mixed_step, NULL};
    const cell_kind kind = {.parts = PART_MIXED, .steps = steps, .figures = figures, .figure_count = FIGURES};
    char name[24], row[ROW_SIZE];
    cell like = {.plan = p, .value_size = PUT_SIZE};
    (void)snprintf(row, sizeof row, "stream of %s", size_name(p->stream_bytes, name));
    cells_run(&kind, &like, row);
}

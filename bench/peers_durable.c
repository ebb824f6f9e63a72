/* Durable puts: new keys of threads that put at the same time, each put safe from a power cut when it returns. A
 * measurement ends by the clock, or when a thread has put its share of values; each one is read and compared after it.
 * Of plain files each thread has one of its own: `raw` appends to it, `raw-over` writes blocks that were written
 * before.
 */
#include "bench/peers.h"
#include "bench/stamped.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS_MAX 8
#define SHARE_BYTES ((uint64_t)32 << 20)

enum { RATE, P99, FIGURES };
static const figure figures[FIGURES] = {
    [RATE] = {"durable", "put", "puts/s", false},
    [P99] = {"durable", "put, p99", "us", true},
};

typedef struct run {
    cell *c;
    void *store;
    pthread_barrier_t start;
    atomic_bool stop;
    uint64_t share; /* values of a thread */
} run;

typedef struct worker {
    run *run;
    pthread_t thread;
    uint64_t first, puts; /* keys from there on */
    double begin, end;
    stamped bytes;
    latencies l;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    const cell *c = w->run->c;
    void *session = engine_session(c->engine, w->run->store);
    (void)pthread_barrier_wait(&w->run->start);
    double last = w->begin = now_s();
    while (last < w->begin + c->plan->seconds && !atomic_load_explicit(&w->run->stop, memory_order_relaxed)) {
        char key[BENCH_KEY_SIZE];
        uint64_t i = w->first + w->puts;
        size_t key_size = key_of(key, i);
        c->engine->put(session, key, key_size, stamped_value(&w->bytes, i, 1), c->value_size);
        double now = now_s();
        latencies_add(&w->l, now - last);
        last = now;
        if (++w->puts == w->run->share) atomic_store(&w->run->stop, true);
    }
    w->end = last;
    engine_session_end(c->engine, session);
    return NULL;
}

static void check(run *r, worker *w, void *session, char *buffer) {
    for (uint64_t i = w->first; i < w->first + w->puts; i++) {
        char key[BENCH_KEY_SIZE];
        size_t size = r->c->engine->get(session, key, key_of(key, i), buffer, r->c->value_size);
        if (!stamped_is(&w->bytes, i, 1, buffer, size)) die(r->c->engine->name, "not the value that was put");
    }
}

static void run_workers(run *r, worker *workers) {
    static latencies l;
    double begin = 0, end = 0, puts = 0;
    for (size_t i = 0; i < r->c->threads; i++) {
        worker *w = &workers[i];
        w->run = r;
        w->first = i * r->share;
        w->bytes = stamped_new(r->c->value_size, false, i);
        if (pthread_create(&w->thread, NULL, work, w) != 0) die("thread", "cannot be made");
    }
    (void)pthread_barrier_wait(&r->start);
    for (size_t i = 0; i < r->c->threads; i++) {
        worker *w = &workers[i];
        pthread_join(w->thread, NULL);
        latencies_merge(&l, &w->l);
        puts += (double)w->puts;
        if (i == 0 || w->begin < begin) begin = w->begin;
        if (w->end > end) end = w->end;
    }
    r->c->out[RATE] = puts / (end - begin);
    r->c->out[P99] = latencies_at(&l, 0.99) * 1e6;
}

static void durable_step(cell *c) {
    static worker workers[THREADS_MAX]; /* of zeros; its process does this once */
    run r = {.c = c, .share = SHARE_BYTES / c->value_size};
    char *buffer = allocate_pages(c->value_size);
    r.store = store_open_as(c, true, r.share * c->threads, r.share);
    if (pthread_barrier_init(&r.start, NULL, (unsigned)c->threads + 1) != 0) die("barrier", "cannot be made");
    run_workers(&r, workers);
    void *session = engine_session(c->engine, r.store);
    for (size_t i = 0; i < c->threads; i++) {
        check(&r, &workers[i], session, buffer);
        stamped_free(&workers[i].bytes);
    }
    engine_session_end(c->engine, session);
    c->engine->close(r.store);
    (void)pthread_barrier_destroy(&r.start);
    free(buffer);
}

void peers_durable(const plan *p) {
    static const size_t threads[] = {1, THREADS_MAX};
    static cell_step *const steps[] = {durable_step, NULL};
    const cell_kind kind = {.parts = PART_DURABLE, .steps = steps, .figures = figures, .figure_count = FIGURES};
    for (size_t i = 0; i < p->size_count; i++) {
        if (p->sizes[i] < 4 * KIB || p->sizes[i] > MIB) continue;
        for (size_t j = 0; j < sizeof threads / sizeof threads[0]; j++) {
            char row[ROW_SIZE], name[24];
            cell like = {.plan = p, .value_size = p->sizes[i], .threads = threads[j]};
            (void)snprintf(row, sizeof row, "%s, %zu thread%s", size_name(p->sizes[i], name), threads[j],
                           threads[j] == 1 ? "" : "s");
            cells_run(&kind, &like, row);
        }
    }
}

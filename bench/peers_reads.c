/* Reading what was filled. Every value has been compared before, byte by byte (check_all); here its first bytes are
 * looked at within the time that is measured, and all of it outside of that where the time of each call is taken.
 * cairn, LevelDB and the first RocksDB verify checksums within the time.
 *
 * Warm: random keys of those that are few enough to stay in every cache, after they have been read WARM_ROUNDS times,
 * or for WARM_SECONDS times the length of the measurement. A view's data is only looked at at its beginning, or all of
 * it is read once.
 *
 * Cold: the store is closed, the page cache dropped, the store opened, which is not measured, and each key is read at
 * most once, in random order. Many at once: as many as MANY_BYTES hold, at least two and at most MANY_MAX. */
#include "bench/peers_values.h"

#include <pthread.h>
#include <stdlib.h>

#define WARM_ROUNDS 12
#define WARM_SECONDS 3.0
#define BETWEEN_LOOKS ((size_t)256 << 10) /* bytes between two looks at the clock */
#define MANY_MAX 128
#define MANY_BYTES ((size_t)64 << 20)
#define THREADS_MAX 2

typedef enum way { COPY, LOOK, READ } way;

static void must_begin(const values *v, uint64_t i, const void *value, size_t size) {
    if (size != v->c->value_size || !stamped_begins(i, 1, value)) die(v->c->engine->name, "a value is another one's");
}

/* ---- Warm ---- */

typedef struct reader {
    values *v;
    pthread_t thread;
    way way;
    uint64_t among, ops, seed; /* the first so many keys */
    double seconds, begin, end;
} reader;

static void get_one(const reader *r, void *session, void *buffer, uint64_t i) {
    const engine *e = r->v->c->engine;
    char key[BENCH_KEY_SIZE];
    size_t key_size = key_of(key, i);
    if (r->way == COPY) {
        must_begin(r->v, i, buffer, e->get(session, key, key_size, buffer, r->v->c->value_size));
        return;
    }
    engine_view view = e->view(session, key, key_size);
    must_begin(r->v, i, view.data, view.size);
    if (r->way == READ) values_read_once(view.data, view.size);
    e->view_end(session, &view);
}

static void *read_warm(void *arg) {
    reader *r = arg;
    const cell *c = r->v->c;
    void *session = engine_session(c->engine, r->v->store), *buffer = allocate_pages(c->value_size);
    uint64_t step = BETWEEN_LOOKS / c->value_size + 1;
    r->begin = r->end = now_s();
    while (r->end < r->begin + r->seconds) {
        for (uint64_t i = 0; i < step; i++) {
            get_one(r, session, buffer, random_next(&r->seed) % r->among);
        }
        r->ops += step;
        r->end = now_s();
    }
    free(buffer);
    engine_session_end(c->engine, session);
    return NULL;
}

/* Gets a second. */
static double warm_rate(values *v, way how, size_t threads, uint64_t among) {
    reader readers[THREADS_MAX];
    double ops = 0, begin = 0, end = 0;
    for (size_t i = 0; i < threads; i++) {
        readers[i] = (reader){.v = v, .way = how, .among = among, .seed = i, .seconds = v->c->plan->seconds};
        if (pthread_create(&readers[i].thread, NULL, read_warm, &readers[i]) != 0) die("thread", "cannot be made");
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(readers[i].thread, NULL);
        ops += (double)readers[i].ops;
        if (i == 0 || readers[i].begin < begin) begin = readers[i].begin;
        if (readers[i].end > end) end = readers[i].end;
    }
    return ops / (end - begin);
}

static void warm_up(values *v, uint64_t among, way how) {
    reader r = {.v = v, .way = how, .among = among};
    double end = now_s() + WARM_SECONDS * v->c->plan->seconds;
    for (uint64_t i = 0; i < among * WARM_ROUNDS && now_s() < end; i++) {
        get_one(&r, v->session, v->buffer, i % among);
    }
}

void values_warm(values *v) {
    const cell *c = v->c;
    double mib = (double)c->value_size / (double)MIB;
    uint64_t among = count_of(c->plan, c->value_size, c->plan->warm_bytes);
    warm_up(v, among, COPY);
    c->out[WARM] = warm_rate(v, COPY, 1, among) * mib;
    c->out[WARM_2] = warm_rate(v, COPY, 2, among) * mib;
    if (c->engine->view == NULL) return;
    warm_up(v, among, READ);
    c->out[VIEW] = warm_rate(v, LOOK, 1, among) / 1000;
    c->out[VIEW_READ] = warm_rate(v, READ, 1, among) * mib;
}

/* ---- Cold ---- */

/* Opened once before, so that no log is left whose replay would bring values into memory. */
bool values_open_cold(values *v) {
    values_open(v);
    values_close(v);
    bool dropped = caches_drop();
    if (dropped) values_open(v);
    return dropped;
}

static void one_at_a_time(values *v) {
    const cell *c = v->c;
    double seconds = 0;
    uint64_t i = 0;
    for (; i < c->count && seconds < c->plan->seconds; i++) {
        char key[BENCH_KEY_SIZE];
        size_t at = v->order[i], key_size = key_of(key, at);
        double begin = now_s();
        size_t size = c->engine->get(v->session, key, key_size, v->buffer, c->value_size);
        seconds += now_s() - begin;
        values_must_be(v, at, v->buffer, size);
    }
    c->out[COLD] = (double)(i * c->value_size) / (double)MIB / seconds;
}

typedef struct many {
    engine_get gets[MANY_MAX];
    char keys[MANY_MAX][BENCH_KEY_SIZE];
    size_t count;
} many;

static many *many_new(const cell *c) {
    many *m = allocate(sizeof *m);
    m->count = MANY_BYTES / c->value_size;
    m->count = m->count < 2 ? 2 : m->count > MANY_MAX ? MANY_MAX : m->count;
    if (m->count > c->count) m->count = c->count;
    for (size_t i = 0; i < m->count; i++) {
        m->gets[i] = (engine_get){.key = m->keys[i], .buffer = allocate_pages(c->value_size), .cap = c->value_size};
    }
    return m;
}

static void many_free(many *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->gets[i].buffer);
    }
    free(m);
}

/* Those from the order's `first` on; returns the seconds it took. */
static double get_many(values *v, many *m, uint64_t first) {
    for (size_t i = 0; i < m->count; i++) {
        m->gets[i].key_size = key_of(m->keys[i], v->order[first + i]);
    }
    double begin = now_s();
    v->c->engine->get_many(v->session, m->gets, m->count);
    double seconds = now_s() - begin;
    for (size_t i = 0; i < m->count; i++) {
        values_must_be(v, v->order[first + i], m->gets[i].buffer, m->gets[i].size);
    }
    return seconds;
}

static void many_at_once(values *v) {
    const cell *c = v->c;
    many *m = many_new(c);
    double seconds = 0;
    uint64_t i = 0;
    for (; i + m->count <= c->count && seconds < c->plan->seconds; i += m->count) {
        seconds += get_many(v, m, i);
    }
    c->out[COLD_MANY] = (double)(i * c->value_size) / (double)MIB / seconds;
    many_free(m);
}

void values_cold(values *v) {
    shuffle(v->order, 0, v->c->count, (uint64_t)v->c->repetition + 1000); /* not as they were put */
    if (!values_open_cold(v)) return;
    one_at_a_time(v);
    values_close(v);
    if (v->c->engine->get_many == NULL || !values_open_cold(v)) return;
    many_at_once(v);
    values_close(v);
}

/* Filling: new keys in random order, one thread. Values of rows with "2x" compress to half of their size; there each
 * engine compresses that can, and the others store them as they are. */
#include "bench/peers_values.h"

#include "bench/disk_use.h"

#include <stdlib.h>

static const figure figures[VALUES_FIGURES] = {
    [FILL] = {"fill", "until returned", "MiB/s", false},
    [FILL_SYNCED] = {"fill", "until synced", "MiB/s", false},
    [FILL_SPACE] = {"fill", "space", "bytes on disk a byte", true},
    [WARM] = {"warm", "get, 1 thread", "MiB/s", false},
    [WARM_2] = {"warm", "get, 2 threads", "MiB/s", false},
    [VIEW] = {"warm", "view", "thousands/s", false},
    [VIEW_READ] = {"warm", "view, every byte read", "MiB/s", false},
    [COLD] = {"cold", "get, one at a time", "MiB/s", false},
    [COLD_MANY] = {"cold", "get, many at once", "MiB/s", false},
    [SCAN] = {"scan", "values, warm", "MiB/s", false},
    [SCAN_KEYS] = {"scan", "keys, warm", "thousands/s", false},
    [SCAN_COLD] = {"scan", "values, cold", "MiB/s", false},
};

void values_open(values *v) {
    v->store = store_open_as(v->c, false, v->c->count, v->c->count);
    v->session = engine_session(v->c->engine, v->store);
}

void values_close(values *v) {
    engine_session_end(v->c->engine, v->session);
    v->c->engine->close(v->store);
    v->store = v->session = NULL;
}

/* A virtual machine may get memory only when it is touched, which takes longer than all that is measured here. */
static void touch_memory(uint64_t bytes) {
    char *memory = allocate(bytes);
    __asm__ volatile("" : : "r"(memory) : "memory");
    free(memory);
}

/* Some engines are here for their reads only. */
static void fill_figures(const values *v) {
    const cell *c = v->c;
    double mib = (double)(c->count * c->value_size) / (double)MIB;
    if ((c->parts & PART_FILL) == 0) return;
    c->out[FILL] = mib / v->returned;
    c->out[FILL_SYNCED] = mib / v->synced;
    c->out[FILL_SPACE] = (double)disk_use_of(STORE).allocated / (double)(c->count * c->value_size);
}

static void fill(values *v) {
    const cell *c = v->c;
    double begin = now_s();
    for (uint64_t i = 0; i < c->count; i++) {
        char key[BENCH_KEY_SIZE];
        size_t at = v->order[i], key_size = key_of(key, at);
        c->engine->put(v->session, key, key_size, stamped_value(&v->bytes, at, 1), c->value_size);
    }
    v->returned = now_s() - begin;
    c->engine->sync(v->session);
    v->synced = now_s() - begin;
}

void values_must_be(values *v, uint64_t i, const void *value, size_t size) {
    if (!stamped_is(&v->bytes, i, 1, value, size)) die(v->c->engine->name, "not the value that was put");
}

/* Every byte of every value, by each way in which it can be read. */
static void check_all(values *v) {
    const engine *e = v->c->engine;
    for (uint64_t i = 0; i < v->c->count; i++) {
        char key[BENCH_KEY_SIZE];
        size_t key_size = key_of(key, i);
        values_must_be(v, i, v->buffer, e->get(v->session, key, key_size, v->buffer, v->c->value_size));
        if (e->view == NULL) continue;
        engine_view view = e->view(v->session, key, key_size);
        values_must_be(v, i, view.data, view.size);
        e->view_end(v->session, &view);
    }
}

static void values_step(cell *c) {
    values v = {.c = c, .bytes = stamped_new(c->value_size, c->half, c->value_size)};
    v.order = allocate(c->count * sizeof *v.order);
    v.buffer = allocate_pages(c->value_size);
    shuffle(v.order, 0, c->count, (uint64_t)c->repetition + 1);
    touch_memory(2 * c->count * c->value_size);
    values_open(&v);
    fill(&v);
    check_all(&v);
    if ((c->parts & PART_WARM) != 0) values_warm(&v);
    if ((c->parts & PART_SCAN) != 0) values_scan_warm(&v);
    values_close(&v);
    fill_figures(&v);
    if ((c->parts & PART_COLD) != 0) values_cold(&v);
    if ((c->parts & PART_SCAN) != 0) values_scan_cold(&v);
    stamped_free(&v.bytes);
    free(v.order);
    free(v.buffer);
}

void peers_values(const plan *p) {
    static cell_step *const steps[] = {values_step, NULL};
    cell_kind kind = {.steps = steps, .figures = figures, .figure_count = VALUES_FIGURES};
    for (int half = 0; half <= 1; half++) {
        kind.parts = PART_FILL | PART_WARM | (half != 0 ? 0 : PART_COLD | PART_SCAN);
        for (size_t i = 0; i < p->size_count; i++) {
            char row[ROW_SIZE], name[24];
            size_t size = p->sizes[i];
            if (half != 0 && (size < 4 * KIB || size > MIB)) continue;
            cell like = {.plan = p, .value_size = size, .count = count_of(p, size, p->bytes), .half = half != 0};
            (void)snprintf(row, sizeof row, "%s%s", size_name(size, name), half != 0 ? ", 2x" : "");
            cells_run(&kind, &like, row);
        }
    }
}

/* Many gets in one call beside writers, deletions and compaction: every value that comes is one that the key had since
 * the call began, and a snapshot gives the same to many as to single gets. On the real file system, where values are
 * taken to be in memory or not by turns. Threads other than the test's own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/far_reads.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 64u
#define WRITERS 2u
#define READERS 2u
#define ITEMS 200u /* more than are asked for ahead */
#define VALUE_MAX ((size_t)BOX_PAYLOAD_MAX + 50000)

typedef struct head {
    uint64_t key, number; /* the how many-th change of the key */
} head;

typedef struct market {
    cairn *store;
    uint64_t steps;               /* of each writer */
    _Atomic uint64_t least[KEYS]; /* changes of the key that have returned; each key has one writer */
    atomic_bool stop;
} market;

typedef struct runner {
    market *m;
    unsigned number;
    uint64_t rng;
    uint8_t *buffer; /* VALUE_MAX */
    os_thread thread;
} runner;

static size_t key_of(char key[16], unsigned k) { return (size_t)snprintf(key, 16, "key %u", k); }

/* ---- Values ---- */

static size_t make_value(uint8_t *out, const head *h) {
    uint64_t rng = h->key * 1000003u + h->number;
    size_t size = sizeof *h + (size_t)random_below(&rng, 6000);
    if (random_one_in(&rng, 10)) size = sizeof *h + (size_t)random_below(&rng, 150000);
    if (random_one_in(&rng, 50)) size = VALUE_MAX; /* a file of its own */
    memcpy(out, h, sizeof *h);
    memcpy(out + sizeof *h, random_window(&rng, size - sizeof *h), size - sizeof *h);
    return size;
}

static void check_value(runner *r, const void *value, size_t size, unsigned key, uint64_t least) {
    head h;
    CHECK(size >= sizeof h);
    memcpy(&h, value, sizeof h);
    CHECK(h.key == key && h.number >= least);
    CHECK(make_value(r->buffer, &h) == size && memcmp(r->buffer, value, size) == 0);
}

/* ---- Threads ---- */

static void *write_all(void *arg) {
    runner *r = arg;
    market *m = r->m;
    char key[16];
    for (uint64_t step = 0; step < m->steps; step++) {
        unsigned k = (unsigned)random_below(&r->rng, KEYS / WRITERS) * WRITERS + r->number;
        head h = {.key = k, .number = atomic_load(&m->least[k]) + 1};
        size_t key_size = key_of(key, k);
        if (random_one_in(&r->rng, 12)) {
            int rc = cairn_delete(m->store, key, key_size, NULL, NULL);
            CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        } else {
            size_t size = make_value(r->buffer, &h);
            CHECK(cairn_put(m->store, key, key_size, r->buffer, size, NULL, NULL) == CAIRN_OK);
        }
        atomic_store(&m->least[k], h.number);
    }
    return NULL;
}

typedef struct basket {
    cairn_get_item items[ITEMS];
    char keys[ITEMS][16];
    unsigned chosen[ITEMS];
    uint64_t least[ITEMS];
} basket;

static void choose(runner *r, basket *b) {
    for (unsigned i = 0; i < ITEMS; i++) {
        b->chosen[i] = (unsigned)random_below(&r->rng, KEYS);
        b->least[i] = atomic_load(&r->m->least[b->chosen[i]]);
        b->items[i] = (cairn_get_item){.key = b->keys[i], .key_size = key_of(b->keys[i], b->chosen[i])};
    }
}

static void get_many(runner *r, basket *b, cairn_snapshot *snapshot) {
    cairn_get_many_options o = {.struct_size = sizeof o, .snapshot = snapshot};
    CHECK(cairn_get_many(r->m->store, b->items, sizeof b->items[0], ITEMS, &o, NULL) == CAIRN_OK);
}

static void check_against_snapshot(const basket *b, unsigned i, cairn_snapshot *snapshot) {
    const cairn_get_item *item = &b->items[i];
    void *value;
    size_t size;
    int code = cairn_snapshot_get(snapshot, item->key, item->key_size, &value, &size, NULL);
    CHECK(code == item->code && size == item->value_size);
    CHECK(code != CAIRN_OK || memcmp(value, item->value, size) == 0);
    cairn_free(value);
}

static void *read_all(void *arg) {
    runner *r = arg;
    basket *b = malloc(sizeof *b);
    CHECK(b != NULL);
    while (!atomic_load(&r->m->stop)) {
        cairn_snapshot *snapshot = NULL;
        choose(r, b);
        if (random_one_in(&r->rng, 3)) CHECK(cairn_snapshot_open(r->m->store, &snapshot, NULL) == CAIRN_OK);
        get_many(r, b, snapshot);
        for (unsigned i = 0; i < ITEMS; i++) {
            CHECK(b->items[i].code == CAIRN_OK || b->items[i].code == CAIRN_NOT_FOUND);
            if (b->items[i].code == CAIRN_OK) {
                check_value(r, b->items[i].value, b->items[i].value_size, b->chosen[i], b->least[i]);
            }
            if (snapshot != NULL && i % 8 == 0) check_against_snapshot(b, i, snapshot);
            cairn_free(b->items[i].value);
        }
        cairn_snapshot_close(snapshot);
    }
    free(b);
    return NULL;
}

static void *compact_all(void *arg) {
    runner *r = arg;
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    cairn_compact_result result = {.struct_size = sizeof result};
    while (!atomic_load(&r->m->stop)) {
        CHECK(cairn_compact(r->m->store, &o, &result, NULL) == CAIRN_OK);
        os_nap_us(2000);
    }
    return NULL;
}

/* ---- The test ---- */

static void start(runner *r, market *m, unsigned number, void *(*run)(void *)) {
    *r = (runner){.m = m, .number = number, .rng = number + 1, .buffer = malloc(VALUE_MAX)};
    CHECK(r->buffer != NULL);
    CHECK(os_thread_start(&r->thread, run, r) == 0);
}

static void join(runner *r) {
    os_thread_join(&r->thread);
    free(r->buffer);
}

static void run_market(const cairn_options *options, const char *path) {
    static os table;
    static market m;
    memset(&m, 0, sizeof m);
    m.steps = rung_choose(3000, 300, 100000);
    (void)random_pool(); /* made before there are threads */
    table = os_posix_with(NULL);
    far_reads_put(&table, READS_BY_TURNS);
    m.store = store_open_on_or_fail(&table, path, options);
    runner writers[WRITERS], readers[READERS], compactor;
    for (unsigned i = 0; i < WRITERS; i++)
        start(&writers[i], &m, i, write_all);
    for (unsigned i = 0; i < READERS; i++)
        start(&readers[i], &m, i, read_all);
    start(&compactor, &m, 0, compact_all);
    for (unsigned i = 0; i < WRITERS; i++)
        join(&writers[i]);
    atomic_store(&m.stop, true);
    for (unsigned i = 0; i < READERS; i++)
        join(&readers[i]);
    join(&compactor);
    assert_int_equal(cairn_close(m.store), CAIRN_OK);
    assert_true(far_reads_refused() > 0 || options->cache_bytes == UINT64_MAX);
}

static void many_gets_beside_writers_and_compaction(void **state) {
    box *b = *state;
    box_close(b);
    run_market(&b->options, b->path);
}

static void many_gets_of_cached_values_beside_writers_and_compaction(void **state) {
    box *b = *state;
    box_close(b);
    b->options.cache_bytes = (uint64_t)2 << 20;
    run_market(&b->options, b->path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_gets_beside_writers_and_compaction, box_setup, box_teardown),
        cmocka_unit_test_setup_teardown(many_gets_of_cached_values_beside_writers_and_compaction, box_setup,
                                        box_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

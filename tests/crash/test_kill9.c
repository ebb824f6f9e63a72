/* A process that writes is killed at a random moment, again and again, on the same store. It tells through a pipe what
 * it is about to do and what has returned; so for each key there is a small set of states that are legal, of which the
 * one after the last acknowledged step is the first.
 *
 * CAIRN_RUNG=full kills 10,000 times; CAIRN_SEED=n repeats the choices, though not the moments, of one run. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/killing.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 3u
#define KEYS_EACH 24u
#define KEYS (THREADS * KEYS_EACH)
#define CHOICES_MAX 16u
#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define STORE_BYTES_MAX ((uint64_t)200 << 20) /* then the next one is begun */

/* ---- The pipe ---- */

enum { BEGUN = 1, DONE = 2 };
typedef struct note {
    uint32_t what, key;
    uint64_t value; /* number of the value that is put; 0: a delete */
} note;

/* ---- What may be there ---- */

typedef struct key_state {
    uint64_t choices[CHOICES_MAX]; /* numbers of values, 0: absent */
    unsigned count;
    uint64_t version; /* when it was last looked at; 0: absent */
    uint64_t looked;  /* number of the value then */
} key_state;

typedef struct model {
    key_state keys[KEYS];
    uint64_t last_value;   /* highest number ever announced, in whatever store */
    uint64_t last_version; /* highest ever seen */
} model;

static void key_name(char name[16], unsigned key) { (void)snprintf(name, 16, "key %u", key); }

/* Most are small; some fill segments, some have files of their own. */
static const uint8_t *value_of(unsigned key, uint64_t value, size_t *size) {
    uint64_t state = value * KEYS + key, kind = random_below(&state, 40);
    *size = kind == 0  ? 300000 + random_below(&state, 300000)
            : kind < 6 ? random_below(&state, 150000)
                       : random_below(&state, 4000);
    return random_window(&state, *size);
}

static void forget(void *ctx) {
    model *m = ctx;
    memset(m->keys, 0, sizeof m->keys);
    for (unsigned key = 0; key < KEYS; key++)
        m->keys[key].count = 1;
    m->last_version = 0;
}

static bool hear(void *ctx, const void *told) {
    model *m = ctx;
    const note *n = told;
    CHECK(n->key < KEYS && (n->what == BEGUN || n->what == DONE));
    key_state *k = &m->keys[n->key];
    if (n->value > m->last_value) m->last_value = n->value;
    if (n->what == DONE) k->count = 0;
    CHECK(k->count < CHOICES_MAX);
    k->choices[k->count++] = n->value;
    return n->what == DONE;
}

/* ---- The process that is killed ---- */

typedef struct worker {
    cairn *store;
    uint64_t rng;
    unsigned number;
    uint64_t first_value; /* this one's values are first, first + THREADS, ... */
    int pipe;
    os_thread thread;
} worker;

static void tell(const worker *w, uint32_t what, unsigned key, uint64_t value) {
    note n = {what, key, value};
    killing_tell(w->pipe, &n, sizeof n);
}

static void put_as_stream(worker *w, const char *name, const uint8_t *bytes, size_t size, const cairn_put_options *o) {
    cairn_writer *writer = NULL;
    CHECK(cairn_writer_open(w->store, name, strlen(name), o, &writer, NULL) == CAIRN_OK);
    for (size_t done = 0; done < size;) {
        size_t piece = min_u64(size - done, 1 + random_below(&w->rng, 100000));
        CHECK(cairn_writer_write(writer, bytes + done, piece, NULL) == CAIRN_OK);
        done += piece;
    }
    CHECK(cairn_writer_commit(writer, NULL) == CAIRN_OK);
}

static void step(worker *w, uint64_t value) {
    char name[16];
    unsigned key = w->number * KEYS_EACH + (unsigned)random_below(&w->rng, KEYS_EACH);
    cairn_put_options o = {.struct_size = sizeof o, .sync = random_one_in(&w->rng, 50)};
    key_name(name, key);
    if (random_one_in(&w->rng, 100)) CHECK(cairn_checkpoint(w->store, NULL) == CAIRN_OK);
    if (random_one_in(&w->rng, 6)) {
        tell(w, BEGUN, key, 0);
        int rc = cairn_delete(w->store, name, strlen(name), &o, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        tell(w, DONE, key, 0);
        return;
    }
    size_t size;
    const uint8_t *bytes = value_of(key, value, &size);
    tell(w, BEGUN, key, value);
    if (random_one_in(&w->rng, 8)) {
        put_as_stream(w, name, bytes, size, &o);
    } else {
        CHECK(cairn_put(w->store, name, strlen(name), bytes, size, &o, NULL) == CAIRN_OK);
    }
    tell(w, DONE, key, value);
}

static void *work(void *arg) {
    worker *w = arg;
    for (uint64_t value = w->first_value;; value += THREADS)
        step(w, value);
    return NULL;
}

static cairn_options options_of(uint64_t *rng) {
    static const int durabilities[] = {CAIRN_DURABILITY_DEFAULT, CAIRN_DURABILITY_DEFAULT, CAIRN_DURABILITY_NONE,
                                       CAIRN_DURABILITY_SYNC};
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = true,
                           .segment_bytes = SEGMENT_BYTES,
                           .sync_interval_ms = 10,
                           .no_background = random_one_in(rng, 4),
                           .durability = durabilities[random_below(rng, 4)]};
}

static void write_until_killed(void *ctx, cairn *store, int pipe, uint64_t rng) {
    static worker workers[THREADS];
    const model *m = ctx;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){
            .store = store, .rng = random_next(&rng), .number = i, .first_value = m->last_value + 1 + i, .pipe = pipe};
        if (i > 0) CHECK(os_thread_start(&workers[i].thread, work, &workers[i]) == 0);
    }
    (void)work(&workers[0]);
}

/* ---- Looking ---- */

static void look_at_key(model *m, cairn *store, unsigned key) {
    key_state *k = &m->keys[key];
    char name[16];
    void *bytes = NULL;
    size_t got = 0, size = 0;
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    key_name(name, key);
    int rc = cairn_get(store, name, strlen(name), &bytes, &got, &error);
    if (rc != CAIRN_OK && rc != CAIRN_NOT_FOUND) fail_msg("%s: %s", name, error.message);
    unsigned found = CHOICES_MAX;
    for (unsigned i = 0; i < k->count && found == CHOICES_MAX; i++) {
        if ((k->choices[i] == 0) != (rc == CAIRN_NOT_FOUND)) continue;
        const uint8_t *expected = rc == CAIRN_OK ? value_of(key, k->choices[i], &size) : NULL;
        if (rc == CAIRN_NOT_FOUND || (size == got && memcmp(bytes, expected, size) == 0)) found = i;
    }
    if (found == CHOICES_MAX) {
        fail_msg("%s: %s, where value %llu was acknowledged and %u more were begun", name,
                 rc == CAIRN_OK ? "another value" : "absent", (unsigned long long)k->choices[0], k->count - 1);
    }
    cairn_free(bytes);
    k->choices[0] = k->choices[found];
    k->count = 1;
    if (rc == CAIRN_OK) {
        assert_int_equal(cairn_stat(store, name, strlen(name), &entry, NULL), CAIRN_OK);
        assert_int_equal(entry.value_size, got);
        /* A new value has a version that nothing had when the store was last looked at; an old one keeps its own. */
        bool same = k->looked == k->choices[0] && k->version != 0;
        if (same ? entry.version != k->version : entry.version <= m->last_version)
            fail_msg("%s: version %llu again", name, (unsigned long long)entry.version);
    }
    k->version = entry.version;
    k->looked = k->choices[0];
}

static void look(void *ctx, cairn *store) {
    model *m = ctx;
    uint64_t there = 0, last = m->last_version;
    for (unsigned key = 0; key < KEYS; key++) {
        look_at_key(m, store, key);
        there += m->keys[key].choices[0] != 0;
        last = max_u64(last, m->keys[key].version);
    }
    m->last_version = last;
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, there);
}

static void every_acknowledged_write_survives_kill_9(void **state) {
    (void)state;
    static model m;
    const killing k = {.ctx = &m,
                       .note_size = sizeof(note),
                       .options = options_of,
                       .begin = forget,
                       .write = write_until_killed,
                       .hear = hear,
                       .look = look,
                       .delay_max = 120000,
                       .early_one_in = 4,
                       .early_max = 6000,
                       .unseen_one_in = 3,
                       .store_bytes_max = STORE_BYTES_MAX};
    killing_run(&k, rung_choose(100, 20, 10000));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_acknowledged_write_survives_kill_9)};
    return cmocka_run_group_tests_name("kill9", tests, NULL, NULL);
}

/* Random operations against a plain map: on the simulated disk, with hashes of a few bits, on real files, with the
 * store's own threads and several of callers. At each opening compression and cache are chosen anew; between two there
 * is a clean close, a kill or a power cut, and now and then the checkpoint is gone. On the simulated disk the test
 * moves the clock.
 *
 * CAIRN_RUNG=full makes a hundred times as many; CAIRN_SEED replaces the seed that a failure named. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/model_run.h"
#include "tests/support/os_sim.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNK 5000u /* operations on one store: nothing gives space back yet */
#define THREADS 4u

typedef struct setting {
    const char *name;
    uint64_t operations;
    uint64_t hash_mask;
    size_t keys;
    bool real, threads;
} setting;

typedef struct place {
    const setting *setting;
    sim_disk *disk; /* NULL: real files */
    os *os;
    char path[64];
    uint64_t rng;
    cairn_options options;
} place;

static finding found;

static void fail_if_found(const setting *s, uint64_t seed, uint64_t operation) {
    if (!found.found) return;
    fputs(found.text, stderr);
    fail_msg("%s, operation %llu; replay: CAIRN_SEED=%llu", s->name, (unsigned long long)operation,
             (unsigned long long)seed);
}

/* ---- Stores ---- */

/* The store's own threads, and writers that they slow down, wait by a clock that goes on. */
static void place_system(place *p) {
    p->os = sim_os(p->disk);
    if (p->setting->threads) os_override(p->os, &(os){.monotonic_ns = os_posix()->monotonic_ns});
}

static void place_make(place *p, const setting *s, uint64_t seed) {
    *p = (place){.setting = s, .path = "s", .rng = seed};
    p->options = (cairn_options){.struct_size = sizeof p->options,
                                 .create = true,
                                 .no_background = !s->threads,
                                 .durability = (int)(seed % 3),
                                 .segment_bytes = (uint64_t)1 << 20};
    if (s->real) {
        const char *base = getenv("TMPDIR");
        (void)snprintf(p->path, sizeof p->path, "%.40s/cairn_model.XXXXXX", base != NULL ? base : "/tmp");
        assert_non_null(mkdtemp(p->path));
        p->os = os_without_syncs(); /* no power cut is part of this */
    } else {
        p->disk = sim_new(seed);
        place_system(p);
    }
}

static int remove_name(void *ctx, const char *name) { return os_unlink(ctx, name); }

static void place_remove(place *p) {
    if (p->disk != NULL) {
        assert_int_equal(sim_open_handles(p->disk), 0);
        sim_free(p->disk);
        return;
    }
    os_dir *dir = NULL;
    assert_int_equal(p->os->dir_open(p->os, p->path, 0, &dir), 0);
    assert_int_equal(os_dir_list(dir, remove_name, dir), 0);
    os_dir_close(dir);
    assert_int_equal(rmdir(p->path), 0);
}

static void choose_options(place *p) {
    static const uint64_t caches[] = {0, 0, (uint64_t)64 << 10, (uint64_t)1 << 20, (uint64_t)16 << 20, UINT64_MAX};
    static const int compressions[] = {CAIRN_COMPRESSION_DEFAULT, CAIRN_COMPRESSION_NONE, CAIRN_COMPRESSION_ZSTD,
                                       CAIRN_COMPRESSION_ZSTD};
    p->options.cache_bytes = caches[random_below(&p->rng, sizeof caches / sizeof caches[0])];
    p->options.compression = compressions[random_below(&p->rng, sizeof compressions / sizeof compressions[0])];
    p->options.compression_level = random_one_in(&p->rng, 3) ? 3 : 0;
}

static cairn *place_open(place *p) {
    cairn *store = NULL;
    cairn_error error = {0};
    choose_options(p);
    int rc = store_open_on(&store, p->os, p->path, &p->options, p->setting->hash_mask, &error);
    if (rc != CAIRN_OK) finding_note(&found, "open: %d %s", rc, error.message);
    return store;
}

static bool close_store(cairn *store) {
    int rc = cairn_close(store);
    return rc == CAIRN_OK || finding_note(&found, "close: %d", rc);
}

static void place_run(const place *p, model_run *r) {
    r->os = p->os;
    r->disk = p->disk;
    r->compacts = !p->options.no_background;
    r->synced = p->options.durability == CAIRN_DURABILITY_SYNC;
}

/* ---- Reopening ---- */

/* A checkpoint is only a cache of the log. */
static bool lose_checkpoint(place *p) {
    os_dir *dir = NULL;
    if (p->disk != NULL) {
        (void)sim_file_remove(p->disk, p->path, "CHECKPOINT");
        return true;
    }
    if (p->os->dir_open(p->os, p->path, 0, &dir) != 0) return finding_note(&found, "cannot open the folder");
    (void)os_unlink(dir, "CHECKPOINT");
    os_dir_close(dir);
    return true;
}

static bool reopen(place *p, model_run *r) {
    if (model_run_holds(r) && cairn_close(r->store) != CAIRN_BUSY) {
        return finding_note(&found, "a store that has readers or writers closes");
    }
    if (!model_run_let_go(r) || !close_store(r->store)) return false;
    model_run_is_durable(r);
    bool lost = random_one_in(&r->rng, 4);
    if (lost && !lose_checkpoint(p)) return false;
    r->store = place_open(p);
    return r->store != NULL && (!lost || model_agrees(&r->model, r->store, &found));
}

static bool reopen_read_only(place *p, model_run *r) {
    if (!model_run_let_go(r) || !close_store(r->store)) return false;
    model_run_is_durable(r);
    cairn_options writable = p->options;
    p->options.create = false;
    p->options.read_only = true;
    r->store = place_open(p);
    if (r->store == NULL) return false;
    bool good = model_agrees(&r->model, r->store, &found);
    if (cairn_put(r->store, "k", 1, "v", 1, NULL, NULL) != CAIRN_READ_ONLY) {
        good = finding_note(&found, "a put through a reader");
    }
    good = close_store(r->store) && good;
    p->options.create = writable.create;
    p->options.read_only = writable.read_only;
    r->store = place_open(p);
    return good && r->store != NULL;
}

/* The process is killed, and all that returned is there; or the power is cut, and a prefix of it is. */
static bool crash_and_reopen(place *p, model_run *r) {
    if (p->disk == NULL) return true;
    if (!model_run_let_go(r)) return false;
    sim_disk *dead = p->disk;
    bool killed = random_one_in(&r->rng, 2);
    p->disk = killed ? sim_kill(dead) : sim_crash(dead, random_next(&r->rng));
    place_system(p);
    place_run(p, r);
    (void)cairn_close(r->store); /* of the dead machine */
    sim_free(dead);
    if (random_one_in(&r->rng, 3) && !lose_checkpoint(p)) return false;
    r->store = place_open(p);
    if (r->store == NULL) return false;
    if (!killed && !model_run_rewind(r)) return false;
    model_run_is_durable(r); /* recovery has made it so */
    return model_agrees(&r->model, r->store, &found);
}

static bool step(place *p, model_run *r) {
    uint64_t roll = random_below(&r->rng, 1200);
    if (roll < 3) return crash_and_reopen(p, r);
    if (roll == 3) return reopen_read_only(p, r);
    if (roll < 9) return reopen(p, r);
    return model_run_step(r);
}

/* ---- One caller ---- */

static void run_chunk(const void *of_setting, uint64_t seed, uint64_t operations) {
    const setting *s = of_setting;
    place p;
    model_run r;
    place_make(&p, s, seed);
    model_run_init(&r, place_open(&p), 0, s->keys, seed, &found);
    place_run(&p, &r);
    for (uint64_t i = 0; i < operations && !found.found; i++) {
        if (!step(&p, &r)) finding_add(&found, "\nat operation %llu\n", (unsigned long long)i);
        fail_if_found(s, seed, i);
    }
    if (reopen(&p, &r)) model_agrees(&r.model, r.store, &found);
    fail_if_found(s, seed, operations);
    assert_int_equal(cairn_close(r.store), CAIRN_OK);
    model_run_release(&r);
    place_remove(&p);
}

static void the_store_agrees_with_the_model(void **state) {
    const setting *s = *state;
    rung_run_chunks(s->name, s->operations, CHUNK, run_chunk, s);
}

/* ---- Several ---- */

typedef struct caller {
    model_run run;
    finding finding;
    uint64_t operations;
    os_thread thread;
} caller;

static void *call(void *arg) {
    caller *c = arg;
    for (uint64_t i = 0; i < c->operations && model_run_step(&c->run); i++) {
    }
    (void)model_run_let_go(&c->run);
    return NULL;
}

/* All keys of all callers in one map. */
static void merge(model *all, const caller *callers) {
    for (unsigned i = 0; i < THREADS; i++) {
        const model *m = &callers[i].run.model;
        for (size_t key = callers[i].run.first_key; key < m->key_count; key++) {
            const model_value *v = &m->values[key];
            if (v->bytes != NULL) model_put(all, key, v);
        }
    }
}

static void callers_at_once_agree_with_their_models(void **state) {
    const setting *s = *state;
    static caller callers[THREADS];
    uint64_t left = rung_choose(s->operations, s->operations / 10, s->operations * 100), seed = 1;
    (void)rung_seed(&seed);
    (void)random_pool(); /* made before there are threads */
    for (; left > 0; left -= min_u64(left, CHUNK), seed++) {
        place p;
        model all;
        place_make(&p, s, seed);
        cairn *store = place_open(&p);
        fail_if_found(s, seed, 0);
        for (unsigned i = 0; i < THREADS; i++) {
            caller *c = &callers[i];
            *c = (caller){.operations = min_u64(left, CHUNK) / THREADS};
            model_run_init(&c->run, store, i * s->keys, s->keys, seed * THREADS + i, &c->finding);
            c->run.shared = true;
            c->run.os = p.os; /* whose clock stands still */
            assert_int_equal(os_thread_start(&c->thread, call, c), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            os_thread_join(&callers[i].thread);
            if (callers[i].finding.found) found = callers[i].finding;
        }
        fail_if_found(s, seed, 0);
        model_init(&all, THREADS * s->keys);
        merge(&all, callers);
        model_agrees(&all, store, &found);
        assert_int_equal(cairn_close(store), CAIRN_OK);
        store = place_open(&p);
        if (store != NULL) model_agrees(&all, store, &found);
        fail_if_found(s, seed, 0);
        assert_int_equal(cairn_close(store), CAIRN_OK);
        model_release(&all);
        for (unsigned i = 0; i < THREADS; i++) {
            model_run_release(&callers[i].run);
        }
        place_remove(&p);
    }
}

int main(void) {
    static setting settings[] = {
        {.name = "simulated disk", .operations = 50000, .hash_mask = UINT64_MAX, .keys = 600},
        {.name = "hashes of no bits", .operations = 10000, .hash_mask = 0, .keys = 24},
        {.name = "hashes of two bits", .operations = 10000, .hash_mask = 3, .keys = 60},
        {.name = "hashes of four bits", .operations = 10000, .hash_mask = 15, .keys = 300},
        {.name = "real files", .operations = 5000, .hash_mask = UINT64_MAX, .keys = 600, .real = true},
        {.name = "real files, own threads",
         .operations = 5000,
         .hash_mask = UINT64_MAX,
         .keys = 600,
         .real = true,
         .threads = true},
        {.name = "own threads", .operations = 10000, .hash_mask = UINT64_MAX, .keys = 600, .threads = true},
        {.name = "four callers", .operations = 10000, .hash_mask = UINT64_MAX, .keys = 300, .threads = true},
        {.name = "four callers, hashes of two bits", .operations = 10000, .hash_mask = 3, .keys = 20, .threads = true},
    };
#define SETTING(i, test, name)                                                                                         \
    { name, test, NULL, NULL, &settings[i] }
    const struct CMUnitTest tests[] = {
        SETTING(0, the_store_agrees_with_the_model, "the_store_agrees_with_the_model"),
        SETTING(1, the_store_agrees_with_the_model, "it_does_when_all_hashes_collide"),
        SETTING(2, the_store_agrees_with_the_model, "it_does_with_hashes_of_two_bits"),
        SETTING(3, the_store_agrees_with_the_model, "it_does_with_hashes_of_four_bits"),
        SETTING(4, the_store_agrees_with_the_model, "it_does_on_real_files"),
        SETTING(5, the_store_agrees_with_the_model, "it_does_on_real_files_with_threads_of_its_own"),
        SETTING(6, the_store_agrees_with_the_model, "it_does_with_threads_of_its_own"),
        SETTING(7, callers_at_once_agree_with_their_models, "callers_at_once_agree_with_their_models"),
        SETTING(8, callers_at_once_agree_with_their_models, "callers_at_once_agree_where_hashes_collide"),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}

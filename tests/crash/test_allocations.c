/* The rung of allocations: each one that the library makes fails in turn, alone and with all that follow it in the
 * call.
 *
 * A call then returns CAIRN_NO_MEMORY and has changed nothing, or succeeds all the same; the next call works; and after
 * a close or a kill the store holds what was acknowledged, no more and no less. That nothing leaks is shown by the
 * build with the address sanitizer.
 *
 * CAIRN_SEED=n runs one random sequence alone.
 */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/failing_memory.h"
#include "tests/support/finding.h"
#include "tests/support/rung.h"
#include "tests/support/specimen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MEGABYTE ((size_t)1 << 20)
#define KEYS (SPECIMEN_KEYS + 6) /* the specimen's, and some that are not in it */
#define LONG_KEY_BYTES ((size_t)3000)
#define ALL UINT64_MAX

typedef struct box {
    const specimen *s;
    sim_disk *disk;
    cairn *store;
    uint64_t rng;
    specimen_key keys[KEYS];
    specimen_value model[KEYS]; /* bytes is NULL: absent */
    finding *f;
} box;

/* ---- The box ---- */

static void box_open(box *b) {
    cairn_error error = {0};
    int rc = specimen_open(b->s, b->disk, false, &b->store, &error);
    if (rc != CAIRN_OK) finding_note(b->f, "open with enough memory: %d %s", rc, error.message);
}

static void box_init(box *b, const specimen *s, uint64_t seed, finding *f) {
    *b = (box){.s = s, .disk = sim_clone(s->disk), .rng = seed, .f = f};
    memory_fence(b->disk);
    memory_plan(0, 0);
    memcpy(b->keys, s->keys, sizeof s->keys);
    for (unsigned k = SPECIMEN_KEYS; k < KEYS; k++) {
        size_t size = k + 1 == KEYS ? LONG_KEY_BYTES : 8 + k;
        b->keys[k] = (specimen_key){.bytes = random_window(&b->rng, size), .size = size};
    }
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        if (s->state[s->steps][k] != SPECIMEN_ABSENT) b->model[k] = s->values[s->state[s->steps][k]];
    }
}

/* Whether the open store holds what the model says. */
static void box_compare(box *b, const char *when) {
    cairn_error error = {0};
    for (unsigned k = 0; k < KEYS && !b->f->found && b->store != NULL; k++) {
        void *bytes = NULL;
        size_t size = 0;
        int rc = cairn_get(b->store, b->keys[k].bytes, b->keys[k].size, &bytes, &size, &error);
        bool absent = b->model[k].bytes == NULL;
        bool good = absent ? rc == CAIRN_NOT_FOUND
                           : rc == CAIRN_OK && size == b->model[k].size && memcmp(bytes, b->model[k].bytes, size) == 0;
        cairn_free(bytes);
        if (!good) finding_note(b->f, "%s: key %u is not as it should be: get gives %d, %zu bytes", when, k, rc, size);
    }
}

static void box_verify(box *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t keys = 0;
    if (b->f->found) return;
    for (unsigned k = 0; k < KEYS; k++)
        keys += b->model[k].bytes != NULL;
    int rc = cairn_verify(b->store, NULL, &result, NULL);
    if (rc != CAIRN_OK || result.damaged != 0) {
        finding_note(b->f, "verify: %d, %llu damaged", rc, (unsigned long long)result.damaged);
    }
    rc = cairn_stats_get(b->store, &stats, NULL);
    if (rc != CAIRN_OK || stats.keys != keys) {
        finding_note(b->f, "stats: %d, %llu keys for %llu", rc, (unsigned long long)stats.keys,
                     (unsigned long long)keys);
    }
}

static void box_close(box *b) {
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    b->store = NULL;
    if (rc != CAIRN_OK) finding_note(b->f, "close: %d", rc);
    if (sim_open_handles(b->disk) != 0) finding_note(b->f, "files are left open");
}

/* The process dies and comes again. */
static void box_kill(box *b) {
    sim_disk *old = b->disk;
    b->disk = sim_kill(old);
    memory_fence(b->disk);
    if (b->store != NULL) (void)cairn_close(b->store);
    b->store = NULL;
    sim_free(old);
}

/* After the failures: all is as the model says, now and after the store was closed or killed. */
static void box_finish(box *b, bool kill) {
    memory_plan(0, 0);
    if (b->store == NULL) box_open(b);
    box_compare(b, "afterwards");
    if (kill) {
        box_kill(b);
    } else {
        box_close(b);
    }
    if (!b->f->found) box_open(b);
    box_compare(b, kill ? "after a kill" : "after a close");
    if (!b->f->found) box_verify(b);
    box_close(b);
    sim_free(b->disk);
}

/* ---- Acts: one call, or one value written or read. Code of the first call that failed ---- */

static void learn(box *b, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_OK) b->model[k] = (specimen_value){.bytes = bytes, .size = size};
}

static int put(box *b, unsigned k, size_t size) {
    const uint8_t *value = random_window(&b->rng, size);
    memory_counted();
    int rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, size, NULL, NULL));
    learn(b, rc, k, value, size);
    return rc;
}

static unsigned any_key(box *b) { return (unsigned)random_below(&b->rng, KEYS); }
static int put_small(box *b) { return put(b, any_key(b), 300); }
static int put_new(box *b) { return put(b, SPECIMEN_KEYS, 20); }
static int put_long_key(box *b) { return put(b, KEYS - 1, 500); }
static int put_bulk(box *b) { return put(b, any_key(b), 200000); } /* five of them fill a segment */
static int put_in_file(box *b) { return put(b, any_key(b), MEGABYTE / 4 + 1 + random_below(&b->rng, 70000)); }

static int put_synced(box *b) {
    unsigned k = any_key(b);
    const uint8_t *value = random_window(&b->rng, 100);
    cairn_put_options o = {.struct_size = sizeof o, .sync = true};
    memory_counted();
    int rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, 100, &o, NULL));
    learn(b, rc, k, value, 100);
    return rc;
}

static int delete_any(box *b) {
    unsigned k = any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_delete(b->store, b->keys[k].bytes, b->keys[k].size, NULL, NULL));
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) rc = CAIRN_OK;
    learn(b, rc, k, NULL, 0);
    return rc;
}

static int write_stream(box *b, size_t size, size_t piece) {
    cairn_writer *writer = NULL;
    unsigned k = any_key(b);
    const uint8_t *value = random_window(&b->rng, size);
    memory_counted();
    int rc = memory_uncounted(cairn_writer_open(b->store, b->keys[k].bytes, b->keys[k].size, NULL, &writer, NULL));
    if (rc != CAIRN_OK) return rc;
    for (size_t done = 0; rc == CAIRN_OK && done < size; done += piece) {
        memory_counted();
        rc = memory_uncounted(cairn_writer_write(writer, value + done, min_u64(piece, size - done), NULL));
    }
    memory_counted();
    if (rc == CAIRN_OK) {
        rc = memory_uncounted(cairn_writer_commit(writer, NULL));
        learn(b, rc, k, value, size);
    } else {
        cairn_writer_abort(writer);
        (void)memory_uncounted(0);
    }
    return rc;
}

static int write_short(box *b) { return write_stream(b, 90000, 30000); }
static int write_long(box *b) { return write_stream(b, MEGABYTE / 2, 100000); }

static int wrong(box *b, const char *what) {
    finding_note(b->f, "%s gives a wrong value", what);
    return CAIRN_OK;
}

/* What a call that reads gave for the key: an absent one is no failure. */
static int judge(box *b, const char *what, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) return CAIRN_OK;
    if (rc != CAIRN_OK) return rc;
    bool good = b->model[k].bytes != NULL && size == b->model[k].size && memcmp(bytes, b->model[k].bytes, size) == 0;
    return good ? CAIRN_OK : wrong(b, what);
}

static int get(box *b) {
    unsigned k = any_key(b);
    void *bytes = NULL;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(cairn_get(b->store, b->keys[k].bytes, b->keys[k].size, &bytes, &size, NULL));
    rc = judge(b, "get", rc, k, bytes, size);
    cairn_free(bytes);
    return rc;
}

static int get_into(box *b) {
    static uint8_t buf[MEGABYTE];
    unsigned k = any_key(b);
    size_t size = 0;
    memory_counted();
    int rc =
        memory_uncounted(cairn_get_into(b->store, b->keys[k].bytes, b->keys[k].size, buf, sizeof buf, &size, NULL));
    return judge(b, "get_into", rc, k, buf, size);
}

static int read_part(box *b) {
    static uint8_t buf[1000];
    unsigned k = any_key(b);
    size_t got = 0;
    uint64_t at = b->model[k].size / 3;
    memory_counted();
    int rc = memory_uncounted(cairn_read(b->store, b->keys[k].bytes, b->keys[k].size, at, buf, sizeof buf, &got, NULL));
    if (rc != CAIRN_OK) return judge(b, "read", rc, k, NULL, 0);
    bool good = got == min_u64(sizeof buf, b->model[k].size - at) && memcmp(buf, b->model[k].bytes + at, got) == 0;
    return good ? rc : wrong(b, "read");
}

static int stat_key(box *b) {
    unsigned k = any_key(b);
    cairn_entry entry = {.struct_size = sizeof entry};
    memory_counted();
    int rc = memory_uncounted(cairn_stat(b->store, b->keys[k].bytes, b->keys[k].size, &entry, NULL));
    if (rc == CAIRN_OK && entry.value_size != b->model[k].size) return wrong(b, "stat");
    return rc == CAIRN_OK ? rc : judge(b, "stat", rc, k, NULL, 0);
}

static int read_stream(box *b) {
    static uint8_t buf[MEGABYTE];
    cairn_reader *reader = NULL;
    unsigned k = any_key(b);
    size_t got = 0, size = 0;
    memory_counted();
    int rc = memory_uncounted(cairn_reader_open(b->store, b->keys[k].bytes, b->keys[k].size, &reader, NULL));
    if (rc != CAIRN_OK) return judge(b, "reader", rc, k, NULL, 0);
    do {
        memory_counted();
        rc = memory_uncounted(cairn_reader_pread(reader, buf + size, 77777, size, &got, NULL));
        size += got;
    } while (rc == CAIRN_OK && got > 0);
    cairn_reader_close(reader);
    return judge(b, "reader", rc, k, buf, size);
}

static int view(box *b) {
    cairn_view *v = NULL;
    unsigned k = any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_view_open(b->store, b->keys[k].bytes, b->keys[k].size, &v, NULL));
    rc = judge(b, "view", rc, k, v == NULL ? NULL : cairn_view_data(v), v == NULL ? 0 : cairn_view_size(v));
    cairn_view_close(v);
    return rc;
}

/* A failed value can be asked for again; a failed step is one entry less. */
static int scan(box *b) {
    cairn_scan *s = NULL;
    uint64_t seen = 0, present = 0;
    int worst = CAIRN_OK;
    memory_counted();
    int rc = memory_uncounted(cairn_scan_open(b->store, NULL, &s, NULL));
    if (rc != CAIRN_OK) return rc;
    for (;;) {
        memory_counted();
        rc = memory_uncounted(cairn_scan_next(s, NULL));
        if (rc == CAIRN_DONE) break;
        seen++;
        const void *value = NULL;
        size_t key_size = 0, size = 0;
        unsigned k = 0;
        if (rc == CAIRN_OK) {
            const void *key = cairn_scan_key(s, &key_size);
            while (k < KEYS && (b->keys[k].size != key_size || memcmp(b->keys[k].bytes, key, key_size) != 0))
                k++;
            memory_counted();
            rc = memory_uncounted(cairn_scan_value(s, &value, &size, NULL));
            if (rc == CAIRN_NO_MEMORY) {
                worst = rc;
                rc = cairn_scan_value(s, &value, &size, NULL);
            }
        }
        if (rc == CAIRN_OK && k == KEYS) (void)wrong(b, "scan");
        if (rc == CAIRN_OK && k < KEYS) (void)judge(b, "scan", rc, k, value, size);
        if (rc != CAIRN_OK) worst = rc;
        if (seen > KEYS) break;
    }
    cairn_scan_close(s);
    for (unsigned k = 0; k < KEYS; k++)
        present += b->model[k].bytes != NULL;
    if (seen != present) (void)wrong(b, "scan");
    return worst;
}

static int checkpoint_store(box *b) {
    memory_counted();
    return memory_uncounted(cairn_checkpoint(b->store, NULL));
}

static int sync_store(box *b) {
    memory_counted();
    return memory_uncounted(cairn_sync(b->store, NULL));
}

static int verify(box *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    memory_counted();
    int rc = memory_uncounted(cairn_verify(b->store, NULL, &result, NULL));
    return rc == CAIRN_OK && result.damaged != 0 ? wrong(b, "verify") : rc;
}

static int stats(box *b) {
    cairn_stats result = {.struct_size = sizeof result};
    memory_counted();
    return memory_uncounted(cairn_stats_get(b->store, &result, NULL));
}

/* Frees the handle whatever it returns. */
static int close_store(box *b) {
    memory_counted();
    int rc = memory_uncounted(cairn_close(b->store));
    b->store = NULL;
    return rc;
}

static int open_store(box *b) {
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, false, &b->store, NULL));
    if (rc != CAIRN_OK && (b->store != NULL || sim_open_handles(b->disk) != 0)) {
        finding_note(b->f, "a failed open leaves something open");
    }
    return rc;
}

static int reopen(box *b) {
    int rc = close_store(b);
    return rc == CAIRN_OK ? open_store(b) : rc;
}

static int open_after_kill(box *b) {
    box_kill(b);
    return open_store(b);
}

static int open_read_only(box *b) {
    box_close(b);
    uint64_t before = sim_fingerprint(b->disk);
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, true, &b->store, NULL));
    box_compare(b, "read-only");
    if (rc == CAIRN_OK) box_close(b);
    if (sim_fingerprint(b->disk) != before) finding_note(b->f, "a read-only open has changed the disk");
    return rc;
}

static int open_new(box *b, cairn **store) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    return store_open_on(store, sim_os(b->disk), "new", &o, ALL, NULL);
}

/* A new store and its first put, which makes its first segment. */
static int create(box *b) {
    cairn *other = NULL;
    char got = 0;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(open_new(b, &other));
    if (rc != CAIRN_OK) return rc;
    memory_counted();
    rc = memory_uncounted(cairn_put(other, "k", 1, "v", 1, NULL, NULL));
    if (rc != CAIRN_OK && cairn_put(other, "k", 1, "v", 1, NULL, NULL) != CAIRN_OK) (void)wrong(b, "a second put");
    if (cairn_close(other) != CAIRN_OK || open_new(b, &other) != CAIRN_OK) return wrong(b, "a new store");
    if (cairn_get_into(other, "k", 1, &got, 1, &size, NULL) != CAIRN_OK || got != 'v') (void)wrong(b, "get_into");
    if (cairn_close(other) != CAIRN_OK) (void)wrong(b, "close");
    return rc;
}

/* Fills one shard until its array is made of whole pages. */
static int grow_shard(box *b) {
    int worst = CAIRN_OK;
    for (uint32_t i = 0; i < 3700; i++) {
        if (i >= 3200) memory_counted();
        int rc = memory_uncounted(cairn_put(b->store, &i, sizeof i, &i, sizeof i, NULL, NULL));
        if (rc != CAIRN_OK) {
            worst = rc;
            rc = cairn_put(b->store, &i, sizeof i, &i, sizeof i, NULL, NULL);
        }
        if (rc != CAIRN_OK) finding_note(b->f, "put %u, again: %d", i, rc);
    }
    for (uint32_t i = 0; i < 3700; i++) {
        uint32_t value = 0;
        size_t size = 0;
        int rc = cairn_get_into(b->store, &i, sizeof i, &value, sizeof value, &size, NULL);
        if (rc != CAIRN_OK || value != i) finding_note(b->f, "get %u: %d", i, rc);
        if (cairn_delete(b->store, &i, sizeof i, NULL, NULL) != CAIRN_OK) finding_note(b->f, "delete %u", i);
    }
    return worst;
}

typedef struct act {
    const char *name;
    int (*run)(box *b);
} act;

static const act acts[] = {{"put", put_small},
                           {"put of a new key", put_new},
                           {"put of a long key", put_long_key},
                           {"put of much", put_bulk},
                           {"put of a value file", put_in_file},
                           {"synced put", put_synced},
                           {"delete", delete_any},
                           {"short writer", write_short},
                           {"long writer", write_long},
                           {"get", get},
                           {"get_into", get_into},
                           {"read", read_part},
                           {"stat", stat_key},
                           {"reader", read_stream},
                           {"view", view},
                           {"scan", scan},
                           {"checkpoint", checkpoint_store},
                           {"sync", sync_store},
                           {"verify", verify},
                           {"stats", stats},
                           {"reopen", reopen},
                           {"open after a kill", open_after_kill},
                           {"open read-only", open_read_only},
                           {"create", create}};
#define ACTS (sizeof acts / sizeof acts[0])

/* An act while memory fails, and again with enough of it. */
static void perform(box *b, const act *a) {
    if (b->store == NULL) box_open(b);
    if (b->f->found) return;
    uint64_t failures = memory_failures();
    int rc = a->run(b);
    bool failed = memory_failures() > failures;
    if (rc != CAIRN_OK && !(rc == CAIRN_NO_MEMORY && failed)) {
        finding_note(b->f, "%s: %d after %llu failures", a->name, rc, (unsigned long long)memory_failures());
    }
}

/* ---- Each act alone ---- */

static const specimen_plan plans[] = {
    {.name = "killed", .hash_mask = UINT64_MAX, .checkpoint = true},
    {.name = "closed", .hash_mask = UINT64_MAX, .closed = true},
    {.name = "killed, no checkpoint, all hashes collide", .hash_mask = 0},
    {.name = "closed, hashes collide", .hash_mask = (uint64_t)1 << 63, .closed = true, .checkpoint = true},
    {.name = "killed, value files", .hash_mask = UINT64_MAX, .files = true, .checkpoint = true},
    {.name = "closed, value files, long value and key", .hash_mask = 1, .closed = true, .files = true, .large = true},
};
#define PLANS (sizeof plans / sizeof plans[0])

static specimen specimens[PLANS];

static int make_specimens(void **state) {
    (void)state;
    for (size_t i = 0; i < PLANS; i++)
        specimen_make(&specimens[i], &plans[i], 200 + i);
    return 0;
}

static int release_specimens(void **state) {
    (void)state;
    for (size_t i = 0; i < PLANS; i++)
        specimen_release(&specimens[i]);
    return 0;
}

static void fail_on(const finding *f) {
    if (!f->found) return;
    fputs(f->text, stderr); /* longer than a message of cmocka may be */
    fail();
}

/* The allocation of that number fails, or all from it on. Returns whether there was one. */
static bool fail_one(const specimen *s, const act *a, uint64_t seed, uint64_t number, bool sticky, finding *f) {
    box b;
    box_init(&b, s, seed, f);
    box_open(&b);
    /* So that the act meets a session under way. */
    if (seed % 3 == 1) (void)put(&b, SPECIMEN_KEYS + 1, 50);
    for (unsigned i = 0; seed % 3 == 2 && i < 4; i++)
        (void)put_bulk(&b);
    uint64_t rng = b.rng;
    memory_plan(number, sticky ? ALL : 1);
    perform(&b, a);
    bool there = memory_failures() > 0;
    memory_plan(0, 0);
    b.rng = rng;
    perform(&b, a);
    box_finish(&b, (number + seed) % 2 == 0);
    if (f->found)
        finding_add(f, "\n%s, store '%s', seed %llu: allocation %llu fails%s\n", a->name, s->plan.name,
                    (unsigned long long)seed, (unsigned long long)number, sticky ? ", and all after it" : "");
    return there;
}

static void each_allocation_of_each_call_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    uint64_t cases = 0, seeds = rung_choose(3, 1, 60);
    clock_t begin = clock();
    for (size_t i = 0; i < ACTS * PLANS * seeds && !f.found; i++) {
        const specimen *s = &specimens[i % PLANS];
        const act *a = &acts[i / PLANS % ACTS];
        uint64_t seed = i / PLANS / ACTS;
        for (uint64_t n = 0; !f.found && fail_one(s, a, seed, n, false, &f); n++) {
            cases++;
            if (!f.found) cases += fail_one(s, a, seed, n, true, &f);
        }
    }
    print_message("%llu cases, %.1f s\n", (unsigned long long)cases, (double)(clock() - begin) / CLOCKS_PER_SEC);
    fail_on(&f);
}

static void growth_of_an_index_shard_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    static specimen s;
    specimen_plan plan = {.name = "one shard", .hash_mask = UINT64_MAX >> 10, .closed = true};
    const act a = {"growth", grow_shard};
    specimen_make(&s, &plan, 300);
    for (uint64_t n = 0; !f.found && fail_one(&s, &a, 0, n, false, &f); n++)
        ;
    specimen_release(&s);
    fail_on(&f);
}

/* ---- Sequences ---- */

/* A random sequence in which the allocations from that number on fail, a few of them. Returns whether there were any.
 */
static bool fail_in_sequence(uint64_t seed, uint64_t number, uint64_t failures, finding *f) {
    box b;
    uint64_t rng = seed * 1000 + 7;
    const specimen *s = &specimens[seed % PLANS];
    box_init(&b, s, seed, f);
    box_open(&b);
    memory_plan(number, failures);
    char trace[400] = "";
    for (unsigned i = 0; i < 10 && !f->found; i++) {
        const act *a = &acts[random_below(&rng, ACTS)];
        size_t used = strlen(trace);
        perform(&b, a);
        (void)snprintf(trace + used, sizeof trace - used, "%s%s, ", a->name, memory_failures() > 0 ? " (failing)" : "");
    }
    bool there = memory_failures() > 0;
    box_finish(&b, (number + seed) % 2 == 0);
    if (f->found)
        finding_add(f, "\nstore '%s', CAIRN_SEED=%llu, allocation %llu and %llu more fail: %s\n", s->plan.name,
                    (unsigned long long)seed, (unsigned long long)number, (unsigned long long)failures - 1, trace);
    return there;
}

static void any_allocation_in_a_random_sequence_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    uint64_t cases = 0, wanted = rung_choose(5000, 500, 50000), seed = 1;
    bool one = rung_seed(&seed);
    clock_t begin = clock();
    for (; cases < wanted && !f.found; seed++) {
        for (uint64_t n = 0; !f.found && fail_in_sequence(seed, n, 1 + (n + seed) % 3 * 5, &f); n++)
            cases++;
        if (one) break;
    }
    print_message("%llu cases, %.1f s\n", (unsigned long long)cases, (double)(clock() - begin) / CLOCKS_PER_SEC);
    fail_on(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_each_call_fails_without_a_trace),
        cmocka_unit_test(growth_of_an_index_shard_fails_without_a_trace),
        cmocka_unit_test(any_allocation_in_a_random_sequence_fails_without_a_trace),
    };
    return cmocka_run_group_tests_name("allocations", tests, make_specimens, release_specimens);
}

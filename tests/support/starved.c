#include "tests/support/starved.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"

#include <string.h>

#define MEGABYTE ((size_t)1 << 20)
#define LONG_KEY_BYTES ((size_t)3000)

/* ---- The store ---- */

void starved_open(starved *b) {
    cairn_error error = {0};
    int rc = specimen_open(b->s, b->disk, false, &b->store, &error);
    if (rc != CAIRN_OK) finding_note(b->f, "open with enough memory: %d %s", rc, error.message);
}

void starved_init(starved *b, const specimen *s, uint64_t seed, finding *f) {
    *b = (starved){.s = s, .disk = sim_clone(s->disk), .rng = seed, .f = f};
    memory_fence(b->disk);
    memory_plan(0, 0);
    memcpy(b->keys, s->keys, sizeof s->keys);
    for (unsigned k = SPECIMEN_KEYS; k < STARVED_KEYS; k++) {
        size_t size = k + 1 == STARVED_KEYS ? LONG_KEY_BYTES : 8 + k;
        b->keys[k] = (specimen_key){.bytes = random_window(&b->rng, size), .size = size};
    }
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        if (s->state[s->steps][k] != SPECIMEN_ABSENT) b->model[k] = s->values[s->state[s->steps][k]];
    }
}

/* Whether the open store holds what the model says. */
static void starved_compare(starved *b, const char *when) {
    cairn_error error = {0};
    for (unsigned k = 0; k < STARVED_KEYS && !b->f->found && b->store != NULL; k++) {
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

static void starved_verify(starved *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t keys = 0;
    if (b->f->found) return;
    for (unsigned k = 0; k < STARVED_KEYS; k++)
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

static void starved_close(starved *b) {
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    b->store = NULL;
    if (rc != CAIRN_OK) finding_note(b->f, "close: %d", rc);
    if (sim_open_handles(b->disk) != 0) finding_note(b->f, "files are left open");
}

/* The process dies and comes again. */
static void starved_kill(starved *b) {
    sim_disk *old = b->disk;
    b->disk = sim_kill(old);
    memory_fence(b->disk);
    if (b->store != NULL) (void)cairn_close(b->store);
    b->store = NULL;
    sim_free(old);
}

void starved_finish(starved *b, bool kill) {
    memory_plan(0, 0);
    if (b->store == NULL) starved_open(b);
    starved_compare(b, "afterwards");
    if (kill) {
        starved_kill(b);
    } else {
        starved_close(b);
    }
    if (!b->f->found) starved_open(b);
    starved_compare(b, kill ? "after a kill" : "after a close");
    if (!b->f->found) starved_verify(b);
    starved_close(b);
    sim_free(b->disk);
}

/* ---- Acts: one call, or one value written or read. Code of the first call that failed ---- */

static void learn(starved *b, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_OK) b->model[k] = (specimen_value){.bytes = bytes, .size = size};
}

static int put(starved *b, unsigned k, size_t size) {
    const uint8_t *value = random_window(&b->rng, size);
    memory_counted();
    int rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, size, NULL, NULL));
    learn(b, rc, k, value, size);
    return rc;
}

static unsigned any_key(starved *b) { return (unsigned)random_below(&b->rng, STARVED_KEYS); }
static int put_small(starved *b) { return put(b, any_key(b), 300); }
static int put_new(starved *b) { return put(b, SPECIMEN_KEYS, 20); }
static int put_long_key(starved *b) { return put(b, STARVED_KEYS - 1, 500); }
static int put_bulk(starved *b) { return put(b, any_key(b), 200000); } /* five of them fill a segment */
static int put_in_file(starved *b) { return put(b, any_key(b), MEGABYTE / 4 + 1 + random_below(&b->rng, 70000)); }

static int put_synced(starved *b) {
    unsigned k = any_key(b);
    const uint8_t *value = random_window(&b->rng, 100);
    cairn_put_options o = {.struct_size = sizeof o, .sync = true};
    memory_counted();
    int rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, 100, &o, NULL));
    learn(b, rc, k, value, 100);
    return rc;
}

static int delete_any(starved *b) {
    unsigned k = any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_delete(b->store, b->keys[k].bytes, b->keys[k].size, NULL, NULL));
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) rc = CAIRN_OK;
    learn(b, rc, k, NULL, 0);
    return rc;
}

static int write_stream(starved *b, size_t size, size_t piece) {
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

static int write_short(starved *b) { return write_stream(b, 90000, 30000); }
static int write_long(starved *b) { return write_stream(b, MEGABYTE / 2, 100000); }

static int wrong(starved *b, const char *what) {
    finding_note(b->f, "%s gives a wrong value", what);
    return CAIRN_OK;
}

/* What a call that reads gave for the key: an absent one is no failure. */
static int judge(starved *b, const char *what, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) return CAIRN_OK;
    if (rc != CAIRN_OK) return rc;
    bool good = b->model[k].bytes != NULL && size == b->model[k].size && memcmp(bytes, b->model[k].bytes, size) == 0;
    return good ? CAIRN_OK : wrong(b, what);
}

static int get(starved *b) {
    unsigned k = any_key(b);
    void *bytes = NULL;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(cairn_get(b->store, b->keys[k].bytes, b->keys[k].size, &bytes, &size, NULL));
    rc = judge(b, "get", rc, k, bytes, size);
    cairn_free(bytes);
    return rc;
}

static int get_into(starved *b) {
    static uint8_t buf[MEGABYTE];
    unsigned k = any_key(b);
    size_t size = 0;
    memory_counted();
    int rc =
        memory_uncounted(cairn_get_into(b->store, b->keys[k].bytes, b->keys[k].size, buf, sizeof buf, &size, NULL));
    return judge(b, "get_into", rc, k, buf, size);
}

static int read_part(starved *b) {
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

static int stat_key(starved *b) {
    unsigned k = any_key(b);
    cairn_entry entry = {.struct_size = sizeof entry};
    memory_counted();
    int rc = memory_uncounted(cairn_stat(b->store, b->keys[k].bytes, b->keys[k].size, &entry, NULL));
    if (rc == CAIRN_OK && entry.value_size != b->model[k].size) return wrong(b, "stat");
    return rc == CAIRN_OK ? rc : judge(b, "stat", rc, k, NULL, 0);
}

static int read_stream(starved *b) {
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

static int view(starved *b) {
    cairn_view *v = NULL;
    unsigned k = any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_view_open(b->store, b->keys[k].bytes, b->keys[k].size, &v, NULL));
    rc = judge(b, "view", rc, k, v == NULL ? NULL : cairn_view_data(v), v == NULL ? 0 : cairn_view_size(v));
    cairn_view_close(v);
    return rc;
}

/* A failed value can be asked for again; a failed step is one entry less. */
static int scan(starved *b) {
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
            while (k < STARVED_KEYS && (b->keys[k].size != key_size || memcmp(b->keys[k].bytes, key, key_size) != 0))
                k++;
            memory_counted();
            rc = memory_uncounted(cairn_scan_value(s, &value, &size, NULL));
            if (rc == CAIRN_NO_MEMORY) {
                worst = rc;
                rc = cairn_scan_value(s, &value, &size, NULL);
            }
        }
        if (rc == CAIRN_OK && k == STARVED_KEYS) (void)wrong(b, "scan");
        if (rc == CAIRN_OK && k < STARVED_KEYS) (void)judge(b, "scan", rc, k, value, size);
        if (rc != CAIRN_OK) worst = rc;
        if (seen > STARVED_KEYS) break;
    }
    cairn_scan_close(s);
    for (unsigned k = 0; k < STARVED_KEYS; k++)
        present += b->model[k].bytes != NULL;
    if (seen != present) (void)wrong(b, "scan");
    return worst;
}

static int checkpoint_store(starved *b) {
    memory_counted();
    return memory_uncounted(cairn_checkpoint(b->store, NULL));
}

static int sync_store(starved *b) {
    memory_counted();
    return memory_uncounted(cairn_sync(b->store, NULL));
}

static int verify(starved *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    memory_counted();
    int rc = memory_uncounted(cairn_verify(b->store, NULL, &result, NULL));
    return rc == CAIRN_OK && result.damaged != 0 ? wrong(b, "verify") : rc;
}

static int stats(starved *b) {
    cairn_stats result = {.struct_size = sizeof result};
    memory_counted();
    return memory_uncounted(cairn_stats_get(b->store, &result, NULL));
}

/* Frees the handle whatever it returns. */
static int close_store(starved *b) {
    memory_counted();
    int rc = memory_uncounted(cairn_close(b->store));
    b->store = NULL;
    return rc;
}

static int open_store(starved *b) {
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, false, &b->store, NULL));
    if (rc != CAIRN_OK && (b->store != NULL || sim_open_handles(b->disk) != 0)) {
        finding_note(b->f, "a failed open leaves something open");
    }
    return rc;
}

static int reopen(starved *b) {
    int rc = close_store(b);
    return rc == CAIRN_OK ? open_store(b) : rc;
}

static int open_after_kill(starved *b) {
    starved_kill(b);
    return open_store(b);
}

static int open_read_only(starved *b) {
    starved_close(b);
    uint64_t before = sim_fingerprint(b->disk);
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, true, &b->store, NULL));
    starved_compare(b, "read-only");
    if (rc == CAIRN_OK) starved_close(b);
    if (sim_fingerprint(b->disk) != before) finding_note(b->f, "a read-only open has changed the disk");
    return rc;
}

static int open_new(starved *b, cairn **store) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    return store_open_on(store, sim_os(b->disk), "new", &o, UINT64_MAX, NULL);
}

/* A new store and its first put, which makes its first segment. */
static int create(starved *b) {
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

static int grow_shard(starved *b) {
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

const act acts[ACTS] = {[ACT_PUT_NEW] = {"put of a new key", put_new},
                        [ACT_PUT_MUCH] = {"put of much", put_bulk},
                        {"put", put_small},
                        {"put of a long key", put_long_key},
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
const act act_growth = {"growth", grow_shard};

/* An act while memory fails, and again with enough of it. */
void starved_perform(starved *b, const act *a) {
    if (b->store == NULL) starved_open(b);
    if (b->f->found) return;
    uint64_t failures = memory_failures();
    int rc = a->run(b);
    bool failed = memory_failures() > failures;
    if (rc != CAIRN_OK && !(rc == CAIRN_NO_MEMORY && failed)) {
        finding_note(b->f, "%s: %d after %llu failures", a->name, rc, (unsigned long long)memory_failures());
    }
}

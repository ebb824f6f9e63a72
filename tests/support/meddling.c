#include "tests/support/meddling.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/meanwhile.h"
#include "tests/support/rung.h"

#include <stdio.h>
#include <string.h>

#define FILE_BYTES ((size_t)300000) /* more than a quarter of a segment: a file of its own */
#define BULK_BYTES ((size_t)200000)
#define STORE "s"

enum { X, Y, V, GONE, VOID, OTHER, THERE, BULK, KEYS = BULK + 6 };
#define NAME_SIZE 24
static const char *const key_names[KEYS] = {"x",     "y",     "v",     "gone",  "void",  "other", "there",
                                            "bulk0", "bulk1", "bulk2", "bulk3", "bulk4", "bulk5"};

typedef struct value {
    const uint8_t *bytes; /* NULL: absent */
    size_t size;
} value;

typedef struct holding {
    value values[KEYS];
} holding;

typedef struct meddler {
    sim_disk *disk;
    cairn *store;
    uint64_t mask, rng;
    size_t kind;
    finding *f;
    char names[KEYS][NAME_SIZE];
    holding now, mid, after;  /* what is there; when others are done; and with the batch as well */
    value batch[KEYS];        /* what it puts */
    cairn_snapshot *snapshot; /* NULL: none */
    holding in_snapshot;
    uint64_t told[KEYS]; /* highest version of the key that was ever told */
    uint64_t states;
} meddler;

/* ---- Calls ---- */

static bool note(meddler *m, const char *what, int rc) { return finding_note(m->f, "%s: %d", what, rc); }

static value random_value(meddler *m, size_t size) {
    return (value){.bytes = random_window(&m->rng, size), .size = size};
}

static void learn_version(meddler *m, unsigned key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    int rc = cairn_stat(m->store, m->names[key], strlen(m->names[key]), &entry, NULL);
    if (rc != CAIRN_OK) (void)note(m, "stat of what was put", rc);
    if (entry.version <= m->told[key]) finding_note(m->f, "the version of %s goes back", key_names[key]);
    m->told[key] = entry.version;
}

static void put_for(meddler *m, unsigned key, size_t size, uint64_t ttl_ms) {
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = ttl_ms};
    value v = random_value(m, size);
    int rc = cairn_put(m->store, m->names[key], strlen(m->names[key]), v.bytes, v.size, &o, NULL);
    if (rc != CAIRN_OK) (void)note(m, "put", rc);
    m->now.values[key] = v;
    learn_version(m, key);
}
static void put(meddler *m, unsigned key) { put_for(m, key, 50 + key, 0); }

static void delete_key(meddler *m, unsigned key) {
    int rc = cairn_delete(m->store, m->names[key], strlen(m->names[key]), NULL, NULL);
    int expected = m->now.values[key].bytes == NULL ? CAIRN_NOT_FOUND : CAIRN_OK;
    if (rc != expected) (void)note(m, "delete", rc);
    m->now.values[key] = (value){0};
}

static void checkpoint_store(meddler *m) {
    int rc = cairn_checkpoint(m->store, NULL);
    if (rc != CAIRN_OK) (void)note(m, "checkpoint", rc);
}

static cairn *open_store(const meddler *m, sim_disk *disk, finding *f) {
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    cairn *store = NULL;
    cairn_error error = {0};
    int rc = store_open_on(&store, sim_os(disk), STORE, &o, m->mask, &error);
    if (rc != CAIRN_OK) finding_note(f, "open: %d %s", rc, error.message);
    return store;
}

/* ---- Meddling ---- */

static void do_nothing(meddler *m) { (void)m; }
static void put_x(meddler *m) { put(m, X); }
static void delete_x(meddler *m) { delete_key(m, X); }
static void put_and_delete_x(meddler *m) {
    put(m, X);
    delete_key(m, X);
}
static void put_y(meddler *m) { put(m, Y); }
static void put_and_delete_y(meddler *m) {
    put(m, Y);
    delete_key(m, Y);
}
static void put_v(meddler *m) { put(m, V); }
static void put_and_delete_v(meddler *m) {
    put(m, V);
    delete_key(m, V);
}
static void put_gone(meddler *m) { put(m, GONE); }
static void delete_gone(meddler *m) { delete_key(m, GONE); }
static void put_void(meddler *m) { put(m, VOID); }
static void put_other(meddler *m) { put(m, OTHER); }
static void delete_there(meddler *m) { delete_key(m, THERE); }

/* x gets a time to live, which ends. */
static void let_x_expire(meddler *m) {
    cairn_stats stats = {.struct_size = sizeof stats};
    put_for(m, X, 70, 10);
    sim_clock_advance(m->disk, 11);
    m->now.values[X] = (value){0};
    int rc = cairn_stats_get(m->store, &stats, NULL); /* which notices */
    if (rc != CAIRN_OK || stats.expiring_keys != 0) (void)note(m, "stats", rc);
}

static void stream_x(meddler *m) {
    value v = random_value(m, FILE_BYTES);
    cairn_writer *w = NULL;
    int rc = cairn_writer_open(m->store, m->names[X], strlen(m->names[X]), NULL, &w, NULL);
    if (rc == CAIRN_OK) rc = cairn_writer_write(w, v.bytes, v.size, NULL);
    if (rc == CAIRN_OK) rc = cairn_writer_commit(w, NULL);
    if (rc != CAIRN_OK) (void)note(m, "writer", rc);
    m->now.values[X] = v;
    learn_version(m, X);
}

static void add_delete(const meddler *m, cairn_batch *batch, unsigned key) {
    CHECK(cairn_batch_delete(batch, m->names[key], strlen(m->names[key])) == CAIRN_OK);
}

static void commit_another(meddler *m) {
    static const unsigned puts[] = {X, Y, V, VOID, OTHER};
    cairn_batch *batch = NULL;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
        unsigned key = puts[i];
        value v = random_value(m, 100 + i);
        CHECK(cairn_batch_put(batch, m->names[key], strlen(m->names[key]), v.bytes, v.size) == CAIRN_OK);
        m->now.values[key] = v;
    }
    add_delete(m, batch, THERE);
    m->now.values[THERE] = (value){0};
    int rc = cairn_batch_commit(m->store, batch, NULL, NULL);
    if (rc != CAIRN_OK) (void)note(m, "another batch", rc);
    cairn_batch_free(batch);
    for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
        learn_version(m, puts[i]);
    }
}

static void put_x_and_checkpoint(meddler *m) {
    put(m, X);
    checkpoint_store(m);
}

static void open_snapshot(meddler *m) {
    put(m, X);
    int rc = cairn_snapshot_open(m->store, &m->snapshot, NULL);
    if (rc != CAIRN_OK) (void)note(m, "snapshot", rc);
    m->in_snapshot = m->now;
}

/* The batch's parts are in a segment that is full and sealed. */
static void fill_segments(meddler *m) {
    for (unsigned key = BULK; key < KEYS; key++) {
        put_for(m, key, BULK_BYTES, 0);
    }
    checkpoint_store(m);
    put_for(m, BULK, BULK_BYTES, 0);
}

static void (*const kinds[])(meddler *m) = {do_nothing,
                                            put_x,
                                            delete_x,
                                            put_and_delete_x,
                                            let_x_expire,
                                            stream_x,
                                            put_y,
                                            put_and_delete_y,
                                            put_v,
                                            put_and_delete_v,
                                            put_gone,
                                            delete_gone,
                                            put_void,
                                            put_other,
                                            delete_there,
                                            commit_another,
                                            checkpoint_store,
                                            put_x_and_checkpoint,
                                            open_snapshot,
                                            fill_segments};
const char *const meddling_names[] = {"nothing",
                                      "put x",
                                      "delete x",
                                      "put and delete x",
                                      "put x, which expires",
                                      "stream x",
                                      "put y",
                                      "put and delete y",
                                      "put v",
                                      "put and delete v",
                                      "put what the batch deletes",
                                      "delete what the batch deletes",
                                      "put what is absent and the batch deletes",
                                      "put another key",
                                      "delete another key",
                                      "another batch",
                                      "checkpoint",
                                      "put x and checkpoint",
                                      "put x and open a snapshot",
                                      "fill segments"};
const size_t meddling_count = sizeof kinds / sizeof kinds[0];
_Static_assert(sizeof kinds / sizeof kinds[0] == sizeof meddling_names / sizeof meddling_names[0], "a name each");

/* ---- Looking ---- */

/* Whether a get of the key gives this value. */
static bool holds_key(const meddler *m, cairn *store, unsigned key, const value *v, finding *f) {
    void *got = NULL;
    size_t size = 0;
    int rc = cairn_get(store, m->names[key], strlen(m->names[key]), &got, &size, NULL);
    bool same = v->bytes == NULL ? rc == CAIRN_NOT_FOUND
                                 : rc == CAIRN_OK && size == v->size && memcmp(got, v->bytes, size) == 0;
    cairn_free(got);
    return same || finding_note(f, "%s: get gives %d and %zu bytes", key_names[key], rc, size);
}

static bool holds(const meddler *m, cairn *store, const holding *expected, finding *f) {
    bool good = true;
    for (unsigned key = 0; good && key < KEYS; key++) {
        good = holds_key(m, store, key, &expected->values[key], f);
    }
    return good;
}

static bool is_whole(cairn *store, finding *f) {
    cairn_verify_result result = {.struct_size = sizeof result};
    int rc = cairn_verify(store, NULL, &result, NULL);
    return (rc == CAIRN_OK && result.damaged == 0) ||
           finding_note(f, "verify: %d, %llu damaged", rc, (unsigned long long)result.damaged);
}

/* What is there when the disk, which it takes over, is opened: with the batch, or where that is allowed without it. */
static void look(meddler *m, sim_disk *disk, bool may_be_without, const char *when) {
    finding without = {0};
    cairn *store = m->f->found ? NULL : open_store(m, disk, m->f);
    m->states++;
    if (store != NULL) {
        if (!may_be_without || !holds(m, store, &m->mid, &without)) (void)holds(m, store, &m->after, m->f);
        if (m->f->found && may_be_without) finding_add(m->f, "\nand it is not what was there before: %s", without.text);
        (void)is_whole(store, m->f);
        (void)cairn_close(store);
    }
    if (m->f->found) finding_add(m->f, "\n%s", when);
    sim_free(disk);
}

/* At each operation behind the meddling, which was synced. */
static void look_at_cuts(void *ctx, sim_disk *disk) {
    meddler *m = ctx;
    if (m->f->found) return;
    sim_disk *copy = sim_clone(disk);
    for (uint64_t seed = 0; seed < 3 && !m->f->found; seed++) {
        look(m, sim_crash(copy, m->rng * 4 + seed), true, "after a power cut in the middle");
    }
    if (!m->f->found) look(m, sim_kill(copy), true, "after a kill in the middle");
    sim_free(copy);
}

static void meddle_now(void *ctx) {
    meddler *m = ctx;
    kinds[m->kind](m);
    m->mid = m->after = m->now;
    for (unsigned key = X; key <= VOID; key++) {
        m->after.values[key] = m->batch[key];
    }
    int rc = cairn_sync(m->store, NULL);
    if (rc != CAIRN_OK) (void)note(m, "sync", rc);
    sim_on_operation(m->disk, look_at_cuts, m);
}

/* ---- The batch ---- */

/* "other" has the hash of x, and nothing else has, where the mask leaves a choice. */
static void choose_names(meddler *m) {
    uint64_t of_x = store_hash(m->store, key_names[X], strlen(key_names[X])).index;
    bool choice = m->mask != 0 && m->mask != UINT64_MAX;
    for (unsigned key = 0; key < KEYS; key++) {
        char *name = m->names[key];
        unsigned number = 0;
        (void)snprintf(name, NAME_SIZE, "%s", key_names[key]);
        while (choice && key != X && (store_hash(m->store, name, strlen(name)).index == of_x) != (key == OTHER)) {
            (void)snprintf(name, NAME_SIZE, "%s %u", key_names[key], ++number);
        }
    }
}

static void prepare(meddler *m, bool present) {
    m->store = open_store(m, m->disk, m->f);
    if (m->store == NULL) return;
    choose_names(m);
    put(m, THERE);
    put(m, GONE);
    if (!present) return;
    put(m, X);
    put(m, Y);
    put(m, V);
}

static void commit(meddler *m) {
    static const unsigned puts[] = {X, V, Y};
    cairn_put_options o = {.struct_size = sizeof o, .sync = true};
    cairn_batch *batch = NULL;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (size_t i = 0; i < 3; i++) {
        unsigned key = puts[i];
        value v = m->batch[key] = random_value(m, key == V ? FILE_BYTES : 300 + key);
        CHECK(cairn_batch_put(batch, m->names[key], strlen(m->names[key]), v.bytes, v.size) == CAIRN_OK);
        if (key != X) continue;
        add_delete(m, batch, GONE);
        add_delete(m, batch, VOID);
    }
    meanwhile(m->disk, meddle_now, m);
    int rc = cairn_batch_commit(m->store, batch, &o, NULL);
    meanwhile(m->disk, NULL, NULL);
    sim_on_operation(m->disk, NULL, NULL);
    if (rc != CAIRN_OK) (void)note(m, "commit", rc);
    cairn_batch_free(batch);
}

/* What the live store says, every later opening must say as well. */
static void check_versions(meddler *m, cairn *store) {
    for (unsigned key = 0; key < KEYS && !m->f->found; key++) {
        cairn_entry entry = {.struct_size = sizeof entry};
        if (m->after.values[key].bytes == NULL) continue;
        int rc = cairn_stat(store, m->names[key], strlen(m->names[key]), &entry, NULL);
        if (rc != CAIRN_OK) (void)note(m, "stat", rc);
        if (entry.version != m->told[key]) finding_note(m->f, "%s has another version than before", key_names[key]);
    }
}

/* Opens what a kill leaves, with the newest checkpoint or with none; writes on, and is killed again. */
static void reopen_and_go_on(meddler *m, bool lost, const char *when) {
    sim_disk *copy = sim_clone(m->disk), *disk = sim_kill(copy);
    sim_free(copy);
    if (lost) (void)sim_file_remove(disk, STORE, "CHECKPOINT");
    meddler next = *m;
    next.disk = disk;
    next.store = m->f->found ? NULL : open_store(m, disk, m->f);
    m->states++;
    if (next.store != NULL) {
        check_versions(m, next.store);
        (void)holds(m, next.store, &m->after, m->f);
        next.now = m->after;
        put(&next, VOID);
        delete_key(&next, X);
        put(&next, THERE);
        next.after = next.now;
        copy = sim_clone(disk);
        sim_disk *again = sim_kill(copy);
        sim_free(copy);
        (void)cairn_close(next.store);
        if (lost) (void)sim_file_remove(again, STORE, "CHECKPOINT");
        look(&next, again, false, "after a second kill");
    }
    if (m->f->found) finding_add(m->f, "\n%s", when);
    sim_free(disk);
}

static void check_afterwards(meddler *m) {
    m->now = m->after;
    (void)holds(m, m->store, &m->after, m->f);
    static const unsigned puts[] = {X, V, Y};
    for (size_t i = 0; i < 3 && !m->f->found; i++) {
        learn_version(m, puts[i]);
    }
    if (m->snapshot != NULL && !m->f->found) {
        void *got = NULL;
        size_t size = 0;
        int rc = cairn_snapshot_get(m->snapshot, m->names[X], strlen(m->names[X]), &got, &size, NULL);
        const value *v = &m->in_snapshot.values[X];
        if (rc != CAIRN_OK || size != v->size || memcmp(got, v->bytes, size) != 0) {
            (void)note(m, "the snapshot does not hold what was there at its opening", rc);
        }
        cairn_free(got);
    }
    cairn_snapshot_close(m->snapshot);
    reopen_and_go_on(m, false, "after a kill");
    reopen_and_go_on(m, true, "after a kill, without the checkpoint");
    int rc = cairn_close(m->store);
    if (rc != CAIRN_OK) (void)note(m, "close", rc);
    look(m, sim_clone(m->disk), false, "after a close");
    sim_disk *lost = sim_clone(m->disk);
    (void)sim_file_remove(lost, STORE, "CHECKPOINT");
    look(m, lost, false, "after a close, without the checkpoint");
}

uint64_t meddle(size_t kind, uint64_t hash_mask, bool present, finding *f) {
    meddler m = {.disk = sim_new(kind + 1), .mask = hash_mask, .rng = kind, .kind = kind, .f = f};
    prepare(&m, present);
    if (!f->found) commit(&m);
    if (!f->found) {
        check_afterwards(&m);
    } else {
        cairn_snapshot_close(m.snapshot);
        if (m.store != NULL) (void)cairn_close(m.store);
    }
    if (f->found) {
        finding_add(f, "\nmeanwhile: %s; x, y and v were %s; hashes masked with %llx\n", meddling_names[kind],
                    present ? "there" : "absent", (unsigned long long)hash_mask);
    }
    sim_free(m.disk);
    return m.states;
}

uint64_t meddle_all(finding *f) {
    static const uint64_t masks[] = {UINT64_MAX, 0, 15};
    uint64_t states = 0, step = rung_choose(1, 5, 1); /* sanitized: each kind, with one of the others by turns */
    for (size_t i = 0; i < meddling_count * 6 && !f->found; i += step) {
        states += meddle(i / 6, masks[i % 3], i / 3 % 2 == 0, f);
    }
    return states;
}

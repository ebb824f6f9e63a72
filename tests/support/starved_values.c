/* What one may do to the values of a store while allocations fail. Each act gives the code of the first call that
 * failed. */
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/starved_acts.h"

#include <string.h>

/* ---- Puts and deletes ---- */

void starved_learn(starved *b, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_OK) b->model[k] = (specimen_value){.bytes = bytes, .size = size};
}

static int put_with(starved *b, unsigned k, size_t size, const cairn_put_options *o) {
    const uint8_t *value = random_window(&b->rng, size);
    memory_counted();
    int rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, size, o, NULL));
    starved_learn(b, rc, k, value, size);
    return rc;
}
static int put(starved *b, unsigned k, size_t size) { return put_with(b, k, size, NULL); }

unsigned starved_any_key(starved *b) { return (unsigned)random_below(&b->rng, STARVED_KEYS); }
int act_put_small(starved *b) { return put(b, starved_any_key(b), 300); }
int act_put_new(starved *b) { return put(b, SPECIMEN_KEYS, 20); }
int act_put_long_key(starved *b) { return put(b, STARVED_KEYS - 1, 500); }
int act_put_bulk(starved *b) { return put(b, starved_any_key(b), 200000); } /* five of them fill a segment */
int act_put_in_file(starved *b) { return put(b, starved_any_key(b), MEGABYTE / 4 + 1 + random_below(&b->rng, 70000)); }

int act_put_synced(starved *b) {
    cairn_put_options o = {.struct_size = sizeof o, .sync = true};
    return put_with(b, starved_any_key(b), 100, &o);
}

/* In a session whose clock stands still, so that nothing ends. */
int act_put_expiring(starved *b) {
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = 1000000};
    return put_with(b, starved_any_key(b), 100, &o);
}

int act_delete_any(starved *b) {
    unsigned k = starved_any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_delete(b->store, b->keys[k].bytes, b->keys[k].size, NULL, NULL));
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) rc = CAIRN_OK;
    starved_learn(b, rc, k, NULL, 0);
    return rc;
}

/* ---- Streams ---- */

static int write_stream(starved *b, size_t size, size_t piece) {
    cairn_writer *writer = NULL;
    unsigned k = starved_any_key(b);
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
        starved_learn(b, rc, k, value, size);
    } else {
        cairn_writer_abort(writer);
        (void)memory_uncounted(0);
    }
    return rc;
}

int act_write_short(starved *b) { return write_stream(b, 90000, 30000); }
int act_write_long(starved *b) { return write_stream(b, MEGABYTE / 2, 100000); }

/* ---- Batches ---- */

#define BATCH_CHANGES 6

typedef struct batch_item {
    unsigned k;
    const uint8_t *bytes; /* NULL: a deletion */
    size_t size;
} batch_item;

/* The first change that fails fails the commit as well. */
static int add_item(starved *b, cairn_batch *batch, const batch_item *item) {
    const specimen_key *key = &b->keys[item->k];
    memory_counted();
    return memory_uncounted(item->bytes == NULL
                                ? cairn_batch_delete(batch, key->bytes, key->size)
                                : cairn_batch_put(batch, key->bytes, key->size, item->bytes, item->size));
}

static int commit_items(starved *b, const batch_item *items, size_t count, uint64_t ttl_ms) {
    cairn_batch *batch = NULL;
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = ttl_ms};
    memory_counted();
    int rc = memory_uncounted(cairn_batch_new(&batch));
    if (rc != CAIRN_OK) return rc;
    for (size_t i = 0; i < count; i++) {
        int added = add_item(b, batch, &items[i]);
        if (rc == CAIRN_OK) rc = added;
    }
    memory_counted();
    int committed = memory_uncounted(cairn_batch_commit(b->store, batch, &o, NULL));
    cairn_batch_free(batch);
    if (rc != CAIRN_OK && committed != rc) finding_note(b->f, "a batch that lacks a change: %d", committed);
    for (size_t i = 0; committed == CAIRN_OK && i < count; i++) {
        starved_learn(b, rc, items[i].k, items[i].bytes, items[i].size);
    }
    return committed;
}

static int commit_random(starved *b, size_t size_max, uint64_t ttl_ms) {
    batch_item items[BATCH_CHANGES];
    for (size_t i = 0; i < BATCH_CHANGES; i++) {
        size_t size = (size_t)random_below(&b->rng, size_max);
        items[i] = (batch_item){.k = starved_any_key(b), .size = size};
        items[i].bytes = i % 3 == 2 ? NULL : random_window(&b->rng, size);
        if (items[i].bytes == NULL) items[i].size = 0;
    }
    return commit_items(b, items, BATCH_CHANGES, ttl_ms);
}

int act_commit_small(starved *b) { return commit_random(b, 500, 0); }
int act_commit_expiring(starved *b) { return commit_random(b, 500, 1000000); }
int act_commit_large(starved *b) { return commit_random(b, 600000, 0); } /* some have files of their own */

/* ---- Reads ---- */

int starved_wrong(starved *b, const char *what) {
    finding_note(b->f, "%s gives a wrong value", what);
    return CAIRN_OK;
}

/* What a call that reads gave for the key: an absent one is no failure. */
static int judge(starved *b, const char *what, int rc, unsigned k, const void *bytes, size_t size) {
    if (rc == CAIRN_NOT_FOUND && b->model[k].bytes == NULL) return CAIRN_OK;
    if (rc != CAIRN_OK) return rc;
    bool good = b->model[k].bytes != NULL && size == b->model[k].size && memcmp(bytes, b->model[k].bytes, size) == 0;
    return good ? CAIRN_OK : starved_wrong(b, what);
}

int act_get(starved *b) {
    unsigned k = starved_any_key(b);
    void *bytes = NULL;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(cairn_get(b->store, b->keys[k].bytes, b->keys[k].size, &bytes, &size, NULL));
    rc = judge(b, "get", rc, k, bytes, size);
    cairn_free(bytes);
    return rc;
}

int act_get_into(starved *b) {
    static uint8_t buf[MEGABYTE];
    unsigned k = starved_any_key(b);
    size_t size = 0;
    memory_counted();
    int rc =
        memory_uncounted(cairn_get_into(b->store, b->keys[k].bytes, b->keys[k].size, buf, sizeof buf, &size, NULL));
    return judge(b, "get_into", rc, k, buf, size);
}

/* All keys by one call, by turns into a buffer and into memory of the value's own. */
int act_get_many(starved *b) {
    static uint8_t buf[STARVED_KEYS / 2 + 1][MEGABYTE];
    cairn_get_item items[STARVED_KEYS] = {0};
    for (unsigned k = 0; k < STARVED_KEYS; k++) {
        items[k] = (cairn_get_item){.key = b->keys[k].bytes, .key_size = b->keys[k].size};
        if (k % 2 == 0) items[k].buf = buf[k / 2];
        if (k % 2 == 0) items[k].cap = MEGABYTE;
    }
    memory_counted();
    int rc = memory_uncounted(cairn_get_many(b->store, items, sizeof items[0], STARVED_KEYS, NULL, NULL));
    for (unsigned k = 0; k < STARVED_KEYS; k++) {
        int code = judge(b, "get_many", items[k].code, k, items[k].value, items[k].value_size);
        if (k % 2 != 0) cairn_free(items[k].value);
        if (code != CAIRN_OK) rc = code;
    }
    return rc;
}

int act_read_part(starved *b) {
    static uint8_t buf[1000];
    unsigned k = starved_any_key(b);
    size_t got = 0;
    uint64_t at = b->model[k].size / 3;
    memory_counted();
    int rc = memory_uncounted(cairn_read(b->store, b->keys[k].bytes, b->keys[k].size, at, buf, sizeof buf, &got, NULL));
    if (rc != CAIRN_OK) return judge(b, "read", rc, k, NULL, 0);
    bool good = got == min_u64(sizeof buf, b->model[k].size - at) && memcmp(buf, b->model[k].bytes + at, got) == 0;
    return good ? rc : starved_wrong(b, "read");
}

int act_stat_key(starved *b) {
    unsigned k = starved_any_key(b);
    cairn_entry entry = {.struct_size = sizeof entry};
    memory_counted();
    int rc = memory_uncounted(cairn_stat(b->store, b->keys[k].bytes, b->keys[k].size, &entry, NULL));
    if (rc == CAIRN_OK && entry.value_size != b->model[k].size) return starved_wrong(b, "stat");
    return rc == CAIRN_OK ? rc : judge(b, "stat", rc, k, NULL, 0);
}

int act_read_stream(starved *b) {
    static uint8_t buf[MEGABYTE];
    cairn_reader *reader = NULL;
    unsigned k = starved_any_key(b);
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

int act_view(starved *b) {
    cairn_view *v = NULL;
    unsigned k = starved_any_key(b);
    memory_counted();
    int rc = memory_uncounted(cairn_view_open(b->store, b->keys[k].bytes, b->keys[k].size, &v, NULL));
    rc = judge(b, "view", rc, k, v == NULL ? NULL : cairn_view_data(v), v == NULL ? 0 : cairn_view_size(v));
    cairn_view_close(v);
    return rc;
}

/* A failed value can be asked for again; a failed step is one entry less. */
int act_scan(starved *b) {
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
        if (rc == CAIRN_OK && k == STARVED_KEYS) (void)starved_wrong(b, "scan");
        if (rc == CAIRN_OK && k < STARVED_KEYS) (void)judge(b, "scan", rc, k, value, size);
        if (rc != CAIRN_OK) worst = rc;
        if (seen > STARVED_KEYS) break;
    }
    cairn_scan_close(s);
    for (unsigned k = 0; k < STARVED_KEYS; k++)
        present += b->model[k].bytes != NULL;
    if (seen != present) (void)starved_wrong(b, "scan");
    return worst;
}

/* What the snapshot has of a key, where the model was like that. */
static int get_in_snapshot(starved *b, cairn_snapshot *snapshot, unsigned k, const specimen_value *v) {
    void *bytes = NULL;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(cairn_snapshot_get(snapshot, b->keys[k].bytes, b->keys[k].size, &bytes, &size, NULL));
    bool absent = v->bytes == NULL;
    bool good =
        absent ? rc == CAIRN_NOT_FOUND : rc == CAIRN_OK && size == v->size && memcmp(bytes, v->bytes, size) == 0;
    cairn_free(bytes);
    if (rc == CAIRN_NO_MEMORY) return rc;
    return good ? CAIRN_OK : starved_wrong(b, "a snapshot");
}

/* Changes that supersede what a snapshot has, and reads of it. */
int act_use_snapshot(starved *b) {
    cairn_snapshot *snapshot = NULL;
    cairn_stats s = {.struct_size = sizeof s};
    memory_counted();
    int rc = memory_uncounted(cairn_snapshot_open(b->store, &snapshot, NULL));
    if (rc != CAIRN_OK) return rc;
    specimen_value then[STARVED_KEYS];
    memcpy(then, b->model, sizeof then);
    int worst = act_put_small(b);
    if (worst == CAIRN_OK) worst = act_commit_small(b);
    if (worst == CAIRN_OK) worst = act_delete_any(b);
    for (unsigned k = 0; k < STARVED_KEYS; k++) {
        rc = get_in_snapshot(b, snapshot, k, &then[k]);
        if (rc != CAIRN_OK) worst = rc;
    }
    memory_counted();
    cairn_snapshot_close(snapshot);
    (void)memory_uncounted(CAIRN_OK);
    /* What the close had no memory to let go of, the next one does. */
    if (cairn_snapshot_open(b->store, &snapshot, NULL) == CAIRN_OK) cairn_snapshot_close(snapshot);
    return worst;
}

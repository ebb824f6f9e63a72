/* The calls that a step of a history makes. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "tests/support/history.h"
#include "tests/support/rung.h"

#include <string.h>

#define WRONG_VALUE 100 /* no code of the store's */

static int write_in_pieces(history *h, cairn_writer *w, const history_value *v, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t at = 0; rc == CAIRN_OK && at < v->size;) {
        size_t piece = min_u64(v->size - at, 1 + random_below(&h->rng, 300000));
        rc = cairn_writer_write(w, v->bytes + at, piece, error);
        at += piece;
    }
    return rc;
}

static int run_writer(history *h, const history_step *s, const cairn_put_options *o, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    cairn_writer *w = NULL;
    int rc = cairn_writer_open(h->store, key->bytes, key->size, o, &w, error);
    if (rc != CAIRN_OK) return rc;
    rc = write_in_pieces(h, w, &h->values[s->value], error);
    if (rc == CAIRN_OK && s->kind == STEP_WRITER) return cairn_writer_commit(w, error);
    cairn_writer_abort(w);
    return rc;
}

bool history_batch_decides(const history_step *s, unsigned i) {
    for (unsigned j = i + 1; j < s->batch_count; j++) {
        if (s->batch[j].key == s->batch[i].key) return false;
    }
    return true;
}

static int run_batch(history *h, const history_step *s, const cairn_put_options *o, cairn_error *error) {
    cairn_batch *batch = NULL;
    int rc = cairn_batch_new(&batch);
    for (unsigned i = 0; rc == CAIRN_OK && i < s->batch_count; i++) {
        const history_key *key = &h->keys[s->batch[i].key];
        const history_value *v = &h->values[s->batch[i].value];
        rc = s->batch[i].value == 0 ? cairn_batch_delete(batch, key->bytes, key->size)
                                    : cairn_batch_put(batch, key->bytes, key->size, v->bytes, v->size);
    }
    if (rc == CAIRN_OK) rc = cairn_batch_commit(h->store, batch, o, error);
    cairn_batch_free(batch);
    return rc;
}

static int reopen(history *h, cairn_error *error) {
    int rc = history_try_close(h);
    if (rc != CAIRN_OK) return status_set(error, rc, "cairn_close");
    return history_try_open(h, error);
}

static int compare(const history_value *v, void *got, size_t size, cairn_error *error) {
    bool same = size == v->size && memcmp(got, v->bytes, size) == 0;
    cairn_free(got);
    return same ? CAIRN_OK : status_set(error, WRONG_VALUE, "another value than was put");
}

static int read_back(history *h, const history_step *s, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    void *value = NULL;
    size_t size = 0;
    int rc = cairn_get(h->store, key->bytes, key->size, &value, &size, error);
    return rc == CAIRN_OK ? compare(&h->values[h->state[h->done][s->key]], value, size, error) : rc;
}

static int look_into_snapshot(history *h, const history_step *s, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    uint8_t expected = history_value_at(h, h->snapshot_row, s->key, h->snapshot_ms);
    void *value = NULL;
    size_t size = 0;
    int rc = cairn_snapshot_get(h->snapshot, key->bytes, key->size, &value, &size, error);
    if (rc == CAIRN_OK && expected != 0) return compare(&h->values[expected], value, size, error);
    cairn_free(value);
    if (rc == CAIRN_NOT_FOUND && expected == 0) return CAIRN_OK;
    if (rc != CAIRN_OK && rc != CAIRN_NOT_FOUND) return rc;
    return status_set(error, WRONG_VALUE, "the snapshot has a key that was absent, or lacks one that was there");
}

static int use_snapshot(history *h, const history_step *s, cairn_error *error) {
    if (h->snapshot == NULL) {
        h->snapshot_row = h->done;
        h->snapshot_ms = history_now_ms(h);
        return cairn_snapshot_open(h->store, &h->snapshot, error);
    }
    int rc = look_into_snapshot(h, s, error);
    if (random_one_in(&h->rng, 3)) {
        cairn_snapshot_close(h->snapshot);
        h->snapshot = NULL;
    }
    return rc;
}

static int compact(history *h, cairn_error *error) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = random_one_in(&h->rng, 2), .min_garbage_ratio = 0.05};
    return cairn_compact(h->store, &o, NULL, error);
}

int history_run_step(history *h, const history_step *s, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    const history_value *v = &h->values[s->value];
    cairn_put_options o = {
        .struct_size = sizeof o, .sync = s->sync, .if_absent = s->kind == STEP_PUT_IF_ABSENT, .ttl_ms = s->ttl_ms};
    switch (s->kind) {
    case STEP_PUT:
    case STEP_PUT_IF_ABSENT:
        return cairn_put(h->store, key->bytes, key->size, v->bytes, v->size, &o, error);
    case STEP_WRITER:
    case STEP_WRITER_ABORT:
        return run_writer(h, s, &o, error);
    case STEP_DELETE:
        return cairn_delete(h->store, key->bytes, key->size, &o, error);
    case STEP_BATCH:
        return run_batch(h, s, &o, error);
    case STEP_SYNC:
        return cairn_sync(h->store, error);
    case STEP_CHECKPOINT:
        return cairn_checkpoint(h->store, error);
    case STEP_REOPEN:
        return reopen(h, error);
    case STEP_READ:
        return read_back(h, s, error);
    case STEP_SNAPSHOT:
        return use_snapshot(h, s, error);
    case STEP_COMPACT:
        return compact(h, error);
    default:
        sim_clock_advance(h->disk, 1 + random_below(&h->rng, 250));
        return CAIRN_OK;
    }
}

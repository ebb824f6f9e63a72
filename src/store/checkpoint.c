/* When and how the store writes checkpoints. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The store's part of the root: version, flags, live streams, their bytes; then what vlog_suspend gave. Version 2 is
 * for a store with times to live: behind the fixed part the size of what vlog_suspend gave and the number of keys that
 * expire, and behind what it gave the expiries (src/store/expiry.h). */
#define BLOB_PLAIN 1u
#define BLOB_WITH_EXPIRIES 2u
#define BLOB_CLOSED 1u
#define BLOB_FIXED 24u
#define BLOB_MORE 16u

/* Due when there is this much to replay, and no oftener than that it costs one byte in twenty. */
#define DUE_RECORDS 200000u
#define DUE_BYTES ((uint64_t)256 << 20)
#define COST_SHARE 20u

typedef struct fence_context {
    cairn *store;
    bool closing;
    uint64_t expiring; /* keys that expire; their expiries, as expiry_encode made them */
    uint8_t *expiries;
    size_t expiries_size;
} fence_context;

/* Before the first image is copied: what expires meanwhile may be in an image, and is then out of the expiries. What is
 * put meanwhile is replayed. */
static int take_expiries(fence_context *f, cairn_error *error) {
    cairn *store = f->store;
    if (f->closing) store_expiries_settle(store); /* what comes back is not counted as stale any more */
    f->expiring = atomic_load(&store->expiring);
    if (f->expiring == 0) return CAIRN_OK;
    int rc = expiry_encode(store->expiries, 0, &f->expiries, &f->expiries_size);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory for a checkpoint");
}

static int make_blob(const fence_context *f, uint8_t **blob, size_t *size, cairn_error *error) {
    cairn *store = f->store;
    uint8_t *suspended = NULL;
    size_t suspended_size = 0, fixed = BLOB_FIXED + (f->expiring > 0 ? BLOB_MORE : 0);
    int rc = CAIRN_OK;
    *blob = NULL;
    if (f->closing) rc = vlog_suspend(store->log, &suspended, &suspended_size, error);
    if (rc != CAIRN_OK) return rc;
    *size = fixed + suspended_size + f->expiries_size;
    *blob = malloc(*size);
    if (*blob != NULL) {
        le32_put(*blob, f->expiring > 0 ? BLOB_WITH_EXPIRIES : BLOB_PLAIN);
        le32_put(*blob + 4, f->closing ? BLOB_CLOSED : 0);
        le64_put(*blob + 8, atomic_load(&store->streams));
        le64_put(*blob + 16, atomic_load(&store->stream_bytes));
        if (f->expiring > 0) le64_put(*blob + BLOB_FIXED, suspended_size);
        if (f->expiring > 0) le64_put(*blob + BLOB_FIXED + 8, f->expiring);
        if (suspended_size > 0) memcpy(*blob + fixed, suspended, suspended_size);
        if (f->expiries_size > 0) memcpy(*blob + fixed + suspended_size, f->expiries, f->expiries_size);
    }
    free(suspended);
    return *blob != NULL ? CAIRN_OK : status_set(error, CAIRN_NO_MEMORY, "no memory for a checkpoint");
}

bool store_blob_decode(store_blob *blob, const uint8_t *bytes, size_t size) {
    *blob = (store_blob){0};
    if (size < BLOB_FIXED) return false;
    uint32_t version = le32_get(bytes);
    if (version != BLOB_PLAIN && version != BLOB_WITH_EXPIRIES) return false;
    const uint8_t *next = bytes + BLOB_FIXED;
    size_t left = size - BLOB_FIXED, suspended_size = left;
    if (version == BLOB_WITH_EXPIRIES) {
        if (left < BLOB_MORE || le64_get(next) > left - BLOB_MORE) return false;
        suspended_size = le64_get(next);
        blob->expiring = le64_get(next + 8);
        next += BLOB_MORE;
        left -= BLOB_MORE;
    }
    blob->closed = (le32_get(bytes + 4) & BLOB_CLOSED) != 0;
    blob->streams = le64_get(bytes + 8);
    blob->stream_bytes = le64_get(bytes + 16);
    blob->suspended = next;
    blob->suspended_size = suspended_size;
    blob->expiries = next + suspended_size;
    blob->expiries_size = left - suspended_size;
    return true;
}

/* Rule 1: the log is durable up to what the images know before the root that names them is published. */
static int fence(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *size, cairn_error *error) {
    fence_context *f = ctx;
    int rc = store_ordered_absorb(f->store, error); /* src/store/ordered_index.h, invariants 2 and 4 */
    if (rc != CAIRN_OK) return rc;
    info->end_place = vlog_next_place(f->store->log);
    rc = vlog_sync(f->store->log, info->end_place, error);
    return rc == CAIRN_OK ? make_blob(f, blob, size, error) : rc;
}

static int write_locked(cairn *store, bool closing, bool dense, cairn_error *error) {
    uint64_t newest = max_u64(atomic_load(&store->checkpoint_epoch), vlog_reclaim_epoch(store->log));
    checkpoint_info info = {.epoch = newest + 1, .time_ms = store->os->clock_ms(store->os)};
    memcpy(info.store_id, store->identity.store_id, sizeof info.store_id);
    info.start_place = store_replay_start(store);
    uint64_t bytes = vlog_appended_bytes(store->log);
    /* Every writer that has a place before the start holds a stripe until the index knows it. */
    hash_index_quiesce(store->index);
    fence_context f = {.store = store, .closing = closing};
    int rc = take_expiries(&f, error);
    if (rc == CAIRN_OK) {
        rc = (dense ? checkpoint_write_dense : checkpoint_write)(store->checkpoint, store->index, &info, fence, &f,
                                                                 error);
    }
    free(f.expiries);
    if (rc == CAIRN_OK) {
        atomic_store(&store->checkpoint_epoch, info.epoch);
        atomic_store(&store->covered_place, info.start_place);
        atomic_store(&store->covered_bytes, bytes);
        atomic_store(&store->checkpoint_time_ms, info.time_ms);
        atomic_store(&store->checkpoint_data, checkpoint_data_bytes(store->checkpoint));
    } else if (rc == CAIRN_IO) {
        /* It may have been a sync, after which nothing is known about the file. The log alone is enough. */
        checkpoint_close(store->checkpoint);
        store->checkpoint = NULL;
    }
    return rc;
}

/* On a full disk with the reserve, and where even that is too little in the place of the one there is. */
static int write_surely(cairn *store, bool closing, cairn_error *error) {
    bool using = false;
    int rc = write_locked(store, closing, false, error);
    if (rc == CAIRN_FULL && store_reserve_give(store, &using)) rc = write_locked(store, closing, false, error);
    if (rc == CAIRN_FULL && store_ordered_give_room(store)) rc = write_locked(store, closing, false, error);
    if (rc == CAIRN_FULL) {
        rc = checkpoint_discard(store->checkpoint, error);
        if (rc == CAIRN_OK) rc = write_locked(store, closing, false, error);
        if (rc == CAIRN_NOT_FOUND) rc = status_os(error, -ENOSPC, "no room for a checkpoint");
    }
    store_reserve_done(store, &using);
    return rc;
}

static int check_usable(const cairn *store, cairn_error *error) {
    if (store->checkpoint == NULL) {
        return status_set(error, CAIRN_FAILED, "an earlier checkpoint failed: reopen the store");
    }
    if (vlog_failed(store->log)) return status_set(error, CAIRN_FAILED, "an earlier sync failed: reopen the store");
    return CAIRN_OK;
}

int store_checkpoint(cairn *store, bool closing, cairn_error *error) {
    os_mutex_lock(&store->checkpoint_lock);
    int rc = check_usable(store, error);
    if (rc == CAIRN_OK) rc = write_surely(store, closing, error);
    os_mutex_unlock(&store->checkpoint_lock);
    return rc;
}

int store_checkpoint_dense(cairn *store, cairn_error *error) {
    os_mutex_lock(&store->checkpoint_lock);
    int rc = check_usable(store, error);
    /* The first of two makes room in front. */
    for (unsigned i = 0; rc == CAIRN_OK && i < 2 && !checkpoint_is_dense(store->checkpoint, store->index); i++) {
        rc = write_locked(store, false, true, error);
    }
    os_mutex_unlock(&store->checkpoint_lock);
    return rc;
}

int store_checkpoint_capture(cairn *store, os_transfer *t, cairn_error *error) {
    os_mutex_lock(&store->checkpoint_lock);
    int rc = check_usable(store, error);
    if (rc == CAIRN_OK) rc = write_surely(store, false, error);
    if (rc == CAIRN_OK) rc = checkpoint_capture(t, error);
    os_mutex_unlock(&store->checkpoint_lock);
    return rc;
}

bool store_checkpoint_due(const cairn *store) {
    uint64_t bytes = vlog_appended_bytes(store->log) - atomic_load(&store->covered_bytes);
    uint64_t records = vlog_appended_place(store->log) - atomic_load(&store->covered_place);
    if (records < DUE_RECORDS && bytes < DUE_BYTES) return false;
    return bytes / COST_SHARE >= checkpoint_cost(store->index) + expiry_bytes(store->expiries);
}

int cairn_checkpoint(cairn *store, cairn_error *error) {
    int rc = store_check_write(store, error);
    return rc == CAIRN_OK ? store_checkpoint(store, false, error) : rc;
}

int cairn_sync(cairn *store, cairn_error *error) {
    int rc = store_check_write(store, error);
    if (rc != CAIRN_OK) return rc;
    if (vlog_failed(store->log)) return status_set(error, CAIRN_FAILED, "an earlier sync failed: reopen the store");
    return vlog_sync(store->log, vlog_appended_place(store->log), error);
}

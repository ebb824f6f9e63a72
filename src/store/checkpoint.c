/* When and how the store writes checkpoints. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

/* The store's part of the root: version, flags, live streams, their bytes; then what vlog_suspend gave. */
#define BLOB_VERSION 1u
#define BLOB_CLOSED 1u
#define BLOB_FIXED 24u

/* Due when there is this much to replay, and no oftener than that it costs one byte in twenty. */
#define DUE_RECORDS 200000u
#define DUE_BYTES ((uint64_t)256 << 20)
#define COST_SHARE 20u

typedef struct fence_context {
    cairn *store;
    bool closing;
} fence_context;

static int make_blob(cairn *store, bool closing, uint8_t **blob, size_t *size, cairn_error *error) {
    uint8_t *suspended = NULL;
    size_t suspended_size = 0;
    if (closing) {
        int rc = vlog_suspend(store->log, &suspended, &suspended_size, error);
        if (rc != CAIRN_OK) return rc;
    }
    *size = BLOB_FIXED + suspended_size;
    *blob = malloc(*size);
    if (*blob != NULL) {
        le32_put(*blob, BLOB_VERSION);
        le32_put(*blob + 4, closing ? BLOB_CLOSED : 0);
        le64_put(*blob + 8, atomic_load(&store->streams));
        le64_put(*blob + 16, atomic_load(&store->stream_bytes));
        if (suspended_size > 0) memcpy(*blob + BLOB_FIXED, suspended, suspended_size);
    }
    free(suspended);
    return *blob != NULL ? CAIRN_OK : status_set(error, CAIRN_NO_MEMORY, "no memory for a checkpoint");
}

bool store_blob_decode(store_blob *blob, const uint8_t *bytes, size_t size) {
    *blob = (store_blob){0};
    if (size < BLOB_FIXED || le32_get(bytes) != BLOB_VERSION) return false;
    blob->closed = (le32_get(bytes + 4) & BLOB_CLOSED) != 0;
    blob->streams = le64_get(bytes + 8);
    blob->stream_bytes = le64_get(bytes + 16);
    blob->suspended = bytes + BLOB_FIXED;
    blob->suspended_size = size - BLOB_FIXED;
    return true;
}

/* Rule 1: the log is durable up to what the images know before the root that names them is published. */
static int fence(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *size, cairn_error *error) {
    fence_context *f = ctx;
    info->end_place = vlog_next_place(f->store->log);
    int rc = vlog_sync(f->store->log, info->end_place, error);
    return rc == CAIRN_OK ? make_blob(f->store, f->closing, blob, size, error) : rc;
}

static int write_locked(cairn *store, bool closing, cairn_error *error) {
    checkpoint_info info = {.epoch = vlog_reclaim_epoch(store->log), .time_ms = store->os->clock_ms(store->os)};
    memcpy(info.store_id, store->identity.store_id, sizeof info.store_id);
    info.start_place = vlog_next_place(store->log);
    uint64_t bytes = vlog_appended_bytes(store->log);
    /* Every writer that has a place before the start holds a stripe until the index knows it. */
    hash_index_quiesce(store->index);
    fence_context f = {.store = store, .closing = closing};
    int rc = checkpoint_write(store->checkpoint, store->index, &info, fence, &f, error);
    if (rc == CAIRN_OK) {
        atomic_store(&store->covered_place, info.start_place);
        atomic_store(&store->covered_bytes, bytes);
        atomic_store(&store->checkpoint_time_ms, info.time_ms);
    } else if (rc == CAIRN_IO) {
        /* It may have been a sync, after which nothing is known about the file. The log alone is enough. */
        checkpoint_close(store->checkpoint);
        store->checkpoint = NULL;
    }
    return rc;
}

int store_checkpoint(cairn *store, bool closing, cairn_error *error) {
    int rc;
    os_mutex_lock(&store->checkpoint_lock);
    if (store->checkpoint == NULL) {
        rc = status_set(error, CAIRN_FAILED, "an earlier checkpoint failed: reopen the store");
    } else if (vlog_failed(store->log)) {
        rc = status_set(error, CAIRN_FAILED, "an earlier sync failed: reopen the store");
    } else {
        rc = write_locked(store, closing, error);
    }
    os_mutex_unlock(&store->checkpoint_lock);
    return rc;
}

bool store_checkpoint_due(const cairn *store) {
    uint64_t bytes = vlog_appended_bytes(store->log) - atomic_load(&store->covered_bytes);
    uint64_t records = vlog_appended_place(store->log) - atomic_load(&store->covered_place);
    if (records < DUE_RECORDS && bytes < DUE_BYTES) return false;
    return bytes / COST_SHARE >= checkpoint_cost(store->index);
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

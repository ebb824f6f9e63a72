/* A value held open: it stays what it was, whatever happens to its key. Records are never changed, and the hold on its
 * segment keeps this one; a value file is kept by being open. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

struct cairn_reader {
    cairn *store;
    location where;
    uint64_t size;
    vlog_head head;   /* header and frame table of a value in the log */
    value_file *file; /* of a value of its own, else NULL */
    segment *held;    /* where a value in the log lies, else NULL */
};

int cairn_reader_open(cairn *store, const void *key, size_t key_size, cairn_reader **reader, cairn_error *error) {
    if (reader == NULL) return status_set(error, CAIRN_INVALID, "no place for the reader");
    *reader = NULL;
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_reader *r = calloc(1, sizeof *r);
    store_found *found = malloc(sizeof *found);
    if (r == NULL || found == NULL) {
        free(r);
        free(found);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a reader");
    }
    r->store = store;
    epoch_guard guard = store_enter(store);
    rc = store_find_present(store, key, key_size, found, error);
    if (rc == CAIRN_OK) {
        r->where = found->where;
        r->size = found->head.header.value_size;
        if (found->head.header.type == RECORD_STREAM) {
            rc = store_stream_open(store, &found->head, &r->file, error);
        } else {
            vlog_head_move(&r->head, &found->head);
            r->held = vlog_hold(r->head.segment);
        }
    }
    store_found_release(found);
    store_exit(store, guard);
    free(found);
    if (rc != CAIRN_OK) {
        free(r);
        return rc;
    }
    atomic_fetch_add(&store->children, 1);
    *reader = r;
    return CAIRN_OK;
}

uint64_t cairn_reader_size(const cairn_reader *r) { return r->size; }

int cairn_reader_pread(cairn_reader *r, void *buf, size_t len, uint64_t offset, size_t *got, cairn_error *error) {
    if (r == NULL || (buf == NULL && len > 0) || got == NULL) {
        return status_set(error, CAIRN_INVALID, "no reader, buffer or place for the count");
    }
    *got = 0;
    int rc = store_check(r->store, error);
    if (rc != CAIRN_OK || offset >= r->size) return rc;
    size_t size = min_u64(len, r->size - offset);
    epoch_guard guard = epoch_enter(r->store->readers);
    const cached_value *v = store_cached_at(r->store, r->where, guard.slot);
    if (v != NULL) {
        memcpy(buf, cached_data(v) + offset, size);
    } else if (r->file != NULL) {
        rc = value_file_read(r->file, buf, size, offset, error);
    } else {
        rc = vlog_head_refresh(r->store->log, &r->head, error);
        if (rc == CAIRN_OK) rc = vlog_payload_read(r->store->log, &r->head, buf, size, offset, error);
    }
    epoch_exit(r->store->readers, guard);
    if (rc == CAIRN_OK) *got = size;
    return rc;
}

void cairn_reader_close(cairn_reader *r) {
    if (r == NULL) return;
    if (r->file != NULL) {
        value_file_close(r->file);
    } else {
        vlog_head_release(&r->head);
        vlog_release(r->held);
    }
    atomic_fetch_sub(&r->store->children, 1);
    free(r);
}

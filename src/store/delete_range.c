/* Deleting what a scan lists. */
#include "src/base/status.h"
#include "src/store/store.h"

#define PROGRESS_KEYS 256u

static int check_progress(const cairn_delete_options *o, uint64_t deleted, cairn_error *error) {
    cairn_progress progress = {.done = deleted};
    if (o->progress == NULL || o->progress(&progress, o->ctx) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_CANCELLED, "deleting was cancelled after %llu keys", (unsigned long long)deleted);
}

static int delete_all(cairn *store, cairn_scan *scan, const cairn_delete_options *o, uint64_t *deleted,
                      cairn_error *error) {
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && (rc = cairn_scan_next(scan, error)) == CAIRN_OK) {
        size_t size;
        const void *key = cairn_scan_key(scan, &size);
        rc = cairn_delete(store, key, size, NULL, error);
        *deleted += rc == CAIRN_OK;
        if (rc == CAIRN_NOT_FOUND) rc = CAIRN_OK; /* somebody else was faster, or it has expired */
        if (rc == CAIRN_OK && *deleted % PROGRESS_KEYS == 0) rc = check_progress(o, *deleted, error);
    }
    return rc == CAIRN_DONE ? CAIRN_OK : rc;
}

int cairn_delete_range(cairn *store, const cairn_scan_options *range, const cairn_delete_options *options,
                       uint64_t *deleted, cairn_error *error) {
    uint64_t count = 0;
    cairn_scan_options which;
    cairn_delete_options o;
    cairn_scan *scan = NULL;
    if (deleted != NULL) *deleted = 0;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&which, sizeof which, range, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc != CAIRN_OK) return rc;
    which.struct_size = sizeof which;
    which.keys_only = true;
    rc = cairn_scan_open(store, &which, &scan, error);
    if (rc != CAIRN_OK) return rc;
    rc = delete_all(store, scan, &o, &count, error);
    cairn_scan_close(scan);
    if (rc == CAIRN_OK && o.sync) rc = cairn_sync(store, error);
    if (deleted != NULL) *deleted = count;
    return rc;
}

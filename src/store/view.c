/* Views: a value where it lies, mapped. Verified as a whole when the view is opened. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_view {
    cairn *store;
    const void *data;
    size_t size;
    value_file *file;      /* of a value of its own */
    vlog_mapping *mapping; /* of a value in the log */
};

static const uint8_t empty_value[1];

static int map_found(cairn_view *v, const store_found *found, cairn_error *error) {
    cairn *store = v->store;
    if (found->head.header.value_size > SIZE_MAX) {
        return status_set(error, CAIRN_NO_MEMORY, "a value of more than the address space");
    }
    v->size = found->head.header.value_size;
    v->data = empty_value;
    if (v->size == 0) return CAIRN_OK;
    if (found->head.header.type != RECORD_STREAM) {
        return vlog_map(store->log, &found->head, &v->mapping, &v->data, error);
    }
    int rc = store_stream_open(store, &found->head, &v->file, error);
    if (rc != CAIRN_OK) return rc;
    rc = value_file_map(v->file, &v->data, error);
    if (rc != CAIRN_OK) value_file_close(v->file);
    return rc;
}

int cairn_view_open(cairn *store, const void *key, size_t key_size, cairn_view **view, cairn_error *error) {
    if (view == NULL) return status_set(error, CAIRN_INVALID, "no place for the view");
    *view = NULL;
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_view *v = calloc(1, sizeof *v);
    if (v == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a view");
    v->store = store;
    store_found found;
    epoch_guard guard = epoch_enter(store->readers);
    rc = store_find_present(store, key, key_size, STORE_HEAD_BYTES, &found, error);
    if (rc == CAIRN_OK) rc = map_found(v, &found, error);
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    if (rc != CAIRN_OK) {
        free(v);
        return rc;
    }
    atomic_fetch_add(&store->children, 1);
    *view = v;
    return CAIRN_OK;
}

const void *cairn_view_data(const cairn_view *v) { return v->data; }
size_t cairn_view_size(const cairn_view *v) { return v->size; }

void cairn_view_close(cairn_view *v) {
    if (v == NULL) return;
    if (v->file != NULL) {
        value_file_unmap(v->file, v->data);
        value_file_close(v->file);
    }
    vlog_unmap(v->mapping);
    atomic_fetch_sub(&v->store->children, 1);
    free(v);
}

/* Views: a value where it lies, mapped; or in the cache, pinned; or, where it is compressed, a decoded copy. Verified
 * as a whole when it is viewed for the first time. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_view {
    cairn *store;
    const void *data;
    size_t size;
    value_file *file;           /* of a value of its own */
    segment *held;              /* where a value in the log lies, in its window or ... */
    vlog_mapping *mapping;      /* ... in a mapping of its own */
    const cached_value *cached; /* of one in the cache */
    uint8_t *copy;              /* of one that is compressed */
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
    if (found->head.header.type != RECORD_STREAM && found->head.header.codec == CODEC_RAW) {
        int mapped = vlog_map(store->log, &found->head, &v->mapping, &v->data, error);
        if (mapped == CAIRN_OK) v->held = vlog_hold(found->head.segment);
        return mapped;
    }
    int rc = CAIRN_OK;
    if (found->head.header.type == RECORD_STREAM) rc = store_stream_open(store, &found->head, &v->file, error);
    if (rc != CAIRN_OK) return rc;
    if (v->file != NULL && value_file_is_raw(v->file)) {
        rc = value_file_map(v->file, &v->data, error);
        if (rc == CAIRN_OK) return CAIRN_OK;
    } else {
        rc = store_value_load(store, &found->head, 0, &v->copy, error);
        if (rc == CAIRN_OK) v->data = v->copy;
    }
    value_file_close(v->file);
    v->file = NULL;
    return rc;
}

/* Where every value stays in RAM, this one does from now on. */
static bool view_cached(cairn_view *v, key_hash hash, const void *key, size_t key_size, unsigned stripe) {
    v->cached = store_cached(v->store, hash, key, key_size, stripe);
    if (v->cached == NULL && store_is_resident(v->store)) {
        store_found found;
        cached_value *loaded = NULL;
        int rc = store_find_present(v->store, key, key_size, &found, NULL);
        if (rc == CAIRN_OK) loaded = store_cache_load(v->store, &found);
        store_found_release(&found);
        if (loaded != NULL) store_cache_keep(v->store, hash.index, loaded);
        if (loaded != NULL) v->cached = store_cached(v->store, hash, key, key_size, stripe);
    }
    if (v->cached == NULL) return false;
    value_cache_pin(v->cached);
    v->data = cached_data(v->cached);
    v->size = v->cached->value_size;
    return true;
}

typedef struct seen_search {
    cairn_view *view;
    const void *key;
    size_t key_size;
    vlog_seen seen;
    int rc; /* of the last candidate */
} seen_search;

static int match_seen(void *ctx, location candidate) {
    seen_search *s = ctx;
    s->rc = location_holds(candidate) != LOCATION_VALUE
                ? VLOG_UNSEEN
                : vlog_map_seen(s->view->store->log, candidate, s->key, s->key_size, &s->seen);
    return s->rc != 0;
}

/* A value that was viewed before. What is not settled by this (expiry, other kinds) goes the ordinary way. */
static bool view_seen(cairn_view *v, key_hash hash, const void *key, size_t key_size) {
    seen_search s = {.view = v, .key = key, .key_size = key_size};
    location where;
    if (hash_index_find(v->store->index, hash.index, match_seen, &s, &where) <= 0 || s.rc != 1) return false;
    if (s.seen.expires_at_ms != 0 && s.seen.expires_at_ms <= store_now(v->store)) {
        vlog_release(s.seen.held);
        return false;
    }
    v->held = s.seen.held;
    v->data = s.seen.data;
    v->size = s.seen.size;
    return true;
}

static int open_view(cairn_view *v, const void *key, size_t key_size, unsigned stripe, cairn_error *error) {
    cairn *store = v->store;
    key_hash hash = store_hash(store, key, key_size);
    if (view_cached(v, hash, key, key_size, stripe) || view_seen(v, hash, key, key_size)) return CAIRN_OK;
    store_found found;
    int rc = store_find_present(store, key, key_size, &found, error);
    if (rc == CAIRN_OK) rc = map_found(v, &found, error);
    store_found_release(&found);
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
    epoch_guard guard = store_enter(store);
    rc = open_view(v, key, key_size, guard.slot, error);
    store_exit(store, guard);
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
    vlog_release(v->held);
    if (v->cached != NULL) value_cache_unpin(v->cached);
    free(v->copy);
    atomic_fetch_sub(&v->store->children, 1);
    free(v);
}

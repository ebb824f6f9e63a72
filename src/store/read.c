/* Parts of values, and what is known of them. Every call is inside the epoch from look-up to last byte. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <string.h>

/* ---- Parts ---- */

static void copy_part(const cached_value *v, uint64_t offset, void *buf, size_t len, size_t *got) {
    if (offset >= v->value_size) return;
    *got = min_u64(len, v->value_size - offset);
    if (*got > 0) memcpy(buf, cached_data(v) + offset, *got);
}

static int read_part(cairn *store, key_hash hash, const store_found *found, uint64_t offset, void *buf, size_t len,
                     size_t *got, cairn_error *error) {
    uint64_t size = found->head.header.value_size;
    if (offset >= size) return CAIRN_OK;
    /* A large value is not read as a whole for the sake of a cache that may not keep it. */
    bool worth_it = store_is_resident(store) || size <= FRAME_BYTES;
    cached_value *v = worth_it ? store_cache_load(store, found) : NULL;
    if (v != NULL) {
        copy_part(v, offset, buf, len, got);
        store_cache_keep(store, hash.index, v);
        return CAIRN_OK;
    }
    size_t wanted = min_u64(len, size - offset);
    int rc = store_value_read(store, &found->head, buf, wanted, offset, error);
    if (rc == CAIRN_OK) *got = wanted;
    return rc;
}

int cairn_read(cairn *store, const void *key, size_t key_size, uint64_t offset, void *buf, size_t len, size_t *got,
               cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && len > 0) || got == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *got = 0;
    epoch_guard guard = store_enter(store);
    key_hash hash = store_hash(store, key, key_size);
    const cached_value *v = store_cached(store, hash, key, key_size, guard.slot);
    if (v != NULL) {
        copy_part(v, offset, buf, len, got);
    } else {
        store_found found;
        rc = store_find_present(store, key, key_size, &found, error);
        if (rc == CAIRN_OK) rc = read_part(store, hash, &found, offset, buf, len, got, error);
        store_found_release(&found);
    }
    store_exit(store, guard);
    return rc;
}

/* ---- What is known of a value ---- */

int store_entry_fill(cairn *store, const store_found *found, cairn_entry *entry, cairn_error *error) {
    const record_header *h = &found->head.header;
    *entry = (cairn_entry){.value_size = h->value_size,
                           .stored_size = location_units(found->where) * UNIT_BYTES,
                           .version = h->version,
                           .expires_at_ms = h->expires_at_ms};
    if (h->type != RECORD_STREAM) return CAIRN_OK;
    value_descriptor d;
    int rc = store_descriptor(store, &found->head, &d, error);
    if (rc == CAIRN_OK) entry->stored_size += d.file_size;
    return rc;
}

int cairn_stat(cairn *store, const void *key, size_t key_size, cairn_entry *entry, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_entry result = {0};
    epoch_guard guard = store_enter(store);
    const cached_value *v = store_cached(store, store_hash(store, key, key_size), key, key_size, guard.slot);
    if (v != NULL) {
        result = (cairn_entry){.value_size = v->value_size,
                               .stored_size = v->stored_size,
                               .version = v->version,
                               .expires_at_ms = v->expires_at_ms};
    } else {
        store_found found;
        rc = store_find_present(store, key, key_size, &found, error);
        if (rc == CAIRN_OK) rc = store_entry_fill(store, &found, &result, error);
        store_found_release(&found);
    }
    store_exit(store, guard);
    return rc == CAIRN_OK ? store_copy_result(entry, &result, sizeof result, error) : rc;
}

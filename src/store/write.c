/* Changing one key: look-up, append and index change under its stripe, so that the log's order and the index's agree.
 */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <string.h>

/* The key that was found counts as there. */
static bool is_present(const store_found *found) { return found->where != LOCATION_NONE && !found->expired; }

static int check_conditions(const cairn_put_options *o, const store_found *found, const vlog_record *r,
                            cairn_error *error) {
    char text[KEY_TEXT_SIZE];
    if (r->type == RECORD_DELETE && !is_present(found) && o->if_version == 0) {
        return store_not_found(r->key, r->key_size, error);
    }
    if (o->if_absent && is_present(found)) {
        return status_set(error, CAIRN_EXISTS, "the key is there: '%s'", key_text(text, r->key, r->key_size));
    }
    if (o->if_version == 0) return CAIRN_OK;
    if (!is_present(found)) {
        return status_set(error, CAIRN_EXISTS, "the key is absent, not at version %llu: '%s'",
                          (unsigned long long)o->if_version, key_text(text, r->key, r->key_size));
    }
    if (found->head.header.version == o->if_version) return CAIRN_OK;
    return status_set(error, CAIRN_EXISTS, "the key is at version %llu, not %llu: '%s'",
                      (unsigned long long)found->head.header.version, (unsigned long long)o->if_version,
                      key_text(text, r->key, r->key_size));
}

/* Takes what the change needs, appends, changes the index. Stripe held, inside the epoch. */
static int append(cairn *store, vlog_record *r, store_change *change, vlog_appended *appended, cairn_error *error) {
    bool removes = r->type == RECORD_DELETE;
    size_t others = hash_index_count(store->index, change->hash) - (change->from != LOCATION_NONE);
    if (others > 0) r->flags |= RECORD_COLLIDES;
    uint64_t snapshot = atomic_load(&store->newest_snapshot);
    int rc = store_change_reserve(store, change, snapshot, 1, error);
    if (rc != CAIRN_OK) return rc;
    size_t expiries = r->expires_at_ms != 0;
    if (expiry_reserve(store->expiries, change->hash, expiries) != CAIRN_OK) {
        store_change_unreserve(change);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a time to live");
    }
    int64_t growth = store_change_growth(change, removes ? 0 : vlog_record_bytes(r));
    rc = store_quota_take(store, growth, error);
    if (rc == CAIRN_OK) {
        rc = vlog_append(store->log, r, appended, error);
        if (rc != CAIRN_OK) store_quota_give(store, growth);
    }
    if (rc != CAIRN_OK) {
        expiry_unreserve(store->expiries, change->hash, expiries);
        store_change_unreserve(change);
        return rc;
    }
    change->to = removes ? LOCATION_NONE : appended->where;
    change->expires_at_ms = r->expires_at_ms;
    store_change_apply(store, change, snapshot);
    return CAIRN_OK;
}

/* Stripe held, inside the epoch. */
static int change_key(cairn *store, vlog_record *r, const cairn_put_options *o, store_found *found,
                      uint64_t stream_file_size, vlog_appended *appended, cairn_error *error) {
    store_change change = {.hash = r->hash.index,
                           .key = r->key,
                           .key_size = r->key_size,
                           .removes = r->type == RECORD_DELETE,
                           .new_file_size = stream_file_size};
    int rc = store_find(store, r->hash, r->key, r->key_size, found, error);
    /* A damaged record under the same hash may or may not be this key's. A plain put stands beside it; what depends on
     * the answer fails. */
    bool plain = r->type != RECORD_DELETE && !o->if_absent && o->if_version == 0;
    if (rc != CAIRN_OK && !(rc == CAIRN_CORRUPT && plain)) return rc;
    rc = check_conditions(o, found, r, error);
    if (rc == CAIRN_OK) rc = store_change_supersedes(store, &change, found, error);
    return rc == CAIRN_OK ? append(store, r, &change, appended, error) : rc;
}

static int apply_once(cairn *store, vlog_record *r, const cairn_put_options *o, uint64_t stream_file_size,
                      cached_value *value, vlog_appended *appended, cairn_error *error) {
    store_found found;
    epoch_guard guard = epoch_enter(store->readers);
    hash_index_prefetch(store->index, r->hash.index);
    hash_index_lock(store->index, r->hash.index);
    int rc = change_key(store, r, o, &found, stream_file_size, appended, error);
    if (rc == CAIRN_OK && value != NULL) {
        value->where = appended->where;
        value->version = appended->version;
        value->expires_at_ms = r->expires_at_ms;
        value->stored_size = location_units(appended->where) * UNIT_BYTES;
        value_cache_insert(store->cache, value);
    }
    hash_index_unlock(store->index, r->hash.index);
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    return rc;
}

/* Tries again as long as space can be made. */
static int apply_with_relief(cairn *store, vlog_record *r, const cairn_put_options *o, uint64_t stream_file_size,
                             cached_value *value, vlog_appended *appended, cairn_error *error) {
    store_relief relief = {.deletes = r->type == RECORD_DELETE};
    cairn_error why;
    int rc;
    do {
        r->flags = 0;
        rc = relief.deletes ? CAIRN_OK : store_reserve_keep(store, &why);
        if (rc == CAIRN_OK) rc = apply_once(store, r, o, stream_file_size, value, appended, &why);
    } while (rc == CAIRN_FULL && store_relieve(store, &relief, &why));
    store_reserve_done(store, &relief.using);
    if (rc != CAIRN_OK && error != NULL) *error = why;
    return rc;
}

int store_apply(cairn *store, vlog_record *r, const void *key, size_t key_size, const cairn_put_options *o,
                uint64_t stream_file_size, cached_value *value, cairn_error *error) {
    vlog_appended appended;
    r->key = key;
    r->key_size = (uint32_t)key_size;
    r->hash = store_hash(store, key, key_size);
    r->expires_at_ms = store_expiry_of(store, o->ttl_ms);
    int rc = apply_with_relief(store, r, o, stream_file_size, value, &appended, error);
    if (rc != CAIRN_OK) {
        if (value != NULL) value_cache_discard(value);
        return rc;
    }
    if (o->sync || store->options.durability == CAIRN_DURABILITY_SYNC) {
        rc = vlog_sync(store->log, appended.place + 1, error);
    }
    bool removes = r->type == RECORD_DELETE;
    store_upkeep_note(store, removes ? 0 : location_units(appended.where) * UNIT_BYTES + stream_file_size);
    return rc;
}

uint64_t store_expiry_of(cairn *store, uint64_t ttl_ms) {
    uint64_t expires;
    if (ttl_ms == 0) return 0;
    return add_overflows(store_now(store), ttl_ms, &expires) ? UINT64_MAX : expires;
}

static int check_put_options(const cairn_put_options *o, cairn_error *error) {
    if (!o->if_absent || o->if_version == 0) return CAIRN_OK;
    return status_set(error, CAIRN_INVALID, "if_absent and if_version exclude each other");
}

int store_copy_put_options(cairn_put_options *to, const cairn_put_options *from, cairn_error *error) {
    int rc = store_copy_options(to, sizeof *to, from, error);
    return rc == CAIRN_OK ? check_put_options(to, error) : rc;
}

/* A copy of the value for a cache that keeps all; NULL when there is none, or no memory. */
static cached_value *copy_for_cache(cairn *store, const void *key, size_t key_size, const void *value, size_t size) {
    if (!store_is_resident(store)) return NULL;
    cached_value *copy = value_cache_prepare(store->cache, (uint32_t)key_size, size);
    if (copy == NULL) return NULL;
    memcpy(copy->bytes, key, key_size);
    if (size > 0) memcpy(copy->bytes + cached_data_offset(copy), value, size);
    return copy;
}

int store_put_in_log(cairn *store, const void *key, size_t key_size, const void *value, size_t size,
                     const cairn_put_options *o, cairn_error *error) {
    vlog_record r = {.type = RECORD_PUT, .payload = value, .payload_size = size, .value_size = size};
    packed p;
    int rc = vlog_pack(store->log, &r, &p, error);
    if (rc != CAIRN_OK) return rc;
    rc = store_apply(store, &r, key, key_size, o, 0, copy_for_cache(store, key, key_size, value, size), error);
    packed_release(&p);
    return rc;
}

int cairn_put(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
              const cairn_put_options *options, cairn_error *error) {
    cairn_put_options o;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc == CAIRN_OK) rc = store_copy_put_options(&o, options, error);
    if (rc != CAIRN_OK) return rc;
    if (value == NULL && value_size > 0) return status_set(error, CAIRN_INVALID, "the value is NULL");
    if (value_size > CAIRN_VALUE_SIZE_MAX) return status_set(error, CAIRN_TOO_BIG, "a value of more than 2^56 bytes");
    if (value_size > vlog_payload_max(store->log)) {
        return store_put_in_file(store, key, key_size, value, value_size, &o, error);
    }
    return store_put_in_log(store, key, key_size, value, value_size, &o, error);
}

int cairn_delete(cairn *store, const void *key, size_t key_size, const cairn_put_options *options, cairn_error *error) {
    cairn_put_options o;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc != CAIRN_OK) return rc;
    if (o.if_absent || o.ttl_ms != 0) {
        return status_set(error, CAIRN_INVALID, "if_absent and ttl_ms mean nothing to a delete");
    }
    vlog_record r = {.type = RECORD_DELETE};
    return store_apply(store, &r, key, key_size, &o, 0, NULL, error);
}

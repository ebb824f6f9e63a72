/* Changing one key: look-up, append and index change under its stripe, so that the log's order and the index's agree.
 */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

static int check_conditions(const cairn_put_options *o, const store_found *found, const void *key, size_t key_size,
                            cairn_error *error) {
    char text[KEY_TEXT_SIZE];
    if (o->if_absent && found->where != LOCATION_NONE) {
        return status_set(error, CAIRN_EXISTS, "the key is there: '%s'", key_text(text, key, key_size));
    }
    if (o->if_version == 0) return CAIRN_OK;
    if (found->where == LOCATION_NONE) {
        return status_set(error, CAIRN_EXISTS, "the key is absent, not at version %llu: '%s'",
                          (unsigned long long)o->if_version, key_text(text, key, key_size));
    }
    if (found->head.header.version == o->if_version) return CAIRN_OK;
    return status_set(error, CAIRN_EXISTS, "the key is at version %llu, not %llu: '%s'",
                      (unsigned long long)found->head.header.version, (unsigned long long)o->if_version,
                      key_text(text, key, key_size));
}

/* The value file that the superseded record names, when it names one. */
static int superseded_stream(cairn *store, const store_found *found, value_descriptor *d, cairn_error *error) {
    d->id = 0;
    if (found->where == LOCATION_NONE || found->head.header.type != RECORD_STREAM) return CAIRN_OK;
    int rc = store_descriptor(store, &found->head, d, error);
    if (rc == CAIRN_CORRUPT) { /* Overwriting is how a user gets rid of a damaged value. */
        d->id = 0;
        rc = CAIRN_OK;
    }
    return rc;
}

static void change_index(cairn *store, uint64_t hash, location from, location to) {
    if (from != LOCATION_NONE && to != LOCATION_NONE) {
        hash_index_replace(store->index, hash, from, to);
    } else if (to != LOCATION_NONE) {
        hash_index_insert(store->index, hash, to);
    } else {
        hash_index_remove(store->index, hash, from);
    }
    if (from != LOCATION_NONE) vlog_live_subtract(store->log, from);
    if (to != LOCATION_NONE) vlog_live_add(store->log, to);
}

/* Stripe held, inside the epoch. */
static int change(cairn *store, vlog_record *r, const cairn_put_options *o, store_found *found,
                  uint64_t stream_file_size, vlog_appended *appended, cairn_error *error) {
    bool removes = r->type == RECORD_DELETE;
    int rc = store_find(store, r->hash, r->key, r->key_size, STORE_HEAD_BYTES, found, error);
    /* A damaged record under the same hash may or may not be this key's. A plain put stands beside it; what depends on
     * the answer fails. */
    bool plain = !removes && !o->if_absent && o->if_version == 0;
    if (rc != CAIRN_OK && !(rc == CAIRN_CORRUPT && plain)) return rc;
    rc = check_conditions(o, found, r->key, r->key_size, error);
    if (rc != CAIRN_OK) return rc;
    bool present = found->where != LOCATION_NONE;
    if (removes && !present) {
        char text[KEY_TEXT_SIZE];
        return status_set(error, CAIRN_NOT_FOUND, "no such key: '%s'", key_text(text, r->key, r->key_size));
    }
    value_descriptor old = {0};
    rc = superseded_stream(store, found, &old, error);
    if (rc != CAIRN_OK) return rc;
    if (!present && hash_index_reserve(store->index, r->hash.index) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for the index");
    }
    if (hash_index_count(store->index, r->hash.index) > (size_t)present) r->flags |= RECORD_COLLIDES;
    rc = vlog_append(store->log, r, appended, error);
    if (rc != CAIRN_OK) return rc;
    change_index(store, r->hash.index, found->where, removes ? LOCATION_NONE : appended->where);
    if (r->type == RECORD_STREAM) store_stream_added(store, stream_file_size);
    if (old.id != 0) store_stream_died(store, old.id, old.file_size);
    return CAIRN_OK;
}

int store_apply(cairn *store, vlog_record *r, const void *key, size_t key_size, const cairn_put_options *o,
                uint64_t stream_file_size, cairn_error *error) {
    r->key = key;
    r->key_size = (uint32_t)key_size;
    r->hash = key_hash_of(&store->identity.secret, key, key_size, store->hash_mask);
    store_found found;
    vlog_appended appended;
    epoch_guard guard = epoch_enter(store->readers);
    hash_index_lock(store->index, r->hash.index);
    int rc = change(store, r, o, &found, stream_file_size, &appended, error);
    hash_index_unlock(store->index, r->hash.index);
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    if (rc != CAIRN_OK) return rc;
    if (o->sync || store->options.durability == CAIRN_DURABILITY_SYNC) {
        rc = vlog_sync(store->log, appended.place + 1, error);
    }
    store_upkeep_note(store);
    return rc;
}

static int check_put_options(const cairn_put_options *o, cairn_error *error) {
    if (o->if_absent && o->if_version != 0) {
        return status_set(error, CAIRN_INVALID, "if_absent and if_version exclude each other");
    }
    if (o->ttl_ms == 0) return CAIRN_OK;
    return status_set(error, CAIRN_UNSUPPORTED, "a time to live is not supported by this version");
}

int store_copy_put_options(cairn_put_options *to, const cairn_put_options *from, cairn_error *error) {
    int rc = store_copy_options(to, sizeof *to, from, error);
    return rc == CAIRN_OK ? check_put_options(to, error) : rc;
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
    vlog_record r = {.type = RECORD_PUT, .payload = value, .payload_size = value_size, .value_size = value_size};
    return store_apply(store, &r, key, key_size, &o, 0, error);
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
    return store_apply(store, &r, key, key_size, &o, 0, error);
}

/* One change of the index, and all that hangs on it: live bytes, value files, expiries, the cache, what open snapshots
 * still see, the quota. First everything that may fail, then the append, then what may not. */
#include "src/base/status.h"
#include "src/store/store.h"

int store_change_supersedes(cairn *store, store_change *change, const store_found *found, cairn_error *error) {
    value_descriptor d;
    change->from = found->where;
    change->revives = !change->removes && found->where != LOCATION_NONE && found->expired;
    if (found->where == LOCATION_NONE || found->head.header.type != RECORD_STREAM) return CAIRN_OK;
    int rc = store_descriptor(store, &found->head, &d, error);
    if (rc == CAIRN_CORRUPT) return CAIRN_OK; /* Overwriting is how a user gets rid of a damaged value. */
    if (rc != CAIRN_OK) return rc;
    change->old_stream = d.id;
    change->old_file_size = d.file_size;
    return CAIRN_OK;
}

/* Whether the set of keys may be another one afterwards. */
static bool changes_keys(const store_change *change) {
    return change->revives || change->removes == (change->from != LOCATION_NONE);
}

int store_change_reserve(cairn *store, store_change *change, uint64_t snapshot, size_t inserts, cairn_error *error) {
    int rc = CAIRN_OK;
    if (store_ordered_is_on(store) && changes_keys(change) && change->key != NULL) {
        change->noted = key_change_new(change->key, change->key_size);
        if (change->noted == NULL) rc = CAIRN_NO_MEMORY;
    }
    if (rc == CAIRN_OK && change->from == LOCATION_NONE) {
        rc = hash_index_reserve_many(store->index, change->hash, inserts);
    }
    if (rc == CAIRN_OK && snapshot != 0) rc = side_table_record(store->side, change->hash, snapshot);
    if (rc == CAIRN_OK) return CAIRN_OK;
    store_change_unreserve(change);
    return status_set(error, rc, "no memory for the index");
}

void store_change_unreserve(store_change *change) {
    key_change_free(change->noted);
    change->noted = NULL;
}

void store_change_publish(cairn *store, const store_change *change) {
    if (change->from != LOCATION_NONE && change->to != LOCATION_NONE) {
        hash_index_replace(store->index, change->hash, change->from, change->to);
    } else if (change->to != LOCATION_NONE) {
        hash_index_insert(store->index, change->hash, change->to);
    } else {
        hash_index_remove(store->index, change->hash, change->from);
        atomic_fetch_add(&store->removals[hash_index_shard_of(change->hash)], 1);
    }
}

void store_change_account(cairn *store, const store_change *change, uint64_t snapshot) {
    if (change->from != LOCATION_NONE) {
        uint64_t bytes = location_units(change->from) * UNIT_BYTES + change->old_file_size;
        if (snapshot != 0 && side_table_pin(store->side, change->hash, change->from, bytes)) {
            vlog_held_add(store->log, change->from);
        }
        vlog_live_subtract(store->log, change->from);
        if (location_expires(change->from)) {
            atomic_fetch_sub(&store->expiring, 1);
            if (!change->due) expiry_superseded(store->expiries);
        }
        if (store->cache != NULL) value_cache_remove(store->cache, change->from);
    }
    if (change->to != LOCATION_NONE) {
        vlog_live_add(store->log, change->to);
        if (location_expires(change->to)) {
            atomic_fetch_add(&store->expiring, 1);
            expiry_add(store->expiries, &(expiry_entry){change->expires_at_ms, change->hash, change->to});
        }
    }
    if (change->noted != NULL) overlay_push(store->ordered.changes, change->noted, change->removes, snapshot);
    if (change->removes && change->key == NULL) store_ordered_doubt(store);
    if (change->new_file_size != 0) store_stream_added(store, change->new_file_size);
    if (change->old_stream != 0) store_stream_died(store, change->old_stream, change->old_file_size);
}

void store_change_apply(cairn *store, const store_change *change, uint64_t snapshot) {
    store_change_publish(store, change);
    store_change_account(store, change, snapshot);
}

/* ---- Quota ---- */

int64_t store_change_growth(const store_change *change, uint64_t new_bytes) {
    uint64_t old_bytes = change->old_file_size;
    if (change->from != LOCATION_NONE) old_bytes += location_units(change->from) * UNIT_BYTES;
    return (int64_t)(new_bytes + change->new_file_size - old_bytes);
}

int store_quota_take(cairn *store, int64_t bytes, cairn_error *error) {
    uint64_t quota = store->options.max_bytes;
    if (quota == 0) return CAIRN_OK;
    uint64_t used = atomic_fetch_add(&store->quota_used, (uint64_t)bytes) + (uint64_t)bytes;
    if (bytes <= 0 || used <= quota) return CAIRN_OK;
    store_quota_give(store, bytes);
    return status_set(error, CAIRN_FULL, "the quota of %llu bytes does not hold %llu more", (unsigned long long)quota,
                      (unsigned long long)bytes);
}

void store_quota_give(cairn *store, int64_t bytes) {
    if (store->options.max_bytes != 0) atomic_fetch_sub(&store->quota_used, (uint64_t)bytes);
}

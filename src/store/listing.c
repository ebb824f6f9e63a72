#include "src/store/listing.h"

#include "src/base/array.h"
#include "src/base/status.h"

#include <stdlib.h>

static int add(listing *l, location where) {
    location *grown = array_with_room(l->list, &l->capacity, l->count, sizeof *grown, 1024);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    l->list = grown;
    l->list[l->count++] = where;
    return CAIRN_OK;
}

static int collect(void *ctx, uint64_t hash, location where) {
    listing *l = ctx;
    size_t count;
    bool saved = side_table_find(l->store->side, hash, l->moment.number, &count) != NULL;
    return saved ? CAIRN_OK : add(l, where);
}

static int collect_saved(void *ctx, uint64_t hash, const location *list, size_t count) {
    int rc = CAIRN_OK;
    (void)hash;
    for (size_t i = 0; rc == CAIRN_OK && i < count; i++) {
        rc = add(ctx, list[i]);
    }
    return rc;
}

static int by_address(const void *a, const void *b) {
    uint64_t x = location_address(*(const location *)a), y = location_address(*(const location *)b);
    return (x > y) - (x < y);
}

static int take_list(listing *l, cairn_error *error) {
    hash_index *index = l->store->index;
    int rc = CAIRN_OK;
    for (unsigned shard = 0; rc == CAIRN_OK && shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        hash_index_lock(index, any_hash);
        rc = hash_index_visit_shard(index, shard, collect, l);
        if (rc == CAIRN_OK) rc = side_table_visit_shard(l->store->side, shard, l->moment.number, collect_saved, l);
        hash_index_unlock(index, any_hash);
    }
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory to list %zu keys and more", l->count);
    if (l->count > 0) qsort(l->list, l->count, sizeof *l->list, by_address);
    return CAIRN_OK;
}

int listing_open(listing *l, cairn *store, const cairn_snapshot *given, cairn_error *error) {
    *l = (listing){.store = store};
    int rc = store_snapshot_make(store, true, &l->hold, error);
    if (rc != CAIRN_OK) return rc;
    l->moment = store_snapshot_moment(given != NULL ? given : l->hold);
    return take_list(l, error);
}

void listing_close(listing *l) {
    if (l->hold != NULL) store_snapshot_drop(l->hold);
    free(l->list);
    *l = (listing){0};
}

int listing_next(listing *l, bool expired_too, vlog_head *head, cairn_error *error) {
    while (l->next < l->count) {
        epoch_guard guard = epoch_enter(l->store->readers);
        int rc = vlog_head_read(l->store->log, l->list[l->next++], STORE_HEAD_BYTES, head, error);
        epoch_exit(l->store->readers, guard);
        uint64_t expires = rc == CAIRN_OK ? head->header.expires_at_ms : 0;
        if (rc != CAIRN_OK || expired_too || expires == 0 || expires > l->moment.now_ms) return rc;
        vlog_head_release(head);
    }
    return CAIRN_DONE;
}

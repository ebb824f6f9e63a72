/* How changes of keys get from the overlay, and from what was replayed, into the file of the ordered index. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/listing.h"
#include "src/store/store.h"

#include <stdlib.h>

/* Absorbed at once: an eighth of the file, because keys in random order touch a page each, and the more come together
 * the more have pages in common. */
#define DUE_SHARE 8u
#define DUE_BYTES_MIN ((uint64_t)16 << 20)
#define DUE_BYTES_MAX ((uint64_t)64 << 20)

/* ---- What was replayed ---- */

/* Pushes what has become of the key of a record. It is from before every snapshot. */
static int push_key_at(cairn *store, location where, cairn_error *error) {
    vlog_head head;
    epoch_guard guard = epoch_enter(store->readers);
    int rc = vlog_head_read(store->log, where, STORE_HEAD_BYTES, &head, error);
    if (rc == CAIRN_OK) {
        const uint8_t *key = vlog_head_key(&head);
        size_t size = head.header.key_size;
        key_hash hash = store_hash(store, key, size);
        key_change *change = key_change_new(key, size);
        store_found found;
        hash_index_lock(store->index, hash.index);
        rc = store_find(store, hash, key, size, &found, error);
        if (rc == CAIRN_OK && change != NULL) {
            overlay_push(store->ordered.changes, change, found.where == LOCATION_NONE, 0);
        } else {
            if (rc == CAIRN_OK) rc = status_set(error, CAIRN_NO_MEMORY, "no memory for the ordered index");
            key_change_free(change);
        }
        hash_index_unlock(store->index, hash.index);
        store_found_release(&found);
    }
    vlog_head_release(&head);
    epoch_exit(store->readers, guard);
    return rc;
}

void store_ordered_forget_replayed(store_ordered *o) {
    free(o->replayed);
    o->replayed = NULL;
    o->replayed_count = o->replayed_capacity = 0;
    atomic_store(&o->has_replayed, false);
}

/* absorbing held. */
static int push_replayed(cairn *store, cairn_error *error) {
    store_ordered *o = &store->ordered;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && o->replayed_count > 0) {
        rc = push_key_at(store, o->replayed[o->replayed_count - 1].where, error);
        o->replayed_count -= rc == CAIRN_OK;
    }
    if (rc == CAIRN_OK) store_ordered_forget_replayed(o);
    return rc;
}

/* Every key there is. absorbing held; open read-only. */
static int push_all(cairn *store, cairn_error *error) {
    listing all;
    int rc = listing_open(&all, store, NULL, error);
    for (size_t i = 0; rc == CAIRN_OK && i < all.count; i++) {
        rc = push_key_at(store, all.list[i], error);
        if (rc == CAIRN_CORRUPT) rc = CAIRN_OK; /* it can be found by no key either */
    }
    listing_close(&all);
    if (rc == CAIRN_OK) store_ordered_forget_replayed(&store->ordered);
    return rc;
}

int store_ordered_catch_up(cairn *store, cairn_error *error) {
    store_ordered *o = &store->ordered;
    if (!atomic_load(&o->has_replayed)) return CAIRN_OK;
    os_mutex_lock(&o->absorbing);
    os_mutex_lock(&o->lock);
    uint64_t generation = o->generation; /* a file that is lost meanwhile does not need them */
    bool from_nothing = o->file == NULL && store->options.read_only && atomic_load(&o->has_replayed);
    os_mutex_unlock(&o->lock);
    int rc = from_nothing ? push_all(store, error) : push_replayed(store, error);
    os_mutex_unlock(&o->absorbing);
    if (rc != CAIRN_OK && rc != CAIRN_NO_MEMORY && error != NULL) store_ordered_lose(store, generation, error);
    return rc;
}

/* ---- Absorbing ---- */

typedef struct absorption {
    cairn *store;
    ordered *file;
    bool of_file; /* what failed is the file's business */
    cairn_error error;
} absorption;

static int absorb_batch(absorption *a, overlay_batch *b, uint64_t place) {
    cairn *store = a->store;
    int rc = vlog_sync(store->log, vlog_next_place(store->log), &a->error);
    if (rc != CAIRN_OK) return rc;
    a->of_file = true;
    rc = ordered_absorb(a->file, b->changes, b->count, place, &a->error);
    if (rc != CAIRN_OK) return rc;
    atomic_store(&store->ordered.file_place, place);
    atomic_store(&store->ordered.file_bytes, ordered_bytes(a->file));
    if (b->count > 0) atomic_store(&store->ordered.is_loose, true);
    return CAIRN_OK;
}

static int absorb_all(absorption *a) {
    cairn *store = a->store;
    overlay_batch b;
    int rc = push_replayed(store, &a->error);
    a->of_file = rc != CAIRN_OK; /* which then cannot be brought up to date */
    if (rc != CAIRN_OK) return rc;
    uint64_t place = store_replay_start(store);
    /* Who has a place before it holds a stripe until the change is pushed. */
    hash_index_quiesce(store->index);
    if (overlay_take(store->ordered.changes, &b) != CAIRN_OK) {
        return status_set(&a->error, CAIRN_NO_MEMORY, "no memory for the ordered index");
    }
    if (b.count > 0 || place > ordered_place(a->file)) rc = absorb_batch(a, &b, place);
    if (rc != CAIRN_OK) {
        overlay_give_back(store->ordered.changes, &b);
        return rc;
    }
    uint64_t newest = atomic_load(&store->newest_snapshot), last = store_snapshots_last(store);
    overlay_absorbed(store->ordered.changes, &b, newest, last);
    /* The last one may have closed just before, and swept what was not kept yet. */
    if (newest != 0 && atomic_load(&store->newest_snapshot) == 0) overlay_sweep(store->ordered.changes, last + 1);
    return CAIRN_OK;
}

int store_ordered_absorb(cairn *store, cairn_error *error) {
    store_ordered *o = &store->ordered;
    absorption a = {.store = store};
    uint64_t generation = 0;
    int rc = CAIRN_OK;
    if (!store_ordered_is_on(store) || store->options.read_only) return CAIRN_OK;
    os_mutex_lock(&o->absorbing);
    if (!atomic_load(&o->building)) a.file = store_ordered_enter(store, &generation);
    if (a.file != NULL) {
        rc = absorb_all(&a);
        store_ordered_leave(store);
    }
    os_mutex_unlock(&o->absorbing);
    if (rc == CAIRN_OK) return rc;
    if (a.of_file && rc != CAIRN_FULL && rc != CAIRN_NO_MEMORY) {
        store_ordered_lose(store, generation, &a.error);
        return CAIRN_OK;
    }
    if (error != NULL) *error = a.error;
    return rc;
}

bool store_ordered_is_due(const cairn *store) {
    const store_ordered *o = &store->ordered;
    uint64_t pending = overlay_pending_bytes(o->changes);
    if (pending < DUE_BYTES_MIN || atomic_load(&o->building)) return false;
    return pending >= min_u64(max_u64(atomic_load(&o->file_bytes) / DUE_SHARE, DUE_BYTES_MIN), DUE_BYTES_MAX);
}

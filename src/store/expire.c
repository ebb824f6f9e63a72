/* Time, and what it takes away. An expired record counts as absent for whoever looks; this takes it out of the index as
 * well, so that the figures are right. Nothing is written for that: the record is its own tombstone (vlog/FORMAT.md,
 * "EXPIRES"), which a replay puts back and which then expires again. */
#include "src/base/status.h"
#include "src/store/store.h"

uint64_t store_now(cairn *store) {
    uint64_t now = store->os->clock_ms(store->os), seen = atomic_load_explicit(&store->now_ms, memory_order_relaxed);
    while (seen < now && !atomic_compare_exchange_weak(&store->now_ms, &seen, now)) {
    }
    return seen < now ? now : seen;
}

/* Stripe held, inside the epoch. */
static int take_out(cairn *store, const expiry_entry *e) {
    store_found found;
    store_change change = {.hash = e->hash, .removes = true, .from = e->where, .due = true};
    found.where = e->where;
    int rc = vlog_head_read(store->log, e->where, STORE_HEAD_BYTES, &found.head, NULL);
    if (rc == CAIRN_OK) {
        change.key = vlog_head_key(&found.head);
        change.key_size = found.head.header.key_size;
        rc = store_change_supersedes(store, &change, &found, NULL);
    }
    if (rc == CAIRN_CORRUPT) rc = CAIRN_OK; /* a damaged record expires like another */
    uint64_t snapshot = atomic_load(&store->newest_snapshot);
    if (rc == CAIRN_OK) rc = store_change_reserve(store, &change, snapshot, 0, NULL);
    if (rc == CAIRN_OK) {
        store_quota_give(store, 0 - store_change_growth(&change, 0));
        store_change_apply(store, &change, snapshot);
    }
    store_found_release(&found);
    return rc;
}

size_t store_expire(cairn *store, size_t most) {
    size_t count = 0;
    expiry_entry e;
    if (atomic_load_explicit(&store->expiring, memory_order_relaxed) == 0) return 0;
    uint64_t now = store_now(store);
    int rc = CAIRN_OK;
    /* What fails, for want of memory or by an error of the disk, stays due. */
    while (rc == CAIRN_OK && count < most && expiry_due(store->expiries, now, &e)) {
        epoch_guard guard = epoch_enter(store->readers);
        hash_index_lock(store->index, e.hash);
        bool there = hash_index_holds(store->index, e.hash, e.where);
        if (there) rc = take_out(store, &e);
        if (rc == CAIRN_OK) expiry_remove(store->expiries, &e, !there);
        hash_index_unlock(store->index, e.hash);
        epoch_exit(store->readers, guard);
        count += there && rc == CAIRN_OK;
    }
    return count;
}

static bool is_there(void *ctx, uint64_t hash, location where) {
    cairn *store = ctx;
    epoch_guard guard = epoch_enter(store->readers);
    bool there = hash_index_holds(store->index, hash, where);
    epoch_exit(store->readers, guard);
    return there;
}

void store_expiries_tidy(cairn *store) {
    if (expiry_is_stale(store->expiries)) expiry_compact(store->expiries, is_there, store);
}

void store_expiries_settle(cairn *store) {
    if (expiry_entries(store->expiries) > 0) expiry_compact(store->expiries, is_there, store);
}

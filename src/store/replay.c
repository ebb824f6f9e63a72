/* Recovery: the newest checkpoint, then the log behind it. The store is not yet anybody's; what is replayed may be
 * applied by a thread of the queue, while the opener reads on.
 *
 * A record without COLLIDES supersedes every entry with its hash, because when it was written no other live key had
 * that hash; one with it supersedes only the entry whose record has the same key. vlog/FORMAT.md says why that is
 * enough.
 */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/replay_queue.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_EIGHTHS 2u /* of a shard of the index that was made too large */

typedef struct replaying {
    cairn *store;
    replay_queue *queue;
    replayed_record *expired; /* the applying thread's: superseded, and perhaps another key's */
    size_t expired_count, expired_capacity;
} replaying;

static int note_expired(replaying *r, uint64_t place, location where, cairn_error *error) {
    replayed_record *grown = array_with_room(r->expired, &r->expired_capacity, r->expired_count, sizeof *grown, 64);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to replay the log");
    r->expired = grown;
    r->expired[r->expired_count++] = (replayed_record){place, where};
    return CAIRN_OK;
}

static int match_other(void *ctx, location candidate) { return candidate != *(const location *)ctx; }

static int insert(cairn *store, const vlog_event *e, cairn_error *error) {
    if (hash_index_reserve(store->index, e->hash) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for the index");
    }
    hash_index_insert(store->index, e->hash, e->where);
    return CAIRN_OK;
}

/* Supersedes all entries with the hash. */
static int apply_alone(replaying *r, const vlog_event *e, cairn_error *error) {
    cairn *store = r->store;
    location other, keep = e->type == RECORD_DELETE ? LOCATION_NONE : e->where;
    bool there = false;
    int rc;
    if (keep != LOCATION_NONE && hash_index_count(store->index, e->hash) == 0) return insert(store, e, error);
    while ((rc = hash_index_find(store->index, e->hash, match_other, &keep, &other)) == 1) {
        if (keep != LOCATION_NONE && !there && hash_index_count(store->index, e->hash) == 1) {
            hash_index_replace(store->index, e->hash, other, keep);
            there = true;
        } else {
            hash_index_remove(store->index, e->hash, other);
        }
        if (!location_expires(other)) continue;
        /* Perhaps another key, which had expired: that left no record of its own. */
        int noted = note_expired(r, e->place, other, error);
        if (noted != CAIRN_OK) return noted;
    }
    if (rc < 0) return status_set(error, rc, "no memory to replay the log");
    if (keep == LOCATION_NONE || there || hash_index_count(store->index, e->hash) > 0) return CAIRN_OK;
    return insert(store, e, error);
}

/* Supersedes the entry of the same key only. */
static int apply_colliding(cairn *store, const vlog_event *e, cairn_error *error) {
    vlog_head head;
    store_found found;
    int rc = vlog_head_read(store->log, e->where, STORE_HEAD_BYTES, &head, error);
    if (rc == CAIRN_OK) {
        rc = store_find(store, (key_hash){.index = e->hash}, vlog_head_key(&head), head.header.key_size, &found, error);
        if (rc == CAIRN_CORRUPT) rc = CAIRN_OK; /* As when it was written: it stands beside the damaged one. */
        location from = found.where;
        store_found_release(&found);
        if (rc == CAIRN_OK && e->type == RECORD_DELETE) {
            if (from != LOCATION_NONE) hash_index_remove(store->index, e->hash, from);
        } else if (rc == CAIRN_OK && from == LOCATION_NONE) {
            rc = insert(store, e, error);
        } else if (rc == CAIRN_OK) {
            hash_index_replace(store->index, e->hash, from, e->where);
        }
    }
    vlog_head_release(&head);
    return rc;
}

/* Before the event is applied; whether it still counts in the end is asked when it is due. */
static int note_expiry(cairn *store, const vlog_event *e, cairn_error *error) {
    if (e->expires_at_ms == 0) return CAIRN_OK;
    if (expiry_reserve(store->expiries, e->hash, 1) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a time to live");
    }
    expiry_add(store->expiries, &(expiry_entry){e->expires_at_ms, e->hash, e->where});
    return CAIRN_OK;
}

static int apply(void *ctx, const vlog_event *e, cairn_error *error) {
    replaying *r = ctx;
    int rc = note_expiry(r->store, e, error);
    if (rc != CAIRN_OK) return rc;
    return (e->flags & RECORD_COLLIDES) != 0 ? apply_colliding(r->store, e, error) : apply_alone(r, e, error);
}

static int finish(replaying *r, cairn_error *error) {
    int rc = replay_queue_finish(r->queue, error);
    for (size_t i = 0; rc == CAIRN_OK && i < r->expired_count; i++) {
        rc = store_ordered_replayed(r->store, r->expired[i].place, r->expired[i].where, error);
    }
    return rc;
}

static int on_event(void *ctx, const vlog_event *e, cairn_error *error) {
    replaying *r = ctx;
    if (e == NULL) return finish(r, error);
    /* Now, and not when it is applied: the keys are read later, and should be in the order of the log. */
    int rc = store_ordered_replayed(r->store, e->place, e->where, error);
    return rc == CAIRN_OK ? replay_queue_add(r->queue, e, error) : rc;
}

static int replay_log(cairn *store, const vlog_start *start, uint64_t records, vlog_recovered *result,
                      cairn_error *error) {
    replaying r = {.store = store};
    replay_queue_options options = {.index = store->index,
                                    .readers = store->readers,
                                    .records = records,
                                    .no_thread = store->options.no_background,
                                    .apply = apply,
                                    .ctx = &r};
    int rc = replay_queue_new(&r.queue, &options);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory to replay the log");
    rc = vlog_recover(store->log, start, on_event, &r, result, error);
    replay_queue_free(r.queue);
    free(r.expired);
    return rc;
}

static int count_live(void *ctx, uint64_t hash, location where) {
    cairn *store = ctx;
    (void)hash;
    vlog_live_add(store->log, where);
    store->expiring += location_expires(where);
    return 0;
}

static void recount_live(cairn *store) {
    vlog_live_clear(store->log);
    store->expiring = 0;
    hash_index_lock_all(store->index);
    (void)hash_index_visit_all(store->index, count_live, store);
    hash_index_unlock_all(store->index);
}

/* Rule 1: a root from before the last reclaim may name what is gone. */
static bool accept(void *ctx, const checkpoint_info *info) {
    const cairn *store = ctx;
    return memcmp(info->store_id, store->identity.store_id, sizeof info->store_id) == 0 &&
           info->epoch >= vlog_reclaim_epoch(store->log);
}

typedef struct loaded {
    checkpoint_info info;
    bool there;
    uint8_t *bytes;
    store_blob blob;
} loaded;

static int load_expiries(cairn *store, const store_blob *blob, cairn_error *error) {
    if (blob->expiries_size == 0) return CAIRN_OK;
    int rc = expiry_decode(store->expiries, blob->expiries, blob->expiries_size);
    if (rc == CAIRN_OK) return CAIRN_OK;
    /* Under the checkpoint's checksum: not damage, but bytes that no build has written. */
    return status_set(error, rc,
                      rc == CAIRN_CORRUPT ? "the expiries in the checkpoint make no sense"
                                          : "no memory for times to live");
}

static int load_checkpoint(cairn *store, loaded *l, cairn_error *error) {
    cairn_error why;
    size_t size = 0;
    int rc = checkpoint_load(store->checkpoint, store->index, accept, store, &l->info, &l->bytes, &size, &why);
    l->there = rc == CAIRN_OK;
    if (rc == CAIRN_CORRUPT) {
        store_say(store, CAIRN_LOG_WARNING, "the checkpoint cannot be used, rebuilding the index: %s", why.message);
    } else if (rc == CAIRN_NOT_FOUND) {
        store_say(store, CAIRN_LOG_INFO, "no usable checkpoint: building the index from the log");
    } else if (rc != CAIRN_OK) {
        if (error != NULL) *error = why;
        return rc;
    }
    if (!l->there) return CAIRN_OK;
    bool decoded = store_blob_decode(&l->blob, l->bytes, size);
    return decoded ? load_expiries(store, &l->blob, error) : CAIRN_OK;
}

static int replay(cairn *store, const loaded *l, cairn_error *error) {
    vlog_start start = {0};
    vlog_recovered result;
    uint64_t records = l->there ? hash_index_entries(store->index) : vlog_listed_records(store->log);
    if (l->there) start = (vlog_start){.place = l->info.start_place, .durable = l->info.end_place};
    if (!l->there) hash_index_expect(store->index, records); /* what the dead ones leave is given back below */
    int rc = replay_log(store, &start, records, &result, error);
    if (rc != CAIRN_OK) return rc;
    store_say(store, CAIRN_LOG_INFO, "replayed %llu records, %llu bytes of log", (unsigned long long)result.records,
              (unsigned long long)result.bytes);
    if (!l->there) hash_index_shrink(store->index, SPARE_EIGHTHS);
    recount_live(store);
    atomic_store(&store->covered_place, max_u64(start.place, 1));
    atomic_store(&store->covered_bytes, 0 - result.bytes);
    rc = store_streams_recount(store, !store->options.read_only, error);
    if (rc != CAIRN_OK || l->there || store->options.read_only) return rc;
    /* The names may be from a creation that was killed before its last sync. */
    int os_rc = os_dir_sync(store->dir);
    return os_rc == 0 ? CAIRN_OK : status_os(error, os_rc, "cannot sync the store's directory");
}

static bool count_and_keep(void *ctx, uint64_t id) {
    uint64_t *files = ctx;
    (void)id;
    (*files)++;
    return true;
}

/* After a clean close. A crash between its checkpoint and its last removals leaves value files that nothing names. */
static int clean_up(cairn *store, cairn_error *error) {
    uint64_t files = 0;
    int rc = vlog_remove_leftovers(store->log, count_and_keep, &files, error);
    if (rc != CAIRN_OK || files == atomic_load(&store->streams)) return rc;
    return store_streams_recount(store, true, error);
}

int store_recover(cairn *store, cairn_error *error) {
    loaded l = {0};
    store->ordered.replayed_count = 0; /* of an attempt before */
    int rc = load_checkpoint(store, &l, error);
    if (rc != CAIRN_OK) {
        free(l.bytes);
        return rc;
    }
    bool clean = false;
    if (l.there && l.blob.closed) {
        rc = vlog_resume(store->log, l.blob.suspended, l.blob.suspended_size, error);
        clean = rc == CAIRN_OK;
        if (rc == CAIRN_NOT_FOUND) rc = CAIRN_OK;
    }
    if (rc == CAIRN_OK && clean) {
        atomic_store(&store->streams, l.blob.streams);
        atomic_store(&store->stream_bytes, l.blob.stream_bytes);
        atomic_store(&store->covered_place, l.info.start_place);
        atomic_store(&store->expiring, l.blob.expiring);
        if (!store->options.read_only) rc = clean_up(store, error);
    } else if (rc == CAIRN_OK) {
        rc = replay(store, &l, error);
    }
    if (rc == CAIRN_OK && l.there) {
        atomic_store(&store->checkpoint_time_ms, l.info.time_ms);
        atomic_store(&store->checkpoint_epoch, l.info.epoch);
        atomic_store(&store->checkpoint_data, checkpoint_data_bytes(store->checkpoint));
    }
    free(l.bytes);
    return rc;
}

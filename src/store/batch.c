/* Batches: many changes that appear together, also over a crash. Format: vlog/FORMAT.md, "Batches".
 *
 *  1. Every change becomes a part in the log, without any lock but the log's own, so puts of other threads go on. What
 *     each part supersedes is looked up before it is written.
 *  2. The stripes of all keys are taken. What another thread changed since, and what collides, is looked up again, and
 *     where the part that was written does not do any more (its key has a higher version now, or had one, or another
 *     key shares its hash), it is written again.
 *  3. Everything that can fail is done: memory for the index, the quota.
 *  4. The COMMIT is appended. From here on nothing fails.
 *  5. The index is changed within one publication, so that no reader sees half of it; then the stripes are let go.
 *
 * From before the first part until after the last change of the index the batch is in store->batches, so that a
 * checkpoint does not begin between a part and its COMMIT.
 *
 * A part whose batch fails is dead weight in the log; its value file is removed.
 */
#include "src/base/status.h"
#include "src/store/batch_parts.h"

#include <stdlib.h>
#include <string.h>

#define SYNC_BYTES ((uint64_t)32 << 20) /* appended between two syncs */

/* What the part supersedes, as things stand. Inside the epoch. */
static int look_up(batch_commit *c, batch_part *p) {
    store_found found;
    store_change fresh = {.hash = p->hash.index};
    int rc = store_find(c->store, p->hash, batch_key(p->change), p->change->key_size, &found, c->error);
    if (rc == CAIRN_CORRUPT && !p->change->removes)
        rc = CAIRN_OK; /* as a plain put: it stands beside the damaged one */
    if (rc == CAIRN_OK) rc = store_change_supersedes(c->store, &fresh, &found, c->error);
    if (rc == CAIRN_OK) {
        p->found_version = found.where == LOCATION_NONE ? 0 : found.head.header.version;
        p->applied.from = fresh.from;
        p->applied.revives = fresh.revives && !p->change->removes;
        p->applied.old_stream = fresh.old_stream;
        p->applied.old_file_size = fresh.old_file_size;
    }
    store_found_release(&found);
    return rc;
}

/* Where others wait for syncs; in the other modes the store's own syncs see to it. */
static int bound_dirty_bytes(batch_commit *c) {
    if (c->unsynced < SYNC_BYTES || c->store->options.durability != CAIRN_DURABILITY_SYNC) return CAIRN_OK;
    c->unsynced = 0;
    return vlog_sync(c->store->log, vlog_appended_place(c->store->log), c->error);
}

static _Atomic uint64_t *removals_of(const batch_commit *c, const batch_part *p) {
    return &c->store->removals[hash_index_shard_of(p->hash.index)];
}

static int write_parts(batch_commit *c) {
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < c->count; i++) {
        batch_part *p = &c->parts[i];
        if (!p->change->removes) rc = store_reserve_keep(c->store, c->error);
        if (rc != CAIRN_OK) break;
        p->removals = atomic_load(removals_of(c, p));
        epoch_guard guard = epoch_enter(c->store->readers);
        rc = look_up(c, p);
        epoch_exit(c->store->readers, guard);
        p->collides = p->shares_hash;
        if (rc == CAIRN_OK && p->change->removes && p->applied.from == LOCATION_NONE) continue;
        if (rc == CAIRN_OK) rc = batch_add_part(c, p);
        if (rc == CAIRN_OK) rc = bound_dirty_bytes(c);
        vlog_give_way(c->store->log);
    }
    return rc == CAIRN_OK ? batch_flush(c) : rc;
}

/* ---- With all stripes held, inside the epoch ---- */

/* What was found still is what there is, and the hash is this key's alone. */
static bool is_unchanged(const batch_commit *c, const batch_part *p) {
    const hash_index *index = c->store->index;
    if (p->shares_hash) return false;
    if (p->applied.from == LOCATION_NONE) return hash_index_count(index, p->hash.index) == 0;
    return hash_index_holds(index, p->hash.index, p->applied.from) && hash_index_count(index, p->hash.index) == 1;
}

/* Nothing is there that has a higher version; nor was there, as far as can be told: a deletion leaves no version
 * behind, and the key may have been put and deleted since. */
static bool is_newest(const batch_commit *c, const batch_part *p) {
    if (p->found_version >= p->version) return false;
    return p->change->removes || p->applied.from != LOCATION_NONE || atomic_load(removals_of(c, p)) == p->removals;
}

static int mend_part(batch_commit *c, batch_part *p) {
    if (is_unchanged(c, p) && is_newest(c, p)) return CAIRN_OK;
    int rc = look_up(c, p);
    if (rc != CAIRN_OK) return rc;
    bool present = p->applied.from != LOCATION_NONE;
    bool others = hash_index_count(c->store->index, p->hash.index) > (size_t)present;
    if (p->change->removes && !present && !p->written) return CAIRN_OK;
    /* Beside another key's record the part gets a version above that one's: an index that is built from the log alone
     * takes records with one hash in the order of versions (vlog/FORMAT.md, "Compaction"). */
    if (p->written && is_newest(c, p) && !others) return CAIRN_OK;
    p->collides = p->collides || others;
    return batch_write_part(c, p);
}

static bool expires(const batch_part *p) { return p->written && p->applied.expires_at_ms != 0; }

/* Gives back what `reserve` took for the first `count` parts. */
static void unreserve(batch_commit *c, size_t count) {
    for (size_t i = 0; i < count; i++) {
        batch_part *p = &c->parts[i];
        if (expires(p)) expiry_unreserve(c->store->expiries, p->hash.index, 1);
        store_change_unreserve(&p->applied);
    }
    store_quota_give(c->store, c->growth);
}

static void count_inserts(const batch_commit *c, size_t inserts[HASH_INDEX_SHARDS]) {
    memset(inserts, 0, HASH_INDEX_SHARDS * sizeof *inserts);
    for (size_t i = 0; i < c->count; i++) {
        const store_change *change = &c->parts[i].applied;
        if (change->to != LOCATION_NONE && change->from == LOCATION_NONE) inserts[hash_index_shard_of(change->hash)]++;
    }
}

/* Room for what is to be inserted, one shard at a time, so that no shard grows while all are held. A try: what is
 * missing then is made up for. */
static void make_room(batch_commit *c) {
    size_t inserts[HASH_INDEX_SHARDS];
    hash_index *index = c->store->index;
    count_inserts(c, inserts);
    for (unsigned shard = 0; shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        if (inserts[shard] == 0) continue;
        hash_index_lock(index, any_hash);
        (void)hash_index_reserve_many(index, any_hash, inserts[shard]);
        hash_index_unlock(index, any_hash);
    }
}

/* Memory for all changes, and the quota. */
static int reserve(batch_commit *c) {
    cairn *store = c->store;
    size_t inserts[HASH_INDEX_SHARDS], i;
    int64_t growth = 0;
    int rc = CAIRN_OK;
    count_inserts(c, inserts);
    for (i = 0; rc == CAIRN_OK && i < c->count; i++) {
        batch_part *p = &c->parts[i];
        if (!p->written) continue;
        uint64_t new_bytes = p->change->removes ? 0 : location_units(p->applied.to) * UNIT_BYTES;
        growth += store_change_growth(&p->applied, new_bytes);
        rc = store_change_reserve(store, &p->applied, c->snapshot, inserts[hash_index_shard_of(p->hash.index)],
                                  c->error);
        if (rc == CAIRN_OK && expires(p) && expiry_reserve(store->expiries, p->hash.index, 1) != CAIRN_OK) {
            store_change_unreserve(&p->applied);
            rc = status_set(c->error, CAIRN_NO_MEMORY, "no memory for times to live");
        }
        if (rc != CAIRN_OK) break;
    }
    if (rc == CAIRN_OK) rc = store_quota_take(store, growth, c->error);
    if (rc == CAIRN_OK) {
        c->growth = growth;
    } else {
        unreserve(c, i);
    }
    return rc;
}

static int append_commit(batch_commit *c, uint64_t *place) {
    vlog_appended appended;
    vlog_record r = {.type = RECORD_COMMIT, .flags = RECORD_BATCH, .value_size = c->written, .batch = c->batch};
    int rc = vlog_append(c->store->log, &r, &appended, c->error);
    if (rc == CAIRN_OK) *place = appended.place;
    return rc;
}

/* A deletion of what is not there any more does nothing. */
static bool changes_index(const batch_part *p) {
    return p->written && (p->applied.from != LOCATION_NONE || p->applied.to != LOCATION_NONE);
}

static void publish(batch_commit *c) {
    cairn *store = c->store;
    hash_index_publish_begin(store->index);
    for (size_t i = 0; i < c->count; i++) {
        if (changes_index(&c->parts[i])) store_change_publish(store, &c->parts[i].applied);
    }
    hash_index_publish_end(store->index);
    for (size_t i = 0; i < c->count; i++) {
        if (changes_index(&c->parts[i])) store_change_account(store, &c->parts[i].applied, c->snapshot);
    }
}

static int reserve_and_commit(batch_commit *c, uint64_t *place) {
    int rc = reserve(c);
    if (rc != CAIRN_OK) return rc;
    rc = append_commit(c, place);
    if (rc == CAIRN_OK) {
        publish(c);
    } else {
        unreserve(c, c->count);
    }
    return rc;
}

static int commit_parts(batch_commit *c, uint64_t *place) {
    cairn *store = c->store;
    int rc = CAIRN_OK;
    make_room(c);
    epoch_guard guard = epoch_enter(store->readers);
    hash_index_lock_stripes(store->index, &c->stripes);
    c->snapshot = atomic_load(&store->newest_snapshot);
    for (size_t i = 0; rc == CAIRN_OK && i < c->count; i++) {
        rc = mend_part(c, &c->parts[i]);
    }
    if (rc == CAIRN_OK && c->written > 0) {
        rc = reserve_and_commit(c, place);
    }
    hash_index_unlock_stripes(store->index, &c->stripes);
    epoch_exit(store->readers, guard);
    return rc;
}

/* ---- The whole ---- */

static void enter_list(batch_commit *c) {
    cairn *store = c->store;
    os_mutex_lock(&store->batches_lock);
    c->under_way = (batch_under_way){.first_place = vlog_next_place(store->log), .next = store->batches};
    store->batches = &c->under_way;
    os_mutex_unlock(&store->batches_lock);
}

static void leave_list(batch_commit *c) {
    os_mutex_lock(&c->store->batches_lock);
    batch_under_way **at = &c->store->batches;
    while (*at != &c->under_way)
        at = &(*at)->next;
    *at = c->under_way.next;
    os_mutex_unlock(&c->store->batches_lock);
}

uint64_t store_replay_start(cairn *store) {
    os_mutex_lock(&store->batches_lock);
    uint64_t place = vlog_next_place(store->log);
    for (const batch_under_way *b = store->batches; b != NULL; b = b->next) {
        place = min_u64(place, b->first_place);
    }
    os_mutex_unlock(&store->batches_lock);
    return place;
}

/* In a log that failed, a COMMIT that was refused may still be there: the next open finds out, and removes what nothing
 * names. */
static void finish_files(batch_commit *c, int rc) {
    bool keep = rc == CAIRN_OK || vlog_failed(c->store->log);
    for (size_t i = 0; i < c->count; i++) {
        value_writer *file = c->parts[i].file;
        if (file == NULL) continue;
        if (keep) {
            value_writer_close(file);
        } else {
            store_file_give_up(c->store, file);
        }
    }
}

/* Before anything is written. What is compressed is only known then. */
static int check_quota(batch_commit *c) {
    const cairn_options *o = &c->store->options;
    c->bytes = 0;
    for (size_t i = 0; i < c->count; i++) {
        c->bytes += c->parts[i].change->value_size;
    }
    if (o->max_bytes == 0 || c->bytes <= o->max_bytes || o->compression == CAIRN_COMPRESSION_ZSTD) return CAIRN_OK;
    return status_set(c->error, CAIRN_FULL, "the batch alone is above the quota of %llu bytes",
                      (unsigned long long)o->max_bytes);
}

static int run(batch_commit *c, const cairn_batch *b, uint64_t *place) {
    int rc = batch_make_parts(c, b);
    if (rc == CAIRN_OK) rc = check_quota(c);
    if (rc != CAIRN_OK) {
        free(c->parts);
        return rc;
    }
    enter_list(c);
    rc = write_parts(c);
    if (rc == CAIRN_OK) rc = commit_parts(c, place);
    leave_list(c);
    batch_drop_waiting(c);
    finish_files(c, rc);
    free(c->parts);
    return rc;
}

static bool puts_nothing(const cairn_batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        if (!b->changes[i].removes) return false;
    }
    return true;
}

/* Tries again as long as space can be made. */
static int run_with_relief(cairn *store, const cairn_batch *b, uint64_t expires_at_ms, uint64_t *place, uint64_t *bytes,
                           cairn_error *error) {
    store_relief relief = {.deletes = puts_nothing(b)};
    cairn_error why;
    int rc;
    do {
        batch_commit c = {.store = store, .error = &why, .expires_at_ms = expires_at_ms};
        rc = run(&c, b, place);
        *bytes = c.bytes;
    } while (rc == CAIRN_FULL && store_relieve(store, &relief, &why));
    store_reserve_done(store, &relief.using);
    if (rc != CAIRN_OK && error != NULL) *error = why;
    return rc;
}

static int check_options(const cairn_put_options *o, cairn_error *error) {
    if (!o->if_absent && o->if_version == 0) return CAIRN_OK;
    return status_set(error, CAIRN_INVALID, "a batch takes no conditions");
}

int cairn_batch_commit(cairn *store, cairn_batch *batch, const cairn_put_options *options, cairn_error *error) {
    cairn_put_options o;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK && batch == NULL) rc = status_set(error, CAIRN_INVALID, "no batch");
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc == CAIRN_OK) rc = check_options(&o, error);
    if (rc != CAIRN_OK) return rc;
    if (batch->failed != CAIRN_OK) return status_set(error, batch->failed, "there was no memory for all of the batch");
    uint64_t place = 0, bytes = 0;
    rc = run_with_relief(store, batch, store_expiry_of(store, o.ttl_ms), &place, &bytes, error);
    if (rc == CAIRN_OK && place != 0 && (o.sync || store->options.durability == CAIRN_DURABILITY_SYNC)) {
        rc = vlog_sync(store->log, place + 1, error);
    }
    store_upkeep_note(store, bytes);
    return rc;
}

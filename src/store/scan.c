/* Listing every key, in the order of the log. The locations are copied at the opening, shard by shard, as a snapshot
 * has them, so that a scan sees one moment and writers go on. While it is open, a snapshot of its own keeps what is
 * superseded where it is, and what compaction has moved since the opening is not removed (src/store/reclaim.c). */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_scan {
    cairn *store;
    bool keys_only;
    uint64_t left; /* entries that may still be returned */
    store_moment moment;
    cairn_snapshot *hold; /* of its opening */
    location *list;
    size_t count, capacity, next;
    bool on_entry;
    vlog_head head;
    uint8_t *value; /* of the current entry, once asked for */
};

static int check_options(const cairn *store, const cairn_scan_options *o, cairn_error *error) {
    if (o->snapshot != NULL && !store_snapshot_is_of(o->snapshot, store)) {
        return status_set(error, CAIRN_INVALID, "the snapshot is another handle's");
    }
    if (o->lower == NULL && o->upper == NULL && o->prefix == NULL && o->like == NULL && !o->reverse) return CAIRN_OK;
    return status_set(error, CAIRN_UNSUPPORTED,
                      "a scan with bounds, prefix, LIKE or reverse needs an ordered index, which this version does not "
                      "have; without them it lists every key");
}

static int add(cairn_scan *s, location where) {
    location *grown = array_with_room(s->list, &s->capacity, s->count, sizeof *grown, 1024);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    s->list = grown;
    s->list[s->count++] = where;
    return CAIRN_OK;
}

static int collect(void *ctx, uint64_t hash, location where) {
    cairn_scan *s = ctx;
    size_t count;
    bool saved = side_table_find(s->store->side, hash, s->moment.number, &count) != NULL;
    return saved ? CAIRN_OK : add(s, where);
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

static int take_list(cairn_scan *s, cairn_error *error) {
    hash_index *index = s->store->index;
    int rc = CAIRN_OK;
    for (unsigned shard = 0; rc == CAIRN_OK && shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        hash_index_lock(index, any_hash);
        rc = hash_index_visit_shard(index, shard, collect, s);
        if (rc == CAIRN_OK) rc = side_table_visit_shard(s->store->side, shard, s->moment.number, collect_saved, s);
        hash_index_unlock(index, any_hash);
    }
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory to list %zu keys and more", s->count);
    if (s->count > 0) qsort(s->list, s->count, sizeof *s->list, by_address);
    return CAIRN_OK;
}

/* The list of a snapshot, or of the scan's own. */
static int take_moment(cairn_scan *s, const cairn_snapshot *given, cairn_error *error) {
    int rc = store_snapshot_make(s->store, true, &s->hold, error);
    if (rc != CAIRN_OK) return rc;
    s->moment = store_snapshot_moment(given != NULL ? given : s->hold);
    return take_list(s, error);
}

static void free_scan(cairn_scan *s) {
    if (s->hold != NULL) store_snapshot_drop(s->hold);
    free(s->list);
    free(s);
}

int cairn_scan_open(cairn *store, const cairn_scan_options *options, cairn_scan **scan, cairn_error *error) {
    cairn_scan_options o;
    if (scan == NULL) return status_set(error, CAIRN_INVALID, "no place for the scan");
    *scan = NULL;
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc == CAIRN_OK) rc = check_options(store, &o, error);
    if (rc != CAIRN_OK) return rc;
    cairn_scan *s = calloc(1, sizeof *s);
    if (s == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a scan");
    s->store = store;
    s->keys_only = o.keys_only;
    s->left = o.limit == 0 ? UINT64_MAX : o.limit;
    s->head.bytes = s->head.inline_bytes;
    rc = take_moment(s, o.snapshot, error);
    if (rc != CAIRN_OK) {
        free_scan(s);
        return rc;
    }
    atomic_fetch_add(&store->children, 1);
    *scan = s;
    return CAIRN_OK;
}

static void leave_entry(cairn_scan *s) {
    vlog_head_release(&s->head);
    free(s->value);
    s->value = NULL;
    s->on_entry = false;
}

static bool is_expired(const cairn_scan *s) {
    uint64_t expires = s->head.header.expires_at_ms;
    return expires != 0 && expires <= s->moment.now_ms;
}

int cairn_scan_next(cairn_scan *s, cairn_error *error) {
    if (s == NULL) return status_set(error, CAIRN_INVALID, "no scan");
    int rc = store_check(s->store, error);
    if (rc != CAIRN_OK) return rc;
    leave_entry(s);
    while (s->next < s->count && s->left > 0) {
        epoch_guard guard = epoch_enter(s->store->readers);
        rc = vlog_head_read(s->store->log, s->list[s->next++], STORE_HEAD_BYTES, &s->head, error);
        epoch_exit(s->store->readers, guard);
        if (rc == CAIRN_OK && is_expired(s)) {
            vlog_head_release(&s->head);
            continue;
        }
        s->left--;
        s->on_entry = rc == CAIRN_OK;
        return rc;
    }
    return CAIRN_DONE;
}

const void *cairn_scan_key(const cairn_scan *s, size_t *size) {
    CHECK(s->on_entry);
    *size = s->head.header.key_size;
    return vlog_head_key(&s->head);
}

uint64_t cairn_scan_value_size(const cairn_scan *s) {
    CHECK(s->on_entry);
    return s->head.header.value_size;
}

/* Into s->value, which stays NULL on failure. */
static int read_value(cairn_scan *s, cairn_error *error) {
    cairn *store = s->store;
    epoch_guard guard = epoch_enter(store->readers);
    int rc = vlog_head_refresh(store->log, &s->head, error);
    if (rc == CAIRN_OK) rc = store_value_load(store, &s->head, 0, &s->value, error);
    epoch_exit(store->readers, guard);
    return rc;
}

int cairn_scan_value(cairn_scan *s, const void **value, size_t *size, cairn_error *error) {
    if (s == NULL || value == NULL || size == NULL) return status_set(error, CAIRN_INVALID, "no scan or no place");
    int rc = store_check(s->store, error);
    if (rc != CAIRN_OK) return rc;
    if (!s->on_entry) return status_set(error, CAIRN_INVALID, "the scan is on no entry");
    if (s->keys_only) return status_set(error, CAIRN_INVALID, "the scan was opened for keys only");
    uint64_t value_size = s->head.header.value_size;
    if (s->value == NULL) rc = read_value(s, error);
    if (rc != CAIRN_OK) return rc;
    *value = s->value;
    *size = value_size;
    return CAIRN_OK;
}

void cairn_scan_close(cairn_scan *s) {
    if (s == NULL) return;
    cairn *store = s->store;
    leave_entry(s);
    free_scan(s);
    atomic_fetch_sub(&store->children, 1);
}

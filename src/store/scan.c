/* Scans: in order over the ordered index (scan_ordered.h), or over a list in the order of the log (listing.h). */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/listing.h"
#include "src/store/scan_ahead.h"
#include "src/store/scan_ordered.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_scan {
    cairn *store;
    bool keys_only;
    uint64_t left; /* entries that may still be returned */
    store_moment moment;
    ordered_scan *ordered; /* NULL: it goes by the list */
    const scan_key *known; /* entries that follow, already taken from `left`; of keys only */
    size_t known_count;
    cairn_snapshot *hold; /* of its opening, with `ordered`: what compaction moves meanwhile is not removed */
    scan_ahead ahead;
    bool reads_values; /* at the last entries; at first it is taken for granted */
    listing all;
    bool on_entry, has_head;
    scan_key key;
    vlog_head head;
    uint8_t *value; /* of the current entry, once asked for */
};

static bool needs_order(const cairn_scan_options *o) {
    return o->lower != NULL || o->upper != NULL || o->prefix != NULL || o->like != NULL || o->reverse;
}

static int check_options(const cairn *store, const cairn_scan_options *o, cairn_error *error) {
    if (o->snapshot != NULL && !store_snapshot_is_of(o->snapshot, store)) {
        return status_set(error, CAIRN_INVALID, "the snapshot is another handle's");
    }
    bool missing = (o->lower == NULL && o->lower_size > 0) || (o->upper == NULL && o->upper_size > 0) ||
                   (o->prefix == NULL && o->prefix_size > 0) || (o->like == NULL && o->like_size > 0);
    return missing ? status_set(error, CAIRN_INVALID, "a bound that is NULL has a size") : CAIRN_OK;
}

static int begin_in_order(cairn_scan *s, const cairn_scan_options *o, cairn_error *error) {
    int rc = store_snapshot_make(s->store, true, &s->hold, error);
    if (rc != CAIRN_OK) return rc;
    s->moment = store_snapshot_moment(o->snapshot != NULL ? o->snapshot : s->hold);
    rc = ordered_scan_open(&s->ordered, s->store, s->moment, o, error);
    s->ahead = (scan_ahead){.store = s->store, .moment = s->moment, .walk = s->ordered};
    return rc;
}

static int begin(cairn_scan *s, const cairn_scan_options *o, cairn_error *error) {
    if (needs_order(o) || store_ordered_is_on(s->store)) {
        int rc = begin_in_order(s, o, error);
        /* It may have been dropped just now, or added after the snapshot: that is no reason to list nothing. */
        if (rc != CAIRN_UNSUPPORTED || needs_order(o)) return rc;
        store_snapshot_drop(s->hold);
        s->hold = NULL;
    }
    int rc = listing_open(&s->all, s->store, o->snapshot, error);
    s->moment = s->all.moment;
    return rc;
}

static void free_scan(cairn_scan *s) {
    scan_ahead_release(&s->ahead);
    ordered_scan_close(s->ordered);
    listing_close(&s->all);
    if (s->hold != NULL) store_snapshot_drop(s->hold);
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
    s->reads_values = true;
    s->head.bytes = s->head.inline_bytes;
    rc = begin(s, &o, error);
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
    s->has_head = false;
}

/* The head of the key's record at the scan's moment. */
static int find_head(cairn_scan *s, cairn_error *error) {
    store_found found;
    epoch_guard guard = epoch_enter(s->store->readers);
    int rc = store_snapshot_find(s->store, s->moment, s->key.bytes, s->key.size, &found, error);
    if (rc == CAIRN_OK) vlog_head_move(&s->head, &found.head);
    s->has_head = rc == CAIRN_OK;
    store_found_release(&found);
    epoch_exit(s->store->readers, guard);
    return rc;
}

static int next_in_order(cairn_scan *s, cairn_error *error) {
    if (s->keys_only) return ordered_scan_next(s->ordered, &s->key, error);
    int rc = scan_ahead_next(&s->ahead, s->left, s->reads_values, &s->key, error);
    return rc == CAIRN_OK ? find_head(s, error) : rc;
}

static int next_in_list(cairn_scan *s, cairn_error *error) {
    int rc = listing_next(&s->all, false, &s->head, error);
    s->has_head = rc == CAIRN_OK;
    if (rc == CAIRN_OK) s->key = (scan_key){vlog_head_key(&s->head), s->head.header.key_size};
    return rc;
}

static void take_known(cairn_scan *s) {
    s->known = ordered_scan_take(s->ordered, &s->known_count);
    s->known_count = min_u64(s->known_count, s->left);
    s->left -= s->known_count;
}

static int next_known(cairn_scan *s) {
    if (s->has_head) leave_entry(s);
    s->known_count--;
    s->key = *s->known++;
    return CAIRN_OK;
}

int cairn_scan_next(cairn_scan *s, cairn_error *error) {
    if (s == NULL) return status_set(error, CAIRN_INVALID, "no scan");
    int rc = store_check(s->store, error);
    if (rc != CAIRN_OK) return rc;
    if (s->known_count > 0) return next_known(s);
    if (s->on_entry) s->reads_values = s->value != NULL;
    leave_entry(s);
    s->on_entry = false;
    if (s->left == 0) return CAIRN_DONE;
    rc = s->ordered != NULL ? next_in_order(s, error) : next_in_list(s, error);
    if (rc == CAIRN_OK || rc == CAIRN_CORRUPT) s->left--;
    s->on_entry = rc == CAIRN_OK;
    if (s->on_entry && s->keys_only && s->ordered != NULL) take_known(s);
    return rc;
}

const void *cairn_scan_key(const cairn_scan *s, size_t *size) {
    CHECK(s->on_entry);
    *size = s->key.size;
    return s->key.bytes;
}

uint64_t cairn_scan_value_size(const cairn_scan *scan) {
    cairn_scan *s = (cairn_scan *)scan; /* what it learns is no change that anybody sees */
    CHECK(s->on_entry);
    if (!s->has_head && find_head(s, NULL) != CAIRN_OK) return UINT64_MAX;
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

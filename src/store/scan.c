/* Listing every key, in the order of the log. The locations are copied at the opening with every stripe held, so that a
 * scan sees one moment; nothing is reclaimed while a store is open, so they stay good. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_scan {
    cairn *store;
    bool keys_only;
    uint64_t left; /* entries that may still be returned */
    location *list;
    size_t count, next;
    bool on_entry;
    vlog_head head;
    uint8_t *value; /* of the current entry, once asked for */
};

static int check_options(const cairn_scan_options *o, cairn_error *error) {
    if (o->lower == NULL && o->upper == NULL && o->prefix == NULL && o->like == NULL && !o->reverse &&
        o->snapshot == NULL) {
        return CAIRN_OK;
    }
    return status_set(
        error, CAIRN_UNSUPPORTED,
        "a scan with bounds, prefix, LIKE, reverse or snapshot needs an ordered index, which this version "
        "does not have; without them it lists every key");
}

static int collect(void *ctx, uint64_t hash, location where) {
    cairn_scan *s = ctx;
    (void)hash;
    s->list[s->count++] = where;
    return 0;
}

static int by_address(const void *a, const void *b) {
    uint64_t x = location_address(*(const location *)a), y = location_address(*(const location *)b);
    return (x > y) - (x < y);
}

static int take_list(cairn_scan *s, cairn_error *error) {
    hash_index *index = s->store->index;
    hash_index_lock_all(index);
    uint64_t entries = hash_index_entries(index);
    s->list = malloc(max_u64(entries, 1) * sizeof *s->list);
    if (s->list != NULL) (void)hash_index_visit_all(index, collect, s);
    hash_index_unlock_all(index);
    if (s->list == NULL) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory to list %llu keys", (unsigned long long)entries);
    }
    qsort(s->list, s->count, sizeof *s->list, by_address);
    return CAIRN_OK;
}

int cairn_scan_open(cairn *store, const cairn_scan_options *options, cairn_scan **scan, cairn_error *error) {
    cairn_scan_options o;
    if (scan == NULL) return status_set(error, CAIRN_INVALID, "no place for the scan");
    *scan = NULL;
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc == CAIRN_OK) rc = check_options(&o, error);
    if (rc != CAIRN_OK) return rc;
    cairn_scan *s = calloc(1, sizeof *s);
    if (s == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a scan");
    s->store = store;
    s->keys_only = o.keys_only;
    s->left = o.limit == 0 ? UINT64_MAX : o.limit;
    s->head.bytes = s->head.inline_bytes;
    rc = take_list(s, error);
    if (rc != CAIRN_OK) {
        free(s);
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

int cairn_scan_next(cairn_scan *s, cairn_error *error) {
    if (s == NULL) return status_set(error, CAIRN_INVALID, "no scan");
    int rc = store_check(s->store, error);
    if (rc != CAIRN_OK) return rc;
    leave_entry(s);
    if (s->next == s->count || s->left == 0) return CAIRN_DONE;
    s->left--;
    epoch_guard guard = epoch_enter(s->store->readers);
    rc = vlog_head_read(s->store->log, s->list[s->next++], STORE_HEAD_BYTES, &s->head, error);
    epoch_exit(s->store->readers, guard);
    s->on_entry = rc == CAIRN_OK;
    return rc;
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
    leave_entry(s);
    atomic_fetch_sub(&s->store->children, 1);
    free(s->list);
    free(s);
}

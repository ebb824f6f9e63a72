/* Snapshots: what the store held at one moment, for gets and scans. src/store/store.h says how opening one and the
 * writers go together; src/store/side_table.h keeps what they supersede. */
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

struct cairn_snapshot {
    cairn *store;
    store_moment moment;
    uint64_t opened_ns;    /* monotonic */
    bool of_scan;          /* fixed: no snapshot of the user's, but what keeps a scan's records where they are */
    cairn_snapshot *older; /* snapshots_lock */
};

int store_snapshot_make(cairn *store, bool of_scan, cairn_snapshot **out, cairn_error *error) {
    cairn_snapshot *s = calloc(1, sizeof *s);
    if (s == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a snapshot");
    s->store = store;
    s->of_scan = of_scan;
    s->opened_ns = store->os->monotonic_ns(store->os);
    s->moment.now_ms = store_now(store);
    os_mutex_lock(&store->snapshots_lock);
    s->moment.number = ++store->last_snapshot;
    s->older = store->snapshots;
    store->snapshots = s;
    atomic_store(&store->newest_snapshot, s->moment.number);
    os_mutex_unlock(&store->snapshots_lock);
    hash_index_quiesce(store->index);
    *out = s;
    return CAIRN_OK;
}

/* Takes it out of the list. The numbers of those that stay, ascending: malloc'ed, or NULL without memory. */
static uint64_t *leave(cairn *store, const cairn_snapshot *s, size_t *count, uint64_t *newest) {
    os_mutex_lock(&store->snapshots_lock);
    size_t open = 0;
    for (cairn_snapshot **at = &store->snapshots; *at != NULL;) {
        if (*at == s) {
            *at = s->older;
        } else {
            open++;
            at = &(*at)->older;
        }
    }
    uint64_t *numbers = malloc((open + 1) * sizeof *numbers);
    *count = open;
    *newest = store->last_snapshot;
    for (const cairn_snapshot *o = store->snapshots; numbers != NULL && o != NULL; o = o->older) {
        numbers[--open] = o->moment.number;
    }
    atomic_store(&store->newest_snapshot, store->snapshots != NULL ? store->snapshots->moment.number : 0);
    os_mutex_unlock(&store->snapshots_lock);
    return numbers;
}

void store_snapshot_drop(cairn_snapshot *s) {
    cairn *store = s->store;
    size_t count;
    uint64_t newest, *open = leave(store, s, &count, &newest), pinned = side_table_pinned_bytes(store->side);
    /* Without memory for the list, what only this one saw waits for the next sweep. */
    if (open != NULL) side_table_sweep(store->side, open, count, newest);
    if (side_table_pinned_bytes(store->side) < pinned) store_upkeep_unpinned(store);
    if (open != NULL) overlay_sweep(store->ordered.changes, count > 0 ? open[0] : newest + 1);
    free(open);
    free(s);
}

int cairn_snapshot_open(cairn *store, cairn_snapshot **snapshot, cairn_error *error) {
    if (snapshot == NULL) return status_set(error, CAIRN_INVALID, "no place for the snapshot");
    *snapshot = NULL;
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_snapshot_make(store, false, snapshot, error);
    if (rc == CAIRN_OK) atomic_fetch_add(&store->children, 1);
    return rc;
}

void cairn_snapshot_close(cairn_snapshot *s) {
    if (s == NULL) return;
    cairn *store = s->store;
    store_snapshot_drop(s);
    atomic_fetch_sub(&store->children, 1);
}

store_moment store_snapshot_moment(const cairn_snapshot *s) { return s->moment; }
bool store_snapshot_is_of(const cairn_snapshot *s, const cairn *store) { return s->store == store; }

void store_snapshots_count(cairn *store, uint64_t *count, uint64_t *oldest_ms, uint64_t *scans) {
    uint64_t now = store->os->monotonic_ns(store->os);
    *count = *oldest_ms = *scans = 0;
    os_mutex_lock(&store->snapshots_lock);
    for (const cairn_snapshot *s = store->snapshots; s != NULL; s = s->older) {
        if (s->of_scan) {
            (*scans)++;
            continue;
        }
        (*count)++;
        *oldest_ms = (now - min_u64(s->opened_ns, now)) / 1000000;
    }
    os_mutex_unlock(&store->snapshots_lock);
}

uint64_t store_snapshots_oldest(cairn *store, bool of_scans) {
    uint64_t oldest = UINT64_MAX;
    os_mutex_lock(&store->snapshots_lock);
    for (const cairn_snapshot *s = store->snapshots; s != NULL; s = s->older) {
        if (s->of_scan || !of_scans) oldest = s->moment.number;
    }
    os_mutex_unlock(&store->snapshots_lock);
    return oldest;
}

uint64_t store_snapshots_last(cairn *store) {
    os_mutex_lock(&store->snapshots_lock);
    uint64_t last = store->last_snapshot;
    os_mutex_unlock(&store->snapshots_lock);
    return last;
}

/* ---- Reading ---- */

int store_snapshot_candidates(cairn *store, store_moment moment, uint64_t hash, location few[STORE_CANDIDATES_FEW],
                              location **more, size_t *count, bool *is_saved) {
    location *list = few;
    int rc = CAIRN_OK;
    *more = NULL;
    hash_index_lock(store->index, hash);
    const location *saved = side_table_find(store->side, hash, moment.number, count);
    *is_saved = saved != NULL;
    if (saved == NULL) *count = hash_index_count(store->index, hash);
    if (*count > STORE_CANDIDATES_FEW) list = *more = malloc(*count * sizeof *list);
    if (list == NULL) {
        rc = CAIRN_NO_MEMORY;
    } else if (saved == NULL) {
        *count = hash_index_collect(store->index, hash, list, *count);
    } else {
        for (size_t i = 0; i < *count; i++) {
            list[i] = saved[i];
        }
    }
    hash_index_unlock(store->index, hash);
    return rc;
}

int store_snapshot_find(cairn *store, store_moment moment, const void *key, size_t key_size, store_found *found,
                        cairn_error *error) {
    location few[STORE_CANDIDATES_FEW], *more;
    size_t count;
    bool saved;
    found->head.bytes = found->head.inline_bytes;
    uint64_t hash = store_hash(store, key, key_size).index;
    int rc = store_snapshot_candidates(store, moment, hash, few, &more, &count, &saved);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory for a look-up");
    const location *list = more != NULL ? more : few;
    rc = store_find_among(store, list, count, moment.now_ms, key, key_size, found, error);
    free(more);
    if (rc != CAIRN_OK || (found->where != LOCATION_NONE && !found->expired)) return rc;
    return store_not_found(key, key_size, error);
}

static int check_call(const cairn_snapshot *s, const void *key, size_t key_size, cairn_error *error) {
    if (s == NULL) return status_set(error, CAIRN_INVALID, "no snapshot");
    int rc = store_check(s->store, error);
    return rc == CAIRN_OK ? store_check_key(key, key_size, error) : rc;
}

int cairn_snapshot_get(cairn_snapshot *s, const void *key, size_t key_size, void **value, size_t *value_size,
                       cairn_error *error) {
    int rc = check_call(s, key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if (value == NULL || value_size == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *value = NULL;
    *value_size = 0;
    store_found found;
    epoch_guard guard = epoch_enter(s->store->readers);
    rc = store_snapshot_find(s->store, s->moment, key, key_size, &found, error);
    if (rc == CAIRN_OK) rc = store_get_found(s->store, &found, value, value_size, error);
    store_found_release(&found);
    epoch_exit(s->store->readers, guard);
    return rc;
}

int cairn_snapshot_stat(cairn_snapshot *s, const void *key, size_t key_size, cairn_entry *entry, cairn_error *error) {
    int rc = check_call(s, key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_entry result = {0};
    store_found found;
    epoch_guard guard = epoch_enter(s->store->readers);
    rc = store_snapshot_find(s->store, s->moment, key, key_size, &found, error);
    if (rc == CAIRN_OK) rc = store_entry_fill(s->store, &found, &result, error);
    store_found_release(&found);
    epoch_exit(s->store->readers, guard);
    return rc == CAIRN_OK ? store_copy_result(entry, &result, sizeof result, error) : rc;
}

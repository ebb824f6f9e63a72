/* Value files, and which of them a live record names. A file whose record was superseded is dead at once; it is removed
 * when the last checkpoint no longer names it and nobody can come to read it (reclaim.c, and a clean close), or by the
 * recovery after a crash. */
#include "src/base/array.h"
#include "src/base/id_list.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

void store_stream_added(cairn *store, uint64_t file_size) {
    atomic_fetch_add(&store->streams, 1);
    atomic_fetch_add(&store->stream_bytes, file_size);
}

void store_stream_died(cairn *store, uint64_t id, uint64_t file_size) {
    atomic_fetch_sub(&store->streams, 1);
    atomic_fetch_sub(&store->stream_bytes, file_size);
    atomic_fetch_add(&store->dead_stream_bytes, file_size);
    dead_stream d = {.id = id, .file_size = file_size, .last_snapshot = atomic_load(&store->newest_snapshot)};
    store_streams_give_back(store, &d, 1);
}

void store_streams_give_back(cairn *store, const dead_stream *list, size_t count) {
    os_mutex_lock(&store->streams_lock);
    for (size_t i = 0; i < count; i++) {
        dead_stream *grown =
            array_with_room(store->dead_streams, &store->dead_capacity, store->dead_count, sizeof *grown, 16);
        if (grown == NULL) break; /* Without memory to remember it, its space waits for the next recovery. */
        store->dead_streams = grown;
        grown[store->dead_count++] = list[i];
    }
    os_mutex_unlock(&store->streams_lock);
}

int store_streams_take_dead(cairn *store, dead_stream **list, size_t *count) {
    uint64_t oldest = store_snapshots_oldest(store, false);
    size_t kept = 0;
    *count = 0;
    os_mutex_lock(&store->streams_lock);
    *list = malloc((store->dead_count + 1) * sizeof **list);
    for (size_t i = 0; *list != NULL && i < store->dead_count; i++) {
        dead_stream d = store->dead_streams[i];
        if (d.last_snapshot < oldest && d.id >= store->backed_up_below) {
            (*list)[(*count)++] = d;
        } else {
            store->dead_streams[kept++] = d;
        }
    }
    if (*list != NULL) store->dead_count = kept;
    os_mutex_unlock(&store->streams_lock);
    return *list != NULL ? CAIRN_OK : CAIRN_NO_MEMORY;
}

/* No sync of the directory: what a power cut brings back, the next open finds and removes. */
void store_streams_remove(cairn *store, const dead_stream *list, size_t count, uint64_t *freed) {
    for (size_t i = 0; i < count; i++) {
        char name[FILE_NAME_SIZE];
        file_name(name, list[i].id, "val");
        int rc = os_unlink(store->dir, name);
        if (rc == 0) *freed += list[i].file_size;
        if (rc != 0) store_say(store, CAIRN_LOG_WARNING, "cannot remove %s, which no key names any more", name);
        atomic_fetch_sub(&store->dead_stream_bytes, list[i].file_size);
    }
}

void store_streams_remove_dead(cairn *store) {
    uint64_t freed = 0;
    store_streams_remove(store, store->dead_streams, store->dead_count, &freed);
    store->dead_count = 0;
}

/* ---- Which there are ---- */

typedef struct census {
    location *list; /* records that the index names and that name a file */
    size_t count, capacity;
} census;

static int collect_stream(void *ctx, uint64_t hash, location where) {
    census *c = ctx;
    (void)hash;
    if (location_holds(where) != LOCATION_STREAM) return 0;
    location *grown = array_with_room(c->list, &c->capacity, c->count, sizeof *grown, 64);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    c->list = grown;
    c->list[c->count++] = where;
    return 0;
}

static int collect_all(cairn *store, census *c) {
    int rc = CAIRN_OK;
    for (unsigned shard = 0; rc == CAIRN_OK && shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        hash_index_lock(store->index, any_hash);
        rc = hash_index_visit_shard(store->index, shard, collect_stream, c);
        hash_index_unlock(store->index, any_hash);
    }
    return rc;
}

static int read_descriptor(cairn *store, location where, value_descriptor *d, cairn_error *error) {
    vlog_head head;
    epoch_guard guard = epoch_enter(store->readers);
    int rc = vlog_head_read(store->log, where, STORE_HEAD_BYTES, &head, error);
    if (rc == CAIRN_OK) rc = store_descriptor(store, &head, d, error);
    vlog_head_release(&head);
    epoch_exit(store->readers, guard);
    return rc;
}

int store_streams_list(cairn *store, uint64_t **ids, size_t *count, uint64_t *bytes, cairn_error *error) {
    census c = {0};
    *ids = NULL;
    *count = 0;
    *bytes = 0;
    int rc = collect_all(store, &c);
    if (rc == CAIRN_OK && (*ids = malloc((c.count + 1) * sizeof **ids)) == NULL) rc = CAIRN_NO_MEMORY;
    if (rc != CAIRN_OK) rc = status_set(error, rc, "no memory to list the value files");
    *count = c.count;
    for (size_t i = 0; rc == CAIRN_OK && i < c.count; i++) {
        value_descriptor d;
        rc = read_descriptor(store, c.list[i], &d, error);
        if (rc != CAIRN_OK) break;
        (*ids)[i] = d.id;
        *bytes += d.file_size;
    }
    if (rc == CAIRN_OK) ids_sort(*ids, c.count);
    free(c.list);
    return rc;
}

int store_streams_list_all(cairn *store, uint64_t **ids, size_t *count, uint64_t *bytes, cairn_error *error) {
    int rc = store_streams_list(store, ids, count, bytes, error);
    if (rc != CAIRN_OK) return rc;
    hash_index_quiesce(store->index); /* who took one out of the index has told of it */
    os_mutex_lock(&store->streams_lock);
    uint64_t *all = realloc(*ids, (*count + store->dead_count + 1) * sizeof *all);
    if (all != NULL) *ids = all;
    for (size_t i = 0; all != NULL && i < store->dead_count; i++) {
        all[(*count)++] = store->dead_streams[i].id;
        *bytes += store->dead_streams[i].file_size;
    }
    os_mutex_unlock(&store->streams_lock);
    if (all == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to list the value files");
    ids_sort(all, *count);
    return CAIRN_OK;
}

/* ---- After a crash ---- */

static bool is_wanted(void *ctx, uint64_t id) { return id_list_has(ctx, id); }

int store_streams_recount(cairn *store, bool remove, cairn_error *error) {
    uint64_t *ids = NULL, bytes = 0;
    id_list list = {0};
    cairn_error why = {0};
    int rc = store_streams_list(store, &ids, &list.count, &bytes, &why);
    bool known = rc == CAIRN_OK;
    list.ids = ids;
    if (rc == CAIRN_CORRUPT) { /* Whose files are whose cannot be told, so none is removed. */
        store_say(store, CAIRN_LOG_WARNING, "value files are not cleaned up: %s", why.message);
        rc = CAIRN_OK;
    } else if (rc != CAIRN_OK && error != NULL) {
        *error = why;
    }
    atomic_store(&store->streams, list.count);
    atomic_store(&store->stream_bytes, bytes);
    if (rc == CAIRN_OK && remove) rc = vlog_remove_leftovers(store->log, known ? is_wanted : NULL, &list, error);
    free(ids);
    return rc;
}

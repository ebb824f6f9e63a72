/* Value files, and which of them a live record names. A file whose record was superseded is dead at once; it is removed
 * when the last checkpoint no longer names it and nobody can come to read it (reclaim.c, and a clean close), or by the
 * recovery after a crash. */
#include "src/base/array.h"
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
        if (d.last_snapshot < oldest) {
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

/* ---- After a crash ---- */

typedef struct census {
    location *list; /* records that the index names and that name a file */
    size_t count, capacity;
    uint64_t *ids; /* of those files, ascending */
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

static int by_id(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_wanted(void *ctx, uint64_t id) {
    const census *c = ctx;
    return c->count > 0 && bsearch(&id, c->ids, c->count, sizeof id, by_id) != NULL;
}

static int read_ids(cairn *store, census *c, uint64_t *bytes, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < c->count; i++) {
        vlog_head head;
        value_descriptor d;
        epoch_guard guard = epoch_enter(store->readers);
        rc = vlog_head_read(store->log, c->list[i], STORE_HEAD_BYTES, &head, error);
        if (rc == CAIRN_OK) rc = store_descriptor(store, &head, &d, error);
        vlog_head_release(&head);
        epoch_exit(store->readers, guard);
        if (rc != CAIRN_OK) break;
        c->ids[i] = d.id;
        *bytes += d.file_size;
    }
    if (c->count > 0) qsort(c->ids, c->count, sizeof *c->ids, by_id);
    return rc;
}

static bool want_all(void *ctx, uint64_t id) {
    (void)ctx;
    (void)id;
    return true;
}

int store_streams_recount(cairn *store, bool remove, cairn_error *error) {
    census c = {0};
    uint64_t bytes = 0;
    hash_index_lock_all(store->index);
    int rc = hash_index_visit_all(store->index, collect_stream, &c);
    hash_index_unlock_all(store->index);
    if (rc == CAIRN_OK) {
        c.ids = malloc((c.count + 1) * sizeof *c.ids);
        if (c.ids == NULL) rc = CAIRN_NO_MEMORY;
    }
    if (rc != CAIRN_OK) {
        rc = status_set(error, rc, "no memory to count the value files");
        goto done;
    }
    cairn_error why = {0};
    rc = read_ids(store, &c, &bytes, &why);
    bool known = rc == CAIRN_OK;
    if (rc == CAIRN_CORRUPT) { /* Whose files are whose cannot be told, so none is removed. */
        store_say(store, CAIRN_LOG_WARNING, "value files are not cleaned up: %s", why.message);
        rc = CAIRN_OK;
    } else if (rc != CAIRN_OK && error != NULL) {
        *error = why;
    }
    atomic_store(&store->streams, c.count);
    atomic_store(&store->stream_bytes, bytes);
    if (rc == CAIRN_OK && remove) rc = vlog_remove_leftovers(store->log, known ? is_wanted : want_all, &c, error);
done:
    free(c.list);
    free(c.ids);
    return rc;
}

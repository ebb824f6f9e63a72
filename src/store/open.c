/* Opening, creating and closing. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "src/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES_DEFAULT ((uint64_t)256 << 20)
#define SEGMENT_BYTES_MIN ((uint64_t)1 << 20)
#define SYNC_INTERVAL_MS_DEFAULT 200u
#define OPEN_FILES_MAX 256u

static int check_options(cairn_options *o, cairn_error *error) {
    if (o->segment_bytes == 0) o->segment_bytes = SEGMENT_BYTES_DEFAULT;
    if (o->sync_interval_ms == 0) o->sync_interval_ms = SYNC_INTERVAL_MS_DEFAULT;
    if (o->segment_bytes < SEGMENT_BYTES_MIN) return status_set(error, CAIRN_INVALID, "segment_bytes is below 1 MiB");
    if (o->segment_bytes > GRANULE_BYTES * GRANULE_COUNT / 2) {
        return status_set(error, CAIRN_INVALID, "segment_bytes is more than half of the address space");
    }
    o->segment_bytes = round_up(o->segment_bytes, GRANULE_BYTES);
    if (o->read_only && o->create) return status_set(error, CAIRN_INVALID, "create and read_only exclude each other");
    if (o->durability < CAIRN_DURABILITY_DEFAULT || o->durability > CAIRN_DURABILITY_NONE) {
        return status_set(error, CAIRN_INVALID, "unknown durability %d", o->durability);
    }
    if (o->ordered_index < CAIRN_ORDERED_AUTO || o->ordered_index > CAIRN_ORDERED_OFF) {
        return status_set(error, CAIRN_INVALID, "unknown ordered_index %d", o->ordered_index);
    }
    if (o->compression < CAIRN_COMPRESSION_DEFAULT || o->compression > CAIRN_COMPRESSION_ZSTD) {
        return status_set(error, CAIRN_INVALID, "unknown compression %d", o->compression);
    }
    if (o->max_space_amp != 0 && !(o->max_space_amp >= 1.05 && o->max_space_amp <= 1e6)) {
        return status_set(error, CAIRN_INVALID, "max_space_amp is below 1.05, or no number");
    }
    if (!pack_level_valid(o->compression_level)) {
        return status_set(error, CAIRN_INVALID, "zstd has no level %d", o->compression_level);
    }
    return CAIRN_OK;
}

static bool asks_too_much(const cairn *store) {
    return store->options.ordered_index == CAIRN_ORDERED_ON && !ordered_is_built_in();
}

/* Opens and locks the directory; makes none for what is going to be refused. */
static int open_dir(cairn *store, const char *path, cairn_error *error) {
    bool creates = store->options.create && !asks_too_much(store);
    unsigned flags = creates ? OS_CREATE : store->options.read_only ? OS_READ_ONLY : 0;
    int rc = store->os->dir_open(store->os, path, flags, &store->dir);
    if (rc == -ENOENT && store->options.create && !creates) return store_ordered_refuse(error);
    if (rc == -ENOENT) return status_set(error, CAIRN_NO_STORE, "no store at '%.150s': no such directory", path);
    if (rc == -ENOTDIR) return status_set(error, CAIRN_NO_STORE, "no store at '%.150s': not a directory", path);
    if (rc != 0) return status_os(error, rc, "cannot open the directory '%.120s'", path);
    rc = os_dir_lock(store->dir, !store->options.read_only);
    if (rc == -EWOULDBLOCK) {
        return status_set(error, CAIRN_BUSY, "the store '%.150s' is open in another process or handle", path);
    }
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot lock the directory '%.120s'", path);
}

/* A store is made only where there is nothing, but for what an interrupted creation or the file system left. */
static int check_empty(cairn *store, const char *path, cairn_error *error) {
    static const char *const harmless[] = {MANIFEST_NAME, MANIFEST_NEW_NAME, IDENTITY_NEW_NAME, "lost+found"};
    os_names names;
    int rc = os_names_collect(&names, store->dir);
    if (rc != 0) rc = status_os(error, rc, "cannot list '%.120s'", path);
    for (size_t i = 0; rc == CAIRN_OK && i < names.count; i++) {
        bool known = false;
        for (size_t j = 0; j < sizeof harmless / sizeof harmless[0]; j++) {
            known = known || strcmp(names.list[i], harmless[j]) == 0;
        }
        if (known) continue;
        rc = status_set(error, CAIRN_NO_STORE, "'%.100s' is not a store and not empty: it holds '%.60s'", path,
                        names.list[i]);
    }
    os_names_release(&names);
    return rc;
}

static int create(cairn *store, const char *path, cairn_error *error) {
    bool wants_order = store->options.ordered_index != CAIRN_ORDERED_OFF;
    if (asks_too_much(store)) return store_ordered_refuse(error);
    int rc = check_empty(store, path, error);
    if (rc != CAIRN_OK) return rc;
    uint32_t flags = wants_order && ordered_is_built_in() ? IDENTITY_ORDERED : 0;
    rc = identity_make(&store->identity, store->os, flags, error);
    /* The identity comes last: with it, everything else is there. */
    if (rc == CAIRN_OK) rc = vlog_create(store->dir, store->identity.store_id, store->identity.salt, error);
    return rc == CAIRN_OK ? identity_store(&store->identity, store->dir, error) : rc;
}

static int load_or_create(cairn *store, const char *path, bool *created, cairn_error *error) {
    cairn_error why;
    int rc = identity_load(&store->identity, store->dir, &why);
    if (rc == CAIRN_OK && store->options.create_new) {
        return status_set(error, CAIRN_EXISTS, "'%.150s' is already a store", path);
    }
    if (rc == CAIRN_OK) {
        if (store->options.ordered_index != CAIRN_ORDERED_ON) return CAIRN_OK;
        if (asks_too_much(store)) return store_ordered_refuse(error);
        if ((store->identity.flags & IDENTITY_ORDERED) != 0) return CAIRN_OK;
        return status_set(error, CAIRN_UNSUPPORTED, "the store has no ordered index (cairn_index_add)");
    }
    os_file *file = NULL;
    int os_rc = os_file_open(store->dir, IDENTITY_NAME, OS_READ_ONLY, &file);
    if (os_rc == 0) os_file_close(file);
    *created = rc == CAIRN_NO_STORE && os_rc == -ENOENT && store->options.create;
    if (*created) return create(store, path, error);
    if (rc == CAIRN_NO_STORE && os_rc != 0 && os_rc != -ENOENT && os_rc != -EINVAL) {
        return status_os(error, os_rc, "cannot open %s", IDENTITY_NAME);
    }
    if (rc == CAIRN_NO_STORE) return status_set(error, rc, "no store at '%.100s': %.120s", path, why.message);
    if (error != NULL) *error = why;
    return rc;
}

static int packing_of(const cairn_options *o) {
    switch (o->compression) {
    case CAIRN_COMPRESSION_ZSTD:
        return VLOG_PACK_ALWAYS;
    case CAIRN_COMPRESSION_NONE:
        return VLOG_PACK_NEVER;
    default:
        return VLOG_PACK_BY_DICTIONARY;
    }
}

static bool vlog_make_room_for(void *ctx) { return store_make_room(ctx); }
static void vlog_message(void *ctx, int level, const char *message) { store_say(ctx, level, "%s", message); }

static void release_held(void *ctx, location where) {
    const cairn *store = ctx;
    vlog_held_subtract(store->log, where);
}

static int make_memory_parts(cairn *store, cairn_error *error) {
    int rc = epoch_new(&store->readers);
    if (rc == CAIRN_OK) rc = hash_index_new(&store->index, store->readers);
    if (rc == CAIRN_OK) rc = side_table_new(&store->side, store->index, release_held, store);
    if (rc == CAIRN_OK) rc = expiry_new(&store->expiries);
    if (rc == CAIRN_OK && store->options.cache_bytes != 0) {
        rc = value_cache_new(&store->cache, store->readers, store->options.cache_bytes);
    }
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory for the index");
}

/* on_full_disk: makes room first, which is only for a store of which everything is known to be whole. */
static int open_parts(cairn *store, bool on_full_disk, cairn_error *error) {
    int rc = make_memory_parts(store, error);
    if (rc != CAIRN_OK) return rc;
    vlog_options o = {.dir = store->dir,
                      .readers = store->readers,
                      .read_only = store->options.read_only,
                      .salt = store->identity.salt,
                      .secret = store->identity.secret,
                      .hash_mask = store->hash_mask,
                      .segment_bytes = store->options.segment_bytes,
                      .no_windows = store->options.no_mapped_reads,
                      .packing = packing_of(&store->options),
                      .pack_level = store->options.compression_level,
                      .open_files_max = OPEN_FILES_MAX,
                      .log = vlog_message,
                      .log_ctx = store,
                      .make_room = vlog_make_room_for,
                      .room_ctx = store};
    memcpy(o.store_id, store->identity.store_id, sizeof o.store_id);
    rc = vlog_open(&store->log, &o, error);
    if (rc == CAIRN_OK && on_full_disk) rc = vlog_remove_leftovers(store->log, NULL, NULL, error);
    if (rc == CAIRN_OK) rc = checkpoint_open(&store->checkpoint, store->dir, store->options.read_only, error);
    if (rc == CAIRN_OK) rc = store_recover(store, error);
    if (rc != CAIRN_OK) return rc;
    atomic_store(&store->quota_used, vlog_usage_get(store->log).live_bytes + atomic_load(&store->stream_bytes));
    return CAIRN_OK;
}

static void release_parts(cairn *store) {
    if (store->checkpoint != NULL) checkpoint_close(store->checkpoint);
    vlog_close(store->log);
    if (store->cache != NULL) value_cache_free(store->cache);
    if (store->expiries != NULL) expiry_free(store->expiries);
    if (store->side != NULL) side_table_free(store->side);
    if (store->index != NULL) hash_index_free(store->index);
    if (store->readers != NULL) epoch_free(store->readers);
    store->checkpoint = NULL;
    store->log = NULL;
    store->cache = NULL;
    store->expiries = NULL;
    store->side = NULL;
    store->index = NULL;
    store->readers = NULL;
}

/* Recovery writes a little, after it found everything whole. Where there is no room for that, once more with the
 * reserve and without what a compaction left that was cut off. */
static int open_parts_surely(cairn *store, cairn_error *error) {
    int rc = open_parts(store, false, error);
    if (rc != CAIRN_FULL || store->options.read_only) return rc;
    release_parts(store);
    store_reserve_drop(store->dir);
    return open_parts(store, true, error);
}

static void free_store(cairn *store) {
    release_parts(store);
    store_reserve_release(store);
    store_ordered_release(store);
    if (store->dir != NULL) os_dir_close(store->dir);
    os_cond_destroy(&store->upkeep.wake_flusher);
    os_cond_destroy(&store->upkeep.wake_keeper);
    os_cond_destroy(&store->upkeep.wake_compactor);
    os_cond_destroy(&store->upkeep.wake_orderer);
    os_mutex_destroy(&store->upkeep.lock);
    os_mutex_destroy(&store->streams_lock);
    os_mutex_destroy(&store->batches_lock);
    os_mutex_destroy(&store->snapshots_lock);
    os_mutex_destroy(&store->checkpoint_lock);
    os_mutex_destroy(&store->compact_lock);
    os_mutex_destroy(&store->backup_lock);
    store_reclaim_release(store);
    free(store->dead_streams);
    free(store);
}

int store_open_on(cairn **out, os *system, const char *path, const cairn_options *options, uint64_t hash_mask,
                  cairn_error *error) {
    if (out == NULL) return status_set(error, CAIRN_INVALID, "no place for the handle");
    *out = NULL;
    if (path == NULL || path[0] == '\0') return status_set(error, CAIRN_INVALID, "no path");
    cairn *store = calloc(1, sizeof *store);
    if (store == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a store");
    store->os = system;
    store->hash_mask = hash_mask;
    store->fork_generation = os_fork_generation();
    os_mutex_init(&store->backup_lock);
    os_mutex_init(&store->compact_lock);
    os_mutex_init(&store->checkpoint_lock);
    os_mutex_init(&store->snapshots_lock);
    os_mutex_init(&store->batches_lock);
    os_mutex_init(&store->streams_lock);
    os_mutex_init(&store->upkeep.lock);
    store_reserve_init(store);
    os_cond_init(&store->upkeep.wake_flusher);
    os_cond_init(&store->upkeep.wake_keeper);
    os_cond_init(&store->upkeep.wake_compactor);
    os_cond_init(&store->upkeep.wake_orderer);
    bool created = false;
    int rc = store_ordered_init(store);
    if (rc != CAIRN_OK) (void)status_set(error, rc, "no memory for a store");
    if (rc == CAIRN_OK) rc = store_copy_options(&store->options, sizeof store->options, options, error);
    if (rc == CAIRN_OK) rc = check_options(&store->options, error);
    if (rc == CAIRN_OK) rc = open_dir(store, path, error);
    if (rc == CAIRN_OK) rc = load_or_create(store, path, &created, error);
    if (rc == CAIRN_OK) rc = open_parts_surely(store, error);
    if (rc == CAIRN_OK) rc = store_ordered_open(store, created, error);
    if (rc == CAIRN_OK && created) rc = vlog_prepare(store->log, error);
    /* After a crash it may be gone, or lent. */
    bool has_records = rc == CAIRN_OK && vlog_usage_get(store->log).record_bytes > 0;
    if (has_records && !store->options.read_only) (void)store_reserve_keep(store, NULL);
    if (rc == CAIRN_OK) rc = store_upkeep_start(store, error);
    if (rc != CAIRN_OK) {
        free_store(store);
        return rc;
    }
    *out = store;
    return CAIRN_OK;
}

int cairn_open(cairn **out, const char *path, const cairn_options *options, cairn_error *error) {
    return store_open_on(out, os_posix(), path, options, UINT64_MAX, error);
}

/* Everything durable and in the index's checkpoint, so that the next open replays nothing. */
static int close_cleanly(cairn *store) {
    cairn_error error;
    if (store->options.read_only) return CAIRN_OK;
    /* Nothing was written; but what expired may have had a file. */
    if (vlog_untouched(store->log) && !vlog_failed(store->log) && store->dead_count == 0) return CAIRN_OK;
    int rc = vlog_failed(store->log) ? CAIRN_OK : vlog_sync(store->log, vlog_appended_place(store->log), &error);
    if (rc == CAIRN_OK) rc = store_checkpoint(store, true, &error);
    if (rc != CAIRN_OK) {
        store_say(store, CAIRN_LOG_ERROR, "closing: %s", error.message);
        return rc;
    }
    store_streams_remove_dead(store);
    return CAIRN_OK;
}

int cairn_close(cairn *store) {
    if (store == NULL) return CAIRN_INVALID;
    /* In a forked child the locks may be held by threads that do not exist there: nothing is safe to touch. */
    if (store_check(store, NULL) != CAIRN_OK) return CAIRN_FAILED;
    if (atomic_load(&store->children) > 0) return CAIRN_BUSY;
    store_upkeep_stop(store);
    int rc = close_cleanly(store);
    if (rc == CAIRN_OK) store_ordered_settle(store);
    free_store(store);
    return rc;
}

#include "src/base/check.h"
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "src/store/store.h"

#include <errno.h>

/* What the files of the store take on disk. Files come and go meanwhile. */
static int allocated(cairn *store, uint64_t *bytes, cairn_error *error) {
    os_names names;
    *bytes = 0;
    int rc = os_names_collect(&names, store->dir);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        os_file_info info;
        rc = os_info_of(store->dir, names.list[i], &info);
        if (rc == 0) *bytes += info.allocated;
        if (rc == -ENOENT || rc == -EINVAL || rc == -ELOOP) rc = 0;
    }
    os_names_release(&names);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot look at the store's files");
}

int cairn_stats_get(cairn *store, cairn_stats *stats, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc != CAIRN_OK) return rc;
    (void)store_expire(store, SIZE_MAX); /* so that no figure counts what is absent */
    vlog_usage usage = vlog_usage_get(store->log);
    value_cache_stats cache = {0};
    if (store->cache != NULL) value_cache_stats_get(store->cache, &cache);
    uint64_t written_ms = atomic_load(&store->checkpoint_time_ms), now_ms = store->os->clock_ms(store->os);
    cairn_stats s = {
        .keys = hash_index_entries(store->index),
        .live_bytes = usage.live_bytes + atomic_load(&store->stream_bytes),
        .dead_bytes =
            usage.record_bytes - min_u64(usage.live_bytes, usage.record_bytes) + atomic_load(&store->dead_stream_bytes),
        .edge_bytes = vlog_edge_bytes(store->log),
        .pinned_bytes = side_table_pinned_bytes(store->side) + vlog_backup_pinned(store->log),
        .cache_bytes = cache.bytes,
        .cache_hits = cache.hits,
        .cache_misses = cache.misses,
        .expiring_keys = atomic_load(&store->expiring),
        .index_bytes = hash_index_bytes(store->index) + side_table_bytes(store->side) + expiry_bytes(store->expiries) +
                       overlay_bytes(store->ordered.changes),
        .segments = usage.segments + atomic_load(&store->streams),
        .streams = atomic_load(&store->streams),
        .replay_bytes = vlog_appended_bytes(store->log) - atomic_load(&store->covered_bytes),
        .replay_records = vlog_appended_place(store->log) - atomic_load(&store->covered_place),
        .checkpoint_age_ms = written_ms == 0 ? UINT64_MAX : now_ms - min_u64(written_ms, now_ms),
    };
    s.dead_bytes -= min_u64(s.pinned_bytes + s.edge_bytes, s.dead_bytes);
    store_ordered_count(store, &s);
    store_snapshots_count(store, &s.snapshots, &s.snapshot_age_ms, &s.scans);
    rc = allocated(store, &s.allocated_bytes, error);
    return rc == CAIRN_OK ? store_copy_result(stats, &s, sizeof s, error) : rc;
}

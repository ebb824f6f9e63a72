/* Sealed segments as a compaction looks at them, and how they leave the log. See vlog/compacted.h. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/compacted.h"
#include "vlog/log_state.h"

#include <stdlib.h>

/* ---- What there is ---- */

bool vlog_is_held(const segment *s) { return atomic_load(&s->held_bytes) > 0 || atomic_load(&s->holds) > 0; }

static vlog_space space_of(segment *s) {
    return (vlog_space){.segment = s,
                        .id = s->id,
                        .bytes = atomic_load(&s->end) - SEGMENT_DATA_OFFSET - atomic_load(&s->freed),
                        .freed = atomic_load(&s->freed),
                        .live = atomic_load(&s->live),
                        .kept = s->kept,
                        .gaps = s->gaps,
                        .footer_bytes = segment_footer_bytes(s),
                        .first_place = s->first_place,
                        .end_place = s->end_place,
                        .lowest_version = s->lowest_version,
                        .scattered = atomic_load(&s->scattered),
                        .edges = atomic_load(&s->edges),
                        .compacted = s->compacted,
                        .punched = s->punched,
                        .held = vlog_is_held(s),
                        .spoiled = atomic_load(&s->spoiled),
                        .no_holes = atomic_load(&s->no_holes),
                        .shared = atomic_load(&s->shared)};
}

int vlog_space_by_id(const void *a, const void *b) {
    uint64_t x = ((const vlog_space *)a)->id, y = ((const vlog_space *)b)->id;
    return (x > y) - (x < y);
}

int vlog_space_list(vlog *log, vlog_space **list, size_t *count) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    size_t all = vlog_segment_count(log);
    *list = malloc((all + 1) * sizeof **list);
    *count = 0;
    for (size_t i = 0; *list != NULL && i < all; i++) {
        segment *s = vlog_segment_at(log, i);
        if (s->state == SEGMENT_SEALED) (*list)[(*count)++] = space_of(s);
    }
    os_mutex_unlock(&log->append_lock);
    if (*list == NULL) return CAIRN_NO_MEMORY;
    qsort(*list, *count, sizeof **list, vlog_space_by_id);
    return CAIRN_OK;
}

bool vlog_is_empty(const segment *s) { return atomic_load(&s->live) == 0 && !vlog_is_held(s); }

void vlog_note_dead(vlog *log, segment *s, uint64_t scattered, uint64_t edges) {
    atomic_store(&s->scattered, scattered);
    atomic_fetch_add(&log->edge_bytes, edges - atomic_exchange(&s->edges, edges));
}

int vlog_note_shared(vlog *log, segment *s, bool *shared, cairn_error *error) {
    os_file *file = NULL;
    os_file_info info;
    *shared = false;
    if ((atomic_load(&log->features) & FEATURE_BACKUP) == 0) return CAIRN_OK;
    epoch_guard guard = epoch_enter(log->options.readers);
    int rc = segment_file(&log->files, s, &file, error);
    int os_rc = rc == CAIRN_OK ? os_file_info_get(file, &info) : 0;
    epoch_exit(log->options.readers, guard);
    if (os_rc != 0) rc = status_os(error, os_rc, "cannot look at segment %s", segment_name_of(s).text);
    if (rc != CAIRN_OK) return rc;
    *shared = info.links > 1;
    atomic_store(&s->shared, *shared);
    return CAIRN_OK;
}

void vlog_forbid_holes(segment *s) { atomic_store(&s->no_holes, true); }
void vlog_spoil(segment *s) { atomic_store(&s->spoiled, true); }

/* ---- Removing ---- */

/* Maintain lock held. */
static int unlist(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch, cairn_error *error) {
    manifest *m = &log->manifest;
    manifest_segment *rows = malloc((count + 1) * sizeof *rows);
    if (rows == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to remove segments");
    os_mutex_lock(&log->manifest_lock);
    uint64_t reclaimed = m->reclaimed_place, old_epoch = m->reclaim_epoch, features = m->features;
    uint64_t next_granule = m->next_granule;
    manifest_keep_addresses(m);
    for (size_t i = 0; i < count; i++) {
        rows[i] = *manifest_find(m, segments[i]->id);
        if (!segments[i]->compacted) m->reclaimed_place = max_u64(m->reclaimed_place, segments[i]->end_place);
        manifest_remove(m, segments[i]->id);
    }
    m->reclaim_epoch = reclaim_epoch;
    m->features |= FEATURE_COMPACTED;
    int rc = vlog_store_manifest(log, error);
    if (rc != CAIRN_OK) {
        for (size_t i = 0; i < count; i++) {
            manifest_add(m, &rows[i]);
        }
        m->reclaim_epoch = old_epoch;
        m->reclaimed_place = reclaimed;
        m->features = features;
        m->next_granule = next_granule;
    }
    os_mutex_unlock(&log->manifest_lock);
    free(rows);
    return rc;
}

static void take_out(segment **list, size_t *count, const segment *s) {
    size_t i = 0;
    while (i < *count && list[i] != s)
        i++;
    CHECK(i < *count);
    (*count)--;
    for (; i < *count; i++) {
        list[i] = list[i + 1];
    }
}

static void forget(vlog *log, segment *const *segments, size_t count) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    for (size_t i = 0; i < count; i++) {
        segment *s = segments[i];
        CHECK(s->state == SEGMENT_SEALED);
        if (s->compacted) {
            take_out(log->compacted, &log->compacted_count, s);
        } else {
            take_out(log->segments, &log->count, s);
        }
        segment_map_remove(&log->map, s);
    }
    os_mutex_unlock(&log->append_lock);
}

static void remove_file(vlog *log, segment *s, uint64_t *freed) {
    segment_name name = segment_name_of(s);
    segment_files_forget(&log->files, s);
    int rc = os_unlink(log->options.dir, name.text);
    if (rc == 0) *freed += s->sealed_size - atomic_load(&s->freed);
    atomic_fetch_sub(&log->record_bytes, atomic_load(&s->end) - SEGMENT_DATA_OFFSET - atomic_load(&s->freed));
    atomic_fetch_sub(&log->footer_bytes, segment_footer_bytes(s));
    atomic_fetch_sub(&log->edge_bytes, atomic_load(&s->edges));
    if (rc != 0) vlog_say(log, CAIRN_LOG_WARNING, "cannot remove %s, which is not needed any more", name.text);
    segment_free(s);
}

int vlog_remove(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch, void (*wait)(void *ctx),
                void *ctx, uint64_t *freed, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    os_mutex_lock(&log->maintain_lock);
    int rc = unlist(log, segments, count, reclaim_epoch, error);
    if (rc == CAIRN_OK) forget(log, segments, count);
    os_mutex_unlock(&log->maintain_lock);
    if (rc != CAIRN_OK) return rc;
    wait(ctx);
    for (size_t i = 0; i < count; i++) {
        remove_file(log, segments[i], freed);
    }
    return CAIRN_OK;
}

/* The value log's beginning and end: opening, closing, ids, small questions. */
#include "vlog/log.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vlog_say(const vlog *log, int level, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->options.log(log->options.log_ctx, level, text);
}

int vlog_fail(vlog *log) {
    atomic_store(&log->failed, true);
    return CAIRN_FAILED;
}

int vlog_refuse_failed(cairn_error *error) {
    return status_set(error, CAIRN_FAILED, "an earlier sync failed: no more writes until the store is reopened");
}

int vlog_create(os_dir *dir, const uint8_t store_id[16], uint64_t salt, cairn_error *error) {
    manifest m;
    manifest_init(&m, store_id);
    m.next_id = 1;
    m.version_ceiling = 1;
    m.durable_place = 1;
    int rc = manifest_store(&m, dir, salt, NULL, error);
    manifest_release(&m);
    return rc;
}

void vlog_set_end(vlog *log, segment *s, uint64_t end) {
    atomic_fetch_add(&log->record_bytes, end - atomic_load(&s->end));
    atomic_store(&s->end, end);
}

/* What the disk does not hold of a segment with holes. (Not what its footer lists: a power cut may have undone holes.)
 */
static int load_freed(vlog *log, segment *s, cairn_error *error) {
    os_file *file = NULL;
    os_file_info info;
    epoch_guard guard = epoch_enter(log->options.readers);
    int rc = segment_file(&log->files, s, &file, error);
    if (rc == CAIRN_OK) {
        int os_rc = os_file_info_get(file, &info);
        if (os_rc != 0) rc = status_os(error, os_rc, "cannot look at segment %s", segment_name_of(s).text);
    }
    epoch_exit(log->options.readers, guard);
    if (rc != CAIRN_OK) return rc == CAIRN_CORRUPT ? CAIRN_OK : rc; /* is missing: whoever needs it says so */
    uint64_t missing = info.size - min_u64(info.size, info.allocated);
    atomic_store(&s->freed, min_u64(missing, atomic_load(&s->end) - SEGMENT_DATA_OFFSET));
    return CAIRN_OK;
}

static int load_segments(vlog *log, cairn_error *error) {
    for (size_t i = 0; i < log->manifest.count; i++) {
        int rc = vlog_segments_reserve(log, error);
        if (rc == CAIRN_OK) rc = vlog_compacted_reserve(log, error);
        if (rc != CAIRN_OK) return rc;
        segment *s = segment_new(&log->manifest.segments[i], log->options.salt, log->options.no_windows);
        if (s == NULL || segment_map_add(&log->map, s) != CAIRN_OK) {
            segment_free(s);
            return status_set(error, CAIRN_NO_MEMORY, "no memory for %zu segments", log->manifest.count);
        }
        if (s->compacted) {
            log->compacted[log->compacted_count++] = s;
        } else {
            log->segments[log->count++] = s;
        }
        if (s->punched) rc = load_freed(log, s, error);
        if (rc != CAIRN_OK) return rc;
        atomic_fetch_add(&log->record_bytes, atomic_load(&s->end) - SEGMENT_DATA_OFFSET - atomic_load(&s->freed));
        atomic_fetch_add(&log->footer_bytes, segment_footer_bytes(s));
    }
    return CAIRN_OK;
}

int vlog_open(vlog **out, const vlog_options *options, cairn_error *error) {
    *out = NULL;
    vlog *log = calloc(1, sizeof *log);
    if (log == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the value log");
    log->options = *options;
    log->env = (value_file_env){.dir = options->dir,
                                .store_id = log->options.store_id,
                                .salt = options->salt,
                                .refused = &log->values_refused,
                                .make_room = options->make_room,
                                .room_ctx = options->room_ctx};
    os_mutex_init(&log->maintain_lock);
    os_mutex_init(&log->append_lock);
    os_mutex_init(&log->manifest_lock);
    os_mutex_init(&log->sync_lock);
    os_mutex_init(&log->dictionary_lock);
    os_cond_init(&log->prepared);
    os_cond_init(&log->served);
    os_cond_init(&log->sync_done);
    segment_files_init(&log->files, options->dir, options->read_only, options->readers, options->open_files_max);
    footer_builder_init(&log->builder, SEGMENT_DATA_OFFSET);
    manifest_init(&log->manifest, options->store_id);
    int rc = segment_map_init(&log->map);
    if (rc == CAIRN_OK) rc = packer_new(&log->packer);
    log->env.packer = log->packer;
    if (rc != CAIRN_OK) {
        rc = status_set(error, rc, "no memory for the value log");
        goto failed;
    }
    rc = manifest_load(&log->manifest, options->dir, options->store_id, options->salt, error);
    if (rc == CAIRN_NOT_FOUND) rc = status_set(error, CAIRN_CORRUPT, "%s is missing", MANIFEST_NAME);
    if (rc == CAIRN_OK) rc = load_segments(log, error);
    if (rc != CAIRN_OK) goto failed;
    log->next_id = log->manifest.next_id;
    atomic_store(&log->version_ceiling, log->manifest.version_ceiling);
    atomic_store(&log->features, log->manifest.features);
    atomic_store(&log->next_version, log->manifest.version_ceiling);
    atomic_store(&log->next_place, 1);
    atomic_store(&log->durable_place, log->manifest.durable_place);
    vlog_load_current_dictionary(log);
    *out = log;
    return CAIRN_OK;
failed:
    vlog_close(log);
    return rc;
}

void vlog_close(vlog *log) {
    if (log == NULL) return;
    mapped_append_end(&log->mapped);
    for (size_t i = 0; i < vlog_segment_count(log); i++) {
        segment_free(vlog_segment_at(log, i));
    }
    free(log->segments);
    free(log->compacted);
    footer_builder_release(&log->builder);
    manifest_release(&log->manifest);
    segment_map_release(&log->map);
    segment_files_release(&log->files);
    os_cond_destroy(&log->sync_done);
    os_cond_destroy(&log->prepared);
    os_cond_destroy(&log->served);
    vlog_dictionaries_release(log);
    packer_free(log->packer);
    os_mutex_destroy(&log->dictionary_lock);
    os_mutex_destroy(&log->sync_lock);
    os_mutex_destroy(&log->manifest_lock);
    os_mutex_destroy(&log->append_lock);
    os_mutex_destroy(&log->maintain_lock);
    free(log);
}

uint64_t vlog_next_place(vlog *log) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    uint64_t place = atomic_load(&log->next_place);
    os_mutex_unlock(&log->append_lock);
    return place;
}

uint64_t vlog_durable_place(const vlog *log) { return atomic_load(&log->durable_place); }
uint64_t vlog_appended_place(const vlog *log) { return atomic_load(&log->next_place); }
uint64_t vlog_appended_bytes(const vlog *log) { return atomic_load(&log->appended_bytes); }
void vlog_sync_failed(vlog *log) { (void)vlog_fail(log); }
bool vlog_failed(const vlog *log) { return atomic_load(&log->failed); }
const value_file_env *vlog_value_env(const vlog *log) { return &log->env; }

uint64_t vlog_reclaim_epoch(vlog *log) {
    os_mutex_lock(&log->manifest_lock);
    uint64_t reclaim_epoch = log->manifest.reclaim_epoch;
    os_mutex_unlock(&log->manifest_lock);
    return reclaim_epoch;
}

int vlog_new_file_id(vlog *log, uint64_t *id, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    int rc = CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    if (log->next_id == log->manifest.next_id) rc = vlog_store_manifest(log, error);
    if (rc == CAIRN_OK) *id = log->next_id++;
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

/* ---- Accounting ---- */

static uint64_t bytes_of(location where) { return location_units(where) * UNIT_BYTES; }

void vlog_live_add(vlog *log, location where) {
    segment *s = segment_map_find(&log->map, location_address(where));
    uint64_t bytes = bytes_of(where);
    if (s == NULL) return;
    atomic_fetch_add(&s->live, bytes);
    atomic_fetch_add(&log->live_bytes, bytes);
    if (bytes >= RECORD_LARGE_BYTES) atomic_fetch_add(&log->live_large_bytes, bytes);
}

void vlog_live_subtract(vlog *log, location where) {
    segment *s = segment_map_find(&log->map, location_address(where));
    uint64_t bytes = bytes_of(where);
    if (s == NULL) return;
    atomic_fetch_sub(&log->live_bytes, bytes);
    if (bytes >= RECORD_LARGE_BYTES) atomic_fetch_sub(&log->live_large_bytes, bytes);
    if (atomic_load(&s->backed_up)) atomic_fetch_add(&log->backup_pinned, bytes);
    atomic_fetch_sub(&s->live, bytes); /* last: then the segment may go */
}

void vlog_live_clear(vlog *log) {
    for (size_t i = 0; i < vlog_segment_count(log); i++) {
        atomic_store(&vlog_segment_at(log, i)->live, 0);
    }
    atomic_store(&log->live_bytes, 0);
    atomic_store(&log->live_large_bytes, 0);
}

void vlog_held_add(vlog *log, location where) {
    segment *s = segment_map_find(&log->map, location_address(where));
    if (s != NULL) atomic_fetch_add(&s->held_bytes, bytes_of(where));
}

void vlog_held_subtract(vlog *log, location where) {
    segment *s = segment_map_find(&log->map, location_address(where));
    if (s != NULL) atomic_fetch_sub(&s->held_bytes, bytes_of(where));
}

segment *vlog_hold(segment *s) {
    atomic_fetch_add(&s->holds, 1);
    return s;
}

void vlog_release(segment *held) {
    if (held != NULL) atomic_fetch_sub(&held->holds, 1);
}

vlog_usage vlog_usage_get(vlog *log) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    vlog_usage usage = {.segments = vlog_segment_count(log)};
    os_mutex_unlock(&log->append_lock);
    usage.live_bytes = atomic_load(&log->live_bytes);
    usage.record_bytes = atomic_load(&log->record_bytes);
    return usage;
}

uint64_t vlog_backup_pinned(const vlog *log) {
    return atomic_load(&log->backing_up) ? atomic_load(&log->backup_pinned) : 0;
}

uint64_t vlog_live_bytes(const vlog *log) { return atomic_load(&log->live_bytes); }

uint64_t vlog_dead_bytes(const vlog *log) {
    uint64_t live = atomic_load(&log->live_bytes), all = atomic_load(&log->record_bytes);
    return all - min_u64(all, live);
}

uint64_t vlog_edge_bytes(const vlog *log) { return atomic_load(&log->edge_bytes); }
uint64_t vlog_footer_bytes(const vlog *log) { return atomic_load(&log->footer_bytes); }
uint64_t vlog_ahead_bytes(const vlog *log) { return max_u64(ahead_bytes(&log->ahead), MAPPED_STEP_BYTES); }
uint64_t vlog_output_under_way(const vlog *log) { return atomic_load(&log->output_bytes); }
uint64_t vlog_live_large_bytes(const vlog *log) { return atomic_load(&log->live_large_bytes); }

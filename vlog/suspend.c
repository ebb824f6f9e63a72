/* A clean close and the open after it: the log's state as bytes in the caller's checkpoint, so that nothing is
 * replayed.
 *
 * The bytes are worth something only as long as the manifest has the sequence that they name: the first write of the
 * next session replaces it. They lie under the checkpoint's checksum; here they are only bounded.
 */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUSPEND_VERSION 2u /* 1 had no large bytes; what it left is replayed as after a crash */
#define SUSPEND_FIXED 120u
#define SUSPEND_ROW 16u
/* A longer footer under way is written out instead, so that many short sessions do not copy it again and again. */
#define FOOTER_KEPT_MAX ((size_t)64 << 10)

static int cut_active(vlog *log, cairn_error *error) {
    os_file *file = NULL;
    int rc = segment_file(&log->files, log->active, &file, error);
    mapped_append_end(&log->mapped);
    if (rc == CAIRN_OK) ahead_cut(log->active, file, atomic_load(&log->active->end));
    return rc;
}

/* Leaves an active segment with a short footer under way, or none, and nothing written ahead; all synced. */
static int settle(vlog *log, cairn_error *error) {
    int rc = CAIRN_OK;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    if (log->active != NULL) {
        rc = log->builder.size > FOOTER_KEPT_MAX ? vlog_finish_active(log, error) : cut_active(log, error);
    }
    os_mutex_unlock(&log->append_lock);
    if (rc == CAIRN_OK) rc = vlog_sync_files(log, error);
    return rc == CAIRN_OK ? vlog_maintain(log, error) : rc;
}

static void encode(const vlog *log, uint8_t *p) {
    const footer_builder *b = &log->builder;
    memset(p, 0, SUSPEND_FIXED);
    le32_put(p, SUSPEND_VERSION);
    le64_put(p + 8, log->manifest.sequence);
    le64_put(p + 16, atomic_load(&log->next_place));
    le64_put(p + 24, atomic_load(&log->next_version));
    le64_put(p + 32, log->active == NULL ? 0 : log->active->id);
    le64_put(p + 40, log->active == NULL ? 0 : atomic_load(&log->active->end));
    le64_put(p + 48, vlog_segment_count(log));
    le64_put(p + 56, b->count);
    le64_put(p + 64, b->first_place);
    le64_put(p + 72, b->end_place);
    le64_put(p + 80, b->lowest_version);
    le64_put(p + 88, b->highest_version);
    le64_put(p + 96, b->previous_version);
    le64_put(p + 104, b->size);
    le64_put(p + 112, atomic_load(&log->live_large_bytes));
    p += SUSPEND_FIXED;
    for (size_t i = 0; i < vlog_segment_count(log); i++, p += SUSPEND_ROW) {
        le64_put(p, vlog_segment_at(log, i)->id);
        le64_put(p + 8, atomic_load(&vlog_segment_at(log, i)->live));
    }
    if (b->size > 0) memcpy(p, b->bytes, b->size);
}

int vlog_suspend(vlog *log, uint8_t **out, size_t *size, cairn_error *error) {
    *out = NULL;
    int rc = settle(log, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    *size = SUSPEND_FIXED + vlog_segment_count(log) * SUSPEND_ROW + log->builder.size;
    *out = malloc(*size);
    if (*out != NULL) encode(log, *out);
    os_mutex_unlock(&log->append_lock);
    return *out != NULL ? CAIRN_OK : status_set(error, CAIRN_NO_MEMORY, "no memory to close the log");
}

/* Every open segment of the manifest is the active one with its length, or empty. 1, 0, or a code. */
static int check_open_segments(vlog *log, uint64_t active_id, uint64_t active_end, cairn_error *error) {
    for (size_t i = 0; i < log->count; i++) {
        segment *s = log->segments[i];
        if (s->state == SEGMENT_SEALED) {
            if (s->id == active_id) return 0;
            continue;
        }
        os_file *file = NULL;
        os_file_info info;
        atomic_store(&s->pinned, true);
        int rc = segment_file(&log->files, s, &file, error);
        if (rc == CAIRN_OK) rc = segment_check_header(s, file, log->options.store_id, error);
        if (rc != CAIRN_OK) return rc == CAIRN_CORRUPT ? 0 : rc;
        int os_rc = os_file_info_get(file, &info);
        if (os_rc != 0) return status_os(error, os_rc, "cannot look at a segment");
        if (s->id == active_id) {
            if (active_end < SEGMENT_DATA_OFFSET || active_end > segment_capacity(s)) return 0;
            log->active = s;
        } else if (log->spare == NULL && i == log->count - 1) {
            log->spare = s;
        } else {
            return 0;
        }
        if (info.size != (s->id == active_id ? active_end : SEGMENT_DATA_OFFSET)) return 0;
    }
    return active_id == 0 ? log->active == NULL : log->active != NULL;
}

static int restore_builder(vlog *log, const uint8_t *p, uint64_t size, cairn_error *error) {
    footer_builder *b = &log->builder;
    if (footer_builder_restore(b, p + SUSPEND_FIXED + vlog_segment_count(log) * SUSPEND_ROW, size) != CAIRN_OK)
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    b->count = le64_get(p + 56);
    b->first_place = le64_get(p + 64);
    b->end_place = le64_get(p + 72);
    b->lowest_version = le64_get(p + 80);
    b->highest_version = le64_get(p + 88);
    b->previous_version = le64_get(p + 96);
    b->next_offset = log->active == NULL ? SEGMENT_DATA_OFFSET : le64_get(p + 40);
    return CAIRN_OK;
}

/* The counters fit each other and the manifest, so that appending goes on from them. */
static bool counters_fit(const vlog *log, const uint8_t *p) {
    uint64_t next_place = le64_get(p + 16), next_version = le64_get(p + 24);
    if (next_place == 0 || next_place >= COUNTER_LIMIT) return false;
    if (next_version == 0 || next_version > atomic_load(&log->version_ceiling)) return false;
    if (le64_get(p + 32) == 0) return le64_get(p + 56) == 0 && le64_get(p + 104) == 0; /* no segment, no footer */
    return le64_get(p + 64) <= le64_get(p + 72) && le64_get(p + 72) <= next_place && le64_get(p + 88) < next_version;
}

static bool plausible(const vlog *log, const uint8_t *p, size_t size) {
    size_t count = vlog_segment_count(log);
    if (size < SUSPEND_FIXED || le32_get(p) != SUSPEND_VERSION) return false;
    if (le64_get(p + 8) != log->manifest.sequence || le64_get(p + 48) != count) return false;
    if (count > (size - SUSPEND_FIXED) / SUSPEND_ROW) return false;
    if (size - SUSPEND_FIXED - count * SUSPEND_ROW != le64_get(p + 104)) return false;
    for (size_t i = 0; i < count; i++) {
        if (le64_get(p + SUSPEND_FIXED + i * SUSPEND_ROW) != vlog_segment_at(log, i)->id) return false;
    }
    return counters_fit(log, p);
}

int vlog_resume(vlog *log, const uint8_t *p, size_t size, cairn_error *error) {
    if (!plausible(log, p, size)) return CAIRN_NOT_FOUND;
    int rc = check_open_segments(log, le64_get(p + 32), le64_get(p + 40), error);
    if (rc == 1)
        rc = restore_builder(log, p, le64_get(p + 104), error);
    else if (rc == 0)
        rc = CAIRN_NOT_FOUND;
    if (rc != CAIRN_OK) {
        log->active = log->spare = NULL;
        return rc;
    }
    if (log->active != NULL) {
        vlog_set_end(log, log->active, le64_get(p + 40));
        vlog_set_target(log, log->active);
    }
    for (size_t i = 0; i < vlog_segment_count(log); i++) {
        uint64_t live = le64_get(p + SUSPEND_FIXED + i * SUSPEND_ROW + 8);
        atomic_store(&vlog_segment_at(log, i)->live, live);
        atomic_fetch_add(&log->live_bytes, live);
    }
    atomic_store(&log->live_large_bytes, le64_get(p + 112));
    atomic_store(&log->next_place, le64_get(p + 16));
    atomic_store(&log->durable_place, le64_get(p + 16));
    atomic_store(&log->next_version, le64_get(p + 24));
    log->resumed_sequence = log->manifest.sequence;
    return CAIRN_OK;
}

bool vlog_untouched(vlog *log) {
    os_mutex_lock(&log->manifest_lock);
    bool untouched = log->resumed_sequence != 0 && log->resumed_sequence == log->manifest.sequence;
    os_mutex_unlock(&log->manifest_lock);
    return untouched;
}

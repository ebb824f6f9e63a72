/* Group commit: one leader syncs for all that wait.
 *
 * A leader takes the end of the log, then syncs the segments that hold anything before it, oldest first, and only then
 * moves the durable place: so what is durable is always a prefix. A segment that has its footer is synced a last time
 * and never again.
 */
#include "src/base/status.h"
#include "vlog/log_state.h"

/* The oldest segment up to `last` that has something to sync, or NULL. Append lock held. */
static segment *next_to_sync(const vlog *log, const segment *after, uint64_t last) {
    size_t i = log->count;
    while (i > 0 && log->segments[i - 1]->state == SEGMENT_OPEN)
        i--;
    for (; i < log->count && log->segments[i]->id <= last; i++) {
        segment *s = log->segments[i];
        if (after != NULL && s->id <= after->id) continue;
        if (!s->synced && atomic_load(&s->end) > SEGMENT_DATA_OFFSET) return s;
    }
    return NULL;
}

static int sync_segment(vlog *log, segment *s, bool full, cairn_error *error) {
    os_file *file = NULL;
    int rc = segment_file(&log->files, s, &file, error);
    if (rc != CAIRN_OK) return rc;
    /* A failure leaves blocks beyond the end allocated; the sync tells of writes that failed meanwhile. */
    if (full) (void)os_file_truncate(file, s->sealed_size);
    int os_rc = os_file_sync(file);
    if (os_rc != 0) {
        (void)vlog_fail(log);
        rc = status_os(error, os_rc, "cannot sync segment %s: no more writes until the store is reopened",
                       segment_name_of(s).text);
        if (error != NULL) error->segment = s->id;
        return rc;
    }
    if (!full) return CAIRN_OK;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    s->synced = true;
    atomic_store(&log->due, true); /* may be sealed */
    os_mutex_unlock(&log->append_lock);
    return CAIRN_OK;
}

/* The oldest segment that has something to write, of those up to `*last`, the newest one now. What was copied into a
 * mapping leaves it before it is written. Append lock held. */
static segment *first_to_write(vlog *log, uint64_t *last) {
    *last = log->count == 0 ? 0 : log->segments[log->count - 1]->id;
    if (log->active != NULL) mapped_append_leave(&log->mapped, log->active);
    return next_to_sync(log, NULL, *last);
}

/* Makes everything that is appended at the time of the call durable; *target is behind it. */
static int lead(vlog *log, uint64_t *target, cairn_error *error) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    *target = atomic_load(&log->next_place);
    ahead_learn(&log->ahead, atomic_load(&log->appended_bytes));
    uint64_t last;
    segment *s = first_to_write(log, &last);
    bool full = s != NULL && segment_full(s);
    os_mutex_unlock(&log->append_lock);
    while (s != NULL) {
        int rc = sync_segment(log, s, full, error);
        if (rc != CAIRN_OK) return rc;
        os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
        s = next_to_sync(log, s, last);
        full = s != NULL && segment_full(s);
        os_mutex_unlock(&log->append_lock);
    }
    return CAIRN_OK;
}

/* Waits for the leader there is, or leads. Sync lock held; released meanwhile. */
static int take_turn(vlog *log, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    if (log->syncing) {
        os_cond_wait(&log->sync_done, &log->sync_lock);
        return CAIRN_OK;
    }
    log->syncing = true;
    os_mutex_unlock(&log->sync_lock);
    uint64_t target = 0;
    int rc = lead(log, &target, error);
    os_mutex_lock(&log->sync_lock);
    log->syncing = false;
    if (rc == CAIRN_OK && atomic_load(&log->durable_place) < target) atomic_store(&log->durable_place, target);
    os_cond_broadcast(&log->sync_done);
    return rc;
}

/* The step behind it is still being filled, and mapped. */
static uint64_t write_back_end(const segment *s) { return segment_full(s) ? s->sealed_size : mapped_append_left(s); }

/* The next segment is to be made, or is being made, which takes long where the device is busy. Append lock held. */
static bool is_next_wanted(const vlog *log) { return log->preparing || vlog_spare_is_due(log); }

bool vlog_write_back(vlog *log) {
    epoch_guard guard = epoch_enter(log->options.readers); /* what is sealed meanwhile may go */
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    uint64_t last;
    bool gives_way = false;
    for (segment *s = first_to_write(log, &last); s != NULL; s = next_to_sync(log, s, last)) {
        gives_way = is_next_wanted(log);
        if (gives_way) break;
        uint64_t from = s->written_back, end = write_back_end(s);
        os_file *file;
        if (end <= from || segment_file(&log->files, s, &file, NULL) != CAIRN_OK) continue;
        s->written_back = end;
        os_mutex_unlock(&log->append_lock);
        (void)os_file_flush(file, from, end - from); /* the sync tells of failures */
        os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    }
    os_mutex_unlock(&log->append_lock);
    epoch_exit(log->options.readers, guard);
    return !gives_way;
}

int vlog_sync(vlog *log, uint64_t place, cairn_error *error) {
    int rc = CAIRN_OK;
    os_mutex_lock(&log->sync_lock);
    while (rc == CAIRN_OK && atomic_load(&log->durable_place) < place) {
        rc = take_turn(log, error);
    }
    os_mutex_unlock(&log->sync_lock);
    return rc;
}

int vlog_sync_files(vlog *log, cairn_error *error) {
    os_mutex_lock(&log->sync_lock);
    while (log->syncing) {
        os_cond_wait(&log->sync_done, &log->sync_lock);
    }
    int rc = take_turn(log, error);
    os_mutex_unlock(&log->sync_lock);
    return rc;
}

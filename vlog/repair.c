/* Making the found end of the log durable. Order matters: first the content of what stays (in place, the same bytes, so
 * that a crash finds the same end again), then the manifest, then the removal of what went. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/recover.h"

#include <stdlib.h>

/* After a failed sync the page cache may call pages clean that never reached the disk; writing them again makes them
 * dirty, so that the sync below covers them. */
static int rewrite_doubtful(recovery *r, const tail *t) {
    for (uint64_t at = t->doubtful; at < t->end;) {
        size_t piece = min_u64(IO_PIECE_BYTES, t->end - at), got = 0;
        int rc = os_file_read(t->file, r->scratch, piece, at, &got);
        if (rc == 0) rc = os_file_write(t->file, r->scratch, got, at);
        if (rc != 0) return rc;
        if (got < piece) break; /* cannot be: these bytes were read a moment ago */
        at += piece;
    }
    return 0;
}

/* Rewrites, cuts and seals one open segment that keeps records. */
static int finish_tail(recovery *r, tail *t, cairn_error *error) {
    segment *s = t->segment;
    const uint8_t *footer = NULL;
    size_t size = 0;
    int rc = footer_build(&t->builder, s->seed, &footer, &size, &s->trailer_checksum);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory for a footer");
    int os_rc = rewrite_doubtful(r, t);
    if (os_rc == 0) os_rc = os_file_write(t->file, footer, size, t->end);
    if (os_rc == 0) os_rc = os_file_truncate(t->file, t->end + size);
    if (os_rc == 0) os_rc = os_file_sync(t->file);
    if (os_rc != 0) {
        return status_os(error, os_rc, "cannot repair the end of segment %s", segment_name_of(s).text);
    }
    vlog_set_end(r->log, s, t->end);
    s->sealed_size = t->end + size;
    atomic_fetch_add(&r->log->footer_bytes, size);
    s->first_place = t->builder.first_place;
    s->end_place = t->builder.end_place;
    s->lowest_version = t->builder.lowest_version;
    s->synced = true;
    return CAIRN_OK;
}

static int store_result(recovery *r, cairn_error *error) {
    vlog *log = r->log;
    atomic_store(&log->durable_place, r->next_place);
    os_mutex_lock(&log->manifest_lock);
    for (size_t i = 0; i < r->tail_count; i++) {
        segment *s = r->tails[i].segment;
        if (s->synced) {
            vlog_manifest_seal(log, s);
        } else {
            manifest_remove(&log->manifest, s->id);
        }
    }
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    if (rc == CAIRN_OK) log->started = true;
    return rc;
}

int vlog_repair(recovery *r, cairn_error *error) {
    vlog *log = r->log;
    if (r->tail_count == 0) return CAIRN_OK;
    for (size_t i = 0; i < r->tail_count; i++) {
        if (r->tails[i].end == SEGMENT_DATA_OFFSET) continue;
        int rc = finish_tail(r, &r->tails[i], error);
        if (rc != CAIRN_OK) return rc;
    }
    int rc = store_result(r, error);
    if (rc != CAIRN_OK) return rc;
    for (size_t i = 0; i < r->tail_count; i++) {
        segment *s = r->tails[i].segment;
        if (s->synced) {
            s->state = SEGMENT_SEALED;
            atomic_store(&s->pinned, false);
            continue;
        }
        segment_name name = segment_name_of(s);
        vlog_segments_remove(log, s);
        int os_rc = os_unlink(log->options.dir, name.text); /* otherwise a leftover of the next open */
        if (os_rc != 0) vlog_say(log, CAIRN_LOG_WARNING, "cannot remove %s", name.text);
    }
    int os_rc = os_dir_sync(log->options.dir);
    return os_rc == 0 ? CAIRN_OK : status_os(error, os_rc, "cannot sync the store's directory");
}

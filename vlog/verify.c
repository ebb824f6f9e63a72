/* Reading everything: headers, records, footers. Damage is reported and counted, and the walk goes on behind it. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/entries.h"
#include "vlog/log_state.h"
#include "vlog/walk.h"

#include <stdlib.h>

typedef struct checker {
    vlog *log;
    vlog_verify *v;
    segment *segment;
    os_file *file;
    uint64_t end; /* of the records that are verified */
    bool sealed;
    uint8_t *scratch; /* IO_PIECE_BYTES */
} checker;

/* Counts and reports damage: CAIRN_OK. Passes every other failure on. */
static int report(checker *c, int rc, const cairn_error *what, const vlog_head *head, cairn_error *error) {
    if (rc != CAIRN_CORRUPT) {
        if (rc != CAIRN_OK && error != NULL) *error = *what;
        return rc;
    }
    c->v->damaged++;
    c->v->damage(c->v->ctx, what, head != NULL ? vlog_head_key(head) : NULL, head != NULL ? head->header.key_size : 0);
    return CAIRN_OK;
}

static int advance(checker *c, uint64_t bytes, cairn_error *error) {
    c->v->bytes += bytes;
    if (c->v->progress(c->v->ctx, bytes) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_CANCELLED, "verification was cancelled");
}

static int verify_record(checker *c, const walker *w, cairn_error *error) {
    cairn_error what = {0};
    vlog_head head = {.header = w->header,
                      .segment = c->segment,
                      .file = c->file,
                      .offset = w->offset,
                      .bytes = (uint8_t *)(uintptr_t)w->bytes,
                      .have = w->header.header_size};
    int rc = CAIRN_OK;
    c->v->records++;
    for (uint64_t done = 0, size = record_content_size(&w->header); rc == CAIRN_OK && done < size;) {
        uint64_t piece = min_u64(IO_PIECE_BYTES, size - done);
        rc = vlog_payload_read(c->log, &head, c->scratch, piece, done, &what);
        done += piece;
    }
    if (rc == CAIRN_OK && w->header.type == RECORD_STREAM) {
        location_kind kind = vlog_kind_of(w->header.type, w->header.flags);
        location where = segment_location(c->segment, w->offset, w->header.units, kind);
        rc = c->v->stream(c->v->ctx, where, &head, &what);
    }
    rc = report(c, rc, &what, w->header.type == RECORD_SKIP ? NULL : &head, error);
    return rc == CAIRN_OK ? advance(c, w->next - w->offset, error) : rc;
}

static int verify_records(checker *c, cairn_error *error) {
    walker w;
    int rc = walker_init(&w, c->segment, c->file, SEGMENT_DATA_OFFSET, c->end, error);
    if (rc != CAIRN_OK) return rc;
    while (w.next < c->end) {
        rc = walker_next(&w, error);
        if (rc == 0) {
            cairn_error what;
            rc = vlog_damaged(&what, c->segment, w.offset, NULL, "a record is damaged or missing");
            rc = report(c, rc, &what, NULL, error);
            if (rc == CAIRN_OK) rc = walker_resync(&w, error);
            if (rc == 0) break;
        }
        if (rc == 1) rc = verify_record(c, &w, error);
        if (rc != CAIRN_OK) break;
    }
    walker_release(&w);
    return rc;
}

/* By the entries of the footer, which says what was freed. 1: done; 0: the footer is damaged, and that is reported. */
static int verify_by_footer(checker *c, cairn_error *error) {
    cairn_error what = {0};
    entry_cursor entries;
    walker w = {0};
    uint64_t footer_bytes = 0;
    int rc = entry_cursor_open(&entries, c->log, c->segment, &what);
    bool whole = rc == CAIRN_OK && entry_cursor_has_footer(&entries);
    if (rc == CAIRN_OK && !whole) rc = vlog_damaged(&what, c->segment, c->end, NULL, "the footer is damaged");
    rc = report(c, rc, &what, NULL, error);
    if (rc == CAIRN_OK && whole) {
        footer_bytes = entries.reader.trailer.entries_size + FOOTER_TRAILER_BYTES;
        rc = walker_init(&w, c->segment, c->file, SEGMENT_DATA_OFFSET, c->end, error);
    }
    while (rc == CAIRN_OK && whole && entry_cursor_next(&entries, NULL) == 1) {
        if (entries.entry.type == RECORD_FREED) continue;
        w.next = entries.entry.offset;
        rc = walker_next(&w, error);
        if (rc == 0) {
            rc = vlog_damaged(&what, c->segment, w.offset, NULL, "a record is damaged or missing");
            rc = report(c, rc, &what, NULL, error);
        } else if (rc == 1) {
            rc = verify_record(c, &w, error);
        }
    }
    if (rc == CAIRN_OK && whole) rc = advance(c, footer_bytes, error);
    walker_release(&w);
    entry_cursor_close(&entries);
    return rc == CAIRN_OK ? whole : rc;
}

static int verify_segment(checker *c, cairn_error *error) {
    cairn_error what = {0};
    int rc = segment_file(&c->log->files, c->segment, &c->file, &what);
    if (rc != CAIRN_OK) return report(c, rc, &what, NULL, error);
    rc = segment_check_header(c->segment, c->file, c->log->options.store_id, &what);
    rc = report(c, rc, &what, NULL, error);
    if (rc == CAIRN_OK && c->sealed) rc = verify_by_footer(c, error);
    if (rc != CAIRN_OK) return rc == 1 ? CAIRN_OK : rc;
    return verify_records(c, error);
}

/* Takes what is to be verified of the segment with the least id above `after`; false: there is none. The caller is
 * inside the epoch, so that the segment stays. */
static bool take_segment(checker *c, uint64_t after) {
    c->segment = NULL;
    os_mutex_lock_eagerly(&c->log->append_lock, &c->log->append_sleepers);
    for (size_t i = 0; i < vlog_segment_count(c->log); i++) {
        segment *s = vlog_segment_at(c->log, i);
        if (s->id > after && (c->segment == NULL || s->id < c->segment->id)) c->segment = s;
    }
    if (c->segment != NULL) {
        c->end = atomic_load(&c->segment->end);
        c->sealed = c->segment->state == SEGMENT_SEALED;
    }
    os_mutex_unlock(&c->log->append_lock);
    return c->segment != NULL;
}

int vlog_verify_all(vlog *log, vlog_verify *verify, cairn_error *error) {
    checker c = {.log = log, .v = verify, .scratch = malloc(IO_PIECE_BYTES)};
    if (c.scratch == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to verify");
    int rc = CAIRN_OK;
    bool there = true;
    for (uint64_t id = 0; rc == CAIRN_OK && there;) {
        epoch_guard guard = epoch_enter(log->options.readers);
        there = take_segment(&c, id);
        if (there) {
            id = c.segment->id;
            /* One without records may be dropped at any moment and is not touched. */
            if (c.end != SEGMENT_DATA_OFFSET) rc = verify_segment(&c, error);
        }
        epoch_exit(log->options.readers, guard);
    }
    free(c.scratch);
    return rc;
}

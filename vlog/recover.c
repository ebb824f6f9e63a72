/* Recovery: what the log holds from a place on, and where it ends. vlog/FORMAT.md tells the four steps and why a prefix
 * survives. Nothing is written before everything has been read and found consistent; what is then written is
 * repair.c's. */
#include "vlog/recover.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"
#include "vlog/walk.h"

#include <stdlib.h>

/* A record as a footer or its header tells it. */
static vlog_event event_of(const segment *s, const footer_entry *e) {
    return (vlog_event){.hash = e->hash.index,
                        .place = e->place,
                        .where = segment_location(s, e->offset, e->units, vlog_kind_of(e->type, e->flags)),
                        .expires_at_ms = e->expires_at_ms,
                        .type = e->type,
                        .flags = e->flags};
}

/* Building the index from segments of which some are gone: then parts of batches are, that were moved or dead. */
static bool has_gaps(const recovery *r) { return r->start.place == 0 && r->log->manifest.reclaim_epoch != 0; }

static int deliver_batch(recovery *r, const segment *s, const footer_entry *e, cairn_error *error) {
    held_batch b = {0};
    bool all = held_take(&r->held, e->batch, &b) && b.count == e->parts;
    if (!all && !has_gaps(r)) {
        free(b.parts);
        return vlog_damaged(error, s, e->offset, NULL, "parts of a batch are missing before its COMMIT");
    }
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < b.count; i++) {
        rc = r->apply(r->ctx, &b.parts[i], error);
    }
    free(b.parts);
    return rc;
}

/* What compaction has moved has no place in the append order. Where the index is built from the log alone it is put in
 * by version, before what is newer. (A replay behind a checkpoint has no use for it: vlog/FORMAT.md, "Compaction".) */
static int deliver_moved(recovery *r, uint64_t below, cairn_error *error) {
    const entry_cursor *c;
    uint64_t version;
    int rc;
    while ((rc = entry_merge_peek(&r->moved, &version, error)) == CAIRN_OK && version < below) {
        rc = entry_merge_next(&r->moved, &c, error);
        if (rc != 1) break;
        vlog_event event = event_of(c->segment, &c->entry);
        r->result->records++;
        r->result->bytes += c->entry.units * UNIT_BYTES;
        rc = r->apply(r->ctx, &event, error);
        if (rc != CAIRN_OK) break;
    }
    return rc;
}

static int hold_part(recovery *r, const footer_entry *e, const vlog_event *event) {
    int rc = held_add(&r->held, e->batch, e->replaces, event);
    return rc == CAIRN_CORRUPT && e->replaces != 0 && has_gaps(r) ? held_add(&r->held, e->batch, 0, event) : rc;
}

static int deliver(recovery *r, const segment *s, const footer_entry *e, cairn_error *error) {
    if (record_is_nothing(e->type) || e->place < r->start.place) return CAIRN_OK;
    int moved = deliver_moved(r, e->version, error);
    if (moved != CAIRN_OK) return moved;
    /* A batch that began before the start was over when the checkpoint began. */
    if (e->batch != 0 && e->batch < r->start.place) return CAIRN_OK;
    vlog_event event = event_of(s, e);
    r->result->records++;
    r->result->bytes += e->units * UNIT_BYTES;
    if (e->type == RECORD_COMMIT) return deliver_batch(r, s, e, error);
    if (e->batch == 0) return r->apply(r->ctx, &event, error);
    int rc = hold_part(r, e, &event);
    if (rc == CAIRN_NO_MEMORY) return status_set(error, rc, "no memory to replay a batch");
    return rc == CAIRN_OK ? rc
                          : vlog_damaged(error, s, e->offset, NULL, "a part of a batch is missing before a record");
}

/* ---- Sealed segments ---- */

static int replay_sealed(recovery *r, segment *s, cairn_error *error) {
    entry_cursor c;
    int rc = entry_cursor_open(&c, r->log, s, error);
    while (rc == CAIRN_OK && (rc = entry_cursor_next(&c, error)) == 1) {
        rc = deliver(r, s, &c.entry, error);
    }
    entry_cursor_close(&c);
    return rc;
}

/* ---- Open segments ---- */

static void note_break(recovery *r, const segment *s, uint64_t offset) {
    if (r->broken != NULL) return;
    r->broken = s;
    r->broken_at = offset;
}

/* The last byte that is not zero is before *end. What was only written ahead is no torn tail. */
static int find_content_end(recovery *r, const walker *w, uint64_t *end, cairn_error *error) {
    for (uint64_t at = w->offset; at < w->limit;) {
        size_t got = 0;
        int rc = os_file_read(w->file, r->scratch, min_u64(IO_PIECE_BYTES, w->limit - at), at, &got);
        if (rc != 0) return status_os(error, rc, "cannot read segment %s", segment_name_of(w->segment).text);
        if (got == 0) break;
        for (size_t i = got; i > 0; i--) {
            if (r->scratch[i - 1] == 0) continue;
            *end = at + i;
            break;
        }
        at += got;
    }
    return CAIRN_OK;
}

/* What lies behind the last valid record: how far the headers there say that the log was durable. */
static int survey_rest(recovery *r, walker *w, cairn_error *error) {
    footer_trailer t;
    os_file_info info;
    int os_rc = os_file_info_get(w->file, &info);
    if (os_rc != 0) return status_os(error, os_rc, "cannot look at a segment");
    int rc = vlog_read_trailer(w->segment, w->file, info.size, &t, error);
    if (rc < 0) return rc;
    if (rc == 1 && t.entries_offset == w->offset) return CAIRN_OK;
    uint64_t end = w->offset;
    rc = find_content_end(r, w, &end, error);
    if (rc != CAIRN_OK || end == w->offset) return rc;
    note_break(r, w->segment, w->offset);
    r->result->trimmed += end - w->offset;
    while ((rc = walker_resync(w, error)) == 1) {
        r->durable = max_u64(r->durable, w->header.durable_place);
        while ((rc = walker_next(w, error)) == 1) {
            r->durable = max_u64(r->durable, w->header.durable_place);
        }
        if (rc < 0) break;
    }
    return rc;
}

/* Finds how far the places run on, and the known durable place. */
static int survey(recovery *r, tail *t, cairn_error *error) {
    walker w;
    segment *s = t->segment;
    int rc = segment_file(&r->log->files, s, &t->file, error);
    if (rc == CAIRN_OK) rc = segment_check_header(s, t->file, r->log->options.store_id, error);
    if (rc != CAIRN_OK) return rc;
    rc = walker_init(&w, s, t->file, SEGMENT_DATA_OFFSET, UINT64_MAX, error);
    if (rc != CAIRN_OK) return rc;
    uint64_t lost = 0;
    while ((rc = walker_next(&w, error)) == 1) {
        r->durable = max_u64(r->durable, w.header.durable_place);
        if (lost == 0 && w.header.place == r->expected) {
            r->expected++;
            t->end = w.next;
            r->last = t;
        } else {
            /* What is missing would stand behind the last one that runs on. */
            note_break(r, r->last != NULL ? r->last->segment : s, r->last != NULL ? r->last->end : SEGMENT_DATA_OFFSET);
            lost += w.next - w.offset;
        }
    }
    if (rc == 0) rc = survey_rest(r, &w, error);
    r->result->trimmed += lost;
    walker_release(&w);
    return rc;
}

static int survey_all(recovery *r, cairn_error *error) {
    vlog *log = r->log;
    for (size_t i = 0; i < log->count; i++) {
        segment *s = log->segments[i];
        if (s->state == SEGMENT_SEALED) {
            r->expected = max_u64(r->expected, s->end_place);
            continue;
        }
        atomic_store(&s->pinned, true);
        tail *t = &r->tails[r->tail_count++];
        *t = (tail){.segment = s, .end = SEGMENT_DATA_OFFSET, .doubtful = UINT64_MAX};
        footer_builder_init(&t->builder, SEGMENT_DATA_OFFSET);
        int rc = survey(r, t, error);
        if (rc != CAIRN_OK) return rc;
    }
    if (r->durable <= r->expected) return CAIRN_OK;
    /* Where nothing is broken, the end is cut off. */
    if (r->last != NULL) note_break(r, r->last->segment, r->last->end);
    if (r->tail_count > 0) note_break(r, r->tails[0].segment, SEGMENT_DATA_OFFSET);
    if (log->count > 0) note_break(r, log->segments[log->count - 1], SEGMENT_DATA_OFFSET);
    if (r->broken == NULL)
        return status_set(error, CAIRN_CORRUPT, "the log is empty, but was durable up to place %llu",
                          (unsigned long long)r->durable);
    return vlog_damaged(error, r->broken, r->broken_at, NULL, "a record that was durable is missing or damaged");
}

/* 1: intact; 0: damaged; or a code. Inside the epoch. */
static int payload_intact(recovery *r, const walker *w, cairn_error *error) {
    vlog_head head = {.header = w->header,
                      .segment = (segment *)(uintptr_t)w->segment,
                      .file = w->file,
                      .offset = w->offset,
                      .bytes = (uint8_t *)(uintptr_t)w->bytes,
                      .have = w->header.header_size};
    if (w->header.codec == CODEC_ZSTD_DICTIONARY) {
        const dictionary *d;
        int rc = vlog_dictionary(r->log, w->header.dictionary, &d, error);
        /* Nothing can be said of a value whose dictionary is damaged. It stays: whoever reads it is told. */
        if (rc != CAIRN_OK) return rc == CAIRN_CORRUPT ? 1 : rc;
    }
    for (uint64_t done = 0, size = record_content_size(&w->header); done < size;) {
        uint64_t piece = min_u64(IO_PIECE_BYTES, size - done);
        int rc = vlog_payload_read(r->log, &head, r->scratch, piece, done, error);
        if (rc == CAIRN_CORRUPT) return 0;
        if (rc != CAIRN_OK) return rc;
        done += piece;
    }
    return 1;
}

static int add_to_footer(tail *t, const footer_entry *e, cairn_error *error) {
    if (footer_builder_reserve(&t->builder, 1) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    }
    footer_builder_add(&t->builder, e);
    return CAIRN_OK;
}

/* The id in the descriptor of an intact STREAM record; 0 in every other. */
static int value_file_of(const walker *w, uint64_t *id, cairn_error *error) {
    uint8_t bytes[VALUE_DESCRIPTOR_BYTES];
    value_descriptor d;
    size_t got = 0;
    *id = 0;
    if (w->header.type != RECORD_STREAM) return CAIRN_OK;
    int rc = os_file_read(w->file, bytes, sizeof bytes, w->offset + w->header.header_size, &got);
    if (rc != 0) return status_os(error, rc, "cannot read a segment");
    if (got != sizeof bytes ||
        frames_verify(w->bytes + record_table_offset(w->header.key_size), bytes, sizeof bytes) != UINT64_MAX ||
        !value_descriptor_decode(&d, bytes, w->header.value_size)) {
        return vlog_damaged(error, w->segment, w->offset, NULL, "a record that names a value file is damaged");
    }
    *id = d.id;
    return CAIRN_OK;
}

/* Verifies what may not have reached the disk, delivers, and collects the footer. 1: go on with the next segment; 0:
 * the cut is here; or a code. */
static int replay_tail(recovery *r, tail *t, cairn_error *error) {
    walker w;
    uint64_t end = t->end;
    int rc = walker_init(&w, t->segment, t->file, SEGMENT_DATA_OFFSET, end, error);
    if (rc != CAIRN_OK) return rc;
    t->end = SEGMENT_DATA_OFFSET;
    while (w.next < end && (rc = walker_next(&w, error)) == 1) {
        if (w.header.place >= r->durable) {
            if (t->doubtful == UINT64_MAX) t->doubtful = w.offset;
            epoch_guard guard = epoch_enter(r->log->options.readers);
            rc = payload_intact(r, &w, error);
            epoch_exit(r->log->options.readers, guard);
            if (rc <= 0) break;
        }
        footer_entry e = vlog_entry_of(r->log, &w);
        rc = value_file_of(&w, &e.value_file, error);
        if (rc == CAIRN_OK && !r->log->options.read_only) rc = add_to_footer(t, &e, error);
        if (rc == CAIRN_OK) rc = deliver(r, t->segment, &e, error);
        if (rc != CAIRN_OK) break;
        t->end = w.next;
        r->next_place = w.header.place + 1;
    }
    if (rc >= 0) {
        rc = t->end == end;
        r->result->trimmed += end - t->end;
    }
    walker_release(&w);
    return rc;
}

static int replay_order(recovery *r, cairn_error *error) {
    vlog *log = r->log;
    size_t sealed = 0, done = 0;
    for (size_t i = 0; i < log->count; i++) {
        const segment *s = log->segments[i];
        if (s->state == SEGMENT_SEALED && s->end_place > r->start.place) sealed++;
    }
    for (size_t i = 0; i < log->count; i++) {
        segment *s = log->segments[i];
        if (s->state != SEGMENT_SEALED) continue;
        r->next_place = max_u64(r->next_place, s->end_place);
        if (s->end_place <= r->start.place) continue;
        int rc = replay_sealed(r, s, error);
        if (rc != CAIRN_OK) return rc;
        if (++done % 64 == 0 || done == sealed) {
            vlog_say(log, CAIRN_LOG_INFO, "replayed %zu of %zu sealed segments", done, sealed);
        }
    }
    for (size_t i = 0; i < r->tail_count; i++) {
        tail *t = &r->tails[i];
        if (t->end == SEGMENT_DATA_OFFSET) continue;
        int rc = replay_tail(r, t, error);
        if (rc < 0) return rc;
        vlog_say(log, CAIRN_LOG_INFO, "replayed open segment %s up to offset %llu", segment_name_of(t->segment).text,
                 (unsigned long long)t->end);
        if (rc == 1) continue;
        for (i++; i < r->tail_count; i++) { /* Behind the cut nothing stays. */
            r->result->trimmed += r->tails[i].end - SEGMENT_DATA_OFFSET;
            r->tails[i].end = SEGMENT_DATA_OFFSET;
        }
    }
    return CAIRN_OK;
}

/* Not inside one epoch as a whole: the index grows meanwhile, many times, and what it leaves behind is to be freed. */
static int replay_all(recovery *r, cairn_error *error) {
    const vlog *log = r->log;
    int rc = CAIRN_OK;
    if (r->start.place == 0) {
        rc = entry_merge_open(&r->moved, r->log, log->compacted, log->compacted_count, error);
    }
    if (rc == CAIRN_OK) rc = replay_order(r, error);
    if (rc == CAIRN_OK) rc = deliver_moved(r, UINT64_MAX, error);
    entry_merge_close(&r->moved);
    return rc;
}

int vlog_recover(vlog *log, const vlog_start *start, vlog_apply apply, void *ctx, vlog_recovered *result,
                 cairn_error *error) {
    *result = (vlog_recovered){0};
    recovery r = {.log = log,
                  .start = *start,
                  .apply = apply,
                  .ctx = ctx,
                  .result = result,
                  .durable = max_u64(start->durable, log->manifest.durable_place),
                  .expected = max_u64(log->manifest.reclaimed_place, 1),
                  .next_place = max_u64(log->manifest.reclaimed_place, 1)};
    r.tails = calloc(log->count + 1, sizeof *r.tails);
    r.scratch = malloc(IO_PIECE_BYTES);
    int rc = CAIRN_NO_MEMORY;
    if (r.tails == NULL || r.scratch == NULL) {
        rc = status_set(error, rc, "no memory for recovery");
        goto done;
    }
    rc = survey_all(&r, error);
    if (rc == CAIRN_OK) rc = replay_all(&r, error);
    if (rc == CAIRN_OK) rc = apply(ctx, NULL, error);
    if (rc != CAIRN_OK) goto done;
    if (held_count(&r.held) > 0) {
        vlog_say(log, CAIRN_LOG_INFO, "left out %llu records of batches that were not committed",
                 (unsigned long long)held_count(&r.held));
    }
    atomic_store(&log->next_place, r.next_place);
    if (result->trimmed > 0) {
        vlog_say(log, CAIRN_LOG_WARNING, "%s a torn tail of %llu bytes behind place %llu",
                 log->options.read_only ? "ignored" : "trimmed", (unsigned long long)result->trimmed,
                 (unsigned long long)r.next_place - 1);
    }
    if (log->options.read_only) {
        for (size_t i = 0; i < r.tail_count; i++) {
            vlog_set_end(log, r.tails[i].segment, r.tails[i].end);
        }
        atomic_store(&log->durable_place, min_u64(r.durable, r.next_place));
    } else {
        rc = vlog_repair(&r, error);
        if (rc == CAIRN_OK) atomic_store(&log->durable_place, r.next_place);
    }
done:
    for (size_t i = 0; i < r.tail_count; i++) {
        footer_builder_release(&r.tails[i].builder);
    }
    held_release(&r.held);
    free(r.tails);
    free(r.scratch);
    return rc;
}

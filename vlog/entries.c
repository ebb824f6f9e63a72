#include "vlog/entries.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>

/* ---- One segment ---- */

int vlog_read_trailer(const segment *s, os_file *file, uint64_t file_size, footer_trailer *t, cairn_error *error) {
    uint8_t bytes[FOOTER_TRAILER_BYTES];
    size_t got = 0;
    if (file_size < SEGMENT_DATA_OFFSET + sizeof bytes) return 0;
    int rc = os_file_read(file, bytes, sizeof bytes, file_size - sizeof bytes, &got);
    if (rc != 0) return status_os(error, rc, "cannot read segment %s", segment_name_of(s).text);
    return got == sizeof bytes && footer_trailer_decode(t, bytes, file_size, s->seed);
}

static bool footer_is_whole(footer_reader reader) {
    footer_entry e;
    int next;
    while ((next = footer_reader_next(&reader, &e)) == 1) {
    }
    return next == 0;
}

/* 1: the cursor reads the footer; 0: the footer is damaged; or a code. */
static int use_footer(entry_cursor *c, os_file *file, uint64_t size, uint64_t trailer_checksum, cairn_error *error) {
    const segment *s = c->segment;
    footer_trailer t;
    int rc = vlog_read_trailer(s, file, size, &t, error);
    if (rc <= 0) return rc;
    if (t.checksum != trailer_checksum || t.record_end != atomic_load(&s->end)) return 0;
    c->bytes = malloc(max_u64(t.entries_size, 1));
    if (c->bytes == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    size_t got = 0;
    int os_rc = os_file_read(file, c->bytes, t.entries_size, t.entries_offset, &got);
    if (os_rc != 0) {
        rc = status_os(error, os_rc, "cannot read segment %s", segment_name_of(s).text);
    } else {
        rc = got == t.entries_size && footer_reader_init(&c->reader, &t, c->bytes, SEGMENT_DATA_OFFSET, s->seed) &&
             footer_is_whole(c->reader);
    }
    if (rc != 1) {
        free(c->bytes);
        c->bytes = NULL;
    }
    return rc;
}

static int use_records(entry_cursor *c, os_file *file, cairn_error *error) {
    const segment *s = c->segment;
    vlog_say(c->log, CAIRN_LOG_WARNING, "footer of segment %s is damaged: going by its records",
             segment_name_of(s).text);
    c->expected = s->first_place;
    return walker_init(&c->walker, s, file, SEGMENT_DATA_OFFSET, atomic_load(&s->end), error);
}

static int open_cursor(entry_cursor *c, vlog *log, segment *s, cairn_error *error) {
    os_file *file = NULL;
    os_file_info info;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    uint64_t size = s->sealed_size, trailer_checksum = s->trailer_checksum;
    os_mutex_unlock(&log->append_lock);
    int rc = segment_file(&log->files, s, &file, error);
    if (rc != CAIRN_OK) return rc;
    int os_rc = os_file_info_get(file, &info);
    if (os_rc != 0) return status_os(error, os_rc, "cannot look at segment %s", segment_name_of(s).text);
    /* It may be longer: a punch that was cut off leaves a footer that nothing names. */
    bool may_be_longer = (atomic_load(&log->features) & FEATURE_COMPACTED) != 0;
    if (info.size < size || (info.size > size && !may_be_longer)) {
        return vlog_damaged(error, s, info.size, NULL, "a sealed segment has another size than the manifest says: end");
    }
    rc = use_footer(c, file, size, trailer_checksum, error);
    if (rc == 0) rc = use_records(c, file, error);
    return rc > 0 ? CAIRN_OK : rc;
}

int entry_cursor_open(entry_cursor *c, vlog *log, segment *s, cairn_error *error) {
    *c = (entry_cursor){.log = log, .segment = s};
    epoch_guard guard = epoch_enter(log->options.readers);
    int rc = open_cursor(c, log, s, error);
    epoch_exit(log->options.readers, guard);
    return rc;
}

void entry_cursor_close(entry_cursor *c) {
    free(c->bytes);
    walker_release(&c->walker);
    c->bytes = NULL;
}

uint64_t vlog_listed_records(vlog *log) {
    uint64_t records = 0;
    for (size_t i = 0; i < vlog_segment_count(log); i++) {
        segment *s = vlog_segment_at(log, i);
        os_file *file = NULL;
        footer_trailer t;
        if (s->state != SEGMENT_SEALED) continue;
        epoch_guard guard = epoch_enter(log->options.readers);
        if (segment_file(&log->files, s, &file, NULL) == CAIRN_OK &&
            vlog_read_trailer(s, file, s->sealed_size, &t, NULL) == 1)
            records += min_u64(t.count, s->sealed_size / UNIT_BYTES);
        epoch_exit(log->options.readers, guard);
    }
    return records;
}

footer_entry vlog_entry_of(const vlog *log, const walker *w) {
    const record_header *h = &w->header;
    footer_entry e = footer_entry_of(h, w->offset);
    if (h->key_size > 0) {
        e.hash = key_hash_of(&log->options.secret, record_key(w->bytes), h->key_size, log->options.hash_mask);
    }
    return e;
}

/* Its file may have been closed since the last step. */
static int walk_on(entry_cursor *c, cairn_error *error) {
    epoch_guard guard = epoch_enter(c->log->options.readers);
    int rc = segment_file(&c->log->files, c->segment, &c->walker.file, error);
    if (rc == CAIRN_OK) rc = walker_next(&c->walker, error);
    epoch_exit(c->log->options.readers, guard);
    return rc;
}

static int next_record(entry_cursor *c, cairn_error *error) {
    const segment *s = c->segment;
    walker *w = &c->walker;
    uint64_t end = atomic_load(&s->end);
    bool at_end = w->next == end;
    int rc = at_end ? 0 : walk_on(c, error);
    if (rc < 0) return rc;
    if (at_end && c->expected == s->end_place) return 0;
    if (rc == 0 || (!s->compacted && w->header.place != c->expected)) {
        return vlog_damaged(error, s, w->offset, NULL, "footer and a record are damaged");
    }
    c->entry = vlog_entry_of(c->log, w);
    if (s->compacted) {
        c->entry.place = c->expected;
        footer_entry_leave_batch(&c->entry);
    }
    c->expected++;
    return 1;
}

int entry_cursor_next(entry_cursor *c, cairn_error *error) {
    if (c->bytes == NULL) return next_record(c, error);
    int rc = footer_reader_next(&c->reader, &c->entry);
    CHECK(rc >= 0); /* it was verified */
    return rc;
}

/* ---- Many ---- */

static bool comes_before(const entry_cursor *a, const entry_cursor *b) {
    if (a->entry.version != b->entry.version) return a->entry.version < b->entry.version;
    bool a_deletes = a->entry.type == RECORD_DELETE, b_deletes = b->entry.type == RECORD_DELETE;
    return a_deletes != b_deletes ? a_deletes : a->segment->id < b->segment->id;
}

static void sift_down(entry_merge *m, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < m->open; child++) {
            if (comes_before(m->heap[child], m->heap[least])) least = child;
        }
        if (least == at) return;
        entry_cursor *moved = m->heap[at];
        m->heap[at] = m->heap[least];
        m->heap[least] = moved;
        at = least;
    }
}

/* To the next entry that has a version. */
static int advance(entry_cursor *c, cairn_error *error) {
    int rc;
    while ((rc = entry_cursor_next(c, error)) == 1 && record_is_nothing(c->entry.type)) {
    }
    return rc;
}

int entry_merge_open(entry_merge *m, vlog *log, segment *const *segments, size_t count, cairn_error *error) {
    *m = (entry_merge){.cursors = calloc(count + 1, sizeof *m->cursors), .heap = calloc(count + 1, sizeof *m->heap)};
    int rc = CAIRN_OK;
    if (m->cursors == NULL || m->heap == NULL) rc = status_set(error, CAIRN_NO_MEMORY, "no memory for footers");
    while (rc == CAIRN_OK && m->count < count) {
        entry_cursor *c = &m->cursors[m->count];
        rc = entry_cursor_open(c, log, segments[m->count], error);
        m->count++; /* to be closed in any case */
        if (rc == CAIRN_OK) rc = advance(c, error);
        if (rc != 1) continue;
        m->heap[m->open++] = c;
        rc = CAIRN_OK;
    }
    for (size_t i = m->open; rc == CAIRN_OK && i > 0; i--) {
        sift_down(m, i - 1);
    }
    if (rc != CAIRN_OK) entry_merge_close(m);
    return rc;
}

void entry_merge_close(entry_merge *m) {
    for (size_t i = 0; i < m->count; i++) {
        entry_cursor_close(&m->cursors[i]);
    }
    free(m->cursors);
    free(m->heap);
    *m = (entry_merge){0};
}

static int go_on(entry_merge *m, cairn_error *error) {
    if (!m->advance) return CAIRN_OK;
    m->advance = false;
    int rc = advance(m->heap[0], error);
    if (rc < 0) return rc;
    if (rc == 0) m->heap[0] = m->heap[--m->open];
    sift_down(m, 0);
    return CAIRN_OK;
}

int entry_merge_next(entry_merge *m, const entry_cursor **out, cairn_error *error) {
    int rc = go_on(m, error);
    if (rc != CAIRN_OK) return rc;
    if (m->open == 0) return 0;
    *out = m->heap[0];
    m->advance = true;
    return 1;
}

int entry_merge_peek(entry_merge *m, uint64_t *version, cairn_error *error) {
    int rc = go_on(m, error);
    if (rc == CAIRN_OK) *version = m->open == 0 ? UINT64_MAX : m->heap[0]->entry.version;
    return rc;
}

#include "vlog/punch.h"

#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/entries.h"
#include "vlog/log_state.h"

#include <errno.h>
#include <stdlib.h>

typedef struct hole {
    os_range range;
    bool grows; /* some of it was not freed before */
} hole;

struct vlog_punch {
    vlog *log;
    segment *segment;
    footer_builder builder;
    hole *holes; /* all that are freed, also before */
    size_t count, capacity;
    uint64_t old_size, old_footer, new_size, trailer_checksum; /* old_footer: where it begins */
    uint64_t freed;                                            /* bytes of all holes */
    uint64_t scattered, edges;                                 /* see vlog_note_dead */
    uint64_t run_min;
    bool pinned; /* from write to sync: that must go through a descriptor which saw every write error */
};

/* Entries that may become one FREED. */
typedef struct run {
    footer_entry *entries;
    size_t count, capacity;
    uint64_t begin, end;
    bool any_dead, any_freed;
} run;

void vlog_punch_free(vlog_punch *p) {
    if (p == NULL) return;
    if (p->pinned) atomic_store(&p->segment->pinned, false);
    footer_builder_release(&p->builder);
    free(p->holes);
    free(p);
}

segment *vlog_punch_segment(const vlog_punch *p) { return p->segment; }

/* ---- The new footer ---- */

/* What is a hole already stays one, however small. */
static bool is_worth_a_hole(const vlog_punch *p, const run *r) {
    os_range b = record_blocks(r->begin, r->end);
    if (b.end <= b.begin) return false;
    return r->any_freed || (r->any_dead && b.end - b.begin >= p->run_min);
}

static int add_hole(vlog_punch *p, const run *r) {
    hole *grown = array_with_room(p->holes, &p->capacity, p->count, sizeof *grown, 16);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    p->holes = grown;
    hole h = {.range = record_blocks(r->begin, r->end), .grows = r->any_dead || !r->any_freed};
    p->holes[p->count++] = h;
    p->freed += h.range.end - h.range.begin;
    p->edges += r->end - r->begin - (h.range.end - h.range.begin);
    return CAIRN_OK;
}

static int add_entry(vlog_punch *p, const footer_entry *e) {
    if (footer_builder_reserve(&p->builder, 1) != CAIRN_OK) return CAIRN_NO_MEMORY;
    footer_builder_add(&p->builder, e);
    return CAIRN_OK;
}

/* The run becomes one FREED, which has the place of its last record, or stays what it was. */
static int end_run(vlog_punch *p, run *r) {
    int rc = CAIRN_OK;
    if (r->count > 0 && is_worth_a_hole(p, r)) {
        footer_entry freed = {.type = RECORD_FREED,
                              .offset = r->begin,
                              .units = (r->end - r->begin) / UNIT_BYTES,
                              .place = r->entries[r->count - 1].place};
        rc = add_entry(p, &freed);
        if (rc == CAIRN_OK) rc = add_hole(p, r);
    } else {
        if (r->any_dead) p->scattered += r->end - r->begin;
        for (size_t i = 0; rc == CAIRN_OK && i < r->count; i++) {
            rc = add_entry(p, &r->entries[i]);
        }
    }
    r->count = 0;
    r->any_dead = r->any_freed = false;
    return rc;
}

static int extend_run(run *r, const footer_entry *e, bool dead) {
    footer_entry *grown = array_with_room(r->entries, &r->capacity, r->count, sizeof *grown, 64);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    r->entries = grown;
    if (r->count == 0) r->begin = e->offset;
    r->entries[r->count++] = *e;
    r->end = e->offset + e->units * UNIT_BYTES;
    r->any_dead = r->any_dead || dead;
    r->any_freed = r->any_freed || e->type == RECORD_FREED;
    return CAIRN_OK;
}

static int make_footer(vlog_punch *p, entry_cursor *c, vlog_dead dead, void *ctx, cairn_error *error) {
    run r = {0};
    int rc = CAIRN_OK, next;
    while (rc == CAIRN_OK && (next = entry_cursor_next(c, error)) == 1) {
        const footer_entry *e = &c->entry;
        bool is_dead = !record_is_nothing(e->type) && dead(ctx, p->segment, e);
        if (is_dead || record_is_nothing(e->type)) {
            rc = extend_run(&r, e, is_dead);
        } else {
            rc = end_run(p, &r);
            if (rc == CAIRN_OK) rc = add_entry(p, e);
        }
    }
    if (rc == CAIRN_OK) rc = end_run(p, &r);
    free(r.entries);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory for a footer");
}

int vlog_punch_plan(vlog_punch **out, vlog *log, segment *s, vlog_dead dead, void *ctx, uint64_t run_min,
                    uint64_t least, uint64_t *gain, cairn_error *error) {
    entry_cursor c;
    *out = NULL;
    *gain = 0;
    vlog_punch *p = calloc(1, sizeof *p);
    if (p == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to punch holes");
    p->log = log;
    p->segment = s;
    p->old_size = s->sealed_size;
    p->run_min = run_min;
    footer_builder_init(&p->builder, SEGMENT_DATA_OFFSET);
    int rc = entry_cursor_open(&c, log, s, error);
    if (rc == CAIRN_OK && !entry_cursor_has_footer(&c)) {
        rc = vlog_damaged(error, s, atomic_load(&s->end), NULL, "the footer is damaged");
    }
    if (rc == CAIRN_OK) {
        p->old_footer = c.reader.trailer.entries_offset;
        rc = make_footer(p, &c, dead, ctx, error);
    }
    entry_cursor_close(&c);
    if (rc == CAIRN_OK) {
        uint64_t before = atomic_load(&s->freed);
        *gain = p->freed - min_u64(p->freed, before);
        vlog_note_dead(log, s, p->scattered, p->edges);
    }
    if (rc == CAIRN_OK && *gain >= least) {
        *out = p;
    } else {
        vlog_punch_free(p);
    }
    return rc;
}

/* ---- Writing ---- */

static int fails(const vlog_punch *p, int os_rc, cairn_error *error) {
    return status_os(error, os_rc, "cannot write a footer of segment %s", segment_name_of(p->segment).text);
}

static int write_footer(const vlog_punch *p, os_file *file, const uint8_t *footer, size_t size, cairn_error *error) {
    int os_rc = os_file_truncate(file, p->old_size); /* what an attempt left that was cut off */
    if (os_rc == 0) os_rc = os_file_write(file, footer, size, p->builder.footer_offset);
    if (os_rc == 0 && p->new_size > p->old_size) os_rc = os_file_truncate(file, p->new_size);
    if (os_rc != 0) {
        int rc = fails(p, os_rc, error);
        (void)os_file_truncate(file, p->old_size);
        return rc;
    }
    (void)os_file_flush(file, p->builder.footer_offset, size); /* so that one commit of the journal is for many */
    return CAIRN_OK;
}

/* The new footer goes before the old one where it fits there, else behind it: so the file does not grow with every
 * punch. */
static int footer_reserve_at(vlog_punch *p) {
    const uint8_t *footer;
    size_t size;
    uint64_t before = round_up(atomic_load(&p->segment->end), BLOCK_BYTES), ignored;
    p->builder.footer_offset = before;
    int rc = footer_build(&p->builder, p->segment->seed, &footer, &size, &ignored);
    if (rc == CAIRN_OK && before + size > p->old_footer) p->builder.footer_offset = round_up(p->old_size, BLOCK_BYTES);
    return rc;
}

int vlog_punch_write(vlog_punch *p, cairn_error *error) {
    const uint8_t *footer = NULL;
    size_t size = 0;
    os_file *file = NULL;
    segment *s = p->segment;
    if (vlog_failed(p->log)) return vlog_refuse_failed(error);
    int rc = vlog_require(p->log, FEATURE_COMPACTED, error); /* a file may be longer than its row says from now on */
    if (rc != CAIRN_OK) return rc;
    if (footer_reserve_at(p) != CAIRN_OK ||
        footer_build(&p->builder, s->seed, &footer, &size, &p->trailer_checksum) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    }
    p->new_size = p->builder.footer_offset + size;
    p->pinned = true;
    atomic_store(&s->pinned, true);
    epoch_guard guard = epoch_enter(p->log->options.readers);
    rc = segment_file(&p->log->files, s, &file, error);
    if (rc == CAIRN_OK) rc = write_footer(p, file, footer, size, error);
    epoch_exit(p->log->options.readers, guard);
    return rc;
}

int vlog_punch_sync(vlog_punch *p, cairn_error *error) {
    os_file *file = NULL;
    epoch_guard guard = epoch_enter(p->log->options.readers);
    int rc = segment_file(&p->log->files, p->segment, &file, error);
    int os_rc = rc == CAIRN_OK ? os_file_sync(file) : 0;
    epoch_exit(p->log->options.readers, guard);
    p->pinned = false;
    atomic_store(&p->segment->pinned, false);
    if (os_rc == 0) return rc;
    (void)vlog_fail(p->log);
    return fails(p, os_rc, error);
}

/* ---- Publishing ---- */

static void set_row(vlog *log, const vlog_punch *p, uint64_t size, uint64_t checksum, bool punched) {
    manifest_segment *row = manifest_find(&log->manifest, p->segment->id);
    CHECK(row != NULL);
    row->sealed_size = size;
    row->trailer_checksum = checksum;
    if (punched) {
        row->flags |= SEGMENT_PUNCHED;
    } else {
        row->flags &= ~SEGMENT_PUNCHED;
    }
}

static int publish_locked(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch,
                          cairn_error *error) {
    manifest *m = &log->manifest;
    uint64_t old_epoch = m->reclaim_epoch, features = m->features;
    for (size_t i = 0; i < count; i++) {
        set_row(log, punches[i], punches[i]->new_size, punches[i]->trailer_checksum, true);
    }
    m->reclaim_epoch = reclaim_epoch;
    m->features |= FEATURE_COMPACTED;
    int rc = vlog_store_manifest(log, error);
    if (rc == CAIRN_OK) return rc;
    for (size_t i = 0; i < count; i++) {
        const segment *s = punches[i]->segment;
        set_row(log, punches[i], s->sealed_size, s->trailer_checksum, s->punched);
    }
    m->reclaim_epoch = old_epoch;
    m->features = features;
    return rc;
}

int vlog_punch_publish(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch,
                       cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    os_mutex_lock(&log->maintain_lock);
    os_mutex_lock(&log->manifest_lock);
    int rc = publish_locked(log, punches, count, reclaim_epoch, error);
    os_mutex_unlock(&log->manifest_lock);
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    for (size_t i = 0; rc == CAIRN_OK && i < count; i++) {
        const vlog_punch *p = punches[i];
        atomic_fetch_add(&log->footer_bytes, p->new_size - p->segment->sealed_size);
        p->segment->sealed_size = p->new_size;
        p->segment->trailer_checksum = p->trailer_checksum;
        p->segment->punched = true;
    }
    os_mutex_unlock(&log->append_lock);
    os_mutex_unlock(&log->maintain_lock);
    return rc;
}

/* ---- Holes ---- */

static int punch(const vlog_punch *p, os_file *file, os_range r, cairn_error *error) {
    if (r.end <= r.begin) return CAIRN_OK;
    int os_rc = os_file_punch(file, r.begin, r.end - r.begin);
    if (os_rc == 0) return CAIRN_OK;
    return status_os(error, os_rc, "cannot punch a hole into segment %s at offset %llu",
                     segment_name_of(p->segment).text, (unsigned long long)r.begin);
}

/* Tried behind the end, where there is nothing. */
bool vlog_punch_is_possible(vlog *log, segment *s) {
    os_file *file = NULL;
    epoch_guard guard = epoch_enter(log->options.readers);
    bool possible = segment_file(&log->files, s, &file, NULL) == CAIRN_OK &&
                    os_file_punch(file, round_up(s->sealed_size, BLOCK_BYTES), BLOCK_BYTES) != -EOPNOTSUPP;
    epoch_exit(log->options.readers, guard);
    return possible;
}

bool vlog_has_holes(const vlog *log) { return !atomic_load(&log->no_holes); }
void vlog_give_up_holes(vlog *log) { atomic_store(&log->no_holes, true); }

/* What this handle has punched before is a hole. What an earlier one has, a power cut may have undone. */
static int punch_all(const vlog_punch *p, os_file *file, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < p->count; i++) {
        if (p->holes[i].grows || !p->segment->holes_made) rc = punch(p, file, p->holes[i].range, error);
    }
    p->segment->holes_made = rc == CAIRN_OK;
    /* Older footers lie between the last record and the new one, or behind it. */
    uint64_t footers = round_up(atomic_load(&p->segment->end), BLOCK_BYTES);
    if (rc == CAIRN_OK) rc = punch(p, file, (os_range){footers, p->builder.footer_offset}, error);
    int os_rc = rc == CAIRN_OK && p->new_size < p->old_size ? os_file_truncate(file, p->new_size) : 0;
    return os_rc == 0 ? rc : fails(p, os_rc, error);
}

int vlog_punch_holes(vlog_punch *p, uint64_t *freed, cairn_error *error) {
    os_file *file = NULL;
    *freed = 0;
    epoch_guard guard = epoch_enter(p->log->options.readers);
    int rc = segment_file(&p->log->files, p->segment, &file, error);
    if (rc == CAIRN_OK) rc = punch_all(p, file, error);
    epoch_exit(p->log->options.readers, guard);
    if (rc != CAIRN_OK) return rc;
    *freed = p->freed - min_u64(p->freed, atomic_load(&p->segment->freed));
    atomic_fetch_sub(&p->log->record_bytes, *freed);
    atomic_fetch_add(&p->segment->freed, *freed);
    return rc;
}

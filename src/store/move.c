/* Emptying a unit of segments: see compact.h. */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/compact.h"
#include "src/store/tombstones.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 32u             /* about: of a footer's entry */
#define MOVED_MAX ((size_t)1 << 20) /* records of one new segment: 40 bytes of memory each */

/* Looking into the footers of other segments, to do without tombstones, must not cost more than it can bring. */
#define LOOK_BYTES_MIN ((uint64_t)16 << 20)
#define LOOK_BYTES_A_TOMBSTONE ((uint64_t)1 << 10)

#define REST_STEPS 64u /* of some 0.1 microseconds: between two looks at the clock */

typedef struct moved {
    uint64_t hash, offset, units; /* offset in the new segment */
    location from;
    uint64_t expires_at_ms;
} moved;

typedef struct unit {
    compaction *run;
    cairn *store;
    const victims *v;
    size_t from, count;
    uint64_t target;    /* bytes of a new segment */
    uint64_t steps;     /* entries that were looked at or changed, none of them a copy */
    segment **segments; /* of the unit */
    tombstones dead;
    entry_merge merge;
    vlog_output *output; /* NULL: none is begun */
    moved *list;         /* what is in the output */
    size_t list_count, list_capacity;
    uint8_t *record;
    uint64_t record_capacity;
} unit;

/* ---- Tombstones ---- */

/* The record hides what is older under its key and is no value any more: a deletion, or one that may have expired. */
static bool covers(const footer_entry *e) {
    return e->type == RECORD_DELETE || (e->type != RECORD_COMMIT && (e->flags & RECORD_EXPIRES) != 0);
}

static int read_record(unit *u, segment *s, const footer_entry *e, record_header *header, cairn_error *error) {
    uint64_t length = e->units * UNIT_BYTES;
    if (length > u->record_capacity) {
        free(u->record);
        u->record = malloc(length);
        u->record_capacity = u->record != NULL ? length : 0;
        if (u->record == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a record");
    }
    epoch_guard guard = epoch_enter(u->store->readers);
    int rc = vlog_record_raw(u->store->log, s, e->offset, e->units, u->record, header, error);
    epoch_exit(u->store->readers, guard);
    if (rc == CAIRN_CORRUPT) vlog_spoil(s);
    return rc;
}

static void rest(unit *u) {
    if (u->steps++ % REST_STEPS == 0) compaction_rest(u->run);
}

static int next_entry(unit *u, entry_cursor *c, cairn_error *error) {
    rest(u);
    return entry_cursor_next(c, error);
}

/* Every one that may have to be kept. What is there now may expire before it is copied. */
static int collect(unit *u, const footer_entry *e, cairn_error *error) {
    if (!covers(e) || tombstones_add(&u->dead, e->hash, e->version) == CAIRN_OK) return CAIRN_OK;
    return status_set(error, CAIRN_NO_MEMORY, "no memory for tombstones");
}

static int collect_all(unit *u, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < u->count; i++) {
        entry_cursor c;
        rc = entry_cursor_open(&c, u->store->log, u->segments[i], error);
        while (rc == CAIRN_OK && (rc = next_entry(u, &c, error)) == 1) {
            rc = collect(u, &c.entry, error);
        }
        entry_cursor_close(&c);
        if (rc == CAIRN_CORRUPT) vlog_spoil(u->segments[i]);
    }
    tombstones_settle(&u->dead);
    return rc;
}

/* Another segment may hold something that is dead and older. */
static bool may_be_covered(const unit *u, size_t i, uint64_t newest) {
    const vlog_space *s = &u->v->list[i];
    bool own = i >= u->from && i < u->from + u->count;
    return !own && s->lowest_version < newest && s->bytes > s->live;
}

/* Which of the tombstones are needed: another segment, which stays, has an older version. */
static int look_around(unit *u, cairn_error *error) {
    uint64_t newest = tombstones_newest(&u->dead), bytes = 0;
    int rc = CAIRN_OK;
    if (u->dead.count == 0) return CAIRN_OK;
    for (size_t i = 0; i < u->v->all; i++) {
        if (may_be_covered(u, i, newest)) bytes += u->v->list[i].footer_bytes;
    }
    if (!u->run->options.full && bytes > max_u64(LOOK_BYTES_MIN, u->dead.count * LOOK_BYTES_A_TOMBSTONE)) {
        tombstones_need_all(&u->dead);
        return CAIRN_OK;
    }
    for (size_t i = 0; rc == CAIRN_OK && i < u->v->all; i++) {
        entry_cursor c;
        if (!may_be_covered(u, i, newest)) continue;
        rc = entry_cursor_open(&c, u->store->log, u->v->list[i].segment, error);
        while (rc == CAIRN_OK && (rc = next_entry(u, &c, error)) == 1) {
            tombstones_meet(&u->dead, &c.entry);
            rc = CAIRN_OK;
        }
        entry_cursor_close(&c);
    }
    if (rc == CAIRN_CORRUPT) { /* What it holds is not known. */
        tombstones_need_all(&u->dead);
        rc = CAIRN_OK;
    }
    return rc;
}

/* ---- Changing the index ---- */

/* Where all values stay in RAM, this one does. Inside the epoch, stripe held. */
static void keep_cached(cairn *store, location from, location to) {
    if (store->cache == NULL) return;
    const cached_value *v = store_is_resident(store) ? value_cache_find(store->cache, from, 0) : NULL;
    cached_value *copy = v == NULL ? NULL : value_cache_prepare(store->cache, v->key_size, v->value_size);
    if (copy != NULL) {
        copy->where = to;
        copy->version = v->version;
        copy->expires_at_ms = v->expires_at_ms;
        copy->stored_size = v->stored_size;
        memcpy(copy->bytes, v->bytes, cached_data_offset(v) + v->value_size);
        value_cache_insert(store->cache, copy);
    }
    value_cache_remove(store->cache, from);
}

/* Stripe held, inside the epoch. */
static void change_entry(cairn *store, const moved *m, location to) {
    uint64_t snapshot = atomic_load(&store->newest_snapshot);
    if (!hash_index_holds(store->index, m->hash, m->from)) return; /* it was superseded meanwhile */
    bool expires = location_expires(m->from);
    /* Without memory it stays where it is, and so does its segment. */
    if (expires && expiry_reserve(store->expiries, m->hash, 1) != CAIRN_OK) return;
    hash_index_replace(store->index, m->hash, m->from, to);
    if (snapshot != 0 && side_table_pin(store->side, m->hash, m->from, m->units * UNIT_BYTES)) {
        vlog_held_add(store->log, m->from);
    }
    vlog_live_add(store->log, to);
    vlog_live_subtract(store->log, m->from);
    if (expires) {
        expiry_add(store->expiries, &(expiry_entry){m->expires_at_ms, m->hash, to});
        expiry_superseded(store->expiries);
    }
    keep_cached(store, m->from, to);
}

static void change_index(unit *u, const segment *published) {
    for (size_t i = 0; i < u->list_count; i++) {
        const moved *m = &u->list[i];
        location to = segment_location(published, m->offset, m->units, location_kind_of(m->from));
        epoch_guard guard = epoch_enter(u->store->readers);
        hash_index_lock(u->store->index, m->hash);
        change_entry(u->store, m, to);
        hash_index_unlock(u->store->index, m->hash);
        epoch_exit(u->store->readers, guard);
        rest(u);
    }
    u->list_count = 0;
}

/* ---- Copying ---- */

static int publish(unit *u, cairn_error *error) {
    segment *published = NULL;
    if (u->output == NULL) return CAIRN_OK;
    uint64_t bytes = vlog_output_bytes(u->output);
    u->run->result.bytes_moved += bytes;
    int rc = vlog_output_publish(u->output, &published, error);
    u->output = NULL;
    if (rc != CAIRN_OK) return rc;
    atomic_fetch_add(&u->store->copied_bytes, bytes);
    change_index(u, published);
    return rc;
}

static int make_room(unit *u, uint64_t units, cairn_error *error) {
    uint64_t target = u->target;
    if (u->output != NULL &&
        (vlog_output_bytes(u->output) + units * UNIT_BYTES > target || u->list_count >= MOVED_MAX)) {
        int rc = publish(u, error);
        if (rc != CAIRN_OK) return rc;
    }
    if (u->output != NULL) return CAIRN_OK;
    return vlog_output_open(&u->output, u->store->log, max_u64(target, units * UNIT_BYTES), error);
}

static int copy_record(unit *u, segment *s, const footer_entry *e, cairn_error *error) {
    record_header header;
    moved m = {
        .hash = e->hash.index, .units = e->units, .from = vlog_entry_location(s, e), .expires_at_ms = e->expires_at_ms};
    moved *grown = array_with_room(u->list, &u->list_capacity, u->list_count, sizeof *grown, 1024);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to compact");
    u->list = grown;
    int rc = read_record(u, s, e, &header, error);
    if (rc == CAIRN_OK) rc = vlog_output_add(u->output, u->record, &header, e, &m.offset, error);
    if (rc == CAIRN_OK) u->list[u->list_count++] = m;
    return rc;
}

/* Where the key is there, no tombstone is wanted: what is there covers all that is older. And it might do harm: the
 * record may be a dead copy of the one that is there, or of a batch that was given up. Where the key is absent it does
 * none: what comes later has a higher version. *absent is set. */
static int is_absent(unit *u, segment *s, const footer_entry *e, bool *absent, cairn_error *error) {
    cairn *store = u->store;
    vlog_head head;
    store_found found;
    hash_index_lock(store->index, e->hash.index);
    *absent = hash_index_count(store->index, e->hash.index) == 0;
    hash_index_unlock(store->index, e->hash.index);
    if (*absent) return CAIRN_OK;
    epoch_guard guard = epoch_enter(store->readers);
    int rc = vlog_head_read(store->log, vlog_entry_location(s, e), STORE_HEAD_BYTES, &head, error);
    if (rc == CAIRN_OK) {
        rc = store_find(store, e->hash, vlog_head_key(&head), head.header.key_size, &found, error);
        *absent = found.where == LOCATION_NONE;
        store_found_release(&found);
    }
    vlog_head_release(&head);
    epoch_exit(store->readers, guard);
    if (rc == CAIRN_CORRUPT) vlog_spoil(s); /* whose key is there cannot be told */
    return rc;
}

static int copy_tombstone(unit *u, segment *s, const footer_entry *e, cairn_error *error) {
    record_header header;
    int rc = read_record(u, s, e, &header, error);
    return rc == CAIRN_OK ? vlog_output_add_tombstone(u->output, u->record, &header, e, error) : rc;
}

static int copy_entry(unit *u, segment *s, const footer_entry *e, cairn_error *error) {
    bool passes = !u->run->sieves || e->units * UNIT_BYTES < RECORD_LARGE_BYTES;
    bool is_value = e->type == RECORD_PUT || e->type == RECORD_STREAM;
    bool live = passes && is_value && space_index_names(u->store, s, e);
    bool needed = !live && !u->run->sieves && covers(e) && tombstones_is_needed(&u->dead, e->hash, e->version);
    int rc = needed ? is_absent(u, s, e, &needed, error) : CAIRN_OK;
    if (rc == CAIRN_OK && (live || needed)) rc = make_room(u, e->units, error);
    if (rc == CAIRN_OK && live) rc = copy_record(u, s, e, error);
    if (rc == CAIRN_OK && needed) rc = copy_tombstone(u, s, e, error);
    return rc == CAIRN_OK ? compaction_advance(u->run, e->units * UNIT_BYTES, error) : rc;
}

/* With the next record, which would be copied, there would be more than there is room for. */
static bool is_too_much(const unit *u, const entry_cursor *c) {
    uint64_t max = u->run->copy_max, copied = u->output == NULL ? 0 : vlog_output_bytes(u->output);
    bool is_value = c->entry.type == RECORD_PUT || c->entry.type == RECORD_STREAM;
    if (max == 0 || copied + c->entry.units * UNIT_BYTES <= max) return false;
    return !is_value || space_index_names(u->store, c->segment, &c->entry);
}

static int copy_all(unit *u, cairn_error *error) {
    const entry_cursor *c;
    int rc = entry_merge_open(&u->merge, u->store->log, u->segments, u->count, error);
    while (rc == CAIRN_OK && (rc = entry_merge_next(&u->merge, &c, error)) == 1) {
        if (c->entry.offset < u->run->copy_from) continue;
        u->run->stopped_short = is_too_much(u, c);
        if (u->run->stopped_short) u->run->copy_from = c->entry.offset;
        if (u->run->stopped_short) break;
        rc = copy_entry(u, c->segment, &c->entry, error);
    }
    if (rc == 1) rc = CAIRN_OK;
    return rc == CAIRN_OK ? publish(u, error) : rc;
}

static int begin(unit *u, cairn_error *error) {
    u->target = vlog_segment_target(u->store->log);
    u->segments = malloc((u->count + 1) * sizeof *u->segments);
    if (u->segments == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to compact");
    for (size_t i = 0; i < u->count; i++) {
        u->segments[i] = u->v->list[u->from + i].segment;
    }
    if (u->run->sieves) return CAIRN_OK; /* tombstones stay where they are */
    int rc = collect_all(u, error);
    return rc == CAIRN_OK ? look_around(u, error) : rc;
}

static void end(unit *u) {
    vlog_output_abandon(u->output);
    entry_merge_close(&u->merge);
    tombstones_release(&u->dead);
    free(u->segments);
    free(u->list);
    free(u->record);
}

int compaction_empty(compaction *c, const victims *v, size_t from, size_t count, cairn_error *error) {
    unit u = {.run = c, .store = c->store, .v = v, .from = from, .count = count};
    int rc = begin(&u, error);
    c->stopped_short = false;
    if (rc == CAIRN_OK) rc = copy_all(&u, error);
    if (rc == CAIRN_OK && !c->stopped_short && !c->sieves)
        rc = store_reclaim_later(c->store, &v->list[from], count, error);
    end(&u);
    return rc;
}

static uint64_t weight_of(const unit *u, segment *s, const footer_entry *e) {
    bool live = (e->type == RECORD_PUT || e->type == RECORD_STREAM) && space_index_names(u->store, s, e);
    bool needed = !live && covers(e) && tombstones_is_needed(&u->dead, e->hash, e->version);
    return live || needed ? e->units * UNIT_BYTES + ENTRY_BYTES : 0;
}

int compaction_weigh(compaction *c, const victims *v, size_t from, size_t count, uint64_t *bytes, cairn_error *error) {
    unit u = {.run = c, .store = c->store, .v = v, .from = from, .count = count};
    const entry_cursor *at;
    *bytes = 0;
    int rc = begin(&u, error);
    if (rc == CAIRN_OK) rc = entry_merge_open(&u.merge, c->store->log, u.segments, count, error);
    while (rc == CAIRN_OK && (rc = entry_merge_next(&u.merge, &at, error)) == 1) {
        *bytes += weight_of(&u, at->segment, &at->entry);
        rc = CAIRN_OK;
    }
    end(&u);
    return rc;
}

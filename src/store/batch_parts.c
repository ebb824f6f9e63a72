/* Which parts a batch has, and how they get into the log. */
#include "src/store/batch_parts.h"

#include "src/base/status.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_BYTES ((uint64_t)256 << 10) /* of values that wait for others */

/* ---- Which parts there are ---- */

static int by_hash(const void *a, const void *b) {
    const batch_part *x = a, *y = b;
    if (x->hash.index != y->hash.index) return x->hash.index < y->hash.index ? -1 : 1;
    if (x->hash.check != y->hash.check) return x->hash.check < y->hash.check ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static int by_number(const void *a, const void *b) {
    const batch_part *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static bool same_key(const batch_part *a, const batch_part *b) {
    return a->change->key_size == b->change->key_size &&
           memcmp(batch_key(a->change), batch_key(b->change), a->change->key_size) == 0;
}

/* A later change of the same key is among those with the same hash, which lie side by side. */
static bool is_overtaken(const batch_commit *c, size_t i) {
    for (size_t j = i + 1; j < c->count && c->parts[j].hash.index == c->parts[i].hash.index; j++) {
        if (same_key(&c->parts[i], &c->parts[j]) && c->parts[j].number > c->parts[i].number) return true;
    }
    return false;
}

/* One part a key: the last change of it counts. */
int batch_make_parts(batch_commit *c, const cairn_batch *b) {
    c->parts = calloc(max_u64(b->count, 1), sizeof *c->parts);
    if (c->parts == NULL) return status_set(c->error, CAIRN_NO_MEMORY, "no memory for a batch");
    for (size_t i = 0; i < b->count; i++) {
        const batch_change *change = &b->changes[i];
        key_hash hash = store_hash(c->store, batch_key(change), change->key_size);
        c->parts[i] = (batch_part){.change = change,
                                   .hash = hash,
                                   .number = i,
                                   .applied = {.hash = hash.index,
                                               .key = batch_key(change),
                                               .key_size = change->key_size,
                                               .removes = change->removes}};
    }
    c->count = b->count;
    qsort(c->parts, c->count, sizeof *c->parts, by_hash);
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (is_overtaken(c, i)) continue;
        c->parts[kept] = c->parts[i];
        if (kept > 0 && c->parts[kept].hash.index == c->parts[kept - 1].hash.index) {
            c->parts[kept].shares_hash = c->parts[kept - 1].shares_hash = true;
        }
        kept++;
    }
    c->count = kept;
    qsort(c->parts, c->count, sizeof *c->parts, by_number);
    for (size_t i = 0; i < c->count; i++) {
        hash_index_stripes_add(&c->stripes, c->parts[i].hash.index);
    }
    return CAIRN_OK;
}

/* ---- Writing ---- */

static int make_file(batch_commit *c, batch_part *p) {
    const batch_change *change = p->change;
    if (p->file != NULL) return CAIRN_OK;
    int rc = store_file_make(c->store, batch_key(change), change->key_size, batch_value(change), change->value_size,
                             &p->file, &p->descriptor, c->error);
    if (rc != CAIRN_OK) p->file = NULL;
    p->applied.new_file_size = rc == CAIRN_OK ? p->descriptor.file_size : 0;
    return rc;
}

/* The part's record as the next of the group. */
static int put_into_group(batch_commit *c, batch_part *p) {
    batch_group *g = &c->group;
    const batch_change *change = p->change;
    vlog_record *r = &g->records[g->count];
    int rc = CAIRN_OK;
    g->packed[g->count] = (packed){.codec = CODEC_RAW};
    if (change->removes) {
        *r = (vlog_record){.type = RECORD_DELETE};
    } else if (change->value_size > vlog_payload_max(c->store->log)) {
        rc = make_file(c, p);
        if (rc == CAIRN_OK) *r = store_file_record(g->payloads[g->count], &p->descriptor);
    } else {
        *r = (vlog_record){.type = RECORD_PUT,
                           .payload = batch_value(change),
                           .payload_size = change->value_size,
                           .value_size = change->value_size};
        rc = vlog_pack(c->store->log, r, &g->packed[g->count], c->error);
    }
    if (rc != CAIRN_OK) {
        packed_release(&g->packed[g->count]);
        return rc;
    }
    r->hash = p->hash;
    r->key = batch_key(change);
    r->key_size = change->key_size;
    r->flags = (uint8_t)(RECORD_BATCH | (p->collides ? RECORD_COLLIDES : 0) | (p->written ? RECORD_REPLACES : 0));
    r->replaces = p->written ? p->place : 0;
    r->batch = c->batch;
    r->expires_at_ms = change->removes ? 0 : c->expires_at_ms;
    g->parts[g->count++] = p;
    g->bytes += r->payload_size;
    return CAIRN_OK;
}

static void note_written(batch_commit *c, batch_part *p, const vlog_appended *appended) {
    if (c->batch == 0) c->batch = appended->place;
    c->written += !p->written;
    p->written = true;
    p->place = appended->place;
    p->version = appended->version;
    p->applied.to = p->change->removes ? LOCATION_NONE : appended->where;
    p->applied.expires_at_ms = p->change->removes ? 0 : c->expires_at_ms;
    c->unsynced += location_units(appended->where) * UNIT_BYTES;
}

void batch_drop_waiting(batch_commit *c) {
    batch_group *g = &c->group;
    for (size_t i = 0; i < g->count; i++) {
        packed_release(&g->packed[i]);
    }
    g->count = 0;
    g->bytes = 0;
}

int batch_flush(batch_commit *c) {
    batch_group *g = &c->group;
    vlog_appended appended[VLOG_APPEND_MANY];
    int rc = g->count == 0   ? CAIRN_OK
             : g->count == 1 ? vlog_append(c->store->log, &g->records[0], &appended[0], c->error)
                             : vlog_append_many(c->store->log, g->records, g->count, appended, c->error);
    for (size_t i = 0; rc == CAIRN_OK && i < g->count; i++) {
        note_written(c, g->parts[i], &appended[i]);
    }
    batch_drop_waiting(c);
    return rc;
}

int batch_add_part(batch_commit *c, batch_part *p) {
    int rc = put_into_group(c, p);
    if (rc != CAIRN_OK) return rc;
    /* All others name the first part's place, so it goes alone. */
    bool waits = c->batch != 0 && c->group.count < VLOG_APPEND_MANY && c->group.bytes < GROUP_BYTES;
    return waits ? CAIRN_OK : batch_flush(c);
}

int batch_write_part(batch_commit *c, batch_part *p) {
    int rc = put_into_group(c, p);
    return rc == CAIRN_OK ? batch_flush(c) : rc;
}

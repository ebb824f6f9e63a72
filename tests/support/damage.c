#include "tests/support/damage.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "tests/support/rung.h"
#include "vlog/footer.h"
#include "vlog/record.h"
#include "vlog/segment.h"

#include <stdlib.h>
#include <string.h>

const char *const damage_names[DAMAGE_KINDS] = {"flipped", "cut",     "grown",    "zeroed",    "noise",
                                                "removed", "emptied", "replaced", "exchanged", "outdated"};

static void overwrite(const specimen *s, sim_disk *disk, const damage *d, uint64_t *rng) {
    const specimen_file *f = &s->files[d->file];
    size_t size = (size_t)max_u64(f->size, d->at + d->size);
    uint8_t *bytes = calloc(1, size + 1);
    CHECK(bytes != NULL);
    memcpy(bytes, f->bytes, f->size);
    bool zeros = d->kind == ZEROED || (d->kind == GROWN && random_one_in(rng, 2));
    for (uint64_t i = d->at; i < d->at + d->size; i++)
        bytes[i] = zeros ? 0 : (uint8_t)random_next(rng);
    sim_file_write(disk, SPECIMEN_STORE, f->name, bytes, size);
    free(bytes);
}

void damage_inflict(const damage *d, const specimen *s, sim_disk *disk, uint64_t *rng) {
    const specimen_file *f = &s->files[d->file];
    const specimen_file *other = d->donor != NULL ? &d->donor->files[d->donor_file] : NULL;
    switch (d->kind) {
    case FLIPPED:
        CHECK(sim_file_poke(disk, SPECIMEN_STORE, f->name, d->at, d->mask));
        break;
    case CUT:
        CHECK(sim_file_resize(disk, SPECIMEN_STORE, f->name, d->at));
        break;
    case GROWN:
    case ZEROED:
    case NOISE:
        overwrite(s, disk, d, rng);
        break;
    case REMOVED:
        CHECK(sim_file_remove(disk, SPECIMEN_STORE, f->name));
        break;
    case EMPTIED:
        sim_file_write(disk, SPECIMEN_STORE, f->name, "", 0);
        break;
    case EXCHANGED:
        sim_file_write(disk, SPECIMEN_STORE, other->name, f->bytes, f->size);
        sim_file_write(disk, SPECIMEN_STORE, f->name, other->bytes, other->size);
        break;
    case REPLACED:
        sim_file_write(disk, SPECIMEN_STORE, f->name, other->bytes, other->size);
        break;
    case OUTDATED:
        sim_file_write(disk, SPECIMEN_STORE, f->name, s->old_root, s->old_root_size);
        break;
    }
}

bool damage_touches(const damage *d, unsigned file, uint64_t begin, uint64_t end) {
    if (d->kind == EXCHANGED && file == d->donor_file) return true;
    if (file != d->file) return false;
    switch (d->kind) {
    case FLIPPED:
        return d->at >= begin && d->at < end;
    case CUT:
        return end > d->at;
    case GROWN:
        return false;
    case ZEROED:
    case NOISE:
        return begin < d->at + d->size && d->at < end;
    default:
        return true;
    }
}

bool damage_touches_record(const damage *d, const specimen_record *r) {
    return damage_touches(d, r->file, r->begin, r->end);
}

/* ---- The law ---- */

size_t damage_lowest_row(const damage *d, const specimen *s) {
    bool open_hit = s->files[d->file].open || (d->kind == EXCHANGED && s->files[d->donor_file].open);
    if (!open_hit || d->kind == GROWN) return s->steps;
    uint64_t durable = max_u64(s->manifest_durable, s->checkpoint_end);
    size_t whole = 0, row = 0;
    for (size_t i = 0; i < s->steps; i++) {
        const specimen_record *r = &s->records[i];
        if (damage_touches_record(d, r)) continue;
        durable = max_u64(durable, r->durable_place);
        if (whole == i) whole = i + 1;
    }
    while (row < s->steps && s->records[row].next_place <= durable)
        row++;
    return max_u64(row, whole);
}

/* Every step from this place on may have been torn, so damage there is a torn tail, not a damaged value. */
static bool is_doubtful(const damage *d, const specimen *s, const specimen_record *r) {
    uint64_t durable = max_u64(s->manifest_durable, s->checkpoint_end);
    if (!s->files[r->file].open || d->donor != NULL) return false;
    for (size_t i = 0; i < s->steps; i++)
        durable = max_u64(durable, s->records[i].durable_place);
    return r->next_place > durable;
}

static const specimen_record *newest_record(const specimen *s, unsigned key, size_t row) {
    for (size_t i = row; i-- > 0;) {
        if (s->records[i].key == key) return &s->records[i];
    }
    return NULL;
}

static bool touches_value_file(const damage *d, const specimen *s, const char *name) {
    for (unsigned i = 0; i < s->file_count; i++) {
        if (!s->files[i].value || strcmp(s->files[i].name, name) != 0) continue;
        return damage_touches(d, i, 0, UINT64_MAX) || (d->kind == GROWN && i == d->file);
    }
    return false;
}

bool damage_may_fail(const damage *d, const specimen *s, unsigned key, size_t row) {
    unsigned v = s->state[row][key];
    if (v != SPECIMEN_ABSENT) {
        const specimen_record *r = newest_record(s, key, row);
        if (damage_touches_record(d, r)) return !is_doubtful(d, s, r);
        return touches_value_file(d, s, s->values[v].file);
    }
    /* What cannot be read may have been this key's. */
    for (size_t i = 0; i < row; i++) {
        if (specimen_same_hash(s, key, s->records[i].key) && damage_touches_record(d, &s->records[i])) return true;
    }
    return false;
}

/* A byte that a checksum covers and that verification reads. */
static bool byte_is_verified(const specimen *s, unsigned file, uint64_t at) {
    const specimen_file *f = &s->files[file];
    if (f->value) return f->live;
    if (!f->segment) return false;
    if (at < SEGMENT_DATA_OFFSET) return true;
    if (at >= f->record_end) {
        uint64_t entries = le64_get(f->bytes + f->size - FOOTER_TRAILER_BYTES + 24);
        return at < f->record_end + entries || at >= f->size - FOOTER_TRAILER_BYTES;
    }
    const specimen_record *r = specimen_record_at(s, file, at);
    return at < r->value_begin + r->value_size;
}

bool damage_is_verified(const damage *d, const specimen *s) {
    const specimen_file *f = &s->files[d->file];
    bool whole = f->segment ? !f->open : f->live; /* its size is known */
    switch (d->kind) {
    case FLIPPED:
        return byte_is_verified(s, d->file, d->at);
    case CUT:
    case GROWN:
    case REMOVED:
    case EMPTIED:
        return whole;
    default:
        return false;
    }
}

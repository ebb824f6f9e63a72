/* The codec of segment footers. Format: vlog/FORMAT.md, "Footer".
 *
 * The reader hands out nothing that it has not bounded: every entry lies behind the one before, inside the records'
 * part of the segment, with a length that a record of its type can have. Counts and sums are compared with the
 * trailer's at the end, so a caller that acts on entries as they come (rather than after the 0) must be able to undo.
 */
#include "vlog/footer.h"

#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"
#include "src/base/status.h"
#include "src/os/os_memory.h"
#include "vlog/record.h"

#define ENTRY_BYTES_MAX (2 + 16 + 7 * VARINT_SIZE_MAX)
#define ENTRY_BYTES_MIN 4  /* a SKIP with small numbers */
#define RECORD_UNITS_MIN 2 /* fixed part and one byte of key */
#define PADDING_MAX 7u
#define CAPACITY_STEP 4096u

static const char trailer_magic[8] = {'C', 'A', 'I', 'R', 'N', 'F', 'T', 'R'};

enum trailer_field {
    AT_CHECKSUM = 0,
    AT_MAGIC = 8,
    AT_ENTRIES_OFFSET = 16,
    AT_ENTRIES_SIZE = 24,
    AT_ENTRIES_CHECKSUM = 32,
    AT_COUNT = 40,
    AT_FIRST_PLACE = 48,
    AT_END_PLACE = 56,
    AT_LOWEST_VERSION = 64,
    AT_HIGHEST_VERSION = 72,
    AT_RECORD_END = 80
};

static uint64_t trailer_seed(uint64_t seed) { return seed + 1; }
static uint64_t entries_seed(uint64_t seed) { return seed + 2; }

footer_entry footer_entry_of(const record_header *h, uint64_t offset) {
    return (footer_entry){.type = h->type,
                          .flags = h->flags,
                          .offset = offset,
                          .units = h->units,
                          .place = h->place,
                          .version = h->version,
                          .expires_at_ms = h->expires_at_ms,
                          .batch = h->batch,
                          .replaces = h->replaces,
                          .parts = h->type == RECORD_COMMIT ? h->value_size : 0};
}

/* ---- Building ---- */

void footer_builder_init(footer_builder *b, uint64_t first_offset) {
    *b = (footer_builder){.lowest_version = UINT64_MAX, .next_offset = first_offset};
}

void footer_builder_release(footer_builder *b) {
    if (b->bytes != NULL) os_pages_free(b->bytes, b->capacity);
    *b = (footer_builder){.lowest_version = UINT64_MAX};
}

int footer_builder_reserve(footer_builder *b, size_t entries) {
    size_t needed = b->size + entries * ENTRY_BYTES_MAX + PADDING_MAX + FOOTER_TRAILER_BYTES;
    if (needed <= b->capacity) return CAIRN_OK;
    size_t capacity = round_up(max_u64(b->size + b->size / 2, needed), CAPACITY_STEP);
    uint8_t *bytes = b->bytes == NULL ? os_pages_alloc(capacity) : os_pages_resize(b->bytes, b->capacity, capacity);
    if (bytes == NULL) return CAIRN_NO_MEMORY;
    b->bytes = bytes;
    b->capacity = capacity;
    return CAIRN_OK;
}

int footer_builder_restore(footer_builder *b, const uint8_t *entries, size_t size) {
    CHECK(b->size == 0);
    if (size == 0) return CAIRN_OK;
    if (footer_builder_reserve(b, size / ENTRY_BYTES_MAX + 1) != CAIRN_OK) return CAIRN_NO_MEMORY;
    memcpy(b->bytes, entries, size);
    b->size = size;
    return CAIRN_OK;
}

static bool entry_has_key(const footer_entry *e) { return !record_is_nothing(e->type) && e->type != RECORD_COMMIT; }

void footer_builder_add(footer_builder *b, const footer_entry *entry) {
    CHECK(b->capacity - b->size >= ENTRY_BYTES_MAX);
    CHECK(entry->offset == b->next_offset && entry->units >= 1);
    CHECK(b->count == 0 || entry->place >= b->end_place);
    if (b->count == 0) b->first_place = b->end_place = entry->place;

    uint8_t *next = b->bytes + b->size;
    *next++ = entry->type;
    *next++ = entry->flags;
    if (entry_has_key(entry)) {
        le64_put(next, entry->hash.index);
        le64_put(next + 8, entry->hash.check);
        next += 16;
    }
    next = varint_put(next, entry->units);
    next = varint_put(next, zigzag(entry->place - b->end_place));
    if (!record_is_nothing(entry->type)) {
        CHECK(entry->version != 0);
        next = varint_put(next, zigzag(entry->version - b->previous_version));
        b->previous_version = entry->version;
        b->lowest_version = min_u64(b->lowest_version, entry->version);
        b->highest_version = max_u64(b->highest_version, entry->version);
    }
    if (entry->type == RECORD_STREAM) next = varint_put(next, entry->value_file);
    if ((entry->flags & RECORD_EXPIRES) != 0) next = varint_put(next, entry->expires_at_ms);
    if ((entry->flags & RECORD_BATCH) != 0) next = varint_put(next, entry->place - entry->batch);
    if ((entry->flags & RECORD_REPLACES) != 0) next = varint_put(next, entry->place - entry->replaces);
    if (entry->type == RECORD_COMMIT) next = varint_put(next, entry->parts);

    b->size = (size_t)(next - b->bytes);
    b->count++;
    b->end_place = entry->place + 1;
    b->next_offset += entry->units * UNIT_BYTES;
}

int footer_build(footer_builder *b, uint64_t seed, const uint8_t **out, size_t *size, uint64_t *trailer_checksum) {
    if (footer_builder_reserve(b, 0) != CAIRN_OK) return CAIRN_NO_MEMORY;
    size_t padded = (size_t)round_up(b->size, 8);
    memset(b->bytes + b->size, 0, padded - b->size);

    uint8_t *trailer = b->bytes + padded;
    memset(trailer, 0, FOOTER_TRAILER_BYTES);
    memcpy(trailer + AT_MAGIC, trailer_magic, sizeof trailer_magic);
    le64_put(trailer + AT_ENTRIES_OFFSET, b->footer_offset != 0 ? b->footer_offset : b->next_offset);
    le64_put(trailer + AT_RECORD_END, b->footer_offset != 0 ? b->next_offset : 0);
    le64_put(trailer + AT_ENTRIES_SIZE, b->size);
    le64_put(trailer + AT_ENTRIES_CHECKSUM, checksum(b->bytes, b->size, entries_seed(seed)));
    le64_put(trailer + AT_COUNT, b->count);
    le64_put(trailer + AT_FIRST_PLACE, b->first_place);
    le64_put(trailer + AT_END_PLACE, b->end_place);
    le64_put(trailer + AT_LOWEST_VERSION, b->lowest_version);
    le64_put(trailer + AT_HIGHEST_VERSION, b->highest_version);
    *trailer_checksum = checksum(trailer + AT_MAGIC, FOOTER_TRAILER_BYTES - AT_MAGIC, trailer_seed(seed));
    le64_put(trailer + AT_CHECKSUM, *trailer_checksum);
    *out = b->bytes;
    *size = padded + FOOTER_TRAILER_BYTES;
    return CAIRN_OK;
}

/* ---- Reading ---- */

/* The lengths add up to the file's, and no more entries than bytes or units could hold. */
static bool trailer_lengths_agree(const footer_trailer *t, uint64_t file_size) {
    uint64_t end;
    if (t->entries_offset / UNIT_BYTES > ADDRESS_MAX) return false;
    if (t->entries_offset % UNIT_BYTES != 0 || add_overflows(t->entries_offset, t->entries_size, &end)) return false;
    if (end > file_size || round_up(t->entries_size, 8) + FOOTER_TRAILER_BYTES != file_size - t->entries_offset)
        return false;
    if (t->record_end > t->entries_offset || t->record_end % UNIT_BYTES != 0) return false;
    return t->count <= t->entries_size / ENTRY_BYTES_MIN && t->count <= t->record_end / UNIT_BYTES;
}

bool footer_trailer_decode(footer_trailer *t, const uint8_t in[FOOTER_TRAILER_BYTES], uint64_t file_size,
                           uint64_t seed) {
    footer_trailer d = {.checksum = le64_get(in + AT_CHECKSUM),
                        .entries_offset = le64_get(in + AT_ENTRIES_OFFSET),
                        .entries_size = le64_get(in + AT_ENTRIES_SIZE),
                        .entries_checksum = le64_get(in + AT_ENTRIES_CHECKSUM),
                        .count = le64_get(in + AT_COUNT),
                        .first_place = le64_get(in + AT_FIRST_PLACE),
                        .end_place = le64_get(in + AT_END_PLACE),
                        .lowest_version = le64_get(in + AT_LOWEST_VERSION),
                        .highest_version = le64_get(in + AT_HIGHEST_VERSION)};
    uint64_t record_end = le64_get(in + AT_RECORD_END);
    d.record_end = record_end != 0 ? record_end : d.entries_offset;
    if (memcmp(in + AT_MAGIC, trailer_magic, sizeof trailer_magic) != 0 ||
        d.checksum != checksum(in + AT_MAGIC, FOOTER_TRAILER_BYTES - AT_MAGIC, trailer_seed(seed)))
        return false;
    if (!trailer_lengths_agree(&d, file_size)) return false;
    if (d.first_place > d.end_place || d.end_place - d.first_place < d.count) return false;
    if (d.count == 0 && (d.entries_size != 0 || d.first_place != d.end_place)) return false;
    bool no_version = d.lowest_version == UINT64_MAX && d.highest_version == 0;
    if (!no_version && (d.lowest_version == 0 || d.lowest_version > d.highest_version)) return false;
    *t = d;
    return true;
}

bool footer_reader_init(footer_reader *r, const footer_trailer *t, const uint8_t *entries, uint64_t first_offset,
                        uint64_t seed) {
    if (t->record_end < first_offset) return false;
    if (t->entries_checksum != checksum(entries, t->entries_size, entries_seed(seed))) return false;
    *r = (footer_reader){.next = entries,
                         .end = entries + t->entries_size,
                         .left = t->count,
                         .next_offset = first_offset,
                         .next_place = t->first_place,
                         .lowest_version = UINT64_MAX,
                         .trailer = *t};
    return true;
}

/* What the flags say that there is. */
static const uint8_t *decode_extras(footer_entry *e, const uint8_t *in, const uint8_t *end) {
    uint64_t step;
    if ((e->flags & RECORD_EXPIRES) != 0 && (in = varint_get(in, end, &e->expires_at_ms)) == NULL) return NULL;
    if ((e->flags & RECORD_BATCH) != 0) {
        if ((in = varint_get(in, end, &step)) == NULL || step >= e->place) return NULL;
        e->batch = e->place - step;
    }
    if ((e->flags & RECORD_REPLACES) != 0) {
        if ((in = varint_get(in, end, &step)) == NULL || step == 0 || step > e->place - e->batch) return NULL;
        e->replaces = e->place - step;
    }
    return e->type == RECORD_COMMIT ? varint_get(in, end, &e->parts) : in;
}

/* The bytes of one entry; NULL when they are not one. Says nothing yet about what the numbers mean. */
static const uint8_t *decode_entry(const footer_reader *r, footer_entry *e) {
    const uint8_t *in = r->next;
    if (r->end - in < 2) return NULL;
    e->type = *in++;
    e->flags = *in++;
    bool skip = record_is_nothing(e->type);
    if (entry_has_key(e)) {
        if (r->end - in < 16) return NULL;
        e->hash = (key_hash){.index = le64_get(in), .check = le64_get(in + 8)};
        in += 16;
    }
    uint64_t place_step, version_step;
    if ((in = varint_get(in, r->end, &e->units)) == NULL) return NULL;
    if ((in = varint_get(in, r->end, &place_step)) == NULL) return NULL;
    e->place = r->next_place + unzigzag(place_step);
    if (!skip) {
        if ((in = varint_get(in, r->end, &version_step)) == NULL) return NULL;
        e->version = r->previous_version + unzigzag(version_step);
    }
    if (e->type == RECORD_STREAM && (in = varint_get(in, r->end, &e->value_file)) == NULL) return NULL;
    return decode_extras(e, in, r->end);
}

/* A record of this type, flags and length may stand at this offset. */
static bool entry_is_possible(const footer_entry *e) {
    if (record_is_nothing(e->type)) return e->flags == 0 && e->units >= 1;
    if (e->type < RECORD_PUT || e->type > RECORD_COMMIT) return false;
    if (!record_flags_agree(e->type, e->flags) || e->version == 0) return false;
    if ((e->type == RECORD_STREAM) != (e->value_file != 0)) return false;
    if ((e->type == RECORD_COMMIT) != (e->parts != 0)) return false;
    if (((e->flags & RECORD_EXPIRES) != 0) != (e->expires_at_ms != 0)) return false;
    return e->units >= RECORD_UNITS_MIN && length_round(e->units) == e->units;
}

static bool everything_agrees(const footer_reader *r) {
    const footer_trailer *t = &r->trailer;
    return r->next == r->end && r->next_offset == t->record_end && r->next_place == t->end_place &&
           r->lowest_version == t->lowest_version && r->highest_version == t->highest_version;
}

int footer_reader_next(footer_reader *r, footer_entry *entry) {
    if (r->left == 0) return everything_agrees(r) ? 0 : -1;
    footer_entry e = {.offset = r->next_offset};
    const uint8_t *next = decode_entry(r, &e);
    if (next == NULL) return -1;
    if (e.units > (r->trailer.record_end - e.offset) / UNIT_BYTES || !entry_is_possible(&e)) return -1;
    if (e.place < r->next_place || e.place >= r->trailer.end_place) return -1;
    if (r->left == r->trailer.count && e.place != r->trailer.first_place) return -1;

    r->next = next;
    r->left--;
    r->next_offset += e.units * UNIT_BYTES;
    r->next_place = e.place + 1;
    if (!record_is_nothing(e.type)) {
        r->previous_version = e.version;
        r->lowest_version = min_u64(r->lowest_version, e.version);
        r->highest_version = max_u64(r->highest_version, e.version);
    }
    *entry = e;
    return 1;
}

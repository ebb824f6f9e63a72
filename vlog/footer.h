/* Segment footers: every record of a sealed segment, without its value. Format: vlog/FORMAT.md. */
#ifndef CAIRN_VLOG_FOOTER_H
#define CAIRN_VLOG_FOOTER_H

#include "src/base/keyhash.h"
#include "vlog/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOOTER_TRAILER_BYTES 96u

typedef struct footer_entry {
    uint8_t type, flags;
    key_hash hash;
    uint64_t offset, units, place, version;
    uint64_t value_file;    /* STREAM only, else 0 */
    uint64_t expires_at_ms; /* with RECORD_EXPIRES, else 0 */
    uint64_t batch;         /* with RECORD_BATCH, else 0 */
    uint64_t replaces;      /* with RECORD_REPLACES, else 0 */
    uint64_t parts;         /* COMMIT only, else 0 */
} footer_entry;

/* What a footer says of a record; the caller adds hash and value file. */
footer_entry footer_entry_of(const record_header *h, uint64_t offset);

/* As it stands in a compacted segment, where what is there counts by itself. */
static inline void footer_entry_leave_batch(footer_entry *e) {
    e->flags &= (uint8_t) ~(RECORD_BATCH | RECORD_REPLACES);
    e->batch = e->replaces = 0;
}

/* Grows with the active segment; encodes as it goes, some 22 bytes a record. One thread at a time. Its memory is pages
 * of the system (src/os/os_memory.h): it gets large, and goes with its segment. */
typedef struct footer_builder {
    uint8_t *bytes; /* `size` of entries; room for padding and trailer behind them is part of every reservation */
    size_t size, capacity;
    uint64_t count, first_place, end_place, lowest_version, highest_version;
    uint64_t previous_version;
    uint64_t next_offset;   /* where the next record must begin */
    uint64_t footer_offset; /* where the footer will lie; 0: behind the last record */
} footer_builder;

void footer_builder_init(footer_builder *b, uint64_t first_offset);
void footer_builder_release(footer_builder *b);
/* Makes sure that the next `entries` calls of footer_builder_add do not fail. CAIRN_OK or CAIRN_NO_MEMORY (nothing
 * changed). */
int footer_builder_reserve(footer_builder *b, size_t entries);
/* Puts entries there that a builder had before: only bytes and size. Nothing else is in it. CAIRN_OK or
 * CAIRN_NO_MEMORY. */
int footer_builder_restore(footer_builder *b, const uint8_t *entries, size_t size);
/* Entries come in order of offset without a gap (CHECKed). Room is reserved. */
void footer_builder_add(footer_builder *b, const footer_entry *entry);

/* The whole footer (entries, padding, trailer) for a segment whose records end at b->next_offset. *out is the
 * builder's, valid until the builder is changed or released. *trailer_checksum is what the manifest keeps. CAIRN_OK or
 * CAIRN_NO_MEMORY. */
int footer_build(footer_builder *b, uint64_t seed, const uint8_t **out, size_t *size, uint64_t *trailer_checksum);

typedef struct footer_trailer {
    uint64_t checksum, entries_offset, entries_size, entries_checksum, count;
    uint64_t first_place, end_place, lowest_version, highest_version;
    uint64_t record_end; /* where the records end */
} footer_trailer;

/* Decodes the last FOOTER_TRAILER_BYTES of a file of file_size bytes. false: not a valid trailer for such a file. */
bool footer_trailer_decode(footer_trailer *t, const uint8_t in[FOOTER_TRAILER_BYTES], uint64_t file_size,
                           uint64_t seed);

/* Verifies the entries' checksum and decodes them one by one. */
typedef struct footer_reader {
    const uint8_t *next, *end;
    uint64_t left; /* entries */
    uint64_t next_offset, next_place;
    uint64_t previous_version, lowest_version, highest_version; /* of the entries so far */
    footer_trailer trailer;
} footer_reader;
bool footer_reader_init(footer_reader *r, const footer_trailer *t, const uint8_t *entries, uint64_t first_offset,
                        uint64_t seed);
/* 1: *entry is set; 0: the end, and everything agrees with the trailer; -1: damaged. */
int footer_reader_next(footer_reader *r, footer_entry *entry);

#endif

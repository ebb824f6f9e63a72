/* What writer and reader of value files share: sizes, header block, table pages, trailer, and how their errors read.
 * Format: vlog/FORMAT.md, "Value file". */
#ifndef CAIRN_VLOG_VALUE_FORMAT_H
#define CAIRN_VLOG_VALUE_FORMAT_H

#include "vlog/file_header.h"
#include "vlog/record.h"
#include "vlog/value_file.h"

#define VALUE_TABLE_PAGE_BYTES ((size_t)4096)
#define VALUE_TABLE_PAGE_FRAMES ((uint64_t)511)
#define VALUE_TRAILER_FIXED_BYTES ((size_t)64)
#define VALUE_TRAILER_BYTES_MAX (VALUE_TRAILER_FIXED_BYTES + RECORD_KEY_MAX)

static inline uint64_t value_table_pages(uint64_t frames) {
    return frames / VALUE_TABLE_PAGE_FRAMES + (frames % VALUE_TABLE_PAGE_FRAMES != 0);
}

/* Fills everything but id and trailer_checksum. */
void value_descriptor_layout(value_descriptor *d, uint64_t value_size, size_t key_size);

/* `seed` is file_seed(salt, id, 0) in all of these. */
file_header value_header(const uint8_t store_id[16], uint64_t id, uint64_t seed);

/* Sets the checksum of a page whose entries are there. */
void value_page_seal(uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed);
bool value_page_valid(const uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed);
static inline uint8_t *value_page_entries(uint8_t *page) { return page + 8; }

/* Fills out[d->file_size - d->trailer_offset] and sets d->trailer_checksum. */
void value_trailer_encode(uint8_t *out, value_descriptor *d, const void *key, size_t key_size, uint64_t seed);
/* The bytes are the trailer that the descriptor means, for this key. */
bool value_trailer_valid(const uint8_t *in, const value_descriptor *d, const void *key, size_t key_size, uint64_t seed);

/* Errors that name file and offset. */
int value_damaged(cairn_error *error, uint64_t id, uint64_t offset, const char *what);
int value_os_error(cairn_error *error, int negative_errno, uint64_t id, uint64_t offset, const char *what);

#endif

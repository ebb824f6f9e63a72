/* What writer and reader of value files share: sizes, header block, table pages, trailer, and how their errors read.
 * Format: vlog/FORMAT.md, "Value file". */
#ifndef CAIRN_VLOG_VALUE_FORMAT_H
#define CAIRN_VLOG_VALUE_FORMAT_H

#include "src/base/check.h"
#include "vlog/file_header.h"
#include "vlog/record.h"
#include "vlog/value_file.h"

#define VALUE_TABLE_PAGE_BYTES ((size_t)4096)
#define VALUE_TRAILER_FIXED_BYTES ((size_t)64)
#define VALUE_TRAILER_BYTES_MAX (VALUE_TRAILER_FIXED_BYTES + RECORD_KEY_MAX)

/* Frames that one page has entries for: checksums alone, or, compressed, with stored lengths, behind the offset of the
 * page's first frame. */
#define VALUE_PAGE_FRAMES_RAW ((uint64_t)511)
#define VALUE_PAGE_FRAMES_PACKED ((uint64_t)340)
static inline uint64_t value_page_frames(uint8_t codec) {
    return codec == CODEC_RAW ? VALUE_PAGE_FRAMES_RAW : VALUE_PAGE_FRAMES_PACKED;
}

static inline uint64_t value_table_pages(uint8_t codec, uint64_t frames) {
    uint64_t in_page = value_page_frames(codec);
    return frames / in_page + (frames % in_page != 0);
}

static inline size_t value_frame_length(uint64_t value_size, uint64_t frame) {
    return (size_t)min_u64(FRAME_BYTES, value_size - frame * FRAME_BYTES);
}

/* Fills everything but id and trailer_checksum. stored_size is value_size where the codec is raw. */
void value_descriptor_layout(value_descriptor *d, uint8_t codec, uint64_t value_size, uint64_t stored_size,
                             size_t key_size);

/* `seed` is file_seed(salt, id, 0) in all of these. */
file_header value_header(const uint8_t store_id[16], uint64_t id, uint64_t seed);

/* Sets the checksum of a page whose entries are there. */
void value_page_seal(uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed);
bool value_page_valid(const uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed);
/* Offset of entry `slot` in a page: 8 bytes of checksum and, compressed, 4 of stored length. */
static inline size_t value_page_entry(uint8_t codec, uint64_t slot) {
    return (codec == CODEC_RAW ? 8 : 16) + record_table_step(codec) * (size_t)slot;
}
#define VALUE_PAGE_FIRST ((size_t)8)   /* compressed: where the page's first frame begins, from byte 4096 of the file */
#define VALUE_ENTRY_LENGTH ((size_t)8) /* in an entry: the stored length */

/* Fills out[d->file_size - d->trailer_offset] and sets d->trailer_checksum. */
void value_trailer_encode(uint8_t *out, value_descriptor *d, const void *key, size_t key_size, uint64_t seed);
/* The bytes are the trailer that the descriptor means, for this key. */
bool value_trailer_valid(const uint8_t *in, const value_descriptor *d, const void *key, size_t key_size, uint64_t seed);

/* Errors that name file and offset. */
int value_damaged(cairn_error *error, uint64_t id, uint64_t offset, const char *what);
int value_os_error(cairn_error *error, int negative_errno, uint64_t id, uint64_t offset, const char *what);

#endif

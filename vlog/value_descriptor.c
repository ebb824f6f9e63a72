/* The payload of a STREAM record: where the parts of a value file are. Format: vlog/FORMAT.md, "STREAM".
 *
 * All of it but the id, the trailer's checksum and the key's size follows from codec, value size and stored size. So a
 * descriptor that was decoded names parts that lie one behind the other without overflow, whatever the bytes were. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/value_format.h"

enum field_offset {
    AT_ID = 0,
    AT_STORED_SIZE = 8,
    AT_FRAMES = 16,
    AT_TABLE_OFFSET = 24,
    AT_TRAILER_OFFSET = 32,
    AT_FILE_SIZE = 40,
    AT_TRAILER_CHECKSUM = 48,
    AT_CODEC = 56,
    AT_FRAME_SHIFT = 57,
    AT_RESERVED = 58
};

void value_descriptor_layout(value_descriptor *d, uint8_t codec, uint64_t value_size, uint64_t stored_size,
                             size_t key_size) {
    CHECK(value_size <= CAIRN_VALUE_SIZE_MAX && key_size >= 1 && key_size <= RECORD_KEY_MAX);
    CHECK(stored_size <= value_size && (codec == CODEC_ZSTD || stored_size == value_size));
    d->value_size = value_size;
    d->stored_size = stored_size;
    d->frames = frames_of(value_size);
    d->table_offset = round_up(VALUE_FILE_DATA_OFFSET + d->stored_size, BLOCK_BYTES);
    d->trailer_offset = d->table_offset + value_table_pages(codec, d->frames) * VALUE_TABLE_PAGE_BYTES;
    d->file_size = d->trailer_offset + round_up(VALUE_TRAILER_FIXED_BYTES + key_size, 64);
    d->codec = codec;
    d->frame_shift = FRAME_SHIFT;
}

void value_descriptor_encode(uint8_t out[VALUE_DESCRIPTOR_BYTES], const value_descriptor *d) {
    le64_put(out + AT_ID, d->id);
    le64_put(out + AT_STORED_SIZE, d->stored_size);
    le64_put(out + AT_FRAMES, d->frames);
    le64_put(out + AT_TABLE_OFFSET, d->table_offset);
    le64_put(out + AT_TRAILER_OFFSET, d->trailer_offset);
    le64_put(out + AT_FILE_SIZE, d->file_size);
    le64_put(out + AT_TRAILER_CHECKSUM, d->trailer_checksum);
    out[AT_CODEC] = d->codec;
    out[AT_FRAME_SHIFT] = d->frame_shift;
    memset(out + AT_RESERVED, 0, VALUE_DESCRIPTOR_BYTES - AT_RESERVED);
}

/* Raw frames are as long as the value. Compressed ones are shorter together, and none is empty. */
static bool stored_size_agrees(uint8_t codec, uint64_t value_size, uint64_t stored_size) {
    if (codec == CODEC_RAW) return stored_size == value_size;
    return codec == CODEC_ZSTD && stored_size >= frames_of(value_size) && stored_size < value_size;
}

bool value_descriptor_decode(value_descriptor *d, const uint8_t in[VALUE_DESCRIPTOR_BYTES], uint64_t value_size) {
    uint64_t stored_size = le64_get(in + AT_STORED_SIZE), file_size = le64_get(in + AT_FILE_SIZE);
    if (value_size > CAIRN_VALUE_SIZE_MAX || !stored_size_agrees(in[AT_CODEC], value_size, stored_size)) return false;
    value_descriptor e = {.id = le64_get(in + AT_ID), .trailer_checksum = le64_get(in + AT_TRAILER_CHECKSUM)};
    value_descriptor_layout(&e, in[AT_CODEC], value_size, stored_size, 1);
    uint64_t shortest = e.file_size, longest = e.trailer_offset + VALUE_TRAILER_BYTES_MAX;
    if (file_size < shortest || file_size > longest || file_size % 64 != 0) return false;
    e.file_size = file_size;
    if (e.id == 0 || le64_get(in + AT_FRAMES) != e.frames || le64_get(in + AT_TABLE_OFFSET) != e.table_offset ||
        le64_get(in + AT_TRAILER_OFFSET) != e.trailer_offset || in[AT_FRAME_SHIFT] != e.frame_shift)
        return false;
    *d = e;
    return true;
}

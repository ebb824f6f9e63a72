/* The payload of a STREAM record: where the parts of a value file are. Format: vlog/FORMAT.md, "STREAM".
 *
 * All of it but the id, the trailer's checksum and the key's size follows from the value's size. So a descriptor that
 * was decoded names parts that lie one behind the other without overflow, whatever the bytes were. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/value_format.h"

#define CODEC_RAW 0u

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

void value_descriptor_layout(value_descriptor *d, uint64_t value_size, size_t key_size) {
    CHECK(value_size <= CAIRN_VALUE_SIZE_MAX && key_size >= 1 && key_size <= RECORD_KEY_MAX);
    d->value_size = d->stored_size = value_size;
    d->frames = frames_of(value_size);
    d->table_offset = round_up(VALUE_FILE_DATA_OFFSET + d->stored_size, BLOCK_BYTES);
    d->trailer_offset = d->table_offset + value_table_pages(d->frames) * VALUE_TABLE_PAGE_BYTES;
    d->file_size = d->trailer_offset + round_up(VALUE_TRAILER_FIXED_BYTES + key_size, 64);
    d->codec = CODEC_RAW;
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

bool value_descriptor_decode(value_descriptor *d, const uint8_t in[VALUE_DESCRIPTOR_BYTES], uint64_t value_size) {
    if (value_size > CAIRN_VALUE_SIZE_MAX) return false;
    value_descriptor e = {.id = le64_get(in + AT_ID), .trailer_checksum = le64_get(in + AT_TRAILER_CHECKSUM)};
    value_descriptor_layout(&e, value_size, 1);
    uint64_t file_size = le64_get(in + AT_FILE_SIZE);
    uint64_t shortest = e.file_size, longest = e.trailer_offset + VALUE_TRAILER_BYTES_MAX;
    if (file_size < shortest || file_size > longest || file_size % 64 != 0) return false;
    e.file_size = file_size;
    if (e.id == 0 || le64_get(in + AT_STORED_SIZE) != e.stored_size || le64_get(in + AT_FRAMES) != e.frames ||
        le64_get(in + AT_TABLE_OFFSET) != e.table_offset || le64_get(in + AT_TRAILER_OFFSET) != e.trailer_offset ||
        in[AT_CODEC] != e.codec || in[AT_FRAME_SHIFT] != e.frame_shift)
        return false;
    *d = e;
    return true;
}

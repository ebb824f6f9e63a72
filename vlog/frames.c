/* Checksums of a value's frames. Each stands alone (seed 0), so that a part of a value is verified without the rest;
 * what binds it to its place is the checksum of the table that holds it. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "vlog/record.h"

void frames_compute(uint64_t *out, const void *value, uint64_t size) {
    const uint8_t *next = value;
    while (size > 0) {
        uint64_t piece = min_u64(size, FRAME_BYTES);
        *out++ = checksum(next, piece, 0);
        next += piece;
        size -= piece;
    }
}

uint64_t frames_verify(const uint8_t *table, const void *data, uint64_t size) {
    const uint8_t *next = data;
    for (uint64_t frame = 0; size > 0; frame++) {
        uint64_t piece = min_u64(size, FRAME_BYTES);
        if (checksum(next, piece, 0) != le64_get(table + 8 * frame)) return frame;
        next += piece;
        size -= piece;
    }
    return UINT64_MAX;
}

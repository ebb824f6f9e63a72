#include "tests/support/earlier_records.h"

#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"

#include <string.h>

void earlier_skip(uint8_t out[RECORD_SKIP_HEADER_BYTES], uint64_t units, uint64_t place, uint64_t durable_place,
                  uint64_t seed) {
    memset(out, 0, RECORD_SKIP_HEADER_BYTES);
    le32_put(out + 8, RECORD_MAGIC);
    out[12] = RECORD_SKIP;
    le32_put(out + 16, RECORD_SKIP_HEADER_BYTES);
    le64_put(out + 24, units);
    le64_put(out + 32, place);
    le64_put(out + 48, durable_place);
    record_rebind(out, RECORD_SKIP_HEADER_BYTES, seed);
}

void earlier_layout(record_header *header) {
    record_layout(header);
    if (header->units * UNIT_BYTES < RECORD_LARGE_BYTES) return;
    header->header_size = (uint32_t)round_up(header->header_size, BLOCK_BYTES);
    header->units = length_round(round_up(header->header_size + header->stored_size, BLOCK_BYTES) / UNIT_BYTES);
}

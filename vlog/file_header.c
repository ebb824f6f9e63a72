#include "vlog/file_header.h"

#include "src/base/checksum.h"
#include "src/base/codec.h"

#define FORMAT_MAJOR 1u

enum field {
    AT_MAGIC = 0,
    AT_MAJOR = 8,
    AT_MINOR = 10,
    AT_STORE_ID = 16,
    AT_ID = 32,
    AT_GENERATION = 40,
    AT_BASE_GRANULE = 48,
    AT_GRANULES = 56,
    AT_RESERVED = 64,
    AT_CHECKSUM = 4088
};

_Static_assert(AT_CHECKSUM + 8 == BLOCK_BYTES, "the block ends with its checksum");

void file_header_encode(uint8_t block[BLOCK_BYTES], const file_header *h) {
    memset(block, 0, BLOCK_BYTES);
    memcpy(block + AT_MAGIC, h->magic, 8);
    le16_put(block + AT_MAJOR, FORMAT_MAJOR);
    memcpy(block + AT_STORE_ID, h->store_id, 16);
    le64_put(block + AT_ID, h->id);
    le64_put(block + AT_GENERATION, h->generation);
    le64_put(block + AT_BASE_GRANULE, h->base_granule);
    le64_put(block + AT_GRANULES, h->granules);
    le64_put(block + AT_CHECKSUM, checksum(block, AT_CHECKSUM, h->seed));
}

bool file_header_valid(const uint8_t block[BLOCK_BYTES], const file_header *h) {
    uint8_t expected[BLOCK_BYTES];
    file_header_encode(expected, h);
    return memcmp(block, expected, AT_MINOR) == 0 &&
           memcmp(block + AT_STORE_ID, expected + AT_STORE_ID, AT_RESERVED - AT_STORE_ID) == 0 &&
           le64_get(block + AT_CHECKSUM) == checksum(block, AT_CHECKSUM, h->seed);
}

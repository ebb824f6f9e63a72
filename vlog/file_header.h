/* The block at the beginning of every segment and value file: what the file is and where it belongs. Format:
 * vlog/FORMAT.md, "Segment". */
#ifndef CAIRN_VLOG_FILE_HEADER_H
#define CAIRN_VLOG_FILE_HEADER_H

#include "vlog/record.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct file_header {
    const char *magic;       /* 8 bytes */
    const uint8_t *store_id; /* 16 bytes */
    uint64_t id, generation, base_granule, granules;
    uint64_t seed; /* file_seed(salt, id, generation) */
} file_header;

void file_header_encode(uint8_t block[BLOCK_BYTES], const file_header *header);
/* The block is of this format version and says the same. A later minor version may use the reserved bytes. */
bool file_header_valid(const uint8_t block[BLOCK_BYTES], const file_header *header);

#endif

/* The root of a checkpoint in memory, and its bytes. Pure: no files, no index. Layout: index/FORMAT.md. */
#ifndef CAIRN_INDEX_CHECKPOINT_ROOT_H
#define CAIRN_INDEX_CHECKPOINT_ROOT_H

#include "index/checkpoint.h"
#include "index/hash_shard.h"

#define ROOT_MAGIC "cairn-ix" /* 8 bytes, no NUL */
#define ROOT_MAJOR 1u
#define ROOT_MINOR 0u
#define ROOT_HEAD_BYTES 128u
#define ROOT_ROW_BYTES 32u
#define ROOT_CHECKSUM_BYTES 8u
#define IMAGE_ALIGN 64u   /* images begin at multiples of this */
#define BLOCK_BYTES 4096u /* no block holds an image of the published root and one that is being written */

/* One shard; all zero: it has no entries and no image. */
typedef struct checkpoint_row {
    uint64_t offset; /* in CHECKPOINT.DATA */
    hash_shape shape;
    uint64_t checksum;
} checkpoint_row;

typedef struct checkpoint_root {
    checkpoint_info info;
    uint64_t data_bytes; /* the end of the last image */
    checkpoint_row rows[HASH_INDEX_SHARDS];
} checkpoint_root;

/* Seed of the checksum of a shard's image. */
uint64_t root_image_seed(const uint8_t store_id[16], unsigned shard);

/* The shards that have an image, by ascending offset. */
typedef struct image_order {
    unsigned count;
    uint16_t shards[HASH_INDEX_SHARDS];
} image_order;
void root_order(const checkpoint_root *root, image_order *order);

uint64_t root_image_bytes(const checkpoint_root *root); /* of all images together */

/* Sets info.entries and data_bytes from the rows. */
void root_sum(checkpoint_root *root);

/* *bytes is malloc. CAIRN_OK or CAIRN_NO_MEMORY. */
int root_encode(const checkpoint_root *root, const uint8_t *blob, size_t blob_size, uint8_t **bytes, size_t *size,
                cairn_error *error);

/* Checks all that can be checked without the images: versions, checksum, every row, that images do not overlap. *blob
 * points into bytes. CAIRN_OK or CAIRN_CORRUPT. */
int root_decode(checkpoint_root *root, const uint8_t *bytes, uint64_t size, const uint8_t **blob, size_t *blob_size,
                cairn_error *error);

#endif

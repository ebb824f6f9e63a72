/* Checkpoints of the hash index: a cache of the log, never the only copy of anything. Format: index/FORMAT.md.
 *
 * Two files. CHECKPOINT.DATA holds shard images in extents; CHECKPOINT, the root, holds for each shard where its image
 * lies and its checksum, the log position from which replay begins, the position where the writing ended, and an opaque
 * blob of the caller's. A checkpoint writes only shards that changed since their last image, into extents that neither
 * the published root nor the new one names, syncs, and publishes by replacing the root (write CHECKPOINT.NEW, sync,
 * rename, sync of the directory). So the newest published checkpoint is whole at every moment, and the data file stays
 * within two and a half images.
 *
 * The image is fuzzy: shards are copied one at a time while writers go on. The caller's promise is that every change
 * before `start` is in the index when checkpoint_write is called; replay from `start` makes the rest right, because
 * putting and deleting in log order is idempotent.
 */
#ifndef CAIRN_INDEX_CHECKPOINT_H
#define CAIRN_INDEX_CHECKPOINT_H

#include "include/cairn.h"
#include "index/hash_index.h"
#include "src/os/os_transfer.h"

#define CHECKPOINT_ROOT_NAME "CHECKPOINT"
#define CHECKPOINT_ROOT_NEW_NAME "CHECKPOINT.NEW"
#define CHECKPOINT_DATA_NAME "CHECKPOINT.DATA"
#define CHECKPOINT_DATA_NEW_NAME "CHECKPOINT.DATA.NEW" /* of a backup under way; a leftover otherwise */

typedef struct checkpoint checkpoint; /* the opened pair of files; one thread at a time, guarded by the caller */

typedef struct checkpoint_info {
    uint8_t store_id[16]; /* a root of another store is refused */
    uint64_t epoch;       /* higher than that of every root before it; see the manifest's reclaim epoch */
    uint64_t start_place; /* replay begins here: the place in the append order ... */
    uint64_t start_segment, start_offset; /* ... and the file and offset of the record that has it or will have it */
    uint64_t end_place; /* the first place that the images know nothing of; the log is durable up to it */
    uint64_t time_ms;   /* wall clock, for statistics only */
    uint64_t entries;   /* in the images */
} checkpoint_info;

/* Nothing is read or written yet. */
int checkpoint_open(checkpoint **out, os_dir *dir, bool read_only, cairn_error *error);
void checkpoint_close(checkpoint *c);

/* Loads the newest checkpoint into an index that is empty. CAIRN_OK: *info is set, *blob (malloc, may be NULL when
 * empty) is the caller's. CAIRN_NOT_FOUND: there is none. CAIRN_CORRUPT (with a message): there is one and it cannot be
 * used; the index is as before, empty. `accept` may refuse it by its info before any image is read (CAIRN_NOT_FOUND is
 * returned then). CAIRN_NO_MEMORY and CAIRN_IO as they say. */
typedef bool (*checkpoint_accept)(void *ctx, const checkpoint_info *info);
int checkpoint_load(checkpoint *c, hash_index *index, checkpoint_accept accept, void *ctx, checkpoint_info *info,
                    uint8_t **blob, size_t *blob_size, cairn_error *error);

/* Writes one. `fence` is called when all images are written to the data file and before the root: it fills
 * info->end_place, makes the log durable up to it, and gives the blob (malloc; freed here); its failure ends the write.
 * On failure the published checkpoint is as before, and the shards that were meant to be written stay dirty. Takes one
 * stripe at a time, for the time of a copy in memory. After a failed sync the caller must not use `c` again but close.
 */
typedef int (*checkpoint_fence)(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size,
                                cairn_error *error);
int checkpoint_write(checkpoint *c, hash_index *index, checkpoint_info *info, checkpoint_fence fence, void *ctx,
                     cairn_error *error);

/* The same, so that the data file becomes little larger than its images: all are written, to the front where they find
 * room there; else so far behind that they will the next time, so it takes two. */
int checkpoint_write_dense(checkpoint *c, hash_index *index, checkpoint_info *info, checkpoint_fence fence, void *ctx,
                           cairn_error *error);
/* Nothing is to be gained by that. Also when nothing was loaded or written yet. */
bool checkpoint_is_dense(const checkpoint *c, const hash_index *index);

/* For a backup. Copies the published checkpoint into another directory, where it does not count yet, nor in the way of
 * one that is there. Nobody writes one meanwhile. */
int checkpoint_capture(os_transfer *t, cairn_error *error);
void checkpoint_drop_capture(os_dir *dir); /* what was captured */
/* From here on the directory has no checkpoint; and from here on the captured one. Both durably. */
int checkpoint_withdraw(os_dir *dir, cairn_error *error);
int checkpoint_install(os_dir *dir, cairn_error *error);

/* Bytes that the next checkpoint_write would write: images of the shards that changed. Any thread. */
uint64_t checkpoint_cost(const hash_index *index);
/* Images of all shards: what the next one would write if all changed. Any thread. */
uint64_t checkpoint_image_bytes(const hash_index *index);
/* The size of CHECKPOINT.DATA, which does not grow beyond two and a half of those, and 64 KiB. */
uint64_t checkpoint_data_bytes(const checkpoint *c);

/* Removes the published checkpoint and gives its space back, for the sake of the next one: until that is written, the
 * log alone is enough. CAIRN_NOT_FOUND: there was nothing to remove. */
int checkpoint_discard(checkpoint *c, cairn_error *error);

#endif

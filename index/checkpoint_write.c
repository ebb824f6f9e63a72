/* Writing a checkpoint.
 *
 * The order that makes the published checkpoint whole at every moment: images into free extents, sync of the data file,
 * the caller's fence, the new root beside the old one, sync, rename, sync of the directory. Only then does the table in
 * memory change.
 *
 * Shards are marked clean as they are copied; a failure marks those dirty again that were, so a failed attempt loses
 * nothing but work, and makes none. Images are gathered in one buffer and written in large pieces; no stripe is held
 * during a write. */
#include "index/checkpoint.h"
#include "index/checkpoint_extents.h"
#include "index/checkpoint_state.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGING_BYTES ((uint64_t)1 << 20)
#define SLACK_BYTES (16u * BLOCK_BYTES) /* what holes may come to in a small store */

/* One attempt. */
typedef struct writing {
    checkpoint *c;
    hash_index *index;
    bool dense;
    checkpoint_root root; /* the new one */
    free_space space;
    bool cleaned[HASH_INDEX_SHARDS]; /* of their mark, by this attempt */
    uint8_t *staging;                /* images that are still to be written, adjacent on disk ... */
    uint64_t staging_size, staged;
    uint64_t staged_at; /* ... from this offset of the data file */
    uint64_t written;
} writing;

static int open_or_create_data(checkpoint *c, cairn_error *error) {
    if (c->data != NULL) return CAIRN_OK;
    (void)os_unlink(c->dir, CHECKPOINT_DATA_NEW_NAME); /* of a backup that was cut off */
    int result = os_file_open(c->dir, CHECKPOINT_DATA_NAME, OS_CREATE | OS_GROWS, &c->data);
    if (result < 0) return status_os(error, result, "opening %s", CHECKPOINT_DATA_NAME);
    result = os_dir_sync(c->dir); /* no root may become durable without the data file's name */
    if (result < 0) {
        c->failed = true;
        return status_os(error, result, "syncing the directory of %s", CHECKPOINT_DATA_NAME);
    }
    return CAIRN_OK;
}

/* ---- Images ---- */

static int write_staged(writing *w, cairn_error *error) {
    if (w->staged == 0) return CAIRN_OK;
    int result = os_file_write(w->c->data, w->staging, w->staged, w->staged_at);
    if (result < 0) {
        return status_os(error, result, "writing %s at %llu", CHECKPOINT_DATA_NAME, (unsigned long long)w->staged_at);
    }
    w->written += w->staged;
    w->staged = 0;
    return CAIRN_OK;
}

/* Room for an image of that size behind what is staged; afterwards maybe nothing is. */
static int make_room(writing *w, uint64_t size, cairn_error *error) {
    int code = write_staged(w, error);
    if (code != CAIRN_OK || size <= w->staging_size) return code;
    uint64_t larger_size = max_u64(size + size / 4, STAGING_BYTES); /* the shard may grow before it is copied */
    uint8_t *larger = malloc(larger_size);
    if (larger == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for an image of %zu bytes", (size_t)size);
    free(w->staging);
    w->staging = larger;
    w->staging_size = larger_size;
    return CAIRN_OK;
}

/* Copies one shard behind what is staged; an image that turns out to lie elsewhere on disk is moved to the front after
 * the others were written. */
static int stage_image(writing *w, unsigned shard, cairn_error *error) {
    hash_shape shape;
    int code = CAIRN_OK;
    while (!hash_shard_copy(w->index, shard, w->staging + w->staged, w->staging_size - w->staged, &shape,
                            &w->cleaned[shard])) {
        code = make_room(w, hash_shape_bytes(&shape), error);
        if (code != CAIRN_OK) return code;
    }
    checkpoint_row *row = &w->root.rows[shard];
    *row = (checkpoint_row){.shape = shape};
    uint64_t size = hash_shape_bytes(&shape);
    if (size == 0) return CAIRN_OK;

    uint8_t *image = w->staging + w->staged;
    row->checksum = checksum(image, size, root_image_seed(w->root.info.store_id, shard));
    row->offset = free_space_take(&w->space, size);
    if (w->staged > 0 && row->offset != w->staged_at + w->staged) {
        code = write_staged(w, error);
        if (code != CAIRN_OK) return code;
        memmove(w->staging, image, size);
    }
    if (w->staged == 0) w->staged_at = row->offset;
    w->staged += size;
    return CAIRN_OK;
}

/* ---- Where they go ---- */

/* Of the shard's image when it is written: its buckets as they are, its stash as it was. */
static uint64_t image_bytes(const checkpoint *c, const hash_index *index, unsigned shard) {
    const checkpoint_row *row = &c->published.rows[shard];
    if (shard_entries(&index->shards[shard]) == 0) return 0;
    return atomic_load_explicit(&index->shards[shard].image_bytes, memory_order_relaxed) +
           row->shape.stash * sizeof(hash_slot);
}

/* The largest data file that is dense. */
static uint64_t dense_bytes(const checkpoint *c, const hash_index *index) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
        bytes += image_bytes(c, index, i);
    return bytes + bytes / 16 + SLACK_BYTES;
}

bool checkpoint_is_dense(const checkpoint *c, const hash_index *index) {
    os_file_info info;
    return c->data == NULL || os_file_info_get(c->data, &info) < 0 || info.size <= dense_bytes(c, index);
}

/* Takes space for images of all shards, or of those that changed; the end of the last one. */
static uint64_t take_images(writing *w, bool all) {
    uint64_t end = 0;
    free_space_of(&w->c->published, &w->space);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        uint64_t size = all || hash_shard_is_dirty(w->index, i) ? image_bytes(w->c, w->index, i) : 0;
        if (size > 0) end = max_u64(end, free_space_take(&w->space, size) + size);
    }
    return end;
}

/* Whether writing only what changed would make the data file half as long again as its images: because holes have come
 * between them, of single shards or parts of blocks, that new images do not fit. Then all are written, into at most as
 * much again; that leaves the whole space of the old ones free for the next. */
static bool would_spread_out(writing *w) {
    const checkpoint_root *published = &w->c->published;
    uint64_t used = root_image_bytes(published), end = max_u64(published->data_bytes, take_images(w, false));
    return end > used + used / 2 + SLACK_BYTES;
}

/* A dense checkpoint whose images do not all find room in front, because published ones lie there, leaves the front to
 * the next one. */
static void find_space(writing *w) {
    uint64_t dense = dense_bytes(w->c, w->index);
    bool in_front = !w->dense || take_images(w, true) <= dense;
    free_space_of(&w->c->published, &w->space);
    if (!in_front) free_space_begin_at(&w->space, round_up(dense, BLOCK_BYTES));
}

static int write_images(writing *w, cairn_error *error) {
    bool known = w->c->described == w->index;
    bool all = !known || w->dense || would_spread_out(w);
    if (known) memcpy(w->root.rows, w->c->published.rows, sizeof w->root.rows);
    find_space(w);
    int code = make_room(w, STAGING_BYTES, error);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS && code == CAIRN_OK; i++) {
        if (all || hash_shard_is_dirty(w->index, i)) code = stage_image(w, i, error);
    }
    if (code == CAIRN_OK) code = write_staged(w, error);
    if (code != CAIRN_OK || w->written == 0) return code;
    int result = os_file_sync(w->c->data);
    if (result < 0) {
        w->c->failed = true;
        return status_os(error, result, "syncing %s", CHECKPOINT_DATA_NAME);
    }
    return CAIRN_OK;
}

/* ---- The root ---- */

/* A new file with that content, synced. */
static int write_new_root(checkpoint *c, const uint8_t *bytes, size_t size, cairn_error *error) {
    os_file *file = NULL;
    int result = os_unlink(c->dir, CHECKPOINT_ROOT_NEW_NAME); /* of an attempt that was cut off */
    if (result < 0 && result != -ENOENT) return status_os(error, result, "removing %s", CHECKPOINT_ROOT_NEW_NAME);
    result = os_file_open(c->dir, CHECKPOINT_ROOT_NEW_NAME, OS_CREATE | OS_EXCLUSIVE, &file);
    if (result < 0) return status_os(error, result, "creating %s", CHECKPOINT_ROOT_NEW_NAME);
    int code = CAIRN_OK;
    result = os_file_write(file, bytes, size, 0);
    if (result < 0) {
        code = status_os(error, result, "writing %s", CHECKPOINT_ROOT_NEW_NAME);
        goto done;
    }
    result = os_file_sync(file);
    if (result < 0) {
        c->failed = true;
        code = status_os(error, result, "syncing %s", CHECKPOINT_ROOT_NEW_NAME);
    }
done:
    os_file_close(file);
    return code;
}

static int publish(checkpoint *c, const uint8_t *bytes, size_t size, cairn_error *error) {
    int code = write_new_root(c, bytes, size, error);
    if (code != CAIRN_OK) return code;
    int result = os_rename(c->dir, CHECKPOINT_ROOT_NEW_NAME, CHECKPOINT_ROOT_NAME);
    if (result < 0) {
        c->failed = result == -EIO; /* else the name is as before */
        return status_os(error, result, "renaming %s", CHECKPOINT_ROOT_NEW_NAME);
    }
    result = os_dir_sync(c->dir);
    if (result < 0) {
        c->failed = true;
        return status_os(error, result, "syncing the directory of %s", CHECKPOINT_ROOT_NAME);
    }
    return CAIRN_OK;
}

/* Gives back what lies behind the last image, when that is much or is wanted. Nothing depends on it, so a failure is
 * none. */
static void trim_tail(checkpoint *c, bool dense) {
    os_file_info info;
    if (os_file_info_get(c->data, &info) < 0 || info.size <= c->published.data_bytes) return;
    if (!dense && info.size <= 2 * root_image_bytes(&c->published)) return;
    (void)os_file_truncate(c->data, c->published.data_bytes);
}

static int fence_and_publish(writing *w, checkpoint_fence fence, void *ctx, cairn_error *error) {
    uint8_t *blob = NULL, *bytes = NULL;
    size_t blob_size = 0, size = 0;
    root_sum(&w->root);
    int code = fence(ctx, &w->root.info, &blob, &blob_size, error);
    if (code == CAIRN_OK) code = root_encode(&w->root, blob, blob_size, &bytes, &size, error);
    if (code == CAIRN_OK) code = publish(w->c, bytes, size, error);
    free(blob);
    free(bytes);
    return code;
}

static void undo(writing *w) {
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        if (w->cleaned[i]) hash_shard_mark_dirty(w->index, i);
    }
    /* The space behind the published images, in case it was the want of space that made this attempt fail. */
    checkpoint *c = w->c;
    if (!c->failed) (void)os_file_truncate(c->data, c->published.data_bytes);
}

int checkpoint_discard(checkpoint *c, cairn_error *error) {
    if (c->failed) return status_set(error, CAIRN_FAILED, "an earlier sync of a checkpoint failed");
    if (c->data == NULL || c->described == NULL) return status_set(error, CAIRN_NOT_FOUND, "there is no checkpoint");
    int result = os_unlink(c->dir, CHECKPOINT_ROOT_NAME);
    if (result == 0) result = os_dir_sync(c->dir); /* no root may name images that are gone */
    if (result < 0) {
        c->failed = true;
        return status_os(error, result, "removing %s", CHECKPOINT_ROOT_NAME);
    }
    c->described = NULL;
    c->published = (checkpoint_root){0};
    result = os_file_truncate(c->data, 0);
    return result == 0 ? CAIRN_OK : status_os(error, result, "cutting %s", CHECKPOINT_DATA_NAME);
}

static int write_checkpoint(checkpoint *c, hash_index *index, bool dense, checkpoint_info *info, checkpoint_fence fence,
                            void *ctx, cairn_error *error) {
    if (c->read_only) return status_set(error, CAIRN_READ_ONLY, "a checkpoint of a store that is open read-only");
    if (c->failed) return status_set(error, CAIRN_FAILED, "an earlier sync of a checkpoint failed");
    int code = open_or_create_data(c, error);
    if (code != CAIRN_OK) return code;
    writing *w = calloc(1, sizeof *w);
    if (w == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a checkpoint's root");
    w->c = c;
    w->index = index;
    w->dense = dense;
    w->root.info = *info;

    code = write_images(w, error);
    if (code == CAIRN_OK) code = fence_and_publish(w, fence, ctx, error);
    if (code != CAIRN_OK) {
        undo(w);
        goto done;
    }
    c->published = w->root;
    c->described = index;
    *info = w->root.info;
    trim_tail(c, dense);
done:
    free(w->staging);
    free(w);
    return code;
}

int checkpoint_write(checkpoint *c, hash_index *index, checkpoint_info *info, checkpoint_fence fence, void *ctx,
                     cairn_error *error) {
    return write_checkpoint(c, index, false, info, fence, ctx, error);
}

int checkpoint_write_dense(checkpoint *c, hash_index *index, checkpoint_info *info, checkpoint_fence fence, void *ctx,
                           cairn_error *error) {
    return write_checkpoint(c, index, true, info, fence, ctx, error);
}

/* Opening and loading a checkpoint. Nothing here believes a byte before its checksum: first the whole root, then each
 * image in turn, which is read straight into the slots of the shard's new array. */
#include "index/checkpoint.h"

#include "index/checkpoint_state.h"
#include "src/base/check.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int checkpoint_open(checkpoint **out, os_dir *dir, bool read_only, cairn_error *error) {
    checkpoint *c = calloc(1, sizeof *c);
    if (c == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the checkpoint's table");
    c->dir = dir;
    c->read_only = read_only;
    *out = c;
    return CAIRN_OK;
}

void checkpoint_close(checkpoint *c) {
    if (c == NULL) return;
    if (c->data != NULL) os_file_close(c->data);
    free(c);
}

uint64_t checkpoint_cost(const hash_index *index) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        if (!hash_shard_is_dirty(index, i)) continue;
        bytes += atomic_load_explicit(&index->shards[i].image_bytes, memory_order_relaxed);
    }
    return bytes;
}

uint64_t checkpoint_image_bytes(const hash_index *index) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        bytes += atomic_load_explicit(&index->shards[i].image_bytes, memory_order_relaxed);
    }
    return bytes;
}

uint64_t checkpoint_data_bytes(const checkpoint *c) {
    os_file_info info;
    return c->data == NULL || os_file_info_get(c->data, &info) < 0 ? 0 : info.size;
}

/* ---- Reading the root ---- */

/* Something is there under that name, but no file that can be opened. */
static int open_failed(int negative_errno, const char *name, cairn_error *error) {
    if (negative_errno == -EINVAL) return status_set(error, CAIRN_CORRUPT, "%s is not a regular file", name);
    return status_os(error, negative_errno, "opening %s", name);
}

/* The whole file; *bytes is malloc. CAIRN_NOT_FOUND when there is none. */
static int read_root_file(os_dir *dir, uint8_t **bytes, uint64_t *size, cairn_error *error) {
    os_file *file = NULL;
    os_file_info info;
    size_t got = 0;
    int code = CAIRN_OK;
    uint8_t *p = NULL;
    int result = os_file_open(dir, CHECKPOINT_ROOT_NAME, OS_READ_ONLY, &file);
    if (result == -ENOENT) return status_set(error, CAIRN_NOT_FOUND, "there is no checkpoint");
    if (result < 0) return open_failed(result, CHECKPOINT_ROOT_NAME, error);

    result = os_file_info_get(file, &info);
    if (result < 0) {
        code = status_os(error, result, "reading the size of %s", CHECKPOINT_ROOT_NAME);
        goto done;
    }
    p = malloc(info.size + 1);
    if (p == NULL) {
        code = status_set(error, CAIRN_NO_MEMORY, "no memory for %s of %llu bytes", CHECKPOINT_ROOT_NAME,
                          (unsigned long long)info.size);
        goto done;
    }
    result = os_file_read(file, p, info.size, 0, &got);
    if (result < 0) {
        code = status_os(error, result, "reading %s", CHECKPOINT_ROOT_NAME);
        goto done;
    }
    *bytes = p;
    *size = got;
    p = NULL;
done:
    free(p);
    os_file_close(file);
    return code;
}

static int copy_blob(const uint8_t *from, size_t size, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    *blob = NULL;
    *blob_size = size;
    if (size == 0) return CAIRN_OK;
    *blob = malloc(size);
    if (*blob == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the checkpoint's blob");
    memcpy(*blob, from, size);
    return CAIRN_OK;
}

static int open_data(checkpoint *c, cairn_error *error) {
    if (c->data == NULL) {
        int result = os_file_open(c->dir, CHECKPOINT_DATA_NAME, c->read_only ? OS_READ_ONLY : 0, &c->data);
        if (result == -ENOENT) {
            return status_set(error, CAIRN_CORRUPT, "%s is there, but %s is missing", CHECKPOINT_ROOT_NAME,
                              CHECKPOINT_DATA_NAME);
        }
        if (result < 0) return open_failed(result, CHECKPOINT_DATA_NAME, error);
    }
    os_file_info info;
    int result = os_file_info_get(c->data, &info);
    if (result < 0) return status_os(error, result, "reading the size of %s", CHECKPOINT_DATA_NAME);
    if (info.size < c->published.data_bytes) {
        return status_set(error, CAIRN_CORRUPT, "%s has %llu bytes, its root needs %llu", CHECKPOINT_DATA_NAME,
                          (unsigned long long)info.size, (unsigned long long)c->published.data_bytes);
    }
    return CAIRN_OK;
}

int checkpoint_load(checkpoint *c, hash_index *index, checkpoint_accept accept, void *ctx, checkpoint_info *info,
                    uint8_t **blob, size_t *blob_size, cairn_error *error) {
    uint8_t *bytes = NULL, *blob_copy = NULL;
    const uint8_t *blob_in_root;
    size_t blob_bytes = 0;
    uint64_t size = 0;
    c->described = NULL;
    int code = read_root_file(c->dir, &bytes, &size, error);
    if (code != CAIRN_OK) goto done;
    code = root_decode(&c->published, bytes, size, &blob_in_root, &blob_bytes, error);
    if (code != CAIRN_OK) goto done;
    if (accept != NULL && !accept(ctx, &c->published.info)) {
        code = status_set(error, CAIRN_NOT_FOUND, "the checkpoint that is there does not belong to this log");
        goto done;
    }
    code = copy_blob(blob_in_root, blob_bytes, &blob_copy, &blob_bytes, error);
    if (code == CAIRN_OK) code = open_data(c, error);
    if (code == CAIRN_OK) code = checkpoint_load_images(c, index, error);
    if (code != CAIRN_OK) goto done;
    c->described = index;
    *info = c->published.info;
    *blob = blob_copy;
    *blob_size = blob_bytes;
    blob_copy = NULL;
done:
    if (code != CAIRN_OK) {
        c->published = (checkpoint_root){0};
        hash_index_clear(index);
    }
    free(blob_copy);
    free(bytes);
    return code;
}

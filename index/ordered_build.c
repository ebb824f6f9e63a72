/* Building: keys are gathered, sorted and put into ORDERED.NEW a batch at a time, without syncs until the end. Beside
 * it is what an index needs that outlives its handle: removing its files. */
#include "index/ordered_tree.h"
#include "src/base/array.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GATHER_BYTES ((size_t)16 << 20)

struct ordered_build {
    os_dir *dir;
    ordered_env env;
    ordered_meta meta;
    ordered_change *keys; /* into `bytes` */
    size_t count, capacity, used;
    uint8_t *bytes; /* GATHER_BYTES */
};

static int drop_file(os_dir *dir, const char *name, cairn_error *error) {
    int rc = os_unlink(dir, name);
    return rc == 0 || rc == -ENOENT ? CAIRN_OK : status_os(error, rc, "cannot remove %s", name);
}

int ordered_drop(os_dir *dir, cairn_error *error) {
    const char *const names[] = {ORDERED_NAME, ORDERED_LOCK_NAME, ORDERED_NEW_NAME, ORDERED_SUMS_NAME};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int code = drop_file(dir, names[i], error);
        if (code != CAIRN_OK) return code;
    }
    int rc = os_dir_sync(dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot sync the directory of the ordered index");
}

int ordered_build_begin(ordered_build **out, os_dir *dir, const ordered_options *options, cairn_error *error) {
    int code = drop_file(dir, ORDERED_NEW_NAME, error);
    if (code != CAIRN_OK) return code;
    ordered_build *b = calloc(1, sizeof *b);
    if (b == NULL || (b->bytes = malloc(GATHER_BYTES)) == NULL) {
        code = status_set(error, CAIRN_NO_MEMORY, "no memory to build the ordered index");
        goto fail;
    }
    b->dir = dir;
    memcpy(b->meta.store_id, options->store_id, sizeof b->meta.store_id);
    code = ordered_env_open(&b->env, dir, ORDERED_NEW_NAME, MDB_NOLOCK | MDB_NOSYNC, options->map_bytes, error);
    if (code != CAIRN_OK) goto fail;
    *out = b;
    return CAIRN_OK;

fail:
    if (b != NULL) free(b->bytes);
    free(b);
    (void)os_unlink(dir, ORDERED_NEW_NAME);
    return code;
}

static void build_free(ordered_build *b) {
    free(b->keys);
    free(b->bytes);
    free(b);
}

void ordered_build_abort(ordered_build *b) {
    if (b == NULL) return;
    ordered_env_close(&b->env);
    (void)os_unlink(b->dir, ORDERED_NEW_NAME);
    build_free(b);
}

static int by_key(const void *a, const void *b) {
    const ordered_change *x = a, *y = b;
    int order = memcmp(x->key, y->key, min_u64(x->size, y->size));
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static int build_commit(ordered_build *b, const ordered_change *keys, size_t count, cairn_error *error) {
    for (;;) {
        ordered_meta meta = b->meta;
        int rc = tree_commit(&b->env, keys, count, true, &meta);
        if (rc == MDB_MAP_FULL) {
            if ((rc = ordered_env_grow(&b->env)) == 0) continue;
        } else if (rc == 0) {
            b->meta = meta;
            return CAIRN_OK;
        }
        return ordered_status(error, rc, "cannot build it");
    }
}

static int build_flush(ordered_build *b, cairn_error *error) {
    int code = CAIRN_OK;
    if (b->count > 0) qsort(b->keys, b->count, sizeof b->keys[0], by_key);
    for (size_t done = 0; code == CAIRN_OK && done < b->count;) {
        size_t n = tree_commit_count(b->keys + done, b->count - done);
        code = build_commit(b, b->keys + done, n, error);
        done += n;
    }
    b->count = b->used = 0;
    return code;
}

int ordered_build_add(ordered_build *b, const void *key, size_t size, cairn_error *error) {
    CHECK(size >= 1 && size <= ORDERED_KEY_MAX);
    if (b->used + size > GATHER_BYTES) {
        int code = build_flush(b, error);
        if (code != CAIRN_OK) return code;
    }
    ordered_change *keys = array_with_room(b->keys, &b->capacity, b->count, sizeof *keys, 1024);
    if (keys == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to build the ordered index");
    b->keys = keys;
    memcpy(b->bytes + b->used, key, size);
    b->keys[b->count++] = (ordered_change){.key = b->bytes + b->used, .size = size};
    b->used += size;
    return CAIRN_OK;
}

static int build_publish(os_dir *dir, cairn_error *error) {
    int rc = os_rename(dir, ORDERED_NEW_NAME, ORDERED_NAME);
    if (rc == 0) rc = os_dir_sync(dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot put the new ordered index in its place");
}

int ordered_build_finish(ordered_build *b, uint64_t place, cairn_error *error) {
    int code = build_flush(b, error);
    if (code == CAIRN_OK) {
        b->meta.place = place;
        code = build_commit(b, NULL, 0, error);
    }
    if (code == CAIRN_OK) {
        ordered_env_settle(&b->env);
        int rc = mdb_env_sync(b->env.env, 1);
        if (rc != 0) code = ordered_status(error, rc, "cannot sync it");
    }
    if (code != CAIRN_OK) {
        ordered_build_abort(b);
        return code;
    }
    os_dir *dir = b->dir;
    ordered_env_close(&b->env);
    build_free(b);
    return build_publish(dir, error);
}

#include "index/ordered_env.h"

#include "index/ordered.h"
#include "index/ordered_check.h"
#include "index/store_seed.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define META_KEY "meta"
#define META_MAGIC "cairn-or"
#define META_MAJOR 1u
#define META_MINOR 0u
#define META_BYTES 72u
#define MAP_STEP 65536u /* whole pages, whatever their size */
#define MAP_BYTES_DEFAULT ((uint64_t)64 << 20)

int ordered_status(cairn_error *error, int rc, const char *what) {
    if (rc > 0) return status_os(error, -rc, "ordered index: %s", what);
    int code = rc == MDB_PANIC                                ? CAIRN_FAILED
               : rc == MDB_READERS_FULL || rc == MDB_TXN_FULL ? CAIRN_BUSY
                                                              : CAIRN_CORRUPT;
    return status_set(error, code, "ordered index: %s: %s", what, mdb_strerror(rc));
}

/* ---- Opening ---- */

static int open_tables(ordered_env *e, unsigned flags) {
    MDB_txn *txn;
    unsigned make = flags & MDB_NOSYNC ? MDB_CREATE : 0;
    int rc = mdb_txn_begin(e->env, NULL, make != 0 ? 0 : MDB_RDONLY, &txn);
    if (rc != 0) return rc;
    if ((rc = mdb_dbi_open(txn, "keys", make, &e->keys)) != 0 ||
        (rc = mdb_dbi_open(txn, "tails", make, &e->tails)) != 0 ||
        (rc = mdb_dbi_open(txn, "meta", make, &e->meta)) != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* keeps the handles of the tables */
}

static int open_env(ordered_env *e, os_dir *dir, const char *name, unsigned flags, cairn_error *error) {
    char folder[OS_PATH_SIZE], path[OS_PATH_SIZE + 32];
    int rc = os_dir_path(dir, folder);
    if (rc != 0) return status_set(error, CAIRN_UNSUPPORTED, "no ordered index here: the directory has no path");
    CHECK(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    if ((rc = mdb_env_create(&e->env)) != 0) return ordered_status(error, rc, "cannot make an environment");
    if ((rc = mdb_env_set_maxdbs(e->env, 3)) != 0 || (rc = mdb_env_set_mapsize(e->env, e->map_bytes)) != 0 ||
        (rc = mdb_env_set_maxreaders(e->env, ORDERED_READERS_MAX)) != 0 ||
        (rc = mdb_env_open(e->env, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0600)) != 0 ||
        (rc = open_tables(e, flags)) != 0) {
        mdb_env_close(e->env);
        return ordered_status(error, rc, "cannot open it");
    }
    MDB_stat stat;
    CHECK(mdb_env_stat(e->env, &stat) == 0);
    e->page_bytes = stat.ms_psize;
    int fd;
    if (mdb_env_get_fd(e->env, &fd) == 0) os_close_on_exec(fd); /* LMDB's other ones are */
    return CAIRN_OK;
}

int ordered_env_open(ordered_env *e, os_dir *dir, const char *name, unsigned flags, uint64_t map_bytes,
                     cairn_error *error) {
    os_file_info info;
    bool make = (flags & MDB_NOSYNC) != 0;
    unsigned os_flags = flags & MDB_RDONLY ? OS_READ_ONLY : make ? OS_CREATE | OS_EXCLUSIVE : 0;
    int code = CAIRN_OK, rc = os_file_open(dir, name, os_flags, &e->file);
    if (rc == -ENOENT) return status_set(error, CAIRN_NOT_FOUND, "there is no ordered index");
    if (rc != 0) return status_os(error, rc, "cannot open the ordered index");
    if ((rc = os_file_info_get(e->file, &info)) != 0) {
        code = status_os(error, rc, "cannot ask for the length of the ordered index");
    } else if (!make) {
        code = ordered_check_opening(e->file, &e->found, error);
    }
    if (code == CAIRN_OK) {
        if (map_bytes == 0) map_bytes = max_u64(MAP_BYTES_DEFAULT, 2 * info.size);
        e->map_bytes = round_up(max_u64(map_bytes, info.size), MAP_STEP);
        code = open_env(e, dir, name, flags, error);
    }
    if (code != CAIRN_OK) os_file_close(e->file);
    return code;
}

void ordered_env_close(ordered_env *e) {
    mdb_env_close(e->env);
    os_file_close(e->file);
}

int ordered_env_grow(ordered_env *e) {
    e->map_bytes *= 2;
    return mdb_env_set_mapsize(e->env, e->map_bytes);
}

void ordered_env_settle(const ordered_env *e) {
    MDB_envinfo head;
    os_file_info info;
    if (mdb_env_info(e->env, &head) != 0) return;
    uint64_t bytes = ((uint64_t)head.me_last_pgno + 1) * e->page_bytes;
    if (os_file_info_get(e->file, &info) == 0 && info.size < bytes) (void)os_file_truncate(e->file, bytes);
    ordered_head_seal(e->file);
}

/* ---- The meta record ---- */

int ordered_meta_store(const ordered_env *e, MDB_txn *txn, const ordered_meta *meta) {
    uint8_t bytes[META_BYTES] = {0};
    MDB_val key = {sizeof META_KEY - 1, META_KEY}, value = {sizeof bytes, bytes};
    memcpy(bytes, META_MAGIC, 8);
    le16_put(bytes + 8, META_MAJOR);
    le16_put(bytes + 10, META_MINOR);
    memcpy(bytes + 16, meta->store_id, 16);
    le64_put(bytes + 32, meta->place);
    le64_put(bytes + 40, meta->keys);
    le64_put(bytes + 48, meta->last_tail);
    le64_put(bytes + 56, meta->sum);
    le64_put(bytes + 64, checksum(bytes, META_BYTES - 8, store_seed(meta->store_id)));
    return mdb_put(txn, e->meta, &key, &value, 0);
}

static int meta_decode(ordered_meta *meta, const uint8_t *bytes, size_t size, cairn_error *error) {
    if (size < 16 || memcmp(bytes, META_MAGIC, 8) != 0) {
        return status_set(error, CAIRN_CORRUPT, "the ordered index says nothing about itself");
    }
    if (le16_get(bytes + 8) > META_MAJOR) {
        return status_set(error, CAIRN_UNSUPPORTED, "the ordered index has format %u, a newer format than %u",
                          le16_get(bytes + 8), META_MAJOR);
    }
    if (size < META_BYTES ||
        checksum(bytes, META_BYTES - 8, store_seed(bytes + 16)) != le64_get(bytes + META_BYTES - 8)) {
        return status_set(error, CAIRN_CORRUPT, "the ordered index: wrong checksum of its meta record");
    }
    memcpy(meta->store_id, bytes + 16, 16);
    meta->place = le64_get(bytes + 32);
    meta->keys = le64_get(bytes + 40);
    meta->last_tail = le64_get(bytes + 48);
    meta->sum = le64_get(bytes + 56);
    return CAIRN_OK;
}

int ordered_meta_load(const ordered_env *e, ordered_meta *meta, cairn_error *error) {
    MDB_txn *txn;
    MDB_val key = {sizeof META_KEY - 1, META_KEY}, value;
    int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) return ordered_status(error, rc, "cannot read the meta record");
    rc = mdb_get(txn, e->meta, &key, &value);
    int code = rc == 0 ? meta_decode(meta, value.mv_data, value.mv_size, error)
                       : ordered_status(error, rc, "cannot read the meta record");
    mdb_txn_abort(txn);
    return code;
}

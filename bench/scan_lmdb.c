/* LMDB by itself. Many puts are one transaction, none of which is synced: filling is not what is measured. */
#include "bench/bench_common.h"
#include "bench/scan_engine.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAP_BYTES ((size_t)64 << 30) /* of address space */
#define BATCH_PUTS 100000
#define BATCH_BYTES ((size_t)64 << 20)

typedef struct lmdb {
    MDB_env *env;
    MDB_dbi keys;
    MDB_txn *filling; /* NULL: none is open */
    size_t puts, bytes;
} lmdb;

static void must_lmdb(int code, const char *what) {
    if (code != MDB_SUCCESS) die(what, mdb_strerror(code));
}

static void commit(lmdb *l) {
    if (l->filling != NULL) must_lmdb(mdb_txn_commit(l->filling), "LMDB, commit");
    l->filling = NULL;
    l->puts = l->bytes = 0;
}

static void *lmdb_open(const char *path) {
    lmdb *l = allocate(sizeof *l);
    MDB_txn *txn;
    *l = (lmdb){0};
    if (mkdir(path, 0777) != 0 && errno != EEXIST) die(path, strerror(errno));
    must_lmdb(mdb_env_create(&l->env), "LMDB, create");
    must_lmdb(mdb_env_set_mapsize(l->env, MAP_BYTES), "LMDB, map");
    must_lmdb(mdb_env_open(l->env, path, MDB_NOSYNC, 0666), "LMDB, open");
    must_lmdb(mdb_txn_begin(l->env, NULL, 0, &txn), "LMDB, begin");
    must_lmdb(mdb_dbi_open(txn, NULL, 0, &l->keys), "LMDB, open");
    must_lmdb(mdb_txn_commit(txn), "LMDB, commit");
    return l;
}

static void lmdb_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    lmdb *l = store;
    MDB_val k = {.mv_data = (void *)(uintptr_t)key, .mv_size = key_size};
    MDB_val v = {.mv_data = (void *)(uintptr_t)value, .mv_size = value_size};
    if (l->filling == NULL) must_lmdb(mdb_txn_begin(l->env, NULL, 0, &l->filling), "LMDB, begin");
    must_lmdb(mdb_put(l->filling, l->keys, &k, &v, 0), "LMDB, put");
    l->puts++;
    l->bytes += value_size;
    if (l->puts >= BATCH_PUTS || l->bytes >= BATCH_BYTES) commit(l);
}

static void lmdb_settle(void *store) {
    lmdb *l = store;
    commit(l);
    must_lmdb(mdb_env_sync(l->env, 1), "LMDB, sync");
}

/* ---- Walking ---- */

static int key_order(const MDB_val *key, const char *bound, size_t size) {
    int order = memcmp(key->mv_data, bound, key->mv_size < size ? key->mv_size : size);
    return order != 0 ? order : (key->mv_size > size) - (key->mv_size < size);
}

static int first(MDB_cursor *cursor, const scan_query *q, MDB_val *key, MDB_val *value) {
    if (!q->reverse && q->lower_size == 0) return mdb_cursor_get(cursor, key, value, MDB_FIRST);
    if (q->reverse && q->upper_size == 0) return mdb_cursor_get(cursor, key, value, MDB_LAST);
    const char *bound = q->reverse ? q->upper : q->lower;
    *key = (MDB_val){.mv_data = (void *)(uintptr_t)bound, .mv_size = q->reverse ? q->upper_size : q->lower_size};
    int code = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (!q->reverse) return code;
    return mdb_cursor_get(cursor, key, value, code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

static bool is_behind(const scan_query *q, const MDB_val *key) {
    if (q->reverse) return q->lower_size != 0 && key_order(key, q->lower, q->lower_size) < 0;
    return q->upper_size != 0 && key_order(key, q->upper, q->upper_size) >= 0;
}

static void lmdb_scan(void *store, const scan_query *q, scan_sum *sum) {
    lmdb *l = store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    must_lmdb(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn), "LMDB, begin");
    must_lmdb(mdb_cursor_open(txn, l->keys, &cursor), "LMDB, cursor");
    int code = first(cursor, q, &key, &value);
    MDB_cursor_op step = q->reverse ? MDB_PREV : MDB_NEXT;
    for (; code == MDB_SUCCESS && !is_behind(q, &key); code = mdb_cursor_get(cursor, &key, &value, step)) {
        if (q->like_size != 0 && !scan_like(q, key.mv_data, key.mv_size)) continue;
        scan_add_key(sum, key.mv_data, key.mv_size);
        if (q->values) scan_add_value(sum, value.mv_data, value.mv_size);
    }
    if (code != MDB_NOTFOUND) must_lmdb(code, "LMDB, walk");
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

static void lmdb_close(void *store) {
    lmdb *l = store;
    commit(l);
    mdb_env_close(l->env);
    free(l);
}

const scan_engine scan_lmdb = {
    .name = "lmdb", .open = lmdb_open, .put = lmdb_put, .settle = lmdb_settle, .scan = lmdb_scan, .close = lmdb_close};

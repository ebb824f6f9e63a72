/* LMDB by itself: each put is a transaction of its own, as with the others. Unless durable it is opened with
 * MDB_NOSYNC: what has returned is in the page cache and survives the death of the process; a power cut may then take
 * the whole store and not only the last puts, which no other engine here risks. Durable: no flag, two syncs a commit.
 * Reads are not verified: LMDB has no checksums. A thread's reader is renewed and not made anew, which is its fast way.
 * MDB_NORDAHEAD is what its documentation advises for random reads; warm ones do not notice. */
#include "bench/bench_common.h"
#include "bench/engine.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAP_BYTES ((size_t)64 << 30)

typedef struct lmdb {
    MDB_env *env;
    MDB_dbi values;
} lmdb;

typedef struct lmdb_session {
    lmdb *of;
    MDB_txn *reader; /* reset between two reads */
} lmdb_session;

static void must_lmdb(int code, const char *what) {
    if (code != MDB_SUCCESS) die(what, mdb_strerror(code));
}

static MDB_val bytes(const void *data, size_t size) {
    return (MDB_val){.mv_data = (void *)(uintptr_t)data, .mv_size = size};
}

static void *lmdb_open(const char *path, const engine_setup *setup) {
    lmdb *l = allocate(sizeof *l);
    MDB_txn *txn;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) die(path, strerror(errno));
    must_lmdb(mdb_env_create(&l->env), "LMDB, create");
    must_lmdb(mdb_env_set_mapsize(l->env, MAP_BYTES), "LMDB, map");
    unsigned flags = MDB_NORDAHEAD | (setup->durable ? 0 : MDB_NOSYNC);
    must_lmdb(mdb_env_open(l->env, path, flags, 0666), "LMDB, open");
    must_lmdb(mdb_txn_begin(l->env, NULL, 0, &txn), "LMDB, begin");
    must_lmdb(mdb_dbi_open(txn, NULL, 0, &l->values), "LMDB, open");
    must_lmdb(mdb_txn_commit(txn), "LMDB, commit");
    return l;
}

static void lmdb_close(void *store) {
    lmdb *l = store;
    mdb_env_close(l->env);
    free(l);
}

static void *lmdb_session_begin(void *store) {
    lmdb_session *s = allocate(sizeof *s);
    *s = (lmdb_session){.of = store};
    must_lmdb(mdb_txn_begin(s->of->env, NULL, MDB_RDONLY, &s->reader), "LMDB, begin");
    mdb_txn_reset(s->reader);
    return s;
}

static void lmdb_session_end(void *session) {
    lmdb_session *s = session;
    mdb_txn_abort(s->reader);
    free(s);
}

static void lmdb_put(void *session, const char *key, size_t key_size, const void *value, size_t value_size) {
    lmdb_session *s = session;
    MDB_val k = bytes(key, key_size), v = bytes(value, value_size);
    MDB_txn *txn;
    must_lmdb(mdb_txn_begin(s->of->env, NULL, 0, &txn), "LMDB, begin");
    must_lmdb(mdb_put(txn, s->of->values, &k, &v, 0), "LMDB, put");
    must_lmdb(mdb_txn_commit(txn), "LMDB, commit");
}

static engine_view lmdb_view(void *session, const char *key, size_t key_size) {
    lmdb_session *s = session;
    MDB_val k = bytes(key, key_size), v = {0};
    must_lmdb(mdb_txn_renew(s->reader), "LMDB, renew");
    int code = mdb_get(s->reader, s->of->values, &k, &v);
    if (code == MDB_NOTFOUND) return (engine_view){.size = ENGINE_ABSENT};
    must_lmdb(code, "LMDB, get");
    return (engine_view){.data = v.mv_data, .size = v.mv_size};
}

static void lmdb_view_end(void *session, const engine_view *view) {
    (void)view;
    mdb_txn_reset(((lmdb_session *)session)->reader);
}

static size_t lmdb_get(void *session, const char *key, size_t key_size, void *buffer, size_t cap) {
    engine_view v = lmdb_view(session, key, key_size);
    if (v.size != ENGINE_ABSENT) {
        if (v.size > cap) die("LMDB, get", "a value is too long");
        memcpy(buffer, v.data, v.size);
    }
    lmdb_view_end(session, &v);
    return v.size;
}

static void lmdb_scan(void *session, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx) {
    lmdb_session *s = session;
    MDB_cursor *cursor;
    MDB_val k = bytes(from, from_size), v = {0};
    must_lmdb(mdb_txn_renew(s->reader), "LMDB, renew");
    must_lmdb(mdb_cursor_open(s->reader, s->of->values, &cursor), "LMDB, cursor");
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (code == 0 && visit(ctx, k.mv_data, k.mv_size, values ? v.mv_data : NULL, values ? v.mv_size : 0)) {
        code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (code != MDB_NOTFOUND) must_lmdb(code, "LMDB, scan");
    mdb_cursor_close(cursor);
    mdb_txn_reset(s->reader);
}

static void lmdb_sync(void *session) { must_lmdb(mdb_env_sync(((lmdb_session *)session)->of->env, 1), "LMDB, sync"); }

const engine engine_lmdb = {
    .name = "lmdb",
    .kind = ENGINE_PEER,
    .parts = PART_ALL & ~PART_MIXED,
    .open = lmdb_open,
    .close = lmdb_close,
    .session = lmdb_session_begin,
    .session_end = lmdb_session_end,
    .put = lmdb_put,
    .get = lmdb_get,
    .sync = lmdb_sync,
    .view = lmdb_view,
    .view_end = lmdb_view_end,
    .scan = lmdb_scan,
};

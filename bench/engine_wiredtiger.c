/* WiredTiger: one B-tree, its log on. By default a commit hands its log record to the system and does not sync it
 * (method=none), so that what has returned survives the death of the process; without transaction_sync it would still
 * be in memory. Durable: fsync at each commit, which threads share. A cache like the others', no compressor, checksums
 * as they come: on, and verified when a page comes into the cache. Its log files take 100 MiB each from the first byte
 * on, which counts as space. */
#include "bench/bench_common.h"
#include "bench/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wiredtiger.h>

#define TABLE "table:values"

typedef struct wired_session {
    WT_SESSION *session;
    WT_CURSOR *cursor;
} wired_session;

static void must_wired(int code, const char *what) {
    if (code != 0) die(what, wiredtiger_strerror(code));
}

static void *wired_open(const char *path, const engine_setup *setup) {
    char config[256];
    WT_CONNECTION *connection = NULL;
    WT_SESSION *session = NULL;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) die(path, strerror(errno));
    (void)snprintf(config, sizeof config,
                   "create,cache_size=%zu,log=(enabled=true),transaction_sync=(enabled=true,method=%s)",
                   ENGINE_CACHE_BYTES, setup->durable ? "fsync" : "none");
    must_wired(wiredtiger_open(path, NULL, config, &connection), "WiredTiger, open");
    must_wired(connection->open_session(connection, NULL, NULL, &session), "WiredTiger, session");
    must_wired(session->create(session, TABLE, "key_format=u,value_format=u"), "WiredTiger, create");
    must_wired(session->close(session, NULL), "WiredTiger, session");
    return connection;
}

static void wired_close(void *store) {
    WT_CONNECTION *connection = store;
    must_wired(connection->close(connection, NULL), "WiredTiger, close");
}

static void *wired_session_begin(void *store) {
    WT_CONNECTION *connection = store;
    wired_session *s = allocate(sizeof *s);
    must_wired(connection->open_session(connection, NULL, NULL, &s->session), "WiredTiger, session");
    must_wired(s->session->open_cursor(s->session, TABLE, NULL, NULL, &s->cursor), "WiredTiger, cursor");
    return s;
}

static void wired_session_end(void *session) {
    wired_session *s = session;
    must_wired(s->session->close(s->session, NULL), "WiredTiger, session");
    free(s);
}

static void set_key(WT_CURSOR *cursor, const char *key, size_t key_size) {
    WT_ITEM item = {.data = key, .size = key_size};
    cursor->set_key(cursor, &item);
}

/* A put that finds no room in the cache is told to try again. */
static void wired_put(void *session, const char *key, size_t key_size, const void *value, size_t value_size) {
    WT_CURSOR *cursor = ((wired_session *)session)->cursor;
    WT_ITEM item = {.data = value, .size = value_size};
    int code;
    do {
        set_key(cursor, key, key_size);
        cursor->set_value(cursor, &item);
        code = cursor->insert(cursor); /* a cursor overwrites unless told otherwise */
    } while (code == WT_ROLLBACK);
    must_wired(code, "WiredTiger, put");
}

static engine_view wired_view(void *session, const char *key, size_t key_size) {
    WT_CURSOR *cursor = ((wired_session *)session)->cursor;
    WT_ITEM item = {0};
    set_key(cursor, key, key_size);
    int code = cursor->search(cursor);
    if (code == WT_NOTFOUND) return (engine_view){.size = ENGINE_ABSENT};
    must_wired(code, "WiredTiger, get");
    must_wired(cursor->get_value(cursor, &item), "WiredTiger, get");
    return (engine_view){.data = item.data, .size = item.size};
}

static void wired_view_end(void *session, const engine_view *view) {
    (void)view;
    WT_CURSOR *cursor = ((wired_session *)session)->cursor;
    must_wired(cursor->reset(cursor), "WiredTiger, reset");
}

static size_t wired_get(void *session, const char *key, size_t key_size, void *buffer, size_t cap) {
    engine_view v = wired_view(session, key, key_size);
    if (v.size == ENGINE_ABSENT) return v.size;
    if (v.size > cap) die("WiredTiger, get", "a value is too long");
    memcpy(buffer, v.data, v.size);
    wired_view_end(session, &v);
    return v.size;
}

static void wired_scan(void *session, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx) {
    WT_CURSOR *cursor = ((wired_session *)session)->cursor;
    int side;
    set_key(cursor, from, from_size);
    int code = cursor->search_near(cursor, &side);
    if (code == 0 && side < 0) code = cursor->next(cursor);
    for (bool more = true; code == 0 && more; code = more ? cursor->next(cursor) : 0) {
        WT_ITEM key = {0}, value = {0};
        must_wired(cursor->get_key(cursor, &key), "WiredTiger, scan");
        if (values) must_wired(cursor->get_value(cursor, &value), "WiredTiger, scan");
        more = visit(ctx, key.data, key.size, value.data, value.size);
    }
    if (code != WT_NOTFOUND) must_wired(code, "WiredTiger, scan");
    must_wired(cursor->reset(cursor), "WiredTiger, reset");
}

static void wired_sync(void *session) {
    WT_SESSION *s = ((wired_session *)session)->session;
    must_wired(s->log_flush(s, "sync=on"), "WiredTiger, sync");
}

const engine engine_wiredtiger = {
    .name = "wiredtiger",
    .kind = ENGINE_PEER,
    .parts = PART_ALL & ~PART_MIXED,
    .open = wired_open,
    .close = wired_close,
    .session = wired_session_begin,
    .session_end = wired_session_end,
    .put = wired_put,
    .get = wired_get,
    .sync = wired_sync,
    .view = wired_view,
    .view_end = wired_view_end,
    .scan = wired_scan,
};

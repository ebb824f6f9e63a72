/* cairn with every default: verified reads, the ordered index where it is built, compaction, no cache of values. */
#include "bench/bench_common.h"
#include "bench/engine.h"

#include <stdio.h>
#include <stdlib.h>

#define SPACE_AMP_OFF 1e6

static void tell(void *ctx, int level, const char *message) {
    (void)ctx;
    if (level <= CAIRN_LOG_WARNING) fprintf(stderr, "cairn says: %s\n", message);
}

static void *open_with(const char *path, const engine_setup *setup, double amp) {
    cairn *store = NULL;
    cairn_error error;
    cairn_options options = {.struct_size = sizeof options, .create = true, .max_space_amp = amp, .log = tell};
    if (setup->durable) options.durability = CAIRN_DURABILITY_SYNC;
    if (setup->compress) options.compression = CAIRN_COMPRESSION_ZSTD;
    must(cairn_open(&store, path, &options, &error), "cairn, open", &error);
    return store;
}

static void *open_default(const char *path, const engine_setup *setup) { return open_with(path, setup, 0); }
static void *open_off(const char *path, const engine_setup *setup) { return open_with(path, setup, SPACE_AMP_OFF); }

static void put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    cairn_error error;
    must(cairn_put(store, key, key_size, value, value_size, NULL, &error), "cairn, put", &error);
}

static size_t get(void *store, const char *key, size_t key_size, void *buffer, size_t cap) {
    cairn_error error;
    size_t size = 0;
    int code = cairn_get_into(store, key, key_size, buffer, cap, &size, &error);
    if (code == CAIRN_NOT_FOUND) return ENGINE_ABSENT;
    must(code, "cairn, get", &error);
    return size;
}

static void get_many(void *store, engine_get *gets, size_t count) {
    cairn_error error;
    cairn_get_item *items = calloc(count, sizeof *items);
    if (items == NULL) die("cairn, get_many", "no memory");
    for (size_t i = 0; i < count; i++) {
        items[i].key = gets[i].key;
        items[i].key_size = gets[i].key_size;
        items[i].buf = gets[i].buffer;
        items[i].cap = gets[i].cap;
        items[i].error = &error;
    }
    must(cairn_get_many(store, items, sizeof *items, count, NULL, &error), "cairn, get_many", &error);
    for (size_t i = 0; i < count; i++) {
        must(items[i].code, "cairn, get_many", &error);
        gets[i].size = items[i].value_size;
    }
    free(items);
}

static void scan(void *store, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx) {
    cairn_scan *scan;
    cairn_error error;
    cairn_scan_options options = {
        .struct_size = sizeof options, .lower = from, .lower_size = from_size, .keys_only = !values};
    must(cairn_scan_open(store, &options, &scan, &error), "cairn, scan", &error);
    for (bool more = true; more;) {
        size_t key_size, size = 0;
        const void *value = NULL;
        int code = cairn_scan_next(scan, &error);
        if (code == CAIRN_DONE) break;
        must(code, "cairn, scan", &error);
        const char *key = cairn_scan_key(scan, &key_size);
        if (values) must(cairn_scan_value(scan, &value, &size, &error), "cairn, scan", &error);
        more = visit(ctx, key, key_size, value, size);
    }
    cairn_scan_close(scan);
}

static engine_view view(void *store, const char *key, size_t key_size) {
    cairn_error error;
    cairn_view *v = NULL;
    must(cairn_view_open(store, key, key_size, &v, &error), "cairn, view", &error);
    return (engine_view){.data = cairn_view_data(v), .size = cairn_view_size(v), .handle = v};
}

static void view_end(void *store, const engine_view *v) {
    (void)store;
    cairn_view_close(v->handle);
}

static void sync_store(void *store) {
    cairn_error error;
    must(cairn_sync(store, &error), "cairn, sync", &error);
}

static void close_store(void *store) {
    int code = cairn_close(store);
    if (code != CAIRN_OK) die("cairn, close", cairn_strerror(code));
}

/* ---- Streams ---- */

static void stream(void *store, const char *key, size_t key_size, const void *piece, size_t size, uint64_t pieces) {
    cairn_writer *writer;
    cairn_error error;
    cairn_put_options options = {.struct_size = sizeof options, .sync = true};
    must(cairn_writer_open(store, key, key_size, &options, &writer, &error), "cairn, writer", &error);
    for (uint64_t i = 0; i < pieces; i++) {
        must(cairn_writer_write(writer, piece, size, &error), "cairn, writer", &error);
    }
    must(cairn_writer_commit(writer, &error), "cairn, commit", &error);
}

static void stream_read(void *store, const char *key, size_t key_size, uint64_t offset, void *buffer, size_t size) {
    cairn_error error;
    size_t got = 0;
    must(cairn_read(store, key, key_size, offset, buffer, size, &got, &error), "cairn, read", &error);
    if (got != size) die("cairn, read", "the value is cut short");
}

const engine engine_cairn = {
    .name = "cairn",
    .kind = ENGINE_CAIRN,
    .parts = PART_ALL,
    .syncs = true,
    .open = open_default,
    .close = close_store,
    .put = put,
    .get = get,
    .sync = sync_store,
    .view = view,
    .view_end = view_end,
    .get_many = get_many,
    .scan = scan,
    .stream = stream,
    .stream_read = stream_read,
};

const engine engine_cairn_off = {
    .name = "cairn off",
    .kind = ENGINE_CAIRN,
    .parts = PART_ALL,
    .syncs = true,
    .open = open_off,
    .close = close_store,
    .put = put,
    .get = get,
    .sync = sync_store,
};

/* RocksDB with blob files (rocksdb_store.h). Blocks are cached, values are not: the page cache has them, as it has
 * cairn's. Many gets are one batched call, which sorts them by key. */
#include "bench/bench_common.h"
#include "bench/engine.h"
#include "bench/rocksdb_store.h"

#include <stdlib.h>
#include <string.h>

static void *open_with(const char *path, const engine_setup *setup, bool unverified) {
    rocks_setup s = {.block_cache_bytes = ENGINE_CACHE_BYTES,
                     .durable = setup->durable,
                     .compress = setup->compress,
                     .unverified = unverified};
    return rocks_new(path, &s);
}

static void *rocks_open(const char *path, const engine_setup *setup) { return open_with(path, setup, false); }
static void *rocks_open_unverified(const char *path, const engine_setup *setup) { return open_with(path, setup, true); }

static engine_view pinned(void *store, const char *key, size_t key_size) {
    char *failure = NULL;
    rocks *r = store;
    engine_view v = {.size = ENGINE_ABSENT};
    v.handle = rocksdb_get_pinned(r->db, r->read, key, key_size, &failure);
    must_rocksdb(failure, "RocksDB, get");
    if (v.handle != NULL) v.data = rocksdb_pinnableslice_value(v.handle, &v.size);
    return v;
}

static void pinned_end(void *store, const engine_view *v) {
    (void)store;
    rocksdb_pinnableslice_destroy(v->handle);
}

static size_t rocks_get(void *store, const char *key, size_t key_size, void *buffer, size_t cap) {
    engine_view v = pinned(store, key, key_size);
    if (v.handle == NULL) return ENGINE_ABSENT;
    if (v.size > cap) die("RocksDB, get", "a value is too long");
    memcpy(buffer, v.data, v.size);
    pinned_end(store, &v);
    return v.size;
}

static void rocks_get_many(void *store, engine_get *gets, size_t count) {
    rocks *r = store;
    const char **keys = allocate(count * sizeof *keys);
    size_t *sizes = allocate(count * sizeof *sizes);
    rocksdb_pinnableslice_t **values = allocate(count * sizeof *values);
    char **failures = allocate(count * sizeof *failures);
    for (size_t i = 0; i < count; i++) {
        keys[i] = gets[i].key;
        sizes[i] = gets[i].key_size;
    }
    rocksdb_batched_multi_get_cf(r->db, r->read, r->family, count, keys, sizes, values, failures, false);
    for (size_t i = 0; i < count; i++) {
        must_rocksdb(failures[i], "RocksDB, get many");
        if (values[i] == NULL) die("RocksDB, get many", "a value is missing");
        const char *data = rocksdb_pinnableslice_value(values[i], &gets[i].size);
        if (gets[i].size > gets[i].cap) die("RocksDB, get many", "a value is too long");
        memcpy(gets[i].buffer, data, gets[i].size);
        rocksdb_pinnableslice_destroy(values[i]);
    }
    free(keys);
    free(sizes);
    free(values);
    free(failures);
}

static void rocks_scan(void *store, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_iterator_t *at = rocksdb_create_iterator_cf(r->db, r->read, r->family);
    rocksdb_iter_seek(at, from, from_size);
    for (bool more = true; more && rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t key_size, size = 0;
        const char *key = rocksdb_iter_key(at, &key_size), *value = values ? rocksdb_iter_value(at, &size) : NULL;
        more = visit(ctx, key, key_size, value, size);
    }
    rocksdb_iter_get_error(at, &failure);
    must_rocksdb(failure, "RocksDB, scan");
    rocksdb_iter_destroy(at);
}

static void rocks_sync(void *store) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_flush_wal(r->db, 1, &failure);
    must_rocksdb(failure, "RocksDB, sync");
}

const engine engine_rocksdb = {
    .name = "rocksdb",
    .kind = ENGINE_PEER,
    .parts = PART_ALL & ~PART_MIXED,
    .open = rocks_open,
    .close = rocks_close,
    .put = rocks_put,
    .get = rocks_get,
    .sync = rocks_sync,
    .view = pinned,
    .view_end = pinned_end,
    .get_many = rocks_get_many,
    .scan = rocks_scan,
};

const engine engine_rocksdb_unverified = {
    .name = "rocksdb-nv",
    .kind = ENGINE_PEER,
    .parts = PART_WARM | PART_COLD | PART_SCAN,
    .open = rocks_open_unverified,
    .close = rocks_close,
    .put = rocks_put,
    .get = rocks_get,
    .sync = rocks_sync,
    .view = pinned,
    .view_end = pinned_end,
    .get_many = rocks_get_many,
    .scan = rocks_scan,
};

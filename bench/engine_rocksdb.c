/* RocksDB as bench_space drives it. */
#include "bench/bench_common.h"
#include "bench/engine.h"
#include "bench/rocksdb_store.h"

#include <string.h>

#define BLOCK_CACHE_BYTES ((size_t)64 << 20)

static void *rocks_open(const char *path) { return rocks_new(path, BLOCK_CACHE_BYTES); }

static size_t rocks_get(void *store, const char *key, size_t key_size, void *buffer, size_t cap) {
    char *failure = NULL;
    size_t size = 0;
    rocks *r = store;
    char *value = rocksdb_get(r->db, r->read, key, key_size, &size, &failure);
    must_rocksdb(failure, "RocksDB, get");
    if (value == NULL || size > cap) die("RocksDB, get", "a value is missing or too long");
    memcpy(buffer, value, size);
    rocksdb_free(value);
    return size;
}

const engine engine_rocksdb = {
    .name = "rocksdb", .open = rocks_open, .put = rocks_put, .get = rocks_get, .close = rocks_close};

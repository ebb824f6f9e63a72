/* RocksDB as bench_space drives it. */
#include "bench/bench_common.h"
#include "bench/engine.h"
#include "bench/rocksdb_options.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_CACHE_BYTES ((size_t)64 << 20)

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
} rocks;

static void *rocks_open(const char *path) {
    char *failure = NULL;
    rocks *r = allocate(sizeof *r);
    *r = (rocks){.options = rocksdb_blob_options(BLOCK_CACHE_BYTES),
                 .write = rocksdb_writeoptions_create(),
                 .read = rocksdb_readoptions_create()};
    r->db = rocksdb_open(r->options, path, &failure);
    must_rocksdb(failure, "RocksDB, open");
    return r;
}

static void rocks_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_put(r->db, r->write, key, key_size, value, value_size, &failure);
    must_rocksdb(failure, "RocksDB, put");
}

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

static void rocks_close(void *store) {
    rocks *r = store;
    rocksdb_close(r->db);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_options_destroy(r->options);
    free(r);
}

const engine engine_rocksdb = {
    .name = "rocksdb", .open = rocks_open, .put = rocks_put, .get = rocks_get, .close = rocks_close};

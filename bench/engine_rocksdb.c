/* RocksDB with values in blob files, which is what it has for large values. The write-ahead log is on and not synced,
 * like cairn's; nothing is compressed. */
#include "bench/bench_common.h"
#include "bench/engine.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

/* Of blob files the oldest share that a compaction empties, and the share of garbage in these that starts one. A
 * smaller share takes more space, also with a smaller start. */
#define BLOB_GC_AGE_CUTOFF 1.0
#define BLOB_GC_FORCE_THRESHOLD 0.5
#define BLOB_SIZE_MIN 1024
#define BLOCK_CACHE_BYTES ((size_t)64 << 20)

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
} rocks;

static void must_not(char *failure, const char *what) {
    if (failure != NULL) die(what, failure);
}

static rocksdb_options_t *options_new(void) {
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, BLOB_SIZE_MIN);
    rocksdb_options_set_blob_compression_type(o, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(o, 1);
    rocksdb_options_set_blob_gc_age_cutoff(o, BLOB_GC_AGE_CUTOFF);
    rocksdb_options_set_blob_gc_force_threshold(o, BLOB_GC_FORCE_THRESHOLD);
    rocksdb_cache_destroy(cache); /* the options hold both */
    rocksdb_block_based_options_destroy(table);
    return o;
}

static void *rocks_open(const char *path) {
    char *failure = NULL;
    rocks *r = allocate(sizeof *r);
    *r =
        (rocks){.options = options_new(), .write = rocksdb_writeoptions_create(), .read = rocksdb_readoptions_create()};
    r->db = rocksdb_open(r->options, path, &failure);
    must_not(failure, "RocksDB, open");
    return r;
}

static void rocks_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_put(r->db, r->write, key, key_size, value, value_size, &failure);
    must_not(failure, "RocksDB, put");
}

static size_t rocks_get(void *store, const char *key, size_t key_size, void *buffer, size_t cap) {
    char *failure = NULL;
    size_t size = 0;
    rocks *r = store;
    char *value = rocksdb_get(r->db, r->read, key, key_size, &size, &failure);
    must_not(failure, "RocksDB, get");
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

#include "bench/rocksdb_store.h"

#include "bench/bench_common.h"

#include <stdlib.h>

/* Of blob files the oldest share that a compaction empties, and the share of garbage in these that starts one. A
 * smaller share takes more space, also with a smaller start. */
#define BLOB_GC_AGE_CUTOFF 1.0
#define BLOB_GC_FORCE_THRESHOLD 0.5
#define BLOB_SIZE_MIN 1024
#define BLOOM_BITS_A_KEY 10

void must_rocksdb(char *failure, const char *what) {
    if (failure != NULL) die(what, failure);
}

static rocksdb_options_t *blob_options(const rocks_setup *setup) {
    int compression = setup->compress ? rocksdb_zstd_compression : rocksdb_no_compression;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(setup->block_cache_bytes);
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_A_KEY));
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, BLOB_SIZE_MIN);
    rocksdb_options_set_blob_compression_type(o, compression);
    rocksdb_options_set_enable_blob_gc(o, 1);
    rocksdb_options_set_blob_gc_age_cutoff(o, BLOB_GC_AGE_CUTOFF);
    rocksdb_options_set_blob_gc_force_threshold(o, BLOB_GC_FORCE_THRESHOLD);
    rocksdb_cache_destroy(cache); /* the options hold both */
    rocksdb_block_based_options_destroy(table);
    return o;
}

rocks *rocks_new(const char *path, const rocks_setup *setup) {
    static const char *const families[] = {"default"};
    char *failure = NULL;
    rocks *r = allocate(sizeof *r);
    *r = (rocks){
        .options = blob_options(setup), .write = rocksdb_writeoptions_create(), .read = rocksdb_readoptions_create()};
    const rocksdb_options_t *options = r->options;
    rocksdb_writeoptions_set_sync(r->write, setup->durable);
    rocksdb_readoptions_set_verify_checksums(r->read, !setup->unverified);
    r->db = rocksdb_open_column_families(r->options, path, 1, families, &options, &r->family, &failure);
    must_rocksdb(failure, "RocksDB, open");
    return r;
}

void rocks_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_put(r->db, r->write, key, key_size, value, value_size, &failure);
    must_rocksdb(failure, "RocksDB, put");
}

void rocks_close(void *store) {
    rocks *r = store;
    rocksdb_column_family_handle_destroy(r->family);
    rocksdb_close(r->db);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_options_destroy(r->options);
    free(r);
}

/* RocksDB as every program here runs it: values in blob files, which is what it has for large values, collected as they
 * become garbage; a Bloom filter of 10 bits a key. The write-ahead log is on and not synced, like cairn's; nothing is
 * compressed unless asked for. A call that fails ends the program. */
#ifndef CAIRN_BENCH_ROCKSDB_STORE_H
#define CAIRN_BENCH_ROCKSDB_STORE_H

#include <rocksdb/c.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct rocks_setup {
    size_t block_cache_bytes;
    bool durable;    /* each put syncs the write-ahead log */
    bool compress;   /* blobs, by zstd */
    bool unverified; /* gets do not look at checksums */
} rocks_setup;

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family; /* the one that there is; some calls ask for it */
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
} rocks;

rocks *rocks_new(const char *path, const rocks_setup *setup);
/* `store` is one of those; for tables of engines. */
void rocks_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size);
void rocks_close(void *store);

void must_rocksdb(char *failure, const char *what); /* ends the program unless it is NULL */

#endif

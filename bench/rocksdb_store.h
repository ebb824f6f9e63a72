/* How RocksDB is set in every program that runs it: values in blob files, which is what it has for large values. The
 * write-ahead log is on and not synced, like cairn's; nothing is compressed. */
#ifndef CAIRN_BENCH_ROCKSDB_OPTIONS_H
#define CAIRN_BENCH_ROCKSDB_OPTIONS_H

#include <rocksdb/c.h>
#include <stddef.h>

rocksdb_options_t *rocksdb_blob_options(size_t block_cache_bytes); /* for rocksdb_options_destroy */

void must_rocksdb(char *failure, const char *what); /* ends the program unless it is NULL */

#endif

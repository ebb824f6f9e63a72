/* RocksDB as bench_scan walks it. Its own cache has room for all keys, since the others have the page cache for theirs;
 * blob files have the page cache too. What lies between the bounds is told to the iterator, and long walks read ahead.
 */
#include "bench/bench_common.h"
#include "bench/rocksdb_store.h"
#include "bench/scan_engine.h"

#include <unistd.h>

#define BLOCK_CACHE_BYTES ((size_t)2 << 30)
#define READAHEAD_BYTES ((size_t)2 << 20)
#define POLL_US 50000
#define QUIET_POLLS 5

static void *rocks_open(const char *path) {
    rocks_setup setup = {.block_cache_bytes = BLOCK_CACHE_BYTES};
    return rocks_new(path, &setup);
}

static bool is_at_work(rocks *r) {
    static const char *const properties[] = {"rocksdb.num-running-compactions", "rocksdb.compaction-pending",
                                             "rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending"};
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        uint64_t count = 0;
        if (rocksdb_property_int(r->db, properties[i], &count) != 0) die("RocksDB has no property", properties[i]);
        if (count != 0) return true;
    }
    return false;
}

static void rocks_settle(void *store) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flush(r->db, flush, &failure);
    must_rocksdb(failure, "RocksDB, flush");
    rocksdb_flushoptions_destroy(flush);
    for (int quiet = 0; quiet < QUIET_POLLS; quiet++) {
        if (is_at_work(r)) quiet = 0;
        usleep(POLL_US);
    }
}

/* Of the bounds it keeps pointers. */
static rocksdb_readoptions_t *read_options(const scan_query *q) {
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    if (q->lower_size != 0) rocksdb_readoptions_set_iterate_lower_bound(o, q->lower, q->lower_size);
    if (q->upper_size != 0) rocksdb_readoptions_set_iterate_upper_bound(o, q->upper, q->upper_size);
    if (q->is_long) rocksdb_readoptions_set_readahead_size(o, READAHEAD_BYTES);
    return o;
}

static void add(rocksdb_iterator_t *at, const scan_query *q, scan_sum *sum) {
    size_t size;
    const char *key = rocksdb_iter_key(at, &size);
    if (q->like_size != 0 && !scan_like(q, key, size)) return;
    scan_add_key(sum, key, size);
    if (!q->values) return;
    const char *value = rocksdb_iter_value(at, &size);
    scan_add_value(sum, value, size);
}

static void rocks_scan(void *store, const scan_query *q, scan_sum *sum) {
    char *failure = NULL;
    rocks *r = store;
    rocksdb_readoptions_t *options = read_options(q);
    rocksdb_iterator_t *at = rocksdb_create_iterator(r->db, options);
    if (q->reverse) {
        for (rocksdb_iter_seek_to_last(at); rocksdb_iter_valid(at); rocksdb_iter_prev(at)) {
            add(at, q, sum);
        }
    } else {
        for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
            add(at, q, sum);
        }
    }
    rocksdb_iter_get_error(at, &failure);
    must_rocksdb(failure, "RocksDB, walk");
    rocksdb_iter_destroy(at);
    rocksdb_readoptions_destroy(options);
}

const scan_engine scan_rocksdb = {.name = "rocksdb",
                                  .open = rocks_open,
                                  .put = rocks_put,
                                  .settle = rocks_settle,
                                  .scan = rocks_scan,
                                  .close = rocks_close};

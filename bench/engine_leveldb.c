/* LevelDB: snappy only when compression is asked for, a Bloom filter of 10 bits a key, a cache of blocks, and a write
 * buffer that holds four of the largest values. Its log is on and not synced unless durable. Checksums are verified,
 * which is not its default but what cairn does. */
#include "bench/bench_common.h"
#include "bench/engine.h"

#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BUFFER_BYTES ((size_t)64 << 20)
#define BLOOM_BITS_A_KEY 10

typedef struct level {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write, *write_synced;
    leveldb_readoptions_t *read;
} level;

static void must_leveldb(char *failure, const char *what) {
    if (failure != NULL) die(what, failure);
}

static void *level_open(const char *path, const engine_setup *setup) {
    char *failure = NULL;
    level *l = allocate(sizeof *l);
    *l = (level){.options = leveldb_options_create(),
                 .cache = leveldb_cache_create_lru(ENGINE_CACHE_BYTES),
                 .filter = leveldb_filterpolicy_create_bloom(BLOOM_BITS_A_KEY),
                 .write = leveldb_writeoptions_create(),
                 .write_synced = leveldb_writeoptions_create(),
                 .read = leveldb_readoptions_create()};
    leveldb_options_set_create_if_missing(l->options, 1);
    leveldb_options_set_cache(l->options, l->cache);
    leveldb_options_set_filter_policy(l->options, l->filter);
    leveldb_options_set_write_buffer_size(l->options, WRITE_BUFFER_BYTES);
    leveldb_options_set_compression(l->options, setup->compress ? leveldb_snappy_compression : leveldb_no_compression);
    leveldb_writeoptions_set_sync(l->write, setup->durable);
    leveldb_writeoptions_set_sync(l->write_synced, 1);
    leveldb_readoptions_set_verify_checksums(l->read, 1);
    l->db = leveldb_open(l->options, path, &failure);
    must_leveldb(failure, "LevelDB, open");
    return l;
}

static void level_close(void *store) {
    level *l = store;
    leveldb_close(l->db);
    leveldb_readoptions_destroy(l->read);
    leveldb_writeoptions_destroy(l->write_synced);
    leveldb_writeoptions_destroy(l->write);
    leveldb_options_destroy(l->options);
    leveldb_cache_destroy(l->cache);
    leveldb_filterpolicy_destroy(l->filter);
    free(l);
}

static void level_put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    char *failure = NULL;
    level *l = store;
    leveldb_put(l->db, l->write, key, key_size, value, value_size, &failure);
    must_leveldb(failure, "LevelDB, put");
}

static size_t level_get(void *store, const char *key, size_t key_size, void *buffer, size_t cap) {
    char *failure = NULL;
    size_t size = 0;
    level *l = store;
    char *value = leveldb_get(l->db, l->read, key, key_size, &size, &failure);
    must_leveldb(failure, "LevelDB, get");
    if (value == NULL) return ENGINE_ABSENT;
    if (size > cap) die("LevelDB, get", "a value is too long");
    memcpy(buffer, value, size);
    leveldb_free(value);
    return size;
}

static void level_scan(void *store, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx) {
    char *failure = NULL;
    level *l = store;
    leveldb_iterator_t *at = leveldb_create_iterator(l->db, l->read);
    leveldb_iter_seek(at, from, from_size);
    for (bool more = true; more && leveldb_iter_valid(at); leveldb_iter_next(at)) {
        size_t key_size, size = 0;
        const char *key = leveldb_iter_key(at, &key_size), *value = values ? leveldb_iter_value(at, &size) : NULL;
        more = visit(ctx, key, key_size, value, size);
    }
    leveldb_iter_get_error(at, &failure);
    must_leveldb(failure, "LevelDB, scan");
    leveldb_iter_destroy(at);
}

/* It has no call for that: an empty batch that is synced syncs the log before it. What was in earlier logs is in
 * tables, which are synced when they are made, or in the buffer that is being made one. */
static void level_sync(void *store) {
    char *failure = NULL;
    level *l = store;
    leveldb_writebatch_t *empty = leveldb_writebatch_create();
    leveldb_write(l->db, l->write_synced, empty, &failure);
    must_leveldb(failure, "LevelDB, sync");
    leveldb_writebatch_destroy(empty);
}

const engine engine_leveldb = {
    .name = "leveldb",
    .kind = ENGINE_PEER,
    .parts = PART_ALL & ~PART_MIXED,
    .open = level_open,
    .close = level_close,
    .put = level_put,
    .get = level_get,
    .scan = level_scan,
    .sync = level_sync,
};

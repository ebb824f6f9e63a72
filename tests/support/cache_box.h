/* A value cache without a store around it. Values have numbers, and bytes that follow from them, so that whoever finds
 * one can tell whether it is right. A failing step fails the test. */
#ifndef CAIRN_TESTS_CACHE_BOX_H
#define CAIRN_TESTS_CACHE_BOX_H

#include "src/base/epoch.h"
#include "src/store/value_cache.h"

#include <stdbool.h>
#include <stdint.h>

#define MIB ((uint64_t)1 << 20)
#define KIB ((uint64_t)1 << 10)

typedef struct cache_box {
    epoch *readers;
    value_cache *cache;
} cache_box;

cache_box cache_box_open(uint64_t budget);
void cache_box_close(cache_box *b);
value_cache_stats cache_box_stats(const cache_box *b);

/* Records of 66 units in a row, as a log of 4 KiB values has them. */
location cached_location(uint64_t id);
/* false: the cache did not want it, or had no memory. */
bool cache_box_insert(cache_box *b, uint64_t id, uint64_t value_size);
/* All from `first` to `end` - 1; each must be wanted, which is not to say that it is still there at the end. */
void cache_box_fill(cache_box *b, uint64_t first, uint64_t end, uint64_t value_size);
void cache_box_remove(cache_box *b, uint64_t id);
bool cache_box_has(cache_box *b, uint64_t id);
/* As a store reads: a miss is inserted. True: a hit. */
bool cache_box_get(cache_box *b, uint64_t id, uint64_t value_size);
/* The caller is in the epoch, or nothing leaves the cache. NULL: absent. */
const cached_value *cache_box_find(const cache_box *b, uint64_t id);

bool cached_is_right(const cached_value *v, uint64_t id, uint64_t value_size);

#endif

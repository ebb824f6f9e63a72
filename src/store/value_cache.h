/* The cache of values in RAM: cairn_options.cache_bytes.
 *
 * An entry is a copy of a record's key and value, found by the record's location. What lies at a location does not
 * change while the store is open, so an entry is never wrong; it is useless once its key was overwritten, and the store
 * then removes it. (Before an address is used again, its entry must have been removed.) The caller compares the key: it
 * is in the entry, so that a hit makes no file call.
 *
 * Two ways to be, by the budget:
 *  - UINT64_MAX, resident: what was inserted stays until it is removed. Nothing is evicted, nothing refused.
 *  - less, bounded: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction",
 *    SOSP 2023). A newcomer enters a small queue of a tenth of the budget. One that was not asked for twice by its end
 *    leaves, and only its fingerprint is kept (the ghost, src/store/value_ghost.h). So a scan passes through the small
 *    queue; the main queue, which only proven values and those that the ghost remembers enter, does not notice it.
 *
 * What the budget bounds. `bytes` in the statistics is entries with the heap's overhead, tables and ghost; it is at
 * most the budget at every moment. Besides there are: this struct (some KiB); an entry that is prepared, one a thread;
 * those that have left the cache but may still be read: when they are more than an eighth of the budget nothing is
 * admitted until the readers have left; and pinned ones that have left, which belong to whoever pinned them.
 *
 * Threads: value_cache_find takes no lock; the caller is inside the epoch. Everything else that changes the cache takes
 * its one mutex, which is innermost, is held for a few list operations or the growth of a table, and not while entries
 * are freed. All may be called inside or outside the epoch.
 *
 * No call here fails: a value that cannot be kept is not kept.
 */
#ifndef CAIRN_STORE_VALUE_CACHE_H
#define CAIRN_STORE_VALUE_CACHE_H

#include "src/base/epoch.h"
#include "src/base/location.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_CACHE_RESIDENT UINT64_MAX /* the budget that keeps all */

typedef struct value_cache value_cache;
typedef struct cached_value cached_value;

/* Whoever prepared it fills the group in the middle and `bytes`; from its insertion on these never change. */
struct cached_value {
    epoch_entry retired; /* first: the entry is the value */
    _Atomic(cached_value *) chain;
    cached_value *newer, *older; /* the cache's lock: neighbours in its queue */
    value_cache *cache;

    location where;
    uint64_t version, expires_at_ms, stored_size; /* as in cairn_entry */

    uint64_t value_size;
    uint32_t key_size;
    _Atomic uint32_t holds;    /* one is the cache's, each pin is one; freed with the last */
    _Atomic uint8_t frequency; /* look-ups since it entered its queue, at most 3 */
    uint8_t queue;             /* the cache's lock: which one it is in */
    _Alignas(16) uint8_t bytes[];
};

/* The key lies at bytes[0], the value at bytes[cached_data_offset()], aligned to 16. */
static inline size_t cached_data_offset(const cached_value *v) { return ((size_t)v->key_size + 15) & ~(size_t)15; }
static inline const uint8_t *cached_key(const cached_value *v) { return v->bytes; }
static inline const uint8_t *cached_data(const cached_value *v) { return v->bytes + cached_data_offset(v); }

int value_cache_new(value_cache **out, epoch *readers, uint64_t budget); /* CAIRN_OK or CAIRN_NO_MEMORY */
/* Nobody is inside the epoch or the cache, nothing is pinned. Before epoch_free. */
void value_cache_free(value_cache *cache);

/* The entry or NULL. Valid until the caller leaves the epoch, whoever removes it; longer when it is pinned. Counts a
 * hit or a miss in the counters of `stripe`: any number, best epoch_guard.slot. Threads whose numbers differ below 64
 * share no cache line; those that share a stripe may lose a count now and then. While a table grows an entry that is
 * there may be missed. */
const cached_value *value_cache_find(value_cache *cache, location where, unsigned stripe);

/* Memory for an entry, to be filled and then inserted or discarded. NULL: not wanted, or no memory. Not wanted in a
 * bounded cache is what takes more than a tenth of the budget, which is the small queue: it would push all other
 * newcomers out before they could prove themselves. */
cached_value *value_cache_prepare(value_cache *cache, uint32_t key_size, uint64_t value_size);
void value_cache_discard(cached_value *prepared);
/* Takes it over. When the location is there already, or there is no room, it is freed: the caller must not look at it
 * any more. A record that is overwritten between the reading of it and this call leaves an entry that nobody removes,
 * so in a resident cache for ever: look *afterwards* whether the index still names the location, and remove it if not
 * (whoever overwrites changes the index first and removes then, so one of the two sees the other). */
void value_cache_insert(value_cache *cache, cached_value *filled);
void value_cache_remove(value_cache *cache, location where); /* nothing when absent */

/* A pinned entry outlives its removal or eviction, after which its bytes count in no statistic. Pin: inside the epoch
 * in which it was found, or while it is pinned. Unpin: anywhere, once for each pin; frees the memory when it was the
 * last to hold it. */
void value_cache_pin(const cached_value *found);
void value_cache_unpin(const cached_value *pinned);

typedef struct value_cache_stats {
    uint64_t bytes, entries, hits, misses;
} value_cache_stats;
/* Any thread. Each figure is one that was true; hits and misses lag behind other threads' look-ups that run. */
void value_cache_stats_get(const value_cache *cache, value_cache_stats *stats);

#endif

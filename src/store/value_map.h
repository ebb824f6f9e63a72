/* The value cache's map from locations to entries: look-ups without a lock, one writer at a time.
 *
 * 256 tables of chains by the top bits of the mixed location; a table doubles by itself when it has more than one
 * entry for two chains, so that a pause is the relinking of 1/256 of the entries. (One entry a chain instead saves 8 to
 * 16 bytes an entry and makes a hit of 4 KiB 6 % slower, measured: each entry passed on the way is a miss of the CPU's
 * caches.) Why look-ups are safe beside the writer is argued
 * in value_map.c. `table_entries` and every change belong to the writer: the cache's lock is held. */
#ifndef CAIRN_STORE_VALUE_MAP_H
#define CAIRN_STORE_VALUE_MAP_H

#include "src/base/check.h"
#include "src/store/value_cache.h"

#include <stdbool.h>

#define VALUE_TABLES 256u

typedef struct value_table value_table;

/* All zero is an empty map. */
typedef struct value_map {
    _Atomic(value_table *) tables[VALUE_TABLES]; /* NULL until the first growth */
    uint32_t table_entries[VALUE_TABLES];
} value_map;

/* Addresses are regular, so they are mixed: MurmurHash3's finaliser, a bijection. */
static inline uint64_t value_map_mix(location where) {
    uint64_t m = where;
    m = (m ^ m >> 33) * 0xff51afd7ed558ccdull;
    m = (m ^ m >> 33) * 0xc4ceb9fe1a85ec53ull;
    return m ^ m >> 33;
}

/* What an allocation of `size` bytes takes from the heap. */
static inline uint64_t heap_bytes(uint64_t size) { return round_up(size + 8, 16); }

/* Inside the epoch or the lock. NULL: absent; without the lock, also when its table is growing. */
cached_value *value_map_find(const value_map *map, location where);

/* By how many bytes the table should grow before one more entry with this location is added; 0: not at all. */
uint64_t value_map_growth(const value_map *map, location where);
/* Grows it by that much. The table that was replaced is the caller's to retire: *replaced with release_table below;
 * NULL: none. false: no memory, nothing changed. */
bool value_map_grow(value_map *map, location where, epoch_entry **replaced);
void value_map_release_table(epoch_entry *replaced);

/* false: there is no table at all. In one that should have grown and could not, chains get longer, that is all. */
bool value_map_add(value_map *map, cached_value *v);
void value_map_remove(value_map *map, cached_value *v); /* it is there */

/* Frees all tables; `release` is called for each entry. Nobody is inside. */
void value_map_clear(value_map *map, void (*release)(cached_value *v));

#endif

/* The hash index: from the 64-bit hash of a key to the locations of records, 16 bytes an entry.
 *
 * It is a multimap: two keys whose hashes collide are two entries, and the caller's match function, which reads the key
 * in the record, decides which is meant. The index never looks into a location.
 *
 * Shape: HASH_INDEX_SHARDS shards by the hash's top bits. A shard is one array of buckets of 8 slots; an entry lies in
 * one of two buckets (two choices, breadth-first displacement) or in the shard's stash. A shard whose load passes 0.90
 * grows to x1.25 (while it is small, to x2) by itself, so that a pause is the copy of one shard; it shrinks only when
 * it is asked to.
 *
 * Concurrency:
 *  - Each shard has one mutex, its stripe, which the caller holds (hash_index_lock) around a whole put: look-up, append
 *    to the log, change of the index. So the log's order and the index's order agree for every key. It guards every
 *    field of the shard against writers.
 *  - Readers take no lock: slots are pairs of atomics (hash, location; location 0 is empty), a displacement copies
 *    before it erases, and the shard's version changes around everything that could hide an entry from a reader, who
 *    then looks again. Arrays that were replaced are retired to the epoch. A reader is inside the epoch.
 *  - A change of many entries at one moment is a publication: readers call hash_index_reader_wait when they begin, so
 *    that nobody sees a part of it.
 * Lock order: a stripe comes before every lock of the value log; several stripes only by hash_index_lock_stripes (in
 * ascending order) or hash_index_lock_all, by a thread that has none.
 */
#ifndef CAIRN_INDEX_HASH_INDEX_H
#define CAIRN_INDEX_HASH_INDEX_H

#include "src/base/epoch.h"
#include "src/base/location.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_INDEX_SHARDS 1024u

typedef struct hash_index hash_index;

int hash_index_new(hash_index **out, epoch *readers); /* CAIRN_OK or CAIRN_NO_MEMORY */
void hash_index_free(hash_index *index);

static inline unsigned hash_index_shard_of(uint64_t hash) { return (unsigned)(hash >> 54); }

void hash_index_lock(hash_index *index, uint64_t hash);
void hash_index_unlock(hash_index *index, uint64_t hash);
void hash_index_lock_all(hash_index *index);
void hash_index_unlock_all(hash_index *index);

/* Several stripes at once. All zero: none. Unchanged from lock to unlock. */
typedef struct hash_index_stripes {
    uint64_t bits[HASH_INDEX_SHARDS / 64];
} hash_index_stripes;

static inline void hash_index_stripes_add(hash_index_stripes *set, uint64_t hash) {
    unsigned shard = hash_index_shard_of(hash);
    set->bits[shard / 64] |= (uint64_t)1 << shard % 64;
}
/* More than a few stripes are taken as all of them. */
void hash_index_lock_stripes(hash_index *index, const hash_index_stripes *set);
void hash_index_unlock_stripes(hash_index *index, const hash_index_stripes *set);

/* Returns when every writer that held a stripe at the call has released it. What the caller stored before and writers
 * are to see from now on is stored, and looked at by them, sequentially consistent, or under one lock. */
void hash_index_quiesce(hash_index *index);
/* Nobody holds this stripe, and who takes it from now on sees what the caller stored before; as above. */
bool hash_index_is_free(const hash_index *index, uint64_t hash);

/* 1: this is the record; 0: it is another key's; negative: a code that ends the search and is returned by it. */
typedef int (*hash_index_match)(void *ctx, location candidate);

/* Asks `match` about the entries with this hash until one says yes. 1: found, *found is set; 0: absent; or match's
 * negative code, or CAIRN_NO_MEMORY. The caller is inside the epoch or holds the stripe. Without the stripe, the answer
 * is one that held at some moment of the call. `match` runs outside all locks of the index and may block. */
int hash_index_find(const hash_index *index, uint64_t hash, hash_index_match match, void *ctx, location *found);

/* A look-up of this hash is to come: brings what it will look at first nearer to the processor. Inside the epoch. */
void hash_index_prefetch(const hash_index *index, uint64_t hash);

/* Is this very entry there? Looks at memory only and cannot fail. The caller is inside the epoch or holds the stripe;
 * without the stripe, `hash` is that of the record that lies at `where`, and the answer held at some moment of the
 * call.
 */
bool hash_index_holds(const hash_index *index, uint64_t hash, location where);

/* How many entries have this hash. Stripe held. */
size_t hash_index_count(const hash_index *index, uint64_t hash);
/* The same, and the locations of the first `max` of them. */
size_t hash_index_collect(const hash_index *index, uint64_t hash, location *out, size_t max);

/* Makes sure that the next hash_index_insert in this hash's shard does not fail. Stripe held. CAIRN_NO_MEMORY: nothing
 * changed. */
int hash_index_reserve(hash_index *index, uint64_t hash);
/* The same for the next `count` of them, whatever their hashes. Reservations in one shard do not add up: the count is
 * that of all inserts to come. */
int hash_index_reserve_many(hash_index *index, uint64_t hash, size_t count);
/* About so many entries are to come: makes room for them at once, in pages of 2 MiB where the system has them, so that
 * not one array after the other is outgrown. The index is new and nobody else's. Where memory is wanting, it grows as
 * ever. */
void hash_index_expect(hash_index *index, uint64_t entries);
/* Gives back what deletions have left empty, one shard at a time under its stripe, where it is at least so many eighths
 * (1 to 7) of the shard's memory. A shard that memory is wanting for stays as it is. Room reserved before is void. No
 * entry changes, so what a checkpoint has of the shard is still good. */
void hash_index_shrink(hash_index *index, unsigned eighths);
void hash_index_insert(hash_index *index, uint64_t hash, location where); /* stripe held, room reserved */
void hash_index_replace(hash_index *index, uint64_t hash, location from,
                        location to);                                     /* stripe held, `from` is there */
void hash_index_remove(hash_index *index, uint64_t hash, location where); /* stripe held, `where` is there */

/* A publication: between begin and end the caller changes any number of entries, whose stripes it holds from before
 * begin until after end; it takes no lock meanwhile and does not call hash_index_reader_wait. Readers that begin
 * meanwhile wait, so it should be short. Several at a time are fine. The changes appear at the moment of begin. */
void hash_index_publish_begin(hash_index *index);
void hash_index_publish_end(hash_index *index);
/* Every reader without the stripe calls it at the beginning of each look-up. Waits until no publication is under way;
 * one load when there is none. Why this is enough: hash_index.c. */
void hash_index_reader_wait(hash_index *index);

uint64_t hash_index_entries(const hash_index *index); /* any thread; exact when no writer runs */
uint64_t hash_index_bytes(const hash_index *index);   /* memory held, retired arrays not counted; any thread */

/* Visits every entry of one shard, or of all. Stripe (all stripes) held. Non-zero from visit ends the walk and is
 * returned. */
typedef int (*hash_index_visit)(void *ctx, uint64_t hash, location where);
int hash_index_visit_shard(const hash_index *index, unsigned shard, hash_index_visit visit, void *ctx);
int hash_index_visit_all(const hash_index *index, hash_index_visit visit, void *ctx);

#endif

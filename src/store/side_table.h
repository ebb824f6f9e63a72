/* The side table: what open snapshots still see and the index no longer has.
 *
 * Snapshots have ascending numbers above 0. Before a writer changes anything under a hash for the first time since the
 * newest open snapshot N was opened, it has the table record the list of locations that the index holds for the hash:
 * the entry {hash, N, list}. The list may be empty (the key was absent), and has several locations where hashes
 * collide.
 *
 * What a snapshot s sees under a hash is the list of the entry with the least number >= s; when there is none, nothing
 * has changed since s, and the index's own list is it. So an entry {h, q} whose predecessor (the next smaller number
 * for h, or 0) is p serves the snapshots s with p < s <= q.
 *
 * A record that has left the index is *pinned* while an entry lists it: the writer says how many bytes it occupies.
 * They are counted once, in the newest entry that lists it, and go when the last one is dropped.
 *
 * Locks: everything under a hash is guarded by its stripe of the index, which the caller holds; side_table_sweep takes
 * them itself. The totals are atomic.
 */
#ifndef CAIRN_STORE_SIDE_TABLE_H
#define CAIRN_STORE_SIDE_TABLE_H

#include "index/hash_index.h"

typedef struct side_table side_table;

/* `released` is told each location that was pinned and is not any more, with its stripe held. CAIRN_OK or
 * CAIRN_NO_MEMORY. */
typedef void (*side_table_released)(void *ctx, location where);
int side_table_new(side_table **out, hash_index *index, side_table_released released, void *ctx);
void side_table_free(side_table *t);

/* Makes sure that there is an entry for `hash` with a number >= newest (> 0). To be called before the change, once for
 * each hash that changes; it does no harm if nothing changes after all. The caller has read `newest` with the stripe
 * held, which it keeps until after the change. CAIRN_OK, or CAIRN_NO_MEMORY with nothing
 * changed. Stripe held. */
int side_table_record(side_table *t, uint64_t hash, uint64_t newest);

/* `where` has left the index and occupies that many bytes (> 0): true when an entry lists it, so that its bytes stay
 * pinned. Once for each location. Stripe held. */
bool side_table_pin(side_table *t, uint64_t hash, location where, uint64_t bytes);

/* The locations that a snapshot takes instead of those in the index; NULL: none, the index's count. An empty list is
 * not NULL. Good while the stripe is held. */
const location *side_table_find(const side_table *t, uint64_t hash, uint64_t snapshot, size_t *count);

/* Whether it may give a list for this snapshot under any hash. Any thread, no lock; false is what held at some moment
 * of the call. */
bool side_table_serves(const side_table *t, uint64_t snapshot);

/* Visits every hash of one shard for which side_table_find gives a list, with that list. Non-zero from visit ends the
 * walk and is returned. Stripe held. */
typedef int (*side_table_visit)(void *ctx, uint64_t hash, const location *list, size_t count);
int side_table_visit_shard(const side_table *t, unsigned shard, uint64_t snapshot, side_table_visit visit, void *ctx);

/* Drops the entries that no snapshot needs any more. `open` holds the numbers of those that are open, ascending;
 * `newest` is the highest number that had been given when that list was made: entries above it are left alone, because
 * their snapshots came later. No stripe is held; takes one at a time. Several sweeps may run at once. */
void side_table_sweep(side_table *t, const uint64_t *open, size_t count, uint64_t newest);

uint64_t side_table_pinned_bytes(const side_table *t); /* any thread */
uint64_t side_table_bytes(const side_table *t);        /* memory held; any thread */

#endif

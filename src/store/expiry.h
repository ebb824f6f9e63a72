/* Which records expire when, so that they can be deleted in time: 24 bytes each, in binary heaps by the time of expiry.
 *
 * There are EXPIRY_PARTS heaps, each with a mutex of its own, by the lowest bits of the hash; so a compaction stops
 * others only while it passes over one part. The mutexes are innermost: nothing else is called under them but malloc.
 *
 * Deletion is lazy: when a record leaves the index before it is due, its entry stays and is *stale*. The caller finds
 * out by asking the index. Entries are counted in as stale one by one, and when most of them are, expiry_compact
 * filters them.
 *
 * An entry is added when the index holds its location, not before: until then a compaction takes it for stale. A record
 * that is moved gets a new entry, and the old one is stale. An entry that is due stays until expiry_remove, so that
 * nothing is forgotten when the deletion fails or a checkpoint is written meanwhile.
 *
 * All calls but expiry_new and expiry_free may be made by any thread at any time. Times are milliseconds since 1970.
 */
#ifndef CAIRN_STORE_EXPIRY_H
#define CAIRN_STORE_EXPIRY_H

#include "src/base/location.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPIRY_PARTS 64u
#define EXPIRY_NEVER UINT64_MAX

typedef struct expiry expiry;

typedef struct expiry_entry {
    uint64_t expires_at_ms;
    uint64_t hash;
    location where;
} expiry_entry;

_Static_assert(sizeof(expiry_entry) == 24, "24 bytes an entry");

int expiry_new(expiry **out); /* CAIRN_OK or CAIRN_NO_MEMORY */
void expiry_free(expiry *x);

/* Sets aside room for `count` entries with this hash: that many expiry_add then cannot fail. What is not used is given
 * back by expiry_unreserve. CAIRN_NO_MEMORY: nothing changed. */
int expiry_reserve(expiry *x, uint64_t hash, size_t count);
void expiry_unreserve(expiry *x, uint64_t hash, size_t count);
void expiry_add(expiry *x, const expiry_entry *entry); /* uses room that was set aside */

/* The earliest expiry of all entries, or EXPIRY_NEVER. No lock. May be early, never late: expiry_due decides. */
uint64_t expiry_next_ms(const expiry *x);

/* true: *due is an entry with expires_at_ms <= now_ms, which stays until it is removed. */
bool expiry_due(expiry *x, uint64_t now_ms, expiry_entry *due);
/* Removes an entry that expiry_due gave, if it is still there. `stale`: it was counted by expiry_superseded, because
 * its record had left the index already. */
void expiry_remove(expiry *x, const expiry_entry *entry, bool stale);

/* A location with LOCATION_EXPIRES has left the index, and its entry is not about to be removed. */
void expiry_superseded(expiry *x);
bool expiry_is_stale(const expiry *x); /* so many entries are stale that expiry_compact pays */

/* Removes entries that are stale: those for which `still` says no. It is asked without any lock of the expiry, and may
 * take what locks it likes. Entries that others move meanwhile may be passed over. Needs no memory. Worth doing before
 * expiry_encode too, so that stale entries, which are not counted any more when they come back, do not pile up. */
typedef bool (*expiry_still)(void *ctx, uint64_t hash, location where);
void expiry_compact(expiry *x, expiry_still still, void *ctx);

/* For a checkpoint: all entries, behind `lead` bytes for the caller, in a new allocation (malloc) of *size bytes. An
 * entry that is there during the whole call is in it. CAIRN_OK or CAIRN_NO_MEMORY.
 *   count (8)  entry * count
 *   entry := expires_at_ms (8)  hash (8)  location (8)       all little-endian, in any order */
int expiry_encode(expiry *x, size_t lead, uint8_t **bytes, size_t *size);
/* Adds what was encoded. CAIRN_CORRUPT: these are not such bytes, to the last one; CAIRN_NO_MEMORY; in both cases
 * nothing was added. */
int expiry_decode(expiry *x, const uint8_t *bytes, size_t size);

uint64_t expiry_entries(const expiry *x); /* stale ones included */
uint64_t expiry_bytes(const expiry *x);   /* memory held */

#endif

/* A walk over the keys of one moment, in order: first the file of the ordered index, a batch at a time, then the
 * overlay for what lies between the keys of that batch. In this order, because a change is in the overlay from when it
 * is made until it is in the file (index/overlay.h). Whether a key that was found so was there at the moment is asked
 * of the side table; only where that has something under the key's hash, or where keys expire, a record is looked at.
 * One thread at a time. */
#ifndef CAIRN_STORE_SCAN_ORDERED_H
#define CAIRN_STORE_SCAN_ORDERED_H

#include "index/like.h"
#include "src/store/store.h"

typedef struct ordered_scan ordered_scan;

typedef struct scan_key {
    const void *bytes; /* valid until the next call */
    size_t size;
} scan_key;

/* CAIRN_OK; CAIRN_UNSUPPORTED: the store has no ordered index, or the moment is from before it was there;
 * CAIRN_INVALID: not a LIKE pattern; CAIRN_NO_MEMORY, and what building the index says. The moment is that of an open
 * snapshot, and a snapshot of a scan was made before the call; both outlive the walk. */
int ordered_scan_open(ordered_scan **out, cairn *store, store_moment moment, const cairn_scan_options *options,
                      cairn_error *error);
void ordered_scan_close(ordered_scan *s); /* NULL: nothing */

/* The next key that the options ask for and that the moment has: CAIRN_OK or CAIRN_DONE. After a failure it can be
 * called again; CAIRN_CORRUPT is about one key, which is left out. */
int ordered_scan_next(ordered_scan *s, scan_key *key, cairn_error *error);

#endif

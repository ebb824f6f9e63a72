/* A walk over the keys of one moment, in order: first the file of the ordered index, a batch at a time, then the
 * overlay for what lies between the keys of that batch. In this order, because a change is in the overlay from when it
 * is made until it is in the file (index/overlay.h). Whether a key that was found so was there at the moment is asked
 * of the side table; only where that has something under the key's hash, or where keys expire, a record is looked at.
 *
 * A batch is clean, and its keys are given as they are, when nothing can expire, the overlay has nothing in its range,
 * and the side table, asked once behind both, serves the moment nowhere. Nothing had then changed since the moment:
 *  1. Whoever changes anything that an open snapshot sees notes that in the side table first, before the change is
 *     seen in hash index or overlay. So when the table serves the moment nowhere, no change after the moment had been
 *     made when it was asked, and none when file and overlay were read before that.
 *  2. Changes from before the moment were finished when its snapshot was made. Those that the file had not absorbed
 *     when it was read were in the overlay then, and still when that was read: a snapshot of the scan was open, for
 *     which they are kept even if they were absorbed in between.
 *  3. So what was read is what the moment has. That cannot change any more: writers may go on behind the question, but
 *     what they do is after the moment, and the keys are a copy.
 * Each batch is asked for anew. One that is not clean goes from key to key.
 *
 * One thread at a time. */
#ifndef CAIRN_STORE_SCAN_ORDERED_H
#define CAIRN_STORE_SCAN_ORDERED_H

#include "index/like.h"
#include "src/store/store.h"

typedef struct ordered_scan ordered_scan;

typedef ordered_key scan_key; /* valid until the next call */

/* CAIRN_OK; CAIRN_UNSUPPORTED: the store has no ordered index, or the moment is from before it was there;
 * CAIRN_INVALID: not a LIKE pattern; CAIRN_NO_MEMORY, and what building the index says. The moment is that of an open
 * snapshot, and a snapshot of a scan was made before the call; both outlive the walk. */
int ordered_scan_open(ordered_scan **out, cairn *store, store_moment moment, const cairn_scan_options *options,
                      cairn_error *error);
void ordered_scan_close(ordered_scan *s); /* NULL: nothing */

/* The next key that the options ask for and that the moment has: CAIRN_OK or CAIRN_DONE. After a failure it can be
 * called again; CAIRN_CORRUPT is about one key, which is left out. */
int ordered_scan_next(ordered_scan *s, scan_key *key, cairn_error *error);
/* Those of the next keys that are known by now, and need nothing else to be the next: none or more. They count as
 * given. */
const scan_key *ordered_scan_take(ordered_scan *s, size_t *count);

#endif

/* The overlay: keys that came or went and that the file of the ordered index may lack, in order, in memory. A walk
 * looks at the file first and here afterwards; what it finds here is newer.
 *
 * A change is pending until it was absorbed into the file. Then it goes, unless a walk may still need it:
 *  1. A key that went is not in the file any more, but snapshots from before still see it.
 *  2. A walk may have read the file before the change was absorbed, and look here after that. So a key that came stays
 *     when a snapshot was opened between its coming and the absorption. One that went and came stays for all snapshots:
 *     those from before it went see it, and a file that was built while it was gone lacks it.
 * Each is kept until every snapshot has closed that was open then; with none open nothing is kept. Snapshots have the
 * numbers of src/store/side_table.h: ascending, above 0.
 *
 * Of one key there is one node: the last change counts. Whether an older snapshot sees the key is not said here but by
 * the side table, in which whoever changes something under a hash first saves what was there.
 *
 * Concurrency: changes are pushed without a lock, to a list that the next one who looks brings into order (settles).
 * Changes of one key come in order, because their writers hold its stripe. `lock` guards everything else; innermost.
 * One thread at a time takes and gives back. Order is kept by a red-black tree (BSD's <sys/tree.h>).
 */
#ifndef CAIRN_INDEX_OVERLAY_H
#define CAIRN_INDEX_OVERLAY_H

#include "index/key_range.h"
#include "index/ordered.h"

#define OVERLAY_PAGE_KEYS 256u

typedef struct overlay overlay;
typedef struct key_change key_change;

int overlay_new(overlay **out); /* CAIRN_OK or CAIRN_NO_MEMORY */
void overlay_free(overlay *o);  /* NULL: nothing */

/* Memory for one change, with a copy of the key; for overlay_push, which takes it, or key_change_free. NULL: none. */
key_change *key_change_new(const void *key, size_t size);
void key_change_free(key_change *c); /* NULL: nothing */

/* Cannot fail and takes no lock. `snapshot`: the newest that was open when the writer of the change looked, or 0. */
void overlay_push(overlay *o, key_change *c, bool erase, uint64_t snapshot);

/* ---- Absorbing ---- */

typedef struct overlay_batch {
    ordered_change *changes; /* in order; of each key the last one */
    key_change **taken;
    size_t count;
} overlay_batch;

/* Every pending change, which stays where walks see it. CAIRN_OK or CAIRN_NO_MEMORY. */
int overlay_take(overlay *o, overlay_batch *b);
/* They are in the file now. `newest_open` and `last_given`, the highest numbers of a snapshot that is open (0: none)
 * and of one that ever was, were read after that. Releases the batch. */
void overlay_absorbed(overlay *o, overlay_batch *b, uint64_t newest_open, uint64_t last_given);
void overlay_give_back(overlay *o, overlay_batch *b); /* or they are not: they are pending again */

/* Drops what was kept for snapshots before this number, that of the oldest open one; UINT64_MAX: none is open. */
void overlay_sweep(overlay *o, uint64_t oldest_open);
void overlay_clear(overlay *o); /* drops everything; nobody pushes or takes */

/* Any thread, no lock. */
uint64_t overlay_pending(const overlay *o);       /* changes */
uint64_t overlay_pending_bytes(const overlay *o); /* memory of these */
uint64_t overlay_bytes(const overlay *o);         /* memory of all */

/* ---- Walking ---- */

typedef struct overlay_key {
    const uint8_t *bytes;
    size_t size;
    bool erased;
} overlay_key;

/* A copy of a part of the overlay. All zero: empty. */
typedef struct overlay_page {
    overlay_key keys[OVERLAY_PAGE_KEYS];
    size_t count;
    bool more; /* it was cut off behind its last key */
    uint8_t *bytes;
    size_t capacity;
} overlay_page;

/* The keys from `start` to `end`, bounds in the direction of the walk. CAIRN_OK or CAIRN_NO_MEMORY. */
int overlay_list(overlay *o, const key_bound *start, const key_bound *end, bool reverse, overlay_page *page);
void overlay_page_release(overlay_page *page);

#endif

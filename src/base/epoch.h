/* Epochs: memory that readers without locks may still look at is freed only when none of them can.
 *
 * A reader brackets its accesses with epoch_enter and epoch_exit. A writer that has made an object unreachable hands it
 * to epoch_retire; the object is freed by some later epoch_retire or epoch_poll, once every reader that was inside at
 * the time of the hand-over has left. Nothing here ever waits for a reader, so a slow one (a read of a large value)
 * delays only the freeing.
 *
 * Means: two sets of counters by parity, as in sleepable RCU (McKenney, "Sleepable Read-Copy Update"): a reader counts
 * itself in and out under the current parity; a grace period is over when the old parity's sums are equal, twice.
 */
#ifndef CAIRN_BASE_EPOCH_H
#define CAIRN_BASE_EPOCH_H

typedef struct epoch epoch;

/* What epoch_enter returns and epoch_exit takes back, on the same thread or another. */
typedef struct epoch_guard {
    unsigned slot, parity;
} epoch_guard;

int epoch_new(epoch **out); /* CAIRN_OK or CAIRN_NO_MEMORY */
void epoch_free(epoch *e);  /* no reader is inside; frees all that is retired */

epoch_guard epoch_enter(epoch *e);
void epoch_exit(epoch *e, epoch_guard guard);

/* An object embeds this, so that retiring it allocates nothing and cannot fail. */
typedef struct epoch_entry {
    struct epoch_entry *next;
    void (*release)(struct epoch_entry *entry);
} epoch_entry;

void epoch_retire(epoch *e, epoch_entry *entry, void (*release)(epoch_entry *entry));
void epoch_poll(epoch *e); /* frees what can be freed now */

#endif

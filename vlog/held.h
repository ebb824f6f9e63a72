/* Parts of batches that a replay has met and whose COMMIT it has not: they count from the COMMIT on, or never. For
 * recover.c. One thread. Format: vlog/FORMAT.md, "Batches". */
#ifndef CAIRN_VLOG_HELD_H
#define CAIRN_VLOG_HELD_H

#include "vlog/log.h"

typedef struct held_batch {
    uint64_t id;       /* place of the first part */
    vlog_event *parts; /* in order of place */
    size_t count, capacity;
} held_batch;

typedef struct held_parts {
    held_batch *batches; /* in order of id */
    size_t count, capacity;
} held_parts;

void held_release(held_parts *held); /* frees everything; {0} is an empty one */

/* Keeps a part; `replaces` (0: nothing) is the place of an earlier part of the batch, which is let go. CAIRN_OK,
 * CAIRN_NO_MEMORY; CAIRN_CORRUPT: there is no such part to replace, or the parts do not come in order of place. */
int held_add(held_parts *held, uint64_t batch, uint64_t replaces, const vlog_event *part);

/* The batch with this id, for free(taken->parts), and lets go of it. false: there is none. */
bool held_take(held_parts *held, uint64_t batch, held_batch *taken);

/* Parts that no COMMIT stood behind. */
uint64_t held_count(const held_parts *held);

#endif

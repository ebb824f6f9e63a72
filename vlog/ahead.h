/* Blocks written ahead of small durable appends.
 *
 * A sync of an append to a file's end has the file system commit its journal as well: for the new block, and the new
 * size. In place, on a block that was written before, it writes that block and nothing else: a half to a third of the
 * time, and at 4 KiB a sixth of the bytes (bench/NOTES.md). So where syncs come after little, the append that reaches
 * the last written block writes zeros behind itself, for some hundred appends to come. The sync that it waits for makes
 * them durable.
 *
 * What stands there means nothing: a record is known by its checksum alone, and recovery has always met zeros behind
 * the end. When a segment is full, or the store is closed, its file is cut to what it holds.
 */
#ifndef CAIRN_VLOG_AHEAD_H
#define CAIRN_VLOG_AHEAD_H

#include "vlog/segment.h"

/* How much comes between syncs, and what follows from it. */
typedef struct ahead {
    uint64_t appended;     /* append lock: bytes ever appended when the last sync began */
    uint64_t mean;         /* the leader of the sync: of bytes between two syncs, the last ones above all */
    atomic_uint small;     /* small syncs in a row, at most AHEAD_AFTER: the leader's; a failure begins anew */
    _Atomic uint64_t step; /* bytes that one append writes ahead, so as many may be there unused; 0: none. Likewise */
} ahead;

#define AHEAD_AFTER 16u                           /* small syncs, before it pays */
#define AHEAD_SYNC_BYTES_MAX ((uint64_t)40 << 10) /* a small one. A record of 32 KiB is, or eight of 4 KiB */
#define AHEAD_SYNCS 256u                          /* that a step is for, within the two limits */
#define AHEAD_STEP_MIN ((uint64_t)64 << 10)
#define AHEAD_STEP_MAX ((uint64_t)4 << 20)

/* A sync begins. `appended`: bytes ever appended. Whoever leads it, append lock held. */
void ahead_learn(ahead *a, uint64_t appended);

/* Records were just written up to `end` of the active segment: writes ahead where that is due. A failure is nobody's:
 * what could not be written is cut off. Append lock held. */
void ahead_write(ahead *a, os_dir *dir, segment *s, os_file *file, uint64_t end);

/* Zeros that the write of records up to `end` takes along, to the next multiple of AHEAD_STEP_MIN: pages that the page
 * cache gets at once it keeps as a large one, which costs a fraction of many small ones. For where much comes between
 * two syncs. Nothing where blocks are ahead already, or at the end of the segment. Append lock held. */
struct iovec ahead_rest(const segment *s, uint64_t end);

/* Zeros from `from` to `to`, behind `end`, where the records end. False: there is not enough room on the disk, and the
 * file is cut to `end`. Append lock held. */
bool ahead_zeros(os_dir *dir, segment *s, os_file *file, uint64_t end, uint64_t from, uint64_t to);

/* Cuts the file to `size`, what is in use, where more was written. A failure leaves it longer. Append lock held. */
void ahead_cut(segment *s, os_file *file, uint64_t size);

static inline uint64_t ahead_bytes(const ahead *a) { return atomic_load_explicit(&a->step, memory_order_relaxed); }

#endif

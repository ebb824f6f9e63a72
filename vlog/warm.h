/* Warm parts of a segment: those that are read through a window, without a system call.
 *
 * A segment is seen in parts of WARM_PART_BYTES. Reads of the file are counted for each part; when a part has been read
 * about once over, and all of it is in memory, it becomes warm: from then on it is copied out of the window. That is
 * the cheapest moment: the first touch of a mapped page costs about what a read of it costs, every later one next to
 * nothing. A part is cold again when a copy takes as long as the device does, or fails; so what the kernel has dropped
 * from memory is read from the file, in one piece.
 *
 * Only bytes before the segment's `end` become warm: they are written and never change. What a copy brings is verified
 * by the caller in its own buffer, like what a read of the file brings.
 *
 * Any thread, no lock. The table and the window are published once by compare-and-swap and live as long as the segment;
 * heat and warm pages are relaxed counters, where a lost update costs a file read.
 */
#ifndef CAIRN_VLOG_WARM_H
#define CAIRN_VLOG_WARM_H

#include "src/os/os.h"

#include <stdatomic.h>

#define WARM_PART_BYTES ((uint64_t)256 << 10)

typedef struct warm_part {
    _Atomic uint8_t heat;  /* what reads of the file have cost more than copies, in microseconds */
    _Atomic uint8_t pages; /* of 4 KiB, from the part's beginning, that are warm */
} warm_part;

typedef struct warm_table {
    _Atomic(os_window *) window; /* NULL until the first part becomes warm */
    uint64_t capacity;           /* bytes that the parts cover */
    warm_part parts[];
} warm_table;

void warm_free(warm_table *table); /* NULL is nothing */

/* Everything in [offset, offset + size) is warm. `table` may be NULL. */
bool warm_covers(const warm_table *table, uint64_t offset, uint64_t size);
/* Copies [offset, offset + size), which is warm; `sum` as of os_window_read. false: no longer; read the file. */
bool warm_read(warm_table *table, void *buf, size_t size, uint64_t offset, uint64_t *sum);
/* That range was read from `file`, of which `end` bytes hold records; *table, for a file of up to `capacity` bytes, is
 * made when it is not there. */
void warm_count(_Atomic(warm_table *) *table, os_file *file, uint64_t capacity, uint64_t end, uint64_t offset,
                uint64_t size);

#endif

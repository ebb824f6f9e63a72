/* Reads of many places at once through io_uring. */
#ifndef CAIRN_BENCH_RAW_RING_H
#define CAIRN_BENCH_RAW_RING_H

#include <stddef.h>
#include <stdint.h>

typedef struct raw_ring raw_ring;

typedef struct raw_read {
    int fd;
    uint64_t offset;
    void *buffer;       /* NULL: one of the ring's, in which nobody looks at it */
    size_t size, least; /* of these so many must be there: a file may end before the last page does */
} raw_read;

/* So many are under way at a time; each of the ring's own buffers has that many bytes, at a block's beginning; 0: it
 * has none. NULL: the system gives no ring. */
raw_ring *raw_ring_new(unsigned depth, size_t buffer_size);
void raw_ring_free(raw_ring *ring);
void raw_ring_read(raw_ring *ring, const raw_read *reads, size_t count); /* all; or ends the program */

#endif

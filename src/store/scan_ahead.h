/* Read-ahead for a scan that reads records, which lie anywhere in the log. While the reads are slow, because they come
 * from the device, the kernel is told of the records of the next keys, so that it reads many at a time. It is told no
 * more once a run of reads was fast: as long as they come from the device now and then, it goes on.
 *
 * This is for short ranges. A long scan comes to need most of the log, which the kernel's own read-ahead, that reads on
 * behind every record, brings with fewer and larger reads: so it ends after some MiB.
 *
 * A hint and no more: a key whose record is not simple to find is left out, and what a record holds is only ever learnt
 * by reading it. A scan of what is in memory pays for a look at the clock, at every fourth read. */
#ifndef CAIRN_STORE_SCAN_AHEAD_H
#define CAIRN_STORE_SCAN_AHEAD_H

#include "src/store/scan_ordered.h"

#define SCAN_AHEAD_KEYS 128u

typedef struct scan_ahead {
    unsigned reads;   /* that it was asked about, from 0 again when it overflows */
    size_t reach;     /* keys; 0: reads are fast */
    size_t left;      /* reads until it gives up, unless one of them is slow */
    size_t following; /* keys of the batch, when it last looked */
    size_t untold;    /* of these, at the end: the kernel was not told of them */
    uint64_t bytes;   /* that it was told to read for the last one */
    uint64_t told;    /* and for all, in whole pages */
} scan_ahead;

bool scan_ahead_wants_time(scan_ahead *a); /* of the read that follows */
/* How long it took; true: from now on there is something to tell. */
bool scan_ahead_took(scan_ahead *a, uint64_t ns);
/* `keys` are those of the batch that follow. `whole`: values are read, and not only the beginnings of records. Outside
 * of the epoch. */
void scan_ahead_tell(scan_ahead *a, cairn *store, store_moment moment, const scan_key *keys, size_t count, bool whole);

#endif

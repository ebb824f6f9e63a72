/* The walk of a scan that reads records, which lie anywhere in the log. While they are not in memory it goes on ahead
 * of the scan, and the system is asked for the records of the keys that it finds, so that the device works on many at a
 * time (read_ahead.h). While they are, it goes from key to key, and one of some records is asked about.
 *
 * How far ahead it goes doubles with each key: who looks at few keys does not have many records read. Who reads short
 * records for long, of a log that finds room in memory, gets the log by pieces of its own order.
 *
 * A hint and no more: a key whose record is not simple to find is not asked for, and what a record holds is only ever
 * learnt by reading it. That keys are found earlier than they are given changes nothing, since all are of one moment;
 * what fails meanwhile is told in its turn. */
#ifndef CAIRN_STORE_SCAN_AHEAD_H
#define CAIRN_STORE_SCAN_AHEAD_H

#include "src/store/scan_ordered.h"

typedef struct scan_queue scan_queue;

typedef struct scan_ahead {
    cairn *store;
    store_moment moment;
    ordered_scan *walk; /* nobody else may have it go on */
    unsigned passed;    /* keys, while it did not go ahead */
    uint64_t far;       /* records that were not in memory */
    bool is_on;         /* it does */
    scan_queue *queue;  /* what it found and has not given yet; NULL: it never did go ahead */
} scan_ahead;

void scan_ahead_release(scan_ahead *a); /* not the walk */

/* As ordered_scan_next. At most `left` keys are wanted, this one included; `whole`: with their values, and not only the
 * beginnings of records. Outside of the epoch. */
int scan_ahead_next(scan_ahead *a, uint64_t left, bool whole, scan_key *key, cairn_error *error);

#endif

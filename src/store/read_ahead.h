/* Records that will be read soon, in the order in which they will be: while the first of them are read, the device
 * works on the others. Which ones the system is asked for, and when, is their reader's to say; here is how many may be
 * under way at a time, and a ring of places, in which the reader keeps what it knows of each.
 *
 * Nothing but hints is in flight: no epoch has to outlast them, and each record is found anew when it is read. */
#ifndef CAIRN_STORE_READ_AHEAD_H
#define CAIRN_STORE_READ_AHEAD_H

#include "src/store/store.h"

#define READ_AHEAD_RECORDS 128u /* a power of two */
#define READ_AHEAD_BYTES ((uint64_t)8 << 20)
#define READ_AHEAD_RECORD_BYTES ((uint64_t)1 << 20) /* of a longer one the rest is read in order */

typedef struct read_ahead {
    size_t first, behind; /* places from `first` to before `behind`, modulo READ_AHEAD_RECORDS */
    uint64_t bytes;       /* that were asked for, of all of them */
    uint64_t asked[READ_AHEAD_RECORDS];
} read_ahead;

static inline size_t read_ahead_count(const read_ahead *a) { return a->behind - a->first; }

/* The next record may be asked for only when these were read. */
static inline bool read_ahead_is_full(const read_ahead *a) {
    return read_ahead_count(a) == READ_AHEAD_RECORDS || a->bytes > READ_AHEAD_BYTES;
}

/* The place of one record more, of which so many bytes were asked for; not when READ_AHEAD_RECORDS are there. */
size_t read_ahead_add(read_ahead *a, uint64_t bytes);
/* The place of the first one, which is there and will now be read. */
size_t read_ahead_take(read_ahead *a);

/* Where the record is that the moment has under this hash: LOCATION_NONE unless there is exactly one. Inside the epoch
 * (of readers). */
location read_ahead_place(cairn *store, store_moment moment, uint64_t hash);

#endif

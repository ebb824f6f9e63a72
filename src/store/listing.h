/* A list of every record that a moment has, in the order of the log. It is copied at the opening, shard by shard, as
 * the moment has it, so that writers go on: 8 bytes a key. While it is open, a snapshot of its own keeps what is
 * superseded where it is, and what compaction has moved since the opening is not removed (src/store/reclaim.c). One
 * thread at a time. */
#ifndef CAIRN_STORE_LISTING_H
#define CAIRN_STORE_LISTING_H

#include "src/store/store.h"

typedef struct listing {
    cairn *store;
    store_moment moment;
    cairn_snapshot *hold; /* of its opening; NULL: not open */
    location *list;
    size_t count, capacity, next;
} listing;

/* Of the moment of `given`, or of now when it is NULL. To be closed in any case. */
int listing_open(listing *l, cairn *store, const cairn_snapshot *given, cairn_error *error);
void listing_close(listing *l);
/* CAIRN_OK with the next record's head, for vlog_head_release; CAIRN_DONE at the end. What is expired at the moment is
 * left out unless `expired_too`. After a failure it goes on behind the record that failed. */
int listing_next(listing *l, bool expired_too, vlog_head *head, cairn_error *error);

#endif

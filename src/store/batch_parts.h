/* A batch on its way into the log: its parts, and the writing of them. For batch.c, which tells the whole. One thread.
 */
#ifndef CAIRN_STORE_BATCH_PARTS_H
#define CAIRN_STORE_BATCH_PARTS_H

#include "src/store/batch_list.h"
#include "src/store/store.h"

typedef struct batch_part {
    const batch_change *change;
    key_hash hash;
    size_t number;           /* in the batch */
    bool shares_hash;        /* with another part: then it always says so */
    bool written, collides;  /* a record is in the log; it has COLLIDES */
    uint64_t place, version; /* of that record */
    uint64_t found_version;  /* of what it supersedes; 0: nothing */
    uint64_t removals;       /* of its stripe, before it was looked up for the first time */
    store_change applied;    /* what it does to the index */
    value_writer *file;      /* its value file, until something names it for good */
    value_descriptor descriptor;
} batch_part;
_Static_assert(sizeof(batch_part) <= 256, "cairn.h says of it: some 200 bytes a change");

/* Small parts that are written together. */
typedef struct batch_group {
    batch_part *parts[VLOG_APPEND_MANY];
    vlog_record records[VLOG_APPEND_MANY];
    packed packed[VLOG_APPEND_MANY];
    uint8_t payloads[VLOG_APPEND_MANY][VALUE_DESCRIPTOR_BYTES];
    size_t count;
    uint64_t bytes;
} batch_group;

typedef struct batch_commit {
    cairn *store;
    cairn_error *error;
    batch_part *parts; /* one a key, in the order of the calls */
    size_t count, written;
    uint64_t batch; /* place of the first part; 0: none is written */
    uint64_t expires_at_ms;
    uint64_t bytes;    /* of values */
    uint64_t unsynced; /* bytes appended since the last sync */
    int64_t growth;    /* of the live bytes */
    batch_under_way under_way;
    hash_index_stripes stripes;
    uint64_t snapshot; /* newest one, with all stripes held */
    batch_group group;
} batch_commit;

/* Fills parts, count and stripes: one part a key, whose last change counts. */
int batch_make_parts(batch_commit *c, const cairn_batch *batch);

/* Appends the part's record, for the first time or in the place of an earlier one: at once, or with others by
 * batch_flush at the latest. */
int batch_write_part(batch_commit *c, batch_part *p);
int batch_add_part(batch_commit *c, batch_part *p);
int batch_flush(batch_commit *c);
void batch_drop_waiting(batch_commit *c); /* what was not flushed is not written any more */

#endif

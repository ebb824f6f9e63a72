/* Which tombstones must outlive the segment that they lie in (rule 4 of vlog/FORMAT.md): those under whose key another
 * segment holds an older version, which would come back without them where the index is built from the log alone. One
 * thread. */
#ifndef CAIRN_STORE_TOMBSTONES_H
#define CAIRN_STORE_TOMBSTONES_H

#include "vlog/entries.h"

typedef struct tombstone {
    key_hash hash;
    uint64_t version;
    bool needed;
} tombstone;

typedef struct tombstones {
    tombstone *list;
    size_t count, capacity;
} tombstones;

void tombstones_release(tombstones *t);                             /* {0} is none */
int tombstones_add(tombstones *t, key_hash hash, uint64_t version); /* CAIRN_OK or CAIRN_NO_MEMORY */
/* After the last one was added: of several of one key only the newest stays, which covers what the others do. */
void tombstones_settle(tombstones *t);
uint64_t tombstones_newest(const tombstones *t); /* version; 0: there is none */

/* Another segment has this. */
void tombstones_meet(tombstones *t, const footer_entry *e);
void tombstones_need_all(tombstones *t); /* for want of a look */
bool tombstones_is_needed(const tombstones *t, key_hash hash, uint64_t version);

#endif

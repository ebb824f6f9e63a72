/* The ghost of the value cache: which values left it lately without having proved themselves. One that comes back while
 * it is remembered goes to the main queue at once. It holds fingerprints, never values.
 *
 * A fingerprint is 32 bits of a mixed location; two values that share one are taken for each other, which costs a wrong
 * choice of the queue and nothing else. The table is buckets of eight slots of 8 bytes; a full bucket loses its oldest.
 * How long a fingerprint is remembered is counted in those added after it: the caller says how many (`window`). The
 * count has 32 bits, so after 2^32 more a forgotten one may seem young again: a wrong choice, as above.
 *
 * Not thread-safe: the cache's lock guards it. */
#ifndef CAIRN_STORE_VALUE_GHOST_H
#define CAIRN_STORE_VALUE_GHOST_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ghost_slot {
    uint32_t fingerprint; /* 0: empty */
    uint32_t time;        /* `now` when it was added */
} ghost_slot;

/* All zero is an empty ghost without a table, which remembers nothing. */
typedef struct value_ghost {
    ghost_slot *slots; /* owned */
    uint64_t buckets;
    uint32_t now; /* fingerprints added so far */
} value_ghost;

/* By how many bytes the table has to grow to remember so many fingerprints; 0: it is large enough. */
uint64_t value_ghost_growth(const value_ghost *ghost, uint64_t entries);
/* Grows it by that much and keeps what it remembers. false: no memory, nothing changed. */
bool value_ghost_grow(value_ghost *ghost, uint64_t entries);
void value_ghost_release(value_ghost *ghost);

void value_ghost_add(value_ghost *ghost, uint32_t fingerprint);
/* True, and forgets it, when it was among the last `window` added. */
bool value_ghost_take(value_ghost *ghost, uint32_t fingerprint, uint64_t window);

#endif

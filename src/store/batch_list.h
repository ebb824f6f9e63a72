/* The changes that a batch collects. */
#ifndef CAIRN_STORE_BATCH_LIST_H
#define CAIRN_STORE_BATCH_LIST_H

#include "include/cairn.h"

typedef struct batch_change {
    uint8_t *bytes; /* key, then value; owned */
    uint64_t value_size;
    uint32_t key_size;
    bool removes;
} batch_change;

struct cairn_batch {
    batch_change *changes; /* in the order of the calls */
    size_t count, capacity;
    int failed; /* CAIRN_NO_MEMORY once a call was refused for it */
};

static inline const uint8_t *batch_key(const batch_change *c) { return c->bytes; }
static inline const uint8_t *batch_value(const batch_change *c) { return c->bytes + c->key_size; }

#endif

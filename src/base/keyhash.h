/* The hash of a key: SipHash-2-4 with 128 bits out, keyed with the store's secret, so that nobody who chooses keys can
 * choose collisions. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF"; libsodium's code. */
#ifndef CAIRN_BASE_KEYHASH_H
#define CAIRN_BASE_KEYHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct key_secret {
    uint8_t bytes[16];
} key_secret;

typedef struct key_hash {
    uint64_t index; /* what the hash index keeps */
    uint64_t check; /* the other half, in segment footers only */
} key_hash;

/* index_mask: UINT64_MAX; a test narrows it so that different keys collide in the index. */
key_hash key_hash_of(const key_secret *secret, const void *key, size_t key_size, uint64_t index_mask);

#endif

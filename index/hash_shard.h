/* The inside of the hash index: one shard and its array. For the files of index/ that make up the index and its
 * checkpoint; everybody else uses hash_index.h.
 *
 * A shard's array is one allocation: a head, `buckets` buckets of BUCKET_SLOTS slots, then the stash. Its shape never
 * changes; a shard that needs another one builds a new array, publishes it with one store and retires the old one,
 * which nobody writes to any more. How readers and the writer use the slots together is argued in hash_index.c.
 *
 * An entry lies in one of the two buckets that hash_buckets names, or in the stash. An empty slot has location 0; its
 * hash is whatever was there last. */
#ifndef CAIRN_INDEX_HASH_SHARD_H
#define CAIRN_INDEX_HASH_SHARD_H

#include "index/hash_index.h"
#include "src/os/os_thread.h"

#include <stdatomic.h>

#define SHARD_BITS 10u
#define BUCKET_SLOTS 8u
#define BUCKETS_MIN 2u /* so that the two choices differ */
#define STASH_MIN 4u   /* a multiple of 4: arrays are whole cache lines */

_Static_assert(HASH_INDEX_SHARDS == 1u << SHARD_BITS, "a shard is named by the hash's top bits");

typedef struct hash_slot {
    _Atomic uint64_t hash;
    _Atomic uint64_t location;
} hash_slot;

_Static_assert(sizeof(hash_slot) == 16, "16 bytes an entry");

typedef struct hash_array {
    epoch_entry retired; /* first: the entry is the array */
    uint32_t buckets, stash_capacity;
    uint32_t stash_entries;      /* the writer's */
    _Atomic uint32_t stash_used; /* stash slots from here on are empty */
    _Atomic uint64_t version;    /* changes before an entry that was displaced vanishes from its old slot */
    _Alignas(64) hash_slot slots[];
} hash_array;

/* The first line is read by everybody and written only with a new array; the second belongs to writers. */
typedef struct hash_shard {
    _Alignas(64) _Atomic(hash_array *) array; /* NULL until the first reserve */
    _Alignas(64) os_mutex stripe;
    atomic_bool taken; /* stripe: so that who waits for writers need not lock it only to learn that there is none */
    _Atomic uint64_t entries;     /* written under the stripe, like the next two */
    _Atomic uint64_t image_bytes; /* of the array's buckets, as a checkpoint would write them */
    _Atomic bool dirty;           /* changed since it was copied for a checkpoint */
} hash_shard;

struct hash_index {
    hash_shard shards[HASH_INDEX_SHARDS];
    epoch *readers;
    _Atomic uint64_t bytes; /* of this struct and of the arrays that are published */
    os_mutex gate;          /* held by whoever holds all stripes; comes before every stripe */
    _Atomic bool gate_closed;
    _Alignas(64) _Atomic uint32_t publishing; /* publications under way; every reader looks at this line */
    _Alignas(64) _Atomic uint32_t waiting; /* readers that wait for publishing == 0; publications let them go first */
};

/* A stripe is held by having its mutex while the gate is open, or by having the gate. The mutex is locked first and the
 * gate looked at under it, see hash_index_lock_all. */
void hash_shard_lock(hash_index *index, hash_shard *shard);
static inline void hash_shard_unlock(hash_shard *shard) {
    atomic_store_explicit(&shard->taken, false, memory_order_release);
    os_mutex_unlock(&shard->stripe);
}

/* The writer's view of a shard: the stripe is held. */
static inline hash_array *shard_array(const hash_shard *shard) {
    return atomic_load_explicit(&shard->array, memory_order_relaxed);
}
static inline uint64_t shard_entries(const hash_shard *shard) {
    return atomic_load_explicit(&shard->entries, memory_order_relaxed);
}

static inline uint64_t array_slots(const hash_array *a) {
    return (uint64_t)a->buckets * BUCKET_SLOTS + atomic_load_explicit(&a->stash_used, memory_order_acquire);
}
static inline hash_slot *array_bucket(hash_array *a, uint32_t bucket) {
    return a->slots + (uint64_t)bucket * BUCKET_SLOTS;
}
static inline hash_slot *array_stash(hash_array *a) { return array_bucket(a, a->buckets); }

typedef struct bucket_pair {
    uint32_t first, second; /* different */
} bucket_pair;

/* Where an entry may lie. The shard's bits are shifted out and the rest is mixed by a bijection (MurmurHash3's 64-bit
 * finaliser), because tests narrow hashes to a few bits; each half of the result picks a bucket by multiply and shift.
 * This is part of the checkpoint's format. */
static inline bucket_pair hash_buckets(uint64_t hash, uint32_t buckets) {
    uint64_t m = hash << SHARD_BITS;
    m = (m ^ m >> 33) * 0xff51afd7ed558ccdull;
    m = (m ^ m >> 33) * 0xc4ceb9fe1a85ec53ull;
    m ^= m >> 33;
    uint32_t first = (uint32_t)((m & 0xffffffff) * buckets >> 32);
    uint32_t second = (uint32_t)((m >> 32) * buckets >> 32);
    if (second == first) second = first + 1 < buckets ? first + 1 : 0;
    return (bucket_pair){first, second};
}

/* An empty array, or NULL. stash_capacity is a multiple of 4. */
hash_array *hash_array_new(uint32_t buckets, uint64_t stash_capacity);
void hash_array_free(hash_array *a);
/* Makes it the shard's array (NULL: none) and retires the one before. Stripe held. */
void hash_shard_publish(hash_index *index, hash_shard *shard, hash_array *new);

/* Puts an entry into one of its buckets, if need be by displacing others along a shortest path. false: no path within
 * bounds; nothing changed. Readers may be in the array. */
bool hash_place(hash_array *a, uint64_t hash, location where);
/* Puts an entry into the stash. false: it is full. */
bool hash_stash(hash_array *a, uint64_t hash, location where);

/* ---- For the checkpoint ---- */

/* An image: the slots of an array as they lie, buckets first, then `stash` slots; 16 bytes a slot. A shard without
 * entries has no image, and its shape is all zero. */
typedef struct hash_shape {
    uint32_t buckets, stash;
    uint64_t entries;
} hash_shape;

static inline uint64_t hash_shape_bytes(const hash_shape *shape) {
    return ((uint64_t)shape->buckets * BUCKET_SLOTS + shape->stash) * sizeof(hash_slot);
}

/* Takes the stripe, sets *shape, copies the image into buf and marks the shard clean; *was_dirty: as it was before.
 * false: the image is larger than `size`, nothing was copied or marked. */
bool hash_shard_copy(hash_index *index, unsigned shard, void *buf, uint64_t size, hash_shape *shape, bool *was_dirty);
bool hash_shard_is_dirty(const hash_index *index, unsigned shard); /* any thread */
void hash_shard_mark_dirty(hash_index *index, unsigned shard);     /* any thread */

/* Loading: an array of that shape is made, in hash_shape_pages bytes of zeroed pages, which then are its own (NULL: in
 * memory that it gets itself), the image is read into its slots, then it is adopted. An image that this shard cannot
 * have (an entry in a wrong place, a wrong count) is not adopted: false, and the array is still the caller's. The shard
 * is empty and clean before, clean afterwards. */
uint64_t hash_shape_pages(const hash_shape *shape); /* 0: its array takes no whole pages */
hash_array *hash_array_of_shape(const hash_shape *shape, void *pages);
bool hash_shard_adopt(hash_index *index, unsigned shard, hash_array *a, const hash_shape *shape);
void hash_index_clear(hash_index *index); /* empty and clean again; no reader or writer is there */

#endif

/* Shards as images: copied for a checkpoint, checked and adopted when one is loaded. Format: index/FORMAT.md. */
#include "index/hash_shard.h"
#include "src/base/check.h"
#include "src/base/codec.h"

#include <string.h>

#define IS_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* A slot and its 16 bytes in an image are the same on a little-endian machine. */
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "slots are plain 64-bit words");

static void slots_to_image(uint8_t *image, const hash_slot *slots, uint64_t count) {
    if (IS_LITTLE_ENDIAN) {
        memcpy(image, (const void *)slots, count * sizeof *slots);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        le64_put(image + 16 * i, atomic_load_explicit(&slots[i].hash, memory_order_relaxed));
        le64_put(image + 16 * i + 8, atomic_load_explicit(&slots[i].location, memory_order_relaxed));
    }
}

static void slots_from_image(hash_slot *slots, uint64_t count) {
    if (IS_LITTLE_ENDIAN) return;
    for (uint64_t i = 0; i < count; i++) {
        atomic_init(&slots[i].hash, le64_get(&slots[i].hash));
        atomic_init(&slots[i].location, le64_get(&slots[i].location));
    }
}

bool hash_shard_copy(hash_index *index, unsigned shard, void *buf, uint64_t size, hash_shape *shape, bool *was_dirty) {
    CHECK(shard < HASH_INDEX_SHARDS);
    hash_shard *s = &index->shards[shard];
    bool copied = true;
    hash_shard_lock(index, s);
    const hash_array *a = shard_array(s);
    *shape = (hash_shape){.entries = shard_entries(s)};
    if (shape->entries > 0) {
        shape->buckets = a->buckets;
        shape->stash = atomic_load_explicit(&a->stash_used, memory_order_relaxed);
        copied = hash_shape_bytes(shape) <= size;
        if (copied) slots_to_image(buf, a->slots, array_slots(a));
    }
    if (copied) *was_dirty = atomic_exchange_explicit(&s->dirty, false, memory_order_relaxed);
    hash_shard_unlock(s);
    return copied;
}

bool hash_shard_is_dirty(const hash_index *index, unsigned shard) {
    return atomic_load_explicit(&index->shards[shard].dirty, memory_order_relaxed);
}

void hash_shard_mark_dirty(hash_index *index, unsigned shard) {
    atomic_store_explicit(&index->shards[shard].dirty, true, memory_order_relaxed);
}

typedef struct home_check {
    uint64_t bucketed, stashed;
    bool wrong; /* an entry of another shard or bucket was seen */
} home_check;

/* Without branches: every slot of the index passes through here when a store is opened. */
static void check_slot(home_check *check, const hash_slot *slot, unsigned shard, uint64_t bucket, uint32_t buckets) {
    uint64_t hash = atomic_load_explicit(&slot->hash, memory_order_relaxed);
    bool occupied = atomic_load_explicit(&slot->location, memory_order_relaxed) != LOCATION_NONE;
    bucket_pair pair = hash_buckets(hash, buckets);
    bool at_home = (hash_index_shard_of(hash) == shard) & ((bucket == pair.first) | (bucket == pair.second));
    check->bucketed += occupied;
    check->wrong |= occupied & !at_home;
}

static home_check check_homes(const hash_array *a, unsigned shard, uint32_t stash) {
    home_check check = {0};
    const hash_slot *slot = a->slots;
    for (uint64_t bucket = 0; bucket < a->buckets; bucket++) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++)
            check_slot(&check, slot++, shard, bucket, a->buckets);
    }
    for (const hash_slot *end = slot + stash; slot < end; slot++) {
        if (atomic_load_explicit(&slot->location, memory_order_relaxed) == LOCATION_NONE) continue;
        check.wrong |= hash_index_shard_of(atomic_load_explicit(&slot->hash, memory_order_relaxed)) != shard;
        check.stashed++;
    }
    return check;
}

bool hash_shard_adopt(hash_index *index, unsigned shard, hash_array *a, const hash_shape *shape) {
    CHECK(shard < HASH_INDEX_SHARDS && shape->stash <= a->stash_capacity);
    slots_from_image(a->slots, (uint64_t)a->buckets * BUCKET_SLOTS + shape->stash);
    home_check check = check_homes(a, shard, shape->stash);
    if (check.wrong || check.bucketed + check.stashed != shape->entries || shape->entries == 0) return false;
    a->stash_entries = (uint32_t)check.stashed;
    atomic_init(&a->stash_used, shape->stash);

    hash_shard *s = &index->shards[shard];
    hash_shard_lock(index, s);
    CHECK(shard_entries(s) == 0);
    atomic_store_explicit(&s->entries, shape->entries, memory_order_relaxed);
    hash_shard_publish(index, s, a);
    hash_shard_unlock(s);
    return true;
}

void hash_index_clear(hash_index *index) {
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        hash_shard *s = &index->shards[i];
        hash_shard_lock(index, s);
        hash_shard_publish(index, s, NULL);
        atomic_store_explicit(&s->entries, 0, memory_order_relaxed);
        atomic_store_explicit(&s->dirty, false, memory_order_relaxed);
        hash_shard_unlock(s);
    }
}

/* Arrays, their growth and shrinking.
 *
 * A shard grows when its entries (the stash counts) pass 0.90 of its slots, to 1.25 times the buckets, under its
 * stripe: hashes are kept whole, so no key is read. The pause is the copy of one shard: at 10 M keys about 10,000
 * entries. The old array stays as it is for readers that are still in it, and is retired to the epoch. As long as it is
 * small, up to DOUBLED_BUCKETS, a shard grows twofold: that costs some MiB in all, and puts are a tenth faster.
 *
 * A shard also gets a new array, with a stash twice as large, when its stash is full. That is for entries that share a
 * hash; more buckets would not help them, so it never makes the buckets grow.
 *
 * Room that is reserved is room in the stash, because only there any entry can go: one slot nearly always, and as many
 * as a batch inserts into the shard, 16 bytes each, until the shard grows the next time.
 *
 * Shards fill evenly. So that they do not all stand just behind a growth at the same time, with 16 / 0.72 = 22.2 bytes
 * an entry, each shard has an odd step of its own, once: with more keys their loads lie spread between 0.72 and 0.90,
 * and the mean is 16 * (1 / 0.72 - 1 / 0.90) / ln 1.25 = 19.9 bytes an entry.
 *
 * Shrinking goes to a size on the way of growth, which so keeps the loads spread, and leaves room for one entry in
 * sixteen before the shard grows again. */
#include "include/cairn.h"
#include "index/hash_shard.h"
#include "src/base/check.h"
#include "src/os/os_memory.h"

#include <stdlib.h>
#include <string.h>

#define DOUBLED_BUCKETS 32u
#define SPREAD_BUCKETS 64u
#define EXPECT_MIN 64u                /* entries of a shard: to grow to less costs next to nothing */
#define HEADROOM 4u                   /* entries, and a sixteenth of what a shrunk shard has */
#define RESERVE_MAX ((size_t)1 << 30) /* entries at once: keeps the arithmetic far from overflow */
#define PAGES_FROM                                                                                                     \
    65536u /* bytes; larger arrays are pages of their own, of which the last is half empty on average                  \
            */

static uint64_t slots_of(uint32_t buckets, uint64_t stash_capacity) {
    return (uint64_t)buckets * BUCKET_SLOTS + stash_capacity;
}

static uint64_t bytes_of(uint32_t buckets, uint64_t stash_capacity) {
    return sizeof(hash_array) + slots_of(buckets, stash_capacity) * sizeof(hash_slot);
}

static uint64_t array_bytes(const hash_array *a) { return bytes_of(a->buckets, a->stash_capacity); }

static hash_array *array_in(void *memory, uint32_t buckets, uint64_t stash_capacity) {
    hash_array *a = memory;
    a->buckets = buckets;
    a->stash_capacity = (uint32_t)stash_capacity;
    return a;
}

hash_array *hash_array_new(uint32_t buckets, uint64_t stash_capacity) {
    CHECK(buckets >= BUCKETS_MIN && stash_capacity % 4 == 0);
    if (stash_capacity > UINT32_MAX) return NULL;
    uint64_t bytes = bytes_of(buckets, stash_capacity);
    void *memory = bytes >= PAGES_FROM ? os_pages_alloc(bytes) : aligned_alloc(_Alignof(hash_array), bytes);
    if (memory == NULL) return NULL;
    if (bytes < PAGES_FROM) memset(memory, 0, bytes);
    return array_in(memory, buckets, stash_capacity);
}

static uint64_t stash_of(const hash_shape *shape) {
    return round_up(max_u64(2 * (uint64_t)shape->stash, STASH_MIN), 4); /* room for more */
}

uint64_t hash_shape_pages(const hash_shape *shape) {
    uint64_t stash = stash_of(shape), bytes = bytes_of(shape->buckets, stash);
    return stash <= UINT32_MAX && bytes >= PAGES_FROM ? round_up(bytes, os_page_bytes()) : 0;
}

hash_array *hash_array_of_shape(const hash_shape *shape, void *pages) {
    uint64_t stash = stash_of(shape);
    return pages == NULL ? hash_array_new(shape->buckets, stash) : array_in(pages, shape->buckets, stash);
}

void hash_array_free(hash_array *a) {
    if (a != NULL && array_bytes(a) >= PAGES_FROM) {
        os_pages_free(a, array_bytes(a));
    } else {
        free(a);
    }
}

static void release_array(epoch_entry *entry) { hash_array_free((hash_array *)entry); }

/* The next size of a shard. */
static uint32_t buckets_after(unsigned shard, uint32_t buckets) {
    uint32_t next = buckets + (buckets < 4 ? 1 : buckets / 4);
    bool passes_spread = buckets < SPREAD_BUCKETS && next >= SPREAD_BUCKETS;
    return passes_spread ? SPREAD_BUCKETS + shard % (SPREAD_BUCKETS / 4) : next;
}

/* The first size from `buckets` on, itself one, that so many entries do not outgrow. */
static uint32_t buckets_for(unsigned shard, uint32_t buckets, uint64_t entries) {
    while (entries * 10 > (uint64_t)buckets * BUCKET_SLOTS * 9)
        buckets = buckets_after(shard, buckets);
    return buckets;
}

/* The size that a shard grows to, by which it has room for so many entries. */
static uint32_t buckets_grown(unsigned shard, uint32_t buckets, uint64_t entries) {
    uint32_t grown = buckets_for(shard, buckets, entries);
    while (grown > buckets && grown < DOUBLED_BUCKETS && grown < 2 * buckets)
        grown = buckets_after(shard, grown);
    return grown;
}

/* Copies all entries. false: the stash of `to` has not room for what must go there and `room` more. */
static bool copy_entries(hash_array *to, const hash_array *from, uint64_t room) {
    uint64_t slots = array_slots(from);
    for (uint64_t i = 0; i < slots; i++) {
        location where = atomic_load_explicit(&from->slots[i].location, memory_order_relaxed);
        if (where == LOCATION_NONE) continue;
        uint64_t hash = atomic_load_explicit(&from->slots[i].hash, memory_order_relaxed);
        if (!hash_place(to, hash, where) && !hash_stash(to, hash, where)) return false;
    }
    return to->stash_capacity - to->stash_entries >= room;
}

void hash_shard_publish(hash_index *index, hash_shard *shard, hash_array *new) {
    hash_array *old = shard_array(shard);
    uint64_t change = (new != NULL ? array_bytes(new) : 0) - (old != NULL ? array_bytes(old) : 0);
    atomic_fetch_add_explicit(&index->bytes, change, memory_order_relaxed);
    uint64_t slots = new != NULL ? (uint64_t) new->buckets *BUCKET_SLOTS : 0;
    atomic_store_explicit(&shard->image_bytes, slots * sizeof(hash_slot), memory_order_relaxed);
    atomic_store_explicit(&shard->array, new, memory_order_release);
    if (old != NULL) epoch_retire(index->readers, &old->retired, release_array);
}

/* Gives the shard an array of this many buckets and at least that stash (>= room), with room for so many more entries.
 */
static int rebuild(hash_index *index, hash_shard *shard, uint32_t buckets, uint64_t stash_capacity, uint64_t room) {
    hash_array *old = shard_array(shard);
    for (;;) {
        hash_array *new = hash_array_new(buckets, stash_capacity);
        if (new == NULL) return CAIRN_NO_MEMORY;
        if (old == NULL || copy_entries(new, old, room)) {
            hash_shard_publish(index, shard, new);
            return CAIRN_OK;
        }
        hash_array_free(new);
        stash_capacity *= 2;
    }
}

int hash_index_reserve_many(hash_index *index, uint64_t hash, size_t count) {
    if (count > RESERVE_MAX) return CAIRN_NO_MEMORY;
    unsigned number = hash_index_shard_of(hash);
    hash_shard *shard = &index->shards[number];
    hash_array *a = shard_array(shard);
    uint64_t entries = shard_entries(shard) + count;
    uint64_t stash = max_u64(STASH_MIN, round_up(count, 4));
    uint32_t buckets = buckets_grown(number, a != NULL ? a->buckets : BUCKETS_MIN, entries);
    if (a == NULL || buckets != a->buckets) return rebuild(index, shard, buckets, stash, count);
    if (a->stash_capacity - a->stash_entries >= count) return CAIRN_OK;
    return rebuild(index, shard, buckets, max_u64(stash, (uint64_t)a->stash_capacity * 2), count);
}

int hash_index_reserve(hash_index *index, uint64_t hash) { return hash_index_reserve_many(index, hash, 1); }

void hash_index_expect(hash_index *index, uint64_t entries) {
    uint64_t each = entries / HASH_INDEX_SHARDS, all = 0, at = 0;
    hash_shape shapes[HASH_INDEX_SHARDS];
    if (each < EXPECT_MIN || each > RESERVE_MAX) return;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        shapes[i] = (hash_shape){.buckets = buckets_for(i, BUCKETS_MIN, each)};
        all += hash_shape_pages(&shapes[i]);
    }
    uint8_t *region = all > 0 ? os_pages_region(all) : NULL;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        void *pages = region != NULL && hash_shape_pages(&shapes[i]) > 0 ? region + at : NULL;
        hash_array *a = hash_array_of_shape(&shapes[i], pages);
        if (a != NULL) hash_shard_publish(index, &index->shards[i], a);
        at += hash_shape_pages(&shapes[i]);
    }
}

/* Stripe held. */
static void shrink_shard(hash_index *index, unsigned number, unsigned eighths) {
    hash_shard *shard = &index->shards[number];
    const hash_array *a = shard_array(shard);
    uint64_t entries = shard_entries(shard);
    if (a == NULL) return;
    if (entries == 0) {
        hash_shard_publish(index, shard, NULL);
        return;
    }
    uint32_t buckets = buckets_for(number, BUCKETS_MIN, entries + entries / 16 + HEADROOM);
    buckets = buckets < a->buckets ? buckets : a->buckets;
    uint64_t stash = max_u64(STASH_MIN, round_up(2 * (uint64_t)a->stash_entries, 4));
    uint64_t slots = slots_of(a->buckets, a->stash_capacity);
    if (slots_of(buckets, stash) * 8 > slots * (8 - eighths)) return;
    (void)rebuild(index, shard, buckets, stash, 1);
}

void hash_index_shrink(hash_index *index, unsigned eighths) {
    CHECK(eighths >= 1 && eighths < 8);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        hash_shard_lock(index, &index->shards[i]);
        shrink_shard(index, i, eighths);
        hash_shard_unlock(&index->shards[i]);
    }
}

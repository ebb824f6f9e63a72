/* Finding a slot for an entry in an array: the emptier of its two buckets; when both are full, the shortest chain of
 * displacements, found breadth first (Li et al., "Algorithmic Improvements for Fast Concurrent Cuckoo Hashing",
 * EuroSys 2014); else the stash. The caller holds the stripe or owns the array alone. */
#include "index/hash_shard.h"
#include "src/base/check.h"

/* At load 0.90 a chain is hardly ever longer than 3, which 2 + 16 + 128 buckets cover. */
#define SEARCH_MAX 128u

/* A full bucket that the search has reached: the entry in `slot` of bucket `parent` could go to it. */
typedef struct search_node {
    uint32_t bucket;
    uint8_t parent; /* index of a node; the two roots are their own */
    uint8_t slot;
} search_node;

_Static_assert(SEARCH_MAX <= 256, "search_node.parent");

typedef struct search {
    search_node nodes[SEARCH_MAX];
    unsigned count;
} search;

static bool slot_is_empty(const hash_slot *slot) {
    return atomic_load_explicit(&slot->location, memory_order_relaxed) == LOCATION_NONE;
}

static unsigned empty_slots(const hash_slot *bucket, hash_slot **first) {
    unsigned count = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (!slot_is_empty(&bucket[i]) || count++ > 0) continue;
        *first = (hash_slot *)&bucket[i];
    }
    return count;
}

/* Location 0 comes first: a reader never sees the new hash beside the old location. */
static void slot_fill(hash_slot *slot, uint64_t hash, location where) {
    atomic_store_explicit(&slot->location, LOCATION_NONE, memory_order_release);
    atomic_store_explicit(&slot->hash, hash, memory_order_release);
    atomic_store_explicit(&slot->location, where, memory_order_release);
}

static void search_add(search *s, uint32_t bucket, unsigned parent, unsigned slot) {
    for (unsigned i = 0; i < s->count; i++) {
        if (s->nodes[i].bucket == bucket) return;
    }
    if (s->count == SEARCH_MAX) return;
    s->nodes[s->count++] = (search_node){.bucket = bucket, .parent = (uint8_t)parent, .slot = (uint8_t)slot};
}

static uint32_t other_bucket(const hash_array *a, const hash_slot *slot, uint32_t bucket) {
    bucket_pair pair = hash_buckets(atomic_load_explicit(&slot->hash, memory_order_relaxed), a->buckets);
    CHECK(bucket == pair.first || bucket == pair.second);
    return bucket == pair.first ? pair.second : pair.first;
}

/* Moves the entries on the way from a root to `empty`, the last one first, and returns the slot that comes free in the
 * root. Each is copied, then the version changes, then its old slot is overwritten (by this loop or by the caller). */
static hash_slot *displace(hash_array *a, const search *s, unsigned node, hash_slot *source, hash_slot *empty) {
    for (;;) {
        slot_fill(empty, atomic_load_explicit(&source->hash, memory_order_relaxed),
                  atomic_load_explicit(&source->location, memory_order_relaxed));
        uint64_t version = atomic_load_explicit(&a->version, memory_order_relaxed);
        atomic_store_explicit(&a->version, version + 1, memory_order_release);
        empty = source;
        const search_node *n = &s->nodes[node];
        if (n->parent == node) return empty;
        source = array_bucket(a, s->nodes[n->parent].bucket) + n->slot;
        node = n->parent;
    }
}

/* A slot in one of the two full buckets, made free by displacement, or NULL. */
static hash_slot *search_slot(hash_array *a, bucket_pair pair) {
    search s = {.nodes = {{.bucket = pair.first, .parent = 0}, {.bucket = pair.second, .parent = 1}}, .count = 2};
    for (unsigned node = 0; node < s.count; node++) {
        hash_slot *bucket = array_bucket(a, s.nodes[node].bucket);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint32_t other = other_bucket(a, &bucket[i], s.nodes[node].bucket);
            hash_slot *empty = NULL;
            if (empty_slots(array_bucket(a, other), &empty) > 0) return displace(a, &s, node, &bucket[i], empty);
            search_add(&s, other, node, i);
        }
    }
    return NULL;
}

bool hash_place(hash_array *a, uint64_t hash, location where) {
    CHECK(where != LOCATION_NONE);
    bucket_pair pair = hash_buckets(hash, a->buckets);
    hash_slot *slot = NULL, *slot_in_second = NULL;
    unsigned free_in_first = empty_slots(array_bucket(a, pair.first), &slot);
    unsigned free_in_second = empty_slots(array_bucket(a, pair.second), &slot_in_second);
    if (free_in_second > free_in_first) slot = slot_in_second;
    if (slot == NULL) slot = search_slot(a, pair);
    if (slot == NULL) return false;
    slot_fill(slot, hash, where);
    return true;
}

bool hash_stash(hash_array *a, uint64_t hash, location where) {
    uint32_t used = atomic_load_explicit(&a->stash_used, memory_order_relaxed);
    hash_slot *stash = array_stash(a);
    uint32_t i = a->stash_entries < used ? 0 : used; /* a hole, or behind all */
    while (i < used && !slot_is_empty(&stash[i]))
        i++;
    if (i == a->stash_capacity) return false;
    slot_fill(&stash[i], hash, where);
    a->stash_entries++;
    if (i == used) atomic_store_explicit(&a->stash_used, used + 1, memory_order_release);
    return true;
}

/* One small chained hash table for each shard of the index, made with its first entry and freed with its last one.
 *
 * Invariants, under the stripe:
 *  1. In a chain, the entries of one hash stand in descending order of their numbers, so the next one of the same hash
 *     is the predecessor. New entries come first in their chain, and doubling keeps the order.
 *  2. A location that has left the index is in no list that is recorded afterwards. So the newest entry that lists it
 *     when it is pinned stays the newest one until it is dropped, and then the pin goes to the next one down.
 *  3. pinned_bytes is the sum of all entries' pins. */
#include "src/store/side_table.h"

#include "include/cairn.h"
#include "src/base/check.h"

#include <stdatomic.h>
#include <stdlib.h>

#define CHAIN_BITS_MIN 2u
#define CHAIN_BITS_MAX 30u

typedef struct saved {
    struct saved *next;
    uint64_t hash;
    uint64_t number;  /* of the newest snapshot when it was recorded */
    size_t count;     /* of locations */
    uint64_t words[]; /* the locations, then as many pins: the bytes of a location that has left the index, or 0 */
} saved;

typedef struct side_shard {
    saved **chains; /* 1 << bits; NULL: no entries */
    uint32_t bits;
    _Atomic uint32_t entries; /* written under the stripe */
} side_shard;

struct side_table {
    hash_index *index; /* its stripes guard the shards */
    side_table_released released;
    void *released_ctx;
    _Atomic uint64_t pinned_bytes, bytes;
    _Atomic uint64_t newest; /* the highest number of an entry that there ever was */
    side_shard shards[HASH_INDEX_SHARDS];
};

static uint64_t saved_bytes(size_t count) { return sizeof(saved) + 2 * (uint64_t)count * sizeof(uint64_t); }
static uint64_t chains_bytes(uint32_t bits) { return sizeof(saved *) << bits; }
static location *list_of(saved *e) { return e->words; }
static uint64_t *pins_of(saved *e) { return e->words + e->count; }

static void bytes_add(side_table *t, uint64_t bytes) {
    atomic_fetch_add_explicit(&t->bytes, bytes, memory_order_relaxed);
}
static void bytes_subtract(side_table *t, uint64_t bytes) {
    atomic_fetch_sub_explicit(&t->bytes, bytes, memory_order_relaxed);
}

int side_table_new(side_table **out, hash_index *index, side_table_released released, void *ctx) {
    side_table *t = calloc(1, sizeof *t);
    if (t == NULL) return CAIRN_NO_MEMORY;
    t->index = index;
    t->released = released;
    t->released_ctx = ctx;
    atomic_init(&t->bytes, sizeof *t);
    *out = t;
    return CAIRN_OK;
}

void side_table_free(side_table *t) {
    if (t == NULL) return;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        side_shard *shard = &t->shards[i];
        for (uint32_t chain = 0; shard->chains != NULL && chain < 1u << shard->bits; chain++) {
            while (shard->chains[chain] != NULL) {
                saved *e = shard->chains[chain];
                shard->chains[chain] = e->next;
                free(e);
            }
        }
        free(shard->chains);
    }
    free(t);
}

/* ---- Chains ---- */

/* Hashes of one shard have their top bits in common, and in tests others too: mixed by a multiplication, of which the
 * high bits count. */
static uint32_t chain_of(const side_shard *shard, uint64_t hash) {
    return (uint32_t)(hash * 0x9e3779b97f4a7c15ull >> (64 - shard->bits));
}

/* The first entry of this hash from `e` on: the newest one, or the predecessor of the one before. */
static saved *same_hash(saved *e, uint64_t hash) {
    while (e != NULL && e->hash != hash)
        e = e->next;
    return e;
}

static side_shard *shard_of(side_table *t, uint64_t hash) { return &t->shards[hash_index_shard_of(hash)]; }

static saved *newest_of(const side_table *t, uint64_t hash) {
    const side_shard *shard = &t->shards[hash_index_shard_of(hash)];
    return shard->chains == NULL ? NULL : same_hash(shard->chains[chain_of(shard, hash)], hash);
}

/* The entry that serves a snapshot, or NULL; `e` is the newest entry of the hash. */
static saved *entry_for(saved *e, uint64_t snapshot) {
    saved *serving = NULL;
    for (; e != NULL && e->number >= snapshot; e = same_hash(e->next, e->hash))
        serving = e;
    return serving;
}

bool side_table_serves(const side_table *t, uint64_t snapshot) { return atomic_load(&t->newest) >= snapshot; }

/* Before the change that the entry is for, so that nobody sees the change without it. */
static void note_number(side_table *t, uint64_t number) {
    uint64_t seen = atomic_load(&t->newest);
    while (seen < number && !atomic_compare_exchange_weak(&t->newest, &seen, number)) {
    }
}

static bool make_chains(side_table *t, side_shard *shard) {
    if (shard->chains != NULL) return true;
    shard->chains = calloc((size_t)1 << CHAIN_BITS_MIN, sizeof *shard->chains);
    if (shard->chains == NULL) return false;
    shard->bits = CHAIN_BITS_MIN;
    bytes_add(t, chains_bytes(shard->bits));
    return true;
}

static void free_chains_if_empty(side_table *t, side_shard *shard) {
    if (shard->chains == NULL || shard->entries > 0) return;
    bytes_subtract(t, chains_bytes(shard->bits));
    free(shard->chains);
    shard->chains = NULL;
}

/* Twice as many chains; without memory the old ones just get longer. Chain i goes to chains 2i and 2i + 1. */
static void double_chains(side_table *t, side_shard *shard) {
    uint32_t old_count = 1u << shard->bits;
    if (shard->entries <= old_count || shard->bits == CHAIN_BITS_MAX) return;
    saved **old = shard->chains;
    saved **chains = calloc((size_t)2 * old_count, sizeof *chains);
    if (chains == NULL) return;
    shard->chains = chains;
    shard->bits++;
    for (uint32_t i = 0; i < old_count; i++) {
        saved **ends[2] = {&chains[2 * i], &chains[2 * i + 1]};
        for (saved *e = old[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = NULL;
            uint32_t side = chain_of(shard, e->hash) & 1;
            *ends[side] = e;
            ends[side] = &e->next;
        }
    }
    free(old);
    bytes_add(t, chains_bytes(shard->bits) - chains_bytes(shard->bits - 1));
}

/* ---- Writers ---- */

int side_table_record(side_table *t, uint64_t hash, uint64_t newest) {
    CHECK(newest > 0);
    side_shard *shard = shard_of(t, hash);
    const saved *latest = newest_of(t, hash);
    if (latest != NULL && latest->number >= newest) return CAIRN_OK;
    size_t count = hash_index_count(t->index, hash);
    saved *e = calloc(1, saved_bytes(count));
    if (e == NULL) return CAIRN_NO_MEMORY;
    if (!make_chains(t, shard)) {
        free(e);
        return CAIRN_NO_MEMORY;
    }
    e->hash = hash;
    e->number = newest;
    e->count = hash_index_collect(t->index, hash, list_of(e), count);
    CHECK(e->count == count);
    saved **head = &shard->chains[chain_of(shard, hash)];
    e->next = *head;
    *head = e;
    shard->entries++;
    note_number(t, newest);
    bytes_add(t, saved_bytes(count));
    double_chains(t, shard);
    return CAIRN_OK;
}

/* The pin of a location in the newest entry that lists it, from `e` on; NULL: none lists it. */
static uint64_t *pin_from(saved *e, uint64_t hash, location where) {
    for (e = same_hash(e, hash); e != NULL; e = same_hash(e->next, hash)) {
        for (size_t i = 0; i < e->count; i++) {
            if (list_of(e)[i] == where) return &pins_of(e)[i];
        }
    }
    return NULL;
}

bool side_table_pin(side_table *t, uint64_t hash, location where, uint64_t bytes) {
    CHECK(bytes > 0);
    uint64_t *pin = pin_from(newest_of(t, hash), hash, where);
    if (pin == NULL) return false;
    CHECK(*pin == 0);
    *pin = bytes;
    atomic_fetch_add_explicit(&t->pinned_bytes, bytes, memory_order_relaxed);
    return true;
}

/* ---- Readers ---- */

const location *side_table_find(const side_table *t, uint64_t hash, uint64_t snapshot, size_t *count) {
    saved *e = entry_for(newest_of(t, hash), snapshot);
    if (e == NULL) return NULL;
    *count = e->count;
    return list_of(e);
}

int side_table_visit_shard(const side_table *t, unsigned shard, uint64_t snapshot, side_table_visit visit, void *ctx) {
    CHECK(shard < HASH_INDEX_SHARDS);
    const side_shard *s = &t->shards[shard];
    for (uint32_t chain = 0; s->chains != NULL && chain < 1u << s->bits; chain++) {
        for (saved *e = s->chains[chain]; e != NULL; e = e->next) {
            const saved *before = same_hash(e->next, e->hash);
            if (e->number < snapshot || (before != NULL && before->number >= snapshot)) continue;
            int result = visit(ctx, e->hash, list_of(e), e->count);
            if (result != 0) return result;
        }
    }
    return 0;
}

/* ---- Sweeping ---- */

typedef struct open_numbers {
    const uint64_t *open; /* ascending */
    size_t count;
    uint64_t newest;
} open_numbers;

/* Is a snapshot open with a number in (after, until]? */
static bool any_open(const open_numbers *o, uint64_t after, uint64_t until) {
    size_t low = 0, high = o->count; /* the first one > after is in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->open[middle] > after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < o->count && o->open[low] <= until;
}

/* The entry is out of its chain, and `older` is what followed it. */
static void drop(side_table *t, side_shard *shard, saved *e, saved *older) {
    for (size_t i = 0; i < e->count; i++) {
        if (pins_of(e)[i] == 0) continue;
        uint64_t *pin = pin_from(older, e->hash, list_of(e)[i]);
        if (pin != NULL) {
            CHECK(*pin == 0);
            *pin = pins_of(e)[i];
        } else {
            atomic_fetch_sub_explicit(&t->pinned_bytes, pins_of(e)[i], memory_order_relaxed);
            t->released(t->released_ctx, list_of(e)[i]);
        }
    }
    bytes_subtract(t, saved_bytes(e->count));
    shard->entries--;
    free(e);
}

/* Newest first, so that a pin that moves down is looked at again when its new entry is dropped as well. Dropping an
 * entry that serves nobody changes nothing for the others: its successor now serves its range too, which is empty. */
static void sweep_shard(side_table *t, side_shard *shard, const open_numbers *o) {
    for (uint32_t chain = 0; shard->chains != NULL && chain < 1u << shard->bits; chain++) {
        for (saved **link = &shard->chains[chain]; *link != NULL;) {
            saved *e = *link;
            const saved *before = same_hash(e->next, e->hash);
            if (e->number > o->newest || any_open(o, before != NULL ? before->number : 0, e->number)) {
                link = &e->next;
            } else {
                *link = e->next;
                drop(t, shard, e, e->next);
            }
        }
    }
    free_chains_if_empty(t, shard);
}

/* An empty shard is passed over only when nobody holds its stripe either: a writer that read the newest number before
 * the last snapshot was closed may be about to record an entry, and this sweep is the one that must find it. */
void side_table_sweep(side_table *t, const uint64_t *open, size_t count, uint64_t newest) {
    const open_numbers o = {open, count, newest};
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        uint64_t hash = (uint64_t)i << 54;
        if (hash_index_is_free(t->index, hash) && atomic_load(&t->shards[i].entries) == 0) continue;
        hash_index_lock(t->index, hash);
        sweep_shard(t, &t->shards[i], &o);
        hash_index_unlock(t->index, hash);
    }
}

/* ---- Figures ---- */

uint64_t side_table_pinned_bytes(const side_table *t) {
    return atomic_load_explicit(&t->pinned_bytes, memory_order_relaxed);
}

uint64_t side_table_bytes(const side_table *t) { return atomic_load_explicit(&t->bytes, memory_order_relaxed); }

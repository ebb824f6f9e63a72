/* The hash index: look-up without locks, and the writer's changes under the stripe.
 *
 * Why a reader never misses an entry that is there during its whole look-up:
 *
 *  1. It loads the shard's array once and looks at nothing else. If that array has been replaced meanwhile, what it
 *     reads is the state at the replacement, which lies within the call. No array is freed while the reader is inside
 *     the epoch. From here on, one array.
 *  2. An entry lies in one slot, but for displacement, which copies it to its new slot, then changes the version, then
 *     overwrites the old slot (hash_place.c). Every such store is a release, every load of the reader an acquire.
 *  3. The reader loads the version, then the slots, then the version again. Having read V, it sees every copy made
 *     before V was stored. So where the entry lay at V, it finds the entry or something that was stored after the next
 *     version was; in that case it cannot read V again, and begins anew.
 *  4. In the stash nothing moves. `stash_used` falls only when the whole stash is empty.
 *
 * Why what it finds is right: the two halves of a slot are two loads, and a slot can be emptied and filled again
 * between them. slot_fill stores location 0, then the hash, then the location, so the pair (new hash, old location) is
 * never seen. The pair (old hash, new location) can be seen. It is a candidate like any other: a location that an entry
 * of this shard has at that moment, whose record is there because the reader is inside the epoch; the match function
 * reads its key and says no. The same holds for a location seen twice while it is displaced.
 *
 * An entry that is removed and inserted elsewhere during the look-up may be missed: it was absent for a moment of the
 * call. A replacement is one store to one location, so a key that is only overwritten is never absent; a reader with
 * the location from before finds the value from before.
 *
 * The version is read again before the matches are asked, which may block; so a busy writer cannot make a slow reader
 * begin anew for ever.
 *
 * Why it is enough that readers wait for publications when they begin. Say that a publication takes place at its begin,
 * B. A look-up reads one key, whose entry is really changed at some later moment S, and by nobody else from B to S,
 * because the stripe is held. A look-up that finds the new entry reads it after S, so after B. One that finds what was
 * there before reads it before B, where all is well, or between B and S. Then the 0 at which it began is from before B
 * (one from after the end would have shown it the new entry), so B lies within the call. So each look-up has a moment
 * within its call at which what it found was true. Two that overlap may come in either order; one that begins when
 * another has seen a new entry reads the counter after B (the entry's store is a release behind it), and waits until
 * all are there. The end is a release in the counter's chain of read-modify-writes, so who reads 0 sees what all of the
 * publications before it changed. */
#include "index/hash_index.h"

#include "include/cairn.h"
#include "index/hash_shard.h"
#include "src/base/check.h"

#include <stdlib.h>
#include <string.h>

int hash_index_new(hash_index **out, epoch *readers) {
    hash_index *index = aligned_alloc(_Alignof(hash_index), sizeof *index);
    if (index == NULL) return CAIRN_NO_MEMORY;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        hash_shard *shard = &index->shards[i];
        atomic_init(&shard->array, NULL);
        os_mutex_init(&shard->stripe);
        atomic_init(&shard->entries, 0);
        atomic_init(&shard->image_bytes, 0);
        atomic_init(&shard->dirty, false);
    }
    index->readers = readers;
    atomic_init(&index->bytes, sizeof *index);
    os_mutex_init(&index->gate);
    atomic_init(&index->gate_closed, false);
    atomic_init(&index->publishing, 0);
    atomic_init(&index->waiting, 0);
    *out = index;
    return CAIRN_OK;
}

void hash_index_free(hash_index *index) {
    if (index == NULL) return;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        hash_array_free(shard_array(&index->shards[i]));
        os_mutex_destroy(&index->shards[i].stripe);
    }
    os_mutex_destroy(&index->gate);
    free(index);
}

static hash_shard *shard_of(hash_index *index, uint64_t hash) { return &index->shards[hash_index_shard_of(hash)]; }

/* ---- Stripes ---- */

static bool gate_is_closed(const hash_index *index) { return atomic_load(&index->gate_closed); }

static void take_mutex(hash_shard *shard) {
    os_mutex_lock(&shard->stripe);
    atomic_exchange(&shard->taken, true); /* in the one order of all such accesses, before what the writer looks at */
}

/* Returns when the gate is open, or was for a moment. No stripe is held: whoever has the gate waits for it. */
static void wait_at_gate(hash_index *index) {
    os_mutex_lock(&index->gate);
    os_mutex_unlock(&index->gate);
}

void hash_shard_lock(hash_index *index, hash_shard *shard) {
    take_mutex(shard);
    while (gate_is_closed(index)) {
        hash_shard_unlock(shard);
        wait_at_gate(index);
        take_mutex(shard);
    }
}

void hash_index_lock(hash_index *index, uint64_t hash) { hash_shard_lock(index, shard_of(index, hash)); }

void hash_index_unlock(hash_index *index, uint64_t hash) { hash_shard_unlock(shard_of(index, hash)); }

/* A stripe that is not taken is passed by: the caller has stored something before (that the gate is closed, a
 * snapshot's number), sequentially consistent like the mark and the writer's look at it. So either the mark is seen
 * here, or the writer sees what was stored. Who has let go made its changes visible by taking the mark away. */
static void pass_all_stripes(hash_index *index) {
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        if (!atomic_load(&index->shards[i].taken)) continue;
        os_mutex_lock(&index->shards[i].stripe);
        os_mutex_unlock(&index->shards[i].stripe);
    }
}

/* Not by holding 1024 mutexes (thread sanitizers bear 64): the gate is closed, then every mutex is passed through once.
 * Whoever had a stripe before has left it then; whoever takes one afterwards sees the closed gate, and waits. */
void hash_index_lock_all(hash_index *index) {
    os_mutex_lock(&index->gate);
    atomic_store(&index->gate_closed, true);
    pass_all_stripes(index);
}

void hash_index_unlock_all(hash_index *index) {
    atomic_store_explicit(&index->gate_closed, false, memory_order_release);
    os_mutex_unlock(&index->gate);
}

bool hash_index_is_free(const hash_index *index, uint64_t hash) {
    return !atomic_load(&index->shards[hash_index_shard_of(hash)].taken) && !gate_is_closed(index);
}

void hash_index_quiesce(hash_index *index) {
    os_mutex_lock(&index->gate);
    pass_all_stripes(index);
    os_mutex_unlock(&index->gate);
}

/* ---- Several stripes ---- */

/* The most mutexes that are taken one by one (thread sanitizers bear 64, and the caller has others). With more keys
 * than that the gate costs little beside the work, and it cannot be met half-way. */
#define STRIPES_FEW 48

static bool are_few(const hash_index_stripes *set) {
    int count = 0;
    for (unsigned word = 0; word < HASH_INDEX_SHARDS / 64; word++)
        count += __builtin_popcountll(set->bits[word]);
    return count <= STRIPES_FEW;
}

/* The first stripe of the set from `from` on; HASH_INDEX_SHARDS: none. */
static unsigned next_stripe(const hash_index_stripes *set, unsigned from) {
    uint64_t mask = UINT64_MAX << from % 64;
    for (unsigned word = from / 64; word < HASH_INDEX_SHARDS / 64; word++) {
        uint64_t bits = set->bits[word] & mask;
        if (bits != 0) return word * 64 + (unsigned)__builtin_ctzll(bits);
        mask = UINT64_MAX;
    }
    return HASH_INDEX_SHARDS;
}

/* Those of the set that are below `end`. */
static void release_stripes(hash_index *index, const hash_index_stripes *set, unsigned end) {
    for (unsigned i = next_stripe(set, 0); i < end; i = next_stripe(set, i + 1))
        hash_shard_unlock(&index->shards[i]);
}

/* false: the gate was closed on the way; none is held. */
static bool take_stripes(hash_index *index, const hash_index_stripes *set) {
    for (unsigned i = next_stripe(set, 0); i < HASH_INDEX_SHARDS; i = next_stripe(set, i + 1)) {
        take_mutex(&index->shards[i]);
        if (!gate_is_closed(index)) continue;
        release_stripes(index, set, i + 1);
        return false;
    }
    return true;
}

/* As for one stripe: it is held by having its mutex and having seen the gate open under it. Who finds the gate closed
 * half-way lets go of all that it has before it waits, because the one at the gate waits for just these. Without the
 * gate, those who wait for a stripe have only lower ones, so there is no circle. */
void hash_index_lock_stripes(hash_index *index, const hash_index_stripes *set) {
    if (!are_few(set)) {
        hash_index_lock_all(index);
        return;
    }
    while (!take_stripes(index, set))
        wait_at_gate(index);
}

void hash_index_unlock_stripes(hash_index *index, const hash_index_stripes *set) {
    if (are_few(set)) {
        release_stripes(index, set, HASH_INDEX_SHARDS);
    } else {
        hash_index_unlock_all(index);
    }
}

/* ---- Publications ---- */

#define SPINS_MAX 100u /* some microseconds: a small publication */

static void wait_for_none(const _Atomic uint32_t *counter) {
    for (unsigned spins = 0; atomic_load_explicit(counter, memory_order_acquire) > 0; spins++) {
        if (spins < SPINS_MAX) {
            os_relax();
        } else {
            os_yield();
        }
    }
}

/* Publications that overlap could keep the counter above 0 for ever. So they do not begin while a reader waits, which
 * lasts only as long as those that are under way. */
void hash_index_publish_begin(hash_index *index) {
    wait_for_none(&index->waiting);
    atomic_fetch_add_explicit(&index->publishing, 1, memory_order_relaxed);
}

void hash_index_publish_end(hash_index *index) {
    atomic_fetch_sub_explicit(&index->publishing, 1, memory_order_release);
}

void hash_index_reader_wait(hash_index *index) {
    if (atomic_load_explicit(&index->publishing, memory_order_acquire) == 0) return;
    atomic_fetch_add_explicit(&index->waiting, 1, memory_order_relaxed);
    wait_for_none(&index->publishing);
    atomic_fetch_sub_explicit(&index->waiting, 1, memory_order_relaxed);
}

/* ---- Look-up ---- */

#define CANDIDATES_FEW 16u

typedef struct candidates {
    location *items; /* `few`, or malloc */
    size_t count, capacity;
    location few[CANDIDATES_FEW];
} candidates;

static void candidates_release(candidates *c) {
    if (c->items != c->few) free(c->items);
}

static int candidates_add(candidates *c, location where) {
    if (c->count == c->capacity) {
        location *more = malloc(2 * c->capacity * sizeof *more);
        if (more == NULL) return CAIRN_NO_MEMORY;
        memcpy(more, c->items, c->count * sizeof *more);
        candidates_release(c);
        c->items = more;
        c->capacity *= 2;
    }
    c->items[c->count++] = where;
    return CAIRN_OK;
}

static int gather_slots(candidates *c, const hash_slot *slots, size_t count, uint64_t hash) {
    for (size_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&slots[i].hash, memory_order_acquire) != hash) continue;
        location where = atomic_load_explicit(&slots[i].location, memory_order_acquire);
        if (where == LOCATION_NONE) continue;
        int code = candidates_add(c, where);
        if (code != CAIRN_OK) return code;
    }
    return CAIRN_OK;
}

static void prefetch_bucket(const hash_slot *bucket) {
    __builtin_prefetch(bucket);
    __builtin_prefetch(bucket + BUCKET_SLOTS / 2);
}

void hash_index_prefetch(const hash_index *index, uint64_t hash) {
    const hash_array *a = atomic_load_explicit(&index->shards[hash_index_shard_of(hash)].array, memory_order_acquire);
    if (a == NULL) return;
    bucket_pair pair = hash_buckets(hash, a->buckets);
    prefetch_bucket(a->slots + (uint64_t)pair.first * BUCKET_SLOTS);
    prefetch_bucket(a->slots + (uint64_t)pair.second * BUCKET_SLOTS);
}

static int gather(candidates *c, const hash_array *a, uint64_t hash) {
    bucket_pair pair = hash_buckets(hash, a->buckets);
    const hash_slot *first = a->slots + (uint64_t)pair.first * BUCKET_SLOTS;
    const hash_slot *second = a->slots + (uint64_t)pair.second * BUCKET_SLOTS;
    prefetch_bucket(first);
    prefetch_bucket(second);
    int code = gather_slots(c, first, BUCKET_SLOTS, hash);
    if (code == CAIRN_OK) code = gather_slots(c, second, BUCKET_SLOTS, hash);
    uint32_t stashed = atomic_load_explicit(&a->stash_used, memory_order_acquire);
    if (code == CAIRN_OK && stashed > 0) {
        code = gather_slots(c, a->slots + (uint64_t)a->buckets * BUCKET_SLOTS, stashed, hash);
    }
    return code;
}

/* 1, 0 or a negative code, as hash_index_find. */
static int ask(const candidates *c, hash_index_match match, void *ctx, location *found) {
    for (size_t i = 0; i < c->count; i++) {
        int answer = match(ctx, c->items[i]);
        if (answer == 0) continue;
        if (answer > 0) *found = c->items[i];
        return answer;
    }
    return 0;
}

int hash_index_find(const hash_index *index, uint64_t hash, hash_index_match match, void *ctx, location *found) {
    const hash_shard *shard = &index->shards[hash_index_shard_of(hash)];
    candidates c = {.capacity = CANDIDATES_FEW};
    c.items = c.few;
    int answer;
    bool moved;
    do {
        hash_array *a = atomic_load_explicit(&shard->array, memory_order_acquire);
        if (a == NULL) return 0;
        uint64_t version = atomic_load_explicit(&a->version, memory_order_acquire);
        c.count = 0;
        answer = gather(&c, a, hash);
        moved = atomic_load_explicit(&a->version, memory_order_acquire) != version;
        if (answer == CAIRN_OK) answer = ask(&c, match, ctx, found);
    } while (answer == 0 && moved);
    candidates_release(&c);
    return answer;
}

/* ---- One entry ---- */

static hash_slot *slot_in(hash_slot *slots, size_t count, uint64_t hash, location where) {
    for (size_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&slots[i].location, memory_order_acquire) == where &&
            atomic_load_explicit(&slots[i].hash, memory_order_acquire) == hash) {
            return &slots[i];
        }
    }
    return NULL;
}

/* The slot of an entry, or NULL. */
static hash_slot *slot_find(hash_array *a, uint64_t hash, location where, bool *stashed) {
    *stashed = false;
    bucket_pair pair = hash_buckets(hash, a->buckets);
    hash_slot *slot = slot_in(array_bucket(a, pair.first), BUCKET_SLOTS, hash, where);
    if (slot == NULL) slot = slot_in(array_bucket(a, pair.second), BUCKET_SLOTS, hash, where);
    if (slot == NULL) {
        *stashed = true;
        slot = slot_in(array_stash(a), atomic_load_explicit(&a->stash_used, memory_order_acquire), hash, where);
    }
    return slot;
}

/* The slot of an entry that is there. */
static hash_slot *slot_of(hash_array *a, uint64_t hash, location where, bool *stashed) {
    CHECK(a != NULL && where != LOCATION_NONE);
    hash_slot *slot = slot_find(a, hash, where, stashed);
    CHECK(slot != NULL);
    return slot;
}

bool hash_index_holds(const hash_index *index, uint64_t hash, location where) {
    const hash_shard *shard = &index->shards[hash_index_shard_of(hash)];
    CHECK(where != LOCATION_NONE);
    bool found, stashed, moved;
    do {
        hash_array *a = atomic_load_explicit(&shard->array, memory_order_acquire);
        if (a == NULL) return false;
        uint64_t version = atomic_load_explicit(&a->version, memory_order_acquire);
        found = slot_find(a, hash, where, &stashed) != NULL;
        moved = atomic_load_explicit(&a->version, memory_order_acquire) != version;
    } while (!found && moved);
    return found;
}

/* ---- The writer ---- */

typedef struct collection {
    location *out;
    size_t max, count;
} collection;

static void collect_slots(collection *c, const hash_slot *slots, size_t count, uint64_t hash) {
    for (size_t i = 0; i < count; i++) {
        location where = atomic_load_explicit(&slots[i].location, memory_order_relaxed);
        if (where == LOCATION_NONE || atomic_load_explicit(&slots[i].hash, memory_order_relaxed) != hash) continue;
        if (c->count < c->max) c->out[c->count] = where;
        c->count++;
    }
}

size_t hash_index_collect(const hash_index *index, uint64_t hash, location *out, size_t max) {
    hash_array *a = shard_array(&index->shards[hash_index_shard_of(hash)]);
    if (a == NULL) return 0;
    collection c = {.out = out, .max = max};
    bucket_pair pair = hash_buckets(hash, a->buckets);
    collect_slots(&c, array_bucket(a, pair.first), BUCKET_SLOTS, hash);
    collect_slots(&c, array_bucket(a, pair.second), BUCKET_SLOTS, hash);
    collect_slots(&c, array_stash(a), atomic_load_explicit(&a->stash_used, memory_order_relaxed), hash);
    return c.count;
}

size_t hash_index_count(const hash_index *index, uint64_t hash) { return hash_index_collect(index, hash, NULL, 0); }

static void entries_changed(hash_shard *shard, uint64_t entries) {
    atomic_store_explicit(&shard->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&shard->dirty, true, memory_order_relaxed);
}

void hash_index_insert(hash_index *index, uint64_t hash, location where) {
    hash_shard *shard = shard_of(index, hash);
    hash_array *a = shard_array(shard);
    CHECK(a != NULL);
    if (!hash_place(a, hash, where)) CHECK(hash_stash(a, hash, where));
    entries_changed(shard, shard_entries(shard) + 1);
}

void hash_index_replace(hash_index *index, uint64_t hash, location from, location to) {
    CHECK(to != LOCATION_NONE);
    hash_shard *shard = shard_of(index, hash);
    bool stashed;
    hash_slot *slot = slot_of(shard_array(shard), hash, from, &stashed);
    atomic_store_explicit(&slot->location, to, memory_order_release);
    entries_changed(shard, shard_entries(shard));
}

void hash_index_remove(hash_index *index, uint64_t hash, location where) {
    hash_shard *shard = shard_of(index, hash);
    hash_array *a = shard_array(shard);
    bool stashed;
    hash_slot *slot = slot_of(a, hash, where, &stashed);
    atomic_store_explicit(&slot->location, LOCATION_NONE, memory_order_release);
    if (stashed && --a->stash_entries == 0) atomic_store_explicit(&a->stash_used, 0, memory_order_release);
    entries_changed(shard, shard_entries(shard) - 1);
}

/* ---- Figures and walks ---- */

uint64_t hash_index_entries(const hash_index *index) {
    uint64_t entries = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
        entries += shard_entries(&index->shards[i]);
    return entries;
}

uint64_t hash_index_bytes(const hash_index *index) { return atomic_load_explicit(&index->bytes, memory_order_relaxed); }

int hash_index_visit_shard(const hash_index *index, unsigned shard, hash_index_visit visit, void *ctx) {
    CHECK(shard < HASH_INDEX_SHARDS);
    const hash_array *a = shard_array(&index->shards[shard]);
    uint64_t slots = a != NULL ? array_slots(a) : 0;
    for (uint64_t i = 0; i < slots; i++) {
        location where = atomic_load_explicit(&a->slots[i].location, memory_order_relaxed);
        if (where == LOCATION_NONE) continue;
        int result = visit(ctx, atomic_load_explicit(&a->slots[i].hash, memory_order_relaxed), where);
        if (result != 0) return result;
    }
    return 0;
}

int hash_index_visit_all(const hash_index *index, hash_index_visit visit, void *ctx) {
    int result = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS && result == 0; i++) {
        result = hash_index_visit_shard(index, i, visit, ctx);
    }
    return result;
}

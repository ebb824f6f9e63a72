/* Heaps of what expires. Each part's mutex guards its heap; the atomics are written under it but for `stale`.
 *
 * Invariants of a part:
 *  1. entries[0 .. count) is a binary min-heap by expires_at_ms.
 *  2. count + reserved <= capacity: an add whose room was set aside allocates nothing.
 *  3. next_ms <= the time of every entry.
 *
 * How a compaction filters without holding the lock while it asks: it copies a few entries out, asks about them, and
 * under the lock *marks* those that are stale and still stand where they stood: their location becomes LOCATION_NONE,
 * while their time, and so the heap, stays. When it is through, it squeezes the marked ones out and makes a heap of
 * the rest, in one pass over one part under the lock: 156,000 entries when ten million keys expire. Adding and removing
 * go on in between; what they move over the scan's place is passed over, or asked about twice. */
#include "src/store/expiry.h"

#include "include/cairn.h"
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/os/os_thread.h"

#include <stdlib.h>

#define CAPACITY_MIN ((size_t)8)
#define CAPACITY_MAX ((size_t)1 << 40) /* entries of a part: keeps sums and products from overflow */
#define STALE_MIN 1024u                /* fewer are not worth a pass */
#define CHUNK 128u                     /* entries that are asked about between two holds of the lock */
#define ENTRY_BYTES 24u

typedef struct expiry_part {
    _Alignas(64) os_mutex lock;
    expiry_entry *entries;
    size_t count, capacity, reserved;
} expiry_part;

struct expiry {
    expiry_part parts[EXPIRY_PARTS];
    _Atomic uint64_t next_ms[EXPIRY_PARTS];
    _Atomic uint64_t entries, stale, bytes;
};

int expiry_new(expiry **out) {
    expiry *x = aligned_alloc(_Alignof(expiry), sizeof *x);
    if (x == NULL) return CAIRN_NO_MEMORY;
    for (unsigned i = 0; i < EXPIRY_PARTS; i++) {
        expiry_part *part = &x->parts[i];
        os_mutex_init(&part->lock);
        part->entries = NULL;
        part->count = part->capacity = part->reserved = 0;
        atomic_init(&x->next_ms[i], EXPIRY_NEVER);
    }
    atomic_init(&x->entries, 0);
    atomic_init(&x->stale, 0);
    atomic_init(&x->bytes, sizeof *x);
    *out = x;
    return CAIRN_OK;
}

void expiry_free(expiry *x) {
    if (x == NULL) return;
    for (unsigned i = 0; i < EXPIRY_PARTS; i++) {
        os_mutex_destroy(&x->parts[i].lock);
        free(x->parts[i].entries);
    }
    free(x);
}

static unsigned part_number(uint64_t hash) { return (unsigned)(hash % EXPIRY_PARTS); }

static expiry_part *lock_part(expiry *x, unsigned number) {
    os_mutex_lock(&x->parts[number].lock);
    return &x->parts[number];
}

/* ---- One heap; its part's lock is held ---- */

static void sift_up(expiry_entry *heap, size_t i, expiry_entry entry) {
    while (i > 0 && heap[(i - 1) / 2].expires_at_ms > entry.expires_at_ms) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = entry;
}

static void sift_down(expiry_entry *heap, size_t count, size_t i, expiry_entry entry) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count) break;
        if (child + 1 < count && heap[child + 1].expires_at_ms < heap[child].expires_at_ms) child++;
        if (heap[child].expires_at_ms >= entry.expires_at_ms) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = entry;
}

static void heap_make(expiry_entry *heap, size_t count) {
    for (size_t i = count / 2; i-- > 0;)
        sift_down(heap, count, i, heap[i]);
}

static void heap_remove(expiry_part *part, size_t i) {
    expiry_entry last = part->entries[--part->count];
    if (i == part->count) return;
    if (i > 0 && part->entries[(i - 1) / 2].expires_at_ms > last.expires_at_ms) {
        sift_up(part->entries, i, last);
    } else {
        sift_down(part->entries, part->count, i, last);
    }
}

static void note_next(expiry *x, unsigned number) {
    const expiry_part *part = &x->parts[number];
    uint64_t next = part->count > 0 ? part->entries[0].expires_at_ms : EXPIRY_NEVER;
    atomic_store_explicit(&x->next_ms[number], next, memory_order_relaxed);
}

/* false: no memory, and nothing changed. */
static bool resize(expiry *x, expiry_part *part, size_t capacity) {
    expiry_entry *entries = realloc(part->entries, capacity * sizeof *entries);
    if (entries == NULL) return false;
    uint64_t change = (uint64_t)capacity * sizeof *entries - (uint64_t)part->capacity * sizeof *entries;
    atomic_fetch_add_explicit(&x->bytes, change, memory_order_relaxed);
    part->entries = entries;
    part->capacity = capacity;
    return true;
}

/* ---- Adding ---- */

static bool reserve_in(expiry *x, expiry_part *part, size_t count) {
    if (count > CAPACITY_MAX - part->count - part->reserved) return false;
    size_t needed = part->count + part->reserved + count;
    if (needed > part->capacity) {
        size_t capacity = part->capacity + part->capacity / 4;
        if (capacity < needed) capacity = needed < CAPACITY_MIN ? CAPACITY_MIN : needed;
        if (!resize(x, part, capacity)) return false;
    }
    part->reserved += count;
    return true;
}

int expiry_reserve(expiry *x, uint64_t hash, size_t count) {
    expiry_part *part = lock_part(x, part_number(hash));
    bool done = reserve_in(x, part, count);
    os_mutex_unlock(&part->lock);
    return done ? CAIRN_OK : CAIRN_NO_MEMORY;
}

void expiry_unreserve(expiry *x, uint64_t hash, size_t count) {
    expiry_part *part = lock_part(x, part_number(hash));
    CHECK(part->reserved >= count);
    part->reserved -= count;
    os_mutex_unlock(&part->lock);
}

void expiry_add(expiry *x, const expiry_entry *entry) {
    CHECK(entry->where != LOCATION_NONE);
    unsigned number = part_number(entry->hash);
    expiry_part *part = lock_part(x, number);
    CHECK(part->reserved > 0 && part->count < part->capacity);
    part->reserved--;
    sift_up(part->entries, part->count++, *entry);
    atomic_fetch_add_explicit(&x->entries, 1, memory_order_relaxed); /* before anybody can remove it */
    note_next(x, number);
    os_mutex_unlock(&part->lock);
}

/* ---- What is due ---- */

uint64_t expiry_next_ms(const expiry *x) {
    uint64_t next = EXPIRY_NEVER;
    for (unsigned i = 0; i < EXPIRY_PARTS; i++)
        next = min_u64(next, atomic_load_explicit(&x->next_ms[i], memory_order_relaxed));
    return next;
}

static void entries_removed(expiry *x, uint64_t count) {
    atomic_fetch_sub_explicit(&x->entries, count, memory_order_relaxed);
}

/* Marked entries at the top go; their compaction will not miss them. */
static bool part_due(expiry *x, unsigned number, uint64_t now_ms, expiry_entry *due) {
    uint64_t marked = 0;
    bool found = false;
    expiry_part *part = lock_part(x, number);
    while (part->count > 0 && part->entries[0].where == LOCATION_NONE) {
        heap_remove(part, 0);
        marked++;
    }
    if (part->count > 0 && part->entries[0].expires_at_ms <= now_ms) {
        *due = part->entries[0];
        found = true;
    }
    note_next(x, number);
    os_mutex_unlock(&part->lock);
    entries_removed(x, marked);
    return found;
}

bool expiry_due(expiry *x, uint64_t now_ms, expiry_entry *due) {
    for (unsigned i = 0; i < EXPIRY_PARTS; i++) {
        if (atomic_load_explicit(&x->next_ms[i], memory_order_relaxed) > now_ms) continue;
        if (part_due(x, i, now_ms, due)) return true;
    }
    return false;
}

static bool same_entry(const expiry_entry *a, const expiry_entry *b) {
    return a->where == b->where && a->hash == b->hash && a->expires_at_ms == b->expires_at_ms;
}

/* Where the entry is, or `count`. It was at the top when expiry_due gave it, so it is hardly ever far from it. */
static size_t index_of(const expiry_part *part, const expiry_entry *entry) {
    size_t i = 0;
    while (i < part->count && !same_entry(&part->entries[i], entry))
        i++;
    return i;
}

/* Never below 0: who saw a record gone from the index may come before the one who counts it. */
static void stale_subtract(expiry *x, uint64_t count) {
    uint64_t stale = atomic_load_explicit(&x->stale, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&x->stale, &stale, stale - min_u64(stale, count),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void expiry_remove(expiry *x, const expiry_entry *entry, bool stale) {
    unsigned number = part_number(entry->hash);
    expiry_part *part = lock_part(x, number);
    size_t i = index_of(part, entry);
    bool found = i < part->count;
    if (found) heap_remove(part, i);
    note_next(x, number);
    os_mutex_unlock(&part->lock);
    if (!found) return;
    entries_removed(x, 1);
    if (stale) stale_subtract(x, 1);
}

/* ---- What is stale ---- */

void expiry_superseded(expiry *x) { atomic_fetch_add_explicit(&x->stale, 1, memory_order_relaxed); }

bool expiry_is_stale(const expiry *x) {
    uint64_t stale = atomic_load_explicit(&x->stale, memory_order_relaxed);
    return stale > STALE_MIN && stale > atomic_load_explicit(&x->entries, memory_order_relaxed) / 2;
}

/* A few entries of a part, as they were. */
typedef struct chunk {
    size_t first, count;
    expiry_entry entries[CHUNK];
    bool stale[CHUNK];
} chunk;

/* false: behind the last one. */
static bool copy_chunk(expiry_part *part, chunk *c) {
    os_mutex_lock(&part->lock);
    c->count = 0;
    while (c->count < CHUNK && c->first + c->count < part->count) {
        c->entries[c->count] = part->entries[c->first + c->count];
        c->count++;
    }
    os_mutex_unlock(&part->lock);
    return c->count > 0;
}

static void mark_chunk(expiry_part *part, const chunk *c) {
    os_mutex_lock(&part->lock);
    for (size_t i = 0; i < c->count && c->first + i < part->count; i++) {
        expiry_entry *e = &part->entries[c->first + i];
        if (c->stale[i] && same_entry(e, &c->entries[i])) e->where = LOCATION_NONE;
    }
    os_mutex_unlock(&part->lock);
}

/* Gives back memory when less than half of it is in use; without memory for that it stays. */
static void shrink(expiry *x, expiry_part *part) {
    size_t needed = part->count + part->reserved;
    if (part->capacity <= CAPACITY_MIN || needed >= part->capacity / 2) return;
    (void)resize(x, part, needed < CAPACITY_MIN ? CAPACITY_MIN : needed + needed / 4);
}

/* How many it removed. */
static uint64_t squeeze(expiry *x, unsigned number) {
    expiry_part *part = lock_part(x, number);
    size_t kept = 0;
    for (size_t i = 0; i < part->count; i++) {
        if (part->entries[i].where != LOCATION_NONE) part->entries[kept++] = part->entries[i];
    }
    size_t removed = part->count - kept;
    part->count = kept;
    if (removed > 0) heap_make(part->entries, kept);
    shrink(x, part);
    note_next(x, number);
    os_mutex_unlock(&part->lock);
    entries_removed(x, removed);
    return removed;
}

/* All that were stale when it began are gone, or more when some became so meanwhile. */
void expiry_compact(expiry *x, expiry_still still, void *ctx) {
    uint64_t stale = atomic_load_explicit(&x->stale, memory_order_relaxed), removed = 0;
    for (unsigned number = 0; number < EXPIRY_PARTS; number++) {
        chunk c;
        for (c.first = 0; copy_chunk(&x->parts[number], &c); c.first += c.count) {
            for (size_t i = 0; i < c.count; i++) {
                const expiry_entry *e = &c.entries[i];
                c.stale[i] = e->where != LOCATION_NONE && !still(ctx, e->hash, e->where);
            }
            mark_chunk(&x->parts[number], &c);
        }
        removed += squeeze(x, number);
    }
    stale_subtract(x, max_u64(stale, removed));
}

/* ---- Encoding ---- */

/* Writes the part's entries behind *size, where `capacity` bytes are; false: they do not fit, *needed says what does.
 */
static bool encode_part(expiry_part *part, uint8_t *bytes, size_t capacity, size_t *size, size_t *needed) {
    os_mutex_lock(&part->lock);
    *needed = *size + part->count * ENTRY_BYTES;
    bool fits = *needed <= capacity;
    for (size_t i = 0; fits && i < part->count; i++) {
        const expiry_entry *e = &part->entries[i];
        if (e->where == LOCATION_NONE) continue;
        le64_put(bytes + *size, e->expires_at_ms);
        le64_put(bytes + *size + 8, e->hash);
        le64_put(bytes + *size + 16, e->where);
        *size += ENTRY_BYTES;
    }
    os_mutex_unlock(&part->lock);
    return fits;
}

int expiry_encode(expiry *x, size_t lead, uint8_t **out, size_t *size) {
    size_t capacity = lead + 8 + expiry_entries(x) * ENTRY_BYTES, used = lead + 8, needed;
    uint8_t *bytes = malloc(capacity);
    if (bytes == NULL) return CAIRN_NO_MEMORY;
    for (unsigned number = 0; number < EXPIRY_PARTS;) {
        if (encode_part(&x->parts[number], bytes, capacity, &used, &needed)) {
            number++;
            continue;
        }
        capacity = needed + needed / 4; /* entries came meanwhile */
        uint8_t *more = realloc(bytes, capacity);
        if (more == NULL) {
            free(bytes);
            return CAIRN_NO_MEMORY;
        }
        bytes = more;
    }
    le64_put(bytes + lead, (used - lead - 8) / ENTRY_BYTES);
    *out = bytes;
    *size = used;
    return CAIRN_OK;
}

static expiry_entry decode_entry(const uint8_t *p) {
    return (expiry_entry){.expires_at_ms = le64_get(p), .hash = le64_get(p + 8), .where = le64_get(p + 16)};
}

/* Checks the bytes, and counts the entries of each part. */
static bool decode_check(const uint8_t *bytes, size_t size, size_t counts[EXPIRY_PARTS]) {
    uint64_t entries_bytes;
    if (size < 8 || mul_overflows(le64_get(bytes), ENTRY_BYTES, &entries_bytes) || entries_bytes != size - 8) {
        return false;
    }
    for (size_t at = 8; at < size; at += ENTRY_BYTES) {
        expiry_entry e = decode_entry(bytes + at);
        if (e.expires_at_ms == 0 || location_address(e.where) == 0 || !location_expires(e.where)) return false;
        counts[part_number(e.hash)]++;
    }
    return true;
}

int expiry_decode(expiry *x, const uint8_t *bytes, size_t size) {
    size_t counts[EXPIRY_PARTS] = {0};
    if (!decode_check(bytes, size, counts)) return CAIRN_CORRUPT;
    for (unsigned i = 0; i < EXPIRY_PARTS; i++) {
        if (expiry_reserve(x, i, counts[i]) == CAIRN_OK) continue;
        while (i-- > 0)
            expiry_unreserve(x, i, counts[i]);
        return CAIRN_NO_MEMORY;
    }
    for (size_t at = 8; at < size; at += ENTRY_BYTES) {
        expiry_entry e = decode_entry(bytes + at);
        expiry_add(x, &e);
    }
    return CAIRN_OK;
}

/* ---- Figures ---- */

uint64_t expiry_entries(const expiry *x) { return atomic_load_explicit(&x->entries, memory_order_relaxed); }
uint64_t expiry_bytes(const expiry *x) { return atomic_load_explicit(&x->bytes, memory_order_relaxed); }

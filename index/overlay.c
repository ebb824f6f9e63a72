#include "index/overlay.h"

#include "src/base/check.h"
#include "src/os/os_thread.h"

#include <bsd/sys/tree.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define PAGE_BYTES ((size_t)65536)

enum state { PENDING, TAKEN, KEPT };

struct key_change {
    RB_ENTRY(key_change) node;
    TAILQ_ENTRY(key_change) link; /* in the list of what is pending, or kept */
    key_change *next;             /* in the list of what was pushed */
    enum state state;
    bool erase;
    bool changed;      /* since it was taken */
    bool needed;       /* it has changed, or was given back: it has to be kept for every snapshot */
    uint64_t snapshot; /* see overlay_push; of one that is kept: the highest number given by then */
    const uint8_t *key;
    size_t size;
    uint8_t bytes[]; /* the key; none in a probe */
};

RB_HEAD(change_tree, key_change);
TAILQ_HEAD(change_list, key_change);

struct overlay {
    _Atomic(key_change *) pushed; /* the last one first */
    _Atomic uint64_t count, pending, pending_bytes, bytes;
    os_mutex lock;
    struct change_tree tree;          /* lock: all that were settled */
    struct change_list waiting, kept; /* lock; `kept` in ascending order of `snapshot` */
};

static int compare(const key_change *a, const key_change *b) { return key_compare(a->key, a->size, b->key, b->size); }

/* Not static: of these functions not all are used. */
RB_PROTOTYPE(change_tree, key_change, node, compare)
RB_GENERATE(change_tree, key_change, node, compare)

static key_change *step(key_change *c, bool reverse) {
    return reverse ? change_tree_RB_PREV(c) : change_tree_RB_NEXT(c);
}

static uint64_t bytes_of(const key_change *c) { return sizeof *c + c->size; }

int overlay_new(overlay **out) {
    overlay *o = calloc(1, sizeof *o);
    if (o == NULL) return CAIRN_NO_MEMORY;
    os_mutex_init(&o->lock);
    RB_INIT(&o->tree);
    TAILQ_INIT(&o->waiting);
    TAILQ_INIT(&o->kept);
    *out = o;
    return CAIRN_OK;
}

void overlay_free(overlay *o) {
    if (o == NULL) return;
    overlay_clear(o);
    os_mutex_destroy(&o->lock);
    free(o);
}

key_change *key_change_new(const void *key, size_t size) {
    key_change *c = malloc(sizeof *c + size);
    if (c == NULL) return NULL;
    memset(c, 0, sizeof *c);
    memcpy(c->bytes, key, size);
    c->key = c->bytes;
    c->size = size;
    return c;
}

void key_change_free(key_change *c) { free(c); }

static void note_pending(overlay *o, const key_change *c) {
    atomic_fetch_add_explicit(&o->pending, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&o->pending_bytes, bytes_of(c), memory_order_relaxed);
}

static void note_not_pending(overlay *o, const key_change *c) {
    atomic_fetch_sub_explicit(&o->pending, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&o->pending_bytes, bytes_of(c), memory_order_relaxed);
}

void overlay_push(overlay *o, key_change *c, bool erase, uint64_t snapshot) {
    c->erase = erase;
    c->snapshot = snapshot;
    note_pending(o, c);
    atomic_fetch_add_explicit(&o->bytes, bytes_of(c), memory_order_relaxed);
    atomic_fetch_add(&o->count, 1); /* first: who reads 0 has not missed it */
    c->next = atomic_load_explicit(&o->pushed, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&o->pushed, &c->next, c)) {
    }
}

/* ---- Under the lock ---- */

static void drop(overlay *o, key_change *c) {
    atomic_fetch_sub_explicit(&o->bytes, bytes_of(c), memory_order_relaxed);
    atomic_fetch_sub(&o->count, 1);
    free(c);
}

static void enqueue(overlay *o, key_change *c) {
    c->state = PENDING;
    TAILQ_INSERT_TAIL(&o->waiting, c, link);
}

/* `newer` is another change of the key of `c`, which takes it in. From now on it is kept for any snapshot: one that was
 * opened between the two, or before, may see the key while the file lacks it. */
static void merge(overlay *o, key_change *c, key_change *newer) {
    c->erase = newer->erase;
    c->snapshot = newer->snapshot;
    c->changed = c->needed = true;
    if (c->state == KEPT) {
        TAILQ_REMOVE(&o->kept, c, link);
        enqueue(o, c);
        note_pending(o, c);
    }
    note_not_pending(o, newer);
    drop(o, newer);
}

static void settle(overlay *o) {
    key_change *c = atomic_exchange(&o->pushed, NULL), *oldest = NULL;
    while (c != NULL) {
        key_change *next = c->next;
        c->next = oldest;
        oldest = c;
        c = next;
    }
    while (oldest != NULL) {
        c = oldest;
        oldest = c->next;
        key_change *there = RB_INSERT(change_tree, &o->tree, c);
        if (there != NULL) {
            merge(o, there, c);
        } else {
            enqueue(o, c);
        }
    }
}

static void forget(overlay *o, key_change *c) {
    RB_REMOVE(change_tree, &o->tree, c);
    drop(o, c);
}

/* ---- Absorbing ---- */

static int by_key(const void *a, const void *b) {
    const ordered_change *x = a, *y = b;
    return key_compare(x->key, x->size, y->key, y->size);
}

static void release(overlay_batch *b) {
    free(b->changes);
    free(b->taken);
    *b = (overlay_batch){0};
}

int overlay_take(overlay *o, overlay_batch *b) {
    *b = (overlay_batch){0};
    os_mutex_lock(&o->lock);
    settle(o);
    size_t count = 0;
    key_change *c;
    TAILQ_FOREACH(c, &o->waiting, link) count++;
    b->changes = malloc((count + 1) * sizeof *b->changes);
    b->taken = malloc((count + 1) * sizeof *b->taken);
    bool is_there = b->changes != NULL && b->taken != NULL;
    while (is_there && (c = TAILQ_FIRST(&o->waiting)) != NULL) {
        TAILQ_REMOVE(&o->waiting, c, link);
        c->state = TAKEN;
        c->changed = false;
        b->changes[b->count] = (ordered_change){.key = c->key, .size = c->size, .erase = c->erase};
        b->taken[b->count++] = c;
    }
    os_mutex_unlock(&o->lock);
    if (is_there) {
        qsort(b->changes, b->count, sizeof *b->changes, by_key);
        return CAIRN_OK;
    }
    release(b);
    return CAIRN_NO_MEMORY;
}

static bool has_to_be_kept(const key_change *c, uint64_t newest_open) {
    return newest_open != 0 && (c->erase || c->needed || newest_open > c->snapshot);
}

void overlay_absorbed(overlay *o, overlay_batch *b, uint64_t newest_open, uint64_t last_given) {
    os_mutex_lock(&o->lock);
    settle(o);
    for (size_t i = 0; i < b->count; i++) {
        key_change *c = b->taken[i];
        if (c->changed) {
            enqueue(o, c);
            continue;
        }
        note_not_pending(o, c);
        if (has_to_be_kept(c, newest_open)) {
            c->state = KEPT;
            c->snapshot = last_given;
            TAILQ_INSERT_TAIL(&o->kept, c, link);
        } else {
            forget(o, c);
        }
    }
    os_mutex_unlock(&o->lock);
    release(b);
}

void overlay_give_back(overlay *o, overlay_batch *b) {
    os_mutex_lock(&o->lock);
    for (size_t i = 0; i < b->count; i++) {
        b->taken[i]->needed = true; /* some of it may have been absorbed */
        enqueue(o, b->taken[i]);
    }
    os_mutex_unlock(&o->lock);
    release(b);
}

void overlay_sweep(overlay *o, uint64_t oldest_open) {
    if (atomic_load(&o->count) == 0) return;
    os_mutex_lock(&o->lock);
    for (key_change *c; (c = TAILQ_FIRST(&o->kept)) != NULL && c->snapshot < oldest_open;) {
        TAILQ_REMOVE(&o->kept, c, link);
        forget(o, c);
    }
    os_mutex_unlock(&o->lock);
}

void overlay_clear(overlay *o) {
    os_mutex_lock(&o->lock);
    settle(o);
    for (key_change *c = RB_MIN(change_tree, &o->tree), *next; c != NULL; c = next) {
        next = step(c, false);
        if (c->state != KEPT) note_not_pending(o, c);
        forget(o, c);
    }
    TAILQ_INIT(&o->waiting);
    TAILQ_INIT(&o->kept);
    os_mutex_unlock(&o->lock);
}

uint64_t overlay_pending(const overlay *o) { return atomic_load_explicit(&o->pending, memory_order_relaxed); }
uint64_t overlay_pending_bytes(const overlay *o) {
    return atomic_load_explicit(&o->pending_bytes, memory_order_relaxed);
}
uint64_t overlay_bytes(const overlay *o) { return atomic_load_explicit(&o->bytes, memory_order_relaxed); }

/* ---- Walking ---- */

static key_change *first(overlay *o, const key_bound *start, bool reverse) {
    key_change probe = {.key = start->bytes, .size = start->size};
    if (start->bytes == NULL) return reverse ? RB_MAX(change_tree, &o->tree) : RB_MIN(change_tree, &o->tree);
    key_change *c = RB_NFIND(change_tree, &o->tree, &probe);
    if (c != NULL && compare(c, &probe) == 0) return start->exclusive ? step(c, reverse) : c;
    if (!reverse) return c;
    return c == NULL ? RB_MAX(change_tree, &o->tree) : step(c, true);
}

static bool add(overlay_page *page, const key_change *c, size_t *used) {
    if (*used + c->size > page->capacity) return false;
    memcpy(page->bytes + *used, c->key, c->size);
    page->keys[page->count++] = (overlay_key){page->bytes + *used, c->size, c->erase};
    *used += c->size;
    return true;
}

int overlay_list(overlay *o, const key_bound *start, const key_bound *end, bool reverse, overlay_page *page) {
    size_t used = 0;
    page->count = 0;
    page->more = false;
    if (atomic_load(&o->count) == 0) return CAIRN_OK;
    if (page->bytes == NULL) {
        page->bytes = malloc(PAGE_BYTES);
        if (page->bytes == NULL) return CAIRN_NO_MEMORY;
        page->capacity = PAGE_BYTES; /* of any key, so that a page has at least one */
    }
    os_mutex_lock(&o->lock);
    settle(o);
    for (key_change *c = first(o, start, reverse); c != NULL; c = step(c, reverse)) {
        if (key_bound_passed(end, reverse, c->key, c->size)) break;
        page->more = page->count == OVERLAY_PAGE_KEYS || !add(page, c, &used);
        if (page->more) break;
    }
    os_mutex_unlock(&o->lock);
    return CAIRN_OK;
}

void overlay_page_release(overlay_page *page) {
    free(page->bytes);
    page->bytes = NULL;
}

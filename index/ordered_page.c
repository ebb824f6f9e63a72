/* A walk within a page; see ordered_walk.h. The page is one that was checked, or that LMDB has written since; but what
 * a device may have made of it meanwhile is only an error here, never a read beyond it. */
#include "index/ordered_walk.h"
#include "src/os/os_memory.h"

#define AHEAD 16u /* nodes: their place in a page is that of their making, which no processor foresees */

/* The node's key, when that is one record. */
static bool key_at(const walk_page *p, unsigned i, lmdb_key *key) {
    size_t place = lmdb_node_place(p->bytes, i);
    if (place > p->size - LMDB_NODE_HEAD) return false;
    *key = lmdb_node_get(p->bytes, i).key;
    return key->size <= p->size - LMDB_NODE_HEAD - place && walk_size_is_whole(key->size);
}

/* Node and key, or the beginning of it. */
static void bring_nearer(const walk_page *p, unsigned i) {
    if (i >= p->count) return;
    const uint8_t *node = p->bytes + (lmdb_node_place(p->bytes, i) & (p->size - 1));
    __builtin_prefetch(node);
    __builtin_prefetch(node + 32);
}

/* Which node the walk stands on: after a step from the page before, that at the edge. */
static bool find_node(const walk *w, walk_page *p) {
    size_t place = (size_t)(w->key - p->bytes) - LMDB_NODE_HEAD;
    unsigned edge = w->reverse ? p->count - 1 : 0;
    for (p->at = edge; lmdb_node_place(p->bytes, p->at) != place; p->at = w->reverse ? p->at - 1 : p->at + 1) {
        if (p->at + 1 == (w->reverse ? 1 : p->count)) return false;
    }
    return true;
}

/* LMDB maps its file at the start of a page of the machine, so that its own pages begin where their size divides the
 * address, unless they are larger than those of the machine; and so do those that are read one by one. */
bool walk_page_enter(const walk *w, walk_page *p) {
    if (w->level > 0 || w->key == w->joined || w->env->page_bytes > os_page_bytes()) return false;
    p->size = w->env->page_bytes;
    p->bytes = w->key - ((uintptr_t)w->key & (p->size - 1));
    size_t lower = le16_get(p->bytes + 12), at = (size_t)(w->key - p->bytes);
    if (le16_get(p->bytes + 10) != LMDB_LEAF || lower <= LMDB_PAGE_HEAD || lower > p->size) return false;
    p->count = lmdb_page_count(p->bytes);
    return p->count > 0 && at >= LMDB_PAGE_HEAD + LMDB_NODE_HEAD && find_node(w, p);
}

bool walk_page_last(const walk *w, const walk_page *p, lmdb_key *key) {
    return key_at(p, w->reverse ? 0 : p->count - 1, key);
}

bool walk_page_next(const walk *w, walk_page *p, lmdb_key *key) {
    if (p->at == (w->reverse ? 0 : p->count - 1)) return false;
    unsigned next = w->reverse ? p->at - 1 : p->at + 1;
    bring_nearer(p, w->reverse ? p->at - AHEAD : p->at + AHEAD);
    if (!key_at(p, next, key)) return false;
    p->at = next;
    return true;
}

int walk_page_leave(walk *w, const walk_page *p) {
    lmdb_key key;
    MDB_val k, value;
    if (!key_at(p, p->at, &key)) return MDB_CORRUPTED;
    if (key.bytes == w->key) return 0;
    k = (MDB_val){key.size, (void *)key.bytes}; /* only read */
    int rc = walk_get(w, &k, &value, MDB_SET);
    if (rc != 0) return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    w->key = key.bytes;
    w->size = key.size;
    return 0;
}

/* The walk from key to key through the levels of the trie (ordered_tree.h), within one read transaction, or page by
 * page through a file that nobody writes. Functions return what LMDB does: 0, MDB_NOTFOUND, an errno or MDB_*. */
#ifndef CAIRN_INDEX_ORDERED_WALK_H
#define CAIRN_INDEX_ORDERED_WALK_H

#include "index/ordered_env.h"
#include "index/ordered_lmdb.h"
#include "index/ordered_pages.h"
#include "index/ordered_tree.h"

typedef struct walk {
    const ordered_env *env;
    MDB_txn *txn;             /* within a call, as the cursors */
    MDB_cursor *keys, *tails; /* that of the level stands on the level's record; `tails` NULL until a key has several */
    page_cursor *by_page;     /* both tables', in their place; or NULL */
    bool reverse;
    unsigned level;
    uint64_t sets[TREE_LEVELS]; /* of the levels up to this one */
    const uint8_t *key;         /* in its page, within a call, or `joined` */
    size_t size;
    uint8_t *joined; /* for a key of several chunks: ORDERED_KEY_MAX bytes once one was met, else NULL */
} walk;

/* Most keys are one record, of the first level. */
static inline bool walk_size_is_whole(size_t size) { return size < TREE_CHUNK_FIRST; }

/* As mdb_cursor_get does, of the level's table. */
int walk_get(const walk *w, MDB_val *key, MDB_val *value, MDB_cursor_op op);

int walk_start_at_edge(walk *w);
/* The first key from the bound on, in the walk's direction. */
int walk_start_at(walk *w, const uint8_t *bound, size_t size, bool exclusive);
/* The next key. MDB_NOTFOUND: that was the last one. */
int walk_step(walk *w);

/* The page that a walk stands in, read without LMDB, whose own step costs more than all else that a walk does for a
 * key. Only keys that are one record are read so. */
typedef struct walk_page {
    const uint8_t *bytes;
    size_t size;
    unsigned count, at; /* of its nodes, and the number of the one that the walk stands on */
} walk_page;

/* false: there is no such page, and steps have to do. */
bool walk_page_enter(const walk *w, walk_page *p);
/* The last key in the page in the walk's direction, where the walk may come to it; false: it is none that is one
 * record. */
bool walk_page_last(const walk *w, const walk_page *p, lmdb_key *key);
/* The next key in the page; false: what comes next, if anything, is found by a step. */
bool walk_page_next(const walk *w, walk_page *p, lmdb_key *key);
/* Brings the walk to where the page is. */
int walk_page_leave(walk *w, const walk_page *p);

#endif

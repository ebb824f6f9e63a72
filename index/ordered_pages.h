/* Walking a tree of the ordered index without LMDB, from a file that is not known to be sound as a whole: each page
 * that is met is judged by its checksum (ordered_sums.h) and by its form. Nobody writes the file meanwhile. */
#ifndef CAIRN_INDEX_ORDERED_PAGES_H
#define CAIRN_INDEX_ORDERED_PAGES_H

#include "index/key_range.h"
#include "index/ordered_sums.h"

#include <lmdb.h>
#include <stdatomic.h>

/* Where pages come from. */
typedef struct page_source {
    os_file *file;
    size_t page_bytes;
    page_sums *sums; /* NULL: no page can be judged */
    /* What reading leaves has cost so far. One that was not asked for before it is read has to be waited for. */
    _Atomic uint64_t cost;
} page_source;

#define PAGE_COST_AWAITED 8u
#define PAGE_COST_ASKED 1u

typedef struct page_cursor {
    page_source *source;
    lmdb_tree tree;
    bool reverse;         /* where it will mostly go */
    const key_bound *end; /* and how far; NULL: not known. Both are hints */
    uint8_t *pages;       /* NULL until one is read; one a level of the tree, each at a multiple of its size */
    uint16_t *extents;
    uint64_t numbers[LMDB_DEPTH_MAX]; /* of the pages; 0: none */
    unsigned at[LMDB_DEPTH_MAX];      /* the node that the cursor stands on, or below */
    unsigned leaves_in_a_row;         /* entered one behind the other */
    unsigned leaves_expected; /* may be set at any time: so many will follow the one that is gone to, probably */
    unsigned asked;           /* in front of the last one */
} page_cursor;

/* No memory before the first use. The source and the end outlive the cursor. */
void page_cursor_open(page_cursor *c, page_source *source, const lmdb_tree *tree, bool reverse, const key_bound *end);
void page_cursor_close(page_cursor *c);

/* As mdb_cursor_get does, of what is in a tree of records: MDB_FIRST, MDB_LAST, MDB_NEXT and MDB_PREV, MDB_SET and
 * MDB_SET_RANGE. Key and value are the cursor's, until its next use. MDB_NOTFOUND; MDB_CORRUPTED: a page does not fit,
 * or cannot be read; ENOMEM. After a failure of any kind only MDB_FIRST, MDB_LAST and the last two may follow. */
int page_cursor_get(page_cursor *c, MDB_val *key, MDB_val *value, MDB_cursor_op op);

#endif

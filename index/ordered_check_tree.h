/* Of the check of the ordered index's file: one tree of LMDB's, every page of it. */
#ifndef CAIRN_INDEX_ORDERED_CHECK_TREE_H
#define CAIRN_INDEX_ORDERED_CHECK_TREE_H

#include "index/ordered_lmdb.h"

typedef struct file_check {
    os_file *file;
    cairn_error *error; /* may be NULL */
    lmdb_meta head;
    uint8_t *claimed;  /* a bit for each page: something is on it */
    uint8_t *pages;    /* room for one on each level of a tree */
    uint8_t *beside;   /* and for one more, behind them */
    uint16_t *extents; /* room for lmdb_page_wrong */
} file_check;

int file_check_begin(file_check *c, os_file *file, cairn_error *error); /* to be ended in any case */
void file_check_end(file_check *c);

/* Says that these pages are used, or are known to be free. CAIRN_CORRUPT: there are none such, or one of them was
 * claimed before. */
int file_check_claim(file_check *c, uint64_t first, uint64_t count);
static inline int file_check_failed(const file_check *c, const char *what) { return lmdb_damaged(c->error, what); }

/* What a tree's entries must be. */
typedef struct tree_rules {
    bool integer_keys;
    int (*entry)(void *ctx, const lmdb_node *node); /* CAIRN_OK or the code */
    void *ctx;
} tree_rules;

/* The pages are in order, and as many as the tree says; each entry has passed the rules. Overflow pages are the rules'
 * business, which count them in *overflow. */
int tree_check_run(file_check *c, const lmdb_tree *tree, const tree_rules *rules, const uint64_t *overflow);

#endif

/* The file of LMDB 0.9, as far as it is read here without LMDB: that of this machine's byte order, for 64 bits.
 *
 * A page has a head of 16 bytes: its number (8), unused (2), its kind (2), and `lower` and `upper` (2 each). From the
 * head to `lower` are the places of its nodes, 2 bytes each, in the order of their keys; from `upper` to its end are
 * the nodes, in any order, without gaps, each an even number of bytes. A node has a head of 8 bytes, its key and its
 * data:
 *
 *     branch: number of the page below (6), length of the key (2); no data
 *     leaf: length of the data (4), flags (2), length of the key (2)
 *
 * Where LMDB_NODE_BIG is set, 8 bytes stand for the data: the number of the first of the pages that it fills, which
 * has a head, with the number of those pages (4) in the place of `lower` and `upper`. */
#ifndef CAIRN_INDEX_ORDERED_LMDB_H
#define CAIRN_INDEX_ORDERED_LMDB_H

#include "include/cairn.h"
#include "src/base/codec.h"
#include "src/os/os.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LMDB_PAGE_BYTES_MIN 512u
#define LMDB_PAGE_BYTES_MAX 32768u
#define LMDB_PAGE_HEAD 16u
#define LMDB_NODE_HEAD 8u
#define LMDB_KEY_MAX 511u
#define LMDB_DEPTH_MAX 32u
#define LMDB_FIRST_PAGE 2u /* behind the head of the file */
#define LMDB_ROOT_NONE UINT64_MAX

enum { LMDB_BRANCH = 1, LMDB_LEAF = 2, LMDB_OVERFLOW = 4, LMDB_HEAD = 8 }; /* kinds of pages */
enum { LMDB_NODE_BIG = 1, LMDB_NODE_TREE = 2 };                            /* flags of nodes in leaves */

#define LMDB_INTEGER_KEYS 8u /* flag of a tree */
#define LMDB_TREE_BYTES 48u

typedef struct lmdb_tree {
    unsigned flags, depth;
    uint64_t branches, leaves, overflow, entries, root;
} lmdb_tree;

typedef struct lmdb_meta {
    uint64_t page_bytes, map_bytes, last_page, transaction;
    uint64_t sum; /* checksum of all this, and of what else LMDB wrote of it */
    lmdb_tree free, main;
} lmdb_meta;

/* What an opening finds: the newest half of the head, and the two tables of records. */
typedef struct lmdb_trees {
    lmdb_meta head;
    lmdb_tree keys, tails;
} lmdb_trees;

/* Looks at the bytes of the head that LMDB would trust: CAIRN_OK or CAIRN_CORRUPT (or CAIRN_IO). *meta: the newest half
 * of it. */
int ordered_head_check(os_file *file, lmdb_meta *meta, cairn_error *error);

lmdb_tree lmdb_tree_get(const uint8_t bytes[LMDB_TREE_BYTES]);
/* As far as that can be told without its pages, but for its flags. */
bool lmdb_tree_is_plausible(const lmdb_tree *t, uint64_t last_page);

/* All of it; else CAIRN_CORRUPT, or CAIRN_IO. */
int lmdb_read(os_file *file, void *bytes, size_t size, uint64_t offset, cairn_error *error);
int lmdb_damaged(cairn_error *error, const char *what); /* CAIRN_CORRUPT */

/* What is wrong with a page of a tree, or NULL: then all of its nodes lie in it, and lmdb_node_get may be used.
 * `extents` is room for page_bytes / 2 numbers. */
const char *lmdb_page_wrong(const uint8_t *page, size_t page_bytes, uint64_t number, unsigned kind, uint16_t *extents);

static inline unsigned lmdb_page_count(const uint8_t *page) { return (le16_get(page + 12) - LMDB_PAGE_HEAD) / 2; }

static inline size_t lmdb_node_place(const uint8_t *page, size_t i) { return le16_get(page + LMDB_PAGE_HEAD + 2 * i); }

typedef struct lmdb_key {
    const uint8_t *bytes;
    size_t size;
} lmdb_key;

typedef struct lmdb_node {
    lmdb_key key;
    uint64_t child; /* in a branch */
    unsigned flags; /* in a leaf */
    const uint8_t *data;
    uint32_t data_size; /* also where the data is somewhere else */
} lmdb_node;

static inline lmdb_node lmdb_node_get(const uint8_t *page, unsigned i) {
    const uint8_t *p = page + lmdb_node_place(page, i);
    size_t key_size = le16_get(p + 6);
    return (lmdb_node){.key = {p + LMDB_NODE_HEAD, key_size},
                       .child = le32_get(p) | (uint64_t)le16_get(p + 4) << 32,
                       .flags = le16_get(p + 4),
                       .data = p + LMDB_NODE_HEAD + key_size,
                       .data_size = le32_get(p)};
}

#endif

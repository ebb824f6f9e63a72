#include "index/ordered_lmdb.h"

#include "src/base/check.h"
#include "src/base/status.h"

int lmdb_damaged(cairn_error *error, const char *what) {
    return status_set(error, CAIRN_CORRUPT, "the ordered index is damaged: %s", what);
}

int lmdb_read(os_file *file, void *bytes, size_t size, uint64_t offset, cairn_error *error) {
    size_t got;
    int rc = os_file_read(file, bytes, size, offset, &got);
    if (rc != 0) return status_os(error, rc, "cannot read the ordered index");
    return got == size ? CAIRN_OK : lmdb_damaged(error, "it ends too early");
}

lmdb_tree lmdb_tree_get(const uint8_t p[LMDB_TREE_BYTES]) {
    return (lmdb_tree){.flags = le16_get(p + 4),
                       .depth = le16_get(p + 6),
                       .branches = le64_get(p + 8),
                       .leaves = le64_get(p + 16),
                       .overflow = le64_get(p + 24),
                       .entries = le64_get(p + 32),
                       .root = le64_get(p + 40)};
}

bool lmdb_tree_is_plausible(const lmdb_tree *t, uint64_t last_page) {
    if (t->root == LMDB_ROOT_NONE) return t->depth == 0 && t->branches == 0 && t->leaves == 0 && t->entries == 0;
    return t->root >= LMDB_FIRST_PAGE && t->root <= last_page && t->depth >= 1 && t->depth <= LMDB_DEPTH_MAX &&
           t->entries > 0 && t->leaves >= 1 && t->leaves <= last_page && t->branches <= last_page &&
           t->overflow <= last_page && (t->depth == 1) == (t->branches == 0);
}

/* ---- A page ---- */

/* Bytes of the node that begins there; 0: it does not lie in the page. */
static size_t node_bytes(const uint8_t *page, size_t page_bytes, size_t at, bool in_leaf) {
    if (at % 2 != 0 || at + LMDB_NODE_HEAD > page_bytes) return 0;
    const uint8_t *p = page + at;
    uint64_t size = LMDB_NODE_HEAD + (uint64_t)le16_get(p + 6);
    if (in_leaf) size += (le16_get(p + 4) & LMDB_NODE_BIG) != 0 ? 8 : le32_get(p);
    size = round_up(size, 2);
    return size <= page_bytes - at ? size : 0;
}

/* Whether the nodes fill what is from `upper` on, none of them twice. */
static bool nodes_tile(const uint8_t *page, size_t page_bytes, size_t upper, bool in_leaf, uint16_t *extents) {
    unsigned count = lmdb_page_count(page), met = 0;
    memset(extents, 0, page_bytes / 2 * sizeof *extents);
    for (unsigned i = 0; i < count; i++) {
        size_t at = lmdb_node_place(page, i), size = node_bytes(page, page_bytes, at, in_leaf);
        if (at < upper || size == 0) return false;
        extents[at / 2] = (uint16_t)(size / 2);
    }
    for (size_t at = upper; at < page_bytes; at += 2 * (size_t)extents[at / 2], met++)
        if (extents[at / 2] == 0) return false;
    return met == count;
}

const char *lmdb_page_wrong(const uint8_t *page, size_t page_bytes, uint64_t number, unsigned kind, uint16_t *extents) {
    size_t lower = le16_get(page + 12), upper = le16_get(page + 14);
    if (le64_get(page) != number) return "a page has another's number";
    if (le16_get(page + 10) != kind) return "a page is of another kind";
    if (lower <= LMDB_PAGE_HEAD || lower > upper || upper > page_bytes || lower % 2 != 0 || upper % 2 != 0) {
        return "a page has impossible bounds";
    }
    if (!nodes_tile(page, page_bytes, upper, kind == LMDB_LEAF, extents)) return "the nodes of a page do not fit it";
    return kind == LMDB_BRANCH && lmdb_page_count(page) < 2 ? "a branch does not branch" : NULL;
}

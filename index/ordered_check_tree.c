#include "index/ordered_check_tree.h"

#include "index/key_range.h"
#include "src/base/status.h"

#include <stdlib.h>

typedef struct tree_check {
    file_check *c;
    const lmdb_tree *tree; /* as it should be */
    const tree_rules *rules;
    uint64_t branches, leaves, entries; /* met so far */
} tree_check;

int file_check_begin(file_check *c, os_file *file, cairn_error *error) {
    *c = (file_check){.file = file, .error = error};
    int code = ordered_head_check(file, &c->head, error);
    if (code != CAIRN_OK) return code;
    size_t page_bytes = c->head.page_bytes;
    c->claimed = calloc(c->head.last_page / 8 + 1, 1);
    c->pages = malloc((LMDB_DEPTH_MAX + 1) * page_bytes);
    c->extents = malloc(page_bytes / 2 * sizeof *c->extents);
    if (c->pages != NULL) c->beside = c->pages + LMDB_DEPTH_MAX * page_bytes;
    bool has_all = c->claimed != NULL && c->pages != NULL && c->extents != NULL;
    return has_all ? CAIRN_OK : status_set(error, CAIRN_NO_MEMORY, "no memory to check the ordered index");
}

void file_check_end(file_check *c) {
    free(c->claimed);
    free(c->pages);
    free(c->extents);
}

int file_check_claim(file_check *c, uint64_t first, uint64_t count) {
    uint64_t last = c->head.last_page;
    if (first < LMDB_FIRST_PAGE || first > last || count > last - first + 1) {
        return file_check_failed(c, "it names pages that are not there");
    }
    for (uint64_t i = first; i < first + count; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        if (c->claimed[i / 8] & bit) return file_check_failed(c, "a page is in two places");
        c->claimed[i / 8] |= bit;
    }
    return CAIRN_OK;
}

/* ---- Keys ---- */

static bool is_key(const tree_check *t, lmdb_key k) {
    return t->rules->integer_keys ? k.size == 8 : k.size >= 1 && k.size <= LMDB_KEY_MAX;
}

static int compare(const tree_check *t, lmdb_key a, lmdb_key b) {
    if (!t->rules->integer_keys) return key_compare(a.bytes, a.size, b.bytes, b.size);
    uint64_t x = le64_get(a.bytes), y = le64_get(b.bytes);
    return (x > y) - (x < y);
}

/* Those of a page from `first` on: in order, not below `low`, below `high`. Bytes NULL: no bound. */
static bool keys_ascend(const tree_check *t, const uint8_t *page, unsigned first, lmdb_key low, lmdb_key high) {
    unsigned count = lmdb_page_count(page);
    lmdb_key before = low;
    for (unsigned i = first; i < count; i++) {
        lmdb_key key = lmdb_node_get(page, i).key;
        if (!is_key(t, key)) return false;
        int order = before.bytes == NULL ? 1 : compare(t, key, before);
        if (order < 0 || (order == 0 && i > first)) return false;
        before = key;
    }
    return high.bytes == NULL || compare(t, before, high) < 0;
}

/* ---- Pages ---- */

static int check_page(tree_check *t, unsigned level, uint64_t number, lmdb_key low, lmdb_key high);

static int check_leaf(tree_check *t, const uint8_t *page) {
    unsigned count = lmdb_page_count(page);
    int code = CAIRN_OK;
    t->leaves++;
    t->entries += count;
    for (unsigned i = 0; code == CAIRN_OK && i < count; i++) {
        lmdb_node node = lmdb_node_get(page, i);
        code = t->rules->entry(t->rules->ctx, &node);
    }
    return code;
}

/* The key of the first node means nothing: the bound from above stands for it. */
static int check_branch(tree_check *t, unsigned level, const uint8_t *page, lmdb_key low, lmdb_key high) {
    unsigned count = lmdb_page_count(page);
    int code = CAIRN_OK;
    t->branches++;
    for (unsigned i = 0; code == CAIRN_OK && i < count; i++) {
        lmdb_node node = lmdb_node_get(page, i);
        lmdb_key end = i + 1 < count ? lmdb_node_get(page, i + 1).key : high;
        code = check_page(t, level + 1, node.child, i == 0 ? low : node.key, end);
    }
    return code;
}

/* Goes down no further than the tree is deep, which is at most LMDB_DEPTH_MAX, and to each page of the file once. */
static int check_page(tree_check *t, unsigned level, uint64_t number, lmdb_key low, lmdb_key high) {
    file_check *c = t->c;
    uint64_t page_bytes = c->head.page_bytes;
    uint8_t *page = c->pages + level * page_bytes;
    bool is_leaf = level + 1 == t->tree->depth;
    int code = file_check_claim(c, number, 1);
    if (code == CAIRN_OK) code = lmdb_read(c->file, page, page_bytes, number * page_bytes, c->error);
    if (code != CAIRN_OK) return code;
    const char *wrong = lmdb_page_wrong(page, page_bytes, number, is_leaf ? LMDB_LEAF : LMDB_BRANCH, c->extents);
    if (wrong != NULL) return file_check_failed(c, wrong);
    if (!keys_ascend(t, page, !is_leaf, low, high)) return file_check_failed(c, "keys of a page are out of order");
    return is_leaf ? check_leaf(t, page) : check_branch(t, level, page, low, high);
}

int tree_check_run(file_check *c, const lmdb_tree *tree, const tree_rules *rules, const uint64_t *overflow) {
    tree_check t = {.c = c, .tree = tree, .rules = rules};
    int code = CAIRN_OK;
    if (!lmdb_tree_is_plausible(tree, c->head.last_page)) return file_check_failed(c, "a tree's record makes no sense");
    if (tree->root != LMDB_ROOT_NONE) code = check_page(&t, 0, tree->root, (lmdb_key){0}, (lmdb_key){0});
    if (code != CAIRN_OK) return code;
    bool all = t.branches == tree->branches && t.leaves == tree->leaves && t.entries == tree->entries &&
               *overflow == tree->overflow;
    return all ? CAIRN_OK : file_check_failed(c, "a tree has more or less than its record says");
}

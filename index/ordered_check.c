#include "index/ordered_check.h"

#include "index/ordered_check_tree.h"
#include "index/ordered_tree.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/status.h"

#include <string.h>

enum { KEYS, TAILS, META, TABLES };

typedef struct index_check {
    file_check file;
    const ordered_meta *meta;
    lmdb_tree tables[TABLES];
    uint64_t overflow;               /* pages met beside the tree that is walked */
    unsigned level;                  /* 0 in `keys`, 1 in `tails`, for lengths of chunks */
    uint64_t referred, referred_sum; /* sets of tails that records name: how many, and what tells which */
    uint64_t sets, sets_sum;         /* those that are there */
    uint64_t set;                    /* the last one; 0: none */
    uint64_t sum;                    /* as in the meta record */
} index_check;

/* Checks the tree, whose entries have data within their pages, by a rule. */
static int check_tree(index_check *x, const lmdb_tree *tree, bool integer_keys,
                      int (*entry)(void *ctx, const lmdb_node *node)) {
    const tree_rules rules = {.integer_keys = integer_keys, .entry = entry, .ctx = x};
    x->overflow = 0;
    return tree_check_run(&x->file, tree, &rules, &x->overflow);
}

/* ---- The tree of tables ---- */

static int check_table(void *ctx, const lmdb_node *n) {
    static const char *const names[TABLES] = {[KEYS] = "keys", [TAILS] = "tails", [META] = "meta"};
    index_check *x = ctx;
    for (unsigned i = 0; i < TABLES; i++) {
        if (n->key.size != strlen(names[i]) || memcmp(n->key.bytes, names[i], n->key.size) != 0) continue;
        if (n->flags != LMDB_NODE_TREE || n->data_size != LMDB_TREE_BYTES) break;
        x->tables[i] = lmdb_tree_get(n->data);
        if (!lmdb_tree_is_plausible(&x->tables[i], x->file.head.last_page)) break;
        if (le32_get(n->data) == 0 && x->tables[i].flags == 0) return CAIRN_OK;
    }
    return file_check_failed(&x->file, "a table is none of ours");
}

static int check_meta(void *ctx, const lmdb_node *n) {
    index_check *x = ctx;
    bool fits = n->key.size == 4 && memcmp(n->key.bytes, "meta", 4) == 0 && n->flags == 0 && n->data_size >= 72;
    return fits ? CAIRN_OK : file_check_failed(&x->file, "it says nothing about itself");
}

/* Keys ascend, so that three entries with names of tables are those three. */
static int check_tables(index_check *x) {
    int code = check_tree(x, &x->file.head.main, false, check_table);
    if (code != CAIRN_OK) return code;
    if (x->file.head.main.entries != TABLES || x->tables[META].entries != 1) {
        return file_check_failed(&x->file, "its tables are not those it should have");
    }
    return check_tree(x, &x->tables[META], false, check_meta);
}

/* ---- Keys ---- */

static uint64_t trace_of(uint64_t set) { return checksum(&set, sizeof set, 0); }

/* A record that goes on names a set, which is above its own. */
static int check_reference(index_check *x, const lmdb_node *n) {
    uint64_t below = n->data_size == 8 ? le64_get(n->data) : 0;
    if (below <= x->set || below > x->meta->last_tail) return file_check_failed(&x->file, "a key goes on nowhere");
    x->referred++;
    x->referred_sum += trace_of(below);
    return CAIRN_OK;
}

/* See index/FORMAT.md for what records there are. */
static int check_record(void *ctx, const lmdb_node *n) {
    index_check *x = ctx;
    size_t head = tree_level_head(x->level), chunk = tree_level_chunk(x->level);
    size_t size = n->key.size - head;
    x->sum += tree_record_trace(x->level, n->key.bytes, n->key.size);
    if (n->flags != 0 || size == chunk) return file_check_failed(&x->file, "a record is none");
    if (size > chunk) {
        uint8_t last = n->key.bytes[head + chunk];
        if (last == 1) return check_reference(x, n);
        if (last != 0) return file_check_failed(&x->file, "a record is none");
    }
    return n->data_size == 0 ? CAIRN_OK : file_check_failed(&x->file, "a key has a value");
}

static int check_tail(void *ctx, const lmdb_node *n) {
    index_check *x = ctx;
    uint64_t set = 0;
    if (n->key.size <= TREE_TAIL_HEAD) return file_check_failed(&x->file, "a record is none");
    for (unsigned i = 0; i < TREE_TAIL_HEAD; i++)
        set = set << 8 | n->key.bytes[i];
    if (set != x->set) {
        x->set = set;
        x->sets++;
        x->sets_sum += trace_of(set);
    }
    return check_record(x, n);
}

/* Every set hangs on one record, and every key has one record that does not go on. Which sets there are is compared by
 * the sum of their traces: they are too many to be remembered. */
static int check_keys(index_check *x) {
    const lmdb_tree *keys = &x->tables[KEYS], *tails = &x->tables[TAILS];
    int code = check_tree(x, keys, false, check_record);
    x->level = 1;
    if (code == CAIRN_OK) code = check_tree(x, tails, false, check_tail);
    if (code != CAIRN_OK) return code;
    if (x->referred != x->sets || x->referred_sum != x->sets_sum) {
        return file_check_failed(&x->file, "the ends of long keys are not where they should be");
    }
    bool all = keys->entries + tails->entries - x->referred == x->meta->keys;
    if (!all) return file_check_failed(&x->file, "it has not as many keys as it says");
    return x->sum == x->meta->sum ? CAIRN_OK : file_check_failed(&x->file, "it has not the keys that were put in");
}

/* ---- Free pages ---- */

/* A list of pages: their number, and then they, descending. There may be room behind it. */
typedef struct page_list {
    uint64_t left, before;
} page_list;

static int take_pages(index_check *x, page_list *l, const uint8_t *bytes, size_t size) {
    int code = CAIRN_OK;
    for (size_t at = 0; code == CAIRN_OK && l->left > 0 && at < size; at += 8, l->left--) {
        uint64_t page = le64_get(bytes + at);
        if (page >= l->before) return file_check_failed(&x->file, "free pages are out of order");
        l->before = page;
        code = file_check_claim(&x->file, page, 1);
    }
    return code;
}

static int begin_list(const index_check *x, page_list *l, uint64_t count, uint64_t bytes) {
    *l = (page_list){.left = count, .before = x->file.head.last_page + 1};
    if (bytes % 8 == 0 && count <= bytes / 8 - 1) return CAIRN_OK;
    return file_check_failed(&x->file, "a list of free pages does not fit");
}

/* A list on pages of its own, which may be more than it needs. */
static int take_far_list(index_check *x, const lmdb_node *n) {
    file_check *c = &x->file;
    uint64_t page_bytes = c->head.page_bytes, first = le64_get(n->data), left = n->data_size;
    uint8_t *buffer = c->beside;
    page_list list;
    int code = file_check_claim(c, first, 1);
    if (code == CAIRN_OK) code = lmdb_read(c->file, buffer, LMDB_PAGE_HEAD + 8, first * page_bytes, c->error);
    if (code != CAIRN_OK) return code;
    uint64_t pages = le32_get(buffer + 12), at = first * page_bytes + LMDB_PAGE_HEAD;
    if (le64_get(buffer) != first || le16_get(buffer + 10) != LMDB_OVERFLOW || left < 8 ||
        pages * page_bytes < LMDB_PAGE_HEAD + left) {
        return file_check_failed(c, "a list of free pages does not fit");
    }
    x->overflow += pages;
    code = pages > 1 ? file_check_claim(c, first + 1, pages - 1) : CAIRN_OK;
    if (code == CAIRN_OK) code = begin_list(x, &list, le64_get(buffer + LMDB_PAGE_HEAD), left);
    for (at += 8, left -= 8; code == CAIRN_OK && left > 0 && list.left > 0;) {
        size_t size = min_u64(left, page_bytes);
        code = lmdb_read(c->file, buffer, size, at, c->error);
        if (code == CAIRN_OK) code = take_pages(x, &list, buffer, size);
        at += size;
        left -= size;
    }
    return code;
}

static int check_free(void *ctx, const lmdb_node *n) {
    index_check *x = ctx;
    page_list list;
    uint64_t transaction = le64_get(n->key.bytes);
    if (transaction == 0 || transaction > x->file.head.transaction) {
        return file_check_failed(&x->file, "pages were freed by a commit that was not");
    }
    if (n->flags == LMDB_NODE_BIG) return take_far_list(x, n);
    if (n->flags != 0 || n->data_size < 8) return file_check_failed(&x->file, "a list of free pages does not fit");
    int code = begin_list(x, &list, le64_get(n->data), n->data_size);
    return code == CAIRN_OK ? take_pages(x, &list, n->data + 8, n->data_size - 8) : code;
}

/* ---- The file ---- */

int ordered_check_opening(os_file *file, lmdb_trees *trees, cairn_error *error) {
    index_check x = {0};
    int code = file_check_begin(&x.file, file, error);
    if (code == CAIRN_OK) code = check_tables(&x);
    if (code == CAIRN_OK) *trees = (lmdb_trees){.head = x.file.head, .keys = x.tables[KEYS], .tails = x.tables[TAILS]};
    file_check_end(&x.file);
    return code;
}

int ordered_check_all(os_file *file, const ordered_meta *meta, cairn_error *error) {
    index_check x = {.meta = meta};
    int code = file_check_begin(&x.file, file, error);
    /* Its pages are met in the order of keys, which may be any order of pages. */
    if (code == CAIRN_OK) os_file_will_need(file, 0, (x.file.head.last_page + 1) * x.file.head.page_bytes);
    if (code == CAIRN_OK) code = check_tables(&x);
    if (code == CAIRN_OK) code = check_keys(&x);
    if (code == CAIRN_OK) code = check_tree(&x, &x.file.head.free, true, check_free);
    file_check_end(&x.file);
    return code;
}

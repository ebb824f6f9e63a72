#include "index/ordered_pages.h"

#include "src/base/check.h"

#include <errno.h>
#include <stdlib.h>

#define AHEAD_MAX 32u /* leaves */

void page_cursor_open(page_cursor *c, page_source *source, const lmdb_tree *tree, bool reverse, const key_bound *end) {
    *c = (page_cursor){.source = source, .tree = *tree, .reverse = reverse, .end = end};
}

void page_cursor_close(page_cursor *c) {
    free(c->pages);
    free(c->extents);
    *c = (page_cursor){0};
}

/* ---- Pages ---- */

static bool make_room(page_cursor *c) {
    size_t page_bytes = c->source->page_bytes;
    if (c->pages == NULL) c->pages = aligned_alloc(page_bytes, c->tree.depth * page_bytes);
    if (c->extents == NULL) c->extents = malloc(page_bytes / 2 * sizeof *c->extents);
    return c->pages != NULL && c->extents != NULL;
}

static uint8_t *page_of(const page_cursor *c, unsigned level) { return c->pages + level * c->source->page_bytes; }
static unsigned leaf_level(const page_cursor *c) { return c->tree.depth - 1; }
static unsigned count_of(const page_cursor *c, unsigned level) { return lmdb_page_count(page_of(c, level)); }

/* Has the page on its level. Its form is looked at as well, so that nothing that is read here, whoever made it, leads
 * out of the page. */
static int load(page_cursor *c, unsigned level, uint64_t number) {
    page_source *s = c->source;
    uint8_t *page = page_of(c, level);
    bool is_leaf = level == leaf_level(c);
    if (c->numbers[level] == number) return 0;
    c->numbers[level] = 0;
    if (number < LMDB_FIRST_PAGE || number >= s->sums->count) return MDB_CORRUPTED;
    if (lmdb_read(s->file, page, s->page_bytes, number * s->page_bytes, NULL) != CAIRN_OK ||
        !page_sums_fit(s->sums, number, page, s->page_bytes) ||
        lmdb_page_wrong(page, s->page_bytes, number, is_leaf ? LMDB_LEAF : LMDB_BRANCH, c->extents) != NULL) {
        return MDB_CORRUPTED;
    }
    c->numbers[level] = number;
    return 0;
}

/* ---- Leaves ---- */

/* Of the nodes above the leaves: whether all that lies below this one is beyond the end. */
static bool is_beyond_end(const page_cursor *c, unsigned node) {
    if (c->end == NULL || c->end->bytes == NULL) return false;
    unsigned edge = c->reverse ? node + 1 : node; /* what is below a node lies before the key of the next one */
    lmdb_key key = lmdb_node_get(page_of(c, leaf_level(c) - 1), edge).key;
    return key_bound_passed(c->end, c->reverse, key.bytes, key.size);
}

/* A walk from leaf to leaf would wait for one after the other. So those that it will come to are asked for, as far as
 * that is known, and more of them the further it has come. */
static void ask_ahead(page_cursor *c) {
    const page_source *s = c->source;
    unsigned above = leaf_level(c) - 1, count = count_of(c, above), at = c->at[above];
    unsigned row = c->leaves_in_a_row, wanted = row > c->leaves_expected / 2 ? 2 * row : c->leaves_expected;
    if (wanted > AHEAD_MAX) wanted = AHEAD_MAX;
    for (; c->asked < wanted; c->asked++) {
        unsigned next = c->reverse ? at - 1 - c->asked : at + 1 + c->asked; /* below 0 is above `count` */
        if (next >= count || is_beyond_end(c, next)) return;
        os_file_will_need(s->file, lmdb_node_get(page_of(c, above), next).child * s->page_bytes, s->page_bytes);
    }
}

/* The leaf below the node that the cursor stands on. goes_on: in the walk's direction, behind the last leaf. */
static int enter_leaf(page_cursor *c, bool goes_on) {
    unsigned leaf = leaf_level(c);
    if (leaf == 0) return load(c, leaf, c->tree.root);
    uint64_t number = lmdb_node_get(page_of(c, leaf - 1), c->at[leaf - 1]).child;
    if (number == c->numbers[leaf]) return 0;
    bool was_asked = goes_on && c->asked > 0;
    unsigned cost = was_asked ? PAGE_COST_ASKED : PAGE_COST_AWAITED;
    atomic_fetch_add_explicit(&c->source->cost, cost, memory_order_relaxed);
    c->leaves_in_a_row = goes_on ? c->leaves_in_a_row + 1 : 0;
    c->asked = was_asked ? c->asked - 1 : 0;
    ask_ahead(c);
    return load(c, leaf, number);
}

/* ---- Going from page to page ---- */

/* From the node that the level stands on to the first leaf below it, or the last one, and its first or last node. */
static int descend_at_edge(page_cursor *c, unsigned level, bool last, bool goes_on) {
    int rc = 0;
    for (; rc == 0 && level < leaf_level(c); level++) {
        uint64_t number = lmdb_node_get(page_of(c, level), c->at[level]).child;
        rc = level + 1 < leaf_level(c) ? load(c, level + 1, number) : enter_leaf(c, goes_on);
        if (rc == 0) c->at[level + 1] = last ? count_of(c, level + 1) - 1 : 0;
    }
    return rc;
}

static int go_to_edge(page_cursor *c, bool last) {
    int rc = load(c, 0, c->tree.root);
    if (rc != 0) return rc;
    c->at[0] = last ? count_of(c, 0) - 1 : 0;
    return descend_at_edge(c, 0, last, false);
}

static int go_on(page_cursor *c, int step) {
    unsigned leaf = leaf_level(c), level = leaf;
    while (c->at[level] == (step > 0 ? count_of(c, level) - 1 : 0)) {
        if (level == 0) return MDB_NOTFOUND;
        level--;
    }
    c->at[level] += (unsigned)step;
    if (level == leaf) return 0;
    if (level + 1 < leaf) c->asked = 0; /* another page above the leaves */
    return descend_at_edge(c, level, step < 0, (step < 0) == c->reverse);
}

/* The first node from `first` on whose key is not below, or, `above`, which is above; or the count. */
static unsigned find(const uint8_t *page, unsigned first, lmdb_key key, bool above) {
    unsigned end = lmdb_page_count(page);
    while (first < end) {
        unsigned middle = first + (end - first) / 2;
        lmdb_key met = lmdb_node_get(page, middle).key;
        int order = key_compare(met.bytes, met.size, key.bytes, key.size);
        if (order < 0 || (above && order == 0)) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

/* To the first record that is not below the key. */
static int go_to(page_cursor *c, lmdb_key key) {
    unsigned leaf = leaf_level(c);
    uint64_t number = c->tree.root;
    for (unsigned level = 0; level < leaf; level++) {
        int rc = load(c, level, number);
        if (rc != 0) return rc;
        c->at[level] = find(page_of(c, level), 1, key, true) - 1; /* the key of the first node means nothing */
        number = lmdb_node_get(page_of(c, level), c->at[level]).child;
    }
    int rc = enter_leaf(c, false);
    if (rc != 0) return rc;
    c->at[leaf] = find(page_of(c, leaf), 0, key, false);
    if (c->at[leaf] < count_of(c, leaf)) return 0;
    c->at[leaf]--;
    return go_on(c, 1);
}

/* ---- Records ---- */

/* No record of ours has data on other pages, or is a table. */
static int take(const page_cursor *c, MDB_val *key, MDB_val *value) {
    lmdb_node node = lmdb_node_get(page_of(c, leaf_level(c)), c->at[leaf_level(c)]);
    if (node.flags != 0) return MDB_CORRUPTED;
    *key = (MDB_val){node.key.size, (void *)node.key.bytes}; /* only read */
    *value = (MDB_val){node.data_size, (void *)node.data};
    return 0;
}

static int go(page_cursor *c, MDB_val key, MDB_cursor_op op) {
    switch (op) {
    case MDB_FIRST:
        return go_to_edge(c, false);
    case MDB_LAST:
        return go_to_edge(c, true);
    case MDB_NEXT:
        return go_on(c, 1);
    case MDB_PREV:
        return go_on(c, -1);
    default:
        CHECK(op == MDB_SET || op == MDB_SET_RANGE);
        return go_to(c, (lmdb_key){key.mv_data, key.mv_size});
    }
}

int page_cursor_get(page_cursor *c, MDB_val *key, MDB_val *value, MDB_cursor_op op) {
    if (c->tree.root == LMDB_ROOT_NONE) return MDB_NOTFOUND;
    if (!make_room(c)) return ENOMEM;
    MDB_val wanted = *key;
    int rc = go(c, wanted, op);
    if (rc == 0) rc = take(c, key, value);
    bool is_it =
        rc != 0 || op != MDB_SET || key_compare(key->mv_data, key->mv_size, wanted.mv_data, wanted.mv_size) == 0;
    return is_it ? rc : MDB_NOTFOUND;
}

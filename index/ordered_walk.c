#include "index/ordered_walk.h"

#include "index/ordered_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int walk_get(const walk *w, MDB_val *key, MDB_val *value, MDB_cursor_op op) {
    if (w->by_page != NULL) return page_cursor_get(&w->by_page[w->level > 0], key, value, op);
    return mdb_cursor_get(w->level == 0 ? w->keys : w->tails, key, value, op);
}

static bool is_in_set(const walk *w, MDB_val key) {
    tree_record head;
    tree_record_make(&head, w->level, w->sets[w->level], NULL, 0);
    return key.mv_size > head.size && memcmp(key.mv_data, head.bytes, head.size) == 0;
}

/* Moves the level's cursor; MDB_NOTFOUND when that leaves the level's set. */
static int move(walk *w, MDB_cursor_op op, MDB_val *key, MDB_val *value) {
    int rc = walk_get(w, key, value, op);
    return rc == 0 && w->level > 0 && !is_in_set(w, *key) ? MDB_NOTFOUND : rc;
}

/* The record before those from `from` on, where the level's cursor was set by MDB_SET_RANGE with result `rc`. */
static int move_before(walk *w, int rc, MDB_val *key, MDB_val *value) {
    return move(w, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV, key, value);
}

/* The first record of the level's set, or the last one in reverse. */
static int move_to_edge(walk *w, MDB_val *key, MDB_val *value) {
    tree_record r;
    if (w->level == 0) return move(w, w->reverse ? MDB_LAST : MDB_FIRST, key, value);
    tree_record_make(&r, w->level, w->sets[w->level] + w->reverse, NULL, 0);
    *key = tree_record_key(&r);
    if (!w->reverse) return move(w, MDB_SET_RANGE, key, value);
    int rc = walk_get(w, key, value, MDB_SET_RANGE);
    return rc == 0 || rc == MDB_NOTFOUND ? move_before(w, rc, key, value) : rc;
}

/* Takes the chunk of a record into the joined key, and goes a level down when the key goes on. */
static int join(walk *w, MDB_val key, MDB_val value, bool *goes_on) {
    size_t head = tree_level_head(w->level), chunk = tree_level_chunk(w->level), at = tree_level_at(w->level);
    const uint8_t *bytes = (const uint8_t *)key.mv_data + head;
    size_t size = key.mv_size - head;
    *goes_on = false;
    if (size >= chunk) {
        if (size != chunk + 1 || bytes[chunk] > 1) return MDB_CORRUPTED;
        *goes_on = bytes[chunk];
        size = chunk;
    }
    if (size > ORDERED_KEY_MAX - at) return MDB_CORRUPTED;
    if (w->joined == NULL && (w->joined = malloc(ORDERED_KEY_MAX)) == NULL) return ENOMEM;
    memcpy(w->joined + at, bytes, size);
    w->key = w->joined;
    w->size = at + size;
    if (!*goes_on) return 0;
    if (w->level + 1 == TREE_LEVELS) return MDB_CORRUPTED;
    int rc = tree_set_get(value, w->sets[w->level], &w->sets[w->level + 1]);
    bool by_lmdb = w->by_page == NULL;
    if (rc == 0 && by_lmdb && w->tails == NULL) rc = mdb_cursor_open(w->txn, w->env->tails, &w->tails);
    if (rc == 0) w->level++;
    return rc;
}

/* These stay where they are. */
static bool is_whole(const walk *w, MDB_val key) { return w->level == 0 && walk_size_is_whole(key.mv_size); }

static int take(walk *w, MDB_val key, MDB_val value, bool *goes_on) {
    if (!is_whole(w, key)) return join(w, key, value, goes_on);
    *goes_on = false;
    w->key = key.mv_data;
    w->size = key.mv_size;
    return 0;
}

/* From a record to the first key in it, or the last one in reverse. */
static int descend(walk *w, MDB_val key, MDB_val value) {
    for (;;) {
        bool goes_on;
        int rc = take(w, key, value, &goes_on);
        if (rc != 0 || !goes_on) return rc;
        rc = move_to_edge(w, &key, &value);
        if (rc != 0) return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
}

/* Back to the record that this level's set hangs on. MDB_NOTFOUND: there is none. */
static int ascend(walk *w) {
    tree_record r;
    MDB_val value;
    if (w->level == 0) return MDB_NOTFOUND;
    w->level--;
    tree_record_make(&r, w->level, w->sets[w->level], w->joined + tree_level_at(w->level),
                     tree_level_chunk(w->level) + 1);
    MDB_val key = tree_record_key(&r);
    int rc = walk_get(w, &key, &value, MDB_SET);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* The next key, for where one of the two has several chunks. */
static int step_through_levels(walk *w, int rc, MDB_val key, MDB_val value) {
    for (;;) {
        if (rc == 0) return descend(w, key, value);
        if (rc != MDB_NOTFOUND || (rc = ascend(w)) != 0) return rc;
        rc = move(w, w->reverse ? MDB_PREV : MDB_NEXT, &key, &value);
    }
}

int walk_step(walk *w) {
    MDB_val key, value;
    int rc = move(w, w->reverse ? MDB_PREV : MDB_NEXT, &key, &value);
    if (rc != 0 || !is_whole(w, key)) return step_through_levels(w, rc, key, value);
    w->key = key.mv_data;
    w->size = key.mv_size;
    return 0;
}

int walk_start_at_edge(walk *w) {
    MDB_val key, value;
    w->level = 0;
    int rc = move_to_edge(w, &key, &value);
    return rc == 0 ? descend(w, key, value) : rc;
}

int walk_start_at(walk *w, const uint8_t *bound, size_t size, bool exclusive) {
    w->level = 0;
    for (;;) {
        tree_record r;
        MDB_val value;
        size_t at = tree_level_at(w->level);
        tree_record_make(&r, w->level, w->sets[w->level], bound + at, size - at);
        MDB_val key = tree_record_key(&r);
        if (r.size == 0) { /* the empty key, to which LMDB cannot go, lies before all others */
            return w->reverse ? MDB_NOTFOUND : walk_start_at_edge(w);
        }
        int rc = walk_get(w, &key, &value, MDB_SET_RANGE);
        if (rc != 0 && rc != MDB_NOTFOUND) return rc;
        if (rc == 0 && key.mv_size == r.size && memcmp(key.mv_data, r.bytes, r.size) == 0) {
            bool goes_on;
            if ((rc = take(w, key, value, &goes_on)) != 0) return rc;
            if (goes_on) continue;
            return exclusive ? walk_step(w) : 0;
        }
        if (w->reverse) {
            rc = move_before(w, rc, &key, &value);
        } else if (rc == 0 && w->level > 0 && !is_in_set(w, key)) {
            rc = MDB_NOTFOUND;
        }
        if (rc == 0) return descend(w, key, value);
        if (rc != MDB_NOTFOUND || (rc = ascend(w)) != 0) return rc;
        return walk_step(w);
    }
}

/* Walking: a cursor seeks anew in each call, behind the last key that it gave. Within a call it goes from key to key
 * through the levels of the trie. */
#include "index/ordered_state.h"
#include "index/ordered_tree.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_USUAL 128u /* longer ones make a batch of fewer keys */

/* ---- From key to key ---- */

typedef struct walk {
    const ordered_env *env;
    MDB_txn *txn;             /* within a call, as the cursors */
    MDB_cursor *keys, *tails; /* that of the level stands on the level's record; `tails` NULL until a key has several */
    bool reverse;
    unsigned level;
    uint64_t sets[TREE_LEVELS]; /* of the levels up to this one */
    const uint8_t *key;         /* LMDB's own bytes within a call, or `joined` */
    size_t size;
    uint8_t *joined; /* for a key of several chunks: ORDERED_KEY_MAX bytes once one was met, else NULL */
} walk;

static MDB_cursor *cursor_of(const walk *w) { return w->level == 0 ? w->keys : w->tails; }

static bool is_in_set(const walk *w, MDB_val key) {
    tree_record head;
    tree_record_make(&head, w->level, w->sets[w->level], NULL, 0);
    return key.mv_size > head.size && memcmp(key.mv_data, head.bytes, head.size) == 0;
}

/* Moves the level's cursor; MDB_NOTFOUND when that leaves the level's set. */
static int move(walk *w, MDB_cursor_op op, MDB_val *key, MDB_val *value) {
    int rc = mdb_cursor_get(cursor_of(w), key, value, op);
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
    int rc = mdb_cursor_get(w->tails, key, value, MDB_SET_RANGE);
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
    if (rc == 0 && w->tails == NULL) rc = mdb_cursor_open(w->txn, w->env->tails, &w->tails);
    if (rc == 0) w->level++;
    return rc;
}

/* Most keys are a record of the first level by themselves: these stay where they are. */
static bool is_whole(const walk *w, MDB_val key) { return w->level == 0 && key.mv_size < TREE_CHUNK_FIRST; }

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
    int rc = mdb_cursor_get(cursor_of(w), &key, &value, MDB_SET);
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

/* The next key. MDB_NOTFOUND: that was the last one. */
static int step(walk *w) {
    MDB_val key, value;
    int rc = move(w, w->reverse ? MDB_PREV : MDB_NEXT, &key, &value);
    if (rc != 0 || !is_whole(w, key)) return step_through_levels(w, rc, key, value);
    w->key = key.mv_data;
    w->size = key.mv_size;
    return 0;
}

static int start_at_edge(walk *w) {
    MDB_val key, value;
    w->level = 0;
    int rc = move_to_edge(w, &key, &value);
    return rc == 0 ? descend(w, key, value) : rc;
}

/* The first key from the bound on, in the walk's direction. */
static int start_at(walk *w, const uint8_t *bound, size_t size, bool exclusive) {
    w->level = 0;
    for (;;) {
        tree_record r;
        MDB_val value;
        size_t at = tree_level_at(w->level);
        tree_record_make(&r, w->level, w->sets[w->level], bound + at, size - at);
        MDB_val key = tree_record_key(&r);
        if (r.size == 0) { /* the empty key, to which LMDB cannot go, lies before all others */
            return w->reverse ? MDB_NOTFOUND : start_at_edge(w);
        }
        int rc = mdb_cursor_get(cursor_of(w), &key, &value, MDB_SET_RANGE);
        if (rc != 0 && rc != MDB_NOTFOUND) return rc;
        if (rc == 0 && key.mv_size == r.size && memcmp(key.mv_data, r.bytes, r.size) == 0) {
            bool goes_on;
            if ((rc = take(w, key, value, &goes_on)) != 0) return rc;
            if (goes_on) continue;
            return exclusive ? step(w) : 0;
        }
        if (w->reverse) {
            rc = move_before(w, rc, &key, &value);
        } else if (rc == 0 && w->level > 0 && !is_in_set(w, key)) {
            rc = MDB_NOTFOUND;
        }
        if (rc == 0) return descend(w, key, value);
        if (rc != MDB_NOTFOUND || (rc = ascend(w)) != 0) return rc;
        return step(w);
    }
}

/* ---- Cursors ---- */

struct ordered_cursor {
    ordered *index;
    key_bound start, end; /* in the walk's direction; `start` becomes the last key given */
    bool done;
    walk walk;
    ordered_key *keys; /* of the batch */
    size_t count, keys_capacity;
    uint8_t *bytes; /* of these keys */
    size_t used, bytes_capacity;
};

int ordered_cursor_open(ordered_cursor **out, ordered *o, const key_range *range, cairn_error *error) {
    ordered_cursor *c = calloc(1, sizeof *c);
    if (c == NULL || key_range_bounds(range, &c->start, &c->end) != CAIRN_OK) {
        free(c);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a walk through the ordered index");
    }
    c->index = o;
    c->walk.env = &o->env;
    c->walk.reverse = range->reverse;
    *out = c;
    return CAIRN_OK;
}

void ordered_cursor_close(ordered_cursor *c) {
    if (c == NULL) return;
    key_bound_release(&c->start);
    key_bound_release(&c->end);
    free(c->walk.joined);
    free(c->keys);
    free(c->bytes);
    free(c);
}

/* Memory for a batch that is empty. */
static int make_room(ordered_cursor *c, size_t keys, size_t bytes) {
    if (c->keys_capacity < keys) {
        free(c->keys);
        c->keys = malloc(keys * sizeof *c->keys);
        c->keys_capacity = c->keys != NULL ? keys : 0;
    }
    if (c->bytes_capacity < bytes) {
        free(c->bytes);
        c->bytes = malloc(bytes);
        c->bytes_capacity = c->bytes != NULL ? bytes : 0;
    }
    return c->keys != NULL && c->bytes != NULL ? 0 : ENOMEM;
}

static int start(ordered_cursor *c) {
    if (c->start.bytes == NULL) return start_at_edge(&c->walk);
    return start_at(&c->walk, c->start.bytes, c->start.size, c->start.exclusive);
}

/* Whether the key that the walk stands on lies behind the one before it, or behind the start. */
static bool is_behind(const ordered_cursor *c) {
    const walk *w = &c->walk;
    if (c->count > 0) {
        const ordered_key *last = &c->keys[c->count - 1];
        int order = memcmp(w->key, last->bytes, min_u64(w->size, last->size));
        if (order == 0) order = (w->size > last->size) - (w->size < last->size);
        return w->reverse ? order < 0 : order > 0;
    }
    key_bound before = c->start;
    before.exclusive = !before.exclusive; /* what is behind it begins after, or with, it */
    return before.bytes == NULL || key_bound_passed(&before, w->reverse, w->key, w->size);
}

static bool is_beyond_end(const ordered_cursor *c) {
    return c->end.bytes != NULL && key_bound_passed(&c->end, c->walk.reverse, c->walk.key, c->walk.size);
}

/* Until the batch is full: of `max` keys, or its memory of bytes, which takes at least one key. */
static int collect(ordered_cursor *c, size_t max) {
    walk *w = &c->walk;
    int rc = start(c);
    while (rc == 0 && !is_beyond_end(c)) {
        if (!is_behind(c)) return MDB_CORRUPTED;
        if (w->size > c->bytes_capacity - c->used) {
            if (c->count > 0) return 0;
            if ((rc = make_room(c, max, w->size)) != 0) return rc;
        }
        uint8_t *bytes = c->bytes + c->used;
        memcpy(bytes, w->key, w->size);
        c->keys[c->count++] = (ordered_key){bytes, w->size};
        c->used += w->size;
        if (c->count == max) return 0;
        rc = step(w);
    }
    return rc == 0 ? MDB_NOTFOUND : rc;
}

static int collect_in_transaction(ordered_cursor *c, size_t max) {
    walk *w = &c->walk;
    w->keys = w->tails = NULL;
    int rc = mdb_txn_begin(w->env->env, NULL, MDB_RDONLY, &w->txn);
    if (rc != 0) return rc;
    rc = mdb_cursor_open(w->txn, w->env->keys, &w->keys);
    if (rc == 0) rc = collect(c, max);
    if (w->tails != NULL) mdb_cursor_close(w->tails);
    if (w->keys != NULL) mdb_cursor_close(w->keys);
    mdb_txn_abort(w->txn);
    return rc;
}

/* So that the next call goes on behind the last key. */
static int move_start(ordered_cursor *c) {
    const ordered_key *last = &c->keys[c->count - 1];
    return key_bound_set(&c->start, last->bytes, last->size, true);
}

int ordered_next(ordered_cursor *c, size_t max, const ordered_key **keys, size_t *count, cairn_error *error) {
    CHECK(max > 0);
    if (c->done) return CAIRN_DONE;
    int code = ordered_enter(c->index, error);
    if (code != CAIRN_OK) return code;
    max = min_u64(max, ORDERED_BATCH_KEYS);
    c->count = c->used = 0;
    int rc = make_room(c, max, min_u64(max * KEY_BYTES_USUAL, ORDERED_BATCH_BYTES));
    if (rc == 0) rc = collect_in_transaction(c, max);
    ordered_leave(c->index);
    if (rc != 0 && rc != MDB_NOTFOUND) return ordered_status(error, rc, "cannot walk");
    if (rc == 0 && move_start(c) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory to go on in the ordered index");
    }
    c->done = rc == MDB_NOTFOUND;
    if (c->count == 0) return CAIRN_DONE;
    *keys = c->keys;
    *count = c->count;
    return CAIRN_OK;
}

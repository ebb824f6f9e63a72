/* Cursors: each call seeks anew, behind the last key that the call before gave. */
#include "index/ordered_state.h"
#include "index/ordered_walk.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_FULL (-1)      /* no rc of LMDB */
#define KEYS_A_LEAF 32u      /* at least, mostly */
#define KEY_BYTES_USUAL 128u /* longer ones make a batch of fewer keys */

struct ordered_cursor {
    ordered *index;
    key_bound start, end; /* in the walk's direction; `start` becomes the last key given */
    bool done;
    walk walk;
    ordered_key *keys; /* of the batch */
    size_t count, keys_capacity;
    uint8_t *bytes; /* of these keys */
    size_t used, bytes_capacity;
    page_cursor by_page[2]; /* of keys and tails */
};

int ordered_cursor_open(ordered_cursor **out, ordered *o, const key_range *range, cairn_error *error) {
    ordered_cursor *c = calloc(1, sizeof *c);
    if (c == NULL || key_range_bounds(range, &c->start, &c->end) != CAIRN_OK) {
        free(c);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a walk through the ordered index");
    }
    c->index = o;
    c->walk.env = &o->env;
    page_cursor_open(&c->by_page[0], &o->pages, &o->env.found.keys, range->reverse, &c->end);
    page_cursor_open(&c->by_page[1], &o->pages, &o->env.found.tails, range->reverse, NULL);
    c->walk.reverse = range->reverse;
    *out = c;
    return CAIRN_OK;
}

void ordered_cursor_close(ordered_cursor *c) {
    if (c == NULL) return;
    key_bound_release(&c->start);
    key_bound_release(&c->end);
    page_cursor_close(&c->by_page[0]);
    page_cursor_close(&c->by_page[1]);
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
    if (c->start.bytes == NULL) return walk_start_at_edge(&c->walk);
    return walk_start_at(&c->walk, c->start.bytes, c->start.size, c->start.exclusive);
}

static bool is_beyond_end(const ordered_cursor *c, lmdb_key key) {
    return c->end.bytes != NULL && key_bound_passed(&c->end, c->walk.reverse, key.bytes, key.size);
}

static bool is_behind_start(const ordered_cursor *c, lmdb_key key) {
    key_bound before = c->start;
    before.exclusive = !before.exclusive; /* what is behind it begins after, or with, it */
    return before.bytes == NULL || key_bound_passed(&before, c->walk.reverse, key.bytes, key.size);
}

static bool is_behind(const ordered_cursor *c, lmdb_key key, lmdb_key last) {
    int order = key_compare(key.bytes, key.size, last.bytes, last.size);
    return c->walk.reverse ? order < 0 : order > 0;
}

/* A batch is full with `max` keys, or when its memory of bytes is, which takes at least one key. */
static int add(ordered_cursor *c, size_t max, lmdb_key key) {
    if (key.size > c->bytes_capacity - c->used) {
        if (c->count > 0) return BATCH_FULL;
        int rc = make_room(c, max, key.size);
        if (rc != 0) return rc;
    }
    uint8_t *bytes = c->bytes + c->used;
    memcpy(bytes, key.bytes, key.size);
    c->keys[c->count++] = (ordered_key){bytes, key.size};
    c->used += key.size;
    return c->count == max ? BATCH_FULL : 0;
}

/* The key that the walk has come to by a step. */
static int add_stepped(ordered_cursor *c, size_t max) {
    lmdb_key key = {c->walk.key, c->walk.size};
    if (is_beyond_end(c, key)) return MDB_NOTFOUND;
    const ordered_key *last = c->count > 0 ? &c->keys[c->count - 1] : NULL;
    bool behind = last == NULL ? is_behind_start(c, key) : is_behind(c, key, (lmdb_key){last->bytes, last->size});
    return behind ? add(c, max, key) : MDB_CORRUPTED;
}

/* What follows in the page. Mostly the end lies behind all of it, so that no key needs to be compared with that. Each
 * is compared with the one before where that lies, since its copy has just been written. */
static int add_page(ordered_cursor *c, size_t max) {
    walk_page page;
    lmdb_key key, last = {c->walk.key, c->walk.size};
    int rc = 0;
    if (!walk_page_enter(&c->walk, &page)) return 0;
    bool may_end = c->end.bytes != NULL && (!walk_page_last(&c->walk, &page, &key) || is_beyond_end(c, key));
    for (; rc == 0 && walk_page_next(&c->walk, &page, &key); last = key) {
        if (may_end && is_beyond_end(c, key)) return MDB_NOTFOUND;
        rc = is_behind(c, key, last) ? add(c, max, key) : MDB_CORRUPTED;
    }
    return rc == 0 ? walk_page_leave(&c->walk, &page) : rc;
}

/* Until the batch is full, or nothing follows. */
static int collect(ordered_cursor *c, size_t max) {
    int rc = start(c);
    while (rc == 0) {
        rc = add_stepped(c, max);
        if (rc == 0) rc = add_page(c, max);
        if (rc == 0) rc = walk_step(&c->walk);
    }
    return rc == BATCH_FULL ? 0 : rc;
}

static int collect_by_page(ordered_cursor *c, size_t max) {
    c->by_page[0].leaves_expected = (unsigned)max / KEYS_A_LEAF;
    c->walk.by_page = c->by_page;
    int rc = collect(c, max);
    c->walk.by_page = NULL;
    return rc;
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

/* What fails page by page is tried once more behind the check of the whole file, which says what is wrong. */
static int next_batch(ordered_cursor *c, size_t max, cairn_error *error) {
    for (;;) {
        bool by_page;
        int code = ordered_enter(c->index, &by_page, error);
        if (code != CAIRN_OK) return code;
        c->count = c->used = 0;
        int rc = make_room(c, max, min_u64(max * KEY_BYTES_USUAL, ORDERED_BATCH_BYTES));
        if (rc == 0) rc = by_page ? collect_by_page(c, max) : collect_in_transaction(c, max);
        bool failed = rc != 0 && rc != MDB_NOTFOUND;
        if (failed && by_page) ordered_distrust(c->index);
        ordered_leave(c->index, by_page);
        c->done = rc == MDB_NOTFOUND;
        if (!failed) return CAIRN_OK;
        if (!by_page) return ordered_status(error, rc, "cannot walk");
    }
}

int ordered_next(ordered_cursor *c, size_t max, const ordered_key **keys, size_t *count, cairn_error *error) {
    CHECK(max > 0);
    if (c->done) return CAIRN_DONE;
    int code = next_batch(c, min_u64(max, ORDERED_BATCH_KEYS), error);
    if (code != CAIRN_OK) return code;
    if (!c->done && move_start(c) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory to go on in the ordered index");
    }
    if (c->count == 0) return CAIRN_DONE;
    *keys = c->keys;
    *count = c->count;
    return CAIRN_OK;
}

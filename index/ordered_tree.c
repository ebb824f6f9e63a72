#include "index/ordered_tree.h"

#include "src/base/codec.h"

#include <string.h>

_Static_assert(TREE_CHUNK_FIRST == 510 && TREE_CHUNK_NEXT == 502, "lengths of chunks are part of the format");

static void set_put(uint8_t *p, uint64_t set) {
    for (unsigned i = 0; i < TREE_TAIL_HEAD; i++)
        p[i] = (uint8_t)(set >> (56 - 8 * i));
}

void tree_record_make(tree_record *r, unsigned level, uint64_t set, const uint8_t *rest, size_t rest_size) {
    size_t chunk = tree_level_chunk(level), head = tree_level_head(level), size = min_u64(rest_size, chunk);
    if (level > 0) set_put(r->bytes, set);
    if (size > 0) memcpy(r->bytes + head, rest, size);
    r->size = head + size;
    r->goes_on = rest_size > chunk;
    if (rest_size >= chunk) r->bytes[r->size++] = r->goes_on;
}

int tree_set_get(MDB_val value, uint64_t parent, uint64_t *set) {
    if (value.mv_size != 8) return MDB_CORRUPTED;
    *set = le64_get(value.mv_data);
    return *set > parent ? 0 : MDB_CORRUPTED;
}

/* ---- Changes ---- */

typedef struct change_run {
    const ordered_env *e;
    MDB_txn *txn;
    ordered_meta *meta;
    bool append;
} change_run;

static void record_of(tree_record *r, unsigned level, uint64_t set, const ordered_change *c) {
    size_t at = tree_level_at(level);
    tree_record_make(r, level, set, (const uint8_t *)c->key + at, c->size - at);
}

static int put(change_run *run, unsigned level, tree_record *r, MDB_val value) {
    MDB_val key = tree_record_key(r), present = value;
    if (level == 0 && run->append) {
        int rc = mdb_put(run->txn, run->e->keys, &key, &value, MDB_APPEND);
        if (rc != MDB_KEYEXIST) return rc;
        run->append = false;
    }
    return mdb_put(run->txn, tree_level_table(run->e, level), &key, &present, MDB_NOOVERWRITE);
}

static int put_new(change_run *run, unsigned level, tree_record *r, MDB_val value) {
    int rc = put(run, level, r, value);
    if (rc == 0) run->meta->sum += tree_record_trace(level, r->bytes, r->size);
    return rc;
}

static int insert(change_run *run, const ordered_change *c) {
    uint64_t set = 0;
    for (unsigned level = 0;; level++) {
        tree_record r;
        record_of(&r, level, set, c);
        if (!r.goes_on) {
            int rc = put_new(run, level, &r, (MDB_val){0, NULL});
            if (rc == 0) run->meta->keys++;
            return rc == MDB_KEYEXIST ? 0 : rc;
        }
        MDB_val key = tree_record_key(&r), value;
        uint64_t below = 0;
        int rc = mdb_get(run->txn, tree_level_table(run->e, level), &key, &value);
        if (rc == MDB_NOTFOUND) {
            uint8_t number[8];
            below = ++run->meta->last_tail;
            le64_put(number, below);
            rc = put_new(run, level, &r, (MDB_val){sizeof number, number});
        } else if (rc == 0) {
            rc = tree_set_get(value, set, &below);
        }
        if (rc != 0) return rc;
        set = below;
    }
}

/* 0 when the set is empty, MDB_KEYEXIST when it is not. */
static int look_for_tails(change_run *run, uint64_t set) {
    MDB_cursor *cursor;
    uint8_t head[TREE_TAIL_HEAD];
    MDB_val key = {sizeof head, head}, value;
    set_put(head, set);
    int rc = mdb_cursor_open(run->txn, run->e->tails, &cursor);
    if (rc != 0) return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc == 0 && memcmp(key.mv_data, head, min_u64(key.mv_size, sizeof head)) == 0) rc = MDB_KEYEXIST;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int erase_record(change_run *run, unsigned level, uint64_t set, const ordered_change *c) {
    tree_record r;
    record_of(&r, level, set, c);
    MDB_val key = tree_record_key(&r);
    int rc = mdb_del(run->txn, tree_level_table(run->e, level), &key, NULL);
    if (rc == 0) run->meta->sum -= tree_record_trace(level, r.bytes, r.size);
    return rc;
}

/* From the last record up, as far as sets of tails become empty. */
static int erase(change_run *run, const ordered_change *c) {
    uint64_t sets[TREE_LEVELS] = {0};
    unsigned level = 0;
    for (;; level++) {
        tree_record r;
        MDB_val value;
        record_of(&r, level, sets[level], c);
        MDB_val key = tree_record_key(&r);
        int rc = mdb_get(run->txn, tree_level_table(run->e, level), &key, &value);
        if (rc != 0) return rc == MDB_NOTFOUND ? 0 : rc;
        if (!r.goes_on) break;
        if ((rc = tree_set_get(value, sets[level], &sets[level + 1])) != 0) return rc;
    }
    run->meta->keys--;
    for (;;) {
        int rc = erase_record(run, level, sets[level], c);
        if (rc == 0 && level > 0) rc = look_for_tails(run, sets[level]);
        if (rc != 0 || level == 0) return rc == MDB_KEYEXIST ? 0 : rc;
        level--;
    }
}

size_t tree_commit_count(const ordered_change *changes, size_t count) {
    size_t n = 0, bytes = 0;
    while (n < count && n < TREE_COMMIT_CHANGES && bytes < TREE_COMMIT_BYTES)
        bytes += changes[n++].size;
    return n;
}

int tree_commit(const ordered_env *e, const ordered_change *changes, size_t count, bool append, ordered_meta *meta) {
    change_run run = {.e = e, .meta = meta, .append = append};
    int rc = mdb_txn_begin(e->env, NULL, 0, &run.txn);
    if (rc != 0) return rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        CHECK(changes[i].size >= 1 && changes[i].size <= ORDERED_KEY_MAX);
        rc = changes[i].erase ? erase(&run, &changes[i]) : insert(&run, &changes[i]);
    }
    if (rc == 0) rc = ordered_meta_store(e, run.txn, meta);
    if (rc == 0) return mdb_txn_commit(run.txn);
    mdb_txn_abort(run.txn);
    return rc;
}

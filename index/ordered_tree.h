/* Keys as records: a trie of chunks, so that keys longer than LMDB's keep their order. A level of the trie takes the
 * next chunk of a key, TREE_CHUNK_FIRST bytes and then TREE_CHUNK_NEXT a level. The records below one record form a set
 * of tails, which has a number, higher than that of the set that the record is in. Why the order is right:
 * index/FORMAT.md. */
#ifndef CAIRN_INDEX_ORDERED_TREE_H
#define CAIRN_INDEX_ORDERED_TREE_H

#include "index/ordered.h"
#include "index/ordered_env.h"
#include "src/base/check.h"
#include "src/base/checksum.h"

#define TREE_RECORD_MAX 511u
#define TREE_TAIL_HEAD 8u /* the number of the set */
#define TREE_CHUNK_FIRST (TREE_RECORD_MAX - 1)
#define TREE_CHUNK_NEXT (TREE_RECORD_MAX - 1 - TREE_TAIL_HEAD)
#define TREE_LEVELS (2 + (ORDERED_KEY_MAX - TREE_CHUNK_FIRST - 1) / TREE_CHUNK_NEXT)

/* What one commit may change, so that LMDB never has to spill pages of it. */
#define TREE_COMMIT_CHANGES 16384u
#define TREE_COMMIT_BYTES ((size_t)4 << 20)

typedef struct tree_record {
    uint8_t bytes[TREE_RECORD_MAX];
    size_t size;
    bool goes_on; /* in the set of tails that the record's value names */
} tree_record;

static inline size_t tree_level_at(unsigned level) {
    return level == 0 ? 0 : TREE_CHUNK_FIRST + (size_t)(level - 1) * TREE_CHUNK_NEXT;
}
static inline size_t tree_level_chunk(unsigned level) { return level == 0 ? TREE_CHUNK_FIRST : TREE_CHUNK_NEXT; }
static inline size_t tree_level_head(unsigned level) { return level == 0 ? 0 : TREE_TAIL_HEAD; }
static inline MDB_dbi tree_level_table(const ordered_env *e, unsigned level) { return level == 0 ? e->keys : e->tails; }

/* The record at a level of a key, of which `rest` are the bytes from that level on. `set` is 0 at the first level. */
void tree_record_make(tree_record *r, unsigned level, uint64_t set, const uint8_t *rest, size_t rest_size);
static inline MDB_val tree_record_key(tree_record *r) { return (MDB_val){r->size, r->bytes}; }

/* Of a record's key. What all records come to together is in the meta record, modulo 2^64, so that a key that has
 * become another one is noticed. */
static inline uint64_t tree_record_trace(unsigned level, const uint8_t *bytes, size_t size) {
    return checksum(bytes, size, level == 0 ? 1 : 2);
}

/* The set that a record's value names. MDB_CORRUPTED when it is not above `parent`. rc */
int tree_set_get(MDB_val value, uint64_t parent, uint64_t *set);

/* How many of the changes go into one commit: at least one, if there are any. */
size_t tree_commit_count(const ordered_change *changes, size_t count);
/* Changes and meta record in one commit; *meta is brought up to date. rc: on failure nothing has changed, but for
 * *meta. `append`: try each key as the highest first. */
int tree_commit(const ordered_env *e, const ordered_change *changes, size_t count, bool append, ordered_meta *meta);

#endif

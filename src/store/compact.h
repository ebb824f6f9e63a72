/* Compaction, for compact.c, space.c and move.c only: which segments are emptied, and how. One compaction at a time
 * (store->compact_lock).
 *
 *  - A *unit* is a set of sealed segments that are emptied together: what the index names of them is copied into new
 *    segments, in the order of versions; these are published; then the index is changed, one entry at a time under its
 *    stripe, from the old location to the new one, where it still has the old one. Nothing is written to the log for
 *    it: until the next checkpoint is durable, the old segments are there, and a crash goes back to them.
 *  - Then the unit waits to be removed (reclaim.c).
 *  - Segments of large records, for which holes do, may have much dead in short runs between what lives. They are
 *    *sieved*: only what is small is copied out of them, and holes are punched where it was. So a large value is not
 *    copied for the sake of its neighbours.
 */
#ifndef CAIRN_STORE_COMPACT_H
#define CAIRN_STORE_COMPACT_H

#include "src/store/store.h"
#include "vlog/compacted.h"

typedef struct compaction {
    cairn *store;
    cairn_compact_options options;
    cairn_compact_result result;
    cairn_progress progress;
    bool damaged;       /* segments were left alone */
    bool left;          /* victims were, to be chosen anew */
    bool in_background; /* gently, and until the store closes */
    uint64_t began_ns;  /* monotonic: for the rate; in the background when it last rested */
    uint64_t owed_ns;   /* of rest */
    uint64_t paced;     /* bytes since then */
    uint64_t copy_max;  /* bytes that there is room for at a time: a unit may be emptied in part; 0: all */
    bool stopped_short; /* it was, ... */
    uint64_t copy_from; /* ... up to this offset of its only segment; 0: from the beginning */
    bool sieves;        /* only what is small is copied, and the unit stays */
} compaction;

/* ---- space.c: what there is to gain, and where ---- */

/* How garbage stands against the bound. */
typedef struct store_space {
    uint64_t garbage; /* bytes of records and value files that nothing sees */
    uint64_t start;   /* from here on the store's own thread compacts */
    uint64_t bound;   /* of garbage, and of a copy that is under way */
    uint64_t room;    /* left for writers, with room for the next copy; 0: they wait */
    uint64_t wide;    /* room, where compaction starts */
    uint64_t narrow;  /* likewise, where writers are slowed */
    double large;     /* share of what is live that holes do for */
} store_space;
store_space store_space_get(cairn *store);
uint64_t space_slack(const cairn *store); /* what there may be on disk besides its share of the live bytes */

typedef struct victims {
    vlog_space *list; /* malloc'ed; the first `count` of what vlog_space_list gave */
    size_t count;
    size_t all; /* the others follow */
    uint64_t bytes, live;
} victims;

/* A segment of the append order that has places in [from, to). */
static inline bool space_is_between(const vlog_space *s, uint64_t from, uint64_t to) {
    return !s->compacted && s->end_place > from && s->first_place < to;
}

static inline uint64_t space_garbage(const vlog_space *s) {
    return s->bytes - min_u64(s->bytes, s->live + s->kept + s->gaps + s->edges);
}

/* Of a victim, vlog_space.batch is the lowest number of a batch that has its COMMIT in it and may have parts before it;
 * UINT64_MAX: there is none. */

/* Segments that may be emptied now, all of those with at least this share of garbage (`full`: any, tombstones too); or
 * the best ones until they come to `enough` bytes of it, or sieving does better than the next one. A segment with the
 * COMMIT of a batch stays while parts of the batch do. */
int victims_by_ratio(cairn *store, double ratio, bool full, victims *v, cairn_error *error);
int victims_by_benefit(cairn *store, uint64_t enough, victims *v, cairn_error *error);
/* Segments to be sieved, those with the largest share of scattered garbage first, with about so much that is live. */
int victims_by_scatter(cairn *store, uint64_t live, victims *v, cairn_error *error);
void victims_release(victims *v);

bool space_may_go(const cairn *store, const vlog_space *s, uint64_t replay_start);
/* The record of that entry is its key's newest. */
bool space_index_names(cairn *store, const segment *s, const footer_entry *e);

/* ---- holes.c: what is given back without a copy ---- */

/* The segment's records are large, so that holes do better for it than a copy of what is live. */
bool space_is_for_holes(const cairn *store, const vlog_space *s);
/* Punches holes into such segments that have at least this share of garbage, the worst first, until they come to
 * `enough` bytes, or those are all; *gained: to how many. */
int holes_punch(compaction *c, double ratio, uint64_t enough, uint64_t *gained, cairn_error *error);
/* The same for these, whatever they are, where what they had has moved. */
int holes_punch_moved(compaction *c, const vlog_space *list, size_t count, uint64_t *gained, cairn_error *error);

/* ---- move.c: one unit ---- */

/* Empties the first `count` segments of `v` from `from` on, and hands them to reclaim.c. CAIRN_CANCELLED: by the
 * callback, or the store is about to close; what was published so far stays moved. CAIRN_CORRUPT: a record that the
 * index names is damaged; its segment is left alone from now on. With c->copy_max and c->stopped_short, the unit stays
 * as it is, and is to be emptied again. With c->sieves it stays as it is too. */
int compaction_empty(compaction *c, const victims *v, size_t from, size_t count, cairn_error *error);

/* How much that would copy, about, and at most. */
int compaction_weigh(compaction *c, const victims *v, size_t from, size_t count, uint64_t *bytes, cairn_error *error);

/* ---- compact.c: pace ---- */

/* Bytes more were looked at: tells the callback, keeps to the rate. */
int compaction_advance(compaction *c, uint64_t bytes, cairn_error *error);
/* To be called every few microseconds of work, with nothing held that others wait for. In the background, every second
 * moment belongs to the others, fewer the nearer the bound is, and none where writers are slowed. Moments are short:
 * where all processors are busy, whoever wakes up to put something waits for the rest of one. */
void compaction_rest(compaction *c);

#endif

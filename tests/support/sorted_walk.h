/* A scan that is held against a moment of a sorted map, one key after the other, while the store goes on. */
#ifndef CAIRN_TESTS_SORTED_WALK_H
#define CAIRN_TESTS_SORTED_WALK_H

#include "tests/support/finding.h"
#include "tests/support/scan_query.h"

typedef struct sorted_walk {
    cairn_scan *scan; /* NULL: closed */
    scan_query query;
    sorted_map then;
    uint64_t now_ms;
    bool ordered;       /* else in any order */
    bool index_is_gone; /* dropped since: it may fail from now on, and then does so for good */
    bool failed;
    size_t next; /* ordered: keys that were passed, in its direction */
    uint64_t given;
    bool *seen; /* else: which keys were given */
} sorted_walk;

/* What the store is expected to say to the opening. */
typedef struct sorted_moment {
    const sorted_map *map;
    cairn_snapshot *snapshot; /* NULL: now */
    uint64_t now_ms;
    bool has_order; /* the index is there, and was at that moment */
} sorted_moment;

/* Takes over the query, also when nothing is opened. true: good; an opening that is rightly refused leaves `scan` NULL.
 */
bool sorted_walk_open(sorted_walk *w, cairn *store, const scan_query *query, const sorted_moment *moment, finding *f);
/* *more: false at the end. */
bool sorted_walk_next(sorted_walk *w, bool *more, finding *f);
bool sorted_walk_to_end(sorted_walk *w, finding *f);
void sorted_walk_close(sorted_walk *w); /* nothing when it is closed */

/* The keys of the moment that the query asks for, the limit counted. */
uint64_t sorted_moment_count(const sorted_moment *m, const cairn_scan_options *o);

#endif

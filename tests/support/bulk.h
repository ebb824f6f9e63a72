/* Values that fill segments of a sim_box quickly, five to each, and the ways in which a store comes back: for tests of
 * what is moved and given back. The values of a kind are KIND0, KIND1 and so on, each with content of its own. */
#ifndef CAIRN_TESTS_BULK_H
#define CAIRN_TESTS_BULK_H

#include "tests/support/sim_box.h"

#define BULK_BYTES ((size_t)200000)
#define BULK_WHOLE_BYTES (BULK_BYTES - 2 * 4096) /* in blocks of its own at least */

void bulk_key(char key[16], const char *kind, unsigned i);
void put_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);
void expect_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);
void delete_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);

/* Large values with small ones between, three of four of which are deleted: too many to leave them, in runs that are
 * too short for holes. Compaction that takes MIXED_RATIO of garbage sieves the small ones that live. */
#define MIXED_LARGE 20u
#define MIXED_SMALL 120u
#define MIXED_SMALL_BYTES ((size_t)4096)
#define MIXED_RATIO 0.06
void put_mixed(sim_box *b);
void expect_mixed(sim_box *b);

enum { AS_IT_IS, KILLED, REOPENED, CUT, REBUILT, WAYS };
void come_back(sim_box *b, int way);

#endif

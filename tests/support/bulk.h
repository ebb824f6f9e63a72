/* Values that fill segments of a sim_box quickly, five to each, and the ways in which a store comes back: for tests of
 * what is moved and given back. The values of a kind are KIND0, KIND1 and so on, each with content of its own. */
#ifndef CAIRN_TESTS_BULK_H
#define CAIRN_TESTS_BULK_H

#include "tests/support/sim_box.h"

#define BULK_BYTES ((size_t)200000)

void bulk_key(char key[16], const char *kind, unsigned i);
void put_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);
void expect_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);
void delete_bulk(sim_box *b, const char *kind, unsigned from, unsigned to);

enum { AS_IT_IS, KILLED, REOPENED, CUT, REBUILT, WAYS };
void come_back(sim_box *b, int way);

#endif

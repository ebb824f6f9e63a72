/* A store under a plan of failing allocations, what it should hold, and what one may do to it. */
#ifndef CAIRN_TESTS_STARVED_H
#define CAIRN_TESTS_STARVED_H

#include "tests/support/failing_memory.h"
#include "tests/support/finding.h"
#include "tests/support/specimen.h"

#define STARVED_KEYS (SPECIMEN_KEYS + 6) /* the specimen's, and some that are not in it */

typedef struct starved {
    const specimen *s;
    sim_disk *disk;
    cairn *store;
    uint64_t rng;
    specimen_key keys[STARVED_KEYS];
    specimen_value model[STARVED_KEYS]; /* bytes is NULL: absent */
    finding *f;
} starved;

/* On a copy of the specimen's disk, closed. */
void starved_init(starved *b, const specimen *s, uint64_t seed, finding *f);
void starved_open(starved *b);
/* After the failures: all is as the model says, now and after the store was closed or killed. Frees all. */
void starved_finish(starved *b, bool kill);

/* A call that memory may fail in, or one value written or read by several; gives the code of the first that failed. */
typedef struct act {
    const char *name;
    int (*run)(starved *b);
} act;
enum { ACT_PUT_NEW, ACT_PUT_MUCH, ACTS = 33 };
extern const act acts[ACTS];
extern const act act_growth; /* fills one shard of the index until its array is made of whole pages */
extern const act act_train;  /* on keys of 4 bytes besides the others, which it deletes */

/* The act, on an open store; fails in no other way than for want of memory. */
void starved_perform(starved *b, const act *a);

#endif

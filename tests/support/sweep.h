/* Power cuts, in every state that a history passes through, and what recovery makes of them.
 *
 * At each operation of the history's disk the disk is copied and crashed with several seeds, and killed once. Each
 * state that is new is opened and must hold an allowed row of the history, whole. Of some states recovery itself is cut
 * at each of its operations; from some the history goes on, past a roll of the segment, and is cut again; the others
 * are written to, closed, and looked at for what should not be there any more.
 */
#ifndef CAIRN_TESTS_SWEEP_H
#define CAIRN_TESTS_SWEEP_H

#include "tests/support/history.h"

/* Hashes: open addressing, 0 is a free slot. */
typedef struct hash_set {
    uint64_t *slots;
    size_t count, capacity;
} hash_set;

typedef struct sweep {
    /* Set by the caller. */
    finding *finding;
    const os *
        plant; /* calls that take the place of the disk\'s own (os_wrap.h) before a store is opened on it; NULL: none */
    unsigned crashes;       /* seeds at each operation */
    unsigned nested_one_in; /* states whose recovery is cut as well; 0: none */
    unsigned onward_one_in; /* states from which a second generation is written; 0: none */

    /* Kept. */
    uint64_t rng;
    hash_set seen;     /* states with what was allowed there: not examined twice */
    hash_set distinct; /* states */
    uint64_t examined, nested, onward, points;
} sweep;

/* Runs one history of that seed and sweeps it. False when something was found; the finding then tells all. */
bool sweep_history(sweep *s, uint64_t seed);
void sweep_release(sweep *s);

#endif

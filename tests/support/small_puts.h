/* Small values that are put one after another into a sim_box, and what stands behind the last of them in its file: for
 * tests of blocks that are written ahead. */
#ifndef CAIRN_TESTS_SMALL_PUTS_H
#define CAIRN_TESTS_SMALL_PUTS_H

#include "tests/support/sim_box.h"

#define SMALL_BYTES 1000u

void put_small(sim_box *b, unsigned from, unsigned to);
void expect_small(sim_box *b, unsigned from, unsigned to);

/* Of the segment that was made last: its size, and how many zeros end it. */
size_t newest_segment(const sim_box *b, size_t *zeros);
size_t zeros_ahead(const sim_box *b);

/* With `count` puts, and zeros behind them: a clean close cuts them off, and leaves nothing to repair; a store that was
 * killed comes back without a warning. */
void small_closes_without_zeros(sim_box *b, unsigned count);
void small_comes_back_quietly(sim_box *b, unsigned count);

/* Looks at what may be left at each operation of the box's disk: after a kill all that returned is there, after a power
 * cut all that is durable, and the store goes on. */
typedef struct small_sweep {
    const sim_box *box;
    unsigned returned, durable; /* puts: the test's, kept true before each operation */
    unsigned looks;             /* at so many of the last puts; verify reads all */
    uint64_t rng, operations;
} small_sweep;
void small_sweep_begin(small_sweep *s, sim_box *b);
void small_sweep_end(const small_sweep *s);

#endif

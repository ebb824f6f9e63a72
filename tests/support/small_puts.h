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

#endif

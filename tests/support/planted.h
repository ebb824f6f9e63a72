/* What the tests of planted bugs share: looking for one by power cuts, and saying what was found. */
#ifndef CAIRN_TESTS_PLANTED_H
#define CAIRN_TESTS_PLANTED_H

#include "tests/support/sweep.h"

/* Sweeps histories of the seeds from first_seed on, until something is found. `plant`: see struct sweep. */
void planted_sweep(const os *plant, uint64_t first_seed, uint64_t histories, finding *f);

/* Fails the test when nothing was found; prints the first line of what was. */
void planted_expect_found(const finding *f);
/* Skips the test where it is sanitized: sanitizers have nothing to look for with bugs that the tests without do not
 * show them. */
void planted_skip_sanitized(void);

#endif

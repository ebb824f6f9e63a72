/* Compaction of a sim_box by copies, also of large records, which else give their blocks back where they lie
 * (test_holes.c): here they are moved, as where no hole can be punched. */
#ifndef CAIRN_TESTS_MOVING_H
#define CAIRN_TESTS_MOVING_H

#include "tests/support/sim_box.h"

#define FILE_BYTES ((size_t)300000) /* of a value that has a file of its own */

int compact_with(sim_box *b, cairn_compact_options o, cairn_compact_result *result);
cairn_compact_result compact_all(sim_box *b); /* all garbage; a failure fails the test */
void seal(sim_box *b);                        /* what comes next lies in another segment */

#endif

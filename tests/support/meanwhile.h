/* Something that happens in the middle of a call of a store: while that writes to a value file, and so holds no lock.
 */
#ifndef CAIRN_TESTS_MEANWHILE_H
#define CAIRN_TESTS_MEANWHILE_H

#include "tests/support/os_sim.h"

/* At the next write to a value file on this disk `run` is called, once, on the thread that writes. One at a time in the
 * process; the disk's own calls of these kinds are replaced. NULL: nothing is to happen any more. */
void meanwhile(sim_disk *disk, void (*run)(void *ctx), void *ctx);

#endif

/* Allocations that fail, for test programs that are linked with the wrappers (tests/CMakeLists.txt): malloc, calloc,
 * realloc, aligned_alloc, os_pages_alloc, os_pages_region and os_pages_resize, and the allocation of a handle or
 * mapping inside the operating system.
 *
 * Only what the library allocates on this thread between memory_counted and memory_uncounted is counted and may fail.
 * The simulated disk's own bookkeeping is not: its table is fenced. Not thread-safe beyond that.
 */
#ifndef CAIRN_TESTS_FAILING_MEMORY_H
#define CAIRN_TESTS_FAILING_MEMORY_H

#include "tests/support/os_sim.h"

/* The counted allocations number `first` to `first + failures - 1` fail, from 0 at this call on. 0 failures: none. */
void memory_plan(uint64_t first, uint64_t failures);
uint64_t memory_calls(void);    /* counted ones since the plan */
uint64_t memory_failures(void); /* that failed */

void memory_counted(void);
int memory_uncounted(int rc); /* gives rc back: memory_counted(); rc = memory_uncounted(call()); */

/* What the disk does for itself is not counted any more; but for each handle and mapping one allocation. */
void memory_fence(sim_disk *disk);

#endif

/* Calls in the place of others in an OS table: to count them, slow them down, fail them, or plant a bug. The calls that
 * stand in are written like those of os.h, and do the real thing by os_posix() or by the table of sim_calls().
 */
#ifndef CAIRN_TESTS_OS_WRAP_H
#define CAIRN_TESTS_OS_WRAP_H

#include "src/os/os.h"

/* Each call that is not NULL in `calls` takes the place of the table's own. A simulated disk has a table of its own,
 * which ends with it; copies of the disk do not inherit what was put there. `calls` may be NULL. */
void os_override(os *table, const os *calls);

/* A copy of the real table, with these calls. The caller keeps it for as long as anything is open on it. */
os os_posix_with(const os *calls);

/* The simulated disk's own calls, alike for all disks. Not thread-safe the first time. */
const os *sim_calls(void);

#endif

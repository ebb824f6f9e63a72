/* Copies into and out of shared mappings that end with an error where a page cannot be had.
 *
 * A page of a mapping that cannot be had (the device fails, or somebody cut the file short) is a SIGBUS. It is raised
 * in the thread that touched the page, so the guard is one pointer a thread: while it is set and the address lies in
 * its range, the handler jumps out of the copy. Every other SIGBUS goes to the handler that was there before. Ours is
 * installed with the first window and stays; where the application replaces it or a thread blocks the signal, there are
 * no guarded copies.
 */
#ifndef CAIRN_OS_POSIX_GUARD_H
#define CAIRN_OS_POSIX_GUARD_H

#include <stdbool.h>
#include <stddef.h>

void guard_install(void);         /* once a process, whoever calls; any thread */
bool guard_is_installed(void);    /* nobody has replaced it */
bool guard_thread_takes_it(void); /* this thread does not block the signal, which would end the process */

/* Runs `copy(arg)`, which touches the mapping within [begin, begin + size), holds no lock and allocates nothing, so
 * that jumping out of it leaves nothing undone: 0, or -EIO when it was jumped out of. For a thread that takes the
 * signal. */
int guard_copy(const void *begin, size_t size, void (*copy)(void *arg), void *arg);

#endif

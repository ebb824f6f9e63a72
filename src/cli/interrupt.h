/* Ctrl-C and SIGTERM: a flag that long loops ask, so that they stop at a sound place. SIGPIPE is ignored: a write to a
 * pipe that nobody reads fails with EPIPE and is reported.
 *
 * The handlers are installed without SA_RESTART, so a blocking call in the main thread returns EINTR, also one
 * that begins a moment after the signal: from then on SIGALRM comes again and again. A wait that must not miss a signal
 * polls interrupt_fd() beside its own descriptor.
 */
#ifndef CAIRN_CLI_INTERRUPT_H
#define CAIRN_CLI_INTERRUPT_H

#include <stdbool.h>

/* Once, before any thread is started. */
void interrupt_setup(void);

bool interrupted(void);

/* Readable once interrupted; -1 when there is none. */
int interrupt_fd(void);

/* Threads started in between never take the signals; one that comes is delivered after the release. */
void interrupt_hold(void);
void interrupt_release(void);

#endif

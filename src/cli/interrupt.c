#include "src/cli/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>

/* Lock-free, so that a handler on any thread may store it. */
static atomic_bool flag;
static int event = -1;

static void handle(int signal_number) {
    (void)signal_number;
    int saved_errno = errno;
    atomic_store(&flag, true);
    if (event >= 0) (void)eventfd_write(event, 1);
    errno = saved_errno;
}

void interrupt_setup(void) {
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = handle};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

bool interrupted(void) { return atomic_load(&flag); }

int interrupt_fd(void) { return event; }

static void mask(int how) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(how, &signals, NULL);
}

void interrupt_hold(void) { mask(SIG_BLOCK); }

void interrupt_release(void) { mask(SIG_UNBLOCK); }

#include "src/cli/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/time.h>

#define AGAIN_US 20000

/* Lock-free, so that a handler on any thread may store it. */
static atomic_bool flag;
static int event = -1;

static void handle(int signal_number) {
    (void)signal_number;
    int saved_errno = errno;
    atomic_store(&flag, true);
    if (event >= 0) (void)eventfd_write(event, 1);
    /* A call that blocks may have been about to begin: it would not notice. It is interrupted again until we end. */
    struct itimerval again = {.it_interval.tv_usec = AGAIN_US, .it_value.tv_usec = AGAIN_US};
    (void)setitimer(ITIMER_REAL, &again, NULL);
    errno = saved_errno;
}

static void interrupt_again(int signal_number) { (void)signal_number; }

void interrupt_setup(void) {
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = handle};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = interrupt_again;
    (void)sigaction(SIGALRM, &action, NULL);
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
    sigaddset(&signals, SIGALRM);
    (void)pthread_sigmask(how, &signals, NULL);
}

void interrupt_hold(void) { mask(SIG_BLOCK); }

void interrupt_release(void) { mask(SIG_UNBLOCK); }

#include "src/os/os_posix_guard.h"

#include "src/base/check.h"
#include "src/os/os_memory.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define KERNEL_MASK_BYTES 8 /* of uc_sigmask that the kernel fills */

typedef struct guard {
    uintptr_t begin, end;
    sigjmp_buf out;
    sigset_t blocked; /* before the signal: with the jump nobody else restores it */
} guard;

/* The handler must reach it without allocating, hence the TLS model. */
static _Thread_local struct {
    guard *_Atomic active;
    enum { MASK_UNKNOWN, MASK_OPEN, MASK_BLOCKED } mask;
} thread __attribute__((tls_model("initial-exec")));

static struct sigaction previous; /* written once, before the handler is there */

static void pass_on(int number, siginfo_t *info, void *context) {
    bool sent = info->si_code <= 0; /* by a process, not raised by an access */
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler == SIG_DFL || (previous.sa_handler == SIG_IGN && !sent)) {
        (void)signal(number, SIG_DFL); /* the access is tried again on return, and then ends the process */
        if (sent) (void)raise(number);
    } else if (previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    guard *g = atomic_load_explicit(&thread.active, memory_order_relaxed);
    uintptr_t at = (uintptr_t)info->si_addr;
    if (g != NULL && at >= g->begin && at < g->end) {
        const ucontext_t *interrupted = context;
        (void)sigemptyset(&g->blocked);
        memcpy(&g->blocked, &interrupted->uc_sigmask, KERNEL_MASK_BYTES);
        siglongjmp(g->out, 1);
    }
    pass_on(number, info, context);
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGBUS, &action, &previous) == 0);
}

void guard_install(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&once, install) == 0);
}

bool guard_is_installed(void) {
    struct sigaction now;
    CHECK(sigaction(SIGBUS, NULL, &now) == 0);
    return (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_sigbus;
}

/* Asked once a thread. */
bool guard_thread_takes_it(void) {
    if (thread.mask == MASK_UNKNOWN) {
        sigset_t blocked;
        CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
        thread.mask = sigismember(&blocked, SIGBUS) == 0 ? MASK_OPEN : MASK_BLOCKED;
    }
    return thread.mask == MASK_OPEN;
}

int guard_copy(const void *begin, size_t size, void (*copy)(void *arg), void *arg) {
    guard g = {.begin = (uintptr_t)begin & ~((uintptr_t)os_page_bytes() - 1), .end = (uintptr_t)begin + size};
    if (sigsetjmp(g.out, 0) != 0) { /* saves no mask: that would be a system call */
        atomic_store_explicit(&thread.active, NULL, memory_order_relaxed);
        CHECK(pthread_sigmask(SIG_SETMASK, &g.blocked, NULL) == 0);
        return -EIO;
    }
    atomic_store_explicit(&thread.active, &g, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    copy(arg);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&thread.active, NULL, memory_order_relaxed);
    return 0;
}

/* Threads and the conditions' clock; see os_thread.h. */
#include "src/os/os_thread.h"

#include <errno.h>
#include <signal.h>

#define WAIT_MS_MAX ((uint64_t)1000 * 86400 * 365) /* a year: keeps the deadline's sum far from overflow */

void os_cond_init(os_cond *c) {
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&c->handle, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
}

void os_cond_wait_ms(os_cond *c, os_mutex *m, uint64_t ms) {
    struct timespec deadline;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    if (ms > WAIT_MS_MAX) ms = WAIT_MS_MAX;
    deadline.tv_sec += (time_t)(ms / 1000);
    deadline.tv_nsec += (long)(ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    int rc = pthread_cond_timedwait(&c->handle, &m->handle, &deadline);
    CHECK(rc == 0 || rc == ETIMEDOUT);
}

/* A thread inherits the mask of the one that starts it. */
int os_thread_start(os_thread *t, void *(*run)(void *), void *arg) {
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int rc = pthread_create(&t->handle, NULL, run, arg);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -rc;
}

void os_thread_join(os_thread *t) { CHECK(pthread_join(t->handle, NULL) == 0); }

/* Threads and the conditions' clock; see os_thread.h. */
#include "src/os/os_thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#define SPINS_MAX 100u                             /* some microseconds: while the holder runs on another core */
#define YIELDS_MAX 50u                             /* while it waits for this core */
#define GIVE_WAY_MAX 40u                           /* naps of 50 microseconds, or what the system makes of them */
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

void os_nap_us(uint64_t us) {
    struct timespec nap = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    (void)nanosleep(&nap, NULL);
}

static bool try_lock(os_mutex *m) {
    int rc = pthread_mutex_trylock(&m->handle);
    CHECK(rc == 0 || rc == EBUSY);
    return rc == 0;
}

bool os_mutex_lock_unless(os_mutex *m, const atomic_bool *done, atomic_uint *sleepers) {
    for (unsigned i = 0; i < SPINS_MAX + YIELDS_MAX; i++) {
        if (atomic_load_explicit(done, memory_order_acquire)) return false;
        if (try_lock(m)) return true;
        if (i < SPINS_MAX) {
            os_relax();
        } else {
            (void)sched_yield();
        }
    }
    if (sleepers != NULL) atomic_fetch_add_explicit(sleepers, 1, memory_order_relaxed);
    os_mutex_lock(m);
    if (sleepers != NULL) atomic_fetch_sub_explicit(sleepers, 1, memory_order_relaxed);
    return true;
}

void os_mutex_lock_eagerly(os_mutex *m, atomic_uint *sleepers) {
    static const atomic_bool never;
    (void)os_mutex_lock_unless(m, &never, sleepers);
}

void os_mutex_give_way(const atomic_uint *sleepers) {
    const struct timespec moment = {.tv_nsec = 50000};
    for (unsigned i = 0; i < GIVE_WAY_MAX && atomic_load_explicit(sleepers, memory_order_relaxed) > 0; i++) {
        (void)nanosleep(&moment, NULL);
    }
}

/* A thread inherits the mask of the one that starts it. */
int os_thread_start(os_thread *t, void *(*run)(void *), void *arg) {
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0 && sigdelset(&all, SIGBUS) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int rc = pthread_create(&t->handle, NULL, run, arg);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -rc;
}

void os_thread_join(os_thread *t) { CHECK(pthread_join(t->handle, NULL) == 0); }

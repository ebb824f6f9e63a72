/* Threads, mutexes and conditions. A failure of a mutex or condition call is a programmer's mistake and aborts. */
#ifndef CAIRN_OS_THREAD_H
#define CAIRN_OS_THREAD_H

#include "src/base/check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct os_mutex {
    pthread_mutex_t handle;
} os_mutex;
typedef struct os_cond {
    pthread_cond_t handle;
} os_cond;
typedef struct os_thread {
    pthread_t handle;
} os_thread;

static inline void os_mutex_init(os_mutex *m) { CHECK(pthread_mutex_init(&m->handle, NULL) == 0); }
static inline void os_mutex_destroy(os_mutex *m) { CHECK(pthread_mutex_destroy(&m->handle) == 0); }
static inline void os_mutex_lock(os_mutex *m) { CHECK(pthread_mutex_lock(&m->handle) == 0); }
/* A moment's pause of a thread that waits without sleeping. */
static inline void os_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void os_nap_us(uint64_t us);

/* Gives the processor to another thread that could run. */
static inline void os_yield(void) { (void)sched_yield(); }

/* For a mutex that is held for microseconds at a time: tries for a while before it sleeps. A sleeper makes every unlock
 * a system call, and is overtaken again and again by those who run; so it counts itself in *sleepers meanwhile, unless
 * that is NULL. */
void os_mutex_lock_eagerly(os_mutex *m, atomic_uint *sleepers);
/* The same with something else to wait for: false when *done became true first, and the mutex is not held. */
bool os_mutex_lock_unless(os_mutex *m, const atomic_bool *done, atomic_uint *sleepers);
/* For a thread that takes the mutex again and again, between two times: lets those who sleep have it first, which may
 * take some milliseconds and is then given up. */
void os_mutex_give_way(const atomic_uint *sleepers);
static inline void os_mutex_unlock(os_mutex *m) { CHECK(pthread_mutex_unlock(&m->handle) == 0); }

void os_cond_init(os_cond *c); /* on the monotonic clock */
static inline void os_cond_destroy(os_cond *c) { CHECK(pthread_cond_destroy(&c->handle) == 0); }
static inline void os_cond_wait(os_cond *c, os_mutex *m) { CHECK(pthread_cond_wait(&c->handle, &m->handle) == 0); }
static inline void os_cond_broadcast(os_cond *c) { CHECK(pthread_cond_broadcast(&c->handle) == 0); }
static inline void os_cond_signal(os_cond *c) { CHECK(pthread_cond_signal(&c->handle) == 0); }
void os_cond_wait_ms(os_cond *c, os_mutex *m, uint64_t ms); /* returns on a signal, after ms, or spuriously */

/* All signals are blocked in the thread, so that the application's handlers never run on it; but for SIGBUS, which a
 * window's reader answers itself. 0 or negative errno. */
int os_thread_start(os_thread *t, void *(*run)(void *), void *arg);
void os_thread_join(os_thread *t);

#endif

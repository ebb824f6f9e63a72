/* Counts forks: a handler that runs in every child adds one. It is registered by the first call, so a handle asks for
 * the count when it is opened and compares later. */
#include "src/base/check.h"
#include "src/os/os.h"

#include <fcntl.h>
#include <pthread.h>

atomic_uint os_forks;

static void count_fork(void) { atomic_fetch_add_explicit(&os_forks, 1, memory_order_relaxed); }

static void register_handler(void) { CHECK(pthread_atfork(NULL, NULL, count_fork) == 0); }

unsigned os_fork_generation(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&once, register_handler) == 0);
    return atomic_load_explicit(&os_forks, memory_order_relaxed);
}

void os_close_on_exec(int fd) { (void)fcntl(fd, F_SETFD, FD_CLOEXEC); }

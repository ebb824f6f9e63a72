/* Windows of the POSIX implementation: a shared mapping, read under a guard.
 *
 * A page of a mapping that cannot be had (the device fails, or somebody cut the file short) is a SIGBUS. It is raised
 * in the thread that touched the page, so the guard is one pointer a thread: while it is set and the address lies in
 * its range, the handler jumps out of the copy, and the read is an error like any other. Every other SIGBUS goes to the
 * handler that was there before. The handler is installed with the first window and stays; where the application
 * replaces it or a thread blocks the signal, no window is used.
 *
 * What is in the guarded part: one memcpy or checksum_copy. Those hold no lock and allocate nothing, so jumping out of
 * them leaves nothing undone.
 */
#include "src/base/check.h"
#include "src/base/checksum_copy.h"
#include "src/os/os_memory.h"
#include "src/os/os_posix.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>

#define TIMED_ALWAYS_BYTES ((size_t)32 << 10) /* a copy of this size hides the price of two looks at the clock */
#define TIMED_ONE_IN 16u                      /* of the shorter ones */
#define SLOW_NS 100000u                       /* a device's answer; or, now and then, a thread that was put to sleep */
#define SLOW_NS_A_PAGE 4000u                  /* first touches of pages that are in memory */
#define KERNEL_MASK_BYTES 8                   /* of uc_sigmask that the kernel fills */
#define RESIDENT_PAGES_MAX 256u
#define WINDOWS_MAX 8192 /* of a process, which may have 65,530 mappings in all, its allocator's among them */

typedef struct posix_window {
    os_window base;
    uint8_t *data;
    size_t size;
} posix_window;

typedef struct guard {
    uintptr_t begin, end;
    sigjmp_buf out;
    sigset_t blocked; /* before the signal: with the jump nobody else restores it */
} guard;

/* The handler must reach it without allocating, hence the TLS model. */
static _Thread_local struct {
    guard *_Atomic active;
    unsigned reads;
    enum { MASK_UNKNOWN, MASK_OPEN, MASK_BLOCKED } mask;
} thread __attribute__((tls_model("initial-exec")));

static atomic_int windows;
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

static bool handler_is_ours(void) {
    struct sigaction now;
    CHECK(sigaction(SIGBUS, NULL, &now) == 0);
    return (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_sigbus;
}

/* A SIGBUS that is blocked ends the process. Asked once a thread. */
static bool thread_takes_sigbus(void) {
    if (thread.mask == MASK_UNKNOWN) {
        sigset_t blocked;
        CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
        thread.mask = sigismember(&blocked, SIGBUS) == 0 ? MASK_OPEN : MASK_BLOCKED;
    }
    return thread.mask == MASK_OPEN;
}

int posix_window_open(os_file *file, uint64_t size, unsigned flags, os_window **out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (size == 0 || size > SIZE_MAX / 2) return -EINVAL;
    if (atomic_fetch_add(&windows, 1) >= WINDOWS_MAX) {
        atomic_fetch_sub(&windows, 1);
        return -EOPNOTSUPP;
    }
    posix_window *w = malloc(sizeof *w);
    void *data = w == NULL ? MAP_FAILED : mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, ((posix_file *)file)->fd, 0);
    if (data == MAP_FAILED) {
        free(w);
        atomic_fetch_sub(&windows, 1);
        return -ENOMEM;
    }
    CHECK(pthread_once(&once, install) == 0);
    if ((flags & OS_ONLY_WHAT_IS_NEAR) != 0) (void)madvise(data, (size_t)size, MADV_RANDOM);
    *w = (posix_window){.base = {.os = file->os}, .data = data, .size = (size_t)size};
    *out = &w->base;
    return 0;
}

void posix_window_close(os_window *window) {
    posix_window *w = (posix_window *)window;
    CHECK(munmap(w->data, w->size) == 0);
    atomic_fetch_sub(&windows, 1);
    free(w);
}

static int check_resident(const uint8_t *begin, size_t size) {
    size_t page = os_page_bytes();
    for (size_t done = 0; done < size;) {
        unsigned char resident[RESIDENT_PAGES_MAX];
        size_t piece = (size_t)min_u64(size - done, RESIDENT_PAGES_MAX * page);
        if (mincore((void *)(uintptr_t)(begin + done), piece, resident) != 0) return -errno;
        for (size_t i = 0; i < (piece + page - 1) / page; i++) {
            if ((resident[i] & 1) == 0) return -EAGAIN;
        }
        done += piece;
    }
    return 0;
}

static int check_range(const posix_window *w, os_file *file, uint64_t offset, size_t size) {
    struct stat st;
    CHECK(offset <= w->size && size <= w->size - offset);
    if (!handler_is_ours()) return -EOPNOTSUPP;
    if (fstat(((posix_file *)file)->fd, &st) != 0) return -errno;
    return offset + size > (uint64_t)st.st_size ? -EIO : 0;
}

int posix_window_load(os_window *window, os_file *file, uint64_t offset, size_t size) {
    const posix_window *w = (posix_window *)window;
    size_t lead = (size_t)offset & (os_page_bytes() - 1);
    int rc = check_range(w, file, offset, size);
    if (rc == 0) rc = check_resident(w->data + offset - lead, lead + size);
    return rc != 0 ? rc : posix_populate(w->data + offset - lead, lead + size);
}

int posix_window_show(os_window *window, os_file *file, uint64_t offset, size_t size, const void **data) {
    const posix_window *w = (posix_window *)window;
    size_t lead = (size_t)offset & (os_page_bytes() - 1);
    int rc = check_range(w, file, offset, size);
    if (rc == 0) rc = posix_populate(w->data + offset - lead, lead + size);
    if (rc == 0) *data = w->data + offset;
    return rc;
}

/* memcpy out of a mapping, with its checksum where that is wanted: 0 or -EIO. */
static int copy_guarded(void *to, const uint8_t *from, size_t size, uint64_t *sum) {
    guard g = {.begin = (uintptr_t)from & ~((uintptr_t)os_page_bytes() - 1), .end = (uintptr_t)from + size};
    if (sigsetjmp(g.out, 0) != 0) { /* saves no mask: that would be a system call */
        atomic_store_explicit(&thread.active, NULL, memory_order_relaxed);
        CHECK(pthread_sigmask(SIG_SETMASK, &g.blocked, NULL) == 0);
        return -EIO;
    }
    atomic_store_explicit(&thread.active, &g, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (sum != NULL) {
        *sum = checksum_copy(to, from, size, 0);
    } else {
        memcpy(to, from, size);
    }
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&thread.active, NULL, memory_order_relaxed);
    return 0;
}

int posix_window_read(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    posix_window *w = (posix_window *)window;
    CHECK(offset <= w->size && size <= w->size - offset);
    if (!thread_takes_sigbus()) return -EOPNOTSUPP;
    bool timed = size >= TIMED_ALWAYS_BYTES || ++thread.reads % TIMED_ONE_IN == 0;
    if (!timed) return copy_guarded(buf, w->data + offset, size, sum);
    uint64_t begin = window->os->monotonic_ns(window->os);
    int rc = copy_guarded(buf, w->data + offset, size, sum);
    uint64_t limit = SLOW_NS + size / os_page_bytes() * SLOW_NS_A_PAGE;
    return rc == 0 && window->os->monotonic_ns(window->os) - begin > limit ? 1 : rc;
}

/* Windows of the POSIX implementation: a shared mapping, read or written under a guard (os_posix_guard.h). */
#include "src/base/check.h"
#include "src/base/checksum_copy.h"
#include "src/os/os_memory.h"
#include "src/os/os_posix.h"
#include "src/os/os_posix_guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TIMED_ALWAYS_BYTES ((size_t)32 << 10) /* a copy of this size hides the price of two looks at the clock */
#define TIMED_ONE_IN 16u                      /* of the shorter ones */
#define SLOW_NS 100000u                       /* a device's answer; or, now and then, a thread that was put to sleep */
#define SLOW_NS_A_PAGE 4000u                  /* first touches of pages that are in memory */
#define RESIDENT_PAGES_MAX 256u
#define WINDOWS_MAX 8192 /* of a process, which may have 65,530 mappings in all, its allocator's among them */
#define BEHIND_BYTES ((size_t)1 << 20) /* of what was written, that may stay mapped */

typedef struct posix_window {
    os_window base;
    uint8_t *data;
    size_t size;
    size_t behind; /* the writer's: nothing before is mapped */
} posix_window;

static _Thread_local unsigned reads; /* of this thread, that were short */

static atomic_int windows;

int posix_window_open(os_file *file, uint64_t size, unsigned flags, os_window **out) {
    if (size == 0 || size > SIZE_MAX / 2) return -EINVAL;
    if (atomic_fetch_add(&windows, 1) >= WINDOWS_MAX) {
        atomic_fetch_sub(&windows, 1);
        return -EOPNOTSUPP;
    }
    int protection = (flags & OS_TO_WRITE) != 0 ? PROT_READ | PROT_WRITE : PROT_READ;
    posix_window *w = malloc(sizeof *w);
    void *data = w == NULL ? MAP_FAILED : mmap(NULL, (size_t)size, protection, MAP_SHARED, ((posix_file *)file)->fd, 0);
    if (data == MAP_FAILED) {
        free(w);
        atomic_fetch_sub(&windows, 1);
        return -ENOMEM;
    }
    guard_install();
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
    if (!guard_is_installed()) return -EOPNOTSUPP;
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

/* ---- Reads ---- */

typedef struct copy_out {
    void *to;
    const uint8_t *from;
    size_t size;
    uint64_t *sum; /* NULL: not wanted */
} copy_out;

static void copy_it_out(void *arg) {
    const copy_out *c = arg;
    if (c->sum != NULL) {
        *c->sum = checksum_copy(c->to, c->from, c->size, 0);
    } else {
        memcpy(c->to, c->from, c->size);
    }
}

int posix_window_read(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    const posix_window *w = (posix_window *)window;
    CHECK(offset <= w->size && size <= w->size - offset);
    if (!guard_thread_takes_it()) return -EOPNOTSUPP;
    copy_out c = {buf, w->data + offset, size, sum};
    bool timed = size >= TIMED_ALWAYS_BYTES || ++reads % TIMED_ONE_IN == 0;
    if (!timed) return guard_copy(c.from, size, copy_it_out, &c);
    uint64_t begin = window->os->monotonic_ns(window->os);
    int rc = guard_copy(c.from, size, copy_it_out, &c);
    uint64_t limit = SLOW_NS + size / os_page_bytes() * SLOW_NS_A_PAGE;
    return rc == 0 && window->os->monotonic_ns(window->os) - begin > limit ? 1 : rc;
}

/* ---- Writes ---- */

/* What is left stays in the page cache, but is no part of the process any more: it takes no memory of it, a stray
 * pointer of the application does not reach it, and who writes it out need not take each page from the process, which
 * interrupts its other processors each time. */
void posix_window_leave(os_window *window, uint64_t until) {
    posix_window *w = (posix_window *)window;
    CHECK(until <= w->size);
    size_t end = (size_t)until & ~(os_page_bytes() - 1);
    if (end <= w->behind) return;
    (void)madvise(w->data + w->behind, end - w->behind, MADV_DONTNEED);
    (void)mprotect(w->data + w->behind, end - w->behind, PROT_NONE);
    w->behind = end;
}

static void leave_behind(posix_window *w, uint64_t offset) {
    size_t until = (size_t)offset & ~(BEHIND_BYTES - 1);
    if (until >= w->behind + 2 * BEHIND_BYTES) posix_window_leave(&w->base, until - BEHIND_BYTES);
}

/* The pages are made present and writable, which an access would do as well, but with a signal where it fails. One that
 * is written out meanwhile is made writable again by the next access: that is what the guard is for. */
int posix_window_ready(os_window *window, os_file *file, uint64_t offset, size_t size) {
    posix_window *w = (posix_window *)window;
    size_t lead = (size_t)offset & (os_page_bytes() - 1);
    int rc = check_range(w, file, offset, size);
    if (rc == 0) rc = posix_populate_to_write(w->data + offset - lead, lead + size);
    if (rc == 0) leave_behind(w, offset);
    return rc;
}

typedef struct copy_in {
    uint8_t *to;
    const struct iovec *iov;
    int count;
} copy_in;

static void copy_it_in(void *arg) {
    const copy_in *c = arg;
    uint8_t *to = c->to;
    for (int i = 0; i < c->count; i++) {
        memcpy(to, c->iov[i].iov_base, c->iov[i].iov_len);
        to += c->iov[i].iov_len;
    }
}

int posix_window_write(os_window *window, const struct iovec *iov, int count, uint64_t offset) {
    const posix_window *w = (posix_window *)window;
    size_t size = os_pieces_bytes(iov, count);
    CHECK(offset <= w->size && size <= w->size - offset);
    if (!guard_thread_takes_it()) return -EOPNOTSUPP;
    copy_in c = {w->data + offset, iov, count};
    return guard_copy(c.to, size, copy_it_in, &c);
}

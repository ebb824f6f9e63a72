#include "tests/support/failing_memory.h"

#include "src/os/os_memory.h"
#include "tests/support/os_wrap.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local struct {
    bool counting;
    uint64_t first, failures, calls, failed;
} plan;

void memory_plan(uint64_t first, uint64_t failures) {
    plan.first = first;
    plan.failures = failures;
    plan.calls = plan.failed = 0;
}

uint64_t memory_calls(void) { return plan.calls; }
uint64_t memory_failures(void) { return plan.failed; }
void memory_counted(void) { plan.counting = true; }

int memory_uncounted(int rc) {
    plan.counting = false;
    return rc;
}

static bool is_due(void) {
    if (!plan.counting) return false;
    uint64_t number = plan.calls++;
    if (number < plan.first || number - plan.first >= plan.failures) return false;
    plan.failed++;
    return true;
}

/* ---- The linker's wrappers ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_os_pages_alloc(size_t size);
void *__real_os_pages_region(size_t size);
void *__real_os_pages_resize(void *pages, size_t old_size, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_os_pages_alloc(size_t size);
void *__wrap_os_pages_region(size_t size);
void *__wrap_os_pages_resize(void *pages, size_t old_size, size_t size);

void *__wrap_malloc(size_t size) { return is_due() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return is_due() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return is_due() ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return is_due() ? NULL : __real_aligned_alloc(alignment, size);
}
void *__wrap_os_pages_alloc(size_t size) { return is_due() ? NULL : __real_os_pages_alloc(size); }
void *__wrap_os_pages_region(size_t size) { return is_due() ? NULL : __real_os_pages_region(size); }
void *__wrap_os_pages_resize(void *pages, size_t old_size, size_t size) {
    return is_due() ? NULL : __real_os_pages_resize(pages, old_size, size);
}

/* ---- The fence around the disk ---- */

static const os *real; /* the simulated disk's own calls */

static bool enter(void) {
    bool was = plan.counting;
    plan.counting = false;
    return was;
}

static int leave(bool was, int rc) {
    plan.counting = was;
    return rc;
}

/* The call's result; what it allocates is not counted. */
#define FENCED(call)                                                                                                   \
    ({                                                                                                                 \
        bool was_counting = enter();                                                                                   \
        leave(was_counting, (call));                                                                                   \
    })

static int fenced_dir_open(os *self, const char *path, unsigned flags, os_dir **out) {
    return is_due() ? -ENOMEM : FENCED(real->dir_open(self, path, flags, out));
}
static void fenced_dir_close(os_dir *dir) { (void)FENCED((real->dir_close(dir), 0)); }
static int fenced_dir_sync(os_dir *dir) { return FENCED(real->dir_sync(dir)); }

typedef struct visitor {
    os_dir_visit visit;
    void *ctx;
    bool counting;
} visitor;

/* The visitor is the library's. */
static int visit_outside(void *ctx, const char *name) {
    visitor *v = ctx;
    plan.counting = v->counting;
    int rc = v->visit(v->ctx, name);
    plan.counting = false;
    return rc;
}

static int fenced_dir_list(os_dir *dir, os_dir_visit visit, void *ctx) {
    if (is_due()) return -ENOMEM;
    visitor v = {visit, ctx, plan.counting};
    return FENCED(real->dir_list(dir, visit_outside, &v));
}

static int fenced_rename(os_dir *dir, const char *from, const char *to) { return FENCED(real->rename(dir, from, to)); }
static int fenced_unlink(os_dir *dir, const char *name) { return FENCED(real->unlink(dir, name)); }
static int fenced_link(os_dir *from, const char *name, os_dir *to, const char *to_name) {
    return FENCED(real->link(from, name, to, to_name));
}

static int fenced_file_open(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    return is_due() ? -ENOMEM : FENCED(real->file_open(dir, name, flags, out));
}
static void fenced_file_close(os_file *file) { (void)FENCED((real->file_close(file), 0)); }
static int fenced_file_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    return FENCED(real->file_write(file, iov, count, offset));
}
static int fenced_window_write(os_window *window, const struct iovec *iov, int count, uint64_t offset) {
    return FENCED(real->window_write(window, iov, count, offset));
}
static int fenced_file_truncate(os_file *file, uint64_t size) { return FENCED(real->file_truncate(file, size)); }
static int fenced_file_allocate(os_file *file, uint64_t size) { return FENCED(real->file_allocate(file, size)); }
static int fenced_file_sync(os_file *file) { return FENCED(real->file_sync(file)); }
static int fenced_file_map(os_file *file, uint64_t offset, size_t size, const void **data) {
    return is_due() ? -ENOMEM : FENCED(real->file_map(file, offset, size, data));
}

static const os fence = {.dir_open = fenced_dir_open,
                         .dir_close = fenced_dir_close,
                         .dir_sync = fenced_dir_sync,
                         .dir_list = fenced_dir_list,
                         .rename = fenced_rename,
                         .unlink = fenced_unlink,
                         .link = fenced_link,
                         .file_open = fenced_file_open,
                         .file_close = fenced_file_close,
                         .file_write = fenced_file_write,
                         .file_truncate = fenced_file_truncate,
                         .file_allocate = fenced_file_allocate,
                         .file_sync = fenced_file_sync,
                         .file_map = fenced_file_map,
                         .window_write = fenced_window_write};

void memory_fence(sim_disk *disk) {
    real = sim_calls();
    os_override(sim_os(disk), &fence);
}

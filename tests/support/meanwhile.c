#include "tests/support/meanwhile.h"

#include "tests/support/os_wrap.h"

#include <string.h>

static struct {
    void (*run)(void *ctx);
    void *ctx;
    const os_file *file; /* the value file that was opened last */
} next;

static int open_and_note(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    int rc = sim_calls()->file_open(dir, name, flags, out);
    if (rc == 0 && (flags & OS_CREATE) != 0 && strstr(name, ".val") != NULL) next.file = *out;
    return rc;
}

static int write_with_company(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    void (*run)(void *ctx) = next.run;
    if (run != NULL && file == next.file) {
        next.run = NULL;
        run(next.ctx);
    }
    return sim_calls()->file_write(file, iov, count, offset);
}

void meanwhile(sim_disk *disk, void (*run)(void *ctx), void *ctx) {
    next.run = run;
    next.ctx = ctx;
    next.file = NULL;
    os_override(sim_os(disk), &(os){.file_open = open_and_note, .file_write = write_with_company});
}

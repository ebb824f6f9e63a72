/* Mappings of the POSIX implementation.
 *
 * The pages are read in before the mapping is handed out: a fault at a time is slow, and a page that cannot be read is
 * an error here where it would be a SIGBUS later. (A file that is cut short afterwards still is one.)
 */
#include "src/base/check.h"
#include "src/os/os_memory.h"
#include "src/os/os_posix.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older kernels answer EINVAL */
#define MADV_POPULATE_WRITE 23
#endif

/* Bytes between the start of the page and the byte that the caller sees. */
static size_t lead_of(uint64_t offset) { return (size_t)(offset & (os_page_bytes() - 1)); }

/* `unknown`: what it comes to where the kernel does not know the advice. */
static int populate(void *start, size_t size, int advice, int unknown) {
    int rc;
    do {
        rc = madvise(start, size, advice);
    } while (rc != 0 && errno == EAGAIN);
    if (rc == 0) return 0;
    switch (errno) {
    case EFAULT: /* what a fault would answer with SIGBUS: past the end, no room, or an error of the device */
    case EIO:
    case EHWPOISON:
        return -EIO;
    case ENOMEM:
        return -ENOMEM;
    default:
        return unknown;
    }
}

/* Without the advice the pages come in as they are touched. */
int posix_populate(void *start, size_t size) { return populate(start, size, MADV_POPULATE_READ, 0); }

int posix_populate_to_write(void *start, size_t size) {
    return populate(start, size, MADV_POPULATE_WRITE, -EOPNOTSUPP);
}

int posix_file_map(os_file *file, uint64_t offset, size_t size, const void **data) {
    int fd = ((posix_file *)file)->fd;
    uint64_t end;
    struct stat st;
    if (size == 0 || add_overflows(offset, size, &end)) return -EINVAL;
    if (fstat(fd, &st) != 0) return -errno;
    if (end > (uint64_t)st.st_size) return -EIO;

    size_t lead = lead_of(offset);
    size_t length = lead + size; /* fits: lead <= offset and offset + size <= the file's size */
    void *start = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)(offset - lead));
    if (start == MAP_FAILED) return -errno;
    int rc = posix_populate(start, length);
    if (rc != 0) {
        munmap(start, length);
        return rc;
    }
    *data = (const uint8_t *)start + lead;
    return 0;
}

void posix_file_unmap(os_file *file, const void *data, size_t size) {
    (void)file;
    size_t lead = lead_of((uintptr_t)data);
    CHECK(munmap((void *)((uintptr_t)data - lead), lead + size) == 0);
}

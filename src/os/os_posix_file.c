/* Files of the POSIX implementation: opening, reading, writing and syncing.
 *
 * A file is opened without following a link and without waiting (a FIFO would block), and only then looked at: what is
 * not a regular file is -EINVAL, under whichever errno the kernel reports it.
 */
#include "src/base/check.h"
#include "src/os/os_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define CHUNK_BYTES ((size_t)1 << 30) /* most bytes of one system call: the kernel stops just below 2 GiB anyhow */

_Static_assert(sizeof(off_t) == 8, "offsets are 64 bits");

static int fd_of(os_file *file) { return ((posix_file *)file)->fd; }

/* The kernel's offsets are signed. */
static bool range_ok(uint64_t offset, uint64_t size) {
    uint64_t end;
    return !add_overflows(offset, size, &end) && end <= INT64_MAX;
}

/* Descriptor of a regular file, or negative errno. */
static int open_regular(int dir, const char *name, int flags) {
    int fd;
    do {
        fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        bool irregular = errno == ELOOP || errno == EISDIR || errno == ENXIO; /* link, directory, socket or device */
        return irregular ? -EINVAL : -errno;
    }
    struct stat st;
    int rc = fstat(fd, &st) == 0 ? 0 : -errno;
    if (rc == 0 && !S_ISREG(st.st_mode)) rc = -EINVAL;
    if (rc == 0) return fd;
    close(fd);
    return rc;
}

/* xfs allocates ahead no further than an extent size hint says. It takes one as long as the file is empty, others never
 * do: nothing depends on it. */
static void limit_ahead(int fd) {
    struct fsxattr attributes;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return;
    attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attributes.fsx_extsize = OS_AHEAD_BYTES;
    (void)ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

int posix_file_open(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    if (!posix_name_ok(name)) return -EINVAL;
    posix_file *file = malloc(sizeof *file); /* first, so that nothing is created when it fails */
    if (file == NULL) return -ENOMEM;
    int open_flags = (flags & OS_READ_ONLY) ? O_RDONLY : O_RDWR;
    if (flags & OS_CREATE) open_flags |= (flags & OS_EXCLUSIVE) ? O_CREAT | O_EXCL : O_CREAT;
    int fd = open_regular(((posix_dir *)dir)->fd, name, open_flags);
    if (fd < 0) {
        free(file);
        return fd;
    }
    if ((flags & OS_CREATE) && (flags & OS_GROWS)) limit_ahead(fd);
    *file = (posix_file){.base = {.os = dir->os}, .fd = fd};
    *out = &file->base;
    return 0;
}

void posix_file_close(os_file *file) {
    close(fd_of(file));
    free(file);
}

int posix_file_info(os_file *file, os_file_info *info) {
    struct stat st;
    if (fstat(fd_of(file), &st) != 0) return -errno;
    *info = (os_file_info){
        .size = (uint64_t)st.st_size,
        .allocated = (uint64_t)st.st_blocks * 512, /* st_blocks counts in 512 bytes, whatever the file system */
        .links = (uint64_t)st.st_nlink,
    };
    return 0;
}

int posix_file_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    if (!range_ok(offset, size)) return -EINVAL;
    size_t done = 0;
    while (done < size) {
        size_t chunk = (size_t)min_u64(size - done, CHUNK_BYTES);
        ssize_t n = pread(fd_of(file), (uint8_t *)buf + done, chunk, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) break;
        done += (size_t)n;
    }
    *got = done;
    return 0;
}

/* The pieces still to be read or written: those from `first` on. */
typedef struct pieces {
    struct iovec iov[OS_PIECES_MAX];
    int first, count;
} pieces;

static bool pieces_ok(const struct iovec *iov, int count, uint64_t offset, uint64_t *size) {
    *size = 0;
    for (int i = 0; i < count; i++) {
        if (add_overflows(*size, iov[i].iov_len, size)) return false;
    }
    return range_ok(offset, *size);
}

static void pieces_set(pieces *p, const struct iovec *iov, int count) {
    p->first = 0;
    p->count = count;
    for (int i = 0; i < count; i++) {
        p->iov[i] = iov[i];
    }
}

static void pieces_advance(pieces *p, size_t done) {
    while (p->first < p->count && done >= p->iov[p->first].iov_len) {
        done -= p->iov[p->first].iov_len;
        p->first++;
    }
    if (done == 0) return;
    p->iov[p->first].iov_base = (uint8_t *)p->iov[p->first].iov_base + done;
    p->iov[p->first].iov_len -= done;
}

int posix_file_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    CHECK(count >= 0 && count <= OS_PIECES_MAX);
    pieces p; /* only `count` of the many are set */
    uint64_t size;
    if (!pieces_ok(iov, count, offset, &size)) return -EINVAL;
    pieces_set(&p, iov, count);
    size_t done = 0;
    while (done < size) {
        pieces_advance(&p, 0); /* past empty pieces */
        ssize_t n = preadv(fd_of(file), p.iov + p.first, p.count - p.first, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) break;
        pieces_advance(&p, (size_t)n);
        done += (size_t)n;
    }
    *got = done;
    return 0;
}

/* Since Linux 5.10 the call that finds something missing has it read ahead as well. A file system that knows no such
 * calls is told by a hint. */
int posix_file_readv_now(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    CHECK(count >= 0 && count <= OS_PIECES_MAX);
    uint64_t size;
    if (!pieces_ok(iov, count, offset, &size)) return -EAGAIN;
    ssize_t n = preadv2(fd_of(file), iov, count, (off_t)offset, RWF_NOWAIT);
    if (n >= 0 && (uint64_t)n == size) return 0;
    if (n < 0 && errno != EAGAIN) posix_file_will_need(file, offset, size);
    return -EAGAIN;
}

/* One system call of at most CHUNK_BYTES: bytes written, 0 when interrupted, or negative errno. */
static ssize_t write_some(int fd, pieces *p, uint64_t offset) {
    size_t room = CHUNK_BYTES;
    int last = p->first;
    while (last < p->count - 1 && p->iov[last].iov_len < room)
        room -= p->iov[last++].iov_len;
    size_t whole = p->iov[last].iov_len;
    p->iov[last].iov_len = (size_t)min_u64(whole, room);
    ssize_t n = pwritev(fd, p->iov + p->first, last - p->first + 1, (off_t)offset);
    p->iov[last].iov_len = whole;
    if (n < 0) return errno == EINTR ? 0 : -errno;
    return n > 0 ? n : -EIO; /* a write of at least one byte that writes nothing and says nothing would never end */
}

int posix_file_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    CHECK(count >= 0 && count <= OS_PIECES_MAX);
    pieces p; /* only `count` of the many are set */
    uint64_t left;
    if (!pieces_ok(iov, count, offset, &left)) return -EINVAL;
    pieces_set(&p, iov, count);
    while (left > 0) {
        pieces_advance(&p, 0); /* past empty pieces */
        ssize_t n = write_some(fd_of(file), &p, offset);
        if (n < 0) return (int)n;
        pieces_advance(&p, (size_t)n);
        offset += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return 0;
}

int posix_file_truncate(os_file *file, uint64_t size) {
    if (!range_ok(size, 0)) return -EINVAL;
    int rc;
    do {
        rc = ftruncate(fd_of(file), (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

/* For file systems that cannot allocate without writing. */
static int write_zeros(os_file *file, uint64_t offset, uint64_t end) {
    static uint8_t zeros[64 << 10]; /* never written */
    int rc = 0;
    while (rc == 0 && offset < end) {
        struct iovec iov = {.iov_base = zeros, .iov_len = (size_t)min_u64(sizeof zeros, end - offset)};
        rc = posix_file_write(file, &iov, 1, offset);
        offset += iov.iov_len;
    }
    return rc;
}

int posix_file_allocate(os_file *file, uint64_t size) {
    os_file_info info;
    if (!range_ok(size, 0)) return -EINVAL;
    int rc = posix_file_info(file, &info);
    if (rc != 0 || size <= info.size) return rc;
    do {
        rc = fallocate(fd_of(file), 0, (off_t)info.size, (off_t)(size - info.size));
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? write_zeros(file, info.size, size) : -errno;
}

/* Never called again after a failure, EINTR included: the kernel may have marked the pages clean, and a second call
 * would then return 0 for data that is gone. */
int posix_file_sync(os_file *file) { return fdatasync(fd_of(file)) == 0 ? 0 : -errno; }

int posix_file_flush(os_file *file, uint64_t offset, uint64_t size) {
    if (!range_ok(offset, size)) return -EINVAL;
    if (size == 0) return 0; /* to the kernel 0 means "to the end" */
    int rc = sync_file_range(fd_of(file), (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
    return rc == 0 ? 0 : -errno;
}

/* In steps, since Linux reads no more for one call than a device reads ahead. */
void posix_file_will_need(os_file *file, uint64_t offset, uint64_t size) {
    const uint64_t step = 131072;
    if (!range_ok(offset, size)) return;
    for (uint64_t done = 0; done < size; done += step) {
        uint64_t bytes = min_u64(size - done, step);
        if (posix_fadvise(fd_of(file), (off_t)(offset + done), (off_t)bytes, POSIX_FADV_WILLNEED) != 0) return;
    }
}

int posix_file_punch(os_file *file, uint64_t offset, uint64_t size) {
    if (!range_ok(offset, size)) return -EINVAL;
    if (size == 0) return 0; /* the kernel refuses it */
    int rc;
    do {
        rc = fallocate(fd_of(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

int posix_file_clone(os_file *from, os_file *to) {
    int rc;
    do {
        rc = ioctl(fd_of(to), FICLONE, fd_of(from));
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) return 0;
    return errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

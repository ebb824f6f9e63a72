/* The operating system as a table of functions: the only file-system calls of the project.
 *
 * Two implementations: os_posix (the real one) and, in tests/support, os_sim (in memory; knows what was synced, fails
 * the n-th call, can be cut at any operation). What a caller may rely on is what is promised here, no more.
 *
 * Results: 0 or a negative errno. Out-parameters are set on success only. All calls are thread-safe; a handle may be
 * used by many threads at once, but closed only when no other call on it runs.
 *
 * Names are single path components inside an open directory (else -EINVAL); no call follows a symbolic link or opens
 * what is not a regular file (-EINVAL). Files are made with mode 0600, directories with 0700.
 *
 * What survives a power cut:
 *  - file_write, window_write, file_truncate, file_allocate, file_punch: after file_sync of that file returned 0.
 * Before it: any part of it, sector by sector, in any order; the size may have grown with zeros or stale bytes behind
 * it.
 *  - a name (create, rename, unlink): after dir_sync of its directory returned 0. file_sync does not persist a name.
 *    Before it: any subset; a rename is old or new, never both absent.
 *  - a sync that failed says nothing, and a later one that succeeds says nothing about what the failed one covered.
 */
#ifndef CAIRN_OS_OS_H
#define CAIRN_OS_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define OS_PIECES_MAX 64 /* of one scattered read or write */
#define OS_PATH_SIZE 64

typedef struct os os;
typedef struct os_dir os_dir;
typedef struct os_file os_file;
typedef struct os_window os_window;

enum {
    OS_CREATE = 1,    /* make it when absent */
    OS_EXCLUSIVE = 2, /* with OS_CREATE: -EEXIST when present */
    OS_READ_ONLY = 4,
    OS_GROWS = 8 /* with OS_CREATE: it will be appended to for long. Where a file system would allocate as much again
                    beyond the end of such a file (xfs), this keeps it to OS_AHEAD_BYTES */
};
#define OS_AHEAD_BYTES ((uint64_t)256 << 10)
/* Of a window: it is only for what window_load finds in memory, so nothing around a byte that is not is read in. */
#define OS_ONLY_WHAT_IS_NEAR 1u
#define OS_TO_WRITE 2u /* of a window: it is for window_ready and window_write, which no other is */

typedef struct os_file_info {
    uint64_t size;      /* bytes */
    uint64_t allocated; /* bytes on disk, holes not counted */
    uint64_t links;
} os_file_info;

typedef struct os_range {
    uint64_t begin, end; /* bytes of a file */
} os_range;

/* Return non-zero to stop the listing, which then returns that value. */
typedef int (*os_dir_visit)(void *ctx, const char *name);

struct os {
    /* path: any path. OS_CREATE makes the last component and syncs its parent, also when the directory was there
     * already: its name may be from a creation that a power cut interrupted. */
    int (*dir_open)(os *self, const char *path, unsigned flags, os_dir **out);
    void (*dir_close)(os_dir *dir); /* gives the lock back */
    /* Advisory, for the handle's life, refused within one process too: -EWOULDBLOCK. */
    int (*dir_lock)(os_dir *dir, bool exclusive);
    int (*dir_sync)(os_dir *dir);
    int (*dir_list)(os_dir *dir, os_dir_visit visit, void *ctx); /* every name but . and ..; visit may unlink */
    int (*dir_free_bytes)(os_dir *dir, uint64_t *bytes);         /* that an unprivileged writer may still allocate */
    /* For a library that takes none of these handles: a path that leads to this very directory, in this process, while
     * the handle is open. -EOPNOTSUPP where there is none. */
    int (*dir_path)(os_dir *dir, char path[OS_PATH_SIZE]);
    int (*rename)(os_dir *dir, const char *from, const char *to); /* replaces `to` */
    int (*unlink)(os_dir *dir, const char *name);
    /* A second name for a file, in the same or another directory of the same table: -EEXIST; -EXDEV, -EPERM, -EMLINK or
     * -EOPNOTSUPP where that cannot be. Survives a power cut like a name. */
    int (*link)(os_dir *from, const char *name, os_dir *to, const char *to_name);

    int (*file_open)(os_dir *dir, const char *name, unsigned flags, os_file **out);
    void (*file_close)(os_file *file);
    int (*file_info)(os_file *file, os_file_info *info);
    /* *got < size only at the end of the file. EINTR and short reads are retried inside. */
    int (*file_read)(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got);
    /* As file_read, into `count` pieces one behind the other, at most OS_PIECES_MAX. */
    int (*file_readv)(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got);
    /* As file_readv, when all of it is there and in memory at this moment: 0, or -EAGAIN whatever the reason, and then
     * the system may have begun to read it into memory, as for file_will_need, and the pieces hold anything. */
    int (*file_readv_now)(os_file *file, const struct iovec *iov, int count, uint64_t offset);
    /* All or an error; after an error any part of the range may have been written. EINTR and short writes are
     * retried inside. Never more than OS_PIECES_MAX pieces. */
    int (*file_write)(os_file *file, const struct iovec *iov, int count, uint64_t offset);
    /* To its own size: gives back what was allocated beyond the end. That may write the file out. */
    int (*file_truncate)(os_file *file, uint64_t size);
    /* Makes the file at least that long, with zeros, and allocates all that is new: blocks that no other file gets any
     * more, until they are cut off. After an error part of it may be there. */
    int (*file_allocate)(os_file *file, uint64_t size);
    int (*file_sync)(os_file *file);                                  /* content and size */
    int (*file_flush)(os_file *file, uint64_t offset, uint64_t size); /* starts write-back; promises nothing */
    /* Will be read soon: the system may begin to read it into memory, and return before it is there. A hint, for any
     * range; it has no result. */
    void (*file_will_need)(os_file *file, uint64_t offset, uint64_t size);
    int (*file_punch)(os_file *file, uint64_t offset, uint64_t size); /* zeros; blocks given back; -EOPNOTSUPP */
    /* Makes an empty file one with the same content, sharing its blocks until either is written: -EOPNOTSUPP, -EXDEV or
     * -EINVAL where that cannot be. Survives a power cut like a write. */
    int (*file_clone)(os_file *from, os_file *to);
    /* Private read-only mapping of bytes that exist (else -EIO); what is written to the file later may or may not be
     * seen. Any offset; *data points at that byte. */
    int (*file_map)(os_file *file, uint64_t offset, size_t size, const void **data);
    void (*file_unmap)(os_file *file, const void *data, size_t size);

    /* A window on the first `size` bytes of a file, which may be shorter and grow: for reads, or writes, without a
     * system call. It outlives the handle of the file. flags: OS_ONLY_WHAT_IS_NEAR or OS_TO_WRITE, or 0. */
    int (*window_open)(os_file *file, uint64_t size, unsigned flags, os_window **out);
    void (*window_close)(os_window *window);
    /* Makes bytes of the window's file that exist, and are in memory at this moment, ready for window_read. -EAGAIN:
     * some are not in memory; nothing was read in for this. -EIO: some do not exist. -EOPNOTSUPP: no window can be read
     * safely here. */
    int (*window_load)(os_window *window, os_file *file, uint64_t offset, size_t size);
    /* Reads bytes that exist into memory, as file_map, and says where they lie: at the window's address and the offset.
     * Valid as long as the window is open; whoever looks there does so as in a mapping. -EIO: some do not exist, or the
     * device cannot give them. -EOPNOTSUPP: no window can be read safely here. */
    int (*window_show)(os_window *window, os_file *file, uint64_t offset, size_t size, const void **data);
    /* Copies bytes that were loaded or shown, as the file holds them now. 1: copied, but it took so long that they must
     * have come from the device: not in memory any more. -EIO: the file cannot give them (an error of the device, or
     * cut short): never a signal. -EOPNOTSUPP: not in this thread. *sum, unless it is NULL: checksum() with seed 0 of
     * what was copied, which costs no second pass over it. */
    int (*window_read)(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum);
    /* Makes bytes that were just written ready for window_write; what was made ready before and ends long before them
     * may be ready no more. By one thread at a time, like window_write. -EIO: some do not exist. -EOPNOTSUPP: no window
     * can be written safely here. */
    int (*window_ready)(os_window *window, os_file *file, uint64_t offset, size_t size);
    /* As file_write, of bytes that were made ready and that nobody cuts off meanwhile. -EIO: the file cannot take them:
     * never a signal. -EOPNOTSUPP: not in this thread; nothing was written. */
    int (*window_write)(os_window *window, const struct iovec *iov, int count, uint64_t offset);
    /* Nothing before `until` is ready any more: it is out of the process's reach, and written out faster. By the one
     * thread. */
    void (*window_leave)(os_window *window, uint64_t until);

    uint64_t (*clock_ms)(os *self);                  /* wall clock, milliseconds since 1970 */
    uint64_t (*monotonic_ns)(os *self);              /* never runs back */
    int (*random)(os *self, void *buf, size_t size); /* fit for secrets */
};

struct os_dir {
    os *os;
};
struct os_file {
    os *os;
};
struct os_window {
    os *os;
};

/* Bytes of all the pieces, which are in memory, so that the sum fits. */
static inline size_t os_pieces_bytes(const struct iovec *iov, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

os *os_posix(void); /* static; never freed */

/* Grows by one in every forked child, so that a handle can tell that it is not in the process that opened it. */
unsigned os_fork_generation(void);
extern atomic_uint os_forks; /* the same, for whoever has asked before; only os_fork.c writes it */
/* For a descriptor that a library has opened: programs that are started do not get it. */
void os_close_on_exec(int fd);

static inline void os_dir_close(os_dir *dir) { dir->os->dir_close(dir); }
static inline int os_dir_lock(os_dir *dir, bool exclusive) { return dir->os->dir_lock(dir, exclusive); }
static inline int os_dir_sync(os_dir *dir) { return dir->os->dir_sync(dir); }
static inline int os_dir_list(os_dir *dir, os_dir_visit visit, void *ctx) { return dir->os->dir_list(dir, visit, ctx); }
static inline int os_dir_free_bytes(os_dir *dir, uint64_t *bytes) { return dir->os->dir_free_bytes(dir, bytes); }
static inline int os_dir_path(os_dir *dir, char path[OS_PATH_SIZE]) { return dir->os->dir_path(dir, path); }
static inline int os_rename(os_dir *dir, const char *from, const char *to) { return dir->os->rename(dir, from, to); }
static inline int os_unlink(os_dir *dir, const char *name) { return dir->os->unlink(dir, name); }
static inline int os_link(os_dir *from, const char *name, os_dir *to, const char *to_name) {
    return from->os->link(from, name, to, to_name);
}
static inline int os_file_open(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    return dir->os->file_open(dir, name, flags, out);
}
static inline void os_file_close(os_file *file) { file->os->file_close(file); }
static inline int os_file_info_get(os_file *file, os_file_info *info) { return file->os->file_info(file, info); }
static inline int os_file_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    return file->os->file_read(file, buf, size, offset, got);
}
static inline int os_file_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    return file->os->file_readv(file, iov, count, offset, got);
}
static inline int os_file_readv_now(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    return file->os->file_readv_now(file, iov, count, offset);
}
static inline int os_file_read_now(os_file *file, void *buf, size_t size, uint64_t offset) {
    struct iovec iov = {.iov_base = buf, .iov_len = size};
    return file->os->file_readv_now(file, &iov, 1, offset);
}
static inline int os_file_writev(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    return file->os->file_write(file, iov, count, offset);
}
static inline int os_file_write(os_file *file, const void *buf, size_t size, uint64_t offset) {
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = size};
    return file->os->file_write(file, &iov, 1, offset);
}
static inline int os_file_truncate(os_file *file, uint64_t size) { return file->os->file_truncate(file, size); }
static inline int os_file_allocate(os_file *file, uint64_t size) { return file->os->file_allocate(file, size); }
static inline int os_file_sync(os_file *file) { return file->os->file_sync(file); }
static inline int os_file_flush(os_file *file, uint64_t offset, uint64_t size) {
    return file->os->file_flush(file, offset, size);
}
static inline void os_file_will_need(os_file *file, uint64_t offset, uint64_t size) {
    file->os->file_will_need(file, offset, size);
}
static inline int os_file_punch(os_file *file, uint64_t offset, uint64_t size) {
    return file->os->file_punch(file, offset, size);
}
static inline int os_file_clone(os_file *from, os_file *to) { return from->os->file_clone(from, to); }
static inline int os_file_map(os_file *file, uint64_t offset, size_t size, const void **data) {
    return file->os->file_map(file, offset, size, data);
}
static inline void os_file_unmap(os_file *file, const void *data, size_t size) {
    file->os->file_unmap(file, data, size);
}
static inline int os_window_open(os_file *file, uint64_t size, unsigned flags, os_window **out) {
    return file->os->window_open(file, size, flags, out);
}
static inline void os_window_close(os_window *window) { window->os->window_close(window); }
static inline int os_window_load(os_window *window, os_file *file, uint64_t offset, size_t size) {
    return window->os->window_load(window, file, offset, size);
}
static inline int os_window_show(os_window *window, os_file *file, uint64_t offset, size_t size, const void **data) {
    return window->os->window_show(window, file, offset, size, data);
}
static inline int os_window_read(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    return window->os->window_read(window, buf, size, offset, sum);
}
static inline int os_window_ready(os_window *window, os_file *file, uint64_t offset, size_t size) {
    return window->os->window_ready(window, file, offset, size);
}
static inline int os_window_write(os_window *window, const struct iovec *iov, int count, uint64_t offset) {
    return window->os->window_write(window, iov, count, offset);
}
static inline void os_window_leave(os_window *window, uint64_t until) { window->os->window_leave(window, until); }

#endif

/* What the parts of the POSIX implementation share: the handles, and the functions that os_posix.c puts in the table.
 * A handle's descriptor is set at its opening and never changes, so that the calls need no lock. */
#ifndef CAIRN_OS_POSIX_H
#define CAIRN_OS_POSIX_H

#include "src/os/os.h"

typedef struct posix_dir {
    os_dir base;
    int fd;
    unsigned generation; /* os_fork_generation() at the opening: a forked child must not give the parent's lock back */
} posix_dir;

typedef struct posix_file {
    os_file base;
    int fd;
} posix_file;

/* A single path component: not empty, not "." or "..", without a slash. */
bool posix_name_ok(const char *name);

int posix_dir_open(os *self, const char *path, unsigned flags, os_dir **out);
void posix_dir_close(os_dir *dir);
int posix_dir_lock(os_dir *dir, bool exclusive);
int posix_dir_sync(os_dir *dir);
int posix_dir_list(os_dir *dir, os_dir_visit visit, void *ctx);
int posix_dir_free_bytes(os_dir *dir, uint64_t *bytes);
int posix_dir_path(os_dir *dir, char path[OS_PATH_SIZE]);
int posix_rename(os_dir *dir, const char *from, const char *to);
int posix_unlink(os_dir *dir, const char *name);
int posix_link(os_dir *from, const char *name, os_dir *to, const char *to_name);

int posix_file_open(os_dir *dir, const char *name, unsigned flags, os_file **out);
void posix_file_close(os_file *file);
int posix_file_info(os_file *file, os_file_info *info);
int posix_file_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got);
int posix_file_readv_now(os_file *file, const struct iovec *iov, int count, uint64_t offset);
int posix_file_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got);
int posix_file_write(os_file *file, const struct iovec *iov, int count, uint64_t offset);
int posix_file_truncate(os_file *file, uint64_t size);
int posix_file_allocate(os_file *file, uint64_t size);
int posix_file_sync(os_file *file);
int posix_file_flush(os_file *file, uint64_t offset, uint64_t size);
void posix_file_will_need(os_file *file, uint64_t offset, uint64_t size);
int posix_file_punch(os_file *file, uint64_t offset, uint64_t size);
int posix_file_clone(os_file *from, os_file *to);

int posix_file_map(os_file *file, uint64_t offset, size_t size, const void **data);
void posix_file_unmap(os_file *file, const void *data, size_t size);
/* Whole pages: maps what is in memory, reads the rest in. -EIO, -ENOMEM. */
int posix_populate(void *start, size_t size);
int posix_populate_to_write(void *start, size_t size); /* -EOPNOTSUPP too */

int posix_window_open(os_file *file, uint64_t size, unsigned flags, os_window **out);
void posix_window_close(os_window *window);
int posix_window_load(os_window *window, os_file *file, uint64_t offset, size_t size);
int posix_window_show(os_window *window, os_file *file, uint64_t offset, size_t size, const void **data);
int posix_window_read(os_window *window, void *buf, size_t size, uint64_t offset, uint64_t *sum);
int posix_window_ready(os_window *window, os_file *file, uint64_t offset, size_t size);
int posix_window_write(os_window *window, const struct iovec *iov, int count, uint64_t offset);
void posix_window_leave(os_window *window, uint64_t until);

#endif

/* Directories of the POSIX implementation.
 *
 * The lock is flock on the directory's own descriptor: each opening has an open file description of its own, so that a
 * second opener is refused in another process and in this one alike, and the kernel gives the lock back when the holder
 * dies. A forked child shares the description. So the parent unlocks when it closes, and does not leave that to the
 * closing of the last copy; and the child never unlocks.
 */
#include "src/base/check.h"
#include "src/os/os_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DIR_MODE 0700

bool posix_name_ok(const char *name) {
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strchr(name, '/') == NULL;
}

static int open_directory(int at, const char *path) {
    int fd;
    do {
        fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* Makes the name of the open directory `fd` durable. Its parent is reached through "..", which is right for every
 * spelling of the path. A parent that may be searched but not read cannot be opened; then the whole file system is
 * synced instead. */
static int sync_parent(int fd) {
    int parent = open_directory(fd, "..");
    if (parent == -EACCES) return syncfs(fd) == 0 ? 0 : -errno;
    if (parent < 0) return parent;
    int rc = fsync(parent) == 0 ? 0 : -errno;
    close(parent);
    return rc;
}

int posix_dir_open(os *self, const char *path, unsigned flags, os_dir **out) {
    int rc;
    posix_dir *dir = malloc(sizeof *dir);
    if (dir == NULL) return -ENOMEM;
    dir->base.os = self;
    dir->fd = -1;
    dir->generation = os_fork_generation();

    if ((flags & OS_CREATE) && mkdir(path, DIR_MODE) != 0) {
        rc = -errno;
        if (rc != -EEXIST || (flags & OS_EXCLUSIVE)) goto fail;
    }
    dir->fd = rc = open_directory(AT_FDCWD, path);
    if (rc < 0) goto fail;
    if ((flags & OS_CREATE) && (rc = sync_parent(dir->fd)) != 0) goto fail;
    *out = &dir->base;
    return 0;

fail:
    if (dir->fd >= 0) close(dir->fd);
    free(dir);
    return rc;
}

void posix_dir_close(os_dir *base) {
    posix_dir *dir = (posix_dir *)base;
    if (dir->generation == os_fork_generation()) (void)flock(dir->fd, LOCK_UN);
    close(dir->fd);
    free(dir);
}

int posix_dir_lock(os_dir *base, bool exclusive) {
    posix_dir *dir = (posix_dir *)base;
    int rc;
    do {
        rc = flock(dir->fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

int posix_dir_sync(os_dir *base) { return fsync(((posix_dir *)base)->fd) == 0 ? 0 : -errno; }

/* On a descriptor of its own, so that two listings of one handle do not share a position. */
int posix_dir_list(os_dir *base, os_dir_visit visit, void *ctx) {
    int fd = open_directory(((posix_dir *)base)->fd, ".");
    if (fd < 0) return fd;
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        rc = visit(ctx, entry->d_name);
    }
    closedir(stream);
    return rc;
}

int posix_dir_free_bytes(os_dir *base, uint64_t *bytes) {
    struct statvfs fs;
    if (fstatvfs(((posix_dir *)base)->fd, &fs) != 0) return -errno;
    uint64_t available;
    if (mul_overflows(fs.f_bavail, fs.f_frsize, &available)) available = UINT64_MAX;
    *bytes = available;
    return 0;
}

int posix_dir_path(os_dir *base, char path[OS_PATH_SIZE]) {
    CHECK(snprintf(path, OS_PATH_SIZE, "/proc/self/fd/%d", ((posix_dir *)base)->fd) < OS_PATH_SIZE);
    return access(path, F_OK) == 0 ? 0 : -EOPNOTSUPP;
}

int posix_rename(os_dir *base, const char *from, const char *to) {
    if (!posix_name_ok(from) || !posix_name_ok(to)) return -EINVAL;
    int fd = ((posix_dir *)base)->fd;
    return renameat(fd, from, fd, to) == 0 ? 0 : -errno;
}

int posix_link(os_dir *from, const char *name, os_dir *to, const char *to_name) {
    if (!posix_name_ok(name) || !posix_name_ok(to_name)) return -EINVAL;
    return linkat(((posix_dir *)from)->fd, name, ((posix_dir *)to)->fd, to_name, 0) == 0 ? 0 : -errno;
}

int posix_unlink(os_dir *base, const char *name) {
    if (!posix_name_ok(name)) return -EINVAL;
    return unlinkat(((posix_dir *)base)->fd, name, 0) == 0 ? 0 : -errno;
}

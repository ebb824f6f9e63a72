#include "src/cli/userfile.h"

#include "src/cli/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void userfile_guard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* The wrong direction on purpose: a read or write then fails instead of being lost. */
        int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", flags) != fd) abort();
    }
}

int userfile_close_output(void) { return fclose(stdout) != 0 ? -errno : 0; }

int directory_identify_fd(int fd, directory_id *out) {
    struct stat info;
    if (fstat(fd, &info) < 0) return -errno;
    *out = (directory_id){.device = info.st_dev, .inode = info.st_ino};
    return 0;
}

int directory_identify(const char *path, directory_id *out) {
    struct stat info;
    if (stat(path, &info) < 0) return -errno;
    *out = (directory_id){.device = info.st_dev, .inode = info.st_ino};
    return 0;
}

/* ---- Sources ---- */

static void describe(source_file *source, const struct stat *info) {
    bool regular = S_ISREG(info->st_mode);
    source->waits = !regular;
    source->size = regular ? (uint64_t)info->st_size : SOURCE_SIZE_UNKNOWN;
    source->modified = info->st_mtim;
}

static int adopt(source_file *source, int fd) {
    struct stat info;
    if (fstat(fd, &info) < 0) return -errno;
    if (S_ISDIR(info.st_mode)) return -EISDIR;
    *source = (source_file){.fd = fd, .owned = true};
    describe(source, &info);
    return 0;
}

int source_open(source_file *source, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return -errno;
    int rc = adopt(source, fd);
    if (rc < 0) close(fd);
    return rc;
}

void source_stdin(source_file *source) {
    struct stat info;
    *source = (source_file){.fd = STDIN_FILENO, .waits = true, .size = SOURCE_SIZE_UNKNOWN};
    if (fstat(STDIN_FILENO, &info) == 0) describe(source, &info);
    /* It may stand anywhere in its file. */
    off_t at = source->waits ? 0 : lseek(STDIN_FILENO, 0, SEEK_CUR);
    if (at > 0) source->size = (uint64_t)at < source->size ? source->size - (uint64_t)at : 0;
}

int source_open_at(source_file *source, int directory, const char *name) {
    /* O_NONBLOCK: a file that was replaced by a FIFO must not hold us. */
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return -errno;
    int rc = adopt(source, fd);
    if (rc == 0 && source->waits) rc = -EINVAL;
    if (rc < 0) close(fd);
    return rc;
}

static int wait_readable(int fd) {
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = interrupt_fd(), .events = POLLIN}};
    while (!interrupted()) {
        if (poll(polled, 2, -1) >= 0) return interrupted() ? -EINTR : 0;
        if (errno != EINTR && errno != EAGAIN) return -errno;
    }
    return -EINTR;
}

ssize_t source_read(source_file *source, void *buffer, size_t size) {
    size_t done = 0;
    while (done < size) {
        int rc = source->waits ? wait_readable(source->fd) : 0;
        if (rc < 0) return rc;
        ssize_t got = read(source->fd, (char *)buffer + done, size - done);
        if (got == 0) break;
        if (got > 0) {
            done += (size_t)got;
        } else if (errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        if (interrupted()) return -EINTR;
    }
    return (ssize_t)done;
}

bool source_changed(const source_file *source) {
    struct stat info;
    if (fstat(source->fd, &info) < 0) return true;
    return (uint64_t)info.st_size != source->size || info.st_mtim.tv_sec != source->modified.tv_sec ||
           info.st_mtim.tv_nsec != source->modified.tv_nsec;
}

void source_close(source_file *source) {
    if (source->owned) close(source->fd);
}

/* ---- Targets ---- */

/* Makes the temporary file. Its name does not grow with the target's, which may be as long as a name can be. */
static int open_temporary(target_file *target) {
    for (int attempt = 0; attempt < 100; attempt++) {
        uint64_t tag = 0;
        if (getrandom(&tag, sizeof tag, 0) < 0) return -errno;
        (void)snprintf(target->temporary, sizeof target->temporary, ".cairn-%016llx.tmp", (unsigned long long)tag);
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
        target->fd = openat(target->directory, target->temporary, flags, 0666);
        if (target->fd >= 0) return 0;
        if (errno != EEXIST) return -errno;
    }
    return -EEXIST;
}

int target_create_at(target_file *target, int directory, const char *name) {
    struct stat info;
    bool replaces = fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (!replaces && errno != ENOENT) return -errno;
    if (replaces && !S_ISREG(info.st_mode)) return -EEXIST;
    *target = (target_file){.fd = -1, .directory = directory, .name = strdup(name)};
    if (target->name == NULL) return -ENOMEM;
    int rc = open_temporary(target);
    /* A file that only its owner may read stays so. */
    if (rc == 0 && replaces && fchmod(target->fd, info.st_mode & 0777) < 0) {
        rc = -errno;
        target_discard(target);
    } else if (rc < 0) {
        free(target->name);
    }
    return rc;
}

/* `path` leads to no symbolic link. */
static int create_beside(target_file *target, char *path) {
    char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *parent = slash == NULL ? "." : slash == path ? "/" : path;
    if (slash != NULL) *slash = '\0';
    if (*name == '\0') return -EISDIR;
    int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int rc = target_create_at(target, directory, name);
    if (rc < 0) {
        close(directory);
    } else {
        target->owns_directory = true;
    }
    return rc;
}

int target_create(target_file *target, const char *path) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        if (S_ISDIR(info.st_mode)) return -EISDIR;
        *target = (target_file){.fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY), .directory = -1};
        return target->fd < 0 ? -errno : 0;
    }
    bool linked = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    char *own = linked ? realpath(path, NULL) : strdup(path);
    if (own == NULL) return -errno;
    int rc = create_beside(target, own);
    free(own);
    return rc;
}

int target_write(target_file *target, const void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t put = write(target->fd, (const char *)data + done, size - done);
        if (put < 0 && errno != EINTR) return -errno;
        if (put > 0) done += (size_t)put;
        if (interrupted()) return -EINTR;
    }
    return 0;
}

static void end(target_file *target) {
    if (target->owns_directory) close(target->directory);
    free(target->name);
}

int target_commit(target_file *target) {
    int rc = close(target->fd) < 0 ? -errno : 0;
    if (target->directory >= 0) {
        if (rc == 0 && renameat(target->directory, target->temporary, target->directory, target->name) < 0) rc = -errno;
        if (rc < 0) (void)unlinkat(target->directory, target->temporary, 0);
    }
    end(target);
    return rc;
}

void target_discard(target_file *target) {
    close(target->fd);
    if (target->directory >= 0) (void)unlinkat(target->directory, target->temporary, 0);
    end(target);
}

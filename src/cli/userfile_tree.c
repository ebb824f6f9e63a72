#include "src/cli/userfile_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_directory(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) return fd;
    int failure = errno;
    struct stat info;
    /* With O_DIRECTORY a symbolic link gives ENOTDIR. */
    if (failure == ENOTDIR && fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode)) {
        failure = ELOOP;
    }
    return -failure;
}

static int make_directory(int parent, const char *name) {
    int fd = open_directory(parent, name);
    if (fd != -ENOENT) return fd;
    if (mkdirat(parent, name, 0777) < 0 && errno != EEXIST) return -errno;
    return open_directory(parent, name);
}

int file_tree_open(file_tree *tree, const char *directory, const directory_id *keep_out) {
    *tree = (file_tree){.root = -1, .last = -1};
    if (keep_out != NULL) {
        tree->keeps_out = true;
        tree->keep_out = *keep_out;
    }
    if (mkdir(directory, 0777) < 0 && errno != EEXIST) return -errno;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    directory_id id;
    int rc = directory_identify_fd(fd, &id);
    if (rc == 0 && tree->keeps_out && directory_same(id, tree->keep_out)) rc = FILE_TREE_KEPT_OUT;
    if (rc < 0) {
        close(fd);
    } else {
        tree->root = fd;
    }
    return rc;
}

static void forget_last(file_tree *tree) {
    if (tree->last >= 0 && tree->last != tree->root) close(tree->last);
    free(tree->last_path.data);
    tree->last = -1;
    tree->last_path = (byte_string){0};
}

void file_tree_close(file_tree *tree) {
    forget_last(tree);
    close(tree->root);
}

/* One component down from `parent`, which is closed unless it is the root. */
static int descend(const file_tree *tree, int parent, const uint8_t *component, size_t size) {
    char name[NAME_MAX + 1];
    if (size > NAME_MAX) return -ENAMETOOLONG;
    memcpy(name, component, size);
    name[size] = '\0';
    int fd = make_directory(parent, name);
    if (parent != tree->root) close(parent);
    directory_id id;
    int rc = fd < 0 || !tree->keeps_out ? 0 : directory_identify_fd(fd, &id);
    if (fd >= 0 && tree->keeps_out && rc == 0 && directory_same(id, tree->keep_out)) rc = FILE_TREE_KEPT_OUT;
    if (rc < 0) close(fd);
    return rc < 0 ? rc : fd;
}

/* Makes `last` the directory `path` (size 0: the root). */
static int enter(file_tree *tree, byte_view path) {
    if (tree->last >= 0 && tree->last_path.size == path.size &&
        memcmp(tree->last_path.data, path.data, path.size) == 0) {
        return 0;
    }
    forget_last(tree);
    uint8_t *copy = malloc(path.size + 1);
    if (copy == NULL) return -ENOMEM;
    memcpy(copy, path.data, path.size);
    int fd = tree->root;
    for (size_t at = 0; at < path.size && fd >= 0;) {
        const uint8_t *slash = memchr(path.data + at, '/', path.size - at);
        size_t size = slash == NULL ? path.size - at : (size_t)(slash - path.data) - at;
        fd = descend(tree, fd, path.data + at, size);
        at += size + 1;
    }
    if (fd < 0) {
        free(copy);
        return fd;
    }
    tree->last = fd;
    tree->last_path = (byte_string){.data = copy, .size = path.size};
    return 0;
}

int file_tree_create(file_tree *tree, byte_view path, target_file *target) {
    const uint8_t *slash = memrchr(path.data, '/', path.size);
    size_t parent_size = slash == NULL ? 0 : (size_t)(slash - path.data);
    size_t name_at = slash == NULL ? 0 : parent_size + 1;
    char name[NAME_MAX + 1];
    if (path.size - name_at > NAME_MAX) return -ENAMETOOLONG;
    memcpy(name, path.data + name_at, path.size - name_at);
    name[path.size - name_at] = '\0';
    int rc = enter(tree, (byte_view){.data = path.data, .size = parent_size});
    return rc < 0 ? rc : target_create_at(target, tree->last, name);
}

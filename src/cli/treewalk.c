#include "src/cli/treewalk.h"

#include "src/cli/interrupt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directories that are held open: the deepest ones. Those above are opened again on the way up. */
enum { OPEN_LEVELS = 64 };

typedef struct name {
    size_t at;          /* in the level's texts */
    unsigned char type; /* DT_* */
} name;

typedef struct level {
    int fd; /* -1: closed for the time being */
    directory_id id;
    size_t path_size; /* of the walk's path up to this directory, its slash included */
    char *texts;
    size_t texts_size, texts_capacity;
    name *names;
    size_t name_count, name_capacity, next;
} level;

struct tree_walk {
    bool leaves_out;
    directory_id left_out;
    level *levels;
    size_t depth, capacity; /* levels in use, allocated */
    char *path;
    size_t path_capacity;
};

/* Makes room for `count` elements behind *array. */
static bool reserve(void **array, size_t *capacity, size_t count, size_t element_size) {
    if (count <= *capacity) return true;
    size_t wanted = *capacity < 16 ? 16 : *capacity * 2;
    if (wanted < count) wanted = count;
    void *grown = reallocarray(*array, wanted, element_size);
    if (grown == NULL) return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

/* ---- One directory's names ---- */

static unsigned char type_of(int directory, const struct dirent *item) {
    if (item->d_type != DT_UNKNOWN) return item->d_type;
    struct stat info;
    if (fstatat(directory, item->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) return DT_REG; /* opening it will tell */
    return (unsigned char)IFTODT(info.st_mode);
}

static int add_name(level *l, const struct dirent *item) {
    size_t size = strlen(item->d_name) + 1;
    if (!reserve((void **)&l->texts, &l->texts_capacity, l->texts_size + size, 1)) return -ENOMEM;
    if (!reserve((void **)&l->names, &l->name_capacity, l->name_count + 1, sizeof *l->names)) return -ENOMEM;
    memcpy(l->texts + l->texts_size, item->d_name, size);
    l->names[l->name_count++] = (name){.at = l->texts_size, .type = type_of(l->fd, item)};
    l->texts_size += size;
    return 0;
}

/* By the bytes of the paths: a directory's name counts with its slash. */
static int compare_names(const void *left, const void *right, void *texts) {
    const name *names[2] = {left, right};
    const unsigned char *at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = (const unsigned char *)texts + names[i]->at;
    }
    size_t same = 0;
    while (at[0][same] == at[1][same] && at[0][same] != '\0') {
        same++;
    }
    int ends[2];
    for (int i = 0; i < 2; i++) {
        ends[i] = at[i][same] == '\0' && names[i]->type == DT_DIR ? '/' : at[i][same];
    }
    return ends[0] - ends[1];
}

/* Reads what l->fd holds. On an error l has what could be read until then. */
static int read_names(level *l) {
    int rc = 0;
    int fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        rc = -errno;
        if (fd >= 0) close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        const struct dirent *item = readdir(stream);
        if (item == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) rc = add_name(l, item);
    }
    closedir(stream);
    if (l->name_count > 1) qsort_r(l->names, l->name_count, sizeof *l->names, compare_names, l->texts);
    return rc;
}

/* ---- Down and up ---- */

static void release_level(level *l) {
    if (l->fd >= 0) close(l->fd);
    free(l->texts);
    free(l->names);
}

/* Takes `fd` over in any case. Behind an error the level may be there all the same, with what could be read. */
static int push(tree_walk *walk, int fd, size_t path_size) {
    level entered = {.fd = fd, .path_size = path_size};
    int rc = directory_identify_fd(fd, &entered.id);
    if (rc == 0 && !reserve((void **)&walk->levels, &walk->capacity, walk->depth + 1, sizeof *walk->levels))
        rc = -ENOMEM;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = read_names(&entered);
    walk->levels[walk->depth++] = entered;
    if (walk->depth > OPEN_LEVELS) {
        level *far = &walk->levels[walk->depth - 1 - OPEN_LEVELS];
        if (far->fd >= 0) close(far->fd);
        far->fd = -1;
    }
    return rc;
}

/* Leaves the deepest directory. An error says that the one above cannot be gone on with: it was moved, or its
 * rights have changed. */
static int pop(tree_walk *walk) {
    level *left = &walk->levels[walk->depth - 1];
    level *above = walk->depth > 1 ? left - 1 : NULL;
    int rc = 0;
    if (above != NULL && above->fd < 0) {
        directory_id id = {0};
        above->fd = left->fd < 0 ? -1 : openat(left->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = above->fd < 0 ? (left->fd < 0 ? -ESTALE : -errno) : directory_identify_fd(above->fd, &id);
        if (rc == 0 && !directory_same(id, above->id)) rc = -ESTALE;
        if (rc < 0) {
            if (above->fd >= 0) close(above->fd);
            above->fd = -1;
            above->next = above->name_count;
        }
    }
    release_level(left);
    walk->depth--;
    return rc;
}

int tree_walk_open(tree_walk **out, const char *directory, const directory_id *leave_out) {
    tree_walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) return -ENOMEM;
    int rc = 0;
    if (leave_out != NULL) {
        walk->leaves_out = true;
        walk->left_out = *leave_out;
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -errno : push(walk, fd, 0);
    if (rc < 0) {
        tree_walk_close(walk);
    } else {
        *out = walk;
    }
    return rc;
}

void tree_walk_close(tree_walk *walk) {
    if (walk == NULL) return;
    while (walk->depth > 0) {
        release_level(&walk->levels[--walk->depth]);
    }
    free(walk->levels);
    free(walk->path);
    free(walk);
}

static bool set_path(tree_walk *walk, size_t parent_size, const char *text, walk_entry *entry) {
    size_t size = strlen(text);
    /* Room for a slash and the NUL. */
    if (!reserve((void **)&walk->path, &walk->path_capacity, parent_size + size + 2, 1)) return false;
    memcpy(walk->path + parent_size, text, size + 1);
    entry->path = (byte_view){.data = (const uint8_t *)walk->path, .size = parent_size + size};
    return true;
}

/* Goes into the directory that `entry` names. WALK_END: done, there is nothing to tell. */
static walk_step enter(tree_walk *walk, walk_entry *entry) {
    int fd = openat(entry->directory, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        entry->error = -errno;
        return WALK_FAILED;
    }
    directory_id id;
    if (walk->leaves_out && directory_identify_fd(fd, &id) == 0 && directory_same(id, walk->left_out)) {
        close(fd);
        entry->what = "the store itself";
        return WALK_SKIPPED;
    }
    size_t size = entry->path.size;
    walk->path[size] = '/';
    walk->path[size + 1] = '\0';
    entry->error = push(walk, fd, size + 1);
    return entry->error < 0 ? WALK_FAILED : WALK_END;
}

static const char *describe_type(unsigned char type) {
    switch (type) {
    case DT_LNK:
        return "symbolic link";
    case DT_FIFO:
        return "FIFO";
    case DT_SOCK:
        return "socket";
    default:
        return "device";
    }
}

walk_step tree_walk_next(tree_walk *walk, walk_entry *entry) {
    while (walk->depth > 0) {
        level *l = &walk->levels[walk->depth - 1];
        *entry = (walk_entry){.directory = l->fd};
        if (l->next == l->name_count) {
            /* The path of what the error is about: the directory above. */
            entry->path = (byte_view){.data = (const uint8_t *)(walk->path == NULL ? "" : walk->path)};
            entry->error = pop(walk);
            if (entry->error == 0) continue;
            entry->path.size = walk->levels[walk->depth - 1].path_size;
            return WALK_FAILED;
        }
        const name *item = &l->names[l->next++];
        entry->name = l->texts + item->at;
        if (!set_path(walk, l->path_size, entry->name, entry)) {
            entry->path = (byte_view){.data = (const uint8_t *)entry->name, .size = strlen(entry->name)};
            entry->error = -ENOMEM;
            return WALK_FAILED;
        }
        if (item->type == DT_REG) return WALK_FILE;
        if (item->type != DT_DIR) {
            entry->what = describe_type(item->type);
            return WALK_SKIPPED;
        }
        walk_step step = enter(walk, entry);
        if (step != WALK_END) return step;
    }
    return WALK_END;
}

uint64_t tree_total_bytes(const char *directory, const directory_id *leave_out) {
    tree_walk *walk = NULL;
    uint64_t total = 0;
    if (tree_walk_open(&walk, directory, leave_out) < 0) return 0;
    walk_entry entry;
    for (walk_step step; !interrupted() && (step = tree_walk_next(walk, &entry)) != WALK_END;) {
        struct stat info;
        if (step != WALK_FILE || fstatat(entry.directory, entry.name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (S_ISREG(info.st_mode)) total += (uint64_t)info.st_size;
    }
    tree_walk_close(walk);
    return total;
}

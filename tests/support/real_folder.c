#include "tests/support/real_folder.h"

#include "src/base/check.h"
#include "src/base/checksum.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void real_path(char out[REAL_PATH_SIZE], const char *folder, const char *name) {
    int length = snprintf(out, REAL_PATH_SIZE, "%s/%s", folder, name);
    CHECK(length > 0 && length < REAL_PATH_SIZE);
}

void real_folder_make(char path[REAL_PATH_SIZE]) {
    const char *base = getenv("TMPDIR");
    real_path(path, base == NULL || base[0] == '\0' ? "/tmp" : base, "cairn-test-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
}

int real_folder_setup(void **state) {
    char *path = malloc(REAL_PATH_SIZE);
    CHECK(path != NULL);
    real_folder_make(path);
    *state = path;
    return 0;
}

int real_folder_teardown(void **state) {
    real_folder_remove(*state);
    free(*state);
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

char (*real_folder_names(const char *path, size_t *count))[REAL_NAME_SIZE] {
    char(*names)[REAL_NAME_SIZE] = NULL;
    size_t capacity = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    *count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (*count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            names = realloc(names, capacity * REAL_NAME_SIZE);
            CHECK(names != NULL);
        }
        int length = snprintf(names[*count], REAL_NAME_SIZE, "%s", entry->d_name);
        CHECK(length < REAL_NAME_SIZE);
        ++*count;
    }
    closedir(dir);
    if (*count > 0) qsort(names, *count, REAL_NAME_SIZE, by_name);
    return names;
}

void real_folder_remove(const char *path) {
    size_t count;
    if (access(path, F_OK) != 0) return;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(path, &count);
    for (size_t i = 0; i < count; i++) {
        char child[REAL_PATH_SIZE];
        struct stat info;
        real_path(child, path, names[i]);
        CHECK(lstat(child, &info) == 0);
        if (S_ISDIR(info.st_mode)) {
            real_folder_remove(child);
        } else {
            CHECK(unlink(child) == 0);
        }
    }
    free(names);
    CHECK(rmdir(path) == 0);
}

void real_folder_copy(const char *from, const char *to) {
    size_t count;
    CHECK(mkdir(to, 0700) == 0);
    char(*names)[REAL_NAME_SIZE] = real_folder_names(from, &count);
    for (size_t i = 0; i < count; i++) {
        real_file_copy(from, to, names[i]);
    }
    free(names);
}

void real_folder_duplicate(const char *from, char to[REAL_PATH_SIZE]) {
    real_folder_make(to);
    real_folder_remove(to);
    real_folder_copy(from, to);
}

uint64_t real_folder_bytes(const char *path) {
    uint64_t total = 0;
    size_t count;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(path, &count);
    for (size_t i = 0; i < count; i++) {
        char child[REAL_PATH_SIZE];
        struct stat info;
        real_path(child, path, names[i]);
        CHECK(stat(child, &info) == 0);
        total += (uint64_t)info.st_size;
    }
    free(names);
    return total;
}

char *real_folder_describe(const char *path) {
    size_t count, used = 0;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(path, &count);
    size_t line = REAL_NAME_SIZE + 100, capacity = count * line + 1;
    char *text = malloc(capacity);
    CHECK(text != NULL);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char child[REAL_PATH_SIZE];
        struct stat info;
        size_t size;
        real_path(child, path, names[i]);
        CHECK(stat(child, &info) == 0);
        uint8_t *bytes = real_file_load(path, names[i], &size);
        int length = snprintf(text + used, capacity - used, "%s %zu %lld.%09ld %016llx\n", names[i], size,
                              (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                              (unsigned long long)checksum(bytes, size, 0));
        CHECK(length > 0 && (size_t)length < capacity - used);
        used += (size_t)length;
        free(bytes);
    }
    free(names);
    return text;
}

/* ---- Files ---- */

bool real_file_is_there(const char *folder, const char *name) {
    char path[REAL_PATH_SIZE];
    real_path(path, folder, name);
    return access(path, F_OK) == 0;
}

static int open_file(const char *folder, const char *name, int flags) {
    char path[REAL_PATH_SIZE];
    real_path(path, folder, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

uint8_t *real_file_load(const char *folder, const char *name, size_t *size) {
    struct stat info;
    int fd = open_file(folder, name, O_RDONLY);
    CHECK(fstat(fd, &info) == 0);
    *size = (size_t)info.st_size;
    uint8_t *bytes = malloc(*size + 1);
    CHECK(bytes != NULL);
    for (size_t done = 0; done < *size;) {
        ssize_t n = read(fd, bytes + done, *size - done);
        CHECK(n > 0);
        done += (size_t)n;
    }
    close(fd);
    return bytes;
}

void real_file_save(const char *folder, const char *name, const void *bytes, size_t size) {
    int fd = open_file(folder, name, O_WRONLY | O_CREAT | O_TRUNC);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        CHECK(n > 0);
        done += (size_t)n;
    }
    CHECK(close(fd) == 0);
}

void real_file_copy(const char *from, const char *to, const char *name) {
    size_t size;
    uint8_t *bytes = real_file_load(from, name, &size);
    real_file_save(to, name, bytes, size);
    free(bytes);
}

void real_file_cut(const char *folder, const char *name, size_t size) {
    char path[REAL_PATH_SIZE];
    real_path(path, folder, name);
    CHECK(truncate(path, (off_t)size) == 0);
}

void real_file_flip(const char *folder, const char *name, size_t offset, unsigned bit) {
    uint8_t byte;
    int fd = open_file(folder, name, O_RDWR);
    CHECK(pread(fd, &byte, 1, (off_t)offset) == 1);
    byte = (uint8_t)(byte ^ (1u << bit));
    CHECK(pwrite(fd, &byte, 1, (off_t)offset) == 1);
    close(fd);
}

void real_file_remove(const char *folder, const char *name) {
    char path[REAL_PATH_SIZE];
    real_path(path, folder, name);
    CHECK(unlink(path) == 0 || errno == ENOENT);
}

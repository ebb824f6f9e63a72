#include "bench/raw_reads.h"

#include "bench/bench_common.h"
#include "bench/raw_ring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((uint64_t)4096)

static void add_file(store_files *files, int folder, const char *name) {
    struct stat st;
    if (files->count == STORE_FILES_MAX) die(name, "more files than are read");
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) die(name, strerror(errno));
    files->buffered[files->count] = fd;
    files->direct[files->count] = openat(folder, name, O_RDONLY | O_CLOEXEC | O_DIRECT);
    files->sizes[files->count++] = (uint64_t)st.st_size;
}

void store_files_open(store_files *files, const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) die(folder, strerror(errno));
    files->count = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        size_t length = strlen(e->d_name);
        if (length > 4 && strcmp(e->d_name + length - 4, ".seg") == 0) add_file(files, dirfd(dir), e->d_name);
    }
    (void)closedir(dir);
}

void store_files_close(store_files *files) {
    for (unsigned i = 0; i < files->count; i++) {
        close(files->buffered[i]);
        if (files->direct[i] >= 0) close(files->direct[i]);
    }
}

static size_t longest(const raw_range *ranges, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].size > size) size = ranges[i].size;
    }
    return size;
}

void raw_read_one_by_one(const store_files *files, const raw_range *ranges, size_t count) {
    char *buffer = allocate(longest(ranges, count));
    for (size_t i = 0; i < count; i++) {
        const raw_range *r = &ranges[i];
        if (pread(files->buffered[r->file], buffer, r->size, (off_t)r->offset) != (ssize_t)r->size) {
            die("pread", "failed or short");
        }
    }
    free(buffer);
}

#ifdef BENCH_URING
/* O_DIRECT reads whole blocks around the range. */
static raw_read read_of(const store_files *files, const raw_range *r, bool direct) {
    uint64_t begin = direct ? r->offset & ~(BLOCK - 1) : r->offset, end = r->offset + r->size;
    if (direct) end = (end + BLOCK - 1) & ~(BLOCK - 1);
    return (raw_read){.fd = direct ? files->direct[r->file] : files->buffered[r->file],
                      .offset = begin,
                      .size = end - begin,
                      .least = r->offset + r->size - begin};
}

bool raw_read_in_flight(const store_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct) {
    for (unsigned i = 0; direct && i < files->count; i++) {
        if (files->direct[i] < 0) return false;
    }
    raw_ring *ring = raw_ring_new(depth, (longest(ranges, count) / BLOCK + 2) * BLOCK);
    if (ring == NULL) return false;
    raw_read *reads = allocate(count * sizeof *reads);
    for (size_t i = 0; i < count; i++) {
        reads[i] = read_of(files, &ranges[i], direct);
    }
    raw_ring_read(ring, reads, count);
    free(reads);
    raw_ring_free(ring);
    return true;
}
#else
bool raw_read_in_flight(const store_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct) {
    (void)files, (void)ranges, (void)count, (void)depth, (void)direct;
    return false;
}
#endif

#include "bench/raw_reads.h"

#include "bench/bench_common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef BENCH_LIBURING
#include <liburing.h>
#endif

#define BLOCK ((uint64_t)4096)

static void add_file(raw_files *files, int folder, const char *name) {
    struct stat st;
    if (files->count == RAW_FILES_MAX) die(name, "more files than are read");
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) die(name, strerror(errno));
    files->buffered[files->count] = fd;
    files->direct[files->count] = openat(folder, name, O_RDONLY | O_CLOEXEC | O_DIRECT);
    files->sizes[files->count++] = (uint64_t)st.st_size;
}

void raw_files_open(raw_files *files, const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) die(folder, strerror(errno));
    files->count = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        size_t length = strlen(e->d_name);
        if (length > 4 && strcmp(e->d_name + length - 4, ".seg") == 0) add_file(files, dirfd(dir), e->d_name);
    }
    (void)closedir(dir);
}

void raw_files_close(raw_files *files) {
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

void raw_read_one_by_one(const raw_files *files, const raw_range *ranges, size_t count) {
    char *buffer = allocate(longest(ranges, count));
    for (size_t i = 0; i < count; i++) {
        const raw_range *r = &ranges[i];
        if (pread(files->buffered[r->file], buffer, r->size, (off_t)r->offset) != (ssize_t)r->size) {
            die("pread", "failed or short");
        }
    }
    free(buffer);
}

#ifdef BENCH_LIBURING
/* O_DIRECT reads whole blocks around the range. */
static void prepare(struct io_uring *ring, const raw_files *files, const raw_range *r, char *buffer, bool direct) {
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    uint64_t begin = direct ? r->offset & ~(BLOCK - 1) : r->offset, end = r->offset + r->size;
    if (direct) end = (end + BLOCK - 1) & ~(BLOCK - 1);
    io_uring_prep_read(entry, direct ? files->direct[r->file] : files->buffered[r->file], buffer,
                       (unsigned)(end - begin), begin);
    io_uring_sqe_set_data(entry, buffer);
}

static void run(struct io_uring *ring, const raw_files *files, const raw_range *ranges, size_t count, char **free_list,
                unsigned depth, bool direct) {
    unsigned unused = depth;
    for (size_t next = 0, done = 0; done < count;) {
        while (next < count && unused > 0) {
            prepare(ring, files, &ranges[next++], free_list[--unused], direct);
        }
        struct io_uring_cqe *result;
        int rc = io_uring_submit_and_wait(ring, 1);
        if (rc < 0) die("io_uring_submit_and_wait", strerror(-rc));
        while (io_uring_peek_cqe(ring, &result) == 0) {
            if (result->res < 0) die("read by io_uring", strerror(-result->res));
            free_list[unused++] = io_uring_cqe_get_data(result);
            io_uring_cqe_seen(ring, result);
            done++;
        }
    }
}

bool raw_read_in_flight(const raw_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct) {
    struct io_uring ring;
    for (unsigned i = 0; direct && i < files->count; i++) {
        if (files->direct[i] < 0) return false;
    }
    if (io_uring_queue_init(depth, &ring, 0) < 0) return false;
    size_t room = (longest(ranges, count) / BLOCK + 2) * BLOCK;
    char *memory = NULL, **free_list = allocate(depth * sizeof *free_list);
    if (posix_memalign((void **)&memory, BLOCK, depth * room) != 0) die("memory", "there is none");
    memset(memory, 1, depth * room);
    for (unsigned i = 0; i < depth; i++) {
        free_list[i] = memory + i * room;
    }
    run(&ring, files, ranges, count, free_list, depth, direct);
    free(free_list);
    free(memory);
    io_uring_queue_exit(&ring);
    return true;
}
#else
bool raw_read_in_flight(const raw_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct) {
    (void)files, (void)ranges, (void)count, (void)depth, (void)direct;
    return false;
}
#endif

#include "bench/raw_files.h"

#include "bench/bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

/* ---- Files ---- */

int raw_open_at(const raw *r, const char *name, int flags) {
    int fd = openat(r->folder, name, flags | O_CLOEXEC, 0600);
    if (fd < 0 && errno != ENOENT) die(name, strerror(errno));
    return fd;
}

/* False: there is no such file, and none is made. */
static bool open_file(raw *r, int flags) {
    char name[16];
    if (r->files == RAW_FILES_MAX) die("plain files", "too many sessions");
    (void)snprintf(name, sizeof name, "%d", r->files);
    int fd = raw_open_at(r, name, O_RDWR | flags);
    if (fd < 0) return false;
    r->writing[r->files] = fd;
    r->reading[r->files] = r->way == RAW_DIRECT ? raw_open_at(r, name, O_RDONLY | O_DIRECT) : fd;
    r->files++;
    return true;
}

static void *map_places(const raw *r) {
    size_t size = r->setup.keys * sizeof *r->places;
    int fd = raw_open_at(r, "places", O_RDWR | O_CREAT);
    if (ftruncate(fd, (off_t)size) != 0) die("places", strerror(errno));
    void *places = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (places == MAP_FAILED) die("places", strerror(errno));
    close(fd);
    return places;
}

void *raw_files_open(const char *path, const engine_setup *setup, raw_way way) {
    raw *r = allocate(sizeof *r);
    *r = (raw){.setup = *setup, .way = way, .stride = setup->value_size};
    if (way == RAW_DIRECT) r->stride = (r->stride + PAGE - 1) / PAGE * PAGE;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) die(path, strerror(errno));
    r->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->folder < 0) die(path, strerror(errno));
    if (pthread_mutex_init(&r->lock, NULL) != 0) die("mutex", "cannot be made");
    while (open_file(r, 0)) {
    }
    r->places = map_places(r);
    return r;
}

void raw_files_close(void *store) {
    raw *r = store;
    for (int i = 0; i < r->files; i++) {
        if (r->reading[i] != r->writing[i]) close(r->reading[i]);
        close(r->writing[i]);
    }
    munmap(r->places, r->setup.keys * sizeof *r->places);
    close(r->folder);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- Sessions ---- */

void raw_file_new(raw_session *s) {
    raw *r = s->of;
    (void)pthread_mutex_lock(&r->lock);
    s->file = r->files;
    (void)open_file(r, O_CREAT);
    (void)pthread_mutex_unlock(&r->lock);
}

void raw_write_at(const raw *r, int file, const void *data, size_t size, uint64_t offset) {
    if (pwrite(r->writing[file], data, size, (off_t)offset) != (ssize_t)size) die("pwrite", strerror(errno));
}

static void write_before(raw_session *s) {
    const raw *r = s->of;
    char *value = allocate(r->stride);
    raw_file_new(s);
    for (uint64_t i = 0; i < r->setup.keys_a_session; i++) {
        raw_write_at(r, s->file, value, r->stride, i * r->stride);
    }
    if (fsync(r->writing[s->file]) != 0) die("fsync", strerror(errno));
    free(value);
}

void *raw_session_begin(void *store) {
    raw_session *s = allocate(sizeof *s);
    *s = (raw_session){.of = store, .file = -1};
#ifdef BENCH_URING
    s->ring = raw_ring_new(RING_DEPTH, 0);
#endif
    if (s->of->way == RAW_OVER) write_before(s);
    return s;
}

void raw_session_end(void *session) {
    raw_session *s = session;
#ifdef BENCH_URING
    if (s->ring != NULL) raw_ring_free(s->ring);
#endif
    free(s);
}

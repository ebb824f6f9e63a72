/* Plain files: what the disk and the page cache have to give. Values stand one behind the other in the order of their
 * puts, in a file for each session, so that threads do not share one; a table in memory tells where each key's value
 * is. Nothing is verified, and no key is stored. The table is a file that is mapped and read ahead at the opening, so
 * that it costs the reads nothing. A put of a key that is there goes to the same place.
 *
 *   raw         pwrite and pread through the page cache, io_uring for many gets at once; durable: fdatasync after each
 *   raw-direct  the same with O_DIRECT reads; each value begins on a page
 *   raw-early   pwrite, and each time that some MiB were put their write-back begins, before anybody asks for a sync
 *   raw-over    the blocks are there and written before, so that fdatasync has no metadata to write
 */
#include "bench/bench_common.h"
#include "bench/engine.h"
#include "bench/raw_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAM_FILE "stream"
#define EARLY_BYTES ((uint64_t)8 << 20)

static void *raw_open(const char *path, const engine_setup *setup) { return raw_files_open(path, setup, RAW_PLAIN); }
static void *direct_open(const char *path, const engine_setup *setup) {
    return raw_files_open(path, setup, RAW_DIRECT);
}
static void *early_open(const char *path, const engine_setup *setup) { return raw_files_open(path, setup, RAW_EARLY); }
static void *over_open(const char *path, const engine_setup *setup) { return raw_files_open(path, setup, RAW_OVER); }

/* ---- Values ---- */

static uint64_t *place_of(const raw *r, const char *key, size_t key_size) {
    uint64_t number = 0;
    for (size_t i = key_size - 12; i < key_size; i++) {
        number = number * 10 + (uint64_t)(key[i] - '0');
    }
    if (number >= r->setup.keys) die("plain files", "a key is beyond what was said");
    return &r->places[number];
}

static raw_read read_of(const raw *r, const char *key, size_t key_size, void *buffer) {
    uint64_t place = *place_of(r, key, key_size);
    if (place == 0) die("plain files", "a key is not there");
    place--;
    return (raw_read){.fd = r->reading[place >> RAW_FILE_SHIFT],
                      .offset = place & RAW_OFFSETS,
                      .buffer = buffer,
                      .size = r->way == RAW_DIRECT ? r->stride : r->setup.value_size,
                      .least = r->setup.value_size};
}

/* What was appended since it last began. */
static void begin_write_back(raw_session *s) {
    uint64_t bytes = s->end - s->begun;
    if (s->of->way != RAW_EARLY || bytes < EARLY_BYTES) return;
    int fd = s->of->writing[s->file];
    if (sync_file_range(fd, (off_t)s->begun, (off_t)bytes, SYNC_FILE_RANGE_WRITE) != 0) {
        die("sync_file_range", strerror(errno));
    }
    s->begun = s->end;
}

static void raw_put(void *session, const char *key, size_t key_size, const void *value, size_t value_size) {
    raw_session *s = session;
    const raw *r = s->of;
    uint64_t *place = place_of(r, key, key_size), at = *place;
    if (at == 0) {
        if (s->file < 0) raw_file_new(s);
        at = ((uint64_t)s->file << RAW_FILE_SHIFT | s->end) + 1;
        s->end += r->stride;
    }
    int file = (int)((at - 1) >> RAW_FILE_SHIFT);
    raw_write_at(r, file, value, value_size, (at - 1) & RAW_OFFSETS);
    if (r->setup.durable && fdatasync(r->writing[file]) != 0) die("fdatasync", strerror(errno));
    *place = at;
    begin_write_back(s);
}

static void read_one(const raw_read *read) {
    ssize_t got = pread(read->fd, read->buffer, read->size, (off_t)read->offset);
    if (got < 0) die("pread", strerror(errno));
    if ((size_t)got < read->least) die("pread", "a value is cut short");
}

static size_t raw_get(void *session, const char *key, size_t key_size, void *buffer, size_t cap) {
    const raw *r = ((raw_session *)session)->of;
    raw_read read = read_of(r, key, key_size, buffer);
    if (r->setup.value_size > cap) die("plain files", "a value is too long");
    read_one(&read);
    return r->setup.value_size;
}

static void raw_sync(void *session) {
    raw *r = ((raw_session *)session)->of;
    (void)pthread_mutex_lock(&r->lock);
    int files = r->files;
    (void)pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < files; i++) {
        if (fdatasync(r->writing[i]) != 0) die("fdatasync", strerror(errno));
    }
}

#ifdef BENCH_URING
static void raw_get_many(void *session, engine_get *gets, size_t count) {
    const raw_session *s = session;
    raw_read *reads = allocate(count * sizeof *reads);
    for (size_t i = 0; i < count; i++) {
        reads[i] = read_of(s->of, gets[i].key, gets[i].key_size, gets[i].buffer);
        gets[i].size = s->of->setup.value_size;
        if (s->ring == NULL) read_one(&reads[i]);
    }
    if (s->ring != NULL) raw_ring_read(s->ring, reads, count);
    free(reads);
}
#else
#define raw_get_many NULL
#endif

/* ---- Streams: a file, whatever the key ---- */

static void raw_stream(void *session, const char *key, size_t key_size, const void *piece, size_t size,
                       uint64_t pieces) {
    (void)key;
    (void)key_size;
    int fd = raw_open_at(((raw_session *)session)->of, STREAM_FILE, O_RDWR | O_CREAT | O_TRUNC);
    for (uint64_t i = 0; i < pieces; i++) {
        if (write(fd, piece, size) != (ssize_t)size) die(STREAM_FILE, strerror(errno));
    }
    if (fdatasync(fd) != 0) die(STREAM_FILE, strerror(errno));
    close(fd);
}

static void raw_stream_read(void *session, const char *key, size_t key_size, uint64_t offset, void *buffer,
                            size_t size) {
    (void)key;
    (void)key_size;
    int fd = raw_open_at(((raw_session *)session)->of, STREAM_FILE, O_RDONLY);
    if (pread(fd, buffer, size, (off_t)offset) != (ssize_t)size) die(STREAM_FILE, strerror(errno));
    close(fd);
}

#define RAW(name_, parts_, open_)                                                                                      \
    {                                                                                                                  \
        .name = name_, .kind = ENGINE_RAW, .parts = parts_, .open = open_, .close = raw_files_close,                   \
        .session = raw_session_begin, .session_end = raw_session_end, .put = raw_put, .get = raw_get,                  \
        .sync = raw_sync, .get_many = raw_get_many, .stream = raw_stream, .stream_read = raw_stream_read               \
    }

const engine engine_raw =
    RAW("raw", PART_FILL | PART_WARM | PART_COLD | PART_OVERWRITE | PART_DURABLE | PART_MIXED, raw_open);
const engine engine_raw_direct = RAW("raw-direct", PART_COLD, direct_open);
const engine engine_raw_early = RAW("raw-early", PART_FILL, early_open);
const engine engine_raw_over = RAW("raw-over", PART_DURABLE, over_open);

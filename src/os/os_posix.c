/* The POSIX implementation of the OS table: the table itself, the clocks and the random source. Directories are in
 * os_posix_dir.c, files in os_posix_file.c, mappings in os_posix_map.c, windows in os_posix_window.c. */
#include "src/os/os_posix.h"

#include "src/base/check.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static uint64_t posix_clock_ms(os *self) {
    (void)self;
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t posix_monotonic_ns(os *self) {
    (void)self;
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int posix_random(os *self, void *buf, size_t size) {
    (void)self;
    uint8_t *next = buf;
    while (size > 0) {
        ssize_t n = getrandom(next, size, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        next += n;
        size -= (size_t)n;
    }
    return 0;
}

os *os_posix(void) {
    static os table = {
        .dir_open = posix_dir_open,
        .dir_close = posix_dir_close,
        .dir_lock = posix_dir_lock,
        .dir_sync = posix_dir_sync,
        .dir_list = posix_dir_list,
        .dir_free_bytes = posix_dir_free_bytes,
        .dir_path = posix_dir_path,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .link = posix_link,
        .file_open = posix_file_open,
        .file_close = posix_file_close,
        .file_info = posix_file_info,
        .file_read = posix_file_read,
        .file_readv = posix_file_readv,
        .file_readv_now = posix_file_readv_now,
        .file_write = posix_file_write,
        .file_truncate = posix_file_truncate,
        .file_allocate = posix_file_allocate,
        .file_sync = posix_file_sync,
        .file_flush = posix_file_flush,
        .file_will_need = posix_file_will_need,
        .file_punch = posix_file_punch,
        .file_clone = posix_file_clone,
        .file_map = posix_file_map,
        .file_unmap = posix_file_unmap,
        .window_open = posix_window_open,
        .window_close = posix_window_close,
        .window_load = posix_window_load,
        .window_show = posix_window_show,
        .window_read = posix_window_read,
        .window_ready = posix_window_ready,
        .window_write = posix_window_write,
        .window_leave = posix_window_leave,
        .clock_ms = posix_clock_ms,
        .monotonic_ns = posix_monotonic_ns,
        .random = posix_random,
    };
    return &table;
}

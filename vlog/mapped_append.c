#include "vlog/mapped_append.h"

/* Nothing in this segment any more. */
static bool refuse(mapped_append *m) {
    mapped_append_end(m);
    m->refused = true;
    return false;
}

/* Makes the window ready for an append that ends at `end`, and some more. */
static bool make_ready(mapped_append *m, os_dir *dir, segment *s, os_file *file, uint64_t end) {
    uint64_t capacity = segment_capacity(s), at = atomic_load(&s->end);
    uint64_t to = min_u64(round_up(end, MAPPED_STEP_BYTES), capacity);
    if (end > to) return false;
    if (m->window == NULL && os_window_open(file, capacity, OS_TO_WRITE, &m->window) != 0) return refuse(m);
    uint64_t zeros_from = max_u64(at, s->written), from = max_u64(at, m->ready);
    if (zeros_from < to && !ahead_zeros(dir, s, file, at, zeros_from, to)) return refuse(m);
    if (os_window_ready(m->window, file, from, to - from) != 0) return refuse(m);
    m->ready = to;
    return true;
}

bool mapped_append_write(mapped_append *m, os_dir *dir, segment *s, os_file *file, const struct iovec *iov, int count,
                         uint64_t size, uint64_t unsynced) {
    uint64_t at = atomic_load(&s->end), end = at + size;
    if (m->refused || s->no_window || size > MAPPED_BYTES_MAX) return false;
    if (end > m->ready && (unsynced < MAPPED_AFTER_BYTES || !make_ready(m, dir, s, file, end))) return false;
    return os_window_write(m->window, iov, count, at) == 0 || refuse(m);
}

void mapped_append_leave(mapped_append *m, const segment *s) {
    if (m->window != NULL) os_window_leave(m->window, mapped_append_left(s));
}

void mapped_append_end(mapped_append *m) {
    if (m->window != NULL) os_window_close(m->window);
    *m = (mapped_append){0};
}

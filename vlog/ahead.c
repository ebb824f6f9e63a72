#include "vlog/ahead.h"

#include "src/base/check.h"
#include "vlog/record.h"

#define ROOM_SHARE 64u /* of what is free on the disk: no larger part is written ahead */
#define ZEROS_BYTES ((size_t)64 << 10)

static uint8_t zeros[ZEROS_BYTES]; /* never written */

static uint64_t step_for(uint64_t mean) {
    uint64_t bytes = round_up(mean * AHEAD_SYNCS, BLOCK_BYTES);
    return min_u64(max_u64(bytes, AHEAD_STEP_MIN), AHEAD_STEP_MAX);
}

void ahead_learn(ahead *a, uint64_t appended) {
    uint64_t bytes = appended - a->appended;
    if (bytes == 0) return;
    a->appended = appended;
    unsigned small = bytes > AHEAD_SYNC_BYTES_MAX ? 0 : atomic_load(&a->small) + 1;
    a->mean = small <= 1 ? bytes : (7 * a->mean + bytes) / 8;
    atomic_store(&a->small, small < AHEAD_AFTER ? small : AHEAD_AFTER);
    atomic_store(&a->step, small < AHEAD_AFTER ? 0 : step_for(a->mean));
}

static bool is_room(os_dir *dir, uint64_t bytes) {
    uint64_t free_bytes = 0;
    return os_dir_free_bytes(dir, &free_bytes) == 0 && free_bytes / ROOM_SHARE >= bytes;
}

static int write_zeros(os_file *file, uint64_t from, uint64_t to) {
    struct iovec iov[OS_PIECES_MAX];
    while (from < to) {
        int count = 0;
        uint64_t at = from;
        for (; count < OS_PIECES_MAX && at < to; count++) {
            iov[count] = (struct iovec){zeros, min_u64(to - at, ZEROS_BYTES)};
            at += iov[count].iov_len;
        }
        int rc = os_file_writev(file, iov, count, from);
        if (rc != 0) return rc;
        from = at;
    }
    return 0;
}

struct iovec ahead_rest(const segment *s, uint64_t end) {
    uint64_t to = round_up(end, AHEAD_STEP_MIN);
    _Static_assert(AHEAD_STEP_MIN <= ZEROS_BYTES, "the rest is one piece");
    if (end <= s->written || to > s->target) return (struct iovec){0};
    return (struct iovec){zeros, to - end};
}

bool ahead_zeros(os_dir *dir, segment *s, os_file *file, uint64_t end, uint64_t from, uint64_t to) {
    if (is_room(dir, to - from)) {
        s->written = to; /* or a part of it, which is cut off */
        if (write_zeros(file, from, to) == 0) return true;
    }
    ahead_cut(s, file, end);
    return false;
}

void ahead_write(ahead *a, os_dir *dir, segment *s, os_file *file, uint64_t end) {
    uint64_t step = ahead_bytes(a);
    if (step == 0 || end <= s->written) return;
    uint64_t from = round_up(end, BLOCK_BYTES), to = min_u64(from + step, s->target);
    if (from >= to || ahead_zeros(dir, s, file, end, from, to)) return;
    atomic_store(&a->small, 0);
    atomic_store(&a->step, 0);
}

void ahead_cut(segment *s, os_file *file, uint64_t size) {
    if (s->written > size) (void)os_file_truncate(file, size);
    s->written = 0;
}

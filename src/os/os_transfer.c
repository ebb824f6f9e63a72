#include "src/os/os_transfer.h"

#include "src/base/check.h"

#include <errno.h>
#include <stdlib.h>

#define PIECE_BYTES ((size_t)1 << 20)

static bool cannot_be(int rc) { return rc == -EOPNOTSUPP || rc == -EXDEV || rc == -EINVAL || rc == -EPERM; }

static int tell(const os_transfer *t, uint64_t bytes) {
    return t->progress != NULL && t->progress(t->ctx, bytes) != 0 ? -ECANCELED : 0;
}

static int copy_range(os_transfer *t, os_file *from, os_file *to, uint8_t *buf, os_range r) {
    while (r.begin < r.end) {
        size_t piece = (size_t)min_u64(PIECE_BYTES, r.end - r.begin), got = 0;
        int rc = os_file_read(from, buf, piece, r.begin, &got);
        if (rc == 0 && got < piece) rc = -EIO; /* cut short by somebody */
        if (rc == 0) rc = os_file_write(to, buf, piece, r.begin);
        if (rc == 0) (void)os_file_flush(to, r.begin, piece);
        if (rc == 0) rc = tell(t, piece);
        if (rc != 0) return rc;
        t->copied += piece;
        r.begin += piece;
    }
    return 0;
}

static int copy(os_transfer *t, os_file *from, os_file *to, uint64_t size, const os_range *holes, size_t hole_count) {
    uint8_t *buf = malloc(PIECE_BYTES);
    if (buf == NULL) return -ENOMEM;
    uint64_t at = 0;
    int rc = os_file_truncate(to, size);
    for (size_t i = 0; rc == 0 && i < hole_count && holes[i].end <= size; i++) {
        rc = copy_range(t, from, to, buf, (os_range){at, holes[i].begin});
        at = holes[i].end;
    }
    if (rc == 0) rc = copy_range(t, from, to, buf, (os_range){at, size});
    free(buf);
    return rc;
}

static int clone_or_copy(os_transfer *t, const char *name, const char *to_name, uint64_t size, const os_range *holes,
                         size_t hole_count) {
    os_file *from = NULL, *to = NULL;
    int rc = os_file_open(t->from, name, OS_READ_ONLY, &from);
    if (rc != 0) return rc;
    rc = os_file_open(t->to, to_name, OS_CREATE | OS_EXCLUSIVE, &to);
    if (rc == 0) {
        rc = t->means == TRANSFER_CLONE ? os_file_clone(from, to) : copy(t, from, to, size, holes, hole_count);
        if (rc == 0) rc = os_file_sync(to);
        os_file_close(to);
        if (rc != 0) (void)os_unlink(t->to, to_name);
    }
    os_file_close(from);
    return rc;
}

static uint64_t without_holes(uint64_t size, const os_range *holes, size_t hole_count) {
    for (size_t i = 0; i < hole_count; i++) {
        size -= min_u64(size, holes[i].end - holes[i].begin);
    }
    return size;
}

int os_transfer_file(os_transfer *t, const char *name, const char *to_name, uint64_t size, const os_range *holes,
                     size_t hole_count) {
    int rc = -EOPNOTSUPP;
    if (t->means == TRANSFER_CLONE) {
        rc = clone_or_copy(t, name, to_name, size, holes, hole_count);
        if (cannot_be(rc)) t->means = TRANSFER_LINK;
    }
    if (t->means == TRANSFER_LINK) {
        rc = os_link(t->from, name, t->to, to_name);
        if (cannot_be(rc)) t->means = TRANSFER_COPY;
    }
    if (t->means != TRANSFER_COPY && rc != -EMLINK) {
        uint64_t data = without_holes(size, holes, hole_count);
        if (rc == 0) t->shared += data;
        if (rc == 0 && (rc = tell(t, data)) != 0) (void)os_unlink(t->to, to_name);
        return rc;
    }
    os_transfer_means means = t->means; /* too many links concern one file only */
    t->means = TRANSFER_COPY;
    rc = clone_or_copy(t, name, to_name, size, holes, hole_count);
    t->means = means;
    return rc;
}

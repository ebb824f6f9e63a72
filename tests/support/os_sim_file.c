/* Files of the simulated disk: what the OS table calls. Every change is made in what reads see, and pended with its
 * bytes for the crash model. */
#include "src/base/checksum.h"
#include "tests/support/os_sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct sim_file_handle {
    os_file base;
    sim_file *file;
    bool read_only;
    char name[SIM_NAME_SIZE]; /* as it was opened, for the trace */
} sim_file_handle;

static sim_disk *disk_of_file(os_file *file) { return (sim_disk *)file->os; }

/* The file of that name, made when asked for. */
static int find_file(sim_disk *d, sim_dir *dir, const char *name, unsigned flags, sim_file **out) {
    sim_entry *e = table_find(&dir->now, name);
    bool create = (flags & OS_CREATE) != 0;
    bool exclusive = create && (flags & OS_EXCLUSIVE);
    if (e != NULL) {
        *out = e->file;
        return exclusive ? -EEXIST : 0;
    }
    if (names_directory(d, dir, name)) return exclusive ? -EEXIST : -EINVAL;
    if (!create) return -ENOENT;
    *out = disk_add_file(d);
    dir_apply(d, dir, NAME_CREATE, name, "", *out);
    return 0;
}

/* What a handle or a window has of its file. In a call, which has the mutex. */
static void take_hold(sim_disk *d, sim_file *file) {
    d->handles++;
    file->handles++;
    disk_file_ref(file);
}

int sim_call_open(os_dir *base, const char *name, unsigned flags, os_file **out) {
    sim_disk *d = (sim_disk *)base->os;
    sim_dir *dir = ((sim_dir_handle *)base)->dir;
    int rc = name_check(name);
    if (rc != 0) return rc;
    sim_file_handle *h = calloc(1, sizeof *h);
    if (h == NULL) return -ENOMEM;

    os_mutex_lock(&d->mutex);
    bool creates = (flags & OS_CREATE) && table_find(&dir->now, name) == NULL && !names_directory(d, dir, name);
    os_mutex_unlock(&d->mutex);
    call c;
    rc = call_enter(&c, d, creates ? SIM_CREATE : SIM_OPEN, name, 0, 0);
    if (rc == 0) rc = find_file(d, dir, name, flags, &h->file);
    if (rc == 0) take_hold(d, h->file);
    call_leave(&c, rc);
    if (rc != 0) {
        free(h);
        return rc;
    }
    h->base.os = base->os;
    h->read_only = (flags & OS_READ_ONLY) != 0;
    memcpy(h->name, name, strlen(name));
    *out = &h->base;
    return 0;
}

/* Gives it back. Not in a call. */
static void let_go(sim_disk *d, sim_file *file) {
    os_mutex_lock(&d->mutex);
    d->handles--;
    if (--file->handles == 0 && file->names == 0) {
        disk_keep_stale(d, file->now, 0);
        d->allocated -= file->now->allocated * SIM_PAGE;
    }
    disk_file_unref(d, file);
    os_mutex_unlock(&d->mutex);
}

void sim_call_close(os_file *base) {
    sim_file_handle *h = (sim_file_handle *)base;
    let_go(disk_of_file(base), h->file);
    free(h);
}

int sim_call_info(os_file *base, os_file_info *info) {
    const sim_file_handle *h = (sim_file_handle *)base;
    call c;
    int rc = call_enter(&c, disk_of_file(base), SIM_INFO, h->name, 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    *info = (os_file_info){.size = h->file->now->size,
                           .allocated = h->file->now->allocated * SIM_PAGE + h->file->ahead,
                           .links = h->file->names};
    return call_leave(&c, 0);
}

int sim_call_readv(os_file *base, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    const sim_file_handle *h = (sim_file_handle *)base;
    size_t done = 0;
    call c;
    int rc = call_enter(&c, disk_of_file(base), SIM_READ, h->name, offset, os_pieces_bytes(iov, count));
    for (int i = 0; rc == 0 && i < count; i++) {
        done += content_read(h->file->now, iov[i].iov_base, iov[i].iov_len, offset + done);
    }
    if (rc == 0) *got = done;
    return call_leave(&c, rc);
}

int sim_call_read(os_file *base, void *buf, size_t size, uint64_t offset, size_t *got) {
    struct iovec iov = {buf, size};
    return sim_call_readv(base, &iov, 1, offset, got);
}

/* Everything is in memory. A fault of a read is one of this too. */
int sim_call_readv_now(os_file *base, const struct iovec *iov, int count, uint64_t offset) {
    size_t got = 0;
    bool whole = sim_call_readv(base, iov, count, offset, &got) == 0 && got == os_pieces_bytes(iov, count);
    return whole ? 0 : -EAGAIN;
}

static sim_pending *pending_new(pending_kind kind, uint64_t offset, uint64_t size, size_t bytes) {
    sim_pending *op = malloc(sizeof *op + bytes);
    CHECK(op != NULL);
    atomic_init(&op->refs, 1);
    op->kind = kind;
    op->offset = offset;
    op->size = size;
    return op;
}

/* How many of the bytes find room: blocks are allocated in order until the disk is full. */
static uint64_t bytes_with_room(const sim_disk *d, const sim_content *c, uint64_t offset, uint64_t size) {
    uint64_t room = d->capacity > d->allocated ? (d->capacity - d->allocated) / SIM_PAGE : 0;
    if (content_missing_pages(c, offset, size) <= room) return size;
    uint64_t end = offset;
    while (end < offset + size) {
        uint64_t next = min_u64((end / SIM_PAGE + 1) * SIM_PAGE, offset + size);
        size_t missing = content_missing_pages(c, end, next - end);
        if (missing > room) break;
        room -= missing;
        end = next;
    }
    return end - offset;
}

/* Does the write for as many of the bytes as `size` says, and pends it. */
static void write_and_pend(sim_disk *d, sim_file *f, const struct iovec *iov, uint64_t offset, uint64_t size) {
    if (size == 0) return;
    sim_pending *op = pending_new(PENDING_WRITE, offset, size, (size_t)size);
    for (size_t done = 0; done < size; iov++) {
        size_t n = (size_t)min_u64(iov->iov_len, size - done);
        if (n > 0) memcpy(op->bytes + done, iov->iov_base, n);
        done += n;
    }
    size_t before = f->now->allocated;
    if (d->allocates_ahead && offset + size > f->now->size) f->ahead = offset + size;
    content_write(&f->now, op->bytes, (size_t)size, offset);
    disk_file_space(d, f, before);
    disk_file_pend(f, op);
}

/* All of it or an error, in a call of its own. `inside`: the file does not grow. */
static int write_call(sim_disk *d, sim_file *f, const char *name, const struct iovec *iov, uint64_t offset,
                      uint64_t size, bool inside) {
    call c;
    int rc = call_enter(&c, d, SIM_WRITE, name, offset, size);
    if (rc == 0 && inside && f->now->size < offset + size) return call_leave(&c, -EIO);
    if (rc != 0) {
        if (c.traced != NULL && d->fault.partial) write_and_pend(d, f, iov, offset, rng_below(&d->choices, size));
        return call_leave(&c, rc);
    }
    uint64_t room = bytes_with_room(d, f->now, offset, size);
    write_and_pend(d, f, iov, offset, room);
    return call_leave(&c, room == size ? 0 : -ENOSPC);
}

int sim_call_write(os_file *base, const struct iovec *iov, int count, uint64_t offset) {
    const sim_file_handle *h = (sim_file_handle *)base;
    uint64_t size = 0, end;
    CHECK(count >= 0 && count <= OS_PIECES_MAX);
    for (int i = 0; i < count; i++)
        if (add_overflows(size, iov[i].iov_len, &size)) return -EINVAL;
    if (add_overflows(offset, size, &end)) return -EINVAL;
    if (h->read_only) return -EBADF;
    if (end > SIM_FILE_SIZE_MAX) return -EFBIG;
    if (size == 0) return 0;
    return write_call(disk_of_file(base), h->file, h->name, iov, offset, size, false);
}

int sim_call_truncate(os_file *base, uint64_t size) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_disk *d = disk_of_file(base);
    if (h->read_only) return -EINVAL;
    if (size > SIM_FILE_SIZE_MAX) return -EFBIG;
    call c;
    int rc = call_enter(&c, d, SIM_TRUNCATE, h->name, size, 0);
    if (rc != 0) return call_leave(&c, rc);
    size_t before = h->file->now->allocated;
    h->file->ahead = 0;
    if (size < h->file->now->size) disk_keep_stale(d, h->file->now, round_up(size, SIM_PAGE));
    content_truncate(&h->file->now, size);
    disk_file_space(d, h->file, before);
    disk_file_pend(h->file, pending_new(PENDING_TRUNCATE, size, 0, 0));
    return call_leave(&c, 0);
}

/* The size is pending like that of a truncation; that the blocks are there does not survive a crash. */
int sim_call_allocate(os_file *base, uint64_t size) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_disk *d = disk_of_file(base);
    sim_file *f = h->file;
    if (h->read_only) return -EBADF;
    if (size > SIM_FILE_SIZE_MAX) return -EFBIG;
    call c;
    int rc = call_enter(&c, d, SIM_WRITE, h->name, size, 0);
    uint64_t from = f->now->size;
    if (rc != 0 || size <= from) return call_leave(&c, rc);
    uint64_t room = bytes_with_room(d, f->now, from, size - from);
    size_t before = f->now->allocated;
    content_allocate(&f->now, from + room);
    disk_file_space(d, f, before);
    disk_file_pend(f, pending_new(PENDING_TRUNCATE, from + room, 0, 0));
    return call_leave(&c, room == size - from ? 0 : -ENOSPC);
}

int sim_call_punch(os_file *base, uint64_t offset, uint64_t size) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_disk *d = disk_of_file(base);
    uint64_t end;
    if (add_overflows(offset, size, &end) || end > INT64_MAX) return -EINVAL;
    if (h->read_only) return -EBADF;
    if (size == 0) return 0;
    call c;
    int rc = call_enter(&c, d, SIM_PUNCH, h->name, offset, size);
    uint64_t inside = min_u64(end, h->file->now->size);
    if (rc != 0 || offset >= inside) return call_leave(&c, rc);
    size_t before = h->file->now->allocated;
    disk_keep_stale(d, h->file->now, offset);
    content_zero(&h->file->now, offset, inside - offset);
    disk_file_space(d, h->file, before);
    disk_file_pend(h->file, pending_new(PENDING_PUNCH, offset, inside - offset, 0));
    return call_leave(&c, 0);
}

/* As most file systems. */
int sim_call_clone(os_file *from, os_file *to) {
    (void)from;
    (void)to;
    return -EOPNOTSUPP;
}

/* A failure leaves what was pending clean: to be read, never to be written. */
int sim_call_sync(os_file *base) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_file *f = h->file;
    call c;
    int rc = call_enter(&c, disk_of_file(base), SIM_SYNC, h->name, 0, 0);
    if (c.traced == NULL) return call_leave(&c, rc); /* dead: no sync was tried */
    if (rc != 0 && f->pending_count > 0) f->diverged = true;
    if (rc == 0 && f->pending_count > 0) file_persist_all(f);
    content_assign(&f->base, f->now);
    disk_file_forget_pending(f);
    return call_leave(&c, rc);
}

int sim_call_flush(os_file *base, uint64_t offset, uint64_t size) {
    call c;
    int rc = call_enter(&c, disk_of_file(base), SIM_FLUSH, ((sim_file_handle *)base)->name, offset, size);
    return call_leave(&c, rc);
}

/* Everything is in memory; and a hint is no operation that can be cut at. */
void sim_call_will_need(os_file *base, uint64_t offset, uint64_t size) {
    (void)base;
    (void)offset;
    (void)size;
}

int sim_call_map(os_file *base, uint64_t offset, size_t size, const void **data) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_disk *d = disk_of_file(base);
    uint64_t end;
    if (size == 0 || add_overflows(offset, size, &end)) return -EINVAL;
    call c;
    void *copy = NULL;
    int rc = call_enter(&c, d, SIM_MAP, h->name, offset, size);
    if (rc == 0 && end > h->file->now->size) rc = -EIO;
    if (rc == 0 && (copy = malloc(size)) == NULL) rc = -ENOMEM;
    if (rc != 0) return call_leave(&c, rc);
    content_read(h->file->now, copy, size, offset);
    d->handles++;
    *data = copy;
    return call_leave(&c, 0);
}

void sim_call_unmap(os_file *base, const void *data, size_t size) {
    (void)size;
    sim_disk *d = disk_of_file(base);
    os_mutex_lock(&d->mutex);
    d->handles--;
    os_mutex_unlock(&d->mutex);
    free((void *)(uintptr_t)data);
}

/* ---- Windows ---- */

typedef struct sim_window {
    os_window base;
    sim_file *file;
    uint64_t size;
    bool to_write;
    uint64_t ready, ready_end; /* where window_write may go */
    uint8_t *shown;            /* as long as the window, as far as window_show has copied it; NULL: nothing yet */
    char name[SIM_NAME_SIZE];
} sim_window;

int sim_call_window_open(os_file *base, uint64_t size, unsigned flags, os_window **out) {
    const sim_file_handle *h = (sim_file_handle *)base;
    sim_disk *d = disk_of_file(base);
    if (size == 0) return -EINVAL;
    sim_window *w = malloc(sizeof *w);
    if (w == NULL) return -ENOMEM;
    *w = (sim_window){.base = {.os = base->os}, .file = h->file, .size = size, .to_write = (flags & OS_TO_WRITE) != 0};
    memcpy(w->name, h->name, sizeof w->name);
    call c;
    int rc = call_enter(&c, d, SIM_MAP, h->name, 0, size);
    if (rc == 0) take_hold(d, h->file);
    call_leave(&c, rc);
    if (rc != 0) {
        free(w);
        return rc;
    }
    *out = &w->base;
    return 0;
}

void sim_call_window_close(os_window *base) {
    sim_window *w = (sim_window *)base;
    let_go((sim_disk *)base->os, w->file);
    free(w->shown);
    free(w);
}

int sim_call_window_read(os_window *base, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    const sim_window *w = (sim_window *)base;
    CHECK(offset <= w->size && size <= w->size - offset);
    call c;
    int rc = call_enter(&c, (sim_disk *)base->os, SIM_READ, w->name, offset, size);
    if (rc == 0 && round_up(w->file->now->size, SIM_PAGE) < offset + size) rc = -EIO;
    if (rc == 0) {
        memset(buf, 0, size); /* as the rest of a file's last page is */
        content_read(w->file->now, buf, size, offset);
        if (sum != NULL) *sum = checksum(buf, size, 0);
    }
    return call_leave(&c, rc);
}

int sim_call_window_load(os_window *base, os_file *file, uint64_t offset, size_t size) {
    const sim_window *w = (sim_window *)base;
    CHECK(((sim_file_handle *)file)->file == w->file && offset <= w->size && size <= w->size - offset);
    call c;
    int rc = call_enter(&c, (sim_disk *)base->os, SIM_MAP, w->name, offset, size);
    if (rc == 0 && w->file->now->size < offset + size) rc = -EIO;
    return call_leave(&c, rc);
}

/* What is shown again is the same, and may be looked at meanwhile: it is not written again. */
static void show(sim_window *w, uint64_t offset, size_t size) {
    uint8_t piece[SIM_PAGE];
    for (size_t done = 0; done < size;) {
        size_t step = min_u64(size - done, sizeof piece);
        content_read(w->file->now, piece, step, offset + done);
        if (memcmp(w->shown + offset + done, piece, step) != 0) memcpy(w->shown + offset + done, piece, step);
        done += step;
    }
}

int sim_call_window_show(os_window *base, os_file *file, uint64_t offset, size_t size, const void **data) {
    sim_window *w = (sim_window *)base;
    CHECK(((sim_file_handle *)file)->file == w->file && offset <= w->size && size <= w->size - offset);
    call c;
    int rc = call_enter(&c, (sim_disk *)base->os, SIM_MAP, w->name, offset, size);
    if (rc == 0 && w->file->now->size < offset + size) rc = -EIO;
    if (rc == 0 && w->shown == NULL && (w->shown = calloc(1, w->size)) == NULL) rc = -ENOMEM;
    if (rc == 0) show(w, offset, size);
    if (rc == 0) *data = w->shown + offset;
    return call_leave(&c, rc);
}

int sim_call_window_ready(os_window *base, os_file *file, uint64_t offset, size_t size) {
    sim_window *w = (sim_window *)base;
    CHECK(w->to_write && ((sim_file_handle *)file)->file == w->file);
    CHECK(offset <= w->size && size <= w->size - offset);
    call c;
    int rc = call_enter(&c, (sim_disk *)base->os, SIM_MAP, w->name, offset, size);
    if (rc == 0 && w->file->now->size < offset + size) rc = -EIO;
    if (rc == 0) {
        if (offset != w->ready_end) w->ready = offset;
        w->ready_end = offset + size;
    }
    return call_leave(&c, rc);
}

/* What somebody has cut off meanwhile is an error; that it was never ready is the caller's mistake. */
int sim_call_window_write(os_window *base, const struct iovec *iov, int count, uint64_t offset) {
    sim_window *w = (sim_window *)base;
    uint64_t size = os_pieces_bytes(iov, count);
    CHECK(offset >= w->ready && offset + size <= w->ready_end);
    return write_call((sim_disk *)base->os, w->file, w->name, iov, offset, size, true);
}

void sim_call_window_leave(os_window *base, uint64_t until) {
    sim_window *w = (sim_window *)base;
    CHECK(until <= w->size);
    w->ready = max_u64(w->ready, until);
}

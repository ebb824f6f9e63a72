#include "bench/raw_ring.h"

#include "bench/bench_common.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)4096)

typedef struct slot {
    const raw_read *read; /* under way */
    char *buffer;         /* the ring's, or NULL */
} slot;

struct raw_ring {
    struct io_uring ring;
    unsigned depth;
    char *buffers;
    slot *slots, **unused;
};

static char *get_buffers(size_t size) {
    char *buffers = NULL;
    if (size == 0) return NULL;
    if (posix_memalign((void **)&buffers, BLOCK, size) != 0) die("memory", "there is none");
    memset(buffers, 1, size); /* so that it is there */
    return buffers;
}

raw_ring *raw_ring_new(unsigned depth, size_t buffer_size) {
    raw_ring *r = allocate(sizeof *r);
    if (io_uring_queue_init(depth, &r->ring, 0) != 0) {
        free(r);
        return NULL;
    }
    r->depth = depth;
    r->slots = allocate(depth * sizeof *r->slots);
    r->unused = allocate(depth * sizeof *r->unused);
    r->buffers = get_buffers(depth * buffer_size);
    for (unsigned i = 0; i < depth; i++) {
        r->slots[i].buffer = r->buffers == NULL ? NULL : r->buffers + i * buffer_size;
        r->unused[i] = &r->slots[i];
    }
    return r;
}

void raw_ring_free(raw_ring *r) {
    io_uring_queue_exit(&r->ring);
    free(r->buffers);
    free(r->unused);
    free(r->slots);
    free(r);
}

static void start(raw_ring *r, slot *s, const raw_read *read) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
    void *buffer = read->buffer != NULL ? read->buffer : s->buffer;
    if (sqe == NULL || buffer == NULL) die("io_uring", "the queue is full, or there is no buffer");
    s->read = read;
    io_uring_prep_read(sqe, read->fd, buffer, (unsigned)read->size, read->offset);
    io_uring_sqe_set_data(sqe, s);
}

static slot *finish(raw_ring *r, struct io_uring_cqe *cqe) {
    slot *s = io_uring_cqe_get_data(cqe);
    if (cqe->res < 0) die("io_uring", strerror(-cqe->res));
    if ((size_t)cqe->res < s->read->least) die("io_uring", "a read is cut short");
    io_uring_cqe_seen(&r->ring, cqe);
    return s;
}

void raw_ring_read(raw_ring *r, const raw_read *reads, size_t count) {
    size_t started = 0, finished = 0;
    unsigned unused = r->depth;
    while (finished < count) {
        struct io_uring_cqe *cqe;
        for (; started < count && unused > 0; started++) {
            start(r, r->unused[--unused], &reads[started]);
        }
        int code = io_uring_submit_and_wait(&r->ring, 1);
        if (code < 0) die("io_uring", strerror(-code));
        for (; io_uring_peek_cqe(&r->ring, &cqe) == 0; finished++) {
            r->unused[unused++] = finish(r, cqe);
        }
    }
}

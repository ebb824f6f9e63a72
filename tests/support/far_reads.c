#include "tests/support/far_reads.h"

#include "tests/support/os_wrap.h"

#include <errno.h>
#include <stdatomic.h>

static struct {
    int (*real)(os_file *file, const struct iovec *iov, int count, uint64_t offset);
    int way;
    _Atomic uint64_t asked, refused;
} far_reads;

static int maybe_far(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    uint64_t number = atomic_fetch_add(&far_reads.asked, 1);
    bool refuse = far_reads.way == READS_FAR || (far_reads.way == READS_BY_TURNS && number % 2 != 0);
    if (!refuse) return far_reads.real(file, iov, count, offset);
    atomic_fetch_add(&far_reads.refused, 1);
    return -EAGAIN;
}

void far_reads_put(os *table, int way) {
    if (table->file_readv_now != maybe_far) far_reads.real = table->file_readv_now;
    far_reads.way = way;
    atomic_store(&far_reads.asked, 0);
    atomic_store(&far_reads.refused, 0);
    os_override(table, &(os){.file_readv_now = maybe_far});
}

uint64_t far_reads_asked(void) { return atomic_load(&far_reads.asked); }
uint64_t far_reads_refused(void) { return atomic_load(&far_reads.refused); }

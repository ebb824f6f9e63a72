/* A file of one directory in another: with the same blocks, under a second name, or copied, whichever can be. */
#ifndef CAIRN_OS_TRANSFER_H
#define CAIRN_OS_TRANSFER_H

#include "src/os/os.h"

/* In the order in which they are tried: what goes for one file is not tried for the next ones where it failed. */
typedef enum os_transfer_means { TRANSFER_CLONE, TRANSFER_LINK, TRANSFER_COPY } os_transfer_means;

typedef struct os_transfer {
    os_dir *from, *to;
    os_transfer_means means;                    /* what is tried first */
    int (*progress)(void *ctx, uint64_t bytes); /* so many more; non-zero: stop. NULL: none */
    void *ctx;
    uint64_t shared, copied; /* bytes so far */
} os_transfer;

/* The first `size` bytes of a file that nobody changes, under a name that is not there yet; a clone or link may have
 * more behind them. Of a copy the holes, which ascend, are left out: zeros. When it returns 0 the content is durable,
 * the name is not. -ECANCELED, and every other failure: the name is not there. */
int os_transfer_file(os_transfer *t, const char *name, const char *to_name, uint64_t size, const os_range *holes,
                     size_t hole_count);

#endif

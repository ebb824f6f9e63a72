/* Values that tell whose they are: bytes of one buffer, in which each value has its key's number and its version at
 * both ends. Making one costs next to nothing, and comparing one finds another one's bytes. */
#ifndef CAIRN_BENCH_STAMPED_H
#define CAIRN_BENCH_STAMPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_SIZE ((size_t)16) /* a value is at least two of them long */

typedef struct stamped {
    char *bytes; /* for stamped_free; on a page */
    size_t size;
} stamped;

/* Random bytes; or, with `half`, of each KiB the second half is zeros, so that it compresses to half of its size. */
stamped stamped_new(size_t size, bool half, uint64_t seed);
void stamped_free(stamped *s);

const char *stamped_value(stamped *s, uint64_t key, uint64_t version); /* until the next call on it */
bool stamped_is(stamped *s, uint64_t key, uint64_t version, const void *value, size_t size); /* every byte */
bool stamped_begins(uint64_t key, uint64_t version, const void *value);                      /* its stamp */

#endif

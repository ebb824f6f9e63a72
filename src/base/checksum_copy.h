/* Copying and checksumming in one pass: as fast as a copy where the bytes come from memory, since what limits that
 * leaves the vector unit idle. */
#ifndef CAIRN_BASE_CHECKSUM_COPY_H
#define CAIRN_BASE_CHECKSUM_COPY_H

#include <stddef.h>
#include <stdint.h>

/* Returns checksum() of what is then at `to`, also where others change `from` meanwhile: either it is that of the bytes
 * that were copied, or one that no bytes are likely to have. They do not overlap. */
uint64_t checksum_copy(void *to, const void *from, size_t size, uint64_t seed);

#endif

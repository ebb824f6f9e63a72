/* XXH3, 64 bits, by the vector unit that the machine has (xxhash's run-time dispatch). The seed binds bytes to the
 * place where they belong; see the format pages for which place is in which seed. */
#ifndef CAIRN_BASE_CHECKSUM_H
#define CAIRN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum(const void *data, size_t size, uint64_t seed);

/* In pieces; equal to checksum() of the pieces joined. `state` is 64-byte aligned and holds no resource. */
typedef struct checksum_state {
    _Alignas(64) unsigned char opaque[576];
} checksum_state;
void checksum_begin(checksum_state *state, uint64_t seed);
void checksum_add(checksum_state *state, const void *data, size_t size);
uint64_t checksum_end(const checksum_state *state);

#endif

/* Values that compress: windows of a fixed pool in which stretches of made-up text and of random bytes follow each
 * other, so that a long value has frames of both kinds. */
#ifndef CAIRN_TESTS_TEXT_H
#define CAIRN_TESTS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_POOL_BYTES ((size_t)8 << 20)

/* A window of that size, at most TEXT_POOL_BYTES / 2. The first call, from whatever thread, makes the pool. */
const uint8_t *text_window(uint64_t *state, size_t size);

#endif

/* Values of several keys, got together, so that the device is asked for many at a time. For small ones: of a larger one
 * only the size is got, and it is read in pieces. */
#ifndef CAIRN_CLI_TOGETHER_H
#define CAIRN_CLI_TOGETHER_H

#include "include/cairn.h"
#include "src/cli/keyenc.h"

#define TOGETHER_KEYS 128u
#define TOGETHER_BYTES ((size_t)64 << 10) /* no smaller value is too large */

typedef struct together {
    uint8_t *buffers;
    size_t count;
    size_t numbers[TOGETHER_KEYS]; /* the caller's, of each */
    cairn_get_item items[TOGETHER_KEYS];
    cairn_error errors[TOGETHER_KEYS];
} together;

/* NULL when there is no memory. */
together *together_new(void);
void together_free(together *t); /* NULL is nothing */

static inline bool together_is_full(const together *t) { return t->count == TOGETHER_KEYS; }
/* The key stays where it is until the values were got. There is room. */
void together_add(together *t, byte_view key, size_t number);
/* Each item has its code then: CAIRN_TOO_SMALL for a value that is larger. As cairn_get_many. */
int together_get(together *t, cairn *store, cairn_error *error);

#endif

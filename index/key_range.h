/* Which keys are meant: bounds and prefix as they are asked for, and as two bounds that a walk goes between. Order is
 * memcmp, the shorter key first. */
#ifndef CAIRN_INDEX_KEY_RANGE_H
#define CAIRN_INDEX_KEY_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int key_compare(const void *a, size_t a_size, const void *b, size_t b_size); /* negative, 0, positive */

/* All of it together holds. A bound that is NULL is none, one of size 0 is the empty key. Bounds and prefix may be
 * longer than any key. Borrowed. */
typedef struct key_range {
    const void *lower, *upper, *prefix;
    size_t lower_size, upper_size, prefix_size;
    bool lower_exclusive, upper_exclusive;
    bool reverse;
} key_range;

typedef struct key_bound {
    uint8_t *bytes; /* malloc'ed; NULL: none */
    size_t size;
    bool exclusive;
} key_bound;

/* All zero: none. CAIRN_OK, or CAIRN_NO_MEMORY with nothing changed. */
int key_bound_set(key_bound *b, const void *bytes, size_t size, bool exclusive);
void key_bound_release(key_bound *b);
/* The key lies behind this end of a walk. */
bool key_bound_passed(const key_bound *end, bool reverse, const void *key, size_t size);

/* The bounds in the direction of the walk; no longer than a key may be. CAIRN_OK or CAIRN_NO_MEMORY. */
int key_range_bounds(const key_range *range, key_bound *start, key_bound *end);

#endif

/* Arrays that double when they are full. */
#ifndef CAIRN_BASE_ARRAY_H
#define CAIRN_BASE_ARRAY_H

#include <stddef.h>

/* The array (malloc'ed, or NULL with a capacity of 0) with room for one item more than `count`: itself, or a larger one
 * in its place, of `first` items at least. NULL without memory: the array and *capacity stay as they are. */
void *array_with_room(void *array, size_t *capacity, size_t count, size_t item_size, size_t first);

#endif

#include "src/base/array.h"

#include "src/base/check.h"

#include <stdlib.h>

void *array_with_room(void *array, size_t *capacity, size_t count, size_t item_size, size_t first) {
    CHECK(count <= *capacity && first > 0);
    if (count < *capacity) return array;
    uint64_t doubled, bytes;
    if (mul_overflows(*capacity, 2, &doubled) || mul_overflows(max_u64(doubled, first), item_size, &bytes)) return NULL;
    void *grown = realloc(array, bytes);
    if (grown != NULL) *capacity = max_u64(doubled, first);
    return grown;
}

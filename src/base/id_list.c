#include "src/base/id_list.h"

#include <stdlib.h>

static int by_id(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void ids_sort(uint64_t *ids, size_t count) {
    if (count > 0) qsort(ids, count, sizeof *ids, by_id);
}

bool id_list_has(const id_list *list, uint64_t id) {
    return list->count > 0 && bsearch(&id, list->ids, list->count, sizeof id, by_id) != NULL;
}

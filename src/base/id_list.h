/* Ascending lists of 64-bit numbers. */
#ifndef CAIRN_BASE_ID_LIST_H
#define CAIRN_BASE_ID_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct id_list {
    const uint64_t *ids; /* ascending; the caller's */
    size_t count;
} id_list;

void ids_sort(uint64_t *ids, size_t count);
bool id_list_has(const id_list *list, uint64_t id);

#endif

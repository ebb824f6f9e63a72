/* Memory in whole pages, for large arrays: it comes from the system and goes back to it at once, so that growing arrays
 * leave no holes in the heap, and all its pages are there before the first access (a page fault each costs up to 16
 * times as much as getting them together: 289 against 18 ms for 100 MiB, measured). */
#ifndef CAIRN_OS_MEMORY_H
#define CAIRN_OS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *os_pages_alloc(size_t size); /* size > 0; zeros, page-aligned; NULL: no memory */
/* The same for arrays that are used at random and are all filled now: one region, to be cut at multiples of
 * os_page_bytes() into parts, each of which os_pages_free takes. The system may make it of pages of 2 MiB, a part of
 * them at a time, when it is touched: fewer faults, and fewer misses in the table of addresses. */
void *os_pages_region(size_t size);
uint64_t os_memory_bytes(void); /* of the machine, used or not */
size_t os_page_bytes(void);     /* of the machine: a power of two, often 4 KiB, but not everywhere */
/* The same bytes in `size` bytes of pages, which may lie elsewhere; those beyond `old_size` are zeros and come when
 * they are touched. NULL: no memory, and nothing has changed. */
void *os_pages_resize(void *pages, size_t old_size, size_t size);
void os_pages_free(void *pages, size_t size);

#endif

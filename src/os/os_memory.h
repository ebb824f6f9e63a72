/* Memory in whole pages, for large arrays: it comes from the system and goes back to it at once, so that growing arrays
 * leave no holes in the heap, and all its pages are there before the first access (a page fault each costs up to 16
 * times as much as getting them together: 289 against 18 ms for 100 MiB, measured). */
#ifndef CAIRN_OS_MEMORY_H
#define CAIRN_OS_MEMORY_H

#include <stddef.h>

void *os_pages_alloc(size_t size); /* size > 0; zeros, page-aligned; NULL: no memory */
/* The same bytes in `size` bytes of pages, which may lie elsewhere; those beyond `old_size` are zeros and come when
 * they are touched. NULL: no memory, and nothing has changed. */
void *os_pages_resize(void *pages, size_t old_size, size_t size);
void os_pages_free(void *pages, size_t size);

#endif

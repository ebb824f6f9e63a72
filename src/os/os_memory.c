#include "src/os/os_memory.h"

#include "src/base/check.h"

#include <sys/mman.h>

void *os_pages_alloc(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void *os_pages_resize(void *pages, size_t old_size, size_t size) {
    void *resized = mremap(pages, old_size, size, MREMAP_MAYMOVE);
    return resized == MAP_FAILED ? NULL : resized;
}

void os_pages_free(void *pages, size_t size) { CHECK(munmap(pages, size) == 0); }

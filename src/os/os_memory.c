#include "src/os/os_memory.h"

#include "src/base/check.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t os_memory_bytes(void) { return (uint64_t)sysconf(_SC_PHYS_PAGES) * os_page_bytes(); }

size_t os_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void *os_pages_alloc(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void *os_pages_region(size_t size) {
    enum { HUGE_BYTES = 2 << 20 };
    size_t mapped = size + HUGE_BYTES;
    if (mapped < size) return NULL;
    uint8_t *pages = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    size_t before = (size_t)(round_up((uintptr_t)pages, HUGE_BYTES) - (uintptr_t)pages);
    size_t used = round_up(size, os_page_bytes());
    if (before > 0) os_pages_free(pages, before);
    if (mapped > before + used) os_pages_free(pages + before + used, mapped - before - used);
    (void)madvise(pages + before, used, MADV_HUGEPAGE); /* where there are none, small ones do */
    return pages + before;
}

#if defined(__SANITIZE_THREAD__)
/* The thread sanitizer does not see mremap, and takes the address of a mapping that is gone, where the pages move to,
 * for that mapping. */
void *os_pages_resize(void *pages, size_t old_size, size_t size) {
    void *resized = os_pages_alloc(size);
    if (resized == NULL) return NULL;
    memcpy(resized, pages, old_size < size ? old_size : size);
    os_pages_free(pages, old_size);
    return resized;
}
#else
void *os_pages_resize(void *pages, size_t old_size, size_t size) {
    void *resized = mremap(pages, old_size, size, MREMAP_MAYMOVE);
    return resized == MAP_FAILED ? NULL : resized;
}
#endif

void os_pages_free(void *pages, size_t size) { CHECK(munmap(pages, size) == 0); }

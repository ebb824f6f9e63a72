/* The bytes of a simulated file: a table of 4 KiB pages, shared by reference and copied on write.
 *
 * A NULL page, and everything behind the table, is a hole. Invariant outside of a crash walk: bytes behind `size` are
 * zero. A sim_content may have several owners (refs); functions that change one take the address of the owner's pointer
 * and replace it by a copy of its own first. Counts are atomic because disks that share content have different locks.
 */
#ifndef CAIRN_TESTS_OS_SIM_CONTENT_H
#define CAIRN_TESTS_OS_SIM_CONTENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PAGE ((uint64_t)4096)
#define SIM_SECTOR ((uint64_t)512)
#define SIM_FILE_SIZE_MAX ((uint64_t)1 << 30)

typedef struct sim_page {
    atomic_uint refs;
    _Atomic uint64_t hash; /* 0: not computed since the last change */
    uint8_t bytes[4096];
} sim_page;

typedef struct sim_content {
    atomic_uint refs;
    uint64_t size;
    size_t count;     /* of the table */
    size_t capacity;  /* that there is memory for */
    size_t allocated; /* pages that are there */
    sim_page **page;
} sim_content;

void *sim_alloc(size_t size); /* zeroed; aborts on failure */

sim_content *content_new(void);
sim_content *content_ref(sim_content *c);
void content_unref(sim_content *c);
void content_assign(sim_content **slot, sim_content *c); /* drops the old one, takes a reference to c */

size_t content_read(const sim_content *c, void *buf, size_t size, uint64_t offset);
void content_write(sim_content **slot, const void *bytes, size_t size, uint64_t offset); /* size grows as needed */
void content_truncate(sim_content **slot, uint64_t size); /* or grow with a hole; zeroes all that is behind size */
void content_allocate(sim_content **slot, uint64_t size); /* grows with pages that are there, and alike */
void content_zero(sim_content **slot, uint64_t offset, uint64_t size); /* whole pages become holes; size stays */
/* Pages that a write of this range would allocate. */
size_t content_missing_pages(const sim_content *c, uint64_t offset, uint64_t size);
/* Copies one sector, whatever the sizes are; content_truncate restores the invariant later. */
void content_copy_sector(sim_content **slot, const sim_content *from, uint64_t sector);
/* Like content_write, but the size stays; the same caution. */
void content_poke(sim_content **slot, const void *bytes, size_t size, uint64_t offset);
void content_set_size(sim_content **slot, uint64_t size); /* nothing else; the same caution */
uint64_t content_hash(const sim_content *c);              /* equal for equal bytes, holes or not */

sim_page *page_ref(sim_page *p);
void page_unref(sim_page *p); /* NULL is nothing */

#endif

/* ORDERED.SUMS: a checksum of each page of the ordered index's file, as it was when its handle was closed. With it a
 * walk can judge the few pages that it reads, and the whole file need not be checked before the first one. It is a
 * cache: whatever is missing or does not fit costs that check, nothing else. Format: index/FORMAT.md. */
#ifndef CAIRN_INDEX_ORDERED_SUMS_H
#define CAIRN_INDEX_ORDERED_SUMS_H

#include "index/ordered_lmdb.h"

typedef struct page_sums {
    uint64_t count;
    uint64_t of[]; /* of each page of the file; those of its head are 0 */
} page_sums;

/* A smaller file is checked as fast. */
#define PAGE_SUMS_PAGES_MIN 64u

/* NULL: there are none of a file with this head, or no memory. To be freed. */
page_sums *page_sums_load(os_dir *dir, const uint8_t store_id[16], const lmdb_meta *head);
/* Reads the whole file, which nobody writes, and is known to be sound. Not synced: what a power cut tears is refused.
 * Failing it leaves none. */
void page_sums_store(os_dir *dir, os_file *file, const uint8_t store_id[16]);
bool page_sums_fit(const page_sums *s, uint64_t number, const uint8_t *page, size_t page_bytes);

#endif

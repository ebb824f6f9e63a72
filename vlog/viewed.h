/* What views see of a segment: one window for all of them, and marks of the records that a view has verified.
 *
 * The first view of a record reads it into memory and verifies it where it lies; then it has a mark. Later ones make no
 * system call: they compare the key in the window. The window lives as long as the segment, which an open view holds.
 * Only bytes before the segment's `end` are looked at: they are written and never change.
 *
 * Any thread, no lock. The table, and the marks of each granule (2 KiB, one bit a unit), are published once by
 * compare-and-swap; a mark is only ever set.
 */
#ifndef CAIRN_VLOG_VIEWED_H
#define CAIRN_VLOG_VIEWED_H

#include "src/os/os.h"

#include <stdatomic.h>

typedef struct viewed_table viewed_table;

void viewed_free(viewed_table *table); /* NULL is nothing */

/* Reads bytes of `file`, a segment's of up to `granules`, into memory; *data is where they lie. *table is made when it
 * is not there. As os_window_show, or -ENOMEM. */
int viewed_show(_Atomic(viewed_table *) *table, os_file *file, uint64_t granules, uint64_t offset, size_t size,
                const void **data);

/* The record at this offset, all of it, was shown and verified. Without memory nothing is noted. */
void viewed_mark(viewed_table *table, uint64_t offset);
bool viewed_is_marked(const viewed_table *table, uint64_t offset); /* `table` may be NULL */
/* Bytes of a record that is marked: a copy, false where that fails; and where they lie. */
bool viewed_copy(const viewed_table *table, void *buf, size_t size, uint64_t offset);
const void *viewed_at(const viewed_table *table, uint64_t offset);

#endif

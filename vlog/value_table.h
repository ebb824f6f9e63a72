/* The frame table of a value file that is being written: collected page by page in memory, beyond a limit in a .tab
 * file beside the value's, and written behind the value when that has ended. Format: vlog/FORMAT.md, "Value file".
 *
 *  1. Entry f is in page f / value_page_frames(codec). The first `spilled` pages are sealed in the .tab file, the
 * others are in `pages`, of which the last may be unsealed.
 *  2. `stored` is the sum of the lengths that were added.
 * One thread at a time. After a failure only value_table_remove and value_table_release. */
#ifndef CAIRN_VLOG_VALUE_TABLE_H
#define CAIRN_VLOG_VALUE_TABLE_H

#include "vlog/value_format.h"

typedef struct value_table {
    os_dir *dir;
    uint64_t id, seed;
    uint8_t codec; /* CODEC_RAW at first; may be set as long as there are no frames */
    os_file *file; /* the .tab; NULL until pages are spilled */
    uint8_t *pages;
    size_t capacity, capacity_max; /* in pages */
    uint64_t spilled;              /* pages */
    uint64_t frames, stored;
} value_table;

void value_table_begin(value_table *t, const value_file_env *env, uint64_t id, size_t memory_max);
/* The next frame: checksum of its uncompressed bytes, and its stored length. */
int value_table_add(value_table *t, uint64_t checksum, size_t stored_length, cairn_error *error);

/* Sealed pages from number `first` on, as many as stand together: *bytes points at them, in memory or in `scratch`,
 * which has room for at least one. Spilled pages are verified: the .tab file may have been out of memory. */
int value_table_pages_get(value_table *t, uint64_t first, uint8_t *scratch, size_t scratch_size, const uint8_t **bytes,
                          size_t *size, cairn_error *error);

void value_table_remove(value_table *t); /* the .tab file, if there is one */
void value_table_release(value_table *t);

#endif

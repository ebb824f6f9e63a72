/* Whether the file of the ordered index is sound, read without LMDB: LMDB believes its pages, and a wrong one ends the
 * process, or makes a walk endless. What is checked, and what cannot be noticed: index/FORMAT.md.
 *
 * Nobody writes the file meanwhile. Memory: a bit for each page of the file, and a page for each level of a tree. */
#ifndef CAIRN_INDEX_ORDERED_CHECK_H
#define CAIRN_INDEX_ORDERED_CHECK_H

#include "index/ordered_env.h"

/* What opening the file reads: its head, the main tree, and the table of the meta record. CAIRN_OK, CAIRN_CORRUPT,
 * CAIRN_IO or CAIRN_NO_MEMORY. *trees: what it found. */
int ordered_check_opening(os_file *file, lmdb_trees *trees, cairn_error *error);
/* All of it. The meta record is as it was loaded. */
int ordered_check_all(os_file *file, const ordered_meta *meta, cairn_error *error);

#endif

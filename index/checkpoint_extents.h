/* The free space of CHECKPOINT.DATA while a checkpoint is written: all but the blocks in which the published root has
 * an image. Taken first fit from the front; the last run has no end, so taking never fails. */
#ifndef CAIRN_INDEX_CHECKPOINT_EXTENTS_H
#define CAIRN_INDEX_CHECKPOINT_EXTENTS_H

#include "index/checkpoint_root.h"

typedef struct free_run {
    uint64_t begin, end; /* bytes; begin is a multiple of IMAGE_ALIGN */
} free_run;

typedef struct free_space {
    unsigned count;
    free_run runs[HASH_INDEX_SHARDS + 1]; /* by ascending begin */
} free_space;

void free_space_of(const checkpoint_root *published, free_space *space);
uint64_t free_space_take(free_space *space, uint64_t size); /* the offset */
/* From now on nothing before `offset`, a multiple of IMAGE_ALIGN, is taken. */
void free_space_begin_at(free_space *space, uint64_t offset);

#endif

/* What the files of the checkpoint share: checkpoint.c (opening, loading), checkpoint_images.c, checkpoint_write.c.
 * One thread at a time, guarded by the caller.
 *
 * Invariant: for every clean shard of `described`, its row in `published` is its image on disk (all zero: it is empty).
 * When `described` is another index or NULL, nothing is known of any shard, nor of what the data file holds. */
#ifndef CAIRN_INDEX_CHECKPOINT_STATE_H
#define CAIRN_INDEX_CHECKPOINT_STATE_H

#include "index/checkpoint_root.h"

struct checkpoint {
    os_dir *dir; /* the caller's */
    bool read_only;
    bool failed;   /* a sync failed: what is on disk is not known any more */
    os_file *data; /* CHECKPOINT.DATA; NULL until it is needed */
    const hash_index *described;
    checkpoint_root published;
};

/* Loads all images of `published` from `data`, which is open and long enough. On failure some shards are loaded. */
int checkpoint_load_images(checkpoint *c, hash_index *index, cairn_error *error);

#endif

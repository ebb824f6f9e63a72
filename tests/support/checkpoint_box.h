/* A checkpoint, its index and its two files on a simulated disk, without a store around them; and indexes whose content
 * follows from a number. A failing step fails the test. */
#ifndef CAIRN_TESTS_CHECKPOINT_BOX_H
#define CAIRN_TESTS_CHECKPOINT_BOX_H

#include "index/checkpoint.h"
#include "tests/support/os_sim.h"

#define CHECKPOINT_STORE "store" /* the directory */

extern const uint8_t checkpoint_store_id[16];

typedef struct checkpoint_box {
    sim_disk *disk; /* the caller's: it outlives the box */
    os_dir *dir;
    epoch *readers;
    hash_index *index; /* empty at first */
    checkpoint *c;
} checkpoint_box;

void checkpoint_box_open(checkpoint_box *b, sim_disk *disk, bool read_only);
void checkpoint_box_close(checkpoint_box *b);

/* Writes a checkpoint whose start_place is the number, or one of this info. Its end_place is 4 more, its blob `hello`.
 */
int checkpoint_box_write(checkpoint_box *b, uint64_t number);
int checkpoint_box_write_info(checkpoint_box *b, checkpoint_info *info);
int checkpoint_box_write_dense(checkpoint_box *b, uint64_t number);
/* Expects the blob, or after a failure none and an empty index. */
int checkpoint_box_load(checkpoint_box *b, checkpoint_info *info, cairn_error *error);

/* ---- Indexes ---- */

void index_insert(hash_index *index, uint64_t hash, location where); /* in any thread */
bool index_has(hash_index *index, uint64_t hash, location where);

/* Index number k: it follows from k which keys it has, and where. Number 0 is empty. */
uint64_t index_state_entries(uint64_t k);
void index_advance(hash_index *index, uint64_t k); /* from number k - 1 to k */
void assert_index_state(hash_index *index, uint64_t k);

/* ---- Disks ---- */

/* A new one with checkpoints 1 to `last`, of the indexes of these numbers. */
sim_disk *checkpoint_disk(uint64_t last);
/* Loads, read-only, and expects the index of the number that is found. */
int checkpoint_load_from(sim_disk *disk, checkpoint_info *info, cairn_error *error);
uint64_t checkpoint_data_size(sim_disk *disk); /* bytes of the data file */

#endif

/* The LMDB environment of the ordered index: opened through an os_dir, its head looked at before, its failures as
 * codes. A function that returns `rc` returns what LMDB does: 0, an errno or MDB_*. */
#ifndef CAIRN_INDEX_ORDERED_ENV_H
#define CAIRN_INDEX_ORDERED_ENV_H

#include "include/cairn.h"
#include "index/ordered_lmdb.h"
#include "src/os/os.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#define ORDERED_READERS_MAX 126u /* what LMDB has room for by default */

typedef struct ordered_env {
    MDB_env *env;
    MDB_dbi keys, tails, meta;
    os_file *file;      /* the same one, for its length */
    uint64_t map_bytes; /* guarded as the map is */
    size_t page_bytes;  /* of LMDB's, a power of two */
    lmdb_trees found;   /* at the opening, of a file that was there */
} ordered_env;

/* The meta record. */
typedef struct ordered_meta {
    uint8_t store_id[16];
    uint64_t place;
    uint64_t keys;
    uint64_t last_tail; /* the highest number given to a set of tails */
    uint64_t sum;       /* of the traces of all records (ordered_tree.h) */
} ordered_meta;

/* Puts a checksum beside what the last commits wrote into the head. Without it they are good as well, but less is known
 * about them; so a failure is none. */
void ordered_head_seal(os_file *file);

/* flags: MDB_RDONLY, MDB_NOLOCK, MDB_NOSYNC, of which MDB_NOSYNC makes the file, anew and empty. CAIRN_NOT_FOUND,
 * CAIRN_CORRUPT, CAIRN_UNSUPPORTED and so on as ordered_open; to be closed only after CAIRN_OK. */
int ordered_env_open(ordered_env *e, os_dir *dir, const char *name, unsigned flags, uint64_t map_bytes,
                     cairn_error *error);
void ordered_env_close(ordered_env *e);

/* Doubles the map. No transaction is open. After a failure nothing may be done with `e` but closing it. */
int ordered_env_grow(ordered_env *e);
/* After a commit: seals the head, and makes the file as long as it says.
 * A page that was taken and given back by one commit is never written, so that the file may end before the last page
 * that its head names. LMDB does not mind, but the next opening could not tell this from a file cut short. */
void ordered_env_settle(const ordered_env *e);

int ordered_meta_load(const ordered_env *e, ordered_meta *meta, cairn_error *error);
int ordered_meta_store(const ordered_env *e, MDB_txn *txn, const ordered_meta *meta); /* rc */

/* The code for an rc that is not 0, with a message. */
int ordered_status(cairn_error *error, int rc, const char *what);

#endif

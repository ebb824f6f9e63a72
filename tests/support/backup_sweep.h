/* Power cuts and kills at each operation of backups, and of the compactions between them, and what is there then: the
 * store, whole; and the earlier backup, or no store, or the new backup, whole, also without its checkpoint. From some
 * states a backup is made again; of some the opening of the backup is cut as well. */
#ifndef CAIRN_TESTS_BACKUP_SWEEP_H
#define CAIRN_TESTS_BACKUP_SWEEP_H

#include "tests/support/finding.h"
#include "tests/support/os_sim.h"

typedef struct backup_sweep {
    /* Set by the caller. */
    finding *finding;
    const os *plant;      /* calls in the place of the disk's own, of the store that makes the backups; NULL: none */
    unsigned crashes;     /* seeds at each operation */
    unsigned redo_one_in; /* states from which one is made again, and whose opening is cut; 0: none */

    /* Kept. */
    uint64_t states, redone;
    uint64_t rng;
    uint64_t sum;        /* of the store */
    uint64_t allowed[2]; /* of the backup */
    unsigned allowed_count;
    bool may_lack; /* there may be no backup yet */
} backup_sweep;

/* One history of that seed. False when something was found. */
bool backup_sweep_run(backup_sweep *s, uint64_t seed);
/* A backup onto an earlier one, in which a call of the disk fails: each one (of `stride` successive ones), with EIO and
 * ENOSPC, once and from then on. What was there before is still there, or the new one is; and then it succeeds. */
bool backup_sweep_faults(backup_sweep *s, uint64_t seed, unsigned stride);

#endif

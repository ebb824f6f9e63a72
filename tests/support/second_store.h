/* A second store on the disk of a box: what a backup makes. A failing step fails the test. */
#ifndef CAIRN_TESTS_SECOND_STORE_H
#define CAIRN_TESTS_SECOND_STORE_H

#include "tests/support/sim_box.h"

#define SECOND_STORE "second"

/* Of all keys with value, version and expiry, in whatever order; verifies them by reading. */
uint64_t contents_fingerprint(cairn *store);
int contents_sum(cairn *store, uint64_t *sum, cairn_error *error); /* the same, or a code */

/* What cairn_backup to SECOND_STORE returns. `result` may be NULL. */
int backup_with(sim_box *b, bool copy, cairn_backup_result *result, cairn_error *error);
/* The same for one that succeeds. */
cairn_backup_result backup_now(sim_box *b, bool copy);

/* Opens it, without threads; `rebuilt`: without its checkpoint. */
cairn *second_open(sim_disk *d, bool read_only);
int second_try(sim_disk *d, bool read_only, cairn **store, cairn_error *error);
/* Its fingerprint: as a read-only store, and as one that has lost its checkpoint; nothing in it is damaged, and nothing
 * is left over. Changes nothing. */
uint64_t second_fingerprint(sim_disk *d);

size_t second_files(sim_disk *d, const char *part); /* how many have names with this in it */

#endif

/* A batch, and what others do to its keys, and besides, while it is being written.
 *
 * The batch puts x, v (a value file), and y, and deletes "gone" and "void". What others do happens while v is written:
 * the part of x is in the log then, that of y is not. Whatever it was, the batch comes last: it is there wholly or not
 * at every operation of the disk from then on, with versions above all that were told before; what others did stays;
 * and replay, with the newest checkpoint or without any, finds just that.
 */
#ifndef CAIRN_TESTS_MEDDLING_H
#define CAIRN_TESTS_MEDDLING_H

#include "tests/support/finding.h"

#include <stddef.h>
#include <stdint.h>

extern const char *const meddling_names[];
extern const size_t meddling_count;

/* One kind of meddling; `present`: x, y and v are there before. Returns how many states of the disk were looked at. */
uint64_t meddle(size_t kind, uint64_t hash_mask, bool present, finding *f);
/* Each kind, with and without collisions; fewer of them under sanitizers. */
uint64_t meddle_all(finding *f);

#endif

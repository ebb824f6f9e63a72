/* Reads that must not wait (os.h: file_readv_now) find what they look for or do not, as a test wants: a page cache of
 * which the test knows what is in it. For one store at a time; any thread. */
#ifndef CAIRN_TESTS_FAR_READS_H
#define CAIRN_TESTS_FAR_READS_H

#include "src/os/os.h"

enum { READS_NEAR, READS_FAR, READS_BY_TURNS, READS_WAYS };

/* Puts the stand-in into a table, whose own call does the real thing. */
void far_reads_put(os *table, int way);
uint64_t far_reads_asked(void);   /* calls since then */
uint64_t far_reads_refused(void); /* of these */

#endif

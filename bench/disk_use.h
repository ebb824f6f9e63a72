/* What a store takes on the disk, and what was written to it: as the system counts, not as the store says. */
#ifndef CAIRN_BENCH_DISK_USE_H
#define CAIRN_BENCH_DISK_USE_H

#include <stdint.h>

/* Allocated bytes, as du counts them, while others may write and remove files. */
typedef struct disk_use {
    uint64_t allocated; /* of all that is there, folders too */
    uint64_t files;     /* of the files */
    uint64_t segment;   /* of the largest one that is a segment of cairn's: *.seg or *.alt */
} disk_use;

disk_use disk_use_of(const char *folder); /* not from two threads at a time; ends the program through die */

/* Bytes since the start of each; NAN where nobody tells. */
typedef struct written {
    double process; /* handed to the file system, less what was cancelled before it got to the device */
    double device;  /* below the working folder, when that is a loop device: others have others that write to them */
} written;

written written_now(void); /* after a sync of everything */

#endif

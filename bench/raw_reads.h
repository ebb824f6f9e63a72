/* Reads of file ranges with no store behind them: what a device gives, one at a time or many at a time. */
#ifndef CAIRN_BENCH_RAW_READS_H
#define CAIRN_BENCH_RAW_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct raw_range {
    unsigned file; /* of raw_files */
    uint64_t offset;
    size_t size;
} raw_range;

#define RAW_FILES_MAX 256
typedef struct raw_files {
    unsigned count;
    int buffered[RAW_FILES_MAX], direct[RAW_FILES_MAX]; /* descriptors; -1: the file system has no O_DIRECT */
    uint64_t sizes[RAW_FILES_MAX];
} raw_files;

/* All files in the folder whose names end in ".seg". Ends the program through die on failure, like what follows. */
void raw_files_open(raw_files *files, const char *folder);
void raw_files_close(raw_files *files);

void raw_read_one_by_one(const raw_files *files, const raw_range *ranges, size_t count);
/* By io_uring with so many in flight. false: there is no io_uring here, or no liburing at the build, or no O_DIRECT. */
bool raw_read_in_flight(const raw_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct);

#endif

/* Reads of file ranges with no store behind them: what a device gives, one at a time or many at a time. */
#ifndef CAIRN_BENCH_RAW_READS_H
#define CAIRN_BENCH_RAW_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct raw_range {
    unsigned file; /* of store_files */
    uint64_t offset;
    size_t size;
} raw_range;

#define STORE_FILES_MAX 256
typedef struct store_files {
    unsigned count;
    int buffered[STORE_FILES_MAX], direct[STORE_FILES_MAX]; /* descriptors; -1: the file system has no O_DIRECT */
    uint64_t sizes[STORE_FILES_MAX];
} store_files;

/* All files in the folder whose names end in ".seg". Ends the program through die on failure, like what follows. */
void store_files_open(store_files *files, const char *folder);
void store_files_close(store_files *files);

void raw_read_one_by_one(const store_files *files, const raw_range *ranges, size_t count);
/* By io_uring with so many in flight. false: there is no io_uring here, or no liburing at the build, or no O_DIRECT. */
bool raw_read_in_flight(const store_files *files, const raw_range *ranges, size_t count, unsigned depth, bool direct);

#endif

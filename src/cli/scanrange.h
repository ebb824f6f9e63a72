/* Which keys of a store a command is about: bounds, prefix, pattern, direction and limit of the command line. */
#ifndef CAIRN_CLI_SCANRANGE_H
#define CAIRN_CLI_SCANRANGE_H

#include "include/cairn.h"
#include "src/cli/args.h"

enum { RANGE_FROM, RANGE_AFTER, RANGE_TO, RANGE_BEFORE, RANGE_PREFIX, RANGE_LIKE, RANGE_PARTS };

typedef struct scan_range {
    byte_string parts[RANGE_PARTS]; /* decoded; data is NULL where an option is not given */
    cairn_scan_options options;     /* point into `parts` */
} scan_range;

/* Fills *range, which is for scan_range_release whatever it returns: EXIT_OK, or the exit code of what it reported. */
int scan_range_take(const arguments *args, scan_range *range);
void scan_range_release(scan_range *range);

#endif

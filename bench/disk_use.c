#include "bench/disk_use.h"

#include "bench/bench_common.h"

#include <errno.h>
#include <ftw.h>
#include <linux/major.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static disk_use walked; /* by add_entry, which gets no argument of ours */

static bool is_segment(const char *path) {
    const char *suffix = strrchr(path, '.');
    return suffix != NULL && (strcmp(suffix, ".seg") == 0 || strcmp(suffix, ".alt") == 0);
}

/* A file that went away during the walk comes as FTW_NS. */
static int add_entry(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)where;
    if (type == FTW_NS) return 0;
    uint64_t bytes = (uint64_t)st->st_blocks * 512;
    walked.allocated += bytes;
    if (type != FTW_F) return 0;
    walked.files += bytes;
    if (bytes > walked.segment && is_segment(path)) walked.segment = bytes;
    return 0;
}

disk_use disk_use_of(const char *folder) {
    walked = (disk_use){0};
    if (nftw(folder, add_entry, 16, FTW_PHYS) != 0) die(folder, strerror(errno));
    return walked;
}

static double process_written(void) {
    char line[128];
    double bytes = NAN, cancelled = NAN;
    FILE *f = fopen("/proc/self/io", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "write_bytes:", 12) == 0) bytes = strtod(line + 12, NULL);
        if (strncmp(line, "cancelled_write_bytes:", 22) == 0) cancelled = strtod(line + 22, NULL);
    }
    if (f != NULL) fclose(f);
    return bytes - cancelled;
}

static double loop_device_written(void) {
    char path[64];
    unsigned long long sectors = 0;
    struct stat st;
    if (stat(".", &st) != 0 || major(st.st_dev) != LOOP_MAJOR) return NAN;
    (void)snprintf(path, sizeof path, "/sys/block/loop%u/stat", minor(st.st_dev));
    FILE *f = fopen(path, "r");
    if (f == NULL) return NAN;
    int found = fscanf(f, "%*u %*u %*u %*u %*u %*u %llu", &sectors);
    fclose(f);
    return found == 1 ? (double)sectors * 512 : NAN;
}

written written_now(void) {
    sync();
    return (written){.process = process_written(), .device = loop_device_written()};
}

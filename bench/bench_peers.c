/* cairn, the stores that one would take instead, and plain files, by the same workloads in one run.
 *
 *     bench_peers DIRECTORY [OPTION]...
 *
 * Any wrong option prints them all. In each repetition every engine has its turn at a cell, beginning with another one
 * each time; a table shows medians, and beside each its spread: what lies between the least and the most, in % of the
 * median. Ratios of cairn are taken within a repetition, `of raw` to the best of the plain files, which are the limit,
 * and `of best peer` to the best of the other stores; of what is better when it is less a ratio above 1 is a loss.
 * A dash: not offered, or not measurable here.
 *
 *   fill       a cell's values under new keys, in random order: until the last put has returned, until all is synced
 *   warm       random gets from memory, by one and two threads; as a view (a pointer to the value), looked at or read
 *   cold       random gets after the page cache was dropped, one at a time and many in one call
 *   scan       values in the order of their keys, a hundred a scan or all, and keys alone; `bench_scan` has more of it
 *   overwrite  puts and gets by zipf 0.99, with what that takes on the disk and writes to it
 *   durable    puts that are safe from a power cut when they return, by 1 and 8 threads
 *   keys       many values of 100 bytes: memory a key, absent keys, openings
 *   mixed      4 KiB puts beside a stream
 *
 * How each engine is set up stands in its engine_*.c, how each workload is measured in its peers_*.c; every value is
 * verified in each. An engine that was not installed when this was built is not there. What is not about durability is
 * measured in each engine's own default (engine.h). Data are in a folder below DIRECTORY, which is removed at the end:
 * at most some 2 GiB at a time.
 */
#include "bench/peers.h"

#include <stdlib.h>

static const struct {
    unsigned parts;
    void (*run)(const plan *p);
} workloads[] = {
    {PART_FILL | PART_WARM | PART_COLD | PART_SCAN, peers_values},
    {PART_OVERWRITE, peers_overwrite},
    {PART_DURABLE, peers_durable},
    {PART_KEYS, peers_keys},
    {PART_MIXED, peers_mixed},
};

int main(int argc, char **argv) {
    static plan p;
    const char *directory;
    p = plan_of(argc, argv, &directory);
    scratch_make(directory);
    results_begin(p.engines, p.engine_count, p.repetitions);
    if (p.growth) peers_growth(&p);
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0] && !p.growth; i++) {
        if ((p.parts & workloads[i].parts) == 0) continue;
        workloads[i].run(&p);
        results_print();
    }
    results_print();
    if (p.tsv != NULL) results_tsv(p.tsv);
    if (p.plots != NULL) results_plot(p.plots);
    free(p.plots);
    return 0;
}

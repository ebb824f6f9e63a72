/* What the files of bench_peers share: the plan, the cell, and the workloads.
 *
 * A cell is one engine that does one workload at one size once. Each step of a cell runs in a process of its own, so
 * that no engine is measured with the threads, caches and heap of another one, and so that it can be killed.
 */
#ifndef CAIRN_BENCH_PEERS_H
#define CAIRN_BENCH_PEERS_H

#include "bench/bench_common.h"
#include "bench/engine.h"
#include "bench/peers_results.h"

#include <stdio.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define SIZES_MAX 8
#define COUNT_MAX 65536 /* values in a cell */

typedef struct plan {
    const engine *engines[ENGINES_MAX];
    size_t engine_count;
    size_t sizes[SIZES_MAX]; /* of values */
    size_t size_count;
    unsigned parts; /* PART_* */
    int repetitions;
    uint64_t bytes;        /* of the values of a cell, at most */
    uint64_t warm_bytes;   /* of these, read again and again from the page cache */
    uint64_t stream_bytes; /* of the stream that small puts run beside */
    uint64_t keys;         /* where there are many small values */
    double seconds;        /* of a measurement that goes on until it is told to stop */
    bool growth;           /* only how cairn grows with the number of keys */
    FILE *tsv;             /* NULL: none */
    char *plots;           /* a folder; NULL: none. To be freed */
} plan;

/* The plan of the arguments, and the folder to work in. Ends the program with its usage when something is wrong. */
plan plan_of(int argc, char **argv, const char **directory);

/* ---- Engines ---- */

extern const engine *const engines_known[];
extern const size_t engines_known_count;

/* ---- Cells ---- */

#define FIGURES_MAX 12

typedef struct cell {
    const plan *plan;
    const engine *engine;
    unsigned parts; /* that are wanted, and in which the engine takes part */
    int repetition;
    size_t value_size;
    uint64_t count; /* of values */
    size_t threads;
    bool half;   /* values compress to half of their size, and the engine may */
    double *out; /* one for each figure, NAN until it is set; outlives the step's process */
} cell;

typedef void cell_step(cell *c);

typedef struct cell_kind {
    unsigned parts;          /* an engine takes part that has one of them */
    cell_step *const *steps; /* one after the other, up to NULL; each begins in the same folder */
    cell_step *killed;       /* of these, the one that ends by SIGKILL, sent by itself; NULL: none */
    const figure *figures;
    size_t figure_count;
} cell_kind;

/* In every repetition all engines of the plan, one behind the other, each time beginning with another one; and what
 * they find into the results, as that row. `like` says what is the same for all. */
void cells_run(const cell_kind *kind, const cell *like, const char *row);

uint64_t count_of(const plan *p, size_t value_size, uint64_t bytes); /* of values, in so many bytes */

/* What a step uses: the store in the working folder. */
void *store_open_as(const cell *c, bool durable, uint64_t keys, uint64_t keys_a_session);
#define STORE "store"

const char *size_name(size_t bytes, char buffer[24]); /* "4 KiB" */

/* ---- Workloads: each runs its cells ---- */

void peers_values(const plan *p); /* PART_FILL, PART_WARM, PART_COLD and PART_SCAN */
void peers_overwrite(const plan *p);
void peers_durable(const plan *p);
void peers_keys(const plan *p);
void peers_mixed(const plan *p);
void peers_growth(const plan *p);

#endif

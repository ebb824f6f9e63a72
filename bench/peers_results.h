/* What bench_peers has found: for each figure and row a number of each engine and repetition. */
#ifndef CAIRN_BENCH_PEERS_RESULTS_H
#define CAIRN_BENCH_PEERS_RESULTS_H

#include "bench/engine.h"

#include <stdio.h>

#define ENGINES_MAX 16
#define REPETITIONS_MAX 16
#define ROW_SIZE 32

typedef struct figure {
    const char *workload, *name, *unit;
    bool less; /* is better */
} figure;

/* Of one figure and row. NAN: the engine does not take part, or has no such thing. */
typedef struct series {
    const figure *figure;
    char row[ROW_SIZE];
    double values[ENGINES_MAX][REPETITIONS_MAX];
} series;

/* Over the repetitions; a ratio is taken within each, then its median. */
typedef struct summary {
    double median, least, most;
    double of_raw;  /* to the best of the plain files */
    double of_peer; /* to the best of the stores that are neither cairn nor this one */
} summary;

typedef struct results {
    const engine *const *engines;
    size_t engine_count;
    int repetitions;
    series *series; /* in the order in which they came */
    size_t count, printed;
} results;

/* Once; `engines` and every figure live as long as the program. */
void results_begin(const engine *const *engines, size_t engine_count, int repetitions);

void results_add(const figure *f, const char *row, const engine *e, int repetition, double value);
const results *results_all(void);

/* `at` is the engine's place among those of results_begin. */
bool series_has(const series *s, size_t at); /* a value in every repetition */
summary series_summary(const series *s, size_t at);
bool figure_has(const figure *f, size_t at);      /* in any of its rows */
bool figure_is_first(size_t number, size_t from); /* no series from `from` on, before that one, is of its figure */

void results_print(void); /* tables of what came since the last call */
void results_tsv(FILE *file);

/* A gnuplot script, its data and, where there is gnuplot, a picture of each figure, in `folder`. */
void results_plot(const char *folder);

#endif

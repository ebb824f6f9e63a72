#include "bench/peers_results.h"

#include "bench/bench_common.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELL_WIDTH 13 /* a number of 8, a space, and its spread with a sign behind it */

static results found;

void results_begin(const engine *const *engines, size_t engine_count, int repetitions) {
    found = (results){.engines = engines, .engine_count = engine_count, .repetitions = repetitions};
}

const results *results_all(void) { return &found; }

/* ---- Numbers ---- */

static series *series_of(const figure *f, const char *row) {
    for (size_t i = 0; i < found.count; i++) {
        if (found.series[i].figure == f && strcmp(found.series[i].row, row) == 0) return &found.series[i];
    }
    found.series = realloc(found.series, (found.count + 1) * sizeof *found.series);
    if (found.series == NULL) die("memory", "none");
    series *s = &found.series[found.count++];
    s->figure = f;
    (void)snprintf(s->row, sizeof s->row, "%s", row);
    for (size_t i = 0; i < ENGINES_MAX * REPETITIONS_MAX; i++) {
        s->values[i / REPETITIONS_MAX][i % REPETITIONS_MAX] = NAN;
    }
    return s;
}

void results_add(const figure *f, const char *row, const engine *e, int repetition, double value) {
    series *s = series_of(f, row);
    for (size_t i = 0; i < found.engine_count; i++) {
        if (found.engines[i] == e) s->values[i][repetition] = value;
    }
}

bool series_has(const series *s, size_t at) {
    for (int i = 0; i < found.repetitions; i++) {
        if (!isfinite(s->values[at][i])) return false;
    }
    return true;
}

/* Of all engines of that kind but the one; NAN: there is none. */
static double best_in(const series *s, engine_kind kind, size_t but, int repetition) {
    double best = NAN;
    for (size_t i = 0; i < found.engine_count; i++) {
        if (i == but || found.engines[i]->kind != kind || !series_has(s, i)) continue;
        best = s->figure->less ? fmin(best, s->values[i][repetition]) : fmax(best, s->values[i][repetition]);
    }
    return best;
}

static double ratio_to(const series *s, size_t at, engine_kind kind) {
    double best[REPETITIONS_MAX];
    for (int i = 0; i < found.repetitions; i++) {
        best[i] = best_in(s, kind, at, i);
        if (!(best[i] > 0)) return NAN;
    }
    return median_ratio(s->values[at], best, found.repetitions);
}

summary series_summary(const series *s, size_t at) {
    double sorted[REPETITIONS_MAX];
    summary of = {.of_raw = NAN, .of_peer = NAN};
    memcpy(sorted, s->values[at], sizeof sorted);
    of.median = median(sorted, found.repetitions); /* sorts them */
    of.least = sorted[0];
    of.most = sorted[found.repetitions - 1];
    if (found.engines[at]->kind != ENGINE_RAW) of.of_raw = ratio_to(s, at, ENGINE_RAW);
    of.of_peer = ratio_to(s, at, ENGINE_PEER);
    return of;
}

/* ---- Tables: a figure each, a row for each size, a column for each engine ---- */

bool figure_has(const figure *f, size_t at) {
    for (size_t i = 0; i < found.count; i++) {
        if (found.series[i].figure == f && series_has(&found.series[i], at)) return true;
    }
    return false;
}

bool figure_is_first(size_t number, size_t from) {
    for (size_t i = from; i < number; i++) {
        if (found.series[i].figure == found.series[number].figure) return false;
    }
    return true;
}

static void print_heads(const figure *f) {
    printf("\n%s, %s: %s, %s is better\n%-20s", f->workload, f->name, f->unit, f->less ? "less" : "more", "");
    for (size_t i = 0; i < found.engine_count; i++) {
        if (figure_has(f, i)) printf(" %*s", CELL_WIDTH, found.engines[i]->name);
    }
    printf("  cairn: of raw  of best peer\n");
}

static void print_ratio(double ratio) {
    if (isnan(ratio)) {
        printf(" %13s", "-");
    } else {
        printf(" %13.2f", ratio);
    }
}

/* Three digits that tell something, or all before the point. */
static int decimals_of(double value) { return value < 10 ? 2 : value < 100 ? 1 : 0; }

static void print_row(const series *s) {
    summary cairn_s = {.of_raw = NAN, .of_peer = NAN};
    printf("%-20s", s->row);
    for (size_t i = 0; i < found.engine_count; i++) {
        if (!figure_has(s->figure, i)) continue;
        if (!series_has(s, i)) {
            printf(" %*s", CELL_WIDTH, "-");
            continue;
        }
        summary of = series_summary(s, i);
        double spread = of.median > 0 ? (of.most - of.least) / of.median * 100 : 0;
        printf(" %*.*f %3.0f%%", CELL_WIDTH - 5, decimals_of(of.median), of.median, spread);
        if (found.engines[i]->kind == ENGINE_CAIRN) cairn_s = of;
    }
    print_ratio(cairn_s.of_raw);
    print_ratio(cairn_s.of_peer);
    printf("\n");
}

static void print_figure(const figure *f) {
    print_heads(f);
    for (size_t i = found.printed; i < found.count; i++) {
        if (found.series[i].figure == f) print_row(&found.series[i]);
    }
}

static bool is_anywhere(const figure *f) {
    for (size_t i = 0; i < found.engine_count; i++) {
        if (figure_has(f, i)) return true;
    }
    return false;
}

void results_print(void) {
    for (size_t i = found.printed; i < found.count; i++) {
        if (figure_is_first(i, found.printed) && is_anywhere(found.series[i].figure))
            print_figure(found.series[i].figure);
    }
    found.printed = found.count;
    flush_rows();
}

/* ---- For other programs ---- */

static void tsv_row(FILE *file, const series *s, size_t at) {
    summary of = series_summary(s, at);
    fprintf(file, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.6g\t%.6g\t%.6g\t%.4g\t%.4g\n", s->figure->workload, s->figure->name,
            s->figure->unit, s->figure->less ? "less" : "more", s->row, found.engines[at]->name, found.repetitions,
            of.median, of.least, of.most, of.of_raw, of.of_peer);
}

void results_tsv(FILE *file) {
    fprintf(file, "workload\tfigure\tunit\tbetter\trow\tengine\trepetitions\tmedian\tleast\tmost\tof_raw\tof_peer\n");
    for (size_t i = 0; i < found.count; i++) {
        for (size_t j = 0; j < found.engine_count; j++) {
            if (series_has(&found.series[i], j)) tsv_row(file, &found.series[i], j);
        }
    }
    if (fflush(file) != 0) die("the table for --tsv", strerror(errno));
}

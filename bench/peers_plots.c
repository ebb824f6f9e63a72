/* Pictures: for each figure that more than one engine has, bars of the medians with their spread. */
#include "bench/bench_common.h"
#include "bench/peers_results.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT "peers.gp"
#define NAME_SIZE 96

/* "fill-until-returned" */
static void file_name(const figure *f, char name[NAME_SIZE]) {
    char both[NAME_SIZE], *end = name;
    (void)snprintf(both, sizeof both, "%s-%s", f->workload, f->name);
    for (const char *c = both; *c != '\0'; c++) {
        bool letter = isalnum((unsigned char)*c);
        if (letter || (end != name && end[-1] != '-')) *end++ = letter ? *c : '-';
    }
    *end = '\0';
}

static FILE *create(const char *folder, const char *name, const char *suffix) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    FILE *f = fopen(path, "w");
    if (f == NULL) die(path, strerror(errno));
    return f;
}

static void finish(FILE *f) {
    if (fclose(f) != 0) die("a plot's file", strerror(errno));
}

/* A line for each row: its name, then median, least and most of each engine that takes part. */
static void write_data(const results *r, const figure *f, FILE *data) {
    for (size_t i = 0; i < r->count; i++) {
        if (r->series[i].figure != f) continue;
        fprintf(data, "\"%s\"", r->series[i].row);
        for (size_t j = 0; j < r->engine_count; j++) {
            if (!figure_has(f, j)) continue;
            if (series_has(&r->series[i], j)) {
                summary of = series_summary(&r->series[i], j);
                fprintf(data, " %.6g %.6g %.6g", of.median, of.least, of.most);
            } else {
                fprintf(data, " NaN NaN NaN");
            }
        }
        fprintf(data, "\n");
    }
}

static void write_plot(const results *r, const figure *f, const char *name, FILE *script) {
    size_t column = 2;
    fprintf(script, "set output '%s.svg'\nset title '%s, %s'\nset ylabel '%s (%s is better)'\nplot", name, f->workload,
            f->name, f->unit, f->less ? "less" : "more");
    for (size_t i = 0; i < r->engine_count; i++) {
        if (!figure_has(f, i)) continue;
        fprintf(script, "%s '%s.dat' using %zu:%zu:%zu:xtic(1) title '%s' linecolor %zu", column > 2 ? "," : "", name,
                column, column + 1, column + 2, r->engines[i]->name, i + 1);
        column += 3;
    }
    fprintf(script, "\n");
}

static size_t engines_of(const results *r, const figure *f) {
    size_t count = 0;
    for (size_t i = 0; i < r->engine_count; i++) {
        count += figure_has(f, i);
    }
    return count;
}

static void draw(const char *folder) {
    int status = 0;
    pid_t child = fork();
    if (child < 0) die("fork", strerror(errno));
    if (child == 0) {
        if (chdir(folder) == 0) (void)execlp("gnuplot", "gnuplot", SCRIPT, (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (waitpid(child, &status, 0) != child) die("gnuplot", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        printf("\ngnuplot is not there: no pictures, but %s/%s draws them\n", folder, SCRIPT);
    } else if (status != 0) {
        printf("\ngnuplot failed on %s/%s\n", folder, SCRIPT);
    }
}

void results_plot(const char *folder) {
    const results *r = results_all();
    FILE *script = create(folder, SCRIPT, "");
    fprintf(script, "set terminal svg size 900,420 background rgb 'white'\nset style data histogram\n"
                    "set style histogram errorbars gap 1 lw 1\nset style fill solid 0.8\nset grid y\n"
                    "set logscale y\nset key outside right top\nset xtics rotate by -20\n");
    for (size_t i = 0; i < r->count; i++) {
        char name[NAME_SIZE];
        const figure *f = r->series[i].figure;
        if (!figure_is_first(i, 0) || engines_of(r, f) < 2) continue;
        file_name(f, name);
        FILE *data = create(folder, name, ".dat");
        write_data(r, f, data);
        finish(data);
        write_plot(r, f, name, script);
    }
    finish(script);
    flush_rows();
    draw(folder);
}

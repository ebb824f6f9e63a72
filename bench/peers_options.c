#include "bench/peers.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage_text[] =
    "usage: bench_peers DIRECTORY [OPTION]...\n"
    "\n"
    "  --quick           small cells, once: some minutes\n"
    "  --only LIST       of fill,warm,cold,scan,overwrite,durable,keys,mixed; each: all\n"
    "  --engines LIST    of those below; each: all that were there when this was built\n"
    "  --sizes LIST      of values, such as 4K,1M; each: 1K,4K,64K,1M,16M\n"
    "  --reps N          repetitions, 1 to 16; each: 3, with --quick 1\n"
    "  --mib N           of values in a cell, at most; each: 256, with --quick 64\n"
    "  --keys N          of the workload of that name; each: 1000000, with --quick 200000\n"
    "  --growth          only cairn with 1, 5 and 20 million keys; 5 GiB of disk\n"
    "  --tsv FILE        every figure as a table with tabs\n"
    "  --plots FOLDER    a picture of every figure, where there is gnuplot\n"
    "\n"
    "engines:";

static const struct {
    const char *name;
    unsigned part;
} part_names[] = {
    {"fill", PART_FILL},           {"warm", PART_WARM},       {"cold", PART_COLD}, {"scan", PART_SCAN},
    {"overwrite", PART_OVERWRITE}, {"durable", PART_DURABLE}, {"keys", PART_KEYS}, {"mixed", PART_MIXED},
};

static _Noreturn void usage(const char *what, const char *word) {
    if (what != NULL) fprintf(stderr, "bench_peers: %s: %s\n", what, word);
    fputs(usage_text, stderr);
    for (size_t i = 0; i < engines_known_count; i++) {
        fprintf(stderr, " %s", engines_known[i]->name);
    }
    fputc('\n', stderr);
    exit(2);
}

/* ---- Words ---- */

static uint64_t number_of(const char *word, uint64_t least, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 10);
    if (errno != 0 || end == word || *end != '\0' || n < least || n > most) usage("not a number that is allowed", word);
    return n;
}

static void add_part(plan *p, const char *word) {
    for (size_t i = 0; i < sizeof part_names / sizeof part_names[0]; i++) {
        if (strcmp(part_names[i].name, word) != 0) continue;
        p->parts |= part_names[i].part;
        return;
    }
    usage("no such workload", word);
}

static void add_engine(plan *p, const char *word) {
    for (size_t i = 0; i < p->engine_count; i++) {
        if (strcmp(p->engines[i]->name, word) == 0) return;
    }
    for (size_t i = 0; i < engines_known_count; i++) {
        if (strcmp(engines_known[i]->name, word) != 0) continue;
        p->engines[p->engine_count++] = engines_known[i];
        return;
    }
    usage("no such engine, or not there when this was built", word);
}

static void add_size(plan *p, const char *word) {
    char *end;
    unsigned long long n = strtoull(word, &end, 10);
    size_t unit = strcmp(end, "K") == 0 ? KIB : strcmp(end, "M") == 0 ? MIB : *end == '\0' ? 1 : 0;
    if (end == word || unit == 0 || n > 64 * MIB || n * unit < 64 || n * unit > 64 * MIB) {
        usage("not a size from 64 to 64M", word);
    }
    if (p->size_count == SIZES_MAX) usage("too many sizes", word);
    p->sizes[p->size_count++] = n * unit;
}

static void each_word(plan *p, char *list, void (*add)(plan *p, const char *word)) {
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        add(p, word);
    }
}

/* ---- Files: opened before the program goes to its own folder ---- */

static FILE *tsv_of(const char *path) {
    FILE *f = fopen(path, "we");
    if (f == NULL) die(path, strerror(errno));
    return f;
}

static char *folder_of(const char *path) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST) die(path, strerror(errno));
    char *whole = realpath(path, NULL);
    if (whole == NULL) die(path, strerror(errno));
    return whole;
}

/* ---- The plan ---- */

static void set_sizes(plan *p, bool quick) {
    if (p->repetitions == 0) p->repetitions = quick ? 1 : 3;
    if (p->bytes == 0) p->bytes = (quick ? 64 : 256) * MIB;
    if (p->keys == 0) p->keys = quick ? 200000 : 1000000;
    p->seconds = quick ? 0.1 : 0.4;
    p->warm_bytes = (quick ? 16 : 64) * MIB;
    p->stream_bytes = (quick ? 128 : 1024) * MIB;
}

static void set_rest(plan *p, bool quick) {
    char sizes[] = "1K,4K,64K,1M,16M";
    set_sizes(p, quick);
    if (p->growth) {
        p->parts = PART_KEYS;
        p->engines[0] = &engine_cairn;
        p->engine_count = 1;
    }
    if (p->parts == 0) p->parts = PART_ALL;
    if (p->size_count == 0) each_word(p, sizes, add_size);
    bool named = p->engine_count != 0;
    for (size_t i = 0; !named && i < engines_known_count; i++) {
        add_engine(p, engines_known[i]->name);
    }
}

enum { QUICK = 1, ONLY, ENGINES, SIZES, REPS, MIBS, KEYS, GROWTH, TSV, PLOTS };
static const struct option options[] = {
    {"quick", no_argument, NULL, QUICK},
    {"only", required_argument, NULL, ONLY},
    {"engines", required_argument, NULL, ENGINES},
    {"sizes", required_argument, NULL, SIZES},
    {"reps", required_argument, NULL, REPS},
    {"mib", required_argument, NULL, MIBS},
    {"keys", required_argument, NULL, KEYS},
    {"growth", no_argument, NULL, GROWTH},
    {"tsv", required_argument, NULL, TSV},
    {"plots", required_argument, NULL, PLOTS},
    {NULL, 0, NULL, 0},
};

static void take(plan *p, int option, bool *quick) {
    switch (option) {
    case QUICK:
        *quick = true;
        break;
    case ONLY:
        each_word(p, optarg, add_part);
        break;
    case ENGINES:
        each_word(p, optarg, add_engine);
        break;
    case SIZES:
        each_word(p, optarg, add_size);
        break;
    case REPS:
        p->repetitions = (int)number_of(optarg, 1, REPETITIONS_MAX);
        break;
    case MIBS:
        p->bytes = number_of(optarg, 1, 4096) * MIB;
        break;
    case KEYS:
        p->keys = number_of(optarg, 1000, 1000000000);
        break;
    case GROWTH:
        p->growth = true;
        break;
    case TSV:
        p->tsv = tsv_of(optarg);
        break;
    case PLOTS:
        p->plots = folder_of(optarg);
        break;
    default:
        usage(NULL, NULL);
    }
}

plan plan_of(int argc, char **argv, const char **directory) {
    plan p = {0};
    bool quick = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        take(&p, option, &quick);
    }
    if (optind + 1 != argc) usage(NULL, NULL);
    *directory = argv[optind];
    set_rest(&p, quick);
    return p;
}

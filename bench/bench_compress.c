/* What compression costs and saves: the same values put and got with none, with zstd, and with zstd and a dictionary
 * trained on other values of the same kind; in one run, interleaved, medians.
 *
 *     bench_compress DIRECTORY [REPETITIONS [MiB [LEVEL]]]
 *
 * Values are cut from real text (/usr/share/doc, what is gzipped unpacked), from real binaries (/usr/lib), and from
 * random bytes, up to MiB (default 64) of each. `size` is stored bytes to value bytes, headers included. Gets are
 * cairn_get_into in random order, from the page cache, each value twice. The dictionary is for small values only, and
 * shown where it is used. Everything is made in a folder below DIRECTORY and removed.
 */
#define _XOPEN_SOURCE 700
#include "bench/bench_common.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPETITIONS_MAX 32
#define FILE_MAX ((size_t)4 << 20) /* taken of one file, so that none makes up the whole */

/* ---- What is stored ---- */

typedef struct corpus {
    const char *name, *folder;
    char *bytes;
    size_t size, capacity;
} corpus;

static corpus *collecting; /* nftw has no context */

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static FILE *open_text(const char *path, bool *piped) {
    char command[4200];
    *piped = ends_with(path, ".gz");
    if (!*piped) return fopen(path, "r");
    if (strchr(path, '\'') != NULL) return NULL;
    (void)snprintf(command, sizeof command, "gzip -dc -- '%s' 2>/dev/null", path);
    return popen(command, "r");
}

static int collect(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)walk;
    corpus *c = collecting;
    bool piped;
    if (type != FTW_F || info->st_size < 512) return 0;
    FILE *file = open_text(path, &piped);
    if (file == NULL) return 0;
    size_t room = c->capacity - c->size;
    c->size += fread(c->bytes + c->size, 1, room < FILE_MAX ? room : FILE_MAX, file);
    (void)(piped ? pclose(file) : fclose(file));
    return c->size == c->capacity;
}

static void fill_corpus(corpus *c, size_t capacity) {
    c->bytes = allocate(capacity);
    c->capacity = capacity;
    collecting = c;
    if (c->folder == NULL) {
        random_fill(c->bytes, capacity, 1);
        c->size = capacity;
    } else {
        (void)nftw(c->folder, collect, 32, FTW_PHYS);
    }
}

/* ---- One store ---- */

typedef enum side { NONE, ZSTD, DICTIONARY, SIDES } side;

typedef struct figures {
    double put[REPETITIONS_MAX], get[REPETITIONS_MAX], size;
} figures;

typedef struct plan {
    const corpus *corpus;
    size_t value_size, first, count; /* values [first, first + count) are measured */
    size_t *order;
    char *buffer;
    int level;
} plan;

static const char *value_at(const plan *p, size_t i) { return p->corpus->bytes + i * p->value_size; }

static cairn *open_side(const plan *p, side which) {
    cairn *store = NULL;
    cairn_error error;
    cairn_options o = {.struct_size = sizeof o,
                       .create = true,
                       .compression = which == NONE ? CAIRN_COMPRESSION_NONE : CAIRN_COMPRESSION_ZSTD,
                       .compression_level = p->level};
    must(cairn_open(&store, "store", &o, &error), "open", &error);
    return store;
}

static void put_values(const plan *p, cairn *store, size_t first, size_t count) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    for (size_t i = first; i < first + count; i++) {
        must(cairn_put(store, key, key_of(key, i), value_at(p, i), p->value_size, NULL, &error), "put", &error);
    }
}

/* Learns from values that are not measured. */
static void train(const plan *p, cairn *store) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    cairn_train_result r = {.struct_size = sizeof r};
    put_values(p, store, 0, p->first);
    must(cairn_train(store, NULL, &r, &error), "train", &error);
    for (size_t i = 0; i < p->first; i++) {
        must(cairn_delete(store, key, key_of(key, i), NULL, &error), "delete", &error);
    }
}

static void get_values(const plan *p, cairn *store) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    for (size_t i = 0; i < p->count; i++) {
        size_t size, at = p->order[i];
        must(cairn_get_into(store, key, key_of(key, at), p->buffer, p->value_size, &size, &error), "get", &error);
        if (size != p->value_size || memcmp(p->buffer, value_at(p, at), size) != 0) die("a value", "is another one's");
    }
}

static void run_side(const plan *p, side which, int repetition, figures *f) {
    cairn_error error;
    cairn_stats stats = {.struct_size = sizeof stats};
    double mib = (double)(p->count * p->value_size) / 1048576.0;
    cairn *store = open_side(p, which);
    if (which == DICTIONARY) train(p, store);
    double begin = now_s();
    put_values(p, store, p->first, p->count);
    f->put[repetition] = mib / (now_s() - begin);
    must(cairn_stats_get(store, &stats, &error), "stats", &error);
    f->size = (double)stats.live_bytes / (double)(p->count * p->value_size);
    begin = now_s();
    get_values(p, store);
    get_values(p, store);
    f->get[repetition] = 2 * mib / (now_s() - begin);
    (void)cairn_close(store);
    folder_remove("store");
}

static void run_size(const corpus *c, size_t value_size, bool dictionary, int level, int repetitions) {
    static const char *const names[SIDES] = {"none", "zstd", "zstd+dic"};
    static figures f[SIDES];
    size_t values = c->size / value_size;
    plan p = {.corpus = c, .value_size = value_size, .level = level};
    p.first = dictionary ? values / 2 : 0;
    p.count = values - p.first;
    p.order = allocate((p.count + 1) * sizeof *p.order);
    p.buffer = allocate(value_size);
    int sides = dictionary ? SIDES : DICTIONARY;
    for (int r = 0; r < repetitions; r++) {
        shuffle(p.order, p.first, p.count, (uint64_t)r + 1);
        for (int k = 0; k < sides; k++) {
            side which = (side)((r + k) % sides);
            run_side(&p, which, r, &f[which]);
        }
    }
    for (int k = 0; k < sides; k++) {
        double put = median_ratio(f[k].put, f[NONE].put, repetitions);
        double get = median_ratio(f[k].get, f[NONE].get, repetitions);
        printf("%-8s %8zu %-9s %6.2f %9.0f %9.0f %9.2f %9.2f\n", c->name, value_size, names[k], f[k].size,
               median(f[k].put, repetitions), median(f[k].get, repetitions), put, get);
    }
    flush_rows();
    free(p.order);
    free(p.buffer);
}

int main(int argc, char **argv) {
    corpus corpora[] = {{.name = "text", .folder = "/usr/share/doc"},
                        {.name = "binary", .folder = "/usr/lib"},
                        {.name = "random", .folder = NULL}};
    static const size_t sizes[] = {1024, 4096, 65536, 1048576};
    if (argc < 2) die("usage", "bench_compress DIRECTORY [REPETITIONS [MiB [LEVEL]]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 5, level = argc > 4 ? atoi(argv[4]) : 0;
    size_t bytes = (argc > 3 ? (size_t)atol(argv[3]) : 64) << 20;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || bytes < 4 << 20) die("usage", "1 to 32, 4 MiB up");
    scratch_make(argv[1]);
    printf("%-8s %8s %-9s %6s %9s %9s %9s %9s\n", "what", "bytes", "how", "size", "put MiB/s", "get MiB/s", "put:none",
           "get:none");
    for (size_t i = 0; i < sizeof corpora / sizeof *corpora; i++) {
        fill_corpus(&corpora[i], bytes);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            bool dictionary = sizes[k] <= 4096 && corpora[i].folder != NULL;
            run_size(&corpora[i], sizes[k], dictionary, level, repetitions);
        }
        free(corpora[i].bytes);
    }
    return 0;
}

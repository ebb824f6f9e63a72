/* Compression alone, without a store: ratio and speed by value size and level on real files, what incompressible values
 * lose, how often the probe is wrong, and what a dictionary is good for. One line a figure or row.
 *
 * Arguments: [-l LEVEL,LEVEL...] [-m MIB] [DIRECTORY...]; by default levels 1 and 3, 32 MiB of each of /usr/share/doc
 * and /usr/lib. Random bytes come besides. Files are picked by a hash of their path, so that they are the same each
 * time; .gz files are left out unless the directory is given as gz:DIRECTORY, which takes nothing else. Times are those
 * of the processor.
 *
 * Files stand one behind the other in memory; values are cut from that, across their borders, but for those of the
 * dictionary, which are cut from single files: it is trained on half of the files and tried on the others.
 */
#include "bench/bench_common.h"
#include "src/base/check.h"
#include "vlog/pack.h"
#include "vlog/pack_probe.h"
#include "vlog/record.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define FILE_BYTES_MAX ((size_t)4 << 20) /* of one file */
#define FILES_MAX 100000
#define LEVELS_MAX 16

typedef struct corpus {
    char name[64];
    uint8_t *bytes;
    size_t size, capacity;
    size_t *ends; /* of its files */
    size_t files;
} corpus;

/* ---- Files ---- */

static struct {
    corpus *into;
    bool gz, counting;
    uint64_t total; /* bytes there are */
} walk;

static uint64_t path_hash(const char *path) {
    uint64_t state = 0;
    for (; *path != '\0'; path++)
        state = state * 31 + (unsigned char)*path;
    return random_next(&state);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)where;
    size_t length = strlen(path);
    bool gz = length > 3 && strcmp(path + length - 3, ".gz") == 0;
    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size == 0 || gz != walk.gz) return 0;
    size_t size = min_u64((uint64_t)st->st_size, FILE_BYTES_MAX);
    if (walk.counting) {
        walk.total += size;
        return 0;
    }
    corpus *c = walk.into;
    if (c->files == FILES_MAX || size > c->capacity - c->size) return 0;
    if ((double)(path_hash(path) >> 11) * 0x1p-53 * (double)walk.total > 1.1 * (double)c->capacity) return 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL) return 0;
    c->size += fread(c->bytes + c->size, 1, size, f);
    c->ends[c->files++] = c->size;
    fclose(f);
    return 0;
}

static void corpus_make(corpus *c, const char *name, size_t capacity) {
    *c = (corpus){.capacity = capacity, .bytes = allocate(capacity), .ends = allocate(FILES_MAX * sizeof *c->ends)};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
}

static void corpus_read(corpus *c, const char *directory) {
    walk.into = c;
    walk.total = 0;
    walk.gz = strncmp(directory, "gz:", 3) == 0;
    if (walk.gz) directory += 3;
    for (int pass = 0; pass < 2; pass++) {
        walk.counting = pass == 0;
        if (nftw(directory, visit, 32, FTW_PHYS) != 0) die(directory, strerror(errno));
    }
    if (c->files == 0) die(directory, "no files");
}

static void corpus_free(corpus *c) {
    free(c->bytes);
    free(c->ends);
}

/* ---- Ratio and speed ---- */

typedef struct outcome {
    uint64_t values, packed, bytes, stored, unpacked_bytes;
    double pack_s, unpack_s;
} outcome;

static void unpack_value(packer *p, const dictionary *d, const packed *v, uint8_t *out, size_t size) {
    const uint8_t *stored = v->bytes;
    for (uint64_t i = 0; i < v->frames; i++) {
        size_t at = i * FRAME_BYTES;
        if (unpack_frame(p, d, stored, v->lengths[i], out + at, min_u64(size - at, FRAME_BYTES)) != CAIRN_OK)
            die("unpack", "refused");
        stored += v->lengths[i];
    }
}

/* Some values at a time, so that the clock, which is the processor's, is not read too often. */
#define GROUP_VALUES 64
typedef struct group {
    const uint8_t *values[GROUP_VALUES];
    packed packed[GROUP_VALUES];
    unsigned count;
} group;

static void measure_group(packer *p, const pack_options *o, group *g, size_t size, uint8_t *out, outcome *sum) {
    double begin = clock_s(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < g->count; i++) {
        if (pack_value(p, o, g->values[i], size, &g->packed[i]) != CAIRN_OK) die("pack", "no memory");
    }
    double middle = clock_s(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < g->count; i++) {
        if (g->packed[i].codec == CODEC_RAW) continue;
        const dictionary *d = g->packed[i].codec == CODEC_ZSTD ? NULL : o->dictionary;
        unpack_value(p, d, &g->packed[i], out, size);
    }
    sum->unpack_s += clock_s(CLOCK_THREAD_CPUTIME_ID) - middle;
    sum->pack_s += middle - begin;
    for (unsigned i = 0; i < g->count; i++) {
        bool raw = g->packed[i].codec == CODEC_RAW;
        sum->values++;
        sum->bytes += size;
        sum->stored += raw ? size : g->packed[i].size;
        sum->packed += !raw;
        sum->unpacked_bytes += raw ? 0 : size;
        packed_release(&g->packed[i]);
    }
    g->count = 0;
}

static void print_outcome(const corpus *c, size_t size, int level, const char *what, const outcome *o) {
    printf("%-24s %8zu level %3d%s ratio %.3f packed %5.1f %% pack %7.1f MB/s unpack %7.1f MB/s %9.2f us/value\n",
           c->name, size, level, what, (double)o->bytes / (double)o->stored,
           100.0 * (double)o->packed / (double)o->values, (double)o->bytes / o->pack_s * 1e-6,
           o->packed > 0 ? (double)o->unpacked_bytes / o->unpack_s * 1e-6 : 0.0, o->pack_s / (double)o->values * 1e6);
    flush_rows();
}

/* The values that `next` gives, `rounds` times over. The first round of several is not counted. */
typedef const uint8_t *next_value(void *ctx, bool again);

static void measure(const corpus *c, size_t size, const pack_options *o, const char *what, next_value *next, void *ctx,
                    unsigned rounds) {
    packer *p;
    if (packer_new(&p) != CAIRN_OK) die("packer", "no memory");
    uint8_t *out = allocate(size);
    outcome sum = {0};
    static group g;
    for (unsigned round = 0; round < rounds; round++) {
        if (round == 1) sum = (outcome){0};
        for (const uint8_t *value = next(ctx, true); value != NULL; value = next(ctx, false)) {
            g.values[g.count++] = value;
            if (g.count == GROUP_VALUES || g.count * size >= (size_t)4 << 20) measure_group(p, o, &g, size, out, &sum);
        }
        measure_group(p, o, &g, size, out, &sum);
    }
    if (sum.values > 0) print_outcome(c, size, o->level, what, &sum);
    free(out);
    packer_free(p);
}

typedef struct slicing {
    const corpus *c;
    size_t size, at;
} slicing;

static const uint8_t *slice_next(void *ctx, bool again) {
    slicing *s = ctx;
    s->at = again ? 0 : s->at + s->size;
    return s->at + s->size <= s->c->size ? s->c->bytes + s->at : NULL;
}

/* ---- The probe ---- */

/* Beside what zstd makes of every frame. */
static void measure_probe(const corpus *c, size_t size, int level) {
    ZSTD_CCtx *encoder = ZSTD_createCCtx();
    uint8_t *out = allocate(size);
    if (encoder == NULL) die("zstd", "no memory");
    (void)ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, level);
    uint64_t frames = 0, shrink = 0, refused = 0, fooled = 0, saving = 0, lost = 0;
    for (size_t at = 0; at + size <= c->size; at += size) {
        bool approved = pack_probe(c->bytes + at, size);
        size_t got = ZSTD_compress2(encoder, out, size - size / 8, c->bytes + at, size);
        bool shrinks = !ZSTD_isError(got);
        frames++;
        shrink += shrinks;
        refused += shrinks && !approved;
        fooled += !shrinks && approved;
        if (shrinks) saving += size - got;
        if (shrinks && !approved) lost += size - got;
    }
    if (frames > 0) {
        printf("%-24s %8zu probe: of %" PRIu64 " frames %" PRIu64 " shrink, %" PRIu64
               " of them refused (%.3f %% of the saving), %" PRIu64 " approved in vain\n",
               c->name, size, frames, shrink, refused, saving > 0 ? 100.0 * (double)lost / (double)saving : 0.0,
               fooled);
        flush_rows();
    }
    free(out);
    ZSTD_freeCCtx(encoder);
}

/* ---- Dictionaries ---- */

/* Values of `size` bytes from each second file, beginning with the first or the second; at most 16 from each. */
typedef struct cutting {
    const corpus *c;
    size_t size, parity;
    size_t file, at;
} cutting;

static const uint8_t *cut_next(void *ctx, bool again) {
    cutting *k = ctx;
    if (again) k->file = k->at = 0;
    for (; k->file < k->c->files; k->file++, k->at = 0) {
        size_t begin = k->file == 0 ? 0 : k->c->ends[k->file - 1];
        if (k->file % 2 != k->parity || k->at >= 16 * k->size || begin + k->at + k->size > k->c->ends[k->file])
            continue;
        k->at += k->size;
        return k->c->bytes + begin + k->at - k->size;
    }
    return NULL;
}

static dictionary *train(const corpus *c, size_t size, size_t capacity, int *id, const value_file_env *env) {
    const size_t samples_max = (size_t)12 << 20;
    uint8_t *samples = allocate(samples_max), *content = allocate(capacity);
    size_t *sizes = allocate((samples_max / size + 1) * sizeof *sizes), content_size;
    unsigned count = 0;
    cutting k = {.c = c, .size = size};
    const uint8_t *value;
    while ((count + 1) * size <= samples_max && (value = cut_next(&k, count == 0)) != NULL) {
        memcpy(samples + count * size, value, size);
        sizes[count++] = size;
    }
    dictionary *d = NULL;
    cairn_error error;
    double begin = now_s();
    int rc = dictionary_train(samples, sizes, count, content, capacity, &content_size, &error);
    double middle = now_s();
    if (rc == CAIRN_OK) {
        must(dictionary_store(env, (uint64_t)++ * id, content, content_size, NULL, &error), "store", &error);
        must(dictionary_load(&d, env, (uint64_t)*id, &error), "load", &error);
        printf("%-24s %8zu dictionary of %zu bytes from %u values in %.1f s, loaded in %.2f ms\n", c->name, size,
               content_size, count, middle - begin, (now_s() - middle) * 1e3);
    } else {
        printf("%-24s %8zu no dictionary: %s\n", c->name, size, error.message);
    }
    free(samples);
    free(sizes);
    free(content);
    return d;
}

static void measure_dictionary(const corpus *c, int level, const value_file_env *env) {
    static int id;
    const size_t sizes[] = {1024, 4096, 8192, DICTIONARY_VALUE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        dictionary *d = train(c, sizes[i], DICTIONARY_CONTENT_DEFAULT, &id, env);
        cutting k = {.c = c, .size = sizes[i], .parity = 1};
        pack_options alone = {.level = level}, with = {.level = level, .dictionary = d};
        measure(c, sizes[i], &alone, " alone     ", cut_next, &k, 2);
        if (d != NULL) measure(c, sizes[i], &with, " dictionary", cut_next, &k, 2);
        dictionary_free(d);
    }
}

/* ---- All of it ---- */

typedef struct arguments {
    int levels[LEVELS_MAX], level_count;
    size_t capacity;
} arguments;

static void measure_corpus(const corpus *c, const arguments *a, const value_file_env *env) {
    const size_t sizes[] = {1024, 4096, 65536, 1048576};
    printf("%-24s %zu files, %zu bytes\n", c->name, c->files, c->size);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int i = 0; i < a->level_count; i++) {
            slicing slices = {.c = c, .size = sizes[s]};
            pack_options o = {.level = a->levels[i]};
            measure(c, sizes[s], &o, "", slice_next, &slices, c->files > 0 ? 2 : 10);
        }
        if (sizes[s] <= FRAME_BYTES) measure_probe(c, sizes[s], PACK_LEVEL_DEFAULT);
    }
    for (int i = 0; i < a->level_count && c->files > 1; i++)
        measure_dictionary(c, a->levels[i], env);
}

static void parse_levels(arguments *a, char *list) {
    a->level_count = 0;
    for (char *next = strtok(list, ","); next != NULL; next = strtok(NULL, ",")) {
        int level = atoi(next);
        if (!pack_level_valid(level) || a->level_count == LEVELS_MAX) die(next, "not a level");
        a->levels[a->level_count++] = level;
    }
}

int main(int argc, char **argv) {
    arguments a = {.levels = {1, 3}, .level_count = 2, .capacity = (size_t)32 << 20};
    int option;
    while ((option = getopt(argc, argv, "l:m:")) != -1) {
        if (option == 'l') parse_levels(&a, optarg);
        if (option == 'm') a.capacity = (size_t)strtoull(optarg, NULL, 10) << 20;
        if (option == '?' || a.capacity == 0) die("usage", "bench_pack [-l LEVEL,...] [-m MIB] [DIRECTORY...]");
    }
    static char doc[] = "/usr/share/doc", lib[] = "/usr/lib";
    char *defaults[] = {doc, lib}, **directories = optind < argc ? argv + optind : defaults;
    int count = optind < argc ? argc - optind : 2;
    static const uint8_t store_id[16] = "bench";
    value_file_env env = {.store_id = store_id, .salt = 1};
    scratch_make(getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (os_posix()->dir_open(os_posix(), ".", 0, &env.dir) != 0) die("scratch folder", "cannot be opened");

    corpus c;
    corpus_make(&c, "random", a.capacity);
    random_fill(c.bytes, c.capacity, 1);
    c.size = c.capacity;
    measure_corpus(&c, &a, &env);
    corpus_free(&c);
    for (int i = 0; i < count; i++) {
        corpus_make(&c, directories[i], a.capacity);
        corpus_read(&c, directories[i]);
        measure_corpus(&c, &a, &env);
        corpus_free(&c);
    }
    os_dir_close(env.dir);
    return 0;
}

/* The store beside plain files, in one run: fill and random reads of the same bytes, interleaved, medians of the
 * ratios.
 *
 *     bench_store DIRECTORY [REPETITIONS [MiB]]
 *
 * Each repetition writes MiB (default 256) at every value size, through pwrite into one file ("raw": the limit) and
 * through cairn_put, then reads all of them in random order, warm, through pread and through cairn_get_into, which
 * verifies what it returns. Both are timed until the last call returned; nothing is synced inside the timed part but
 * what the store's own threads sync (default durability). Everything is made in a folder below DIRECTORY and removed.
 */
#include "include/cairn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REPETITIONS_MAX 64

typedef struct figures {
    double raw_write, write, raw_read, read; /* MiB a second */
} figures;

typedef struct plan {
    char path[4096];
    size_t value_size, count;
    char *value;
    char *buffer;
    size_t *order;
} plan;

static _Noreturn void die(const char *what, const char *message) {
    fprintf(stderr, "bench_store: %s: %s\n", what, message);
    exit(1);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double rate(const plan *p, double seconds) { return (double)(p->count * p->value_size) / 1048576.0 / seconds; }

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void shuffle(size_t *order, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = next_random(&seed) % i, t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

/* Each value is told from the others by its first bytes. */
static void stamp(plan *p, size_t i) { memcpy(p->value, &i, sizeof i); }

static void check_value(const plan *p, size_t i) {
    size_t found;
    memcpy(&found, p->buffer, sizeof found);
    if (found != i) die("a value", "is another one's");
}

static void run_raw(plan *p, figures *f) {
    char name[4200];
    (void)snprintf(name, sizeof name, "%s/raw", p->path);
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0) die(name, strerror(errno));
    double begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        if (pwrite(fd, p->value, p->value_size, (off_t)(i * p->value_size)) != (ssize_t)p->value_size) {
            die(name, strerror(errno));
        }
    }
    f->raw_write = rate(p, now_s() - begin);
    begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        size_t at = p->order[i];
        if (pread(fd, p->buffer, p->value_size, (off_t)(at * p->value_size)) != (ssize_t)p->value_size) {
            die(name, strerror(errno));
        }
        check_value(p, at);
    }
    f->raw_read = rate(p, now_s() - begin);
    close(fd);
    unlink(name);
}

static void remove_store(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
    rmdir(path);
}

static size_t key_of(char key[32], size_t i) { return (size_t)snprintf(key, 32, "key-%012zu", i); }

static void run_store(plan *p, figures *f) {
    char name[4200], key[32];
    cairn *store;
    cairn_error error;
    (void)snprintf(name, sizeof name, "%s/store", p->path);
    cairn_options options = {.struct_size = sizeof options, .create = true};
    if (cairn_open(&store, name, &options, &error) != CAIRN_OK) die("open", error.message);
    double begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        if (cairn_put(store, key, key_of(key, i), p->value, p->value_size, NULL, &error) != CAIRN_OK) {
            die("put", error.message);
        }
    }
    f->write = rate(p, now_s() - begin);
    begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        size_t size, at = p->order[i];
        if (cairn_get_into(store, key, key_of(key, at), p->buffer, p->value_size, &size, &error) != CAIRN_OK) {
            die("get", error.message);
        }
        check_value(p, at);
    }
    f->read = rate(p, now_s() - begin);
    (void)cairn_close(store);
    remove_store(name);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void print_row(const char *what, size_t value_size, const double *raw, const double *store, int count) {
    double a[REPETITIONS_MAX], b[REPETITIONS_MAX], ratio[REPETITIONS_MAX];
    for (int i = 0; i < count; i++) {
        a[i] = raw[i];
        b[i] = store[i];
        ratio[i] = store[i] / raw[i];
    }
    double middle = median(ratio, count);
    printf("%-12s %8zu %12.0f %12.0f %8.2f %8.2f %8.2f\n", what, value_size, median(a, count), median(b, count), middle,
           ratio[0], ratio[count - 1]);
}

static void run_size(plan *p, size_t value_size, size_t bytes, int repetitions) {
    double raw_write[REPETITIONS_MAX], write_[REPETITIONS_MAX], raw_read[REPETITIONS_MAX], read_[REPETITIONS_MAX];
    p->value_size = value_size;
    p->count = bytes / value_size;
    p->value = malloc(value_size);
    p->buffer = malloc(value_size);
    p->order = malloc(p->count * sizeof *p->order);
    if (p->value == NULL || p->buffer == NULL || p->order == NULL) die("memory", "none");
    uint64_t seed = value_size;
    for (size_t i = 0; i + 8 <= value_size; i += 8) {
        uint64_t r = next_random(&seed);
        memcpy(p->value + i, &r, sizeof r);
    }
    memset(p->buffer, 1, value_size);
    for (int i = 0; i < repetitions; i++) {
        figures f;
        shuffle(p->order, p->count, (uint64_t)i + 1);
        if (i % 2 == 0) run_raw(p, &f);
        run_store(p, &f);
        if (i % 2 != 0) run_raw(p, &f);
        sync(); /* so that nobody pays for the write-back of the one before */
        raw_write[i] = f.raw_write;
        write_[i] = f.write;
        raw_read[i] = f.raw_read;
        read_[i] = f.read;
    }
    print_row("put", value_size, raw_write, write_, repetitions);
    print_row("get, warm", value_size, raw_read, read_, repetitions);
    free(p->value);
    free(p->buffer);
    free(p->order);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {4096, 65536, 1048576};
    static plan p;
    if (argc < 2) die("usage", "bench_store DIRECTORY [REPETITIONS [MiB]]");
    int repetitions = argc > 2 ? atoi(argv[2]) : 5;
    size_t bytes = (argc > 3 ? (size_t)atol(argv[3]) : 256) << 20;
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || bytes < 1 << 20)
        die("usage", "1 to 64 repetitions, 1 MiB up");
    (void)snprintf(p.path, sizeof p.path, "%s/cairn-bench-XXXXXX", argv[1]);
    if (mkdtemp(p.path) == NULL) die(p.path, strerror(errno));
    printf("%-12s %8s %12s %12s %8s %8s %8s\n", "", "bytes", "raw MiB/s", "cairn MiB/s", "ratio", "least", "most");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_size(&p, sizes[i], bytes, repetitions);
    }
    rmdir(p.path);
    return 0;
}

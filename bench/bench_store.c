/* The store beside plain files, in one run: fill and random reads of the same bytes, interleaved, medians of the
 * ratios.
 *
 *     bench_store DIRECTORY [REPETITIONS [MiB]]
 *
 * Each repetition writes MiB (default 256) at every value size, through pwrite into one file ("raw": the limit) and
 * through cairn_put, then reads all of them in random order, from the page cache, through pread and through
 * cairn_get_into, which verifies what it returns: the first time ("get, first"), and once more when each has been read
 * ROUNDS times and the store has mapped what is read often ("get, warm"; see vlog/warm.h). Both are timed until the
 * last call returned; nothing is synced inside the timed part but what the store's own threads sync (default
 * durability). Everything is made in a folder below DIRECTORY and removed.
 *
 * A virtual machine may get the memory behind its pages only when it touches them, which takes longer than all that is
 * measured here; so as much memory as either side needs is touched and given back before it begins.
 */
#include "bench/bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPETITIONS_MAX 64
#define ROUNDS 12 /* more than it takes until every size is warm */

/* MiB a second. */
typedef struct figures {
    double write, first_read, read;
} figures;

typedef struct plan {
    size_t value_size, count;
    char *value;
    char *buffer;
    size_t *order;
} plan;

static double rate(const plan *p, double seconds) { return (double)(p->count * p->value_size) / 1048576.0 / seconds; }

static void shuffle(size_t *order, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = random_next(&seed) % i, t = order[i - 1];
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

static void touch_memory(const plan *p) {
    char *memory = allocate(3 * p->count * p->value_size); /* which fills it */
    __asm__ volatile("" : : "r"(memory) : "memory");
    free(memory);
}

static void read_raw(const plan *p, int fd) {
    for (size_t i = 0; i < p->count; i++) {
        size_t at = p->order[i];
        if (pread(fd, p->buffer, p->value_size, (off_t)(at * p->value_size)) != (ssize_t)p->value_size) {
            die("pread", strerror(errno));
        }
        check_value(p, at);
    }
}

static void run_raw(plan *p, figures *f) {
    const char *name = "raw";
    touch_memory(p);
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0) die(name, strerror(errno));
    double begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        if (pwrite(fd, p->value, p->value_size, (off_t)(i * p->value_size)) != (ssize_t)p->value_size) {
            die(name, strerror(errno));
        }
    }
    f->write = rate(p, now_s() - begin);
    for (int round = 0; round <= ROUNDS; round++) {
        begin = now_s();
        read_raw(p, fd);
        if (round == 0) f->first_read = rate(p, now_s() - begin);
    }
    f->read = rate(p, now_s() - begin);
    close(fd);
    unlink(name);
}

static void read_store(const plan *p, cairn *store) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    for (size_t i = 0; i < p->count; i++) {
        size_t size, at = p->order[i];
        must(cairn_get_into(store, key, key_of(key, at), p->buffer, p->value_size, &size, &error), "get", &error);
        check_value(p, at);
    }
}

static void run_store(plan *p, figures *f) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    touch_memory(p);
    cairn *store = store_open("store");
    double begin = now_s();
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        must(cairn_put(store, key, key_of(key, i), p->value, p->value_size, NULL, &error), "put", &error);
    }
    f->write = rate(p, now_s() - begin);
    for (int round = 0; round <= ROUNDS; round++) {
        begin = now_s();
        read_store(p, store);
        if (round == 0) f->first_read = rate(p, now_s() - begin);
    }
    f->read = rate(p, now_s() - begin);
    (void)cairn_close(store);
    folder_remove("store");
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
    flush_rows();
}

static void run_size(plan *p, size_t value_size, size_t bytes, int repetitions) {
    double raw[3][REPETITIONS_MAX], store[3][REPETITIONS_MAX];
    p->value_size = value_size;
    p->count = bytes / value_size;
    p->value = allocate(value_size);
    p->buffer = allocate(value_size);
    p->order = allocate(p->count * sizeof *p->order);
    random_fill(p->value, value_size, value_size);
    for (int i = 0; i < repetitions; i++) {
        figures r, s;
        shuffle(p->order, p->count, (uint64_t)i + 1);
        if (i % 2 == 0) run_raw(p, &r);
        run_store(p, &s);
        if (i % 2 != 0) run_raw(p, &r);
        sync(); /* so that nobody pays for the write-back of the one before */
        raw[0][i] = r.write, raw[1][i] = r.first_read, raw[2][i] = r.read;
        store[0][i] = s.write, store[1][i] = s.first_read, store[2][i] = s.read;
    }
    print_row("put", value_size, raw[0], store[0], repetitions);
    print_row("get, first", value_size, raw[1], store[1], repetitions);
    print_row("get, warm", value_size, raw[2], store[2], repetitions);
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
    scratch_make(argv[1]);
    printf("%-12s %8s %12s %12s %8s %8s %8s\n", "", "bytes", "raw MiB/s", "cairn MiB/s", "ratio", "least", "most");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_size(&p, sizes[i], bytes, repetitions);
    }
    return 0;
}

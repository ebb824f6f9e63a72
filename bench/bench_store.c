/* The store beside plain files, in one run: fill and random reads of the same bytes, interleaved, medians of the
 * ratios.
 *
 *     bench_store DIRECTORY [REPETITIONS [MiB]]
 *
 * Each repetition writes MiB (default 256) at every value size into one plain file ("raw": the limit), into another one
 * that is laid out and verified like the log ("records": with a header before each value, XXH3 of each value computed
 * and compared; what is left of the limit then) and through cairn_put; then reads all of them in random order, from the
 * page cache, through pread and through cairn_get_into, which verifies what it returns: the first time ("get, first"),
 * and once more when each has been read ROUNDS times and the store has mapped what is read often ("get, warm"; see
 * vlog/warm.h). All are timed until the last call returned; nothing is synced inside the timed part but what the
 * store's own threads sync (default durability). Everything is made in a folder below DIRECTORY and removed.
 *
 * A virtual machine may get the memory behind its pages only when it touches them, which takes longer than all that is
 * measured here; so as much memory as each side needs is touched and given back before it begins.
 */
#include "bench/bench_common.h"
#include "src/base/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define REPETITIONS_MAX MEDIAN_MAX
#define RECORD_HEADER 128u /* of a record with a short key, whose value begins anywhere */
#define RECORD_BLOCK 4096u /* from 64 KiB on, where it begins on a block */
#define ROUNDS 12          /* more than it takes until every size is warm */

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

/* A plain file: values one behind the other, or with a header before each, and checksums. */
typedef struct plain {
    int fd;
    size_t header;
    uint64_t *checksums; /* NULL: none */
} plain;

static void write_plain(plan *p, const plain *f) {
    static char header[RECORD_BLOCK];
    for (size_t i = 0; i < p->count; i++) {
        stamp(p, i);
        if (f->checksums != NULL) f->checksums[i] = checksum(p->value, p->value_size, 0);
        struct iovec iov[] = {{header, f->header}, {p->value, p->value_size}};
        size_t size = f->header + p->value_size;
        ssize_t done = f->header == 0 ? pwrite(f->fd, p->value, size, (off_t)(i * size))
                                      : pwritev(f->fd, iov, 2, (off_t)(i * size));
        if (done != (ssize_t)size) die("pwrite", strerror(errno));
    }
}

static void read_plain(const plan *p, const plain *f) {
    static char header[RECORD_BLOCK];
    for (size_t i = 0; i < p->count; i++) {
        size_t at = p->order[i], size = f->header + p->value_size;
        struct iovec iov[] = {{header, f->header}, {p->buffer, p->value_size}};
        ssize_t done = f->header == 0 ? pread(f->fd, p->buffer, size, (off_t)(at * size))
                                      : preadv(f->fd, iov, 2, (off_t)(at * size));
        if (done != (ssize_t)size) die("pread", strerror(errno));
        if (f->checksums != NULL && checksum(p->buffer, p->value_size, 0) != f->checksums[at])
            die("a value", "is damaged");
        check_value(p, at);
    }
}

static void run_plain(plan *p, bool like_records, figures *f) {
    const char *name = "plain";
    plain file = {.fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600)};
    if (file.fd < 0) die(name, strerror(errno));
    if (like_records) {
        file.header = p->value_size < 65536 ? RECORD_HEADER : RECORD_BLOCK;
        file.checksums = allocate(p->count * sizeof *file.checksums);
    }
    touch_memory(p);
    double begin = now_s();
    write_plain(p, &file);
    f->write = rate(p, now_s() - begin);
    for (int round = 0; round <= ROUNDS; round++) {
        begin = now_s();
        read_plain(p, &file);
        if (round == 0) f->first_read = rate(p, now_s() - begin);
    }
    f->read = rate(p, now_s() - begin);
    free(file.checksums);
    close(file.fd);
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

typedef enum side { RAW, RECORDS, STORE, SIDES } side;

static void run_side(plan *p, side which, figures *f) {
    if (which == STORE) {
        run_store(p, f);
    } else {
        run_plain(p, which == RECORDS, f);
    }
}

static void print_row(const char *what, size_t value_size, double figure[SIDES][REPETITIONS_MAX], int count) {
    double ratio = median_ratio(figure[STORE], figure[RAW], count);
    double of_records = median_ratio(figure[STORE], figure[RECORDS], count);
    printf("%-12s %8zu %10.0f %10.0f %10.0f %10.2f %12.2f\n", what, value_size, median(figure[RAW], count),
           median(figure[RECORDS], count), median(figure[STORE], count), ratio, of_records);
    flush_rows();
}

static void run_size(plan *p, size_t value_size, size_t bytes, int repetitions) {
    static double write_[SIDES][REPETITIONS_MAX], first[SIDES][REPETITIONS_MAX], warm[SIDES][REPETITIONS_MAX];
    p->value_size = value_size;
    p->count = bytes / value_size;
    p->value = allocate(value_size);
    p->buffer = allocate(value_size);
    p->order = allocate(p->count * sizeof *p->order);
    random_fill(p->value, value_size, value_size);
    for (int i = 0; i < repetitions; i++) {
        shuffle(p->order, 0, p->count, (uint64_t)i + 1);
        for (int k = 0; k < SIDES; k++) {
            figures f;
            side which = (side)((i + k) % SIDES);
            run_side(p, which, &f);
            write_[which][i] = f.write;
            first[which][i] = f.first_read;
            warm[which][i] = f.read;
        }
        sync(); /* so that nobody pays for the write-back of the one before */
    }
    print_row("put", value_size, write_, repetitions);
    print_row("get, first", value_size, first, repetitions);
    print_row("get, warm", value_size, warm, repetitions);
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
    printf("%-12s %8s %10s %10s %10s %10s %12s\n", "MiB/s", "bytes", "raw", "records", "cairn", "cairn:raw",
           "cairn:records");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_size(&p, sizes[i], bytes, repetitions);
    }
    return 0;
}

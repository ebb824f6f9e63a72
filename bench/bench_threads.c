/* Throughput and latency with 1, 2 and 8 threads, of the store and of plain files, in one run.
 *
 *     bench_threads DIRECTORY [SECONDS [ROUNDS]]
 *
 * A cell is a number of threads and an operation at a value size; it runs SECONDS (default 1) in the store and SECONDS
 * on plain files, ROUNDS times (default 3), now the one first and now the other. The operations:
 *
 *   put       new keys, default durability           plain: each thread appends to a file of its own through pwrite
 *   get       random keys of 64 MiB, warm, verified  plain: pread at random places of one file of 64 MiB
 *   mixed     a put that replaces a random one of    plain: pwrite and pread in turn, as above
 *             those keys, and a get, in turn
 *   durable   put with `sync`                        plain: pwrite and fdatasync, each thread to a file of its own
 *
 * ops/s is what all threads did, from when the first one began until the last one ended; p99 is that of all their
 * operations, a put's or get's whole call with the making of the key. Figures are medians of the rounds, the ratio's
 * too.
 *
 * Each run begins with an empty store or fresh files, which are removed after it. It ends early when one thread has
 * written its share of 2 GiB, which bounds the disk that is taken.
 */
#include "bench/bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS_MAX 8
#define ROUNDS_MAX 64
#define DATA_BYTES ((size_t)64 << 20)
#define RUN_BYTES_MAX ((uint64_t)2 << 30)
#define KEYS_A_THREAD 1000000000ull /* new keys: each thread has its own range; data has the first */

typedef struct cell {
    const char *name;
    size_t value_size;
    bool puts, gets, durable;
} cell;

/* One run of a cell, in the store or on plain files. */
typedef struct run {
    const cell *cell;
    size_t threads;
    double seconds;
    cairn *store; /* NULL: plain files */
    int data;     /* plain: the file that is read */
    pthread_barrier_t start;
    atomic_bool stop; /* a thread has written its share */
} run;

typedef struct worker {
    run *run;
    size_t number;
    pthread_t thread;
    int own;              /* plain: the file that is written */
    char *value, *buffer; /* value_size bytes each */
    uint64_t random, ops, puts;
    double begin, end;
    latencies l;
} worker;

typedef struct figures {
    double ops, p99; /* a second; seconds */
} figures;

/* ---- One operation ---- */

static void do_put(worker *w) {
    const cell *c = w->run->cell;
    uint64_t i = (w->number + 1) * KEYS_A_THREAD + w->puts;
    if (c->gets) i = random_next(&w->random) % (DATA_BYTES / c->value_size);
    memcpy(w->value, &i, sizeof i);
    if (w->run->store != NULL) {
        char key[BENCH_KEY_SIZE];
        cairn_error error;
        cairn_put_options options = {.struct_size = sizeof options, .sync = c->durable};
        must(cairn_put(w->run->store, key, key_of(key, i), w->value, c->value_size, &options, &error), "put", &error);
    } else {
        ssize_t done = pwrite(w->own, w->value, c->value_size, (off_t)(w->puts * c->value_size));
        if (done != (ssize_t)c->value_size || (c->durable && fdatasync(w->own) != 0)) die("pwrite", strerror(errno));
    }
    if (++w->puts * c->value_size >= RUN_BYTES_MAX / w->run->threads) atomic_store(&w->run->stop, true);
}

static void do_get(worker *w) {
    const cell *c = w->run->cell;
    uint64_t i = random_next(&w->random) % (DATA_BYTES / c->value_size), found;
    if (w->run->store != NULL) {
        char key[BENCH_KEY_SIZE];
        cairn_error error;
        size_t size;
        must(cairn_get_into(w->run->store, key, key_of(key, i), w->buffer, c->value_size, &size, &error), "get",
             &error);
    } else if (pread(w->run->data, w->buffer, c->value_size, (off_t)(i * c->value_size)) != (ssize_t)c->value_size) {
        die("pread", strerror(errno));
    }
    memcpy(&found, w->buffer, sizeof found);
    if (found != i) die("a value", "is another one's");
}

static void *work(void *arg) {
    worker *w = arg;
    const cell *c = w->run->cell;
    (void)pthread_barrier_wait(&w->run->start);
    double last = w->begin = now_s();
    while (last < w->begin + w->run->seconds && !atomic_load_explicit(&w->run->stop, memory_order_relaxed)) {
        if (c->puts && (!c->gets || w->ops % 2 == 0)) {
            do_put(w);
        } else {
            do_get(w);
        }
        double now = now_s();
        latencies_add(&w->l, now - last);
        last = now;
        w->ops++;
    }
    w->end = last;
    return NULL;
}

/* ---- One run ---- */

static int new_file(const char *name) {
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0) die(name, strerror(errno));
    return fd;
}

/* What gets read; synced, so that its write-back disturbs nobody. */
static void write_data(run *r) {
    size_t size = r->cell->value_size;
    char *value = allocate(size);
    random_fill(value, size, size);
    for (uint64_t i = 0; i < DATA_BYTES / size; i++) {
        memcpy(value, &i, sizeof i);
        if (r->store != NULL) {
            char key[BENCH_KEY_SIZE];
            cairn_error error;
            must(cairn_put(r->store, key, key_of(key, i), value, size, NULL, &error), "put", &error);
        } else if (pwrite(r->data, value, size, (off_t)(i * size)) != (ssize_t)size) {
            die("pwrite", strerror(errno));
        }
    }
    free(value);
    cairn_error error;
    if (r->store != NULL) {
        must(cairn_sync(r->store, &error), "sync", &error);
    } else if (fdatasync(r->data) != 0) {
        die("fdatasync", strerror(errno));
    }
}

static figures run_workers(run *r) {
    static worker workers[THREADS_MAX];
    static latencies l;
    double begin = 0, end = 0, ops = 0;
    memset(&l, 0, sizeof l);
    for (size_t i = 0; i < r->threads; i++) {
        worker *w = &workers[i];
        char name[32];
        *w = (worker){.run = r, .number = i, .random = i, .own = -1};
        w->value = allocate(r->cell->value_size);
        w->buffer = allocate(r->cell->value_size);
        random_fill(w->value, r->cell->value_size, i);
        (void)snprintf(name, sizeof name, "own-%zu", i);
        if (r->store == NULL && r->cell->puts) w->own = new_file(name);
        if (pthread_create(&w->thread, NULL, work, w) != 0) die("thread", "cannot be made");
    }
    (void)pthread_barrier_wait(&r->start);
    for (size_t i = 0; i < r->threads; i++) {
        worker *w = &workers[i];
        pthread_join(w->thread, NULL);
        latencies_merge(&l, &w->l);
        ops += (double)w->ops;
        if (i == 0 || w->begin < begin) begin = w->begin;
        if (w->end > end) end = w->end;
        if (w->own >= 0) close(w->own);
        free(w->value);
        free(w->buffer);
    }
    return (figures){.ops = ops / (end - begin), .p99 = latencies_at(&l, 0.99)};
}

static figures run_once(const cell *c, size_t threads, double seconds, bool plain) {
    run r = {.cell = c, .threads = threads, .seconds = seconds, .data = -1};
    if (mkdir("run", 0700) != 0 || chdir("run") != 0) die("run", strerror(errno));
    if (plain) {
        r.data = new_file("data");
    } else {
        r.store = store_open("store");
    }
    if (pthread_barrier_init(&r.start, NULL, (unsigned)threads + 1) != 0) die("barrier", "cannot be made");
    if (c->gets) write_data(&r);
    figures f = run_workers(&r);
    (void)pthread_barrier_destroy(&r.start);
    int code = plain ? CAIRN_OK : cairn_close(r.store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
    if (plain) close(r.data);
    if (chdir("..") != 0) die("..", strerror(errno));
    folder_remove("run");
    sync(); /* so that nobody pays for the write-back of the one before */
    return f;
}

/* ---- The table ---- */

static void run_cell(const cell *c, size_t threads, double seconds, int rounds) {
    double plain_ops[ROUNDS_MAX], plain_p99[ROUNDS_MAX], ops[ROUNDS_MAX], p99[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        figures f[2]; /* the store's, the plain files' */
        for (int j = 0; j < 2; j++) {
            bool plain = (i + j) % 2 == 0;
            f[plain] = run_once(c, threads, seconds, plain);
        }
        ops[i] = f[0].ops;
        p99[i] = f[0].p99 * 1e6;
        plain_ops[i] = f[1].ops;
        plain_p99[i] = f[1].p99 * 1e6;
    }
    double ratio = median_ratio(ops, plain_ops, rounds); /* before the medians sort both */
    printf("%-8s %8zu %8zu %12.0f %12.0f %8.2f %14.1f %14.1f\n", c->name, c->value_size, threads,
           median(plain_ops, rounds), median(ops, rounds), ratio, median(plain_p99, rounds), median(p99, rounds));
    flush_rows();
}

int main(int argc, char **argv) {
    static const size_t threads[] = {1, 2, 8};
    static const cell cells[] = {
        {.name = "put", .value_size = 4096, .puts = true},
        {.name = "put", .value_size = 65536, .puts = true},
        {.name = "get", .value_size = 4096, .gets = true},
        {.name = "get", .value_size = 65536, .gets = true},
        {.name = "mixed", .value_size = 4096, .puts = true, .gets = true},
        {.name = "mixed", .value_size = 65536, .puts = true, .gets = true},
        {.name = "durable", .value_size = 4096, .puts = true, .durable = true},
        {.name = "durable", .value_size = 65536, .puts = true, .durable = true},
    };
    if (argc < 2 || argc > 4) die("usage", "bench_threads DIRECTORY [SECONDS [ROUNDS]]");
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
    int rounds = argc > 3 ? atoi(argv[3]) : 3;
    if (!(seconds > 0 && seconds <= 3600) || rounds < 1 || rounds > ROUNDS_MAX) {
        die("usage", "up to 3600 seconds a cell, 1 to 64 rounds");
    }
    scratch_make(argv[1]);
    printf("%-8s %8s %8s %12s %12s %8s %14s %14s\n", "", "bytes", "threads", "plain ops/s", "cairn ops/s", "ratio",
           "plain p99 us", "cairn p99 us");
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        for (size_t j = 0; j < sizeof threads / sizeof threads[0]; j++) {
            run_cell(&cells[i], threads[j], seconds, rounds);
        }
    }
    return 0;
}

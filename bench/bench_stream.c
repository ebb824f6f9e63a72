/* A value as large as you like, and what small puts feel of it.
 *
 *     bench_stream DIRECTORY [GiB]
 *
 * Each of 3 rounds, in a store of its own with every default:
 *
 *   1. 4 KiB puts alone for 3 seconds;
 *   2. the same puts in the main thread while another one streams GiB (default 3, fractions too) through a
 *      cairn_writer in pieces of 1 MiB, until its commit has returned;
 *   3. without puts: all of the value through cairn_reader_pread in pieces of 1 MiB, each compared.
 *
 * Before it in one round and after it in the next, a plain file gets the same bytes in the same pieces through write
 * and one fdatasync at the end, with no puts beside it, and is read back through pread.
 *
 * Puts are paced, one every 200 us (20 MiB/s), so that they do not fill the disk and the load is the same alone and
 * beside. What is missed, because a put or a sleep took longer, is made up for at once, but for what is missed by more
 * than 10 ms: puts/s shows it. A put's latency is the time in cairn_put. Percentiles of "all" are those of the rounds'
 * puts taken together.
 *
 * "in" is timed from the first piece until the commit or fdatasync returned, the making of the bytes included; "out" is
 * the time in the calls alone, without the comparison, and warm as far as memory holds the value. Memory: the highest
 * resident memory of the process, mapped files included (VmHWM), less what it had before the first store.
 *
 * Disk: GiB and the puts, in a folder below DIRECTORY, which is removed at the end.
 */
#include "bench/bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 3
#define ALONE_S 3.0
#define PUT_SIZE 4096
#define PUT_KEYS 10000 /* in turn */
#define PUT_INTERVAL 200e-6
#define PUT_DELAY_MAX 10e-3
#define PIECE ((size_t)1 << 20)
#define BLOCK 4096 /* of a piece; begins with its place in the value */
#define STREAM_KEY "stream", 6

typedef struct speeds {
    double in, out; /* MiB a second */
} speeds;

typedef struct plan {
    uint64_t pieces;
    char *small;    /* PUT_SIZE bytes, the putting thread's */
    char *piece;    /* PIECE bytes, the streaming thread's: random, made piece by piece by stamp_piece */
    char *buffer;   /* PIECE bytes to read into */
    uint64_t puts;  /* so far */
    cairn *store;   /* of this round */
    speeds *stream; /* of this round; `in` set by the streaming thread before `streaming` ends */
    atomic_bool streaming;
} plan;

static double mib_s(const plan *p, double seconds) { return (double)(p->pieces * PIECE) / 1048576.0 / seconds; }

/* ---- The bytes ---- */

/* No piece, and no block of one, is like another, and making them costs next to nothing. */
static void stamp_piece(plan *p, uint64_t piece) {
    for (size_t at = 0; at < PIECE; at += BLOCK) {
        uint64_t place = piece * PIECE + at;
        memcpy(p->piece + at, &place, sizeof place);
    }
}

static void check_piece(plan *p, uint64_t piece) {
    stamp_piece(p, piece);
    if (memcmp(p->piece, p->buffer, PIECE) != 0) die("reading", "not the bytes that were written");
}

/* ---- The stream ---- */

static void *stream_in(void *arg) {
    plan *p = arg;
    cairn_writer *writer;
    cairn_error error;
    double begin = now_s();
    must(cairn_writer_open(p->store, STREAM_KEY, NULL, &writer, &error), "writer", &error);
    for (uint64_t i = 0; i < p->pieces; i++) {
        stamp_piece(p, i);
        must(cairn_writer_write(writer, p->piece, PIECE, &error), "writer", &error);
    }
    must(cairn_writer_commit(writer, &error), "commit", &error);
    p->stream->in = mib_s(p, now_s() - begin);
    atomic_store(&p->streaming, false);
    return NULL;
}

static void stream_out(plan *p) {
    cairn_reader *reader;
    cairn_error error;
    double seconds = 0;
    must(cairn_reader_open(p->store, STREAM_KEY, &reader, &error), "reader", &error);
    if (cairn_reader_size(reader) != p->pieces * PIECE) die("reader", "the size is wrong");
    for (uint64_t i = 0; i < p->pieces; i++) {
        size_t got;
        double begin = now_s();
        must(cairn_reader_pread(reader, p->buffer, PIECE, i * PIECE, &got, &error), "reader", &error);
        seconds += now_s() - begin;
        if (got != PIECE) die("reader", "the value is cut short");
        check_piece(p, i);
    }
    cairn_reader_close(reader);
    p->stream->out = mib_s(p, seconds);
}

static void plain_file(plan *p, speeds *plain) {
    int fd = open("plain", O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0) die("plain file", strerror(errno));
    double begin = now_s();
    for (uint64_t i = 0; i < p->pieces; i++) {
        stamp_piece(p, i);
        if (write(fd, p->piece, PIECE) != (ssize_t)PIECE) die("plain file", strerror(errno));
    }
    if (fdatasync(fd) != 0) die("plain file", strerror(errno));
    plain->in = mib_s(p, now_s() - begin);
    double seconds = 0;
    for (uint64_t i = 0; i < p->pieces; i++) {
        begin = now_s();
        if (pread(fd, p->buffer, PIECE, (off_t)(i * PIECE)) != (ssize_t)PIECE) die("plain file", strerror(errno));
        seconds += now_s() - begin;
        check_piece(p, i);
    }
    plain->out = mib_s(p, seconds);
    close(fd);
    unlink("plain");
}

/* ---- The puts ---- */

/* Puts until the clock shows `end`, or with `end` 0 for as long as the stream runs. Returns the seconds it took. */
static double put_paced(plan *p, double end, latencies *l) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    double first = now_s(), due = first, done = first;
    while (end != 0 ? done < end : atomic_load(&p->streaming)) {
        memcpy(p->small, &p->puts, sizeof p->puts);
        double begin = now_s();
        must(cairn_put(p->store, key, key_of(key, p->puts % PUT_KEYS), p->small, PUT_SIZE, NULL, &error), "put",
             &error);
        done = now_s();
        latencies_add(l, done - begin);
        p->puts++;
        due += PUT_INTERVAL;
        if (due < done - PUT_DELAY_MAX) due = done - PUT_DELAY_MAX;
        if (done < due) sleep_until(due);
    }
    return now_s() - first;
}

/* ---- The rounds ---- */

static void put_row(const char *what, const char *round, const latencies *l, double seconds) {
    printf("%-16s %6s %10llu %10.0f %10.1f %10.1f %10.1f %12.2f\n", what, round, (unsigned long long)l->count,
           (double)l->count / seconds, latencies_at(l, 0.5) * 1e6, latencies_at(l, 0.99) * 1e6,
           latencies_at(l, 0.999) * 1e6, l->longest * 1e3);
    flush_rows();
}

/* The puts of one kind in all rounds. */
typedef struct total {
    latencies l;
    double seconds;
} total;

static void add_round(total *t, const char *what, int round, const latencies *l, double seconds) {
    char name[16];
    (void)snprintf(name, sizeof name, "%d", round + 1);
    put_row(what, name, l, seconds);
    latencies_merge(&t->l, l);
    t->seconds += seconds;
}

static void run_store(plan *p, int round, total *alone, total *beside) {
    static latencies l;
    pthread_t thread;
    p->store = store_open("store");
    memset(&l, 0, sizeof l);
    double seconds = put_paced(p, now_s() + ALONE_S, &l);
    add_round(alone, "put, alone", round, &l, seconds);

    memset(&l, 0, sizeof l);
    atomic_store(&p->streaming, true);
    if (pthread_create(&thread, NULL, stream_in, p) != 0) die("thread", "cannot be made");
    seconds = put_paced(p, 0, &l);
    pthread_join(thread, NULL);
    add_round(beside, "put, beside", round, &l, seconds);

    stream_out(p);
    int code = cairn_close(p->store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
    folder_remove("store");
    sync(); /* so that nobody pays for the write-back of the one before */
}

static void run_plain(plan *p, speeds *plain) {
    plain_file(p, plain);
    sync();
}

static void speed_row(const char *what, const double *raw, const double *stream) {
    double a[ROUNDS], b[ROUNDS], ratio[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        a[i] = raw[i];
        b[i] = stream[i];
        ratio[i] = stream[i] / raw[i];
    }
    double middle = median(ratio, ROUNDS);
    printf("%-23s %12.0f %12.0f %8.2f %8.2f %8.2f\n", what, median(a, ROUNDS), median(b, ROUNDS), middle, ratio[0],
           ratio[ROUNDS - 1]);
}

int main(int argc, char **argv) {
    static plan p;
    static total alone, beside;
    double plain_in[ROUNDS], plain_out[ROUNDS], in[ROUNDS], out[ROUNDS];
    double gib = argc > 2 ? strtod(argv[2], NULL) : 3;
    if (argc < 2 || argc > 3) die("usage", "bench_stream DIRECTORY [GiB]");
    if (!(gib >= 0.001 && gib <= 1024)) die("usage", "0.001 to 1024 GiB");
    p.pieces = (uint64_t)(gib * 1024);
    p.small = allocate(PUT_SIZE);
    p.piece = allocate(PIECE);
    p.buffer = allocate(PIECE);
    random_fill(p.small, PUT_SIZE, 1);
    random_fill(p.piece, PIECE, 2);
    scratch_make(argv[1]);

    uint64_t memory = status_bytes("VmRSS");
    printf("%-16s %6s %10s %10s %10s %10s %10s %12s\n", "4 KiB", "round", "puts", "puts/s", "p50 us", "p99 us",
           "p99.9 us", "longest ms");
    for (int i = 0; i < ROUNDS; i++) {
        speeds plain, stream;
        p.stream = &stream;
        if (i % 2 == 0) run_plain(&p, &plain);
        run_store(&p, i, &alone, &beside);
        if (i % 2 != 0) run_plain(&p, &plain);
        plain_in[i] = plain.in;
        plain_out[i] = plain.out;
        in[i] = stream.in;
        out[i] = stream.out;
    }
    put_row("put, alone", "all", &alone.l, alone.seconds);
    put_row("put, beside", "all", &beside.l, beside.seconds);
    printf("\n%-23s %12s %12s %8s %8s %8s\n", "one value, medians", "plain MiB/s", "cairn MiB/s", "ratio", "least",
           "most");
    speed_row("in, synced", plain_in, in);
    speed_row("out, verified", plain_out, out);
    printf("\n%-23s %12.1f MiB\n", "memory, highest", (double)(status_bytes("VmHWM") - memory) / 1048576.0);
    free(p.small);
    free(p.piece);
    free(p.buffer);
    return 0;
}

/* Many small values: what a key costs in memory and on disk, puts and gets, and opening after each kind of end.
 *
 *     bench_keys DIRECTORY [KEYS [VALUE]]
 *
 * Puts KEYS values (default 10,000,000) of VALUE bytes (default 100, at least 8) under keys of 16 bytes, in one thread,
 * with every default of the store, and prints one row a figure:
 *
 *   memory    resident memory that is no file's (RssAnon + RssShmem) less what it was before the store was made, at the
 *             end of the puts, at its highest (sampled 256 times), and again after the store was closed and opened;
 *             beside it what cairn_stats says of the index. Mapped pages of the log do not count; the index is not
 *             mapped from a file.
 *   puts      all of them by the wall clock. A put's latency is the time from the return of the one before to its own
 *             return, so no pause is missed: the longest is that of the index's growth, or of the disk.
 *   gets      of keys in random order, warm, each compared; of keys that are not there
 *   on disk   blocks of all files of the closed store
 *   open      after a clean close; after a child that put 1 % more was killed (SIGKILL) half-way; after a clean close
 *             once more and with the files of the checkpoint removed: the index is rebuilt. All warm. After the kill
 *             every key is read, in the order of the puts: every put that had returned must be there and whole, and
 *             beyond them at most the one that was being done.
 *
 * Disk: some KEYS * (VALUE + 150) bytes in a folder below DIRECTORY, which is removed at the end.
 */
#include "bench/bench_common.h"
#include "bench/disk_use.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GETS_MAX 2000000
#define MEMORY_SAMPLES 256

typedef struct plan {
    uint64_t keys;
    size_t value_size;
    char *value, *buffer;
    uint64_t ram_before;
} plan;

static void row(const char *what, int decimals, double value, const char *unit) {
    printf("%-44s %14.*f %s\n", what, decimals, value, unit);
    flush_rows();
}

static void put(plan *p, cairn *store, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    memcpy(p->value, &i, sizeof i);
    must(cairn_put(store, key, key_of(key, i), p->value, p->value_size, NULL, &error), "put", &error);
}

/* False: the key is not there. Another value than the one that was put ends the program. */
static bool get(plan *p, cairn *store, uint64_t i) {
    char key[BENCH_KEY_SIZE];
    cairn_error error;
    size_t size;
    int code = cairn_get_into(store, key, key_of(key, i), p->buffer, p->value_size, &size, &error);
    if (code == CAIRN_NOT_FOUND) return false;
    must(code, "get", &error);
    memcpy(p->value, &i, sizeof i);
    if (size != p->value_size || memcmp(p->buffer, p->value, size) != 0) die("get", "not the value that was put");
    return true;
}

static cairn_stats stats_of(cairn *store) {
    cairn_stats stats = {.struct_size = sizeof stats};
    cairn_error error;
    must(cairn_stats_get(store, &stats, &error), "stats", &error);
    return stats;
}

static double ram_a_key(const plan *p) { return ((double)ram_bytes() - (double)p->ram_before) / (double)p->keys; }

/* ---- Puts and gets ---- */

static void fill(plan *p, cairn *store) {
    static latencies l;
    uint64_t step = p->keys / MEMORY_SAMPLES + 1;
    double highest = 0, seconds = 0, last = now_s();
    for (uint64_t i = 0; i < p->keys; i++) {
        put(p, store, i);
        double now = now_s();
        latencies_add(&l, now - last);
        seconds += now - last;
        last = now;
        if (i % step != 0) continue;
        double ram = (double)ram_bytes() - (double)p->ram_before;
        if (ram > highest) highest = ram;
        last = now_s(); /* the sample is not the put's */
    }
    double at_end = ram_a_key(p) * (double)p->keys;
    row("memory after the puts", 2, at_end / (double)p->keys, "bytes/key");
    row("memory, highest", 2, (at_end > highest ? at_end : highest) / (double)p->keys, "bytes/key");
    row("index_bytes after the puts", 2, (double)stats_of(store).index_bytes / (double)p->keys, "bytes/key");
    row("put", 0, (double)p->keys / seconds, "1/s");
    row("put, p50", 2, latencies_at(&l, 0.5) * 1e6, "us");
    row("put, p99", 2, latencies_at(&l, 0.99) * 1e6, "us");
    row("put, p99.99", 2, latencies_at(&l, 0.9999) * 1e6, "us");
    row("put, longest", 3, l.longest * 1e3, "ms");
}

static void look_up(plan *p, cairn *store) {
    uint64_t gets = p->keys < GETS_MAX ? p->keys : GETS_MAX, seed = 1;
    for (int absent = 0; absent <= 1; absent++) {
        double begin = now_s();
        for (uint64_t i = 0; i < gets; i++) {
            uint64_t key = random_next(&seed) % p->keys + (absent ? 2 * p->keys : 0);
            if (get(p, store, key) == (absent != 0)) die("get", absent ? "a key that was never put" : "a key is lost");
        }
        row(absent ? "get, absent" : "get, random", 0, (double)gets / (now_s() - begin), "1/s");
    }
}

/* ---- Closing and opening ---- */

static void close_timed(cairn *store, const char *what) {
    double begin = now_s();
    int code = cairn_close(store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
    row(what, 3, now_s() - begin, "s");
}

/* Leaves the store open, with exactly `keys` keys. */
static cairn *open_timed(const char *what, uint64_t keys) {
    double begin = now_s();
    cairn *store = store_open("store");
    row(what, 3, now_s() - begin, "s");
    if (keys != 0 && stats_of(store).keys != keys) die(what, "the number of keys is wrong");
    return store;
}

/* ---- A killed child ---- */

static pid_t victim; /* 0: none runs */

static void kill_victim(void) {
    if (victim > 0) (void)kill(victim, SIGKILL);
}

static _Noreturn void child(plan *p, uint64_t more, _Atomic uint64_t *returned) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cairn *store = store_open("store");
    for (uint64_t i = 0; i < more; i++) {
        put(p, store, p->keys + i);
        atomic_store(returned, i + 1);
    }
    for (;;) {
        pause();
    }
}

/* How many puts had returned in the child when it was killed. */
static uint64_t kill_a_child(plan *p, uint64_t more) {
    int status;
    void *shared = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap", strerror(errno));
    _Atomic uint64_t *returned = shared;
    if (atexit(kill_victim) != 0) die("atexit", "failed");
    flush_rows();
    victim = fork();
    if (victim < 0) die("fork", strerror(errno));
    if (victim == 0) child(p, more, returned);
    while (atomic_load(returned) < more / 2) {
        if (waitpid(victim, &status, WNOHANG) != 0) {
            victim = 0;
            die("the child", "ended by itself");
        }
        usleep(100);
    }
    kill_victim();
    if (waitpid(victim, &status, 0) != victim || !WIFSIGNALED(status)) die("the child", "was not killed");
    victim = 0;
    uint64_t count = atomic_load(returned);
    munmap(shared, sizeof(uint64_t));
    return count;
}

/* How many keys there are: those that had returned, and the one that was being put or not. */
static uint64_t check_every_key(plan *p, cairn *store, uint64_t returned, uint64_t more) {
    uint64_t keys = p->keys + returned;
    double begin = now_s();
    for (uint64_t i = 0; i < keys; i++) {
        if (!get(p, store, i)) die("after the kill", "a put that had returned is lost");
    }
    row("keys that had to be there, and are", 0, (double)keys, "");
    row("get, in the order of the puts", 0, (double)keys / (now_s() - begin), "1/s");
    if (returned < more && get(p, store, keys)) keys++;
    if (stats_of(store).keys != keys) die("after the kill", "the number of keys is wrong");
    return keys;
}

static void crash(plan *p) {
    uint64_t more = p->keys / 100;
    uint64_t returned = kill_a_child(p, more);
    row("puts that had returned at the kill", 0, (double)returned, "");
    cairn *store = open_timed("open after kill -9", 0);
    uint64_t keys = check_every_key(p, store, returned, more);
    close_timed(store, "close after that");
    if (unlink("store/CHECKPOINT") != 0) die("CHECKPOINT", strerror(errno));
    if (unlink("store/CHECKPOINT.DATA") != 0) die("CHECKPOINT.DATA", strerror(errno));
    store = open_timed("open without a checkpoint", keys);
    look_up(p, store);
    close_timed(store, "close after that");
}

int main(int argc, char **argv) {
    static plan p;
    if (argc < 2 || argc > 4) die("usage", "bench_keys DIRECTORY [KEYS [VALUE]]");
    p.keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    p.value_size = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    if (p.keys < 1000 || p.keys > 1000000000 || p.value_size < 8 || p.value_size > 1 << 20) {
        die("usage", "1,000 to 1,000,000,000 keys, values of 8 bytes to 1 MiB");
    }
    scratch_make(argv[1]);
    p.value = allocate(p.value_size);
    p.buffer = allocate(p.value_size);
    random_fill(p.value, p.value_size, 1);
    row("keys", 0, (double)p.keys, "");
    row("value", 0, (double)p.value_size, "bytes");

    p.ram_before = ram_bytes();
    cairn *store = store_open("store");
    fill(&p, store);
    look_up(&p, store);
    close_timed(store, "close");
    row("on disk", 2, (double)disk_use_of("store").files / (double)p.keys, "bytes/key");
    store = open_timed("open after a clean close", p.keys);
    row("memory after opening", 2, ram_a_key(&p), "bytes/key");
    row("index_bytes after opening", 2, (double)stats_of(store).index_bytes / (double)p.keys, "bytes/key");
    look_up(&p, store);
    close_timed(store, "close, nothing having changed");
    crash(&p);
    free(p.value);
    free(p.buffer);
    return 0;
}

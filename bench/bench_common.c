#include "bench/bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUCKETS_AN_OCTAVE 64
#define PAGE_BYTES ((size_t)4096)

/* Written by scratch_make, read only after. */
static struct {
    char path[PATH_MAX + 32];
    pid_t owner;
} scratch;

/* ---- Ending ---- */

/* The first thread that gets here ends the program; the others wait for that. */
static _Noreturn void leave(int status) {
    static atomic_flag leaving = ATOMIC_FLAG_INIT;
    if (scratch.owner != 0 && scratch.owner != getpid()) _exit(status);
    while (atomic_flag_test_and_set(&leaving)) {
        pause();
    }
    exit(status);
}

_Noreturn void die(const char *what, const char *message) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, message);
    leave(1);
}

void must(int code, const char *what, const cairn_error *error) {
    if (code != CAIRN_OK) die(what, error->message);
}

void flush_rows(void) {
    if (fflush(stdout) != 0) die("standard output", strerror(errno));
}

/* ---- Clocks, numbers, keys ---- */

double clock_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double now_s(void) { return clock_s(CLOCK_MONOTONIC); }

void sleep_until(double when) {
    struct timespec t = {.tv_sec = (time_t)when};
    t.tv_nsec = (long)((when - (double)t.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double median_ratio(const double *of, const double *to, int count) {
    double ratio[MEDIAN_MAX];
    if (count > MEDIAN_MAX) die("median_ratio", "more values than it takes");
    for (int i = 0; i < count; i++) {
        ratio[i] = of[i] / to[i];
    }
    return median(ratio, count);
}

uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void shuffle(size_t *order, size_t first, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        order[i] = first + i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = random_next(&seed) % i, t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

void random_fill(void *buffer, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t r = random_next(&seed);
        memcpy((char *)buffer + i, &r, size - i < sizeof r ? size - i : sizeof r);
    }
}

double *zipf_new(uint32_t keys, double skew) {
    double *cumulated = allocate(keys * sizeof *cumulated), sum = 0;
    for (uint32_t i = 0; i < keys; i++) {
        sum += pow(i + 1, -skew);
        cumulated[i] = sum;
    }
    return cumulated;
}

uint32_t zipf_next(const double *cumulated, uint32_t keys, uint64_t *seed) {
    double wanted = (double)(random_next(seed) >> 11) * 0x1p-53 * cumulated[keys - 1];
    uint32_t low = 0, high = keys - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cumulated[middle] > wanted) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

size_t key_of(char key[BENCH_KEY_SIZE], uint64_t i) {
    memcpy(key, "key-", 4);
    for (int at = BENCH_KEY_SIZE - 1; at >= 4; at--) {
        key[at] = (char)('0' + i % 10);
        i /= 10;
    }
    return BENCH_KEY_SIZE;
}

/* ---- Latencies: buckets of a nanosecond below 64, from there 64 equal ones to each doubling ---- */

void latencies_add(latencies *l, double seconds) {
    uint64_t ns = seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    unsigned bucket = (unsigned)ns;
    if (ns >= BUCKETS_AN_OCTAVE) {
        unsigned octave = 63 - (unsigned)__builtin_clzll(ns) - 6; /* how often 64 has doubled */
        bucket = (octave + 1) * BUCKETS_AN_OCTAVE + (unsigned)((ns >> octave) % BUCKETS_AN_OCTAVE);
    }
    l->buckets[bucket]++;
    l->count++;
    if (seconds > l->longest) l->longest = seconds;
}

void latencies_merge(latencies *into, const latencies *from) {
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
    into->count += from->count;
    if (from->longest > into->longest) into->longest = from->longest;
}

double latencies_at(const latencies *l, double fraction) {
    uint64_t wanted = (uint64_t)ceil(fraction * (double)l->count), seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS && l->count > 0; i++) {
        seen += l->buckets[i];
        if (seen < wanted || seen == 0) continue;
        if (i < BUCKETS_AN_OCTAVE) return i * 1e-9;
        double middle = BUCKETS_AN_OCTAVE + i % BUCKETS_AN_OCTAVE + 0.5;
        return fmin(ldexp(middle, (int)(i / BUCKETS_AN_OCTAVE) - 1) * 1e-9, l->longest);
    }
    return 0;
}

/* ---- Memory ---- */

void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) die("memory", "none");
    memset(memory, 1, size);
    return memory;
}

void *allocate_pages(size_t size) {
    size_t whole = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    void *memory = aligned_alloc(PAGE_BYTES, whole);
    if (memory == NULL) die("memory", "none");
    memset(memory, 1, whole);
    return memory;
}

uint64_t status_bytes(const char *field) {
    char line[256];
    size_t length = strlen(field);
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL) die("/proc/self/status", strerror(errno));
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, field, length) != 0 || line[length] != ':') continue;
        fclose(f);
        return strtoull(line + length + 1, NULL, 10) * 1024;
    }
    fclose(f);
    die("/proc/self/status has no field", field);
}

uint64_t ram_bytes(void) { return status_bytes("RssAnon") + status_bytes("RssShmem"); }

/* ---- Files ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st;
    (void)type;
    (void)where;
    (void)remove(path);
    return 0;
}

void folder_remove(const char *path) { (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

/* Again when a thread that still runs has made a file meanwhile. */
static void scratch_remove(void) {
    if (scratch.owner != getpid()) return;
    for (int tries = 0; tries < 10 && access(scratch.path, F_OK) == 0; tries++) {
        folder_remove(scratch.path);
    }
}

static void *await_signal(void *signals) {
    int number = SIGTERM;
    (void)sigwait(signals, &number);
    leave(128 + number);
}

void scratch_make(const char *directory) {
    static sigset_t signals;
    pthread_t thread;
    char whole[PATH_MAX];
    if (realpath(directory, whole) == NULL) die(directory, strerror(errno));
    (void)snprintf(scratch.path, sizeof scratch.path, "%s/cairn-bench-XXXXXX", whole);
    if (mkdtemp(scratch.path) == NULL) die(scratch.path, strerror(errno));
    scratch.owner = getpid();
    if (atexit(scratch_remove) != 0) die("atexit", "failed");
    if (chdir(scratch.path) != 0) die(scratch.path, strerror(errno));
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    /* Blocked in every thread that is made after, so that only await_signal gets them. */
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0 || pthread_create(&thread, NULL, await_signal, &signals) != 0) {
        die("thread", "cannot be made");
    }
    (void)pthread_detach(thread);
}

bool caches_drop(void) {
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool dropped = write(fd, "3", 1) == 1;
    close(fd);
    return dropped;
}

cairn *store_open(const char *path) {
    cairn *store = NULL;
    cairn_error error;
    cairn_options options = {.struct_size = sizeof options, .create = true};
    must(cairn_open(&store, path, &options, &error), "open", &error);
    return store;
}

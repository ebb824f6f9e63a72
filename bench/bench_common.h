/* What the benchmark programs share. Whatever fails ends the program through die, which names the step.
 *
 * Times are seconds as double, sizes bytes. All but scratch_make may be called from any thread.
 */
#ifndef CAIRN_BENCH_COMMON_H
#define CAIRN_BENCH_COMMON_H

#include "include/cairn.h"

#include <time.h>

_Noreturn void die(const char *what, const char *message);

/* Ends the program unless code is CAIRN_OK. */
void must(int code, const char *what, const cairn_error *error);

/* Hands the rows printed so far to standard output; ends the program when nobody takes them any more. */
void flush_rows(void);

/* ---- Clocks, numbers, keys ---- */

double clock_s(clockid_t clock);
double now_s(void);
void sleep_until(double when); /* by now_s */

double median(double *values, int count); /* sorts them; count is not 0 */

/* Of of[i] / to[i], in which both are still in the order of the runs; at most MEDIAN_MAX. */
double median_ratio(const double *of, const double *to, int count);
#define MEDIAN_MAX 64

uint64_t random_next(uint64_t *state);
void shuffle(size_t *order, size_t first, size_t count, uint64_t seed); /* the numbers from `first` on, mixed */
void random_fill(void *buffer, size_t size, uint64_t seed);

/* Zipf: the cumulated probabilities of the ranks, to be freed, and a rank drawn by them. */
double *zipf_new(uint32_t keys, double skew);
uint32_t zipf_next(const double *cumulated, uint32_t keys, uint64_t *seed);

/* "key-" and 12 digits, without an end mark; returns 16. i < 10^12 */
#define BENCH_KEY_SIZE 16
size_t key_of(char key[BENCH_KEY_SIZE], uint64_t i);

/* ---- Latencies: a histogram of a fixed size, in which a time is known to 2 % ---- */

#define LATENCY_BUCKETS 4096

typedef struct latencies {
    uint64_t count;
    double longest; /* exact */
    uint64_t buckets[LATENCY_BUCKETS];
} latencies;

void latencies_add(latencies *l, double seconds);
void latencies_merge(latencies *into, const latencies *from);
double latencies_at(const latencies *l, double fraction); /* 0.99: the 99th percentile; 0 when there are none */

/* ---- Memory ---- */

void *allocate(size_t size);       /* every page touched, so that it is resident from here on */
void *allocate_pages(size_t size); /* likewise, whole pages that begin on one */

/* A field of /proc/self/status that is given in kB, such as "VmHWM". */
uint64_t status_bytes(const char *field);

/* Resident memory that is no file's: RssAnon + RssShmem. Mapped pages of the log do not count. */
uint64_t ram_bytes(void);

/* ---- Files ---- */

/* Makes a folder of its own below `directory` and goes there: every later path is relative to it. It is removed with
 * all that is in it when the program ends: at its end, through die, or by SIGINT, SIGTERM or SIGHUP. A forked child
 * does not remove it. Once, and before any other thread is made. */
void scratch_make(const char *directory);

void folder_remove(const char *path); /* with all that is in it; nothing when it is not there */

/* What the page cache holds of files that nobody has mapped goes, everybody's. False: it is not permitted. */
bool caches_drop(void);

cairn *store_open(const char *path); /* every default; made when it is not there */

#endif

/* The hash index alone: memory, growth, look-ups. One line a figure: name, value, unit. Argument: keys (default 10 M).
 */
#include "bench/bench_common.h"
#include "index/hash_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t hash_of(uint64_t key) { return random_next(&key); }

static int match_any(void *ctx, location candidate) {
    (void)ctx;
    (void)candidate;
    return 1;
}

typedef struct fill_figures {
    double seconds;                              /* reading the clocks included */
    double longest_insert_s, longest_insert_cpu; /* wall time, and without what other processes took */
    double bytes_a_key_sum, bytes_a_key_worst;   /* sampled from a tenth of the keys on */
    uint64_t samples;
} fill_figures;

static int fill(hash_index *index, uint64_t keys, fill_figures *figures) {
    *figures = (fill_figures){0};
    uint64_t bytes_before = hash_index_bytes(index);
    double begin = now_s(), last = begin, last_cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t hash = hash_of(i);
        hash_index_lock(index, hash);
        int code = hash_index_reserve(index, hash);
        if (code != CAIRN_OK) return code;
        hash_index_insert(index, hash, i + 1);
        hash_index_unlock(index, hash);
        double now = now_s();
        if (now - last > figures->longest_insert_s) figures->longest_insert_s = now - last;
        double cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
        if (cpu - last_cpu > figures->longest_insert_cpu) figures->longest_insert_cpu = cpu - last_cpu;
        last = now;
        last_cpu = cpu;
        uint64_t bytes = hash_index_bytes(index);
        if (i >= keys / 10) {
            /* While a shard grows its old and new array are both there: the step's rise times five at most. */
            uint64_t rise = bytes > bytes_before ? bytes - bytes_before : 0;
            double peak = (double)(bytes + 4 * rise) / (double)(i + 1);
            if (peak > figures->bytes_a_key_worst) figures->bytes_a_key_worst = peak;
            figures->bytes_a_key_sum += (double)bytes / (double)(i + 1);
            figures->samples++;
        }
        bytes_before = bytes;
    }
    figures->seconds = now_s() - begin;
    return CAIRN_OK;
}

static double lookups_a_second(const hash_index *index, epoch *readers, uint64_t first, uint64_t keys,
                               uint64_t *found) {
    const uint64_t lookups = 5000000;
    *found = 0;
    double begin = now_s();
    for (uint64_t i = 0; i < lookups; i++) {
        location where;
        epoch_guard guard = epoch_enter(readers);
        *found += hash_index_find(index, hash_of(first + i * 7919 % keys), match_any, NULL, &where) == 1;
        epoch_exit(readers, guard);
    }
    return (double)lookups / (now_s() - begin);
}

int main(int argc, char **argv) {
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    epoch *readers = NULL;
    hash_index *index = NULL;
    double begin = now_s();
    if (keys < 1000 || epoch_new(&readers) != CAIRN_OK || hash_index_new(&index, readers) != CAIRN_OK) return 1;
    printf("create %.3f ms\n", (now_s() - begin) * 1e3);
    printf("empty %" PRIu64 " bytes\n", hash_index_bytes(index));

    uint64_t resident = ram_bytes();
    fill_figures figures;
    if (fill(index, keys, &figures) != CAIRN_OK) return 1;
    resident = ram_bytes() - resident;
    printf("keys %" PRIu64 "\n", hash_index_entries(index));
    printf("insert %.2f M/s\n", (double)keys / figures.seconds * 1e-6);
    printf("memory_now %.2f bytes/key\n", (double)hash_index_bytes(index) / (double)keys);
    printf("memory_mean %.2f bytes/key\n", figures.bytes_a_key_sum / (double)figures.samples);
    printf("memory_peak %.2f bytes/key\n", figures.bytes_a_key_worst);
    printf("memory_resident %.2f bytes/key\n", (double)resident / (double)keys);
    printf("longest_insert %.3f ms\n", figures.longest_insert_s * 1e3);
    printf("longest_insert_cpu %.3f ms\n", figures.longest_insert_cpu * 1e3);

    uint64_t found;
    double rate = lookups_a_second(index, readers, 0, keys, &found);
    printf("find_present %.2f M/s (%" PRIu64 " found)\n", rate * 1e-6, found);
    rate = lookups_a_second(index, readers, keys, keys, &found);
    printf("find_absent %.2f M/s (%" PRIu64 " found)\n", rate * 1e-6, found);
    hash_index_free(index);
    epoch_free(readers);
    return 0;
}

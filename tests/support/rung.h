/* How far a random test goes, and by which seed: CAIRN_RUNG is `quick` (default) or `full`; CAIRN_SEED replays one
 * case. */
#ifndef CAIRN_TESTS_RUNG_H
#define CAIRN_TESTS_RUNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool rung_is_full(void);
/* Sanitized builds are ten to seventy times slower and look for something else, so their quick rung is shorter. */
uint64_t rung_choose(uint64_t quick, uint64_t sanitized, uint64_t full);
bool rung_seed(uint64_t *seed); /* true when CAIRN_SEED is set */
/* So many operations (a tenth of them where it is sanitized, a hundred times as many in the full rung) in chunks, each
 * with a seed of its own, from 1 on; with CAIRN_SEED the chunk of that seed only. `setting` is handed on. */
void rung_run_chunks(const char *name, uint64_t operations, uint64_t chunk,
                     void (*run)(const void *setting, uint64_t seed, uint64_t operations), const void *setting);

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
static inline uint64_t random_below(uint64_t *state, uint64_t limit) { return random_next(state) % limit; }
static inline bool random_one_in(uint64_t *state, uint64_t n) { return random_next(state) % n == 0; }

/* What follows from a number as if by chance, the same each time: for hashes and contents. */
static inline uint64_t mix(uint64_t number) {
    uint64_t z = (number + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    return z ^ (z >> 27);
}

/* A fixed pool of random bytes: values are windows of it, so that they need no memory and differ. */
#define POOL_BYTES ((size_t)8 << 20)
const uint8_t *random_pool(void);
/* A window of that size, at most POOL_BYTES / 2. */
const uint8_t *random_window(uint64_t *state, size_t size);

#endif

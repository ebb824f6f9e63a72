#include "tests/support/rung.h"

#include "src/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature) /* clang tells in this way only */
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

bool rung_is_full(void) {
    const char *rung = getenv("CAIRN_RUNG");
    return rung != NULL && strcmp(rung, "full") == 0;
}

uint64_t rung_choose(uint64_t quick, uint64_t sanitized, uint64_t full) {
    if (rung_is_full()) return full;
#if SANITIZED
    (void)quick;
    return sanitized;
#else
    (void)sanitized;
    return quick;
#endif
}

bool rung_seed(uint64_t *seed) {
    const char *text = getenv("CAIRN_SEED");
    if (text == NULL || text[0] == '\0') return false;
    *seed = strtoull(text, NULL, 0);
    return true;
}

void rung_run_chunks(const char *name, uint64_t operations, uint64_t chunk,
                     void (*run)(const void *setting, uint64_t seed, uint64_t operations), const void *setting) {
    uint64_t left = rung_choose(operations, operations / 10, operations * 100), seed = 1;
    bool one = rung_seed(&seed);
    print_message("%s: seeds from %llu\n", name, (unsigned long long)seed);
    while (left > 0) {
        uint64_t count = min_u64(left, chunk);
        run(setting, seed++, count);
        left = one ? 0 : left - count;
    }
}

const uint8_t *random_pool(void) {
    static uint64_t pool[POOL_BYTES / 8];
    static uint64_t made;
    if (made == 0) {
        uint64_t state = 20;
        for (size_t i = 0; i < POOL_BYTES / 8; i++) {
            pool[i] = random_next(&state);
        }
        made = 1;
    }
    return (const uint8_t *)pool;
}

const uint8_t *random_window(uint64_t *state, size_t size) {
    CHECK(size <= POOL_BYTES / 2);
    return random_pool() + random_below(state, POOL_BYTES - size + 1);
}

#include "tests/support/text.h"

#include "src/base/check.h"
#include "tests/support/rung.h"

#include <pthread.h>
#include <string.h>

#define WORDS 512u
#define TEXT_BYTES ((size_t)192 << 10) /* of text, and then */
#define NOISE_BYTES ((size_t)64 << 10) /* of random bytes */

static uint8_t pool[TEXT_POOL_BYTES];

static void make_words(char words[WORDS][12], uint64_t *state) {
    for (unsigned i = 0; i < WORDS; i++) {
        size_t size = 2 + (size_t)random_below(state, 8);
        for (size_t at = 0; at < size; at++) {
            words[i][at] = (char)('a' + random_below(state, 26));
        }
        words[i][size] = ' ';
        words[i][size + 1] = '\0';
    }
}

static void make_pool(void) {
    static char words[WORDS][12];
    uint64_t state = 21;
    size_t at = 0;
    make_words(words, &state);
    memcpy(pool, random_pool(), sizeof pool < POOL_BYTES ? sizeof pool : POOL_BYTES);
    while (at < sizeof pool) {
        const char *word = words[random_below(&state, WORDS)];
        size_t size = strlen(word);
        if (at + size > sizeof pool) break;
        if (at % (TEXT_BYTES + NOISE_BYTES) < TEXT_BYTES) {
            memcpy(pool + at, word, size);
            at += size;
        } else {
            at += NOISE_BYTES;
        }
    }
}

const uint8_t *text_window(uint64_t *state, size_t size) {
    static pthread_once_t made = PTHREAD_ONCE_INIT;
    CHECK(size <= TEXT_POOL_BYTES / 2);
    CHECK(pthread_once(&made, make_pool) == 0);
    return pool + random_below(state, TEXT_POOL_BYTES - size + 1);
}

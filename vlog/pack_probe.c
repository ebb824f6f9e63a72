#include "vlog/pack_probe.h"

#include "src/base/check.h"
#include "src/base/codec.h"

/* Words of 8 bytes that are sampled, evenly over the frame. */
#define WORD_BYTES ((size_t)8)
#define WORDS_FEW 16u /* of a small frame, which is stored in a few microseconds */
#define WORDS_MANY 31u
#define SMALL_BYTES ((size_t)8192)

/* Pairs of equal bytes among n: random ones have n(n-1)/512 on average, 32 for 128 bytes with a deviation of 6, 120 for
 * 248 with one of 11; ones with 7 bits of entropy at least twice as many. The limit lies between the two: 51 and 194.
 * (Counting the bytes that have come before instead takes a fifth less time and refuses three times as much that would
 * shrink: what is mostly noise and for the rest one value.) */
static uint32_t pairs_limit(uint32_t n) { return n * (n - 1) * 13 / (512 * 8); }

static uint32_t equal_pairs(const uint8_t *frame, size_t size, uint32_t words) {
    uint8_t counts[256] = {0};
    uint64_t step = ((size - WORD_BYTES) << 8) / (words - 1); /* in 256ths of a byte */
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < words; i++) {
        uint64_t word = le64_get(frame + (i * step >> 8));
        for (unsigned byte = 0; byte < WORD_BYTES; byte++) {
            pairs += counts[word & 255]++;
            word >>= 8;
        }
    }
    return pairs;
}
_Static_assert((WORDS_MANY * WORD_BYTES) < 256, "a count fits a byte");

typedef uint32_t four_words __attribute__((vector_size(16)));

/* The 4 bytes at `anchor` come again within REPEAT_BYTES; REPEAT_BYTES and 4 more can be read behind it. */
#define REPEAT_BYTES ((size_t)128)
static bool comes_again(const uint8_t *anchor) {
    uint32_t word;
    memcpy(&word, anchor, sizeof word);
    const four_words wanted = {word, word, word, word};
    four_words found = {0};
    for (size_t i = 1; i <= REPEAT_BYTES - 15; i += 16) {
        for (size_t shift = 0; shift < 4; shift++) {
            four_words there;
            memcpy(&there, anchor + i + shift, sizeof there);
            found |= (four_words)(there == wanted);
        }
    }
    return (found[0] | found[1] | found[2] | found[3]) != 0;
}

/* What lies at an anchor comes again soon, or at one of the distances at which tables and blocks lie. */
static bool repeats(const uint8_t *frame, size_t size, size_t at) {
    const uint8_t *anchor = frame + at;
    uint64_t word = le64_get(anchor);
    for (size_t distance = 2 * REPEAT_BYTES; distance + WORD_BYTES <= size - at; distance *= 2) {
        if (le64_get(anchor + distance) == word) return true;
    }
    return REPEAT_BYTES + 4 <= size - at && comes_again(anchor);
}

bool pack_probe(const void *frame, size_t size) {
    CHECK(size >= PACK_PROBE_BYTES_MIN);
    uint32_t words = size <= SMALL_BYTES ? WORDS_FEW : WORDS_MANY;
    if (size < words * WORD_BYTES) words = (uint32_t)(size / WORD_BYTES);
    if (equal_pairs(frame, size, words) > pairs_limit(words * WORD_BYTES)) return true;
    return repeats(frame, size, size / 4) || (size > SMALL_BYTES && repeats(frame, size, size / 2));
}

/* XXH3 of more than 240 bytes, by AVX2, with a store of each vector that it has loaded. The algorithm is xxHash's
 * (doc/xxhash_spec.md, "XXH3 Algorithm Description"); library and machines without AVX2 give the same sums.
 *
 * The input is taken in stripes of 64 bytes, sixteen to a block. Stripe i of a block meets the secret from byte 8 * i
 * on; a block ends with the accumulators being scrambled. The last 64 bytes are a stripe of their own, which mostly
 * overlaps the one before. */
#include "src/base/checksum_copy.h"

#include "src/base/checksum.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)

#include "src/base/codec.h"

#include <immintrin.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#define STRIPE_BYTES 64u
#define STRIPES 16u
#define BLOCK (STRIPES * STRIPE_BYTES)
#define SECRET_BYTES 192u
#define SHORT_MAX 240u  /* XXH3 hashes what is not longer in other ways */
#define BLOCKS_AHEAD 4u /* brought nearer: the processor's own foresight ends at each page */

#define PRIME32_1 0x9E3779B1u
#define PRIME32_2 0x85EBCA77u
#define PRIME32_3 0xC2B2AE3Du
#define PRIME64_1 0x9E3779B185EBCA87u
#define PRIME64_2 0xC2B2AE3D27D4EB4Fu
#define PRIME64_3 0x165667B19E3779F9u
#define PRIME64_4 0x85EBCA77C2B2AE63u
#define PRIME64_5 0x27D4EB2F165667C5u

#define AVX2 __attribute__((target("avx2")))

typedef struct lanes {
    __m256i half[2]; /* 64-bit accumulators 0 to 3, and 4 to 7 */
} lanes;

AVX2 static inline __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }

AVX2 static inline void copy_stripe(lanes *acc, uint8_t *to, const uint8_t *from, const uint8_t *secret) {
    for (unsigned i = 0; i < 2; i++) {
        __m256i data = load(from + 32 * i);
        _mm256_storeu_si256((__m256i *)(void *)(to + 32 * i), data);
        __m256i keyed = _mm256_xor_si256(data, load(secret + 32 * i));
        __m256i product = _mm256_mul_epu32(keyed, _mm256_shuffle_epi32(keyed, _MM_SHUFFLE(0, 3, 0, 1)));
        __m256i swapped = _mm256_shuffle_epi32(data, _MM_SHUFFLE(1, 0, 3, 2));
        acc->half[i] = _mm256_add_epi64(product, _mm256_add_epi64(acc->half[i], swapped));
    }
}

AVX2 static inline void scramble(lanes *acc, const uint8_t *secret) {
    const __m256i prime = _mm256_set1_epi32((int)PRIME32_1);
    for (unsigned i = 0; i < 2; i++) {
        __m256i a = _mm256_xor_si256(acc->half[i], _mm256_srli_epi64(acc->half[i], 47));
        a = _mm256_xor_si256(a, load(secret + 32 * i));
        __m256i high = _mm256_mul_epu32(_mm256_shuffle_epi32(a, _MM_SHUFFLE(0, 3, 0, 1)), prime);
        acc->half[i] = _mm256_add_epi64(_mm256_mul_epu32(a, prime), _mm256_slli_epi64(high, 32));
    }
}

static uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t merge(const uint64_t acc[8], const uint8_t *secret, size_t size) {
    uint64_t sum = size * PRIME64_1;
    for (unsigned i = 0; i < 4; i++) {
        sum += fold(acc[2 * i] ^ le64_get(secret + 16 * i), acc[2 * i + 1] ^ le64_get(secret + 16 * i + 8));
    }
    sum = (sum ^ sum >> 37) * 0x165667919E3779F9u;
    return sum ^ sum >> 32;
}

AVX2 static uint64_t copy_long(uint8_t *to, const uint8_t *from, size_t size, uint64_t seed) {
    uint8_t secret[SECRET_BYTES];
    uint64_t out[8];
    XXH3_generateSecret_fromSeed(secret, seed);
    size_t blocks = (size - 1) / BLOCK, stripes = (size - 1) / STRIPE_BYTES % STRIPES, at = 0;
    lanes acc = {{_mm256_setr_epi64x(PRIME32_3, (long long)PRIME64_1, (long long)PRIME64_2, PRIME64_3),
                  _mm256_setr_epi64x((long long)PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1)}};
    for (size_t i = 0; i < BLOCKS_AHEAD * BLOCK && i < size; i += STRIPE_BYTES) {
        _mm_prefetch((const char *)from + i, _MM_HINT_T0);
    }
    for (size_t i = 0; i < blocks; i++) {
        size_t ahead = i + BLOCKS_AHEAD < blocks ? BLOCKS_AHEAD * BLOCK : 0;
        for (size_t j = 0; j < STRIPES; j++, at += STRIPE_BYTES) {
            _mm_prefetch((const char *)from + at + ahead, _MM_HINT_T0);
            copy_stripe(&acc, to + at, from + at, secret + 8 * j);
        }
        scramble(&acc, secret + SECRET_BYTES - STRIPE_BYTES);
    }
    for (size_t j = 0; j < stripes; j++, at += STRIPE_BYTES) {
        copy_stripe(&acc, to + at, from + at, secret + 8 * j);
    }
    copy_stripe(&acc, to + size - STRIPE_BYTES, from + size - STRIPE_BYTES, secret + SECRET_BYTES - STRIPE_BYTES - 7);
    _mm256_storeu_si256((__m256i *)(void *)out, acc.half[0]);
    _mm256_storeu_si256((__m256i *)(void *)(out + 4), acc.half[1]);
    return merge(out, secret + 11, size);
}

static bool can_copy_long(size_t size) { return size > SHORT_MAX && __builtin_cpu_supports("avx2"); }

#endif

uint64_t checksum_copy(void *to, const void *from, size_t size, uint64_t seed) {
#if defined(__x86_64__)
    if (can_copy_long(size)) return copy_long(to, from, size, seed);
#endif
    if (size > 0) memcpy(to, from, size);
    return checksum(to, size, seed);
}

/* A store as bench_scan walks it, so that others run beside cairn. A call that fails ends the program. */
#ifndef CAIRN_BENCH_SCAN_ENGINE_H
#define CAIRN_BENCH_SCAN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SCAN_BOUND_MAX 32

/* Keys from `lower` on and before `upper`, of which one of size 0 is none. */
typedef struct scan_query {
    char lower[SCAN_BOUND_MAX], upper[SCAN_BOUND_MAX], like[SCAN_BOUND_MAX];
    size_t lower_size, upper_size;
    size_t like_size; /* not 0: of these, the keys that match; the bounds are what its literal beginning says */
    bool is_prefix;   /* it is asked for all keys that begin with `lower`; `upper` says the same */
    bool is_long;     /* a good part of the store lies between the bounds */
    bool reverse;
    bool values; /* the values are read as well */
} scan_query;

/* What was listed, in the order in which it was. */
typedef struct scan_sum {
    uint64_t keys, hash;
} scan_sum;

typedef struct scan_engine {
    const char *name;
    void *(*open)(const char *path); /* a new store where there is none */
    void (*put)(void *store, const char *key, size_t key_size, const void *value, size_t value_size);
    void (*settle)(void *store); /* behind the last put: until nothing goes on by itself any more */
    void (*scan)(void *store, const scan_query *query, scan_sum *sum); /* adds to the sum */
    void (*close)(void *store);
} scan_engine;

extern const scan_engine scan_cairn;
extern const scan_engine scan_lmdb;    /* where the ordered index is built: BENCH_LMDB */
extern const scan_engine scan_rocksdb; /* where it is installed: BENCH_ROCKSDB */

/* SQL's LIKE with a backslash as the escape, for those who have none of their own. */
bool scan_like(const scan_query *query, const char *key, size_t size);

/* ---- Sums: every byte is looked at, at a nanosecond or two a key and some 8 bytes a cycle ---- */

#define SCAN_MULTIPLIER 0x9e3779b97f4a7c15ull

static inline uint64_t scan_word(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t scan_hash(const void *data, size_t size) {
    const char *p = data, *end = p + size;
    uint64_t lane[4] = {size, 1, 2, 3};
    for (; end - p >= 32; p += 32) {
        for (int i = 0; i < 4; i++) {
            lane[i] = (lane[i] ^ scan_word(p + (size_t)i * 8)) * SCAN_MULTIPLIER;
        }
    }
    for (; end - p >= 8; p += 8) {
        lane[0] = (lane[0] ^ scan_word(p)) * SCAN_MULTIPLIER;
    }
    if (size >= 8) {
        lane[1] ^= scan_word(end - 8);
    } else {
        memcpy(&lane[1], p, size);
    }
    for (int i = 1; i < 4; i++) {
        lane[0] = (lane[0] ^ lane[0] >> 29 ^ lane[i]) * SCAN_MULTIPLIER;
    }
    return lane[0] ^ lane[0] >> 32;
}

static inline void scan_add_key(scan_sum *sum, const void *key, size_t size) {
    sum->keys++;
    sum->hash = sum->hash * SCAN_MULTIPLIER + scan_hash(key, size);
}

static inline void scan_add_value(scan_sum *sum, const void *value, size_t size) {
    sum->hash = sum->hash * SCAN_MULTIPLIER + scan_hash(value, size);
}

#endif

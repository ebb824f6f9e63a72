#include "tests/support/scan_query.h"

#include "src/base/check.h"
#include "tests/support/ordered_box.h"
#include "tests/support/rung.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Choosing ---- */

static uint8_t *copy_of(const void *bytes, size_t size, size_t more) {
    uint8_t *copy = malloc(size + more + 1);
    CHECK(copy != NULL);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

/* A key, or a beginning of one, or something beside it; now and then nothing at all, or longer than a key may be. */
static uint8_t *near_a_key(const sorted_keys *keys, uint64_t *rng, size_t *size) {
    const sorted_key *k = &keys->list[random_below(rng, keys->count)];
    uint8_t *bytes = copy_of(k->bytes, k->size, 3);
    *size = k->size;
    uint64_t roll = random_below(rng, 20);
    if (roll < 8) return bytes;
    if (roll < 14) *size = random_below(rng, min_u64(k->size, 6) + 1);
    if (roll == 14) *size = random_below(rng, k->size + 1);
    if (roll == 15) bytes[(*size)++] = (uint8_t)random_next(rng);
    if (roll == 16) memset(bytes + *size, 0xff, 3), *size += 3;
    if (roll == 17) *size = 0;
    if (roll == 18) bytes[*size - 1]++;
    if (roll == 19) memset(bytes, 0xff, *size = min_u64(k->size, 1 + random_below(rng, 3)));
    return bytes;
}

/* Of a key, piece by piece: itself, escaped where it must be, or a wildcard in its place. */
static uint8_t *pattern_of_a_key(const sorted_keys *keys, uint64_t *rng, uint8_t escape, size_t *size) {
    const sorted_key *k = &keys->list[random_below(rng, keys->count)];
    size_t from = random_one_in(rng, 3) ? random_below(rng, k->size) : 0;
    size_t to = from + min_u64(k->size - from, 1 + random_below(rng, 600));
    uint8_t *p = malloc(2 * (to - from) + 8);
    CHECK(p != NULL);
    *size = 0;
    if (from > 0 || random_one_in(rng, 8)) p[(*size)++] = '%';
    for (size_t i = from; i < to; i++) {
        uint64_t roll = random_below(rng, 12);
        if (roll == 0 && *size < 12) {
            p[(*size)++] = '_';
        } else if (roll == 1 && *size < 12) {
            p[(*size)++] = '%';
            i += random_below(rng, 3);
        } else {
            bool special = k->bytes[i] == '%' || k->bytes[i] == '_' || k->bytes[i] == escape;
            if (special || random_one_in(rng, 10)) p[(*size)++] = escape;
            p[(*size)++] = k->bytes[i];
        }
    }
    if (to < k->size || random_one_in(rng, 2)) p[(*size)++] = '%';
    return p;
}

void scan_query_make(scan_query *q, const sorted_keys *keys, uint64_t *rng) {
    *q = (scan_query){.options = {.struct_size = sizeof q->options}};
    cairn_scan_options *o = &q->options;
    if (random_one_in(rng, 3)) o->lower = q->parts[0] = near_a_key(keys, rng, &o->lower_size);
    if (random_one_in(rng, 3)) o->upper = q->parts[1] = near_a_key(keys, rng, &o->upper_size);
    if (random_one_in(rng, 4)) {
        o->prefix = q->parts[2] = near_a_key(keys, rng, &o->prefix_size);
        if (o->prefix_size > 3 && random_one_in(rng, 2)) o->prefix_size = random_below(rng, 4);
    }
    if (random_one_in(rng, 4)) {
        o->like_escape = random_one_in(rng, 3) ? 'c' : 0;
        uint8_t escape = o->like_escape == 0 ? '\\' : 'c';
        o->like = q->parts[3] = pattern_of_a_key(keys, rng, escape, &o->like_size);
    }
    o->lower_exclusive = random_one_in(rng, 2);
    o->upper_exclusive = random_one_in(rng, 2);
    o->reverse = random_one_in(rng, 3);
    o->keys_only = random_one_in(rng, 3);
    if (random_one_in(rng, 4)) o->limit = 1 + random_below(rng, 40);
}

void scan_query_free(scan_query *q) {
    for (size_t i = 0; i < SCAN_QUERY_PARTS; i++)
        free(q->parts[i]);
    *q = (scan_query){0};
}

/* ---- What it means ---- */

bool scan_query_needs_order(const cairn_scan_options *o) {
    return o->lower != NULL || o->upper != NULL || o->prefix != NULL || o->like != NULL || o->reverse;
}

/* By which ends of the key's beginnings the pattern's beginnings match, one pattern byte after the other. */
static bool like_by_definition(const uint8_t *p, size_t p_size, uint8_t escape, const uint8_t *k, size_t k_size) {
    bool *at = calloc(k_size + 1, sizeof *at);
    CHECK(at != NULL);
    at[0] = true;
    for (size_t i = 0; i < p_size; i++) {
        if (p[i] == '%' && p[i] != escape) {
            for (size_t j = 1; j <= k_size; j++)
                at[j] = at[j] || at[j - 1];
            continue;
        }
        bool any = p[i] == '_' && p[i] != escape;
        if (p[i] == escape) i++;
        for (size_t j = k_size; j > 0; j--)
            at[j] = at[j - 1] && (any || p[i] == k[j - 1]);
        at[0] = false;
    }
    bool matches = at[k_size];
    free(at);
    return matches;
}

bool scan_query_asks_for(const cairn_scan_options *o, const void *key, size_t size) {
    int low = o->lower == NULL ? 1 : plain_key_compare(key, size, o->lower, o->lower_size);
    int high = o->upper == NULL ? -1 : plain_key_compare(key, size, o->upper, o->upper_size);
    if (low < 0 || (low == 0 && o->lower_exclusive) || high > 0 || (high == 0 && o->upper_exclusive)) return false;
    if (o->prefix != NULL && size < o->prefix_size) return false;
    if (o->prefix_size > 0 && memcmp(key, o->prefix, o->prefix_size) != 0) return false;
    uint8_t escape = o->like_escape == 0 ? '\\' : (uint8_t)o->like_escape;
    return o->like == NULL || like_by_definition(o->like, o->like_size, escape, key, size);
}

/* ---- Messages ---- */

static size_t write_bytes(char *text, size_t size, const char *name, const void *bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    char hex[33] = {0};
    for (size_t i = 0; i < count && i < 16; i++) {
        hex[2 * i] = digits[((const uint8_t *)bytes)[i] >> 4];
        hex[2 * i + 1] = digits[((const uint8_t *)bytes)[i] & 15];
    }
    if (bytes == NULL) return 0;
    int n = snprintf(text, size, " %s %s%s (%zu)", name, hex, count > 16 ? "..." : "", count);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

void scan_query_write(const cairn_scan_options *o, char *text, size_t size) {
    int n = snprintf(text, size, "scan%s%s limit %llu%s", o->reverse ? " reverse" : "", o->keys_only ? " keys" : "",
                     (unsigned long long)o->limit, o->snapshot != NULL ? " of a snapshot" : "");
    size_t used = n > 0 && (size_t)n < size ? (size_t)n : 0;
    used += write_bytes(text + used, size - used, o->lower_exclusive ? ">" : ">=", o->lower, o->lower_size);
    used += write_bytes(text + used, size - used, o->upper_exclusive ? "<" : "<=", o->upper, o->upper_size);
    used += write_bytes(text + used, size - used, "prefix", o->prefix, o->prefix_size);
    (void)write_bytes(text + used, size - used, "like", o->like, o->like_size);
}

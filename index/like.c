#include "index/like.h"

#include "src/base/status.h"

#include <stdlib.h>
#include <string.h>

typedef enum item_kind { ITEM_BYTE, ITEM_ANY_BYTE, ITEM_ANY_RUN } item_kind;

struct like {
    size_t count;  /* items; no two runs side by side */
    size_t prefix; /* how many of them are bytes at the beginning */
    size_t fixed;  /* how many are not runs: no shorter key matches */
    uint8_t *kinds;
    uint8_t bytes[]; /* of items that are bytes; the kinds lie behind */
};

static void add_item(like *p, item_kind kind, uint8_t byte) {
    if (kind == ITEM_ANY_RUN && p->count > 0 && p->kinds[p->count - 1] == ITEM_ANY_RUN) return;
    if (kind == ITEM_BYTE && p->prefix == p->count) p->prefix++;
    if (kind != ITEM_ANY_RUN) p->fixed++;
    p->kinds[p->count] = (uint8_t)kind;
    p->bytes[p->count++] = byte;
}

int like_compile(like **out, const void *pattern, size_t size, uint8_t escape, cairn_error *error) {
    const uint8_t *from = pattern;
    like *p = size < SIZE_MAX / 4 ? malloc(sizeof *p + 2 * size) : NULL;
    if (p == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a pattern of %zu bytes", size);
    *p = (like){.kinds = p->bytes + size};
    for (size_t i = 0; i < size; i++) {
        if (from[i] == escape) {
            if (++i == size) {
                free(p);
                return status_set(error, CAIRN_INVALID, "the pattern ends in an escape");
            }
            add_item(p, ITEM_BYTE, from[i]);
        } else if (from[i] == '%') {
            add_item(p, ITEM_ANY_RUN, 0);
        } else {
            add_item(p, from[i] == '_' ? ITEM_ANY_BYTE : ITEM_BYTE, from[i]);
        }
    }
    *out = p;
    return CAIRN_OK;
}

void like_free(like *pattern) { free(pattern); }

/* The first fit of what stands between two runs is as good as any later one, so only the last run met so far is ever
 * taken up again: one byte longer each time. */
bool like_matches_counting(const like *p, const void *key, size_t size, uint64_t *steps) {
    const uint8_t *bytes = key;
    size_t item = 0, at = 0, run_item = SIZE_MAX, run_end = 0;
    if (size < p->fixed) return false;
    while (at < size) {
        ++*steps;
        if (item < p->count && p->kinds[item] == ITEM_ANY_RUN) {
            run_item = item++;
            run_end = at;
            if (item == p->count) return true;
        } else if (item < p->count && (p->kinds[item] == ITEM_ANY_BYTE || p->bytes[item] == bytes[at])) {
            item++;
            at++;
        } else if (run_item != SIZE_MAX) {
            item = run_item + 1;
            at = ++run_end;
        } else {
            return false;
        }
    }
    if (item < p->count && p->kinds[item] == ITEM_ANY_RUN) item++;
    return item == p->count;
}

bool like_matches(const like *pattern, const void *key, size_t size) {
    uint64_t steps = 0;
    return like_matches_counting(pattern, key, size, &steps);
}

const void *like_prefix(const like *pattern, size_t *size) {
    *size = pattern->prefix;
    return pattern->bytes;
}

bool like_is_prefix(const like *p) { return p->count == p->prefix + 1 && p->kinds[p->prefix] == ITEM_ANY_RUN; }

bool like_is_literal(const like *p) { return p->count == p->prefix; }

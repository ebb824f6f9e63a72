#include "index/key_range.h"

#include "include/cairn.h"
#include "src/base/check.h"

#include <stdlib.h>
#include <string.h>

int key_compare(const void *a, size_t a_size, const void *b, size_t b_size) {
    size_t size = min_u64(a_size, b_size);
    int order = size > 0 ? memcmp(a, b, size) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

int key_bound_set(key_bound *b, const void *bytes, size_t size, bool exclusive) {
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL) return CAIRN_NO_MEMORY;
    if (size > 0) memcpy(copy, bytes, size);
    free(b->bytes);
    *b = (key_bound){copy, size, exclusive};
    return CAIRN_OK;
}

void key_bound_release(key_bound *b) {
    free(b->bytes);
    *b = (key_bound){0};
}

bool key_bound_passed(const key_bound *end, bool reverse, const void *key, size_t size) {
    if (end->bytes == NULL) return false;
    int order = key_compare(key, size, end->bytes, end->size);
    if (reverse) order = -order;
    return order > 0 || (order == 0 && end->exclusive);
}

/* A bound that is longer than any key lies between two keys that can be. */
static int lower_set(key_bound *b, const void *bytes, size_t size, bool exclusive) {
    return size > CAIRN_KEY_SIZE_MAX ? key_bound_set(b, bytes, CAIRN_KEY_SIZE_MAX, true)
                                     : key_bound_set(b, bytes, size, exclusive);
}
static int upper_set(key_bound *b, const void *bytes, size_t size, bool exclusive) {
    return size > CAIRN_KEY_SIZE_MAX ? key_bound_set(b, bytes, CAIRN_KEY_SIZE_MAX, false)
                                     : key_bound_set(b, bytes, size, exclusive);
}

/* The keys with a prefix are those from it on to the first string that is higher and does not begin with it. */
static int narrow_to_prefix(key_bound *lower, key_bound *upper, const uint8_t *prefix, size_t size) {
    if (lower->bytes == NULL || key_compare(lower->bytes, lower->size, prefix, size) < 0) {
        int code = lower_set(lower, prefix, size, false);
        if (code != CAIRN_OK) return code;
    }
    if (size > CAIRN_KEY_SIZE_MAX) return upper_set(upper, "", 0, true);
    while (size > 0 && prefix[size - 1] == 0xff)
        size--;
    if (size == 0) return CAIRN_OK;
    key_bound end = {0};
    int code = key_bound_set(&end, prefix, size, true);
    if (code != CAIRN_OK) return code;
    end.bytes[size - 1]++;
    if (upper->bytes != NULL && key_compare(upper->bytes, upper->size, end.bytes, end.size) < 0) {
        free(end.bytes);
        return CAIRN_OK;
    }
    free(upper->bytes);
    *upper = end;
    return CAIRN_OK;
}

int key_range_bounds(const key_range *range, key_bound *start, key_bound *end) {
    key_bound lower = {0}, upper = {0};
    int code = CAIRN_OK;
    if (range->lower != NULL) code = lower_set(&lower, range->lower, range->lower_size, range->lower_exclusive);
    if (code == CAIRN_OK && range->upper != NULL) {
        code = upper_set(&upper, range->upper, range->upper_size, range->upper_exclusive);
    }
    if (code == CAIRN_OK && range->prefix != NULL) {
        code = narrow_to_prefix(&lower, &upper, range->prefix, range->prefix_size);
    }
    if (code != CAIRN_OK) {
        free(lower.bytes);
        free(upper.bytes);
        return code;
    }
    *start = range->reverse ? upper : lower;
    *end = range->reverse ? lower : upper;
    return CAIRN_OK;
}

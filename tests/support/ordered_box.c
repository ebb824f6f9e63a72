#include "tests/support/ordered_box.h"

#include "src/base/array.h"
#include "src/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const uint8_t ordered_box_id[16] = "an ordered store";

/* ---- Sets ---- */

int plain_key_compare(const void *a, size_t a_size, const void *b, size_t b_size) {
    size_t size = a_size < b_size ? a_size : b_size;
    int order = size > 0 ? memcmp(a, b, size) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

size_t key_set_find(const key_set *set, const void *key, size_t size) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const ordered_key *k = &set->keys[middle];
        if (plain_key_compare(k->bytes, k->size, key, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void key_set_apply(key_set *set, const ordered_change *c) {
    size_t at = key_set_find(set, c->key, c->size);
    bool there = at < set->count && plain_key_compare(set->keys[at].bytes, set->keys[at].size, c->key, c->size) == 0;
    if (there != c->erase) return;
    if (c->erase) {
        free((void *)(uintptr_t)set->keys[at].bytes);
        memmove(set->keys + at, set->keys + at + 1, (set->count - at - 1) * sizeof set->keys[0]);
        set->count--;
        return;
    }
    void *copy = malloc(c->size);
    set->keys = array_with_room(set->keys, &set->capacity, set->count, sizeof set->keys[0], 64);
    CHECK(copy != NULL && set->keys != NULL);
    memcpy(copy, c->key, c->size);
    memmove(set->keys + at + 1, set->keys + at, (set->count - at) * sizeof set->keys[0]);
    set->keys[at] = (ordered_key){copy, c->size};
    set->count++;
}

void key_set_free(key_set *set) {
    for (size_t i = 0; i < set->count; i++)
        free((void *)(uintptr_t)set->keys[i].bytes);
    free(set->keys);
    *set = (key_set){0};
}

/* ---- The index ---- */

ordered_options ordered_box_options(const ordered_box *b) {
    ordered_options options = {.map_bytes = b->map_bytes};
    memcpy(options.store_id, ordered_box_id, sizeof ordered_box_id);
    return options;
}

void ordered_box_build(ordered_box *b, const key_set *keys, uint64_t place) {
    ordered_build *build;
    ordered_options options = ordered_box_options(b);
    CHECK(b->index == NULL && ordered_build_begin(&build, b->dir, &options, NULL) == CAIRN_OK);
    for (size_t i = 0; i < keys->count; i++)
        CHECK(ordered_build_add(build, keys->keys[i].bytes, keys->keys[i].size, NULL) == CAIRN_OK);
    CHECK(ordered_build_finish(build, place, NULL) == CAIRN_OK);
}

void ordered_box_open(ordered_box *b, const char *folder, bool make) {
    *b = (ordered_box){.folder = folder};
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &b->dir) == 0);
    if (make) ordered_box_build(b, &(key_set){0}, 0);
    CHECK(ordered_box_reopen(b, false) == CAIRN_OK);
}

void ordered_box_close(ordered_box *b) {
    ordered_close(b->index);
    os_dir_close(b->dir);
    *b = (ordered_box){0};
}

int ordered_box_reopen(ordered_box *b, bool read_only) {
    ordered_options options = ordered_box_options(b);
    options.read_only = read_only;
    ordered_close(b->index);
    b->index = NULL;
    return ordered_open(&b->index, b->dir, &options, NULL);
}

/* ---- Walks ---- */

static bool is_in(const key_range *r, const ordered_key *k) {
    int low = r->lower == NULL ? 1 : plain_key_compare(k->bytes, k->size, r->lower, r->lower_size);
    int high = r->upper == NULL ? -1 : plain_key_compare(k->bytes, k->size, r->upper, r->upper_size);
    if (low < 0 || (low == 0 && r->lower_exclusive) || high > 0 || (high == 0 && r->upper_exclusive)) return false;
    return r->prefix == NULL ||
           (k->size >= r->prefix_size && (r->prefix_size == 0 || memcmp(k->bytes, r->prefix, r->prefix_size) == 0));
}

void ordered_box_check_walk(const ordered_box *b, const key_set *set, const key_range *range, size_t max) {
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count, at = 0;
    int code;
    assert_int_equal(ordered_cursor_open(&cursor, b->index, range, NULL), CAIRN_OK);
    while ((code = ordered_next(cursor, max, &keys, &count, NULL)) == CAIRN_OK) {
        assert_in_range(count, 1, max);
        for (size_t i = 0; i < count; i++) {
            const ordered_key *expected = NULL;
            while (at < set->count && expected == NULL) {
                const ordered_key *k = &set->keys[range->reverse ? set->count - 1 - at : at];
                if (is_in(range, k)) expected = k;
                at++;
            }
            assert_non_null(expected);
            assert_int_equal(keys[i].size, expected->size);
            assert_memory_equal(keys[i].bytes, expected->bytes, expected->size);
        }
    }
    assert_int_equal(code, CAIRN_DONE);
    assert_int_equal(ordered_next(cursor, max, &keys, &count, NULL), CAIRN_DONE);
    for (; at < set->count; at++)
        assert_false(is_in(range, &set->keys[range->reverse ? set->count - 1 - at : at]));
    ordered_cursor_close(cursor);
}

void ordered_box_check(const ordered_box *b, const key_set *set) {
    assert_int_equal(ordered_keys(b->index), set->count);
    ordered_box_check_walk(b, set, &(key_range){0}, ORDERED_BATCH_KEYS);
    ordered_box_check_walk(b, set, &(key_range){.reverse = true}, ORDERED_BATCH_KEYS);
}

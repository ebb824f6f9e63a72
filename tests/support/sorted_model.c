#include "tests/support/sorted_model.h"

#include "src/base/check.h"
#include "tests/support/ordered_box.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

/* ---- Keys ---- */

/* Lengths at which the index cuts a key into pieces (index/FORMAT.md), and the largest. */
static const size_t edges[] = {510, 511, 512, 1012, 1514, 4000, ORDERED_KEY_MAX};

static size_t make_long(uint64_t *rng, uint8_t *key) {
    size_t edge = edges[random_below(rng, random_one_in(rng, 8) ? 7 : 5)];
    size_t size = edge - random_below(rng, 3);
    memset(key, 'x', size);
    if (random_one_in(rng, 2)) key[size - 1 - random_below(rng, 3)] = (uint8_t)random_next(rng);
    if (random_one_in(rng, 4)) key[random_below(rng, size)] = 'y';
    return size;
}

static size_t make_short(uint64_t *rng, uint8_t *key) {
    static const uint8_t letters[] = {'a', 'b', 'c', 'a', 'b', 0, 0xff, '%', '_', '\\'};
    size_t size = 1 + random_below(rng, random_one_in(rng, 4) ? 12 : 5);
    for (size_t i = 0; i < size; i++)
        key[i] = random_one_in(rng, 20) ? (uint8_t)random_next(rng) : letters[random_below(rng, sizeof letters)];
    return size;
}

static int by_key(const void *a, const void *b) {
    const sorted_key *x = a, *y = b;
    return plain_key_compare(x->bytes, x->size, y->bytes, y->size);
}

static void drop_repetitions(sorted_keys *k) {
    size_t kept = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (kept > 0 && by_key(&k->list[kept - 1], &k->list[i]) == 0) {
            free(k->list[i].bytes);
        } else {
            k->list[kept++] = k->list[i];
        }
    }
    k->count = kept;
}

void sorted_keys_make(sorted_keys *k, size_t count, uint64_t seed) {
    static uint8_t key[ORDERED_KEY_MAX];
    k->list = malloc(count * sizeof *k->list);
    k->count = count;
    CHECK(k->list != NULL && count > 0);
    for (size_t i = 0; i < count; i++) {
        size_t size = random_one_in(&seed, 8) ? make_long(&seed, key) : make_short(&seed, key);
        k->list[i] = (sorted_key){malloc(size), size};
        CHECK(k->list[i].bytes != NULL);
        memcpy(k->list[i].bytes, key, size);
    }
    qsort(k->list, k->count, sizeof *k->list, by_key);
    drop_repetitions(k);
}

void sorted_keys_free(sorted_keys *k) {
    for (size_t i = 0; i < k->count; i++)
        free(k->list[i].bytes);
    free(k->list);
    *k = (sorted_keys){0};
}

size_t sorted_keys_find(const sorted_keys *k, const void *bytes, size_t size) {
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = plain_key_compare(k->list[middle].bytes, k->list[middle].size, bytes, size);
        if (order == 0) return middle;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return SIZE_MAX;
}

/* ---- The map ---- */

void sorted_map_init(sorted_map *m, const sorted_keys *keys) {
    *m = (sorted_map){.keys = keys, .values = calloc(keys->count, sizeof *m->values)};
    CHECK(m->values != NULL);
}

void sorted_map_copy(sorted_map *to, const sorted_map *from) {
    sorted_map_init(to, from->keys);
    memcpy(to->values, from->values, from->keys->count * sizeof *from->values);
}

void sorted_map_free(sorted_map *m) {
    free(m->values);
    *m = (sorted_map){0};
}

bool sorted_map_has(const sorted_map *m, size_t key, uint64_t now_ms) {
    const sorted_value *v = &m->values[key];
    return v->bytes != NULL && (v->expires_at_ms == 0 || v->expires_at_ms > now_ms);
}

/* A plain sorted map, to hold ordered scans against. Its keys come from a fixed set, sorted as the store sorts them, so
 * that a moment of the map is a short array and costs little to copy. Values are windows of a pool. */
#ifndef CAIRN_TESTS_SORTED_MODEL_H
#define CAIRN_TESTS_SORTED_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sorted_key {
    uint8_t *bytes; /* malloc'ed */
    size_t size;
} sorted_key;

typedef struct sorted_keys {
    sorted_key *list; /* ascending, each once */
    size_t count;
} sorted_keys;

/* About so many: short ones of few letters, wildcards among them, so that prefixes and patterns hit; and some that
 * share long beginnings, of up to 64 KiB. */
void sorted_keys_make(sorted_keys *k, size_t count, uint64_t seed);
void sorted_keys_free(sorted_keys *k);
size_t sorted_keys_find(const sorted_keys *k, const void *bytes, size_t size); /* SIZE_MAX: none of them */

typedef struct sorted_value {
    const uint8_t *bytes; /* NULL: absent */
    size_t size;
    uint64_t expires_at_ms; /* 0: never */
} sorted_value;

typedef struct sorted_map {
    const sorted_keys *keys;
    sorted_value *values; /* one for each key */
} sorted_map;

void sorted_map_init(sorted_map *m, const sorted_keys *keys);
void sorted_map_copy(sorted_map *to, const sorted_map *from);
void sorted_map_free(sorted_map *m);
bool sorted_map_has(const sorted_map *m, size_t key, uint64_t now_ms);

#endif

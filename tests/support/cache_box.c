#include "tests/support/cache_box.h"

#include "include/cairn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

cache_box cache_box_open(uint64_t budget) {
    cache_box b = {NULL, NULL};
    assert_int_equal(epoch_new(&b.readers), CAIRN_OK);
    assert_int_equal(value_cache_new(&b.cache, b.readers, budget), CAIRN_OK);
    return b;
}

void cache_box_close(cache_box *b) {
    value_cache_free(b->cache);
    epoch_free(b->readers);
}

value_cache_stats cache_box_stats(const cache_box *b) {
    value_cache_stats stats;
    value_cache_stats_get(b->cache, &stats);
    return stats;
}

/* ---- Values ---- */

location cached_location(uint64_t id) { return location_make(64 + id * 66, 66, LOCATION_VALUE); }
static uint8_t byte_of(uint64_t id, uint64_t at) { return (uint8_t)(id * 31 + at * 7 + (at >> 8)); }

bool cache_box_insert(cache_box *b, uint64_t id, uint64_t value_size) {
    cached_value *v = value_cache_prepare(b->cache, sizeof id, value_size);
    if (v == NULL) return false;
    v->where = cached_location(id);
    v->version = id + 1;
    memcpy(v->bytes, &id, sizeof id);
    uint8_t *data = v->bytes + cached_data_offset(v);
    for (uint64_t i = 0; i < value_size; i++) {
        data[i] = byte_of(id, i);
    }
    value_cache_insert(b->cache, v);
    return true;
}

void cache_box_fill(cache_box *b, uint64_t first, uint64_t end, uint64_t value_size) {
    for (uint64_t id = first; id < end; id++)
        assert_true(cache_box_insert(b, id, value_size));
}

void cache_box_remove(cache_box *b, uint64_t id) { value_cache_remove(b->cache, cached_location(id)); }

bool cached_is_right(const cached_value *v, uint64_t id, uint64_t value_size) {
    if (v->where != cached_location(id) || v->version != id + 1 || v->value_size != value_size) return false;
    if (v->key_size != sizeof id || memcmp(cached_key(v), &id, sizeof id) != 0) return false;
    for (uint64_t i = 0; i < value_size; i++) {
        if (cached_data(v)[i] != byte_of(id, i)) return false;
    }
    return true;
}

/* ---- Looking ---- */

const cached_value *cache_box_find(const cache_box *b, uint64_t id) {
    return value_cache_find(b->cache, cached_location(id), 0);
}

bool cache_box_has(cache_box *b, uint64_t id) {
    epoch_guard guard = epoch_enter(b->readers);
    bool found = value_cache_find(b->cache, cached_location(id), guard.slot) != NULL;
    epoch_exit(b->readers, guard);
    return found;
}

bool cache_box_get(cache_box *b, uint64_t id, uint64_t value_size) {
    bool hit = cache_box_has(b, id);
    if (!hit) (void)cache_box_insert(b, id, value_size);
    return hit;
}

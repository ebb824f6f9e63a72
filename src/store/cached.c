/* Values in RAM (cairn_options.cache_bytes): which copy serves a read, and how it gets there. */
#include "src/base/status.h"
#include "src/store/store.h"

#include <string.h>

bool store_is_resident(const cairn *store) {
    return store->cache != NULL && store->options.cache_bytes == VALUE_CACHE_RESIDENT;
}

typedef struct cache_search {
    cairn *store;
    const void *key;
    size_t key_size;
    unsigned stripe;
    const cached_value *value;
} cache_search;

static bool is_of_key(const cached_value *v, const void *key, size_t key_size) {
    return v->key_size == key_size && memcmp(cached_key(v), key, key_size) == 0;
}

/* A candidate that is not in the cache may be this key's: the search goes on, in case another one is. */
static int match_cached(void *ctx, location candidate) {
    cache_search *s = ctx;
    s->value = value_cache_find(s->store->cache, candidate, s->stripe);
    return s->value != NULL && is_of_key(s->value, s->key, s->key_size);
}

const cached_value *store_cached(cairn *store, key_hash hash, const void *key, size_t key_size, unsigned stripe) {
    cache_search s = {.store = store, .key = key, .key_size = key_size, .stripe = stripe};
    location where;
    if (store->cache == NULL) return NULL;
    if (hash_index_find(store->index, hash.index, match_cached, &s, &where) != 1) return NULL;
    if (s.value->expires_at_ms != 0 && s.value->expires_at_ms <= store_now(store)) return NULL;
    return s.value;
}

const cached_value *store_cached_at(cairn *store, location where, unsigned stripe) {
    return store->cache == NULL ? NULL : value_cache_find(store->cache, where, stripe);
}

cached_value *store_cache_load(cairn *store, const store_found *found) {
    const record_header *h = &found->head.header;
    cairn_entry entry;
    if (store->cache == NULL || h->value_size > SIZE_MAX / 2) return NULL;
    if (store_entry_fill(store, found, &entry, NULL) != CAIRN_OK) return NULL;
    cached_value *v = value_cache_prepare(store->cache, h->key_size, h->value_size);
    if (v == NULL) return NULL;
    v->where = found->where;
    v->version = entry.version;
    v->expires_at_ms = entry.expires_at_ms;
    v->stored_size = entry.stored_size;
    memcpy(v->bytes, vlog_head_key(&found->head), h->key_size);
    if (store_value_read(store, &found->head, v->bytes + cached_data_offset(v), h->value_size, 0, NULL) == CAIRN_OK) {
        return v;
    }
    value_cache_discard(v);
    return NULL;
}

void store_cache_keep(cairn *store, uint64_t hash, cached_value *value) {
    location where = value->where;
    value_cache_insert(store->cache, value);
    if (!hash_index_holds(store->index, hash, where)) value_cache_remove(store->cache, where);
}

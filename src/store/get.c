/* Whole values. Every call is inside the epoch from look-up to last byte. */
#include "src/store/get.h"

#include "src/base/check.h"
#include "src/base/status.h"

#include <stdlib.h>
#include <string.h>

/* A record up to this length is read whole by the look-up itself. */
#define READ_AT_ONCE_BYTES ((uint64_t)256 << 10)

#define VALUE_LEAD ((size_t)16) /* keeps the value as aligned as the allocation */

/* The bytes that cairn_get returns lie inside an allocation; its address stands in the 8 bytes before them. */
static void *with_base(uint8_t *value, void *base) {
    memcpy(value - sizeof base, &base, sizeof base);
    return value;
}

void cairn_free(void *value) {
    void *base;
    if (value == NULL) return;
    memcpy(&base, (uint8_t *)value - sizeof base, sizeof base);
    free(base);
}

/* An allocation for a value of this size, in the shape that cairn_free takes. NULL when there is no memory. */
static void *value_alloc(uint64_t size) {
    uint8_t *base = size < SIZE_MAX - VALUE_LEAD ? malloc(VALUE_LEAD + size + 1) : NULL;
    return base == NULL ? NULL : with_base(base + VALUE_LEAD, base);
}

int store_get_found(cairn *store, const store_found *found, void **value, size_t *value_size, cairn_error *error) {
    uint8_t *base = NULL;
    int rc = store_value_load(store, &found->head, VALUE_LEAD, &base, error);
    if (rc != CAIRN_OK) return rc;
    *value = with_base(base + VALUE_LEAD, base);
    *value_size = found->head.header.value_size;
    return CAIRN_OK;
}

static int check_room(store_get *g, uint64_t size, cairn_error *error) {
    g->value_size = size;
    if (size <= g->cap) return CAIRN_OK;
    return status_set(error, CAIRN_TOO_SMALL, "a value of %llu bytes into a buffer of %zu", (unsigned long long)size,
                      g->cap);
}

/* ---- From a copy in memory, or from a record that was found ---- */

static int give_copy(store_get *g, const cached_value *v, cairn_error *error) {
    if (g->into) {
        int rc = check_room(g, v->value_size, error);
        if (rc == CAIRN_OK && v->value_size > 0) memcpy(g->value, cached_data(v), v->value_size);
        return rc;
    }
    g->value = value_alloc(v->value_size);
    if (g->value == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a value");
    memcpy(g->value, cached_data(v), v->value_size);
    g->value_size = v->value_size;
    return CAIRN_OK;
}

static int give_found(cairn *store, store_get *g, const store_found *found, cairn_error *error) {
    if (!g->into) return store_get_found(store, found, &g->value, &g->value_size, error);
    return store_value_read(store, &found->head, g->value, g->value_size, 0, error);
}

static int give_through_cache(cairn *store, store_get *g, const store_found *found, cairn_error *error) {
    int rc = g->into ? check_room(g, found->head.header.value_size, error) : CAIRN_OK;
    if (rc != CAIRN_OK) return rc;
    cached_value *v = store_cache_load(store, found);
    if (v == NULL) return give_found(store, g, found, error);
    rc = give_copy(g, v, error);
    store_cache_keep(store, g->hash.index, v);
    return rc;
}

/* ---- By the look-up itself, so that a small value costs one read ---- */

typedef struct quick_search {
    cairn *store;
    store_get *get;
    bool now;       /* only of what is in memory */
    int rc;         /* of the last candidate: CAIRN_OK, or VLOG_READ_ */
    location where; /* likewise; LOCATION_NONE: there was none */
    record_header header;
    uint8_t *record; /* NULL: none, or it went into the buffer */
} quick_search;

/* What these cannot settle (damage, length, compression, expiry) is left to the ordinary look-up. */
static int match_whole(void *ctx, location candidate) {
    quick_search *s = ctx;
    vlog *log = s->store->log;
    free(s->record);
    s->record = NULL;
    s->where = candidate;
    s->rc = VLOG_READ_OTHERWISE;
    if (location_units(candidate) * UNIT_BYTES > READ_AT_ONCE_BYTES || location_holds(candidate) != LOCATION_VALUE) {
        return 1;
    }
    s->rc = s->now ? vlog_record_read_now(log, candidate, &s->header, &s->record)
                   : vlog_record_read(log, candidate, &s->header, &s->record, NULL);
    if (s->rc != CAIRN_OK) return 1;
    return s->header.key_size == s->get->key_size && memcmp(record_key(s->record), s->get->key, s->get->key_size) == 0;
}

static int match_into(void *ctx, location candidate) {
    quick_search *s = ctx;
    store_get *g = s->get;
    vlog *log = s->store->log;
    uint64_t size = 0;
    s->where = candidate;
    s->rc = VLOG_READ_OTHERWISE;
    if (location_kind_of(candidate) != LOCATION_VALUE) return 1;
    s->rc = s->now ? vlog_value_read_now(log, candidate, g->key, g->key_size, g->value, g->cap, &size)
                   : vlog_value_read(log, candidate, g->key, g->key_size, g->value, g->cap, &size, NULL);
    g->value_size = s->rc == CAIRN_OK ? size : 0;
    return 1;
}

/* Takes the record over. false: it has expired. */
static bool give_record(quick_search *s) {
    uint64_t expires = s->header.expires_at_ms;
    if (expires != 0 && expires <= store_now(s->store)) return false;
    s->get->value = with_base(s->record + s->header.header_size, s->record);
    s->get->value_size = s->header.value_size;
    s->record = NULL;
    return true;
}

/* CAIRN_OK: the value is given. CAIRN_NOT_FOUND: there is nothing under the hash, or only other keys. Or VLOG_READ_. */
static int get_quickly(quick_search *s) {
    location where;
    hash_index_match match = s->get->into ? match_into : match_whole;
    int found = hash_index_find(s->store->index, s->get->hash.index, match, s, &where), rc = s->rc;
    if (found != 1) rc = found == 0 ? CAIRN_NOT_FOUND : VLOG_READ_OTHERWISE;
    if (rc == CAIRN_OK && !s->get->into && !give_record(s)) rc = VLOG_READ_OTHERWISE;
    free(s->record);
    return rc;
}

/* ---- A key ---- */

int store_get_value(cairn *store, store_get *g, unsigned stripe, cairn_error *error) {
    const cached_value *v = store_cached(store, g->hash, g->key, g->key_size, stripe);
    if (v != NULL) return give_copy(g, v, error);
    quick_search s = {.store = store, .get = g};
    int rc = store->cache == NULL ? get_quickly(&s) : VLOG_READ_OTHERWISE;
    if (rc == CAIRN_OK) return CAIRN_OK;
    if (rc == CAIRN_NOT_FOUND) return store_not_found(g->key, g->key_size, error);
    store_found found;
    rc = store_find_present(store, g->key, g->key_size, &found, error);
    if (rc == CAIRN_OK) rc = give_through_cache(store, g, &found, error);
    store_found_release(&found);
    return rc;
}

int store_get_value_at(cairn *store, store_get *g, store_moment moment, cairn_error *error) {
    store_found found;
    int rc = store_snapshot_find(store, moment, g->key, g->key_size, &found, error);
    if (rc == CAIRN_OK && g->into) rc = check_room(g, found.head.header.value_size, error);
    if (rc == CAIRN_OK) rc = give_found(store, g, &found, error);
    store_found_release(&found);
    return rc;
}

static int match_any(void *ctx, location candidate) {
    (void)ctx;
    (void)candidate;
    return 1;
}

int store_get_now(cairn *store, store_get *g, unsigned stripe, location *where, cairn_error *error) {
    const cached_value *v = store_cached(store, g->hash, g->key, g->key_size, stripe);
    *where = LOCATION_NONE;
    if (v != NULL) return give_copy(g, v, error);
    if (store->cache != NULL) {
        (void)hash_index_find(store->index, g->hash.index, match_any, NULL, where);
        return STORE_GET_OTHERWISE;
    }
    quick_search s = {.store = store, .get = g, .now = true};
    int rc = get_quickly(&s);
    *where = s.where;
    if (rc == CAIRN_NOT_FOUND) return store_not_found(g->key, g->key_size, error);
    return rc == CAIRN_OK ? CAIRN_OK : rc == VLOG_READ_LATER ? STORE_GET_LATER : STORE_GET_OTHERWISE;
}

/* ---- The calls for one key ---- */

static int get_one(cairn *store, store_get *g, cairn_error *error) {
    epoch_guard guard = store_enter(store);
    g->hash = store_hash(store, g->key, g->key_size);
    int rc = store_get_value(store, g, guard.slot, error);
    store_exit(store, guard);
    return rc;
}

int cairn_get(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if (value == NULL || value_size == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    store_get g = {.key = key, .key_size = key_size};
    rc = get_one(store, &g, error);
    *value = rc == CAIRN_OK ? g.value : NULL;
    *value_size = rc == CAIRN_OK ? g.value_size : 0;
    return rc;
}

int cairn_get_into(cairn *store, const void *key, size_t key_size, void *buf, size_t cap, size_t *value_size,
                   cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && cap > 0) || value_size == NULL)
        return status_set(error, CAIRN_INVALID, "no place for the value");
    store_get g = {.key = key, .key_size = key_size, .into = true, .cap = cap, .value = buf};
    rc = get_one(store, &g, error);
    *value_size = g.value_size;
    return rc;
}

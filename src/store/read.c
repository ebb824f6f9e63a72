/* Whole values and parts of them. Every call is inside the epoch from look-up to last byte. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

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

static int give_copy(const cached_value *v, void **value, size_t *value_size, cairn_error *error) {
    *value = value_alloc(v->value_size);
    if (*value == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a value");
    memcpy(*value, cached_data(v), v->value_size);
    *value_size = v->value_size;
    return CAIRN_OK;
}

int store_get_found(cairn *store, const store_found *found, void **value, size_t *value_size, cairn_error *error) {
    uint8_t *base = NULL;
    int rc = store_value_load(store, &found->head, VALUE_LEAD, &base, error);
    if (rc != CAIRN_OK) return rc;
    *value = with_base(base + VALUE_LEAD, base);
    *value_size = found->head.header.value_size;
    return CAIRN_OK;
}

typedef struct whole_search {
    cairn *store;
    const void *key;
    size_t key_size;
    record_header header;
    uint8_t *record; /* NULL: the candidate is not one to be read by the way */
} whole_search;

/* Matches by reading the whole record, so that a small value costs one read. What this cannot settle (damage, length,
 * compression, expiry) is left to the ordinary look-up. */
static int match_whole(void *ctx, location candidate) {
    whole_search *s = ctx;
    free(s->record);
    s->record = NULL;
    if (location_units(candidate) * UNIT_BYTES > READ_AT_ONCE_BYTES || location_holds(candidate) != LOCATION_VALUE) {
        return 1;
    }
    int rc = vlog_record_read(s->store->log, candidate, &s->header, &s->record, NULL);
    if (rc != CAIRN_OK) return 1;
    return s->header.key_size == s->key_size && memcmp(record_key(s->record), s->key, s->key_size) == 0;
}

/* What one look at the index gave. */
typedef enum at_once { AT_ONCE_DONE, AT_ONCE_ABSENT, AT_ONCE_NOT } at_once;

static at_once get_at_once(cairn *store, key_hash hash, const void *key, size_t key_size, void **value,
                           size_t *value_size) {
    whole_search s = {.store = store, .key = key, .key_size = key_size};
    location where;
    int rc = hash_index_find(store->index, hash.index, match_whole, &s, &where);
    bool lasts =
        rc == 1 && s.record != NULL && (s.header.expires_at_ms == 0 || s.header.expires_at_ms > store_now(store));
    if (lasts) {
        *value = with_base(s.record + s.header.header_size, s.record);
        *value_size = s.header.value_size;
        return AT_ONCE_DONE;
    }
    free(s.record);
    return rc == 0 ? AT_ONCE_ABSENT : AT_ONCE_NOT;
}

static int get_through_cache(cairn *store, key_hash hash, const store_found *found, void **value, size_t *value_size,
                             cairn_error *error) {
    cached_value *v = store_cache_load(store, found);
    if (v == NULL) return store_get_found(store, found, value, value_size, error);
    int rc = give_copy(v, value, value_size, error);
    store_cache_keep(store, hash.index, v);
    return rc;
}

/* Inside the epoch. */
static int get(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size, unsigned stripe,
               cairn_error *error) {
    key_hash hash = store_hash(store, key, key_size);
    const cached_value *v = store_cached(store, hash, key, key_size, stripe);
    if (v != NULL) return give_copy(v, value, value_size, error);
    at_once way = store->cache != NULL ? AT_ONCE_NOT : get_at_once(store, hash, key, key_size, value, value_size);
    if (way == AT_ONCE_DONE) return CAIRN_OK;
    if (way == AT_ONCE_ABSENT) return store_not_found(key, key_size, error);
    store_found found;
    int rc = store_find_present(store, key, key_size, &found, error);
    if (rc == CAIRN_OK) rc = get_through_cache(store, hash, &found, value, value_size, error);
    store_found_release(&found);
    return rc;
}

int cairn_get(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if (value == NULL || value_size == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *value = NULL;
    *value_size = 0;
    epoch_guard guard = store_enter(store);
    rc = get(store, key, key_size, value, value_size, guard.slot, error);
    store_exit(store, guard);
    return rc;
}

/* ---- Into the caller's buffer ---- */

typedef struct into_search {
    cairn *store;
    const void *key;
    size_t key_size;
    void *buf;
    size_t cap;
    uint64_t value_size;
    bool done;
} into_search;

/* Matches by reading the value into the caller's buffer. What this cannot settle is left to the ordinary look-up. */
static int match_into(void *ctx, location candidate) {
    into_search *s = ctx;
    if (location_kind_of(candidate) != LOCATION_VALUE) return 1;
    s->done = vlog_value_read(s->store->log, candidate, s->key, s->key_size, s->buf, s->cap, &s->value_size, NULL) ==
              CAIRN_OK;
    return 1;
}

static at_once get_into_at_once(cairn *store, key_hash hash, const void *key, size_t key_size, void *buf, size_t cap,
                                size_t *value_size) {
    into_search s = {.store = store, .key = key, .key_size = key_size, .buf = buf, .cap = cap};
    location where;
    int rc = hash_index_find(store->index, hash.index, match_into, &s, &where);
    if (rc != 1 || !s.done) return rc == 0 ? AT_ONCE_ABSENT : AT_ONCE_NOT;
    *value_size = s.value_size;
    return AT_ONCE_DONE;
}

static int check_room(uint64_t size, size_t cap, size_t *value_size, cairn_error *error) {
    *value_size = size;
    if (size <= cap) return CAIRN_OK;
    return status_set(error, CAIRN_TOO_SMALL, "a value of %llu bytes into a buffer of %zu", (unsigned long long)size,
                      cap);
}

static int copy_into(const cached_value *v, void *buf, size_t cap, size_t *value_size, cairn_error *error) {
    int rc = check_room(v->value_size, cap, value_size, error);
    if (rc == CAIRN_OK && v->value_size > 0) memcpy(buf, cached_data(v), v->value_size);
    return rc;
}

static int read_into(cairn *store, key_hash hash, const store_found *found, void *buf, size_t cap, size_t *value_size,
                     cairn_error *error) {
    int rc = check_room(found->head.header.value_size, cap, value_size, error);
    if (rc != CAIRN_OK) return rc;
    cached_value *v = store_cache_load(store, found);
    if (v == NULL) return store_value_read(store, &found->head, buf, *value_size, 0, error);
    rc = copy_into(v, buf, cap, value_size, error);
    store_cache_keep(store, hash.index, v);
    return rc;
}

/* Inside the epoch. */
static int get_into(cairn *store, const void *key, size_t key_size, void *buf, size_t cap, size_t *value_size,
                    unsigned stripe, cairn_error *error) {
    key_hash hash = store_hash(store, key, key_size);
    const cached_value *v = store_cached(store, hash, key, key_size, stripe);
    if (v != NULL) return copy_into(v, buf, cap, value_size, error);
    at_once way =
        store->cache != NULL ? AT_ONCE_NOT : get_into_at_once(store, hash, key, key_size, buf, cap, value_size);
    if (way == AT_ONCE_DONE) return CAIRN_OK;
    if (way == AT_ONCE_ABSENT) return store_not_found(key, key_size, error);
    store_found found;
    int rc = store_find_present(store, key, key_size, &found, error);
    if (rc == CAIRN_OK) rc = read_into(store, hash, &found, buf, cap, value_size, error);
    store_found_release(&found);
    return rc;
}

int cairn_get_into(cairn *store, const void *key, size_t key_size, void *buf, size_t cap, size_t *value_size,
                   cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && cap > 0) || value_size == NULL)
        return status_set(error, CAIRN_INVALID, "no place for the value");
    *value_size = 0;
    epoch_guard guard = store_enter(store);
    rc = get_into(store, key, key_size, buf, cap, value_size, guard.slot, error);
    store_exit(store, guard);
    return rc;
}

/* ---- Parts ---- */

static void copy_part(const cached_value *v, uint64_t offset, void *buf, size_t len, size_t *got) {
    if (offset >= v->value_size) return;
    *got = min_u64(len, v->value_size - offset);
    if (*got > 0) memcpy(buf, cached_data(v) + offset, *got);
}

static int read_part(cairn *store, key_hash hash, const store_found *found, uint64_t offset, void *buf, size_t len,
                     size_t *got, cairn_error *error) {
    uint64_t size = found->head.header.value_size;
    if (offset >= size) return CAIRN_OK;
    /* A large value is not read as a whole for the sake of a cache that may not keep it. */
    bool worth_it = store_is_resident(store) || size <= FRAME_BYTES;
    cached_value *v = worth_it ? store_cache_load(store, found) : NULL;
    if (v != NULL) {
        copy_part(v, offset, buf, len, got);
        store_cache_keep(store, hash.index, v);
        return CAIRN_OK;
    }
    size_t wanted = min_u64(len, size - offset);
    int rc = store_value_read(store, &found->head, buf, wanted, offset, error);
    if (rc == CAIRN_OK) *got = wanted;
    return rc;
}

int cairn_read(cairn *store, const void *key, size_t key_size, uint64_t offset, void *buf, size_t len, size_t *got,
               cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && len > 0) || got == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *got = 0;
    epoch_guard guard = store_enter(store);
    key_hash hash = store_hash(store, key, key_size);
    const cached_value *v = store_cached(store, hash, key, key_size, guard.slot);
    if (v != NULL) {
        copy_part(v, offset, buf, len, got);
    } else {
        store_found found;
        rc = store_find_present(store, key, key_size, &found, error);
        if (rc == CAIRN_OK) rc = read_part(store, hash, &found, offset, buf, len, got, error);
        store_found_release(&found);
    }
    store_exit(store, guard);
    return rc;
}

/* ---- What is known of a value ---- */

int store_entry_fill(cairn *store, const store_found *found, cairn_entry *entry, cairn_error *error) {
    const record_header *h = &found->head.header;
    *entry = (cairn_entry){.value_size = h->value_size,
                           .stored_size = location_units(found->where) * UNIT_BYTES,
                           .version = h->version,
                           .expires_at_ms = h->expires_at_ms};
    if (h->type != RECORD_STREAM) return CAIRN_OK;
    value_descriptor d;
    int rc = store_descriptor(store, &found->head, &d, error);
    if (rc == CAIRN_OK) entry->stored_size += d.file_size;
    return rc;
}

int cairn_stat(cairn *store, const void *key, size_t key_size, cairn_entry *entry, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_entry result = {0};
    epoch_guard guard = store_enter(store);
    const cached_value *v = store_cached(store, store_hash(store, key, key_size), key, key_size, guard.slot);
    if (v != NULL) {
        result = (cairn_entry){.value_size = v->value_size,
                               .stored_size = v->stored_size,
                               .version = v->version,
                               .expires_at_ms = v->expires_at_ms};
    } else {
        store_found found;
        rc = store_find_present(store, key, key_size, &found, error);
        if (rc == CAIRN_OK) rc = store_entry_fill(store, &found, &result, error);
        store_found_release(&found);
    }
    store_exit(store, guard);
    return rc == CAIRN_OK ? store_copy_result(entry, &result, sizeof result, error) : rc;
}

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

static int get_found(cairn *store, const store_found *found, void **value, size_t *value_size, cairn_error *error) {
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
    uint8_t *record; /* NULL: the candidate is too long to be read by the way */
} whole_search;

/* Matches by reading the whole record, so that a small value costs one read. What this cannot settle (damage, length)
 * is left to the ordinary look-up. */
static int match_whole(void *ctx, location candidate) {
    whole_search *s = ctx;
    free(s->record);
    s->record = NULL;
    if (location_units(candidate) * UNIT_BYTES > READ_AT_ONCE_BYTES || location_kind_of(candidate) == LOCATION_STREAM) {
        return 1;
    }
    int rc = vlog_record_read(s->store->log, candidate, &s->header, &s->record, NULL);
    if (rc != CAIRN_OK) return 1;
    return s->header.key_size == s->key_size && memcmp(record_key(s->record), s->key, s->key_size) == 0;
}

/* true: done, *value is set. */
static bool get_at_once(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size) {
    whole_search s = {.store = store, .key = key, .key_size = key_size};
    location where;
    key_hash hash = key_hash_of(&store->identity.secret, key, key_size, store->hash_mask);
    int rc = hash_index_find(store->index, hash.index, match_whole, &s, &where);
    if (rc == 1 && s.record != NULL) {
        *value = with_base(s.record + s.header.header_size, s.record);
        *value_size = s.header.value_size;
        return true;
    }
    free(s.record);
    return false;
}

int cairn_get(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if (value == NULL || value_size == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *value = NULL;
    *value_size = 0;
    epoch_guard guard = epoch_enter(store->readers);
    if (!get_at_once(store, key, key_size, value, value_size)) {
        store_found found;
        rc = store_find_present(store, key, key_size, STORE_HEAD_BYTES, &found, error);
        if (rc == CAIRN_OK) rc = get_found(store, &found, value, value_size, error);
        store_found_release(&found);
    }
    epoch_exit(store->readers, guard);
    return rc;
}

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
    if (location_kind_of(candidate) == LOCATION_STREAM) return 1;
    s->done = vlog_value_read(s->store->log, candidate, s->key, s->key_size, s->buf, s->cap, &s->value_size, NULL) ==
              CAIRN_OK;
    return 1;
}

static bool get_into_at_once(cairn *store, const void *key, size_t key_size, void *buf, size_t cap,
                             size_t *value_size) {
    into_search s = {.store = store, .key = key, .key_size = key_size, .buf = buf, .cap = cap};
    location where;
    key_hash hash = key_hash_of(&store->identity.secret, key, key_size, store->hash_mask);
    if (hash_index_find(store->index, hash.index, match_into, &s, &where) != 1 || !s.done) return false;
    *value_size = s.value_size;
    return true;
}

int cairn_get_into(cairn *store, const void *key, size_t key_size, void *buf, size_t cap, size_t *value_size,
                   cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && cap > 0) || value_size == NULL)
        return status_set(error, CAIRN_INVALID, "no place for the value");
    *value_size = 0;
    epoch_guard guard = epoch_enter(store->readers);
    if (get_into_at_once(store, key, key_size, buf, cap, value_size)) {
        epoch_exit(store->readers, guard);
        return CAIRN_OK;
    }
    store_found found;
    rc = store_find_present(store, key, key_size, STORE_HEAD_BYTES, &found, error);
    if (rc == CAIRN_OK) {
        uint64_t size = found.head.header.value_size;
        *value_size = size;
        if (size > cap) {
            rc = status_set(error, CAIRN_TOO_SMALL, "a value of %llu bytes into a buffer of %zu",
                            (unsigned long long)size, cap);
        } else {
            rc = store_value_read(store, &found.head, buf, size, 0, error);
        }
    }
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    return rc;
}

int cairn_read(cairn *store, const void *key, size_t key_size, uint64_t offset, void *buf, size_t len, size_t *got,
               cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    if ((buf == NULL && len > 0) || got == NULL) return status_set(error, CAIRN_INVALID, "no place for the value");
    *got = 0;
    store_found found;
    epoch_guard guard = epoch_enter(store->readers);
    rc = store_find_present(store, key, key_size, STORE_HEAD_BYTES, &found, error);
    if (rc == CAIRN_OK && offset < found.head.header.value_size) {
        size_t size = min_u64(len, found.head.header.value_size - offset);
        rc = store_value_read(store, &found.head, buf, size, offset, error);
        if (rc == CAIRN_OK) *got = size;
    }
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    return rc;
}

/* What the value takes in the log and, when it has one, in its own file. */
static int stored_size(cairn *store, const store_found *found, uint64_t *size, cairn_error *error) {
    *size = location_units(found->where) * UNIT_BYTES;
    if (found->head.header.type != RECORD_STREAM) return CAIRN_OK;
    value_descriptor d;
    int rc = store_descriptor(store, &found->head, &d, error);
    if (rc == CAIRN_OK) *size += d.file_size;
    return rc;
}

int cairn_stat(cairn *store, const void *key, size_t key_size, cairn_entry *entry, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc != CAIRN_OK) return rc;
    cairn_entry result = {0};
    store_found found;
    epoch_guard guard = epoch_enter(store->readers);
    rc = store_find_present(store, key, key_size, STORE_HEAD_BYTES, &found, error);
    if (rc == CAIRN_OK) {
        result.value_size = found.head.header.value_size;
        result.version = found.head.header.version;
        result.expires_at_ms = found.head.header.expires_at_ms;
        rc = stored_size(store, &found, &result.stored_size, error);
    }
    store_found_release(&found);
    epoch_exit(store->readers, guard);
    return rc == CAIRN_OK ? store_copy_result(entry, &result, sizeof result, error) : rc;
}

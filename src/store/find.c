/* From a key to its record. The key in the record decides; damaged candidates hide no other one. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <string.h>

typedef struct search {
    cairn *store;
    const void *key;
    size_t key_size;
    uint64_t now_ms; /* 0: the store's, where it matters */
    store_found *found;
    int damage; /* CAIRN_CORRUPT when a candidate could not be read */
    cairn_error error;
} search;

static int match(void *ctx, location candidate) {
    search *s = ctx;
    vlog_head *head = &s->found->head;
    vlog_head_release(head);
    size_t want = STORE_HEAD_BYTES;
    if (location_holds(candidate) == LOCATION_PACKED) want = sizeof head->inline_bytes;
    int rc = vlog_head_read(s->store->log, candidate, want, head, &s->error);
    if (rc == CAIRN_CORRUPT) {
        s->damage = rc;
        return 0;
    }
    if (rc != CAIRN_OK) return rc;
    return head->header.key_size == s->key_size && memcmp(vlog_head_key(head), s->key, s->key_size) == 0;
}

static void begin(search *s) {
    s->found->where = LOCATION_NONE;
    s->found->expired = false;
    s->found->head.bytes = s->found->head.inline_bytes;
}

/* rc: 1 with found->where set, 0, or a code. */
static int finish(search *s, int rc, cairn_error *error) {
    store_found *found = s->found;
    if (rc == 1) {
        uint64_t expires = found->head.header.expires_at_ms;
        if (expires != 0) found->expired = expires <= (s->now_ms != 0 ? s->now_ms : store_now(s->store));
        return CAIRN_OK;
    }
    found->where = LOCATION_NONE;
    if (rc == 0 && s->damage == CAIRN_OK) return CAIRN_OK;
    if (rc == CAIRN_NO_MEMORY && s->error.code != CAIRN_NO_MEMORY) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a look-up");
    }
    if (error != NULL) *error = s->error;
    return rc == 0 ? s->damage : rc;
}

int store_find(cairn *store, key_hash hash, const void *key, size_t key_size, store_found *found, cairn_error *error) {
    search s = {.store = store, .key = key, .key_size = key_size, .found = found};
    begin(&s);
    return finish(&s, hash_index_find(store->index, hash.index, match, &s, &found->where), error);
}

int store_find_among(cairn *store, const location *list, size_t count, uint64_t now_ms, const void *key,
                     size_t key_size, store_found *found, cairn_error *error) {
    search s = {.store = store, .key = key, .key_size = key_size, .now_ms = now_ms, .found = found};
    int rc = 0;
    begin(&s);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        found->where = list[i];
        rc = match(&s, list[i]);
    }
    return finish(&s, rc, error);
}

void store_found_release(store_found *found) { vlog_head_release(&found->head); }

int store_not_found(const void *key, size_t key_size, cairn_error *error) {
    return status_set_key(error, CAIRN_NOT_FOUND, "no such key", key, key_size);
}

int store_find_present(cairn *store, const void *key, size_t key_size, store_found *found, cairn_error *error) {
    int rc = store_find(store, store_hash(store, key, key_size), key, key_size, found, error);
    if (rc != CAIRN_OK || (found->where != LOCATION_NONE && !found->expired)) return rc;
    return store_not_found(key, key_size, error);
}

int store_descriptor(cairn *store, const vlog_head *head, value_descriptor *d, cairn_error *error) {
    uint8_t bytes[VALUE_DESCRIPTOR_BYTES];
    CHECK(head->header.type == RECORD_STREAM);
    int rc = vlog_payload_read(store->log, head, bytes, sizeof bytes, 0, error);
    if (rc != CAIRN_OK) return rc;
    if (value_descriptor_decode(d, bytes, head->header.value_size)) return CAIRN_OK;
    return vlog_damaged(error, head->segment, head->offset, head, "a record that names a value file is damaged");
}

int store_stream_open(cairn *store, const vlog_head *head, value_file **file, cairn_error *error) {
    value_descriptor d;
    *file = NULL;
    int rc = store_descriptor(store, head, &d, error);
    return rc == CAIRN_OK ? value_file_open(file, vlog_value_env(store->log), &d, error) : rc;
}

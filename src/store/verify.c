/* Verifying a whole store: all bytes of the log, all value files, that every key resolves, and the ordered index. */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

typedef struct verification {
    cairn *store;
    cairn_verify_options options;
    vlog_verify log;
    cairn_progress progress;
} verification;

static void report(void *ctx, const cairn_error *what, const void *key, size_t key_size) {
    verification *v = ctx;
    if (v->options.damage != NULL) v->options.damage(what, key, key_size, v->options.ctx);
}

static int advance(void *ctx, uint64_t bytes) {
    verification *v = ctx;
    v->progress.done += bytes;
    if (v->progress.total < v->progress.done) v->progress.total = v->progress.done;
    return v->options.progress == NULL ? 0 : v->options.progress(&v->progress, v->options.ctx);
}

/* Whether the index names this record and it counts; dead ones may have lost their file, and so may one that expired
 * and that a replay has brought back. */
static bool is_live(cairn *store, location where, const vlog_head *head) {
    store_found found;
    key_hash hash = store_hash(store, vlog_head_key(head), head->header.key_size);
    int rc = store_find(store, hash, vlog_head_key(head), head->header.key_size, &found, NULL);
    store_found_release(&found);
    return rc == CAIRN_OK && found.where == where && !found.expired;
}

static int verify_stream(void *ctx, location where, const vlog_head *head, cairn_error *error) {
    verification *v = ctx;
    value_file *file = NULL;
    if (!is_live(v->store, where, head)) return CAIRN_OK;
    int rc = store_stream_open(v->store, head, &file, error);
    if (rc != CAIRN_OK) return rc;
    const value_verify verify = {.progress = advance, .ctx = v, .bytes = &v->log.bytes};
    rc = value_file_verify(file, vlog_head_key(head), head->header.key_size, &verify, error);
    value_file_close(file);
    return rc;
}

/* Inside the epoch. Every location that the index holds leads to a record whose key has that hash. Payloads were read
 * with the log. */
static int verify_entry(verification *v, uint64_t hash, location where, cairn_error *error) {
    cairn *store = v->store;
    vlog_head head;
    cairn_error what = {0};
    int rc = vlog_head_read(store->log, where, STORE_HEAD_BYTES, &head, &what);
    if (rc == CAIRN_OK) {
        const record_header *h = &head.header;
        key_hash of_key = store_hash(store, vlog_head_key(&head), h->key_size);
        if (of_key.index != hash || (h->type != RECORD_PUT && h->type != RECORD_STREAM)) {
            rc = vlog_damaged(&what, head.segment, head.offset, &head, "the index names a record of another key");
        }
    }
    if (rc == CAIRN_CORRUPT) {
        v->log.damaged++;
        report(v, &what, NULL, 0);
        rc = CAIRN_OK;
    } else if (rc != CAIRN_OK && error != NULL) {
        *error = what;
    }
    vlog_head_release(&head);
    return rc;
}

typedef struct pair {
    uint64_t hash;
    location where;
} pair;
typedef struct pairs {
    pair *list;
    size_t count, capacity;
} pairs;

static int collect_pair(void *ctx, uint64_t hash, location where) {
    pairs *p = ctx;
    pair *grown = array_with_room(p->list, &p->capacity, p->count, sizeof *grown, 1024);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    p->list = grown;
    p->list[p->count++] = (pair){hash, where};
    return 0;
}

/* Shard by shard: a copy under the stripe, then the reading without it. */
static int verify_index(verification *v, cairn_error *error) {
    pairs p = {0};
    int rc = CAIRN_OK;
    for (unsigned shard = 0; rc == CAIRN_OK && shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        p.count = 0;
        epoch_guard guard = epoch_enter(v->store->readers); /* what is in the list stays where it is */
        hash_index_lock(v->store->index, any_hash);
        rc = hash_index_visit_shard(v->store->index, shard, collect_pair, &p);
        hash_index_unlock(v->store->index, any_hash);
        if (rc != CAIRN_OK) rc = status_set(error, rc, "no memory to verify the index");
        for (size_t i = 0; rc == CAIRN_OK && i < p.count; i++) {
            rc = verify_entry(v, p.list[i].hash, p.list[i].where, error);
        }
        epoch_exit(v->store->readers, guard);
        if (rc == CAIRN_OK && advance(v, 0) != 0) rc = status_set(error, CAIRN_CANCELLED, "verification was cancelled");
    }
    free(p.list);
    return rc;
}

/* Damaged it counts, and is built anew. */
static int verify_ordered(verification *v, cairn_error *error) {
    uint64_t generation;
    cairn_error what;
    ordered *file = store_ordered_enter(v->store, &generation);
    if (file == NULL) return CAIRN_OK;
    int rc = ordered_verify(file, &what);
    store_ordered_leave(v->store);
    if (rc == CAIRN_CORRUPT) {
        v->log.damaged++;
        report(v, &what, NULL, 0);
        store_ordered_lose(v->store, generation, &what);
        rc = CAIRN_OK;
    } else if (rc != CAIRN_OK && error != NULL) {
        *error = what;
    }
    return rc;
}

int cairn_verify(cairn *store, const cairn_verify_options *options, cairn_verify_result *result, cairn_error *error) {
    verification v = {.store = store};
    cairn_verify_result counted = {0};
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_copy_result(result, &counted, sizeof counted, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&v.options, sizeof v.options, options, error);
    if (rc != CAIRN_OK) return rc;
    vlog_usage usage = vlog_usage_get(store->log);
    v.progress.total = usage.record_bytes + atomic_load(&store->stream_bytes);
    v.log = (vlog_verify){.damage = report, .progress = advance, .stream = verify_stream, .ctx = &v};
    rc = vlog_verify_all(store->log, &v.log, error);
    if (rc == CAIRN_OK) rc = verify_index(&v, error);
    if (rc == CAIRN_OK) rc = verify_ordered(&v, error);
    if (rc != CAIRN_OK) return rc;
    counted = (cairn_verify_result){.records = v.log.records, .bytes = v.log.bytes, .damaged = v.log.damaged};
    return store_copy_result(result, &counted, sizeof counted, error);
}

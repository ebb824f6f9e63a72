/* Values as streams. A short one is kept in memory and becomes an ordinary record; a longer one goes to a file of its
 * own, outside the order of commits, and is published by one small record when the file is durable. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_MAX ((size_t)4 << 20)
#define BUFFER_FIRST ((size_t)64 << 10)

struct cairn_writer {
    cairn *store;
    void *key;
    size_t key_size;
    cairn_put_options options;
    uint8_t *buffer;
    size_t used, capacity, buffer_max;
    value_writer *file; /* NULL: all is in the buffer */
    int failed;         /* code of the first failure */
    cairn_error error;  /* and what it said */
};

static int open_once(cairn *store, value_writer **file, cairn_error *error) {
    uint64_t id;
    pack_options packing;
    int rc = store_reserve_keep(store, error);
    if (rc == CAIRN_OK) rc = vlog_new_file_id(store->log, &id, error);
    if (rc != CAIRN_OK) return rc;
    return value_writer_open(file, vlog_value_env(store->log), id, VALUE_TABLE_MEMORY_MAX,
                             vlog_file_packing(store->log, &packing), error);
}

static int open_file(cairn *store, value_writer **file, cairn_error *error) {
    int rc = open_once(store, file, error);
    while (rc == CAIRN_FULL && store_make_room(store)) {
        rc = open_once(store, file, error);
    }
    return rc;
}

/* Rule 12: when it was a sync that failed, the handle writes nothing more. */
void store_file_give_up(cairn *store, value_writer *file) {
    if (value_writer_sync_failed(file)) vlog_sync_failed(store->log);
    value_writer_abort(file);
}

vlog_record store_file_record(uint8_t payload[VALUE_DESCRIPTOR_BYTES], const value_descriptor *d) {
    value_descriptor_encode(payload, d);
    return (vlog_record){.type = RECORD_STREAM,
                         .payload = payload,
                         .payload_size = VALUE_DESCRIPTOR_BYTES,
                         .value_size = d->value_size,
                         .value_file = d->id,
                         .file_packed = d->codec != CODEC_RAW};
}

/* Makes the file durable and publishes it; without success nothing of it is left. Takes the file over. */
static int publish(cairn *store, value_writer *file, const void *key, size_t key_size, const cairn_put_options *o,
                   cairn_error *error) {
    value_descriptor d;
    uint8_t payload[VALUE_DESCRIPTOR_BYTES];
    int rc = value_writer_finish(file, key, key_size, &d, error);
    if (rc == CAIRN_OK) {
        vlog_record r = store_file_record(payload, &d);
        uint64_t before = vlog_appended_place(store->log);
        rc = store_apply(store, &r, key, key_size, o, d.file_size, NULL, error);
        /* When the record may be in the log and only its sync failed, the file must stay. */
        if (rc != CAIRN_OK && vlog_failed(store->log) && vlog_appended_place(store->log) != before) {
            value_writer_close(file);
            return rc;
        }
    }
    if (rc == CAIRN_OK) {
        value_writer_close(file);
    } else {
        store_file_give_up(store, file);
    }
    return rc;
}

static int write_file(cairn *store, const void *value, size_t value_size, value_writer **file, cairn_error *error) {
    int rc = open_file(store, file, error);
    if (rc != CAIRN_OK) return rc;
    rc = value_writer_write(*file, value, value_size, error);
    if (rc != CAIRN_OK) store_file_give_up(store, *file);
    return rc;
}

int store_put_in_file(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                      const cairn_put_options *options, cairn_error *error) {
    value_writer *file = NULL;
    int rc = write_file(store, value, value_size, &file, error);
    return rc == CAIRN_OK ? publish(store, file, key, key_size, options, error) : rc;
}

int store_file_make(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                    value_writer **file, value_descriptor *d, cairn_error *error) {
    int rc = write_file(store, value, value_size, file, error);
    if (rc != CAIRN_OK) return rc;
    rc = value_writer_finish(*file, key, key_size, d, error);
    if (rc != CAIRN_OK) store_file_give_up(store, *file);
    return rc;
}

static void free_writer(cairn_writer *w) {
    atomic_fetch_sub(&w->store->children, 1);
    free(w->key);
    free(w->buffer);
    free(w);
}

int cairn_writer_open(cairn *store, const void *key, size_t key_size, const cairn_put_options *options,
                      cairn_writer **writer, cairn_error *error) {
    cairn_put_options o;
    if (writer == NULL) return status_set(error, CAIRN_INVALID, "no place for the writer");
    *writer = NULL;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_check_key(key, key_size, error);
    if (rc == CAIRN_OK) rc = store_copy_put_options(&o, options, error);
    if (rc != CAIRN_OK) return rc;
    if (vlog_failed(store->log)) return status_set(error, CAIRN_FAILED, "an earlier sync failed: reopen the store");
    cairn_writer *w = calloc(1, sizeof *w);
    if (w != NULL) w->key = malloc(key_size);
    if (w == NULL || w->key == NULL) {
        free(w);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a writer");
    }
    memcpy(w->key, key, key_size);
    w->store = store;
    w->key_size = key_size;
    w->options = o;
    w->buffer_max = min_u64(BUFFER_MAX, vlog_payload_max(store->log));
    atomic_fetch_add(&store->children, 1);
    *writer = w;
    return CAIRN_OK;
}

static int buffer_reserve(cairn_writer *w, size_t size, cairn_error *error) {
    if (size <= w->capacity) return CAIRN_OK;
    size_t capacity = max_u64(w->capacity, BUFFER_FIRST);
    while (capacity < size)
        capacity *= 2;
    capacity = min_u64(capacity, max_u64(w->buffer_max, size));
    uint8_t *grown = realloc(w->buffer, capacity);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to buffer a value");
    w->buffer = grown;
    w->capacity = capacity;
    return CAIRN_OK;
}

static int write_on(cairn_writer *w, const void *data, size_t size, cairn_error *error) {
    int rc;
    if (w->file == NULL && size <= w->buffer_max - w->used) {
        rc = buffer_reserve(w, w->used + size, error);
        if (rc == CAIRN_OK && size > 0) memcpy(w->buffer + w->used, data, size);
        if (rc == CAIRN_OK) w->used += size;
        return rc;
    }
    if (w->file == NULL) {
        rc = open_file(w->store, &w->file, error);
        if (rc == CAIRN_OK) rc = value_writer_write(w->file, w->buffer, w->used, error);
        if (rc != CAIRN_OK) return rc;
        free(w->buffer);
        w->buffer = NULL;
        w->used = w->capacity = 0;
    }
    uint64_t written = value_writer_size(w->file), quota = w->store->options.max_bytes;
    if (size > CAIRN_VALUE_SIZE_MAX - written) {
        return status_set(error, CAIRN_TOO_BIG, "a value of more than 2^56 bytes");
    }
    /* Not when it may still shrink; the rest is judged at commit. */
    if (quota != 0 && written > quota && size > 0 && w->store->options.compression != CAIRN_COMPRESSION_ZSTD) {
        return status_set(error, CAIRN_FULL, "the value alone is above the quota of %llu bytes",
                          (unsigned long long)quota);
    }
    return value_writer_write(w->file, data, size, error);
}

int cairn_writer_write(cairn_writer *w, const void *data, size_t size, cairn_error *error) {
    if (w == NULL || (data == NULL && size > 0)) return status_set(error, CAIRN_INVALID, "no writer or no data");
    int rc = store_check(w->store, error);
    if (rc != CAIRN_OK) return rc;
    if (w->failed == CAIRN_OK) {
        w->failed = write_on(w, data, size, &w->error);
    }
    if (w->failed != CAIRN_OK && error != NULL) *error = w->error;
    return w->failed;
}

int cairn_writer_commit(cairn_writer *w, cairn_error *error) {
    if (w == NULL) return status_set(error, CAIRN_INVALID, "no writer");
    int rc = store_check(w->store, error);
    if (rc == CAIRN_OK && w->failed != CAIRN_OK) {
        if (error != NULL) *error = w->error;
        rc = w->failed;
    }
    if (rc != CAIRN_OK) {
        cairn_writer_abort(w);
        return rc;
    }
    if (w->file != NULL) {
        rc = publish(w->store, w->file, w->key, w->key_size, &w->options, error);
    } else {
        rc = store_put_in_log(w->store, w->key, w->key_size, w->buffer, w->used, &w->options, error);
    }
    free_writer(w);
    return rc;
}

void cairn_writer_abort(cairn_writer *w) {
    if (w == NULL) return;
    if (store_check(w->store, NULL) == CAIRN_OK) {
        if (w->file != NULL) store_file_give_up(w->store, w->file);
    }
    free_writer(w);
}

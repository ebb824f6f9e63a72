#include "src/store/batch_list.h"

#include "src/base/array.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

int cairn_batch_new(cairn_batch **batch) {
    if (batch == NULL) return CAIRN_INVALID;
    *batch = calloc(1, sizeof **batch);
    return *batch != NULL ? CAIRN_OK : CAIRN_NO_MEMORY;
}

void cairn_batch_free(cairn_batch *b) {
    if (b == NULL) return;
    for (size_t i = 0; i < b->count; i++) {
        free(b->changes[i].bytes);
    }
    free(b->changes);
    free(b);
}

static int add(cairn_batch *b, const void *key, size_t key_size, const void *value, size_t value_size, bool removes) {
    batch_change *grown = array_with_room(b->changes, &b->capacity, b->count, sizeof *grown, 16);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    b->changes = grown;
    uint8_t *bytes = value_size < SIZE_MAX - key_size ? malloc(key_size + value_size) : NULL;
    if (bytes == NULL) return CAIRN_NO_MEMORY;
    memcpy(bytes, key, key_size);
    if (value_size > 0) memcpy(bytes + key_size, value, value_size);
    b->changes[b->count++] =
        (batch_change){.bytes = bytes, .value_size = value_size, .key_size = (uint32_t)key_size, .removes = removes};
    return CAIRN_OK;
}

static int check_and_add(cairn_batch *b, const void *key, size_t key_size, const void *value, size_t value_size,
                         bool removes) {
    if (b == NULL || (value == NULL && value_size > 0)) return CAIRN_INVALID;
    if (value_size > CAIRN_VALUE_SIZE_MAX) return CAIRN_TOO_BIG;
    int rc = store_check_key(key, key_size, NULL);
    if (rc != CAIRN_OK) return rc;
    rc = add(b, key, key_size, value, value_size, removes);
    if (rc != CAIRN_OK) b->failed = rc;
    return rc;
}

int cairn_batch_put(cairn_batch *b, const void *key, size_t key_size, const void *value, size_t value_size) {
    return check_and_add(b, key, key_size, value, value_size, false);
}

int cairn_batch_delete(cairn_batch *b, const void *key, size_t key_size) {
    return check_and_add(b, key, key_size, NULL, 0, true);
}

/* From a found record to its value, wherever that lies: in the log, or in a file of its own. */
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>

/* `file` is NULL when the value lies in the log. */
static int read_from(cairn *store, const vlog_head *head, value_file *file, void *buf, uint64_t size, uint64_t offset,
                     cairn_error *error) {
    if (file != NULL) return value_file_read(file, buf, size, offset, error);
    return vlog_payload_read(store->log, head, buf, size, offset, error);
}

static int open_file(cairn *store, const vlog_head *head, value_file **file, cairn_error *error) {
    *file = NULL;
    return head->header.type == RECORD_STREAM ? store_stream_open(store, head, file, error) : CAIRN_OK;
}

int store_value_read(cairn *store, const vlog_head *head, void *buf, uint64_t size, uint64_t offset,
                     cairn_error *error) {
    value_file *file;
    int rc = open_file(store, head, &file, error);
    if (rc == CAIRN_OK) rc = read_from(store, head, file, buf, size, offset, error);
    value_file_close(file);
    return rc;
}

int store_value_load(cairn *store, const vlog_head *head, size_t lead, uint8_t **out, cairn_error *error) {
    uint64_t size = head->header.value_size;
    value_file *file;
    int rc = open_file(store, head, &file, error);
    if (rc != CAIRN_OK) return rc;
    uint8_t *memory = size < SIZE_MAX - lead ? malloc(lead + size + 1) : NULL; /* also for an empty value */
    if (memory == NULL) {
        rc = status_set(error, CAIRN_NO_MEMORY, "no memory for a value of %llu bytes", (unsigned long long)size);
    } else {
        rc = read_from(store, head, file, memory + lead, size, 0, error);
    }
    value_file_close(file);
    if (rc == CAIRN_OK) {
        *out = memory;
    } else {
        free(memory);
    }
    return rc;
}

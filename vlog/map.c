/* Values in place. A mapping has an open file of its own, so that it outlives what the cache of open files does. */
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>

struct vlog_mapping {
    os_file *file;
    const void *data;
    size_t size;
};

static int map_payload(vlog *log, const vlog_head *head, vlog_mapping *m, cairn_error *error) {
    segment_name name = segment_name_of(head->segment);
    uint64_t offset = head->offset + head->header.header_size, end = offset + head->header.stored_size;
    os_file_info info;
    int rc = os_file_open(log->options.dir, name.text, OS_READ_ONLY, &m->file);
    if (rc == 0) rc = os_file_info_get(m->file, &info);
    if (rc != 0) return status_os(error, rc, "cannot open segment %s", name.text);
    /* A mapping beyond the end would fault when it is read. */
    if (info.size < end) return vlog_damaged(error, head->segment, info.size, head, "the file ends inside a value");
    rc = os_file_map(m->file, offset, head->header.stored_size, &m->data);
    if (rc != 0) return status_os(error, rc, "cannot map segment %s", name.text);
    m->size = head->header.stored_size;
    const uint8_t *table = head->bytes + record_table_offset(head->header.key_size);
    uint64_t bad = frames_verify(table, m->data, m->size);
    if (bad == UINT64_MAX) return CAIRN_OK;
    return vlog_damaged(error, head->segment, offset + bad * FRAME_BYTES, head, "a value is damaged");
}

int vlog_map(vlog *log, const vlog_head *head, vlog_mapping **mapping, const void **data, cairn_error *error) {
    vlog_mapping *m = calloc(1, sizeof *m);
    if (m == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a mapping");
    int rc = map_payload(log, head, m, error);
    if (rc != CAIRN_OK) {
        vlog_unmap(m);
        return rc;
    }
    *mapping = m;
    *data = m->data;
    return CAIRN_OK;
}

void vlog_unmap(vlog_mapping *m) {
    if (m == NULL) return;
    if (m->data != NULL) os_file_unmap(m->file, m->data, m->size);
    if (m->file != NULL) os_file_close(m->file);
    free(m);
}

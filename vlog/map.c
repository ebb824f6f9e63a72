/* Values in place: in the window that all views of a segment share (vlog/viewed.h); or, where there can be none, each
 * in a mapping with an open file of its own, so that it outlives what the cache of open files does. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SHORT 432u /* longer ones are compared in the ordinary way */

struct vlog_mapping {
    os_file *file;
    const void *data;
    size_t size;
};

static int verify(const vlog_head *head, const void *data, cairn_error *error) {
    const uint8_t *table = head->bytes + record_table_offset(head->header.key_size);
    uint64_t bad = frames_verify(table, data, head->header.stored_size);
    if (bad == UINT64_MAX) return CAIRN_OK;
    return vlog_damaged(error, head->segment, head->offset + head->header.header_size + bad * FRAME_BYTES, head,
                        "a value is damaged");
}

/* ---- In a mapping of its own ---- */

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
    return verify(head, m->data, error);
}

static int map_alone(vlog *log, const vlog_head *head, vlog_mapping **mapping, const void **data, cairn_error *error) {
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

/* ---- In the segment's window ---- */

int vlog_map(vlog *log, const vlog_head *head, vlog_mapping **mapping, const void **data, cairn_error *error) {
    segment *s = head->segment;
    const record_header *h = &head->header;
    const void *record;
    *mapping = NULL;
    if (s->no_window) return map_alone(log, head, mapping, data, error);
    int shown =
        viewed_show(&s->viewed, head->file, s->granules, head->offset, h->header_size + h->stored_size, &record);
    if (shown != 0) return map_alone(log, head, mapping, data, error); /* which says what is wrong */
    const void *payload = (const uint8_t *)record + h->header_size;
    int rc = verify(head, payload, error);
    if (rc != CAIRN_OK) return rc;
    viewed_mark(atomic_load(&s->viewed), head->offset);
    *data = payload;
    return CAIRN_OK;
}

int vlog_map_seen(vlog *log, location where, const void *key, size_t key_size, vlog_seen *seen) {
    segment *s = segment_map_find(&log->map, location_address(where));
    if (s == NULL || key_size > KEY_SHORT) return VLOG_UNSEEN;
    uint64_t offset = segment_offset(s, where);
    const viewed_table *viewed = atomic_load_explicit(&s->viewed, memory_order_acquire);
    uint8_t bytes[RECORD_FIXED_BYTES + KEY_SHORT];
    size_t size = min_u64(RECORD_FIXED_BYTES + key_size, location_units(where) * UNIT_BYTES);
    if (!viewed_is_marked(viewed, offset) || !viewed_copy(viewed, bytes, size, offset)) return VLOG_UNSEEN;
    record_header h;
    record_fields(&h, bytes);
    if (h.key_size != key_size || memcmp(record_key(bytes), key, key_size) != 0) return 0;
    *seen = (vlog_seen){.held = vlog_hold(s),
                        .data = viewed_at(viewed, offset + h.header_size),
                        .size = h.stored_size,
                        .expires_at_ms = h.expires_at_ms};
    return 1;
}

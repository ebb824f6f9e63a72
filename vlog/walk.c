#include "vlog/walk.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"

#include <stdlib.h>

#define BUFFER_BYTES (RECORD_HEADER_MAX) /* so that any header fits */
#define STEP_SMALL ((size_t)4096)
#define STEP_LARGE ((size_t)256 << 10)

int walker_init(walker *w, const segment *s, os_file *file, uint64_t from, uint64_t limit, cairn_error *error) {
    os_file_info info;
    *w = (walker){.segment = s, .file = file, .offset = from, .next = from};
    int rc = os_file_info_get(file, &info);
    if (rc != 0) return status_os(error, rc, "cannot look at segment %s", segment_name_of(s).text);
    w->limit = min_u64(min_u64(limit, info.size), segment_capacity(s));
    w->buffer = malloc(max_u64(min_u64(BUFFER_BYTES, w->limit > from ? w->limit - from : 0), 1));
    if (w->buffer == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to walk a segment");
    return CAIRN_OK;
}

void walker_release(walker *w) {
    free(w->buffer);
    w->buffer = NULL;
}

/* Has at least `size` bytes at `offset` in the buffer, or all up to the limit; reads `step` where it must read. */
static int fill(walker *w, uint64_t offset, size_t size, size_t step, cairn_error *error) {
    uint64_t available = offset < w->limit ? w->limit - offset : 0;
    size = min_u64(size, available);
    bool there = offset >= w->buffer_offset && offset - w->buffer_offset <= w->buffer_have &&
                 w->buffer_have - (offset - w->buffer_offset) >= size;
    if (there) return CAIRN_OK;
    size_t got = 0;
    int rc = os_file_read(w->file, w->buffer, min_u64(max_u64(step, size), available), offset, &got);
    if (rc != 0) {
        return status_os(error, rc, "cannot read segment %s at offset %llu", segment_name_of(w->segment).text,
                         (unsigned long long)offset);
    }
    w->buffer_offset = offset;
    w->buffer_have = got;
    return CAIRN_OK;
}

/* Decodes the record at w->offset: 1 or 0 or a code. */
static int decode_here(walker *w, size_t step, cairn_error *error) {
    size_t need = RECORD_FIXED_BYTES;
    for (;;) {
        int rc = fill(w, w->offset, need, step, error);
        if (rc != CAIRN_OK) return rc;
        uint64_t available = w->offset < w->limit ? w->limit - w->offset : 0;
        const uint8_t *bytes = w->buffer + (w->offset - w->buffer_offset);
        size_t have = w->offset < w->limit ? w->buffer_have - (w->offset - w->buffer_offset) : 0;
        record_check check = record_decode(&w->header, bytes, have, available, w->segment->seed + w->offset);
        if (check == RECORD_VALID) {
            w->bytes = bytes;
            w->next = w->offset + w->header.units * UNIT_BYTES;
            return 1;
        }
        if (check == RECORD_INVALID || w->header.header_size <= have) return 0;
        need = w->header.header_size;
    }
}

int walker_next(walker *w, cairn_error *error) {
    /* Behind a large record the next header is read alone; among small ones many come along. */
    size_t step = w->next - w->offset >= RECORD_LARGE_BYTES ? STEP_SMALL : STEP_LARGE;
    w->offset = w->next;
    return decode_here(w, step, error);
}

int walker_resync(walker *w, cairn_error *error) {
    for (w->offset += UNIT_BYTES; w->offset < w->limit; w->offset += UNIT_BYTES) {
        int rc = fill(w, w->offset, RECORD_SKIP_HEADER_BYTES, STEP_LARGE, error);
        if (rc != CAIRN_OK) return rc;
        size_t at = w->offset - w->buffer_offset;
        if (w->buffer_have - at < RECORD_SKIP_HEADER_BYTES) return 0;
        if (le32_get(w->buffer + at + 8) != RECORD_MAGIC) continue;
        rc = decode_here(w, STEP_LARGE, error);
        if (rc != 0) return rc;
    }
    w->next = w->offset;
    return 0;
}

/* Appending: a record gets its place, version and offset, and is written, under one lock. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

/* A value may hold up the others for the time of one write: some 10 milliseconds at this size. */
#define PAYLOAD_MAX ((uint64_t)32 << 20)
#define FRAMES_MAX (PAYLOAD_MAX / FRAME_BYTES)

uint64_t vlog_payload_max(const vlog *log) { return min_u64(PAYLOAD_MAX, log->options.segment_bytes / 4); }

/* The first append of a session makes sure that no version of it can have been given out before, nor will be again. */
static int start_session(vlog *log, cairn_error *error) {
    if (log->started) return CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    if (rc == CAIRN_OK) log->started = true;
    return rc;
}

static int raise_ceiling(vlog *log, cairn_error *error) {
    if (atomic_load(&log->next_version) < atomic_load(&log->version_ceiling)) return CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

/* A failed write is undone; where even that fails, nothing more can be appended safely. */
static int cut_back(vlog *log, os_file *file, int write_rc, cairn_error *error) {
    segment *s = log->active;
    int rc = status_os(error, write_rc, "cannot append to segment %016llx.seg at offset %llu",
                       (unsigned long long)s->id, (unsigned long long)atomic_load(&s->end));
    if (error != NULL) {
        error->segment = s->id;
        error->offset = atomic_load(&s->end);
    }
    if (os_file_truncate(file, atomic_load(&s->end)) != 0) (void)vlog_fail(log);
    return rc;
}

static uint8_t zeros[BLOCK_BYTES]; /* never written */

/* Writes [SKIP and its gap] header payload padding at the end of the active segment. */
static int write_record(vlog *log, const record_header *h, const uint8_t *header, const vlog_record *r,
                        const uint8_t *skip, uint64_t gap, cairn_error *error) {
    segment *s = log->active;
    os_file *file = NULL;
    int rc = segment_file(&log->files, s, &file, error);
    if (rc != CAIRN_OK) return rc;
    uint64_t padding = h->units * UNIT_BYTES - h->header_size - r->payload_size;
    struct iovec iov[16];
    int count = 0;
    if (gap > 0) {
        iov[count++] = (struct iovec){(void *)(uintptr_t)skip, RECORD_SKIP_HEADER_BYTES};
        if (gap > RECORD_SKIP_HEADER_BYTES) iov[count++] = (struct iovec){zeros, gap - RECORD_SKIP_HEADER_BYTES};
    }
    iov[count++] = (struct iovec){(void *)(uintptr_t)header, h->header_size};
    if (r->payload_size > 0) iov[count++] = (struct iovec){(void *)(uintptr_t)r->payload, r->payload_size};
    while (padding > 0) {
        CHECK(count < 16);
        size_t piece = min_u64(padding, sizeof zeros);
        iov[count++] = (struct iovec){zeros, piece};
        padding -= piece;
    }
    int os_rc = os_file_writev(file, iov, count, atomic_load(&s->end));
    return os_rc == 0 ? CAIRN_OK : cut_back(log, file, os_rc, error);
}

static void note_in_footer(vlog *log, const record_header *h, const vlog_record *r, uint64_t offset) {
    footer_builder_add(&log->builder, &(footer_entry){.type = h->type,
                                                      .flags = h->flags,
                                                      .hash = r->hash,
                                                      .offset = offset,
                                                      .units = h->units,
                                                      .place = h->place,
                                                      .version = h->version,
                                                      .value_file = r->value_file});
}

static int append_locked(vlog *log, record_header *h, const vlog_record *r, const uint64_t *frames, uint8_t *encoded,
                         vlog_appended *out, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    int rc = vlog_make_room(log, h->units, error);
    if (rc == CAIRN_OK) rc = start_session(log, error);
    if (rc == CAIRN_OK) rc = raise_ceiling(log, error);
    if (rc != CAIRN_OK) return rc;
    if (footer_builder_reserve(&log->builder) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for the footer");
    }
    segment *s = log->active;
    uint64_t tail = atomic_load(&s->end);
    uint64_t offset = record_align(tail, h->units);
    uint64_t gap = offset - tail, place = atomic_load(&log->next_place);
    uint64_t durable = atomic_load(&log->durable_place);
    uint8_t skip[RECORD_SKIP_HEADER_BYTES];
    if (gap > 0) record_encode_skip(skip, gap / UNIT_BYTES, place++, durable, s->seed + tail);
    h->place = place;
    h->version = atomic_load(&log->next_version);
    h->durable_place = durable;
    record_encode(encoded, h, r->key, frames, s->seed + offset);
    rc = write_record(log, h, encoded, r, skip, gap, error);
    if (rc != CAIRN_OK) return rc;

    if (gap > 0) {
        record_header skipped = {.type = RECORD_SKIP, .units = gap / UNIT_BYTES, .place = place - 1};
        note_in_footer(log, &skipped, &(vlog_record){0}, tail);
    }
    note_in_footer(log, h, r, offset);
    atomic_store(&s->end, offset + h->units * UNIT_BYTES);
    atomic_fetch_add(&log->appended_bytes, gap + h->units * UNIT_BYTES);
    atomic_store(&log->next_version, h->version + 1);
    atomic_store(&log->next_place, place + 1);
    location_kind kind = r->type == RECORD_STREAM ? LOCATION_STREAM : LOCATION_VALUE;
    *out = (vlog_appended){place, h->version, segment_location(s, offset, h->units, kind)};
    return CAIRN_OK;
}

int vlog_append(vlog *log, const vlog_record *r, vlog_appended *out, cairn_error *error) {
    CHECK(r->payload_size <= vlog_payload_max(log) && r->key_size >= 1 && r->key_size <= RECORD_KEY_MAX);
    uint64_t frames[FRAMES_MAX];
    frames_compute(frames, r->payload, r->payload_size);
    record_header h = {.type = r->type,
                       .flags = r->flags,
                       .key_size = r->key_size,
                       .value_size = r->value_size,
                       .stored_size = r->payload_size};
    record_layout(&h);
    uint8_t small[BLOCK_BYTES];
    uint8_t *encoded = h.header_size <= sizeof small ? small : malloc(h.header_size);
    if (encoded == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the header of a record");
    os_mutex_lock(&log->append_lock);
    int rc = append_locked(log, &h, r, frames, encoded, out, error);
    os_mutex_unlock(&log->append_lock);
    if (encoded != small) free(encoded);
    return rc;
}

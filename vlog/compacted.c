#include "vlog/compacted.h"

#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

/* Larger writes are no faster, and a kernel may not be preempted in one. They begin on multiples of it in the file, for
 * each of which the page cache then has one large page instead of several. */
#define STAGING_BYTES ((size_t)64 << 10)

struct vlog_output {
    vlog *log;
    segment *segment;
    os_file *file;
    footer_builder builder;
    uint8_t *staging; /* what comes behind `written`, not yet in the file */
    size_t staged;
    uint64_t written, place, kept;
    bool any_large;
};

/* ---- Reading for a copy ---- */

location vlog_entry_location(const segment *s, const footer_entry *e) {
    return segment_location(s, e->offset, e->units, vlog_kind_of(e->type, e->flags));
}

static int verify_payload(vlog *log, const vlog_head *head, const uint8_t *payload, cairn_error *error) {
    const record_header *h = &head->header;
    if (h->codec == CODEC_RAW) {
        uint64_t bad = frames_verify(head->bytes + record_table_offset(h->key_size), payload, h->stored_size);
        if (bad == UINT64_MAX) return CAIRN_OK;
        return vlog_damaged(error, head->segment, head->offset + h->header_size + bad * FRAME_BYTES, head,
                            "a value is damaged");
    }
    uint8_t *scratch = malloc(FRAME_BYTES);
    int rc = scratch != NULL ? CAIRN_OK : status_set(error, CAIRN_NO_MEMORY, "no memory to read a frame");
    for (uint64_t done = 0; rc == CAIRN_OK && done < h->value_size; done += FRAME_BYTES) {
        rc = vlog_payload_read(log, head, scratch, min_u64(FRAME_BYTES, h->value_size - done), done, error);
    }
    free(scratch);
    return rc;
}

int vlog_record_raw(vlog *log, segment *s, uint64_t offset, uint64_t units, uint8_t *buf, record_header *header,
                    cairn_error *error) {
    os_file *file = NULL;
    uint64_t length = units * UNIT_BYTES;
    size_t got = 0;
    int rc = segment_file(&log->files, s, &file, error);
    if (rc != CAIRN_OK) return rc;
    int os_rc = os_file_read(file, buf, length, offset, &got); /* once: not what makes a part warm */
    if (os_rc != 0) {
        return status_os(error, os_rc, "cannot read segment %s at offset %llu", segment_name_of(s).text,
                         (unsigned long long)offset);
    }
    if (got < length) return vlog_damaged(error, s, offset + got, NULL, "the file ends inside a record");
    if (record_decode(header, buf, length, length, s->seed + offset) != RECORD_VALID || header->units != units) {
        return vlog_damaged(error, s, offset, NULL, "the header of a record is damaged");
    }
    vlog_head head = {
        .header = *header, .segment = s, .file = file, .offset = offset, .bytes = buf, .have = header->header_size};
    return verify_payload(log, &head, buf + header->header_size, error);
}

/* ---- Writing ---- */

int vlog_compacted_reserve(vlog *log, cairn_error *error) {
    segment **grown =
        array_with_room(log->compacted, &log->compacted_capacity, log->compacted_count, sizeof *grown, 16);
    if (grown == NULL)
        return status_set(error, CAIRN_NO_MEMORY, "no memory for %zu segments", log->compacted_count + 1);
    log->compacted = grown;
    return CAIRN_OK;
}

static void output_free(vlog_output *o) {
    atomic_store(&o->log->output_bytes, 0);
    if (o->file != NULL) os_file_close(o->file);
    footer_builder_release(&o->builder);
    free(o->staging);
    free(o);
}

void vlog_output_abandon(vlog_output *o) {
    if (o == NULL) return;
    /* A leftover otherwise. */
    if (o->file != NULL) (void)os_unlink(o->log->options.dir, segment_name_of(o->segment).text);
    segment_free(o->segment);
    output_free(o);
}

/* A run that no other segment gets before this one is listed: the next one is looked for behind it. */
static int take_run(vlog *log, manifest_segment *row, cairn_error *error) {
    os_mutex_lock(&log->manifest_lock);
    int rc = manifest_place_run(&log->manifest, row->granules, &row->base_granule);
    if (rc == CAIRN_OK) log->manifest.next_granule = row->base_granule + row->granules;
    os_mutex_unlock(&log->manifest_lock);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "the address space of the store is used up");
}

int vlog_output_open(vlog_output **out, vlog *log, uint64_t bytes_max, cairn_error *error) {
    manifest_segment row = {.state = SEGMENT_SEALED, .flags = SEGMENT_COMPACTED};
    row.granules = round_up(SEGMENT_DATA_OFFSET + bytes_max + BLOCK_BYTES, GRANULE_BYTES) / GRANULE_BYTES;
    int rc = vlog_new_file_id(log, &row.id, error);
    if (rc == CAIRN_OK) rc = take_run(log, &row, error);
    if (rc != CAIRN_OK) return rc;
    vlog_output *o = calloc(1, sizeof *o);
    if (o != NULL) o->log = log;
    if (o != NULL) o->segment = segment_new(&row, log->options.salt, log->options.no_windows);
    if (o != NULL) o->staging = malloc(STAGING_BYTES);
    if (o == NULL || o->segment == NULL || o->staging == NULL) {
        if (o != NULL) segment_free(o->segment);
        if (o != NULL) output_free(o);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a compacted segment");
    }
    o->written = SEGMENT_DATA_OFFSET;
    o->place = 1;
    footer_builder_init(&o->builder, SEGMENT_DATA_OFFSET);
    segment_name name = segment_name_of(o->segment);
    int os_rc = os_file_open(log->options.dir, name.text, OS_CREATE | OS_EXCLUSIVE | OS_GROWS, &o->file);
    if (os_rc != 0) {
        rc = status_os(error, os_rc, "cannot create segment %s", name.text);
        vlog_output_abandon(o);
        return rc;
    }
    *out = o;
    return CAIRN_OK;
}

uint64_t vlog_output_bytes(const vlog_output *o) { return o->written + o->staged - SEGMENT_DATA_OFFSET; }

static int write_error(const vlog_output *o, int os_rc, cairn_error *error) {
    return status_os(error, os_rc, "cannot write segment %s at offset %llu", segment_name_of(o->segment).text,
                     (unsigned long long)o->written);
}

static int write_out(vlog_output *o, const uint8_t *bytes, size_t size, cairn_error *error) {
    int os_rc = size == 0 ? 0 : os_file_write(o->file, bytes, size, o->written);
    if (os_rc != 0) return write_error(o, os_rc, error);
    o->written += size;
    atomic_store(&o->log->output_bytes, o->written);
    return CAIRN_OK;
}

static int flush(vlog_output *o, cairn_error *error) {
    int rc = write_out(o, o->staging, o->staged, error);
    if (rc == CAIRN_OK) o->staged = 0;
    return rc;
}

/* What is staged ends before the next multiple: there it is written. */
static int append_bytes(vlog_output *o, const uint8_t *bytes, size_t size, cairn_error *error) {
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && size > 0) {
        size_t room = STAGING_BYTES - (o->written + o->staged) % STAGING_BYTES, piece = min_u64(size, room);
        if (room == STAGING_BYTES && size >= STAGING_BYTES) { /* nothing is staged */
            piece = size / STAGING_BYTES * STAGING_BYTES;
            rc = write_out(o, bytes, piece, error);
        } else {
            memcpy(o->staging + o->staged, bytes, piece);
            o->staged += piece;
            if (piece == room) rc = flush(o, error);
        }
        bytes += piece;
        size -= piece;
    }
    return rc;
}

/* The bytes are a whole record but for the checksum of its header. */
static int add(vlog_output *o, uint8_t *record, uint32_t header_size, footer_entry e, uint64_t *offset,
               cairn_error *error) {
    *offset = o->written + o->staged;
    if (footer_builder_reserve(&o->builder, 1) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    }
    record_rebind(record, header_size, o->segment->seed + *offset);
    o->any_large = o->any_large || e.units * UNIT_BYTES >= RECORD_LARGE_BYTES;
    e.offset = *offset;
    e.place = o->place++;
    footer_entry_leave_batch(&e);
    footer_builder_add(&o->builder, &e);
    return append_bytes(o, record, e.units * UNIT_BYTES, error);
}

int vlog_output_add(vlog_output *o, uint8_t *record, const record_header *header, const footer_entry *entry,
                    uint64_t *offset, cairn_error *error) {
    footer_entry e = *entry;
    value_descriptor d;
    if (header->type == RECORD_STREAM) { /* an entry that was made from a record lacks it */
        if (!value_descriptor_decode(&d, record + header->header_size, header->value_size)) {
            return status_set(error, CAIRN_CORRUPT, "a record that names a value file is damaged");
        }
        e.value_file = d.id;
    }
    return add(o, record, header->header_size, e, offset, error);
}

int vlog_output_add_tombstone(vlog_output *o, const uint8_t *record, const record_header *header,
                              const footer_entry *entry, cairn_error *error) {
    /* Without COLLIDES it would count for every key with that hash, of which a batch may have known nothing yet when it
     * wrote its part. */
    bool collides = (header->flags & (RECORD_COLLIDES | RECORD_BATCH)) != 0;
    record_header h = {.type = RECORD_DELETE,
                       .flags = collides ? RECORD_COLLIDES : 0,
                       .key_size = header->key_size,
                       .place = header->place,
                       .version = header->version,
                       .durable_place = header->durable_place};
    record_layout(&h);
    uint8_t *bytes = calloc(h.units, UNIT_BYTES);
    if (bytes == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a tombstone");
    record_encode(bytes, &h, record_key(record), NULL, NULL, 0);
    footer_entry e = footer_entry_of(&h, 0);
    e.hash = entry->hash;
    uint64_t offset;
    int rc = add(o, bytes, h.header_size, e, &offset, error);
    o->kept += h.units * UNIT_BYTES;
    free(bytes);
    return rc;
}

/* The whole file, durable, and its name. */
static int finish_file(vlog_output *o, cairn_error *error) {
    segment *s = o->segment;
    const uint8_t *footer = NULL;
    uint8_t block[BLOCK_BYTES];
    size_t size = 0;
    int rc = flush(o, error);
    if (rc != CAIRN_OK) return rc;
    if (footer_build(&o->builder, s->seed, &footer, &size, &s->trailer_checksum) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a footer");
    }
    CHECK(o->written <= segment_capacity(s));
    atomic_store(&s->end, o->written);
    s->sealed_size = o->written + size;
    s->first_place = o->builder.first_place;
    s->end_place = o->builder.end_place;
    s->lowest_version = o->builder.lowest_version;
    s->kept = o->kept;
    rc = write_out(o, footer, size, error);
    if (rc != CAIRN_OK) return rc;
    segment_encode_header(block, s, o->log->options.store_id);
    int os_rc = os_file_write(o->file, block, sizeof block, 0);
    if (os_rc != 0) return write_error(o, os_rc, error);
    os_rc = os_file_truncate(o->file, s->sealed_size); /* what is allocated beyond the end */
    if (os_rc != 0) return write_error(o, os_rc, error);
    os_rc = os_file_sync(o->file);
    if (os_rc == 0) os_rc = os_dir_sync(o->log->options.dir);
    if (os_rc == 0) return CAIRN_OK;
    (void)vlog_fail(o->log);
    return status_os(error, os_rc, "cannot sync segment %s", segment_name_of(s).text);
}

static manifest_segment row_of(const segment *s) {
    return (manifest_segment){.id = s->id,
                              .generation = s->generation,
                              .base_granule = s->base_granule,
                              .granules = s->granules,
                              .state = SEGMENT_SEALED,
                              .flags = SEGMENT_COMPACTED,
                              .sealed_size = s->sealed_size,
                              .trailer_checksum = s->trailer_checksum,
                              .first_place = s->first_place,
                              .end_place = s->end_place,
                              .lowest_version = s->lowest_version,
                              .record_end = atomic_load(&s->end),
                              .kept = s->kept};
}

/* Manifest lock held. */
static int list_locked(vlog_output *o, cairn_error *error) {
    manifest *m = &o->log->manifest;
    uint64_t features = m->features;
    if (manifest_reserve(m) != CAIRN_OK || segment_map_reserve(&o->log->map, o->segment) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a segment");
    }
    manifest_segment row = row_of(o->segment);
    m->features |= FEATURE_COMPACTED | (o->any_large ? FEATURE_ON_UNITS : 0);
    manifest_add(m, &row);
    int rc = vlog_store_manifest(o->log, error);
    if (rc == CAIRN_OK) return rc;
    manifest_remove(m, o->segment->id);
    m->features = features;
    return rc;
}

/* So that nothing fails once the manifest lists it: as long as memory did not know it, deletions of what it holds might
 * go. Nobody else adds compacted segments. */
static int reserve(vlog *log, cairn_error *error) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    int rc = vlog_compacted_reserve(log, error);
    os_mutex_unlock(&log->append_lock);
    return rc;
}

/* Into memory, for which there is room. */
static void adopt(const vlog_output *o) {
    vlog *log = o->log;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    CHECK(segment_map_add(&log->map, o->segment) == CAIRN_OK);
    log->compacted[log->compacted_count++] = o->segment;
    atomic_fetch_add(&log->record_bytes, atomic_load(&o->segment->end) - SEGMENT_DATA_OFFSET);
    atomic_fetch_add(&log->footer_bytes, segment_footer_bytes(o->segment));
    os_mutex_unlock(&log->append_lock);
}

int vlog_output_publish(vlog_output *o, segment **published, cairn_error *error) {
    vlog *log = o->log;
    int rc = vlog_failed(log) ? vlog_refuse_failed(error) : finish_file(o, error);
    if (rc == CAIRN_OK) rc = reserve(log, error);
    if (rc == CAIRN_OK) {
        os_mutex_lock(&log->manifest_lock);
        rc = list_locked(o, error);
        os_mutex_unlock(&log->manifest_lock);
    }
    if (rc == CAIRN_OK) {
        adopt(o);
        *published = o->segment;
        output_free(o);
        return rc;
    }
    /* After a failed sync the new manifest may be the one on disk and list this file, so it stays. */
    if (vlog_failed(log)) {
        segment_free(o->segment);
        output_free(o);
    } else {
        vlog_output_abandon(o);
    }
    return rc;
}

/* Reading records by their location. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

#define NEAR_BYTES ((size_t)16 << 10)

int vlog_damaged(cairn_error *error, const segment *s, uint64_t offset, const vlog_head *head, const char *what) {
    char text[KEY_TEXT_SIZE] = "";
    if (head != NULL) (void)key_text(text, vlog_head_key(head), head->header.key_size);
    return status_set_at(error, CAIRN_CORRUPT, s->id, offset, "%s in segment %s at offset %llu%s%s%s", what,
                         segment_name_of(s).text, (unsigned long long)offset, head != NULL ? ", key '" : "", text,
                         head != NULL ? "'" : "");
}

int vlog_locate(vlog *log, location where, segment **s, os_file **file, uint64_t *offset, cairn_error *error) {
    *s = segment_map_find(&log->map, location_address(where));
    if (*s == NULL) {
        return status_set(error, CAIRN_CORRUPT, "the index names address %llx, where no segment lies",
                          (unsigned long long)location_address(where));
    }
    *offset = segment_offset(*s, where);
    if (*offset < SEGMENT_DATA_OFFSET || location_units(where) * UNIT_BYTES > segment_capacity(*s) - *offset) {
        return vlog_damaged(error, *s, *offset, NULL, "the index names a record beyond the end");
    }
    return segment_file(&log->files, *s, file, error);
}

int vlog_read_exactly(segment *s, os_file *file, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    size_t got = 0;
    int rc = segment_read(s, file, buf, size, offset, &got);
    if (rc != 0) {
        rc = status_os(error, rc, "cannot read segment %s at offset %llu", segment_name_of(s).text,
                       (unsigned long long)offset);
        if (error != NULL) {
            error->segment = s->id;
            error->offset = offset;
        }
        return rc;
    }
    if (got == size) return CAIRN_OK;
    return vlog_damaged(error, s, offset + got, NULL, "the file ends inside a record");
}

/* Decodes the beginning of a record that the index says is `units` long. */
static record_check decode(record_header *h, const uint8_t *bytes, size_t size, const segment *s, uint64_t offset,
                           uint64_t units) {
    record_check check = record_decode(h, bytes, size, units * UNIT_BYTES, s->seed + offset);
    if (check == RECORD_VALID && h->units != units) return RECORD_INVALID;
    return check;
}

static int grow_head(vlog_head *head, size_t size, cairn_error *error) {
    uint8_t *grown = malloc(size);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the header of a record");
    if (head->bytes != head->inline_bytes) free(head->bytes);
    head->bytes = grown;
    return CAIRN_OK;
}

int vlog_head_read(vlog *log, location where, size_t want, vlog_head *head, cairn_error *error) {
    head->bytes = head->inline_bytes;
    head->have = 0;
    int rc = vlog_locate(log, where, &head->segment, &head->file, &head->offset, error);
    if (rc != CAIRN_OK) return rc;
    uint64_t units = location_units(where);
    if (record_form_of(head->offset, units) == RECORD_ON_BLOCK) want = max_u64(want, BLOCK_BYTES);
    size_t size = min_u64(units * UNIT_BYTES, max_u64(want, RECORD_FIXED_BYTES));
    for (;;) {
        if (size > sizeof head->inline_bytes) rc = grow_head(head, size, error);
        if (rc == CAIRN_OK) rc = vlog_read_exactly(head->segment, head->file, head->bytes, size, head->offset, error);
        if (rc != CAIRN_OK) return rc;
        head->have = size;
        switch (decode(&head->header, head->bytes, size, head->segment, head->offset, units)) {
        case RECORD_VALID:
            return CAIRN_OK;
        case RECORD_SHORT:
            if (head->header.header_size > size) {
                size = head->header.header_size;
                continue;
            }
            /* fall through */
        default:
            return vlog_damaged(error, head->segment, head->offset, NULL, "the header of a record is damaged");
        }
    }
}

void vlog_head_release(vlog_head *head) {
    if (head->bytes != head->inline_bytes) free(head->bytes);
    head->bytes = head->inline_bytes;
}

void vlog_head_move(vlog_head *to, vlog_head *from) {
    *to = *from;
    if (from->bytes == from->inline_bytes) to->bytes = to->inline_bytes;
    from->bytes = from->inline_bytes;
}

/* One request for each record: behind two that follow each other, whatever lies below reads on. So where the record is
 * too long to be read for the answer, all of it is asked for before its beginning is looked at. */
bool vlog_is_near(vlog *log, location where, uint64_t most) {
    uint8_t beginning[NEAR_BYTES];
    segment *s = NULL;
    os_file *file = NULL;
    uint64_t offset = 0, size = min_u64(location_units(where) * UNIT_BYTES, most);
    if (vlog_locate(log, where, &s, &file, &offset, NULL) != CAIRN_OK || segment_warm(s, offset, size)) return true;
    if (size <= sizeof beginning) return os_file_read_now(file, beginning, size, offset) == 0;
    os_file_will_need(file, offset, size);
    return os_file_read_now(file, beginning, BLOCK_BYTES, offset) == 0;
}

void vlog_read_around(vlog *log, location where, uint64_t bytes) {
    segment *s = NULL;
    os_file *file = NULL;
    uint64_t offset = 0;
    if (vlog_locate(log, where, &s, &file, &offset, NULL) != CAIRN_OK) return;
    uint64_t begin = offset - offset % bytes, end = min_u64(begin + bytes, atomic_load(&s->end));
    if (begin < end) os_file_will_need(file, begin, end - begin);
}

int vlog_head_refresh(vlog *log, vlog_head *head, cairn_error *error) {
    return segment_file(&log->files, head->segment, &head->file, error);
}

static const uint8_t *table_entry(const uint8_t *record, const record_header *h, uint64_t frame) {
    return record + record_table_offset(h->key_size) + 8 * frame;
}

static int bad_frame(const vlog_head *head, uint64_t frame, cairn_error *error) {
    uint64_t offset = head->offset + head->header.header_size + frame * FRAME_BYTES;
    return vlog_damaged(error, head->segment, offset, head, "a value is damaged");
}

/* A frame of which only a part is wanted goes through a buffer. */
static int read_part(const vlog_head *head, uint8_t *out, uint64_t size, uint64_t offset, cairn_error *error) {
    uint64_t frame = offset / FRAME_BYTES, begin = frame * FRAME_BYTES;
    size_t length = min_u64(FRAME_BYTES, head->header.stored_size - begin);
    uint8_t *buffer = malloc(length);
    if (buffer == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to read a frame");
    int rc = vlog_read_exactly(head->segment, head->file, buffer, length,
                               head->offset + head->header.header_size + begin, error);
    if (rc == CAIRN_OK && frames_verify(table_entry(head->bytes, &head->header, frame), buffer, length) != UINT64_MAX) {
        rc = bad_frame(head, frame, error);
    }
    if (rc == CAIRN_OK) memcpy(out, buffer + (offset - begin), size);
    free(buffer);
    return rc;
}

/* Frames that are warm, up to one that is not: a copy of each in one pass with its checksum. *done: bytes of them. */
static int copy_warm(const vlog_head *head, uint8_t *out, uint64_t size, uint64_t offset, uint64_t *done,
                     cairn_error *error) {
    uint64_t begin = head->offset + head->header.header_size + offset, sum;
    size_t piece;
    for (*done = 0; *done < size; *done += piece) {
        uint64_t frame = (offset + *done) / FRAME_BYTES;
        piece = min_u64(FRAME_BYTES, size - *done);
        if (!segment_copy_warm(head->segment, out + *done, piece, begin + *done, &sum)) break;
        if (sum != le64_get(table_entry(head->bytes, &head->header, frame))) return bad_frame(head, frame, error);
    }
    return CAIRN_OK;
}

/* Whole frames go where they are wanted, from the file in pieces that are still in the cache when they are verified. */
static int read_whole(const vlog_head *head, uint8_t *out, uint64_t size, uint64_t offset, cairn_error *error) {
    uint64_t begin = head->offset + head->header.header_size + offset, done;
    int rc = copy_warm(head, out, size, offset, &done, error);
    while (rc == CAIRN_OK && done < size) {
        size_t piece = min_u64(IO_PIECE_BYTES, size - done);
        uint64_t frame = (offset + done) / FRAME_BYTES;
        rc = vlog_read_exactly(head->segment, head->file, out + done, piece, begin + done, error);
        if (rc != CAIRN_OK) return rc;
        uint64_t bad = frames_verify(table_entry(head->bytes, &head->header, frame), out + done, piece);
        if (bad != UINT64_MAX) return bad_frame(head, frame + bad, error);
        done += piece;
    }
    return rc;
}

int vlog_payload_read(vlog *log, const vlog_head *head, void *buf, uint64_t size, uint64_t offset, cairn_error *error) {
    uint64_t stored = record_content_size(&head->header), end = offset + size;
    CHECK(offset <= stored && size <= stored - offset);
    if (head->header.codec != CODEC_RAW) return vlog_packed_read(log, head, buf, size, offset, error);
    uint8_t *out = buf;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && offset < end) {
        uint64_t in_frame = offset % FRAME_BYTES, whole_end = end == stored ? end : end - end % FRAME_BYTES;
        uint64_t piece;
        if (in_frame != 0 || whole_end <= offset) {
            piece = min_u64(FRAME_BYTES - in_frame, end - offset);
            rc = read_part(head, out, piece, offset, error);
        } else {
            piece = whole_end - offset;
            rc = read_whole(head, out, piece, offset, error);
        }
        out += piece;
        offset += piece;
    }
    return rc;
}

/* The record of `units` whose first `have` bytes are at bytes, in an allocation of its whole length: reads the rest,
 * and verifies all of it. */
static int finish_record(vlog *log, vlog_head *head, uint64_t units, uint8_t *bytes, size_t have, cairn_error *error) {
    record_header *h = &head->header;
    record_check check = decode(h, bytes, have, head->segment, head->offset, units);
    if (check == RECORD_SHORT && h->header_size > have) {
        int rc = vlog_read_exactly(head->segment, head->file, bytes + have, h->header_size - have, head->offset + have,
                                   error);
        if (rc != CAIRN_OK) return rc;
        have = h->header_size;
        check = decode(h, bytes, have, head->segment, head->offset, units);
    }
    if (check != RECORD_VALID) {
        return vlog_damaged(error, head->segment, head->offset, NULL, "the header of a record is damaged");
    }
    head->bytes = bytes;
    head->have = have;
    /* What the first read brought is verified as it lies; the rest comes by whole frames. */
    uint64_t there = min_u64(have - h->header_size, h->stored_size);
    if (there < h->stored_size) there -= there % FRAME_BYTES;
    uint8_t *payload = bytes + h->header_size;
    uint64_t bad = frames_verify(table_entry(bytes, h, 0), payload, there);
    if (bad != UINT64_MAX) return bad_frame(head, bad, error);
    if (there == h->stored_size) return CAIRN_OK;
    return vlog_payload_read(log, head, payload + there, h->stored_size - there, there, error);
}

int vlog_record_read(vlog *log, location where, record_header *header, uint8_t **record, cairn_error *error) {
    *record = NULL;
    vlog_head head = {.bytes = NULL};
    int rc = vlog_locate(log, where, &head.segment, &head.file, &head.offset, error);
    if (rc != CAIRN_OK) return rc;
    uint64_t length = location_units(where) * UNIT_BYTES;
    uint8_t *bytes = malloc(length);
    if (bytes == NULL)
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a record of %llu bytes", (unsigned long long)length);
    size_t have = min_u64(length, IO_PIECE_BYTES);
    rc = vlog_read_exactly(head.segment, head.file, bytes, have, head.offset, error);
    if (rc == CAIRN_OK) rc = finish_record(log, &head, location_units(where), bytes, have, error);
    if (rc == CAIRN_OK) {
        *header = head.header;
        *record = bytes;
    } else {
        free(bytes);
    }
    return rc;
}

int vlog_record_read_now(vlog *log, location where, record_header *header, uint8_t **record) {
    *record = NULL;
    vlog_head head = {.bytes = NULL};
    uint64_t length = location_units(where) * UNIT_BYTES;
    if (length > IO_PIECE_BYTES) return VLOG_READ_OTHERWISE;
    if (vlog_locate(log, where, &head.segment, &head.file, &head.offset, NULL) != CAIRN_OK) return VLOG_READ_OTHERWISE;
    uint8_t *bytes = malloc(length);
    if (bytes == NULL) return VLOG_READ_OTHERWISE;
    int rc = VLOG_READ_LATER;
    if (segment_read_now(head.segment, head.file, bytes, length, head.offset) == 0) {
        rc = finish_record(log, &head, location_units(where), bytes, length, NULL);
        if (rc != CAIRN_OK) rc = VLOG_READ_OTHERWISE;
    }
    if (rc == CAIRN_OK) {
        *header = head.header;
        *record = bytes;
    } else {
        free(bytes);
    }
    return rc;
}

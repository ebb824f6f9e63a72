/* Reading values that are stored in compressed frames: only the frames that are touched are fetched and decoded, and
 * what they decode to is verified, so that a fault of the codec is seen as well as one of the disk. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

/* One read of some frames. */
typedef struct packed_read {
    vlog *log;
    const vlog_head *head;
    const dictionary *dictionary;
    uint8_t *out;           /* where the wanted bytes go */
    uint64_t offset, end;   /* of the wanted bytes, in the content */
    uint64_t frame, stored; /* the next frame, and where its stored bytes begin in the payload */
    uint8_t *fetched;       /* IO_PIECE_BYTES, or NULL as long as the head has all that is needed */
    uint8_t *whole;         /* a frame of which only a part is wanted; or NULL */
} packed_read;

static const uint8_t *entry_of(const packed_read *r, uint64_t frame) {
    const record_header *h = &r->head->header;
    return r->head->bytes + record_table_offset(h->key_size) + record_table_step(h->codec) * frame;
}

static uint32_t stored_length(const packed_read *r, uint64_t frame) { return le32_get(entry_of(r, frame) + 8); }

static size_t frame_length(const packed_read *r, uint64_t frame) {
    return min_u64(FRAME_BYTES, r->head->header.value_size - frame * FRAME_BYTES);
}

static int no_memory(cairn_error *error) {
    return status_set(error, CAIRN_NO_MEMORY, "no memory to decompress a value");
}

static int damaged(const packed_read *r, cairn_error *error) {
    uint64_t offset = r->head->offset + r->head->header.header_size + r->stored;
    return vlog_damaged(error, r->head->segment, offset, r->head, "a compressed value is damaged");
}

/* Decodes the next frame from its stored bytes, and gives what is wanted of it. */
static int take_frame(packed_read *r, const uint8_t *stored, cairn_error *error) {
    uint64_t begin = r->frame * FRAME_BYTES, from = max_u64(begin, r->offset);
    size_t length = frame_length(r, r->frame), wanted = min_u64(begin + length, r->end) - from;
    uint8_t *to = r->out + (from - r->offset);
    if (wanted < length) {
        if (r->whole == NULL) r->whole = malloc(FRAME_BYTES);
        if (r->whole == NULL) return no_memory(error);
        to = r->whole;
    }
    uint32_t size = stored_length(r, r->frame);
    int rc = CAIRN_OK;
    if (size == length) {
        memcpy(to, stored, length);
    } else {
        rc = unpack_frame(r->log->packer, r->dictionary, stored, size, to, length);
    }
    if (rc == CAIRN_NO_MEMORY) return no_memory(error);
    if (rc != CAIRN_OK || checksum(to, length, 0) != le64_get(entry_of(r, r->frame))) return damaged(r, error);
    if (to == r->whole) memcpy(r->out + (from - r->offset), to + (from - begin), wanted);
    r->stored += size;
    r->frame++;
    return CAIRN_OK;
}

/* As many whole frames as one piece holds, at least one. */
static int take_piece(packed_read *r, cairn_error *error) {
    uint64_t last = (r->end - 1) / FRAME_BYTES, frame = r->frame;
    size_t size = 0;
    while (frame <= last && size + stored_length(r, frame) <= IO_PIECE_BYTES)
        size += stored_length(r, frame++);
    const vlog_head *head = r->head;
    uint64_t at = head->header.header_size + r->stored;
    const uint8_t *stored = head->bytes + at;
    if (at + size > head->have) {
        if (r->fetched == NULL) r->fetched = malloc(IO_PIECE_BYTES);
        if (r->fetched == NULL) return no_memory(error);
        int rc = vlog_read_exactly(head->segment, head->file, r->fetched, size, head->offset + at, error);
        if (rc != CAIRN_OK) return rc;
        stored = r->fetched;
    }
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && r->frame < frame) {
        size = stored_length(r, r->frame);
        rc = take_frame(r, stored, error);
        stored += size;
    }
    return rc;
}

int vlog_packed_read(vlog *log, const vlog_head *head, void *buf, uint64_t size, uint64_t offset, cairn_error *error) {
    packed_read r = {.log = log, .head = head, .out = buf, .offset = offset, .end = offset + size};
    if (size == 0) return CAIRN_OK;
    int rc = CAIRN_OK;
    if (head->header.codec == CODEC_ZSTD_DICTIONARY) {
        rc = vlog_dictionary(log, head->header.dictionary, &r.dictionary, error);
    }
    for (; r.frame < offset / FRAME_BYTES; r.frame++)
        r.stored += stored_length(&r, r.frame);
    while (rc == CAIRN_OK && r.frame * FRAME_BYTES < r.end) {
        rc = take_piece(&r, error);
    }
    free(r.fetched);
    free(r.whole);
    return rc;
}

/* Reading compressed frames of a value file: only those that are touched are fetched and decoded, and what they decode
 * to is verified, so that a fault of the codec is seen as well as one of the disk.
 *
 * A page of the table is verified as a whole before one of its entries is used: every stored length is at least 1 and
 * at most that of its frame, and all frames lie inside the stored bytes, one behind the other. So what is fetched and
 * decoded is bounded whatever a page says. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/value_reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t stored_length(const uint8_t *entry) { return le32_get(entry + VALUE_ENTRY_LENGTH); }

bool value_packed_page_valid(value_cursor *c, uint64_t before) {
    const value_descriptor *d = &c->file->d;
    uint64_t number = c->page_number, frame = number * VALUE_PAGE_FRAMES_PACKED;
    uint64_t last = min_u64(frame + VALUE_PAGE_FRAMES_PACKED, d->frames);
    uint64_t at = le64_get(c->page + VALUE_PAGE_FIRST);
    if (at > d->stored_size || (number == 0 && at != 0)) return false;
    if (before != VALUE_NO_PAGE && before + 1 == number && at != c->page_end) return false;
    for (uint64_t slot = 0; frame < last; frame++, slot++) {
        uint32_t length = stored_length(c->page + value_page_entry(CODEC_ZSTD, slot));
        if (length == 0 || length > value_frame_length(d->value_size, frame) || length > d->stored_size - at)
            return false;
        at += length;
    }
    if (last == d->frames && at != d->stored_size) return false;
    c->page_end = at;
    return true;
}

/* One read of some frames. */
typedef struct packed_range {
    value_cursor *c;
    uint8_t *out;         /* where the wanted bytes go */
    uint64_t offset, end; /* of the wanted bytes, in the value */
    uint64_t frame;       /* the next one */
} packed_range;

/* Where `frame`, which is in the cursor's page, begins among the stored bytes. */
static uint64_t stored_before(const value_cursor *c, uint64_t frame) {
    uint64_t at = le64_get(c->page + VALUE_PAGE_FIRST);
    for (uint64_t slot = 0; slot < frame % VALUE_PAGE_FRAMES_PACKED; slot++)
        at += stored_length(c->page + value_page_entry(CODEC_ZSTD, slot));
    return at;
}

/* Room in c->stored for as much as a piece of these frames may take. */
static int reserve_stored(value_cursor *c, uint64_t frames, cairn_error *error) {
    size_t size = min_u64(frames, VALUE_PIECE_FRAMES) * FRAME_BYTES;
    if (size <= c->stored_size) return CAIRN_OK;
    free(c->stored);
    c->stored = malloc(size);
    c->stored_size = c->stored != NULL ? size : 0;
    return c->stored != NULL ? CAIRN_OK : value_os_error(error, -ENOMEM, c->file->d.id, 0, "read");
}

/* Decodes the next frame, whose stored bytes begin at `at` in the file, and gives what is wanted of it. */
static int take_frame(packed_range *r, const uint8_t *entry, const uint8_t *stored, uint64_t at, cairn_error *error) {
    value_file *f = r->c->file;
    uint64_t begin = r->frame * FRAME_BYTES, from = max_u64(begin, r->offset);
    size_t length = value_frame_length(f->d.value_size, r->frame), wanted = min_u64(begin + length, r->end) - from;
    uint8_t *to = r->out + (from - r->offset);
    int rc = CAIRN_OK;
    if (wanted < length) {
        rc = value_cursor_frame(r->c, error);
        if (rc != CAIRN_OK) return rc;
        to = r->c->frame;
    }
    rc = unpack_frame(f->packer, NULL, stored, stored_length(entry), to, length);
    if (rc == CAIRN_NO_MEMORY) return value_os_error(error, -ENOMEM, f->d.id, at, "decompress");
    if (rc != CAIRN_OK || checksum(to, length, 0) != le64_get(entry))
        return value_damaged(error, f->d.id, at, "damaged frame of the value");
    if (wanted < length) memcpy(r->out + (from - r->offset), to + (from - begin), wanted);
    r->frame++;
    return CAIRN_OK;
}

/* As many whole frames as one piece, one page and the range have, at least one. */
static int take_piece(packed_range *r, cairn_error *error) {
    value_cursor *c = r->c;
    const uint8_t *entries;
    uint64_t last = (r->end - 1) / FRAME_BYTES, count;
    int rc = value_cursor_entries(c, r->frame, &entries, &count, error);
    if (rc == CAIRN_OK) rc = reserve_stored(c, last - r->frame + 1, error);
    if (rc != CAIRN_OK) return rc;
    count = min_u64(count, last - r->frame + 1);
    const size_t step = record_table_step(CODEC_ZSTD);
    size_t size = 0, frames = 0;
    while (frames < count && stored_length(entries + frames * step) <= c->stored_size - size)
        size += stored_length(entries + frames++ * step);
    uint64_t at = VALUE_FILE_DATA_OFFSET + stored_before(c, r->frame);
    rc = value_read_exactly(c->file, c->stored, size, at, error);
    const uint8_t *stored = c->stored;
    for (size_t i = 0; i < frames && rc == CAIRN_OK; i++) {
        uint32_t length = stored_length(entries + i * step);
        rc = take_frame(r, entries + i * step, stored, at, error);
        stored += length;
        at += length;
    }
    c->done = at - VALUE_FILE_DATA_OFFSET;
    return rc;
}

int value_packed_read(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error) {
    packed_range r = {.c = c, .out = buf, .offset = offset, .end = offset + size, .frame = offset / FRAME_BYTES};
    int rc = CAIRN_OK;
    if (size == 0) return CAIRN_OK;
    while (rc == CAIRN_OK && r.frame * FRAME_BYTES < r.end)
        rc = take_piece(&r, error);
    return rc;
}

/* Reading parts of a value file: table pages, and frames that are raw. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/value_reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t frame_offset(uint64_t frame) { return VALUE_FILE_DATA_OFFSET + frame * FRAME_BYTES; }

int value_read_exactly(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    size_t got = 0;
    int rc = os_file_read(f->file, buf, size, offset, &got);
    if (rc != 0) return value_os_error(error, rc, f->d.id, offset, "read");
    return got == size ? CAIRN_OK : value_damaged(error, f->d.id, offset + got, "the file is cut short");
}

void value_cursor_begin(value_cursor *c, value_file *f) {
    c->file = f;
    c->page_number = VALUE_NO_PAGE;
    c->page_end = c->done = 0;
    c->frame = c->stored = NULL;
    c->stored_size = 0;
}

void value_cursor_end(value_cursor *c) {
    free(c->frame);
    free(c->stored);
}

/* ---- Table ---- */

static int read_page(value_cursor *c, uint64_t number, cairn_error *error) {
    value_file *f = c->file;
    uint64_t offset = f->d.table_offset + number * VALUE_TABLE_PAGE_BYTES, before = c->page_number;
    c->page_number = VALUE_NO_PAGE;
    int rc = value_read_exactly(f, c->page, sizeof c->page, offset, error);
    if (rc != CAIRN_OK) return rc;
    bool valid = value_page_valid(c->page, number, f->seed);
    c->page_number = number;
    if (valid && f->d.codec != CODEC_RAW) valid = value_packed_page_valid(c, before);
    if (valid) return CAIRN_OK;
    c->page_number = VALUE_NO_PAGE;
    return value_damaged(error, f->d.id, offset, "damaged page of the frame table");
}

int value_cursor_entries(value_cursor *c, uint64_t frame, const uint8_t **entries, uint64_t *count,
                         cairn_error *error) {
    const value_descriptor *d = &c->file->d;
    uint64_t in_page = value_page_frames(d->codec), number = frame / in_page, slot = frame % in_page;
    *entries = NULL;
    *count = 0;
    int rc = c->page_number == number ? CAIRN_OK : read_page(c, number, error);
    if (rc != CAIRN_OK) return rc;
    *entries = c->page + value_page_entry(d->codec, slot);
    *count = min_u64(in_page - slot, d->frames - frame);
    return CAIRN_OK;
}

int value_cursor_frame(value_cursor *c, cairn_error *error) {
    if (c->frame == NULL) c->frame = malloc(FRAME_BYTES);
    return c->frame != NULL ? CAIRN_OK : value_os_error(error, -ENOMEM, c->file->d.id, 0, "read");
}

/* ---- Raw frames ---- */

int value_verify_raw(value_file *f, const uint8_t *entries, const void *data, uint64_t size, uint64_t frame,
                     cairn_error *error) {
    uint64_t bad = frames_verify(entries, data, size);
    if (bad == UINT64_MAX) return CAIRN_OK;
    return value_damaged(error, f->d.id, frame_offset(frame + bad), "damaged frame of the value");
}

/* Part of one frame, which is read and verified aside. */
static int read_part(value_cursor *c, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    value_file *f = c->file;
    uint64_t frame = offset / FRAME_BYTES, count;
    size_t length = value_frame_length(f->d.value_size, frame);
    const uint8_t *entries;
    int rc = value_cursor_entries(c, frame, &entries, &count, error);
    if (rc == CAIRN_OK) rc = value_cursor_frame(c, error);
    if (rc == CAIRN_OK) rc = value_read_exactly(f, c->frame, length, frame_offset(frame), error);
    if (rc == CAIRN_OK) rc = value_verify_raw(f, entries, c->frame, length, frame, error);
    if (rc == CAIRN_OK) memcpy(buf, c->frame + offset % FRAME_BYTES, size);
    return rc;
}

/* Whole frames from `offset`, which begins one, straight into buf: as many as one piece and one page have. */
static int read_whole(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, size_t *done, cairn_error *error) {
    value_file *f = c->file;
    uint64_t frame = offset / FRAME_BYTES, count;
    const uint8_t *entries;
    int rc = value_cursor_entries(c, frame, &entries, &count, error);
    if (rc != CAIRN_OK) return rc;
    size_t length = min_u64(size, min_u64(count, VALUE_PIECE_FRAMES) * FRAME_BYTES);
    if (offset + length != f->d.value_size) length -= length % FRAME_BYTES;
    rc = value_read_exactly(f, buf, length, frame_offset(frame), error);
    if (rc == CAIRN_OK) rc = value_verify_raw(f, entries, buf, length, frame, error);
    *done = length;
    return rc;
}

static int read_raw(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error) {
    while (size > 0) {
        size_t in_frame = offset % FRAME_BYTES, done = 0;
        size_t length = value_frame_length(c->file->d.value_size, offset / FRAME_BYTES);
        int rc;
        if (in_frame == 0 && size >= length) {
            rc = read_whole(c, buf, size, offset, &done, error);
        } else {
            done = min_u64(size, length - in_frame);
            rc = read_part(c, buf, done, offset, error);
        }
        if (rc != CAIRN_OK) return rc;
        buf += done;
        offset += done;
        size -= done;
    }
    c->done = offset;
    return CAIRN_OK;
}

/* ---- Both ---- */

int value_cursor_read(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error) {
    const value_descriptor *d = &c->file->d;
    CHECK(offset <= d->value_size && size <= d->value_size - offset);
    if (d->codec == CODEC_RAW) return read_raw(c, buf, size, offset, error);
    return value_packed_read(c, buf, size, offset, error);
}

int value_file_read(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    value_cursor c;
    value_cursor_begin(&c, f);
    int rc = value_cursor_read(&c, buf, size, offset, error);
    value_cursor_end(&c);
    return rc;
}

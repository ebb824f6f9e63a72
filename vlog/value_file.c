/* Reading a value file. Format: vlog/FORMAT.md, "Value file".
 *
 * A value_file does not change once it is open; what a read needs besides (a table page, a frame that is wanted in
 * part) is the call's own. So any number of threads read at once, without a lock. Nothing is cached here: the page
 * cache has the table, and a page costs one checksum of 4 KiB for up to 32 MiB of value. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/value_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_FRAMES                                                                                                   \
    ((uint64_t)4) /* read at once: large enough for the device, and still in the cache to be verified */
#define PIECE_BYTES (PIECE_FRAMES * FRAME_BYTES)

struct value_file {
    os_file *file;
    uint8_t store_id[16];
    uint64_t seed;
    value_descriptor d;
};

/* The table page that was used last. */
typedef struct table_page {
    uint64_t number; /* NO_PAGE: none */
    uint8_t bytes[VALUE_TABLE_PAGE_BYTES];
} table_page;
#define NO_PAGE UINT64_MAX

static uint64_t frame_offset(uint64_t frame) { return VALUE_FILE_DATA_OFFSET + frame * FRAME_BYTES; }

/* All of [offset, offset + size), which the descriptor says is there. */
static int read_exactly(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    size_t got = 0;
    int rc = os_file_read(f->file, buf, size, offset, &got);
    if (rc != 0) return value_os_error(error, rc, f->d.id, offset, "read");
    return got == size ? CAIRN_OK : value_damaged(error, f->d.id, offset + got, "the file is cut short");
}

static int check_header(value_file *f, cairn_error *error) {
    uint8_t block[VALUE_FILE_DATA_OFFSET];
    int rc = read_exactly(f, block, sizeof block, 0, error);
    if (rc != CAIRN_OK) return rc;
    file_header header = value_header(f->store_id, f->d.id, f->seed);
    if (file_header_valid(block, &header)) return CAIRN_OK;
    return value_damaged(error, f->d.id, 0, "damaged header block");
}

static int check_size(value_file *f, cairn_error *error) {
    os_file_info info;
    int rc = os_file_info_get(f->file, &info);
    if (rc != 0) return value_os_error(error, rc, f->d.id, 0, "examine the file");
    if (info.size == f->d.file_size) return CAIRN_OK;
    return value_damaged(error, f->d.id, min_u64(info.size, f->d.file_size), "the file has the wrong size: it differs");
}

int value_file_open(value_file **out, const value_file_env *env, const value_descriptor *d, cairn_error *error) {
    *out = NULL;
    value_file *f = calloc(1, sizeof *f);
    if (f == NULL) return value_os_error(error, -ENOMEM, d->id, 0, "open the file");
    f->d = *d;
    f->seed = file_seed(env->salt, d->id, 0);
    memcpy(f->store_id, env->store_id, sizeof f->store_id);
    char name[FILE_NAME_SIZE];
    file_name(name, d->id, "val");
    int rc = os_file_open(env->dir, name, OS_READ_ONLY, &f->file);
    if (rc == -ENOENT) {
        rc = value_damaged(error, d->id, 0, "the file is missing");
    } else if (rc == -EINVAL) {
        rc = value_damaged(error, d->id, 0, "not a regular file");
    } else if (rc != 0) {
        rc = value_os_error(error, rc, d->id, 0, "open the file");
    } else {
        rc = check_size(f, error);
        if (rc == CAIRN_OK) rc = check_header(f, error);
    }
    if (rc == CAIRN_OK) {
        *out = f;
    } else {
        value_file_close(f);
    }
    return rc;
}

void value_file_close(value_file *f) {
    if (f == NULL) return;
    if (f->file != NULL) os_file_close(f->file);
    free(f);
}

/* ---- Frames ---- */

/* The table's entries from `frame` on, and how many of them there are in this page. */
static int table_entries(value_file *f, table_page *page, uint64_t frame, const uint8_t **entries, uint64_t *count,
                         cairn_error *error) {
    uint64_t number = frame / VALUE_TABLE_PAGE_FRAMES, slot = frame % VALUE_TABLE_PAGE_FRAMES;
    *entries = NULL;
    *count = 0;
    if (page->number != number) {
        uint64_t offset = f->d.table_offset + number * VALUE_TABLE_PAGE_BYTES;
        page->number = NO_PAGE;
        int rc = read_exactly(f, page->bytes, sizeof page->bytes, offset, error);
        if (rc != CAIRN_OK) return rc;
        if (!value_page_valid(page->bytes, number, f->seed))
            return value_damaged(error, f->d.id, offset, "damaged page of the frame table");
        page->number = number;
    }
    *entries = value_page_entries(page->bytes) + 8 * slot;
    *count = min_u64(VALUE_TABLE_PAGE_FRAMES - slot, f->d.frames - frame);
    return CAIRN_OK;
}

/* `size` bytes of the value from the beginning of `frame` on, in whole frames that the entries are for. */
static int verify_frames(value_file *f, const uint8_t *entries, const void *data, uint64_t size, uint64_t frame,
                         cairn_error *error) {
    uint64_t bad = frames_verify(entries, data, size);
    if (bad == UINT64_MAX) return CAIRN_OK;
    return value_damaged(error, f->d.id, frame_offset(frame + bad), "damaged frame of the value");
}

/* Part of one frame, which is read and verified in `*scratch`, allocated on first use. */
static int read_part(value_file *f, table_page *page, uint8_t **scratch, void *buf, size_t size, uint64_t offset,
                     cairn_error *error) {
    uint64_t frame = offset / FRAME_BYTES, begin = frame * FRAME_BYTES, count;
    const uint8_t *entries;
    int rc = table_entries(f, page, frame, &entries, &count, error);
    if (rc != CAIRN_OK) return rc;
    if (*scratch == NULL) *scratch = malloc(FRAME_BYTES);
    if (*scratch == NULL) return value_os_error(error, -ENOMEM, f->d.id, frame_offset(frame), "read");
    size_t length = min_u64(FRAME_BYTES, f->d.value_size - begin);
    rc = read_exactly(f, *scratch, length, frame_offset(frame), error);
    if (rc == CAIRN_OK) rc = verify_frames(f, entries, *scratch, length, frame, error);
    if (rc == CAIRN_OK) memcpy(buf, *scratch + (offset - begin), size);
    return rc;
}

/* Whole frames from `offset`, which begins one, straight into buf: as many as one piece and one page have. */
static int read_whole(value_file *f, table_page *page, uint8_t *buf, size_t size, uint64_t offset, size_t *done,
                      cairn_error *error) {
    uint64_t frame = offset / FRAME_BYTES, count;
    const uint8_t *entries;
    int rc = table_entries(f, page, frame, &entries, &count, error);
    if (rc != CAIRN_OK) return rc;
    size_t length = min_u64(size, min_u64(count, PIECE_FRAMES) * FRAME_BYTES);
    if (offset + length != f->d.value_size) length -= length % FRAME_BYTES;
    rc = read_exactly(f, buf, length, frame_offset(frame), error);
    if (rc == CAIRN_OK) rc = verify_frames(f, entries, buf, length, frame, error);
    *done = length;
    return rc;
}

static int read_range(value_file *f, table_page *page, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error) {
    CHECK(offset <= f->d.value_size && size <= f->d.value_size - offset);
    uint8_t *scratch = NULL;
    int rc = CAIRN_OK;
    while (size > 0 && rc == CAIRN_OK) {
        size_t in_frame = offset % FRAME_BYTES, done = 0;
        size_t frame_length = min_u64(FRAME_BYTES, f->d.value_size - (offset - in_frame));
        if (in_frame == 0 && size >= frame_length) {
            rc = read_whole(f, page, buf, size, offset, &done, error);
        } else {
            done = min_u64(size, frame_length - in_frame);
            rc = read_part(f, page, &scratch, buf, done, offset, error);
        }
        if (rc != CAIRN_OK) break;
        buf += done;
        offset += done;
        size -= done;
    }
    free(scratch);
    return rc;
}

int value_file_read(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error) {
    table_page page;
    page.number = NO_PAGE;
    return read_range(f, &page, buf, size, offset, error);
}

/* ---- Verifying ---- */

static int verify_value(value_file *f, uint8_t *piece, uint64_t *bytes, cairn_error *error) {
    table_page page;
    page.number = NO_PAGE;
    for (uint64_t offset = 0; offset < f->d.value_size;) {
        size_t length = min_u64(PIECE_BYTES, f->d.value_size - offset);
        int rc = read_range(f, &page, piece, length, offset, error);
        if (rc != CAIRN_OK) return rc;
        offset += length;
        *bytes += length;
    }
    return CAIRN_OK;
}

/* The zeros between the value and the table. Nobody reads them, yet a bit that changed here tells of a bad device. */
static int verify_padding(value_file *f, uint8_t *piece, cairn_error *error) {
    uint64_t offset = VALUE_FILE_DATA_OFFSET + f->d.stored_size;
    size_t length = (size_t)(f->d.table_offset - offset);
    if (length == 0) return CAIRN_OK;
    int rc = read_exactly(f, piece, length, offset, error);
    if (rc != CAIRN_OK) return rc;
    for (size_t i = 0; i < length; i++) {
        if (piece[i] != 0) return value_damaged(error, f->d.id, offset + i, "damaged padding");
    }
    return CAIRN_OK;
}

int value_file_verify(value_file *f, const void *key, size_t key_size, uint64_t *bytes, cairn_error *error) {
    uint8_t *piece = malloc(PIECE_BYTES);
    if (piece == NULL) return value_os_error(error, -ENOMEM, f->d.id, 0, "verify");
    size_t trailer_size = (size_t)(f->d.file_size - f->d.trailer_offset);
    CHECK(trailer_size <= PIECE_BYTES);
    int rc = check_size(f, error);
    if (rc == CAIRN_OK) rc = check_header(f, error);
    if (rc == CAIRN_OK) rc = verify_value(f, piece, bytes, error);
    if (rc == CAIRN_OK) rc = verify_padding(f, piece, error);
    if (rc == CAIRN_OK) rc = read_exactly(f, piece, trailer_size, f->d.trailer_offset, error);
    if (rc == CAIRN_OK && !value_trailer_valid(piece, &f->d, key, key_size, f->seed))
        rc = value_damaged(error, f->d.id, f->d.trailer_offset, "damaged trailer, or another key's");
    if (rc == CAIRN_OK) *bytes += f->d.file_size - f->d.value_size;
    free(piece);
    return rc;
}

/* ---- Mapping ---- */

static int verify_mapping(value_file *f, const uint8_t *data, cairn_error *error) {
    table_page page;
    page.number = NO_PAGE;
    for (uint64_t frame = 0, count; frame < f->d.frames; frame += count) {
        const uint8_t *entries;
        int rc = table_entries(f, &page, frame, &entries, &count, error);
        if (rc != CAIRN_OK) return rc;
        uint64_t begin = frame * FRAME_BYTES;
        uint64_t length = min_u64(count * FRAME_BYTES, f->d.value_size - begin);
        rc = verify_frames(f, entries, data + begin, length, frame, error);
        if (rc != CAIRN_OK) return rc;
    }
    return CAIRN_OK;
}

int value_file_map(value_file *f, const void **data, cairn_error *error) {
    CHECK(f->d.value_size > 0);
    const void *mapped;
    int rc = check_size(f, error); /* a page beyond the file's end would kill the process */
    if (rc != CAIRN_OK) return rc;
    rc = os_file_map(f->file, VALUE_FILE_DATA_OFFSET, f->d.value_size, &mapped);
    if (rc != 0) return value_os_error(error, rc, f->d.id, VALUE_FILE_DATA_OFFSET, "map");
    rc = verify_mapping(f, mapped, error);
    if (rc != CAIRN_OK) {
        os_file_unmap(f->file, mapped, f->d.value_size);
        return rc;
    }
    *data = mapped;
    return CAIRN_OK;
}

void value_file_unmap(value_file *f, const void *data) { os_file_unmap(f->file, data, f->d.value_size); }

#include "vlog/value_format.h"

#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"

static const char trailer_magic[8] = {'C', 'A', 'I', 'R', 'N', 'V', 'T', 'R'};

enum trailer_field {
    TRAILER_CHECKSUM = 0,
    TRAILER_MAGIC = 8,
    TRAILER_VALUE_SIZE = 16,
    TRAILER_STORED_SIZE = 24,
    TRAILER_FRAMES = 32,
    TRAILER_TABLE_OFFSET = 40,
    TRAILER_CODEC = 48,
    TRAILER_FRAME_SHIFT = 49,
    TRAILER_KEY_SIZE = 52,
    TRAILER_KEY = 64
};

_Static_assert(8 + 8 * VALUE_PAGE_FRAMES_RAW == VALUE_TABLE_PAGE_BYTES, "a page is a checksum and its entries");
_Static_assert(16 + 12 * VALUE_PAGE_FRAMES_PACKED == VALUE_TABLE_PAGE_BYTES, "or has an offset before them");
_Static_assert(TRAILER_KEY == VALUE_TRAILER_FIXED_BYTES, "the key follows the fixed part");

/* ---- Header block ---- */

file_header value_header(const uint8_t store_id[16], uint64_t id, uint64_t seed) {
    return (file_header){.magic = "CAIRNVAL", .store_id = store_id, .id = id, .seed = seed};
}

/* ---- Table pages ---- */

static uint64_t page_checksum(const uint8_t *page, uint64_t number, uint64_t seed) {
    return checksum(page + 8, VALUE_TABLE_PAGE_BYTES - 8, seed + 16 + number);
}

void value_page_seal(uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed) {
    le64_put(page, page_checksum(page, number, seed));
}

bool value_page_valid(const uint8_t page[VALUE_TABLE_PAGE_BYTES], uint64_t number, uint64_t seed) {
    return le64_get(page) == page_checksum(page, number, seed);
}

/* ---- Trailer ---- */

static uint64_t trailer_checksum(const uint8_t *trailer, uint64_t size, uint64_t seed) {
    return checksum(trailer + TRAILER_MAGIC, size - TRAILER_MAGIC, seed + 1);
}

void value_trailer_encode(uint8_t *out, value_descriptor *d, const void *key, size_t key_size, uint64_t seed) {
    uint64_t size = d->file_size - d->trailer_offset;
    memset(out, 0, size);
    memcpy(out + TRAILER_MAGIC, trailer_magic, sizeof trailer_magic);
    le64_put(out + TRAILER_VALUE_SIZE, d->value_size);
    le64_put(out + TRAILER_STORED_SIZE, d->stored_size);
    le64_put(out + TRAILER_FRAMES, d->frames);
    le64_put(out + TRAILER_TABLE_OFFSET, d->table_offset);
    out[TRAILER_CODEC] = d->codec;
    out[TRAILER_FRAME_SHIFT] = d->frame_shift;
    le32_put(out + TRAILER_KEY_SIZE, (uint32_t)key_size);
    memcpy(out + TRAILER_KEY, key, key_size);
    d->trailer_checksum = trailer_checksum(out, size, seed);
    le64_put(out + TRAILER_CHECKSUM, d->trailer_checksum);
}

bool value_trailer_valid(const uint8_t *in, const value_descriptor *d, const void *key, size_t key_size,
                         uint64_t seed) {
    uint64_t size = d->file_size - d->trailer_offset;
    return le64_get(in + TRAILER_CHECKSUM) == d->trailer_checksum &&
           trailer_checksum(in, size, seed) == d->trailer_checksum &&
           memcmp(in + TRAILER_MAGIC, trailer_magic, sizeof trailer_magic) == 0 &&
           le64_get(in + TRAILER_VALUE_SIZE) == d->value_size && le64_get(in + TRAILER_STORED_SIZE) == d->stored_size &&
           le64_get(in + TRAILER_FRAMES) == d->frames && le64_get(in + TRAILER_TABLE_OFFSET) == d->table_offset &&
           in[TRAILER_CODEC] == d->codec && in[TRAILER_FRAME_SHIFT] == d->frame_shift &&
           round_up(TRAILER_KEY + key_size, 64) == size && le32_get(in + TRAILER_KEY_SIZE) == key_size &&
           memcmp(in + TRAILER_KEY, key, key_size) == 0;
}

/* ---- Errors ---- */

int value_damaged(cairn_error *error, uint64_t id, uint64_t offset, const char *what) {
    return file_damaged(error, id, "val", offset, what);
}

int value_os_error(cairn_error *error, int negative_errno, uint64_t id, uint64_t offset, const char *what) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, "val");
    int code = status_os(error, negative_errno, "%s: cannot %s at offset %llu", name, what, (unsigned long long)offset);
    if (error != NULL) {
        error->segment = id;
        error->offset = offset;
    }
    return code;
}

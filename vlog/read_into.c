/* A whole value in one read, straight into the caller's buffer. Where the payload begins follows from the record's
 * length and the key's; how long it is does so but for the padding. What turns out otherwise costs a second read. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <string.h>

#define AT_ONCE_MAX ((uint64_t)256 << 10)
#define SHORT_MAX ((size_t)16 << 10)

/* What is read, and where it goes. */
typedef struct value_read {
    vlog_head head; /* its bytes: the record's beginning */
    uint64_t length;
    const void *key;
    size_t key_size;
    void *buf;
    size_t cap;
    bool now;   /* only what is in memory, and else ... */
    bool later; /* ... this is set, and the system told */
} value_read;

/* The header size of a record of this place, length and key size that holds a raw value. The padding is less than a
 * unit, or a block where it begins on one; the number of frames is guessed from the shortest payload that fits. */
static uint32_t guess_header_size(uint64_t offset, uint64_t length, size_t key_size) {
    record_form form = record_form_of(offset, length / UNIT_BYTES);
    uint64_t padding = (form == RECORD_ON_BLOCK ? BLOCK_BYTES : UNIT_BYTES) - 1,
             around = record_header_size((uint32_t)key_size, 1, form) + padding;
    return record_header_size((uint32_t)key_size, length > around ? frames_of(length - around) : 0, form);
}

/* The first `size` bytes of the record are at head.bytes: they are the header of this key's value, which fits. */
static bool accept_header(value_read *r, size_t size) {
    vlog_head *head = &r->head;
    record_header *h = &head->header;
    head->have = size;
    return record_decode(h, head->bytes, size, r->length, head->segment->seed + head->offset) == RECORD_VALID &&
           h->type == RECORD_PUT && h->units * UNIT_BYTES == r->length && h->key_size == r->key_size &&
           memcmp(vlog_head_key(head), r->key, r->key_size) == 0 && h->value_size <= r->cap;
}

static bool payload_is_whole(const vlog_head *head, const void *payload) {
    const uint8_t *table = head->bytes + record_table_offset(head->header.key_size);
    return frames_verify(table, payload, head->header.stored_size) == UINT64_MAX;
}

/* What is in memory costs no system call, so header and payload are read one after the other. */
static bool read_warm(vlog *log, value_read *r, uint32_t header_size) {
    vlog_head *head = &r->head;
    size_t got = 0;
    if (segment_read(head->segment, head->file, head->bytes, header_size, head->offset, &got) != 0) return false;
    if (got != header_size || !accept_header(r, header_size)) return false;
    return vlog_payload_read(log, head, r->buf, head->header.stored_size, 0, NULL) == CAIRN_OK;
}

/* The whole record into one piece, or into several. */
static bool fetch(value_read *r, void *to) {
    vlog_head *head = &r->head;
    size_t got = 0;
    if (!r->now)
        return segment_read(head->segment, head->file, to, r->length, head->offset, &got) == 0 && got == r->length;
    r->later = segment_read_now(head->segment, head->file, to, r->length, head->offset) != 0;
    return !r->later;
}

static bool fetch_pieces(value_read *r, const struct iovec *iov, int count) {
    vlog_head *head = &r->head;
    size_t got = r->length;
    int rc = r->now ? os_file_readv_now(head->file, iov, count, head->offset)
                    : os_file_readv(head->file, iov, count, head->offset, &got);
    r->later = r->now && rc != 0;
    if (rc != 0 || got != r->length) return false;
    segment_count_read(head->segment, head->file, head->offset, got);
    return true;
}

/* A short record: one plain read, and a copy that costs less than the pieces of a scattered one. */
static bool read_short(value_read *r) {
    uint8_t bytes[SHORT_MAX];
    vlog_head *head = &r->head;
    head->bytes = bytes;
    if (!fetch(r, bytes)) return false;
    if (!accept_header(r, r->length) || !payload_is_whole(head, bytes + head->header.header_size)) return false;
    if (head->header.value_size > 0) memcpy(r->buf, bytes + head->header.header_size, head->header.value_size);
    return true;
}

/* Payload and padding go into the buffer, so it has room for both: one that may turn out too small stays untouched. */
static bool read_scattered(value_read *r, uint32_t header_size) {
    vlog_head *head = &r->head;
    uint64_t rest = r->length - header_size;
    if (r->cap < rest) return false;
    struct iovec iov[] = {{head->bytes, header_size}, {r->buf, rest}};
    if (!fetch_pieces(r, iov, 2)) return false;
    return accept_header(r, header_size) && head->header.header_size == header_size && payload_is_whole(head, r->buf);
}

static int read_value(vlog *log, location where, value_read *r, uint64_t *value_size, cairn_error *error) {
    vlog_head *head = &r->head;
    r->length = location_units(where) * UNIT_BYTES;
    int rc = vlog_locate(log, where, &head->segment, &head->file, &head->offset, error);
    if (rc != CAIRN_OK) return rc;
    head->bytes = head->inline_bytes;
    uint32_t header_size = guess_header_size(head->offset, r->length, r->key_size);
    bool guessed = header_size <= sizeof head->inline_bytes && header_size < r->length, done = false;
    if (guessed && segment_warm(head->segment, head->offset, r->length)) {
        done = read_warm(log, r, header_size);
    } else if (r->length <= SHORT_MAX) {
        done = read_short(r);
    } else if (guessed && r->length <= AT_ONCE_MAX) {
        done = read_scattered(r, header_size);
    }
    if (!done) return r->later ? VLOG_READ_LATER : VLOG_READ_OTHERWISE;
    *value_size = head->header.value_size;
    return CAIRN_OK;
}

int vlog_value_read(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                    uint64_t *value_size, cairn_error *error) {
    value_read r = {.key = key, .key_size = key_size, .buf = buf, .cap = cap};
    return read_value(log, where, &r, value_size, error);
}

int vlog_value_read_now(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                        uint64_t *value_size) {
    value_read r = {.key = key, .key_size = key_size, .buf = buf, .cap = cap, .now = true};
    return read_value(log, where, &r, value_size, NULL) == CAIRN_OK ? CAIRN_OK
           : r.later                                                ? VLOG_READ_LATER
                                                                    : VLOG_READ_OTHERWISE;
}

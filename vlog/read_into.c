/* A whole value in one read: header into a scratch buffer, payload and padding straight into the caller's, where they
 * fit. Where the payload begins follows from the record's length and the key's; how long it is does so but for the
 * padding. A guess that turns out wrong costs a second read. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <string.h>

#define AT_ONCE_MAX ((uint64_t)256 << 10)
#define SHORT_MAX ((size_t)16 << 10)

/* The header size of a record of this length and key size that holds a raw value. The padding is less than a unit, or a
 * block for a long record; the number of frames is guessed from the shortest payload that fits. */
static uint32_t guess_header_size(uint64_t length, uint32_t key_size) {
    bool on_block = length >= RECORD_BLOCK_ALIGNED_BYTES;
    uint64_t around = record_header_size(key_size, 1, on_block) + (on_block ? BLOCK_BYTES : UNIT_BYTES) - 1;
    return record_header_size(key_size, length > around ? frames_of(length - around) : 0, on_block);
}

/* A short record: one plain read, and a copy that costs less than the pieces of a scattered one. */
static int read_short(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                      uint64_t *value_size) {
    uint8_t bytes[SHORT_MAX];
    uint64_t length = location_units(where) * UNIT_BYTES, offset;
    segment *s;
    os_file *file;
    record_header h;
    size_t got = 0;
    if (vlog_locate(log, where, &s, &file, &offset, NULL) != CAIRN_OK) return VLOG_READ_OTHERWISE;
    if (os_file_read(file, bytes, length, offset, &got) != 0 || got != length) return VLOG_READ_OTHERWISE;
    if (record_decode(&h, bytes, length, length, s->seed + offset) != RECORD_VALID || h.type != RECORD_PUT ||
        h.units * UNIT_BYTES != length || h.key_size != key_size || memcmp(record_key(bytes), key, key_size) != 0 ||
        h.value_size > cap) {
        return VLOG_READ_OTHERWISE;
    }
    if (frames_verify(bytes + record_table_offset(h.key_size), bytes + h.header_size, h.stored_size) != UINT64_MAX) {
        return VLOG_READ_OTHERWISE;
    }
    if (h.value_size > 0) memcpy(buf, bytes + h.header_size, h.value_size);
    *value_size = h.value_size;
    return CAIRN_OK;
}

int vlog_value_read(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                    uint64_t *value_size, cairn_error *error) {
    uint64_t length = location_units(where) * UNIT_BYTES;
    if (length <= SHORT_MAX) return read_short(log, where, key, key_size, buf, cap, value_size);
    uint32_t header_size = guess_header_size(length, (uint32_t)key_size);
    if (length > AT_ONCE_MAX || header_size > sizeof((vlog_head *)0)->inline_bytes || header_size >= length)
        return VLOG_READ_OTHERWISE;
    /* A buffer that may turn out too small must stay untouched. */
    uint64_t rest = length - header_size;
    if (cap < rest) return VLOG_READ_OTHERWISE;

    vlog_head head;
    head.bytes = head.inline_bytes;
    int rc = vlog_locate(log, where, &head.segment, &head.file, &head.offset, error);
    if (rc != CAIRN_OK) return rc;
    struct iovec iov[] = {{head.bytes, header_size}, {buf, rest}};
    size_t got = 0;
    if (os_file_readv(head.file, iov, 2, head.offset, &got) != 0 || got != length) return VLOG_READ_OTHERWISE;
    if (record_decode(&head.header, head.bytes, header_size, length, head.segment->seed + head.offset) !=
            RECORD_VALID ||
        head.header.type != RECORD_PUT || head.header.header_size != header_size ||
        head.header.units * UNIT_BYTES != length || head.header.key_size != key_size ||
        memcmp(vlog_head_key(&head), key, key_size) != 0 || head.header.value_size > rest) {
        return VLOG_READ_OTHERWISE;
    }
    if (frames_verify(head.bytes + record_table_offset(head.header.key_size), buf, head.header.stored_size) !=
        UINT64_MAX) {
        return VLOG_READ_OTHERWISE;
    }
    *value_size = head.header.value_size;
    return CAIRN_OK;
}

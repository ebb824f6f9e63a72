/* The header codec of records. Format: vlog/FORMAT.md, "Record".
 *
 * One set of rules (fields_agree) holds on both sides: record_encode CHECKs it, record_decode refuses what breaks it.
 * So a header that was decoded says nothing that record_layout would not have said, and its lengths can be trusted as
 * far as `available` went.
 */
#include "vlog/record.h"

#include "include/cairn.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"

#define STREAM_PAYLOAD_BYTES 64u /* a value_descriptor */
#define BLOCK_UNITS (BLOCK_BYTES / UNIT_BYTES)
#define LARGE_UNITS (RECORD_LARGE_BYTES / UNIT_BYTES)

enum field_offset {
    AT_CHECKSUM = 0,
    AT_MAGIC = 8,
    AT_TYPE = 12,
    AT_FLAGS = 13,
    AT_CODEC = 14,
    AT_FRAME_SHIFT = 15,
    AT_HEADER_SIZE = 16,
    AT_KEY_SIZE = 20,
    AT_UNITS = 24,
    AT_PLACE = 32,
    AT_VERSION = 40,
    AT_DURABLE_PLACE = 48,
    AT_VALUE_SIZE = 56,
    AT_STORED_SIZE = 64, /* from here on not in a SKIP */
    AT_EXPIRES_AT_MS = 72,
    AT_KEY = 80
};

_Static_assert(AT_STORED_SIZE == RECORD_SKIP_HEADER_BYTES, "a SKIP ends before the stored size");
_Static_assert(AT_KEY == RECORD_FIXED_BYTES, "the key follows the fixed part");
_Static_assert(RECORD_KEY_MAX == CAIRN_KEY_SIZE_MAX, "every key fits a record");
_Static_assert(RECORD_FIXED_BYTES + RECORD_KEY_MAX + 12 * (RECORD_PAYLOAD_MAX / FRAME_BYTES) + 24 + BLOCK_BYTES <=
                   RECORD_HEADER_MAX,
               "the longest key and the longest table fit the longest header");

uint64_t file_seed(uint64_t salt, uint64_t id, uint64_t generation) {
    uint8_t bytes[24];
    le64_put(bytes, salt);
    le64_put(bytes + 8, id);
    le64_put(bytes + 16, generation);
    return checksum(bytes, sizeof bytes, 0);
}

/* What header size and length are multiples of. Rounding to a representable length keeps a multiple of a block one: its
 * step is a power of two, either no more than a block, and nothing changes, or a whole number of blocks. */
static const uint64_t header_step[] = {
    [RECORD_SMALL] = 16, [RECORD_ON_UNIT] = UNIT_BYTES, [RECORD_ON_BLOCK] = BLOCK_BYTES};
static const uint64_t length_step[] = {
    [RECORD_SMALL] = UNIT_BYTES, [RECORD_ON_UNIT] = UNIT_BYTES, [RECORD_ON_BLOCK] = BLOCK_BYTES};

record_form record_form_of(uint64_t offset, uint64_t units) {
    if (units < LARGE_UNITS) return RECORD_SMALL;
    return offset % BLOCK_BYTES == 0 && units % BLOCK_UNITS == 0 ? RECORD_ON_BLOCK : RECORD_ON_UNIT;
}

uint32_t record_header_size(uint32_t key_size, uint64_t frames, record_form form) {
    return (uint32_t)round_up(record_table_offset(key_size) + 8 * frames, header_step[form]);
}

/* The numbers behind the frame table, in this order. */
static size_t tail_bytes(const record_header *h) {
    return 8u * ((h->codec == CODEC_ZSTD_DICTIONARY) + ((h->flags & RECORD_BATCH) != 0) +
                 ((h->flags & RECORD_REPLACES) != 0));
}

static size_t tail_offset(const record_header *h) {
    return record_table_offset(h->key_size) + record_table_step(h->codec) * frames_of(record_content_size(h));
}

/* What follows from the other fields. */
typedef struct layout {
    uint64_t units;
    uint32_t header_size;
    uint8_t frame_shift;
} layout;

static layout layout_in(const record_header *h, record_form form) {
    uint64_t header_size = round_up(tail_offset(h) + tail_bytes(h), header_step[form]);
    return (layout){.units = length_round(round_up(header_size + h->stored_size, length_step[form]) / UNIT_BYTES),
                    .header_size = (uint32_t)header_size,
                    .frame_shift = h->stored_size == 0 ? 0 : FRAME_SHIFT};
}

static layout layout_of(const record_header *h) {
    layout l = layout_in(h, RECORD_SMALL);
    return l.units < LARGE_UNITS ? l : layout_in(h, RECORD_ON_UNIT);
}

static bool layout_agrees(const record_header *h, layout l) {
    return h->header_size == l.header_size && h->units == l.units && h->frame_shift == l.frame_shift;
}

void record_layout(record_header *header) {
    CHECK(header->type != RECORD_SKIP && record_content_size(header) <= RECORD_PAYLOAD_MAX);
    CHECK(header->key_size <= RECORD_KEY_MAX);
    layout l = layout_of(header);
    header->header_size = l.header_size;
    header->units = l.units;
    header->frame_shift = l.frame_shift;
}

/* Sizes of key, value and payload as the type wants them. */
static bool sizes_agree(const record_header *h) {
    if ((h->key_size == 0) != (h->type == RECORD_COMMIT) || h->key_size > RECORD_KEY_MAX) return false;
    switch (h->type) {
    case RECORD_PUT:
        if (h->value_size > RECORD_PAYLOAD_MAX) return false;
        return h->codec == CODEC_RAW ? h->value_size == h->stored_size
                                     : h->stored_size >= 1 && h->stored_size < h->value_size;
    case RECORD_DELETE:
        return h->stored_size == 0 && h->value_size == 0;
    case RECORD_STREAM:
        return h->stored_size == STREAM_PAYLOAD_BYTES && h->value_size <= CAIRN_VALUE_SIZE_MAX;
    case RECORD_COMMIT:
        return h->stored_size == 0 && h->value_size >= 1 && h->value_size < COUNTER_LIMIT;
    default:
        return false;
    }
}

/* The flags that a type may have. */
static unsigned flags_of(uint8_t type) {
    switch (type) {
    case RECORD_PUT:
        return RECORD_COLLIDES | RECORD_BATCH | RECORD_EXPIRES | RECORD_PACKED | RECORD_REPLACES;
    case RECORD_STREAM:
        return RECORD_COLLIDES | RECORD_BATCH | RECORD_EXPIRES | RECORD_REPLACES;
    case RECORD_DELETE:
        return RECORD_COLLIDES | RECORD_BATCH | RECORD_REPLACES;
    case RECORD_COMMIT:
        return RECORD_BATCH;
    default:
        return 0;
    }
}

bool record_flags_agree(uint8_t type, uint8_t flags) {
    if ((flags & ~flags_of(type)) != 0) return false;
    if ((flags & RECORD_REPLACES) != 0 && (flags & RECORD_BATCH) == 0) return false;
    return type != RECORD_COMMIT || flags == RECORD_BATCH;
}

/* Flags, and the numbers that are there where a flag says so and are 0 otherwise. */
static bool numbers_agree(const record_header *h) {
    if (!record_flags_agree(h->type, h->flags) || h->codec > CODEC_ZSTD_DICTIONARY) return false;
    if (((h->flags & RECORD_PACKED) != 0) != (h->codec != CODEC_RAW)) return false;
    if (((h->flags & RECORD_EXPIRES) != 0) != (h->expires_at_ms != 0)) return false;
    if ((h->codec == CODEC_ZSTD_DICTIONARY) != (h->dictionary != 0) || h->dictionary >= COUNTER_LIMIT) return false;
    if (((h->flags & RECORD_BATCH) != 0) != (h->batch != 0) || h->batch > h->place) return false;
    if ((h->flags & RECORD_REPLACES) == 0) return h->replaces == 0;
    return h->replaces >= h->batch && h->replaces < h->place;
}

static bool fields_agree(const record_header *h) {
    if (h->place >= COUNTER_LIMIT || h->version >= COUNTER_LIMIT || h->durable_place > h->place) return false;
    if (!numbers_agree(h)) return false;
    if (h->type == RECORD_SKIP) {
        return h->frame_shift == 0 && h->header_size == RECORD_SKIP_HEADER_BYTES && h->key_size == 0 && h->units >= 1 &&
               h->version == 0 && h->value_size == 0;
    }
    if (h->version == 0 || !sizes_agree(h)) return false;
    layout l = layout_of(h);
    return layout_agrees(h, l) || (l.units >= LARGE_UNITS && layout_agrees(h, layout_in(h, RECORD_ON_BLOCK)));
}

/* The first 64 bytes, which a SKIP has as well, but for the checksum. */
static void encode_common(uint8_t *out, const record_header *h) {
    le32_put(out + AT_MAGIC, RECORD_MAGIC);
    out[AT_TYPE] = h->type;
    out[AT_FLAGS] = h->flags;
    out[AT_CODEC] = h->codec;
    out[AT_FRAME_SHIFT] = h->frame_shift;
    le32_put(out + AT_HEADER_SIZE, h->header_size);
    le32_put(out + AT_KEY_SIZE, h->key_size);
    le64_put(out + AT_UNITS, h->units);
    le64_put(out + AT_PLACE, h->place);
    le64_put(out + AT_VERSION, h->version);
    le64_put(out + AT_DURABLE_PLACE, h->durable_place);
    le64_put(out + AT_VALUE_SIZE, h->value_size);
}

static uint64_t header_checksum(const uint8_t *bytes, uint32_t header_size, uint64_t seed) {
    return checksum(bytes + AT_MAGIC, header_size - AT_MAGIC, seed);
}

void record_encode(uint8_t *out, const record_header *header, const void *key, const uint64_t *frames,
                   const uint32_t *lengths, uint64_t seed) {
    CHECK(header->type != RECORD_SKIP && fields_agree(header));
    encode_common(out, header);
    le64_put(out + AT_STORED_SIZE, header->stored_size);
    le64_put(out + AT_EXPIRES_AT_MS, header->expires_at_ms);
    if (header->key_size > 0) memcpy(out + AT_KEY, key, header->key_size);

    uint8_t *next = out + AT_KEY + header->key_size, *table = out + record_table_offset(header->key_size);
    memset(next, 0, table - next);
    next = table;
    uint64_t frame_count = frames_of(record_content_size(header));
    for (uint64_t i = 0; i < frame_count; i++) {
        le64_put(next, frames[i]);
        if (header->codec != CODEC_RAW) le32_put(next + 8, lengths[i]);
        next += record_table_step(header->codec);
    }
    const uint64_t tail[] = {header->dictionary, header->batch, header->replaces};
    for (size_t i = 0; i < sizeof tail / sizeof tail[0]; i++) {
        if (tail[i] == 0) continue;
        le64_put(next, tail[i]);
        next += 8;
    }
    memset(next, 0, out + header->header_size - next);

    le64_put(out + AT_CHECKSUM, header_checksum(out, header->header_size, seed));
}

void record_rebind(uint8_t *bytes, uint32_t header_size, uint64_t seed) {
    le64_put(bytes + AT_CHECKSUM, header_checksum(bytes, header_size, seed));
}

void record_fields(record_header *h, const uint8_t in[RECORD_FIXED_BYTES]) {
    *h = (record_header){.type = in[AT_TYPE],
                         .flags = in[AT_FLAGS],
                         .codec = in[AT_CODEC],
                         .frame_shift = in[AT_FRAME_SHIFT],
                         .header_size = le32_get(in + AT_HEADER_SIZE),
                         .key_size = le32_get(in + AT_KEY_SIZE),
                         .units = le64_get(in + AT_UNITS),
                         .place = le64_get(in + AT_PLACE),
                         .version = le64_get(in + AT_VERSION),
                         .durable_place = le64_get(in + AT_DURABLE_PLACE),
                         .value_size = le64_get(in + AT_VALUE_SIZE)};
    if (h->header_size > RECORD_SKIP_HEADER_BYTES) { /* at least 80: a multiple of 16 */
        h->stored_size = le64_get(in + AT_STORED_SIZE);
        h->expires_at_ms = le64_get(in + AT_EXPIRES_AT_MS);
    }
}

/* The numbers behind the frame table. false: they would lie outside the header. */
static bool decode_tail(record_header *h, const uint8_t *in) {
    if (tail_bytes(h) == 0) return true;
    if (h->key_size > RECORD_KEY_MAX || record_content_size(h) > RECORD_PAYLOAD_MAX) return false;
    size_t at = tail_offset(h);
    if (at + tail_bytes(h) > h->header_size) return false;
    uint64_t *const tail[] = {&h->dictionary, &h->batch, &h->replaces};
    const bool there[] = {h->codec == CODEC_ZSTD_DICTIONARY, (h->flags & RECORD_BATCH) != 0,
                          (h->flags & RECORD_REPLACES) != 0};
    for (size_t i = 0; i < sizeof tail / sizeof tail[0]; i++) {
        if (!there[i]) continue;
        *tail[i] = le64_get(in + at);
        at += 8;
    }
    return true;
}

/* With a codec: each frame takes at least a byte and no more than raw, and together they are the payload. */
static bool lengths_agree(const record_header *h, const uint8_t *in) {
    if (h->codec == CODEC_RAW) return true;
    const uint8_t *entry = in + record_table_offset(h->key_size);
    uint64_t stored = 0;
    for (uint64_t left = h->value_size; left > 0; entry += record_table_step(h->codec)) {
        uint64_t frame = min_u64(left, FRAME_BYTES), length = le32_get(entry + 8);
        if (length < 1 || length > frame) return false;
        stored += length;
        left -= frame;
    }
    return stored == h->stored_size;
}

record_check record_decode(record_header *header, const uint8_t *in, size_t size, uint64_t available, uint64_t seed) {
    if (size < RECORD_SKIP_HEADER_BYTES || le32_get(in + AT_MAGIC) != RECORD_MAGIC) return RECORD_INVALID;
    uint32_t header_size = le32_get(in + AT_HEADER_SIZE);
    if (header_size < RECORD_SKIP_HEADER_BYTES || header_size > RECORD_HEADER_MAX || header_size % 16 != 0 ||
        header_size > available)
        return RECORD_INVALID;
    if (header_size > size) {
        *header = (record_header){.header_size = header_size};
        return RECORD_SHORT;
    }
    if (le64_get(in + AT_CHECKSUM) != header_checksum(in, header_size, seed)) return RECORD_INVALID;

    record_header decoded;
    record_fields(&decoded, in);
    uint64_t bytes;
    if (!decode_tail(&decoded, in) || !fields_agree(&decoded) || mul_overflows(decoded.units, UNIT_BYTES, &bytes) ||
        bytes > available || !lengths_agree(&decoded, in))
        return RECORD_INVALID;
    *header = decoded;
    return RECORD_VALID;
}

/* Records of the value log: header codec. Format: vlog/FORMAT.md. */
#ifndef CAIRN_VLOG_RECORD_H
#define CAIRN_VLOG_RECORD_H

#include "src/base/check.h"
#include "src/os/os.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES ((uint64_t)4096)
#define RECORD_MAGIC 0x636572c7u
#define RECORD_SKIP_HEADER_BYTES 64u
#define RECORD_FIXED_BYTES 80u
#define RECORD_LARGE_BYTES ((uint64_t)65536) /* a record of this length or more is large: holes do for it */
#define FRAME_SHIFT 16u
#define FRAME_BYTES ((uint64_t)1 << FRAME_SHIFT)
#define RECORD_KEY_MAX 65536u
/* No header is longer: fixed part, key, and a table for the largest payload that a record in a segment may hold. */
#define RECORD_HEADER_MAX ((uint32_t)1 << 20)
/* Places, versions, ids and sequences count up from 1 and never get here, so one above it is a forgery or damage, and
 * sums with them do not overflow. */
#define COUNTER_LIMIT ((uint64_t)1 << 63)
#define RECORD_PAYLOAD_MAX ((uint64_t)1 << 32) /* its frame table is 512 KiB */

typedef enum record_type {
    RECORD_PUT = 1,
    RECORD_DELETE = 2,
    RECORD_SKIP = 3,
    RECORD_STREAM = 4,
    RECORD_COMMIT = 5,
    RECORD_FREED = 6 /* in footers only: dead records whose blocks were given back */
} record_type;

/* Entries of a footer without version and key. */
static inline bool record_is_nothing(uint8_t type) { return type == RECORD_SKIP || type == RECORD_FREED; }

#define RECORD_COLLIDES 1u
#define RECORD_BATCH 4u     /* of a batch: counts from its COMMIT on. A COMMIT has it too */
#define RECORD_EXPIRES 8u   /* expires_at_ms is not 0 */
#define RECORD_PACKED 16u   /* a PUT whose codec is not raw */
#define RECORD_REPLACES 32u /* of a batch: stands for an earlier part, which then does not count */

enum { CODEC_RAW = 0, CODEC_ZSTD = 1, CODEC_ZSTD_DICTIONARY = 2 };

typedef struct record_header {
    uint8_t type, flags, codec, frame_shift;
    uint32_t header_size, key_size;
    uint64_t units; /* length of the whole record */
    uint64_t place, version, durable_place;
    uint64_t value_size; /* of a COMMIT: how many parts count */
    uint64_t stored_size, expires_at_ms;
    uint64_t dictionary; /* with codec 2: id of its file; else 0 */
    uint64_t batch;      /* with BATCH: place of the batch's first part; else 0 */
    uint64_t replaces;   /* with REPLACES: place of the part that this one stands for; else 0 */
} record_header;

static inline uint64_t frames_of(uint64_t size) { return size / FRAME_BYTES + (size % FRAME_BYTES != 0); }

/* Bytes of the payload once its frames are decoded: what a reader may ask for. */
static inline uint64_t record_content_size(const record_header *h) {
    return h->codec == CODEC_RAW ? h->stored_size : h->value_size;
}
/* Bytes of an entry of the frame table: checksum, and with a codec the stored length. */
static inline size_t record_table_step(uint8_t codec) { return codec == CODEC_RAW ? 8 : 12; }

/* The payload of a large record begins on a unit, a line of the processor's cache (bench/NOTES.md). Builds before
 * FEATURE_ON_UNITS had each of them, and its payload, on a block. */
typedef enum record_form { RECORD_SMALL, RECORD_ON_UNIT, RECORD_ON_BLOCK } record_form;

/* As far as place and length tell: what lies like one on a block is taken for one. */
record_form record_form_of(uint64_t offset, uint64_t units);

/* Bytes before the payload of a PUT that is raw and of no batch. */
uint32_t record_header_size(uint32_t key_size, uint64_t frames, record_form form);

/* Fills header_size, units and frame_shift of a record from type, flags, codec, key_size, value_size and stored_size.
 * Its content is at most RECORD_PAYLOAD_MAX bytes. */
void record_layout(record_header *header);

/* The whole blocks in a range of bytes; where there are none, the end may lie before the beginning. */
static inline os_range record_blocks(uint64_t begin, uint64_t end) {
    return (os_range){round_up(begin, BLOCK_BYTES), end & ~(BLOCK_BYTES - 1)};
}

/* Encodes header, key and frame table into out[header->header_size]. `frames` has a checksum for each frame of the
 * content; `lengths`, where the codec is not raw, its stored length. */
void record_encode(uint8_t *out, const record_header *header, const void *key, const uint64_t *frames,
                   const uint32_t *lengths, uint64_t seed);

/* Makes an encoded header valid at another place: only its checksum changes. */
void record_rebind(uint8_t *bytes, uint32_t header_size, uint64_t seed);

/* A record of this type may have these flags. */
bool record_flags_agree(uint8_t type, uint8_t flags);

typedef enum record_check {
    RECORD_VALID,
    RECORD_SHORT,  /* `size` bytes are not the whole header; header->header_size says how many are needed */
    RECORD_INVALID /* not a record, or a damaged one */
} record_check;

/* Decodes a header from `size` bytes at `in`, verifying checksum and every field against the others and against
 * `available`, the bytes from the record's beginning to where the segment may hold records at most. Nothing is trusted
 * before: with fewer than RECORD_SKIP_HEADER_BYTES bytes the result is RECORD_INVALID. On RECORD_SHORT only header_size
 * is set, at most RECORD_HEADER_MAX and `available`. */
record_check record_decode(record_header *header, const uint8_t *in, size_t size, uint64_t available, uint64_t seed);

/* The fields before the key, of a header that was decoded before and has not changed. */
void record_fields(record_header *header, const uint8_t in[RECORD_FIXED_BYTES]);

static inline const uint8_t *record_key(const uint8_t *in) { return in + RECORD_FIXED_BYTES; }
/* Offset of the frame table in the header. */
static inline size_t record_table_offset(uint32_t key_size) {
    return (RECORD_FIXED_BYTES + key_size + 7u) & ~(size_t)7;
}

uint64_t file_seed(uint64_t salt, uint64_t id, uint64_t generation);

/* Checksums of the frames of a value: frames_of(size) of them. */
void frames_compute(uint64_t *out, const void *value, uint64_t size);
/* Verifies `size` bytes (whole frames, the last may be short when it is the value's last) against an encoded table of
 * raw frames from its first entry on. Returns the number of the first frame that differs, or UINT64_MAX. */
uint64_t frames_verify(const uint8_t *table, const void *data, uint64_t size);

#endif

/* Record headers: layout, round trips, and that no damaged or hostile header is ever taken for a record. */
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"
#include "tests/support/earlier_records.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEED 0x1122334455667788u

static record_header make(record_type type, uint32_t key_size, uint64_t stored_size) {
    record_header h = {.type = (uint8_t)type,
                       .key_size = key_size,
                       .stored_size = stored_size,
                       .value_size = type == RECORD_STREAM ? (uint64_t)5 << 30 : stored_size,
                       .place = 77,
                       .version = 1234567,
                       .durable_place = 70};
    record_layout(&h);
    return h;
}

/* A stored length for each frame: as much as it may take, and a byte at least for those behind it. */
static void share_out(const record_header *h, uint32_t *lengths, uint64_t count) {
    uint64_t left = h->stored_size;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t rest = count - 1 - i;
        lengths[i] = (uint32_t)(left - rest < FRAME_BYTES ? left - rest : FRAME_BYTES);
        left -= lengths[i];
    }
}

/* The encoded header of such a record, in an allocation of just its size. */
static uint8_t *encode(const record_header *h) {
    uint8_t *key = malloc(h->key_size + 1);
    for (uint32_t i = 0; i < h->key_size; i++)
        key[i] = (uint8_t)(i * 7 + 1);
    uint64_t count = frames_of(record_content_size(h));
    uint64_t *frames = calloc(count + 1, sizeof *frames);
    uint32_t *lengths = calloc(count + 1, sizeof *lengths);
    for (uint64_t i = 0; i < count; i++)
        frames[i] = i * 0x9e3779b97f4a7c15u + 1;
    share_out(h, lengths, count);
    uint8_t *out = malloc(h->header_size);
    record_encode(out, h, key, frames, lengths, SEED);
    free(lengths);
    free(frames);
    free(key);
    return out;
}

/* ---- Records of the later features ---- */

static record_header packed_of(uint8_t codec, uint32_t key_size, uint64_t value_size, uint64_t stored_size) {
    record_header h = make(RECORD_PUT, key_size, value_size);
    h.flags = RECORD_PACKED;
    h.codec = codec;
    h.stored_size = stored_size;
    if (codec == CODEC_ZSTD_DICTIONARY) h.dictionary = 12;
    record_layout(&h);
    return h;
}

static record_header part_of(record_type type, uint64_t replaces) {
    record_header h = make(type, 9, type == RECORD_STREAM ? 64 : type == RECORD_PUT ? 500 : 0);
    h.flags = RECORD_BATCH;
    h.batch = 60;
    if (replaces != 0) h.flags |= RECORD_REPLACES;
    h.replaces = replaces;
    record_layout(&h);
    return h;
}

static record_header commit_of(uint64_t parts) {
    record_header h = {.type = RECORD_COMMIT, .flags = RECORD_BATCH, .place = 77, .version = 99, .durable_place = 70};
    h.batch = 60;
    h.value_size = parts;
    record_layout(&h);
    return h;
}

static record_header expiring(record_header h, uint64_t expires_at_ms) {
    h.flags |= RECORD_EXPIRES;
    h.expires_at_ms = expires_at_ms;
    return h;
}

/* With all there can be: dictionary, batch and replaced part. */
static record_header full_of_numbers(void) {
    record_header h = packed_of(CODEC_ZSTD_DICTIONARY, 20, 3000, 700);
    h.flags |= RECORD_BATCH | RECORD_REPLACES | RECORD_EXPIRES | RECORD_COLLIDES;
    h.batch = 60;
    h.replaces = 61;
    h.expires_at_ms = 1000000000000u;
    record_layout(&h);
    return h;
}

static void reseal(uint8_t *bytes, uint32_t header_size) {
    le64_put(bytes, checksum(bytes + 8, header_size - 8, SEED));
}

static uint64_t length_of(const record_header *h) { return h->units * UNIT_BYTES; }

static bool same(const record_header *a, const record_header *b) {
    return a->type == b->type && a->flags == b->flags && a->codec == b->codec && a->frame_shift == b->frame_shift &&
           a->header_size == b->header_size && a->key_size == b->key_size && a->units == b->units &&
           a->place == b->place && a->version == b->version && a->durable_place == b->durable_place &&
           a->value_size == b->value_size && a->stored_size == b->stored_size && a->expires_at_ms == b->expires_at_ms &&
           a->dictionary == b->dictionary && a->batch == b->batch && a->replaces == b->replaces;
}

static void layout_is_tight_aligned_and_representable(void **state) {
    (void)state;
    const uint32_t keys[] = {1, 7, 8, 9, 100, 65535, 65536};
    const uint64_t sizes[] = {0,
                              1,
                              15,
                              16,
                              63,
                              64,
                              4000,
                              65000,
                              65300,
                              65535,
                              65536,
                              65537,
                              131072,
                              1 << 20,
                              1040000,
                              1048577,
                              (16 << 20) + 1,
                              33554433,
                              (1 << 28) + 1,
                              0xffffffff,
                              RECORD_PAYLOAD_MAX};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            record_header h = make(RECORD_PUT, keys[k], sizes[s]);
            uint64_t bytes = h.header_size + sizes[s], length = length_of(&h);
            assert_int_equal(h.header_size % 16, 0);
            assert_true(h.header_size >= record_table_offset(keys[k]) + 8 * frames_of(sizes[s]));
            uint64_t align = length >= RECORD_LARGE_BYTES ? UNIT_BYTES : 16;
            assert_int_equal(h.header_size % align, 0);
            assert_true(h.header_size < record_table_offset(keys[k]) + 8 * frames_of(sizes[s]) + align);
            assert_true(h.header_size <= RECORD_HEADER_MAX);
            assert_true(length >= bytes);
            assert_int_equal(length_round(h.units), h.units);
            assert_true(length - bytes < UNIT_BYTES + bytes / 16384);
            assert_int_equal(h.frame_shift, sizes[s] == 0 ? 0 : FRAME_SHIFT);
        }
    }
}

static void from_64_kib_on_the_payload_begins_on_a_unit(void **state) {
    (void)state;
    record_header h = make(RECORD_PUT, 8, 65536 - 96 - 64);
    assert_int_equal(h.header_size, 96);
    assert_int_equal(length_of(&h), 65536 - 64);
    h = make(RECORD_PUT, 8, 65536 - 96 - 63); /* rounds to 64 KiB */
    assert_int_equal(h.header_size, 128);
    assert_int_equal(length_of(&h), 65536);
    h = make(RECORD_PUT, 8, 65536);
    assert_int_equal(h.header_size, 128);
    assert_int_equal(length_of(&h), 65536 + 128);
}

/* The header size and length that earlier builds gave a record, and no others. */
static void large_records_of_earlier_builds_on_blocks_are_valid(void **state) {
    (void)state;
    const uint64_t sizes[] = {65536 - 96 - 63, 65536, 65537, 1 << 20, (16 << 20) + 1, RECORD_PAYLOAD_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        record_header h = make(RECORD_PUT, 20, sizes[i]), d;
        earlier_layout(&h);
        assert_int_equal(h.header_size % BLOCK_BYTES, 0);
        assert_int_equal(length_of(&h) % BLOCK_BYTES, 0);
        uint8_t *bytes = encode(&h);
        assert_int_equal(record_decode(&d, bytes, h.header_size, length_of(&h), SEED), RECORD_VALID);
        assert_true(same(&d, &h));
        le64_put(bytes + 24, h.units + BLOCK_BYTES / UNIT_BYTES);
        reseal(bytes, h.header_size);
        assert_int_equal(record_decode(&d, bytes, h.header_size, UINT64_MAX, SEED), RECORD_INVALID);
        free(bytes);
    }
    record_header small = make(RECORD_PUT, 20, 1000), d;
    uint8_t bytes[BLOCK_BYTES] = {0};
    uint8_t *encoded = encode(&small);
    memcpy(bytes, encoded, small.header_size);
    le32_put(bytes + 16, BLOCK_BYTES); /* a small one never had a block to itself */
    le64_put(bytes + 24, 2 * BLOCK_BYTES / UNIT_BYTES);
    reseal(bytes, BLOCK_BYTES);
    assert_int_equal(record_decode(&d, bytes, BLOCK_BYTES, 2 * BLOCK_BYTES, SEED), RECORD_INVALID);
    free(encoded);
}

static void the_form_of_a_record_follows_from_place_and_length(void **state) {
    (void)state;
    assert_int_equal(record_form_of(8192, 1023), RECORD_SMALL);
    assert_int_equal(record_form_of(8192, 1024), RECORD_ON_BLOCK);
    assert_int_equal(record_form_of(8192, 1025), RECORD_ON_UNIT);
    assert_int_equal(record_form_of(8192 + 64, 1024), RECORD_ON_UNIT);
}

static void every_type_comes_back_as_it_was(void **state) {
    (void)state;
    const record_header headers[] = {make(RECORD_PUT, 1, 0),      make(RECORD_PUT, 3, 10),
                                     make(RECORD_PUT, 65536, 1),  make(RECORD_PUT, 20, 65536),
                                     make(RECORD_PUT, 20, 65537), make(RECORD_DELETE, 11, 0),
                                     make(RECORD_STREAM, 11, 64), make(RECORD_PUT, 65536, RECORD_PAYLOAD_MAX)};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        record_header h = headers[i], d;
        h.flags = i % 2 == 0 ? RECORD_COLLIDES : 0;
        uint8_t *bytes = encode(&h);
        assert_int_equal(record_decode(&d, bytes, h.header_size, length_of(&h), SEED), RECORD_VALID);
        assert_true(same(&d, &h));
        for (uint32_t k = 0; k < h.key_size; k++)
            assert_int_equal(record_key(bytes)[k], (uint8_t)(k * 7 + 1));
        if (frames_of(h.stored_size) > 0) assert_int_equal(le64_get(bytes + record_table_offset(h.key_size)), 1);
        free(bytes);
    }
}

static void records_of_every_feature_come_back_as_they_were(void **state) {
    (void)state;
    const record_header headers[] = {packed_of(CODEC_ZSTD, 3, 64, 1),
                                     packed_of(CODEC_ZSTD, 20, 65536, 65535),
                                     packed_of(CODEC_ZSTD, 20, 65537, 2),
                                     packed_of(CODEC_ZSTD, 65536, 300000, 70000),
                                     packed_of(CODEC_ZSTD, 1, RECORD_PAYLOAD_MAX, RECORD_PAYLOAD_MAX - 1),
                                     packed_of(CODEC_ZSTD_DICTIONARY, 7, 1000, 100),
                                     part_of(RECORD_PUT, 0),
                                     part_of(RECORD_PUT, 60),
                                     part_of(RECORD_DELETE, 76),
                                     part_of(RECORD_STREAM, 0),
                                     commit_of(1),
                                     commit_of(COUNTER_LIMIT - 1),
                                     expiring(make(RECORD_PUT, 3, 10), 1),
                                     expiring(make(RECORD_PUT, 3, 0), UINT64_MAX),
                                     expiring(make(RECORD_STREAM, 3, 64), UINT64_MAX),
                                     full_of_numbers()};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        record_header d;
        uint8_t *bytes = encode(&headers[i]);
        assert_int_equal(record_decode(&d, bytes, headers[i].header_size, length_of(&headers[i]), SEED), RECORD_VALID);
        assert_true(same(&d, &headers[i]));
        free(bytes);
    }
}

static void the_numbers_stand_behind_the_frame_table_in_their_order(void **state) {
    (void)state;
    record_header h = full_of_numbers();
    uint8_t *bytes = encode(&h);
    const uint8_t *table = bytes + record_table_offset(h.key_size);
    assert_int_equal(le64_get(table), 1);
    assert_int_equal(le32_get(table + 8), 700);
    assert_int_equal(le64_get(table + 12), 12);
    assert_int_equal(le64_get(table + 20), 60);
    assert_int_equal(le64_get(table + 28), 61);
    assert_int_equal(h.header_size, 144); /* 80 + 24 + 12 + 24, to a multiple of 16 */
    free(bytes);
    h = commit_of(3);
    bytes = encode(&h);
    assert_int_equal(h.header_size, 96);
    assert_int_equal(le64_get(bytes + 80), 60);
    free(bytes);
}

static void a_skip_comes_back_as_it_was(void **state) {
    (void)state;
    uint8_t bytes[RECORD_SKIP_HEADER_BYTES];
    record_header d;
    earlier_skip(bytes, 63, 9, 4, SEED);
    assert_int_equal(record_decode(&d, bytes, sizeof bytes, 63 * 64, SEED), RECORD_VALID);
    assert_int_equal(d.type, RECORD_SKIP);
    assert_int_equal(d.units, 63);
    assert_int_equal(d.place, 9);
    assert_int_equal(d.durable_place, 4);
    assert_int_equal(d.version, 0);
    assert_int_equal(record_decode(&d, bytes, sizeof bytes, 63 * 64 - 1, SEED), RECORD_INVALID);
}

static void a_header_that_is_not_all_there_says_how_much_is_needed(void **state) {
    (void)state;
    record_header h = make(RECORD_PUT, 300, 200000), d;
    uint8_t *bytes = encode(&h);
    for (size_t size = 0; size < h.header_size; size++) {
        uint8_t *part = malloc(size + 1);
        memcpy(part + 1, bytes, size); /* ends where the allocation ends */
        record_check check = record_decode(&d, part + 1, size, length_of(&h), SEED);
        assert_int_equal(check, size < RECORD_SKIP_HEADER_BYTES ? RECORD_INVALID : RECORD_SHORT);
        if (check == RECORD_SHORT) assert_int_equal(d.header_size, h.header_size);
        free(part);
    }
    assert_int_equal(record_decode(&d, bytes, 64, h.header_size - 1, SEED), RECORD_INVALID);
    free(bytes);
}

static void a_record_longer_than_what_is_available_is_invalid(void **state) {
    (void)state;
    record_header h = make(RECORD_PUT, 300, 2000), d;
    uint8_t *bytes = encode(&h);
    assert_int_equal(record_decode(&d, bytes, h.header_size, length_of(&h), SEED), RECORD_VALID);
    assert_int_equal(record_decode(&d, bytes, h.header_size, length_of(&h) - 1, SEED), RECORD_INVALID);
    assert_int_equal(record_decode(&d, bytes, h.header_size, 0, SEED), RECORD_INVALID);
    free(bytes);
}

static void a_record_elsewhere_or_of_another_generation_is_invalid(void **state) {
    (void)state;
    record_header h = make(RECORD_PUT, 3, 20), d;
    uint8_t *bytes = encode(&h);
    assert_int_equal(record_decode(&d, bytes, h.header_size, length_of(&h), SEED + 64), RECORD_INVALID);
    free(bytes);
    assert_true(file_seed(1, 2, 3) != file_seed(1, 2, 4));
    assert_true(file_seed(1, 2, 3) != file_seed(1, 3, 3));
    assert_true(file_seed(1, 2, 3) != file_seed(2, 2, 3));
}

/* The result after the caller has fetched as many bytes as the header asked for. */
static record_check decode_fully(const uint8_t *bytes, size_t header_size, uint64_t available) {
    record_header d;
    record_check check = record_decode(&d, bytes, header_size, available, SEED);
    if (check != RECORD_SHORT) return check;
    assert_true(d.header_size > header_size && d.header_size <= RECORD_HEADER_MAX && d.header_size <= available);
    uint8_t *more = calloc(1, d.header_size);
    memcpy(more, bytes, header_size);
    check = record_decode(&d, more, d.header_size, available, SEED);
    free(more);
    return check;
}

static void every_flipped_bit_makes_a_header_invalid(void **state) {
    (void)state;
    const record_header headers[] = {make(RECORD_PUT, 13, 70000), make(RECORD_DELETE, 4, 0), make(RECORD_STREAM, 5, 64),
                                     full_of_numbers(), commit_of(2)};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const record_header *h = &headers[i];
        uint8_t *bytes = encode(h);
        for (size_t bit = 0; bit < h->header_size * 8u; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(decode_fully(bytes, h->header_size, (uint64_t)1 << 40), RECORD_INVALID);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(bytes);
    }
    uint8_t skip[RECORD_SKIP_HEADER_BYTES];
    earlier_skip(skip, 7, 9, 4, SEED);
    for (size_t bit = 0; bit < sizeof skip * 8; bit++) {
        skip[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_fully(skip, sizeof skip, (uint64_t)1 << 40), RECORD_INVALID);
        skip[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

typedef struct poke {
    size_t at, size;
    uint64_t value;
} poke;

static void check_hostile(const record_header *h, const poke *pokes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *bytes = encode(h), value[8];
        le64_put(value, pokes[i].value);
        memcpy(bytes + pokes[i].at, value, pokes[i].size);
        reseal(bytes, h->header_size);
        record_header d;
        if (record_decode(&d, bytes, h->header_size, (uint64_t)1 << 40, SEED) == RECORD_VALID)
            fail_msg("type %u: field at %zu with %llx was accepted", h->type, pokes[i].at,
                     (unsigned long long)pokes[i].value);
        free(bytes);
    }
}

static void fields_that_disagree_are_invalid_also_under_a_right_checksum(void **state) {
    (void)state;
    const poke put_pokes[] = {
        {12, 1, 0},          {12, 1, 2},          {12, 1, 3},        {12, 1, 4},          {12, 1, 5},
        {12, 1, 6},          {12, 1, 7},          {12, 1, 255},      {13, 1, 2},          {13, 1, 4},
        {13, 1, 255},        {14, 1, 1},          {15, 1, 0},        {15, 1, 17},         {15, 1, 255},
        {16, 4, 0},          {16, 4, 16},         {16, 4, 64},       {16, 4, 80},         {16, 4, 0x100000},
        {16, 4, 0xfffffff0}, {20, 4, 0},          {20, 4, 1},        {20, 4, 65537},      {20, 4, 0xffffffff},
        {24, 8, 0},          {24, 8, 1},          {24, 8, 1u << 30}, {24, 8, UINT64_MAX}, {24, 8, (uint64_t)1 << 58},
        {32, 8, UINT64_MAX}, {40, 8, 0},          {48, 8, 78},       {48, 8, UINT64_MAX}, {56, 8, 0},
        {56, 8, 1001},       {56, 8, UINT64_MAX}, {64, 8, 0},        {64, 8, 999},        {64, 8, (uint64_t)1 << 33},
        {64, 8, UINT64_MAX}, {72, 8, 1}};
    const poke delete_pokes[] = {{12, 1, 4}, {15, 1, 16}, {40, 8, 0}, {56, 8, 1}, {64, 8, 1}, {72, 8, 1}, {20, 4, 0}};
    const poke stream_pokes[] = {{12, 1, 2},  {15, 1, 0}, {40, 8, 0}, {56, 8, ((uint64_t)1 << 56) + 1},
                                 {64, 8, 63}, {64, 8, 0}, {72, 8, 1}, {20, 4, 0}};
    record_header put = make(RECORD_PUT, 20, 1000), del = make(RECORD_DELETE, 20, 0),
                  stream = make(RECORD_STREAM, 20, 64);
    check_hostile(&put, put_pokes, sizeof put_pokes / sizeof *put_pokes);
    check_hostile(&del, delete_pokes, sizeof delete_pokes / sizeof *delete_pokes);
    check_hostile(&stream, stream_pokes, sizeof stream_pokes / sizeof *stream_pokes);
}

/* Bytes under a right checksum in which the flag, codec or number is not the one that the other fields want. */
static void features_that_disagree_are_invalid_also_under_a_right_checksum(void **state) {
    (void)state;
    const poke packed_pokes[] = {
        {13, 1, 0},      {13, 1, 8 | 16}, {13, 1, 4 | 16},      {13, 1, 32 | 16}, {14, 1, 0},
        {14, 1, 2},      {14, 1, 3},      {14, 1, 255},         {12, 1, 2},       {12, 1, 4},
        {12, 1, 5},      {15, 1, 0},      {56, 8, 1000},        {56, 8, 999},     {56, 8, UINT64_MAX},
        {64, 8, 0},      {64, 8, 200000}, {64, 8, 200001},      {72, 8, 1},       {112, 4, 0},
        {112, 4, 65537}, {112, 4, 1},     {112, 4, UINT32_MAX}, {124, 4, 0},      {56, 8, 1u << 31}};
    const poke dictionary_pokes[] = {
        {14, 1, 0}, {104 + 12, 8, 0}, {104 + 12, 8, COUNTER_LIMIT}, {104 + 12, 8, UINT64_MAX}};
    const poke part_pokes[] = {{13, 1, 32}, {13, 1, 2 | 4}, {13, 1, 64 | 4}, {13, 1, 128 | 4},    {13, 1, 8 | 4},
                               {72, 8, 5},  {104, 8, 0},    {104, 8, 78},    {104, 8, UINT64_MAX}};
    const poke replacing_pokes[] = {{13, 1, 32}, {112, 8, 0}, {112, 8, 59}, {112, 8, 77}, {112, 8, UINT64_MAX}};
    const poke commit_pokes[] = {{12, 1, 1},        {12, 1, 2},
                                 {12, 1, 4},        {13, 1, 0},
                                 {13, 1, 5},        {13, 1, 36},
                                 {13, 1, 12},       {14, 1, 1},
                                 {15, 1, 16},       {20, 4, 1},
                                 {24, 8, 1},        {24, 8, 3},
                                 {40, 8, 0},        {56, 8, 0},
                                 {64, 8, 1},        {72, 8, 1},
                                 {80, 8, 0},        {80, 8, 78},
                                 {16, 4, 80},       {16, 4, 64},
                                 {80, 8, 1u << 31}, {56, 8, COUNTER_LIMIT}};
    const poke expiring_pokes[] = {{13, 1, 0}, {72, 8, 0}, {12, 1, 2}, {12, 1, 5}};
    record_header packed = packed_of(CODEC_ZSTD, 20, 200000, 70000);
    record_header dictionary = packed_of(CODEC_ZSTD_DICTIONARY, 20, 3000, 700);
    record_header part = part_of(RECORD_PUT, 0), replacing = part_of(RECORD_PUT, 60), commit = commit_of(2);
    record_header mortal = expiring(make(RECORD_PUT, 20, 1000), 7);
    check_hostile(&packed, packed_pokes, sizeof packed_pokes / sizeof *packed_pokes);
    check_hostile(&dictionary, dictionary_pokes, sizeof dictionary_pokes / sizeof *dictionary_pokes);
    check_hostile(&part, part_pokes, sizeof part_pokes / sizeof *part_pokes);
    check_hostile(&replacing, replacing_pokes, sizeof replacing_pokes / sizeof *replacing_pokes);
    check_hostile(&commit, commit_pokes, sizeof commit_pokes / sizeof *commit_pokes);
    check_hostile(&mortal, expiring_pokes, sizeof expiring_pokes / sizeof *expiring_pokes);
}

static void flags_belong_to_types(void **state) {
    (void)state;
    const struct {
        uint8_t type, allowed;
    } types[] = {{RECORD_PUT, 1 | 4 | 8 | 16 | 32},
                 {RECORD_STREAM, 1 | 4 | 8 | 32},
                 {RECORD_DELETE, 1 | 4 | 32},
                 {RECORD_SKIP, 0},
                 {0, 0},
                 {6, 0},
                 {7, 0},
                 {255, 0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (unsigned flags = 0; flags < 256; flags++) {
            bool replaces_alone = (flags & 32) != 0 && (flags & 4) == 0;
            bool expected = (flags & ~types[i].allowed) == 0 && !replaces_alone;
            assert_int_equal(record_flags_agree(types[i].type, (uint8_t)flags), expected);
        }
    }
    for (unsigned flags = 0; flags < 256; flags++)
        assert_int_equal(record_flags_agree(RECORD_COMMIT, (uint8_t)flags), flags == 4);
}

static void a_skip_with_other_fields_is_invalid(void **state) {
    (void)state;
    const poke pokes[] = {{13, 1, 1},  {14, 1, 1},  {15, 1, 16},         {16, 4, 48},
                          {16, 4, 80}, {20, 4, 1},  {24, 8, 0},          {40, 8, 1},
                          {56, 8, 1},  {48, 8, 10}, {24, 8, UINT64_MAX}, {24, 8, (uint64_t)1 << 58}};
    for (size_t i = 0; i < sizeof pokes / sizeof *pokes; i++) {
        uint8_t bytes[80] = {0}, value[8];
        earlier_skip(bytes, 7, 9, 4, SEED);
        le64_put(value, pokes[i].value);
        memcpy(bytes + pokes[i].at, value, pokes[i].size);
        uint32_t header_size = le32_get(bytes + 16);
        reseal(bytes, header_size < 64 ? 64 : header_size);
        record_header d;
        assert_int_equal(record_decode(&d, bytes, sizeof bytes, (uint64_t)1 << 40, SEED), RECORD_INVALID);
    }
}

static uint64_t next_random(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* What is accepted must be what record_layout says, and lie inside `available`. */
static void random_headers_under_a_right_checksum_are_never_trusted_too_far(void **state) {
    (void)state;
    uint64_t x = 0x2545f4914f6cdd1d;
    const record_header headers[] = {make(RECORD_PUT, 20, 1000), full_of_numbers(), commit_of(2),
                                     part_of(RECORD_DELETE, 60)};
    for (int round = 0; round < 30000; round++) {
        const record_header h = headers[round % 4];
        uint8_t *bytes = encode(&h);
        size_t pokes = 1 + next_random(&x) % 3;
        while (pokes-- > 0) {
            size_t at = 12 + next_random(&x) % (h.header_size - 12);
            bytes[at] = (uint8_t)next_random(&x);
        }
        reseal(bytes, h.header_size);
        uint64_t available = 64 + next_random(&x) % 4096;
        record_header d, expected;
        record_check check = record_decode(&d, bytes, h.header_size, available, SEED);
        if (check == RECORD_SHORT) assert_true(d.header_size <= available && d.header_size > h.header_size);
        if (check == RECORD_VALID && d.type != RECORD_SKIP) {
            expected = d;
            record_layout(&expected);
            assert_true(same(&d, &expected));
            assert_true(length_of(&d) <= available && d.header_size <= h.header_size);
        }
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_tight_aligned_and_representable),
        cmocka_unit_test(from_64_kib_on_the_payload_begins_on_a_unit),
        cmocka_unit_test(large_records_of_earlier_builds_on_blocks_are_valid),
        cmocka_unit_test(the_form_of_a_record_follows_from_place_and_length),
        cmocka_unit_test(every_type_comes_back_as_it_was),
        cmocka_unit_test(records_of_every_feature_come_back_as_they_were),
        cmocka_unit_test(the_numbers_stand_behind_the_frame_table_in_their_order),
        cmocka_unit_test(a_skip_comes_back_as_it_was),
        cmocka_unit_test(a_header_that_is_not_all_there_says_how_much_is_needed),
        cmocka_unit_test(a_record_longer_than_what_is_available_is_invalid),
        cmocka_unit_test(a_record_elsewhere_or_of_another_generation_is_invalid),
        cmocka_unit_test(every_flipped_bit_makes_a_header_invalid),
        cmocka_unit_test(fields_that_disagree_are_invalid_also_under_a_right_checksum),
        cmocka_unit_test(features_that_disagree_are_invalid_also_under_a_right_checksum),
        cmocka_unit_test(flags_belong_to_types),
        cmocka_unit_test(a_skip_with_other_fields_is_invalid),
        cmocka_unit_test(random_headers_under_a_right_checksum_are_never_trusted_too_far),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}

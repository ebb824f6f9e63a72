/* Footers: round trips, and that hostile bytes never give an entry outside the segment. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"
#include "src/base/status.h"
#include "vlog/footer.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEED 0xfeedfacecafebeefu
#define FIRST_OFFSET 4096u

typedef struct sealed {
    uint8_t *footer; /* entries, padding, trailer */
    size_t size;
    uint64_t offset; /* where it begins in the segment */
    uint64_t checksum;
} sealed;

static uint64_t file_size_of(const sealed *s) { return s->offset + s->size; }
static uint8_t *trailer_of(const sealed *s) { return s->footer + s->size - FOOTER_TRAILER_BYTES; }

/* What the flags stand for, in turn; every ninth entry ends a batch. */
static void add_features(footer_entry *e, size_t i) {
    if (e->type == RECORD_SKIP) return;
    if (i % 9 == 8) {
        uint64_t version = e->version;
        *e = (footer_entry){.type = RECORD_COMMIT, .offset = e->offset, .units = 2, .place = e->place};
        e->version = version;
        e->parts = (uint64_t)1 << (i % 60);
    }
    if (i % 9 >= 5) {
        e->flags |= RECORD_BATCH;
        e->batch = i % 9 == 5 ? e->place : 1 + e->place / (i % 9);
    }
    if (i % 9 == 6) {
        e->flags |= RECORD_REPLACES;
        e->replaces = i % 2 == 0 ? e->batch : e->place - 1;
    }
    if (i % 5 == 2 && e->type != RECORD_DELETE && e->type != RECORD_COMMIT) {
        e->flags |= RECORD_EXPIRES;
        e->expires_at_ms = i % 2 == 0 ? UINT64_MAX : i;
    }
    if (i % 4 == 1 && e->type == RECORD_PUT) e->flags |= RECORD_PACKED;
}

/* All types, numbers small and large, versions that go down as well as up, a large record. */
static size_t make_entries(footer_entry *e, size_t count) {
    uint64_t offset = FIRST_OFFSET;
    for (size_t i = 0; i < count; i++) {
        uint64_t units = 2 + i % 9;
        if (i == 5) units = (uint64_t)(RECORD_LARGE_BYTES / UNIT_BYTES) * 3 + 1;
        bool skip = i == 4 || i == 11;
        e[i] = (footer_entry){.type = (uint8_t)(skip         ? RECORD_SKIP
                                                : i % 7 == 3 ? RECORD_DELETE
                                                : i % 7 == 6 ? RECORD_STREAM
                                                             : RECORD_PUT),
                              .flags = !skip && i % 3 == 0 ? RECORD_COLLIDES : 0,
                              .offset = offset,
                              .units = units,
                              .place = 1000 + i + (i > 8 ? 50 : 0)};
        if (!skip) {
            e[i].hash = (key_hash){.index = i * 0x9e3779b97f4a7c15u, .check = ~i};
            e[i].version = i == 7 ? 3 : ((uint64_t)1 << 40) + i;
        }
        if (e[i].type == RECORD_STREAM) e[i].value_file = (uint64_t)1 << (i * 3 % 63);
        if (i != 5) add_features(&e[i], i);
        offset += e[i].units * UNIT_BYTES;
    }
    return count;
}

static sealed build(const footer_entry *entries, size_t count) {
    footer_builder b;
    footer_builder_init(&b, FIRST_OFFSET);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(footer_builder_reserve(&b, 2), CAIRN_OK);
        footer_builder_add(&b, &entries[i]);
    }
    sealed s = {.offset = b.next_offset};
    const uint8_t *footer;
    assert_int_equal(footer_build(&b, SEED, &footer, &s.size, &s.checksum), CAIRN_OK);
    s.footer = malloc(s.size);
    assert_non_null(s.footer);
    memcpy(s.footer, footer, s.size);
    footer_builder_release(&b);
    return s;
}

static bool same(const footer_entry *a, const footer_entry *b) {
    return a->type == b->type && a->flags == b->flags && a->hash.index == b->hash.index &&
           a->hash.check == b->hash.check && a->offset == b->offset && a->units == b->units && a->place == b->place &&
           a->version == b->version && a->value_file == b->value_file && a->expires_at_ms == b->expires_at_ms &&
           a->batch == b->batch && a->replaces == b->replaces && a->parts == b->parts;
}

static void entries_come_back_as_they_were(void **state) {
    (void)state;
    enum { COUNT = 500 };
    footer_entry entries[COUNT], e;
    sealed s = build(entries, make_entries(entries, COUNT));
    footer_trailer t;
    footer_reader r;
    assert_true(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s), SEED));
    assert_int_equal(t.checksum, s.checksum);
    assert_int_equal(t.entries_offset, s.offset);
    assert_int_equal(t.count, COUNT);
    assert_int_equal(t.first_place, 1000);
    assert_int_equal(t.end_place, 1000 + COUNT + 50);
    assert_int_equal(t.lowest_version, 3);
    assert_int_equal(t.highest_version, ((uint64_t)1 << 40) + COUNT - 1);
    assert_true(footer_reader_init(&r, &t, s.footer, FIRST_OFFSET, SEED));
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(footer_reader_next(&r, &e), 1);
        assert_true(same(&e, &entries[i]));
    }
    assert_int_equal(footer_reader_next(&r, &e), 0);
    assert_int_equal(footer_reader_next(&r, &e), 0);
    free(s.footer);
}

static void an_empty_segment_has_a_footer_too(void **state) {
    (void)state;
    sealed s = build(NULL, 0);
    footer_trailer t;
    footer_reader r;
    footer_entry e;
    assert_int_equal(s.size, FOOTER_TRAILER_BYTES);
    assert_true(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s), SEED));
    assert_int_equal(t.lowest_version, UINT64_MAX);
    assert_int_equal(t.highest_version, 0);
    assert_true(footer_reader_init(&r, &t, s.footer, FIRST_OFFSET, SEED));
    assert_int_equal(footer_reader_next(&r, &e), 0);
    free(s.footer);
}

static void a_footer_of_another_segment_or_size_is_refused(void **state) {
    (void)state;
    footer_entry entries[20];
    sealed s = build(entries, make_entries(entries, 20));
    footer_trailer t;
    footer_reader r;
    assert_false(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s), SEED + 1));
    assert_false(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s) - 8, SEED));
    assert_false(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s) + 8, SEED));
    assert_false(footer_trailer_decode(&t, trailer_of(&s), FOOTER_TRAILER_BYTES, SEED));
    assert_false(footer_trailer_decode(&t, trailer_of(&s), 0, SEED));
    assert_true(footer_trailer_decode(&t, trailer_of(&s), file_size_of(&s), SEED));
    assert_false(footer_reader_init(&r, &t, s.footer, s.offset + 64, SEED)); /* records end before they begin */
    assert_false(footer_reader_init(&r, &t, s.footer, FIRST_OFFSET, SEED + 1));
    free(s.footer);
}

/* Reads a footer of which nothing is known. True: it was accepted as a whole. Every entry lies inside the segment. */
static bool read_safely(const sealed *s, uint64_t *entries_read) {
    footer_trailer t;
    footer_reader r;
    *entries_read = 0;
    if (!footer_trailer_decode(&t, trailer_of(s), file_size_of(s), SEED)) return false;
    assert_true(t.entries_offset <= file_size_of(s) && t.entries_size <= file_size_of(s) - t.entries_offset);
    assert_true(t.count <= t.entries_size / 4);                        /* a caller may allocate by it */
    if (t.entries_size > s->size - FOOTER_TRAILER_BYTES) return false; /* the caller could not have read them */
    uint64_t gone = s->size - FOOTER_TRAILER_BYTES - round_up(t.entries_size, 8);
    if (!footer_reader_init(&r, &t, s->footer + gone, FIRST_OFFSET, SEED)) return false;
    uint64_t end = FIRST_OFFSET;
    for (;;) {
        footer_entry e;
        int rc = footer_reader_next(&r, &e);
        if (rc <= 0) return rc == 0;
        ++*entries_read;
        assert_int_equal(e.offset, end);
        assert_true(e.units >= 1 && e.units <= (t.entries_offset - e.offset) / UNIT_BYTES);
        assert_true(e.place >= t.first_place && e.place < t.end_place);
        assert_true(e.type >= RECORD_PUT && e.type <= RECORD_FREED);
        assert_true(e.type == RECORD_FREED ? e.flags == 0 : record_flags_agree(e.type, e.flags));
        assert_int_equal(e.parts != 0, e.type == RECORD_COMMIT);
        assert_int_equal(e.expires_at_ms != 0, (e.flags & RECORD_EXPIRES) != 0);
        assert_int_equal(e.batch != 0, (e.flags & RECORD_BATCH) != 0);
        assert_int_equal(e.replaces != 0, (e.flags & RECORD_REPLACES) != 0);
        assert_true(e.batch <= e.place && (e.replaces == 0 || (e.replaces >= e.batch && e.replaces < e.place)));
        if (!record_is_nothing(e.type)) assert_true(e.version >= 1 && e.units >= 2);
        end = e.offset + e.units * UNIT_BYTES;
    }
}

static void every_flipped_bit_of_entries_and_trailer_is_refused(void **state) {
    (void)state;
    footer_entry entries[20];
    sealed s = build(entries, make_entries(entries, 20));
    uint64_t read, entries_size = le64_get(trailer_of(&s) + 24);
    assert_true(read_safely(&s, &read));
    for (size_t bit = 0; bit < s.size * 8; bit++) {
        bool padding = bit / 8 >= entries_size && bit / 8 < s.size - FOOTER_TRAILER_BYTES;
        s.footer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(read_safely(&s, &read), padding);
        if (!padding) assert_int_equal(read, 0); /* refused before the first entry */
        s.footer[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(s.footer);
}

static void reseal(sealed *s, uint64_t entries_size) {
    uint8_t *trailer = trailer_of(s);
    le64_put(trailer + 32, checksum(s->footer, entries_size, SEED + 2));
    le64_put(trailer, checksum(trailer + 8, FOOTER_TRAILER_BYTES - 8, SEED + 1));
}

static void hostile_trailer_fields_are_refused_also_under_a_right_checksum(void **state) {
    (void)state;
    footer_entry entries[20];
    sealed s = build(entries, make_entries(entries, 20));
    uint64_t read, entries_size = le64_get(trailer_of(&s) + 24);
    const uint64_t values[] = {0,
                               1,
                               7,
                               8,
                               63,
                               64,
                               4096,
                               8192,
                               0xffffffff,
                               (uint64_t)1 << 46,
                               1ull << 62,
                               1ull << 63,
                               UINT64_MAX,
                               UINT64_MAX - 7,
                               UINT64_MAX - 95,
                               s.offset + 64,
                               s.offset - 64,
                               entries_size + 1,
                               entries_size - 1};
    for (size_t at = 16; at < 80; at += 8) {
        if (at == 32) continue; /* reseal makes it right */
        uint64_t before = le64_get(trailer_of(&s) + at);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            if (values[i] == before) continue;
            le64_put(trailer_of(&s) + at, values[i]);
            reseal(&s, entries_size);
            if (read_safely(&s, &read)) fail_msg("trailer field at %zu with %llx", at, (unsigned long long)values[i]);
        }
        le64_put(trailer_of(&s) + at, before);
    }
    reseal(&s, entries_size);
    assert_true(read_safely(&s, &read));
    free(s.footer);
}

static uint64_t next_random(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static uint8_t mutated(uint8_t byte, uint64_t random) {
    switch (random % 4) {
    case 0:
        return 0xff;
    case 1:
        return 0;
    case 2:
        return (uint8_t)(byte ^ (1u << random / 4 % 8));
    default:
        return (uint8_t)(random / 4);
    }
}

static void random_entries_under_a_right_checksum_never_leave_the_segment(void **state) {
    (void)state;
    footer_entry entries[20];
    sealed s = build(entries, make_entries(entries, 20));
    uint64_t read, x = 88172645463325252u, entries_size = le64_get(trailer_of(&s) + 24);
    uint8_t *kept = malloc(s.size);
    memcpy(kept, s.footer, s.size);
    uint64_t partly = 0;
    for (int round = 0; round < 60000; round++) {
        for (uint64_t i = 0, pokes = 1 + next_random(&x) % 4; i < pokes; i++) {
            bool in_trailer = next_random(&x) % 8 == 0;
            size_t at =
                in_trailer ? s.size - FOOTER_TRAILER_BYTES + 16 + next_random(&x) % 64 : next_random(&x) % entries_size;
            s.footer[at] = mutated(s.footer[at], next_random(&x));
        }
        reseal(&s, entries_size);
        (void)read_safely(&s, &read);
        partly += read > 0;
        memcpy(s.footer, kept, s.size);
    }
    assert_true(partly > 1000); /* the mutations do reach the entries */
    free(kept);
    free(s.footer);
}

/* An entry alone, of which the code gives no such bytes. */
static bool accepted_alone(const uint8_t *bytes, size_t size, uint64_t units) {
    sealed s = {.size = (size_t)round_up(size, 8) + FOOTER_TRAILER_BYTES, .offset = FIRST_OFFSET + units * UNIT_BYTES};
    footer_entry one = {.type = RECORD_DELETE, .offset = FIRST_OFFSET, .units = units, .place = 100, .version = 5};
    sealed like = build(&one, 1);
    uint64_t read;
    s.footer = calloc(1, s.size);
    assert_non_null(s.footer);
    memcpy(s.footer, bytes, size);
    memcpy(trailer_of(&s), trailer_of(&like), FOOTER_TRAILER_BYTES);
    le64_put(trailer_of(&s) + 24, size);
    reseal(&s, size);
    bool accepted = read_safely(&s, &read);
    free(like.footer);
    free(s.footer);
    return accepted;
}

/* Type, flags, hash, and what follows, at place 100 with version 5. */
static bool accepted(uint8_t type, uint8_t flags, const uint8_t *numbers, size_t count) {
    uint8_t bytes[64] = {type, flags};
    size_t at = type == RECORD_SKIP || type == RECORD_COMMIT ? 2 : 18;
    bytes[at++] = 2;  /* units */
    bytes[at++] = 0;  /* place: as expected */
    bytes[at++] = 10; /* version: zigzag(+5) */
    memcpy(bytes + at, numbers, count);
    return accepted_alone(bytes, at + count, 2);
}

static void features_that_cannot_be_are_refused_also_under_a_right_checksum(void **state) {
    (void)state;
#define ACCEPTED(type, flags, ...)                                                                                     \
    accepted(type, flags, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))
    assert_true(ACCEPTED(RECORD_PUT, RECORD_EXPIRES, 1));
    assert_false(ACCEPTED(RECORD_PUT, RECORD_EXPIRES, 0));
    assert_false(ACCEPTED(RECORD_PUT, 0, 1)); /* a byte too many */
    assert_false(ACCEPTED(RECORD_DELETE, RECORD_EXPIRES, 1));
    assert_true(ACCEPTED(RECORD_PUT, RECORD_BATCH, 0));  /* the first part of its batch */
    assert_true(ACCEPTED(RECORD_PUT, RECORD_BATCH, 99)); /* place 1 */
    assert_false(ACCEPTED(RECORD_PUT, RECORD_BATCH, 100));
    assert_false(ACCEPTED(RECORD_PUT, RECORD_BATCH, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1));
    assert_false(ACCEPTED(RECORD_PUT, RECORD_REPLACES, 1));
    assert_true(ACCEPTED(RECORD_PUT, RECORD_BATCH | RECORD_REPLACES, 5, 5));
    assert_true(ACCEPTED(RECORD_DELETE, RECORD_BATCH | RECORD_REPLACES, 5, 1));
    assert_false(ACCEPTED(RECORD_PUT, RECORD_BATCH | RECORD_REPLACES, 5, 0));
    assert_false(ACCEPTED(RECORD_PUT, RECORD_BATCH | RECORD_REPLACES, 5, 6)); /* before the batch */
    assert_false(ACCEPTED(RECORD_PUT, RECORD_BATCH | RECORD_REPLACES, 5));
    assert_true(ACCEPTED(RECORD_COMMIT, RECORD_BATCH, 3, 2));
    assert_false(ACCEPTED(RECORD_COMMIT, RECORD_BATCH, 3, 0)); /* of no parts */
    assert_false(ACCEPTED(RECORD_COMMIT, RECORD_BATCH, 3));
    assert_false(ACCEPTED(RECORD_COMMIT, 0, 2));
    assert_false(ACCEPTED(RECORD_COMMIT, RECORD_BATCH | RECORD_COLLIDES, 3, 2));
    assert_false(ACCEPTED(RECORD_STREAM, RECORD_PACKED, 8));
    assert_true(ACCEPTED(RECORD_STREAM, RECORD_EXPIRES | RECORD_BATCH, 8, 1, 0));
    assert_false(ACCEPTED(RECORD_STREAM, RECORD_EXPIRES | RECORD_BATCH, 0, 1, 0));
    for (uint8_t type = RECORD_COMMIT + 1; type != 0; type++)
        assert_false(ACCEPTED(type, 0, 1));
    for (unsigned flag = 2; flag <= 128; flag = flag == 2 ? 64 : flag * 2) /* reserved */
        assert_false(ACCEPTED(RECORD_PUT, (uint8_t)flag, 1));
}

/* One byte after another cut off the entries, with everything else made to fit. */
static void entries_cut_short_are_refused(void **state) {
    (void)state;
    footer_entry entries[20];
    sealed s = build(entries, make_entries(entries, 20));
    uint64_t read, whole = le64_get(trailer_of(&s) + 24);
    for (uint64_t size = 0; size < whole; size++) {
        size_t padded = (size_t)round_up(size, 8);
        sealed cut = {.size = padded + FOOTER_TRAILER_BYTES, .offset = s.offset};
        cut.footer = calloc(1, cut.size);
        memcpy(cut.footer, s.footer, size);
        memcpy(trailer_of(&cut), trailer_of(&s), FOOTER_TRAILER_BYTES);
        le64_put(trailer_of(&cut) + 24, size);
        reseal(&cut, size);
        assert_false(read_safely(&cut, &read));
        free(cut.footer);
    }
    free(s.footer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_as_they_were),
        cmocka_unit_test(an_empty_segment_has_a_footer_too),
        cmocka_unit_test(a_footer_of_another_segment_or_size_is_refused),
        cmocka_unit_test(every_flipped_bit_of_entries_and_trailer_is_refused),
        cmocka_unit_test(hostile_trailer_fields_are_refused_also_under_a_right_checksum),
        cmocka_unit_test(random_entries_under_a_right_checksum_never_leave_the_segment),
        cmocka_unit_test(features_that_cannot_be_are_refused_also_under_a_right_checksum),
        cmocka_unit_test(entries_cut_short_are_refused),
    };
    return cmocka_run_group_tests_name("footer", tests, NULL, NULL);
}

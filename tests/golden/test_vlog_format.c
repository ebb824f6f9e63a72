/* vlog/FORMAT.md ends with a worked example in hex. Each structure of it is made here by the code and compared with the
 * page, byte for byte: neither can change without the other, and a store written yesterday can be read tomorrow.
 *
 * On the page a structure is a block that begins with "```hex NAME SIZE"; a row is an offset, bytes, a bar and words.
 * Bytes that no row gives are zero. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/base/keyhash.h"
#include "src/base/status.h"
#include "tests/support/earlier_records.h"
#include "tests/support/os_sim.h"
#include "vlog/footer.h"
#include "vlog/manifest.h"
#include "vlog/pack.h"
#include "vlog/record.h"
#include "vlog/segment.h"
#include "vlog/value_file.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PAGE "vlog/FORMAT.md"
#define SALT 0x0123456789abcdefu
#define SEGMENT_ID 7
#define GENERATION 1
#define VALUE_ID 8
#define STORE "store"
#define BYTES_MAX 16384

static const uint8_t store_id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const key_secret secret = {{16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}};

/* ---- The example: one segment with four records, one value file, the manifest ---- */

enum { PUT_OFFSET = 4096, DELETE_OFFSET = 4224, SKIP_OFFSET = 4352, STREAM_OFFSET = 4480, FOOTER_OFFSET = 4672 };

static uint64_t segment_seed(void) { return file_seed(SALT, SEGMENT_ID, GENERATION); }

static size_t build_segment_header(uint8_t *out) {
    manifest_segment m = {.id = SEGMENT_ID, .generation = GENERATION, .base_granule = 16, .granules = 4};
    segment *s = segment_new(&m, SALT, false);
    assert_non_null(s);
    segment_encode_header(out, s, store_id);
    segment_free(s);
    return SEGMENT_DATA_OFFSET;
}

/* `value` is what the payload decodes to. */
static size_t encode_at(uint8_t *out, record_header *h, const char *key, const void *payload, const void *value,
                        uint64_t seed) {
    h->key_size = (uint32_t)strlen(key);
    record_layout(h);
    uint64_t frame;
    uint32_t length = (uint32_t)h->stored_size;
    CHECK(record_content_size(h) <= FRAME_BYTES);
    frames_compute(&frame, value, record_content_size(h));
    record_encode(out, h, key, &frame, &length, seed);
    memcpy(out + h->header_size, payload, h->stored_size);
    return h->units * 64;
}

static size_t encode_record(uint8_t *out, record_header *h, const char *key, const void *payload, uint64_t offset) {
    return encode_at(out, h, key, payload, payload, segment_seed() + offset);
}

static size_t build_put(uint8_t *out) {
    record_header h = {.type = RECORD_PUT, .place = 100, .version = 41, .durable_place = 90, .value_size = 4};
    h.stored_size = 4;
    return encode_record(out, &h, "cat", "meow", PUT_OFFSET);
}

static size_t build_delete(uint8_t *out) {
    record_header h = {.type = RECORD_DELETE, .flags = RECORD_COLLIDES, .place = 101, .version = 42};
    h.durable_place = 90;
    return encode_record(out, &h, "dog", "", DELETE_OFFSET);
}

static size_t build_skip(uint8_t *out) {
    earlier_skip(out, 2, 102, 101, segment_seed() + SKIP_OFFSET);
    return 128;
}

/* The whole value file, and its descriptor. */
static size_t make_value_file(uint8_t *out, value_descriptor *d) {
    sim_disk *disk = sim_new(1);
    value_file_env env = {.store_id = store_id, .salt = SALT};
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), STORE, OS_CREATE, &env.dir), 0);
    value_writer *w;
    assert_int_equal(value_writer_open(&w, &env, VALUE_ID, VALUE_TABLE_MEMORY_MAX, NULL, NULL), CAIRN_OK);
    assert_int_equal(value_writer_write(w, "trumpet", 7, NULL), CAIRN_OK);
    assert_int_equal(value_writer_finish(w, "elephant", 8, d, NULL), CAIRN_OK);
    value_writer_close(w);
    size_t size;
    uint8_t *bytes = sim_file_read(disk, STORE, "0000000000000008.val", &size);
    assert_true(bytes != NULL && size <= BYTES_MAX);
    memcpy(out, bytes, size);
    free(bytes);
    os_dir_close(env.dir);
    sim_free(disk);
    return size;
}

static size_t build_value_file(uint8_t *out) {
    value_descriptor d;
    return make_value_file(out, &d);
}

static size_t build_stream(uint8_t *out) {
    uint8_t file[BYTES_MAX], payload[VALUE_DESCRIPTOR_BYTES];
    value_descriptor d;
    (void)make_value_file(file, &d);
    value_descriptor_encode(payload, &d);
    record_header h = {.type = RECORD_STREAM, .place = 103, .version = 40, .durable_place = 102, .value_size = 7};
    h.stored_size = sizeof payload;
    return encode_record(out, &h, "elephant", payload, STREAM_OFFSET);
}

static void add_entry(footer_builder *b, footer_entry entry, const char *key) {
    entry.offset = b->next_offset;
    if (key != NULL) entry.hash = key_hash_of(&secret, key, strlen(key), UINT64_MAX);
    assert_int_equal(footer_builder_reserve(b, 2), CAIRN_OK);
    footer_builder_add(b, &entry);
}

static size_t make_footer(uint8_t *out, uint64_t *trailer_checksum) {
    footer_builder b;
    footer_builder_init(&b, SEGMENT_DATA_OFFSET);
    add_entry(&b, (footer_entry){.type = RECORD_PUT, .units = 2, .place = 100, .version = 41}, "cat");
    add_entry(&b, (footer_entry){.type = RECORD_DELETE, .flags = 1, .units = 2, .place = 101, .version = 42}, "dog");
    add_entry(&b, (footer_entry){.type = RECORD_SKIP, .units = 2, .place = 102}, NULL);
    add_entry(&b,
              (footer_entry){.type = RECORD_STREAM, .units = 3, .place = 103, .version = 40, .value_file = VALUE_ID},
              "elephant");
    assert_int_equal(b.next_offset, FOOTER_OFFSET);
    const uint8_t *bytes;
    size_t size;
    assert_int_equal(footer_build(&b, segment_seed(), &bytes, &size, trailer_checksum), CAIRN_OK);
    memcpy(out, bytes, size);
    footer_builder_release(&b);
    return size;
}

static size_t build_footer(uint8_t *out) {
    uint64_t unused;
    return make_footer(out, &unused);
}

/* ---- The second example: a segment with records of the later features ---- */

enum {
    PACKED_OFFSET = 4096,
    MORTAL_OFFSET = 4288,
    FIRST_OFFSET = 4416,
    SECOND_OFFSET = 4544,
    COMMIT_OFFSET = 4672,
    LATER_FOOTER_OFFSET = 4800
};

#define LATER_SEGMENT_ID 10
#define EXPIRY 1700000000000u
#define MOO_BYTES 128u

/* "moo moo .. ", and a zstd frame of it. Other releases may write other frames; all of them read this one. */
static const uint8_t moo_frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x80, 0x5d, 0x00, 0x00, 0x20,
                                    0x6d, 0x6f, 0x6f, 0x20, 0x01, 0x00, 0xf9, 0xd4, 0x11, 0x01};

static void moo(uint8_t out[MOO_BYTES]) {
    for (unsigned i = 0; i < MOO_BYTES; i++)
        out[i] = (uint8_t) "moo "[i % 4];
}

static uint64_t later_seed(void) { return file_seed(SALT, LATER_SEGMENT_ID, 0); }

static size_t build_packed(uint8_t *out) {
    uint8_t value[MOO_BYTES];
    moo(value);
    record_header h = {.type = RECORD_PUT, .flags = RECORD_PACKED, .codec = CODEC_ZSTD, .place = 200, .version = 50};
    h.value_size = MOO_BYTES;
    h.stored_size = sizeof moo_frame;
    return encode_at(out, &h, "ox", moo_frame, value, later_seed() + PACKED_OFFSET);
}

static size_t build_mortal(uint8_t *out) {
    record_header h = {.type = RECORD_PUT, .flags = RECORD_EXPIRES, .place = 201, .version = 51, .value_size = 4};
    h.stored_size = 4;
    h.expires_at_ms = EXPIRY;
    return encode_at(out, &h, "bee", "buzz", "buzz", later_seed() + MORTAL_OFFSET);
}

static size_t build_first_part(uint8_t *out) {
    record_header h = {.type = RECORD_PUT, .flags = RECORD_BATCH, .place = 202, .version = 52, .value_size = 3};
    h.stored_size = 3;
    h.batch = 202;
    return encode_at(out, &h, "hen", "egg", "egg", later_seed() + FIRST_OFFSET);
}

static size_t build_second_part(uint8_t *out) {
    record_header h = {.type = RECORD_DELETE, .flags = RECORD_BATCH, .place = 203, .version = 53, .batch = 202};
    return encode_at(out, &h, "cat", "", "", later_seed() + SECOND_OFFSET);
}

static size_t build_commit(uint8_t *out) {
    record_header h = {.type = RECORD_COMMIT, .flags = RECORD_BATCH, .place = 204, .version = 54, .batch = 202};
    h.value_size = 2;
    return encode_at(out, &h, "", "", "", later_seed() + COMMIT_OFFSET);
}

static size_t build_later_footer(uint8_t *out) {
    footer_builder b;
    footer_builder_init(&b, SEGMENT_DATA_OFFSET);
    footer_entry small = {.type = RECORD_PUT, .flags = RECORD_PACKED, .units = 3, .place = 200, .version = 50};
    footer_entry mortal = {.type = RECORD_PUT, .flags = RECORD_EXPIRES, .units = 2, .place = 201, .version = 51};
    footer_entry first = {.type = RECORD_PUT, .flags = RECORD_BATCH, .units = 2, .place = 202, .version = 52};
    footer_entry second = {.type = RECORD_DELETE, .flags = RECORD_BATCH, .units = 2, .place = 203, .version = 53};
    footer_entry commit = {.type = RECORD_COMMIT, .flags = RECORD_BATCH, .units = 2, .place = 204, .version = 54};
    mortal.expires_at_ms = EXPIRY;
    first.batch = second.batch = commit.batch = 202;
    commit.parts = 2;
    add_entry(&b, small, "ox");
    add_entry(&b, mortal, "bee");
    add_entry(&b, first, "hen");
    add_entry(&b, second, "cat");
    add_entry(&b, commit, NULL);
    assert_int_equal(b.next_offset, LATER_FOOTER_OFFSET);
    const uint8_t *bytes;
    size_t size;
    uint64_t unused;
    assert_int_equal(footer_build(&b, later_seed(), &bytes, &size, &unused), CAIRN_OK);
    memcpy(out, bytes, size);
    footer_builder_release(&b);
    return size;
}

static size_t build_manifest(uint8_t *out) {
    uint8_t footer[BYTES_MAX];
    manifest m;
    manifest_init(&m, store_id);
    m.sequence = 4; /* the store counts it up */
    m.reclaim_epoch = 1;
    m.next_id = 10;
    m.version_ceiling = 1 << 20;
    m.durable_place = 104;
    manifest_segment sealed = {.id = SEGMENT_ID, .generation = GENERATION, .base_granule = 16, .granules = 4};
    sealed.state = SEGMENT_SEALED;
    sealed.sealed_size = FOOTER_OFFSET + make_footer(footer, &sealed.trailer_checksum);
    sealed.first_place = 100;
    sealed.end_place = 104;
    sealed.lowest_version = 40;
    sealed.record_end = FOOTER_OFFSET;
    manifest_segment open = {.id = 9, .base_granule = 20, .granules = 4, .state = SEGMENT_OPEN};
    assert_int_equal(manifest_reserve(&m), CAIRN_OK);
    manifest_add(&m, &sealed);
    assert_int_equal(manifest_reserve(&m), CAIRN_OK);
    manifest_add(&m, &open);

    sim_disk *disk = sim_new(1);
    os_dir *dir;
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), STORE, OS_CREATE, &dir), 0);
    assert_int_equal(manifest_store(&m, dir, SALT, NULL, NULL), CAIRN_OK);
    size_t size;
    uint8_t *bytes = sim_file_read(disk, STORE, MANIFEST_NAME, &size);
    assert_true(bytes != NULL && size <= BYTES_MAX);
    memcpy(out, bytes, size);
    free(bytes);
    os_dir_close(dir);
    sim_free(disk);
    manifest_release(&m);
    return size;
}

/* ---- The page ---- */

/* One row into `out`. */
static void read_row(const char *row, uint8_t *out, size_t size) {
    char *next;
    unsigned long at = strtoul(row, &next, 10);
    if (next == row) fail_msg(PAGE ": a row without an offset: %s", row);
    for (;;) {
        while (*next == ' ')
            next++;
        if (*next == '|') return;
        if (!isxdigit((unsigned char)next[0]) || !isxdigit((unsigned char)next[1]) || isxdigit((unsigned char)next[2]))
            fail_msg(PAGE ": a row that is not bytes: %s", row);
        char digits[3] = {next[0], next[1], 0};
        if (at >= size) fail_msg(PAGE ": a row beyond the end: %s", row);
        out[at++] = (uint8_t)strtoul(digits, NULL, 16);
        next += 2;
    }
}

/* The bytes of a structure as the page gives them; returns its size. */
static size_t read_page(const char *name, uint8_t out[BYTES_MAX]) {
    FILE *page = fopen(PAGE, "r");
    if (page == NULL) fail_msg("run it from the repository's root: there is no " PAGE);
    char row[256], found[64];
    size_t size = 0;
    bool inside = false, done = false;
    memset(out, 0, BYTES_MAX);
    while (!done && fgets(row, sizeof row, page) != NULL) {
        if (inside) {
            done = strncmp(row, "```", 3) == 0;
            if (!done) read_row(row, out, size);
        } else if (sscanf(row, "```hex %63s %zu", found, &size) == 2) {
            assert_true(size <= BYTES_MAX);
            inside = strcmp(found, name) == 0;
        }
    }
    (void)fclose(page);
    if (!done) fail_msg(PAGE " has no example of %s", name);
    return size;
}

typedef struct example {
    const char *name;
    size_t (*build)(uint8_t *out);
} example;

static const example examples[] = {{"segment-header", build_segment_header},
                                   {"put", build_put},
                                   {"delete", build_delete},
                                   {"skip", build_skip},
                                   {"stream", build_stream},
                                   {"footer", build_footer},
                                   {"value-file", build_value_file},
                                   {"manifest", build_manifest},
                                   {"packed", build_packed},
                                   {"mortal", build_mortal},
                                   {"first-part", build_first_part},
                                   {"second-part", build_second_part},
                                   {"commit", build_commit},
                                   {"later-footer", build_later_footer}};
#define EXAMPLES (sizeof examples / sizeof *examples)

static void the_code_writes_what_the_page_says(void **state) {
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        static uint8_t built[BYTES_MAX], said[BYTES_MAX];
        memset(built, 0, sizeof built);
        size_t size = examples[i].build(built), size_said = read_page(examples[i].name, said);
        if (size != size_said) fail_msg("%s: %zu bytes, the page says %zu", examples[i].name, size, size_said);
        for (size_t at = 0; at < size; at++) {
            if (built[at] != said[at])
                fail_msg("%s: byte %zu is %02x, the page says %02x", examples[i].name, at, built[at], said[at]);
        }
    }
}

static void the_code_reads_what_the_page_says(void **state) {
    (void)state;
    static uint8_t said[BYTES_MAX];
    record_header h;
    size_t size = read_page("put", said);
    assert_int_equal(record_decode(&h, said, size, size, segment_seed() + PUT_OFFSET), RECORD_VALID);
    assert_memory_equal(record_key(said), "cat", 3);
    assert_memory_equal(said + h.header_size, "meow", 4);
    assert_true(frames_verify(said + record_table_offset(h.key_size), said + h.header_size, 4) == UINT64_MAX);
    assert_int_equal(h.version, 41);

    size = read_page("stream", said);
    value_descriptor d;
    assert_int_equal(record_decode(&h, said, size, size, segment_seed() + STREAM_OFFSET), RECORD_VALID);
    assert_true(value_descriptor_decode(&d, said + h.header_size, h.value_size));
    assert_int_equal(d.id, VALUE_ID);

    size = read_page("footer", said);
    footer_trailer t;
    footer_reader r;
    footer_entry e = {0};
    const uint8_t *trailer = said + size - FOOTER_TRAILER_BYTES;
    assert_true(footer_trailer_decode(&t, trailer, FOOTER_OFFSET + size, segment_seed()));
    assert_true(footer_reader_init(&r, &t, said, SEGMENT_DATA_OFFSET, segment_seed()));
    for (int i = 0; i < 4; i++)
        assert_int_equal(footer_reader_next(&r, &e), 1);
    assert_int_equal(e.offset, STREAM_OFFSET);
    assert_int_equal(e.version, 40);
    assert_int_equal(footer_reader_next(&r, &e), 0);
}

static void zstd_reads_the_frame_on_the_page(void **state) {
    (void)state;
    static uint8_t said[BYTES_MAX];
    uint8_t expected[MOO_BYTES], got[MOO_BYTES];
    record_header h;
    packer *p;
    moo(expected);
    size_t size = read_page("packed", said);
    assert_int_equal(record_decode(&h, said, size, size, later_seed() + PACKED_OFFSET), RECORD_VALID);
    assert_int_equal(packer_new(&p), CAIRN_OK);
    assert_int_equal(unpack_frame(p, NULL, said + h.header_size, h.stored_size, got, h.value_size), CAIRN_OK);
    assert_memory_equal(got, expected, MOO_BYTES);
    packer_free(p);
}

static void the_later_footer_says_what_its_records_say(void **state) {
    (void)state;
    static uint8_t said[BYTES_MAX], record[BYTES_MAX];
    const char *const names[] = {"packed", "mortal", "first-part", "second-part", "commit"};
    size_t size = read_page("later-footer", said);
    footer_trailer t;
    footer_reader r;
    footer_entry e;
    record_header h;
    assert_true(
        footer_trailer_decode(&t, said + size - FOOTER_TRAILER_BYTES, LATER_FOOTER_OFFSET + size, later_seed()));
    assert_true(footer_reader_init(&r, &t, said, SEGMENT_DATA_OFFSET, later_seed()));
    for (int i = 0; i < 5; i++) {
        size = read_page(names[i], record);
        assert_int_equal(footer_reader_next(&r, &e), 1);
        assert_int_equal(record_decode(&h, record, size, size, later_seed() + e.offset), RECORD_VALID);
        assert_int_equal(e.type, h.type);
        assert_int_equal(e.flags, h.flags);
        assert_int_equal(e.units, h.units);
        assert_int_equal(e.place, h.place);
        assert_int_equal(e.version, h.version);
        assert_int_equal(e.expires_at_ms, h.expires_at_ms);
        assert_int_equal(e.batch, h.batch);
        assert_int_equal(e.parts, h.type == RECORD_COMMIT ? h.value_size : 0);
    }
    assert_int_equal(footer_reader_next(&r, &e), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_writes_what_the_page_says),
        cmocka_unit_test(the_code_reads_what_the_page_says),
        cmocka_unit_test(zstd_reads_the_frame_on_the_page),
        cmocka_unit_test(the_later_footer_says_what_its_records_say),
    };
    return cmocka_run_group_tests_name("vlog_format", tests, NULL, NULL);
}

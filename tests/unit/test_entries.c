/* The entries of sealed segments, one by one and merged in the order of versions. */
#include "src/base/check.h"
#include "tests/support/os_sim.h"
#include "vlog/compacted.h"
#include "vlog/entries.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORE "store"
#define SALT 77u
#define SEGMENTS_MAX 16
#define LARGE_BYTES ((size_t)1 << 18) /* what comes behind it is read by itself */

typedef struct log_box {
    sim_disk *disk;
    os_dir *dir;
    epoch *readers;
    vlog *log;
    vlog_space *list; /* of sealed segments, in order of id */
    size_t count;
} log_box;

static const uint8_t store_id[16] = {1};

static void say(void *ctx, int level, const char *message) {
    (void)ctx;
    (void)level;
    (void)message;
}

static int no_event(void *ctx, const vlog_event *event, cairn_error *error) {
    (void)ctx;
    (void)event;
    (void)error;
    return CAIRN_OK;
}

static int setup(void **state) {
    log_box *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->disk = sim_new(1);
    os *system = sim_os(b->disk);
    CHECK(system->dir_open(system, STORE, OS_CREATE, &b->dir) == 0);
    CHECK(epoch_new(&b->readers) == CAIRN_OK);
    vlog_options o = {.dir = b->dir,
                      .readers = b->readers,
                      .salt = SALT,
                      .hash_mask = UINT64_MAX,
                      .segment_bytes = (uint64_t)1 << 20,
                      .no_windows = true,
                      .open_files_max = 1, /* so that a file is closed as soon as another one is used */
                      .log = say};
    memcpy(o.store_id, store_id, sizeof store_id);
    vlog_start start = {0};
    vlog_recovered recovered;
    CHECK(vlog_create(b->dir, store_id, SALT, NULL) == CAIRN_OK);
    CHECK(vlog_open(&b->log, &o, NULL) == CAIRN_OK);
    CHECK(vlog_recover(b->log, &start, no_event, NULL, &recovered, NULL) == CAIRN_OK);
    *state = b;
    return 0;
}

static int teardown(void **state) {
    log_box *b = *state;
    free(b->list);
    vlog_close(b->log);
    epoch_free(b->readers);
    os_dir_close(b->dir);
    size_t open = sim_open_handles(b->disk);
    sim_free(b->disk);
    free(b);
    return open != 0;
}

/* ---- Making segments ---- */

static key_hash hash_of(const char *key) {
    static const key_secret secret;
    return key_hash_of(&secret, key, strlen(key), UINT64_MAX);
}

static uint64_t append(log_box *b, const char *key, size_t value_size) {
    static const uint8_t zeros[LARGE_BYTES];
    vlog_appended out;
    vlog_record r = {.type = value_size == 0 ? RECORD_DELETE : RECORD_PUT,
                     .hash = hash_of(key),
                     .key = key,
                     .key_size = (uint32_t)strlen(key),
                     .payload = zeros,
                     .payload_size = value_size,
                     .value = zeros,
                     .value_size = value_size};
    assert_int_equal(vlog_append(b->log, &r, &out, NULL), CAIRN_OK);
    return out.version;
}

static void list_segments(log_box *b) {
    free(b->list);
    assert_int_equal(vlog_space_list(b->log, &b->list, &b->count), CAIRN_OK);
    assert_true(b->count <= SEGMENTS_MAX);
}

static void seal(log_box *b) {
    assert_int_equal(vlog_sync(b->log, vlog_appended_place(b->log), NULL), CAIRN_OK);
    assert_int_equal(vlog_seal_active(b->log, 1, 0, NULL), CAIRN_OK);
    list_segments(b);
}

/* A compacted segment of entries of sealed ones: as they are, or the deletions that they become. */
typedef struct copied {
    size_t segment, entry; /* the how many-th */
    bool dies;
} copied;

static void copy(log_box *b, vlog_output *o, const copied *c) {
    static uint8_t record[2 * LARGE_BYTES];
    entry_cursor cursor;
    record_header header;
    uint64_t offset;
    segment *s = b->list[c->segment].segment;
    assert_int_equal(entry_cursor_open(&cursor, b->log, s, NULL), CAIRN_OK);
    for (size_t left = c->entry + 1; left > 0;) {
        assert_int_equal(entry_cursor_next(&cursor, NULL), 1);
        left--;
    }
    const footer_entry *e = &cursor.entry;
    epoch_guard guard = epoch_enter(b->readers);
    assert_int_equal(vlog_record_raw(b->log, s, e->offset, e->units, record, &header, NULL), CAIRN_OK);
    epoch_exit(b->readers, guard);
    int rc = c->dies ? vlog_output_add_tombstone(o, record, &header, e, NULL)
                     : vlog_output_add(o, record, &header, e, &offset, NULL);
    assert_int_equal(rc, CAIRN_OK);
    entry_cursor_close(&cursor);
}

static void compact(log_box *b, const copied *list, size_t count) {
    vlog_output *o;
    segment *published;
    assert_int_equal(vlog_output_open(&o, b->log, (uint64_t)1 << 20, NULL), CAIRN_OK);
    for (size_t i = 0; i < count; i++) {
        copy(b, o, &list[i]);
    }
    assert_int_equal(vlog_output_publish(o, &published, NULL), CAIRN_OK);
    assert_true(published->compacted);
    list_segments(b);
}

static void damage(log_box *b, size_t at, uint64_t offset) {
    char name[SIM_NAME_SIZE];
    (void)snprintf(name, sizeof name, "%016llx.seg", (unsigned long long)b->list[at].id);
    assert_true(sim_file_poke(b->disk, STORE, name, offset, 1));
}

static void damage_footer(log_box *b, size_t at) { damage(b, at, b->list[at].segment->sealed_size - 1); }

static void merge_open(log_box *b, entry_merge *m) {
    segment *segments[SEGMENTS_MAX];
    for (size_t i = 0; i < b->count; i++) {
        segments[i] = b->list[i].segment;
    }
    assert_int_equal(entry_merge_open(m, b->log, segments, b->count, NULL), CAIRN_OK);
}

static void expect_next(entry_merge *m, uint64_t version, uint8_t type, const segment *s) {
    const entry_cursor *c;
    uint64_t peeked;
    assert_int_equal(entry_merge_peek(m, &peeked, NULL), CAIRN_OK);
    assert_int_equal(peeked, version);
    assert_int_equal(entry_merge_next(m, &c, NULL), 1);
    assert_int_equal(c->entry.version, version);
    assert_int_equal(c->entry.type, type);
    assert_ptr_equal(c->segment, s);
}

static void expect_end(entry_merge *m) {
    const entry_cursor *c;
    uint64_t version;
    assert_int_equal(entry_merge_peek(m, &version, NULL), CAIRN_OK);
    assert_true(version == UINT64_MAX);
    assert_int_equal(entry_merge_next(m, &c, NULL), 0);
    entry_merge_close(m);
}

/* ---- One segment ---- */

/* Two small records, a SKIP up to the next block, a large one, a deletion. */
static void fill_one(log_box *b, uint64_t versions[4]) {
    versions[0] = append(b, "a", 10);
    versions[1] = append(b, "b", 1000);
    versions[2] = append(b, "c", LARGE_BYTES);
    versions[3] = append(b, "d", 0);
    seal(b);
}

static void expect_one(log_box *b, const uint64_t versions[4], bool compacted) {
    static const char *const keys[4] = {"a", "b", "c", "d"};
    entry_cursor c;
    size_t i = 0;
    uint64_t place = 0;
    int rc;
    segment *s = b->list[b->count - 1].segment;
    assert_int_equal(entry_cursor_open(&c, b->log, s, NULL), CAIRN_OK);
    while ((rc = entry_cursor_next(&c, NULL)) == 1) {
        assert_true(place == 0 || c.entry.place == place + 1);
        place = c.entry.place;
        key_hash hash = hash_of(keys[i]);
        assert_true(c.entry.hash.index == hash.index && c.entry.hash.check == hash.check);
        assert_int_equal(c.entry.type, i == 3 ? RECORD_DELETE : RECORD_PUT);
        assert_int_equal(c.entry.version, versions[i++]);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(i, 4);
    assert_int_equal(place + 1, s->end_place);
    assert_int_equal(s->compacted, compacted);
    entry_cursor_close(&c);
}

static void footer_and_records_tell_the_same(void **state) {
    log_box *b = *state;
    uint64_t versions[4];
    fill_one(b, versions);
    expect_one(b, versions, false);
    damage_footer(b, 0);
    expect_one(b, versions, false);
}

static void so_they_do_of_a_compacted_segment(void **state) {
    log_box *b = *state;
    uint64_t versions[4];
    fill_one(b, versions);
    const copied all[] = {{0, 0, false}, {0, 1, false}, {0, 2, false}, {0, 3, true}};
    compact(b, all, 4);
    expect_one(b, versions, true);
    damage_footer(b, 1);
    expect_one(b, versions, true);
}

static void where_a_record_is_damaged_too_nothing_is_told_behind_it(void **state) {
    log_box *b = *state;
    uint64_t versions[4];
    entry_cursor c;
    cairn_error error = {0};
    fill_one(b, versions);
    damage_footer(b, 0);
    damage(b, 0, SEGMENT_DATA_OFFSET + 128 + 20); /* the second one's header */
    assert_int_equal(entry_cursor_open(&c, b->log, b->list[0].segment, NULL), CAIRN_OK);
    assert_int_equal(entry_cursor_next(&c, NULL), 1);
    assert_int_equal(entry_cursor_next(&c, &error), CAIRN_CORRUPT);
    assert_int_equal(error.segment, b->list[0].id);
    entry_cursor_close(&c);
}

static void a_segment_of_another_size_is_not_opened(void **state) {
    log_box *b = *state;
    uint64_t versions[4];
    entry_cursor c;
    char name[SIM_NAME_SIZE];
    fill_one(b, versions);
    (void)snprintf(name, sizeof name, "%016llx.seg", (unsigned long long)b->list[0].id);
    for (int longer = 0; longer < 2; longer++) {
        uint64_t size = b->list[0].segment->sealed_size;
        assert_true(sim_file_resize(b->disk, STORE, name, longer != 0 ? size + 1 : size - 1));
        assert_int_equal(entry_cursor_open(&c, b->log, b->list[0].segment, NULL), CAIRN_CORRUPT);
        entry_cursor_close(&c);
    }
}

/* ---- Many ---- */

static void versions_ascend_over_all_segments(void **state) {
    log_box *b = *state;
    uint64_t first[4], second[4];
    fill_one(b, first);
    fill_one(b, second);
    const copied moved[] = {{0, 0, false}, {0, 2, false}, {1, 1, false}};
    compact(b, moved, 3); /* versions of both, between the others */
    for (int way = 0; way < 2; way++) {
        entry_merge m;
        const segment *s[3] = {b->list[0].segment, b->list[1].segment, b->list[2].segment};
        merge_open(b, &m);
        expect_next(&m, first[0], RECORD_PUT, s[0]);
        expect_next(&m, first[0], RECORD_PUT, s[2]);
        expect_next(&m, first[1], RECORD_PUT, s[0]);
        expect_next(&m, first[2], RECORD_PUT, s[0]);
        expect_next(&m, first[2], RECORD_PUT, s[2]);
        expect_next(&m, first[3], RECORD_DELETE, s[0]);
        expect_next(&m, second[0], RECORD_PUT, s[1]);
        expect_next(&m, second[1], RECORD_PUT, s[1]);
        expect_next(&m, second[1], RECORD_PUT, s[2]);
        expect_next(&m, second[2], RECORD_PUT, s[1]);
        expect_next(&m, second[3], RECORD_DELETE, s[1]);
        expect_end(&m);
        damage_footer(b, 0); /* again, by the records of two of them: a file is closed between two steps */
        damage_footer(b, 2);
    }
}

static void of_one_version_the_deletion_comes_before_the_value(void **state) {
    log_box *b = *state;
    uint64_t versions[4];
    fill_one(b, versions);
    const copied dead[] = {{0, 1, true}}, live[] = {{0, 1, false}};
    compact(b, live, 1);
    compact(b, dead, 1);
    entry_merge m;
    const segment *s[3] = {b->list[0].segment, b->list[1].segment, b->list[2].segment};
    merge_open(b, &m);
    expect_next(&m, versions[0], RECORD_PUT, s[0]);
    expect_next(&m, versions[1], RECORD_DELETE, s[2]);
    expect_next(&m, versions[1], RECORD_PUT, s[0]);
    expect_next(&m, versions[1], RECORD_PUT, s[1]);
    expect_next(&m, versions[2], RECORD_PUT, s[0]);
    expect_next(&m, versions[3], RECORD_DELETE, s[0]);
    expect_end(&m);
}

static void a_merge_of_nothing_is_at_its_end(void **state) {
    log_box *b = *state;
    entry_merge m;
    assert_int_equal(entry_merge_open(&m, b->log, NULL, 0, NULL), CAIRN_OK);
    expect_end(&m);
}

static void a_merge_that_meets_damage_says_so(void **state) {
    log_box *b = *state;
    uint64_t first[4], second[4];
    fill_one(b, first);
    fill_one(b, second);
    damage_footer(b, 1);
    damage(b, 1, SEGMENT_DATA_OFFSET + 128 + 20);
    entry_merge m;
    const entry_cursor *c;
    int rc, given = 0;
    merge_open(b, &m);
    while ((rc = entry_merge_next(&m, &c, NULL)) == 1) {
        given++;
    }
    assert_int_equal(rc, CAIRN_CORRUPT);
    assert_int_equal(given, 5);
    entry_merge_close(&m);
    damage(b, 1, SEGMENT_DATA_OFFSET + 20); /* the first record */
    segment *segments[] = {b->list[0].segment, b->list[1].segment};
    assert_int_equal(entry_merge_open(&m, b->log, segments, 2, NULL), CAIRN_CORRUPT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(footer_and_records_tell_the_same),
        TEST(so_they_do_of_a_compacted_segment),
        TEST(where_a_record_is_damaged_too_nothing_is_told_behind_it),
        TEST(a_segment_of_another_size_is_not_opened),
        TEST(versions_ascend_over_all_segments),
        TEST(of_one_version_the_deletion_comes_before_the_value),
        TEST(a_merge_of_nothing_is_at_its_end),
        TEST(a_merge_that_meets_damage_says_so),
    };
    return cmocka_run_group_tests_name("entries", tests, NULL, NULL);
}

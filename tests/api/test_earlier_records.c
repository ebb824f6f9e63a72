/* A store of builds that gave each large record blocks of its own, behind a SKIP: every byte of it is read, recovered,
 * copied and given back, and it stays a store of those builds until a large record is written. */
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/contents.h"
#include "tests/support/earlier_records.h"
#include "tests/support/rung.h"
#include "vlog/log_state.h"
#include "vlog/punch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LARGE 11u /* with the small one before each they fill most of a segment */
#define LARGE_SIZE ((size_t)65536)
#define SMALL_SIZE ((size_t)100)

static void large_key(char key[16], unsigned i) { bulk_key(key, "old", i); }
static const uint8_t *large_value(unsigned i) { return random_pool() + 1000 + 64 * i; }
static void small_key(char key[16], unsigned i) { bulk_key(key, "small", i); }
static const uint8_t *small_value(unsigned i) { return random_pool() + i; }

/* Where the log goes on, in a copy of its file. */
typedef struct writing {
    cairn *store;
    uint8_t *bytes;
    uint64_t end, place, version, seed;
} writing;

static void write_record(writing *w, const char *key, const uint8_t *value, size_t size) {
    record_header h = {.type = RECORD_PUT,
                       .key_size = (uint32_t)strlen(key),
                       .value_size = size,
                       .stored_size = size,
                       .version = w->version++};
    uint64_t frames[2], gap = 0;
    earlier_layout(&h);
    if (h.units * UNIT_BYTES >= RECORD_LARGE_BYTES) gap = round_up(w->end, BLOCK_BYTES) - w->end;
    if (gap > 0) earlier_skip(w->bytes + w->end, gap / UNIT_BYTES, w->place++, 0, w->seed + w->end);
    w->end += gap;
    h.place = w->place++;
    frames_compute(frames, value, size);
    record_encode(w->bytes + w->end, &h, key, frames, NULL, w->seed + w->end);
    memcpy(w->bytes + w->end + h.header_size, value, size);
    w->end += h.units * UNIT_BYTES;
}

/* Of the log's own file, once something is in it. */
static void write_all(writing *w) {
    char key[16];
    for (unsigned i = 0; i < LARGE; i++) {
        small_key(key, i);
        write_record(w, key, small_value(i), SMALL_SIZE);
        large_key(key, i);
        write_record(w, key, large_value(i), LARGE_SIZE);
    }
}

/* The process that wrote them was killed: they lie in the open segment, behind what is durable. The last `torn` bytes
 * are missing. */
static void become_earlier(sim_box *b, size_t torn) {
    put_text(b->store, "first", "1", 1);
    vlog *log = b->store->log;
    const segment *s = log->active;
    segment_name name = segment_name_of(s);
    writing w = {.bytes = calloc(1, SIM_BOX_SEGMENT_BYTES),
                 .end = atomic_load(&s->end),
                 .place = vlog_next_place(log),
                 .version = atomic_load(&log->next_version),
                 .seed = s->seed};
    assert_non_null(w.bytes);
    sim_disk *left = sim_kill(b->disk);
    size_t size;
    uint8_t *before = sim_file_read(left, SIM_BOX_STORE, name.text, &size);
    assert_true(before != NULL && size >= w.end);
    memcpy(w.bytes, before, w.end);
    write_all(&w);
    sim_file_write(left, SIM_BOX_STORE, name.text, w.bytes, w.end - torn);
    free(before);
    free(w.bytes);
    sim_cut_at(b->disk, 0);
    (void)cairn_close(b->store);
    sim_free(b->disk);
    b->disk = left;
    sim_box_open(b);
}

static void expect_large(sim_box *b, unsigned i) {
    char key[16];
    large_key(key, i);
    expect_everywhere(b->store, key, large_value(i), LARGE_SIZE);
}

static void expect_small(sim_box *b) {
    char key[16];
    for (unsigned i = 0; i < LARGE; i++) {
        small_key(key, i);
        expect_everywhere(b->store, key, small_value(i), SMALL_SIZE);
    }
}

static void delete_large(sim_box *b, unsigned i) {
    char key[16];
    large_key(key, i);
    delete_text(b->store, key);
}

static cairn_compact_result compact(sim_box *b, bool full) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = full};
    cairn_compact_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_compact(b->store, &o, &result, NULL), CAIRN_OK);
    return result;
}

static bool is_on_units(const sim_box *b) { return (sim_box_features(b) & FEATURE_ON_UNITS) != 0; }

static void every_record_is_there_however_the_store_comes_back(void **state) {
    sim_box *b = *state;
    become_earlier(b, 0);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        for (unsigned i = 0; i < LARGE; i++) {
            expect_large(b, i);
        }
        expect_small(b);
        assert_int_equal(stats_of(b->store).keys, 1 + 2 * LARGE);
        assert_int_equal(verify_damage(b->store), 0);
        assert_false(is_on_units(b));
    }
}

static void a_tail_is_cut_at_the_first_record_that_is_not_whole(void **state) {
    sim_box *b = *state;
    become_earlier(b, 1);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_absent(b->store, "old10");
        expect_large(b, LARGE - 2);
        expect_small(b);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void a_small_record_is_no_reason_to_shut_earlier_builds_out_and_a_large_one_is(void **state) {
    sim_box *b = *state;
    become_earlier(b, 0);
    put_text(b->store, "new", random_pool(), RECORD_LARGE_BYTES / 2);
    assert_false(is_on_units(b));
    put_text(b->store, "new", random_pool(), RECORD_LARGE_BYTES);
    assert_true(is_on_units(b));
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_everywhere(b->store, "new", random_pool(), RECORD_LARGE_BYTES);
        expect_large(b, 0);
        expect_small(b);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void whole_blocks_of_the_dead_ones_are_given_back(void **state) {
    sim_box *b = *state;
    become_earlier(b, 0);
    for (unsigned i = 0; i < LARGE; i += 2) {
        delete_large(b, i);
    }
    cairn_compact_result r = compact(b, false);
    assert_int_equal(r.bytes_moved, 0);
    assert_true(r.bytes_freed >= (LARGE / 2) * (LARGE_SIZE + BLOCK_BYTES));
    assert_false(is_on_units(b));
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        for (unsigned i = 1; i < LARGE; i += 2) {
            expect_large(b, i);
        }
        expect_small(b);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

/* So little lives that the segment is emptied: what is copied lies wherever the one before it ends. */
static void copies_need_no_blocks_of_their_own(void **state) {
    sim_box *b = *state;
    become_earlier(b, 0);
    for (unsigned i = 0; i < LARGE; i++) {
        if (i != 4 && i != 5) delete_large(b, i);
    }
    vlog_give_up_holes(b->store->log);
    cairn_compact_result r = compact(b, true);
    assert_true(r.bytes_moved >= 2 * LARGE_SIZE && r.bytes_moved < 3 * LARGE_SIZE);
    assert_true(is_on_units(b));
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_large(b, 4);
        expect_large(b, 5);
        expect_absent(b->store, "old3");
        expect_small(b);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_record_is_there_however_the_store_comes_back),
        TEST(a_tail_is_cut_at_the_first_record_that_is_not_whole),
        TEST(a_small_record_is_no_reason_to_shut_earlier_builds_out_and_a_large_one_is),
        TEST(whole_blocks_of_the_dead_ones_are_given_back),
        TEST(copies_need_no_blocks_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Compaction and batches: whichever segments go, no part of a batch comes to count without its COMMIT, stops to count
 * with it, or hides another key; also where the index is built from the log alone. */
#include "tests/support/bulk.h"
#include "tests/support/meanwhile.h"
#include "tests/support/moving.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void commit_bulk(sim_box *b, const char *kind, unsigned count) {
    cairn_batch *batch;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        bulk_key(key, kind, i);
        assert_int_equal(cairn_batch_put(batch, key, strlen(key), random_pool() + i, BULK_BYTES), CAIRN_OK);
    }
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void a_batch_over_many_segments_survives_whichever_of_them_go(void **state) {
    sim_box *b = *state;
    for (unsigned dying = 0; dying < 12; dying++) {
        char kind[8], key[16];
        (void)snprintf(kind, sizeof kind, "%c", 'a' + (char)dying);
        commit_bulk(b, kind, 12);
        seal(b);
        delete_bulk(b, kind, dying, dying + 1);
        compact_all(b);
        bulk_key(key, kind, dying);
        expect_absent(b->store, key);
        expect_bulk(b, kind, 0, dying);
        expect_bulk(b, kind, dying + 1, 12);
        sim_box_rebuild(b);
        expect_absent(b->store, key);
        expect_bulk(b, kind, 0, dying);
        expect_bulk(b, kind, dying + 1, 12);
        delete_bulk(b, kind, 0, 12);
    }
}

/* The first part of a batch cannot be moved; then its COMMIT, in another unit, must stay as well. */
static void a_commit_stays_while_a_damaged_segment_holds_parts_of_its_batch(void **state) {
    sim_box *b = *state;
    commit_bulk(b, "p", 8);
    put_text(b->store, "p1", "1", 1);
    put_text(b->store, "p6", "6", 1);
    seal(b);
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    sim_box_locate(b, ".seg", random_pool() + 2, BULK_BYTES, name, &offset);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset + 1000, 1));
    cairn_compact_result r;
    assert_int_equal(compact_with(b, (cairn_compact_options){.full = true}, &r), CAIRN_CORRUPT);
    for (int way = 0; way < 2; way++) {
        expect_bulk(b, "p", 0, 1);
        expect_bulk(b, "p", 3, 6);
        expect_bulk(b, "p", 7, 8);
        expect_text(b->store, "p1", "1");
        expect_text(b->store, "p6", "6");
        if (way == 0) sim_box_rebuild(b);
    }
}

/* Part of a batch that deletes lies in a unit that a snapshot comes to need while it is emptied (a put that failed has
 * noted for it what there is); the COMMIT lies in one that nothing keeps. */
static void a_commit_stays_while_a_snapshot_keeps_parts_of_its_batch(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    b->options.max_bytes = 10 * BULK_BYTES;
    sim_box_reopen(b);
    put_text(b->store, "gone", "back again", 10);
    put_text(b->store, "seen", random_pool(), 1000);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_delete(batch, "gone", 4), CAIRN_OK);
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        bulk_key(key, "p", i);
        assert_int_equal(cairn_batch_put(batch, key, strlen(key), random_pool() + i, BULK_BYTES), CAIRN_OK);
    }
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    put_text(b->store, "p6", "6", 1);
    seal(b);
    cairn_snapshot *s = snapshot_of(b->store);
    assert_int_equal(cairn_put(b->store, "seen", 4, random_pool(), 12 * BULK_BYTES, NULL, NULL), CAIRN_FULL);
    compact_all(b);
    expect_in(s, "seen", random_pool(), 1000);
    cairn_snapshot_close(s);
    sim_box_rebuild(b);
    expect_absent(b->store, "gone");
    expect_bulk(b, "p", 0, 6);
    expect_bulk(b, "p", 7, 8);
}

static void put_all_parts(void *ctx) {
    sim_box *b = ctx;
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        bulk_key(key, "p", i);
        put_text(b->store, key, "meanwhile", 9);
    }
}

/* Another thread puts every key of the batch while that is written, so each part is written again; and some of those
 * go, while the first ones, which a reader keeps, and the COMMIT stay. */
static void parts_that_were_written_again_stay_while_the_first_ones_do(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    cairn_reader *reader;
    uint64_t versions[8];
    put_text(b->store, "read", "r", 1);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        bulk_key(key, "p", i);
        assert_int_equal(cairn_batch_put(batch, key, strlen(key), random_pool() + i, BULK_BYTES), CAIRN_OK);
    }
    assert_int_equal(cairn_batch_put(batch, "file", 4, random_pool(), FILE_BYTES), CAIRN_OK);
    meanwhile(b->disk, put_all_parts, b);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    meanwhile(b->disk, NULL, NULL);
    cairn_batch_free(batch);
    expect_bulk(b, "p", 0, 8);
    seal(b);
    assert_int_equal(cairn_reader_open(b->store, "read", 4, &reader, NULL), CAIRN_OK);
    delete_bulk(b, "p", 4, 5);
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        bulk_key(key, "p", i);
        versions[i] = i == 4 ? 0 : version_of(b->store, key);
    }
    compact_all(b);
    cairn_reader_close(reader);
    sim_box_rebuild(b);
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        bulk_key(key, "p", i);
        if (i != 4) assert_int_equal(version_of(b->store, key), versions[i]);
    }
    expect_absent(b->store, "p4");
    expect_bulk(b, "p", 0, 4);
    expect_bulk(b, "p", 5, 8);
}

/* The part of a batch that failed, and that would have been written again because its hash is another key's as well. */
static void what_is_left_of_a_batch_that_failed_hides_no_other_key(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    cairn_compact_result r;
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = 1000000};
    b->hash_mask = 0;
    sim_box_close(b);
    sim_free(b->disk);
    b->disk = sim_new(2);
    sim_box_open(b);
    put_text(b->store, "A", "older", 5);
    put_text(b->store, "B", "b", 1);
    put_bulk(b, "a", 0, 4);
    seal(b);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "A", 1, random_pool(), BULK_BYTES), CAIRN_OK);
    put_bulk(b, "b", 0, 3);
    cairn_batch *first; /* after which the manifest has all features */
    assert_int_equal(cairn_batch_new(&first), CAIRN_OK);
    assert_int_equal(cairn_batch_put(first, "first", 5, "f", 1), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, first, &o, NULL), CAIRN_OK);
    cairn_batch_free(first);
    sim_fault second_write = {.kinds = SIM_WRITE, .nth = 1, .error = -EIO};
    sim_fault_set(b->disk, &second_write);
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_IO);
    assert_int_equal(sim_fault_hits(b->disk), 1);
    sim_fault_set(b->disk, NULL);
    cairn_batch_free(batch);
    delete_bulk(b, "b", 0, 2);
    seal(b);
    delete_text(b->store, "A");
    put_bulk(b, "c", 0, 4);
    seal(b);
    assert_int_equal(compact_with(b, (cairn_compact_options){.min_garbage_ratio = 0.3}, &r), CAIRN_OK);
    assert_true(r.bytes_freed > BULK_BYTES);
    sim_box_rebuild(b);
    expect_absent(b->store, "A");
    expect_text(b->store, "B", "b");
    expect_bulk(b, "a", 0, 4);
    expect_bulk(b, "b", 2, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_batch_over_many_segments_survives_whichever_of_them_go),
        TEST(a_commit_stays_while_a_damaged_segment_holds_parts_of_its_batch),
        TEST(a_commit_stays_while_a_snapshot_keeps_parts_of_its_batch),
        TEST(parts_that_were_written_again_stay_while_the_first_ones_do),
        TEST(what_is_left_of_a_batch_that_failed_hides_no_other_key),
    };
    return cmocka_run_group_tests_name("compact_batches", tests, NULL, NULL);
}

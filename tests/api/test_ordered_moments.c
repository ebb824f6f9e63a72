/* Scans in order and their moment: what a snapshot says, whatever becomes of its keys; what expires; where hashes
 * collide; the index dropped, added and rebuilt under scans. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/listed.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Moments ---- */

static void a_scan_lists_what_was_there_at_its_opening(void **state) {
    box *b = *state;
    put_keys(b->store, "a b c d");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "e f");
    cairn_scan *scan = scan_of(b->store, NULL);
    expect_next(scan, "a");
    put_keys(b->store, "aa b1 z");
    delete_text(b->store, "b");
    delete_text(b->store, "e");
    put_text(b->store, "f", "other", 5);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    expect_rest(scan, "b c d e f");
    expect_keys(b->store, NULL, "a aa b1 c d f z");
}

/* More keys than one page of what the file lacks; those behind it are put again and absorbed before they are read. */
static void keys_that_went_and_came_again_behind_a_scan_are_in_it(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        put_text(b->store, key, "v", 1);
    }
    cairn_scan *scan = scan_of(b->store, NULL);
    expect_next(scan, "000");
    for (unsigned i = 300; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        delete_text(b->store, key);
        put_text(b->store, key, "w", 1);
    }
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    for (unsigned i = 1; i < 600; i++) {
        (void)snprintf(key, sizeof key, "%03u", i);
        expect_next(scan, key);
    }
    expect_rest(scan, "");
}

static void commit(cairn *store, const char *puts, const char *deletes) {
    cairn_batch *batch;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (; *puts != '\0'; puts++)
        assert_int_equal(cairn_batch_put(batch, puts, 1, "batch", 5), CAIRN_OK);
    for (; *deletes != '\0'; deletes++)
        assert_int_equal(cairn_batch_delete(batch, deletes, 1), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void change_everything(cairn *store, unsigned round) {
    static const char *const puts[] = {"bxy", "ac", "d"}, *const deletes[] = {"ac", "bxy", "abc"};
    put_text(store, "f", random_pool(), 300000 + round);
    commit(store, puts[round], deletes[round]);
    delete_text(store, "e");
    if (round == 1) put_text(store, "e", "again", 5);
    if (round == 2) delete_text(store, "f");
}

static void nothing_changes_what_a_snapshot_lists_and_gets(void **state) {
    box *b = *state;
    cairn_compact_options full = {.struct_size = sizeof full, .full = true};
    put_keys(b->store, "a b c d");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "e f");
    cairn_snapshot *s = snapshot_of(b->store);
    cairn_scan *early = scan_of(b->store, SCAN(.snapshot = s));
    expect_next(early, "a");
    for (unsigned round = 0; round < 3; round++) {
        change_everything(b->store, round);
        if (round != 1) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        if (round != 0) assert_int_equal(cairn_compact(b->store, &full, NULL, NULL), CAIRN_OK);
        expect_keys(b->store, SCAN(.snapshot = s), "a b c d e f");
        expect_keys(b->store, SCAN(.snapshot = s, LOWER("b"), UPPER("e"), .reverse = true), "e d c b");
        for (const char *const *key = (const char *const[]){"a", "b", "c", "d", "e", "f", NULL}; *key != NULL; key++)
            expect_in(s, *key, *key, 1);
        if (round == 1) assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    }
    expect_rest(early, "b c d e f");
    cairn_snapshot_close(s);
    expect_keys(b->store, NULL, "d");
}

static uint64_t now_ms;
static uint64_t clock_of_the_test(os *self) {
    (void)self;
    return __atomic_load_n(&now_ms, __ATOMIC_RELAXED);
}

/* A box whose clock the test moves. */
static int clock_setup(void **state) {
    static os table;
    if (box_setup(state) != 0) return 1;
    box *b = *state;
    now_ms = 1000000;
    table = os_posix_with(&(os){.clock_ms = clock_of_the_test});
    box_close(b);
    real_folder_remove(b->path);
    b->system = &table;
    b->options.no_background = true;
    box_open(b);
    return 0;
}

static void wait_ms(uint64_t ms) { __atomic_fetch_add(&now_ms, ms, __ATOMIC_RELAXED); }

static void what_expires_is_judged_by_the_time_of_the_opening(void **state) {
    box *b = *state;
    put_keys(b->store, "a c");
    put_for(b->store, "b", "b", 1, 100);
    cairn_snapshot *s = snapshot_of(b->store);
    cairn_scan *scan = scan_of(b->store, NULL);
    wait_ms(200);
    expect_keys(b->store, NULL, "a c"); /* nobody has noticed */
    assert_int_equal(stats_of(b->store).keys, 2);
    expect_keys(b->store, NULL, "a c");
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    expect_keys(b->store, NULL, "a c");
    expect_keys(b->store, SCAN(.snapshot = s, .reverse = true), "c b a");
    expect_in(s, "b", "b", 1);
    expect_rest(scan, "a b c");
    put_keys(b->store, "b");
    expect_keys(b->store, SCAN(.keys_only = true), "a b c");
    cairn_snapshot_close(s);
}

/* The file forgets the key after the checkpoint that has it; a crash brings the record back, expired. */
static void a_key_put_again_after_it_had_expired_and_a_crash_is_listed(void **state) {
    box *b = *state;
    put_keys(b->store, "a");
    put_for(b->store, "b", "b", 1, 100);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    wait_ms(200);
    assert_int_equal(stats_of(b->store).keys, 1);
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    box_crash(b);
    put_keys(b->store, "b");
    expect_keys(b->store, SCAN(.keys_only = true), "a b");
    wait_ms(1000);
    expect_keys(b->store, SCAN(.keys_only = true), "a b");
}

/* ---- Colliding hashes ---- */

static void open_with_mask(box *b, uint64_t mask) {
    assert_int_equal(store_open_on(&b->store, b->system, b->path, &b->options, mask, NULL), CAIRN_OK);
}

static void begin_with_mask(box *b, uint64_t mask) {
    box_close(b);
    real_folder_remove(b->path);
    open_with_mask(b, mask);
}

static void keys_that_share_a_hash_are_told_apart(void **state) {
    box *b = *state;
    for (uint64_t mask = 0; mask < 4; mask += 3) {
        begin_with_mask(b, mask);
        nothing_changes_what_a_snapshot_lists_and_gets(state);
        begin_with_mask(b, mask);
        a_scan_lists_what_was_there_at_its_opening(state);
        begin_with_mask(b, mask);
        keys_that_went_and_came_again_behind_a_scan_are_in_it(state);
    }
}

/* A record that collides with nothing alive supersedes all of its hash when it is replayed. */
static void an_expired_key_that_a_replayed_record_collides_with_is_not_listed(void **state) {
    box *b = *state;
    char next[REAL_PATH_SIZE];
    begin_with_mask(b, 0);
    put_for(b->store, "b", "b", 1, 100);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    wait_ms(200);
    assert_int_equal(stats_of(b->store).keys, 0);
    put_keys(b->store, "c");
    real_folder_duplicate(b->path, next);
    box_close(b);
    real_folder_remove(b->path);
    memcpy(b->path, next, sizeof next);
    open_with_mask(b, 0);
    expect_keys(b->store, SCAN(.keys_only = true), "c");
    expect_keys(b->store, SCAN(.reverse = true), "c");
}

/* ---- The index comes and goes ---- */

static void without_an_index_what_needs_order_is_unsupported(void **state) {
    box *b = *state;
    cairn_scan *scan;
    cairn_error error;
    put_keys(b->store, "a b");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_NOT_FOUND);
    for (unsigned again = 0; again < 2; again++) {
        const cairn_scan_options *const needs[] = {SCAN(LOWER("")), SCAN(UPPER("z")), SCAN(PREFIX("")), SCAN(LIKE("%")),
                                                   SCAN(.reverse = true)};
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(cairn_scan_open(b->store, needs[i], &scan, &error), CAIRN_UNSUPPORTED);
        assert_non_null(strstr(error.message, "index add"));
        assert_int_equal(count_keys(b->store, SCAN(.keys_only = true)), 2);
        assert_false(stats_of(b->store).ordered);
        assert_int_equal(cairn_delete_range(b->store, SCAN(PREFIX("a")), NULL, NULL, NULL), CAIRN_UNSUPPORTED);
        box_reopen(b);
    }
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_EXISTS);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
}

static void a_store_made_without_an_index_can_get_one(void **state) {
    box *b = *state;
    box_close(b);
    real_folder_remove(b->path);
    b->options.ordered_index = CAIRN_ORDERED_OFF;
    box_open(b);
    put_keys(b->store, "b a");
    assert_false(stats_of(b->store).ordered || real_file_is_there(b->path, "ORDERED"));
    box_close(b);
    b->options.ordered_index = CAIRN_ORDERED_ON;
    expect_refused(b->path, &b->options, CAIRN_UNSUPPORTED, "");
    b->options.ordered_index = CAIRN_ORDERED_AUTO;
    box_open(b);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
    b->options.ordered_index = CAIRN_ORDERED_OFF; /* of a store that has one: as it is */
    box_reopen(b);
    expect_keys(b->store, SCAN(.reverse = true), "b a");
}

static void a_scan_over_a_dropped_index_fails_for_good(void **state) {
    box *b = *state;
    char key[16];
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "%04u", i);
        put_text(b->store, key, "v", 1);
    }
    cairn_scan *scan = scan_of(b->store, NULL), *unread = scan_of(b->store, NULL);
    expect_next(scan, "0000");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    int rc;
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) { /* what it had read */
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rc, CAIRN_UNSUPPORTED);
        assert_int_equal(cairn_scan_next(unread, NULL), CAIRN_UNSUPPORTED);
        rc = cairn_scan_next(scan, NULL);
        if (i == 1) assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK); /* which is another one */
    }
    cairn_scan_close(scan);
    cairn_scan_close(unread);
    assert_int_equal(count_keys(b->store, SCAN(.reverse = true)), 2000);
}

static void a_snapshot_from_before_the_index_is_listed_in_any_order_only(void **state) {
    box *b = *state;
    cairn_scan *scan;
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    put_keys(b->store, "b a");
    cairn_snapshot *s = snapshot_of(b->store);
    delete_text(b->store, "a");
    cairn_scan *listing = scan_of(b->store, NULL);
    assert_int_equal(cairn_index_add(b->store, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_open(b->store, SCAN(.snapshot = s, .reverse = true), &scan, NULL), CAIRN_UNSUPPORTED);
    assert_int_equal(count_keys(b->store, SCAN(.snapshot = s)), 2);
    expect_rest(listing, "b");
    expect_keys(b->store, NULL, "b");
    cairn_snapshot_close(s);
}

static int stop(const cairn_progress *progress, void *ctx) {
    ++*(unsigned *)ctx;
    return progress->done <= progress->total;
}

static void rebuilding_and_cancelling_change_nothing_for_scans(void **state) {
    box *b = *state;
    unsigned calls = 0;
    cairn_index_options cancelled = {.struct_size = sizeof cancelled, .progress = stop, .ctx = &calls};
    put_keys(b->store, "a b c");
    cairn_scan *scan = scan_of(b->store, SCAN(.reverse = true));
    expect_next(scan, "c");
    assert_int_equal(cairn_index_rebuild(b->store, &cancelled, NULL), CAIRN_CANCELLED);
    assert_true(calls > 0);
    delete_text(b->store, "b");
    assert_int_equal(cairn_index_rebuild(b->store, NULL, NULL), CAIRN_OK);
    expect_rest(scan, "b a");
    expect_keys(b->store, NULL, "a c");
    assert_int_equal(cairn_index_drop(b->store, NULL), CAIRN_OK);
    assert_int_equal(cairn_index_add(b->store, &cancelled, NULL), CAIRN_CANCELLED);
    assert_false(stats_of(b->store).ordered || real_file_is_there(b->path, "ORDERED.NEW"));
    box_reopen(b);
    assert_false(stats_of(b->store).ordered);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
#define CLOCK(name) cmocka_unit_test_setup_teardown(name, clock_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_scan_lists_what_was_there_at_its_opening),
        TEST(keys_that_went_and_came_again_behind_a_scan_are_in_it),
        TEST(nothing_changes_what_a_snapshot_lists_and_gets),
        CLOCK(what_expires_is_judged_by_the_time_of_the_opening),
        CLOCK(a_key_put_again_after_it_had_expired_and_a_crash_is_listed),
        TEST(keys_that_share_a_hash_are_told_apart),
        CLOCK(an_expired_key_that_a_replayed_record_collides_with_is_not_listed),
        TEST(without_an_index_what_needs_order_is_unsupported),
        TEST(a_store_made_without_an_index_can_get_one),
        TEST(a_scan_over_a_dropped_index_fails_for_good),
        TEST(a_snapshot_from_before_the_index_is_listed_in_any_order_only),
        TEST(rebuilding_and_cancelling_change_nothing_for_scans),
    };
    return cmocka_run_group_tests_name("ordered_moments", tests, NULL, NULL);
}

/* Blocks written ahead of small durable appends (vlog/ahead.h): when they are there, when they go, and that nothing is
 * lost with them, wherever the machine dies. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/rung.h"
#include "tests/support/small_puts.h"
#include "vlog/ahead.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ENOUGH (AHEAD_AFTER + 2) /* small syncs */

static void small_durable_puts_go_on_in_blocks_that_are_there(void **state) {
    enum { MORE = 200 };
    sim_box *b = *state;
    size_t size = 0, growths = 0, zeros;
    put_small(b, 0, ENOUGH);
    assert_in_range(zeros_ahead(b), AHEAD_STEP_MIN / 2, AHEAD_STEP_MAX);
    for (unsigned i = 0; i < MORE; i++) {
        put_small(b, ENOUGH + i, ENOUGH + i + 1);
        size_t now = newest_segment(b, &zeros);
        if (now != size) growths++;
        size = now;
    }
    assert_in_range(growths, 1, MORE / 20);
}

static void what_is_synced_seldom_is_not_written_ahead(void **state) {
    sim_box *b = *state;
    b->options.durability = CAIRN_DURABILITY_NONE;
    sim_box_reopen(b);
    put_small(b, 0, 4 * ENOUGH);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
}

static void a_large_value_between_ends_it(void **state) {
    sim_box *b = *state;
    put_small(b, 0, ENOUGH);
    put_text(b->store, "large", random_pool(), SIM_BOX_PAYLOAD_MAX);
    put_small(b, ENOUGH, 2 * ENOUGH - 4); /* behind it, in what is left of the step */
    assert_true(zeros_ahead(b) < AHEAD_STEP_MIN);
    put_small(b, 2 * ENOUGH - 4, 3 * ENOUGH);
    assert_true(zeros_ahead(b) > AHEAD_STEP_MIN / 2);
}

static void a_clean_close_cuts_them_off(void **state) {
    put_small(*state, 0, ENOUGH);
    small_closes_without_zeros(*state, ENOUGH);
}

static void a_full_segment_is_cut_to_its_size(void **state) {
    enum { COUNT = 1500 }; /* more than one segment of 1 MiB holds */
    sim_box *b = *state;
    put_small(b, 0, COUNT);
    assert_true(sim_box_files(b, ".seg") >= 2);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_small(b, 0, COUNT);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void where_they_do_not_fit_the_put_does(void **state) {
    const bool partial[] = {false, true};
    sim_box *b = *state;
    for (unsigned i = 0; i < 2; i++) {
        unsigned first = i * 200;
        put_small(b, first, first + AHEAD_AFTER);
        size_t zeros, size = newest_segment(b, &zeros);
        if (zeros < BLOCK_BYTES) { /* the next put is one write for itself and one for what comes */
            sim_fault fault = {.kinds = SIM_WRITE, .nth = 1, .error = -ENOSPC, .partial = partial[i]};
            sim_fault_set(b->disk, &fault);
            put_small(b, first + AHEAD_AFTER, first + AHEAD_AFTER + 1);
            assert_int_equal(sim_fault_hits(b->disk), 1);
            sim_fault_set(b->disk, NULL);
            assert_in_range(newest_segment(b, &zeros), size + SMALL_BYTES, size + 2 * BLOCK_BYTES);
            assert_true(zeros < BLOCK_BYTES);
        } else {
            fail_msg("written ahead before it was due");
        }
        put_text(b->store, "large", random_pool(), SIM_BOX_PAYLOAD_MAX); /* the next round begins anew */
        expect_small(b, first, first + AHEAD_AFTER + 1);
    }
}

static void a_disk_that_is_nearly_full_is_left_to_values(void **state) {
    sim_box *b = *state;
    sim_set_capacity(b->disk, (uint64_t)3 << 20);
    put_small(b, 0, 2 * ENOUGH);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
}

static void a_killed_store_comes_back_without_a_word_of_a_torn_tail(void **state) {
    put_small(*state, 0, ENOUGH);
    small_comes_back_quietly(*state, ENOUGH);
}

/* ---- Wherever it dies ---- */

static void what_returned_is_there_wherever_it_is_cut(void **state) {
    const unsigned puts = (unsigned)rung_choose(160, 60, 2000);
    sim_box *b = *state;
    small_sweep s = {.looks = puts};
    small_sweep_begin(&s, b);
    size_t most = 0;
    for (unsigned i = 0; i < puts; i++) {
        put_small(b, i, i + 1);
        s.durable = s.returned = i + 1;
        if (zeros_ahead(b) > most) most = zeros_ahead(b);
        if (i == puts / 2) put_text(b->store, "large", random_pool(), SIM_BOX_PAYLOAD_MAX);
    }
    sim_box_close(b);
    small_sweep_end(&s);
    assert_true(most > AHEAD_STEP_MIN / 2 && s.operations > puts);
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    sim_box *b = *state;
    b->options.durability = CAIRN_DURABILITY_SYNC;
    sim_box_reopen(b);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(small_durable_puts_go_on_in_blocks_that_are_there),
        TEST(what_is_synced_seldom_is_not_written_ahead),
        TEST(a_large_value_between_ends_it),
        TEST(a_clean_close_cuts_them_off),
        TEST(a_full_segment_is_cut_to_its_size),
        TEST(where_they_do_not_fit_the_put_does),
        TEST(a_disk_that_is_nearly_full_is_left_to_values),
        TEST(a_killed_store_comes_back_without_a_word_of_a_torn_tail),
        TEST(what_returned_is_there_wherever_it_is_cut),
    };
    return cmocka_run_group_tests_name("written_ahead", tests, NULL, NULL);
}

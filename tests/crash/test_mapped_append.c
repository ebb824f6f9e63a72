/* Small appends into a mapping (vlog/mapped_append.h): when they begin, what is written otherwise, and that nothing is
 * lost with them, wherever the machine dies. */
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/small_puts.h"
#include "vlog/mapped_append.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ENOUGH ((unsigned)(MAPPED_AFTER_BYTES / SMALL_BYTES) + 1)
#define A_SEGMENT 4000u                                      /* puts: more than one holds */
#define A_STEP ((unsigned)(MAPPED_STEP_BYTES / SMALL_BYTES)) /* puts, and some more than fit */

static unsigned copied, refusals; /* calls of window_write: that succeeded, that are still to be refused */
static int refusal;

static int counted_write(os_window *window, const struct iovec *iov, int count, uint64_t offset) {
    if (refusals > 0) {
        refusals--;
        return refusal;
    }
    int rc = sim_calls()->window_write(window, iov, count, offset);
    if (rc == 0) copied++;
    return rc;
}

static int refused_ready(os_window *window, os_file *file, uint64_t offset, size_t size) {
    (void)window;
    (void)file;
    (void)offset;
    (void)size;
    return -EOPNOTSUPP;
}

static int refused_open(os_file *file, uint64_t size, unsigned flags, os_window **out) {
    if ((flags & OS_TO_WRITE) != 0) return -ENOMEM;
    return sim_calls()->window_open(file, size, flags, out);
}

static unsigned zeros_refused;

static bool are_zeros(const struct iovec *piece) {
    const uint8_t *bytes = piece->iov_base;
    return piece->iov_len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, piece->iov_len - 1) == 0;
}

/* A write of nothing but zeros fails in the middle. */
static int write_without_zeros(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (!are_zeros(&iov[0])) return sim_calls()->file_write(file, iov, count, offset);
    struct iovec half = {iov[0].iov_base, iov[0].iov_len / 2};
    (void)sim_calls()->file_write(file, &half, 1, offset);
    zeros_refused++;
    return -ENOSPC;
}

static uint64_t left_until; /* the last window_leave; 0: none */

static void noted_leave(os_window *window, uint64_t until) {
    left_until = until;
    sim_calls()->window_leave(window, until);
}

static void watch(sim_box *b) {
    os_override(sim_os(b->disk), &(os){.window_write = counted_write, .window_leave = noted_leave});
    copied = refusals = zeros_refused = 0;
    left_until = 0;
}

static void many_small_puts_are_copied_into_blocks_that_are_there(void **state) {
    enum { MORE = 300 };
    sim_box *b = *state;
    put_small(b, 0, ENOUGH);
    assert_in_range(zeros_ahead(b), 1, MAPPED_STEP_BYTES);
    size_t size = 0, growths = 0, zeros;
    unsigned before = copied;
    for (unsigned i = 0; i < MORE; i++) {
        put_small(b, ENOUGH + i, ENOUGH + i + 1);
        size_t now = newest_segment(b, &zeros);
        assert_in_range(zeros, 0, MAPPED_STEP_BYTES);
        growths += now != size;
        size = now;
    }
    assert_int_equal(copied - before, MORE);
    assert_in_range(growths, 2, MORE / A_STEP + 3);
    for (int way = 0; way < WAYS; way++) {
        if (way == CUT) assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
        come_back(b, way);
        expect_small(b, 0, ENOUGH + MORE);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void few_puts_between_two_syncs_are_written(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < 3 * ENOUGH; i++) {
        put_small(b, i, i + 1);
        if (i % (ENOUGH * 3 / 4) == 0) assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    }
    assert_int_equal(copied, 0);
}

static void what_is_ready_is_used_up_also_when_a_sync_came_between(void **state) {
    sim_box *b = *state;
    put_small(b, 0, ENOUGH);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    unsigned left = (unsigned)(zeros_ahead(b) / (SMALL_BYTES + 256)), before = copied;
    assert_true(left > 2);
    put_small(b, ENOUGH, ENOUGH + left);
    assert_int_equal(copied - before, left);
    put_small(b, ENOUGH + left, ENOUGH + ENOUGH * 3 / 4); /* the rest of it, and then by calls */
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    assert_true(copied - before < left + left / 2);
    sim_box_kill(b);
    expect_small(b, 0, ENOUGH + ENOUGH * 3 / 4);
}

/* So that who writes it out has nothing to take from the process. */
static void what_is_about_to_be_written_out_is_left_but_for_the_step_that_is_being_filled(void **state) {
    sim_box *b = *state;
    unsigned i = ENOUGH;
    put_small(b, 0, i);
    for (int by_sync = 0; by_sync < 2; by_sync++) {
        left_until = 0;
        if (by_sync) assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
        if (!by_sync) (void)vlog_write_back(b->store->log);
        size_t zeros, size = newest_segment(b, &zeros);
        assert_true(left_until > 0);
        assert_int_equal(left_until, (size - zeros) / MAPPED_STEP_BYTES * MAPPED_STEP_BYTES);
        unsigned before = copied;
        put_small(b, i, i + 10); /* some are left to be filled */
        assert_true(copied > before);
        i += 10;
    }
    sim_box_kill(b);
    expect_small(b, 0, i);
}

static void large_values_between_are_written_and_all_is_there(void **state) {
    sim_box *b = *state;
    unsigned i = 0;
    put_small(b, i, ENOUGH);
    i = ENOUGH;
    for (unsigned round = 0; round < 20; round++, i += 5) {
        put_small(b, i, i + 5);
        put_bulk(b, "large", round, round + 1);
    }
    assert_true(copied > 30 && sim_box_files(b, ".seg") >= 2);
    for (int way = 0; way < WAYS; way++) {
        if (way == CUT) assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
        come_back(b, way);
        expect_small(b, 0, i);
        expect_bulk(b, "large", 0, 20);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void a_clean_close_cuts_the_zeros_off(void **state) {
    put_small(*state, 0, ENOUGH);
    small_closes_without_zeros(*state, ENOUGH);
}

static void a_full_segment_is_cut_to_its_size(void **state) {
    enum { COUNT = 2 * A_SEGMENT + 1000 };
    sim_box *b = *state;
    put_small(b, 0, COUNT);
    assert_true(sim_box_files(b, ".seg") >= 3);
    assert_true(copied > COUNT / 2);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    for (int way = 0; way < WAYS; way++) {
        come_back(b, way);
        expect_small(b, 0, COUNT);
        assert_int_equal(verify_damage(b->store), 0);
    }
}

static void a_copy_that_fails_is_written_by_a_call(void **state) {
    sim_box *b = *state;
    unsigned i = ENOUGH;
    put_small(b, 0, i);
    refusal = -EIO;
    refusals = 1;
    unsigned before = copied;
    put_small(b, i, i + 3); /* and so are the next ones in this segment */
    assert_int_equal(refusals, 0);
    assert_int_equal(copied, before);
    put_small(b, i + 3, i + A_SEGMENT); /* the next segment has windows again */
    assert_true(copied > before);
    sim_box_kill(b);
    expect_small(b, 0, i + A_SEGMENT);
    assert_int_equal(verify_damage(b->store), 0);
}

static void where_copy_and_call_fail_the_put_does_and_the_next_one_succeeds(void **state) {
    const bool partial[] = {false, true};
    sim_box *b = *state;
    unsigned i = ENOUGH;
    put_small(b, 0, i);
    for (unsigned round = 0; round < 2; round++) {
        sim_fault fault = {.kinds = SIM_WRITE, .error = -EIO, .sticky = true, .partial = partial[round]};
        cairn_error error;
        sim_fault_set(b->disk, &fault);
        assert_int_equal(cairn_put(b->store, "torn", 4, random_pool(), SMALL_BYTES, NULL, &error), CAIRN_IO);
        assert_true(sim_fault_hits(b->disk) >= 1);
        sim_fault_set(b->disk, NULL);
        expect_absent(b->store, "torn");
        put_small(b, i, i + 2);
        i += 2;
    }
    sim_box_kill(b);
    expect_small(b, 0, i);
    expect_absent(b->store, "torn");
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_failed_write_takes_what_was_ready_with_it_and_the_next_put_has_it_anew(void **state) {
    sim_box *b = *state;
    put_text(b->store, "first", random_pool(), RECORD_LARGE_BYTES); /* which is noted in the manifest */
    put_small(b, 0, ENOUGH);
    sim_fault fault = {.kinds = SIM_WRITE, .error = -EIO, .partial = true};
    sim_fault_set(b->disk, &fault);
    assert_int_equal(cairn_put(b->store, "large", 5, random_pool(), SIM_BOX_PAYLOAD_MAX, NULL, NULL), CAIRN_IO);
    sim_fault_set(b->disk, NULL);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    unsigned before = copied;
    put_small(b, ENOUGH, ENOUGH + 3);
    assert_int_equal(copied - before, 3);
    sim_box_kill(b);
    expect_small(b, 0, ENOUGH + 3);
    expect_absent(b->store, "large");
    assert_int_equal(verify_damage(b->store), 0);
}

static void a_system_without_windows_to_write_gets_calls(void **state) {
    const os without[] = {{.window_ready = refused_ready, .window_write = counted_write},
                          {.window_open = refused_open, .window_write = counted_write}};
    sim_box *b = *state;
    for (unsigned i = 0; i < 2; i++) {
        os_override(sim_os(b->disk), &without[i]);
        put_small(b, i * A_SEGMENT, (i + 1) * A_SEGMENT);
        assert_int_equal(copied, 0);
        expect_small(b, 0, (i + 1) * A_SEGMENT);
    }
}

static void who_wants_no_mappings_gets_none(void **state) {
    sim_box *b = *state;
    b->options.no_mapped_reads = true;
    sim_box_reopen(b);
    put_small(b, 0, 2 * ENOUGH);
    assert_int_equal(copied, 0);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
}

static void where_zeros_do_not_fit_the_put_does(void **state) {
    sim_box *b = *state;
    os_override(sim_os(b->disk), &(os){.file_write = write_without_zeros});
    put_small(b, 0, 2 * ENOUGH);
    assert_true(zeros_refused > 0);
    assert_int_equal(copied, 0);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    os_override(sim_os(b->disk), &(os){.file_write = sim_calls()->file_write});
    put_small(b, 2 * ENOUGH, 2 * ENOUGH + A_SEGMENT); /* the next segment tries again */
    assert_true(copied > 0);
    sim_box_kill(b);
    expect_small(b, 0, 2 * ENOUGH + A_SEGMENT);
}

static void a_disk_that_is_nearly_full_is_left_to_values(void **state) {
    sim_box *b = *state;
    sim_set_capacity(b->disk, (uint64_t)5 << 20);
    put_small(b, 0, 2 * ENOUGH);
    assert_int_equal(copied, 0);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
}

static void a_killed_store_comes_back_without_a_word_of_a_torn_tail(void **state) {
    put_small(*state, 0, ENOUGH);
    small_comes_back_quietly(*state, ENOUGH);
}

/* ---- Wherever it dies ---- */

static void what_returned_survives_a_kill_and_what_was_synced_a_cut(void **state) {
    const unsigned puts = (unsigned)rung_choose(120, 24, 2000);
    sim_box *b = *state;
    put_small(b, 0, ENOUGH);
    small_sweep s = {.returned = ENOUGH, .looks = 50};
    unsigned before = copied;
    small_sweep_begin(&s, b);
    for (unsigned i = ENOUGH; i < ENOUGH + puts; i++) {
        put_small(b, i, i + 1);
        s.returned = i + 1;
        if (i == ENOUGH + puts / 3) put_text(b->store, "large", random_pool(), SIM_BOX_PAYLOAD_MAX);
        if (i != ENOUGH + puts * 2 / 3) continue; /* behind it what is ready is used up */
        assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
        s.durable = s.returned;
    }
    small_sweep_end(&s);
    assert_true(copied > before + puts / 2 && s.operations > puts);
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    sim_box *b = *state;
    b->options.durability = CAIRN_DURABILITY_NONE;
    b->options.segment_bytes = 4 * SIM_BOX_SEGMENT_BYTES;
    sim_box_reopen(b);
    watch(b);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(many_small_puts_are_copied_into_blocks_that_are_there),
        TEST(few_puts_between_two_syncs_are_written),
        TEST(what_is_ready_is_used_up_also_when_a_sync_came_between),
        TEST(what_is_about_to_be_written_out_is_left_but_for_the_step_that_is_being_filled),
        TEST(large_values_between_are_written_and_all_is_there),
        TEST(a_clean_close_cuts_the_zeros_off),
        TEST(a_full_segment_is_cut_to_its_size),
        TEST(a_copy_that_fails_is_written_by_a_call),
        TEST(where_copy_and_call_fail_the_put_does_and_the_next_one_succeeds),
        TEST(a_failed_write_takes_what_was_ready_with_it_and_the_next_put_has_it_anew),
        TEST(a_system_without_windows_to_write_gets_calls),
        TEST(who_wants_no_mappings_gets_none),
        TEST(where_zeros_do_not_fit_the_put_does),
        TEST(a_disk_that_is_nearly_full_is_left_to_values),
        TEST(a_killed_store_comes_back_without_a_word_of_a_torn_tail),
        TEST(what_returned_survives_a_kill_and_what_was_synced_a_cut),
    };
    return cmocka_run_group_tests_name("mapped_append", tests, NULL, NULL);
}

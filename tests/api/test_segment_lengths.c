/* How long segments get: short where what lives in them must be copied some day, longer where holes give back what
 * died.
 */
#include "src/store/compact.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"
#include "vlog/punch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define ALL_BYTES (24 * MIB)

/* New keys; how many segments there are afterwards, with the one that is made ahead. */
static size_t segments_of(sim_box *b, size_t value_size) {
    char key[32];
    for (unsigned i = 0; i < ALL_BYTES / value_size; i++) {
        int size = snprintf(key, sizeof key, "%zu-%u", value_size, i);
        assert_int_equal(cairn_put(b->store, key, (size_t)size, random_pool(), value_size, NULL, NULL), CAIRN_OK);
    }
    return sim_box_files(b, ".seg");
}

static void large_values_lie_in_segments_of_16_mib(void **state) {
    sim_box *b = *state;
    size_t segments = segments_of(b, MIB);
    assert_in_range(segments, 2, 3);
    assert_int_equal(space_slack(b->store), 8 * MIB); /* the bound is not loosened */
}

static void small_values_lie_in_segments_of_4_mib(void **state) {
    size_t segments = segments_of(*state, 16 << 10);
    assert_in_range(segments, 6, 8);
}

static void so_do_large_ones_where_no_hole_can_be_punched(void **state) {
    sim_box *b = *state;
    vlog_give_up_holes(b->store->log);
    size_t segments = segments_of(b, MIB);
    assert_in_range(segments, 6, 9);
}

static void and_large_ones_among_small_ones(void **state) {
    sim_box *b = *state;
    size_t of_small = segments_of(b, 16 << 10), of_all = segments_of(b, MIB);
    assert_in_range(of_all - of_small, 5, 9);
}

static int setup(void **state) {
    if (sim_box_setup(state) != 0) return -1;
    sim_box *b = *state;
    b->options.segment_bytes = 0; /* as it is by default */
    b->options.durability = CAIRN_DURABILITY_NONE;
    sim_box_reopen(b);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(large_values_lie_in_segments_of_16_mib),
        TEST(small_values_lie_in_segments_of_4_mib),
        TEST(so_do_large_ones_where_no_hole_can_be_punched),
        TEST(and_large_ones_among_small_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* When writers are held up for want of space, what the store's own thread is told of it, and when they are let go
 * because nothing can be gained. */
#include "src/store/store.h"
#include "tests/support/bulk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LOOKS 3u /* in vain, until nobody waits any more */

/* Replaces the same values until writers are slowed. */
static void fill_the_room(sim_box *b) {
    for (unsigned round = 0; round < 40 && !store_space_is_narrow(b->store); round++) {
        put_bulk(b, "a", 0, 5);
    }
    assert_true(store_space_is_narrow(b->store));
}

static void look(sim_box *b, bool in_vain) {
    os_mutex_lock(&b->store->compact_lock);
    store_space_learn(b->store, in_vain);
    os_mutex_unlock(&b->store->compact_lock);
}

static void who_is_slowed_urges_unless_the_last_look_was_in_vain(void **state) {
    sim_box *b = *state;
    assert_false(store_space_is_narrow(b->store));
    assert_false(store_space_is_urgent(b->store));
    fill_the_room(b);
    assert_true(store_space_is_urgent(b->store));
    look(b, true);
    assert_true(store_space_is_narrow(b->store));
    assert_false(store_space_is_urgent(b->store));
    look(b, false);
    assert_true(store_space_is_urgent(b->store));
    assert_int_equal(cairn_compact(b->store, NULL, NULL, NULL), CAIRN_OK);
    assert_false(store_space_is_urgent(b->store));
}

static void looks_in_vain_let_writers_go_when_they_lie_apart(void **state) {
    sim_box *b = *state;
    fill_the_room(b);
    for (unsigned i = 0; i < 10 * LOOKS; i++) {
        look(b, true);
        sim_clock_advance(b->disk, 1);
    }
    assert_true(store_space_is_narrow(b->store)); /* a hasty thread has learned nothing */
    for (unsigned i = 1; i < LOOKS; i++) {
        assert_true(store_space_is_narrow(b->store));
        sim_clock_advance(b->disk, 100);
        look(b, true);
    }
    assert_false(store_space_is_narrow(b->store));
}

static void a_look_that_gains_begins_the_count_anew(void **state) {
    sim_box *b = *state;
    fill_the_room(b);
    for (unsigned i = 0; i < 10 * LOOKS; i++) {
        look(b, i % LOOKS != LOOKS - 1);
        sim_clock_advance(b->disk, 1000);
        assert_true(store_space_is_narrow(b->store));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_is_slowed_urges_unless_the_last_look_was_in_vain),
        TEST(looks_in_vain_let_writers_go_when_they_lie_apart),
        TEST(a_look_that_gains_begins_the_count_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Parts of batches that a replay holds back until their COMMIT. */
#include "tests/support/rung.h"
#include "vlog/held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int add(held_parts *held, uint64_t batch, uint64_t place, uint64_t replaces) {
    return held_add(held, batch, replaces, &(vlog_event){.type = RECORD_PUT, .place = place, .hash = place * 10});
}

static void expect_taken(held_parts *held, uint64_t batch, const uint64_t *places, size_t count) {
    held_batch taken = {0};
    assert_true(held_take(held, batch, &taken));
    assert_int_equal(taken.id, batch);
    assert_int_equal(taken.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(taken.parts[i].place, places[i]);
        assert_int_equal(taken.parts[i].hash, places[i] * 10);
    }
    free(taken.parts);
}

static void parts_come_back_in_the_order_of_their_places(void **state) {
    (void)state;
    held_parts held = {0};
    const uint64_t places[] = {7, 9, 12};
    for (int i = 0; i < 3; i++)
        assert_int_equal(add(&held, 7, places[i], 0), CAIRN_OK);
    assert_int_equal(held_count(&held), 3);
    expect_taken(&held, 7, places, 3);
    assert_int_equal(held_count(&held), 0);
    held_batch taken;
    assert_false(held_take(&held, 7, &taken)); /* only once */
    held_release(&held);
}

static void batches_that_overlap_are_kept_apart(void **state) {
    (void)state;
    held_parts held = {0};
    /* Begun out of order too: a part of a later number may come first, after a start in the middle. */
    assert_int_equal(add(&held, 20, 20, 0), CAIRN_OK);
    assert_int_equal(add(&held, 10, 21, 0), CAIRN_OK);
    assert_int_equal(add(&held, 30, 30, 0), CAIRN_OK);
    assert_int_equal(add(&held, 20, 31, 0), CAIRN_OK);
    assert_int_equal(add(&held, 10, 32, 0), CAIRN_OK);
    expect_taken(&held, 20, (uint64_t[]){20, 31}, 2);
    assert_int_equal(held_count(&held), 3);
    expect_taken(&held, 10, (uint64_t[]){21, 32}, 2);
    held_batch taken;
    assert_false(held_take(&held, 20, &taken));
    assert_false(held_take(&held, 31, &taken));
    held_release(&held); /* with a batch that nobody took */
    assert_int_equal(held_count(&held), 0);
}

static void a_part_that_is_replaced_does_not_count(void **state) {
    (void)state;
    held_parts held = {0};
    for (uint64_t place = 5; place < 9; place++)
        assert_int_equal(add(&held, 5, place, 0), CAIRN_OK);
    assert_int_equal(add(&held, 5, 20, 5), CAIRN_OK); /* also the first, which gave the number */
    assert_int_equal(add(&held, 5, 21, 8), CAIRN_OK);
    assert_int_equal(add(&held, 5, 22, 20), CAIRN_OK); /* and one that replaced */
    assert_int_equal(held_count(&held), 4);
    expect_taken(&held, 5, (uint64_t[]){6, 7, 21, 22}, 4);
    held_release(&held);
}

static void what_cannot_be_is_damage_and_changes_nothing(void **state) {
    (void)state;
    held_parts held = {0};
    assert_int_equal(add(&held, 5, 6, 5), CAIRN_CORRUPT); /* replaces in a batch that has no part */
    assert_int_equal(held_count(&held), 0);
    assert_int_equal(add(&held, 5, 5, 0), CAIRN_OK);
    assert_int_equal(add(&held, 5, 7, 0), CAIRN_OK);
    assert_int_equal(add(&held, 5, 7, 0), CAIRN_CORRUPT); /* twice */
    assert_int_equal(add(&held, 5, 6, 0), CAIRN_CORRUPT); /* back */
    assert_int_equal(add(&held, 5, 8, 6), CAIRN_CORRUPT); /* replaces what is not there */
    assert_int_equal(add(&held, 5, 8, 4), CAIRN_CORRUPT);
    assert_int_equal(add(&held, 5, 8, 9), CAIRN_CORRUPT);
    assert_int_equal(add(&held, 5, 8, 5), CAIRN_OK);
    assert_int_equal(add(&held, 5, 9, 5), CAIRN_CORRUPT); /* replaced already */
    expect_taken(&held, 5, (uint64_t[]){7, 8}, 2);
    held_release(&held);
}

#define BATCHES 40u
#define PARTS_MAX 60u

static void many_batches_agree_with_a_plain_model(void **state) {
    (void)state;
    static uint64_t model[BATCHES][PARTS_MAX];
    for (uint64_t seed = 0; seed < rung_choose(60, 10, 2000); seed++) {
        held_parts held = {0};
        uint64_t rng = seed, place = BATCHES + 1;
        size_t counts[BATCHES] = {0};
        for (int step = 0; step < 1500; step++) {
            unsigned b = (unsigned)random_below(&rng, BATCHES);
            uint64_t *parts = model[b], replaces = 0;
            if (random_one_in(&rng, 25) && counts[b] > 0) {
                expect_taken(&held, b + 1, parts, counts[b]);
                counts[b] = 0;
                continue;
            }
            if (counts[b] == PARTS_MAX) continue;
            if (counts[b] > 0 && random_one_in(&rng, 4)) {
                size_t gone = random_below(&rng, counts[b]);
                replaces = parts[gone];
                for (size_t i = gone + 1; i < counts[b]; i++)
                    parts[i - 1] = parts[i];
                counts[b]--;
            }
            parts[counts[b]++] = ++place;
            assert_int_equal(add(&held, b + 1, place, replaces), CAIRN_OK);
        }
        uint64_t total = 0;
        for (unsigned b = 0; b < BATCHES; b++)
            total += counts[b];
        assert_int_equal(held_count(&held), total);
        held_release(&held);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_back_in_the_order_of_their_places),
        cmocka_unit_test(batches_that_overlap_are_kept_apart),
        cmocka_unit_test(a_part_that_is_replaced_does_not_count),
        cmocka_unit_test(what_cannot_be_is_damage_and_changes_nothing),
        cmocka_unit_test(many_batches_agree_with_a_plain_model),
    };
    return cmocka_run_group_tests_name("held", tests, NULL, NULL);
}

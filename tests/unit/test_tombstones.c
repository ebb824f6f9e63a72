/* Which deletions must outlive the segment that they lie in. */
#include "include/cairn.h"
#include "src/store/tombstones.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static key_hash hash(uint64_t index, uint64_t check) { return (key_hash){.index = index, .check = check}; }

static void add(tombstones *t, key_hash h, uint64_t version) {
    assert_int_equal(tombstones_add(t, h, version), CAIRN_OK);
}

static void meet(tombstones *t, uint8_t type, key_hash h, uint64_t version) {
    tombstones_meet(t, &(footer_entry){.type = type, .hash = h, .version = version});
}

static void one_is_needed_only_where_an_older_value_was_met(void **state) {
    (void)state;
    tombstones t = {0};
    add(&t, hash(1, 1), 10);
    tombstones_settle(&t);
    assert_false(tombstones_is_needed(&t, hash(1, 1), 10));
    meet(&t, RECORD_PUT, hash(1, 1), 11); /* newer */
    meet(&t, RECORD_PUT, hash(1, 1), 10); /* itself */
    meet(&t, RECORD_PUT, hash(1, 2), 5);  /* another key's, which has half of the hash in common */
    meet(&t, RECORD_PUT, hash(2, 1), 5);
    meet(&t, RECORD_DELETE, hash(1, 1), 5); /* brings nothing back */
    meet(&t, RECORD_COMMIT, hash(1, 1), 5);
    assert_false(tombstones_is_needed(&t, hash(1, 1), 10));
    meet(&t, RECORD_PUT, hash(1, 1), 9);
    assert_true(tombstones_is_needed(&t, hash(1, 1), 10));
    tombstones_release(&t);
}

static void a_value_with_a_file_of_its_own_counts_like_another(void **state) {
    (void)state;
    tombstones t = {0};
    add(&t, hash(1, 1), 10);
    tombstones_settle(&t);
    meet(&t, RECORD_STREAM, hash(1, 1), 9);
    assert_true(tombstones_is_needed(&t, hash(1, 1), 10));
    tombstones_release(&t);
}

static void of_one_key_only_the_newest_stays(void **state) {
    (void)state;
    tombstones t = {0};
    add(&t, hash(1, 1), 10);
    add(&t, hash(1, 1), 30);
    add(&t, hash(1, 1), 20);
    add(&t, hash(1, 2), 15);
    tombstones_settle(&t);
    assert_int_equal(t.count, 2);
    assert_int_equal(tombstones_newest(&t), 30);
    meet(&t, RECORD_PUT, hash(1, 1), 15); /* older than the newest, newer than the oldest */
    assert_true(tombstones_is_needed(&t, hash(1, 1), 30));
    assert_false(tombstones_is_needed(&t, hash(1, 1), 20));
    assert_false(tombstones_is_needed(&t, hash(1, 1), 10));
    assert_false(tombstones_is_needed(&t, hash(1, 2), 15));
    tombstones_release(&t);
}

static void without_a_look_all_are_needed(void **state) {
    (void)state;
    tombstones t = {0};
    add(&t, hash(1, 1), 10);
    add(&t, hash(7, 1), 11);
    tombstones_settle(&t);
    tombstones_need_all(&t);
    assert_true(tombstones_is_needed(&t, hash(1, 1), 10));
    assert_true(tombstones_is_needed(&t, hash(7, 1), 11));
    assert_false(tombstones_is_needed(&t, hash(7, 1), 10)); /* there is no such one */
    tombstones_release(&t);
}

static void of_none_none_is_needed(void **state) {
    (void)state;
    tombstones t = {0};
    tombstones_settle(&t);
    tombstones_need_all(&t);
    meet(&t, RECORD_PUT, hash(1, 1), 9);
    assert_int_equal(tombstones_newest(&t), 0);
    assert_false(tombstones_is_needed(&t, hash(1, 1), 10));
    tombstones_release(&t);
}

#define KEYS 200u
#define ROUNDS 20u

/* Against a plain table: the newest deletion of each key, and the oldest value that was met. */
static void random_ones_are_judged_like_a_plain_table(void **state) {
    (void)state;
    uint64_t rng = 5;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t newest[KEYS] = {0}, oldest[KEYS];
        tombstones t = {0};
        for (unsigned i = 0; i < KEYS; i++) {
            oldest[i] = UINT64_MAX;
        }
        for (unsigned i = 0; i < 300; i++) {
            unsigned key = (unsigned)random_below(&rng, KEYS);
            uint64_t version = 1 + random_below(&rng, 1000);
            newest[key] = version > newest[key] ? version : newest[key];
            add(&t, hash(key % 16, key), version);
        }
        tombstones_settle(&t);
        for (unsigned i = 0; i < 100; i++) {
            unsigned key = (unsigned)random_below(&rng, KEYS);
            uint64_t version = 1 + random_below(&rng, 1000);
            oldest[key] = version < oldest[key] ? version : oldest[key];
            meet(&t, RECORD_PUT, hash(key % 16, key), version);
        }
        for (unsigned key = 0; key < KEYS; key++) {
            bool needed = newest[key] != 0 && oldest[key] < newest[key];
            assert_int_equal(tombstones_is_needed(&t, hash(key % 16, key), newest[key]), needed);
        }
        tombstones_release(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_needed_only_where_an_older_value_was_met),
        cmocka_unit_test(a_value_with_a_file_of_its_own_counts_like_another),
        cmocka_unit_test(of_one_key_only_the_newest_stays),
        cmocka_unit_test(without_a_look_all_are_needed),
        cmocka_unit_test(of_none_none_is_needed),
        cmocka_unit_test(random_ones_are_judged_like_a_plain_table),
    };
    return cmocka_run_group_tests_name("tombstones", tests, NULL, NULL);
}

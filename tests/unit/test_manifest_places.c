/* The manifest in memory: its segments are found by id, and the runs of granules that it hands out overlap none. */
#include "vlog/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint8_t store_id[16] = "0123456789abcde";

static void add(manifest *m, uint64_t id, uint64_t base, uint64_t granules) {
    manifest_segment s = {.id = id, .base_granule = base, .granules = granules, .state = SEGMENT_OPEN};
    assert_int_equal(manifest_reserve(m), CAIRN_OK);
    manifest_add(m, &s);
}

static void segments_are_found_and_removed_by_id(void **state) {
    (void)state;
    manifest m;
    manifest_init(&m, store_id);
    assert_null(manifest_find(&m, 1));
    for (uint64_t id = 1; id <= 100; id++)
        add(&m, id * 2, id, 1);
    for (uint64_t id = 0; id <= 202; id++) {
        manifest_segment *found = manifest_find(&m, id);
        assert_int_equal(found != NULL, id >= 2 && id <= 200 && id % 2 == 0);
        if (found != NULL) assert_int_equal(found->base_granule, id / 2);
    }
    for (uint64_t id = 2; id <= 200; id += 4)
        manifest_remove(&m, id);
    assert_int_equal(m.count, 50);
    for (uint64_t id = 2; id <= 200; id += 2)
        assert_int_equal(manifest_find(&m, id) != NULL, id % 4 == 0);
    manifest_release(&m);
}

static uint64_t place(const manifest *m, uint64_t granules) {
    uint64_t base = 12345;
    assert_int_equal(manifest_place_run(m, granules, &base), CAIRN_OK);
    return base;
}

static void runs_are_handed_out_in_turn_and_wrap_around(void **state) {
    (void)state;
    manifest m;
    uint64_t base;
    manifest_init(&m, store_id);
    assert_int_equal(place(&m, 4), 0);
    assert_int_equal(place(&m, GRANULE_COUNT), 0);
    assert_int_equal(manifest_place_run(&m, GRANULE_COUNT + 1, &base), CAIRN_FULL);
    add(&m, 1, 0, 4);
    add(&m, 2, 100, 50);
    assert_int_equal(place(&m, 10), 150); /* behind the youngest, not in the gap before it */
    add(&m, 3, GRANULE_COUNT - 5, 3);
    assert_int_equal(place(&m, 2), GRANULE_COUNT - 2);
    assert_int_equal(place(&m, 3), 4); /* wraps into the first gap */
    assert_int_equal(place(&m, 96), 4);
    assert_int_equal(place(&m, 97), 150);
    manifest_remove(&m, 1);
    assert_int_equal(place(&m, 100), 0); /* used again */
    assert_int_equal(manifest_place_run(&m, GRANULE_COUNT - 154, &base), CAIRN_FULL);
    assert_int_equal(place(&m, GRANULE_COUNT - 155), 150);
    manifest_release(&m);
}

static void the_youngest_at_the_very_end_wraps_to_the_beginning(void **state) {
    (void)state;
    manifest m;
    uint64_t base;
    manifest_init(&m, store_id);
    add(&m, 1, 1, GRANULE_COUNT - 1);
    assert_int_equal(place(&m, 1), 0);
    assert_int_equal(manifest_place_run(&m, 2, &base), CAIRN_FULL);
    add(&m, 2, 0, 1);
    assert_int_equal(manifest_place_run(&m, 1, &base), CAIRN_FULL);
    manifest_release(&m);
}

static void placed_runs_never_overlap(void **state) {
    (void)state;
    manifest m;
    uint64_t x = 88172645463325252u, overlapping, id = 0;
    manifest_init(&m, store_id);
    for (int round = 0; round < 3000; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (m.count > 40 || (m.count > 0 && x % 3 == 0)) {
            manifest_remove(&m, m.segments[(x >> 8) % m.count].id);
            continue;
        }
        uint64_t base, granules = 1 + (x >> 8) % (GRANULE_COUNT / 40);
        int rc = manifest_place_run(&m, granules, &base);
        if (rc == CAIRN_FULL) continue;
        assert_int_equal(rc, CAIRN_OK);
        assert_true(base + granules <= GRANULE_COUNT);
        add(&m, ++id, base, granules);
        assert_int_equal(manifest_find_overlap(&m, &overlapping), CAIRN_OK);
        assert_int_equal(overlapping, 0);
    }
    assert_true(id > 500);
    manifest_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_found_and_removed_by_id),
        cmocka_unit_test(runs_are_handed_out_in_turn_and_wrap_around),
        cmocka_unit_test(the_youngest_at_the_very_end_wraps_to_the_beginning),
        cmocka_unit_test(placed_runs_never_overlap),
    };
    return cmocka_run_group_tests_name("manifest_places", tests, NULL, NULL);
}

/* The value cache, as far as its budget does not matter: what was inserted is given back until it is removed, and
 * longer to who holds it; what is resident stays; and without memory the cache is silent. What a bounded one keeps is
 * in test_value_cache_eviction.c. */
#include "include/cairn.h"
#include "src/store/value_map.h"
#include "tests/support/cache_box.h"
#include "tests/support/failing_memory.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

/* ---- What was inserted ---- */

static void a_hit_returns_the_same_bytes(void **state) {
    (void)state;
    const uint64_t sizes[] = {0, 1, 15, 16, 17, 4096, 65536, 3 * MIB + 5};
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 8; id++)
        assert_true(cache_box_insert(&b, id, sizes[id]));
    epoch_guard guard = epoch_enter(b.readers);
    for (uint64_t id = 0; id < 8; id++) {
        const cached_value *v = value_cache_find(b.cache, cached_location(id), guard.slot);
        assert_non_null(v);
        assert_true(cached_is_right(v, id, sizes[id]));
        assert_int_equal((uintptr_t)cached_data(v) % 16, 0);
    }
    epoch_exit(b.readers, guard);
    cache_box_close(&b);
}

static void hits_and_misses_are_counted_in_every_stripe(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    assert_true(cache_box_insert(&b, 1, 100));
    for (unsigned stripe = 0; stripe < 200; stripe++) {
        assert_non_null(value_cache_find(b.cache, cached_location(1), stripe));
        assert_null(value_cache_find(b.cache, cached_location(2), stripe));
        assert_null(value_cache_find(b.cache, cached_location(3), stripe));
    }
    assert_int_equal(cache_box_stats(&b).hits, 200);
    assert_int_equal(cache_box_stats(&b).misses, 400);
    cache_box_close(&b);
}

static void locations_that_differ_in_length_or_kind_alone_are_two(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    assert_true(cache_box_insert(&b, 5, 64));
    assert_null(value_cache_find(b.cache, location_make(64 + 5 * 66, 67, LOCATION_VALUE), 0));
    assert_null(value_cache_find(b.cache, location_make(64 + 5 * 66, 66, LOCATION_PACKED), 0));
    cache_box_close(&b);
}

static void a_second_insertion_of_a_location_is_dropped(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    assert_true(cache_box_insert(&b, 1, 1000));
    value_cache_stats before = cache_box_stats(&b);
    const cached_value *first = cache_box_find(&b, 1);
    assert_true(cache_box_insert(&b, 1, 1000));
    assert_ptr_equal(cache_box_find(&b, 1), first);
    assert_int_equal(cache_box_stats(&b).bytes, before.bytes);
    assert_int_equal(cache_box_stats(&b).entries, 1);
    cache_box_close(&b);
}

static void what_was_removed_is_gone_and_so_are_its_bytes(void **state) {
    (void)state;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        cache_box b = cache_box_open(bounded ? 64 * MIB : VALUE_CACHE_RESIDENT);
        cache_box_fill(&b, 0, 1000, 500);
        uint64_t full = cache_box_stats(&b).bytes;
        for (uint64_t id = 0; id < 1000; id += 2)
            cache_box_remove(&b, id);
        cache_box_remove(&b, 5000);
        for (uint64_t id = 0; id < 1000; id++)
            assert_int_equal(cache_box_has(&b, id), id % 2 == 1);
        assert_int_equal(cache_box_stats(&b).entries, 500);
        assert_true(full - cache_box_stats(&b).bytes >= 500 * 500);
        for (uint64_t id = 0; id < 1000; id += 2)
            assert_true(cache_box_insert(&b, id, 500));
        assert_int_equal(cache_box_stats(&b).bytes, full);
        cache_box_close(&b);
    }
}

static void a_discarded_entry_leaves_no_trace(void **state) {
    (void)state;
    cache_box b = cache_box_open(MIB);
    value_cache_discard(value_cache_prepare(b.cache, 10, 1000));
    assert_int_equal(cache_box_stats(&b).bytes, 0);
    cache_box_close(&b);
}

/* ---- How long an entry lives ---- */

static void an_entry_found_inside_the_epoch_outlives_its_removal(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    cache_box_fill(&b, 0, 200, 3000);
    epoch_guard guard = epoch_enter(b.readers);
    const cached_value *v = value_cache_find(b.cache, cached_location(77), guard.slot);
    for (uint64_t id = 0; id < 200; id++)
        cache_box_remove(&b, id);
    assert_true(cached_is_right(v, 77, 3000));
    epoch_exit(b.readers, guard);
    cache_box_close(&b);
}

static void a_pin_outlives_removal_and_the_epoch(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    cache_box_fill(&b, 0, 200, 3000);
    epoch_guard guard = epoch_enter(b.readers);
    const cached_value *v = value_cache_find(b.cache, cached_location(77), guard.slot);
    value_cache_pin(v);
    value_cache_pin(v);
    epoch_exit(b.readers, guard);
    for (uint64_t id = 0; id < 200; id++)
        cache_box_remove(&b, id);
    epoch_poll(b.readers);
    assert_int_equal(cache_box_stats(&b).entries, 0);
    value_cache_unpin(v);
    assert_true(cached_is_right(v, 77, 3000));
    value_cache_unpin(v);
    cache_box_close(&b);
}

static void an_entry_that_stays_survives_its_pins(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    assert_true(cache_box_insert(&b, 1, 100));
    const cached_value *v = cache_box_find(&b, 1);
    value_cache_pin(v);
    value_cache_unpin(v);
    assert_true(cached_is_right(cache_box_find(&b, 1), 1, 100));
    cache_box_close(&b);
}

/* ---- What all entries take ---- */

static void sizes_that_overflow_are_not_wanted(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    assert_null(value_cache_prepare(b.cache, 8, UINT64_MAX));
    assert_null(value_cache_prepare(b.cache, UINT32_MAX, UINT64_MAX - 50));
    assert_null(value_cache_prepare(b.cache, 8, (uint64_t)1 << 63));
    cache_box_close(&b);
}

static void a_resident_cache_evicts_nothing(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t id = 0; id < 20000; id++)
        assert_true(cache_box_insert(&b, id, id % 97));
    assert_true(cache_box_insert(&b, 20000, 16 * MIB));
    for (uint64_t id = 0; id <= 20000; id++)
        assert_true(cache_box_has(&b, id));
    assert_int_equal(cache_box_stats(&b).entries, 20001);
    cache_box_close(&b);
}

/* Addresses in equal steps of a power of two, as large records have them. */
static void growth_keeps_every_entry_and_its_chains_short(void **state) {
    (void)state;
    const uint64_t entries = 100000, step = 4096;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    for (uint64_t i = 0; i < entries; i++) {
        assert_true(cache_box_insert(&b, i * step, 1));
        if (i % 1000 == 0) assert_true(cache_box_has(&b, i / 2 * step));
    }
    unsigned longest = 0;
    for (uint64_t i = 0; i < entries; i++) {
        const cached_value *v = cache_box_find(&b, i * step);
        unsigned length = 0;
        assert_non_null(v);
        for (; v != NULL; v = atomic_load(&v->chain))
            length++;
        if (length > longest) longest = length;
    }
    assert_true(longest <= 9);
    cache_box_close(&b);
}

static void the_bytes_are_those_of_entries_and_tables(void **state) {
    (void)state;
    const uint64_t entries = 50000;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        cache_box b = cache_box_open(bounded ? 64 * MIB : VALUE_CACHE_RESIDENT);
        cache_box_fill(&b, 0, entries, 200);
        uint64_t of_entries = entries * heap_bytes(sizeof(cached_value) + 16 + 200);
        uint64_t of_tables = cache_box_stats(&b).bytes - of_entries; /* two to four chains an entry, and 256 heads */
        assert_in_range(of_tables, 2 * entries * sizeof(void *), 4 * entries * sizeof(void *) + VALUE_TABLES * 64);
        for (uint64_t id = 0; id < entries; id++)
            cache_box_remove(&b, id);
        assert_int_equal(cache_box_stats(&b).bytes, of_tables);
        cache_box_close(&b);
    }
}

/* ---- Without memory ---- */

/* From the test's begin to its end what the library allocates is counted; at first nothing fails. */
static int count_allocations(void **state) {
    (void)state;
    memory_plan(0, 0);
    memory_counted();
    return 0;
}

static int count_no_more(void **state) {
    (void)state;
    memory_plan(0, 0);
    return memory_uncounted(0);
}

static void without_memory_nothing_is_inserted_and_nothing_breaks(void **state) {
    (void)state;
    for (unsigned bounded = 0; bounded < 2; bounded++) {
        cache_box b = cache_box_open(bounded ? 300 * KIB : VALUE_CACHE_RESIDENT);
        memory_plan(0, UINT64_MAX);
        assert_false(cache_box_insert(&b, 1, 100));
        memory_plan(1, UINT64_MAX); /* the entry, but no table for it */
        assert_true(cache_box_insert(&b, 1, 100));
        assert_false(cache_box_has(&b, 1));
        assert_int_equal(cache_box_stats(&b).bytes, 0);
        memory_plan(0, 0);
        assert_true(cache_box_insert(&b, 1, 100));
        assert_true(cache_box_has(&b, 1));
        cache_box_close(&b);
    }
}

static void tables_that_cannot_grow_still_take_entries(void **state) {
    (void)state;
    cache_box b = cache_box_open(VALUE_CACHE_RESIDENT);
    cache_box_fill(&b, 0, 4000, 10);
    for (uint64_t id = 4000; id < 12000; id++) {
        memory_plan(1, UINT64_MAX);
        assert_true(cache_box_insert(&b, id, 10));
    }
    memory_plan(0, 0);
    for (uint64_t id = 0; id < 12000; id++)
        assert_true(cache_box_has(&b, id));
    assert_int_equal(cache_box_stats(&b).entries, 12000);
    cache_box_close(&b);
}

static void a_cache_whose_ghost_got_no_memory_goes_on(void **state) {
    (void)state;
    cache_box b = cache_box_open(300 * KIB);
    for (uint64_t id = 0; id < 2000; id++) {
        memory_plan(1, UINT64_MAX);
        if (id < 200) memory_plan(0, 0); /* tables */
        (void)cache_box_get(&b, id, 1000);
        assert_true(cache_box_stats(&b).bytes <= 300 * KIB);
    }
    assert_true(cache_box_has(&b, 1999));
    memory_plan(0, 0);
    cache_box_close(&b);
}

static void each_allocation_may_fail_in_turn(void **state) {
    (void)state;
    for (uint64_t first = 0; first < 400; first++) {
        memory_plan(0, 0);
        cache_box b = cache_box_open(100 * KIB);
        memory_plan(first, 1);
        uint64_t seed = 3;
        for (unsigned n = 0; n < 300; n++) {
            (void)cache_box_get(&b, random_next(&seed) % 150, 900);
            assert_true(cache_box_stats(&b).bytes <= 100 * KIB);
        }
        memory_plan(0, 0);
        for (uint64_t id = 0; id < 150; id++) {
            const cached_value *v = cache_box_find(&b, id);
            if (v != NULL) assert_true(cached_is_right(v, id, 900));
        }
        cache_box_close(&b);
    }
    epoch *readers = NULL;
    value_cache *cache = NULL;
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    memory_plan(0, 1);
    assert_int_equal(value_cache_new(&cache, readers, MIB), CAIRN_NO_MEMORY);
    assert_null(cache);
    memory_plan(0, 0);
    epoch_free(readers);
}

int main(void) {
#define WITHOUT_MEMORY(name) cmocka_unit_test_setup_teardown(name, count_allocations, count_no_more)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_returns_the_same_bytes),
        cmocka_unit_test(hits_and_misses_are_counted_in_every_stripe),
        cmocka_unit_test(locations_that_differ_in_length_or_kind_alone_are_two),
        cmocka_unit_test(a_second_insertion_of_a_location_is_dropped),
        cmocka_unit_test(what_was_removed_is_gone_and_so_are_its_bytes),
        cmocka_unit_test(a_discarded_entry_leaves_no_trace),
        cmocka_unit_test(an_entry_found_inside_the_epoch_outlives_its_removal),
        cmocka_unit_test(a_pin_outlives_removal_and_the_epoch),
        cmocka_unit_test(an_entry_that_stays_survives_its_pins),
        cmocka_unit_test(sizes_that_overflow_are_not_wanted),
        cmocka_unit_test(a_resident_cache_evicts_nothing),
        cmocka_unit_test(growth_keeps_every_entry_and_its_chains_short),
        cmocka_unit_test(the_bytes_are_those_of_entries_and_tables),
        WITHOUT_MEMORY(without_memory_nothing_is_inserted_and_nothing_breaks),
        WITHOUT_MEMORY(tables_that_cannot_grow_still_take_entries),
        WITHOUT_MEMORY(a_cache_whose_ghost_got_no_memory_goes_on),
        WITHOUT_MEMORY(each_allocation_may_fail_in_turn),
    };
    return cmocka_run_group_tests_name("value_cache", tests, NULL, NULL);
}

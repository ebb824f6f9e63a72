/* What the rungs of power cuts and faults have found, each as a case of its own. */
#include "src/store/store.h"
#include "tests/support/os_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cairn_options options = {
    .struct_size = sizeof options, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};

static int open_on(sim_disk *disk, cairn **store) {
    return store_open_on(store, sim_os(disk), "s", &options, UINT64_MAX, NULL);
}

static cairn *open_well(sim_disk *disk) {
    cairn *store = NULL;
    assert_int_equal(open_on(disk, &store), CAIRN_OK);
    return store;
}

static void put(cairn *store, size_t size) {
    static uint8_t value[400000];
    assert_int_equal(cairn_put(store, "key", 3, value, size, NULL, NULL), CAIRN_OK);
}

static size_t value_files(sim_disk *disk) { return sim_count(disk, "s", ".val"); }

/* The removal comes behind the checkpoint that says that the store was closed, so an open that replays nothing has to
 * look for it all the same. */
static void a_dead_value_file_whose_removal_was_lost_in_a_power_cut_is_removed_by_the_next_open(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put(store, 400000);
    put(store, 1);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_disk *cut = sim_crash(disk, 0);
    assert_int_equal(value_files(cut), 1);
    store = open_well(cut);
    assert_int_equal(value_files(cut), 0);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(cut);
    sim_free(disk);
}

static void kill_and_cut(void *ctx, sim_disk *disk) {
    sim_disk *copy = sim_clone(disk), *killed = sim_kill(copy);
    cairn *store = open_well(killed);
    sim_disk *cut = sim_crash(killed, 0);
    (void)cairn_close(store); /* of a dead machine */
    options.create = false;
    store = open_well(cut);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    options.create = true;
    sim_free(cut);
    sim_free(killed);
    sim_free(copy);
    ++*(unsigned *)ctx;
}

static void a_store_whose_creation_was_killed_survives_a_power_cut_once_it_was_opened(void **state) {
    (void)state;
    unsigned cuts = 0;
    sim_disk *disk = sim_new(1);
    sim_on_operation(disk, kill_and_cut, &cuts);
    cairn *store = open_well(disk);
    sim_on_operation(disk, NULL, NULL);
    assert_true(cuts > 8);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
}

static void an_identity_that_cannot_be_read_is_not_a_missing_store(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    assert_int_equal(cairn_close(open_well(disk)), CAIRN_OK);
    sim_disk *fresh = sim_new(1);
    for (uint64_t nth = 0; nth < 12; nth++) {
        sim_disk *on[] = {sim_clone(disk), sim_clone(fresh)};
        for (size_t i = 0; i < 2; i++) {
            cairn *store = NULL;
            sim_fault fault = {.kinds = SIM_OPEN, .nth = nth, .error = -EIO};
            sim_fault_set(on[i], &fault);
            assert_int_not_equal(open_on(on[i], &store), CAIRN_NO_STORE);
            if (store != NULL) (void)cairn_close(store);
            sim_free(on[i]);
        }
    }
    sim_free(fresh);
    sim_free(disk);
}

static void a_clock_that_stands_still_does_not_make_every_put_sync(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put(store, 1);
    sim_fault count = {.kinds = SIM_SYNC, .nth = UINT64_MAX, .error = -EIO};
    sim_fault_set(disk, &count);
    for (unsigned i = 0; i < 5; i++) {
        put(store, 1);
    }
    assert_int_equal(sim_fault_calls(disk), 0);
    sim_clock_advance(disk, 1000);
    put(store, 1);
    assert_int_equal(sim_fault_calls(disk), 1);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
}

/* Nothing was written since the opening, so there is nothing to close; yet a sync has failed. */
static void a_handle_whose_first_write_failed_in_a_sync_does_not_close_with_success(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put(store, 1);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    store = open_well(disk);
    sim_fault fault = {.kinds = SIM_SYNC, .nth = 0, .error = -EIO};
    sim_fault_set(disk, &fault);
    assert_int_equal(cairn_put(store, "key", 3, "v", 1, NULL, NULL), CAIRN_IO);
    sim_fault_set(disk, NULL);
    assert_int_equal(cairn_put(store, "key", 3, "v", 1, NULL, NULL), CAIRN_FAILED);
    assert_int_equal(cairn_close(store), CAIRN_FAILED);
    sim_free(disk);
}

static void try_second(sim_disk *disk) {
    cairn *store = NULL;
    cairn_options existing = options;
    existing.create = false;
    assert_int_equal(store_open_on(&store, sim_os(disk), "second", &existing, UINT64_MAX, NULL), CAIRN_OK);
    void *value = NULL;
    size_t size;
    assert_int_equal(cairn_get(store, "key", 3, &value, &size, NULL), CAIRN_OK);
    assert_true(size == 400000 || size == 1);
    cairn_free(value);
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

/* The opening of what a killed process has left is cut at each of its operations. */
static void kill_and_cut_the_opening_of_the_backup(void *ctx, sim_disk *disk) {
    sim_disk *copy = sim_clone(disk), *killed = sim_kill(copy);
    bool ended = false;
    for (uint64_t cut = 0; !ended; cut++) {
        sim_disk *opened = sim_clone(killed);
        cairn *store = NULL;
        sim_cut_at(opened, cut);
        (void)store_open_on(&store, sim_os(opened), "second", &options, UINT64_MAX, NULL);
        ended = sim_operations(opened) < cut;
        for (uint64_t seed = 0; seed < 8; seed++) {
            sim_disk *crashed = sim_crash(opened, seed);
            try_second(crashed);
            sim_free(crashed);
        }
        (void)cairn_close(store); /* of a dead machine; NULL: nothing */
        sim_free(opened);
        ++*(unsigned *)ctx;
    }
    sim_free(killed);
    sim_free(copy);
}

/* The opening removes what the manifest that it found does not list, whose new name may not be durable yet: with that
 * gone in a power cut, the earlier backup lacked a file. */
static void a_backup_that_was_killed_and_opened_survives_a_power_cut(void **state) {
    (void)state;
    unsigned cuts = 0;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put(store, 400000);
    assert_int_equal(cairn_backup(store, "second", NULL, NULL), CAIRN_OK);
    put(store, 1);
    assert_int_equal(cairn_compact(store, NULL, NULL, NULL), CAIRN_OK);
    sim_on_operation(disk, kill_and_cut_the_opening_of_the_backup, &cuts);
    assert_int_equal(cairn_backup(store, "second", NULL, NULL), CAIRN_OK);
    sim_on_operation(disk, NULL, NULL);
    assert_true(cuts > 20);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_value_file_whose_removal_was_lost_in_a_power_cut_is_removed_by_the_next_open),
        cmocka_unit_test(a_store_whose_creation_was_killed_survives_a_power_cut_once_it_was_opened),
        cmocka_unit_test(an_identity_that_cannot_be_read_is_not_a_missing_store),
        cmocka_unit_test(a_clock_that_stands_still_does_not_make_every_put_sync),
        cmocka_unit_test(a_handle_whose_first_write_failed_in_a_sync_does_not_close_with_success),
        cmocka_unit_test(a_backup_that_was_killed_and_opened_survives_a_power_cut),
    };
    return cmocka_run_group_tests_name("found_by_rungs", tests, NULL, NULL);
}

/* Keys that expire around a checkpoint, a crash or a close: they are counted no longer than they should be, and what
 * went with them is not missed. */
#include "tests/support/os_sim.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TTL_MS 100u

static cairn *open_well(sim_disk *disk) {
    const cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    return store_open_on_or_fail(sim_os(disk), "s", &o);
}

static void put_random(cairn *store, const char *key, size_t size, uint64_t ttl_ms) {
    uint64_t rng = size;
    put_for(store, key, random_window(&rng, size), size, ttl_ms);
}

/* Only the key that never expires is counted, in every figure, and a verification finds nothing. */
static void expect_one_key(cairn *store) {
    assert_int_equal(verify_damage(store), 0);
    cairn_stats stats = stats_of(store);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.expiring_keys, 0);
    assert_int_equal(stats.live_bytes, entry_of(store, "stays").stored_size);
    assert_int_equal(stats.streams, 0);
}

/* ---- While a checkpoint is written ---- */

typedef struct moment {
    cairn *store;
    uint64_t left; /* operations until it comes */
    bool came;
} moment;

/* The time is over, and somebody notices. */
static void let_expire(void *ctx, sim_disk *disk) {
    moment *m = ctx;
    if (m->came || m->left-- > 0) return;
    m->came = true;
    sim_clock_advance(disk, TTL_MS);
    (void)stats_of(m->store);
}

/* At that operation of the checkpoint; false: it has not so many. */
static bool expires_during_checkpoint(uint64_t operation) {
    sim_disk *disk = sim_new(1);
    moment m = {.store = open_well(disk), .left = operation};
    put_random(m.store, "stays", 10, 0);
    put_random(m.store, "goes", 10, TTL_MS);
    put_random(m.store, "goes too", 300000, TTL_MS);
    sim_on_operation(disk, let_expire, &m);
    assert_int_equal(cairn_checkpoint(m.store, NULL), CAIRN_OK);
    sim_on_operation(disk, NULL, NULL);
    sim_clock_advance(disk, TTL_MS);
    sim_disk *killed = sim_kill(disk);
    cairn *store = open_well(killed);
    expect_one_key(store);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    store = open_well(killed);
    expect_one_key(store);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    (void)cairn_close(m.store); /* of the dead machine */
    sim_free(killed);
    sim_free(disk);
    return m.came;
}

static void what_expires_while_a_checkpoint_is_written_is_not_counted_after_a_crash(void **state) {
    (void)state;
    uint64_t operations = 0;
    while (expires_during_checkpoint(operations))
        operations++;
    assert_true(operations >= 5);
}

/* ---- Files ---- */

/* The close removes the file; the replay of the whole log brings its record back for a moment. */
static void a_value_file_that_went_because_its_key_expired_is_not_missed_without_the_checkpoint(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put_random(store, "stays", 10, 0);
    put_random(store, "goes", 300000, TTL_MS);
    sim_clock_advance(disk, TTL_MS);
    expect_one_key(store);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    assert_true(sim_file_remove(disk, "s", "CHECKPOINT"));
    store = open_well(disk);
    expect_one_key(store);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
}

/* Which writes nothing to the log. */
static void a_session_that_only_notices_that_a_key_expired_removes_its_file(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    cairn *store = open_well(disk);
    put_random(store, "stays", 10, 0);
    put_random(store, "goes", 300000, TTL_MS);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_clock_advance(disk, TTL_MS);
    for (unsigned i = 0; i < 2; i++) {
        store = open_well(disk);
        expect_one_key(store);
        assert_int_equal(cairn_close(store), CAIRN_OK);
        assert_int_equal(sim_count(disk, "s", ".val"), 0);
    }
    sim_free(disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_expires_while_a_checkpoint_is_written_is_not_counted_after_a_crash),
        cmocka_unit_test(a_value_file_that_went_because_its_key_expired_is_not_missed_without_the_checkpoint),
        cmocka_unit_test(a_session_that_only_notices_that_a_key_expired_removes_its_file),
    };
    return cmocka_run_group_tests_name("expiry_crash", tests, NULL, NULL);
}

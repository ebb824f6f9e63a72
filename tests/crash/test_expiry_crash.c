/* Keys that expire around a checkpoint, a crash or a close: they are counted no longer than they should be, and what
 * went with them is not missed. */
#include "src/store/store.h"
#include "tests/support/os_sim.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TTL_MS 100u

static cairn *open_well(sim_disk *disk) {
    cairn *store = NULL;
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    assert_int_equal(store_open_on(&store, sim_os(disk), "s", &o, UINT64_MAX, NULL), CAIRN_OK);
    return store;
}

static void put_for(cairn *store, const char *key, size_t size, uint64_t ttl_ms) {
    uint64_t rng = size;
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = ttl_ms};
    assert_int_equal(cairn_put(store, key, strlen(key), random_window(&rng, size), size, &o, NULL), CAIRN_OK);
}

static cairn_stats stats_of(cairn *store) {
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(store, &stats, NULL), CAIRN_OK);
    return stats;
}

/* Only the key that never expires is counted, in every figure, and a verification finds nothing. */
static void expect_one_key(cairn *store) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_verify_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_verify(store, NULL, &result, NULL), CAIRN_OK);
    assert_int_equal(result.damaged, 0);
    cairn_stats stats = stats_of(store);
    assert_int_equal(cairn_stat(store, "stays", 5, &entry, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.expiring_keys, 0);
    assert_int_equal(stats.live_bytes, entry.stored_size);
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
    put_for(m.store, "stays", 10, 0);
    put_for(m.store, "goes", 10, TTL_MS);
    put_for(m.store, "goes too", 300000, TTL_MS);
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
    put_for(store, "stays", 10, 0);
    put_for(store, "goes", 300000, TTL_MS);
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
    put_for(store, "stays", 10, 0);
    put_for(store, "goes", 300000, TTL_MS);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_clock_advance(disk, TTL_MS);
    for (unsigned i = 0; i < 2; i++) {
        store = open_well(disk);
        expect_one_key(store);
        assert_int_equal(cairn_close(store), CAIRN_OK);
        char names[16][SIM_NAME_SIZE];
        for (size_t n = sim_names(disk, "s", names, 16); n-- > 0;)
            assert_null(strstr(names[n], ".val"));
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

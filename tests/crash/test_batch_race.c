/* Batches, puts, deletes and expiries of the same few keys by several threads, with colliding hashes and without,
 * beside checkpoints and snapshots. Nobody sees the version of a key go back; and what a kill leaves, with the newest
 * checkpoint or with none, is what was there. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/os_sim.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WRITERS 3u
#define KEYS 8u
#define KEY_SIZE 4u
#define FILE_BYTES 300000u /* has a file of its own */

typedef struct race {
    sim_disk *disk;
    cairn *store;
    uint64_t rounds;
    atomic_bool over;
} race;

typedef struct racer {
    race *race;
    uint64_t rng;
    uint64_t seen[KEYS]; /* highest version */
    os_thread thread;
} racer;

static void name_of(unsigned key, char name[KEY_SIZE]) {
    memcpy(name, "key0", KEY_SIZE);
    name[3] = (char)('0' + key);
}

static void look(racer *r, unsigned key) {
    char name[KEY_SIZE];
    cairn_entry entry = {.struct_size = sizeof entry};
    name_of(key, name);
    int rc = cairn_stat(r->race->store, name, KEY_SIZE, &entry, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc != CAIRN_OK) return;
    CHECK(entry.version >= r->seen[key]);
    r->seen[key] = entry.version;
}

static uint64_t any_ttl(racer *r) { return random_one_in(&r->rng, 4) ? 1 + random_below(&r->rng, 20) : 0; }

static void commit_some(racer *r) {
    cairn_batch *batch = NULL;
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = any_ttl(r)};
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        char name[KEY_SIZE];
        size_t size = random_one_in(&r->rng, 60) ? FILE_BYTES : (size_t)random_below(&r->rng, 200);
        name_of((unsigned)random_below(&r->rng, KEYS), name);
        int rc = random_one_in(&r->rng, 4) ? cairn_batch_delete(batch, name, KEY_SIZE)
                                           : cairn_batch_put(batch, name, KEY_SIZE, random_window(&r->rng, size), size);
        CHECK(rc == CAIRN_OK);
    }
    CHECK(cairn_batch_commit(r->race->store, batch, &o, NULL) == CAIRN_OK);
    cairn_batch_free(batch);
}

static void change_one(racer *r) {
    char name[KEY_SIZE];
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = any_ttl(r)};
    name_of((unsigned)random_below(&r->rng, KEYS), name);
    if (random_one_in(&r->rng, 3)) {
        int rc = cairn_delete(r->race->store, name, KEY_SIZE, NULL, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    } else {
        size_t size = (size_t)random_below(&r->rng, 200);
        CHECK(cairn_put(r->race->store, name, KEY_SIZE, random_window(&r->rng, size), size, &o, NULL) == CAIRN_OK);
    }
}

static void *write_some(void *arg) {
    racer *r = arg;
    for (uint64_t i = 0; i < r->race->rounds; i++) {
        if (random_one_in(&r->rng, 3)) {
            commit_some(r);
        } else {
            change_one(r);
        }
        look(r, (unsigned)random_below(&r->rng, KEYS));
    }
    return NULL;
}

/* Checkpoints, time, and snapshots that are there for a while. */
static void *disturb(void *arg) {
    racer *r = arg;
    cairn_snapshot *snapshot = NULL;
    while (!atomic_load(&r->race->over)) {
        cairn_stats stats = {.struct_size = sizeof stats};
        CHECK(cairn_checkpoint(r->race->store, NULL) == CAIRN_OK);
        sim_clock_advance(r->race->disk, random_below(&r->rng, 10));
        CHECK(cairn_stats_get(r->race->store, &stats, NULL) == CAIRN_OK);
        if (!random_one_in(&r->rng, 3)) continue;
        cairn_snapshot_close(snapshot);
        CHECK(cairn_snapshot_open(r->race->store, &snapshot, NULL) == CAIRN_OK);
    }
    cairn_snapshot_close(snapshot);
    return NULL;
}

/* ---- What is there ---- */

typedef struct holding {
    cairn_entry entries[KEYS]; /* version 0: absent */
    uint64_t checksums[KEYS];
} holding;

static void take_stock(cairn *store, holding *h) {
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t keys = 0, expiring = 0, live = 0;
    memset(h, 0, sizeof *h);
    for (unsigned key = 0; key < KEYS; key++) {
        char name[KEY_SIZE];
        void *value = NULL;
        size_t size = 0;
        cairn_entry *e = &h->entries[key];
        e->struct_size = sizeof *e;
        name_of(key, name);
        int rc = cairn_get(store, name, KEY_SIZE, &value, &size, NULL);
        assert_true(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        if (rc != CAIRN_OK) continue;
        h->checksums[key] = checksum(value, size, size);
        cairn_free(value);
        assert_int_equal(cairn_stat(store, name, KEY_SIZE, e, NULL), CAIRN_OK);
        keys++;
        expiring += e->expires_at_ms != 0;
        live += e->stored_size;
    }
    assert_int_equal(cairn_verify(store, NULL, &result, NULL), CAIRN_OK);
    assert_int_equal(result.damaged, 0);
    assert_int_equal(cairn_stats_get(store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, keys);
    assert_int_equal(stats.expiring_keys, expiring);
    assert_int_equal(stats.live_bytes, live);
    assert_int_equal(stats.pinned_bytes, 0);
}

static cairn *open_well(sim_disk *disk, uint64_t mask) {
    cairn *store = NULL;
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    assert_int_equal(store_open_on(&store, sim_os(disk), "s", &o, mask, NULL), CAIRN_OK);
    return store;
}

static void expect_after_a_kill(sim_disk *disk, uint64_t mask, bool lost, const holding *expected) {
    static holding found;
    sim_disk *copy = sim_clone(disk), *killed = sim_kill(copy);
    sim_free(copy);
    if (lost) (void)sim_file_remove(killed, "s", "CHECKPOINT");
    cairn *store = open_well(killed, mask);
    take_stock(store, &found);
    assert_memory_equal(&found, expected, sizeof found);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(killed);
}

static void run_race(uint64_t seed, uint64_t mask) {
    static racer writers[WRITERS], disturber;
    static holding there;
    race x = {.disk = sim_new(seed), .rounds = rung_choose(400, 60, 1000)};
    x.store = open_well(x.disk, mask);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (racer){.race = &x, .rng = seed * WRITERS + i};
        assert_int_equal(os_thread_start(&writers[i].thread, write_some, &writers[i]), 0);
    }
    disturber = (racer){.race = &x, .rng = seed};
    assert_int_equal(os_thread_start(&disturber.thread, disturb, &disturber), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        os_thread_join(&writers[i].thread);
    atomic_store(&x.over, true);
    os_thread_join(&disturber.thread);
    take_stock(x.store, &there);
    expect_after_a_kill(x.disk, mask, false, &there);
    expect_after_a_kill(x.disk, mask, true, &there);
    assert_int_equal(cairn_close(x.store), CAIRN_OK);
    expect_after_a_kill(x.disk, mask, true, &there);
    sim_free(x.disk);
}

static void log_and_index_agree_whoever_changes_the_keys_of_a_batch(void **state) {
    static const uint64_t masks[] = {UINT64_MAX, 0, 1, 7};
    (void)state;
    (void)random_pool(); /* made before there are threads */
    uint64_t races = rung_choose(12, 4, 400), first = 1;
    if (rung_seed(&first)) races = 1;
    for (uint64_t seed = first; seed < first + races; seed++) {
        run_race(seed, masks[seed % 4]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(log_and_index_agree_whoever_changes_the_keys_of_a_batch)};
    return cmocka_run_group_tests_name("batch_race", tests, NULL, NULL);
}

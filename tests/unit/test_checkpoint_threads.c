/* Checkpoints are fuzzy: written while writers go on, they hold all that was there before and nothing that never was.
 */
#include "index/checkpoint.h"
#include "index/hash_shard.h"
#include "src/os/os_thread.h"
#include "tests/support/os_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define STAYING 6000u
#define FLEETING_FROM 100000u

typedef struct race {
    hash_index *index;
    _Atomic int stop;
} race;

static uint64_t hash_of(uint64_t key) {
    uint64_t z = (key + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    return z ^ (z >> 27);
}

static void put(hash_index *index, uint64_t key) {
    hash_index_lock(index, hash_of(key));
    if (hash_index_reserve(index, hash_of(key)) == CAIRN_OK) hash_index_insert(index, hash_of(key), key);
    hash_index_unlock(index, hash_of(key));
}

static void *writer(void *arg) {
    race *r = arg;
    while (!atomic_load(&r->stop)) {
        for (uint64_t key = FLEETING_FROM; key < FLEETING_FROM + 6000; key++)
            put(r->index, key);
        for (uint64_t key = FLEETING_FROM; key < FLEETING_FROM + 6000; key++) {
            hash_index_lock(r->index, hash_of(key));
            hash_index_remove(r->index, hash_of(key), key);
            hash_index_unlock(r->index, hash_of(key));
        }
    }
    return NULL;
}

static int fence(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    (void)ctx;
    (void)error;
    info->end_place = info->start_place + 1;
    *blob = NULL;
    *blob_size = 0;
    return CAIRN_OK;
}

static int check_entry(void *ctx, uint64_t hash, location where) {
    assert_int_equal(hash, hash_of(where));
    assert_true(where <= STAYING || (where >= FLEETING_FROM && where < FLEETING_FROM + 6000));
    *(uint64_t *)ctx += where <= STAYING;
    return 0;
}

static void a_checkpoint_beside_writers_holds_all_that_stays(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    os_dir *dir = NULL;
    epoch *readers = NULL;
    race r = {0};
    checkpoint *c = NULL;
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), "store", OS_CREATE, &dir), 0);
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&r.index, readers), CAIRN_OK);
    assert_int_equal(checkpoint_open(&c, dir, false, NULL), CAIRN_OK);
    for (uint64_t key = 1; key <= STAYING; key++)
        put(r.index, key);
    os_thread thread;
    assert_int_equal(os_thread_start(&thread, writer, &r), 0);
    for (uint64_t i = 0; i < 4; i++) {
        checkpoint_info info = {.start_place = i};
        assert_int_equal(checkpoint_write(c, r.index, &info, fence, NULL, NULL), CAIRN_OK);
        (void)checkpoint_cost(r.index);
        checkpoint *again = NULL;
        hash_index *loaded = NULL;
        uint8_t *blob = NULL;
        size_t blob_size = 0;
        assert_int_equal(hash_index_new(&loaded, readers), CAIRN_OK);
        assert_int_equal(checkpoint_open(&again, dir, true, NULL), CAIRN_OK);
        assert_int_equal(checkpoint_load(again, loaded, NULL, NULL, &info, &blob, &blob_size, NULL), CAIRN_OK);
        assert_int_equal(info.start_place, i);
        uint64_t staying = 0;
        hash_index_lock_all(loaded);
        assert_int_equal(hash_index_visit_all(loaded, check_entry, &staying), 0);
        hash_index_unlock_all(loaded);
        assert_int_equal(staying, STAYING);
        checkpoint_close(again);
        hash_index_free(loaded);
    }
    atomic_store(&r.stop, 1);
    os_thread_join(&thread);
    checkpoint_close(c);
    hash_index_free(r.index);
    epoch_free(readers);
    os_dir_close(dir);
    sim_free(disk);
}

/* Enough bytes for several loading threads. */
static void a_large_checkpoint_is_loaded_by_several_threads(void **state) {
    (void)state;
    sim_disk *disk = sim_new(1);
    os_dir *dir = NULL;
    epoch *readers = NULL;
    hash_index *index = NULL, *loaded = NULL;
    checkpoint *c = NULL, *again = NULL;
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), "store", OS_CREATE, &dir), 0);
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&index, readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&loaded, readers), CAIRN_OK);
    const uint64_t n = 850000;
    for (uint64_t key = 1; key <= n; key++)
        put(index, key);
    checkpoint_info info = {0};
    uint8_t *blob = NULL;
    size_t blob_size = 0;
    assert_int_equal(checkpoint_open(&c, dir, false, NULL), CAIRN_OK);
    assert_int_equal(checkpoint_write(c, index, &info, fence, NULL, NULL), CAIRN_OK);
    assert_int_equal(checkpoint_open(&again, dir, true, NULL), CAIRN_OK);
    assert_int_equal(checkpoint_load(again, loaded, NULL, NULL, &info, &blob, &blob_size, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(loaded), n);

    assert_true(sim_file_poke(disk, "store", CHECKPOINT_DATA_NAME, 9000000, 1));
    hash_index_clear(loaded);
    cairn_error error = {0};
    assert_int_equal(checkpoint_load(again, loaded, NULL, NULL, &info, &blob, &blob_size, &error), CAIRN_CORRUPT);
    assert_int_equal(error.code, CAIRN_CORRUPT);
    assert_int_equal(hash_index_entries(loaded), 0);
    checkpoint_close(again);
    checkpoint_close(c);
    hash_index_free(loaded);
    hash_index_free(index);
    epoch_free(readers);
    os_dir_close(dir);
    sim_free(disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_beside_writers_holds_all_that_stays),
        cmocka_unit_test(a_large_checkpoint_is_loaded_by_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

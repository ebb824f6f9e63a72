/* Checkpoints are fuzzy: written while writers go on, they hold all that was there before and nothing that never was.
 */
#include "index/hash_shard.h"
#include "src/os/os_thread.h"
#include "tests/support/checkpoint_box.h"
#include "tests/support/rung.h"

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

static void *writer(void *arg) {
    race *r = arg;
    while (!atomic_load(&r->stop)) {
        for (uint64_t key = FLEETING_FROM; key < FLEETING_FROM + 6000; key++)
            index_insert(r->index, mix(key), key);
        for (uint64_t key = FLEETING_FROM; key < FLEETING_FROM + 6000; key++) {
            hash_index_lock(r->index, mix(key));
            hash_index_remove(r->index, mix(key), key);
            hash_index_unlock(r->index, mix(key));
        }
    }
    return NULL;
}

static int check_entry(void *ctx, uint64_t hash, location where) {
    assert_int_equal(hash, mix(where));
    assert_true(where <= STAYING || (where >= FLEETING_FROM && where < FLEETING_FROM + 6000));
    *(uint64_t *)ctx += where <= STAYING;
    return 0;
}

static void a_checkpoint_beside_writers_holds_all_that_stays(void **state) {
    (void)state;
    checkpoint_box b;
    checkpoint_box_open(&b, sim_new(1), false);
    race r = {.index = b.index};
    for (uint64_t key = 1; key <= STAYING; key++)
        index_insert(b.index, mix(key), key);
    os_thread thread;
    assert_int_equal(os_thread_start(&thread, writer, &r), 0);
    for (uint64_t i = 0; i < 4; i++) {
        if (i >= 2) hash_index_shrink(b.index, 1);
        assert_int_equal(i < 2 ? checkpoint_box_write(&b, i) : checkpoint_box_write_dense(&b, i), CAIRN_OK);
        (void)checkpoint_is_dense(b.c, b.index);
        (void)checkpoint_cost(b.index);
        checkpoint_box loaded;
        checkpoint_info info;
        checkpoint_box_open(&loaded, b.disk, true);
        assert_int_equal(checkpoint_box_load(&loaded, &info, NULL), CAIRN_OK);
        assert_int_equal(info.start_place, i);
        uint64_t staying = 0;
        hash_index_lock_all(loaded.index);
        assert_int_equal(hash_index_visit_all(loaded.index, check_entry, &staying), 0);
        hash_index_unlock_all(loaded.index);
        assert_int_equal(staying, STAYING);
        checkpoint_box_close(&loaded);
    }
    atomic_store(&r.stop, 1);
    os_thread_join(&thread);
    checkpoint_box_close(&b);
    sim_free(b.disk);
}

/* Enough bytes for several loading threads. */
static void a_large_checkpoint_is_loaded_by_several_threads(void **state) {
    (void)state;
    checkpoint_box b, loaded;
    checkpoint_box_open(&b, sim_new(1), false);
    const uint64_t n = 850000;
    for (uint64_t key = 1; key <= n; key++)
        index_insert(b.index, mix(key), key);
    assert_int_equal(checkpoint_box_write(&b, 1), CAIRN_OK);
    checkpoint_info info;
    checkpoint_box_open(&loaded, b.disk, true);
    assert_int_equal(checkpoint_box_load(&loaded, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(loaded.index), n);

    assert_true(sim_file_poke(b.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, 9000000, 1));
    hash_index_clear(loaded.index);
    cairn_error error = {0};
    assert_int_equal(checkpoint_box_load(&loaded, &info, &error), CAIRN_CORRUPT);
    assert_int_equal(error.code, CAIRN_CORRUPT);
    checkpoint_box_close(&loaded);
    checkpoint_box_close(&b);
    sim_free(b.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_beside_writers_holds_all_that_stays),
        cmocka_unit_test(a_large_checkpoint_is_loaded_by_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Checkpoints on the simulated disk: what was published is found again, whole, and as many bytes are written for it as
 * changed, or little more. */
#include "index/checkpoint_root.h"
#include "tests/support/checkpoint_box.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Round trips ---- */

static void without_a_checkpoint_there_is_none(void **state) {
    (void)state;
    sim_disk *disk = checkpoint_disk(0);
    checkpoint_info info;
    assert_int_equal(checkpoint_load_from(disk, &info, NULL), CAIRN_NOT_FOUND);
    sim_free(disk);
}

static void what_was_written_is_loaded_again(void **state) {
    (void)state;
    sim_disk *disk = checkpoint_disk(4);
    checkpoint_info info;
    assert_int_equal(checkpoint_load_from(disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 4);
    assert_int_equal(info.end_place, 8);
    assert_int_equal(info.epoch, 3);
    assert_int_equal(info.start_segment, 2);
    assert_int_equal(info.start_offset, 4096);
    assert_int_equal(info.entries, index_state_entries(4));
    assert_memory_equal(info.store_id, checkpoint_store_id, 16);
    sim_free(disk);
}

static void an_empty_index_is_a_checkpoint_too(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_write(&f, 0), CAIRN_OK);
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(info.entries, 0);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void a_shard_that_was_emptied_stays_empty(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    index_insert(f.index, 5, 9);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    hash_index_lock(f.index, 5);
    hash_index_remove(f.index, 5, 9);
    hash_index_unlock(f.index, 5);
    assert_int_equal(checkpoint_box_write(&f, 2), CAIRN_OK);
    checkpoint_box_close(&f);
    checkpoint_box_open(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), 0);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void a_stash_is_part_of_the_image(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (location l = 1; l <= 300; l++)
        index_insert(f.index, 77, l);
    hash_index_lock(f.index, 77);
    for (location l = 3; l <= 300; l += 3)
        hash_index_remove(f.index, 77, l);
    hash_index_unlock(f.index, 77);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    checkpoint_box_close(&f);
    checkpoint_box_open(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_count(f.index, 77), 200);
    for (location l = 301; l <= 900; l++)
        index_insert(f.index, 77, l);
    for (location l = 1; l <= 900; l++)
        assert_int_equal(index_has(f.index, 77, l), l > 300 || l % 3 != 0);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void a_large_index_goes_out_and_in(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    const uint64_t n = 200000;
    for (uint64_t i = 0; i < n; i++)
        index_insert(f.index, mix(i), i + 1);
    uint64_t cost = checkpoint_cost(f.index);
    assert_true(cost >= 16 * n && cost < 24 * n);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    assert_int_equal(checkpoint_cost(f.index), 0);
    checkpoint_box_close(&f);
    checkpoint_box_open(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), n);
    assert_int_equal(checkpoint_cost(f.index), 0);
    for (uint64_t i = 0; i < n; i++)
        assert_true(index_has(f.index, mix(i), i + 1));
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static bool refuse(void *ctx, const checkpoint_info *info) {
    *(uint64_t *)ctx = info->epoch;
    return false;
}

static void the_caller_may_refuse_a_checkpoint_by_its_info(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, checkpoint_disk(2), true);
    uint64_t epoch_seen = 0;
    checkpoint_info info;
    uint8_t *blob = NULL;
    size_t blob_size = 0;
    int code = checkpoint_load(f.c, f.index, refuse, &epoch_seen, &info, &blob, &blob_size, NULL);
    assert_int_equal(code, CAIRN_NOT_FOUND);
    assert_int_equal(epoch_seen, 3);
    assert_int_equal(hash_index_entries(f.index), 0);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void read_only_changes_nothing_on_disk(void **state) {
    (void)state;
    for (uint64_t last = 0; last < 2; last++) {
        sim_disk *disk = checkpoint_disk(last);
        uint64_t operations = sim_operations(disk);
        checkpoint_box f;
        checkpoint_box_open(&f, disk, true);
        checkpoint_info info;
        assert_int_equal(checkpoint_box_load(&f, &info, NULL), last == 0 ? CAIRN_NOT_FOUND : CAIRN_OK);
        assert_int_equal(checkpoint_box_write(&f, 9), CAIRN_READ_ONLY);
        checkpoint_box_close(&f);
        assert_int_equal(sim_operations(disk), operations);
        sim_free(disk);
    }
}

/* ---- What is written where ---- */

static void read_root(sim_disk *disk, checkpoint_root *root) {
    size_t size = 0, blob_size;
    const uint8_t *blob;
    uint8_t *bytes = sim_file_read(disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, &size);
    assert_non_null(bytes);
    assert_int_equal(root_decode(root, bytes, size, &blob, &blob_size, NULL), CAIRN_OK);
    free(bytes);
}

static void only_changed_shards_are_written(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, checkpoint_disk(3), false);
    checkpoint_root *before = malloc(sizeof *before), *after = malloc(sizeof *after);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    read_root(f.disk, before);
    uint64_t hash = 0x1234567890abcdef;
    index_insert(f.index, hash, 5);
    assert_true(checkpoint_cost(f.index) > 0 && checkpoint_cost(f.index) < 1024);
    assert_int_equal(checkpoint_box_write(&f, 4), CAIRN_OK);
    read_root(f.disk, after);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        bool same = memcmp(&before->rows[i], &after->rows[i], sizeof before->rows[i]) == 0;
        assert_int_equal(same, i != hash_index_shard_of(hash));
    }
    free(before);
    free(after);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void expect_dense(checkpoint_box *f) {
    checkpoint_root *root = malloc(sizeof *root);
    read_root(f->disk, root);
    uint64_t images = root_image_bytes(root);
    assert_true(checkpoint_is_dense(f->c, f->index));
    assert_true(checkpoint_data_size(f->disk) <= images + images / 16 + 16 * BLOCK_BYTES);
    free(root);
}

/* Two of them do, wherever images lie. */
static void make_dense(checkpoint_box *f, uint64_t number) {
    for (unsigned i = 0; i < 2 && !checkpoint_is_dense(f->c, f->index); i++)
        assert_int_equal(checkpoint_box_write_dense(f, number), CAIRN_OK);
    expect_dense(f);
}

/* Every checkpoint changes `changed` keys of 40,000 at random and adds `added`. */
static void run_many(unsigned changed, unsigned added) {
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    checkpoint_root *root = malloc(sizeof *root);
    uint64_t keys = 0, dice = 1;
    unsigned char *version = calloc(1, 40000 + 50 * (size_t)added);
    assert_non_null(version);
    for (; keys < 40000; keys++)
        index_insert(f.index, mix(keys), keys + 1);
    for (unsigned k = 1; k <= 50; k++) {
        for (unsigned i = 0; i < changed; i++) {
            uint64_t key = (dice = dice * 6364136223846793005ull + 1442695040888963407ull) >> 33;
            key %= keys;
            location now = key + 1 + ((uint64_t)version[key] << 24);
            version[key] = (unsigned char)(version[key] + 1);
            hash_index_lock(f.index, mix(key));
            hash_index_replace(f.index, mix(key), now, key + 1 + ((uint64_t)version[key] << 24));
            hash_index_unlock(f.index, mix(key));
        }
        for (unsigned i = 0; i < added; i++, keys++)
            index_insert(f.index, mix(keys), keys + 1);
        assert_int_equal(checkpoint_box_write(&f, k), CAIRN_OK);
        read_root(f.disk, root);
        assert_true(2 * checkpoint_data_size(f.disk) < 5 * root_image_bytes(root) + 32 * BLOCK_BYTES);
        if (k % 10 == 0) make_dense(&f, k);
    }
    checkpoint_box_close(&f);
    checkpoint_box_open(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), keys);
    for (uint64_t key = 0; key < keys; key++) {
        assert_true(index_has(f.index, mix(key), key + 1 + ((uint64_t)version[key] << 24)));
    }
    free(version);
    free(root);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void fifty_checkpoints_of_everything_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(20000, 0);
}

static void fifty_checkpoints_of_some_shards_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(100, 0);
}

static void fifty_checkpoints_of_a_growing_index_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(50, 1500);
    run_many(400, 300);
}

/* Keys from 0 on, each at the place key + 1. */
static void insert_keys(hash_index *index, uint64_t count) {
    for (uint64_t key = 0; key < count; key++)
        index_insert(index, mix(key), key + 1);
}

static void remove_keys(hash_index *index, uint64_t from, uint64_t to) {
    for (uint64_t key = from; key < to; key++) {
        hash_index_lock(index, mix(key));
        hash_index_remove(index, mix(key), key + 1);
        hash_index_unlock(index, mix(key));
    }
}

static void expect_keys(hash_index *index, uint64_t count) {
    for (uint64_t key = 0; key < count; key++)
        assert_true(index_has(index, mix(key), key + 1));
}

static void the_tail_is_cut_off_when_most_entries_are_gone(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    insert_keys(f.index, 20000);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    uint64_t large = checkpoint_data_size(f.disk);
    remove_keys(f.index, 10, 20000);
    assert_int_equal(checkpoint_box_write(&f, 2), CAIRN_OK);
    assert_int_equal(checkpoint_box_write(&f, 3), CAIRN_OK);
    for (uint64_t key = 0; key < 10; key++)
        hash_shard_mark_dirty(f.index, hash_index_shard_of(mix(key)));
    assert_int_equal(checkpoint_box_write(&f, 4), CAIRN_OK);
    assert_true(checkpoint_data_size(f.disk) < large / 10);
    checkpoint_info info;
    hash_index_clear(f.index);
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), 10);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

/* ---- Dense ones ---- */

static void the_data_of_a_shrunk_index_shrinks_to_its_images(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    const uint64_t n = 100000, left = 10000;
    assert_true(checkpoint_is_dense(f.c, f.index));
    insert_keys(f.index, n);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    assert_true(checkpoint_is_dense(f.c, f.index));
    remove_keys(f.index, left, n);
    hash_index_shrink(f.index, 1);
    assert_false(checkpoint_is_dense(f.c, f.index));
    assert_int_equal(checkpoint_box_write_dense(&f, 2), CAIRN_OK); /* behind the old ones */
    assert_false(checkpoint_is_dense(f.c, f.index));
    assert_int_equal(checkpoint_box_write_dense(&f, 3), CAIRN_OK);
    expect_dense(&f);
    assert_true(checkpoint_data_size(f.disk) < left * 40);
    checkpoint_box_close(&f);
    checkpoint_box_open(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    expect_dense(&f);
    assert_int_equal(hash_index_entries(f.index), left);
    expect_keys(f.index, left);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void shrinking_leaves_nothing_to_write(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    const uint64_t n = 50000, left = 5000;
    insert_keys(f.index, n);
    remove_keys(f.index, left, n);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    hash_index_shrink(f.index, 1);
    assert_int_equal(checkpoint_cost(f.index), 0);
    sim_fault full = {.kinds = SIM_WRITE, .nth = 0, .error = -ENOSPC, .partial = true};
    sim_fault_set(f.disk, &full);
    assert_int_equal(checkpoint_box_write_dense(&f, 2), CAIRN_FULL);
    sim_fault_set(f.disk, NULL);
    assert_int_equal(checkpoint_cost(f.index), 0);
    index_insert(f.index, mix(n), n + 1);
    assert_int_equal(checkpoint_box_write(&f, 2), CAIRN_OK);
    checkpoint_info info;
    hash_index_clear(f.index);
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 2);
    assert_int_equal(hash_index_entries(f.index), left + 1);
    expect_keys(f.index, left);
    assert_true(index_has(f.index, mix(n), n + 1));
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void nothing_is_left_of_the_data_of_an_emptied_index(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    insert_keys(f.index, 20000);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    remove_keys(f.index, 0, 20000);
    hash_index_shrink(f.index, 1);
    make_dense(&f, 2);
    assert_int_equal(checkpoint_data_size(f.disk), 0);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void a_free_front_makes_it_dense_at_once(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (uint64_t i = 0; i < HASH_INDEX_SHARDS; i++)
        index_insert(f.index, i << 54, i + 1);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    uint64_t images = checkpoint_data_size(f.disk);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
        hash_shard_mark_dirty(f.index, i);
    assert_int_equal(checkpoint_box_write(&f, 2), CAIRN_OK);
    assert_int_equal(checkpoint_data_size(f.disk), 2 * images);
    assert_int_equal(checkpoint_box_write_dense(&f, 3), CAIRN_OK);
    assert_int_equal(checkpoint_data_size(f.disk), images);
    expect_dense(&f);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

/* Images with stashes: what is dense is reckoned without knowing those. */
static void colliding_hashes_become_dense_as_well(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (uint64_t key = 0; key < 30000; key++)
        index_insert(f.index, mix(key % 30), key + 1);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    for (uint64_t key = 3000; key < 30000; key++) {
        hash_index_lock(f.index, mix(key % 30));
        hash_index_remove(f.index, mix(key % 30), key + 1);
        hash_index_unlock(f.index, mix(key % 30));
    }
    assert_int_equal(checkpoint_box_write(&f, 2), CAIRN_OK);
    hash_index_shrink(f.index, 1);
    make_dense(&f, 3);
    for (uint64_t key = 0; key < 3000; key++)
        assert_true(index_has(f.index, mix(key % 30), key + 1));
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_checkpoint_there_is_none),
        cmocka_unit_test(what_was_written_is_loaded_again),
        cmocka_unit_test(an_empty_index_is_a_checkpoint_too),
        cmocka_unit_test(a_shard_that_was_emptied_stays_empty),
        cmocka_unit_test(a_stash_is_part_of_the_image),
        cmocka_unit_test(a_large_index_goes_out_and_in),
        cmocka_unit_test(the_caller_may_refuse_a_checkpoint_by_its_info),
        cmocka_unit_test(read_only_changes_nothing_on_disk),
        cmocka_unit_test(only_changed_shards_are_written),
        cmocka_unit_test(fifty_checkpoints_of_everything_stay_under_two_and_a_half_images),
        cmocka_unit_test(fifty_checkpoints_of_some_shards_stay_under_two_and_a_half_images),
        cmocka_unit_test(fifty_checkpoints_of_a_growing_index_stay_under_two_and_a_half_images),
        cmocka_unit_test(the_tail_is_cut_off_when_most_entries_are_gone),
        cmocka_unit_test(the_data_of_a_shrunk_index_shrinks_to_its_images),
        cmocka_unit_test(shrinking_leaves_nothing_to_write),
        cmocka_unit_test(nothing_is_left_of_the_data_of_an_emptied_index),
        cmocka_unit_test(a_free_front_makes_it_dense_at_once),
        cmocka_unit_test(colliding_hashes_become_dense_as_well),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}

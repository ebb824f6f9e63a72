/* Failing calls, power cuts and old files put back: the checkpoint that is found is the old one or the new one, whole.
 */
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

/* ---- Failures ---- */

static int fence_fails(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    (void)ctx;
    (void)info;
    (void)blob;
    (void)blob_size;
    (void)error;
    return CAIRN_FAILED;
}

static void a_failed_fence_leaves_the_old_checkpoint_and_the_shards_dirty(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, checkpoint_disk(2), false);
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    index_advance(f.index, 3);
    uint64_t cost = checkpoint_cost(f.index);
    info.start_place = 3;
    assert_int_equal(checkpoint_write(f.c, f.index, &info, fence_fails, NULL, NULL), CAIRN_FAILED);
    assert_int_equal(checkpoint_cost(f.index), cost);
    assert_int_equal(checkpoint_load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 2);
    assert_int_equal(checkpoint_box_write(&f, 3), CAIRN_OK);
    assert_int_equal(checkpoint_load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 3);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

/* Each call of the disk fails once: the checkpoint before stays, or the new one is there; a new attempt succeeds, but
 * after a failed sync only through a new handle. */
static void any_failed_call_leaves_a_whole_checkpoint(void **state) {
    (void)state;
    const int errors[] = {-EIO, -ENOSPC};
    for (unsigned e = 0; e < 2; e++) {
        bool hit = true;
        for (uint64_t nth = 0; hit; nth++) {
            checkpoint_box f;
            checkpoint_box_open(&f, checkpoint_disk(2), false);
            checkpoint_info info;
            assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
            index_advance(f.index, 3);
            sim_fault fault = {.kinds = SIM_ALL, .nth = nth, .error = errors[e], .partial = true};
            sim_fault_set(f.disk, &fault);
            int code = checkpoint_box_write(&f, 3);
            hit = sim_fault_hits(f.disk) > 0;
            sim_fault_set(f.disk, NULL);
            assert_int_equal(checkpoint_load_from(f.disk, &info, NULL), CAIRN_OK);
            assert_true(info.start_place == 3 || (code != CAIRN_OK && info.start_place == 2));
            if (code != CAIRN_OK && checkpoint_box_write(&f, 3) != CAIRN_OK) {
                checkpoint_box_close(&f);
                checkpoint_box_open(&f, f.disk, false);
                assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
                if (info.start_place == 2) index_advance(f.index, 3);
                assert_int_equal(checkpoint_box_write(&f, 3), CAIRN_OK);
            }
            assert_int_equal(checkpoint_load_from(f.disk, &info, NULL), CAIRN_OK);
            assert_int_equal(info.start_place, 3);
            checkpoint_box_close(&f);
            sim_free(f.disk);
        }
    }
}

/* ---- Power cuts ---- */

/* Checkpoints after `from`, as far as the disk lives; the number of the last one that was published. */
static uint64_t write_until_cut(checkpoint_box *f, uint64_t from, uint64_t last) {
    uint64_t done = from;
    while (done < last) {
        index_advance(f->index, done + 1);
        if (checkpoint_box_write(f, done + 1) != CAIRN_OK) break;
        done++;
    }
    return done;
}

/* Loads what a power cut left: the last published checkpoint or the one that was being written. Its number. */
static uint64_t load_after_cut(checkpoint_box *f, uint64_t published) {
    checkpoint_info info = {0};
    cairn_error error = {0};
    int code = checkpoint_box_load(f, &info, &error);
    if (code == CAIRN_NOT_FOUND) {
        assert_int_equal(published, 0);
        return 0;
    }
    if (code != CAIRN_OK) fail_msg("after checkpoint %u: %s", (unsigned)published, error.message);
    assert_true(info.start_place == published || info.start_place == published + 1);
    assert_index_state(f->index, info.start_place);
    return info.start_place;
}

static void a_power_cut_at_any_operation_leaves_the_old_or_the_new_one(void **state) {
    (void)state;
    const uint64_t last = 5;
    sim_disk *whole = checkpoint_disk(last);
    uint64_t operations = sim_operations(whole);
    sim_free(whole);
    for (uint64_t cut = 2; cut <= operations; cut++) { /* 0 and 1 make the directory */
        checkpoint_box f;
        checkpoint_box_open(&f, sim_new(cut), false);
        sim_cut_at(f.disk, cut);
        uint64_t published = write_until_cut(&f, 0, last);
        checkpoint_box_close(&f);
        for (uint64_t seed = 0; seed < 8; seed++) {
            /* The machine comes up, writes on, and is cut again. */
            checkpoint_box g;
            checkpoint_box_open(&g, sim_crash(f.disk, seed), false);
            uint64_t again = load_after_cut(&g, published);
            sim_cut_at(g.disk, sim_operations(g.disk) + (cut * 7 + seed * 5) % 20);
            again = write_until_cut(&g, again, again + 2);
            checkpoint_box_close(&g);
            checkpoint_box h;
            checkpoint_box_open(&h, sim_crash(g.disk, seed * 3 + 2), false);
            uint64_t third = load_after_cut(&h, again);
            assert_int_equal(write_until_cut(&h, third, third + 1), third + 1);
            checkpoint_box_close(&h);
            checkpoint_info info;
            assert_int_equal(checkpoint_load_from(h.disk, &info, NULL), CAIRN_OK);
            assert_int_equal(info.start_place, third + 1);
            sim_free(h.disk);
            sim_free(g.disk);
        }
        sim_free(f.disk);
    }
}

/* ---- Of an index that shrank ---- */

#define MANY 8000u
#define FEW 400u
#define DENSE_LAST 3u /* checkpoint 1 has many; 2, behind it, and 3, in front, have few and are dense */

static uint64_t entries_of(uint64_t number) { return number == 1 ? MANY : FEW; }

static sim_disk *disk_of_many(void) {
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (uint64_t key = 0; key < MANY; key++)
        index_insert(f.index, mix(key), key + 1);
    assert_int_equal(checkpoint_box_write(&f, 1), CAIRN_OK);
    checkpoint_box_close(&f);
    return f.disk;
}

/* Whole, whatever it is; its number. */
static uint64_t load_any(checkpoint_box *f) {
    checkpoint_info info = {0};
    cairn_error error = {0};
    if (checkpoint_box_load(f, &info, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(hash_index_entries(f->index), entries_of(info.start_place));
    for (uint64_t key = 0; key < entries_of(info.start_place); key++)
        assert_true(index_has(f->index, mix(key), key + 1));
    return info.start_place;
}

static void shrink_to_few(hash_index *index) {
    for (uint64_t key = FEW; key < MANY; key++) {
        hash_index_lock(index, mix(key));
        hash_index_remove(index, mix(key), key + 1);
        hash_index_unlock(index, mix(key));
    }
    hash_index_shrink(index, 1);
}

/* Dense checkpoints after number `done`, as far as the disk lives; the last one that was published. */
static uint64_t write_dense_until_cut(checkpoint_box *f, uint64_t done) {
    if (done == 1) shrink_to_few(f->index);
    while (done < DENSE_LAST && checkpoint_box_write_dense(f, done + 1) == CAIRN_OK)
        done++;
    return done;
}

static void expect_all_done(checkpoint_box *f) {
    assert_true(checkpoint_is_dense(f->c, f->index));
    assert_true(checkpoint_data_size(f->disk) < FEW * 256 + 100000);
}

static void a_power_cut_at_any_operation_of_dense_ones_leaves_a_whole_one(void **state) {
    (void)state;
    sim_disk *many = disk_of_many();
    uint64_t published = 1;
    for (uint64_t cut = sim_operations(many); published < DENSE_LAST; cut++) {
        checkpoint_box f;
        checkpoint_box_open(&f, sim_clone(many), false);
        assert_int_equal(load_any(&f), 1);
        sim_cut_at(f.disk, cut);
        published = write_dense_until_cut(&f, 1);
        checkpoint_box_close(&f);
        for (uint64_t seed = 0; seed < 8; seed++) {
            checkpoint_box g;
            checkpoint_box_open(&g, sim_crash(f.disk, seed), false);
            uint64_t found = load_any(&g);
            assert_true(found == published || found == published + 1);
            assert_int_equal(write_dense_until_cut(&g, found), DENSE_LAST);
            if (found < DENSE_LAST) expect_all_done(&g);
            checkpoint_box_close(&g);
            checkpoint_box_open(&g, g.disk, true);
            assert_int_equal(load_any(&g), DENSE_LAST);
            checkpoint_box_close(&g);
            sim_free(g.disk);
        }
        sim_free(f.disk);
    }
    sim_free(many);
}

static void any_failed_call_of_dense_ones_leaves_a_whole_one(void **state) {
    (void)state;
    sim_disk *many = disk_of_many();
    const int errors[] = {-EIO, -ENOSPC};
    for (unsigned e = 0; e < 2; e++) {
        bool hit = true;
        for (uint64_t nth = 0; hit; nth++) {
            checkpoint_box f, g;
            checkpoint_box_open(&f, sim_clone(many), false);
            assert_int_equal(load_any(&f), 1);
            sim_fault fault = {.kinds = SIM_ALL, .nth = nth, .error = errors[e], .partial = true};
            sim_fault_set(f.disk, &fault);
            uint64_t published = write_dense_until_cut(&f, 1);
            hit = sim_fault_hits(f.disk) > 0;
            sim_fault_set(f.disk, NULL);
            checkpoint_box_open(&g, f.disk, true);
            uint64_t found = load_any(&g);
            assert_true(found == published || found == published + 1);
            checkpoint_box_close(&g);
            /* On with the same handle, where that may be. */
            int code = published < DENSE_LAST ? CAIRN_OK : CAIRN_FAILED;
            for (unsigned i = 0; i < 2 && code == CAIRN_OK && !checkpoint_is_dense(f.c, f.index); i++)
                code = checkpoint_box_write_dense(&f, DENSE_LAST);
            if (code == CAIRN_OK) expect_all_done(&f);
            checkpoint_box_close(&f);
            sim_free(f.disk);
        }
    }
    sim_free(many);
}

/* ---- Files that are lost, or not of this time ---- */

static void missing_data_is_corruption(void **state) {
    (void)state;
    sim_disk *disk = checkpoint_disk(2);
    assert_true(sim_file_remove(disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME));
    checkpoint_info info;
    assert_int_equal(checkpoint_load_from(disk, &info, NULL), CAIRN_CORRUPT);
    sim_free(disk);
}

static void after_a_refused_checkpoint_a_new_one_is_written_whole(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_box_open(&f, checkpoint_disk(2), false);
    assert_true(sim_file_poke(f.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, 300, 1));
    checkpoint_info info;
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_CORRUPT);
    for (uint64_t k = 1; k <= 3; k++)
        index_advance(f.index, k);
    assert_int_equal(checkpoint_box_write(&f, 3), CAIRN_OK);
    assert_int_equal(checkpoint_load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 3);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static void an_old_root_put_back_is_whole_or_refused(void **state) {
    (void)state;
    const uint64_t last = 6;
    uint8_t *roots[7] = {NULL};
    size_t sizes[7] = {0};
    checkpoint_box f;
    checkpoint_box_open(&f, sim_new(1), false);
    for (uint64_t k = 1; k <= last; k++) {
        index_advance(f.index, k);
        assert_int_equal(checkpoint_box_write(&f, k), CAIRN_OK);
        roots[k] = sim_file_read(f.disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, &sizes[k]);
        for (uint64_t old = 1; old <= k; old++) {
            sim_disk *disk = sim_clone(f.disk);
            sim_file_write(disk, CHECKPOINT_STORE, CHECKPOINT_ROOT_NAME, roots[old], sizes[old]);
            checkpoint_info info;
            int code = checkpoint_load_from(disk, &info, NULL);
            assert_true(code == CAIRN_CORRUPT || (code == CAIRN_OK && info.start_place == old));
            sim_free(disk);
        }
    }
    for (uint64_t k = 1; k <= last; k++)
        free(roots[k]);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_fence_leaves_the_old_checkpoint_and_the_shards_dirty),
        cmocka_unit_test(any_failed_call_leaves_a_whole_checkpoint),
        cmocka_unit_test(a_power_cut_at_any_operation_leaves_the_old_or_the_new_one),
        cmocka_unit_test(a_power_cut_at_any_operation_of_dense_ones_leaves_a_whole_one),
        cmocka_unit_test(any_failed_call_of_dense_ones_leaves_a_whole_one),
        cmocka_unit_test(missing_data_is_corruption),
        cmocka_unit_test(after_a_refused_checkpoint_a_new_one_is_written_whole),
        cmocka_unit_test(an_old_root_put_back_is_whole_or_refused),
    };
    return cmocka_run_group_tests_name("checkpoint_crash", tests, NULL, NULL);
}

/* Shards so large that their arrays are pages: loaded, these lie in one region, and each goes alone. */
#include "index/checkpoint_root.h"
#include "tests/support/checkpoint_box.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LARGE 5u     /* shards whose arrays are pages, */
#define EACH 6000u   /* with so many entries; */
#define SMALL 40u    /* and others, with few */
#define SHARD_AT 54u /* the bits that name one */

static uint64_t hash_in(uint64_t shard, uint64_t i) { return shard << SHARD_AT | mix(i) >> 10; }
static location place_of(uint64_t shard, uint64_t i) { return shard << 20 | (i + 1); }

static void fill(hash_index *index, uint64_t shard, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        index_insert(index, hash_in(shard, i), place_of(shard, i));
    }
}

static void expect(hash_index *index, uint64_t shard, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        assert_true(index_has(index, hash_in(shard, i), place_of(shard, i)));
    }
}

/* Large shards lie between small ones. */
static void open_filled(checkpoint_box *f) {
    checkpoint_box_open(f, sim_new(1), false);
    for (uint64_t shard = 0; shard < LARGE + SMALL; shard++) {
        fill(f->index, shard, 0, shard % 9 == 0 ? EACH : 3);
    }
    assert_int_equal(checkpoint_box_write(f, 1), CAIRN_OK);
}

static void reopen(checkpoint_box *f) {
    checkpoint_box_close(f);
    checkpoint_box_open(f, f->disk, false);
}

static void arrays_in_one_region_are_replaced_one_by_one(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_info info;
    open_filled(&f);
    reopen(&f);
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    for (uint64_t shard = 0; shard < LARGE + SMALL; shard += 9) {
        for (uint64_t other = shard; other < LARGE + SMALL; other += 9) {
            expect(f.index, other, EACH);
        }
        fill(f.index, shard, EACH, 4 * EACH); /* it outgrows its array */
    }
    for (uint64_t shard = 0; shard < LARGE + SMALL; shard++) {
        expect(f.index, shard, shard % 9 == 0 ? 4 * EACH : 3);
    }
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

static uint64_t mapped_pages(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &pages), 1);
    assert_int_equal(fclose(file), 0);
    return pages;
}

/* Whichever image is damaged: arrays that were made, and those that were not, give their pages back. */
static void a_load_that_fails_gives_all_pages_back(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_info info;
    open_filled(&f);
    reopen(&f);
    uint64_t size = checkpoint_data_size(f.disk), before = 0, region = LARGE * EACH * 16 / 4096;
    const uint64_t places = 40;
    for (uint64_t i = 0; i < 2 * places; i++) {
        uint64_t at = size / places * (i % places) + 8;
        if (i == places) before = mapped_pages();
        assert_true(sim_file_poke(f.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, at, 1));
        assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_CORRUPT);
        assert_true(sim_file_poke(f.disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, at, 1));
    }
    assert_true(mapped_pages() < before + places * region / 4);
    assert_int_equal(checkpoint_box_load(&f, &info, NULL), CAIRN_OK);
    expect(f.index, 9, EACH);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_in_one_region_are_replaced_one_by_one),
        cmocka_unit_test(a_load_that_fails_gives_all_pages_back),
    };
    return cmocka_run_group_tests_name("checkpoint_pages", tests, NULL, NULL);
}

/* Shards so large that their arrays are pages: loaded, these lie in one region, and each goes alone. */
#include "index/checkpoint_root.h"
#include "index/hash_shard.h"
#include "tests/support/checkpoint_box.h"
#include "tests/support/failing_memory.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Whatever cannot be had: without the region each array has pages of its own, without others the load fails cleanly. */
static void a_region_that_cannot_be_had_is_done_without(void **state) {
    (void)state;
    checkpoint_box f;
    checkpoint_info info;
    uint64_t loaded = 0, before = 0;
    open_filled(&f);
    reopen(&f);
    memory_fence(f.disk);
    for (uint64_t nth = 0, failed = 1; failed > 0; nth++) {
        if (nth == 1) before = mapped_pages();
        memory_plan(nth, 1);
        memory_counted();
        uint8_t *blob = NULL;
        size_t size = 0;
        int rc = memory_uncounted(checkpoint_load(f.c, f.index, NULL, NULL, &info, &blob, &size, NULL));
        failed = memory_failures();
        free(blob);
        if (rc != CAIRN_OK) assert_int_equal(rc, CAIRN_NO_MEMORY);
        if (rc == CAIRN_OK) expect(f.index, 9, EACH);
        if (rc == CAIRN_OK && failed > 0) loaded++;
        hash_index_clear(f.index);
    }
    assert_int_equal(loaded, 1); /* the region's */
    assert_in_range(mapped_pages(), 0, before + LARGE * EACH * 16 / 4096);
    checkpoint_box_close(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_in_one_region_are_replaced_one_by_one),
        cmocka_unit_test(a_load_that_fails_gives_all_pages_back),
        cmocka_unit_test(a_region_that_cannot_be_had_is_done_without),
    };
    return cmocka_run_group_tests_name("checkpoint_pages", tests, NULL, NULL);
}

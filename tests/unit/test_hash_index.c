/* The hash index against a plain model: a multimap from hashes to locations, whatever the hashes are like. */
#include "include/cairn.h"
#include "index/hash_index.h"
#include "tests/support/failing_memory.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    epoch *readers;
    hash_index *index;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (f == NULL || epoch_new(&f->readers) != CAIRN_OK) return -1;
    return hash_index_new(&f->index, f->readers);
}

static int teardown(void **state) {
    fixture *f = *state;
    hash_index_free(f->index);
    epoch_free(f->readers);
    free(f);
    return 0;
}

static uint64_t random_seed = 1;

static void insert(hash_index *index, uint64_t hash, location where) {
    hash_index_lock(index, hash);
    assert_int_equal(hash_index_reserve(index, hash), CAIRN_OK);
    hash_index_insert(index, hash, where);
    hash_index_unlock(index, hash);
}
static void remove_entry(hash_index *index, uint64_t hash, location where) {
    hash_index_lock(index, hash);
    hash_index_remove(index, hash, where);
    hash_index_unlock(index, hash);
}

static int match_location(void *ctx, location candidate) { return candidate == *(location *)ctx; }
static int match_nothing(void *ctx, location candidate) {
    (void)candidate;
    ++*(uint64_t *)ctx;
    return 0;
}
static int match_fails(void *ctx, location candidate) {
    (void)ctx;
    (void)candidate;
    return CAIRN_IO;
}

static int find(fixture *f, uint64_t hash, location where) {
    location found = LOCATION_NONE;
    epoch_guard guard = epoch_enter(f->readers);
    int answer = hash_index_find(f->index, hash, match_location, &where, &found);
    epoch_exit(f->readers, guard);
    if (answer == 1) assert_int_equal(found, where);
    return answer;
}
static size_t count(fixture *f, uint64_t hash) {
    hash_index_lock(f->index, hash);
    size_t n = hash_index_count(f->index, hash);
    hash_index_unlock(f->index, hash);
    return n;
}

static void an_empty_index_is_small_and_finds_nothing(void **state) {
    fixture *f = *state;
    assert_true(hash_index_bytes(f->index) < 300 * 1024);
    assert_int_equal(hash_index_entries(f->index), 0);
    assert_int_equal(find(f, 42, 1), 0);
    assert_int_equal(count(f, 42), 0);
}

static void what_is_inserted_is_found_replaced_and_removed(void **state) {
    fixture *f = *state;
    insert(f->index, 7, 100);
    assert_int_equal(find(f, 7, 100), 1);
    assert_int_equal(find(f, 7, 101), 0);
    assert_int_equal(find(f, 8, 100), 0);
    hash_index_lock(f->index, 7);
    hash_index_replace(f->index, 7, 100, 101);
    hash_index_unlock(f->index, 7);
    assert_int_equal(find(f, 7, 100), 0);
    assert_int_equal(find(f, 7, 101), 1);
    assert_int_equal(hash_index_entries(f->index), 1);
    remove_entry(f->index, 7, 101);
    assert_int_equal(find(f, 7, 101), 0);
    assert_int_equal(hash_index_entries(f->index), 0);
}

static void hashes_of_all_zero_and_all_one_bits_are_like_others(void **state) {
    fixture *f = *state;
    assert_int_equal(find(f, 0, 5), 0);
    insert(f->index, 0, 5);
    insert(f->index, UINT64_MAX, UINT64_MAX);
    assert_int_equal(find(f, 0, 5), 1);
    assert_int_equal(find(f, UINT64_MAX, UINT64_MAX), 1);
    assert_int_equal(find(f, 1, 5), 0);
}

static void a_code_of_the_match_function_ends_the_search(void **state) {
    fixture *f = *state;
    insert(f->index, 7, 100);
    location found;
    assert_int_equal(hash_index_find(f->index, 7, match_fails, NULL, &found), CAIRN_IO);
}

static void five_thousand_entries_may_share_one_hash(void **state) {
    fixture *f = *state;
    const uint64_t hash = 0xabcdef0123456789ull, n = 5000;
    for (location l = 1; l <= n; l++)
        insert(f->index, hash, l);
    assert_int_equal(count(f, hash), n);
    for (location l = 1; l <= n; l += 7)
        assert_int_equal(find(f, hash, l), 1);
    uint64_t asked = 0;
    location found;
    assert_int_equal(hash_index_find(f->index, hash, match_nothing, &asked, &found), 0);
    assert_int_equal(asked, n);
    assert_true(hash_index_bytes(f->index) < 600 * 1024);
    for (location l = 1; l <= n; l += 2)
        remove_entry(f->index, hash, l);
    assert_int_equal(count(f, hash), n / 2);
    for (location l = 1; l <= n; l += 2)
        insert(f->index, hash, n + l);
    for (location l = 2; l <= n; l += 2)
        assert_int_equal(find(f, hash, l), 1);
    for (location l = 2; l <= n; l += 2)
        remove_entry(f->index, hash, l);
    for (location l = 1; l <= n; l += 2)
        remove_entry(f->index, hash, n + l);
    assert_int_equal(count(f, hash), 0);
    assert_int_equal(hash_index_entries(f->index), 0);
}

/* Entries that cannot be placed, in and out all the time, never make the shard grow. */
static void a_full_stash_does_not_grow_without_end(void **state) {
    fixture *f = *state;
    for (location l = 1; l <= 200; l++)
        insert(f->index, 3, l);
    uint64_t bytes = hash_index_bytes(f->index);
    for (location l = 1; l <= 20000; l++) {
        remove_entry(f->index, 3, l);
        insert(f->index, 3, l + 200);
    }
    assert_true(hash_index_bytes(f->index) <= bytes * 2);
    assert_int_equal(count(f, 3), 200);
}

typedef struct model_entry {
    uint64_t hash;
    location where;
} model_entry;

#define MODEL_MAX 6000u

static int tick_off(void *ctx, uint64_t hash, location where) {
    model_entry *seen = ctx;
    assert_true(where < MODEL_MAX * 40);
    assert_int_equal(seen[where].where, LOCATION_NONE); /* no entry twice */
    seen[where] = (model_entry){hash, where};
    return 0;
}

static void compare_all(fixture *f, const model_entry *model, size_t n) {
    model_entry *seen = calloc(MODEL_MAX * 40, sizeof *seen);
    assert_non_null(seen);
    hash_index_lock_all(f->index);
    assert_int_equal(hash_index_visit_all(f->index, tick_off, seen), 0);
    hash_index_unlock_all(f->index);
    assert_int_equal(hash_index_entries(f->index), n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(seen[model[i].where].where, model[i].where);
        assert_int_equal(seen[model[i].where].hash, model[i].hash);
        assert_int_equal(find(f, model[i].hash, model[i].where), 1);
    }
    free(seen);
}

/* Shrinks now and then as well. */
static void run_model(fixture *f, uint64_t mask, unsigned operations) {
    model_entry *model = malloc(MODEL_MAX * sizeof *model);
    assert_non_null(model);
    size_t n = 0;
    location next = 1;
    for (unsigned op = 0; op < operations; op++) {
        uint64_t dice = random_next(&random_seed) % 100;
        size_t growth_bias = op / 20000 % 2 == 0 ? 60 : 25;
        size_t i = n > 0 ? random_next(&random_seed) % n : 0;
        if (random_one_in(&random_seed, 2000)) hash_index_shrink(f->index, 1);
        if ((dice < growth_bias || n == 0) && n < MODEL_MAX) {
            model[n] = (model_entry){random_next(&random_seed) & mask, next++};
            insert(f->index, model[n].hash, model[n].where);
            n++;
        } else if (dice < 75) {
            remove_entry(f->index, model[i].hash, model[i].where);
            assert_int_equal(find(f, model[i].hash, model[i].where), 0);
            model[i] = model[--n];
        } else if (dice < 90) {
            hash_index_lock(f->index, model[i].hash);
            hash_index_replace(f->index, model[i].hash, model[i].where, next);
            hash_index_unlock(f->index, model[i].hash);
            assert_int_equal(find(f, model[i].hash, model[i].where), 0);
            model[i].where = next++;
        } else {
            assert_int_equal(find(f, model[i].hash, model[i].where), 1);
        }
    }
    compare_all(f, model, n);
    free(model);
}

static void random_operations_agree_with_a_plain_array(void **state) { run_model(*state, UINT64_MAX, 100000); }
static void they_agree_when_all_keys_are_in_one_shard(void **state) { run_model(*state, UINT64_MAX >> 10, 100000); }
static void they_agree_with_eight_bits_of_hash(void **state) { run_model(*state, 0xff, 30000); }
static void they_agree_with_two_bits_of_hash(void **state) { run_model(*state, 3, 10000); }

static void growth_loses_nothing_over_a_million_entries(void **state) {
    fixture *f = *state;
    const uint64_t n = 1000000;
    for (uint64_t i = 0; i < n; i++)
        insert(f->index, mix(i), i + 1);
    assert_int_equal(hash_index_entries(f->index), n);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(find(f, mix(i), i + 1), 1);
    for (uint64_t i = n; i < n + 1000; i++)
        assert_int_equal(find(f, mix(i), i + 1), 0);
    assert_true(hash_index_bytes(f->index) < n * 21);
}

static int stop_at_third(void *ctx, uint64_t hash, location where) {
    (void)hash;
    (void)where;
    return ++*(int *)ctx == 3 ? 77 : 0;
}

/* Beside it the heads of arrays: an index of few keys is mostly these. */
static void it_takes_36_bytes_an_entry_while_it_is_small_and_23_from_then_on(void **state) {
    fixture *f = *state;
    const uint64_t empty = hash_index_bytes(f->index), heads = (uint64_t)HASH_INDEX_SHARDS * 192, small = 240000;
    for (uint64_t n = 1; n <= 1000000; n++) {
        insert(f->index, mix(n), n);
        if (n % 10000 != 0 || (n > small && n < 2 * small)) continue;
        assert_true(hash_index_bytes(f->index) - empty <= n * (n <= small ? 36 : 23) + heads);
    }
}

static void a_walk_ends_when_the_visitor_says_so(void **state) {
    fixture *f = *state;
    for (location l = 1; l <= 10; l++)
        insert(f->index, random_next(&random_seed), l);
    int visited = 0;
    hash_index_lock_all(f->index);
    assert_int_equal(hash_index_visit_all(f->index, stop_at_third, &visited), 77);
    hash_index_unlock_all(f->index);
    assert_int_equal(visited, 3);
    hash_index_quiesce(f->index);
}

/* ---- For batches ---- */

/* Entries of one hash are the worst that room can be asked for: all but 16 of them must lie in the stash. */
static void check_room(fixture *f, uint64_t shard_bits, size_t batch, bool same) {
    for (uint64_t round = 0; round < 4; round++) {
        hash_index_lock(f->index, shard_bits);
        assert_int_equal(hash_index_reserve_many(f->index, shard_bits, batch), CAIRN_OK);
        uint64_t bytes = hash_index_bytes(f->index);
        for (uint64_t i = 0; i < batch; i++) {
            uint64_t hash = shard_bits | (same ? 7 : mix(round * batch + i) >> 10);
            hash_index_insert(f->index, hash, 1 + round * batch + i);
        }
        assert_int_equal(hash_index_bytes(f->index), bytes); /* no array was made meanwhile */
        hash_index_unlock(f->index, shard_bits);
    }
    if (!same) return;
    assert_int_equal(count(f, shard_bits | 7), 4 * batch);
    assert_int_equal(find(f, shard_bits | 7, 4 * batch), 1);
}

static void room_for_many_takes_any_hashes(void **state) {
    uint64_t shard = 0;
    for (size_t batch = 1; batch <= 1500; batch = batch * 3 + 1) {
        check_room(*state, shard++ << 54, batch, false);
        check_room(*state, shard++ << 54, batch, true);
    }
}

static void room_for_more_than_memory_is_refused_and_changes_nothing(void **state) {
    fixture *f = *state;
    insert(f->index, 7, 100);
    uint64_t bytes = hash_index_bytes(f->index);
    hash_index_lock(f->index, 7);
    assert_int_equal(hash_index_reserve_many(f->index, 7, SIZE_MAX), CAIRN_NO_MEMORY);
    assert_int_equal(hash_index_reserve_many(f->index, 7, ((size_t)1 << 30) + 1), CAIRN_NO_MEMORY);
    hash_index_unlock(f->index, 7);
    assert_int_equal(hash_index_bytes(f->index), bytes);
    assert_int_equal(find(f, 7, 100), 1);
}

static void the_stash_of_a_batch_is_given_up_when_the_shard_grows(void **state) {
    fixture *f = *state;
    hash_index_lock(f->index, 7);
    assert_int_equal(hash_index_reserve_many(f->index, 7, 4000), CAIRN_OK);
    hash_index_unlock(f->index, 7);
    uint64_t with_stash = hash_index_bytes(f->index);
    for (uint64_t i = 0; i < 6000; i++)
        insert(f->index, mix(i) >> 10, i + 1);
    assert_true(hash_index_bytes(f->index) < with_stash + 16 * 1024);
}

static void an_entry_is_held_or_not_whatever_lies_beside_it(void **state) {
    fixture *f = *state;
    assert_false(hash_index_holds(f->index, 7, 100));
    for (location where = 100; where < 150; where++)
        insert(f->index, 7, where); /* buckets and stash */
    for (location where = 100; where < 150; where++)
        assert_true(hash_index_holds(f->index, 7, where));
    assert_false(hash_index_holds(f->index, 7, 150));
    assert_false(hash_index_holds(f->index, 8, 100));
    remove_entry(f->index, 7, 120);
    assert_false(hash_index_holds(f->index, 7, 120));
    hash_index_lock(f->index, 7);
    hash_index_replace(f->index, 7, 121, 120);
    hash_index_unlock(f->index, 7);
    assert_true(hash_index_holds(f->index, 7, 120));
    assert_false(hash_index_holds(f->index, 7, 121));
}

static void all_locations_of_a_hash_are_collected(void **state) {
    fixture *f = *state;
    location out[64];
    assert_int_equal(hash_index_collect(f->index, 7, out, 64), 0);
    for (location where = 1; where <= 40; where++) {
        insert(f->index, 7, where);
        insert(f->index, 8, 1000 + where);
    }
    hash_index_lock(f->index, 7);
    uint64_t seen = 0;
    assert_int_equal(hash_index_collect(f->index, 7, out, 64), 40);
    for (unsigned i = 0; i < 40; i++) {
        assert_in_range(out[i], 1, 40);
        seen |= (uint64_t)1 << out[i];
    }
    assert_int_equal(seen, (((uint64_t)1 << 40) - 1) << 1);
    out[3] = 77;
    assert_int_equal(hash_index_collect(f->index, 7, out, 3), 40); /* no more than there is room for */
    assert_int_equal(out[3], 77);
    assert_int_equal(hash_index_collect(f->index, 7, NULL, 0), 40);
    hash_index_unlock(f->index, 7);
}

/* ---- Expecting and shrinking ---- */

/* Entries `from` to `to`, hash and location by number; all in one shard where `shift` is 10. */
static void insert_range(fixture *f, uint64_t from, uint64_t to, unsigned shift) {
    for (uint64_t i = from; i < to; i++)
        insert(f->index, mix(i) >> shift, i + 1);
}
static void remove_range(fixture *f, uint64_t from, uint64_t to, unsigned shift) {
    for (uint64_t i = from; i < to; i++)
        remove_entry(f->index, mix(i) >> shift, i + 1);
}
static void expect_range(fixture *f, uint64_t from, uint64_t to, unsigned shift, int there) {
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(find(f, mix(i) >> shift, i + 1), there);
}

static void room_that_was_expected_is_hardly_outgrown(void **state) {
    fixture *f = *state;
    const uint64_t n = 300000, empty = hash_index_bytes(f->index);
    hash_index_expect(f->index, n);
    uint64_t expected = hash_index_bytes(f->index);
    assert_in_range(expected - empty, n * 16, n * 26);
    insert_range(f, 0, n / 8 * 7, 0); /* shards fill evenly, but not alike */
    assert_in_range(hash_index_bytes(f->index), expected, expected + expected / 100);
    insert_range(f, n / 8 * 7, 2 * n, 0);
    assert_true(hash_index_bytes(f->index) - empty <= 2 * n * 26);
    expect_range(f, 0, 2 * n, 0, 1);
    remove_range(f, 0, n, 0);
    expect_range(f, 0, n, 0, 0);
    expect_range(f, n, 2 * n, 0, 1);
}

static void what_was_expected_in_vain_is_given_back(void **state) {
    fixture *f = *state;
    const uint64_t n = 50000, empty = hash_index_bytes(f->index);
    hash_index_expect(f->index, 10 * n);
    insert_range(f, 0, n, 0);
    assert_true(hash_index_bytes(f->index) - empty > n * 160);
    hash_index_shrink(f->index, 2);
    assert_true(hash_index_bytes(f->index) - empty < n * 32);
    expect_range(f, 0, n, 0, 1);
}

static void little_that_is_expected_takes_no_memory_yet(void **state) {
    fixture *f = *state;
    uint64_t empty = hash_index_bytes(f->index);
    for (uint64_t n = 0; n <= 65535; n = 2 * n + 1) {
        hash_index_expect(f->index, n);
        assert_int_equal(hash_index_bytes(f->index), empty);
    }
    hash_index_expect(f->index, UINT64_MAX); /* nor what no memory has room for */
    assert_int_equal(hash_index_bytes(f->index), empty);
}

static void without_memory_for_what_is_expected_it_grows_as_ever(void **state) {
    fixture *f = *state;
    for (uint64_t passed = 0; passed < HASH_INDEX_SHARDS; passed += 300) {
        memory_plan(passed, UINT64_MAX);
        hash_index_expect(f->index, 100000);
        memory_plan(0, 0);
        insert_range(f, 0, 100000, 0);
        expect_range(f, 0, 100000, 0, 1);
        remove_range(f, 0, 100000, 0);
        hash_index_shrink(f->index, 1);
    }
}

static void what_deletions_left_empty_is_given_back(void **state) {
    fixture *f = *state;
    const uint64_t n = 400000, left = n / 10, empty = hash_index_bytes(f->index);
    insert_range(f, 0, n, 0);
    uint64_t full = hash_index_bytes(f->index);
    remove_range(f, left, n, 0);
    assert_int_equal(hash_index_bytes(f->index), full);
    hash_index_shrink(f->index, 1);
    assert_in_range(hash_index_bytes(f->index) - empty, left * 16, left * 32); /* 40 entries a shard: heads count */
    assert_int_equal(hash_index_entries(f->index), left);
    expect_range(f, 0, left, 0, 1);
    expect_range(f, left, n, 0, 0);
    insert_range(f, left, n, 0);
    expect_range(f, 0, n, 0, 1);
    assert_true(hash_index_bytes(f->index) <= full + full / 20);
}

static void a_shrunk_shard_takes_some_entries_before_it_grows(void **state) {
    fixture *f = *state;
    for (uint64_t left = 1; left < 20000; left = 2 * left + 1) {
        insert_range(f, 0, 20000, 10);
        remove_range(f, left, 20000, 10);
        hash_index_shrink(f->index, 1);
        uint64_t bytes = hash_index_bytes(f->index);
        insert_range(f, left, left + left / 20 + 3, 10);
        assert_int_equal(hash_index_bytes(f->index), bytes);
        remove_range(f, 0, left + left / 20 + 3, 10);
    }
}

/* Small shards double, and so may have much to give back. */
static void shrinking_what_is_not_too_large_changes_nothing(void **state) {
    fixture *f = *state;
    for (uint64_t before = 0, n = 10000; n < 800000; before = n, n += n / 3) {
        insert_range(f, before, n, 0);
        remove_range(f, 0, n / 100, 0);
        if (n < 300000) hash_index_shrink(f->index, 1);
        uint64_t bytes = hash_index_bytes(f->index);
        hash_index_shrink(f->index, 1);
        assert_int_equal(hash_index_bytes(f->index), bytes);
        insert_range(f, 0, n / 100, 0);
    }
}

static void only_what_saves_enough_is_moved(void **state) {
    fixture *f = *state;
    const uint64_t n = 20000;
    insert_range(f, 0, n, 10);
    remove_range(f, n / 3, n, 10);
    uint64_t bytes = hash_index_bytes(f->index);
    hash_index_shrink(f->index, 6);
    assert_int_equal(hash_index_bytes(f->index), bytes);
    hash_index_shrink(f->index, 4);
    assert_true(hash_index_bytes(f->index) < bytes);
    expect_range(f, 0, n / 3, 10, 1);
}

static void an_index_that_was_emptied_is_as_small_as_a_new_one(void **state) {
    fixture *f = *state;
    uint64_t bytes = hash_index_bytes(f->index);
    hash_index_shrink(f->index, 1);
    insert_range(f, 0, 10000, 0);
    remove_range(f, 0, 10000, 0);
    hash_index_shrink(f->index, 1);
    assert_int_equal(hash_index_bytes(f->index), bytes);
    expect_range(f, 0, 10000, 0, 0);
    insert_range(f, 0, 10, 0);
    expect_range(f, 0, 10, 0, 1);
}

static void a_stash_shrinks_to_what_lies_in_it(void **state) {
    fixture *f = *state;
    const uint64_t hash = 7, n = 5000, left = 100;
    uint64_t empty = hash_index_bytes(f->index);
    for (location l = 1; l <= n; l++)
        insert(f->index, hash, l);
    for (location l = left + 1; l <= n; l++)
        remove_entry(f->index, hash, l);
    hash_index_lock(f->index, hash);
    assert_int_equal(hash_index_reserve_many(f->index, hash, n), CAIRN_OK);
    hash_index_unlock(f->index, hash);
    assert_true(hash_index_bytes(f->index) - empty > n * 16);
    hash_index_shrink(f->index, 1);
    assert_true(hash_index_bytes(f->index) - empty < left * 16 * 4);
    assert_int_equal(count(f, hash), left);
    for (location l = 1; l <= left; l++)
        assert_int_equal(find(f, hash, l), 1);
    for (location l = left + 1; l <= n; l++)
        insert(f->index, hash, l);
    assert_int_equal(count(f, hash), n);
}

static void a_shard_that_memory_is_wanting_for_stays_as_it_is(void **state) {
    fixture *f = *state;
    const uint64_t n = 100000, left = 10000;
    insert_range(f, 0, n, 0);
    remove_range(f, left, n, 0);
    uint64_t bytes = hash_index_bytes(f->index);
    static const uint64_t plans[] = {HASH_INDEX_SHARDS, HASH_INDEX_SHARDS / 2, 0};
    for (size_t i = 0; i < 3; i++) {
        uint64_t refused = plans[i];
        memory_plan(0, refused);
        memory_counted();
        hash_index_shrink(f->index, 1);
        (void)memory_uncounted(0);
        assert_int_equal(memory_failures(), refused);
        uint64_t now = hash_index_bytes(f->index);
        assert_true(refused == HASH_INDEX_SHARDS ? now == bytes : now < bytes - bytes / 4);
        bytes = now;
        expect_range(f, 0, left, 0, 1);
        expect_range(f, left, n, 0, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(an_empty_index_is_small_and_finds_nothing),
        TEST(what_is_inserted_is_found_replaced_and_removed),
        TEST(hashes_of_all_zero_and_all_one_bits_are_like_others),
        TEST(a_code_of_the_match_function_ends_the_search),
        TEST(five_thousand_entries_may_share_one_hash),
        TEST(a_full_stash_does_not_grow_without_end),
        TEST(random_operations_agree_with_a_plain_array),
        TEST(they_agree_when_all_keys_are_in_one_shard),
        TEST(they_agree_with_eight_bits_of_hash),
        TEST(they_agree_with_two_bits_of_hash),
        TEST(growth_loses_nothing_over_a_million_entries),
        TEST(it_takes_36_bytes_an_entry_while_it_is_small_and_23_from_then_on),
        TEST(a_walk_ends_when_the_visitor_says_so),
        TEST(room_for_many_takes_any_hashes),
        TEST(room_for_more_than_memory_is_refused_and_changes_nothing),
        TEST(the_stash_of_a_batch_is_given_up_when_the_shard_grows),
        TEST(an_entry_is_held_or_not_whatever_lies_beside_it),
        TEST(all_locations_of_a_hash_are_collected),
        TEST(room_that_was_expected_is_hardly_outgrown),
        TEST(what_was_expected_in_vain_is_given_back),
        TEST(little_that_is_expected_takes_no_memory_yet),
        TEST(without_memory_for_what_is_expected_it_grows_as_ever),
        TEST(what_deletions_left_empty_is_given_back),
        TEST(a_shrunk_shard_takes_some_entries_before_it_grows),
        TEST(shrinking_what_is_not_too_large_changes_nothing),
        TEST(only_what_saves_enough_is_moved),
        TEST(an_index_that_was_emptied_is_as_small_as_a_new_one),
        TEST(a_stash_shrinks_to_what_lies_in_it),
        TEST(a_shard_that_memory_is_wanting_for_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

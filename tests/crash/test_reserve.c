/* The reserve (vlog/FORMAT.md): a disk without a free byte, on which deletions, reads, compactions, openings and
 * closings go on, and puts as soon as something was deleted. Disks and values of many sizes; a power cut at any
 * operation. */
#include "src/base/check.h"
#include "src/os/os.h"
#include "src/store/store.h"
#include "tests/support/os_sim_disk.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define KEYS_MAX 40000u

/* ---- A store that fills its disk ---- */

typedef struct full_disk {
    sim_box *b;
    uint64_t capacity, seed;
    size_t value_min, value_max;
    unsigned generation[KEYS_MAX]; /* of the value of each key; 0: absent */
    unsigned count;                /* of keys that were tried */
    unsigned doubtful;             /* a key of which a call was cut off; KEYS_MAX: none */
} full_disk;

static size_t size_of(const full_disk *d, unsigned i, unsigned generation) {
    uint64_t number = mix(d->seed ^ ((uint64_t)i << 20 | generation));
    return d->value_min + (size_t)(number % (d->value_max - d->value_min + 1));
}

static const uint8_t *bytes_of(unsigned i, unsigned generation) {
    return random_pool() + (mix((uint64_t)i << 20 | generation) % (POOL_BYTES / 2));
}

static void key_of(char key[16], unsigned i) { (void)snprintf(key, 16, "key%u", i); }

static uint64_t free_bytes(const full_disk *d) {
    uint64_t left;
    assert_int_equal(os_dir_free_bytes(d->b->store->dir, &left), 0);
    return left;
}

/* The rest of the disk is somebody else's. */
static void take_what_is_free(full_disk *d) {
    d->capacity -= free_bytes(d);
    sim_set_capacity(d->b->disk, d->capacity);
}

static int put(full_disk *d, unsigned i, cairn_error *error) {
    char key[16];
    unsigned generation = d->generation[i] + 1;
    key_of(key, i);
    d->doubtful = i;
    int rc = cairn_put(d->b->store, key, strlen(key), bytes_of(i, generation), size_of(d, i, generation), NULL, error);
    d->doubtful = KEYS_MAX;
    if (rc == CAIRN_OK) d->generation[i] = generation;
    return rc;
}

static int delete_key(full_disk *d, unsigned i, cairn_error *error) {
    char key[16];
    key_of(key, i);
    d->doubtful = i;
    int rc = cairn_delete(d->b->store, key, strlen(key), NULL, error);
    d->doubtful = KEYS_MAX;
    if (rc == CAIRN_OK) d->generation[i] = 0;
    return rc;
}

static void delete_surely(full_disk *d, unsigned i) {
    cairn_error error = {0};
    int rc = delete_key(d, i, &error);
    if (rc != CAIRN_OK)
        fail_msg("values up to %zu on %llu bytes: delete of key %u of %u: %d %s", d->value_max,
                 (unsigned long long)d->capacity, i, d->count, rc, error.message);
}

static void put_until_full(full_disk *d) {
    cairn_error error = {0};
    int rc = CAIRN_OK;
    for (d->count = 0; rc == CAIRN_OK && d->count < KEYS_MAX; d->count++) {
        rc = put(d, d->count, &error);
    }
    if (rc != CAIRN_FULL) fail_msg("put: %d %s", rc, error.message);
}

static void expect_key(full_disk *d, cairn *store, unsigned i) {
    char key[16];
    key_of(key, i);
    void *value = NULL;
    size_t size = 0;
    cairn_error error = {0};
    int rc = cairn_get(store, key, strlen(key), &value, &size, &error);
    unsigned generation = d->generation[i];
    if (i == d->doubtful && (rc == CAIRN_NOT_FOUND || rc == CAIRN_OK)) {
        cairn_free(value);
        return;
    }
    if (rc != (generation == 0 ? CAIRN_NOT_FOUND : CAIRN_OK)) fail_msg("get of key %u: %d %s", i, rc, error.message);
    if (generation != 0) {
        assert_int_equal(size, size_of(d, i, generation));
        assert_memory_equal(value, bytes_of(i, generation), size);
    }
    cairn_free(value);
}

static void expect_all_in(full_disk *d, cairn *store) {
    for (unsigned i = 0; i < d->count; i++) {
        expect_key(d, store, i);
    }
    assert_int_equal(verify_damage(store), 0);
}

static void expect_all(full_disk *d) { expect_all_in(d, d->b->store); }

static void begin(full_disk *d, void **state, uint64_t capacity, size_t value_min, size_t value_max, uint64_t seed) {
    memset(d, 0, sizeof *d);
    *d = (full_disk){.b = *state,
                     .capacity = capacity,
                     .seed = seed,
                     .value_min = value_min,
                     .value_max = value_max,
                     .doubtful = KEYS_MAX};
    sim_box_close(d->b);
    sim_free(d->b->disk);
    d->b->disk = sim_new(seed);
    sim_set_capacity(d->b->disk, capacity);
    sim_box_open(d->b);
}

/* ---- Values of every size ---- */

typedef struct sizes {
    size_t value_min, value_max;
} sizes;
static const sizes kinds[] = {{200, 800}, {500, 1500}, {5000, 20000}, {60000, 140000}, {262144, 600000}, {1, 300000}};
#define KINDS (sizeof kinds / sizeof kinds[0])
static const uint64_t disks[] = {5 * MIB / 2, 6 * MIB, 16 * MIB};

static full_disk disk; /* large */

static void for_each_kind(void **state, void (*run)(full_disk *d)) {
    for (size_t k = 0; k < KINDS; k++) {
        for (size_t i = 0; i < rung_choose(2, 1, 3); i++) {
            begin(&disk, state, disks[i], kinds[k].value_min, kinds[k].value_max, 1 + k);
            run(&disk);
        }
    }
}

/* The keys 0 to count - 1, mixed. */
static unsigned shuffled(const full_disk *d, unsigned i) {
    unsigned step = 7919; /* a prime, so that each comes once */
    while (d->count % step == 0)
        step += 2;
    return (unsigned)(((uint64_t)i * step) % d->count);
}

static void empty_it(full_disk *d, bool in_order) {
    for (unsigned i = 0; i < d->count; i++) {
        unsigned key = in_order ? i : shuffled(d, i);
        if (d->generation[key] != 0) delete_surely(d, key);
    }
}

static void fill_and_empty(full_disk *d) {
    unsigned first = 0;
    for (unsigned round = 0; round < rung_choose(4, 2, 20); round++) {
        put_until_full(d);
        if (round == 0) first = d->count;
        if (d->count < first - first / 4 - 1) fail_msg("round %u: %u values, %u before", round, d->count, first);
        uint64_t all = d->capacity;
        take_what_is_free(d);
        assert_int_equal(free_bytes(d), 0);
        expect_all(d);
        empty_it(d, round % 2 == 0);
        expect_all(d);
        d->capacity = all;
        sim_set_capacity(d->b->disk, all);
    }
}

static void a_disk_without_a_free_byte_is_emptied_and_filled_again_as_far(void **state) {
    for_each_kind(state, fill_and_empty);
}

static void delete_and_put(full_disk *d) {
    put_until_full(d);
    take_what_is_free(d);
    for (unsigned i = 0; i < d->count; i += 2) {
        if (d->generation[i] != 0) delete_surely(d, i);
    }
    unsigned put_again = 0;
    for (unsigned i = 0; i < d->count; i += 4) {
        put_again += put(d, i, NULL) == CAIRN_OK;
    }
    if (d->count > 16 && put_again < d->count / 8) fail_msg("%u of %u fit", put_again, d->count);
    expect_all(d);
}

static void what_was_deleted_is_room_for_the_next_put_without_a_step_by_hand(void **state) {
    for_each_kind(state, delete_and_put);
}

static void overwrite(full_disk *d) {
    put_until_full(d);
    for (unsigned i = 0; i < d->count; i += 3) {
        if (d->generation[i] != 0) delete_surely(d, i);
    }
    take_what_is_free(d);
    for (unsigned round = 0; round < 3; round++) {
        unsigned done = 0, tried = 0;
        for (unsigned i = 1; i < d->count; i += 3) {
            tried += d->generation[i] != 0;
            if (d->generation[i] != 0) done += put(d, i, NULL) == CAIRN_OK;
        }
        if (tried > 8 && done < tried - tried / 4) fail_msg("round %u: %u of %u fit", round, done, tried);
    }
    expect_all(d);
}

static void a_store_of_two_thirds_of_its_disk_can_be_overwritten_for_ever(void **state) {
    for_each_kind(state, overwrite);
}

/* ---- Compaction ---- */

static void thin_out(full_disk *d) {
    cairn_error error = {0};
    cairn_compact_options all = {.struct_size = sizeof all, .full = true};
    put_until_full(d);
    take_what_is_free(d);
    unsigned step = 2 + (unsigned)(d->capacity / MIB) % 3;
    for (unsigned i = 0; i < d->count; i += step) {
        if (d->generation[i] != 0) delete_surely(d, i);
    }
    uint64_t before = stats_of(d->b->store).dead_bytes;
    int rc = cairn_compact(d->b->store, &all, NULL, &error);
    if (rc != CAIRN_OK) fail_msg("compact: %d %s", rc, error.message);
    cairn_stats after = stats_of(d->b->store);
    if (d->count > 16 && after.dead_bytes > before / 4 + (64 << 10)) {
        fail_msg("values up to %zu on %llu bytes: %llu dead bytes, then %llu", d->value_max,
                 (unsigned long long)d->capacity, (unsigned long long)before, (unsigned long long)after.dead_bytes);
    }
    expect_all(d);
    sim_box_rebuild(d->b);
    expect_all(d);
}

static void scattered_garbage_is_collected_though_nothing_is_free(void **state) { for_each_kind(state, thin_out); }

/* ---- Opening and closing ---- */

static void come_and_go(full_disk *d) {
    put_until_full(d);
    take_what_is_free(d);
    for (unsigned way = 0; way < 6; way++) {
        if (way % 2 == 0) {
            sim_box_kill(d->b);
        } else {
            sim_box_reopen(d->b);
        }
        take_what_is_free(d);
        expect_all(d);
        unsigned left = way + 1;
        for (unsigned i = 0; left > 0 && i < d->count; i++) {
            if (d->generation[i] == 0) continue;
            delete_surely(d, i);
            left--;
        }
        assert_int_equal(cairn_sync(d->b->store, NULL), CAIRN_OK);
    }
}

static void a_full_disk_does_not_keep_a_store_from_being_opened_and_closed(void **state) {
    for_each_kind(state, come_and_go);
}

/* ---- Cut off at any moment ---- */

typedef struct cuts {
    full_disk *d;
    uint64_t rng, one_in;
    bool busy;
    unsigned made;
} cuts;

/* The simulated disk gives blocks away whose release a power cut may undo, and forgets what was only allocated. A file
 * system does neither. */
static sim_disk *cut_off(sim_disk *at, uint64_t seed) {
    size_t reserve = 0;
    free(sim_file_read(at, SIM_BOX_STORE, "RESERVE", &reserve));
    sim_disk *cut = sim_crash(at, seed);
    sim_set_capacity(cut, max_u64(at->capacity, cut->allocated + reserve));
    return cut;
}

static void open_cut_state(void *ctx, sim_disk *at) {
    cuts *c = ctx;
    if (c->busy || !random_one_in(&c->rng, c->one_in)) return;
    c->busy = true;
    sim_disk *copy = sim_clone(at), *cut = random_one_in(&c->rng, 3) ? sim_kill(copy) : cut_off(copy, c->rng);
    cairn_error error = {0};
    cairn *store = NULL;
    int rc = store_open_on(&store, sim_os(cut), SIM_BOX_STORE, &c->d->b->options, UINT64_MAX, &error);
    if (rc != CAIRN_OK) { /* in the middle of a call of the store, which holds locks */
        fprintf(stderr, "open after a cut: %d %s\n", rc, error.message);
        exit(1);
    }
    expect_all_in(c->d, store);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(cut);
    sim_free(copy);
    c->made++;
    c->busy = false;
}

static void empty_with_cuts(full_disk *d) {
    put_until_full(d);
    take_what_is_free(d);
    assert_int_equal(cairn_sync(d->b->store, NULL), CAIRN_OK);
    cuts c = {.d = d, .rng = d->seed, .one_in = 1 + d->count / rung_choose(60, 10, 2000)};
    sim_on_operation(d->b->disk, open_cut_state, &c);
    empty_it(d, false);
    sim_on_operation(d->b->disk, NULL, NULL);
    expect_all(d);
}

static void a_cut_while_a_full_disk_is_emptied_loses_nothing_and_it_opens_again(void **state) {
    sim_box *b = *state;
    b->options.durability = CAIRN_DURABILITY_SYNC;
    for_each_kind(state, empty_with_cuts);
}

/* ---- What else there is ---- */

static void a_batch_of_deletions_goes_through_where_a_put_does_not(void **state) {
    cairn_error error = {0};
    cairn_batch *batch;
    begin(&disk, state, 2 * MIB, 900, 1100, 1);
    put_until_full(&disk);
    take_what_is_free(&disk);
    assert_int_equal(put(&disk, disk.count, &error), CAIRN_FULL);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < 50; i++) {
        char key[16];
        key_of(key, i);
        assert_int_equal(cairn_batch_delete(batch, key, strlen(key)), CAIRN_OK);
        disk.generation[i] = 0;
    }
    assert_int_equal(cairn_batch_commit(disk.b->store, batch, NULL, &error), CAIRN_OK);
    cairn_batch_free(batch);
    expect_all(&disk);
}

static void a_stream_and_a_batch_find_the_room_that_deletions_made(void **state) {
    cairn_error error = {0};
    cairn_batch *batch;
    cairn_writer *writer;
    begin(&disk, state, 4 * MIB, 40000, 60000, 1);
    put_until_full(&disk);
    take_what_is_free(&disk);
    for (unsigned i = 0; i < 40; i++) {
        delete_surely(&disk, i);
    }
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < 8; i++) {
        char key[16];
        key_of(key, i);
        disk.generation[i] = 1;
        assert_int_equal(cairn_batch_put(batch, key, strlen(key), bytes_of(i, 1), size_of(&disk, i, 1)), CAIRN_OK);
    }
    assert_int_equal(cairn_batch_commit(disk.b->store, batch, NULL, &error), CAIRN_OK);
    cairn_batch_free(batch);
    assert_int_equal(cairn_writer_open(disk.b->store, "stream", 6, NULL, &writer, &error), CAIRN_OK);
    assert_int_equal(cairn_writer_write(writer, random_pool(), 700000, &error), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(writer, &error), CAIRN_OK);
    expect_get(disk.b->store, "stream", 6, random_pool(), 700000);
    expect_all(&disk);
}

static uint64_t reserve_bytes(sim_box *b) {
    size_t size = 0;
    free(sim_file_read(b->disk, SIM_BOX_STORE, "RESERVE", &size));
    return size;
}

static void the_reserve_is_small_in_a_small_store_and_a_reader_makes_none(void **state) {
    sim_box *b = *state;
    assert_int_equal(sim_count(b->disk, SIM_BOX_STORE, "RESERVE"), 0);
    put_text(b->store, "k", "v", 1);
    assert_true(reserve_bytes(b) > 0 && reserve_bytes(b) <= 256 << 10);
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        key_of(key, i);
        put_text(b->store, key, random_pool(), 200000);
    }
    assert_true(reserve_bytes(b) <= 512 << 10);
    sim_box_close(b);
    assert_true(sim_file_remove(b->disk, SIM_BOX_STORE, "RESERVE"));
    sim_box_reopen_read_only(b);
    expect_get(b->store, "k", 1, "v", 1);
    sim_box_close(b);
    assert_int_equal(sim_count(b->disk, SIM_BOX_STORE, "RESERVE"), 0);
}

static void a_put_waits_for_the_reserve_which_comes_back_with_the_room(void **state) {
    cairn_error error = {0};
    begin(&disk, state, 2 * MIB, 900, 1100, 1);
    put_until_full(&disk);
    uint64_t all = disk.capacity, whole = reserve_bytes(disk.b);
    take_what_is_free(&disk);
    for (unsigned i = 0; i < 20; i++) {
        delete_surely(&disk, i);
    }
    sim_set_capacity(disk.b->disk, all + 2 * MIB);
    assert_int_equal(put(&disk, 0, &error), CAIRN_OK);
    assert_true(reserve_bytes(disk.b) >= whole - whole / 4);
    expect_all(&disk);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_disk_without_a_free_byte_is_emptied_and_filled_again_as_far),
        TEST(what_was_deleted_is_room_for_the_next_put_without_a_step_by_hand),
        TEST(a_store_of_two_thirds_of_its_disk_can_be_overwritten_for_ever),
        TEST(scattered_garbage_is_collected_though_nothing_is_free),
        TEST(a_full_disk_does_not_keep_a_store_from_being_opened_and_closed),
        TEST(a_cut_while_a_full_disk_is_emptied_loses_nothing_and_it_opens_again),
        TEST(a_batch_of_deletions_goes_through_where_a_put_does_not),
        TEST(a_stream_and_a_batch_find_the_room_that_deletions_made),
        TEST(the_reserve_is_small_in_a_small_store_and_a_reader_makes_none),
        TEST(a_put_waits_for_the_reserve_which_comes_back_with_the_room),
    };
    return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}

/* The side table against a naive model: a full copy of the index for every open snapshot. */
#include "include/cairn.h"
#include "src/os/os_thread.h"
#include "src/store/side_table.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    epoch *readers;
    hash_index *index;
    side_table *table;
    uint64_t empty_bytes;
    uint64_t released; /* bytes of the locations that the table let go */
} fixture;

static uint64_t bytes_of(location where) { return 64 + where % 7 * 64; }

static void count_released(void *ctx, location where) {
    fixture *f = ctx;
    f->released += bytes_of(where);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (f == NULL || epoch_new(&f->readers) != CAIRN_OK || hash_index_new(&f->index, f->readers) != CAIRN_OK) return -1;
    int rc = side_table_new(&f->table, f->index, count_released, f);
    f->empty_bytes = rc == CAIRN_OK ? side_table_bytes(f->table) : 0;
    return rc;
}

static int teardown(void **state) {
    fixture *f = *state;
    side_table_free(f->table);
    hash_index_free(f->index);
    epoch_free(f->readers);
    free(f);
    return 0;
}

/* ---- What a writer does: record, change, pin. LOCATION_NONE as `from` inserts, as `to` removes. ---- */

static bool change(fixture *f, uint64_t hash, uint64_t newest, location from, location to) {
    bool pinned = false;
    hash_index_lock(f->index, hash);
    if (newest > 0) assert_int_equal(side_table_record(f->table, hash, newest), CAIRN_OK);
    if (from == LOCATION_NONE) {
        assert_int_equal(hash_index_reserve(f->index, hash), CAIRN_OK);
        hash_index_insert(f->index, hash, to);
    } else if (to == LOCATION_NONE) {
        hash_index_remove(f->index, hash, from);
    } else {
        hash_index_replace(f->index, hash, from, to);
    }
    if (from != LOCATION_NONE) pinned = side_table_pin(f->table, hash, from, bytes_of(from));
    hash_index_unlock(f->index, hash);
    return pinned;
}

/* The only location that a snapshot sees; LOCATION_NONE: it sees none. */
static location seen(fixture *f, uint64_t hash, uint64_t snapshot) {
    location where = LOCATION_NONE;
    size_t count = 0;
    hash_index_lock(f->index, hash);
    const location *list = side_table_find(f->table, hash, snapshot, &count);
    if (list != NULL) {
        assert_in_range(count, 0, 1);
        if (count == 1) where = list[0];
    } else {
        assert_in_range(hash_index_collect(f->index, hash, &where, 1), 0, 1);
    }
    hash_index_unlock(f->index, hash);
    return where;
}

static uint64_t pinned(fixture *f) { return side_table_pinned_bytes(f->table); }

static void a_snapshot_sees_what_was_there_before_each_change(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    assert_true(change(f, 7, 1, 100, 101));
    assert_false(change(f, 7, 1, 101, 102)); /* no snapshot saw 101 */
    assert_true(change(f, 7, 2, 102, LOCATION_NONE));
    change(f, 7, 3, LOCATION_NONE, 103);
    assert_int_equal(seen(f, 7, 1), 100);
    assert_int_equal(seen(f, 7, 2), 102);
    assert_int_equal(seen(f, 7, 3), LOCATION_NONE);
    assert_int_equal(seen(f, 7, 4), 103);
    assert_int_equal(pinned(f), bytes_of(100) + bytes_of(102));
}

static void an_empty_list_is_not_the_same_as_none(void **state) {
    fixture *f = *state;
    size_t count = 9;
    assert_null(side_table_find(f->table, 7, 1, &count));
    change(f, 7, 1, LOCATION_NONE, 100);
    assert_non_null(side_table_find(f->table, 7, 1, &count));
    assert_int_equal(count, 0);
    assert_null(side_table_find(f->table, 7, 2, &count));
    assert_null(side_table_find(f->table, 8, 1, &count));
}

static void a_record_without_a_change_does_no_harm(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    hash_index_lock(f->index, 7);
    assert_int_equal(side_table_record(f->table, 7, 1), CAIRN_OK);
    assert_int_equal(side_table_record(f->table, 7, 1), CAIRN_OK);
    hash_index_unlock(f->index, 7);
    assert_int_equal(seen(f, 7, 1), 100);
    assert_int_equal(pinned(f), 0);
    assert_true(change(f, 7, 1, 100, 101));
    assert_int_equal(seen(f, 7, 1), 100);
    assert_int_equal(pinned(f), bytes_of(100));
}

static void sweeping_keeps_what_an_open_snapshot_needs(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    change(f, 7, 2, 100, 101);
    change(f, 7, 5, 101, 102);
    uint64_t open[] = {1, 2, 5};
    side_table_sweep(f->table, open, 3, 5);
    assert_int_equal(pinned(f), bytes_of(100) + bytes_of(101));
    side_table_sweep(f->table, open, 1, 5); /* 1 sees what 2 saw */
    assert_int_equal(pinned(f), bytes_of(100));
    assert_int_equal(seen(f, 7, 1), 100);
    side_table_sweep(f->table, NULL, 0, 5);
    assert_int_equal(pinned(f), 0);
    assert_int_equal(side_table_bytes(f->table), f->empty_bytes);
}

static void sweeping_with_an_old_list_spares_later_snapshots(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    change(f, 7, 6, 100, 101); /* 6 was opened when the list had been made */
    side_table_sweep(f->table, NULL, 0, 5);
    assert_int_equal(seen(f, 7, 6), 100);
    assert_int_equal(pinned(f), bytes_of(100));
}

/* Two keys with one hash: 100 is in both lists, and leaves the index after both were recorded. */
static void a_pin_moves_to_another_entry_that_lists_the_location(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    change(f, 7, 1, LOCATION_NONE, 200); /* {7, 1, [100]} */
    change(f, 7, 2, 200, 201);           /* {7, 2, [100 200]} */
    assert_true(change(f, 7, 2, 100, 101));
    assert_int_equal(pinned(f), bytes_of(100) + bytes_of(200));
    uint64_t open = 1;
    side_table_sweep(f->table, &open, 1, 2);
    assert_int_equal(pinned(f), bytes_of(100));
    side_table_sweep(f->table, NULL, 0, 2);
    assert_int_equal(pinned(f), 0);
}

static void a_pin_stays_when_only_an_older_entry_goes(void **state) {
    fixture *f = *state;
    change(f, 7, 0, LOCATION_NONE, 100);
    change(f, 7, 1, LOCATION_NONE, 200);
    change(f, 7, 2, 100, 101);
    uint64_t open = 2;
    side_table_sweep(f->table, &open, 1, 2);
    assert_int_equal(pinned(f), bytes_of(100));
}

/* ---- The model ---- */

#define HASHES 40u
#define LIST_MAX 5u
#define SNAPSHOTS_MAX 9u

typedef struct view {
    location lists[HASHES][LIST_MAX]; /* LOCATION_NONE: no entry */
} view;

typedef struct model {
    fixture *f;
    uint64_t mask;
    uint64_t seed;
    view now;
    uint64_t numbers[SNAPSHOTS_MAX]; /* of open ones, ascending */
    view views[SNAPSHOTS_MAX];
    size_t open;
    uint64_t last_number;
    location last_location;
} model;

static uint64_t dice(model *m) { return mix(m->seed++) >> 8; }
/* Up to LIST_MAX keys share each of the hashes. Mask 0: small numbers, as a store with a few bits of hash has. */
static uint64_t hash_number(const model *m, unsigned i) { return m->mask == 0 ? i : mix(i) & m->mask; }

static bool list_has(const location *list, location where) {
    for (unsigned i = 0; i < LIST_MAX; i++) {
        if (list[i] == where) return true;
    }
    return false;
}

static size_t list_count(const location *list) {
    size_t count = 0;
    for (unsigned i = 0; i < LIST_MAX; i++)
        count += list[i] != LOCATION_NONE;
    return count;
}

static void check_view(model *m, size_t s) {
    for (unsigned i = 0; i < HASHES; i++) {
        uint64_t hash = hash_number(m, i);
        location own[LIST_MAX];
        size_t count = 0;
        const location *list = side_table_find(m->f->table, hash, m->numbers[s], &count);
        if (list == NULL) {
            list = own;
            count = hash_index_collect(m->f->index, hash, own, LIST_MAX);
        }
        assert_int_equal(count, list_count(m->views[s].lists[i]));
        for (size_t k = 0; k < count; k++)
            assert_true(list_has(m->views[s].lists[i], list[k]));
    }
}

typedef struct visits {
    model *m;
    uint64_t snapshot;
    size_t count;
} visits;

static int visit_saved(void *ctx, uint64_t hash, const location *list, size_t count) {
    visits *v = ctx;
    size_t found_count;
    assert_ptr_equal(list, side_table_find(v->m->f->table, hash, v->snapshot, &found_count));
    assert_int_equal(count, found_count);
    v->count++;
    return 0;
}

static void check_visits(model *m, size_t s) {
    visits v = {.m = m, .snapshot = m->numbers[s]};
    size_t expected = 0, count;
    for (unsigned shard = 0; shard < HASH_INDEX_SHARDS; shard++)
        assert_int_equal(side_table_visit_shard(m->f->table, shard, v.snapshot, visit_saved, &v), 0);
    for (unsigned i = 0; i < HASHES; i++)
        expected += side_table_find(m->f->table, hash_number(m, i), v.snapshot, &count) != NULL;
    assert_int_equal(v.count, expected);
}

/* Just swept: pinned is what open snapshots see and the index has not, each location once. */
static void check_pinned(model *m) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASHES; i++) {
        for (size_t s = 0; s < m->open; s++) {
            for (unsigned k = 0; k < LIST_MAX; k++) {
                location where = m->views[s].lists[i][k];
                if (where == LOCATION_NONE || list_has(m->now.lists[i], where)) continue;
                bool counted = false; /* in an older snapshot */
                for (size_t older = 0; older < s; older++)
                    counted = counted || list_has(m->views[older].lists[i], where);
                if (!counted) bytes += bytes_of(where);
            }
        }
    }
    assert_int_equal(side_table_pinned_bytes(m->f->table), bytes);
}

static void random_change(model *m) {
    unsigned i = (unsigned)dice(m) % HASHES;
    location *slot = &m->now.lists[i][dice(m) % 3 == 0 ? dice(m) % LIST_MAX : 0];
    location from = *slot, to = dice(m) % 4 == 0 ? LOCATION_NONE : ++m->last_location;
    if (from == LOCATION_NONE && to == LOCATION_NONE) return;
    change(m->f, hash_number(m, i), m->open > 0 ? m->numbers[m->open - 1] : 0, from, to);
    *slot = to;
}

static void open_snapshot(model *m) {
    if (m->open == SNAPSHOTS_MAX) return;
    m->numbers[m->open] = ++m->last_number;
    m->views[m->open++] = m->now;
}

static void close_snapshot(model *m) {
    if (m->open == 0) return;
    size_t s = dice(m) % m->open;
    memmove(&m->numbers[s], &m->numbers[s + 1], (m->open - s - 1) * sizeof m->numbers[0]);
    memmove(&m->views[s], &m->views[s + 1], (m->open - s - 1) * sizeof m->views[0]);
    m->open--;
    if (dice(m) % 4 == 0) return; /* swept with another one */
    side_table_sweep(m->f->table, m->numbers, m->open, m->last_number);
    check_pinned(m);
}

static void run_model(fixture *f, uint64_t mask, uint64_t seed) {
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->f = f;
    m->mask = mask;
    m->seed = seed << 32;
    for (unsigned step = 0; step < 12000; step++) {
        uint64_t kind = dice(m) % 100;
        if (kind < 3) {
            open_snapshot(m);
        } else if (kind < 6) {
            close_snapshot(m);
        } else {
            random_change(m);
        }
        if (m->open == 0 || step % 16 != 0) continue;
        size_t s = dice(m) % m->open;
        check_view(m, s);
        if (step % 64 == 0) check_visits(m, s);
    }
    m->open = 0;
    side_table_sweep(f->table, NULL, 0, m->last_number);
    assert_int_equal(side_table_pinned_bytes(f->table), 0);
    assert_int_equal(side_table_bytes(f->table), f->empty_bytes);
    free(m);
}

static void snapshots_agree_with_copies_of_the_index(void **state) { run_model(*state, UINT64_MAX, 1); }
static void they_agree_when_all_hashes_are_in_one_shard(void **state) { run_model(*state, UINT64_MAX >> 10, 2); }
static void they_agree_with_small_hashes(void **state) { run_model(*state, 0, 3); }

/* ---- Threads ---- */

#define KEYS 48u
#define READ_ROUNDS 400u

/* Numbers and the open list are the snapshots' thread's alone; writers know the newest one. */
typedef struct race {
    fixture *f;
    _Atomic uint64_t newest;
    _Atomic int stop;
    _Atomic uint64_t changes;
} race;

typedef struct racer {
    race *r;
    unsigned number;
} racer;

static uint64_t race_hash(unsigned key) { return (uint64_t)(key % 6) << 54 | key; }

static void *overwrite(void *arg) {
    racer *me = arg;
    race *r = me->r;
    fixture *f = r->f;
    for (uint64_t n = 0; !atomic_load_explicit(&r->stop, memory_order_relaxed); n++) {
        uint64_t hash = race_hash((unsigned)(mix(n * 2 + me->number) % KEYS));
        location from;
        hash_index_lock(f->index, hash);
        uint64_t newest = atomic_load_explicit(&r->newest, memory_order_acquire);
        bool done = newest == 0 || side_table_record(f->table, hash, newest) == CAIRN_OK;
        if (done && hash_index_collect(f->index, hash, &from, 1) == 1) {
            hash_index_replace(f->index, hash, from, from + 1);
            (void)side_table_pin(f->table, hash, from, 64);
        }
        hash_index_unlock(f->index, hash);
        atomic_fetch_add_explicit(&r->changes, 1, memory_order_relaxed);
    }
    return NULL;
}

static void see_all(fixture *f, uint64_t snapshot, location view_of[KEYS]) {
    for (unsigned key = 0; key < KEYS; key++)
        view_of[key] = seen(f, race_hash(key), snapshot);
}

static uint64_t open_among_writers(race *r, uint64_t number) {
    atomic_store_explicit(&r->newest, number, memory_order_release);
    hash_index_quiesce(r->f->index); /* whoever does not know of it yet has finished */
    return number;
}

static void snapshots_stay_as_they_are_among_writers_and_sweeps(void **state) {
    fixture *f = *state;
    race r = {.f = f};
    racer racers[2];
    os_thread threads[2];
    uint64_t number = 0;
    for (unsigned key = 0; key < KEYS; key++)
        change(f, race_hash(key), 0, LOCATION_NONE, 1000000);
    for (unsigned i = 0; i < 2; i++) {
        racers[i] = (racer){&r, i};
        assert_int_equal(os_thread_start(&threads[i], overwrite, &racers[i]), 0);
    }
    while (atomic_load(&r.changes) == 0) /* on a busy machine all rounds might be over before one of them runs */
        os_nap_us(100);
    for (unsigned round = 0; round < READ_ROUNDS; round++) {
        location old_view[KEYS], new_view[KEYS], again[KEYS];
        uint64_t open[2];
        open[0] = open_among_writers(&r, ++number);
        see_all(f, open[0], old_view);
        open[1] = open_among_writers(&r, ++number);
        see_all(f, open[1], new_view);
        for (unsigned key = 0; key < KEYS; key++)
            assert_true(new_view[key] >= old_view[key]);
        see_all(f, open[0], again);
        assert_memory_equal(again, old_view, sizeof again);
        atomic_store_explicit(&r.newest, open[round % 2], memory_order_release); /* one of them is closed */
        side_table_sweep(f->table, &open[round % 2], 1, number);
        see_all(f, open[round % 2], again);
        assert_memory_equal(again, round % 2 == 0 ? old_view : new_view, sizeof again);
        atomic_store_explicit(&r.newest, 0, memory_order_release);
        side_table_sweep(f->table, NULL, 0, number);
        assert_int_equal(side_table_pinned_bytes(f->table), 0);
        assert_int_equal(side_table_bytes(f->table), f->empty_bytes);
    }
    atomic_store(&r.stop, 1);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&threads[i]);
    assert_true(atomic_load(&r.changes) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_snapshot_sees_what_was_there_before_each_change),
        TEST(an_empty_list_is_not_the_same_as_none),
        TEST(a_record_without_a_change_does_no_harm),
        TEST(sweeping_keeps_what_an_open_snapshot_needs),
        TEST(sweeping_with_an_old_list_spares_later_snapshots),
        TEST(a_pin_moves_to_another_entry_that_lists_the_location),
        TEST(a_pin_stays_when_only_an_older_entry_goes),
        TEST(snapshots_agree_with_copies_of_the_index),
        TEST(they_agree_when_all_hashes_are_in_one_shard),
        TEST(they_agree_with_small_hashes),
        TEST(snapshots_stay_as_they_are_among_writers_and_sweeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

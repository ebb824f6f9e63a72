/* Ordered scans beside writers, and beside an index that is rebuilt, or dropped and added, checkpoints and compaction.
 * Each writer keeps a promise with every batch: of each of its pairs of keys exactly one is there, of each of its
 * groups all keys or none. So every scan, whatever its moment, must find it so, in order and each key once. Threads
 * other than the test's own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/far_reads.h"
#include "tests/support/ordered_box.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WRITERS 2u
#define SCANNERS 2u
#define PAIRS 300u
#define GROUPS 3u
#define GROUP_KEYS 40u
#define STRAYS 100u
#define KEY_MAX ((size_t)600)

typedef struct race {
    cairn *store;
    bool index_goes; /* and comes again: scans may be refused */
    bool rebuilds;
    atomic_uint scans, refused;
    atomic_bool stop;
} race;

typedef struct runner {
    race *race;
    unsigned number;
    uint64_t rng;
    os_thread thread;
} runner;

/* ---- Keys ---- */

/* "0g1/007", "0p123a", "0s055": writer, kind, number. Every seventh pair has long keys. */
static size_t pair_key(char *key, unsigned writer, unsigned pair, char which) {
    int n = snprintf(key, KEY_MAX, "%up%03u", writer, pair);
    CHECK(n > 0);
    size_t size = (size_t)n;
    if (pair % 7 == 0) {
        memset(key + size, 'x', 550);
        size += 550;
    }
    key[size] = which;
    return size + 1;
}
static size_t group_key(char *key, unsigned writer, unsigned group, unsigned i) {
    return (size_t)snprintf(key, KEY_MAX, "%ug%u/%03u", writer, group, i);
}
static size_t stray_key(char *key, unsigned writer, unsigned i) {
    return (size_t)snprintf(key, KEY_MAX, "%us%03u", writer, i);
}

/* ---- Writing ---- */

static void batch_key(cairn_batch *batch, const char *key, size_t size, bool put) {
    int rc = put ? cairn_batch_put(batch, key, size, key, min_u64(size, 20)) : cairn_batch_delete(batch, key, size);
    CHECK(rc == CAIRN_OK);
}

static void commit(const race *r, cairn_batch *batch) {
    CHECK(cairn_batch_commit(r->store, batch, NULL, NULL) == CAIRN_OK);
    cairn_batch_free(batch);
}

typedef struct writer_state {
    bool second[PAIRS]; /* which one is there */
    bool there[GROUPS];
} writer_state;

static void turn_pairs(runner *w, writer_state *state) {
    cairn_batch *batch;
    char key[KEY_MAX];
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (uint64_t i = 0, count = 1 + random_below(&w->rng, 8); i < count; i++) {
        unsigned pair = (unsigned)random_below(&w->rng, PAIRS);
        state->second[pair] = !state->second[pair];
        batch_key(batch, key, pair_key(key, w->number, pair, 'a'), !state->second[pair]);
        batch_key(batch, key, pair_key(key, w->number, pair, 'b'), state->second[pair]);
    }
    commit(w->race, batch);
}

static void turn_group(runner *w, writer_state *state) {
    cairn_batch *batch;
    char key[KEY_MAX];
    unsigned group = (unsigned)random_below(&w->rng, GROUPS);
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    state->there[group] = !state->there[group];
    for (unsigned i = 0; i < GROUP_KEYS; i++)
        batch_key(batch, key, group_key(key, w->number, group, i), state->there[group]);
    commit(w->race, batch);
}

static void change_stray(runner *w) {
    char key[KEY_MAX];
    size_t size = stray_key(key, w->number, (unsigned)random_below(&w->rng, STRAYS));
    if (random_one_in(&w->rng, 2)) {
        CHECK(cairn_put(w->race->store, key, size, random_pool(), random_below(&w->rng, 3000), NULL, NULL) == CAIRN_OK);
    } else {
        int rc = cairn_delete(w->race->store, key, size, NULL, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    }
}

static void begin_pairs(const race *r, unsigned writer) {
    cairn_batch *batch;
    char key[KEY_MAX];
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        batch_key(batch, key, pair_key(key, writer, pair, 'a'), true);
    commit(r, batch);
}

static void *write_until_stopped(void *arg) {
    runner *w = arg;
    writer_state state = {.second = {false}};
    while (!atomic_load(&w->race->stop)) {
        uint64_t roll = random_below(&w->rng, 10);
        if (roll < 4) turn_pairs(w, &state);
        if (roll == 4) turn_group(w, &state);
        if (roll > 4) change_stray(w);
    }
    return NULL;
}

/* ---- Scanning ---- */

typedef struct view {
    unsigned pairs[WRITERS][PAIRS], groups[WRITERS][GROUPS];
    uint64_t sum; /* of all keys, in their order */
    uint64_t keys;
} view;

static void see(view *v, const char *key, size_t size) {
    char text[16] = {0};
    unsigned writer, number;
    memcpy(text, key, min_u64(size, 5));
    CHECK(sscanf(text, "%1u", &writer) == 1 && writer < WRITERS);
    if (text[1] == 'p') {
        CHECK(sscanf(text + 2, "%3u", &number) == 1 && number < PAIRS);
        v->pairs[writer][number]++;
    } else if (text[1] == 'g') {
        CHECK(sscanf(text + 2, "%1u", &number) == 1 && number < GROUPS);
        v->groups[writer][number]++;
    }
    for (size_t i = 0; i < size; i++)
        v->sum = v->sum * 31 + (uint8_t)key[i];
    v->keys++;
}

static void check_promises(const view *v, unsigned first, unsigned end) {
    for (unsigned w = first; w < end; w++) {
        for (unsigned i = 0; i < PAIRS; i++)
            CHECK(v->pairs[w][i] == 1);
        for (unsigned i = 0; i < GROUPS; i++)
            CHECK(v->groups[w][i] == 0 || v->groups[w][i] == GROUP_KEYS);
    }
}

/* The rest of a scan. false: it was refused. */
static bool read_scan(const race *r, cairn_scan *scan, bool reverse, bool slowly, view *v) {
    char last[KEY_MAX];
    size_t last_size = 0, size;
    int rc;
    memset(v, 0, sizeof *v);
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
        const void *key = cairn_scan_key(scan, &size);
        int order = plain_key_compare(key, size, last, last_size);
        CHECK(last_size == 0 || (reverse ? order < 0 : order > 0));
        memcpy(last, key, size);
        last_size = size;
        see(v, key, size);
        if (slowly && v->keys % 100 == 0) os_nap_us(300);
    }
    CHECK(rc == CAIRN_DONE || (r->index_goes && rc == CAIRN_UNSUPPORTED));
    return rc == CAIRN_DONE;
}

/* With a snapshot or NULL, of everything or of one writer. */
static bool scan_once(runner *s, cairn_snapshot *snapshot, bool everything, view *v) {
    race *r = s->race;
    unsigned writer = (unsigned)random_below(&s->rng, WRITERS);
    char prefix[2] = {(char)('0' + writer), '\0'};
    cairn_scan_options o = {.struct_size = sizeof o,
                            .keys_only = !random_one_in(&s->rng, 4),
                            .reverse = !everything && random_one_in(&s->rng, 2),
                            .lower = "",
                            .snapshot = snapshot};
    bool of_one = !everything && random_one_in(&s->rng, 2);
    if (of_one) o.prefix = prefix, o.prefix_size = 1;
    cairn_scan *scan;
    int rc = cairn_scan_open(r->store, &o, &scan, NULL);
    CHECK(rc == CAIRN_OK || (r->index_goes && rc == CAIRN_UNSUPPORTED));
    bool done = rc == CAIRN_OK && read_scan(r, scan, o.reverse, random_one_in(&s->rng, 3), v);
    cairn_scan_close(scan);
    if (done) check_promises(v, of_one ? writer : 0, of_one ? writer + 1 : WRITERS);
    atomic_fetch_add(done ? &r->scans : &r->refused, 1);
    return done;
}

static void scan_snapshot(runner *s, view *v) {
    cairn_snapshot *snapshot;
    uint64_t sum = 0;
    bool any = false;
    CHECK(cairn_snapshot_open(s->race->store, &snapshot, NULL) == CAIRN_OK);
    for (unsigned i = 0; i < 3; i++) {
        if (!scan_once(s, snapshot, true, v)) continue;
        CHECK(!any || sum == v->sum); /* the same keys each time */
        sum = v->sum;
        any = true;
        if (random_one_in(&s->rng, 2)) os_nap_us(random_below(&s->rng, 3000));
    }
    cairn_snapshot_close(snapshot);
}

static void *scan_until_stopped(void *arg) {
    runner *s = arg;
    view *v = malloc(sizeof *v);
    CHECK(v != NULL);
    while (!atomic_load(&s->race->stop)) {
        if (random_one_in(&s->rng, 3)) {
            scan_snapshot(s, v);
        } else {
            (void)scan_once(s, NULL, false, v);
        }
    }
    free(v);
    return NULL;
}

/* ---- Upkeep ---- */

static void *change_index_until_stopped(void *arg) {
    runner *u = arg;
    const race *r = u->race;
    while (!atomic_load(&r->stop)) {
        if (r->index_goes) CHECK(cairn_index_drop(r->store, NULL) == CAIRN_OK);
        if (r->index_goes && random_one_in(&u->rng, 2)) os_nap_us(random_below(&u->rng, 2000));
        if (r->index_goes) CHECK(cairn_index_add(r->store, NULL, NULL) == CAIRN_OK);
        if (r->rebuilds) CHECK(cairn_index_rebuild(r->store, NULL, NULL) == CAIRN_OK);
        os_nap_us(random_below(&u->rng, r->index_goes ? 60000 : 10000));
    }
    return NULL;
}

static void *keep_up_until_stopped(void *arg) {
    runner *u = arg;
    cairn_compact_options o = {.struct_size = sizeof o, .min_garbage_ratio = 0.05};
    while (!atomic_load(&u->race->stop)) {
        cairn_stats stats = {.struct_size = sizeof stats};
        if (!random_one_in(&u->rng, 8)) {
            CHECK(cairn_checkpoint(u->race->store, NULL) == CAIRN_OK);
        } else {
            o.full = random_one_in(&u->rng, 2);
            CHECK(cairn_compact(u->race->store, &o, NULL, NULL) == CAIRN_OK);
        }
        CHECK(cairn_stats_get(u->race->store, &stats, NULL) == CAIRN_OK);
        CHECK(stats.ordered_pending < UINT32_MAX); /* not below 0 */
        os_nap_us(random_below(&u->rng, 4000));
    }
    return NULL;
}

/* ---- All together ---- */

static void run_race(box *b, bool rebuilds, bool index_goes) {
    static race r;
    static runner runners[WRITERS + SCANNERS + 2];
    r = (race){.store = b->store, .rebuilds = rebuilds, .index_goes = index_goes};
    (void)random_pool();
    for (unsigned i = 0; i < WRITERS; i++)
        begin_pairs(&r, i);
    for (unsigned i = 0; i < WRITERS + SCANNERS + 2; i++) {
        runners[i] = (runner){.race = &r, .number = i, .rng = i};
        void *(*run)(void *) = i < WRITERS               ? write_until_stopped
                               : i < WRITERS + SCANNERS  ? scan_until_stopped
                               : i == WRITERS + SCANNERS ? change_index_until_stopped
                                                         : keep_up_until_stopped;
        CHECK(os_thread_start(&runners[i].thread, run, &runners[i]) == 0);
    }
    for (unsigned scans = (unsigned)rung_choose(1500, 150, 100000); atomic_load(&r.scans) < scans;)
        os_nap_us(1000);
    atomic_store(&r.stop, true);
    for (unsigned i = 0; i < WRITERS + SCANNERS + 2; i++)
        os_thread_join(&runners[i].thread);
    print_message("%u scans, %u refused\n", atomic_load(&r.scans), atomic_load(&r.refused));
    view v;
    for (unsigned opening = 0; opening < 2; opening++) {
        assert_true(scan_once(&runners[0], NULL, true, &v));
        assert_int_equal(v.keys, stats_of(b->store).keys);
        box_reopen(b);
        r.store = b->store;
    }
}

static void every_scan_finds_whole_batches(void **state) { run_race(*state, false, false); }
static void they_do_while_the_index_is_rebuilt(void **state) { run_race(*state, true, false); }
static void they_do_or_are_refused_while_it_is_dropped_and_added(void **state) { run_race(*state, false, true); }

static void they_do_with_no_threads_of_the_stores_own(void **state) {
    box_quiet(*state);
    run_race(*state, true, false);
}

static void they_do_where_records_are_not_in_memory(void **state) {
    static os table;
    box *b = *state;
    table = *os_posix();
    far_reads_put(&table, READS_BY_TURNS);
    b->system = &table;
    box_reopen(b);
    run_race(b, false, true);
    assert_true(far_reads_refused() > 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_scan_finds_whole_batches),
        TEST(they_do_while_the_index_is_rebuilt),
        TEST(they_do_or_are_refused_while_it_is_dropped_and_added),
        TEST(they_do_with_no_threads_of_the_stores_own),
        TEST(they_do_where_records_are_not_in_memory),
    };
    return cmocka_run_group_tests_name("ordered_scan_threads", tests, NULL, NULL);
}

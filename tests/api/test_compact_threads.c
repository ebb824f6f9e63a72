/* Compaction beside everything else: writers, batches, readers, views, snapshots, scans, verifications, backups and
 * write-back go on while all garbage is given back again and again, by calls and by the store's own thread. Every value
 * says whose it is and the how many-th, and its other bytes follow from that, so a wrong one is seen. Threads other
 * than the test's own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "index/hash_index.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WRITERS 2u
#define STEPS_MORE 50u /* times as many at most */
#define KEYS 24u       /* of each writer */
#define PAIRS 4u       /* the first keys of a writer: two each, which batches put together */
#define VALUE_MAX ((size_t)300000)
#define OTHERS 7u /* threads that do not write */

typedef struct head {
    uint32_t writer, key;
    uint64_t number; /* of the step that put it */
} head;

typedef struct crowd {
    cairn *store;
    char backup[REAL_PATH_SIZE];
    uint64_t steps; /* of each writer */
    bool by_calls;
    _Atomic uint64_t least[WRITERS][KEYS]; /* no older value may be seen from now on; 0: it may be absent */
    uint64_t last[WRITERS][KEYS];          /* the writer's; 0: absent */
    atomic_bool stop;
    _Atomic uint64_t freed;
} crowd;

typedef struct runner {
    crowd *crowd;
    unsigned writer;
    uint64_t rng;
    os_thread thread;
} runner;

static size_t key_of(char key[24], unsigned writer, unsigned k) {
    return (size_t)snprintf(key, 24, "key %u of %u", k, writer);
}

static size_t fill(uint8_t *value, const head *h) {
    uint64_t rng = h->writer * 1000003u + h->key * 1009u + h->number * 7919u;
    size_t size = sizeof *h + (size_t)random_below(&rng, 20000);
    if (random_one_in(&rng, 12)) size = sizeof *h + (size_t)random_below(&rng, 200000);
    if (random_one_in(&rng, 60)) size = VALUE_MAX; /* a file of its own */
    memcpy(value, h, sizeof *h);
    memcpy(value + sizeof *h, random_window(&rng, size - sizeof *h), size - sizeof *h);
    return size;
}

static uint64_t check(const void *value, size_t size, unsigned writer, unsigned k) {
    static _Thread_local uint8_t expected[VALUE_MAX];
    head h;
    CHECK(size >= sizeof h);
    memcpy(&h, value, sizeof h);
    CHECK(h.writer == writer && h.key == k);
    CHECK(fill(expected, &h) == size && memcmp(expected, value, size) == 0);
    return h.number;
}

/* ---- Writers ---- */

static const uint8_t *value_of(unsigned writer, unsigned k, uint64_t number, size_t *size) {
    static _Thread_local uint8_t value[VALUE_MAX];
    head h = {.writer = writer, .key = k, .number = number};
    *size = fill(value, &h);
    return value;
}

static void put_one(runner *r, unsigned k, uint64_t number) {
    crowd *c = r->crowd;
    char key[24];
    size_t size, key_size = key_of(key, r->writer, k);
    const uint8_t *value = value_of(r->writer, k, number, &size);
    CHECK(cairn_put(c->store, key, key_size, value, size, NULL, NULL) == CAIRN_OK);
    c->last[r->writer][k] = number;
    atomic_store(&c->least[r->writer][k], number);
}

static void delete_one(runner *r, unsigned k) {
    crowd *c = r->crowd;
    char key[24];
    size_t key_size = key_of(key, r->writer, k);
    atomic_store(&c->least[r->writer][k], 0);
    int rc = cairn_delete(c->store, key, key_size, NULL, NULL);
    CHECK(rc == (c->last[r->writer][k] == 0 ? CAIRN_NOT_FOUND : CAIRN_OK));
    c->last[r->writer][k] = 0;
}

static void put_pair(runner *r, unsigned pair, uint64_t number) {
    crowd *c = r->crowd;
    cairn_batch *batch;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (unsigned k = 2 * pair; k < 2 * pair + 2; k++) {
        char key[24];
        size_t size, key_size = key_of(key, r->writer, k);
        const uint8_t *value = value_of(r->writer, k, number, &size);
        CHECK(cairn_batch_put(batch, key, key_size, value, size) == CAIRN_OK);
    }
    CHECK(cairn_batch_commit(c->store, batch, NULL, NULL) == CAIRN_OK);
    cairn_batch_free(batch);
    for (unsigned k = 2 * pair; k < 2 * pair + 2; k++) {
        c->last[r->writer][k] = number;
        atomic_store(&c->least[r->writer][k], number);
    }
}

/* Where the crowd compacts, until something of that was freed while it is there: on a busy machine somebody may hold
 * all of it for long. */
static bool goes_on(const crowd *c, uint64_t n) {
    return n <= c->steps || (c->by_calls && atomic_load(&c->freed) == 0 && n <= STEPS_MORE * c->steps);
}

static void *write_on(void *arg) {
    runner *r = arg;
    for (uint64_t n = 1; goes_on(r->crowd, n); n++) {
        unsigned k = (unsigned)random_below(&r->rng, KEYS);
        if (k < 2 * PAIRS) {
            put_pair(r, k / 2, n);
        } else if (random_one_in(&r->rng, 4)) {
            delete_one(r, k);
        } else {
            put_one(r, k, n);
        }
    }
    return NULL;
}

/* ---- Those who look ---- */

/* `least` was read before the look: the value is not older, where the key was not deleted meanwhile. */
static void check_seen(const crowd *c, unsigned writer, unsigned k, uint64_t least, int rc, uint64_t number) {
    if (rc == CAIRN_OK) {
        CHECK(number >= least);
    } else {
        CHECK(rc == CAIRN_NOT_FOUND && k >= 2 * PAIRS);
        CHECK(least == 0 || atomic_load(&c->least[writer][k]) != least);
    }
}

static int read_by_handle(runner *r, const char *key, size_t key_size, unsigned writer, unsigned k, uint64_t *number) {
    static _Thread_local uint8_t value[VALUE_MAX];
    cairn_reader *reader;
    int rc = cairn_reader_open(r->crowd->store, key, key_size, &reader, NULL);
    if (rc != CAIRN_OK) return rc;
    size_t size = cairn_reader_size(reader), got, half = size / 2;
    CHECK(cairn_reader_pread(reader, value, half, 0, &got, NULL) == CAIRN_OK && got == half);
    os_nap_us(random_below(&r->rng, 2000)); /* its segment may be emptied meanwhile */
    CHECK(cairn_reader_pread(reader, value + half, size - half, half, &got, NULL) == CAIRN_OK && got == size - half);
    cairn_reader_close(reader);
    *number = check(value, size, writer, k);
    return CAIRN_OK;
}

static int read_by_view(runner *r, const char *key, size_t key_size, unsigned writer, unsigned k, uint64_t *number) {
    cairn_view *view;
    int rc = cairn_view_open(r->crowd->store, key, key_size, &view, NULL);
    if (rc != CAIRN_OK) return rc;
    os_nap_us(random_below(&r->rng, 2000));
    *number = check(cairn_view_data(view), cairn_view_size(view), writer, k);
    cairn_view_close(view);
    return CAIRN_OK;
}

static int read_at_once(runner *r, const char *key, size_t key_size, unsigned writer, unsigned k, uint64_t *number) {
    void *value;
    size_t size;
    int rc = cairn_get(r->crowd->store, key, key_size, &value, &size, NULL);
    if (rc == CAIRN_OK) *number = check(value, size, writer, k);
    cairn_free(value);
    return rc;
}

static void *read_on(void *arg) {
    runner *r = arg;
    crowd *c = r->crowd;
    while (!atomic_load(&c->stop)) {
        char key[24];
        unsigned writer = (unsigned)random_below(&r->rng, WRITERS), k = (unsigned)random_below(&r->rng, KEYS);
        uint64_t least = atomic_load(&c->least[writer][k]), number = 0;
        size_t key_size = key_of(key, writer, k);
        unsigned way = (unsigned)random_below(&r->rng, 4);
        int rc = way == 0   ? read_by_handle(r, key, key_size, writer, k, &number)
                 : way == 1 ? read_by_view(r, key, key_size, writer, k, &number)
                            : read_at_once(r, key, key_size, writer, k, &number);
        if (rc == CAIRN_NOT_FOUND && k < 2 * PAIRS && least == 0) continue; /* it was not yet put */
        check_seen(c, writer, k, least, rc, number);
    }
    return NULL;
}

typedef struct sight {
    uint64_t numbers[WRITERS][KEYS]; /* 0: absent */
} sight;

static sight by_scan(runner *r, cairn *store, cairn_snapshot *snapshot) {
    cairn_scan_options o = {.struct_size = sizeof o, .snapshot = snapshot};
    sight s = {0};
    cairn_scan *scan;
    int rc;
    CHECK(cairn_scan_open(store, &o, &scan, NULL) == CAIRN_OK);
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
        char key[24] = "";
        unsigned writer, k;
        size_t key_size, size;
        const void *value, *bytes = cairn_scan_key(scan, &key_size);
        memcpy(key, bytes, key_size);
        CHECK(sscanf(key, "key %u of %u", &k, &writer) == 2 && writer < WRITERS && k < KEYS);
        CHECK(cairn_scan_value(scan, &value, &size, NULL) == CAIRN_OK && s.numbers[writer][k] == 0);
        s.numbers[writer][k] = check(value, size, writer, k);
        if (random_one_in(&r->rng, 8)) os_nap_us(500);
    }
    CHECK(rc == CAIRN_DONE);
    cairn_scan_close(scan);
    return s;
}

static sight by_gets(cairn_snapshot *snapshot) {
    sight s = {0};
    for (unsigned writer = 0; writer < WRITERS; writer++) {
        for (unsigned k = 0; k < KEYS; k++) {
            char key[24];
            void *value;
            size_t size, key_size = key_of(key, writer, k);
            int rc = cairn_snapshot_get(snapshot, key, key_size, &value, &size, NULL);
            CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
            if (rc == CAIRN_OK) s.numbers[writer][k] = check(value, size, writer, k);
            cairn_free(value);
        }
    }
    return s;
}

static void check_pairs(const sight *s) {
    for (unsigned writer = 0; writer < WRITERS; writer++) {
        for (unsigned pair = 0; pair < PAIRS; pair++) {
            CHECK(s->numbers[writer][2 * pair] == s->numbers[writer][2 * pair + 1]);
        }
    }
}

/* A snapshot is the same by whatever call, at whatever time, and has both of a pair. */
static void *audit(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->crowd->stop)) {
        cairn_snapshot *snapshot;
        CHECK(cairn_snapshot_open(r->crowd->store, &snapshot, NULL) == CAIRN_OK);
        sight first = by_gets(snapshot), second = by_scan(r, r->crowd->store, snapshot), third = by_gets(snapshot);
        cairn_snapshot_close(snapshot);
        CHECK(memcmp(&first, &second, sizeof first) == 0 && memcmp(&first, &third, sizeof first) == 0);
        check_pairs(&first);
        sight now = by_scan(r, r->crowd->store, NULL);
        check_pairs(&now);
        os_nap_us(3000); /* so that now and then nothing is held */
    }
    return NULL;
}

/* A backup has both of a pair, and everything that was there before it began. */
static void look_at_backup(runner *r, uint64_t (*least)[KEYS]) {
    const crowd *c = r->crowd;
    cairn_options o = {.struct_size = sizeof o, .read_only = random_one_in(&r->rng, 2), .no_background = true};
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn *backup;
    CHECK(cairn_open(&backup, c->backup, &o, NULL) == CAIRN_OK);
    sight s = by_scan(r, backup, NULL);
    CHECK(cairn_verify(backup, NULL, &result, NULL) == CAIRN_OK && result.damaged == 0);
    CHECK(cairn_close(backup) == CAIRN_OK);
    check_pairs(&s);
    for (unsigned writer = 0; writer < WRITERS; writer++) {
        for (unsigned k = 0; k < KEYS; k++) {
            uint64_t number = s.numbers[writer][k], from = least[writer][k];
            if (number == 0 && from == 0) continue;
            check_seen(c, writer, k, from, number == 0 ? CAIRN_NOT_FOUND : CAIRN_OK, number);
        }
    }
}

static void *back_up_on(void *arg) {
    runner *r = arg;
    crowd *c = r->crowd;
    while (!atomic_load(&c->stop)) {
        uint64_t least[WRITERS][KEYS];
        cairn_backup_options o = {.struct_size = sizeof o, .copy = random_one_in(&r->rng, 2)};
        for (unsigned i = 0; i < WRITERS * KEYS; i++) {
            least[i / KEYS][i % KEYS] = atomic_load(&c->least[i / KEYS][i % KEYS]);
        }
        CHECK(cairn_backup(c->store, c->backup, &o, NULL) == CAIRN_OK);
        look_at_backup(r, least);
        os_nap_us(random_below(&r->rng, 20000));
    }
    return NULL;
}

static void *verify_on(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->crowd->stop)) {
        cairn_verify_result result = {.struct_size = sizeof result};
        cairn_stats stats = {.struct_size = sizeof stats};
        CHECK(cairn_verify(r->crowd->store, NULL, &result, NULL) == CAIRN_OK && result.damaged == 0);
        CHECK(cairn_stats_get(r->crowd->store, &stats, NULL) == CAIRN_OK);
        os_nap_us(20000);
    }
    return NULL;
}

/* More often than the store would by itself. */
static void *write_back_on(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->crowd->stop)) {
        (void)vlog_write_back(r->crowd->store->log);
        os_nap_us(random_below(&r->rng, 2000));
    }
    return NULL;
}

static void *compact_on(void *arg) {
    runner *r = arg;
    crowd *c = r->crowd;
    while (c->by_calls && !atomic_load(&c->stop)) {
        cairn_compact_options o = {.struct_size = sizeof o, .full = random_one_in(&r->rng, 2)};
        cairn_compact_result result = {.struct_size = sizeof result};
        CHECK(cairn_compact(c->store, &o, &result, NULL) == CAIRN_OK);
        atomic_fetch_add(&c->freed, result.bytes_freed);
        if (random_one_in(&r->rng, 4)) CHECK(cairn_checkpoint(c->store, NULL) == CAIRN_OK);
    }
    return NULL;
}

/* ---- The whole ---- */

static void expect_last(crowd *c) {
    runner r = {.crowd = c};
    sight s = by_scan(&r, c->store, NULL);
    assert_memory_equal(s.numbers, c->last, sizeof c->last);
}

/* Soon the garbage is below what max_space_amp allows besides 8 MiB; a put wakes the store's thread where it is not. */
static void expect_bounded(box *b) {
    uint64_t dead = UINT64_MAX;
    for (unsigned i = 0; i < 3000 && dead > ((uint64_t)9 << 20); i++) {
        put_text(b->store, "other", "o", 1);
        delete_text(b->store, "other");
        os_nap_us(1000);
        dead = stats_of(b->store).dead_bytes;
    }
    if (dead > ((uint64_t)9 << 20)) fail_msg("%llu bytes of garbage", (unsigned long long)dead);
}

static void run_crowd(box *b, uint64_t steps, bool by_calls) {
    static crowd c;
    static runner writers[WRITERS], others[OTHERS];
    static void *(*const run[OTHERS])(void *) = {read_on,    read_on,    audit,        verify_on,
                                                 compact_on, back_up_on, write_back_on};
    c = (crowd){.store = b->store, .steps = steps, .by_calls = by_calls};
    real_folder_make(c.backup);
    (void)random_pool(); /* made by its first use */
    for (unsigned i = 0; i < OTHERS; i++) {
        others[i] = (runner){.crowd = &c, .rng = 100 + i};
        CHECK(os_thread_start(&others[i].thread, run[i], &others[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (runner){.crowd = &c, .writer = i, .rng = i};
        CHECK(os_thread_start(&writers[i].thread, write_on, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        os_thread_join(&writers[i].thread);
    atomic_store(&c.stop, true);
    for (unsigned i = 0; i < OTHERS; i++)
        os_thread_join(&others[i].thread);
    real_folder_remove(c.backup);
    if (by_calls) assert_true(atomic_load(&c.freed) > 0);
    if (!by_calls) expect_bounded(b);
    expect_last(&c);
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    assert_int_equal(cairn_compact(b->store, &o, NULL, NULL), CAIRN_OK);
    assert_int_equal(stats_of(b->store).pinned_bytes, 0);
    box_reopen(b);
    c.store = b->store;
    expect_last(&c);
}

static void nobody_sees_a_compaction(void **state) { run_crowd(*state, rung_choose(4000, 150, 40000), true); }

static void nobody_sees_the_stores_own(void **state) {
    box *b = *state;
    b->options.max_space_amp = 1.05;
    box_reopen(b);
    uint64_t steps = rung_choose(6000, 600, 40000);
    run_crowd(b, steps, false);
}

static void it_is_so_where_every_value_is_resident(void **state) {
    box *b = *state;
    b->options.cache_bytes = UINT64_MAX;
    box_reopen(b);
    run_crowd(b, rung_choose(1500, 80, 20000), true);
}

/* ---- A writer that is slow between the log and the index (tests/CMakeLists.txt, --wrap) ---- */

#define SLOW_US 300000u

void __real_hash_index_remove(hash_index *h, uint64_t hash, location where);
void __wrap_hash_index_remove(hash_index *h, uint64_t hash, location where);
void __real_hash_index_insert(hash_index *h, uint64_t hash, location where);
void __wrap_hash_index_insert(hash_index *h, uint64_t hash, location where);

static atomic_bool slow, waiting;

static void be_slow(void) {
    if (!atomic_exchange(&slow, false)) return;
    atomic_store(&waiting, true);
    os_nap_us(SLOW_US);
}

void __wrap_hash_index_remove(hash_index *h, uint64_t hash, location where) {
    be_slow();
    __real_hash_index_remove(h, hash, where);
}

void __wrap_hash_index_insert(hash_index *h, uint64_t hash, location where) {
    be_slow();
    __real_hash_index_insert(h, hash, where);
}

static void start_slowly(os_thread *thread, void *(*run)(void *arg), cairn *store) {
    atomic_store(&waiting, false);
    atomic_store(&slow, true);
    CHECK(os_thread_start(thread, run, store) == 0);
    while (!atomic_load(&waiting)) {
        os_nap_us(1000);
    }
}

static void *delete_slowly(void *arg) {
    CHECK(cairn_delete(arg, "deleted", 7, NULL, NULL) == CAIRN_OK);
    return NULL;
}

static void a_deletion_that_the_index_does_not_know_yet_is_not_lost(void **state) {
    box *b = *state;
    os_thread thread;
    b->options.segment_bytes = (uint64_t)4 << 20;
    box_quiet(b);
    /* The value and its deletion go into one segment, which has enough garbage to be sealed by one look at it. */
    for (unsigned i = 0; i < 15; i++) {
        put_text(b->store, "other", random_pool() + i, 200000);
        if (i == 6) put_text(b->store, "deleted", "d", 1);
    }
    start_slowly(&thread, delete_slowly, b->store);
    cairn_compact_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_compact(b->store, NULL, &result, NULL), CAIRN_OK);
    assert_true(result.bytes_freed > 1000000);
    os_thread_join(&thread);
    box_close(b);
    real_file_remove(b->path, "CHECKPOINT");
    box_open(b);
    expect_absent(b->store, "deleted");
    expect_get(b->store, "other", 5, random_pool() + 14, 200000);
}

static void *put_slowly(void *arg) {
    CHECK(cairn_put(arg, "put", 3, random_pool() + 77, 200000, NULL, NULL) == CAIRN_OK);
    return NULL;
}

/* No hole is punched into it, although nothing names it yet. */
static void a_put_that_the_index_does_not_know_yet_is_not_lost(void **state) {
    box *b = *state;
    os_thread thread;
    b->options.segment_bytes = (uint64_t)4 << 20;
    box_quiet(b);
    for (unsigned i = 0; i < 10; i++) {
        put_text(b->store, i < 5 ? "other" : "another", random_pool() + i, 200000);
    }
    start_slowly(&thread, put_slowly, b->store);
    cairn_compact_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_compact(b->store, NULL, &result, NULL), CAIRN_OK);
    assert_true(result.bytes_freed > 1000000);
    os_thread_join(&thread);
    expect_get(b->store, "put", 3, random_pool() + 77, 200000);
    box_reopen(b);
    expect_get(b->store, "put", 3, random_pool() + 77, 200000);
    expect_get(b->store, "another", 7, random_pool() + 9, 200000);
}

/* A close waits for no more than what is being copied. */
static void a_store_is_closed_while_it_compacts(void **state) {
    box *b = *state;
    b->options.max_space_amp = 1.05;
    b->options.durability = CAIRN_DURABILITY_NONE;
    for (unsigned round = 0; round < 8; round++) {
        box_reopen(b);
        for (unsigned i = 0; i < 80 + 20 * round; i++) {
            char key[24];
            size_t key_size = key_of(key, 0, i % 30);
            assert_int_equal(cairn_put(b->store, key, key_size, random_pool() + i, 200000, NULL, NULL), CAIRN_OK);
        }
    }
    box_reopen(b);
    assert_int_equal(keys_by_scan(b->store, NULL), 30);
    assert_int_equal(verify_damage(b->store), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(nobody_sees_a_compaction),
        TEST(nobody_sees_the_stores_own),
        TEST(it_is_so_where_every_value_is_resident),
        TEST(a_deletion_that_the_index_does_not_know_yet_is_not_lost),
        TEST(a_put_that_the_index_does_not_know_yet_is_not_lost),
        TEST(a_store_is_closed_while_it_compacts),
    };
    return cmocka_run_group_tests_name("compact_threads", tests, NULL, NULL);
}

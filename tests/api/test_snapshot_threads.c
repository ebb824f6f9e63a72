/* Snapshots that are opened, read, scanned and closed while others write. The keys are accounts: each batch moves an
 * amount from one to another, so what all of them hold together is the same at every moment. Threads other than the
 * test's own use CHECK: a failed one ends the program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ACCOUNTS 16u
#define AMOUNT 1000u /* in each at first */
#define THREADS 3u
#define VALUE_MAX ((size_t)70000)

typedef struct bank {
    cairn *store;
    os_mutex teller[ACCOUNTS]; /* who changes an account; two are taken in ascending order */
    uint64_t moves;            /* of each writer */
    atomic_bool stop;
} bank;

typedef struct runner {
    bank *bank;
    uint64_t rng;
    os_thread thread;
} runner;

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "account %u", i); }

/* The amount, then bytes that depend on it and on the account: so a foreign or torn value is seen. */
static size_t fill(uint8_t *value, unsigned account, uint64_t amount) {
    uint64_t rng = account * 1000003 + amount;
    size_t size = random_one_in(&rng, 8) ? 8 + random_below(&rng, VALUE_MAX - 8) : 8 + random_below(&rng, 400);
    memcpy(value, &amount, 8);
    memcpy(value + 8, random_window(&rng, size - 8), size - 8);
    return size;
}

static uint64_t amount_in(const void *value, size_t size, unsigned account) {
    static _Thread_local uint8_t expected[VALUE_MAX];
    uint64_t amount;
    CHECK(size >= 8);
    memcpy(&amount, value, 8);
    CHECK(fill(expected, account, amount) == size && memcmp(expected, value, size) == 0);
    return amount;
}

static uint64_t read_account(cairn *store, unsigned i) {
    char key[16];
    void *value;
    size_t size, key_size = key_of(key, i);
    CHECK(cairn_get(store, key, key_size, &value, &size, NULL) == CAIRN_OK);
    uint64_t amount = amount_in(value, size, i);
    cairn_free(value);
    return amount;
}

static void add_to(cairn_batch *batch, unsigned i, uint64_t amount) {
    static _Thread_local uint8_t value[VALUE_MAX];
    char key[16];
    size_t key_size = key_of(key, i);
    CHECK(cairn_batch_put(batch, key, key_size, value, fill(value, i, amount)) == CAIRN_OK);
}

static void *move_amounts(void *arg) {
    runner *r = arg;
    for (uint64_t n = 0; n < r->bank->moves; n++) {
        unsigned a = (unsigned)random_below(&r->rng, ACCOUNTS - 1);
        unsigned b = a + 1 + (unsigned)random_below(&r->rng, ACCOUNTS - 1 - a);
        cairn_batch *batch;
        os_mutex_lock(&r->bank->teller[a]);
        os_mutex_lock(&r->bank->teller[b]);
        uint64_t in_a = read_account(r->bank->store, a), in_b = read_account(r->bank->store, b);
        uint64_t moved = random_below(&r->rng, in_a + 1);
        CHECK(cairn_batch_new(&batch) == CAIRN_OK);
        add_to(batch, a, in_a - moved);
        add_to(batch, b, in_b + moved);
        CHECK(cairn_batch_commit(r->bank->store, batch, NULL, NULL) == CAIRN_OK);
        cairn_batch_free(batch);
        os_mutex_unlock(&r->bank->teller[b]);
        os_mutex_unlock(&r->bank->teller[a]);
    }
    return NULL;
}

static void read_all(cairn_snapshot *s, uint64_t amounts[ACCOUNTS]) {
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char key[16];
        void *value;
        size_t size, key_size = key_of(key, i);
        CHECK(cairn_snapshot_get(s, key, key_size, &value, &size, NULL) == CAIRN_OK);
        amounts[i] = amount_in(value, size, i);
        cairn_free(value);
    }
}

static void scan_all(cairn *store, cairn_snapshot *s, uint64_t amounts[ACCOUNTS]) {
    cairn_scan_options o = {.struct_size = sizeof o, .snapshot = s};
    cairn_scan *scan;
    unsigned count = 0;
    CHECK(cairn_scan_open(store, &o, &scan, NULL) == CAIRN_OK);
    while (cairn_scan_next(scan, NULL) == CAIRN_OK) {
        size_t key_size, size;
        const void *value;
        char key[16] = "";
        const void *bytes = cairn_scan_key(scan, &key_size);
        CHECK(key_size < sizeof key);
        memcpy(key, bytes, key_size);
        unsigned i = (unsigned)strtoul(key + 8, NULL, 10);
        CHECK(i < ACCOUNTS && cairn_scan_value(scan, &value, &size, NULL) == CAIRN_OK);
        amounts[i] = amount_in(value, size, i);
        count++;
    }
    cairn_scan_close(scan);
    CHECK(count == ACCOUNTS);
}

static uint64_t sum_of(const uint64_t amounts[ACCOUNTS]) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++)
        sum += amounts[i];
    return sum;
}

/* Two at a time, the older closed first or last. */
static void *audit(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->bank->stop)) {
        cairn_snapshot *older, *newer;
        uint64_t first[ACCOUNTS] = {0}, again[ACCOUNTS] = {0};
        CHECK(cairn_snapshot_open(r->bank->store, &older, NULL) == CAIRN_OK);
        read_all(older, first);
        CHECK(sum_of(first) == (uint64_t)ACCOUNTS * AMOUNT);
        CHECK(cairn_snapshot_open(r->bank->store, &newer, NULL) == CAIRN_OK);
        scan_all(r->bank->store, older, again);
        CHECK(memcmp(first, again, sizeof first) == 0);
        bool older_first = random_one_in(&r->rng, 2);
        cairn_snapshot_close(older_first ? older : newer);
        cairn_snapshot *left = older_first ? newer : older;
        read_all(left, again);
        CHECK(sum_of(again) == (uint64_t)ACCOUNTS * AMOUNT);
        CHECK(older_first || memcmp(first, again, sizeof first) == 0);
        cairn_snapshot_close(left);
        scan_all(r->bank->store, NULL, again);
        CHECK(sum_of(again) == (uint64_t)ACCOUNTS * AMOUNT);
    }
    return NULL;
}

static void open_bank(bank *k, cairn *store, uint64_t moves) {
    *k = (bank){.store = store, .moves = moves};
    cairn_batch *batch;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        os_mutex_init(&k->teller[i]);
        add_to(batch, i, AMOUNT);
    }
    assert_int_equal(cairn_batch_commit(store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void run_bank(box *b) {
    static bank k;
    static runner writers[THREADS], auditors[THREADS];
    open_bank(&k, b->store, rung_choose(1500, 200, 30000));
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (runner){.bank = &k, .rng = i};
        auditors[i] = (runner){.bank = &k, .rng = 100 + i};
        CHECK(os_thread_start(&auditors[i].thread, audit, &auditors[i]) == 0);
        CHECK(os_thread_start(&writers[i].thread, move_amounts, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        os_thread_join(&writers[i].thread);
    atomic_store(&k.stop, true);
    for (unsigned i = 0; i < THREADS; i++)
        os_thread_join(&auditors[i].thread);
    uint64_t sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        sum += read_account(b->store, i);
        os_mutex_destroy(&k.teller[i]);
    }
    assert_int_equal(sum, ACCOUNTS * AMOUNT);
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(b->store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.pinned_bytes, 0); /* nothing is left of so many */
}

static void the_sum_is_right_in_every_snapshot(void **state) { run_bank(*state); }

static void it_is_so_with_compression_and_a_cache(void **state) {
    box *b = *state;
    b->options.compression = CAIRN_COMPRESSION_ZSTD;
    b->options.cache_bytes = 256 << 10;
    box_reopen(b);
    run_bank(b);
}

static void it_is_so_where_every_value_is_resident(void **state) {
    box *b = *state;
    b->options.cache_bytes = UINT64_MAX;
    box_reopen(b);
    run_bank(b);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_sum_is_right_in_every_snapshot),
        TEST(it_is_so_with_compression_and_a_cache),
        TEST(it_is_so_where_every_value_is_resident),
    };
    return cmocka_run_group_tests_name("snapshot_threads", tests, NULL, NULL);
}

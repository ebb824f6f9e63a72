/* Training a dictionary while calls of the disk fail, and while the power is cut: the values stay, the store goes on
 * with the dictionary or without it, and nothing is left over. */
#include "src/store/store.h"
#include "tests/support/finding.h"
#include "tests/support/os_sim.h"
#include "tests/support/rung.h"
#include "tests/support/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 250u
#define SIZE 300u

static finding found;

static const uint8_t *value_of(uint32_t key) {
    uint64_t rng = key;
    return text_window(&rng, SIZE);
}

static int open_on(sim_disk *disk, cairn **store, cairn_error *error) {
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    return store_open_on(store, sim_os(disk), "s", &o, UINT64_MAX, error);
}

static int put(cairn *store, uint32_t key) {
    return cairn_put(store, &key, sizeof key, value_of(key), SIZE, NULL, NULL);
}

static sim_disk *make_disk(void) {
    sim_disk *disk = sim_new(1);
    cairn *store = NULL;
    assert_int_equal(open_on(disk, &store, NULL), CAIRN_OK);
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(put(store, key), CAIRN_OK);
    }
    assert_int_equal(cairn_close(store), CAIRN_OK);
    return disk;
}

static int train(cairn *store, cairn_train_result *result, cairn_error *error) {
    cairn_train_options o = {.struct_size = sizeof o, .dictionary_bytes = 512};
    *result = (cairn_train_result){.struct_size = sizeof *result};
    return cairn_train(store, &o, result, error);
}

static bool holds_all(cairn *store, uint32_t keys) {
    for (uint32_t key = 0; key < keys; key++) {
        uint8_t got[SIZE];
        size_t size = 0;
        int rc = cairn_get_into(store, &key, sizeof key, got, SIZE, &size, NULL);
        if (rc != CAIRN_OK || size != SIZE || memcmp(got, value_of(key), SIZE) != 0) {
            return finding_note(&found, "get of value %u: %d", key, rc);
        }
    }
    return true;
}

static size_t dictionaries(sim_disk *disk) { return sim_count(disk, "s", ".dic"); }

/* Opens the disk without faults, which it takes over. Everything is there, there is no dictionary but the installed
 * ones, and where that is asked for another training works. */
static void expect_whole(sim_disk *disk, size_t installed_min, bool again, const char *when) {
    cairn *store = NULL;
    cairn_error error = {0};
    cairn_train_result result;
    cairn_verify_result verified = {.struct_size = sizeof verified};
    sim_fault_set(disk, NULL);
    int rc = open_on(disk, &store, &error);
    if (rc == CAIRN_OK) {
        size_t there = dictionaries(disk);
        if (there < installed_min || there > 1) finding_note(&found, "%zu dictionaries", there);
        (void)holds_all(store, KEYS);
        if (again) rc = train(store, &result, &error);
        if (again && rc == CAIRN_OK && dictionaries(disk) != there + result.installed) {
            finding_note(&found, "one is left over");
        }
        if (rc == CAIRN_OK) rc = put(store, KEYS);
        if (rc == CAIRN_OK) rc = cairn_verify(store, NULL, &verified, &error);
        if (verified.damaged != 0) finding_note(&found, "verify finds damage");
        int closed = cairn_close(store);
        if (rc == CAIRN_OK) rc = closed;
    }
    if (rc == CAIRN_OK) rc = open_on(disk, &store, &error);
    if (rc == CAIRN_OK) {
        (void)holds_all(store, KEYS + 1);
        (void)cairn_close(store);
    }
    if (rc != CAIRN_OK) finding_note(&found, "%d %s", rc, error.message);
    if (found.found) finding_add(&found, "\n%s", when);
    sim_free(disk);
}

/* Returns the number of calls that the plan counts. */
static uint64_t train_with_fault(sim_disk *base, const sim_fault *plan) {
    sim_disk *disk = sim_clone(base);
    cairn *store = NULL;
    cairn_error error = {0};
    cairn_train_result result;
    assert_int_equal(open_on(disk, &store, &error), CAIRN_OK);
    sim_fault_set(disk, plan);
    int rc = train(store, &result, &error);
    uint64_t calls = sim_fault_calls(disk);
    bool hit = sim_fault_hits(disk) > 0;
    sim_fault_set(disk, NULL);
    bool of_a_fault = hit && (rc == CAIRN_IO || rc == CAIRN_FULL || rc == CAIRN_FAILED || rc == CAIRN_UNSUPPORTED);
    if (rc != CAIRN_OK && !of_a_fault) finding_note(&found, "train: %d %s", rc, error.message);
    size_t installed = rc == CAIRN_OK && result.installed;
    (void)holds_all(store, KEYS);
    sim_disk *copy = sim_clone(disk);
    expect_whole(sim_crash(copy, plan->nth * 4 + plan->nth % 3), installed, false, "after a power cut");
    expect_whole(sim_kill(copy), installed, false, "after a kill");
    sim_free(copy);
    rc = put(store, KEYS);
    bool failed = rc == CAIRN_FAILED;
    if (rc != CAIRN_OK && !failed) finding_note(&found, "a put afterwards: %d", rc);
    rc = cairn_close(store);
    if (rc != CAIRN_OK && !failed) finding_note(&found, "close: %d", rc);
    if (sim_open_handles(disk) != 0) finding_note(&found, "%zu handles leak", sim_open_handles(disk));
    expect_whole(disk, installed, true, "after a close");
    return calls;
}

static void training_that_meets_a_fault_fails_without_a_trace_or_succeeds(void **state) {
    (void)state;
    static const unsigned scopes[] = {SIM_ALL & ~SIM_READ, SIM_WRITE,  SIM_SYNC, SIM_DIR_SYNC, SIM_RENAME,
                                      SIM_CREATE,          SIM_UNLINK, SIM_OPEN, SIM_READ};
    static const int errors[] = {-EIO, -ENOSPC};
    sim_disk *base = make_disk();
    uint64_t cases = 0, reads_step = rung_choose(101, 307, 1);
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0] && !found.found; i++) {
        uint64_t step = scopes[i] == SIM_READ ? reads_step : 1, calls = UINT64_MAX;
        for (uint64_t nth = 0; nth < calls && !found.found; nth += step) {
            for (unsigned way = 0; way < 4 && !found.found; way++) {
                sim_fault plan = {.kinds = scopes[i], .nth = nth, .error = errors[way % 2], .sticky = way >= 2};
                uint64_t counted = train_with_fault(base, &plan);
                if (way == 0) calls = counted;
                cases++;
                if (found.found)
                    finding_add(&found, "\nfault %d in call %llu of kinds %x", plan.error, (unsigned long long)nth,
                                plan.kinds);
            }
        }
    }
    print_message("%llu cases\n", (unsigned long long)cases);
    sim_free(base);
    if (found.found) fail_msg("%.900s", found.text);
}

static void cut(void *ctx, sim_disk *disk) {
    uint64_t *cuts = ctx;
    sim_disk *copy = sim_clone(disk);
    for (uint64_t seed = 0; seed < 4 && !found.found; seed++) {
        expect_whole(sim_crash(copy, *cuts * 4 + seed), 0, false, "after a power cut");
    }
    if (!found.found) expect_whole(sim_kill(copy), 0, true, "after a kill");
    sim_free(copy);
    ++*cuts;
}

static void a_power_cut_at_any_operation_of_a_training_loses_nothing(void **state) {
    (void)state;
    sim_disk *base = make_disk();
    cairn *store = NULL;
    cairn_train_result result;
    uint64_t cuts = 0;
    assert_int_equal(open_on(base, &store, NULL), CAIRN_OK);
    sim_on_operation(base, cut, &cuts);
    assert_int_equal(train(store, &result, NULL), CAIRN_OK);
    sim_on_operation(base, NULL, NULL);
    assert_true(result.installed);
    assert_true(cuts >= 6);
    if (found.found) fail_msg("operation %llu: %.900s", (unsigned long long)cuts, found.text);
    expect_whole(sim_crash(base, 0), 1, true, "afterwards");
    (void)cairn_close(store); /* of a dead machine */
    sim_free(base);
    if (found.found) fail_msg("%.900s", found.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_that_meets_a_fault_fails_without_a_trace_or_succeeds),
        cmocka_unit_test(a_power_cut_at_any_operation_of_a_training_loses_nothing),
    };
    return cmocka_run_group_tests_name("train_faults", tests, NULL, NULL);
}

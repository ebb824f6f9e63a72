/* The rung of faults: every file call of a history, and of a recovery, fails in each way, once or from then on.
 *
 * CAIRN_RUNG=full goes to 200,000 cases; CAIRN_SEED=n runs all faults of the one history that a failure named. */
#include "tests/support/fault_run.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static finding found;

static void fail_if_found(uint64_t seed) {
    if (!found.found) return;
    fputs(found.text, stderr); /* longer than a message of cmocka may be */
    fail_msg("replay: CAIRN_SEED=%llu", (unsigned long long)seed);
}

static void a_call_that_meets_a_fault_fails_without_a_trace_or_succeeds(void **state) {
    (void)state;
    fault_run run = {.finding = &found};
    uint64_t wanted = rung_choose(9000, 700, 150000), cases = 0, seed = 1;
    bool one = rung_seed(&seed);
    do {
        cases += fault_run_all(&run, seed, NULL);
        fail_if_found(seed++);
    } while (!one && cases < wanted);
    print_message("%llu cases\n", (unsigned long long)cases);
}

static void a_recovery_that_meets_a_fault_loses_nothing(void **state) {
    (void)state;
    fault_run run = {.finding = &found};
    uint64_t wanted = rung_choose(3000, 300, 50000), cases = 0, seed = 1;
    bool one = rung_seed(&seed);
    do {
        fault_base base;
        if (fault_base_make(&base, seed, &found)) cases += fault_run_all(&run, 0, &base);
        fault_base_release(&base);
        fail_if_found(seed++);
    } while (!one && cases < wanted);
    print_message("%llu cases\n", (unsigned long long)cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_meets_a_fault_fails_without_a_trace_or_succeeds),
        cmocka_unit_test(a_recovery_that_meets_a_fault_loses_nothing),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}

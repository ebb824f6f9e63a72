/* Crash states of backups: tests/support/backup_sweep.h says what must hold. CAIRN_SEED replays one history. */
#include "tests/support/backup_sweep.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void whenever_the_power_fails_both_stores_are_whole(void **state) {
    (void)state;
    static finding f;
    uint64_t seed = 1, histories = rung_choose(4, 1, 400);
    if (rung_seed(&seed)) histories = 1;
    backup_sweep s = {.finding = &f, .crashes = 6, .redo_one_in = 12};
    for (uint64_t i = 0; i < histories && !f.found; i++) {
        (void)backup_sweep_run(&s, seed + i);
    }
    if (f.found) {
        fputs(f.text, stderr); /* longer than a message of cmocka may be */
        fail();
    }
    print_message("%llu states, %llu backups made again\n", (unsigned long long)s.states, (unsigned long long)s.redone);
}

static void a_call_that_fails_leaves_one_backup_or_the_other(void **state) {
    (void)state;
    static finding f;
    backup_sweep s = {.finding = &f};
    for (uint64_t seed = 1; seed < rung_choose(3, 2, 50) && !f.found; seed++) {
        (void)backup_sweep_faults(&s, seed, (unsigned)rung_choose(2, 20, 1));
    }
    if (f.found) {
        fputs(f.text, stderr);
        fail();
    }
    print_message("%llu calls failed\n", (unsigned long long)s.states);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whenever_the_power_fails_both_stores_are_whole),
        cmocka_unit_test(a_call_that_fails_leaves_one_backup_or_the_other),
    };
    return cmocka_run_group_tests_name("backup_crash", tests, NULL, NULL);
}

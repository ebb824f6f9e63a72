/* The rung of power cuts: random short histories, cut at every operation of the disk, recovered, cut again.
 *
 * CAIRN_RUNG=full goes to 2 M distinct states; CAIRN_SEED=n sweeps the one history that a failure named. */
#include "tests/support/rung.h"
#include "tests/support/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define FIRST_SEED 1u

static void a_cut_at_any_operation_leaves_a_prefix_of_what_returned_and_all_that_was_durable(void **state) {
    (void)state;
    static finding f;
    sweep s = {.finding = &f, .crashes = 6, .nested_one_in = 40, .onward_one_in = 12};
    uint64_t states = rung_choose(50000, 1000, 2000000), seed = FIRST_SEED;
    bool one = rung_seed(&seed);
    clock_t begin = clock();
    do {
        if (!sweep_history(&s, seed)) {
            fputs(f.text, stderr); /* longer than a message of cmocka may be */
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        seed++;
    } while (!one && s.distinct.count < states);
    print_message(
        "seeds %u to %llu: %llu operations cut, %llu states examined (%zu distinct), %llu cuts of a recovery, "
        "%llu second generations, %.1f s\n",
        one ? (unsigned)seed - 1 : FIRST_SEED, (unsigned long long)seed - 1, (unsigned long long)s.points,
        (unsigned long long)s.examined, s.distinct.count, (unsigned long long)s.nested, (unsigned long long)s.onward,
        (double)(clock() - begin) / CLOCKS_PER_SEC);
    sweep_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_at_any_operation_leaves_a_prefix_of_what_returned_and_all_that_was_durable),
    };
    return cmocka_run_group_tests_name("power_cut", tests, NULL, NULL);
}

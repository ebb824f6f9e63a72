/* A batch at which others meddle: with its keys, with the checkpoint, with what is on the disk.
 * tests/support/meddling.h says what must hold. */
#include "tests/support/meddling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void a_batch_comes_last_and_wholly_whatever_others_do_meanwhile(void **state) {
    (void)state;
    static finding f;
    uint64_t states = meddle_all(&f);
    if (f.found) {
        fputs(f.text, stderr); /* longer than a message of cmocka may be */
        fail();
    }
    print_message("%zu ways to meddle, %llu states\n", meddling_count, (unsigned long long)states);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_comes_last_and_wholly_whatever_others_do_meanwhile),
    };
    return cmocka_run_group_tests_name("batch_crash", tests, NULL, NULL);
}

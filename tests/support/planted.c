#include "tests/support/planted.h"

#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SHOWN_MAX 160 /* of a finding's text, which tells all in many lines */

void planted_sweep(const os *plant, uint64_t first_seed, uint64_t histories, finding *f) {
    sweep s = {.finding = f, .plant = plant, .crashes = 5, .nested_one_in = 40, .onward_one_in = 6};
    for (uint64_t seed = first_seed; seed < first_seed + histories && !f->found; seed++) {
        (void)sweep_history(&s, seed);
    }
    sweep_release(&s);
}

void planted_expect_found(const finding *f) {
    if (!f->found) fail_msg("it is not found");
    size_t line = strcspn(f->text, "\n");
    print_message("  found: %.*s\n", (int)(line < SHOWN_MAX ? line : SHOWN_MAX), f->text);
}

void planted_skip_sanitized(void) {
    if (rung_choose(1, 0, 1) == 0) skip();
}

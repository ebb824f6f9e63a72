#include "tests/support/moving.h"

#include "src/store/store.h"
#include "vlog/punch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

int compact_with(sim_box *b, cairn_compact_options o, cairn_compact_result *result) {
    vlog_give_up_holes(b->store->log);
    o.struct_size = sizeof o;
    *result = (cairn_compact_result){.struct_size = sizeof *result};
    return cairn_compact(b->store, &o, result, NULL);
}

cairn_compact_result compact_all(sim_box *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    cairn_compact_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    vlog_give_up_holes(b->store->log);
    int rc = cairn_compact(b->store, &o, &result, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_compact: %d, %s", rc, error.message);
    return result;
}

void seal(sim_box *b) { sim_box_kill(b); }

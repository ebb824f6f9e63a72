/* Bugs planted between the store and what it stands on, by the linker (tests/CMakeLists.txt, --wrap): each must be
 * found by the rung of power cuts within a few histories, or by meddling with a batch; and without them both find
 * nothing. tests/crash/test_planted_bugs.c plants its bugs under the operating system's table. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/meddling.h"
#include "tests/support/planted.h"
#include "tests/support/rung.h"
#include "vlog/held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIRST_SEED 2000u
#define HISTORIES_MAX 60u

typedef enum bug {
    NO_BUG,
    CHECKPOINTS_FORGET_BATCHES,
    NO_COMMIT,
    COMMIT_BEFORE_THE_PARTS,
    PARTS_COUNT_AT_ONCE,
    REPLACES_IS_IGNORED,
    SNAPSHOTS_ARE_FORGOTTEN,
    EXPIRIES_ARE_FORGOTTEN
} bug;
static bug planted;

/* ---- The linker's wrappers ---- */

int __real_vlog_append(vlog *log, const vlog_record *record, vlog_appended *out, cairn_error *error);
int __wrap_vlog_append(vlog *log, const vlog_record *record, vlog_appended *out, cairn_error *error);
int __real_vlog_append_many(vlog *log, const vlog_record *records, size_t count, vlog_appended *out,
                            cairn_error *error);
int __wrap_vlog_append_many(vlog *log, const vlog_record *records, size_t count, vlog_appended *out,
                            cairn_error *error);
uint64_t __real_store_replay_start(cairn *store);
uint64_t __wrap_store_replay_start(cairn *store);
int __real_held_add(held_parts *held, uint64_t batch, uint64_t replaces, const vlog_event *part);
int __wrap_held_add(held_parts *held, uint64_t batch, uint64_t replaces, const vlog_event *part);
int __real_side_table_record(side_table *t, uint64_t hash, uint64_t newest);
int __wrap_side_table_record(side_table *t, uint64_t hash, uint64_t newest);
int __real_expiry_decode(expiry *x, const uint8_t *bytes, size_t size);
int __wrap_expiry_decode(expiry *x, const uint8_t *bytes, size_t size);

static bool is_part(const vlog_record *r) { return r->type != RECORD_COMMIT && (r->flags & RECORD_BATCH) != 0; }

/* A record of its own, of no batch. */
static vlog_record single(const vlog_record *part) {
    vlog_record r = *part;
    r.flags &= RECORD_COLLIDES;
    r.batch = r.replaces = 0;
    return r;
}

int __wrap_vlog_append(vlog *log, const vlog_record *record, vlog_appended *out, cairn_error *error) {
    vlog_record r = *record;
    if (r.type == RECORD_COMMIT && (planted == NO_COMMIT || planted == PARTS_COUNT_AT_ONCE)) {
        *out = (vlog_appended){.place = r.batch};
        return CAIRN_OK;
    }
    if (is_part(&r) && planted == PARTS_COUNT_AT_ONCE) r = single(record);
    int rc = __real_vlog_append(log, &r, out, error);
    if (rc != CAIRN_OK || planted != COMMIT_BEFORE_THE_PARTS || !is_part(&r) || r.batch != 0) return rc;
    vlog_appended ignored;
    vlog_record early = {.type = RECORD_COMMIT, .flags = RECORD_BATCH, .value_size = 1, .batch = out->place};
    return __real_vlog_append(log, &early, &ignored, error);
}

int __wrap_vlog_append_many(vlog *log, const vlog_record *records, size_t count, vlog_appended *out,
                            cairn_error *error) {
    vlog_record singles[VLOG_APPEND_MANY];
    CHECK(count <= VLOG_APPEND_MANY);
    for (size_t i = 0; i < count; i++) {
        singles[i] = planted == PARTS_COUNT_AT_ONCE ? single(&records[i]) : records[i];
    }
    return __real_vlog_append_many(log, singles, count, out, error);
}

uint64_t __wrap_store_replay_start(cairn *store) {
    return planted == CHECKPOINTS_FORGET_BATCHES ? vlog_next_place(store->log) : __real_store_replay_start(store);
}

int __wrap_held_add(held_parts *held, uint64_t batch, uint64_t replaces, const vlog_event *part) {
    return __real_held_add(held, batch, planted == REPLACES_IS_IGNORED ? 0 : replaces, part);
}

int __wrap_side_table_record(side_table *t, uint64_t hash, uint64_t newest) {
    return planted == SNAPSHOTS_ARE_FORGOTTEN ? CAIRN_OK : __real_side_table_record(t, hash, newest);
}

int __wrap_expiry_decode(expiry *x, const uint8_t *bytes, size_t size) {
    return planted == EXPIRIES_ARE_FORGOTTEN ? CAIRN_OK : __real_expiry_decode(x, bytes, size);
}

/* ---- Finding them ---- */

static void expect_found(bug what, bool by_meddling) {
    static finding f;
    f = (finding){0};
    planted = what;
    if (by_meddling) {
        (void)meddle_all(&f);
    } else {
        planted_sweep(NULL, FIRST_SEED, HISTORIES_MAX, &f);
    }
    planted = NO_BUG;
    planted_expect_found(&f);
}

static void a_checkpoint_that_begins_behind_a_batch_under_way(void **state) {
    (void)state;
    expect_found(CHECKPOINTS_FORGET_BATCHES, true);
}
static void a_commit_that_is_not_written(void **state) {
    (void)state;
    expect_found(NO_COMMIT, false);
}
static void a_commit_before_the_parts(void **state) {
    (void)state;
    expect_found(COMMIT_BEFORE_THE_PARTS, false);
}
static void parts_that_count_without_a_commit(void **state) {
    (void)state;
    expect_found(PARTS_COUNT_AT_ONCE, false);
}
static void parts_that_were_written_again_and_count_twice(void **state) {
    (void)state;
    expect_found(REPLACES_IS_IGNORED, true);
}
static void writers_that_know_of_no_snapshot(void **state) {
    (void)state;
    expect_found(SNAPSHOTS_ARE_FORGOTTEN, false);
}
static void an_opening_that_forgets_what_expires(void **state) {
    (void)state;
    expect_found(EXPIRIES_ARE_FORGOTTEN, false);
}

static void nothing_is_found_where_nothing_is_planted(void **state) {
    (void)state;
    static finding f;
    planted_sweep(NULL, FIRST_SEED, rung_choose(5, 1, 20), &f); /* test_batch_crash.c meddles without bugs */
    if (f.found) fail_msg("%.900s", f.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_that_begins_behind_a_batch_under_way),
        cmocka_unit_test(a_commit_that_is_not_written),
        cmocka_unit_test(a_commit_before_the_parts),
        cmocka_unit_test(parts_that_count_without_a_commit),
        cmocka_unit_test(parts_that_were_written_again_and_count_twice),
        cmocka_unit_test(writers_that_know_of_no_snapshot),
        cmocka_unit_test(an_opening_that_forgets_what_expires),
        cmocka_unit_test(nothing_is_found_where_nothing_is_planted),
    };
    return cmocka_run_group_tests_name("planted_batch_bugs", tests, NULL, NULL);
}

/* Records on their way to the index: each is applied once, those of a shard in their order, by the queue's thread or by
 * the caller. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/replay_queue.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define RECORDS 400000u /* several batches, the last of which is not full */
#define FAILS_AT 300000u

/* The thread's while it applies, the test's before and afterwards. */
typedef struct tester {
    epoch *readers;
    hash_index *index;
    replay_queue *queue;
    uint64_t last_place[HASH_INDEX_SHARDS];
    uint64_t applied, disordered, changed, unlocked, fails_at;
} tester;

static vlog_event event_of(uint64_t place) {
    return (vlog_event){.hash = mix(place),
                        .place = place,
                        .where = place * 3,
                        .expires_at_ms = place * 5,
                        .type = (uint8_t)(place % 7),
                        .flags = (uint8_t)(place % 11)};
}

static int apply(void *ctx, const vlog_event *e, cairn_error *error) {
    tester *t = ctx;
    if (e->place == t->fails_at) return status_set(error, CAIRN_CORRUPT, "record %u", FAILS_AT);
    vlog_event was = event_of(e->place);
    uint64_t *last = &t->last_place[hash_index_shard_of(e->hash)];
    t->applied++;
    t->disordered += e->place <= *last;
    t->changed += e->hash != was.hash || e->where != was.where || e->expires_at_ms != was.expires_at_ms ||
                  e->type != was.type || e->flags != was.flags;
    t->unlocked += hash_index_is_free(t->index, e->hash);
    *last = e->place;
    return CAIRN_OK;
}

static void begin(tester *t, bool no_thread, uint64_t records) {
    *t = (tester){0};
    assert_int_equal(epoch_new(&t->readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&t->index, t->readers), CAIRN_OK);
    replay_queue_options options = {
        .index = t->index, .readers = t->readers, .records = records, .no_thread = no_thread, .apply = apply, .ctx = t};
    assert_int_equal(replay_queue_new(&t->queue, &options), CAIRN_OK);
}

static void end(tester *t) {
    replay_queue_free(t->queue);
    hash_index_free(t->index);
    epoch_free(t->readers);
}

/* Adds so many, from place 1 on, until one is refused. */
static int add(tester *t, uint64_t count, cairn_error *error) {
    int rc = CAIRN_OK;
    for (uint64_t place = 1; rc == CAIRN_OK && place <= count; place++) {
        vlog_event e = event_of(place);
        rc = replay_queue_add(t->queue, &e, error);
    }
    return rc;
}

static void expect_all(tester *t, uint64_t count) {
    assert_int_equal(t->applied, count);
    assert_int_equal(t->disordered, 0);
    assert_int_equal(t->changed, 0);
    assert_int_equal(t->unlocked, 0);
}

static void each_record_is_applied_once_and_those_of_a_shard_in_order(void **state) {
    (void)state;
    for (int no_thread = 0; no_thread < 2; no_thread++) {
        tester t;
        begin(&t, no_thread != 0, RECORDS);
        assert_int_equal(add(&t, RECORDS, NULL), CAIRN_OK);
        assert_int_equal(replay_queue_finish(t.queue, NULL), CAIRN_OK);
        expect_all(&t, RECORDS);
        end(&t);
    }
}

static void more_records_than_were_expected_are_applied_as_well(void **state) {
    (void)state;
    tester t;
    begin(&t, false, 0);
    assert_int_equal(add(&t, 20000, NULL), CAIRN_OK);
    assert_true(t.applied > 0); /* before the end, as memory is not for all of them */
    assert_int_equal(replay_queue_finish(t.queue, NULL), CAIRN_OK);
    expect_all(&t, 20000);
    end(&t);
}

static void a_failure_is_told_with_its_message_and_nothing_is_applied_behind_it(void **state) {
    (void)state;
    for (int no_thread = 0; no_thread < 2; no_thread++) {
        tester t;
        cairn_error error = {0};
        begin(&t, no_thread != 0, RECORDS);
        t.fails_at = FAILS_AT;
        int rc = add(&t, RECORDS, &error);
        if (rc == CAIRN_OK) rc = replay_queue_finish(t.queue, &error);
        assert_int_equal(rc, CAIRN_CORRUPT);
        assert_string_equal(error.message, "record 300000");
        uint64_t applied = t.applied, last = t.last_place[hash_index_shard_of(mix(FAILS_AT))];
        assert_true(last < FAILS_AT);
        end(&t);
        assert_int_equal(t.applied, applied);
    }
}

static void a_queue_without_records_ends_at_once(void **state) {
    (void)state;
    for (int no_thread = 0; no_thread < 2; no_thread++) {
        tester t;
        begin(&t, no_thread != 0, RECORDS);
        assert_int_equal(replay_queue_finish(t.queue, NULL), CAIRN_OK);
        assert_int_equal(replay_queue_finish(t.queue, NULL), CAIRN_OK);
        expect_all(&t, 0);
        end(&t);
    }
}

static void what_waits_when_the_queue_is_freed_is_not_applied(void **state) {
    (void)state;
    tester t;
    begin(&t, false, RECORDS);
    assert_int_equal(add(&t, 100, NULL), CAIRN_OK);
    end(&t);
    assert_int_equal(t.applied, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_is_applied_once_and_those_of_a_shard_in_order),
        cmocka_unit_test(more_records_than_were_expected_are_applied_as_well),
        cmocka_unit_test(a_failure_is_told_with_its_message_and_nothing_is_applied_behind_it),
        cmocka_unit_test(a_queue_without_records_ends_at_once),
        cmocka_unit_test(what_waits_when_the_queue_is_freed_is_not_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

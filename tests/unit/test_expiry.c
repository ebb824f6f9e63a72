/* What expires comes in time, once, and nothing else does; stale entries are given up. */
#include "include/cairn.h"
#include "src/base/codec.h"
#include "src/os/os_thread.h"
#include "src/store/expiry.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state) { return expiry_new((expiry **)state); }

static int teardown(void **state) {
    expiry_free(*state);
    return 0;
}

static location where_of(uint64_t number) { return location_make(number + 1, 1, LOCATION_EXPIRES); }
static uint64_t number_of(location where) { return location_address(where) - 1; }

static void add(expiry *x, uint64_t ms, uint64_t number) {
    expiry_entry e = {.expires_at_ms = ms, .hash = mix(number), .where = where_of(number)};
    assert_int_equal(expiry_reserve(x, e.hash, 1), CAIRN_OK);
    expiry_add(x, &e);
}

/* Takes one that is due; false: none is. */
static bool take(expiry *x, uint64_t now_ms, expiry_entry *e) {
    if (!expiry_due(x, now_ms, e)) return false;
    expiry_remove(x, e, false);
    return true;
}

static void an_empty_one_has_nothing_due(void **state) {
    expiry *x = *state;
    expiry_entry e;
    assert_int_equal(expiry_next_ms(x), EXPIRY_NEVER);
    assert_false(expiry_due(x, UINT64_MAX, &e));
    assert_int_equal(expiry_entries(x), 0);
    assert_false(expiry_is_stale(x));
    assert_true(expiry_bytes(x) < 16 * 1024);
}

static void an_entry_is_due_at_its_time_and_stays_until_removed(void **state) {
    expiry *x = *state;
    expiry_entry e, again;
    add(x, 1000, 5);
    assert_int_equal(expiry_next_ms(x), 1000);
    assert_false(expiry_due(x, 999, &e));
    assert_true(expiry_due(x, 1000, &e));
    assert_int_equal(e.expires_at_ms, 1000);
    assert_int_equal(e.hash, mix(5));
    assert_int_equal(e.where, where_of(5));
    assert_true(expiry_due(x, 1000, &again));
    assert_memory_equal(&e, &again, sizeof e);
    expiry_remove(x, &e, false);
    expiry_remove(x, &e, false); /* it is gone: nothing happens */
    assert_false(expiry_due(x, UINT64_MAX, &e));
    assert_int_equal(expiry_next_ms(x), EXPIRY_NEVER);
    assert_int_equal(expiry_entries(x), 0);
}

static void an_entry_that_is_not_first_any_more_can_be_removed(void **state) {
    expiry *x = *state;
    expiry_entry e, other;
    for (uint64_t number = 0; number < 500; number++)
        add(x, 1000 + number, number);
    assert_true(expiry_due(x, UINT64_MAX, &e));
    for (uint64_t k = 0; k < 5; k++) { /* of the same part, and earlier */
        expiry_entry earlier = {.expires_at_ms = 500 - k, .hash = e.hash, .where = where_of(1000 + k)};
        assert_int_equal(expiry_reserve(x, e.hash, 1), CAIRN_OK);
        expiry_add(x, &earlier);
    }
    expiry_remove(x, &e, false);
    assert_int_equal(expiry_entries(x), 504);
    while (take(x, UINT64_MAX, &other))
        assert_int_not_equal(other.where, e.where);
    assert_int_equal(expiry_entries(x), 0);
}

/* The plain model: an array of times by number. */
static void random_entries_come_once_and_in_time(void **state) {
    expiry *x = *state;
    enum { NUMBERS = 20000 };
    uint64_t *times = calloc(NUMBERS, sizeof *times), now = 1000, left = 0, added = 0;
    assert_non_null(times);
    for (uint64_t step = 0; added < NUMBERS || left > 0; step++) {
        for (unsigned k = 0; k < mix(step) % 200 && added < NUMBERS; k++, added++, left++) {
            times[added] = now + mix(added * 3) % 5000 * (added % 2); /* half of them at one time */
            add(x, times[added], added);
        }
        now += mix(step * 7) % 100;
        uint64_t next = EXPIRY_NEVER;
        for (expiry_entry e; take(x, now, &e); left--) {
            assert_true(e.expires_at_ms <= now);
            assert_int_equal(times[number_of(e.where)], e.expires_at_ms);
            assert_int_equal(e.hash, mix(number_of(e.where)));
            times[number_of(e.where)] = 0;
        }
        for (uint64_t number = 0; number < added && step % 16 == 0; number++) {
            if (times[number] != 0 && times[number] < next) next = times[number];
        }
        if (step % 16 == 0) assert_int_equal(expiry_next_ms(x), next);
        assert_true(expiry_next_ms(x) > now);
        assert_int_equal(expiry_entries(x), left);
    }
    for (uint64_t number = 0; number < NUMBERS; number++)
        assert_int_equal(times[number], 0);
    free(times);
}

static void room_that_was_set_aside_is_there_whatever_others_add(void **state) {
    expiry *x = *state;
    expiry_entry e = {.expires_at_ms = 1, .hash = 3, .where = where_of(1)};
    assert_int_equal(expiry_reserve(x, 3, 1000), CAIRN_OK);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(expiry_reserve(x, 3, 1), CAIRN_OK);
        expiry_add(x, &e);
    }
    uint64_t bytes = expiry_bytes(x);
    for (unsigned i = 0; i < 900; i++)
        expiry_add(x, &e);
    expiry_unreserve(x, 3, 100);
    assert_int_equal(expiry_bytes(x), bytes);
    assert_int_equal(expiry_entries(x), 3900);
}

static void more_room_than_memory_is_refused_and_changes_nothing(void **state) {
    expiry *x = *state;
    add(x, 10, 1);
    uint64_t bytes = expiry_bytes(x);
    assert_int_equal(expiry_reserve(x, mix(1), SIZE_MAX), CAIRN_NO_MEMORY);
    assert_int_equal(expiry_reserve(x, mix(1), (size_t)1 << 40), CAIRN_NO_MEMORY);
    assert_int_equal(expiry_bytes(x), bytes);
    expiry_entry e;
    assert_true(take(x, 10, &e));
}

/* ---- Stale entries ---- */

typedef struct asked {
    uint64_t modulus, calls;
    expiry *x; /* not NULL: entries come and go while it is asked */
    uint64_t next;
} asked;

/* Every modulus-th is still there. */
static bool still(void *ctx, uint64_t hash, location where) {
    asked *a = ctx;
    assert_int_equal(hash, mix(number_of(where)));
    a->calls++;
    if (a->x != NULL && a->calls % 3 == 0) add(a->x, 5 + a->next % 50, a->modulus * a->next);
    if (a->x != NULL && a->calls % 3 == 0) a->next++;
    return number_of(where) % a->modulus == 0;
}

static void it_is_stale_when_most_and_many_entries_are(void **state) {
    expiry *x = *state;
    for (uint64_t number = 0; number < 3000; number++)
        add(x, 1000 + number, number);
    for (unsigned i = 0; i < 1500; i++)
        expiry_superseded(x);
    assert_false(expiry_is_stale(x));
    expiry_superseded(x);
    assert_true(expiry_is_stale(x));
    expiry_entry e;
    assert_true(expiry_due(x, 1000000, &e));
    expiry_remove(x, &e, true);
    assert_true(expiry_is_stale(x)); /* 1500 of 2999 */
    assert_true(expiry_due(x, 1000000, &e));
    expiry_remove(x, &e, true);
    assert_false(expiry_is_stale(x));
}

static void a_few_stale_entries_are_left_alone(void **state) {
    expiry *x = *state;
    for (uint64_t number = 0; number < 1000; number++)
        add(x, 1000, number);
    for (unsigned i = 0; i < 1000; i++)
        expiry_superseded(x);
    assert_false(expiry_is_stale(x));
}

static void compaction_removes_what_is_stale_and_its_memory(void **state) {
    expiry *x = *state;
    expiry_entry e;
    for (uint64_t number = 0; number < 50000; number++)
        add(x, 1 + mix(number) % 100000, number);
    for (unsigned i = 0; i < 45000; i++)
        expiry_superseded(x);
    assert_true(expiry_is_stale(x));
    assert_true(expiry_bytes(x) >= 50000 * 24);
    asked a = {.modulus = 10};
    expiry_compact(x, still, &a);
    assert_int_equal(a.calls, 50000);
    assert_int_equal(expiry_entries(x), 5000);
    assert_false(expiry_is_stale(x));
    assert_true(expiry_bytes(x) < 5000 * 24 * 3 / 2 + 16 * 1024);
    uint64_t count = 0, before = 0;
    for (uint64_t now = expiry_next_ms(x); now != EXPIRY_NEVER; now = expiry_next_ms(x)) { /* still in order */
        assert_true(take(x, now, &e));
        assert_int_equal(e.expires_at_ms, now);
        assert_true(now >= before);
        before = now;
        assert_int_equal(number_of(e.where) % 10, 0);
        count++;
    }
    assert_int_equal(count, 5000);
}

static void compaction_leaves_room_that_was_set_aside(void **state) {
    expiry *x = *state;
    for (uint64_t number = 0; number < 5000; number++)
        add(x, 1000, number * 2 + 1); /* all stale */
    assert_int_equal(expiry_reserve(x, 3, 300), CAIRN_OK);
    asked a = {.modulus = 2};
    expiry_compact(x, still, &a);
    assert_int_equal(expiry_entries(x), 0);
    uint64_t bytes = expiry_bytes(x);
    for (unsigned i = 0; i < 300; i++)
        expiry_add(x, &(expiry_entry){.expires_at_ms = 1, .hash = 3, .where = where_of(i)});
    assert_int_equal(expiry_bytes(x), bytes);
}

static void entries_added_during_a_compaction_are_kept(void **state) {
    expiry *x = *state;
    expiry_entry e;
    for (uint64_t number = 0; number < 5000; number++)
        add(x, 1000 + number, number * 2 + 1); /* all stale */
    asked a = {.modulus = 2, .x = x, .next = 1};
    expiry_compact(x, still, &a);
    uint64_t kept = 0, stale = 0;
    while (take(x, UINT64_MAX, &e)) {
        kept += number_of(e.where) % 2 == 0;
        stale += number_of(e.where) % 2 != 0;
    }
    assert_int_equal(kept, a.next - 1);
    assert_true(stale < 2500); /* those that the new ones moved may be passed over */
}

/* ---- Encoding ---- */

static void what_is_encoded_comes_back_from_decoding(void **state) {
    expiry *x = *state;
    for (uint64_t number = 0; number < 3000; number++)
        add(x, 1 + mix(number) % 1000, number);
    uint8_t *bytes = NULL;
    size_t size = 0;
    assert_int_equal(expiry_encode(x, 5, &bytes, &size), CAIRN_OK);
    assert_int_equal(size, 5 + 8 + 3000 * 24);
    assert_int_equal(le64_get(bytes + 5), 3000);
    expiry *copy = NULL;
    assert_int_equal(expiry_new(&copy), CAIRN_OK);
    assert_int_equal(expiry_decode(copy, bytes + 5, size - 5), CAIRN_OK);
    free(bytes);
    assert_int_equal(expiry_entries(copy), 3000);
    bool seen[3000] = {false};
    expiry_entry e;
    while (take(copy, UINT64_MAX, &e)) {
        uint64_t number = number_of(e.where);
        assert_true(number < 3000 && !seen[number]);
        assert_int_equal(e.expires_at_ms, 1 + mix(number) % 1000);
        assert_int_equal(e.hash, mix(number));
        seen[number] = true;
    }
    for (unsigned i = 0; i < 3000; i++)
        assert_true(seen[i]);
    expiry_free(copy);
}

static void an_empty_one_is_encoded_in_eight_bytes(void **state) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    assert_int_equal(expiry_encode(*state, 0, &bytes, &size), CAIRN_OK);
    assert_int_equal(size, 8);
    assert_int_equal(expiry_decode(*state, bytes, size), CAIRN_OK);
    assert_int_equal(expiry_entries(*state), 0);
    free(bytes);
}

static void put_entry(uint8_t *p, uint64_t ms, uint64_t hash, location where) {
    le64_put(p, ms);
    le64_put(p + 8, hash);
    le64_put(p + 16, where);
}

static void nonsense_is_refused_and_adds_nothing(void **state) {
    expiry *x = *state;
    uint8_t good[8 + 2 * 24], bad[sizeof good + 1] = {0};
    le64_put(good, 2);
    put_entry(good + 8, 100, 1, where_of(1));
    put_entry(good + 32, 50, 2, where_of(2));
    for (size_t size = 0; size < sizeof good; size++) {
        uint8_t *exact = malloc(size + (size == 0)); /* so that a read behind it is seen by the address sanitizer */
        assert_non_null(exact);
        memcpy(exact, good, size);
        assert_int_equal(expiry_decode(x, exact, size), CAIRN_CORRUPT);
        free(exact);
    }
    memcpy(bad, good, sizeof good);
    assert_int_equal(expiry_decode(x, bad, sizeof bad), CAIRN_CORRUPT); /* a byte too many */
    const uint64_t counts[] = {0, 1, 3, UINT64_MAX, UINT64_MAX / 24, UINT64_MAX / 24 + 3, (uint64_t)1 << 61};
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        le64_put(bad, counts[i]);
        assert_int_equal(expiry_decode(x, bad, sizeof good), CAIRN_CORRUPT);
    }
    le64_put(bad, 2);
    put_entry(bad + 32, 0, 2, where_of(2)); /* never expires */
    assert_int_equal(expiry_decode(x, bad, sizeof good), CAIRN_CORRUPT);
    put_entry(bad + 32, 50, 2, LOCATION_NONE);
    assert_int_equal(expiry_decode(x, bad, sizeof good), CAIRN_CORRUPT);
    put_entry(bad + 32, 50, 2, (uint64_t)LOCATION_EXPIRES << 60); /* no address */
    assert_int_equal(expiry_decode(x, bad, sizeof good), CAIRN_CORRUPT);
    put_entry(bad + 32, 50, 2, location_make(2, 1, LOCATION_VALUE)); /* a record without expiry */
    assert_int_equal(expiry_decode(x, bad, sizeof good), CAIRN_CORRUPT);
    assert_int_equal(expiry_entries(x), 0);
    assert_int_equal(expiry_next_ms(x), EXPIRY_NEVER);
    assert_int_equal(expiry_decode(x, good, sizeof good), CAIRN_OK);
    assert_int_equal(expiry_next_ms(x), 50);
}

/* ---- Threads ---- */

#define ADDERS 2u
#define ADDED 15000u

typedef struct race {
    expiry *x;
    _Atomic uint64_t live_seen, stale_seen, wrong;
    _Atomic int stop;
} race;

typedef struct adder {
    race *r;
    uint64_t first;
} adder;

/* Numbers that are multiples of 4 are live, all others stale from the start. */
static bool is_live(void *ctx, uint64_t hash, location where) {
    race *r = ctx;
    if (hash != mix(number_of(where))) atomic_fetch_add(&r->wrong, 1);
    return number_of(where) % 4 == 0;
}

static void *add_many(void *arg) {
    adder *a = arg;
    for (uint64_t number = a->first; number < a->first + ADDED; number++) {
        expiry_entry e = {.expires_at_ms = 1 + mix(number) % 100, .hash = mix(number), .where = where_of(number)};
        if (expiry_reserve(a->r->x, e.hash, 2) != CAIRN_OK) {
            atomic_fetch_add(&a->r->wrong, 1);
            continue;
        }
        expiry_add(a->r->x, &e);
        expiry_unreserve(a->r->x, e.hash, 1);
        if (number % 4 != 0) expiry_superseded(a->r->x);
    }
    return NULL;
}

static void *reap(void *arg) {
    race *r = arg;
    expiry_entry e;
    for (;;) {
        bool last = atomic_load(&r->stop);
        while (expiry_due(r->x, 100, &e)) {
            bool live = is_live(r, e.hash, e.where);
            expiry_remove(r->x, &e, !live);
            atomic_fetch_add(live ? &r->live_seen : &r->stale_seen, 1);
        }
        if (last) return NULL;
        os_yield();
    }
}

static void *compact_and_encode(void *arg) {
    race *r = arg;
    while (!atomic_load(&r->stop)) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        expiry_compact(r->x, is_live, r);
        if (expiry_encode(r->x, 0, &bytes, &size) != CAIRN_OK || size != 8 + 24 * le64_get(bytes)) {
            atomic_fetch_add(&r->wrong, 1);
        }
        free(bytes);
    }
    return NULL;
}

static void no_live_entry_is_lost_among_threads(void **state) {
    race r = {.x = *state};
    adder adders[ADDERS];
    os_thread adding[ADDERS], reaping, compacting;
    for (unsigned i = 0; i < ADDERS; i++) {
        adders[i] = (adder){&r, (uint64_t)i << 20};
        assert_int_equal(os_thread_start(&adding[i], add_many, &adders[i]), 0);
    }
    assert_int_equal(os_thread_start(&reaping, reap, &r), 0);
    assert_int_equal(os_thread_start(&compacting, compact_and_encode, &r), 0);
    for (unsigned i = 0; i < ADDERS; i++)
        os_thread_join(&adding[i]);
    atomic_store(&r.stop, 1);
    os_thread_join(&reaping);
    os_thread_join(&compacting);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_int_equal(atomic_load(&r.live_seen), ADDERS * ADDED / 4);
    assert_true(atomic_load(&r.stale_seen) <= ADDERS * ADDED * 3 / 4);
    assert_int_equal(expiry_entries(r.x), 0);
    assert_int_equal(expiry_next_ms(r.x), EXPIRY_NEVER);
    assert_false(expiry_is_stale(r.x));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(an_empty_one_has_nothing_due),
        TEST(an_entry_is_due_at_its_time_and_stays_until_removed),
        TEST(an_entry_that_is_not_first_any_more_can_be_removed),
        TEST(random_entries_come_once_and_in_time),
        TEST(room_that_was_set_aside_is_there_whatever_others_add),
        TEST(more_room_than_memory_is_refused_and_changes_nothing),
        TEST(it_is_stale_when_most_and_many_entries_are),
        TEST(a_few_stale_entries_are_left_alone),
        TEST(compaction_removes_what_is_stale_and_its_memory),
        TEST(compaction_leaves_room_that_was_set_aside),
        TEST(entries_added_during_a_compaction_are_kept),
        TEST(what_is_encoded_comes_back_from_decoding),
        TEST(an_empty_one_is_encoded_in_eight_bytes),
        TEST(nonsense_is_refused_and_adds_nothing),
        TEST(no_live_entry_is_lost_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The rung of allocations: each one that the library makes fails in turn, alone and with all that follow it in the
 * call.
 *
 * A call then returns CAIRN_NO_MEMORY and has changed nothing, or succeeds all the same; the next call works; and after
 * a close or a kill the store holds what was acknowledged, no more and no less. That nothing leaks is shown by the
 * build with the address sanitizer.
 *
 * CAIRN_SEED=n runs one random sequence alone.
 */
#include "tests/support/rung.h"
#include "tests/support/starved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ALL UINT64_MAX

/* ---- Each act alone ---- */

static const specimen_plan plans[] = {
    {.name = "killed", .hash_mask = UINT64_MAX, .checkpoint = true},
    {.name = "closed", .hash_mask = UINT64_MAX, .closed = true},
    {.name = "killed, no checkpoint, all hashes collide", .hash_mask = 0},
    {.name = "closed, hashes collide", .hash_mask = (uint64_t)1 << 63, .closed = true, .checkpoint = true},
    {.name = "killed, value files", .hash_mask = UINT64_MAX, .files = true, .checkpoint = true},
    {.name = "closed, value files, long value and key", .hash_mask = 1, .closed = true, .files = true, .large = true},
};
#define PLANS (sizeof plans / sizeof plans[0])

static specimen specimens[PLANS];

static int make_specimens(void **state) {
    (void)state;
    for (size_t i = 0; i < PLANS; i++)
        specimen_make(&specimens[i], &plans[i], 200 + i);
    return 0;
}

static int release_specimens(void **state) {
    (void)state;
    for (size_t i = 0; i < PLANS; i++)
        specimen_release(&specimens[i]);
    return 0;
}

static void fail_on(const finding *f) {
    if (!f->found) return;
    fputs(f->text, stderr); /* longer than a message of cmocka may be */
    fail();
}

/* The allocation of that number fails, or all from it on. Returns whether there was one. */
static bool fail_one(const specimen *s, const act *a, uint64_t seed, uint64_t number, bool sticky, finding *f) {
    starved b;
    starved_init(&b, s, seed, f);
    starved_open(&b);
    /* So that the act meets a session under way. */
    if (seed % 3 == 1) starved_perform(&b, &acts[ACT_PUT_NEW]);
    for (unsigned i = 0; seed % 3 == 2 && i < 4; i++)
        starved_perform(&b, &acts[ACT_PUT_MUCH]);
    uint64_t rng = b.rng;
    memory_plan(number, sticky ? ALL : 1);
    starved_perform(&b, a);
    bool there = memory_failures() > 0;
    memory_plan(0, 0);
    b.rng = rng;
    starved_perform(&b, a);
    starved_finish(&b, (number + seed) % 2 == 0);
    if (f->found)
        finding_add(f, "\n%s, store '%s', seed %llu: allocation %llu fails%s\n", a->name, s->plan.name,
                    (unsigned long long)seed, (unsigned long long)number, sticky ? ", and all after it" : "");
    return there;
}

static void each_allocation_of_each_call_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    uint64_t cases = 0, seeds = rung_choose(2, 1, 60);
    /* Sanitized, an allocation fails alone or with all after it by turns: here so, in the next store the other way. */
    bool by_turns = rung_choose(0, 1, 0) != 0;
    clock_t begin = clock();
    for (size_t i = 0; i < ACTS * PLANS * seeds && !f.found; i++) {
        const specimen *s = &specimens[i % PLANS];
        const act *a = &acts[i / PLANS % ACTS];
        uint64_t seed = i / PLANS / ACTS;
        bool there = true;
        for (uint64_t n = 0; there && !f.found; n++) {
            for (unsigned way = 0; way < 2 && !f.found; way++) {
                if (by_turns && way != (i + n) % 2) continue;
                there = fail_one(s, a, seed, n, way == 1, &f);
                cases += there;
            }
        }
    }
    print_message("%llu cases, %.1f s\n", (unsigned long long)cases, (double)(clock() - begin) / CLOCKS_PER_SEC);
    fail_on(&f);
}

static void growth_of_an_index_shard_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    static specimen s;
    specimen_plan plan = {.name = "one shard", .hash_mask = UINT64_MAX >> 10, .closed = true};
    specimen_make(&s, &plan, 300);
    for (uint64_t n = 0; !f.found && fail_one(&s, &act_growth, 0, n, false, &f); n++)
        ;
    specimen_release(&s);
    fail_on(&f);
}

static void training_a_dictionary_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    uint64_t cases = 0, step = rung_choose(11, 60, 1), n = 0;
    for (; !f.found && fail_one(&specimens[1], &act_train, 0, n, n % 2 == 1, &f); n += step)
        cases++;
    print_message("%llu of %llu allocations\n", (unsigned long long)cases, (unsigned long long)n);
    fail_on(&f);
}

/* ---- Sequences ---- */

/* A random sequence in which the allocations from that number on fail, a few of them. Returns whether there were any.
 */
static bool fail_in_sequence(uint64_t seed, uint64_t number, uint64_t failures, finding *f) {
    starved b;
    uint64_t rng = seed * 1000 + 7;
    const specimen *s = &specimens[seed % PLANS];
    starved_init(&b, s, seed, f);
    starved_open(&b);
    memory_plan(number, failures);
    char trace[400] = "";
    for (unsigned i = 0; i < 10 && !f->found; i++) {
        const act *a = &acts[random_below(&rng, ACTS)];
        size_t used = strlen(trace);
        starved_perform(&b, a);
        (void)snprintf(trace + used, sizeof trace - used, "%s%s, ", a->name, memory_failures() > 0 ? " (failing)" : "");
    }
    bool there = memory_failures() > 0;
    starved_finish(&b, (number + seed) % 2 == 0);
    if (f->found)
        finding_add(f, "\nstore '%s', CAIRN_SEED=%llu, allocation %llu and %llu more fail: %s\n", s->plan.name,
                    (unsigned long long)seed, (unsigned long long)number, (unsigned long long)failures - 1, trace);
    return there;
}

static void any_allocation_in_a_random_sequence_fails_without_a_trace(void **state) {
    (void)state;
    static finding f;
    uint64_t cases = 0, wanted = rung_choose(5000, 250, 50000), seed = 1;
    uint64_t step = rung_choose(1, 11, 1); /* so that sanitized it meets more sequences than one or two */
    bool one = rung_seed(&seed);
    clock_t begin = clock();
    for (; cases < wanted && !f.found; seed++) {
        for (uint64_t n = seed % step; !f.found && fail_in_sequence(seed, n, 1 + (n + seed) % 3 * 5, &f); n += step)
            cases++;
        if (one) break;
    }
    print_message("%llu cases, %.1f s\n", (unsigned long long)cases, (double)(clock() - begin) / CLOCKS_PER_SEC);
    fail_on(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_each_call_fails_without_a_trace),
        cmocka_unit_test(growth_of_an_index_shard_fails_without_a_trace),
        cmocka_unit_test(training_a_dictionary_fails_without_a_trace),
        cmocka_unit_test(any_allocation_in_a_random_sequence_fails_without_a_trace),
    };
    return cmocka_run_group_tests_name("allocations", tests, make_specimens, release_specimens);
}

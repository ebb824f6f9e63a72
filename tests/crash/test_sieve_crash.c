/* Sieving, which copies what is small out of segments and punches holes behind it, while it stays in them as well: at
 * each operation of the disk the machine dies, and dies once more in the recovery. Whatever is left has every value and
 * no deleted one, with the newest checkpoint or without any, and can be sieved again. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/bulk.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CRASHES 4u /* states after each operation, besides that of a killed process */

typedef struct sweep {
    const sim_box *box; /* whose disk it is */
    uint64_t rng, operations, states, one_in;
} sweep;

static cairn_compact_result sieve(sim_box *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .min_garbage_ratio = MIXED_RATIO};
    cairn_compact_result r = {.struct_size = sizeof r};
    cairn_error error = {0};
    int rc = cairn_compact(b->store, &o, &r, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_compact: %d, %s", rc, error.message);
    return r;
}

static sim_disk *die_once_more(const sim_box *b, sim_disk *disk, uint64_t *rng) {
    cairn *store = NULL;
    sim_cut_at(disk, random_below(rng, 30));
    if (store_open_on(&store, sim_os(disk), SIM_BOX_STORE, &b->options, b->hash_mask, NULL) == CAIRN_OK) {
        (void)cairn_close(store);
    }
    sim_disk *left = sim_crash(disk, random_next(rng));
    sim_free(disk);
    return left;
}

static void look_at(sweep *s, sim_disk *disk) {
    if (random_one_in(&s->rng, 3)) disk = die_once_more(s->box, disk, &s->rng);
    sim_box b = {.disk = disk, .options = s->box->options, .hash_mask = s->box->hash_mask};
    sim_box_open(&b);
    expect_mixed(&b);
    if (random_one_in(&s->rng, 4)) (void)sieve(&b);
    if (random_one_in(&s->rng, 2)) sim_box_rebuild(&b);
    expect_mixed(&b);
    assert_int_equal(verify_damage(b.store), 0);
    sim_box_close(&b);
    sim_free(b.disk);
    s->states++;
}

static void at_operation(void *ctx, sim_disk *disk) {
    sweep *s = ctx;
    if (s->operations++ % s->one_in != 0) return;
    for (unsigned i = 0; i <= CRASHES; i++) {
        look_at(s, sim_left(disk, i, CRASHES, &s->rng));
    }
}

static void sieving_loses_nothing_and_brings_nothing_back_wherever_it_is_cut(void **state) {
    sim_box *b = *state;
    sweep s = {.box = b, .rng = 1, .one_in = rung_choose(1, 10, 1)};
    put_mixed(b);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK); /* else a power cut may rightly undo it */
    sim_on_operation(b->disk, at_operation, &s);
    cairn_compact_result r = sieve(b);
    sim_on_operation(b->disk, NULL, NULL);
    print_message("%llu operations, %llu states\n", (unsigned long long)s.operations, (unsigned long long)s.states);
    assert_in_range(r.bytes_moved, 1, BULK_BYTES * MIXED_LARGE / 4); /* it was sieved */
    assert_true(s.operations > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        sieving_loses_nothing_and_brings_nothing_back_wherever_it_is_cut, sim_box_setup, sim_box_teardown)};
    return cmocka_run_group_tests_name("sieve_crash", tests, NULL, NULL);
}

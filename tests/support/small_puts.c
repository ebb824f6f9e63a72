#include "tests/support/small_puts.h"

#include "tests/support/bulk.h"
#include "tests/support/rung.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void put_small(sim_box *b, unsigned from, unsigned to) {
    char key[16];
    for (unsigned i = from; i < to; i++) {
        bulk_key(key, "small", i);
        put_text(b->store, key, random_pool() + i, SMALL_BYTES);
    }
}

void expect_small(sim_box *b, unsigned from, unsigned to) {
    char key[16];
    for (unsigned i = from; i < to; i++) {
        bulk_key(key, "small", i);
        expect_get(b->store, key, strlen(key), random_pool() + i, SMALL_BYTES);
    }
}

size_t newest_segment(const sim_box *b, size_t *zeros) {
    char names[64][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, 64), size = 0, last = 64;
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") != NULL && (last == 64 || strcmp(names[i], names[last]) > 0)) last = i;
    }
    assert_true(last < 64);
    uint8_t *content = sim_file_read(b->disk, SIM_BOX_STORE, names[last], &size);
    size_t used = size;
    while (used > 0 && content[used - 1] == 0)
        used--;
    *zeros = size - used;
    free(content);
    return size;
}

size_t zeros_ahead(const sim_box *b) {
    size_t zeros;
    (void)newest_segment(b, &zeros);
    return zeros;
}

void small_closes_without_zeros(sim_box *b, unsigned count) {
    assert_true(zeros_ahead(b) >= BLOCK_BYTES);
    sim_box_close(b);
    assert_true(zeros_ahead(b) < BLOCK_BYTES);
    uint64_t before = sim_operations(b->disk);
    b->options.read_only = true;
    b->options.create = false;
    sim_box_open(b); /* which changes nothing, so there was nothing to repair either */
    expect_small(b, 0, count);
    assert_int_equal(sim_operations(b->disk), before);
}

static void count_warnings(void *ctx, int level, const char *message) {
    (void)message;
    if (level <= CAIRN_LOG_WARNING) ++*(unsigned *)ctx;
}

void small_comes_back_quietly(sim_box *b, unsigned count) {
    unsigned warnings = 0;
    assert_true(zeros_ahead(b) >= BLOCK_BYTES);
    b->options.log = count_warnings;
    b->options.log_ctx = &warnings;
    sim_box_kill(b);
    assert_int_equal(warnings, 0);
    expect_small(b, 0, count);
    b->options.log = NULL;
    sim_box_close(b); /* its handle has the counter */
}

/* ---- Wherever it dies ---- */

#define CRASHES 4u /* states after each operation, besides that of a killed process */

static void look_at(small_sweep *s, sim_disk *disk, unsigned there) {
    sim_box b = {.disk = disk, .options = s->box->options, .hash_mask = s->box->hash_mask};
    unsigned from = there - (there < s->looks ? there : s->looks);
    sim_box_open(&b);
    expect_small(&b, from, there);
    put_small(&b, there, there + 2);
    if (random_one_in(&s->rng, 2)) sim_box_rebuild(&b);
    expect_small(&b, from, there + 2);
    assert_int_equal(verify_damage(b.store), 0);
    sim_box_close(&b);
    sim_free(b.disk);
}

static void at_operation(void *ctx, sim_disk *disk) {
    small_sweep *s = ctx;
    s->operations++;
    for (unsigned i = 0; i <= CRASHES; i++) {
        look_at(s, sim_left(disk, i, CRASHES, &s->rng), i == CRASHES ? s->returned : s->durable);
    }
}

void small_sweep_begin(small_sweep *s, sim_box *b) {
    s->box = b;
    s->rng = 1;
    s->operations = 0;
    sim_on_operation(b->disk, at_operation, s);
}

void small_sweep_end(const small_sweep *s) { sim_on_operation(s->box->disk, NULL, NULL); }

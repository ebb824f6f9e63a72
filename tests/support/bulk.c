#include "tests/support/bulk.h"

#include "tests/support/rung.h"

#include <stdio.h>
#include <string.h>

void bulk_key(char key[16], const char *kind, unsigned i) { (void)snprintf(key, 16, "%s%u", kind, i); }

void put_bulk(sim_box *b, const char *kind, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char key[16];
        bulk_key(key, kind, i);
        put_text(b->store, key, random_pool() + i, BULK_BYTES);
    }
}

void expect_bulk(sim_box *b, const char *kind, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char key[16];
        bulk_key(key, kind, i);
        expect_get(b->store, key, strlen(key), random_pool() + i, BULK_BYTES);
    }
}

void delete_bulk(sim_box *b, const char *kind, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char key[16];
        bulk_key(key, kind, i);
        delete_text(b->store, key);
    }
}

static void small_key(char key[16], unsigned i) { bulk_key(key, "small", i); }
static bool small_lives(unsigned i) { return i % 4 == 0; }

void put_mixed(sim_box *b) {
    const unsigned between = MIXED_SMALL / MIXED_LARGE;
    char key[16];
    for (unsigned i = 0; i < MIXED_SMALL; i++) {
        if (i % between == 0) put_bulk(b, "large", i / between, i / between + 1);
        small_key(key, i);
        put_text(b->store, key, random_pool() + i, MIXED_SMALL_BYTES);
    }
    for (unsigned i = 0; i < MIXED_SMALL; i++) {
        small_key(key, i);
        if (!small_lives(i)) delete_text(b->store, key);
    }
}

void expect_mixed(sim_box *b) {
    char key[16];
    expect_bulk(b, "large", 0, MIXED_LARGE);
    for (unsigned i = 0; i < MIXED_SMALL; i++) {
        small_key(key, i);
        if (small_lives(i)) expect_get(b->store, key, strlen(key), random_pool() + i, MIXED_SMALL_BYTES);
        if (!small_lives(i)) expect_absent(b->store, key);
    }
}

void come_back(sim_box *b, int way) {
    if (way == KILLED) sim_box_kill(b);
    if (way == REOPENED) sim_box_reopen(b);
    if (way == CUT) sim_box_crash(b, 0);
    if (way == REBUILT) sim_box_rebuild(b);
}

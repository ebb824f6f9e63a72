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

void come_back(sim_box *b, int way) {
    if (way == KILLED) sim_box_kill(b);
    if (way == REOPENED) sim_box_reopen(b);
    if (way == CUT) sim_box_crash(b, 0);
    if (way == REBUILT) sim_box_rebuild(b);
}

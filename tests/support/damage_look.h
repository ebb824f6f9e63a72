/* What an open store, made of a damaged specimen, gives to those who ask: each function compares one way to read with
 * what the damage allows, and returns false when it found something. */
#ifndef CAIRN_TESTS_DAMAGE_LOOK_H
#define CAIRN_TESTS_DAMAGE_LOOK_H

#include "tests/support/damage.h"
#include "tests/support/finding.h"

typedef struct seen {
    int rc;
    void *bytes;
    size_t size;
} seen;

typedef struct look {
    const specimen *s;
    const damage *d;
    cairn *store;
    size_t row; /* that the store holds */
    seen keys[SPECIMEN_KEYS];
    unsigned corrupt; /* keys that are */
    uint64_t damaged; /* places, as verification counts them */
    finding *f;
} look;

/* First of all: fills keys and finds the row. */
bool look_by_get(look *l);
/* Every other way to read must agree with it. */
bool look_otherwise(look *l, uint64_t *rng);
bool look_by_scan(look *l);
bool look_by_verify(look *l);
void look_release(look *l);

#endif

/* Inside tests/support/model_run.h: what the kinds of steps share. Functions that return bool return false once
 * something is found. */
#ifndef CAIRN_TESTS_MODEL_STEPS_H
#define CAIRN_TESTS_MODEL_STEPS_H

#include "tests/support/model_run.h"

/* ---- model_run.c ---- */

typedef struct key_bytes {
    const uint8_t *bytes;
    size_t size;
    uint8_t small[8];
} key_bytes;
void key_of(size_t key, key_bytes *k);

size_t any_key(model_run *r);
model_value any_value(model_run *r);
uint64_t any_ttl(model_run *r);
/* Conditions, mostly none, sometimes a time to live; and what they make of the call. */
cairn_put_options any_options(model_run *r, size_t key, bool deletes);
int judge_options(const model_run *r, const cairn_put_options *o, size_t key);

bool is_code(model_run *r, int rc, int expected, const char *call, size_t key, const cairn_error *error);
bool is_same(model_run *r, const char *call, size_t key, const void *got, size_t got_size, const uint8_t *bytes,
             size_t size);

/* Gets any key: of the store, or of a snapshot, which holds what the model `m` says. */
bool get_agrees(model_run *r, const model *m, cairn_snapshot *snapshot);

void any_range(model_run *r, size_t size, uint64_t *offset, size_t *len); /* mostly inside, sometimes over the end */
size_t in_range(const model_value *v, uint64_t offset, size_t len);

/* ---- model_change.c ---- */

uint64_t wall_clock(const model_run *r);
/* The model's side of a change that returned. Keys that are changed together have one `change`. */
uint64_t next_change(model_run *r);
void keep_put(model_run *r, uint64_t change, size_t key, const model_value *v);
void keep_delete(model_run *r, uint64_t change, size_t key);
/* Asks the store for the entry of what was put since the clock showed `before`, with these options, when `older` was
 * the highest version; and keeps it. */
bool learn_put(model_run *r, uint64_t change, size_t key, const model_value *v, const cairn_put_options *o,
               uint64_t before, uint64_t older);
bool learn_single_put(model_run *r, size_t key, const model_value *v, const cairn_put_options *o, uint64_t before);
bool do_batch(model_run *r);
bool do_wait(model_run *r); /* moves the clock */

/* ---- model_held.c ---- */

bool use_held(model_run *r, model_held *h); /* opens one when there is none */
bool let_go_held(model_run *r, model_held *h);

#endif

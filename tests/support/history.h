/* A random history of one store on a simulated disk, and what may be there at each of its moments.
 *
 * Row r of `state` is what the store holds after the first r steps. While step `done` runs, row done + 1 is what it
 * will leave; so a cut then may leave any row from `durable` to done + 1, and a killed process done or done + 1.
 *
 * Not thread-safe; the store runs without threads of its own.
 */
#ifndef CAIRN_TESTS_HISTORY_H
#define CAIRN_TESTS_HISTORY_H

#include "include/cairn.h"
#include "tests/support/finding.h"
#include "tests/support/os_sim.h"

#define HISTORY_KEYS 10
#define HISTORY_STEPS_MAX 96
#define HISTORY_STORE "s"

typedef enum step_kind {
    STEP_PUT,
    STEP_PUT_IF_ABSENT,
    STEP_WRITER,
    STEP_WRITER_ABORT,
    STEP_DELETE,
    STEP_SYNC,
    STEP_CHECKPOINT,
    STEP_REOPEN,
    STEP_WAIT,
    STEP_READ,
    STEP_KINDS
} step_kind;

typedef struct history_step {
    step_kind kind;
    unsigned key;
    unsigned value; /* 0: none; else values[value] */
    bool sync;
    int result;
    uint64_t returned_ms; /* clock of its disk */
} history_step;

typedef struct history_value {
    const uint8_t *bytes;
    size_t size;
    uint64_t version; /* 0: not yet told */
    unsigned key;
} history_value;

typedef struct history_key {
    const uint8_t *bytes;
    size_t size;
} history_key;

/* The mixture of steps. */
typedef struct history_profile {
    int durability;
    uint64_t hash_mask;
    size_t value_max;     /* largest ordinary value */
    unsigned bulk_one_in; /* one value in so many takes 100 to 256 KiB, so that segments fill; 0: none */
    unsigned file_one_in; /* one in so many goes to a value file; 0: none */
} history_profile;

typedef struct history {
    history_profile profile;
    uint64_t rng;
    sim_disk *disk; /* not owned */
    cairn *store;   /* NULL: closed */
    bool created;   /* the creation returned */
    bool failed;    /* the handle takes no more writes */
    /* Faults: with a plan steps may fail. The plan is lifted while the history looks at what a step did. */
    const sim_fault *plan; /* NULL: none */
    uint64_t plan_calls;   /* of it before it was last lifted */
    bool plan_hit;

    history_key keys[HISTORY_KEYS];
    history_value values[HISTORY_STEPS_MAX + HISTORY_KEYS + 1];
    unsigned value_count; /* the first is none */
    history_step steps[HISTORY_STEPS_MAX];
    uint8_t state[HISTORY_STEPS_MAX + 2][HISTORY_KEYS];
    size_t done;
    bool in_flight;
    size_t durable;
    uint64_t highest; /* version that was ever told */
} history;

history_profile history_profile_random(uint64_t *rng);
void history_init(history *h, sim_disk *disk, const history_profile *profile, uint64_t seed);
/* What goes on from row `row` of another one in `store`, an open handle that holds that row, all of it durable. */
void history_branch(history *h, const history *from, size_t row, sim_disk *disk, cairn *store, uint64_t seed);

cairn_options history_options(const history *h);
bool history_open(history *h, finding *f);
bool history_close(history *h, finding *f);
int history_try_open(history *h, cairn_error *error);
int history_try_close(history *h);
bool history_take_step(history *h, finding *f); /* a random one */
bool history_put(history *h, finding *f);       /* a small one, of any key */

/* Whether the open store holds one of the rows [low, high]; *row says which. */
bool history_check(const history *h, cairn *store, size_t low, size_t high, size_t *row, finding *f);
size_t history_high(const history *h); /* the highest row that may be there */

void history_set_faults(history *h, const sim_fault *plan); /* NULL: no more */
void history_lift_faults(history *h);
void history_resume_faults(history *h);

void history_describe(const history *h, finding *f);

#endif

/* A random history of one store on a simulated disk, and what may be there at each of its moments.
 *
 * Row r of `state` is what the store holds after the first r steps. While step `done` runs, row done + 1 is what it
 * will leave; so a cut then may leave any row from `durable` to done + 1, and a killed process done or done + 1.
 * A batch is one step, so half of one is in no row. A value that has expired by the clock of the disk counts as absent,
 * in whatever row it stands.
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
#define HISTORY_VALUES_MAX 256 /* numbers of values fit into a byte */
#define HISTORY_BATCH_MAX 6
#define HISTORY_STORE "s"

typedef enum step_kind {
    STEP_PUT,
    STEP_PUT_IF_ABSENT,
    STEP_WRITER,
    STEP_WRITER_ABORT,
    STEP_DELETE,
    STEP_BATCH,
    STEP_SYNC,
    STEP_CHECKPOINT,
    STEP_REOPEN,
    STEP_WAIT,
    STEP_READ,
    STEP_SNAPSHOT, /* opens one, or looks into the one that is open and maybe closes it */
    STEP_COMPACT,
    STEP_KINDS
} step_kind;

typedef struct history_change {
    uint8_t key, value; /* 0: a deletion */
} history_change;

typedef struct history_step {
    step_kind kind;
    unsigned key;
    unsigned value; /* 0: none; else values[value] */
    history_change batch[HISTORY_BATCH_MAX];
    unsigned batch_count;
    uint64_t ttl_ms;
    bool sync;
    bool writes; /* to the log, for sure: so a sync of it covers what came before */
    int result;
    uint64_t returned_ms; /* clock of its disk */
} history_step;

typedef struct history_value {
    const uint8_t *bytes;
    size_t size;
    uint64_t version;       /* 0: not yet told */
    uint64_t expires_at_ms; /* 0: never */
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
    size_t value_max;      /* largest ordinary value */
    unsigned bulk_one_in;  /* one value in so many takes 100 to 256 KiB, so that segments fill; 0: none */
    unsigned file_one_in;  /* one in so many goes to a value file; 0: none */
    unsigned batch_one_in; /* one step in so many is a batch, besides others that are; 0: none */
    unsigned ttl_one_in;   /* one in so many expires; 0: none */
    bool text;             /* half of the values compress */
    int compression;
    uint64_t cache_bytes;
} history_profile;

typedef struct history {
    history_profile profile;
    uint64_t rng;
    sim_disk *disk;           /* not owned */
    cairn *store;             /* NULL: closed */
    cairn_snapshot *snapshot; /* NULL: none is open */
    size_t snapshot_row;
    uint64_t snapshot_ms;
    bool created; /* the creation returned */
    bool failed;  /* the handle takes no more writes */
    /* Faults: with a plan steps may fail. The plan is lifted while the history looks at what a step did. */
    const sim_fault *plan; /* NULL: none */
    uint64_t plan_calls;   /* of it before it was last lifted */
    bool plan_hit;

    history_key keys[HISTORY_KEYS];
    history_value values[HISTORY_VALUES_MAX];
    unsigned value_count; /* the first is none */
    history_step steps[HISTORY_STEPS_MAX];
    uint8_t state[HISTORY_STEPS_MAX + 2][HISTORY_KEYS];
    size_t done;
    bool in_flight;
    size_t durable;
    uint64_t highest; /* version that was ever told */
} history;

history_profile history_profile_random(uint64_t *rng);
void history_profile_vary(history_profile *p, uint64_t *rng); /* what a store may be opened with otherwise next time */
void history_init(history *h, sim_disk *disk, const history_profile *profile, uint64_t seed);
/* What goes on from row `row` of another one in `store`, an open handle that holds that row, all of it durable. */
void history_branch(history *h, const history *from, size_t row, sim_disk *disk, cairn *store, uint64_t seed);

cairn_options history_options(const history_profile *p, bool create);
bool history_open(history *h, finding *f);
bool history_close(history *h, finding *f);
int history_try_open(history *h, cairn_error *error);
int history_try_close(history *h);
void history_abandon(history *h);               /* lets go of the handle, when there is one, whatever its disk says */
bool history_take_step(history *h, finding *f); /* a random one */
bool history_put(history *h, finding *f);       /* a small one, of any key */

/* Whether the open store holds one of the rows [low, high]; *row says which. */
bool history_check(const history *h, cairn *store, size_t low, size_t high, size_t *row, finding *f);
size_t history_high(const history *h); /* the highest row that may be there */
/* What the key has in that row at that time; 0: nothing. */
uint8_t history_value_at(const history *h, size_t row, unsigned key, uint64_t now_ms);
bool history_rows_agree(const history *h, size_t row, size_t other, uint64_t now_ms);
/* Whether the statistics of the open store, which has no snapshot, fit the row. */
bool history_stats_agree(const history *h, size_t row, const cairn_stats *stats, finding *f);
uint64_t history_now_ms(const history *h);

void history_set_faults(history *h, const sim_fault *plan); /* NULL: no more */
void history_lift_faults(history *h);
void history_resume_faults(history *h);

void history_describe(const history *h, finding *f);

/* Inside: the calls of a step (history_step.c). */
int history_run_step(history *h, const history_step *s, cairn_error *error);
/* The number of the value that the row has next, or none, after a batch; it is the last change of the key. */
bool history_batch_decides(const history_step *s, unsigned i);

#endif

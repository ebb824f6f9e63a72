/* Random calls of a store, each compared with a model. One run is used by one thread; several runs may share a store
 * when their keys differ. */
#ifndef CAIRN_TESTS_MODEL_RUN_H
#define CAIRN_TESTS_MODEL_RUN_H

#include "tests/support/model.h"
#include "tests/support/os_sim.h"

#define MODEL_HELD_MAX 9

typedef enum held_kind { HELD_NONE, HELD_READER, HELD_VIEW, HELD_SCAN, HELD_WRITER, HELD_SNAPSHOT } held_kind;

/* What is kept open while the store goes on, and what it must still say. */
typedef struct model_held {
    held_kind kind;
    void *handle;
    model_value value; /* reader, view: as it was; writer: that it will put */
    size_t key;
    size_t written;            /* writer: bytes so far */
    cairn_put_options options; /* writer */
    model then;                /* scan, snapshot: the map as it was */
    size_t scanned;
} model_held;

/* What a change of one key took away. */
typedef struct model_undo {
    uint64_t change; /* number of the change; those of a batch have one */
    size_t key;
    model_value old;
} model_undo;

typedef struct model_run {
    cairn *store;
    os *os;         /* that the store is on, for its clock */
    sim_disk *disk; /* whose clock the run moves; NULL: it leaves the clock alone, and nothing expires */
    model model;
    size_t first_key; /* it uses the keys from this one on */
    uint64_t rng;
    uint64_t highest; /* version that this run was ever told */
    uint64_t operations;
    bool shared;   /* other runs use the store: no comparison of the whole */
    bool compacts; /* the store's own thread does, at any moment: sums over its files change by themselves */
    bool synced;   /* the handle is CAIRN_DURABILITY_SYNC */
    model_held held[MODEL_HELD_MAX];
    finding *finding;

    /* Changes since the store was last known to be durable as a whole, in their order. */
    model_undo *undo;
    size_t undo_count, undo_capacity;
    uint64_t changes;
} model_run;

void model_run_init(model_run *r, cairn *store, size_t first_key, size_t key_count, uint64_t seed, finding *f);
void model_run_release(model_run *r); /* nothing is held */
bool model_run_step(model_run *r);
bool model_run_let_go(model_run *r); /* finishes all that is held */
bool model_run_holds(const model_run *r);

void model_run_is_durable(model_run *r); /* all of it, from now on */
/* After a power cut: what the store holds must be what was there after one of the changes since it was last durable,
 * all of them up to that one; the model becomes that. */
bool model_run_rewind(model_run *r);

#endif

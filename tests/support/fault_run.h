/* Histories and recoveries in which one call of the disk fails, once or from then on, and what is left of them: a call
 * of the store succeeds or says why not, what was acknowledged stays, and what was not leaves no trace. */
#ifndef CAIRN_TESTS_FAULT_RUN_H
#define CAIRN_TESTS_FAULT_RUN_H

#include "tests/support/history.h"

typedef struct fault_run {
    finding *finding;
    const os *
        plant; /* calls that take the place of the disk\'s own (os_wrap.h) before a store is opened on it; NULL: none */
    unsigned only; /* kinds of calls that fail (one of the scopes of fault_run_all); 0: every scope */
    bool hit;      /* the plan of the last run was met */
} fault_run;

/* Runs the history of a seed with this plan; returns the number of calls that it counts. */
uint64_t fault_run_history(fault_run *run, uint64_t seed, const sim_fault *plan);

/* A disk as a power cut left it in mid-history. */
typedef struct fault_base {
    history history;
    sim_disk *disk;
} fault_base;
bool fault_base_make(fault_base *base, uint64_t seed, finding *f);
void fault_base_release(fault_base *base);

/* The same for its recovery. */
uint64_t fault_run_recovery(fault_run *run, const fault_base *base, const sim_fault *plan);

/* Every call, in every way. One of `seed` and `base` (NULL) says what. Returns the number of cases in which the plan
 * was met; stops at the first finding. */
uint64_t fault_run_all(fault_run *run, uint64_t seed, const fault_base *base);

#endif

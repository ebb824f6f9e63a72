#include "tests/support/fault_run.h"

#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"

#include <errno.h>

#define STEPS 16u

typedef struct way {
    const char *name;
    int error;
    bool partial;
} way;
static const way ways[] = {
    {"EIO", -EIO, false}, {"ENOSPC", -ENOSPC, false}, {"EINTR", -EINTR, false}, {"short", -ENOSPC, true}};
#define WAYS (sizeof ways / sizeof ways[0])

static history_profile profile_of(uint64_t seed) {
    uint64_t rng = seed;
    history_profile p = history_profile_random(&rng);
    p.durability = (int)(seed % 3);
    p.batch_one_in = seed % 2 == 0 ? 3 : 0;
    if (seed % 4 == 0) p.bulk_one_in = 2;
    if (seed % 4 == 1) p.file_one_in = 4;
    return p;
}

/* ---- Afterwards ---- */

/* What an opening has found stays, also when the power is cut at once: recovery has made it durable, whatever happened
 * to it before. */
static bool is_durable(const fault_run *run, const history *h, size_t row) {
    finding *f = run->finding;
    history again = *h;
    cairn_error error = {0};
    sim_disk *copy = sim_clone(h->disk);
    again.disk = sim_crash(copy, 0);
    again.store = NULL;
    sim_fault_set(again.disk, NULL);
    os_override(sim_os(again.disk), run->plant);
    int rc = history_try_open(&again, &error);
    bool good = rc == CAIRN_OK || finding_note(f, "open again: %d %s", rc, error.message);
    if (good) good = history_check(&again, again.store, row, row, &row, f);
    if (again.store != NULL) (void)cairn_close(again.store);
    if (!good) finding_add(f, "\nafter a power cut right behind a recovery");
    sim_free(again.disk);
    sim_free(copy);
    return good;
}

/* Opens the disk, which it takes over, without faults. The store holds a row from `low` on and can be written. */
static bool holds(const fault_run *run, const history *h, sim_disk *disk, size_t low, const char *what) {
    finding *f = run->finding;
    history after = *h;
    cairn_error error = {0};
    size_t row;
    sim_fault_set(disk, NULL);
    after.disk = disk;
    after.store = NULL;
    after.plan = NULL;
    os_override(sim_os(disk), run->plant);
    int rc = history_try_open(&after, &error);
    bool good = rc == CAIRN_OK || finding_note(f, "open: %d %s", rc, error.message);
    if (good) good = history_check(&after, after.store, low, history_high(h), &row, f);
    if (good) good = is_durable(run, &after, row);
    if (good) {
        history branch;
        history_branch(&branch, &after, row, disk, after.store, 1);
        good = history_put(&branch, f);
        after.store = branch.store;
    }
    if (after.store != NULL && cairn_close(after.store) != CAIRN_OK && good) good = finding_note(f, "close");
    if (good && sim_open_handles(disk) != 0) good = finding_note(f, "%zu handles leak", sim_open_handles(disk));
    if (!good) finding_add(f, "\n%s", what);
    sim_free(disk);
    return good;
}

/* Reads go on and writes are refused. */
static bool is_refused(history *h, finding *f) {
    const history_key *key = &h->keys[0];
    int rc = cairn_put(h->store, key->bytes, key->size, "x", 1, NULL, NULL);
    return rc == CAIRN_FAILED || finding_note(f, "a put after a failed sync: %d", rc);
}

/* The handle is open or the opening failed. What a power cut, a kill and a close make of it. */
static bool check_aftermath(const fault_run *run, history *h) {
    finding *f = run->finding;
    bool good = true;
    for (uint64_t seed = 0; good && seed < 3; seed++) {
        sim_disk *copy = sim_clone(h->disk);
        sim_disk *cut = sim_crash(copy, seed);
        sim_free(copy);
        good = holds(run, h, cut, h->durable, "after a power cut");
    }
    if (h->store != NULL) {
        bool failed = h->failed;
        history_resume_faults(h);
        if (history_try_close(h) == CAIRN_OK && failed) return finding_note(f, "a failed handle closes with success");
    }
    if (!good) return false;
    if (sim_open_handles(h->disk) != 0) return finding_note(f, "%zu handles leak", sim_open_handles(h->disk));
    sim_fault_set(h->disk, NULL);
    sim_disk *copy = sim_clone(h->disk);
    sim_disk *cut = sim_crash(copy, 2);
    sim_free(copy);
    return holds(run, h, cut, h->durable, "after a close and a power cut") &&
           holds(run, h, sim_clone(h->disk), h->done, "after a close");
}

/* ---- A history with one fault ---- */

static bool run_steps(history *h, finding *f) {
    cairn_error error = {0};
    int rc = history_try_open(h, &error);
    if (rc != CAIRN_OK && h->plan != NULL && (rc == CAIRN_IO || rc == CAIRN_FULL)) {
        history_lift_faults(h);
        return true;
    }
    if (rc != CAIRN_OK) return finding_note(f, "open: %d %s", rc, error.message);
    bool good = true;
    for (size_t i = 0; good && i < STEPS && h->store != NULL && !h->failed; i++) {
        good = history_take_step(h, f);
    }
    history_lift_faults(h);
    if (good && h->failed) good = is_refused(h, f);
    return good;
}

uint64_t fault_run_history(fault_run *run, uint64_t seed, const sim_fault *plan) {
    history h;
    history_profile profile = profile_of(seed);
    sim_disk *disk = sim_new(seed);
    os_override(sim_os(disk), run->plant);
    history_init(&h, disk, &profile, seed);
    history_set_faults(&h, plan);
    bool good = run_steps(&h, run->finding);
    uint64_t calls = h.plan_calls;
    run->hit = h.plan_hit;
    if (good) good = check_aftermath(run, &h);
    if (!good) history_describe(&h, run->finding);
    history_abandon(&h);
    sim_free(disk);
    return calls;
}

/* ---- A recovery with one fault ---- */

bool fault_base_make(fault_base *base, uint64_t seed, finding *f) {
    history *h = &base->history;
    history_profile profile = profile_of(seed);
    sim_disk *disk = sim_new(seed);
    history_init(h, disk, &profile, seed);
    bool good = history_open(h, f);
    for (size_t i = 0; good && i < STEPS; i++) {
        good = history_take_step(h, f);
    }
    base->disk = sim_crash(disk, seed * 4 + 2);
    history_abandon(h); /* of a dead machine */
    h->disk = NULL;
    sim_free(disk);
    return good;
}

void fault_base_release(fault_base *base) { sim_free(base->disk); }

uint64_t fault_run_recovery(fault_run *run, const fault_base *base, const sim_fault *plan) {
    finding *f = run->finding;
    history h = base->history;
    cairn_error error = {0};
    size_t row = 0;
    h.disk = sim_clone(base->disk);
    os_override(sim_os(h.disk), run->plant);
    history_set_faults(&h, plan);
    size_t durable = h.durable;
    int rc = history_try_open(&h, &error);
    history_lift_faults(&h);
    run->hit = h.plan_hit;
    bool good = true;
    if (rc == CAIRN_OK) {
        good = history_check(&h, h.store, durable, h.done, &row, f) && is_durable(run, &h, row);
        h.durable = row;
        (void)cairn_close(h.store);
    } else if (rc != CAIRN_IO && rc != CAIRN_FULL) {
        good = finding_note(f, "recovery: %d %s", rc, error.message);
    } else {
        h.durable = durable;
    }
    if (good && sim_open_handles(h.disk) != 0) good = finding_note(f, "%zu handles leak", sim_open_handles(h.disk));
    sim_disk *cut = sim_crash(h.disk, plan->nth * 4 + plan->nth % 3);
    if (good)
        good = holds(run, &h, cut, h.durable, "after a failed recovery and a power cut");
    else
        sim_free(cut);
    sim_free(h.disk);
    if (!good) history_describe(&h, f);
    return h.plan_calls;
}

/* ---- All of them ---- */

static uint64_t run_one(fault_run *run, uint64_t seed, const fault_base *base, const sim_fault *plan) {
    return base != NULL ? fault_run_recovery(run, base, plan) : fault_run_history(run, seed, plan);
}

/* Of all calls each fails once, or from then on with all others behind it. Or only those of one kind do. */
static const unsigned scopes[] = {SIM_ALL,    SIM_ALL,    SIM_WRITE,  SIM_TRUNCATE, SIM_SYNC, SIM_DIR_SYNC,
                                  SIM_RENAME, SIM_UNLINK, SIM_CREATE, SIM_READ,     SIM_OPEN, SIM_INFO};
#define SCOPES (sizeof scopes / sizeof scopes[0])

static uint64_t run_scope(fault_run *run, uint64_t seed, const fault_base *base, unsigned scope) {
    finding *f = run->finding;
    sim_fault plan = {.kinds = scopes[scope], .nth = UINT64_MAX, .error = -EIO};
    uint64_t calls = run_one(run, seed, base, &plan), cases = 0;
    for (uint64_t nth = 0; nth < calls; nth++) {
        for (unsigned i = 0; i < WAYS; i++) {
            const way *w = &ways[i];
            if (w->partial && (scopes[scope] & SIM_WRITE) == 0) continue;
            plan = (sim_fault){.kinds = scopes[scope], .nth = nth, .sticky = scope > 0};
            plan.error = w->error;
            plan.partial = w->partial;
            (void)run_one(run, seed, base, &plan);
            if (run->hit) cases++;
            if (!f->found) continue;
            finding_add(f, "\nfault: call %llu of kinds %x, %s %s\n", (unsigned long long)nth, plan.kinds, w->name,
                        plan.sticky ? "from then on" : "once");
            return cases;
        }
    }
    return cases;
}

uint64_t fault_run_all(fault_run *run, uint64_t seed, const fault_base *base) {
    uint64_t cases = 0;
    for (unsigned scope = 0; scope < SCOPES && !run->finding->found; scope++) {
        if (run->only != 0 && scopes[scope] != run->only) continue;
        cases += run_scope(run, seed, base, scope);
    }
    return cases;
}

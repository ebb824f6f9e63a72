#include "tests/support/sweep.h"

#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 2
#define NAMES_MAX 64
#define STEPS_MIN 5
#define STEPS_MAX 60
#define ONWARD_STEPS_MAX 12

/* ---- Sets of hashes ---- */

static bool hash_set_add(hash_set *set, uint64_t hash);

static void grow(hash_set *set) {
    hash_set larger = {.capacity = set->capacity == 0 ? 4096 : set->capacity * 2};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    CHECK(larger.slots != NULL);
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->slots[i] != 0) (void)hash_set_add(&larger, set->slots[i]);
    }
    free(set->slots);
    *set = larger;
}

/* True: it was not there. */
static bool hash_set_add(hash_set *set, uint64_t hash) {
    if (set->count >= set->capacity / 2) grow(set);
    hash = hash == 0 ? 1 : hash;
    size_t at = hash % set->capacity;
    while (set->slots[at] != 0) {
        if (set->slots[at] == hash) return false;
        at = (at + 1) % set->capacity;
    }
    set->slots[at] = hash;
    set->count++;
    return true;
}

static void hash_set_release(hash_set *set) {
    free(set->slots);
    *set = (hash_set){0};
}

void sweep_release(sweep *s) {
    hash_set_release(&s->seen);
    hash_set_release(&s->distinct);
}

/* ---- One state ---- */

typedef struct visit {
    sweep *sweep;
    const history *history;
    size_t low, high; /* allowed rows */
    size_t durable;   /* a power cut before the recovery has returned may still leave this one */
    unsigned depth;   /* crashes before this one */
    uint64_t crash;   /* seed of this one, or KILLED */
    const struct visit *from;
} visit;
#define KILLED UINT64_MAX

static void examine(const visit *v, sim_disk *disk);

static void describe(const visit *v, sim_disk *disk) {
    finding *f = v->sweep->finding;
    char trace[2048];
    sim_trace(disk, trace, sizeof trace);
    finding_add(f, "\nfound in the state of crash seed %lld, depth %u, rows %zu to %zu; its operations since:\n%s",
                (long long)v->crash, v->depth, v->low, v->high, trace);
    for (const visit *x = v; x != NULL; x = x->from) {
        finding_add(f, "after crash seed %lld (-1: killed) of this ", (long long)x->crash);
        history_describe(x->history, f);
    }
}

/* Examines what crashes and a kill make of `disk` as it is now. */
static void examine_cuts(const visit *v, sim_disk *disk, size_t killed_low, unsigned crashes) {
    sweep *s = v->sweep;
    visit next = *v;
    sim_disk *copy = sim_clone(disk);
    next.low = v->durable;
    for (unsigned i = 0; i < crashes && !s->finding->found; i++) {
        next.crash = random_next(&s->rng) >> 1;
        if (i < 4) next.crash = (next.crash & ~(uint64_t)3) | i; /* each of the simulator's kinds */
        examine(&next, sim_crash(copy, next.crash));
    }
    if (!s->finding->found) {
        next.crash = KILLED;
        next.low = killed_low;
        examine(&next, sim_kill(copy));
    }
    sim_free(copy);
}

/* At each operation of a recovery, and of the close behind it. */
static void cut_recovery(void *ctx, sim_disk *disk) {
    visit *v = ctx;
    if (v->sweep->finding->found) return;
    v->sweep->nested++;
    examine_cuts(v, disk, v->low, 2); /* v is of the state that is being recovered */
}

/* After a clean close only what the manifest and live keys need is there. */
static bool check_names(sim_disk *disk, uint64_t streams, finding *f) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    size_t count = sim_names(disk, HISTORY_STORE, names, NAMES_MAX), segments = 0, files = 0;
    CHECK(count <= NAMES_MAX);
    size_t manifest_size = 0;
    uint8_t *manifest_bytes = sim_file_read(disk, HISTORY_STORE, "MANIFEST", &manifest_size);
    size_t listed = manifest_size < 128 ? 0 : (manifest_size - 128) / 96; /* vlog/FORMAT.md, "Manifest" */
    free(manifest_bytes);
    for (size_t i = 0; i < count; i++) {
        static const char *const fixed[] = {"CAIRN", "MANIFEST", "CHECKPOINT", "CHECKPOINT.DATA", "RESERVE"};
        uint64_t id;
        char suffix[4];
        bool known = false;
        for (size_t k = 0; k < sizeof fixed / sizeof fixed[0]; k++)
            known = known || strcmp(names[i], fixed[k]) == 0;
        if (known) continue;
        if (!file_name_parse(names[i], &id, suffix)) return finding_note(f, "left over: %s", names[i]);
        if (strcmp(suffix, "seg") == 0)
            segments++;
        else if (strcmp(suffix, "val") == 0)
            files++;
        else
            return finding_note(f, "left over: %s", names[i]);
    }
    if (segments != listed) return finding_note(f, "%zu segment files, %zu in the manifest", segments, listed);
    return files == streams ||
           finding_note(f, "%zu value files, of which %llu are live", files, (unsigned long long)streams);
}

static bool verify_all(cairn *store, finding *f) {
    cairn_error error = {0};
    cairn_verify_result result = {.struct_size = sizeof result};
    int rc = cairn_verify(store, NULL, &result, &error);
    if (rc != CAIRN_OK) return finding_note(f, "verify: %d %s", rc, error.message);
    return result.damaged == 0 ||
           finding_note(f, "verify finds %llu places damaged", (unsigned long long)result.damaged);
}

static bool close_and_check(history *h, finding *f) {
    cairn_stats stats = {.struct_size = sizeof stats};
    cairn_error error = {0};
    int rc = cairn_stats_get(h->store, &stats, &error);
    if (rc != CAIRN_OK) return finding_note(f, "stats: %d %s", rc, error.message);
    if (h->snapshot == NULL && !history_stats_agree(h, h->done, &stats, f)) return false;
    if (!history_close(h, f)) return false;
    if (sim_open_handles(h->disk) != 0) return finding_note(f, "%zu handles leak", sim_open_handles(h->disk));
    return check_names(h->disk, stats.streams, f);
}

/* ---- A second generation ---- */

typedef struct countdown {
    visit visit;
    const history *history;
    uint64_t left;
} countdown;

static void cut_onward(void *ctx, sim_disk *disk) {
    countdown *c = ctx;
    if (c->visit.sweep->finding->found || c->left-- != 0) return;
    c->left = random_below(&c->visit.sweep->rng, 12);
    c->visit.durable = c->history->durable;
    c->visit.high = history_high(c->history);
    examine_cuts(&c->visit, disk, c->history->done, 2);
}

/* The branch is open. Writes on, cut now and then, and closes. */
static bool go_on(const visit *v, history *branch) {
    sweep *s = v->sweep;
    finding *f = s->finding;
    bool onward =
        v->depth < DEPTH_MAX && s->onward_one_in != 0 && random_one_in(&s->rng, s->onward_one_in << (2 * v->depth));
    size_t steps = onward ? 2 + (size_t)random_below(&s->rng, ONWARD_STEPS_MAX) : 0;
    countdown c = {.visit = {.sweep = s, .history = branch, .depth = v->depth + 1, .from = v}, .history = branch};
    c.left = random_below(&s->rng, 12);
    if (onward) {
        s->onward++;
        if (random_one_in(&s->rng, 2)) branch->profile.bulk_one_in = 2;
        sim_on_operation(branch->disk, cut_onward, &c);
    }
    bool good = history_put(branch, f);
    for (size_t i = 0; good && i < steps; i++) {
        good = history_take_step(branch, f);
    }
    if (good) good = close_and_check(branch, f);
    sim_on_operation(branch->disk, NULL, NULL);
    return good && !f->found;
}

/* Opens the state; the store holds row *row then. */
static bool recover(const visit *v, sim_disk *disk, const history_profile *profile, cairn **store, size_t *row) {
    finding *f = v->sweep->finding;
    cairn_error error = {0};
    cairn_options options = history_options(profile, !v->history->created);
    int rc = store_open_on(store, sim_os(disk), HISTORY_STORE, &options, v->history->profile.hash_mask, &error);
    if (f->found) return false; /* in a cut of this recovery */
    if (rc != CAIRN_OK) return finding_note(f, "recovery: %d %s", rc, error.message);
    return history_check(v->history, *store, v->low, v->high, row, f) && verify_all(*store, f);
}

/* A reader recovers in memory, finds the same, and leaves the disk alone. */
static bool look_read_only(const visit *v, sim_disk *disk, size_t *row) {
    finding *f = v->sweep->finding;
    cairn_error error = {0};
    cairn *store = NULL;
    cairn_options options = history_options(&v->history->profile, !v->history->created);
    if (options.create) return true;
    options.read_only = true;
    int rc = store_open_on(&store, sim_os(disk), HISTORY_STORE, &options, v->history->profile.hash_mask, &error);
    if (rc != CAIRN_OK) return finding_note(f, "recovery in memory: %d %s", rc, error.message);
    bool good = history_check(v->history, store, v->low, v->high, row, f);
    rc = cairn_close(store);
    if (good && rc != CAIRN_OK) return finding_note(f, "close of a reader: %d", rc);
    return good && (sim_operations(disk) == 0 || finding_note(f, "a reader wrote"));
}

static bool examine_new(const visit *v, sim_disk *disk) {
    sweep *s = v->sweep;
    cairn *store = NULL;
    size_t row = 0, read_row = SIZE_MAX;
    visit nested = *v;
    nested.depth++;
    nested.from = v;
    os_override(sim_os(disk), s->plant);
    if (random_one_in(&s->rng, 16) && !look_read_only(v, disk, &read_row)) return false;
    bool cut =
        v->depth < DEPTH_MAX && s->nested_one_in != 0 && random_one_in(&s->rng, s->nested_one_in << (2 * v->depth));
    if (cut) sim_on_operation(disk, cut_recovery, &nested);
    history_profile profile = v->history->profile;
    history_profile_vary(&profile, &s->rng);
    /* The checkpoint is only a cache of the log, also of one that was compacted. */
    if (random_one_in(&s->rng, 6)) (void)sim_file_remove(disk, HISTORY_STORE, "CHECKPOINT");
    bool good = recover(v, disk, &profile, &store, &row);
    sim_on_operation(disk, NULL, NULL);
    uint64_t now_ms = sim_os(disk)->clock_ms(sim_os(disk));
    if (good && read_row != SIZE_MAX && !history_rows_agree(v->history, row, read_row, now_ms)) {
        good = finding_note(s->finding, "a reader found row %zu, a writer %zu", read_row, row);
    }
    if (!good) {
        describe(v, disk);
        if (store != NULL) (void)cairn_close(store);
        return false;
    }
    history branch;
    history_branch(&branch, v->history, row, disk, store, random_next(&s->rng));
    branch.profile = profile;
    good = go_on(v, &branch);
    if (!good) {
        finding_add(s->finding, "\nwhen going on with");
        history_describe(&branch, s->finding);
        describe(v, disk);
        history_abandon(&branch);
        return false;
    }
    if (!random_one_in(&s->rng, 8)) return true;
    visit closed = {.sweep = s, .history = &branch, .depth = DEPTH_MAX, .from = v};
    closed.low = closed.high = closed.durable = branch.done;
    examine(&closed, sim_crash(disk, 0));
    return !s->finding->found;
}

/* Takes the disk over. */
static void examine(const visit *v, sim_disk *disk) {
    sweep *s = v->sweep;
    uint64_t print = sim_fingerprint(disk);
    uint64_t key[4] = {print, v->low, v->high, v->crash == KILLED};
    if (hash_set_add(&s->seen, checksum(key, sizeof key, 0))) {
        (void)hash_set_add(&s->distinct, print);
        s->examined++;
        (void)examine_new(v, disk);
    }
    sim_free(disk);
}

/* ---- One history ---- */

typedef struct run {
    sweep *sweep;
    history *history;
} run;

static void cut_here(void *ctx, sim_disk *disk) {
    run *r = ctx;
    if (r->sweep->finding->found) return;
    r->sweep->points++;
    visit v = {
        .sweep = r->sweep, .history = r->history, .durable = r->history->durable, .high = history_high(r->history)};
    examine_cuts(&v, disk, r->history->done, r->sweep->crashes);
}

bool sweep_history(sweep *s, uint64_t seed) {
    finding *f = s->finding;
    history h;
    s->rng = seed;
    uint64_t profile_rng = random_next(&s->rng);
    history_profile profile = history_profile_random(&profile_rng);
    sim_disk *disk = sim_new(seed);
    history_init(&h, disk, &profile, random_next(&s->rng));
    os_override(sim_os(disk), s->plant);
    run r = {.sweep = s, .history = &h};
    sim_on_operation(disk, cut_here, &r);
    size_t steps = STEPS_MIN + (size_t)random_below(&s->rng, STEPS_MAX - STEPS_MIN + 1);
    bool good = history_open(&h, f);
    for (size_t i = 0; good && i < steps && !f->found; i++) {
        good = history_take_step(&h, f);
    }
    if (good && !f->found) good = close_and_check(&h, f);
    if (!good) history_describe(&h, f);
    sim_on_operation(disk, NULL, NULL);
    history_abandon(&h);
    sim_free(disk);
    if (f->found) finding_add(f, "\nreplay: CAIRN_SEED=%llu\n", (unsigned long long)seed);
    return !f->found;
}

#include "tests/support/backup_sweep.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/second_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STORE "store"
#define ROUNDS 4u
#define VALUES 10u
#define LARGE_BYTES ((size_t)70000) /* punched where it dies, if its neighbour does */
#define FILE_BYTES ((size_t)300000)

static cairn_options options_of(bool read_only) {
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = !read_only,
                           .read_only = read_only,
                           .no_background = true,
                           .segment_bytes = SIM_BOX_SEGMENT_BYTES};
}

/* ---- Looking ---- */

static int sum_of(sim_disk *d, const char *path, bool read_only, uint64_t *sum, cairn_error *error) {
    cairn_options o = options_of(read_only);
    cairn_verify_result damage = {.struct_size = sizeof damage};
    cairn *store = NULL;
    o.create = false;
    int rc = store_open_on(&store, sim_os(d), path, &o, UINT64_MAX, error);
    if (rc != CAIRN_OK) return rc;
    rc = contents_sum(store, sum, error);
    if (rc == CAIRN_OK) rc = cairn_verify(store, NULL, &damage, error);
    if (rc == CAIRN_OK && damage.damaged > 0) rc = CAIRN_CORRUPT;
    int closed = cairn_close(store);
    return rc == CAIRN_OK ? closed : rc;
}

static bool is_allowed(const backup_sweep *s, uint64_t sum) {
    bool allowed = false;
    for (unsigned i = 0; i < s->allowed_count; i++) {
        allowed = allowed || sum == s->allowed[i];
    }
    return allowed;
}

static bool look_at_backup(backup_sweep *s, sim_disk *d, bool read_only, bool *there) {
    cairn_error error = {0};
    uint64_t sum = 0;
    int rc = sum_of(d, SECOND_STORE, read_only, &sum, &error);
    *there = rc == CAIRN_OK;
    if (rc == CAIRN_NO_STORE && s->may_lack) return true;
    if (rc != CAIRN_OK) return finding_note(s->finding, "the backup: %d, %s", rc, error.message);
    return is_allowed(s, sum) || finding_note(s->finding, "the backup holds something else");
}

static bool look_at_store(backup_sweep *s, sim_disk *d) {
    cairn_error error = {0};
    uint64_t sum = 0;
    int rc = sum_of(d, STORE, false, &sum, &error);
    if (rc != CAIRN_OK) return finding_note(s->finding, "the store: %d, %s", rc, error.message);
    return sum == s->sum || finding_note(s->finding, "the store holds something else");
}

/* The opening of the backup is cut at each of its operations. */
static bool cut_the_opening(backup_sweep *s, sim_disk *d) {
    for (uint64_t cut = sim_operations(d); !s->finding->found; cut++) {
        sim_disk *copy = sim_clone(d);
        bool there;
        cairn_error error;
        uint64_t ignored;
        sim_cut_at(copy, cut);
        (void)sum_of(copy, SECOND_STORE, false, &ignored, &error);
        bool ended = sim_operations(copy) < cut;
        sim_disk *crashed = sim_crash(copy, random_next(&s->rng));
        (void)look_at_backup(s, crashed, false, &there);
        sim_free(crashed);
        sim_free(copy);
        if (ended) break;
    }
    return !s->finding->found;
}

static bool make_again(backup_sweep *s, sim_disk *d) {
    cairn_options o = options_of(false);
    cairn_backup_options how = {.struct_size = sizeof how, .copy = random_one_in(&s->rng, 2)};
    cairn_error error = {0};
    cairn *store = NULL;
    uint64_t sum = 0;
    int rc = store_open_on(&store, sim_os(d), STORE, &o, UINT64_MAX, &error);
    if (rc == CAIRN_OK) rc = cairn_backup(store, SECOND_STORE, &how, &error);
    if (rc == CAIRN_OK) rc = cairn_close(store);
    if (rc == CAIRN_OK) rc = sum_of(d, SECOND_STORE, true, &sum, &error);
    s->redone++;
    if (rc != CAIRN_OK) return finding_note(s->finding, "a backup made again: %d, %s", rc, error.message);
    if (sum != s->sum) return finding_note(s->finding, "a backup made again holds something else");
    size_t left = sim_count(d, SECOND_STORE, ".NEW") + sim_count(d, SECOND_STORE, ".tab");
    return left == 0 || finding_note(s->finding, "a backup made again leaves %zu files over", left);
}

static bool examine(backup_sweep *s, sim_disk *d) {
    bool there = false;
    s->states++;
    if (!look_at_backup(s, d, true, &there)) return false;
    if (there) {
        sim_disk *copy = sim_clone(d);
        (void)sim_file_remove(copy, SECOND_STORE, "CHECKPOINT");
        (void)look_at_backup(s, copy, false, &there);
        sim_free(copy);
    }
    bool again = s->redo_one_in > 0 && random_one_in(&s->rng, s->redo_one_in);
    if (!s->finding->found && again && there) (void)cut_the_opening(s, d);
    if (!s->finding->found) (void)look_at_store(s, d);
    return !s->finding->found && (!again || make_again(s, d));
}

static void at_operation(void *ctx, sim_disk *d) {
    backup_sweep *s = ctx;
    for (unsigned i = 0; i <= s->crashes && !s->finding->found; i++) {
        sim_disk *state = sim_left(d, i, s->crashes, &s->rng);
        if (!examine(s, state)) {
            char trace[2048];
            sim_trace(d, trace, sizeof trace);
            finding_add(s->finding, "\nafter operation %llu, state %u\n%s", (unsigned long long)sim_operations(d), i,
                        trace);
        }
        sim_free(state);
    }
}

/* ---- The history ---- */

static int put(cairn *store, uint64_t *rng, unsigned key, size_t size) {
    char name[16];
    (void)snprintf(name, sizeof name, "k%u", key);
    return cairn_put(store, name, strlen(name), random_window(rng, size), size, NULL, NULL);
}

/* Some are new, some overwritten, some go. */
static int change(cairn *store, uint64_t *rng) {
    int rc = CAIRN_OK;
    for (unsigned key = 0; rc == CAIRN_OK && key < VALUES; key++) {
        char name[16];
        uint64_t what = random_below(rng, 5);
        (void)snprintf(name, sizeof name, "k%u", key);
        if (what == 0) rc = put(store, rng, key, LARGE_BYTES);
        if (what == 1) rc = put(store, rng, key, random_below(rng, 4) == 0 ? FILE_BYTES : random_below(rng, 3000));
        if (what >= 3) rc = cairn_delete(store, name, strlen(name), NULL, NULL);
        if (rc == CAIRN_NOT_FOUND) rc = CAIRN_OK;
    }
    return rc == CAIRN_OK ? cairn_sync(store, NULL) : rc;
}

static bool swept(backup_sweep *s, sim_disk *d, cairn *store, bool compacts, bool copy) {
    cairn_error error = {0};
    cairn_compact_options full = {.struct_size = sizeof full, .full = true};
    cairn_backup_options how = {.struct_size = sizeof how, .copy = copy};
    sim_on_operation(d, at_operation, s);
    int rc = compacts ? cairn_compact(store, &full, NULL, &error) : cairn_backup(store, SECOND_STORE, &how, &error);
    sim_on_operation(d, NULL, NULL);
    if (rc == CAIRN_OK || s->finding->found) return !s->finding->found;
    return finding_note(s->finding, "%s: %d, %s", compacts ? "compacting" : "a backup", rc, error.message);
}

static bool is_now(backup_sweep *s, sim_disk *d) {
    bool there;
    s->allowed[0] = s->sum;
    s->allowed_count = 1;
    s->may_lack = false;
    return look_at_backup(s, d, true, &there);
}

static bool one_round(backup_sweep *s, sim_disk *d, cairn *store) {
    cairn_error error = {0};
    bool there;
    if (change(store, &s->rng) != CAIRN_OK || contents_sum(store, &s->sum, &error) != CAIRN_OK) {
        return finding_note(s->finding, "changes: %s", error.message);
    }
    if (random_one_in(&s->rng, 2) && !swept(s, d, store, true, false)) return false;
    s->allowed[s->allowed_count++] = s->sum;
    /* One that was cut off when the earlier checkpoint had gone leaves none, and nothing to sync for its going. */
    if (random_one_in(&s->rng, 3)) (void)sim_file_remove(d, SECOND_STORE, "CHECKPOINT");
    if (!swept(s, d, store, false, random_one_in(&s->rng, 2)) || !is_now(s, d)) return false;
    /* Somebody opens it, changes nothing, and leaves a checkpoint of its own. */
    if (random_one_in(&s->rng, 2)) (void)look_at_backup(s, d, false, &there);
    return !random_one_in(&s->rng, 3) || swept(s, d, store, true, false);
}

/* ---- Faults ---- */

/* A closed store with an earlier backup, and changes since. */
static sim_disk *make_base(backup_sweep *s, uint64_t seed, cairn **store) {
    sim_disk *d = sim_new(seed);
    cairn_options o = options_of(false);
    cairn_backup_options how = {.struct_size = sizeof how, .copy = seed % 2};
    cairn_error error = {0};
    int rc = store_open_on(store, sim_os(d), STORE, &o, UINT64_MAX, &error);
    for (unsigned key = 0; rc == CAIRN_OK && key < VALUES; key++) {
        rc = put(*store, &s->rng, key, LARGE_BYTES);
    }
    if (rc == CAIRN_OK) rc = contents_sum(*store, &s->allowed[0], &error);
    if (rc == CAIRN_OK) rc = cairn_backup(*store, SECOND_STORE, &how, &error);
    if (rc == CAIRN_OK) rc = change(*store, &s->rng);
    if (rc == CAIRN_OK) rc = cairn_compact(*store, NULL, NULL, &error);
    if (rc == CAIRN_OK) rc = contents_sum(*store, &s->sum, &error);
    if (rc == CAIRN_OK) rc = cairn_close(*store);
    if (rc != CAIRN_OK) (void)finding_note(s->finding, "%d, %s", rc, error.message);
    s->allowed[1] = s->sum;
    s->allowed_count = 2;
    return d;
}

/* False when the plan was not met: there are no more such calls. */
static bool fail_one(backup_sweep *s, const sim_disk *base, const sim_fault *fault, bool copy) {
    sim_disk *d = sim_clone((sim_disk *)(uintptr_t)base);
    cairn_options o = options_of(false);
    cairn_backup_options how = {.struct_size = sizeof how, .copy = copy};
    cairn_error error = {0};
    cairn *store = NULL;
    int rc = store_open_on(&store, sim_os(d), STORE, &o, UINT64_MAX, &error);
    if (rc != CAIRN_OK) (void)finding_note(s->finding, "opening: %d, %s", rc, error.message);
    sim_fault_set(d, fault);
    if (rc == CAIRN_OK) rc = cairn_backup(store, SECOND_STORE, &how, &error);
    bool hit = sim_fault_hits(d) > 0;
    sim_fault_set(d, NULL);
    if (rc != CAIRN_OK && !hit) (void)finding_note(s->finding, "without a fault: %d, %s", rc, error.message);
    if (store != NULL) (void)cairn_close(store);
    s->states++;
    if (!s->finding->found && hit && examine(s, d)) (void)make_again(s, d);
    if (s->finding->found) {
        finding_add(s->finding, "\nbackup: %d, %s; call %llu fails with %d%s%s", rc, error.message,
                    (unsigned long long)fault->nth, fault->error, fault->sticky ? " from then on" : "",
                    copy ? ", copying" : "");
    }
    sim_free(d);
    return hit && !s->finding->found;
}

bool backup_sweep_faults(backup_sweep *s, uint64_t seed, unsigned stride) {
    cairn *store = NULL;
    s->rng = seed;
    s->may_lack = false;
    sim_disk *base = make_base(s, seed, &store);
    for (unsigned way = 0; way < 8 && !s->finding->found; way++) {
        sim_fault fault = {.kinds = SIM_ALL & ~(SIM_FLUSH | SIM_FREE_BYTES),
                           .nth = random_below(&s->rng, stride),
                           .error = way & 1 ? -ENOSPC : -EIO,
                           .sticky = (way & 2) != 0};
        while (fail_one(s, base, &fault, (way & 4) != 0))
            fault.nth += stride;
    }
    sim_free(base);
    return !s->finding->found;
}

bool backup_sweep_run(backup_sweep *s, uint64_t seed) {
    sim_disk *d = sim_new(seed);
    cairn_options o = options_of(false);
    cairn *store = NULL;
    cairn_error error = {0};
    s->rng = seed;
    s->may_lack = true;
    s->allowed_count = 0;
    os_override(sim_os(d), s->plant);
    int rc = store_open_on(&store, sim_os(d), STORE, &o, UINT64_MAX, &error);
    for (unsigned key = 0; rc == CAIRN_OK && key < VALUES; key++) {
        rc = put(store, &s->rng, key, LARGE_BYTES);
    }
    if (rc != CAIRN_OK) (void)finding_note(s->finding, "%d, %s", rc, error.message);
    for (unsigned round = 0; !s->finding->found && round < ROUNDS; round++) {
        (void)one_round(s, d, store);
    }
    if (s->finding->found) finding_add(s->finding, "\nseed %llu", (unsigned long long)seed);
    if (store != NULL) (void)cairn_close(store);
    sim_free(d);
    return !s->finding->found;
}

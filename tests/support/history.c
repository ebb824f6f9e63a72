#include "tests/support/history.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"
#include "tests/support/rung.h"

#include <string.h>

#define SYNC_INTERVAL_MS 200u

static uint64_t now_ms(const history *h) {
    os *system = sim_os(h->disk);
    return system->clock_ms(system);
}

/* ---- Beginning ---- */

history_profile history_profile_random(uint64_t *rng) {
    static const uint64_t masks[8] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 0, 3, 15};
    static const size_t maxima[4] = {100, 600, 5000, 70000};
    history_profile p = {.durability = (int)random_below(rng, 3)};
    p.hash_mask = masks[random_below(rng, 8)];
    p.value_max = maxima[random_below(rng, 4)];
    p.bulk_one_in = random_one_in(rng, 3) ? 2 + (unsigned)random_below(rng, 4) : 0;
    p.file_one_in = random_one_in(rng, 3) ? 3 + (unsigned)random_below(rng, 6) : 0;
    return p;
}

static void make_keys(history *h) {
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        size_t size = 1 + (size_t)random_below(&h->rng, 40);
        if (random_one_in(&h->rng, 40)) size = CAIRN_KEY_SIZE_MAX - (size_t)random_below(&h->rng, 3000);
        /* 40 random bits at a fixed place keep them apart; one byte would not. */
        size = max_u64(size, 5);
        h->keys[k] = (history_key){.bytes = random_window(&h->rng, size), .size = size};
    }
}

void history_init(history *h, sim_disk *disk, const history_profile *profile, uint64_t seed) {
    *h = (history){.profile = *profile, .rng = seed, .disk = disk, .value_count = 1};
    make_keys(h);
}

/* A version that no call has told yet, because its put was cut off. */
static void ask_version(history *h, history_value *v) {
    cairn_entry entry = {.struct_size = sizeof entry};
    const history_key *key = &h->keys[v->key];
    if (v->version == 0 && cairn_stat(h->store, key->bytes, key->size, &entry, NULL) == CAIRN_OK) {
        v->version = entry.version;
    }
    h->highest = max_u64(h->highest, v->version);
}

void history_branch(history *h, const history *from, size_t row, sim_disk *disk, cairn *store, uint64_t seed) {
    *h = (history){.profile = from->profile,
                   .rng = seed,
                   .disk = disk,
                   .store = store,
                   .value_count = 1,
                   .created = true,
                   .highest = from->highest};
    memcpy(h->keys, from->keys, sizeof h->keys);
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        if (from->state[row][k] == 0) continue;
        h->values[h->value_count] = from->values[from->state[row][k]];
        ask_version(h, &h->values[h->value_count]);
        h->state[0][k] = (uint8_t)h->value_count++;
    }
}

/* ---- Opening and closing ---- */

cairn_options history_options(const history *h) {
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = !h->created,
                           .no_background = true,
                           .durability = h->profile.durability,
                           .sync_interval_ms = SYNC_INTERVAL_MS,
                           .segment_bytes = (uint64_t)1 << 20};
}

int history_try_open(history *h, cairn_error *error) {
    cairn_options options = history_options(h);
    int rc = store_open_on(&h->store, sim_os(h->disk), HISTORY_STORE, &options, h->profile.hash_mask, error);
    if (rc != CAIRN_OK) return rc;
    h->created = true;
    h->failed = false;
    h->durable = h->done;
    return rc;
}

int history_try_close(history *h) {
    int rc = cairn_close(h->store);
    h->store = NULL;
    if (rc == CAIRN_OK) h->durable = h->done;
    return rc;
}

bool history_open(history *h, finding *f) {
    cairn_error error = {0};
    int rc = history_try_open(h, &error);
    return rc == CAIRN_OK || finding_note(f, "open: %d %s", rc, error.message);
}

bool history_close(history *h, finding *f) {
    int rc = history_try_close(h);
    return rc == CAIRN_OK || finding_note(f, "close: %d", rc);
}

/* ---- Faults ---- */

void history_set_faults(history *h, const sim_fault *plan) {
    h->plan = plan;
    h->plan_calls = 0;
    h->plan_hit = false;
    sim_fault_set(h->disk, plan);
}

void history_lift_faults(history *h) {
    if (h->plan == NULL) return;
    h->plan_calls += sim_fault_calls(h->disk);
    h->plan_hit = h->plan_hit || sim_fault_hits(h->disk) > 0;
    sim_fault_set(h->disk, NULL);
}

void history_resume_faults(history *h) {
    if (h->plan == NULL || (h->plan_hit && !h->plan->sticky)) return;
    sim_fault rest = *h->plan;
    rest.nth = rest.nth > h->plan_calls ? rest.nth - h->plan_calls : 0;
    sim_fault_set(h->disk, &rest);
}

/* ---- Steps ---- */

static unsigned add_value(history *h, unsigned key, size_t size) {
    unsigned id = h->value_count++;
    CHECK(id < sizeof h->values / sizeof h->values[0]);
    h->values[id] = (history_value){.bytes = random_window(&h->rng, size), .size = size, .key = key};
    return id;
}

static size_t random_size(history *h) {
    const history_profile *p = &h->profile;
    if (p->file_one_in != 0 && random_one_in(&h->rng, p->file_one_in)) {
        return ((size_t)256 << 10) + 1 + (size_t)random_below(&h->rng, (size_t)100 << 10);
    }
    if (p->bulk_one_in != 0 && random_one_in(&h->rng, p->bulk_one_in)) {
        return ((size_t)100 << 10) + (size_t)random_below(&h->rng, ((size_t)156 << 10) + 1);
    }
    if (random_one_in(&h->rng, 10)) return 0;
    return (size_t)random_below(&h->rng, random_one_in(&h->rng, 4) ? p->value_max : min_u64(p->value_max, 200)) + 1;
}

static step_kind random_kind(history *h) {
    static const uint8_t weights[STEP_KINDS] = {
        [STEP_PUT] = 45, [STEP_PUT_IF_ABSENT] = 5, [STEP_WRITER] = 8, [STEP_WRITER_ABORT] = 2, [STEP_DELETE] = 18,
        [STEP_SYNC] = 4, [STEP_CHECKPOINT] = 5,    [STEP_REOPEN] = 5, [STEP_WAIT] = 5,         [STEP_READ] = 3};
    unsigned roll = (unsigned)random_below(&h->rng, 100);
    for (unsigned kind = 0; kind < STEP_KINDS; kind++) {
        if (roll < weights[kind]) return (step_kind)kind;
        roll -= weights[kind];
    }
    return STEP_PUT;
}

static history_step random_step(history *h) {
    history_step s = {.kind = random_kind(h), .key = (unsigned)random_below(&h->rng, HISTORY_KEYS)};
    if (s.kind <= STEP_WRITER_ABORT) s.value = add_value(h, s.key, random_size(h));
    s.sync = s.kind <= STEP_DELETE && random_one_in(&h->rng, 8);
    return s;
}

static int write_in_pieces(history *h, cairn_writer *w, const history_value *v, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t at = 0; rc == CAIRN_OK && at < v->size;) {
        size_t piece = min_u64(v->size - at, 1 + random_below(&h->rng, 300000));
        rc = cairn_writer_write(w, v->bytes + at, piece, error);
        at += piece;
    }
    return rc;
}

static int run_writer(history *h, const history_step *s, const cairn_put_options *o, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    cairn_writer *w = NULL;
    int rc = cairn_writer_open(h->store, key->bytes, key->size, o, &w, error);
    if (rc != CAIRN_OK) return rc;
    rc = write_in_pieces(h, w, &h->values[s->value], error);
    if (rc == CAIRN_OK && s->kind == STEP_WRITER) return cairn_writer_commit(w, error);
    cairn_writer_abort(w);
    return rc;
}

static int reopen(history *h, cairn_error *error) {
    int rc = history_try_close(h);
    if (rc != CAIRN_OK) return status_set(error, rc, "cairn_close");
    return history_try_open(h, error);
}

#define WRONG_VALUE 100 /* no code of the store's */

static int read_back(history *h, const history_step *s, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    const history_value *v = &h->values[h->state[h->done][s->key]];
    void *value = NULL;
    size_t size = 0;
    int rc = cairn_get(h->store, key->bytes, key->size, &value, &size, error);
    if (rc == CAIRN_OK && (size != v->size || memcmp(value, v->bytes, size) != 0)) {
        rc = status_set(error, WRONG_VALUE, "another value than was put");
    }
    cairn_free(value);
    return rc;
}

static int run_step(history *h, const history_step *s, cairn_error *error) {
    const history_key *key = &h->keys[s->key];
    const history_value *v = &h->values[s->value];
    cairn_put_options o = {.struct_size = sizeof o, .sync = s->sync, .if_absent = s->kind == STEP_PUT_IF_ABSENT};
    switch (s->kind) {
    case STEP_PUT:
    case STEP_PUT_IF_ABSENT:
        return cairn_put(h->store, key->bytes, key->size, v->bytes, v->size, &o, error);
    case STEP_WRITER:
    case STEP_WRITER_ABORT:
        return run_writer(h, s, &o, error);
    case STEP_DELETE:
        return cairn_delete(h->store, key->bytes, key->size, &o, error);
    case STEP_SYNC:
        return cairn_sync(h->store, error);
    case STEP_CHECKPOINT:
        return cairn_checkpoint(h->store, error);
    case STEP_REOPEN:
        return reopen(h, error);
    case STEP_READ:
        return read_back(h, s, error);
    default:
        sim_clock_advance(h->disk, 1 + random_below(&h->rng, 250));
        return CAIRN_OK;
    }
}

/* What the step will return, and the row that it leaves. */
static int foresee(history *h, const history_step *s) {
    uint8_t *next = h->state[h->done + 1];
    bool present = h->state[h->done][s->key] != 0;
    memcpy(next, h->state[h->done], sizeof h->state[0]);
    if (s->kind == STEP_PUT_IF_ABSENT && present) return CAIRN_EXISTS;
    if ((s->kind == STEP_DELETE || s->kind == STEP_READ) && !present) return CAIRN_NOT_FOUND;
    if (s->kind <= STEP_WRITER) next[s->key] = (uint8_t)s->value;
    if (s->kind == STEP_DELETE) next[s->key] = 0;
    return CAIRN_OK;
}

static bool learn_version(history *h, const history_step *s, finding *f) {
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    const history_key *key = &h->keys[s->key];
    int rc = cairn_stat(h->store, key->bytes, key->size, &entry, &error);
    if (rc != CAIRN_OK) return finding_note(f, "stat of what was put: %d %s", rc, error.message);
    if (entry.version <= h->highest) {
        return finding_note(f, "version %llu given out, but %llu was before", (unsigned long long)entry.version,
                            (unsigned long long)h->highest);
    }
    h->values[s->value].version = h->highest = entry.version;
    return true;
}

static void learn_durability(history *h, const history_step *s) {
    bool changes = s->kind <= STEP_DELETE && s->kind != STEP_WRITER_ABORT;
    bool synced = s->sync || h->profile.durability == CAIRN_DURABILITY_SYNC;
    if ((changes && synced) || s->kind == STEP_SYNC || s->kind == STEP_CHECKPOINT || s->kind == STEP_REOPEN) {
        h->durable = h->done;
    } else if (changes && h->profile.durability == CAIRN_DURABILITY_DEFAULT && !h->plan_hit) {
        /* Without threads a change does what was due before it; it does not fail when that does. */
        while (h->durable < h->done && h->steps[h->durable].returned_ms + SYNC_INTERVAL_MS <= now_ms(h))
            h->durable++;
    }
}

static bool is_of_a_fault(int rc) {
    return rc == CAIRN_IO || rc == CAIRN_FULL || rc == CAIRN_FAILED || rc == CAIRN_NO_MEMORY;
}

static void settle(history *h, const history_step *s) {
    h->steps[h->done] = *s;
    h->steps[h->done++].returned_ms = now_ms(h);
    h->in_flight = false;
}

/* A step failed because of a fault, which is lifted. Unless the handle writes no more, nothing has changed; then it may
 * have, and the step stays in flight. */
static bool after_failure(history *h, const history_step *s, const cairn_error *error, finding *f) {
    if (h->plan == NULL || !is_of_a_fault(s->result)) {
        return finding_note(f, "step %zu: %d %s", h->done, s->result, error->message);
    }
    if (h->store == NULL) return true; /* the reopening failed */
    h->failed = cairn_sync(h->store, NULL) == CAIRN_FAILED;
    size_t row;
    if (!history_check(h, h->store, h->done, h->failed ? h->done + 1 : h->done, &row, f)) {
        finding_add(f, "\nafter step %zu failed: %d %s", h->done, s->result, error->message);
        return false;
    }
    if (h->failed) return true;
    h->durable = h->done; /* the sync above */
    memcpy(h->state[h->done + 1], h->state[h->done], sizeof h->state[0]);
    settle(h, s);
    return true;
}

static bool after_success(history *h, const history_step *s, int expected, finding *f) {
    settle(h, s);
    if (expected != CAIRN_OK) return true;
    if (s->kind <= STEP_WRITER && !learn_version(h, s, f)) return false;
    learn_durability(h, s);
    return true;
}

static bool take(history *h, history_step s, finding *f) {
    CHECK(h->done < HISTORY_STEPS_MAX);
    cairn_error error = {0};
    int expected = foresee(h, &s);
    h->steps[h->done] = s;
    h->in_flight = true;
    s.result = run_step(h, &s, &error);
    h->steps[h->done].result = s.result;
    history_lift_faults(h);
    bool good;
    if (s.result == expected) {
        good = after_success(h, &s, expected, f);
    } else if (s.result == CAIRN_OK) {
        good = finding_note(f, "step %zu succeeded instead of %d", h->done, expected);
    } else {
        good = after_failure(h, &s, &error, f);
    }
    history_resume_faults(h);
    return good;
}

bool history_take_step(history *h, finding *f) { return take(h, random_step(h), f); }

bool history_put(history *h, finding *f) {
    history_step s = {.kind = STEP_PUT, .key = (unsigned)random_below(&h->rng, HISTORY_KEYS)};
    s.value = add_value(h, s.key, 1 + (size_t)random_below(&h->rng, 100));
    return take(h, s, f);
}

size_t history_high(const history *h) { return h->in_flight ? h->done + 1 : h->done; }

void history_describe(const history *h, finding *f) {
    static const char *const names[STEP_KINDS] = {"put",  "put-if-absent", "writer", "writer-abort", "delete",
                                                  "sync", "checkpoint",    "reopen", "wait",         "read"};
    finding_add(f, "\nhistory: durability %d, mask %llx, done %zu%s, durable %zu\n", h->profile.durability,
                (unsigned long long)h->profile.hash_mask, h->done, h->in_flight ? " and one in flight" : "",
                h->durable);
    for (size_t i = 0; i < history_high(h) && i < HISTORY_STEPS_MAX; i++) {
        const history_step *s = &h->steps[i];
        const history_value *v = &h->values[s->value];
        finding_add(f, "%zu %s%s", i, names[s->kind], s->sync ? " sync" : "");
        if (s->kind <= STEP_DELETE || s->kind == STEP_READ) finding_add(f, " key %u", s->key);
        if (s->value != 0) finding_add(f, " size %zu version %llu", v->size, (unsigned long long)v->version);
        finding_add(f, "%s\n", i == h->done ? " (in flight)" : s->result != 0 ? " (refused)" : "");
    }
}

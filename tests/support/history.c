#include "tests/support/history.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/text.h"

#include <string.h>

#define SYNC_INTERVAL_MS 200u

uint64_t history_now_ms(const history *h) {
    os *system = sim_os(h->disk);
    return system->clock_ms(system);
}

/* ---- Beginning ---- */

history_profile history_profile_random(uint64_t *rng) {
    static const uint64_t masks[8] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 0, 3, 15};
    static const size_t maxima[4] = {100, 600, 5000, 70000};
    history_profile p;
    p.hash_mask = masks[random_below(rng, 8)];
    p.value_max = maxima[random_below(rng, 4)];
    p.bulk_one_in = random_one_in(rng, 3) ? 2 + (unsigned)random_below(rng, 4) : 0;
    p.file_one_in = random_one_in(rng, 3) ? 3 + (unsigned)random_below(rng, 6) : 0;
    p.batch_one_in = random_one_in(rng, 4) ? 2 : 0;
    p.ttl_one_in = random_one_in(rng, 3) ? 1 + (unsigned)random_below(rng, 4) : 0;
    p.text = random_one_in(rng, 2);
    history_profile_vary(&p, rng);
    return p;
}

void history_profile_vary(history_profile *p, uint64_t *rng) {
    static const uint64_t caches[4] = {0, 0, (uint64_t)64 << 10, UINT64_MAX};
    p->durability = (int)random_below(rng, 3);
    p->compression = (int)random_below(rng, 3);
    p->cache_bytes = caches[random_below(rng, 4)];
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

cairn_options history_options(const history_profile *p, bool create) {
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = create,
                           .no_background = true,
                           .durability = p->durability,
                           .compression = p->compression,
                           .cache_bytes = p->cache_bytes,
                           .sync_interval_ms = SYNC_INTERVAL_MS,
                           .segment_bytes = (uint64_t)1 << 20};
}

int history_try_open(history *h, cairn_error *error) {
    cairn_options options = history_options(&h->profile, !h->created);
    int rc = store_open_on(&h->store, sim_os(h->disk), HISTORY_STORE, &options, h->profile.hash_mask, error);
    if (rc != CAIRN_OK) return rc;
    h->created = true;
    h->failed = false;
    h->durable = h->done;
    return rc;
}

int history_try_close(history *h) {
    cairn_snapshot_close(h->snapshot);
    h->snapshot = NULL;
    int rc = cairn_close(h->store);
    h->store = NULL;
    if (rc == CAIRN_OK) h->durable = h->done;
    return rc;
}

void history_abandon(history *h) {
    if (h->store != NULL) (void)history_try_close(h);
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
    bool text = h->profile.text && random_one_in(&h->rng, 2);
    h->values[id] = (history_value){.size = size, .key = key};
    h->values[id].bytes = text ? text_window(&h->rng, size) : random_window(&h->rng, size);
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
        [STEP_PUT] = 31,   [STEP_PUT_IF_ABSENT] = 5, [STEP_WRITER] = 7,     [STEP_WRITER_ABORT] = 2, [STEP_DELETE] = 14,
        [STEP_BATCH] = 13, [STEP_SYNC] = 4,          [STEP_CHECKPOINT] = 5, [STEP_REOPEN] = 5,       [STEP_WAIT] = 5,
        [STEP_READ] = 2,   [STEP_SNAPSHOT] = 3,      [STEP_COMPACT] = 4};
    unsigned roll = (unsigned)random_below(&h->rng, 100);
    if (h->profile.batch_one_in != 0 && random_one_in(&h->rng, h->profile.batch_one_in)) return STEP_BATCH;
    for (unsigned kind = 0; kind < STEP_KINDS; kind++) {
        if (roll < weights[kind]) return (step_kind)kind;
        roll -= weights[kind];
    }
    return STEP_PUT;
}

/* Some keys several times, now and then one that is absent is deleted. */
static void fill_batch(history *h, history_step *s) {
    s->batch_count = (unsigned)random_below(&h->rng, HISTORY_BATCH_MAX + 1);
    for (unsigned i = 0; i < s->batch_count; i++) {
        history_change *c = &s->batch[i];
        c->key = i > 0 && random_one_in(&h->rng, 5) ? s->batch[0].key : (uint8_t)random_below(&h->rng, HISTORY_KEYS);
        /* Each step to come may want a value. */
        bool puts = h->value_count + HISTORY_STEPS_MAX - h->done + 1 < HISTORY_VALUES_MAX;
        size_t size = random_one_in(&h->rng, 4) ? random_size(h) : (size_t)random_below(&h->rng, 300);
        c->value = puts && !random_one_in(&h->rng, 4) ? (uint8_t)add_value(h, c->key, size) : 0;
    }
}

static bool puts_one(step_kind kind) { return kind <= STEP_WRITER; }
static bool changes(step_kind kind) { return kind <= STEP_BATCH && kind != STEP_WRITER_ABORT; }

static history_step random_step(history *h) {
    history_step s = {.kind = random_kind(h), .key = (unsigned)random_below(&h->rng, HISTORY_KEYS)};
    if (s.kind <= STEP_WRITER_ABORT) s.value = add_value(h, s.key, random_size(h));
    if (s.kind == STEP_BATCH) fill_batch(h, &s);
    s.sync = s.kind <= STEP_BATCH && random_one_in(&h->rng, 8);
    bool may_expire = s.kind <= STEP_WRITER_ABORT || s.kind == STEP_BATCH;
    if (may_expire && h->profile.ttl_one_in != 0 && random_one_in(&h->rng, h->profile.ttl_one_in)) {
        s.ttl_ms = 1 + random_below(&h->rng, 400);
    }
    return s;
}

static bool is_present(const history *h, size_t row, unsigned key) {
    return history_value_at(h, row, key, history_now_ms(h)) != 0;
}

/* The row gets this value, or none. */
static void set_next(history *h, const history_step *s, unsigned key, unsigned value) {
    h->state[h->done + 1][key] = (uint8_t)value;
    if (value != 0 && s->ttl_ms != 0) h->values[value].expires_at_ms = history_now_ms(h) + s->ttl_ms;
}

/* What the step will return, and the row that it leaves. */
static int foresee(history *h, history_step *s) {
    bool present = is_present(h, h->done, s->key);
    memcpy(h->state[h->done + 1], h->state[h->done], sizeof h->state[0]);
    if (s->kind == STEP_PUT_IF_ABSENT && present) return CAIRN_EXISTS;
    if ((s->kind == STEP_DELETE || s->kind == STEP_READ) && !present) return CAIRN_NOT_FOUND;
    s->writes = puts_one(s->kind) || s->kind == STEP_DELETE;
    if (puts_one(s->kind)) set_next(h, s, s->key, s->value);
    if (s->kind == STEP_DELETE) set_next(h, s, s->key, 0);
    for (unsigned i = 0; i < s->batch_count; i++) {
        const history_change *c = &s->batch[i];
        set_next(h, s, c->key, c->value);
        if (history_batch_decides(s, i) && (c->value != 0 || is_present(h, h->done, c->key))) s->writes = true;
    }
    return CAIRN_OK;
}

static bool learn_version(history *h, unsigned value, uint64_t older, finding *f) {
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    history_value *v = &h->values[value];
    const history_key *key = &h->keys[v->key];
    int rc = cairn_stat(h->store, key->bytes, key->size, &entry, &error);
    if (rc != CAIRN_OK) return finding_note(f, "stat of what was put: %d %s", rc, error.message);
    if (entry.version <= older) {
        return finding_note(f, "version %llu given out, but %llu was before", (unsigned long long)entry.version,
                            (unsigned long long)older);
    }
    if (entry.expires_at_ms != v->expires_at_ms) return finding_note(f, "another expiry than was asked for");
    v->version = entry.version;
    h->highest = max_u64(h->highest, entry.version);
    return true;
}

static bool learn_versions(history *h, const history_step *s, finding *f) {
    uint64_t older = h->highest;
    bool good = !puts_one(s->kind) || learn_version(h, s->value, older, f);
    for (unsigned i = 0; good && i < s->batch_count; i++) {
        if (s->batch[i].value == 0 || !history_batch_decides(s, i)) continue;
        good = learn_version(h, s->batch[i].value, older, f);
    }
    return good;
}

static void learn_durability(history *h, const history_step *s) {
    bool synced = s->writes && (s->sync || h->profile.durability == CAIRN_DURABILITY_SYNC);
    if (synced || s->kind == STEP_SYNC || s->kind == STEP_CHECKPOINT || s->kind == STEP_REOPEN ||
        s->kind == STEP_COMPACT) {
        h->durable = h->done;
    } else if (changes(s->kind) && h->profile.durability == CAIRN_DURABILITY_DEFAULT && !h->plan_hit) {
        /* Without threads a change does what was due before it; it does not fail when that does. */
        while (h->durable < h->done && h->steps[h->durable].returned_ms + SYNC_INTERVAL_MS <= history_now_ms(h))
            h->durable++;
    }
}

static bool is_of_a_fault(int rc) {
    return rc == CAIRN_IO || rc == CAIRN_FULL || rc == CAIRN_FAILED || rc == CAIRN_NO_MEMORY;
}

static void settle(history *h, const history_step *s) {
    h->steps[h->done] = *s;
    h->steps[h->done++].returned_ms = history_now_ms(h);
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
    if (!learn_versions(h, s, f)) return false;
    learn_durability(h, s);
    return true;
}

static bool take(history *h, history_step s, finding *f) {
    CHECK(h->done < HISTORY_STEPS_MAX);
    cairn_error error = {0};
    int expected = foresee(h, &s);
    h->steps[h->done] = s;
    h->in_flight = true;
    s.result = history_run_step(h, &s, &error);
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
    static const char *const names[STEP_KINDS] = {"put",   "put-if-absent", "writer",     "writer-abort", "delete",
                                                  "batch", "sync",          "checkpoint", "reopen",       "wait",
                                                  "read",  "snapshot",      "compact"};
    finding_add(f, "\nhistory: durability %d, compression %d, cache %llx, mask %llx, done %zu%s, durable %zu\n",
                h->profile.durability, h->profile.compression, (unsigned long long)h->profile.cache_bytes,
                (unsigned long long)h->profile.hash_mask, h->done, h->in_flight ? " and one in flight" : "",
                h->durable);
    for (size_t i = 0; i < history_high(h) && i < HISTORY_STEPS_MAX; i++) {
        const history_step *s = &h->steps[i];
        const history_value *v = &h->values[s->value];
        finding_add(f, "%zu %s%s", i, names[s->kind], s->sync ? " sync" : "");
        if (s->kind <= STEP_DELETE || s->kind == STEP_READ) finding_add(f, " key %u", s->key);
        if (s->value != 0) finding_add(f, " size %zu version %llu", v->size, (unsigned long long)v->version);
        for (unsigned j = 0; j < s->batch_count; j++) {
            const history_value *part = &h->values[s->batch[j].value];
            finding_add(f, " [key %u size %zu version %llu]", s->batch[j].key, part->size,
                        (unsigned long long)part->version);
        }
        if (s->ttl_ms != 0) finding_add(f, " ttl %llu", (unsigned long long)s->ttl_ms);
        finding_add(f, "%s\n", i == h->done ? " (in flight)" : s->result != 0 ? " (refused)" : "");
    }
}

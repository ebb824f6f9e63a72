/* What the model keeps of changes, so that it can go back behind a power cut; batches; the clock. */
#include "src/base/check.h"
#include "tests/support/model_steps.h"
#include "tests/support/rung.h"

#include <stdlib.h>

#define BATCH_MAX 400u

uint64_t wall_clock(const model_run *r) { return r->os->clock_ms(r->os); }

/* ---- Changes and their undoing ---- */

uint64_t next_change(model_run *r) { return ++r->changes; }

static void remember(model_run *r, uint64_t change, size_t key) {
    if (r->undo_count == r->undo_capacity) {
        r->undo_capacity = r->undo_capacity == 0 ? 256 : r->undo_capacity * 2;
        r->undo = realloc(r->undo, r->undo_capacity * sizeof *r->undo);
        CHECK(r->undo != NULL);
    }
    r->undo[r->undo_count++] = (model_undo){.change = change, .key = key, .old = r->model.values[key]};
}

void keep_put(model_run *r, uint64_t change, size_t key, const model_value *v) {
    remember(r, change, key);
    model_put(&r->model, key, v);
}

void keep_delete(model_run *r, uint64_t change, size_t key) {
    remember(r, change, key);
    model_delete(&r->model, key);
}

void model_run_is_durable(model_run *r) { r->undo_count = 0; }

static uint64_t version_at(const model_value *v, uint64_t now_ms) {
    bool there = v->bytes != NULL && (v->expires_at_ms == 0 || v->expires_at_ms > now_ms);
    return there ? v->version : 0;
}

static bool look_for_versions(model_run *r, uint64_t *versions) {
    for (size_t key = r->first_key; key < r->model.key_count; key++) {
        cairn_error error = {0};
        cairn_entry entry = {.struct_size = sizeof entry};
        key_bytes k;
        key_of(key, &k);
        int rc = cairn_stat(r->store, k.bytes, k.size, &entry, &error);
        if (rc != CAIRN_NOT_FOUND && !is_code(r, rc, CAIRN_OK, "stat", key, &error)) return false;
        versions[key] = rc == CAIRN_OK ? entry.version : 0;
    }
    return true;
}

/* Takes the newest change back. */
static void undo_one(model_run *r, const uint64_t *versions, uint64_t now_ms, size_t *wrong) {
    uint64_t change = r->undo[r->undo_count - 1].change;
    while (r->undo_count > 0 && r->undo[r->undo_count - 1].change == change) {
        const model_undo *u = &r->undo[--r->undo_count];
        *wrong -= version_at(&r->model.values[u->key], now_ms) != versions[u->key];
        *wrong += version_at(&u->old, now_ms) != versions[u->key];
        if (u->old.bytes != NULL) {
            model_put(&r->model, u->key, &u->old);
        } else {
            model_delete(&r->model, u->key);
        }
    }
}

bool model_run_rewind(model_run *r) {
    uint64_t now_ms = wall_clock(r), *versions = calloc(r->model.key_count, sizeof *versions);
    size_t wrong = 0;
    CHECK(versions != NULL);
    bool good = look_for_versions(r, versions);
    for (size_t key = r->first_key; good && key < r->model.key_count; key++) {
        wrong += version_at(&r->model.values[key], now_ms) != versions[key];
    }
    while (good && wrong > 0 && r->undo_count > 0) {
        undo_one(r, versions, now_ms, &wrong);
    }
    free(versions);
    if (good && wrong > 0) {
        good = finding_note(r->finding, "after a power cut the store holds no prefix of what returned: %zu keys differ",
                            wrong);
    }
    model_expire(&r->model, now_ms);
    model_run_is_durable(r);
    return good;
}

/* ---- What was put ---- */

bool learn_put(model_run *r, uint64_t change, size_t key, const model_value *v, const cairn_put_options *o,
               uint64_t before, uint64_t older) {
    key_bytes k;
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    uint64_t earliest = 0, latest = 0;
    if (o->ttl_ms != 0) {
        if (add_overflows(before, o->ttl_ms, &earliest)) earliest = UINT64_MAX;
        if (add_overflows(wall_clock(r), o->ttl_ms, &latest)) latest = UINT64_MAX;
    }
    key_of(key, &k);
    int rc = cairn_stat(r->store, k.bytes, k.size, &entry, &error);
    if (!is_code(r, rc, CAIRN_OK, "stat", key, &error)) return false;
    if (entry.version <= older || entry.value_size != v->size || entry.stored_size == 0 ||
        entry.expires_at_ms < earliest || entry.expires_at_ms > latest) {
        return finding_note(r->finding, "stat of key %zu after a put: version %llu above %llu, size %llu, expiry %llu",
                            key, (unsigned long long)entry.version, (unsigned long long)older,
                            (unsigned long long)entry.value_size, (unsigned long long)entry.expires_at_ms);
    }
    model_value kept = *v;
    kept.version = entry.version;
    kept.stored_size = entry.stored_size;
    kept.expires_at_ms = entry.expires_at_ms;
    r->highest = max_u64(r->highest, entry.version);
    keep_put(r, change, key, &kept);
    return true;
}

bool learn_single_put(model_run *r, size_t key, const model_value *v, const cairn_put_options *o, uint64_t before) {
    bool good = learn_put(r, next_change(r), key, v, o, before, r->highest);
    if (o->sync || r->synced) model_run_is_durable(r);
    return good;
}

/* ---- Batches ---- */

typedef struct batch_item {
    size_t key;
    model_value value; /* bytes == NULL: a deletion */
} batch_item;

/* Many small values, or some like those of puts. */
static size_t fill_batch(model_run *r, cairn_batch *batch, batch_item *items) {
    bool many = random_one_in(&r->rng, 20);
    size_t count = (size_t)random_below(&r->rng, many ? BATCH_MAX + 1 : 13);
    for (size_t i = 0; i < count; i++) {
        key_bytes k;
        batch_item *item = &items[i];
        item->key = i > 0 && random_one_in(&r->rng, 6) ? items[random_below(&r->rng, i)].key : any_key(r);
        key_of(item->key, &k);
        int rc;
        if (random_one_in(&r->rng, 4)) {
            item->value = (model_value){0};
            rc = cairn_batch_delete(batch, k.bytes, k.size);
        } else {
            item->value = any_value(r);
            if (many) item->value.size = item->value.size % 300;
            rc = cairn_batch_put(batch, k.bytes, k.size, item->value.bytes, item->value.size);
        }
        CHECK(rc == CAIRN_OK);
    }
    return count;
}

static bool is_last(const batch_item *items, size_t count, size_t i) {
    for (size_t j = i + 1; j < count; j++) {
        if (items[j].key == items[i].key) return false;
    }
    return true;
}

static bool learn_batch(model_run *r, const batch_item *items, size_t count, const cairn_put_options *o,
                        uint64_t before) {
    uint64_t change = next_change(r), older = r->highest;
    bool puts = false;
    for (size_t i = 0; i < count; i++) {
        if (!is_last(items, count, i)) continue;
        if (items[i].value.bytes == NULL) {
            keep_delete(r, change, items[i].key);
        } else if (!learn_put(r, change, items[i].key, &items[i].value, o, before, older)) {
            return false;
        }
        puts = puts || items[i].value.bytes != NULL;
    }
    /* One that changes nothing writes nothing, and so syncs nothing. */
    if (puts && (o->sync || r->synced)) model_run_is_durable(r);
    return true;
}

bool do_batch(model_run *r) {
    cairn_error error = {0};
    cairn_batch *batch = NULL;
    cairn_put_options o = {.struct_size = sizeof o, .sync = random_one_in(&r->rng, 20)};
    batch_item *items = malloc(BATCH_MAX * sizeof *items);
    CHECK(items != NULL && cairn_batch_new(&batch) == CAIRN_OK);
    size_t count = fill_batch(r, batch, items);
    if (random_one_in(&r->rng, 3)) o.ttl_ms = any_ttl(r);
    bool good = true;
    if (random_one_in(&r->rng, 20)) {
        cairn_put_options refused = {.struct_size = sizeof refused, .if_absent = true};
        good = is_code(r, cairn_batch_commit(r->store, batch, &refused, &error), CAIRN_INVALID, "batch", 0, &error);
    }
    do {
        uint64_t before = wall_clock(r);
        int rc = good ? cairn_batch_commit(r->store, batch, &o, &error) : CAIRN_OK;
        good = good && is_code(r, rc, CAIRN_OK, "batch", 0, &error) && learn_batch(r, items, count, &o, before);
    } while (good && random_one_in(&r->rng, 10));
    cairn_batch_free(batch);
    free(items);
    return good;
}

/* ---- Time ---- */

bool do_wait(model_run *r) {
    sim_clock_advance(r->disk, 1 + random_below(&r->rng, random_one_in(&r->rng, 20) ? 20000 : 300));
    model_expire(&r->model, wall_clock(r));
    return true;
}

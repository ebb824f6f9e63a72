#include "src/base/check.h"
#include "tests/support/model_steps.h"
#include "tests/support/rung.h"
#include "tests/support/text.h"

#include <stdlib.h>
#include <string.h>

void model_run_init(model_run *r, cairn *store, size_t first_key, size_t key_count, uint64_t seed, finding *f) {
    *r = (model_run){.store = store, .os = os_posix(), .first_key = first_key, .rng = seed, .finding = f};
    model_init(&r->model, first_key + key_count);
}

void model_run_release(model_run *r) {
    free(r->undo);
    model_release(&r->model);
}

/* ---- Choices ---- */

size_t any_key(model_run *r) {
    size_t keys = r->model.key_count - r->first_key;
    /* One in two from a sixteenth of them, so that keys are written again. */
    if (random_one_in(&r->rng, 2)) keys = max_u64(keys / 16, 1);
    return r->first_key + (size_t)random_below(&r->rng, keys);
}

void key_of(size_t key, key_bytes *k) { k->size = model_key(key, &k->bytes, k->small); }

static size_t any_size(model_run *r) {
    static const size_t edges[] = {0,      1,      7,      8,      63,      64,     65,     4095,
                                   4096,   4097,   65535,  65536,  65537,   131071, 131072, 131073,
                                   262143, 262144, 262145, 327680, 1048576, 1048577};
    uint64_t roll = random_below(&r->rng, 1000);
    if (roll < 30) return edges[random_below(&r->rng, sizeof edges / sizeof edges[0])];
    if (roll < 35) return (size_t)random_below(&r->rng, 300000);
    if (roll < 36) return (size_t)random_below(&r->rng, (size_t)3 << 20);
    if (roll < 100) return (size_t)random_below(&r->rng, 20000);
    return (size_t)random_below(&r->rng, 300);
}

model_value any_value(model_run *r) {
    size_t size = any_size(r);
    bool compresses = random_one_in(&r->rng, 2);
    return (model_value){.bytes = compresses ? text_window(&r->rng, size) : random_window(&r->rng, size), .size = size};
}

/* Where nobody moves the clock it is too long to end. */
uint64_t any_ttl(model_run *r) {
    if (random_one_in(&r->rng, 50)) return UINT64_MAX - random_below(&r->rng, 3);
    return r->disk == NULL || random_one_in(&r->rng, 8) ? 100000000 + random_below(&r->rng, 1000)
                                                        : 1 + random_below(&r->rng, 3000);
}

bool is_code(model_run *r, int rc, int expected, const char *call, size_t key, const cairn_error *error) {
    if (rc == expected) return true;
    return finding_note(r->finding, "%s of key %zu: %d instead of %d: %s", call, key, rc, expected, error->message);
}

/* ---- Changes ---- */

cairn_put_options any_options(model_run *r, size_t key, bool deletes) {
    cairn_put_options o = {.struct_size = sizeof o, .sync = random_one_in(&r->rng, 50)};
    const model_value *v = &r->model.values[key];
    uint64_t roll = random_below(&r->rng, 10);
    if (roll == 0 && !deletes) o.if_absent = true;
    /* The version of what is there, or has expired. */
    if (roll == 1) o.if_version = v->version != 0 ? v->version : 1 + random_below(&r->rng, 100);
    if (roll == 2) o.if_version = 1 + random_below(&r->rng, r->highest + 2);
    if (!deletes && random_one_in(&r->rng, 6)) o.ttl_ms = any_ttl(r);
    return o;
}

int judge_options(const model_run *r, const cairn_put_options *o, size_t key) {
    const model_value *v = &r->model.values[key];
    if (o->if_absent && v->bytes != NULL) return CAIRN_EXISTS;
    if (o->if_version != 0 && (v->bytes == NULL || v->version != o->if_version)) return CAIRN_EXISTS;
    return CAIRN_OK;
}

static bool do_put(model_run *r) {
    size_t key = any_key(r);
    key_bytes k;
    cairn_error error = {0};
    model_value v = any_value(r);
    cairn_put_options o = any_options(r, key, false);
    int expected = judge_options(r, &o, key);
    key_of(key, &k);
    uint64_t before = wall_clock(r);
    int rc = cairn_put(r->store, k.bytes, k.size, v.bytes, v.size, &o, &error);
    if (!is_code(r, rc, expected, "put", key, &error)) return false;
    return rc != CAIRN_OK || learn_single_put(r, key, &v, &o, before);
}

static bool do_delete(model_run *r) {
    size_t key = any_key(r);
    key_bytes k;
    cairn_error error = {0};
    cairn_put_options o = any_options(r, key, true);
    int expected = judge_options(r, &o, key);
    if (expected == CAIRN_OK && r->model.values[key].bytes == NULL) expected = CAIRN_NOT_FOUND;
    key_of(key, &k);
    int rc = cairn_delete(r->store, k.bytes, k.size, &o, &error);
    if (!is_code(r, rc, expected, "delete", key, &error)) return false;
    if (rc == CAIRN_OK) keep_delete(r, next_change(r), key);
    if (rc == CAIRN_OK && (o.sync || r->synced)) model_run_is_durable(r);
    return true;
}

/* ---- Reads ---- */

bool is_same(model_run *r, const char *call, size_t key, const void *got, size_t got_size, const uint8_t *bytes,
             size_t size) {
    if (got_size == size && memcmp(got, bytes, size) == 0) return true;
    return finding_note(r->finding, "%s of key %zu gives other bytes: %zu, not %zu", call, key, got_size, size);
}

bool get_agrees(model_run *r, const model *m, cairn_snapshot *snapshot) {
    const char *call = snapshot == NULL ? "get" : "snapshot_get";
    size_t key = any_key(r), size = 0;
    key_bytes k;
    cairn_error error = {0};
    void *value = NULL;
    const model_value *v = &m->values[key];
    key_of(key, &k);
    int rc = snapshot == NULL ? cairn_get(r->store, k.bytes, k.size, &value, &size, &error)
                              : cairn_snapshot_get(snapshot, k.bytes, k.size, &value, &size, &error);
    if (!is_code(r, rc, v->bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, call, key, &error)) return false;
    bool good = rc != CAIRN_OK ? value == NULL : value != NULL && is_same(r, call, key, value, size, v->bytes, v->size);
    cairn_free(value);
    return good || finding_note(r->finding, "%s of key %zu: the pointer is wrong", call, key);
}

static bool do_get_into(model_run *r) {
    size_t key = any_key(r), size = 0;
    key_bytes k;
    cairn_error error = {0};
    const model_value *v = &r->model.values[key];
    size_t cap = v->size + 2 - (size_t)random_below(&r->rng, min_u64(v->size, 2) + 3);
    uint8_t *buf = malloc(cap + 1);
    CHECK(buf != NULL);
    key_of(key, &k);
    int rc = cairn_get_into(r->store, k.bytes, k.size, buf, cap, &size, &error);
    int expected = v->bytes == NULL ? CAIRN_NOT_FOUND : cap < v->size ? CAIRN_TOO_SMALL : CAIRN_OK;
    bool good = is_code(r, rc, expected, "get_into", key, &error);
    if (good && rc == CAIRN_OK) good = is_same(r, "get_into", key, buf, size, v->bytes, v->size);
    if (good && rc == CAIRN_TOO_SMALL && size != v->size) good = finding_note(r->finding, "get_into: size %zu", size);
    free(buf);
    return good;
}

/* A range of a value of that size: mostly inside, sometimes over the end or behind it. */
void any_range(model_run *r, size_t size, uint64_t *offset, size_t *len) {
    *offset = random_below(&r->rng, size + 10);
    *len = (size_t)random_below(&r->rng, random_one_in(&r->rng, 4) ? size + 10 : 300);
}

size_t in_range(const model_value *v, uint64_t offset, size_t len) {
    return offset >= v->size ? 0 : (size_t)min_u64(len, v->size - offset);
}

static bool do_read(model_run *r) {
    size_t key = any_key(r), got = 0, len;
    uint64_t offset;
    key_bytes k;
    cairn_error error = {0};
    const model_value *v = &r->model.values[key];
    any_range(r, v->size, &offset, &len);
    uint8_t *buf = malloc(len + 1);
    CHECK(buf != NULL);
    key_of(key, &k);
    int rc = cairn_read(r->store, k.bytes, k.size, offset, buf, len, &got, &error);
    bool good = is_code(r, rc, v->bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "read", key, &error);
    size_t expected = in_range(v, offset, len);
    if (good && rc == CAIRN_OK)
        good = is_same(r, "read", key, buf, got, v->bytes + (expected == 0 ? 0 : offset), expected);
    free(buf);
    return good;
}

static bool do_stat(model_run *r) {
    size_t key = any_key(r);
    key_bytes k;
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    key_of(key, &k);
    int rc = cairn_stat(r->store, k.bytes, k.size, &entry, &error);
    if (rc != CAIRN_NOT_FOUND && !is_code(r, rc, CAIRN_OK, "stat", key, &error)) return false;
    return model_entry_agrees(&r->model, key, rc, &entry, r->finding);
}

bool model_run_let_go(model_run *r) {
    bool good = true;
    for (size_t i = 0; i < MODEL_HELD_MAX; i++) {
        good = let_go_held(r, &r->held[i]) && good;
    }
    return good;
}

bool model_run_holds(const model_run *r) {
    for (size_t i = 0; i < MODEL_HELD_MAX; i++) {
        if (r->held[i].kind != HELD_NONE) return true;
    }
    return false;
}

/* ---- One step ---- */

static bool do_sync(model_run *r, bool checkpoint) {
    cairn_error error = {0};
    int rc = checkpoint ? cairn_checkpoint(r->store, &error) : cairn_sync(r->store, &error);
    if (!is_code(r, rc, CAIRN_OK, checkpoint ? "checkpoint" : "sync", 0, &error)) return false;
    model_run_is_durable(r);
    return true;
}

/* There may be too little to learn from. */
static bool do_train(model_run *r) {
    cairn_error error = {0};
    cairn_train_options o = {.struct_size = sizeof o, .dictionary_bytes = 512 + (uint32_t)random_below(&r->rng, 3000)};
    cairn_train_result result = {.struct_size = sizeof result};
    int rc = cairn_train(r->store, &o, &result, &error);
    return rc == CAIRN_UNSUPPORTED || is_code(r, rc, CAIRN_OK, "train", 0, &error);
}

static bool do_compact(model_run *r) {
    cairn_error error = {0};
    cairn_compact_options o = {.struct_size = sizeof o, .full = random_one_in(&r->rng, 2), .min_garbage_ratio = 0.05};
    int rc = cairn_compact(r->store, &o, NULL, &error);
    return is_code(r, rc, CAIRN_OK, "compact", 0, &error);
}

bool model_run_step(model_run *r) {
    uint64_t roll = random_below(&r->rng, 1000);
    model_held *h = &r->held[random_below(&r->rng, MODEL_HELD_MAX)];
    r->operations++;
    if (roll < 350) return do_put(r);
    if (roll < 390) return do_batch(r);
    if (roll < 500) return do_delete(r);
    if (roll < 600) return get_agrees(r, &r->model, NULL);
    if (roll < 670) return do_get_into(r);
    if (roll < 750) return do_read(r);
    if (roll < 790) return do_stat(r);
    if (roll < 810) return r->disk == NULL || do_wait(r);
    if (roll < 955) return use_held(r, h);
    if (roll < 984) return let_go_held(r, h);
    if (roll < 985) return do_train(r);
    if (roll < 988) return do_compact(r);
    if (roll < 996) return do_sync(r, false);
    if (roll < 999) return do_sync(r, true);
    return r->shared || model_agrees(&r->model, r->store, r->finding);
}

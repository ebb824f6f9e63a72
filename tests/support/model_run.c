#include "tests/support/model_run.h"

#include "src/base/check.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

typedef struct key_bytes {
    const uint8_t *bytes;
    size_t size;
    uint8_t small[8];
} key_bytes;

void model_run_init(model_run *r, cairn *store, size_t first_key, size_t key_count, uint64_t seed, finding *f) {
    *r = (model_run){.store = store, .first_key = first_key, .rng = seed, .finding = f};
    model_init(&r->model, first_key + key_count);
}

void model_run_release(model_run *r) { model_release(&r->model); }

/* ---- Choices ---- */

static size_t any_key(model_run *r) {
    size_t keys = r->model.key_count - r->first_key;
    /* One in two from a sixteenth of them, so that keys are written again. */
    if (random_one_in(&r->rng, 2)) keys = max_u64(keys / 16, 1);
    return r->first_key + (size_t)random_below(&r->rng, keys);
}

static void key_of(size_t key, key_bytes *k) { k->size = model_key(key, &k->bytes, k->small); }

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

static model_value any_value(model_run *r) {
    size_t size = any_size(r);
    return (model_value){.bytes = random_window(&r->rng, size), .size = size};
}

static bool is(model_run *r, int rc, int expected, const char *call, size_t key, const cairn_error *error) {
    if (rc == expected) return true;
    return finding_note(r->finding, "%s of key %zu: %d instead of %d: %s", call, key, rc, expected, error->message);
}

/* ---- Changes ---- */

static bool learn_version(model_run *r, size_t key, const model_value *v) {
    key_bytes k;
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    key_of(key, &k);
    int rc = cairn_stat(r->store, k.bytes, k.size, &entry, &error);
    if (!is(r, rc, CAIRN_OK, "stat", key, &error)) return false;
    if (entry.version <= r->highest || entry.value_size != v->size || entry.stored_size < v->size) {
        return finding_note(r->finding, "stat of key %zu after a put: version %llu, size %llu", key,
                            (unsigned long long)entry.version, (unsigned long long)entry.value_size);
    }
    r->highest = entry.version;
    model_put(&r->model, key, v->bytes, v->size, entry.version);
    return true;
}

/* Conditions, mostly none, and what they make of the call. */
static cairn_put_options any_options(model_run *r, size_t key, bool deletes) {
    cairn_put_options o = {.struct_size = sizeof o, .sync = random_one_in(&r->rng, 50)};
    const model_value *v = &r->model.values[key];
    uint64_t roll = random_below(&r->rng, 10);
    if (roll == 0 && !deletes) o.if_absent = true;
    if (roll == 1) o.if_version = v->bytes != NULL ? v->version : 1 + random_below(&r->rng, 100);
    if (roll == 2) o.if_version = 1 + random_below(&r->rng, r->highest + 2);
    return o;
}

static int judge(const model_run *r, const cairn_put_options *o, size_t key) {
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
    int expected = judge(r, &o, key);
    key_of(key, &k);
    int rc = cairn_put(r->store, k.bytes, k.size, v.bytes, v.size, &o, &error);
    if (!is(r, rc, expected, "put", key, &error)) return false;
    return rc != CAIRN_OK || learn_version(r, key, &v);
}

static bool do_delete(model_run *r) {
    size_t key = any_key(r);
    key_bytes k;
    cairn_error error = {0};
    cairn_put_options o = any_options(r, key, true);
    int expected = judge(r, &o, key);
    if (expected == CAIRN_OK && r->model.values[key].bytes == NULL) expected = CAIRN_NOT_FOUND;
    key_of(key, &k);
    int rc = cairn_delete(r->store, k.bytes, k.size, &o, &error);
    if (!is(r, rc, expected, "delete", key, &error)) return false;
    if (rc == CAIRN_OK) model_delete(&r->model, key);
    return true;
}

/* ---- Reads ---- */

static bool same(model_run *r, const char *call, size_t key, const void *got, size_t got_size, const uint8_t *bytes,
                 size_t size) {
    if (got_size == size && memcmp(got, bytes, size) == 0) return true;
    return finding_note(r->finding, "%s of key %zu gives other bytes: %zu, not %zu", call, key, got_size, size);
}

static bool do_get(model_run *r) {
    size_t key = any_key(r), size = 0;
    key_bytes k;
    cairn_error error = {0};
    void *value = NULL;
    const model_value *v = &r->model.values[key];
    key_of(key, &k);
    int rc = cairn_get(r->store, k.bytes, k.size, &value, &size, &error);
    if (!is(r, rc, v->bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "get", key, &error)) return false;
    bool good = rc != CAIRN_OK ? value == NULL : value != NULL && same(r, "get", key, value, size, v->bytes, v->size);
    cairn_free(value);
    return good || finding_note(r->finding, "get of key %zu: the pointer is wrong", key);
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
    bool good = is(r, rc, expected, "get_into", key, &error);
    if (good && rc == CAIRN_OK) good = same(r, "get_into", key, buf, size, v->bytes, v->size);
    if (good && rc == CAIRN_TOO_SMALL && size != v->size) good = finding_note(r->finding, "get_into: size %zu", size);
    free(buf);
    return good;
}

/* A range of a value of that size: mostly inside, sometimes over the end or behind it. */
static void any_range(model_run *r, size_t size, uint64_t *offset, size_t *len) {
    *offset = random_below(&r->rng, size + 10);
    *len = (size_t)random_below(&r->rng, random_one_in(&r->rng, 4) ? size + 10 : 300);
}

static size_t in_range(const model_value *v, uint64_t offset, size_t len) {
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
    bool good = is(r, rc, v->bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "read", key, &error);
    size_t expected = in_range(v, offset, len);
    if (good && rc == CAIRN_OK)
        good = same(r, "read", key, buf, got, v->bytes + (expected == 0 ? 0 : offset), expected);
    free(buf);
    return good;
}

static bool do_stat(model_run *r) {
    size_t key = any_key(r);
    key_bytes k;
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    const model_value *v = &r->model.values[key];
    key_of(key, &k);
    int rc = cairn_stat(r->store, k.bytes, k.size, &entry, &error);
    if (!is(r, rc, v->bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "stat", key, &error)) return false;
    if (rc != CAIRN_OK || (entry.version == v->version && entry.value_size == v->size && entry.expires_at_ms == 0)) {
        return true;
    }
    return finding_note(r->finding, "stat of key %zu: another entry", key);
}

/* ---- What is held open ---- */

static bool hold_reader(model_run *r, model_held *h) {
    cairn_error error = {0};
    key_bytes k;
    cairn_reader *reader = NULL;
    key_of(h->key, &k);
    int rc = cairn_reader_open(r->store, k.bytes, k.size, &reader, &error);
    if (!is(r, rc, h->value.bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "reader", h->key, &error)) return false;
    if (rc != CAIRN_OK) return true;
    h->kind = HELD_READER;
    h->handle = reader;
    return cairn_reader_size(reader) == h->value.size || finding_note(r->finding, "a reader tells a wrong size");
}

static bool hold_view(model_run *r, model_held *h) {
    cairn_error error = {0};
    key_bytes k;
    cairn_view *view = NULL;
    key_of(h->key, &k);
    int rc = cairn_view_open(r->store, k.bytes, k.size, &view, &error);
    if (!is(r, rc, h->value.bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "view", h->key, &error)) return false;
    if (rc != CAIRN_OK) return true;
    h->kind = HELD_VIEW;
    h->handle = view;
    return true;
}

static bool hold_writer(model_run *r, model_held *h) {
    cairn_error error = {0};
    key_bytes k;
    cairn_writer *writer = NULL;
    key_of(h->key, &k);
    h->value = any_value(r);
    if (random_one_in(&r->rng, 4)) {
        h->value.size = (size_t)random_below(&r->rng, 900000);
        h->value.bytes = random_window(&r->rng, h->value.size);
    }
    h->written = 0;
    h->options = any_options(r, h->key, false);
    int rc = cairn_writer_open(r->store, k.bytes, k.size, &h->options, &writer, &error);
    if (!is(r, rc, CAIRN_OK, "writer", h->key, &error)) return false;
    h->kind = HELD_WRITER;
    h->handle = writer;
    return true;
}

static bool hold_scan(model_run *r, model_held *h) {
    cairn_error error = {0};
    cairn_scan *scan = NULL;
    int rc = cairn_scan_open(r->store, NULL, &scan, &error);
    if (!is(r, rc, CAIRN_OK, "scan", 0, &error)) return false;
    h->kind = HELD_SCAN;
    h->handle = scan;
    h->scanned = 0;
    model_copy(&h->then, &r->model);
    return true;
}

static bool hold(model_run *r, model_held *h) {
    h->key = any_key(r);
    h->value = r->model.values[h->key];
    uint64_t roll = random_below(&r->rng, 20);
    if (roll < 7) return hold_reader(r, h);
    if (roll < 12) return hold_view(r, h);
    if (roll < 19 || r->shared) return hold_writer(r, h);
    return hold_scan(r, h);
}

static bool use_reader(model_run *r, model_held *h) {
    cairn_error error = {0};
    uint64_t offset;
    size_t len, got = 0;
    any_range(r, h->value.size, &offset, &len);
    uint8_t *buf = malloc(len + 1);
    CHECK(buf != NULL);
    int rc = cairn_reader_pread(h->handle, buf, len, offset, &got, &error);
    size_t expected = in_range(&h->value, offset, len);
    bool good = is(r, rc, CAIRN_OK, "reader_pread", h->key, &error) &&
                same(r, "reader_pread", h->key, buf, got, h->value.bytes + (expected == 0 ? 0 : offset), expected);
    free(buf);
    return good;
}

static bool use_scan(model_run *r, model_held *h) {
    cairn_error error = {0};
    size_t size;
    const void *value;
    int rc = cairn_scan_next(h->handle, &error);
    if (rc == CAIRN_DONE) {
        return h->scanned == h->then.present ||
               finding_note(r->finding, "a scan ends after %zu keys of %zu", h->scanned, h->then.present);
    }
    if (!is(r, rc, CAIRN_OK, "scan_next", 0, &error)) return false;
    const void *bytes = cairn_scan_key(h->handle, &size);
    size_t key = model_key_number(&h->then, bytes, size);
    if (key == SIZE_MAX || h->then.values[key].bytes == NULL) {
        return finding_note(r->finding, "a scan gives key %zu, which was not there at its opening, or twice", key);
    }
    model_value v = h->then.values[key];
    h->then.values[key].bytes = NULL; /* given */
    h->scanned++;
    rc = cairn_scan_value(h->handle, &value, &size, &error);
    return is(r, rc, CAIRN_OK, "scan_value", key, &error) && same(r, "scan_value", key, value, size, v.bytes, v.size);
}

static bool use_writer(model_run *r, model_held *h) {
    cairn_error error = {0};
    size_t piece = (size_t)random_below(&r->rng, h->value.size - h->written + 1);
    int rc = cairn_writer_write(h->handle, h->value.bytes + h->written, piece, &error);
    h->written += piece;
    return is(r, rc, CAIRN_OK, "writer_write", h->key, &error);
}

static bool use_view(model_run *r, model_held *h) {
    return same(r, "view", h->key, cairn_view_data(h->handle), cairn_view_size(h->handle), h->value.bytes,
                h->value.size);
}

static bool use(model_run *r, model_held *h) {
    switch (h->kind) {
    case HELD_READER:
        return use_reader(r, h);
    case HELD_VIEW:
        return use_view(r, h);
    case HELD_SCAN:
        return use_scan(r, h);
    case HELD_WRITER:
        return use_writer(r, h);
    default:
        return hold(r, h);
    }
}

static bool finish_writer(model_run *r, model_held *h) {
    cairn_error error = {0};
    if (random_one_in(&r->rng, 5)) {
        cairn_writer_abort(h->handle);
        return true;
    }
    int rc = cairn_writer_write(h->handle, h->value.bytes + h->written, h->value.size - h->written, &error);
    if (!is(r, rc, CAIRN_OK, "writer_write", h->key, &error)) return false;
    int expected = judge(r, &h->options, h->key);
    rc = cairn_writer_commit(h->handle, &error);
    return is(r, rc, expected, "writer_commit", h->key, &error) &&
           (rc != CAIRN_OK || learn_version(r, h->key, &h->value));
}

static bool let_go(model_run *r, model_held *h) {
    bool good = true;
    switch (h->kind) {
    case HELD_READER:
        good = use_reader(r, h);
        cairn_reader_close(h->handle);
        break;
    case HELD_VIEW:
        good = use_view(r, h);
        cairn_view_close(h->handle);
        break;
    case HELD_SCAN:
        cairn_scan_close(h->handle);
        model_release(&h->then);
        break;
    case HELD_WRITER:
        good = finish_writer(r, h);
        break;
    default:
        break;
    }
    h->kind = HELD_NONE;
    return good;
}

bool model_run_let_go(model_run *r) {
    bool good = true;
    for (size_t i = 0; i < MODEL_HELD_MAX; i++) {
        good = let_go(r, &r->held[i]) && good;
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

bool model_run_step(model_run *r) {
    cairn_error error = {0};
    uint64_t roll = random_below(&r->rng, 1000);
    model_held *h = &r->held[random_below(&r->rng, MODEL_HELD_MAX)];
    r->operations++;
    if (roll < 400) return do_put(r);
    if (roll < 530) return do_delete(r);
    if (roll < 630) return do_get(r);
    if (roll < 700) return do_get_into(r);
    if (roll < 780) return do_read(r);
    if (roll < 820) return do_stat(r);
    if (roll < 960) return use(r, h);
    if (roll < 985) return let_go(r, h);
    if (roll < 996) return is(r, cairn_sync(r->store, &error), CAIRN_OK, "sync", 0, &error);
    if (roll < 999) return is(r, cairn_checkpoint(r->store, &error), CAIRN_OK, "checkpoint", 0, &error);
    return r->shared || model_agrees(&r->model, r->store, r->finding);
}

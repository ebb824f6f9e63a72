/* Steps of a model run on what is kept open over other steps: readers, views, scans, writers, snapshots. */
#include "src/base/check.h"
#include "tests/support/model_steps.h"
#include "tests/support/rung.h"

#include <stdlib.h>

static bool hold_reader(model_run *r, model_held *h) {
    cairn_error error = {0};
    key_bytes k;
    cairn_reader *reader = NULL;
    key_of(h->key, &k);
    int rc = cairn_reader_open(r->store, k.bytes, k.size, &reader, &error);
    if (!is_code(r, rc, h->value.bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "reader", h->key, &error)) return false;
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
    if (!is_code(r, rc, h->value.bytes != NULL ? CAIRN_OK : CAIRN_NOT_FOUND, "view", h->key, &error)) return false;
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
    if (!is_code(r, rc, CAIRN_OK, "writer", h->key, &error)) return false;
    h->kind = HELD_WRITER;
    h->handle = writer;
    return true;
}

static bool hold_scan(model_run *r, model_held *h) {
    cairn_error error = {0};
    cairn_scan *scan = NULL;
    int rc = cairn_scan_open(r->store, NULL, &scan, &error);
    if (!is_code(r, rc, CAIRN_OK, "scan", 0, &error)) return false;
    h->kind = HELD_SCAN;
    h->handle = scan;
    h->scanned = 0;
    model_copy(&h->then, &r->model);
    return true;
}

static bool hold_snapshot(model_run *r, model_held *h) {
    cairn_error error = {0};
    cairn_snapshot *snapshot = NULL;
    int rc = cairn_snapshot_open(r->store, &snapshot, &error);
    if (!is_code(r, rc, CAIRN_OK, "snapshot", 0, &error)) return false;
    h->kind = HELD_SNAPSHOT;
    h->handle = snapshot;
    model_copy(&h->then, &r->model);
    return true;
}

static bool hold(model_run *r, model_held *h) {
    h->key = any_key(r);
    h->value = r->model.values[h->key];
    uint64_t roll = random_below(&r->rng, 20);
    if (roll < 7) return hold_reader(r, h);
    if (roll < 12) return hold_view(r, h);
    if (roll < 15) return hold_snapshot(r, h);
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
    bool good = is_code(r, rc, CAIRN_OK, "reader_pread", h->key, &error) &&
                is_same(r, "reader_pread", h->key, buf, got, h->value.bytes + (expected == 0 ? 0 : offset), expected);
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
    if (!is_code(r, rc, CAIRN_OK, "scan_next", 0, &error)) return false;
    const void *bytes = cairn_scan_key(h->handle, &size);
    size_t key = model_key_number(&h->then, bytes, size);
    if (key == SIZE_MAX || h->then.values[key].bytes == NULL) {
        return finding_note(r->finding, "a scan gives key %zu, which was not there at its opening, or twice", key);
    }
    model_value v = h->then.values[key];
    h->then.values[key].bytes = NULL; /* given */
    h->scanned++;
    rc = cairn_scan_value(h->handle, &value, &size, &error);
    return is_code(r, rc, CAIRN_OK, "scan_value", key, &error) &&
           is_same(r, "scan_value", key, value, size, v.bytes, v.size);
}

static bool use_writer(model_run *r, model_held *h) {
    cairn_error error = {0};
    size_t piece = (size_t)random_below(&r->rng, h->value.size - h->written + 1);
    int rc = cairn_writer_write(h->handle, h->value.bytes + h->written, piece, &error);
    h->written += piece;
    return is_code(r, rc, CAIRN_OK, "writer_write", h->key, &error);
}

static bool use_view(model_run *r, model_held *h) {
    return is_same(r, "view", h->key, cairn_view_data(h->handle), cairn_view_size(h->handle), h->value.bytes,
                   h->value.size);
}

static bool use_snapshot(model_run *r, model_held *h) {
    cairn_entry entry = {.struct_size = sizeof entry};
    key_bytes k;
    size_t key = any_key(r);
    if (!r->shared && random_one_in(&r->rng, 40)) {
        return model_scan_agrees(&h->then, r->store, h->handle, r->finding);
    }
    if (!random_one_in(&r->rng, 4)) return get_agrees(r, &h->then, h->handle);
    key_of(key, &k);
    int rc = cairn_snapshot_stat(h->handle, k.bytes, k.size, &entry, NULL);
    return model_entry_agrees(&h->then, key, rc, &entry, r->finding);
}

/* What a snapshot pinned becomes dead when it is closed; nothing else changes, but by compaction. */
static bool close_snapshot(model_run *r, model_held *h) {
    cairn_stats before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    bool good = use_snapshot(r, h);
    int rc = cairn_stats_get(r->store, &before, NULL);
    cairn_snapshot_close(h->handle);
    if (rc == CAIRN_OK) rc = cairn_stats_get(r->store, &after, NULL);
    if (rc != CAIRN_OK) return finding_note(r->finding, "stats: %d", rc);
    if (!good || r->shared) return good;
    if (after.snapshots + 1 != before.snapshots || after.pinned_bytes > before.pinned_bytes ||
        (after.snapshots + after.scans == 0 && after.pinned_bytes != 0)) {
        return finding_note(r->finding, "closing one of %llu snapshots leaves %llu bytes pinned of %llu",
                            (unsigned long long)before.snapshots, (unsigned long long)after.pinned_bytes,
                            (unsigned long long)before.pinned_bytes);
    }
    uint64_t sum = before.live_bytes + before.dead_bytes + before.pinned_bytes;
    return r->compacts || sum == after.live_bytes + after.dead_bytes + after.pinned_bytes ||
           finding_note(r->finding, "closing a snapshot changes the sum of live, dead and pinned bytes");
}

bool use_held(model_run *r, model_held *h) {
    switch (h->kind) {
    case HELD_READER:
        return use_reader(r, h);
    case HELD_VIEW:
        return use_view(r, h);
    case HELD_SCAN:
        return use_scan(r, h);
    case HELD_WRITER:
        return use_writer(r, h);
    case HELD_SNAPSHOT:
        return use_snapshot(r, h);
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
    if (!is_code(r, rc, CAIRN_OK, "writer_write", h->key, &error)) return false;
    int expected = judge_options(r, &h->options, h->key);
    uint64_t before = wall_clock(r);
    rc = cairn_writer_commit(h->handle, &error);
    return is_code(r, rc, expected, "writer_commit", h->key, &error) &&
           (rc != CAIRN_OK || learn_single_put(r, h->key, &h->value, &h->options, before));
}

bool let_go_held(model_run *r, model_held *h) {
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
    case HELD_SNAPSHOT:
        good = close_snapshot(r, h);
        model_release(&h->then);
        break;
    default:
        break;
    }
    h->kind = HELD_NONE;
    return good;
}

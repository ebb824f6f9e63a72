#include "tests/support/model.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

#define ONE_BYTE_KEYS 256u

void model_init(model *m, size_t key_count) {
    *m = (model){.key_count = key_count, .values = calloc(key_count, sizeof *m->values)};
    CHECK(m->values != NULL);
}

void model_copy(model *to, const model *from) {
    model_init(to, from->key_count);
    memcpy(to->values, from->values, from->key_count * sizeof *from->values);
    to->present = from->present;
}

void model_release(model *m) {
    free(m->values);
    *m = (model){0};
}

void model_put(model *m, size_t key, const model_value *v) {
    if (m->values[key].bytes == NULL) m->present++;
    m->values[key] = *v;
}

void model_delete(model *m, size_t key) {
    if (m->values[key].bytes != NULL) m->present--;
    m->values[key] = (model_value){0};
}

void model_expire(model *m, uint64_t now_ms) {
    for (size_t key = 0; key < m->key_count; key++) {
        uint64_t version = m->values[key].version, expires = m->values[key].expires_at_ms;
        if (m->values[key].bytes == NULL || expires == 0 || expires > now_ms) continue;
        model_delete(m, key);
        m->values[key].version = version;
    }
}

/* ---- Keys ---- */

/* A longer key is 4 bytes with its number and then, where it is to be longer than that, pool bytes. */
size_t model_key(size_t key, const uint8_t **bytes, uint8_t small[8]) {
    static _Thread_local uint8_t large[2][MODEL_KEY_SIZE_MAX];
    static _Thread_local unsigned turn;
    if (key < ONE_BYTE_KEYS) {
        small[0] = (uint8_t)key;
        *bytes = small;
        return 1;
    }
    le32_put(small, (uint32_t)key);
    *bytes = small;
    if (key % 64 != 63) return 4;
    uint64_t state = key;
    size_t size = 4097 + (size_t)random_below(&state, MODEL_KEY_SIZE_MAX - 4096);
    uint8_t *to = large[turn++ % 2];
    memcpy(to, random_window(&state, size), size);
    memcpy(to, small, 4);
    *bytes = to;
    return size;
}

size_t model_key_number(const model *m, const void *bytes, size_t size) {
    uint8_t small[8];
    const uint8_t *expected;
    size_t key = SIZE_MAX;
    if (size == 1) key = *(const uint8_t *)bytes;
    if (size >= 4) key = le32_get(bytes);
    if (key >= m->key_count || model_key(key, &expected, small) != size) return SIZE_MAX;
    return memcmp(expected, bytes, size) == 0 ? key : SIZE_MAX;
}

/* ---- Comparing ---- */

static bool scan_entry_agrees(const model *m, cairn_scan *scan, bool *seen, finding *f) {
    cairn_error error = {0};
    const void *value;
    size_t size;
    const void *bytes = cairn_scan_key(scan, &size);
    size_t key = model_key_number(m, bytes, size);
    if (key == SIZE_MAX || m->values[key].bytes == NULL || seen[key]) {
        return finding_note(f, "the scan gives key %zu, which is absent, unknown or given twice", key);
    }
    seen[key] = true;
    int rc = cairn_scan_value(scan, &value, &size, &error);
    if (rc != CAIRN_OK) return finding_note(f, "scan: %d %s", rc, error.message);
    bool same = size == m->values[key].size && memcmp(value, m->values[key].bytes, size) == 0;
    return same || finding_note(f, "the scan gives another value of key %zu", key);
}

bool model_scan_agrees(const model *m, cairn *store, cairn_snapshot *snapshot, finding *f) {
    cairn_scan_options o = {.struct_size = sizeof o, .snapshot = snapshot};
    cairn_error error = {0};
    cairn_scan *scan = NULL;
    size_t count = 0;
    int rc = cairn_scan_open(store, &o, &scan, &error);
    if (rc != CAIRN_OK) return finding_note(f, "scan: %d %s", rc, error.message);
    bool *seen = calloc(m->key_count, sizeof *seen);
    CHECK(seen != NULL);
    while (!f->found && (rc = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        count += scan_entry_agrees(m, scan, seen, f);
    }
    cairn_scan_close(scan);
    free(seen);
    if (f->found) return false;
    if (rc != CAIRN_DONE) return finding_note(f, "scan: %d %s", rc, error.message);
    return count == m->present || finding_note(f, "the scan gives %zu keys of %zu", count, m->present);
}

bool model_entry_agrees(const model *m, size_t key, int rc, const cairn_entry *entry, finding *f) {
    const model_value *v = &m->values[key];
    if (rc == CAIRN_NOT_FOUND && v->bytes == NULL) return true;
    if (rc != CAIRN_OK || v->bytes == NULL) return finding_note(f, "stat of key %zu: %d", key, rc);
    bool same = entry->version == v->version && entry->value_size == v->size && entry->stored_size == v->stored_size &&
                entry->expires_at_ms == v->expires_at_ms;
    return same ||
           finding_note(
               f, "key %zu has version %llu, %llu bytes, %llu stored, expiry %llu instead of %llu, %zu, %llu, %llu",
               key, (unsigned long long)entry->version, (unsigned long long)entry->value_size,
               (unsigned long long)entry->stored_size, (unsigned long long)entry->expires_at_ms,
               (unsigned long long)v->version, v->size, (unsigned long long)v->stored_size,
               (unsigned long long)v->expires_at_ms);
}

static bool key_agrees(const model *m, cairn *store, size_t key, finding *f) {
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    uint8_t small[8];
    const uint8_t *bytes;
    size_t size = model_key(key, &bytes, small);
    int rc = cairn_stat(store, bytes, size, &entry, &error);
    return model_entry_agrees(m, key, rc, &entry, f);
}

static bool stats_agree(const model *m, cairn *store, finding *f) {
    cairn_error error = {0};
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t live = 0, expiring = 0;
    for (size_t key = 0; key < m->key_count; key++) {
        if (m->values[key].bytes == NULL) continue;
        live += m->values[key].stored_size;
        expiring += m->values[key].expires_at_ms != 0;
    }
    int rc = cairn_stats_get(store, &stats, &error);
    if (rc != CAIRN_OK) return finding_note(f, "stats: %d %s", rc, error.message);
    if (stats.keys != m->present || stats.expiring_keys != expiring || stats.live_bytes != live) {
        return finding_note(f, "stats tell of %llu keys, %llu expiring, %llu live bytes; they are %zu, %llu, %llu",
                            (unsigned long long)stats.keys, (unsigned long long)stats.expiring_keys,
                            (unsigned long long)stats.live_bytes, m->present, (unsigned long long)expiring,
                            (unsigned long long)live);
    }
    return stats.snapshots + stats.scans != 0 || stats.pinned_bytes == 0 ||
           finding_note(f, "%llu bytes are pinned without a snapshot", (unsigned long long)stats.pinned_bytes);
}

static void keep_damage(const cairn_error *what, const void *key, size_t key_size, void *ctx) {
    (void)key;
    (void)key_size;
    *(cairn_error *)ctx = *what;
}

bool model_agrees(const model *m, cairn *store, finding *f) {
    cairn_error error = {0}, damage = {0};
    cairn_verify_options o = {.struct_size = sizeof o, .damage = keep_damage, .ctx = &damage};
    cairn_verify_result result = {.struct_size = sizeof result};
    bool good = model_scan_agrees(m, store, NULL, f);
    for (size_t key = 0; good && key < m->key_count; key++) {
        good = key_agrees(m, store, key, f);
    }
    if (!good) return false;
    int rc = cairn_verify(store, &o, &result, &error);
    if (rc != CAIRN_OK || result.damaged != 0) {
        return finding_note(f, "verify: %d %s, %llu damaged, the last: %s", rc, error.message,
                            (unsigned long long)result.damaged, damage.message);
    }
    return stats_agree(m, store, f);
}

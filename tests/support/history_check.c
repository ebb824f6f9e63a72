/* Comparing an open store with the rows of a history. */
#include "src/base/status.h"
#include "src/store/store.h"
#include "tests/support/history.h"

#include <string.h>

uint8_t history_value_at(const history *h, size_t row, unsigned key, uint64_t now_ms) {
    uint8_t id = h->state[row][key];
    uint64_t expires = h->values[id].expires_at_ms;
    return expires != 0 && expires <= now_ms ? 0 : id;
}

bool history_rows_agree(const history *h, size_t row, size_t other, uint64_t now_ms) {
    bool same = true;
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        same = same && history_value_at(h, row, k, now_ms) == history_value_at(h, other, k, now_ms);
    }
    return same;
}

bool history_stats_agree(const history *h, size_t row, const cairn_stats *stats, finding *f) {
    uint64_t keys = 0, expiring = 0;
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        uint8_t id = history_value_at(h, row, k, history_now_ms(h));
        keys += id != 0;
        expiring += id != 0 && h->values[id].expires_at_ms != 0;
    }
    if (stats->keys == keys && stats->expiring_keys == expiring && stats->pinned_bytes == 0) return true;
    return finding_note(f, "stats: %llu keys, %llu that expire, %llu bytes pinned; they are %llu, %llu, none",
                        (unsigned long long)stats->keys, (unsigned long long)stats->expiring_keys,
                        (unsigned long long)stats->pinned_bytes, (unsigned long long)keys,
                        (unsigned long long)expiring);
}

/* The value that the store's version of this key must be; 0 when no step made it. */
static unsigned value_of_version(const history *h, unsigned key, uint64_t version) {
    unsigned unknown = 0;
    for (unsigned id = 1; id < h->value_count; id++) {
        if (h->values[id].key != key) continue;
        if (h->values[id].version == version) return id;
        if (h->values[id].version == 0 && version > h->highest) unknown = id; /* the last is in flight */
    }
    return unknown;
}

static bool check_key(const history *h, cairn *store, unsigned k, uint8_t *id, finding *f) {
    const history_key *key = &h->keys[k];
    cairn_error error = {0};
    cairn_entry entry = {.struct_size = sizeof entry};
    void *value = NULL;
    size_t size = 0;
    *id = 0;
    int rc = cairn_stat(store, key->bytes, key->size, &entry, &error);
    if (rc == CAIRN_NOT_FOUND) return true;
    if (rc != CAIRN_OK) return finding_note(f, "stat of key %u: %d %s", k, rc, error.message);
    *id = (uint8_t)value_of_version(h, k, entry.version);
    if (*id == 0) {
        return finding_note(f, "key %u has version %llu, which no step made", k, (unsigned long long)entry.version);
    }
    const history_value *v = &h->values[*id];
    rc = cairn_get(store, key->bytes, key->size, &value, &size, &error);
    if (rc != CAIRN_OK) return finding_note(f, "get of key %u: %d %s", k, rc, error.message);
    bool same = size == v->size && entry.value_size == size && memcmp(value, v->bytes, size) == 0;
    cairn_free(value);
    return same ||
           finding_note(f, "key %u, version %llu: another value than was put", k, (unsigned long long)entry.version);
}

static bool check_scan(const history *h, cairn *store, const uint8_t *there, finding *f) {
    cairn_error error = {0};
    cairn_scan *scan = NULL;
    bool seen[HISTORY_KEYS] = {false};
    int rc = cairn_scan_open(store, NULL, &scan, &error);
    if (rc != CAIRN_OK) return finding_note(f, "scan: %d %s", rc, error.message);
    while ((rc = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        size_t size;
        const void *bytes = cairn_scan_key(scan, &size);
        unsigned k = 0;
        while (k < HISTORY_KEYS && (h->keys[k].size != size || memcmp(h->keys[k].bytes, bytes, size) != 0))
            k++;
        if (k == HISTORY_KEYS || seen[k] || there[k] == 0) {
            finding_note(f, "the scan gives key %u, which is absent, unknown or given twice", k);
            break;
        }
        seen[k] = true;
    }
    cairn_scan_close(scan);
    if (f->found) return false;
    if (rc != CAIRN_DONE) return finding_note(f, "scan: %d %s", rc, error.message);
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        if (there[k] != 0 && !seen[k]) return finding_note(f, "the scan leaves out key %u", k);
    }
    return true;
}

static bool is_row(const history *h, size_t row, const uint8_t *there, uint64_t now_ms) {
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        if (history_value_at(h, row, k, now_ms) != there[k]) return false;
    }
    return true;
}

bool history_check(const history *h, cairn *store, size_t low, size_t high, size_t *row, finding *f) {
    uint8_t there[HISTORY_KEYS];
    uint64_t now_ms = store->os->clock_ms(store->os); /* of the disk that is looked at */
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        if (!check_key(h, store, k, &there[k], f)) return false;
    }
    /* From the highest: where rows are equal, the later one is the one with more in it. */
    for (size_t r = high + 1; r-- > low;) {
        if (!is_row(h, r, there, now_ms)) continue;
        *row = r;
        return check_scan(h, store, there, f);
    }
    finding_note(f, "not a row from %zu to %zu:", low, high);
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        finding_add(f, " key %u version %llu (rows %llu, %llu)", k, (unsigned long long)h->values[there[k]].version,
                    (unsigned long long)h->values[h->state[low][k]].version,
                    (unsigned long long)h->values[h->state[high][k]].version);
    }
    return false;
}

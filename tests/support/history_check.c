/* Comparing an open store with the rows of a history. */
#include "src/base/status.h"
#include "tests/support/history.h"

#include <string.h>

/* The value that the store's version of this key must be; 0 when no step made it. */
static unsigned value_of_version(const history *h, unsigned key, uint64_t version) {
    unsigned unknown = 0;
    for (unsigned id = 1; id < h->value_count; id++) {
        if (h->values[id].key != key) continue;
        if (h->values[id].version == version) return id;
        if (h->values[id].version == 0 && version > h->highest) unknown = id; /* only the last can be in flight */
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

bool history_check(const history *h, cairn *store, size_t low, size_t high, size_t *row, finding *f) {
    uint8_t there[HISTORY_KEYS];
    for (unsigned k = 0; k < HISTORY_KEYS; k++) {
        if (!check_key(h, store, k, &there[k], f)) return false;
    }
    /* From the highest: where rows are equal, the later one is the one with more in it. */
    for (size_t r = high + 1; r-- > low;) {
        if (memcmp(h->state[r], there, sizeof there) != 0) continue;
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

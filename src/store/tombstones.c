#include "src/store/tombstones.h"

#include "src/base/array.h"
#include "src/base/check.h"

#include <stdlib.h>

void tombstones_release(tombstones *t) {
    free(t->list);
    *t = (tombstones){0};
}

int tombstones_add(tombstones *t, key_hash hash, uint64_t version) {
    tombstone *grown = array_with_room(t->list, &t->capacity, t->count, sizeof *grown, 64);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    t->list = grown;
    t->list[t->count++] = (tombstone){.hash = hash, .version = version};
    return CAIRN_OK;
}

static int compare_hashes(key_hash a, key_hash b) {
    if (a.index != b.index) return a.index < b.index ? -1 : 1;
    return a.check < b.check ? -1 : a.check > b.check;
}

static int by_hash_and_version(const void *a, const void *b) {
    const tombstone *x = a, *y = b;
    int order = compare_hashes(x->hash, y->hash);
    return order != 0 ? order : (x->version > y->version) - (x->version < y->version);
}

void tombstones_settle(tombstones *t) {
    size_t kept = 0;
    if (t->count > 0) qsort(t->list, t->count, sizeof *t->list, by_hash_and_version);
    for (size_t i = 0; i < t->count; i++) {
        bool newest = i + 1 == t->count || compare_hashes(t->list[i].hash, t->list[i + 1].hash) != 0;
        if (newest) t->list[kept++] = t->list[i];
    }
    t->count = kept;
}

uint64_t tombstones_newest(const tombstones *t) {
    uint64_t newest = 0;
    for (size_t i = 0; i < t->count; i++) {
        newest = max_u64(newest, t->list[i].version);
    }
    return newest;
}

static tombstone *find(const tombstones *t, key_hash hash) {
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_hashes(t->list[middle].hash, hash) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < t->count && compare_hashes(t->list[low].hash, hash) == 0 ? &t->list[low] : NULL;
}

void tombstones_meet(tombstones *t, const footer_entry *e) {
    if (e->type != RECORD_PUT && e->type != RECORD_STREAM) return;
    tombstone *found = find(t, e->hash);
    if (found != NULL && e->version < found->version) found->needed = true;
}

void tombstones_need_all(tombstones *t) {
    for (size_t i = 0; i < t->count; i++) {
        t->list[i].needed = true;
    }
}

bool tombstones_is_needed(const tombstones *t, key_hash hash, uint64_t version) {
    const tombstone *found = find(t, hash);
    return found != NULL && found->version == version && found->needed;
}

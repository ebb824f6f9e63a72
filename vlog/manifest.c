/* The manifest in memory: the list of segments and the runs of granules that they own. */
#include "vlog/manifest.h"

#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 16

void manifest_init(manifest *m, const uint8_t store_id[16]) {
    *m = (manifest){.next_id = 1, .version_ceiling = 1};
    memcpy(m->store_id, store_id, sizeof m->store_id);
}

void manifest_release(manifest *m) {
    free(m->segments);
    m->segments = NULL;
    m->count = m->capacity = 0;
}

int manifest_reserve(manifest *m) {
    manifest_segment *grown = array_with_room(m->segments, &m->capacity, m->count, sizeof *grown, FIRST_CAPACITY);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    m->segments = grown;
    return CAIRN_OK;
}

manifest_segment *manifest_add(manifest *m, const manifest_segment *segment) {
    CHECK(m->count < m->capacity);
    size_t at = m->count++;
    for (; at > 0 && m->segments[at - 1].id > segment->id; at--) {
        m->segments[at] = m->segments[at - 1];
    }
    CHECK(at == 0 || m->segments[at - 1].id < segment->id);
    m->segments[at] = *segment;
    return &m->segments[at];
}

manifest_segment *manifest_find(manifest *m, uint64_t id) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->segments[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->count && m->segments[low].id == id ? &m->segments[low] : NULL;
}

void manifest_remove(manifest *m, uint64_t id) {
    manifest_segment *found = manifest_find(m, id);
    CHECK(found != NULL);
    size_t behind = m->count - (size_t)(found - m->segments) - 1;
    memmove(found, found + 1, behind * sizeof *found);
    m->count--;
}

/* ---- Runs of granules ---- */

typedef struct run {
    uint64_t begin, end;
    uint64_t id; /* of the segment that owns it */
} run;

static int compare_runs(const void *a, const void *b) {
    uint64_t x = ((const run *)a)->begin, y = ((const run *)b)->begin;
    return (x > y) - (x < y);
}

/* All runs in order of address, malloc'ed; NULL when there is no memory. */
static run *sorted_runs(const manifest *m) {
    run *runs = malloc((m->count + 1) * sizeof *runs);
    if (runs == NULL) return NULL;
    for (size_t i = 0; i < m->count; i++) {
        const manifest_segment *s = &m->segments[i];
        runs[i] = (run){.begin = s->base_granule, .end = s->base_granule + s->granules, .id = s->id};
    }
    qsort(runs, m->count, sizeof *runs, compare_runs);
    return runs;
}

int manifest_find_overlap(const manifest *m, uint64_t *id) {
    run *runs = sorted_runs(m);
    if (runs == NULL) return CAIRN_NO_MEMORY;
    *id = 0;
    for (size_t i = 1; i < m->count && *id == 0; i++) {
        if (runs[i].begin < runs[i - 1].end) *id = max_u64(runs[i].id, runs[i - 1].id);
    }
    free(runs);
    return CAIRN_OK;
}

static bool run_is_free(const manifest *m, uint64_t begin, uint64_t granules) {
    if (granules > GRANULE_COUNT - begin) return false;
    for (size_t i = 0; i < m->count; i++) {
        const manifest_segment *s = &m->segments[i];
        if (s->base_granule < begin + granules && begin < s->base_granule + s->granules) return false;
    }
    return true;
}

/* The first gap of this size that begins in [from, to]. */
static bool find_gap(const run *runs, size_t count, uint64_t granules, uint64_t from, uint64_t to, uint64_t *base) {
    uint64_t begin = from;
    for (size_t i = 0; i < count && begin <= to; i++) {
        if (runs[i].end <= begin) continue;
        if (runs[i].begin >= begin && runs[i].begin - begin >= granules) break;
        begin = runs[i].end;
    }
    if (begin > to || granules > GRANULE_COUNT - begin) return false;
    *base = begin;
    return true;
}

/* Where the next run is looked for first. */
static uint64_t start_of_search(const manifest *m) {
    if (m->next_granule != 0 || m->count == 0) return m->next_granule;
    const manifest_segment *youngest = &m->segments[m->count - 1];
    return youngest->base_granule + youngest->granules;
}

void manifest_keep_addresses(manifest *m) { m->next_granule = start_of_search(m); }

int manifest_place_run(const manifest *m, uint64_t granules, uint64_t *base_granule) {
    CHECK(granules > 0);
    if (granules > GRANULE_COUNT) return CAIRN_FULL;
    uint64_t start = start_of_search(m);
    if (run_is_free(m, start, granules)) { /* nearly always: 64 TiB pass before it is not */
        *base_granule = start;
        return CAIRN_OK;
    }
    run *runs = sorted_runs(m);
    if (runs == NULL) return CAIRN_NO_MEMORY;
    bool found = find_gap(runs, m->count, granules, start, GRANULE_COUNT, base_granule) ||
                 find_gap(runs, m->count, granules, 0, start, base_granule);
    free(runs);
    return found ? CAIRN_OK : CAIRN_FULL;
}

void manifest_run_taken(manifest *m, uint64_t base_granule, uint64_t granules) {
    if ((m->features & FEATURE_COMPACTED) != 0) m->next_granule = base_granule + granules;
}

/* What was emptied, and when it may go. A segment that compaction has emptied, or that died by itself, is removed when
 *
 *  1. the index names nothing in it, no snapshot lists a record of it, and no reader or view has one open;
 *  2. every reader has left that may have met a location in it before;
 *  3. no scan is open that made its list before;
 *  4. no segment stays that has parts of a batch whose COMMIT it holds: what there is of them, deletions too, would
 *     not count any more where the index is built from the log alone;
 *  5. a checkpoint is durable that began after all of this, so that no replay needs it (rule 1 of vlog/FORMAT.md), and
 *     with it all that superseded its records (rule 2).
 *
 * The segments of one unit go in one replacement of the manifest, because tombstones were left out for the sake of dead
 * records that go along. Value files that died go by the same steps. After a crash nobody remembers the units; their
 * segments are still there, and empty, and are found again. */
#include "src/base/status.h"
#include "src/store/compact.h"

#include <stdlib.h>
#include <string.h>

typedef struct drained {
    struct drained *next;
    uint64_t last_snapshot; /* when it was emptied: scans up to it may have met it */
    size_t count;
    vlog_space segments[]; /* as they were when they were chosen */
} drained;

/* ---- Waiting for readers ---- */

typedef struct barrier {
    epoch_entry entry; /* first */
    atomic_bool passed;
} barrier;

static void pass(epoch_entry *entry) { atomic_store(&((barrier *)entry)->passed, true); }

void store_wait_readers(cairn *store) {
    barrier b;
    atomic_init(&b.passed, false);
    epoch_retire(store->readers, &b.entry, pass);
    while (!atomic_load(&b.passed)) {
        os_nap_us(200);
        epoch_poll(store->readers);
    }
}

static void wait_readers(void *ctx) { store_wait_readers(ctx); }

/* ---- Units ---- */

int store_reclaim_later(cairn *store, const vlog_space *emptied, size_t count, cairn_error *error) {
    drained *d = malloc(sizeof *d + count * sizeof *emptied);
    if (d == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to remember %zu segments", count);
    *d = (drained){.next = store->drained, .last_snapshot = store_snapshots_last(store), .count = count};
    memcpy(d->segments, emptied, count * sizeof *emptied);
    store->drained = d;
    return CAIRN_OK;
}

bool store_reclaim_waits_for(const cairn *store, const segment *s) {
    for (const drained *d = store->drained; d != NULL; d = d->next) {
        for (size_t i = 0; i < d->count; i++) {
            if (d->segments[i].segment == s) return true;
        }
    }
    return false;
}

static void release(drained *list) {
    while (list != NULL) {
        drained *d = list;
        list = d->next;
        free(d);
    }
}

void store_reclaim_release(cairn *store) {
    release(store->drained);
    store->drained = NULL;
}

static bool is_free(const drained *d, uint64_t oldest_scan) {
    bool is_empty = d->last_snapshot < oldest_scan;
    for (size_t i = 0; is_empty && i < d->count; i++) {
        is_empty = vlog_is_empty(d->segments[i].segment);
    }
    return is_empty;
}

/* Takes the units out of the list that may go, as far as readers say. */
static drained *take_free(cairn *store, drained **from) {
    drained *free_ones = NULL;
    uint64_t oldest_scan = store_snapshots_oldest(store, true);
    for (drained **at = from; *at != NULL;) {
        drained *d = *at;
        if (is_free(d, oldest_scan)) {
            *at = d->next;
            d->next = free_ones;
            free_ones = d;
        } else {
            at = &d->next;
        }
    }
    return free_ones;
}

static void give_back(cairn *store, drained *list) {
    while (list != NULL) {
        drained *d = list;
        list = d->next;
        d->next = store->drained;
        store->drained = d;
    }
}

/* ---- COMMITs ---- */

static size_t index_of(const vlog_space *all, size_t count, uint64_t id) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    CHECK(low < count && all[low].id == id);
    return low;
}

/* Which segments stay when the units go: `stays` of each in `all`, which is in order of id. */
static void mark_staying(const drained *units, const vlog_space *all, size_t count, bool *stays) {
    for (size_t i = 0; i < count; i++) {
        stays[i] = true;
    }
    for (const drained *d = units; d != NULL; d = d->next) {
        for (size_t i = 0; i < d->count; i++) {
            stays[index_of(all, count, d->segments[i].id)] = false;
        }
    }
}

static bool parts_stay(const drained *d, const vlog_space *all, size_t count, const bool *stays) {
    for (size_t i = 0; i < d->count; i++) {
        const vlog_space *s = &d->segments[i];
        for (size_t j = 0; s->batch != UINT64_MAX && j < count; j++) {
            if (stays[j] && space_is_between(&all[j], s->batch, s->first_place)) return true;
        }
    }
    return false;
}

/* Takes the units out of the list that hold a COMMIT of parts that stay, and gives them back. Each that does may keep
 * another one. */
static int hold_back_commits(cairn *store, drained **units, cairn_error *error) {
    vlog_space *all = NULL;
    size_t count = 0;
    int rc = vlog_space_list(store->log, &all, &count);
    bool *stays = malloc(count + 1), more = rc == CAIRN_OK && stays != NULL;
    if (!more) rc = status_set(error, CAIRN_NO_MEMORY, "no memory to remove segments");
    while (more) {
        more = false;
        mark_staying(*units, all, count, stays);
        for (drained **at = units; *at != NULL;) {
            drained *d = *at;
            if (parts_stay(d, all, count, stays)) {
                *at = d->next;
                d->next = NULL;
                give_back(store, d);
                more = true;
            } else {
                at = &d->next;
            }
        }
    }
    free(stays);
    free(all);
    return rc;
}

static int remove_units(cairn *store, const drained *list, uint64_t *freed, cairn_error *error) {
    size_t count = 0;
    uint64_t covered = atomic_load(&store->covered_place);
    for (const drained *d = list; d != NULL; d = d->next) {
        count += d->count;
    }
    segment **segments = malloc((count + 1) * sizeof *segments);
    if (segments == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to remove %zu segments", count);
    count = 0;
    for (const drained *d = list; d != NULL; d = d->next) {
        for (size_t i = 0; i < d->count; i++) {
            CHECK(d->segments[i].compacted || d->segments[i].end_place <= covered);
            segments[count++] = d->segments[i].segment;
        }
    }
    int rc = vlog_remove(store->log, segments, count, atomic_load(&store->checkpoint_epoch), wait_readers, store, freed,
                         error);
    free(segments);
    return rc;
}

int store_reclaim(cairn *store, uint64_t *freed, cairn_error *error) {
    dead_stream *files = NULL;
    size_t file_count = 0;
    drained *units = take_free(store, &store->drained);
    int rc = store_streams_take_dead(store, &files, &file_count);
    if (rc != CAIRN_OK) rc = status_set(error, rc, "no memory to reclaim space");
    if (rc == CAIRN_OK && (units != NULL || file_count > 0)) {
        store_wait_readers(store);
        drained *held = units; /* by somebody who was still reading a moment ago */
        units = take_free(store, &held);
        give_back(store, held);
        rc = hold_back_commits(store, &units, error);
        if (rc == CAIRN_OK) rc = store_checkpoint(store, false, error);
        if (rc == CAIRN_OK) {
            store_streams_remove(store, files, file_count, freed);
            file_count = 0;
            if (units != NULL) rc = remove_units(store, units, freed, error);
        }
    }
    if (rc != CAIRN_OK) {
        store_streams_give_back(store, files, file_count);
        give_back(store, units);
    } else {
        release(units);
    }
    free(files);
    return rc;
}

/* Space of large dead records: given back where they lie, without copying anything (vlog/punch.h). Rules 1, 2 and 6:
 * the holes come behind a checkpoint that began after the records died and after every reader left that may have met
 * them; no snapshot, scan, reader or view has anything of the segment; and the footer that lists them is durable. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/compact.h"
#include "vlog/punch.h"

#include <stdlib.h>

#define LARGE_BYTES ((uint64_t)8 << 10)  /* records of that size on average: their footer is cheap to look at */
#define ENTRY_BYTES 20u                  /* about: of a footer's entry */
#define LEAST_GAIN ((uint64_t)256 << 10) /* of a segment: a punch costs a sync */
/* Of whole blocks in a row, since a hole costs an extent: those of a large record, wherever it begins. */
#define RUN_BYTES (RECORD_LARGE_BYTES - BLOCK_BYTES)
#define RUN_BYTES_MOVED ((uint64_t)16 << 10) /* likewise, where a copy was made for it */
#define LIVE_SHARE 32u                       /* with less live than that, a segment is emptied: it costs little */
#define SCATTERED_SHARE 8u /* with more dead than that between what lives, in short runs, it is emptied as well */

typedef struct holes {
    compaction *run;
    cairn *store;
    vlog_punch **list;
    size_t count;
    uint64_t gain;
    uint64_t last_snapshot; /* before the first look at the index */
    uint64_t run_min;
    uint64_t emptied; /* what lies before this offset was copied, or is not wanted any more */
} holes;

bool space_is_for_holes(const cairn *store, const vlog_space *s) {
    uint64_t all = s->bytes + s->freed, records = s->footer_bytes / ENTRY_BYTES + 1;
    bool large = s->punched || all / records >= LARGE_BYTES; /* a second footer tells nothing of the number */
    if (s->scattered > s->bytes / SCATTERED_SHARE) return false;
    return vlog_has_holes(store->log) && !s->no_holes && !s->shared && large && s->live >= all / LIVE_SHARE;
}

/* What expired may still be wanted as a tombstone; and what stands for another part of its batch must go on doing so.
 * Of what was emptied up to some place, tombstones that are wanted have been copied as well. */
static bool is_dead(void *ctx, const segment *s, const footer_entry *e) {
    const holes *h = ctx;
    bool is_value = e->type == RECORD_PUT || e->type == RECORD_STREAM;
    if (e->type == RECORD_COMMIT || (e->flags & RECORD_REPLACES) != 0) return false;
    if (e->offset >= h->emptied && (!is_value || (e->flags & RECORD_EXPIRES) != 0)) return false;
    return !is_value || !space_index_names(h->store, s, e);
}

static uint64_t least_gain(const vlog_space *s) {
    return max_u64(min_u64(LEAST_GAIN, s->bytes / 16), space_garbage(s) / 2);
}

static int plan_one(holes *h, const vlog_space *s, uint64_t least, cairn_error *error) {
    uint64_t gain = 0;
    vlog_punch *p = NULL;
    bool shared;
    int rc = vlog_note_shared(h->store->log, s->segment, &shared, error);
    if (rc != CAIRN_OK || shared) return rc;
    rc = vlog_punch_plan(&p, h->store->log, s->segment, is_dead, h, h->run_min, least, &gain, error);
    if (rc == CAIRN_CORRUPT) {
        vlog_forbid_holes(s->segment);
        store_say(h->store, CAIRN_LOG_ERROR, "no holes for a segment: %s", error->message);
        return CAIRN_OK;
    }
    if (p == NULL) return rc;
    h->list[h->count++] = p;
    h->gain += gain;
    return CAIRN_OK;
}

static int by_garbage(const void *a, const void *b) {
    uint64_t x = space_garbage(a), y = space_garbage(b);
    return (x < y) - (x > y);
}

/* The segments with the most garbage first, until they come to `enough`. */
static int plan(holes *h, double ratio, uint64_t enough, cairn_error *error) {
    vlog_space *list = NULL;
    size_t count = 0;
    uint64_t replay_start = store_replay_start(h->store);
    hash_index_quiesce(h->store->index); /* what was appended before that, the index knows now */
    h->last_snapshot = store_snapshots_last(h->store);
    int rc = vlog_space_list(h->store->log, &list, &count);
    if (rc == CAIRN_OK) h->list = calloc(count + 1, sizeof *h->list);
    if (rc != CAIRN_OK || h->list == NULL) {
        free(list);
        return status_set(error, CAIRN_NO_MEMORY, "no memory to compact");
    }
    qsort(list, count, sizeof *list, by_garbage);
    for (size_t i = 0; rc == CAIRN_OK && i < count && h->gain < enough; i++) {
        const vlog_space *s = &list[i];
        uint64_t garbage = space_garbage(s);
        if (garbage == 0 || (double)garbage < ratio * (double)(s->bytes + s->freed)) continue;
        if (space_is_for_holes(h->store, s) && space_may_go(h->store, s, replay_start)) {
            rc = plan_one(h, s, least_gain(s), error);
        }
    }
    free(list);
    return rc;
}

static void drop(holes *h, size_t i) {
    vlog_punch_free(h->list[i]);
    h->list[i] = h->list[--h->count];
}

/* Whoever holds anything of a segment, or may have a place in it on a list, keeps it as it is. */
static void leave_out_held(holes *h) {
    bool scanned = store_snapshots_oldest(h->store, true) <= h->last_snapshot;
    for (size_t i = h->count; i > 0; i--) {
        if (scanned || vlog_is_held(vlog_punch_segment(h->list[i - 1]))) drop(h, i - 1);
    }
}

static int write_footers(holes *h, cairn_error *error) {
    int rc = CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < h->count; i++) {
        rc = vlog_punch_write(h->list[i], error);
    }
    for (size_t i = 0; rc == CAIRN_OK && i < h->count; i++) {
        rc = vlog_punch_sync(h->list[i], error);
    }
    return rc;
}

/* A hole that cannot be punched leaves its blocks to the next time; nothing depends on them. */
static uint64_t punch_all(holes *h) {
    cairn_error error;
    uint64_t freed, all = 0;
    for (size_t i = 0; i < h->count; i++) {
        int rc = vlog_punch_holes(h->list[i], &freed, &error);
        if (rc != CAIRN_OK) store_say(h->store, CAIRN_LOG_WARNING, "%s", error.message);
        all += freed;
    }
    return all;
}

static int carry_out(holes *h, cairn_error *error) {
    cairn *store = h->store;
    store_wait_readers(store);
    leave_out_held(h);
    if (h->count == 0) return CAIRN_OK;
    int rc = store_checkpoint(store, false, error);
    if (rc == CAIRN_OK) rc = write_footers(h, error);
    if (rc == CAIRN_OK) {
        rc = vlog_punch_publish(store->log, h->list, h->count, atomic_load(&store->checkpoint_epoch), error);
    }
    if (rc != CAIRN_OK) return rc;
    store_wait_readers(store); /* verifications that know the old footers */
    h->gain = punch_all(h);
    h->run->result.bytes_freed += h->gain;
    return rc;
}

/* What was planned, where it is possible; releases all. */
static int finish(holes *h, int rc, uint64_t *gained, cairn_error *error) {
    cairn *store = h->store;
    *gained = 0;
    if (rc == CAIRN_OK && h->count > 0 && !vlog_punch_is_possible(store->log, vlog_punch_segment(h->list[0]))) {
        vlog_give_up_holes(store->log);
    } else if (rc == CAIRN_OK && h->count > 0) {
        rc = carry_out(h, error);
        if (rc == CAIRN_OK && h->count > 0) *gained = h->gain;
    }
    while (h->count > 0)
        drop(h, 0);
    free(h->list);
    return rc;
}

int holes_punch(compaction *c, double ratio, uint64_t enough, uint64_t *gained, cairn_error *error) {
    holes h = {.run = c, .store = c->store, .run_min = RUN_BYTES};
    int rc = plan(&h, ratio, enough, error);
    return finish(&h, rc, gained, error);
}

int holes_punch_moved(compaction *c, const vlog_space *list, size_t count, uint64_t *gained, cairn_error *error) {
    holes h = {.run = c,
               .store = c->store,
               .last_snapshot = store_snapshots_last(c->store),
               .run_min = RUN_BYTES_MOVED,
               .emptied = c->copy_from};
    h.list = calloc(count + 1, sizeof *h.list);
    int rc = h.list == NULL ? status_set(error, CAIRN_NO_MEMORY, "no memory to compact") : CAIRN_OK;
    for (size_t i = 0; rc == CAIRN_OK && i < count; i++) {
        rc = plan_one(&h, &list[i], 1, error);
    }
    return finish(&h, rc, gained, error);
}

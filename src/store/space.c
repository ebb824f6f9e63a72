/* How much garbage there may be, and which segments are emptied when there is more. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/compact.h"
#include "vlog/entries.h"
#include "vlog/punch.h"

#include <stdlib.h>

#define SPACE_AMP_SMALL 1.25
#define SPACE_AMP_LARGE 1.10 /* of values that holes do for */
/* Where writers are slowed, of the room from where compaction starts. Early where nothing is copied, so that they are
 * held up many times a little and not a few times long. */
#define NARROW_SMALL (1.0 / 3)
#define NARROW_LARGE 0.75
#define SLACK_MIN ((uint64_t)8 << 20)
#define SOME_BYTES ((uint64_t)256 << 10) /* manifests, roots of checkpoints, header blocks */
#define EDGE_SHARE 32u                   /* of a segment: with less at the edges of holes even `full` copies nothing */
#define SIEVE_SHARE 32u                  /* of a segment: with less scattered garbage it is not sieved */
#define LOOK_STEP ((uint64_t)1 << 20)    /* garbage that comes before the next look */

#define BRAKE_NS_A_BYTE_SMALL 40.0 /* where no room is left: 25 MB/s, ... */
#define BRAKE_NS_A_BYTE_LARGE 20.0 /* ... or 50 */
#define BRAKE_NS_MAX 20e6
#define WAIT_US 1000u
#define WAIT_US_MAX 200000u
#define WAIT_SHARE 8u                  /* of the room in which writers are slowed: with less left they wait */
#define IN_VAIN_MAX 3u                 /* looks: then what there is is held, and waiting for it does not help */
#define IN_VAIN_NS UINT64_C(100000000) /* between two that count */

/* ---- The bound ---- */

static uint64_t left_of(uint64_t bytes, uint64_t used) { return bytes - min_u64(bytes, used); }

/* Without what lies at the edges of holes, which is allocated for what lives in the same blocks. */
static uint64_t dead_bytes(const cairn *store) {
    return left_of(vlog_dead_bytes(store->log), vlog_edge_bytes(store->log)) + atomic_load(&store->dead_stream_bytes);
}

/* Of what is live: what needs no copy to be given back. */
static double large_share(const cairn *store, uint64_t live) {
    uint64_t large = vlog_live_large_bytes(store->log) + atomic_load(&store->stream_bytes);
    if (!vlog_has_holes(store->log) || live == 0) return 0;
    return (double)min_u64(large, live) / (double)live;
}

/* In between, by that share. */
static double blend(double large, double of_small, double of_large) { return of_small + large * (of_large - of_small); }

/* What is neither garbage nor live: footers, the checkpoint, whose data file is within two images of the index, the
 * ordered index, blocks written ahead, and some. Of values so small that this is much, only as much as leaves
 * compaction something to do. */
static uint64_t bytes_besides(const cairn *store, uint64_t share) {
    uint64_t bytes = vlog_footer_bytes(store->log) + 2 * hash_index_bytes(store->index) +
                     atomic_load(&store->ordered.file_bytes) + vlog_ahead_bytes(store->log) + SOME_BYTES;
    return min_u64(bytes, share / 4);
}

uint64_t space_slack(const cairn *store) { return max_u64(SLACK_MIN, 2 * vlog_segment_target(store->log)); }

store_space store_space_get(cairn *store) {
    uint64_t live = vlog_live_bytes(store->log) + atomic_load(&store->stream_bytes),
             pinned = side_table_pinned_bytes(store->side) + vlog_backup_pinned(store->log);
    double large = large_share(store, live), amp = store->options.max_space_amp;
    if (amp == 0) amp = blend(large, SPACE_AMP_SMALL, SPACE_AMP_LARGE);
    uint64_t slack = space_slack(store);
    uint64_t share = (uint64_t)((amp - 1) * (double)(live + vlog_edge_bytes(store->log) + pinned));
    share -= bytes_besides(store, share);
    uint64_t reserve = min_u64(atomic_load(&store->reserve.size), slack / 4);
    store_space s = {.large = large,
                     .garbage = left_of(dead_bytes(store), pinned),
                     .start = share * 5 / 8 + slack / 8,
                     .bound = share + slack - reserve};
    /* Half of the slack is for what is being copied and for what waits to be removed, of which holes need little. */
    uint64_t limit = share + slack / 2 + (uint64_t)(large * (double)(slack / 8 * 3)) - reserve,
             copied = atomic_load(&store->copied_bytes);
    uint64_t copying = vlog_output_under_way(store->log);
    uint64_t waited_for = left_of(s.garbage, atomic_load(&store->vain_garbage));
    s.wide = limit - s.start;
    s.narrow = (uint64_t)((double)s.wide * blend(large, NARROW_SMALL, NARROW_LARGE));
    s.room = min_u64(left_of(limit, left_of(waited_for, copied)), left_of(s.bound, waited_for + copying));
    return s;
}

void store_space_look(cairn *store) { atomic_store(&store->space_looked_at, dead_bytes(store)); }

void store_space_looked(cairn *store) {
    uint64_t dead = dead_bytes(store);
    if (dead < atomic_load(&store->space_looked_at)) atomic_store(&store->space_looked_at, dead);
}

/* What could not be given back once is not waited for; what is gained is taken off it. */
void store_space_learn(cairn *store, bool in_vain) {
    uint64_t garbage = store_space_get(store).garbage, now = store->os->monotonic_ns(store->os);
    unsigned looks = atomic_load(&store->in_vain);
    if (!in_vain || looks == 0 || now - store->in_vain_ns >= IN_VAIN_NS) {
        looks = in_vain ? looks + 1 : 0;
        store->in_vain_ns = now;
    }
    atomic_store(&store->in_vain, looks);
    if (looks < IN_VAIN_MAX) garbage = min_u64(garbage, atomic_load(&store->vain_garbage));
    atomic_store(&store->vain_garbage, garbage);
}

bool store_space_is_over(cairn *store) {
    store_space s = store_space_get(store);
    return s.garbage > s.start;
}

bool store_space_is_short(cairn *store) {
    store_space s = store_space_get(store);
    return s.room < s.narrow / WAIT_SHARE;
}

bool store_space_is_narrow(cairn *store) {
    store_space s = store_space_get(store);
    return s.room < s.narrow;
}

bool store_space_is_urgent(cairn *store) { return store_space_is_narrow(store) && atomic_load(&store->in_vain) == 0; }

bool store_space_is_due(cairn *store, bool is_narrow) {
    uint64_t dead = dead_bytes(store);
    bool is_short = is_narrow && store_space_is_short(store);
    if (!is_short && dead < atomic_load(&store->space_looked_at) + LOOK_STEP) return false;
    atomic_store(&store->space_looked_at, dead);
    return true;
}

static void slow_down(const store_space *s, uint64_t bytes) {
    double share = 1 - (double)s->room / (double)s->narrow;
    double ns = share * share * (double)bytes * blend(s->large, BRAKE_NS_A_BYTE_SMALL, BRAKE_NS_A_BYTE_LARGE);
    uint64_t us = (uint64_t)(ns < BRAKE_NS_MAX ? ns : BRAKE_NS_MAX) / 1000;
    if (us > 0) os_nap_us(us);
}

void store_space_brake(cairn *store, uint64_t bytes) {
    if (bytes == 0) return;
    store_space s = store_space_get(store);
    if (s.room >= s.narrow) return;
    slow_down(&s, bytes);
    for (uint64_t waited = 0; waited < WAIT_US_MAX && store_space_is_short(store); waited += WAIT_US) {
        os_nap_us(WAIT_US);
    }
}

/* ---- Victims ---- */

void victims_release(victims *v) {
    free(v->list);
    *v = (victims){0};
}

/* Nothing that a replay would need, that a batch under way has parts in, or that somebody holds. */
bool space_may_go(const cairn *store, const vlog_space *s, uint64_t replay_start) {
    if (s->held || s->spoiled || store_reclaim_waits_for(store, s->segment)) return false;
    return s->compacted || s->end_place <= replay_start;
}

bool space_index_names(cairn *store, const segment *s, const footer_entry *e) {
    epoch_guard guard = epoch_enter(store->readers);
    bool names = hash_index_holds(store->index, e->hash.index, vlog_entry_location(s, e));
    epoch_exit(store->readers, guard);
    return names;
}

/* The lowest number of a batch that has its COMMIT in the segment and may have parts before it, or the lowest place of
 * a part before it that one here stands for, and that would count again without it; UINT64_MAX: none. */
static int first_batch(cairn *store, const vlog_space *s, uint64_t *batch, cairn_error *error) {
    entry_cursor c;
    *batch = UINT64_MAX;
    if (s->compacted) return CAIRN_OK;
    int rc = entry_cursor_open(&c, store->log, s->segment, error);
    while (rc == CAIRN_OK && (rc = entry_cursor_next(&c, error)) == 1) {
        uint64_t needed = UINT64_MAX;
        if (c.entry.type == RECORD_COMMIT) needed = c.entry.batch;
        if (c.entry.replaces != 0) needed = c.entry.replaces;
        if (needed < s->first_place) *batch = min_u64(*batch, needed);
        rc = CAIRN_OK;
    }
    entry_cursor_close(&c);
    return rc;
}

/* Of the first v->count, those go to the others that hold a COMMIT while parts of its batch would stay, or a part that
 * stands for one, with what it was chosen for. In order of places, because each may keep the next one back. */
static int leave_out_commits(cairn *store, victims *v, cairn_error *error) {
    qsort(v->list, v->count, sizeof *v->list, vlog_space_by_id);
    size_t kept = 0;
    for (size_t i = 0; i < v->count; i++) {
        uint64_t batch;
        vlog_space candidate = v->list[i];
        int rc = first_batch(store, &candidate, &batch, error);
        if (rc == CAIRN_CORRUPT) {
            vlog_spoil(candidate.segment);
            store_say(store, CAIRN_LOG_ERROR, "compaction leaves a segment alone: %s", error->message);
        } else if (rc != CAIRN_OK) {
            return rc;
        }
        bool stays = rc == CAIRN_CORRUPT;
        for (size_t j = kept; !stays && batch != UINT64_MAX && j < v->all; j++) {
            stays = j != i && space_is_between(&v->list[j], batch, candidate.first_place);
        }
        if (stays) continue;
        candidate.batch = batch;
        v->list[i] = v->list[kept];
        v->list[kept++] = candidate;
    }
    v->count = kept;
    v->bytes = v->live = 0;
    for (size_t i = 0; i < kept; i++) {
        v->bytes += v->list[i].bytes;
        v->live += v->list[i].live;
    }
    return CAIRN_OK;
}

/* *replay_start: behind it no place counts. Every writer that has one before it is done, so that what the index says of
 * the records there is the last word: else a deletion might be left out for a value that is still copied as live. */
static int list_all(cairn *store, victims *v, uint64_t *replay_start, cairn_error *error) {
    *v = (victims){0};
    *replay_start = store_replay_start(store);
    hash_index_quiesce(store->index);
    int rc = vlog_space_list(store->log, &v->list, &v->all);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory to compact");
}

static void choose(victims *v, size_t i) {
    vlog_space chosen = v->list[i];
    v->list[i] = v->list[v->count];
    v->list[v->count++] = chosen;
}

/* Whether more is dead in it than the SKIPs of earlier builds, for which alone nothing is copied. */
static bool has_garbage(cairn *store, const vlog_space *s, uint64_t garbage) {
    uint64_t gaps = 0;
    entry_cursor c;
    cairn_error ignored;
    if (garbage == 0 || garbage > s->bytes / 64 || s->compacted) return garbage > 0;
    int rc = entry_cursor_open(&c, store->log, s->segment, &ignored);
    while (rc == CAIRN_OK && (rc = entry_cursor_next(&c, &ignored)) == 1) {
        if (c.entry.type == RECORD_SKIP) gaps += c.entry.units * UNIT_BYTES;
        rc = CAIRN_OK;
    }
    entry_cursor_close(&c);
    return garbage > gaps;
}

/* With all garbage goes what was kept for its sake. */
static bool is_wanted(cairn *store, const vlog_space *s, double ratio, bool full) {
    uint64_t garbage = space_garbage(s);
    if (full && s->edges > s->bytes / EDGE_SHARE) garbage += s->edges;
    if (space_is_for_holes(store, s) && garbage < s->bytes / 64) return false; /* as good as it gets without a copy */
    if (full) return s->kept > 0 || has_garbage(store, s, garbage);
    return garbage > 0 && (double)garbage >= ratio * (double)s->bytes;
}

int victims_by_ratio(cairn *store, double ratio, bool full, victims *v, cairn_error *error) {
    uint64_t replay_start;
    int rc = list_all(store, v, &replay_start, error);
    for (size_t i = 0; rc == CAIRN_OK && i < v->all; i++) {
        const vlog_space *s = &v->list[i];
        if (is_wanted(store, s, ratio, full) && space_may_go(store, s, replay_start)) choose(v, i);
    }
    return rc == CAIRN_OK ? leave_out_commits(store, v, error) : rc;
}

/* The share that is garbage: greedy. Weighing it with the age of what lives (cost and benefit: Rosenblum and
 * Ousterhout, "The design and implementation of a log-structured file system", 1992) wrote more: bench/NOTES.md. */
static double benefit(const vlog_space *s) { return (double)space_garbage(s) / (double)max_u64(s->bytes, 1); }

static int best_first(const void *a, const void *b) {
    double x = benefit(a), y = benefit(b);
    return x == y ? vlog_space_by_id(a, b) : (x < y) - (x > y);
}

static bool is_worth_a_copy(cairn *store, const vlog_space *s) {
    return space_garbage(s) > s->bytes / 32 && !space_is_for_holes(store, s);
}

/* A segment that sieving gains something of, and what share of what is small in it that is, about: how much of it lives
 * is guessed from all of the log. */
static double benefit_of_sieving(cairn *store, const vlog_space *s) {
    uint64_t live = vlog_live_bytes(store->log), large = min_u64(vlog_live_large_bytes(store->log), live);
    if (s->scattered <= s->bytes / SIEVE_SHARE || !space_is_for_holes(store, s)) return 0;
    double small = (double)s->live * (double)(live - large) / (double)max_u64(live, 1);
    return (double)s->scattered / ((double)s->scattered + small);
}

static double best_sieving(cairn *store, const victims *v, uint64_t replay_start) {
    double best = 0;
    for (size_t i = 0; i < v->all; i++) {
        double b = benefit_of_sieving(store, &v->list[i]);
        if (b > best && space_may_go(store, &v->list[i], replay_start)) best = b;
    }
    return best;
}

int victims_by_benefit(cairn *store, uint64_t enough, victims *v, cairn_error *error) {
    uint64_t replay_start, gain = 0;
    int rc = list_all(store, v, &replay_start, error);
    if (rc != CAIRN_OK) return rc;
    double least = best_sieving(store, v, replay_start);
    qsort(v->list, v->all, sizeof *v->list, best_first);
    for (size_t i = 0; i < v->all && gain < enough; i++) {
        const vlog_space *s = &v->list[i];
        if (benefit(s) < least) break;
        if (!is_worth_a_copy(store, s) || !space_may_go(store, s, replay_start)) continue;
        gain += space_garbage(s);
        choose(v, i);
    }
    return leave_out_commits(store, v, error);
}

static double scatter(const vlog_space *s) { return (double)s->scattered / (double)max_u64(s->bytes, 1); }

static int most_scattered_first(const void *a, const void *b) {
    double x = scatter(a), y = scatter(b);
    return x == y ? vlog_space_by_id(a, b) : (x < y) - (x > y);
}

int victims_by_scatter(cairn *store, uint64_t live, victims *v, cairn_error *error) {
    uint64_t replay_start;
    int rc = list_all(store, v, &replay_start, error);
    if (rc != CAIRN_OK) return rc;
    qsort(v->list, v->all, sizeof *v->list, most_scattered_first);
    for (size_t i = 0; i < v->all && v->live < live; i++) {
        const vlog_space *s = &v->list[i];
        if (benefit_of_sieving(store, s) == 0 || !space_may_go(store, s, replay_start)) continue;
        v->bytes += s->bytes;
        v->live += s->live;
        choose(v, i);
    }
    return CAIRN_OK;
}

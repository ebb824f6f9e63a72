/* Compaction: by the caller's wish, and by the store's own thread. What a unit is, and why nothing is lost, is told in
 * compact.h and reclaim.c. */
#include "src/store/compact.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/punch.h"

#include <errno.h>
#include <stdlib.h>

#define RATIO_DEFAULT 0.2
#define GAIN_SHARE 64u                   /* of a unit: with less a copy gains nothing */
#define RATIO_LEAST (1.0 / 32)           /* what victims_by_benefit takes */
#define DEAD_RATIO (1 - 1.0 / 32)        /* of a segment: what is emptied without being asked */
#define SIEVED_RATIO (1.0 / 16)          /* of a segment: asked for less garbage than that, it is sieved */
#define SEALED_RATIO (1.0 / 16)          /* of the active segment: with more it is sealed, where holes do for it */
#define HOLES_RATIO (1.0 / 128)          /* of a segment: what holes are punched for without being asked */
#define PACE_BYTES ((uint64_t)256 << 10) /* between two calls of the callback */
#define SLICE_NS 50000u                  /* of work in the background, between two rests */
#define NAP_US_MAX 100000u
#define ROUNDS_FULL 3u
#define SHRINK_EIGHTHS 6u /* of a shard of the index: what must be empty to be given back without being asked */
#define SHRINK_EIGHTHS_FULL 1u
#define SEAL_BYTES ((uint64_t)1 << 20)       /* a smaller active segment is not worth a file */
#define SEAL_BYTES_FULL ((uint64_t)64 << 10) /* likewise, on a full disk */
#define PART_BYTES_MIN ((uint64_t)80 << 10)  /* of a segment: with less there is no hole behind a copy */

/* ---- Pace ---- */

static uint64_t now_ns(const cairn *store) { return store->os->monotonic_ns(store->os); }

static int tell(compaction *c, cairn_error *error) {
    if (c->progress.total < c->progress.done) c->progress.total = c->progress.done;
    if (c->options.progress == NULL || c->options.progress(&c->progress, c->options.ctx) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_CANCELLED, "the compaction was cancelled");
}

/* Naps until what was looked at so far is due, and asks meanwhile. */
static int keep_to_rate(compaction *c, cairn_error *error) {
    uint64_t rate = c->options.bytes_per_second;
    uint64_t due_us = rate == 0 ? 0 : (uint64_t)((double)c->paced / (double)rate * 1e6);
    uint64_t elapsed_us = (now_ns(c->store) - c->began_ns) / 1000;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && due_us > elapsed_us) {
        uint64_t nap = min_u64(due_us - elapsed_us, NAP_US_MAX);
        os_nap_us(nap);
        elapsed_us += nap;
        rc = tell(c, error);
    }
    return rc;
}

static double share_of_rest(const store_space *s) {
    if (s->room <= s->narrow) return 0;
    double share = (double)(s->room - s->narrow) / (double)(s->wide - s->narrow);
    return share < 0.5 ? 2 * share : 1;
}

void compaction_rest(compaction *c) {
    if (!c->in_background) return;
    uint64_t worked = now_ns(c->store) - c->began_ns;
    if (worked < SLICE_NS) return;
    store_space s = store_space_get(c->store);
    /* By whoever wants to put something on a full disk, or to close. */
    bool waited_for = !store_reserve_is_whole(c->store) || atomic_load(&c->store->upkeep.stopping);
    c->owed_ns = waited_for ? 0 : c->owed_ns + (uint64_t)((double)worked * share_of_rest(&s));
    if (c->owed_ns >= SLICE_NS / 2) { /* a nap takes longer than that at least */
        os_nap_us(min_u64(c->owed_ns / 1000, NAP_US_MAX));
        c->owed_ns = 0;
    }
    c->began_ns = now_ns(c->store);
}

int compaction_advance(compaction *c, uint64_t bytes, cairn_error *error) {
    c->progress.done += bytes;
    c->result.bytes_scanned += bytes;
    c->paced += bytes;
    compaction_rest(c);
    if ((c->paced - bytes) / PACE_BYTES == c->paced / PACE_BYTES) return CAIRN_OK;
    if (c->in_background) {
        bool stopping = atomic_load(&c->store->upkeep.stopping);
        return stopping ? status_set(error, CAIRN_CANCELLED, "the store is closing") : CAIRN_OK;
    }
    int rc = keep_to_rate(c, error);
    return rc == CAIRN_OK ? tell(c, error) : rc;
}

/* ---- Units ---- */

/* How many of the victims from `from` on are emptied together: about as much live as goes into one new segment; those
 * without anything live, which come first, by themselves, because they need no space to be emptied into. */
static size_t unit_size(const victims *v, size_t from, uint64_t target) {
    uint64_t live = 0;
    size_t count = 0;
    for (; from + count < v->count; count++) {
        const vlog_space *s = &v->list[from + count];
        if (count > 0 && (live + s->live > target || (live == 0 && s->live > 0))) break;
        live += s->live + s->kept;
    }
    return count;
}

/* What the unit copies, at most. */
static uint64_t copy_bytes(const victims *v, size_t from, size_t count) {
    uint64_t bytes = 0;
    for (size_t i = from; i < from + count; i++) {
        bytes += v->list[i].live + v->list[i].kept;
    }
    return bytes;
}

static int dead_first(const void *a, const void *b) {
    const vlog_space *x = a, *y = b;
    bool x_lives = x->live > 0, y_lives = y->live > 0;
    return x_lives != y_lives ? x_lives - y_lives : vlog_space_by_id(a, b);
}

static int most_garbage_first(const void *a, const void *b) {
    uint64_t x = space_garbage(a), y = space_garbage(b);
    return x != y ? (x < y) - (x > y) : dead_first(a, b);
}

/* Bytes that may be copied before something is removed. UINT64_MAX: there is room enough. */
static uint64_t room_for_copies(const compaction *c) {
    uint64_t left, floor = store_reserve_floor(c->store), target = vlog_segment_target(c->store->log);
    if (os_dir_free_bytes(c->store->dir, &left) != 0 || left >= 2 * target + floor) return UINT64_MAX;
    return left - min_u64(left, floor);
}

static int no_room(cairn_error *error) {
    return status_os(error, -ENOSPC, "no room for what lives in the segments to be emptied");
}

/* Empties one segment a part at a time: what was copied is given back by a hole before more is. */
static int empty_in_parts(compaction *c, const victims *v, size_t at, cairn_error *error) {
    uint64_t gained = 1;
    int rc = CAIRN_OK;
    c->copy_from = 0;
    do {
        uint64_t room = room_for_copies(c), footer = v->list[at].footer_bytes; /* it gets another one */
        room -= min_u64(room, footer);
        if (gained == 0 || room < PART_BYTES_MIN || !vlog_has_holes(c->store->log)) rc = no_room(error);
        c->copy_max = room - room / 8; /* the rest for what records and entries take besides */
        if (rc == CAIRN_OK) rc = compaction_empty(c, v, at, 1, error);
        if (rc == CAIRN_OK && c->stopped_short) rc = holes_punch_moved(c, &v->list[at], 1, &gained, error);
    } while (rc == CAIRN_OK && c->stopped_short);
    c->copy_max = c->copy_from = 0;
    return rc;
}

/* What a segment with so many bytes of records and footer takes on disk. */
static uint64_t file_bytes(uint64_t bytes) {
    return bytes == 0 ? 0 : round_up(SEGMENT_DATA_OFFSET + bytes, BLOCK_BYTES);
}

static uint64_t unit_bytes(const victims *v, size_t from, size_t count) {
    uint64_t bytes = 0;
    for (size_t i = from; i < from + count; i++) {
        bytes += file_bytes(v->list[i].bytes + v->list[i].footer_bytes);
    }
    return bytes;
}

/* The unit, or in parts its first segment, when that gains something. *count: how many were looked at. */
static int empty_if_worth_it(compaction *c, const victims *v, size_t from, size_t *count, bool *emptied,
                             cairn_error *error) {
    uint64_t room = room_for_copies(c), weight = 0;
    int rc = compaction_weigh(c, v, from, *count, &weight, error);
    if (rc == CAIRN_OK && weight > room && *count > 1) {
        *count = 1;
        rc = compaction_weigh(c, v, from, 1, &weight, error);
    }
    uint64_t bytes = unit_bytes(v, from, *count);
    if (rc != CAIRN_OK || file_bytes(weight) + bytes / GAIN_SHARE > bytes) return rc;
    if (weight <= room) {
        rc = compaction_empty(c, v, from, *count, error);
    } else {
        rc = empty_in_parts(c, v, from, error);
    }
    *emptied = rc == CAIRN_OK;
    return rc;
}

/* On a full disk: the first unit that gains something and for which there is room. *from: behind it. */
static int empty_one(compaction *c, const victims *v, size_t *from, cairn_error *error) {
    uint64_t target = vlog_segment_target(c->store->log);
    bool emptied = false, lacked_room = false;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && !emptied && *from < v->count) {
        size_t count = unit_size(v, *from, min_u64(target, room_for_copies(c)));
        rc = empty_if_worth_it(c, v, *from, &count, &emptied, error);
        lacked_room = lacked_room || rc == CAIRN_FULL;
        if (rc == CAIRN_FULL) rc = CAIRN_OK;
        *from += count;
    }
    return rc == CAIRN_OK && lacked_room && !emptied ? no_room(error) : rc;
}

static int empty_next(compaction *c, const victims *v, size_t *from, cairn_error *error) {
    if (room_for_copies(c) != UINT64_MAX) return empty_one(c, v, from, error);
    size_t count = unit_size(v, *from, vlog_segment_target(c->store->log));
    *from += count;
    return compaction_empty(c, v, *from - count, count, error);
}

/* What was emptied is removed before there is much of it, or no room for the next copy, because until then it counts
 * twice; each time costs a checkpoint. */
static bool should_reclaim(const compaction *c, uint64_t waiting, uint64_t next_copy) {
    cairn *store = c->store;
    uint64_t target = vlog_segment_target(store->log), left = UINT64_MAX;
    store_space s = store_space_get(store);
    if (waiting >= (c->in_background ? 1 : 4) * target + 20 * checkpoint_cost(store->index)) return true;
    if (c->in_background && s.garbage + next_copy > s.bound) return true;
    return os_dir_free_bytes(store->dir, &left) == 0 && left < 2 * target;
}

/* What is damaged is left alone, and the rest goes on. */
static int go_on_after_damage(compaction *c, int rc, const cairn_error *error) {
    if (rc != CAIRN_CORRUPT) return rc;
    store_say(c->store, CAIRN_LOG_ERROR, "compaction leaves a segment alone: %s", error->message);
    c->damaged = true;
    return CAIRN_OK;
}

/* Empties victims until so much of them waits that it should be removed first: then the others are to be chosen anew,
 * because the list names what goes; c->left says so. Some that are damaged are left alone (c->damaged). */
static int empty_some(compaction *c, victims *v, cairn_error *error) {
    uint64_t target = vlog_segment_target(c->store->log), waiting = 0;
    int rc = CAIRN_OK;
    size_t from = 0;
    bool is_tight = room_for_copies(c) != UINT64_MAX;
    if (v->count > 0) qsort(v->list, v->count, sizeof *v->list, is_tight ? most_garbage_first : dead_first);
    while (rc == CAIRN_OK && from < v->count) {
        size_t first = from;
        if (from > 0 && should_reclaim(c, waiting, copy_bytes(v, from, unit_size(v, from, target)))) break;
        rc = go_on_after_damage(c, empty_next(c, v, &from, error), error);
        for (size_t i = first; i < from; i++) {
            waiting += v->list[i].bytes;
        }
    }
    c->left = rc == CAIRN_OK && from < v->count;
    return rc;
}

/* Empties and removes; what a failure leaves emptied is removed all the same. *gained: bytes. */
static int collect(compaction *c, victims *v, uint64_t *gained, cairn_error *error) {
    uint64_t freed = c->result.bytes_freed;
    int rc = empty_some(c, v, error);
    cairn_error why;
    int reclaimed = store_reclaim(c->store, &c->result.bytes_freed, &why);
    atomic_store(&c->store->copied_bytes, 0); /* what could not go yet is garbage like any other */
    *gained = c->result.bytes_freed - freed;
    if (rc != CAIRN_OK || reclaimed == CAIRN_OK) return rc;
    *error = why;
    return reclaimed;
}

/* All segments with at least this share of garbage. */
static int collect_by_ratio(compaction *c, double ratio, uint64_t *gained, cairn_error *error) {
    victims v = {0};
    int rc = victims_by_ratio(c->store, ratio, false, &v, error);
    if (rc == CAIRN_OK) rc = collect(c, &v, gained, error);
    victims_release(&v);
    return rc;
}

/* With all of the reserve where there is no room without. compact_lock held. */
static int run_with_reserve(compaction *c, int (*run)(compaction *c, cairn_error *error), cairn_error *error) {
    bool using = false;
    int rc = run(c, error);
    if (rc == CAIRN_FULL && store_reserve_give(c->store, &using)) rc = run(c, error);
    store_reserve_done(c->store, &using);
    if (c->result.bytes_freed > c->result.bytes_moved) atomic_fetch_add(&c->store->rooms_gained, 1);
    (void)store_reserve_keep(c->store, NULL); /* else the next put sees to it */
    return rc;
}

/* ---- By the caller's wish ---- */

static int check_options(cairn_compact_options *o, cairn_error *error) {
    if (!(o->min_garbage_ratio >= 0 && o->min_garbage_ratio <= 1)) {
        return status_set(error, CAIRN_INVALID, "min_garbage_ratio is not between 0 and 1");
    }
    if (o->min_garbage_ratio == 0 && !o->full) o->min_garbage_ratio = RATIO_DEFAULT;
    if (o->full) o->min_garbage_ratio = 0;
    return CAIRN_OK;
}

static void count_only(compaction *c, const victims *v) {
    for (size_t i = 0; i < v->count; i++) {
        const vlog_space *s = &v->list[i];
        bool holes = space_is_for_holes(c->store, s);
        c->result.bytes_scanned += s->bytes;
        c->result.bytes_moved += holes ? 0 : s->live;
        c->result.bytes_freed += holes ? space_garbage(s) : s->bytes;
    }
}

/* Copies as much as goes into one new segment, because until the holes are there it counts twice. *gained: net. */
static int sieve(compaction *c, uint64_t *gained, cairn_error *error) {
    victims v = {0};
    uint64_t moved = c->result.bytes_moved, freed = 0;
    *gained = 0;
    if (room_for_copies(c) != UINT64_MAX) return CAIRN_OK;
    int rc = victims_by_scatter(c->store, vlog_segment_target(c->store->log), &v, error);
    c->sieves = true;
    if (rc == CAIRN_OK && v.count > 0) rc = compaction_empty(c, &v, 0, v.count, error);
    c->sieves = false;
    if (rc == CAIRN_OK && v.count > 0) rc = holes_punch_moved(c, v.list, v.count, &freed, error);
    atomic_store(&c->store->copied_bytes, 0);
    victims_release(&v);
    moved = c->result.bytes_moved - moved;
    *gained = freed - min_u64(freed, moved);
    return go_on_after_damage(c, rc, error);
}

static int sieve_all(compaction *c, cairn_error *error) {
    uint64_t gained = 1;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && gained > 0) {
        rc = sieve(c, &gained, error);
    }
    return rc;
}

/* One choice of victims. *again: there is more to do, or there may be. */
static int run_round(compaction *c, bool *again, cairn_error *error) {
    victims v = {0};
    uint64_t gained = 0;
    int rc = c->options.dry_run ? CAIRN_OK : holes_punch(c, c->options.min_garbage_ratio, UINT64_MAX, &gained, error);
    /* Of segments with more the rest is copied anyway, and with all garbage also what is left between holes. */
    bool sieves = !c->options.dry_run && !c->options.full && c->options.min_garbage_ratio <= SIEVED_RATIO;
    if (rc == CAIRN_OK && sieves) rc = sieve_all(c, error);
    if (rc == CAIRN_OK) rc = victims_by_ratio(c->store, c->options.min_garbage_ratio, c->options.full, &v, error);
    if (rc == CAIRN_OK && c->options.dry_run) {
        count_only(c, &v);
    } else if (rc == CAIRN_OK) {
        *again = v.count > 0;
        c->progress.total += v.bytes;
        rc = collect(c, &v, &gained, error);
        if (rc == CAIRN_FULL && gained > 0) { /* there is space now */
            c->left = true;
            rc = CAIRN_OK;
        }
    }
    victims_release(&v);
    return rc;
}

/* What is kept in memory of what was deleted. First of all, because the checkpoints to come are smaller then. */
static void shrink_tables(cairn *store) {
    store_expiries_settle(store);
    hash_index_shrink(store->index, SHRINK_EIGHTHS_FULL);
}

/* That everything else was given back counts, and this needs space before it gives any. */
static int shrink_checkpoint(cairn *store, cairn_error *error) {
    int rc = store_checkpoint_dense(store, error);
    if (rc != CAIRN_FULL && rc != CAIRN_NO_MEMORY) return rc;
    store_say(store, CAIRN_LOG_WARNING, "the checkpoint keeps its size: %s", error->message);
    return CAIRN_OK;
}

/* It is built beside the old one, for which there may be no room. */
static void shrink_ordered(cairn *store) {
    cairn_error error;
    if (store_ordered_shrink(store, &error) == CAIRN_OK) return;
    store_say(store, CAIRN_LOG_WARNING, "the ordered index keeps its size: %s", error.message);
}

static int prepare(compaction *c, cairn_error *error) {
    cairn *store = c->store;
    if (c->options.dry_run) return CAIRN_OK;
    (void)store_expire(store, SIZE_MAX); /* what expired is garbage */
    if (c->options.full) shrink_tables(store);
    int rc = vlog_sync(store->log, vlog_appended_place(store->log), error);
    if (rc != CAIRN_OK) return rc;
    return vlog_seal_active(store->log, c->options.full ? 1 : SEAL_BYTES, c->options.min_garbage_ratio, error);
}

/* compact_lock held. */
static int run(compaction *c, cairn_error *error) {
    cairn_error why;
    int rc = prepare(c, &why);
    /* With all garbage: again, because tombstones were kept for the sake of records that have gone since. */
    unsigned rounds = c->options.full ? ROUNDS_FULL : 1;
    for (bool again = true; rc == CAIRN_OK && again && rounds > 0;) {
        bool is_tight = room_for_copies(c) != UINT64_MAX;
        uint64_t before = vlog_usage_get(c->store->log).record_bytes;
        again = c->left = false;
        rc = run_round(c, &again, &why);
        /* Where few fit at a time, the same deletions may be copied again and again. */
        bool in_vain = is_tight && vlog_usage_get(c->store->log).record_bytes >= before;
        rounds -= !c->left || in_vain;
    }
    if (rc == CAIRN_OK && c->options.full && !c->options.dry_run) {
        shrink_ordered(c->store);
        rc = shrink_checkpoint(c->store, &why);
    }
    if (rc != CAIRN_OK && error != NULL) *error = why;
    if (rc != CAIRN_OK || !c->damaged) return rc;
    return status_set(error, CAIRN_CORRUPT, "segments in which something is damaged were left alone; verify names it");
}

int cairn_compact(cairn *store, const cairn_compact_options *options, cairn_compact_result *result,
                  cairn_error *error) {
    compaction c = {.store = store};
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK && result != NULL) rc = store_copy_result(result, &c.result, sizeof c.result, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&c.options, sizeof c.options, options, error);
    if (rc == CAIRN_OK) rc = check_options(&c.options, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock(&store->compact_lock);
    c.began_ns = now_ns(store);
    rc = c.options.dry_run ? run(&c, error) : run_with_reserve(&c, run, error);
    if (c.options.full && !c.options.dry_run) store_reserve_lessen(store);
    os_mutex_unlock(&store->compact_lock);
    if (result != NULL) (void)store_copy_result(result, &c.result, sizeof c.result, NULL);
    return rc;
}

/* ---- By the store itself ---- */

/* Segments in which next to nothing lives, and value files. */
static int drop_dead(compaction *c, cairn_error *error) {
    int rc = CAIRN_OK;
    uint64_t gained;
    for (bool again = true; rc == CAIRN_OK && again; again = c->left) {
        rc = collect_by_ratio(c, DEAD_RATIO, &gained, error);
    }
    return rc;
}

/* So that no garbage is out of reach only because a slow disk has not synced its segment yet. */
static int seal_all(cairn *store, cairn_error *error) {
    int rc = vlog_sync(store->log, vlog_appended_place(store->log), error);
    double ratio = store_space_get(store).large >= 0.5 ? SEALED_RATIO : RATIO_DEFAULT;
    return rc == CAIRN_OK ? vlog_seal_active(store->log, SEAL_BYTES, ratio, error) : rc;
}

static int copy_the_best(compaction *c, const store_space *s, uint64_t *gained, cairn_error *error) {
    victims v = {0};
    int rc = victims_by_benefit(c->store, s->garbage - s->start + s->start / 8, &v, error);
    if (rc == CAIRN_OK) rc = collect(c, &v, gained, error);
    victims_release(&v);
    return rc;
}

/* What needs no copy, at once; the rest until there is less garbage than at the start of it, or nothing more to gain.
 */
static int work_off(compaction *c, cairn_error *error) {
    cairn *store = c->store;
    uint64_t gained = 1;
    store_space s = store_space_get(store);
    int rc = s.garbage > s.start ? seal_all(store, error) : CAIRN_OK;
    if (rc == CAIRN_OK) rc = holes_punch(c, HOLES_RATIO, UINT64_MAX, &gained, error);
    if (rc == CAIRN_OK) rc = drop_dead(c, error);
    gained = 1;
    for (s = store_space_get(store); rc == CAIRN_OK && gained > 0 && s.garbage > s.start; s = store_space_get(store)) {
        rc = copy_the_best(c, &s, &gained, error);
        if (rc == CAIRN_OK && gained == 0) rc = sieve(c, &gained, error);
    }
    return rc;
}

bool store_compact_in_background(cairn *store) {
    compaction c = {.store = store, .in_background = true};
    cairn_error error;
    if (vlog_failed(store->log)) return true;
    os_mutex_lock(&store->compact_lock);
    store_space_look(store);
    store_space before = store_space_get(store);
    c.began_ns = now_ns(store);
    int rc = run_with_reserve(&c, work_off, &error);
    if (rc == CAIRN_OK) hash_index_shrink(store->index, SHRINK_EIGHTHS);
    store_space_learn(store, before.room < before.narrow && c.result.bytes_freed == 0);
    store_space_looked(store);
    os_mutex_unlock(&store->compact_lock);
    if (rc != CAIRN_OK && rc != CAIRN_CANCELLED) {
        store_say(store, CAIRN_LOG_ERROR, "compaction in the background: %s", error.message);
    }
    return !store_space_is_over(store);
}

/* ---- For a call that found the disk full ---- */

static int gain_room(compaction *c, cairn_error *error) {
    cairn *store = c->store;
    uint64_t gained = 0;
    int rc = vlog_sync(store->log, vlog_appended_place(store->log), error);
    if (rc == CAIRN_OK) rc = vlog_seal_active(store->log, SEAL_BYTES_FULL, RATIO_LEAST, error);
    if (rc == CAIRN_OK) rc = holes_punch(c, HOLES_RATIO, UINT64_MAX, &gained, error);
    if (rc == CAIRN_OK) rc = drop_dead(c, error);
    if (rc != CAIRN_OK || c->result.bytes_freed > 0) return rc;
    return collect_by_ratio(c, RATIO_LEAST, &gained, error);
}

bool store_compact_for_room(cairn *store) {
    compaction c = {.store = store};
    cairn_error error;
    int rc = CAIRN_OK;
    uint64_t before = atomic_load(&store->rooms_gained);
    if (vlog_failed(store->log)) return false;
    os_mutex_lock(&store->compact_lock);
    bool gained = atomic_load(&store->rooms_gained) != before; /* by another call, while this one waited */
    if (!gained) {
        c.began_ns = now_ns(store);
        rc = run_with_reserve(&c, gain_room, &error);
        gained = atomic_load(&store->rooms_gained) != before;
    }
    os_mutex_unlock(&store->compact_lock);
    if (rc != CAIRN_OK) store_say(store, CAIRN_LOG_WARNING, "compaction on a full disk: %s", error.message);
    return gained;
}

/* Space that is kept so that what gives space back goes on when the disk is full: see "The reserve" in vlog/FORMAT.md.
 *
 *  1. Values (puts, streams, batches that put something) take space only while the reserve is whole
 *     (store_reserve_keep).
 *  2. What must go on and finds the disk full is given some of the reserve, or all (store_reserve_give). From then on
 *     the log refuses values, so that none of them takes what was given.
 *  3. The reserve is made whole again when nobody uses any of it and there is room: by the next put, and after a
 *     compaction. Who waits for that holds no lock that a user of the reserve may want: at most compact_lock.
 */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/compact.h"

#include <errno.h>

#define RESERVE_NAME "RESERVE"
#define BASE_BYTES ((uint64_t)128 << 10) /* the root of a checkpoint, gaps in its data, a header, a few records */
#define COPY_SHARE 64u                   /* of what lives in small records */
#define COPY_BYTES_MIN ((uint64_t)160 << 10)
#define ENTRY_BYTES 24u   /* about: in a footer */
#define DELETE_SHARE 32u  /* of the keys */
#define DELETE_BYTES 128u /* about: a DELETE */
#define DELETE_BYTES_MIN ((uint64_t)16 << 10)
#define STEP_BYTES_MIN ((uint64_t)64 << 10)
#define STEP_BYTES_MAX ((uint64_t)4 << 20)
#define STEP_SHARE 256u                  /* of what lives: appended between two looks */
#define GIVEN_BYTES ((uint64_t)64 << 10) /* to a deletion at a time */
/* What is left where space was asked for: so much, and 1 / LEAST_SHARE of what lives. */
#define LEAST_BYTES ((uint64_t)64 << 10)
#define LEAST_SHARE 512u
#define ROUNDS_MAX 16u                  /* of compaction for one put */
#define VAIN_BYTES ((uint64_t)64 << 10) /* of garbage more, or ... */
#define VAIN_NS ((uint64_t)1000000000)  /* ... so much later a round may gain what the last one did not */

/* ---- How much ---- */

/* Checkpoints of all shards, each beside the one before it. Where that is much, because values are tiny, it is not all
 * kept; then a checkpoint may have to take the place of the one before. */
static uint64_t checkpoint_bytes(const cairn *store) {
    uint64_t images = checkpoint_image_bytes(store->index), have = atomic_load(&store->checkpoint_data);
    images += images + images / 2;
    return min_u64(images - min_u64(images, have), max_u64(space_slack(store) / 2, vlog_live_bytes(store->log) / 4));
}

/* Checkpoints, and what seals and lists segments. */
uint64_t store_reserve_floor(cairn *store) {
    return BASE_BYTES + vlog_sealing_bytes(store->log) + expiry_bytes(store->expiries) + checkpoint_bytes(store);
}

/* For compaction: what is copied before its old place is given back, of which large records need nothing, and the
 * second footer of the segment that it was in. */
static uint64_t copy_bytes(const cairn *store) {
    uint64_t live = vlog_live_bytes(store->log), large = vlog_live_large_bytes(store->log);
    uint64_t small = live - min_u64(live, large), least = min_u64(small / 2, COPY_BYTES_MIN);
    uint64_t target = vlog_segment_target(store->log), entries = hash_index_entries(store->index) * ENTRY_BYTES;
    uint64_t footer = (uint64_t)((double)entries * (double)target / (double)max_u64(live, target));
    return min_u64(max_u64(small / COPY_SHARE, least), space_slack(store) / 8) + footer;
}

/* For deletions: so many that some segment is worth compacting, wherever they are. */
static uint64_t delete_bytes(const cairn *store) {
    uint64_t keys = hash_index_entries(store->index);
    return min_u64(DELETE_BYTES_MIN + keys * DELETE_BYTES / DELETE_SHARE, space_slack(store) / 4);
}

static uint64_t wanted_bytes(cairn *store) {
    return round_up(store_reserve_floor(store) + copy_bytes(store) + delete_bytes(store), BLOCK_BYTES);
}

/* What all parts grow by while so much is appended is less than half of it. */
static uint64_t step_bytes(const cairn *store) {
    return min_u64(max_u64(vlog_live_bytes(store->log) / STEP_SHARE, STEP_BYTES_MIN), STEP_BYTES_MAX);
}

/* ---- The file: lock held ---- */

static void set_whole(cairn *store, bool whole) {
    if (whole && atomic_load(&store->reserve.whole)) return;
    atomic_store(&store->reserve.whole, whole);
    if (whole) atomic_fetch_add(&store->reserve.times_whole, 1);
    vlog_refuse_values(store->log, !whole);
}

static int open_file(cairn *store) {
    store_reserve *r = &store->reserve;
    os_file_info info;
    if (r->file != NULL) return 0;
    int rc = os_file_open(store->dir, RESERVE_NAME, OS_CREATE, &r->file);
    if (rc != 0) return rc;
    rc = os_file_info_get(r->file, &info);
    /* One that is not allocated as it should be is made anew. */
    if (rc == 0 && info.allocated < info.size) rc = os_file_truncate(r->file, 0);
    if (rc == 0) r->size = info.allocated < info.size ? 0 : info.size;
    if (rc == 0) return 0;
    os_file_close(r->file);
    r->file = NULL;
    return rc;
}

static void cut(cairn *store, uint64_t size) {
    store_reserve *r = &store->reserve;
    if (os_file_truncate(r->file, size) == 0) r->size = size;
}

static bool is_want_of_space(int os_rc) { return os_rc == -ENOSPC || os_rc == -EDQUOT; }

static int grow(cairn *store, uint64_t size) {
    store_reserve *r = &store->reserve;
    int rc = os_file_allocate(r->file, size);
    if (rc == 0) {
        r->size = size;
    } else {
        cut(store, r->size); /* what was added so far */
    }
    return rc;
}

static int resize(cairn *store, uint64_t wanted, uint64_t headroom) {
    store_reserve *r = &store->reserve;
    uint64_t left;
    int rc = open_file(store);
    if (rc != 0) return rc;
    if (r->size > wanted + 2 * headroom + wanted / 4) cut(store, wanted + headroom);
    if (r->size >= wanted) return 0;
    rc = grow(store, wanted + headroom);
    if (is_want_of_space(rc)) {
        (void)os_file_sync(r->file); /* a journal gives blocks that were cut off back only when it is committed */
        rc = grow(store, wanted + headroom);
    }
    if (rc == 0 || os_dir_free_bytes(store->dir, &left) != 0) return rc;
    /* A part of it is better than none. */
    left = min_u64(left & ~(BLOCK_BYTES - 1), wanted - r->size);
    if (left > 0 && grow(store, r->size + left) == 0 && r->size >= wanted) return 0;
    return rc;
}

/* A reserve is a precaution: only want of space keeps values waiting for it. */
static int make_whole(cairn *store) {
    store_reserve *r = &store->reserve;
    uint64_t step = step_bytes(store), appended = vlog_appended_bytes(store->log);
    int rc = resize(store, wanted_bytes(store), step / 2);
    if (!is_want_of_space(rc)) rc = 0;
    atomic_store(&r->due_at, rc == 0 ? appended + step : 0);
    set_whole(store, rc == 0);
    return rc;
}

/* ---- Keeping it ---- */

static bool is_due(const cairn *store) {
    const store_reserve *r = &store->reserve;
    return !atomic_load_explicit(&r->whole, memory_order_relaxed) ||
           vlog_appended_bytes(store->log) >= atomic_load_explicit(&r->due_at, memory_order_relaxed);
}

int store_reserve_keep(cairn *store, cairn_error *error) {
    store_reserve *r = &store->reserve;
    if (!is_due(store)) return CAIRN_OK;
    os_mutex_lock(&r->lock);
    while (r->users > 0) {
        os_cond_wait(&r->unused, &r->lock);
    }
    int rc = is_due(store) ? make_whole(store) : 0;
    os_mutex_unlock(&r->lock);
    if (rc == 0) return CAIRN_OK;
    return status_os(error, rc, "no room for a value: what is left is kept for deletions and compaction");
}

bool store_reserve_is_whole(const cairn *store) { return atomic_load(&store->reserve.whole); }

/* ---- Using it ---- */

static bool give(cairn *store, uint64_t keep, uint64_t most, bool *using) {
    store_reserve *r = &store->reserve;
    os_mutex_lock(&r->lock);
    bool given = open_file(store) == 0 && r->size > keep;
    if (given) {
        if (!*using) r->users++;
        *using = true;
        set_whole(store, false);
        uint64_t before = r->size;
        cut(store, before - min_u64(before - keep, most));
        given = r->size < before;
    }
    os_mutex_unlock(&r->lock);
    return given;
}

bool store_reserve_give(cairn *store, bool *using) { return give(store, 0, UINT64_MAX, using); }

void store_reserve_done(cairn *store, bool *using) {
    store_reserve *r = &store->reserve;
    if (!*using) return;
    *using = false;
    os_mutex_lock(&r->lock);
    if (--r->users == 0) os_cond_broadcast(&r->unused);
    if (r->users == 0 && r->size == 0) (void)make_whole(store); /* before somebody else takes what is left of it */
    os_mutex_unlock(&r->lock);
}

void store_reserve_lessen(cairn *store) {
    store_reserve *r = &store->reserve;
    uint64_t least = round_up(LEAST_BYTES + vlog_live_bytes(store->log) / LEAST_SHARE, BLOCK_BYTES);
    os_mutex_lock(&r->lock);
    if (r->users == 0 && r->file != NULL && r->size > least) {
        cut(store, least);
        atomic_store(&r->due_at, 0); /* the next put sees to it */
    }
    os_mutex_unlock(&r->lock);
}

/* ---- What a call does that was refused ---- */

static bool room_may_come(cairn *store) {
    store_reserve *r = &store->reserve;
    uint64_t now = store->os->monotonic_ns(store->os), garbage = store_space_get(store).garbage;
    if (garbage == 0) return false;
    return garbage >= atomic_load(&r->vain_garbage) + VAIN_BYTES || now >= atomic_load(&r->vain_ns) + VAIN_NS;
}

static bool compact_for_room(cairn *store) {
    store_reserve *r = &store->reserve;
    if (!room_may_come(store)) return false;
    bool gained = store_compact_for_room(store);
    atomic_store(&r->vain_garbage, gained ? 0 : store_space_get(store).garbage);
    atomic_store(&r->vain_ns, gained ? 0 : store->os->monotonic_ns(store->os));
    return gained;
}

/* Counts compactions that gained something, and refusals of values that were over. */
static uint64_t room_count(const cairn *store) {
    return atomic_load(&store->rooms_gained) + atomic_load(&store->reserve.times_whole);
}

/* Since the call began, or since it was last here. */
static bool room_came(const cairn *store, store_relief *relief) {
    uint64_t gained = room_count(store);
    bool came = gained != relief->seen;
    relief->seen = gained;
    return came;
}

static bool make_room(cairn *store) {
    if (!store_reserve_is_whole(store) && store_reserve_keep(store, NULL) == CAIRN_OK) return true;
    return compact_for_room(store);
}

bool store_make_room(cairn *store) {
    uint64_t gained = room_count(store);
    return atomic_exchange(&store->reserve.room_seen, gained) != gained || make_room(store);
}

/* Deletions first take what is kept for them; then what they deleted is collected; then they take what is kept for
 * copies. What a checkpoint needs they leave. */
static bool relieve_deletion(cairn *store, store_relief *relief) {
    uint64_t floor = store_reserve_floor(store), copy = copy_bytes(store);
    if (give(store, floor + copy, GIVEN_BYTES, &relief->using)) return true;
    store_reserve_done(store, &relief->using);
    if (compact_for_room(store)) return true;
    return give(store, floor, GIVEN_BYTES, &relief->using);
}

bool store_relieve(cairn *store, store_relief *relief, const cairn_error *why) {
    if (store_expire(store, SIZE_MAX) > 0) return true; /* what expired may have been over the quota */
    if (!is_want_of_space(-why->sys_errno)) return false;
    if (relief->deletes) return relieve_deletion(store, relief);
    return relief->rounds++ < ROUNDS_MAX && (room_came(store, relief) || make_room(store));
}

/* ---- At both ends ---- */

void store_reserve_init(cairn *store) {
    os_mutex_init(&store->reserve.lock);
    os_cond_init(&store->reserve.unused);
}

void store_reserve_release(cairn *store) {
    if (store->reserve.file != NULL) os_file_close(store->reserve.file);
    os_cond_destroy(&store->reserve.unused);
    os_mutex_destroy(&store->reserve.lock);
}

void store_reserve_drop(os_dir *dir) { (void)os_unlink(dir, RESERVE_NAME); }

/* The store: binds value log and index. For src/store only; the public face is include/cairn.h.
 *
 * Locks, in the order in which they are taken:
 *   backup_lock       one backup at a time
 *   compact_lock      one compaction at a time; guards what waits to be reclaimed, and who removes segments
 *   ordered.admin     one adding, dropping or building of the ordered index at a time
 *   checkpoint_lock   one checkpoint at a time; guards `checkpoint` and what the newest one covers
 *   ordered.absorbing see src/store/ordered_index.h
 *   reserve.lock      the file of the reserve; who waits for its last user holds none of those below it
 *   stripes           of the hash index: around look-up, append and index change of one key, or of all keys of a batch
 *   batches_lock      the list of batches under way
 *   the value log's   see vlog/log.h
 *   snapshots_lock    the list of open snapshots
 *   streams_lock      the list of dead value files
 *   the cache's, the expiries' and the ordered index's own, see src/store/value_cache.h, src/store/expiry.h and
 *                     src/store/ordered_index.h
 *   upkeep.lock       what the store's own threads wait for; innermost
 * Reads take none: they are inside the epoch from the look-up to the last byte. Reads on a snapshot take a stripe to
 * learn what the snapshot has, not while they read.
 *
 * Snapshots (rule 8). Opening one raises `newest_snapshot` and then waits until every writer that held a stripe has let
 * go (hash_index_quiesce). A writer looks at it once, holding the stripes of all that it changes, and where it is set
 * saves what the index has in the side table before it changes that. So a writer either began before the opening, and
 * is seen as a whole, or is not seen at all.
 *
 * Batches. Their values are appended without any stripe; then the stripes of all keys are taken, what changed meanwhile
 * is mended, the COMMIT is appended, and the index is changed between hash_index_publish_begin and _end: readers that
 * begin meanwhile wait. batch.c and vlog/FORMAT.md say why that is enough.
 */
#ifndef CAIRN_STORE_STORE_H
#define CAIRN_STORE_STORE_H

#include "include/cairn.h"
#include "index/checkpoint.h"
#include "index/hash_index.h"
#include "src/base/check.h"
#include "src/os/os.h"
#include "src/os/os_thread.h"
#include "src/store/expiry.h"
#include "src/store/identity.h"
#include "src/store/ordered_index.h"
#include "src/store/side_table.h"
#include "src/store/value_cache.h"
#include "vlog/compacted.h"
#include "vlog/log.h"

#include <stdatomic.h>

#define UPKEEP_THREADS 4u
typedef struct store_upkeep {
    os_mutex lock;
    os_cond wake_flusher, wake_keeper, wake_compactor, wake_orderer;
    os_thread threads[UPKEEP_THREADS];
    bool running;                                /* the threads are there; the opener's and closer's */
    bool stop;                                   /* lock */
    bool flush_wanted;                           /* lock: something is not yet durable */
    bool write_back_wanted;                      /* lock: and it is much */
    bool keep_wanted;                            /* lock: enough was appended to look after segments and checkpoints */
    bool compact_wanted;                         /* lock: there is more garbage than there should be */
    bool order_wanted;                           /* lock: the ordered index has something to absorb, or is missing */
    atomic_bool flush_signalled, keep_signalled; /* so that a put takes the lock only when it has news */
    atomic_bool order_signalled;                 /* likewise */
    atomic_bool compact_urged;                   /* likewise: writers are slowed */
    atomic_bool compact_signalled, stopping;     /* likewise; and compaction and building are to end soon */
    atomic_bool watches_expiries;                /* the keeper was told that there are keys that expire */
    _Atomic uint64_t kept_bytes;                 /* appended bytes when upkeep last ran */
    _Atomic uint64_t written_back_bytes;         /* appended bytes when a sync or write-back last began */
    _Atomic uint64_t unsynced_ns; /* monotonic time of the oldest unsynced put; 0: none. Only without threads */
} store_upkeep;

/* See reserve.c. */
typedef struct store_reserve {
    os_mutex lock;
    os_cond unused;                         /* lock: `users` became 0 */
    os_file *file;                          /* lock; NULL: not opened yet */
    _Atomic uint64_t size;                  /* written under lock: what it has */
    unsigned users;                         /* lock: calls that were given some of it and are not done */
    atomic_bool whole;                      /* written under lock */
    _Atomic uint64_t times_whole;           /* likewise: how often it became so */
    _Atomic uint64_t due_at;                /* likewise: appended bytes at the next look whether it is enough */
    _Atomic uint64_t room_seen;             /* room_count, when a value file last found the disk full */
    _Atomic uint64_t vain_garbage, vain_ns; /* garbage and time when a round of compaction last gained nothing */
} store_reserve;

/* A batch whose parts may be in the log and whose COMMIT is not: no checkpoint may begin behind it. */
typedef struct batch_under_way {
    uint64_t first_place;
    struct batch_under_way *next;
} batch_under_way;

struct cairn {
    /* Fixed once open. */
    os *os;
    os_dir *dir;
    store_identity identity;
    cairn_options options; /* defaults filled in */
    uint64_t hash_mask;
    unsigned fork_generation;
    epoch *readers;
    hash_index *index;
    vlog *log;
    value_cache *cache; /* NULL: none */

    _Atomic uint64_t children;   /* scans, readers, writers, views, snapshots */
    _Atomic uint64_t now_ms;     /* the latest that the wall clock was seen at */
    _Atomic uint64_t quota_used; /* live bytes; kept where there is a quota */

    expiry *expiries;          /* entries of the index that have an expiry */
    _Atomic uint64_t expiring; /* how many */

    os_mutex snapshots_lock;
    cairn_snapshot *snapshots;        /* snapshots_lock: open ones, the newest first */
    uint64_t last_snapshot;           /* snapshots_lock: their numbers count up */
    _Atomic uint64_t newest_snapshot; /* written under snapshots_lock; 0: none is open */
    side_table *side;                 /* stripes */

    os_mutex batches_lock;
    batch_under_way *batches; /* batches_lock */
    _Atomic uint64_t
        removals[HASH_INDEX_SHARDS]; /* how many entries have left the index, by stripe; written under it */

    os_mutex backup_lock; /* one backup at a time */

    os_mutex compact_lock;
    struct drained *drained;          /* compact_lock: units whose segments wait to be removed */
    uint64_t in_vain_ns;              /* compact_lock: when the last look that counts in ... */
    atomic_uint in_vain;              /* ... was: looks of the store's own thread in a row that gained nothing, ... */
    _Atomic uint64_t vain_garbage;    /* ... and what there was then: something holds it, so no writer waits for it */
    _Atomic uint64_t copied_bytes;    /* whose originals wait to be removed */
    _Atomic uint64_t space_looked_at; /* garbage when the compactor was last told, or found nothing to do */
    _Atomic uint64_t rooms_gained;    /* written under compact_lock: compactions that gained something */

    os_mutex checkpoint_lock;            /* also held while the newest one is copied for a backup */
    checkpoint *checkpoint;              /* checkpoint_lock; NULL once it must not be used any more */
    _Atomic uint64_t checkpoint_epoch;   /* of the newest one; each has a higher one than all before it */
    _Atomic uint64_t covered_place;      /* replay would begin here */
    _Atomic uint64_t covered_bytes;      /* appended bytes at that moment, minus what was replayed at open */
    _Atomic uint64_t checkpoint_time_ms; /* 0: there is none */
    _Atomic uint64_t checkpoint_data;    /* size of CHECKPOINT.DATA */

    os_mutex streams_lock;
    struct dead_stream *dead_streams; /* streams_lock: value files that nothing names any more */
    size_t dead_count, dead_capacity; /* streams_lock */
    uint64_t backed_up_below;         /* streams_lock: a backup under way keeps those with lower ids; 0: none */
    _Atomic uint64_t streams, stream_bytes, dead_stream_bytes;

    store_ordered ordered;
    store_upkeep upkeep;
    store_reserve reserve;
};

/* For tests: the same as cairn_open on another operating system, with hashes masked so that keys collide. */
int store_open_on(cairn **out, os *os, const char *path, const cairn_options *options, uint64_t hash_mask,
                  cairn_error *error);

/* ---- guard.c: what every call checks first ---- */

/* There, and not in a forked child. */
int store_check_failed(const cairn *store, cairn_error *error);
static inline int store_check(const cairn *store, cairn_error *error) {
    bool is_ours = store != NULL && store->fork_generation == atomic_load_explicit(&os_forks, memory_order_relaxed);
    return is_ours ? CAIRN_OK : store_check_failed(store, error);
}
int store_check_write(const cairn *store, cairn_error *error); /* and may write */
int store_check_key(const void *key, size_t key_size, cairn_error *error);
/* Copies a caller's struct that begins with struct_size into `to` (zeroed first; `size` bytes). NULL is all default. */
int store_copy_options(void *to, size_t size, const void *from, cairn_error *error);
/* The other way round, for results: fills as much as the caller's struct_size has room for and zeroes the rest. */
int store_copy_result(void *to, const void *from, size_t size, cairn_error *error);
void store_say(const cairn *store, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* It does by itself what is due (upkeep.c). */
static inline bool store_has_threads(const cairn *store) {
    return !store->options.no_background && !store->options.read_only;
}

/* What every read begins with: waits while a batch becomes visible, and enters the epoch. */
static inline epoch_guard store_enter(cairn *store) {
    hash_index_reader_wait(store->index);
    return epoch_enter(store->readers);
}
static inline void store_exit(cairn *store, epoch_guard guard) { epoch_exit(store->readers, guard); }

/* ---- find.c: from a key to its record; inside the epoch ---- */

typedef struct store_found {
    location where; /* LOCATION_NONE: absent */
    bool expired;   /* it is there, and counts as absent */
    vlog_head head; /* of the record, when it was found */
} store_found;

static inline key_hash store_hash(const cairn *store, const void *key, size_t key_size) {
    return key_hash_of(&store->identity.secret, key, key_size, store->hash_mask);
}

/* CAIRN_OK with found->where set or LOCATION_NONE. A damaged record with the same hash hides no other: CAIRN_CORRUPT
 * only when no other candidate has the key; found->where is LOCATION_NONE then. To be released in every case. Of a
 * short compressed record the payload comes along in the head. */
int store_find(cairn *store, key_hash hash, const void *key, size_t key_size, store_found *found, cairn_error *error);
/* The same among these locations instead of the index's; what expired by then is absent. */
int store_find_among(cairn *store, const location *list, size_t count, uint64_t now_ms, const void *key,
                     size_t key_size, store_found *found, cairn_error *error);
void store_found_release(store_found *found);
/* As store_find, but CAIRN_NOT_FOUND when absent or expired, with a message. */
int store_find_present(cairn *store, const void *key, size_t key_size, store_found *found, cairn_error *error);
int store_not_found(const void *key, size_t key_size, cairn_error *error);
#define STORE_HEAD_BYTES ((size_t)512) /* holds the header of most records */

/* ---- read.c, get.c: of a found record ---- */

int store_entry_fill(cairn *store, const store_found *found, cairn_entry *entry, cairn_error *error);
int store_get_found(cairn *store, const store_found *found, void **value, size_t *value_size, cairn_error *error);

/* The descriptor in a STREAM record. */
int store_descriptor(cairn *store, const vlog_head *head, value_descriptor *d, cairn_error *error);
/* Opens the value file that it names, which has the size that the record says: so memory for the value is asked for
 * only after this. */
int store_stream_open(cairn *store, const vlog_head *head, value_file **file, cairn_error *error);

/* ---- load.c: from a record to its value; inside the epoch ---- */

/* Reads [offset, offset + size) of the value, which lies inside it. */
int store_value_read(cairn *store, const vlog_head *head, void *buf, uint64_t size, uint64_t offset,
                     cairn_error *error);
/* The whole value behind `lead` bytes in a new allocation, *out (malloc). Untouched on failure. */
int store_value_load(cairn *store, const vlog_head *head, size_t lead, uint8_t **out, cairn_error *error);

/* ---- cached.c: values in RAM; inside the epoch. All answer "no" where there is no cache ---- */

/* The value of this key, when the cache has it and it is not expired; `stripe` is the epoch guard's slot. */
const cached_value *store_cached(cairn *store, key_hash hash, const void *key, size_t key_size, unsigned stripe);
const cached_value *store_cached_at(cairn *store, location where, unsigned stripe); /* whatever lies there */
/* A copy of the found value for the cache; NULL when it is not wanted there or cannot be read: the caller goes the
 * ordinary way, which says why. It is the caller's until it is given to store_cache_keep. */
cached_value *store_cache_load(cairn *store, const store_found *found);
void store_cache_keep(cairn *store, uint64_t hash, cached_value *value);
bool store_is_resident(const cairn *store); /* all values stay */

/* ---- change.c: one change of the index, with all that hangs on it ---- */

typedef struct store_change {
    uint64_t hash;
    const void *key; /* NULL: it cannot be told, because the record is damaged */
    size_t key_size;
    bool removes;
    location from, to;                  /* LOCATION_NONE: absent */
    uint64_t old_stream, old_file_size; /* the value file of `from`; 0: none */
    uint64_t new_file_size;             /* of the value file of `to`; 0: none */
    uint64_t expires_at_ms;             /* of `to`; 0: never */
    bool due;                           /* `from` is taken out because it expired */
    bool revives;                       /* `from` had expired: the file of the ordered index may lack the key */
    key_change *noted;                  /* that the key comes or goes; NULL: it does not, or nobody wants to know */
} store_change;

/* What the change supersedes, from what was found. CAIRN_OK also for a damaged record that names a value file. */
int store_change_supersedes(cairn *store, store_change *change, const store_found *found, cairn_error *error);
/* All stripes of the change are held and `from` is set; `snapshot` is store->newest_snapshot, read once since then.
 * Makes sure that what follows cannot fail; `inserts` changes of this shard that insert are to come. */
int store_change_reserve(cairn *store, store_change *change, uint64_t snapshot, size_t inserts, cairn_error *error);
void store_change_unreserve(store_change *change); /* when it is not made after all */
/* The change itself, which is what readers see; inside the epoch. Then what hangs on it. */
void store_change_publish(cairn *store, const store_change *change);
void store_change_account(cairn *store, const store_change *change, uint64_t snapshot);
void store_change_apply(cairn *store, const store_change *change, uint64_t snapshot); /* both */

/* Takes what the live bytes will grow by from the quota: CAIRN_FULL when there is not enough. To be given back when the
 * change is not made. Signed arithmetic in 64 bits. */
int store_quota_take(cairn *store, int64_t bytes, cairn_error *error);
void store_quota_give(cairn *store, int64_t bytes);
int64_t store_change_growth(const store_change *change, uint64_t new_bytes);

/* ---- write.c ---- */

/* One change of one key, made of a record for the log. record->hash, key and flags are filled in here; `value` (may be
 * NULL) is what a cache of all values keeps. */
int store_apply(cairn *store, vlog_record *record, const void *key, size_t key_size, const cairn_put_options *options,
                uint64_t stream_file_size, cached_value *value, cairn_error *error);

/* A put of a value that is not too large for the log, compressed where that is wanted. */
int store_put_in_log(cairn *store, const void *key, size_t key_size, const void *value, size_t size,
                     const cairn_put_options *options, cairn_error *error);
int store_copy_put_options(cairn_put_options *to, const cairn_put_options *from, cairn_error *error);
uint64_t store_expiry_of(cairn *store, uint64_t ttl_ms); /* 0 for 0 */

/* ---- expire.c ---- */

uint64_t store_now(cairn *store); /* wall clock, never running back */
/* Takes up to `most` expired keys out of the index; returns how many there were. */
size_t store_expire(cairn *store, size_t most);
/* Lets go of what is remembered of keys that went before they expired: when it has become much; all of it. */
void store_expiries_tidy(cairn *store);
void store_expiries_settle(cairn *store);

/* ---- snapshot.c ---- */

typedef struct store_moment {
    uint64_t number; /* of the snapshot */
    uint64_t now_ms; /* what expired by then is absent */
} store_moment;
/* A snapshot that is not among the handle's children. */
int store_snapshot_make(cairn *store, bool of_scan, cairn_snapshot **out, cairn_error *error);
void store_snapshot_drop(cairn_snapshot *snapshot);
store_moment store_snapshot_moment(const cairn_snapshot *snapshot);
/* The locations that the moment has under a hash: in `few`, or in *more (malloc'ed, else NULL) when they are many.
 * *saved: something has changed there since. CAIRN_OK or CAIRN_NO_MEMORY. */
#define STORE_CANDIDATES_FEW 8
int store_snapshot_candidates(cairn *store, store_moment moment, uint64_t hash, location few[STORE_CANDIDATES_FEW],
                              location **more, size_t *count, bool *saved);
/* As store_find_present, at that moment. Inside the epoch. */
int store_snapshot_find(cairn *store, store_moment moment, const void *key, size_t key_size, store_found *found,
                        cairn_error *error);
bool store_snapshot_is_of(const cairn_snapshot *snapshot, const cairn *store);
/* Numbers and ages for the statistics. */
void store_snapshots_count(cairn *store, uint64_t *count, uint64_t *oldest_ms, uint64_t *scans);
/* The lowest number of an open one, or of one that a scan has; UINT64_MAX: there is none. And the last that was given.
 */
uint64_t store_snapshots_oldest(cairn *store, bool of_scans);
uint64_t store_snapshots_last(cairn *store);

/* ---- batch.c ---- */

/* Where a checkpoint may begin: at the next place, or before that, where a batch under way may have its first part. A
 * batch that has a part before the result is over, and the index knows it. */
uint64_t store_replay_start(cairn *store);

/* ---- writer.c ---- */

/* A put of a value that is too large for the log. */
int store_put_in_file(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                      const cairn_put_options *options, cairn_error *error);
/* The value in a file of its own, durable, which nothing names yet: *file is for value_writer_close once a record
 * does, or for store_file_give_up. */
int store_file_make(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                    value_writer **file, value_descriptor *d, cairn_error *error);
void store_file_give_up(cairn *store, value_writer *file);
/* The record that names it; `payload` holds its descriptor. */
vlog_record store_file_record(uint8_t payload[VALUE_DESCRIPTOR_BYTES], const value_descriptor *d);

/* ---- replay.c ---- */

int store_recover(cairn *store, cairn_error *error);

/* ---- checkpoint.c ---- */

int store_checkpoint(cairn *store, bool closing, cairn_error *error);
/* Writes the checkpoint so that its files are no larger than they need to be; nothing when they are not. */
int store_checkpoint_dense(cairn *store, cairn_error *error);

/* Writes one, and copies it for a backup before there is a newer one. */
int store_checkpoint_capture(cairn *store, os_transfer *t, cairn_error *error);
bool store_checkpoint_due(const cairn *store);
/* The store's part of a checkpoint. */
typedef struct store_blob {
    bool closed;
    uint64_t streams, stream_bytes;
    const uint8_t *suspended; /* of a closed log; points into the decoded bytes */
    size_t suspended_size;
    uint64_t expiring;       /* keys that expire */
    const uint8_t *expiries; /* as expiry_encode made them; likewise. Empty: there are none */
    size_t expiries_size;
} store_blob;
bool store_blob_decode(store_blob *blob, const uint8_t *bytes, size_t size);

/* ---- upkeep.c ---- */

int store_upkeep_start(cairn *store, cairn_error *error);
void store_upkeep_stop(cairn *store);
/* After each append: tells the threads, or does what is due where there are none. `bytes` are those for which the
 * caller may be slowed down: 0 for a deletion, which makes the disk no fuller. */
void store_upkeep_note(cairn *store, uint64_t bytes);

void store_upkeep_wake_orderer(cairn *store); /* the ordered index is missing */
void store_upkeep_unpinned(cairn *store);     /* a snapshot let go of something that may be garbage now */

/* ---- streams.c: value files and who names them ---- */

void store_stream_added(cairn *store, uint64_t file_size);
/* Nothing names the file any more. Its space is dead; a clean close removes it. */
void store_stream_died(cairn *store, uint64_t id, uint64_t file_size);
/* Value files that died, so that they can go: those that no open snapshot sees are moved to a list of their own. */
typedef struct dead_stream {
    uint64_t id, file_size;
    uint64_t last_snapshot; /* when it died: those up to it may see it */
} dead_stream;
int store_streams_take_dead(cairn *store, dead_stream **list, size_t *count);
void store_streams_give_back(cairn *store, const dead_stream *list, size_t count);
void store_streams_remove(cairn *store, const dead_stream *list, size_t count, uint64_t *freed);
/* Ids of the value files that the index names, ascending (malloc'ed, also on failure), and their bytes; and of those
 * that died and are still there as well: all that a record of the log may need, however old. Who removes them does not
 * run. CAIRN_OK, CAIRN_CORRUPT, CAIRN_IO, CAIRN_NO_MEMORY. */
int store_streams_list(cairn *store, uint64_t **ids, size_t *count, uint64_t *bytes, cairn_error *error);
int store_streams_list_all(cairn *store, uint64_t **ids, size_t *count, uint64_t *bytes, cairn_error *error);
/* Counts the streams that the index names; removes the files that it does not where `remove` is set. */
int store_streams_recount(cairn *store, bool remove, cairn_error *error);
void store_streams_remove_dead(cairn *store); /* all; nobody else uses the store */

/* ---- reclaim.c: what may go, and when; compact_lock held ---- */

/* Returns when every reader has left that is inside the epoch now. The caller is not. */
void store_wait_readers(cairn *store);
/* The segments were emptied: they go together, as soon as nothing needs them. */
int store_reclaim_later(cairn *store, const vlog_space *emptied, size_t count, cairn_error *error);
bool store_reclaim_waits_for(const cairn *store, const segment *s);
/* Removes what can be removed, behind a checkpoint of its own; adds to *freed. */
int store_reclaim(cairn *store, uint64_t *freed, cairn_error *error);
void store_reclaim_release(cairn *store); /* at the end */

/* ---- compact.c ---- */

/* Gives back what needs no copy, and compacts until there is no more garbage than the bound of the space allows, at a
 * gentle pace. For the store's own thread. false: more is left than should be. */
bool store_compact_in_background(cairn *store);
/* One round, for a call that found the disk full: waits for the one that is under way, if there is one. Whether it
 * gained anything. No lock held, outside of the epoch. */
bool store_compact_for_room(cairn *store);

/* ---- reserve.c: space that is kept for what must go on when the disk is full ---- */

void store_reserve_init(cairn *store);
void store_reserve_release(cairn *store);
void store_reserve_drop(os_dir *dir); /* for an open that has no room */

/* Before a value takes space: makes the reserve whole, or CAIRN_FULL. Waits for those who use it; of locks the caller
 * holds compact_lock at most, and it is outside of the epoch. */
int store_reserve_keep(cairn *store, cairn_error *error);
bool store_reserve_is_whole(const cairn *store);
/* Gives most of it back, until the next value. */
void store_reserve_lessen(cairn *store);
/* What compaction and deletions leave for a checkpoint and for what seals and lists segments. */
uint64_t store_reserve_floor(cairn *store);
/* Gives all of it to something that must not fail for want of space; false: there is nothing left. *using, false at
 * first, is for store_reserve_done, before which no put goes on. */
bool store_reserve_give(cairn *store, bool *using);
void store_reserve_done(cairn *store, bool *using);

/* What a call that was refused with CAIRN_FULL may do about it; store_reserve_done(&relief.using) ends it. */
typedef struct store_relief {
    bool deletes; /* and puts nothing: the reserve is there for it */
    bool using;
    unsigned rounds;
    uint64_t seen; /* room_count at the last try */
} store_relief;
/* Whether it is worth another try. No lock held, outside of the epoch. */
bool store_relieve(cairn *store, store_relief *relief, const cairn_error *why);
/* The same for a value, without limit. */
bool store_make_room(cairn *store);

/* ---- space.c ---- */

bool store_space_is_over(cairn *store); /* there is more garbage than compaction leaves */
/* There is more garbage than when this last said yes, or was last looked after; or writers wait, which they do only
 * where they are slowed. */
bool store_space_is_due(cairn *store, bool is_narrow);
/* Holds a writer of so many bytes up when garbage comes faster than it is collected, so that the bound holds: the more
 * the nearer it is, at the end of it up to 0.2 seconds a call. Not for what is pinned, nor when nothing can be
 * collected. */
void store_space_brake(cairn *store, uint64_t bytes);
bool store_space_is_short(cairn *store);             /* writers wait for compaction */
bool store_space_is_narrow(cairn *store);            /* writers are slowed */
bool store_space_is_urgent(cairn *store);            /* and the last look gained something */
void store_space_look(cairn *store);                 /* it is about to be looked after, and ... */
void store_space_looked(cairn *store); /* ... was */ /* nothing more is to be gained for now */
void store_space_learn(cairn *store, bool in_vain);  /* a look was, while writers were slowed */

#endif

/* The value log: append, sync, read, walk, recover. Format: vlog/FORMAT.md.
 *
 * Locks, in the order in which they are taken (a stripe of the hash index comes before all of them):
 *   maintain  who seals full segments or takes sealed ones out of the log: one at a time
 *   append    the end of the log: active segment, spare, footer under way, next place and version, the list of full
 *             segments; held over the write of a record, so records reach the file in the order of their places
 *   manifest  the manifest and its replacement; a few milliseconds of syncs
 *   sync      who leads a sync and who waits; never held during one
 *   files     the cache of open segment files (vlog/segment.h); innermost
 *   dictionaries  those that were loaded (vlog/packing.c); innermost
 * Reads take none of them: the caller is inside the epoch.
 *
 * A failed sync is final (rule 12): `failed` is set, and every append and sync from then on is CAIRN_FAILED.
 */
#ifndef CAIRN_VLOG_LOG_H
#define CAIRN_VLOG_LOG_H

#include "include/cairn.h"
#include "src/base/keyhash.h"
#include "vlog/pack.h"
#include "vlog/record.h"
#include "vlog/segment.h"
#include "vlog/value_file.h"

typedef struct vlog vlog;

typedef struct vlog_options {
    os_dir *dir;
    epoch *readers;
    bool read_only;
    uint8_t store_id[16];
    uint64_t salt;
    key_secret secret;      /* of the key hash, for segments whose footer must be made from records */
    uint64_t hash_mask;     /* see key_hash_of */
    uint64_t segment_bytes; /* whole granules */
    bool no_windows;        /* each read and write is a call; see vlog/warm.h and vlog/mapped_append.h */
    enum { VLOG_PACK_NEVER, VLOG_PACK_BY_DICTIONARY, VLOG_PACK_ALWAYS } packing; /* which values are compressed */
    int pack_level;
    size_t open_files_max;
    void (*log)(void *ctx, int level, const char *message); /* never NULL */
    void *log_ctx;
    bool (*make_room)(void *ctx); /* see value_file_env; may be NULL */
    void *room_ctx;
} vlog_options;

/* Writes the first manifest of a new store. */
int vlog_create(os_dir *dir, const uint8_t store_id[16], uint64_t salt, cairn_error *error);

/* Loads the manifest. Nothing can be appended or read before vlog_recover or vlog_resume. */
int vlog_open(vlog **out, const vlog_options *options, cairn_error *error);
void vlog_close(vlog *log); /* frees; syncs nothing */

/* ---- Recovery ---- */

typedef struct vlog_event {
    uint64_t hash; /* of the key: the half that the index keeps */
    uint64_t place;
    location where;
    uint64_t expires_at_ms; /* 0: never */
    uint8_t type, flags;    /* PUT, DELETE or STREAM */
} vlog_event;
/* The event is borrowed. NULL: that was the last one, and what `apply` has put off is done now. */
typedef int (*vlog_apply)(void *ctx, const vlog_event *event, cairn_error *error);

typedef struct vlog_start {
    uint64_t place;   /* events before it are not wanted */
    uint64_t durable; /* places below it are known to be durable */
} vlog_start;

typedef struct vlog_recovered {
    uint64_t records, bytes; /* replayed */
    uint64_t trimmed;        /* bytes behind the cut */
} vlog_recovered;

/* How many records the footers of all segments list, to judge by their last bytes: one that is damaged is passed by.
 * For one thread, before vlog_recover. */
uint64_t vlog_listed_records(vlog *log);
/* Gives every event from start->place on to `apply`, in the order in which they count (parts of a batch with its
 * COMMIT, or never), finds the cut, and, in a writable log, makes the log end there durably. CAIRN_CORRUPT when
 * something that was durable is missing or damaged; nothing is changed then. */
int vlog_recover(vlog *log, const vlog_start *start, vlog_apply apply, void *ctx, vlog_recovered *result,
                 cairn_error *error);

/* What a clean close keeps so that the next open need not look at the log: opaque bytes for the caller's checkpoint.
 * The log is synced and idle. *out is malloc'ed. May seal the active segment instead of keeping its footer. */
int vlog_suspend(vlog *log, uint8_t **out, size_t *size, cairn_error *error);
/* CAIRN_OK: the log is ready, nothing needs recovery. CAIRN_NOT_FOUND: the bytes are not of this state of the log, or a
 * file is not as they say: vlog_recover is needed. CAIRN_NO_MEMORY, CAIRN_IO. */
int vlog_resume(vlog *log, const uint8_t *bytes, size_t size, cairn_error *error);

/* The log was clean at the open and nothing was written since: what a clean close kept is still good. */
bool vlog_untouched(vlog *log);

/* Removes leftover files: segments that the manifest does not list, tables and new manifests, and value files for which
 * `wanted` says no (NULL: none). */
int vlog_remove_leftovers(vlog *log, bool (*wanted)(void *ctx, uint64_t value_file), void *ctx, cairn_error *error);

/* ---- Writing ---- */

/* Creates the first segment of a new log, so that the first append does not wait for its syncs. */
int vlog_prepare(vlog *log, cairn_error *error);

typedef struct vlog_record {
    uint8_t type, flags; /* of the flags COLLIDES, BATCH and REPLACES; the others follow from what is set below */
    key_hash hash;
    const void *key;
    uint32_t key_size;
    const void *payload; /* value, compressed or not, or the descriptor of a STREAM */
    uint64_t payload_size;
    uint64_t value_size;
    uint64_t value_file; /* id in a STREAM */
    bool file_packed;    /* the frames in that file are compressed */
    uint64_t expires_at_ms;
    uint8_t codec;           /* not raw: the next three */
    const void *value;       /* uncompressed */
    const uint32_t *lengths; /* stored length of each frame */
    uint64_t dictionary;
    uint64_t batch;    /* with BATCH: place of its first part; 0: this one is it */
    uint64_t replaces; /* with REPLACES */
} vlog_record;

typedef struct vlog_appended {
    uint64_t place, version;
    location where;
} vlog_appended;

/* Larger payloads belong into a value file. */
uint64_t vlog_payload_max(const vlog *log);

/* Compresses the record's value (its payload, raw so far) where that is wanted and worth it, and points the record to
 * the result, which packed_release frees after the append. */
int vlog_pack(vlog *log, vlog_record *record, packed *packed, cairn_error *error);

/* A dictionary as a durable file, which nothing names yet; *out stays the log's. Then either of the others: from now on
 * new values use it; or the file goes. */
int vlog_dictionary_make(vlog *log, const void *content, size_t size, uint64_t *id, const dictionary **out,
                         cairn_error *error);
int vlog_dictionary_install(vlog *log, uint64_t id, const dictionary *d, cairn_error *error); /* unless one is later */
void vlog_dictionary_discard(vlog *log, uint64_t id);
const dictionary *vlog_current_dictionary(const vlog *log); /* NULL: none */

/* Bytes of log that the record will take, but for a SKIP before it. */
uint64_t vlog_record_bytes(const vlog_record *record);

/* When it returns CAIRN_OK the record is written (safe from a process crash), in the order of its place. CAIRN_FULL and
 * other failures leave nothing behind. The caller holds the stripe of the key. */
int vlog_append(vlog *log, const vlog_record *record, vlog_appended *out, cairn_error *error);

/* The same for up to VLOG_APPEND_MANY records, in that order, with as few writes as they fit. On failure any of them
 * may have been appended. */
#define VLOG_APPEND_MANY 16
int vlog_append_many(vlog *log, const vlog_record *records, size_t count, vlog_appended *out, cairn_error *error);
/* Between two of many appends in a row: lets other threads' appends and syncs have their turn. No lock is held. */
void vlog_give_way(const vlog *log);

/* From now on, or from now on not any more: a PUT or STREAM is CAIRN_FULL (ENOSPC), and no value file grows. When this
 * returns no value takes space any more, but for one write of each value file. */
void vlog_refuse_values(vlog *log, bool refuse);
/* About what sealing the active segment would write, and a manifest. */
uint64_t vlog_sealing_bytes(vlog *log);

/* Returns when every place below `place` is durable. Threads that wait share a sync. Waits for others, holds no lock of
 * the caller's (no stripe). */
int vlog_sync(vlog *log, uint64_t place, cairn_error *error);
/* Begins to write to the device what is appended, without waiting for it: so that the next sync waits less. false: not
 * all, because the next segment is to be made, which would take long; try again soon. Any thread; takes the append
 * lock. */
bool vlog_write_back(vlog *log);
uint64_t vlog_next_place(vlog *log);           /* takes the append lock */
uint64_t vlog_durable_place(const vlog *log);  /* any thread, no lock */
uint64_t vlog_appended_place(const vlog *log); /* next place, without the lock: may lag behind by the call under way */
uint64_t vlog_appended_bytes(const vlog *log); /* bytes of records ever appended by this handle */
bool vlog_failed(const vlog *log);
void vlog_sync_failed(vlog *log); /* a sync of a value file failed: that is final as well */

/* Upkeep: seals full segments that are synced, prepares the next segment when the active one
 * has taken an eighth of its target. Cheap when there is nothing to do. */
int vlog_maintain(vlog *log, cairn_error *error);
bool vlog_upkeep_due(const vlog *log); /* there is something to do; no lock */
/* Seals the active segment, durably, when it has that many bytes of records and that share of garbage; the log goes on
 * in another. Full segments are sealed in any case. */
int vlog_seal_active(vlog *log, uint64_t least, double garbage_ratio, cairn_error *error);
/* Seals it in any case where it has a record: everything that was appended before the call is in sealed segments. */
int vlog_seal_all(vlog *log, cairn_error *error);

/* An id for a new value file, never used before. */
int vlog_new_file_id(vlog *log, uint64_t *id, cairn_error *error);
const value_file_env *vlog_value_env(const vlog *log);
/* How a value file is to be compressed, in *options; NULL: not at all. */
const pack_options *vlog_file_packing(const vlog *log, pack_options *options);
uint64_t vlog_reclaim_epoch(vlog *log);

/* ---- Reading: inside the epoch ---- */

/* The beginning of a record, decoded and verified: header, key and frame table. */
typedef struct vlog_head {
    record_header header;
    segment *segment;
    os_file *file;   /* valid inside the epoch */
    uint64_t offset; /* of the record in its segment */
    uint8_t *bytes;  /* `have` bytes of the record from its beginning; in `inline_bytes` or malloc'ed */
    size_t have;
    uint8_t inline_bytes[4096];
} vlog_head;

/* Reads at least the header, and up to `want` bytes of the record if it is that long. CAIRN_CORRUPT when there is no
 * valid record of that length at that place. vlog_head_release in every case. */
int vlog_head_read(vlog *log, location where, size_t want, vlog_head *head, cairn_error *error);
void vlog_head_release(vlog_head *head);
static inline const uint8_t *vlog_head_key(const vlog_head *head) { return record_key(head->bytes); }

/* Moves a head, so that it outlives the epoch; refresh gives it its file again, inside a later one. */
void vlog_head_move(vlog_head *to, vlog_head *from);
int vlog_head_refresh(vlog *log, vlog_head *head, cairn_error *error);

/* Whether the record, to judge by its beginning, is in memory, so that reading it does not wait. Otherwise the system
 * is told that it, of a long one the first `most` bytes, will be read soon. true also where there is nothing to tell.
 */
bool vlog_is_near(vlog *log, location where, uint64_t most);
/* A hint: what lies around the record's beginning, from one multiple of `bytes` to the next, will be read too. */
void vlog_read_around(vlog *log, location where, uint64_t bytes);

/* Reads [offset, offset + size) of the payload's content (what it is once its frames are decoded), which lies inside
 * it, and verifies the frames that it touches. */
int vlog_payload_read(vlog *log, const vlog_head *head, void *buf, uint64_t size, uint64_t offset, cairn_error *error);

/* The payload where it lies (it is not empty), verified. May outlive the epoch as long as the record is held
 * (vlog_hold), until vlog_unmap. */
typedef struct vlog_mapping vlog_mapping;
int vlog_map(vlog *log, const vlog_head *head, vlog_mapping **mapping, const void **data, cairn_error *error);
void vlog_unmap(vlog_mapping *mapping); /* NULL is nothing */

/* The same for a record that was mapped and verified before: without a system call, and held at once. 1, or 0 when it
 * is another key's. VLOG_UNSEEN: it was not. */
typedef struct vlog_seen {
    segment *held;
    const void *data;
    uint64_t size, expires_at_ms;
} vlog_seen;
#define VLOG_UNSEEN 2
int vlog_map_seen(vlog *log, location where, const void *key, size_t key_size, vlog_seen *seen);

/* The whole record in one allocation, *record (malloc), with its payload behind the header. One read where the record
 * is small. Verified. */
int vlog_record_read(vlog *log, location where, record_header *header, uint8_t **record, cairn_error *error);

/* The same for a record of which all is in memory at this moment. VLOG_READ_LATER: it is not, and the system was told
 * that it will be needed. VLOG_READ_OTHERWISE for everything else (too long, damage, no memory). */
#define VLOG_READ_OTHERWISE 1
#define VLOG_READ_LATER 2
int vlog_record_read_now(vlog *log, location where, record_header *header, uint8_t **record);

/* The value of this key into buf, verified, in one read where that is possible: CAIRN_OK and *value_size.
 * VLOG_READ_OTHERWISE for everything else (another key, too long, damage, an error): the caller goes the ordinary way,
 * which says what it is; buf may have been written to. */
int vlog_value_read(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                    uint64_t *value_size, cairn_error *error);
/* The same for one that is in memory at this moment, or VLOG_READ_LATER, as above. */
int vlog_value_read_now(vlog *log, location where, const void *key, size_t key_size, void *buf, size_t cap,
                        uint64_t *value_size);

/* The error for a damaged record, naming file, offset and, when head is not NULL, the key. */
int vlog_damaged(cairn_error *error, const segment *s, uint64_t offset, const vlog_head *head, const char *what);

/* ---- Accounting ---- */

void vlog_live_add(vlog *log, location where);      /* the index names it now */
void vlog_live_subtract(vlog *log, location where); /* and now no more */
void vlog_live_clear(vlog *log);                    /* nothing is live: before a recount */

/* Only snapshots still see it, and when they do not any more. A segment with such records stays. Stripe held. */
void vlog_held_add(vlog *log, location where);
void vlog_held_subtract(vlog *log, location where);
/* A record is open (as a reader or a view has it), so its segment stays. The caller is inside the epoch in which it
 * found the record. Released anywhere, once. */
segment *vlog_hold(segment *s);
void vlog_release(segment *held); /* NULL is nothing */

typedef struct vlog_usage {
    uint64_t segments, record_bytes, live_bytes;
} vlog_usage;
vlog_usage vlog_usage_get(vlog *log);
uint64_t vlog_live_bytes(const vlog *log);
uint64_t vlog_backup_pinned(const vlog *log); /* dead bytes that only a backup under way keeps */
uint64_t vlog_dead_bytes(const vlog *log);    /* of records; any thread, no lock */
uint64_t vlog_edge_bytes(const vlog *log);    /* of these, what no hole gives back: see vlog_note_dead */
uint64_t vlog_footer_bytes(const vlog *log);
uint64_t vlog_ahead_bytes(const vlog *log);      /* no more is there for records to come (ahead.h, mapped_append.h) */
uint64_t vlog_output_under_way(const vlog *log); /* bytes of a copy that no segment lists yet */
/* Of the live bytes, those in large records. */
uint64_t vlog_live_large_bytes(const vlog *log);

/* ---- Verification ---- */

typedef struct vlog_verify {
    void (*damage)(void *ctx, const cairn_error *error, const void *key, size_t key_size);
    int (*progress)(void *ctx, uint64_t bytes); /* more bytes were verified; non-zero cancels */
    /* Every intact STREAM record, to verify its file. */
    int (*stream)(void *ctx, location where, const vlog_head *head, cairn_error *error);
    void *ctx;
    uint64_t records, bytes, damaged; /* counted */
} vlog_verify;
/* Every record of every segment up to the log's end at the time of the call: header, payload; headers and footers of
 * the segments. */
int vlog_verify_all(vlog *log, vlog_verify *verify, cairn_error *error);

#endif

/* cairn: an embedded store for large values.
 *
 * A store is a directory. It maps keys (1 byte to 64 KiB, any bytes) to values (0 bytes to 2^56). Values are appended
 * to a log of segments; an index in memory maps each key to the place of its newest value; a checkpoint of that index
 * and replay of the log behind it make recovery.
 *
 * Errors. A call that can fail returns CAIRN_OK (0) or a negative code. A `cairn_error *` that is the last argument may
 * be NULL; otherwise the caller owns it and it is filled on failure with a message that names file, offset and key.
 *
 * Structs. Every options and result struct begins with `struct_size`, which the caller sets to sizeof. 0, or a non-zero
 * tail that this library does not know, is CAIRN_INVALID. In options all-zero behind it means every default, and a NULL
 * pointer means the same. Elements of an array have none: their size is an argument of the call.
 *
 * Threads. A `cairn *` and a snapshot are fully thread-safe. A scan, batch, writer or reader is used by one thread at a
 * time; a view may be read by any number. A handle is of no use in a forked child: calls there, cairn_close too, return
 * CAIRN_FAILED and touch nothing; the parent goes on.
 *
 * This header is C11, C17 and C++.
 */
#ifndef CAIRN_H
#define CAIRN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(CAIRN_BUILDING)
#define CAIRN_API __attribute__((visibility("default")))
#else
#define CAIRN_API
#endif

/* ---- Codes and limits: pinned, never renumbered ---- */

#define CAIRN_OK 0
#define CAIRN_DONE 1            /* a scan is exhausted; not an error */
#define CAIRN_NOT_FOUND (-1)    /* no such key */
#define CAIRN_EXISTS (-2)       /* a condition of a put or delete does not hold */
#define CAIRN_INVALID (-3)      /* bad argument */
#define CAIRN_TOO_BIG (-4)      /* key or value above its limit */
#define CAIRN_TOO_SMALL (-5)    /* the caller's buffer does not hold the value */
#define CAIRN_NO_STORE (-6)     /* no store there, or something that is not one */
#define CAIRN_BUSY (-7)         /* locked by another opener, or the handle still has children */
#define CAIRN_FULL (-8)         /* no space, or over the quota; nothing changed */
#define CAIRN_IO (-9)           /* the operating system refused; sys_errno says how */
#define CAIRN_CORRUPT (-10)     /* stored bytes are damaged; they are never returned */
#define CAIRN_NO_MEMORY (-11)   /* allocation failed; nothing changed */
#define CAIRN_READ_ONLY (-12)   /* a write through a read-only handle */
#define CAIRN_UNSUPPORTED (-13) /* not in this build or this store; a newer format */
#define CAIRN_CANCELLED (-14)   /* a progress callback asked to stop */
#define CAIRN_FAILED (-15)      /* a sync failed earlier: no more writes until reopened */

#define CAIRN_KEY_SIZE_MAX ((size_t)65536)
#define CAIRN_VALUE_SIZE_MAX ((uint64_t)1 << 56)

typedef struct cairn cairn;
typedef struct cairn_writer cairn_writer;
typedef struct cairn_reader cairn_reader;
typedef struct cairn_view cairn_view;
typedef struct cairn_batch cairn_batch;
typedef struct cairn_snapshot cairn_snapshot;
typedef struct cairn_scan cairn_scan;

typedef struct cairn_error {
    int code;         /* as returned */
    int sys_errno;    /* errno behind it, or 0 */
    uint64_t segment; /* file number in the value log, or 0 */
    uint64_t offset;  /* byte offset in that file */
    char message[256];
} cairn_error;

typedef struct cairn_progress {
    uint64_t done, total; /* bytes */
} cairn_progress;

/* ---- Opening ---- */

enum {
    CAIRN_DURABILITY_DEFAULT = 0, /* safe from a process crash at return, from a power cut within sync_interval_ms */
    CAIRN_DURABILITY_SYNC = 1,    /* safe from a power cut at return; threads that wait share one sync */
    CAIRN_DURABILITY_NONE = 2     /* synced only by cairn_sync, a checkpoint and cairn_close */
};
enum {
    CAIRN_ORDERED_AUTO = 0, /* as the store is; at creation: on, where the library was built with it */
    CAIRN_ORDERED_ON = 1,   /* CAIRN_UNSUPPORTED where the store has none */
    CAIRN_ORDERED_OFF = 2   /* at creation: none. Else as AUTO */
};
enum {
    CAIRN_COMPRESSION_DEFAULT = 0, /* only values that a trained dictionary is for (cairn_train); else none */
    CAIRN_COMPRESSION_NONE = 1,
    CAIRN_COMPRESSION_ZSTD = 2 /* every value, 64 KiB at a time, where that saves an eighth of it or more */
};
enum { CAIRN_LOG_ERROR = 1, CAIRN_LOG_WARNING = 2, CAIRN_LOG_INFO = 3, CAIRN_LOG_DEBUG = 4 };

typedef struct cairn_options {
    uint32_t struct_size;
    /* Behaviour. */
    bool create;               /* make the store when there is none; false: CAIRN_NO_STORE */
    bool read_only;            /* shared lock, writes nothing at all, replays in memory */
    bool no_background;        /* no threads of its own: what is due is done by the next call that can do it */
    bool create_new;           /* with create: CAIRN_EXISTS when the store is already there */
    int durability;            /* CAIRN_DURABILITY_* */
    int ordered_index;         /* CAIRN_ORDERED_*: of a new store; of an old one see cairn_index_add */
    int compression;           /* CAIRN_COMPRESSION_*: of what this handle writes; everything stored can be read */
    int compression_level;     /* zstd's, also a negative one; 0: a fast one. Outside zstd's range: CAIRN_INVALID */
    uint32_t sync_interval_ms; /* 0: 200 */
    /* The store's own thread compacts when the bytes on disk come near max_space_amp * (live + edge + pinned bytes, as
     * in cairn_stats) + the larger of 8 MiB and two segments, and puts that are faster than that are slowed, at the end
     * by up to 0.2 seconds. 0: 1.25, and 1.10 for values of 64 KiB and more. Not with no_background. Below 1.05, or not
     * a number: CAIRN_INVALID. */
    double max_space_amp;
    /* Quota on live_bytes (see cairn_stats): a put that would raise them above it is CAIRN_FULL and changes nothing.
     * Deletes and values that get smaller go through. Expired keys count until they are noticed, at the latest by the
     * put that would fail. What the disk holds besides, dead records, is bounded by compaction. 0: no quota. */
    uint64_t max_bytes;
    /* Called from any thread, never under a lock of the store's; must not call back into it. NULL: silent. */
    void (*log)(void *ctx, int level, const char *message);
    void *log_ctx;
    /* Performance. */
    uint64_t segment_bytes; /* largest segment; 0: 256 MiB; below 1 MiB: CAIRN_INVALID; rounded up to whole MiB */
    /* RAM for copies of values, with what it takes to keep them. UINT64_MAX: every value stays from its first
     * use on, which is its put or, for values of batches and those too large for the log, its first read; and a get of
     * one does no file call at all. Less: a cache of what is read often, which scans do not
     * empty (S3-FIFO). 0: none. */
    uint64_t cache_bytes;
    /* Values that are read often, and are in the page cache, are copied out of a mapping. A page of it that the device
     * fails to give is a SIGBUS, which the library's handler turns into an ordinary read and its error; the handler is
     * installed once a process, with the first such mapping, and passes every other SIGBUS on to the one before.
     * true: no such mappings and no handler. Where the application installs a handler later, or a thread blocks the
     * signal, they are not used. (A view is a mapping in any case, and its SIGBUS the application's.) The same goes for
     * small puts where many come: they are copied into a mapping of the last one to three MiB of the log, which no
     * pointer of the application's leads to. */
    bool no_mapped_reads;
} cairn_options;

/* Opens the store in directory `path` and locks it. Recovers it first when it was not closed cleanly: the newest
 * checkpoint, then replay. *out is NULL on failure.
 * CAIRN_NO_STORE, CAIRN_BUSY, CAIRN_CORRUPT, CAIRN_UNSUPPORTED (newer format), CAIRN_IO, CAIRN_NO_MEMORY,
 * CAIRN_INVALID. */
CAIRN_API int cairn_open(cairn **out, const char *path, const cairn_options *options, cairn_error *error);

/* Syncs, writes a checkpoint so that the next open replays nothing, unlocks and frees. CAIRN_BUSY, with nothing done,
 * while scans, readers, writers, views or snapshots live. Any other failure is reported and the handle is freed all the
 * same; what was durable before stays so. */
CAIRN_API int cairn_close(cairn *store);

/* ---- Values ---- */

typedef struct cairn_put_options {
    uint32_t struct_size;
    bool sync;           /* this call is safe from a power cut at return, whatever the handle's durability */
    bool if_absent;      /* CAIRN_EXISTS when the key is there */
    uint64_t if_version; /* not 0: CAIRN_EXISTS unless the key is there with this version */
    /* 0: none. The key is absent everywhere from that much later on, by the wall clock, which within one handle is
     * never taken to run back. */
    uint64_t ttl_ms;
} cairn_put_options;

typedef struct cairn_entry {
    uint32_t struct_size;
    uint64_t value_size;    /* bytes, as put */
    uint64_t stored_size;   /* bytes the value takes on disk, compressed, with header, checksums and padding */
    uint64_t version;       /* store-wide, increasing, never 0, never used twice */
    uint64_t expires_at_ms; /* 0: never */
} cairn_entry;

/* Stores a copy of the value; replaces an earlier one. All or nothing, also over a crash. An empty value is a value.
 * CAIRN_FULL: it does not fit, also after a round of compaction, which a full disk makes this call wait for (as it does
 * batches and streams). What is deleted is room for the next put. The store keeps a small reserve, which puts do not
 * use: with no byte free deletes, reads, syncs, cairn_compact and cairn_close go on. */
CAIRN_API int cairn_put(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                        const cairn_put_options *options, cairn_error *error);

/* *value is a verified copy for cairn_free, non-NULL also for an empty value; NULL on failure. */
CAIRN_API int cairn_get(cairn *store, const void *key, size_t key_size, void **value, size_t *value_size,
                        cairn_error *error);
CAIRN_API void cairn_free(void *value);

/* Like cairn_get into the caller's `cap` bytes. CAIRN_TOO_SMALL sets *value_size and leaves buf untouched; after a
 * CAIRN_CORRUPT or CAIRN_IO its content is undefined. */
CAIRN_API int cairn_get_into(cairn *store, const void *key, size_t key_size, void *buf, size_t cap, size_t *value_size,
                             cairn_error *error);

/* One key of cairn_get_many: zeroed, then the key set, and what else is wanted. */
typedef struct cairn_get_item {
    const void *key;
    size_t key_size;
    void *buf;          /* the value goes here, as by cairn_get_into; NULL: into an allocation for cairn_free */
    size_t cap;         /* bytes at buf */
    cairn_error *error; /* filled when this key fails; several items may have the same one. NULL: not wanted */
    /* The result. */
    int code;          /* what cairn_get or cairn_get_into would have returned */
    void *value;       /* buf or the allocation, non-NULL also for an empty value; NULL on failure */
    size_t value_size; /* on success, and with CAIRN_TOO_SMALL */
} cairn_get_item;

typedef struct cairn_get_many_options {
    uint32_t struct_size;
    cairn_snapshot *snapshot; /* of the same handle: what it holds; NULL: each key as it is when it is read */
} cairn_get_many_options;

/* Gets `count` values. Those that are in memory cost what cairn_get takes; for the others the device is asked many at a
 * time, up to 128 values or 8 MiB ahead of the one that is waited for, into the page cache. CAIRN_OK says that every
 * item has its own code: an absent key, or a value that is damaged, is no failure of the call or of another item. On
 * failure no item was touched. An item is `item_size` bytes, sizeof(cairn_get_item); what is behind the fields that
 * this version knows must be zero. Keys may be there twice, and are read in no order, one by one: changes made
 * meanwhile, also those of one batch, may be seen in part; for all keys at one moment take a snapshot. Needs no memory
 * but that of the values. */
CAIRN_API int cairn_get_many(cairn *store, cairn_get_item *items, size_t item_size, size_t count,
                             const cairn_get_many_options *options, cairn_error *error);

/* Copies up to `len` bytes from `offset`; fetches and verifies only the frames it needs. *got is less than len only at
 * the value's end; at or past the end it is 0 with CAIRN_OK. */
CAIRN_API int cairn_read(cairn *store, const void *key, size_t key_size, uint64_t offset, void *buf, size_t len,
                         size_t *got, cairn_error *error);

/* CAIRN_NOT_FOUND when the key is absent. if_absent and ttl_ms are CAIRN_INVALID here. */
CAIRN_API int cairn_delete(cairn *store, const void *key, size_t key_size, const cairn_put_options *options,
                           cairn_error *error);

CAIRN_API int cairn_stat(cairn *store, const void *key, size_t key_size, cairn_entry *entry, cairn_error *error);

/* ---- Values larger than memory ---- */

/* Nothing is visible before the commit; other calls go on meanwhile. A writer holds at most 5 MiB of
 * memory, and with compression a context of zstd's, 0.3 MiB at fast levels.
 * Conditions are judged at commit. */
CAIRN_API int cairn_writer_open(cairn *store, const void *key, size_t key_size, const cairn_put_options *options,
                                cairn_writer **writer, cairn_error *error);
/* After a failure the writer can only be aborted (or committed, which then fails the same way). */
CAIRN_API int cairn_writer_write(cairn_writer *writer, const void *data, size_t size, cairn_error *error);
CAIRN_API int cairn_writer_commit(cairn_writer *writer, cairn_error *error); /* frees the writer, whatever it returns */
CAIRN_API void cairn_writer_abort(cairn_writer *writer); /* frees it and its space; NULL is nothing */

/* Sees the value that was there at its opening for as long as it is open. */
CAIRN_API int cairn_reader_open(cairn *store, const void *key, size_t key_size, cairn_reader **reader,
                                cairn_error *error);
CAIRN_API uint64_t cairn_reader_size(const cairn_reader *reader);
CAIRN_API int cairn_reader_pread(cairn_reader *reader, void *buf, size_t len, uint64_t offset, size_t *got,
                                 cairn_error *error); /* as cairn_read */
CAIRN_API void cairn_reader_close(cairn_reader *reader);

/* The whole value, verified, without a copy where it is stored raw: a pinned mapping. Valid until closed. The first
 * view of a value in a handle reads and verifies all of it; later ones of a value in the log make no system call. */
CAIRN_API int cairn_view_open(cairn *store, const void *key, size_t key_size, cairn_view **view, cairn_error *error);
CAIRN_API const void *cairn_view_data(const cairn_view *view); /* non-NULL also for an empty value */
CAIRN_API size_t cairn_view_size(const cairn_view *view);
CAIRN_API void cairn_view_close(cairn_view *view);

/* ---- Several changes at once ---- */

/* A batch is a list of changes in memory, of no store in particular: it holds a copy of each key and value, and 64
 * bytes besides for each. The last change of a key counts. Once a call on it has failed for want of memory, so does the
 * commit. */
CAIRN_API int cairn_batch_new(cairn_batch **batch); /* CAIRN_OK, CAIRN_NO_MEMORY */
CAIRN_API void cairn_batch_free(cairn_batch *batch);
CAIRN_API int cairn_batch_put(cairn_batch *batch, const void *key, size_t key_size, const void *value,
                              size_t value_size);
CAIRN_API int cairn_batch_delete(cairn_batch *batch, const void *key, size_t key_size); /* absent: no error */

/* All changes or none, for readers as well as over a crash: a call that begins after one that saw a change sees all of
 * them. Of the options `sync` and `ttl_ms` (of every put) mean something; conditions are CAIRN_INVALID. Puts of other
 * threads go on while the values are written. The batch stays as it is and may be committed again. Memory besides the
 * batch's: some 200 bytes a change. */
CAIRN_API int cairn_batch_commit(cairn *store, cairn_batch *batch, const cairn_put_options *options,
                                 cairn_error *error);

/* ---- Snapshots ---- */

/* What the store holds at this moment: every put that returned before, never half a batch. Later changes are not seen;
 * what has a time to live is judged by the time of the opening. Costs nothing to open; each record that is superseded
 * meanwhile costs some 60 bytes of memory, and stays on disk (pinned_bytes). Lives no longer than the handle. */
CAIRN_API int cairn_snapshot_open(cairn *store, cairn_snapshot **snapshot, cairn_error *error);
CAIRN_API void cairn_snapshot_close(cairn_snapshot *snapshot);
CAIRN_API int cairn_snapshot_get(cairn_snapshot *snapshot, const void *key, size_t key_size, void **value,
                                 size_t *value_size, cairn_error *error); /* as cairn_get */
CAIRN_API int cairn_snapshot_stat(cairn_snapshot *snapshot, const void *key, size_t key_size, cairn_entry *entry,
                                  cairn_error *error);

/* ---- Listing ---- */

/* All conditions hold together. Order is memcmp, the shorter key first. Bounds, prefix, LIKE and reverse need an
 * ordered index: CAIRN_UNSUPPORTED without one. */
typedef struct cairn_scan_options {
    uint32_t struct_size;
    /* A bound that is NULL is none; one of size 0 is the empty key, which is before all others. */
    bool lower_exclusive, upper_exclusive, reverse;
    bool keys_only; /* looks at nothing but keys, where there is an ordered index; cairn_scan_value is CAIRN_INVALID */
    char like_escape; /* 0: a backslash */
    const void *lower;
    size_t lower_size;
    const void *upper;
    size_t upper_size;
    const void *prefix;
    size_t prefix_size;
    const void *like; /* SQL's, of bytes: `%` any run, `_` one byte, the byte behind an escape itself */
    size_t like_size;
    uint64_t limit;           /* 0: none */
    cairn_snapshot *snapshot; /* of the same handle, open for as long as the scan; NULL: the moment of the opening */
} cairn_scan_options;

/* Every key that was there at the opening (or in the snapshot) and that the options ask for. In order where the store
 * has an ordered index; walking it costs no more than what lies between the bounds, of which the prefix and what a LIKE
 * pattern begins with are some. Waits while the index is being built. Without one, in the order of the log, which
 * reads sequentially, and with 8 bytes of memory a key. */
CAIRN_API int cairn_scan_open(cairn *store, const cairn_scan_options *options, cairn_scan **scan, cairn_error *error);
CAIRN_API int cairn_scan_next(cairn_scan *scan, cairn_error *error); /* CAIRN_OK on an entry, CAIRN_DONE at the end */
CAIRN_API const void *cairn_scan_key(const cairn_scan *scan, size_t *size); /* valid until the next call */
/* With keys_only it is looked up when it is asked for; UINT64_MAX when that fails. */
CAIRN_API uint64_t cairn_scan_value_size(const cairn_scan *scan);
/* Read only when asked; valid until next. For values beyond memory open a reader by the key. */
CAIRN_API int cairn_scan_value(cairn_scan *scan, const void **value, size_t *size, cairn_error *error);
CAIRN_API void cairn_scan_close(cairn_scan *scan);

typedef struct cairn_delete_options {
    uint32_t struct_size;
    bool sync; /* all of it is safe from a power cut at return */
    /* Keys deleted so far; `total` is 0. Now and then; non-zero: CAIRN_CANCELLED. May call the store. */
    int (*progress)(const cairn_progress *progress, void *ctx);
    void *ctx;
} cairn_delete_options;
/* Deletes the keys that a scan with these options would list; `limit` and `snapshot` count as well. One key after the
 * other, not all at once: after a failure or a crash some are gone. What is put meanwhile under one of them may go as
 * well. *deleted, which may be NULL, is how many went, also on failure. */
CAIRN_API int cairn_delete_range(cairn *store, const cairn_scan_options *range, const cairn_delete_options *options,
                                 uint64_t *deleted, cairn_error *error);

/* ---- The ordered index ---- */

typedef struct cairn_index_options {
    uint32_t struct_size;
    int (*progress)(const cairn_progress *progress, void *ctx); /* in keys. Non-zero: CAIRN_CANCELLED */
    void *ctx;
} cairn_index_options;
/* Gives a store an ordered index, from now on: CAIRN_EXISTS when it has one. CAIRN_UNSUPPORTED: the library was built
 * without. Writes no value; reads, writes and unordered scans go on meanwhile. Cancelled or failed, the store is as
 * before. */
CAIRN_API int cairn_index_add(cairn *store, const cairn_index_options *options, cairn_error *error);
/* Takes it away: CAIRN_NOT_FOUND when there is none. Scans that walk it fail from then on. */
CAIRN_API int cairn_index_drop(cairn *store, cairn_error *error);
/* Builds it anew, with no more space than it needs, and puts the new one in the place of the old one, which serves
 * until then. An index that is missing or damaged is rebuilt by the store itself. CAIRN_NOT_FOUND: there is none. */
CAIRN_API int cairn_index_rebuild(cairn *store, const cairn_index_options *options, cairn_error *error);

/* ---- Upkeep ---- */

/* All that returned before this call is safe from a power cut when it returns. */
CAIRN_API int cairn_sync(cairn *store, cairn_error *error);
/* Syncs and writes the index, so that an open replays only what comes after. Done in the background when due. */
CAIRN_API int cairn_checkpoint(cairn *store, cairn_error *error);

typedef struct cairn_compact_options {
    uint32_t struct_size;
    bool full;    /* all garbage, however little of it a segment has; deletions that nothing needs any more as well, and
                   * what the index and its checkpoint take beyond the keys that are left, where there is room for that */
    bool dry_run; /* only counts: bytes_scanned what would be read, bytes_moved and bytes_freed about what would be */
    double min_garbage_ratio;  /* a segment with less is left alone; 0: a fifth. Above 1, negative: CAIRN_INVALID */
    uint64_t bytes_per_second; /* looked at; 0: no limit */
    /* Bytes of the segments that were chosen; `total` may grow. Non-zero: CAIRN_CANCELLED, with nothing lost: what was
     * moved so far stays moved. Must not call back into the store. */
    int (*progress)(const cairn_progress *progress, void *ctx);
    void *ctx;
} cairn_compact_options;
typedef struct cairn_compact_result {
    uint32_t struct_size;
    uint64_t bytes_scanned; /* of segments that were emptied, or looked at */
    uint64_t bytes_moved;   /* written again */
    uint64_t bytes_freed;   /* of files that were removed, and of holes in those that stay */
} cairn_compact_result;
/* Gives dead space back: segments without anything live go, of others the live records are moved together. Also what
 * the store's own thread would do, at once. Reads, writes, snapshots and scans go on; what they hold stays until the
 * next compaction. Needs no free space: on a full disk it uses the reserve (see cairn_put), and takes longer. Versions
 * stay. Fills *result also on failure.
 * CAIRN_CANCELLED; CAIRN_FULL; CAIRN_IO; CAIRN_CORRUPT: all was done but for segments in which something is damaged,
 * which stay as they are. */
CAIRN_API int cairn_compact(cairn *store, const cairn_compact_options *options, cairn_compact_result *result,
                            cairn_error *error);

typedef struct cairn_backup_result {
    uint32_t struct_size;
    uint64_t bytes;        /* of the backup's files, but for what was punched out of them */
    uint64_t bytes_kept;   /* of these: an earlier backup in the same place had them */
    uint64_t bytes_shared; /* of these: with the store, on one file system */
    uint64_t bytes_copied;
} cairn_backup_result;
typedef struct cairn_backup_options {
    uint32_t struct_size;
    bool copy; /* share nothing with the store: what happens to its blocks does not happen to the backup's */
    int (*progress)(const cairn_progress *progress, void *ctx); /* non-zero: CAIRN_CANCELLED */
    void *ctx;                                                  /* `progress` must not call back into the store */
    cairn_backup_result *result;                                /* filled on success; NULL: not wanted */
} cairn_backup_options;
/* Makes directory `dest` a store that holds what this one does at one moment of the call, never half a batch: every
 * change that returned before, none that begins after. Reads, writes and compaction go on. Sealed segments are shared
 * by reflink or hard link where file systems can, else copied; where dest holds an earlier backup of this store that
 * nobody has written to since, only what is new. It opens like any store, also while this one goes on. Segments shared
 * by hard link get no holes in either store: compaction copies what lives in them instead.
 * Until it returns CAIRN_OK, and after a crash at any moment, dest holds the earlier backup, or no store, or the new
 * backup, which is durable when this returns. The store and its backups then need a build that knows of them.
 * CAIRN_EXISTS: dest was written to, or is a backup of another store. CAIRN_NO_STORE: it is neither empty nor a backup.
 * CAIRN_BUSY: it is open; CAIRN_FULL, CAIRN_IO, CAIRN_CORRUPT (a record that names a value file is damaged),
 * CAIRN_READ_ONLY, CAIRN_CANCELLED. */
CAIRN_API int cairn_backup(cairn *store, const char *dest, const cairn_backup_options *options, cairn_error *error);

typedef struct cairn_train_options {
    uint32_t struct_size;
    uint32_t dictionary_bytes; /* 0: 110 KiB; 256 bytes to 1 MiB */
} cairn_train_options;
typedef struct cairn_train_result {
    uint32_t struct_size;
    bool installed;            /* it saves more than what is in use: new values use it */
    uint64_t id;               /* of the dictionary's file, when installed */
    uint64_t samples;          /* values that it was tried on, other ones than it was made from */
    uint64_t value_bytes;      /* their size */
    uint64_t plain_bytes;      /* compressed without a dictionary, raw where that saves nothing */
    uint64_t dictionary_bytes; /* compressed with it */
    uint64_t before_bytes;     /* with the dictionary in use so far; plain_bytes where there was none */
} cairn_train_result;
/* Makes a dictionary from a sample of the store's own values of 64 bytes to 16 KiB, and compresses such values with it
 * from now on, in this handle and later ones, unless their compression is _NONE. Values that are there stay as they
 * are; a dictionary is kept as long as the store. CAIRN_UNSUPPORTED: too few such values to learn from. */
CAIRN_API int cairn_train(cairn *store, const cairn_train_options *options, cairn_train_result *result,
                          cairn_error *error);

typedef struct cairn_verify_options {
    uint32_t struct_size;
    int (*progress)(const cairn_progress *progress, void *ctx); /* non-zero: CAIRN_CANCELLED */
    /* Each damaged place; key is NULL where it cannot be told. */
    void (*damage)(const cairn_error *what, const void *key, size_t key_size, void *ctx);
    void *ctx; /* for both */
} cairn_verify_options;
typedef struct cairn_verify_result {
    uint32_t struct_size;
    uint64_t records; /* records walked, dead ones included */
    uint64_t bytes;   /* bytes read and verified */
    uint64_t damaged; /* places found damaged */
} cairn_verify_result;
/* Reads and verifies everything on disk, and that every key resolves. CAIRN_OK when it ran to the end; damage is in
 * the result. Writers go on meanwhile. */
CAIRN_API int cairn_verify(cairn *store, const cairn_verify_options *options, cairn_verify_result *result,
                           cairn_error *error);

typedef struct cairn_stats {
    uint32_t struct_size;
    uint64_t keys;
    uint64_t live_bytes;      /* allocated bytes of records that hold a key's newest value */
    uint64_t dead_bytes;      /* bytes of the log that compaction could give back */
    uint64_t pinned_bytes;    /* superseded, but an open snapshot or scan, or a backup under way, still sees it */
    uint64_t allocated_bytes; /* bytes that the store's files take on disk (blocks, not lengths) */
    uint64_t index_bytes;     /* memory of the hash index, of times to live and of what snapshots keep */
    uint64_t cache_bytes;     /* memory that holds values, with its tables */
    uint64_t segments;        /* files of the value log */
    uint64_t replay_bytes;    /* log behind the checkpoint: what an open after a crash would replay */
    uint64_t replay_records;
    uint64_t checkpoint_age_ms; /* since the newest checkpoint; UINT64_MAX: there is none */
    uint64_t streams;           /* files that hold one large value each, counted in segments too */
    uint64_t cache_hits, cache_misses;
    uint64_t expiring_keys;   /* keys that have a time to live */
    uint64_t snapshots;       /* open ones */
    uint64_t snapshot_age_ms; /* of the oldest; 0: none is open */
    uint64_t scans;           /* open ones, which keep what they list like a snapshot */
    bool ordered;             /* there is an ordered index */
    bool ordered_building;    /* it is being built: scans that need it wait */
    uint64_t ordered_bytes;   /* length of its file */
    uint64_t ordered_pending; /* changes that its file does not have yet; scans see them */
    uint64_t edge_bytes;      /* dead, but in blocks that live records lie in as well: the bound counts them as live */
} cairn_stats;
CAIRN_API int cairn_stats_get(cairn *store, cairn_stats *stats, cairn_error *error);

CAIRN_API const char *cairn_strerror(int code); /* never NULL; static */
CAIRN_API const char *cairn_version(void);      /* "MAJOR.MINOR.PATCH" */

#ifdef __cplusplus
}
#endif
#endif

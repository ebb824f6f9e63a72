/* The store: binds value log and index. For src/store only; the public face is include/cairn.h.
 *
 * Locks, in the order in which they are taken:
 *   checkpoint_lock   one checkpoint at a time; guards `checkpoint` and what the newest one covers
 *   stripes           of the hash index: around look-up, append and index change of one key
 *   the value log's   see vlog/log.h
 *   streams_lock      the list of dead value files
 *   upkeep.lock       what the store's own threads wait for; innermost
 * Reads take none: they are inside the epoch from the look-up to the last byte.
 */
#ifndef CAIRN_STORE_STORE_H
#define CAIRN_STORE_STORE_H

#include "include/cairn.h"
#include "index/checkpoint.h"
#include "index/hash_index.h"
#include "src/os/os.h"
#include "src/os/os_thread.h"
#include "src/store/identity.h"
#include "vlog/log.h"

#include <stdatomic.h>

typedef struct store_upkeep {
    os_mutex lock;
    os_cond wake_flusher, wake_keeper;
    os_thread flusher, keeper;
    bool running;                                /* lock: the threads are there */
    bool stop;                                   /* lock */
    bool flush_wanted;                           /* lock: something is not yet durable */
    bool keep_wanted;                            /* lock: enough was appended to look after segments and checkpoints */
    atomic_bool flush_signalled, keep_signalled; /* so that a put takes the lock only when it has news */
    _Atomic uint64_t kept_bytes;                 /* appended bytes when upkeep last ran */
    _Atomic uint64_t unsynced_ns; /* monotonic time of the oldest unsynced put; 0: none. Only without threads */
} store_upkeep;

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

    _Atomic uint64_t children; /* scans, readers, writers, views */

    os_mutex checkpoint_lock;
    checkpoint *checkpoint;              /* checkpoint_lock; NULL once it must not be used any more */
    _Atomic uint64_t covered_place;      /* replay would begin here */
    _Atomic uint64_t covered_bytes;      /* appended bytes at that moment, minus what was replayed at open */
    _Atomic uint64_t checkpoint_time_ms; /* 0: there is none */

    os_mutex streams_lock;
    uint64_t *dead_streams; /* streams_lock: ids of value files that nothing names any more */
    size_t dead_count, dead_capacity;
    _Atomic uint64_t streams, stream_bytes, dead_stream_bytes;

    store_upkeep upkeep;
};

/* For tests: the same as cairn_open on another operating system, with hashes masked so that keys collide. */
int store_open_on(cairn **out, os *os, const char *path, const cairn_options *options, uint64_t hash_mask,
                  cairn_error *error);

/* ---- guard.c: what every call checks first ---- */

int store_check(const cairn *store, cairn_error *error);       /* there, and not in a forked child */
int store_check_write(const cairn *store, cairn_error *error); /* and may write */
int store_check_key(const void *key, size_t key_size, cairn_error *error);
/* Copies a caller's struct that begins with struct_size into `to` (zeroed first; `size` bytes). NULL is all default. */
int store_copy_options(void *to, size_t size, const void *from, cairn_error *error);
/* The other way round, for results: fills as much as the caller's struct_size has room for and zeroes the rest. */
int store_copy_result(void *to, const void *from, size_t size, cairn_error *error);
void store_say(const cairn *store, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- find.c: from a key to its record; inside the epoch ---- */

typedef struct store_found {
    location where; /* LOCATION_NONE: absent */
    vlog_head head; /* of the record, when it was found */
} store_found;

/* CAIRN_OK with found->where set or LOCATION_NONE. A damaged record with the same hash hides no other: CAIRN_CORRUPT
 * only when no other candidate has the key; found->where is LOCATION_NONE then. To be released in every case. `want`:
 * as in vlog_head_read. */
int store_find(cairn *store, key_hash hash, const void *key, size_t key_size, size_t want, store_found *found,
               cairn_error *error);
void store_found_release(store_found *found);
/* As store_find, but CAIRN_NOT_FOUND when absent, with a message. */
int store_find_present(cairn *store, const void *key, size_t key_size, size_t want, store_found *found,
                       cairn_error *error);
#define STORE_HEAD_BYTES ((size_t)512) /* holds the header of most records */

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

/* ---- write.c ---- */

/* One change of one key, made of a record for the log. record->hash, key and flags are filled in here. */
int store_apply(cairn *store, vlog_record *record, const void *key, size_t key_size, const cairn_put_options *options,
                uint64_t stream_file_size, cairn_error *error);

int store_copy_put_options(cairn_put_options *to, const cairn_put_options *from, cairn_error *error);

/* ---- writer.c ---- */

/* A put of a value that is too large for the log. */
int store_put_in_file(cairn *store, const void *key, size_t key_size, const void *value, size_t value_size,
                      const cairn_put_options *options, cairn_error *error);

/* ---- replay.c ---- */

int store_recover(cairn *store, cairn_error *error);

/* ---- checkpoint.c ---- */

int store_checkpoint(cairn *store, bool closing, cairn_error *error);
bool store_checkpoint_due(const cairn *store);
/* The store's part of a checkpoint. */
typedef struct store_blob {
    bool closed;
    uint64_t streams, stream_bytes;
    const uint8_t *suspended; /* of a closed log; points into the decoded bytes */
    size_t suspended_size;
} store_blob;
bool store_blob_decode(store_blob *blob, const uint8_t *bytes, size_t size);

/* ---- upkeep.c ---- */

int store_upkeep_start(cairn *store, cairn_error *error);
void store_upkeep_stop(cairn *store);
/* After each append: tells the threads, or does what is due where there are none. */
void store_upkeep_note(cairn *store);

/* ---- streams.c: value files and who names them ---- */

void store_stream_added(cairn *store, uint64_t file_size);
/* Nothing names the file any more. Its space is dead; a clean close removes it. */
void store_stream_died(cairn *store, uint64_t id, uint64_t file_size);
/* Counts the streams that the index names; removes the files that it does not where `remove` is set. */
int store_streams_recount(cairn *store, bool remove, cairn_error *error);
void store_streams_remove_dead(cairn *store);

#endif

/* The store's ordered index: the file of index/ordered.h, and the overlay of what it does not have yet.
 *
 * Invariants:
 *  1. The keys of the file, with the changes of the overlay made to them, are the keys of the hash index: writers push
 *     each key that comes or goes, with its stripe held.
 *  2. A file counts only when its place is not before the start of the newest checkpoint and not behind the end of the
 *     log. So every checkpoint has the file absorb what came before its start, and replaying what comes behind it makes
 *     up for what the file lacks. What a build that knows nothing of the file has written moves the start past its
 *     place, and the file is built anew.
 *  3. What is absorbed was synced in the log before: the file is never ahead of it.
 *  4. Each checkpoint also absorbs what came while its images were copied. What expires leaves no record in the log, so
 *     an image that lacks an expired key must not go with a file that has it.
 *  5. A file that fails is removed and built anew, by the store's own thread or by the scan that needs it. Nothing else
 *     waits for it: neither puts nor checkpoints. While one is built nothing is absorbed.
 *
 * What was replayed at the open is a list of locations, whose keys are read when they are first needed: by a scan, or
 * by the first absorption. Nothing of it can be reclaimed before, because that takes a checkpoint. A store that is open
 * read-only and has no file gets all its keys into the overlay, with the first scan.
 *
 * Locks, in this order (src/store/store.h has the others): admin, absorbing, lock. `absorbing` is held through an
 * absorption, which takes stripes; `lock` for moments, with no other one taken inside.
 */
#ifndef CAIRN_STORE_ORDERED_INDEX_H
#define CAIRN_STORE_ORDERED_INDEX_H

#include "include/cairn.h"
#include "index/ordered.h"
#include "index/overlay.h"
#include "src/base/location.h"
#include "src/os/os_thread.h"

#include <stdatomic.h>

typedef struct replayed_record {
    uint64_t place;
    location where;
} replayed_record;

typedef struct store_ordered {
    os_mutex admin;   /* one adding, dropping or building at a time */
    atomic_bool on;   /* writers push changes; written under admin */
    overlay *changes; /* fixed */

    os_mutex absorbing;
    replayed_record *replayed; /* absorbing, and the opener's: records behind the place of the file */
    size_t replayed_capacity;
    _Atomic size_t replayed_count;
    atomic_bool has_replayed; /* or, in a store that is open read-only and has no file, the overlay lacks its keys */

    os_mutex lock;
    os_cond changed;     /* what `lock` guards */
    ordered *file;       /* lock: NULL: missing */
    uint64_t generation; /* lock: counts the files up */
    uint64_t since;      /* lock: snapshots with lower numbers are from before the index was there */
    unsigned users;      /* lock: calls that use `file` */
    bool replacing;      /* lock: newcomers wait */
    bool in_background;  /* lock: the store's own thread is going to build it */
    cairn_error failure; /* lock: of the last attempt to build it; code CAIRN_OK: none */
    _Atomic uint64_t file_bytes, file_place;
    atomic_bool building; /* written under absorbing: nothing is absorbed */
    atomic_bool is_loose; /* the file may be larger than it needs to be */
    atomic_bool doubted;  /* a key went that nobody can tell: the file has to be built anew */
} store_ordered;

bool store_ordered_is_on(const cairn *store);
ordered_options store_ordered_options(const cairn *store); /* of its file */

/* ---- ordered_index.c: whether there is one, and its file ---- */

int store_ordered_init(cairn *store); /* CAIRN_OK or CAIRN_NO_MEMORY; to be released in any case */
void store_ordered_release(cairn *store);
/* In recovery: this record is replayed. */
int store_ordered_replayed(cairn *store, uint64_t place, location where, cairn_error *error);
/* After it: opens the file, or makes that of a new store. A file that cannot be used is no failure. */
/* CAIRN_UNSUPPORTED: what wants an ordered index, in a library that is built without. */
int store_ordered_refuse(cairn_error *error);
int store_ordered_open(cairn *store, bool created, cairn_error *error);

void store_ordered_count(cairn *store, cairn_stats *stats); /* fills in what begins with `ordered` */

/* The file, for a call that uses it and then leaves. NULL: there is none. */
ordered *store_ordered_enter(cairn *store, uint64_t *generation);
void store_ordered_leave(cairn *store);
bool store_ordered_has_file(store_ordered *o);
/* Returns when there is a file, building it where the store has no thread for that. CAIRN_UNSUPPORTED: the store has no
 * ordered index. *since: see above. */
int store_ordered_wait(cairn *store, uint64_t *since, cairn_error *error);
/* The file failed: it goes, and is built anew. Of this generation only. The caller is not among its users. */
void store_ordered_lose(cairn *store, uint64_t generation, const cairn_error *why);
/* The store is about to close, cleanly, and its threads are gone: what makes the next handle's first scan quick. */
void store_ordered_settle(cairn *store);
bool store_ordered_give_room(cairn *store); /* the disk is full: whether there was a file, which went */
void store_ordered_doubt(cairn *store);     /* any thread, also with stripes held */
/* Puts what `build` made in the place of the file; after a failure the old one is there, if there was one. */
int store_ordered_replace(cairn *store, ordered_build *build, uint64_t place, cairn_error *error);

/* ---- ordered_absorb.c ---- */

/* Everything before the place at which a checkpoint that began now would start is in the file, durably; nothing to do
 * where there is none, or while one is built. CAIRN_FULL, CAIRN_NO_MEMORY: nothing is lost, and it may be tried again.
 * Other failures of the file end it. CAIRN_FAILED, CAIRN_IO: a sync of the log failed. No stripe held, outside of the
 * epoch. */
int store_ordered_absorb(cairn *store, cairn_error *error);
/* There is much to absorb, or a file to be built. Any thread, no lock. */
bool store_ordered_is_due(const cairn *store);
/* The keys of what was replayed are in the overlay. */
int store_ordered_catch_up(cairn *store, cairn_error *error);
void store_ordered_forget_replayed(store_ordered *o); /* absorbing held */

/* ---- ordered_build.c ---- */

/* admin held. `options` may be NULL. */
int store_ordered_build(cairn *store, const cairn_index_options *options, cairn_error *error);
/* Builds it where it is missing or doubted. in_background: until the store closes. */
int store_ordered_build_missing(cairn *store, bool in_background, cairn_error *error);
/* What is due in the background: absorbs, builds. false: a build failed and should be tried again later. */
bool store_ordered_upkeep(cairn *store);
/* A full compaction: the file gets as small as it can. */
int store_ordered_shrink(cairn *store, cairn_error *error);

#endif

/* The ordered index: the set of a store's keys in memcmp order, the shorter first, in one LMDB file. It holds no values
 * and no locations, so that overwrites and moves never touch it. Like a checkpoint it is derived from the log: a file
 * that is missing or doubtful is built anew. Format: index/FORMAT.md.
 *
 * Invariants:
 *  1. What ORDERED holds is what some commit left, and every commit is synced before it counts: after a crash too.
 *  2. Its place says how much of the value log it has absorbed: every change before that place is in it. Changes behind
 *     the place may be in it as well, when a large batch was cut off; absorbing is idempotent, so that absorbing from
 *     the place on makes it right.
 *  3. ORDERED.NEW, an index being built, counts for nothing. It is renamed to ORDERED when all of it is synced.
 *  4. LMDB sees no page that was not found sound: the first absorb, or walk, checks the whole file. What is damaged
 *     says CAIRN_CORRUPT from then on, and neither ends the process nor makes a walk endless (index/ordered_check.h).
 *     Where the last handle left checksums of all pages, walks go without LMDB and judge what they meet, until they
 *     have read so much that the check is cheaper (index/ordered_pages.h). No absorb begins while one of them reads.
 *  5. No LMDB read transaction outlives one call, so that the file holds on to nothing for a walk that rests.
 *
 * Who excludes whom: the caller holds the lock on the store's directory, exclusively unless the index is opened
 * read-only; LMDB's own lock is not relied on between processes. Within the process every call is thread-safe but for
 * a cursor and a build, which one thread at a time uses, and ordered_close, which comes after everything else.
 *
 * Locks, in this order: `writing`, held through an absorb; `checking`, held through the check of the file; `gate`, held
 * for moments. It counts those inside a read transaction, and growing the map, which needs that there is none, waits
 * for them and makes newcomers wait; and those that read page by page. Inside the gate nobody waits for anything else.
 * The caller may hold locks of its own.
 *
 * Built without LMDB (CAIRN_ORDERED=OFF) ordered_open and ordered_build_begin say CAIRN_UNSUPPORTED.
 */
#ifndef CAIRN_INDEX_ORDERED_H
#define CAIRN_INDEX_ORDERED_H

#include "include/cairn.h"
#include "index/key_range.h"
#include "src/os/os.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDERED_NAME "ORDERED"
#define ORDERED_NEW_NAME "ORDERED.NEW"
#define ORDERED_LOCK_NAME "ORDERED-lock" /* LMDB's; without meaning while nobody has the index open */
#define ORDERED_SUMS_NAME "ORDERED.SUMS"

#define ORDERED_KEY_MAX 65536u
#define ORDERED_BATCH_KEYS 1024u
#define ORDERED_BATCH_BYTES 65536u

bool ordered_is_built_in(void);
/* CAIRN_UNSUPPORTED: built without it, or the directory has no path for LMDB. */
int ordered_check_support(os_dir *dir, cairn_error *error);

typedef struct ordered ordered;

typedef struct ordered_options {
    uint8_t store_id[16]; /* an index of another store is refused */
    bool read_only;       /* writes nothing at all, and makes no lock file */
    uint64_t map_bytes;   /* of address space, to begin with; 0: a good size. It grows by itself. */
} ordered_options;

/* CAIRN_OK. CAIRN_NOT_FOUND: there is no such file. CAIRN_CORRUPT: it is damaged, cut short or another store's, and
 * should be built anew, as far as can be told from a few of its pages: the walks and absorbs of a file that opens may
 * say so as well. CAIRN_UNSUPPORTED: of a newer format, or the directory has no path for LMDB, or built without it. The
 * directory stays open as long as the index. */
int ordered_open(ordered **out, os_dir *dir, const ordered_options *options, cairn_error *error);
void ordered_close(ordered *o); /* NULL: nothing */
/* Removes every file of an index that nobody has open, durably. None there: CAIRN_OK. */
int ordered_drop(os_dir *dir, cairn_error *error);

uint64_t ordered_keys(ordered *o);
uint64_t ordered_place(ordered *o);
uint64_t ordered_bytes(ordered *o); /* length of the file; 0 when it cannot be asked */

/* To be called before a handle is closed for good: leaves checksums of all pages, if the file was found sound and has
 * none, for the walks of the next handle. Nobody absorbs any more. Reads the whole file; a failure is none. */
void ordered_leave_sums(ordered *o, os_dir *dir);

/* Checks the whole file as it is on disk now, whatever was found before: CAIRN_CORRUPT when it is damaged. Nothing is
 * absorbed meanwhile. */
int ordered_verify(ordered *o, cairn_error *error);

typedef struct ordered_change {
    const void *key; /* 1 byte to ORDERED_KEY_MAX */
    size_t size;
    bool erase;
} ordered_change;

/* Inserts and erases, in this order, and sets the place, durably at return. Inserting what is there and erasing what is
 * not there does nothing. Many changes take several commits, of which the last one sets the place: see invariant 2.
 * A failure may leave the earlier commits done. CAIRN_READ_ONLY; CAIRN_FULL and CAIRN_NO_MEMORY may be tried again;
 * CAIRN_FAILED follows every other failure until the index is opened again, and may then be what walks say too. */
int ordered_absorb(ordered *o, const ordered_change *changes, size_t count, uint64_t place, cairn_error *error);

/* ---- Building ---- */

typedef struct ordered_build ordered_build;

/* Removes what an earlier build left. */
int ordered_build_begin(ordered_build **out, os_dir *dir, const ordered_options *options, cairn_error *error);
/* In any order, repetitions too; ascending order is fastest. After a failure only ordered_build_abort. */
int ordered_build_add(ordered_build *b, const void *key, size_t size, cairn_error *error);
/* Durably puts the new index in the place of the old one, which nobody has open. Frees `b` whatever it returns; after a
 * failure the old index is there, or the new one whole. */
int ordered_build_finish(ordered_build *b, uint64_t place, cairn_error *error);
void ordered_build_abort(ordered_build *b);

/* ---- Walking ---- */

typedef struct ordered_cursor ordered_cursor;

typedef struct ordered_key {
    const void *bytes;
    size_t size;
} ordered_key;

/* Copies the range. CAIRN_OK or CAIRN_NO_MEMORY. The index outlives the cursor. */
int ordered_cursor_open(ordered_cursor **out, ordered *o, const key_range *range, cairn_error *error);
/* The next keys, in order and each once: at least one, at most `max` (at least 1) or ORDERED_BATCH_KEYS, and fewer when
 * they are long: in ORDERED_BATCH_BYTES at most, or one key in what it takes. They stay until the next call.
 * CAIRN_DONE: no more. Each call sees what has been absorbed when it is made, behind the last key that the call before
 * gave. After a failure it can be called again. */
int ordered_next(ordered_cursor *c, size_t max, const ordered_key **keys, size_t *count, cairn_error *error);
void ordered_cursor_close(ordered_cursor *c); /* NULL: nothing */

#endif

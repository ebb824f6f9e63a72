/* Small appends without a system call.
 *
 * Of an append of some KiB most of the time is the kernel's: the call, and for each of its pages one to be found,
 * filled and entered in several lists. So where much comes between two syncs, zeros are written ahead in pieces that
 * the page cache keeps as large pages, and records are copied into a mapping of them: a third of the time at 1 KiB, a
 * half at 4 KiB, and what was written so is synced faster as well (bench/NOTES.md).
 *
 * It promises what a write does. A record that was copied is in the page cache, so it survives the process; a sync of
 * the file makes it durable; before that a power cut may leave any part of it, as of a write to blocks that are there
 * (vlog/ahead.h). A page that the file cannot give is an error, never a signal (os_window_write), and then the record
 * is written by a call, whose error counts. The zeros behind the last record mean nothing, and are cut off when the
 * segment is full or the store is closed.
 */
#ifndef CAIRN_VLOG_MAPPED_APPEND_H
#define CAIRN_VLOG_MAPPED_APPEND_H

#include "vlog/ahead.h"

#define MAPPED_BYTES_MAX ((uint64_t)12 << 10)  /* of one append: a longer one costs less as a write (ahead_rest) */
#define MAPPED_STEP_BYTES ((uint64_t)64 << 10) /* zeros at a time, which one append waits for */
/* Since the last sync, before it begins. A sync writes what is ready and not used as well, and the page that a record
 * is then copied into once more: 100 KiB on the average, which is little only where much comes between two syncs. */
#define MAPPED_AFTER_BYTES ((uint64_t)1 << 20)

/* Of the active segment; all zeros at first. Append lock. */
typedef struct mapped_append {
    os_window *window; /* on its file; NULL: none yet */
    uint64_t ready;    /* the window can be written up to here, from where it was first written */
    bool refused;      /* not in this segment any more */
} mapped_append;

/* Copies what is to be appended, `size` bytes at the segment's end. `unsynced`: bytes appended since the last sync
 * began. False: it was not done, and any part of it may have been; the caller writes it. */
bool mapped_append_write(mapped_append *m, os_dir *dir, segment *s, os_file *file, const struct iovec *iov, int count,
                         uint64_t size, uint64_t unsynced);

/* What the segment holds is about to be written out: up to that offset it leaves the process. Append lock held. */
static inline uint64_t mapped_append_left(const segment *s) {
    return atomic_load(&s->end) / MAPPED_STEP_BYTES * MAPPED_STEP_BYTES;
}
void mapped_append_leave(mapped_append *m, const segment *s);

/* The segment's file is about to be cut, or nothing more is appended to it. */
void mapped_append_end(mapped_append *m);

#endif

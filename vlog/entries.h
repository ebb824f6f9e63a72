/* What lies in a sealed segment, entry by entry: as its footer tells it or, where that is damaged, as the headers of
 * its records do. And several segments at once, in the order of versions. One thread. */
#ifndef CAIRN_VLOG_ENTRIES_H
#define CAIRN_VLOG_ENTRIES_H

#include "vlog/footer.h"
#include "vlog/log.h"
#include "vlog/walk.h"

/* In a compacted segment places are ordinal numbers, and nothing is of a batch. */
typedef struct entry_cursor {
    vlog *log;
    segment *segment;
    footer_entry entry; /* the current one */
    uint8_t *bytes;     /* of the footer; NULL: by the records */
    footer_reader reader;
    walker walker;
    uint64_t expected; /* place of the next record, by the records */
} entry_cursor;

/* The whole footer is read and verified here, so that nothing is told of a damaged one. Nobody removes the segment
 * before the close; its file may be closed meanwhile. CAIRN_CORRUPT: the file has another size than the manifest says.
 */
int entry_cursor_open(entry_cursor *c, vlog *log, segment *s, cairn_error *error);
void entry_cursor_close(entry_cursor *c); /* {0} is a closed one */
/* The footer is not damaged. */
static inline bool entry_cursor_has_footer(const entry_cursor *c) { return c->bytes != NULL; }
/* 1: on an entry; 0: behind the last one; CAIRN_CORRUPT: footer and a record are damaged; CAIRN_IO. */
int entry_cursor_next(entry_cursor *c, cairn_error *error);

/* ---- In the order of versions ---- */

/* In every sealed segment versions ascend, so this is a merge. SKIP and FREED, which have none, are left out. */
typedef struct entry_merge {
    entry_cursor *cursors;
    entry_cursor **heap; /* on an entry each, the one with the lowest version on top */
    size_t count, open;
    bool advance; /* the one on top has been given out */
} entry_merge;

int entry_merge_open(entry_merge *m, vlog *log, segment *const *segments, size_t count, cairn_error *error);
void entry_merge_close(entry_merge *m); /* {0} is a closed one */
/* 1: *out is on the next entry, valid until the next call; 0: there is none; or a code. One version in several segments
 * is one record, or the tombstone that an expired copy of it became while another copy was live: DELETE comes first. */
int entry_merge_next(entry_merge *m, const entry_cursor **out, cairn_error *error);
/* The same without going on; *version is UINT64_MAX where there is none. CAIRN_OK or a code. */
int entry_merge_peek(entry_merge *m, uint64_t *version, cairn_error *error);

#endif

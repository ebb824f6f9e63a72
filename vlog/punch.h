/* Giving the blocks of dead records back to the file system, in sealed segments, without moving anything. Rule 6: first
 * a footer that lists the freed ranges is durable and named by the manifest, then holes are punched. Format and proof:
 * vlog/FORMAT.md, "Holes". What is dead, and when nobody can need it any more, is the store's to say
 * (src/store/holes.c), which calls these in order:
 *
 *   vlog_punch_plan     looks at a segment, and makes the new footer in memory
 *   vlog_punch_write    writes it beside the old one
 *   vlog_punch_sync     makes that durable; when all of many are written, since then one commit is for all of them
 *   vlog_punch_publish  puts it into the manifest, for many at once; raises the reclaim epoch
 *   vlog_punch_holes    when every reader has left that may know the old footer
 */
#ifndef CAIRN_VLOG_PUNCH_H
#define CAIRN_VLOG_PUNCH_H

#include "vlog/compacted.h"

typedef struct vlog_punch vlog_punch;

/* `dead` says of a record whether its bytes may go. Runs with fewer than `run_min` bytes of whole blocks are left
 * alone, because a hole costs an extent. *out is NULL where less than `least` bytes would come free. *gain: how many
 * do; what is dead and does not is noted (vlog_note_dead). CAIRN_OK, CAIRN_NO_MEMORY, CAIRN_IO, CAIRN_CORRUPT: the
 * footer is damaged. */
typedef bool (*vlog_dead)(void *ctx, const segment *s, const footer_entry *e);
int vlog_punch_plan(vlog_punch **out, vlog *log, segment *s, vlog_dead dead, void *ctx, uint64_t run_min,
                    uint64_t least, uint64_t *gain, cairn_error *error);
segment *vlog_punch_segment(const vlog_punch *p);
/* The file system can punch holes into such a file. */
bool vlog_punch_is_possible(vlog *log, segment *s);
/* What was found out of it: true at first. Any thread. */
bool vlog_has_holes(const vlog *log);
void vlog_give_up_holes(vlog *log);
int vlog_punch_write(vlog_punch *p, cairn_error *error);
int vlog_punch_sync(vlog_punch *p, cairn_error *error); /* a failure fails the log */
int vlog_punch_publish(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch, cairn_error *error);
/* What fails leaves blocks that the next punch of the segment gives back; *freed: bytes that came free. */
int vlog_punch_holes(vlog_punch *p, uint64_t *freed, cairn_error *error);
void vlog_punch_free(vlog_punch *p); /* NULL is nothing */

#endif

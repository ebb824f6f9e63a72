/* Compacted segments: written beside the log, outside the append order, and published when they are durable; and the
 * removal of segments that nothing needs any more. Format and proof: vlog/FORMAT.md, "Compaction". What is moved and
 * what may go is the store's to say (src/store/compact.c). */
#ifndef CAIRN_VLOG_COMPACTED_H
#define CAIRN_VLOG_COMPACTED_H

#include "vlog/footer.h"
#include "vlog/log.h"

/* ---- What there is ---- */

typedef struct vlog_space {
    segment *segment;
    uint64_t id, bytes;  /* of records, without what was freed */
    uint64_t freed;      /* bytes whose blocks were given back */
    uint64_t live;       /* of these: what the index names */
    uint64_t kept, gaps; /* and tombstones and SKIPs, where compaction wrote it; else 0 */
    uint64_t footer_bytes, first_place, end_place, lowest_version;
    uint64_t batch;            /* the caller's, see src/store/compact.h */
    uint64_t scattered, edges; /* see vlog_note_dead */
    bool compacted, punched;
    bool held;     /* a snapshot, reader or view needs something of it */
    bool spoiled;  /* see vlog_spoil */
    bool no_holes; /* see vlog_forbid_holes */
    bool shared;   /* see vlog_note_shared */
} vlog_space;

/* Every sealed segment, malloc'ed, in order of id. They stay until vlog_remove: the caller is the only one who calls
 * that. CAIRN_OK or CAIRN_NO_MEMORY. */
int vlog_space_list(vlog *log, vlog_space **list, size_t *count);
int vlog_space_by_id(const void *a, const void *b); /* for qsort */
/* Nothing names or holds anything in it; somebody holds something. */
bool vlog_is_empty(const segment *s);
bool vlog_is_held(const segment *s);
/* What a look at the segment found dead that no hole gives back: in runs too short for one; at the edges of holes. */
void vlog_note_dead(vlog *log, segment *s, uint64_t scattered, uint64_t edges);
/* Looks whether its file has another link: then it is immutable, and must not be punched. CAIRN_OK or CAIRN_IO. */
int vlog_note_shared(vlog *log, segment *s, bool *shared, cairn_error *error);
void vlog_forbid_holes(segment *s); /* its footer is damaged */
void vlog_spoil(segment *s);        /* compaction leaves it alone from now on, in this handle */
/* How large a segment is meant to get now, where what lives in it is copied: the measure of compaction. What is
 * appended may go on longer. */
uint64_t vlog_segment_target(const vlog *log);

/* ---- Reading for a copy ---- */

location vlog_entry_location(const segment *s, const footer_entry *e); /* of a PUT or STREAM */

/* A whole record as it lies, into buf (its length in units): header and payload verified. Inside the epoch. */
int vlog_record_raw(vlog *log, segment *s, uint64_t offset, uint64_t units, uint8_t *buf, record_header *header,
                    cairn_error *error);

/* ---- Writing ---- */

typedef struct vlog_output vlog_output;

/* A file that nothing lists yet, with addresses for so many bytes of records and what aligns them. One thread; one
 * output at a time. */
int vlog_output_open(vlog_output **out, vlog *log, uint64_t bytes_max, cairn_error *error);
/* Bytes of records so far. */
uint64_t vlog_output_bytes(const vlog_output *o);
/* Adds a record as vlog_record_raw gave it (the header is changed to fit); versions ascend. The entry is its own in the
 * segment that it comes from. *offset is where it will lie. CAIRN_FULL, CAIRN_IO, CAIRN_NO_MEMORY: the output is to be
 * abandoned. */
int vlog_output_add(vlog_output *o, uint8_t *record, const record_header *header, const footer_entry *entry,
                    uint64_t *offset, cairn_error *error);
/* Adds the tombstone that a record becomes whose key is gone: a DELETE of its version. */
int vlog_output_add_tombstone(vlog_output *o, const uint8_t *record, const record_header *header,
                              const footer_entry *entry, cairn_error *error);
/* Makes it durable and a segment of the log, *published. Takes the output over. A failed sync fails the log. */
int vlog_output_publish(vlog_output *o, segment **published, cairn_error *error);
void vlog_output_abandon(vlog_output *o); /* nothing is left; NULL is nothing */

/* ---- Removing ---- */

/* Takes sealed segments out of the manifest, durably, so that an older checkpoint than `reclaim_epoch` is not used any
 * more. They are empty (vlog_is_empty), and readers that may have met a location in them have left. On failure nothing
 * has changed. Then out of memory and off the disk; `wait` is to return when every reader has left that was inside the
 * epoch at its call: it may have met them in the list of segments. *freed: bytes of their files. */
int vlog_remove(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch, void (*wait)(void *ctx),
                void *ctx, uint64_t *freed, cairn_error *error);

#endif

/* The state behind vlog/log.h, for the files of this room only. Each field names the lock that guards it; the order of
 * the locks is in vlog/log.h. */
#ifndef CAIRN_VLOG_LOG_STATE_H
#define CAIRN_VLOG_LOG_STATE_H

#include "vlog/ahead.h"
#include "vlog/footer.h"
#include "vlog/log.h"
#include "vlog/mapped_append.h"
#include "vlog/pack.h"

#include <stdatomic.h>

/* How far each replacement of the manifest raises the version ceiling. */
#define VERSION_CHUNK ((uint64_t)1 << 24)
#define FILE_ID_CHUNK ((uint64_t)64) /* likewise for file ids */
#define SEGMENT_BYTES_FIRST ((uint64_t)4 << 20)
#define SEGMENT_BYTES_LARGE ((uint64_t)16 << 20) /* the least where nearly all is given back by holes */
#define SEGMENTS_OF_A_STORE 16u /* once segments are larger than the first, and smaller than segment_bytes */
#define SEGMENT_RUN_BYTES ((uint64_t)256 << 20) /* least run of addresses, where segment_bytes allows it */
#define IO_PIECE_BYTES ((size_t)256 << 10)      /* read, verified and copied while it is in the L2 cache */

typedef struct append_request append_request;

struct vlog {
    vlog_options options; /* fixed */
    value_file_env env;   /* fixed */
    segment_map map;
    segment_files files;

    packer *packer; /* fixed */

    os_mutex dictionary_lock;  /* innermost */
    dictionary **dictionaries; /* dictionary_lock; those that were needed so far, in no order; freed at close */
    size_t dictionary_count;   /* dictionary_lock */
    _Atomic(const dictionary *) current_dictionary; /* for new values; NULL: none */

    _Atomic(append_request *) waiting; /* appends that whoever holds the append lock does as well; see append.c */
    os_mutex append_lock;
    atomic_uint append_sleepers;                /* that wait for it */
    os_cond prepared;                           /* append: `preparing` became false */
    os_cond served;                             /* append: requests of onlookers may be done */
    size_t onlookers;                           /* append: threads that wait for a request that another one took */
    segment **segments;                         /* append: the append order, by id, which is the order of places */
    size_t count, capacity;                     /* append */
    segment **compacted;                        /* append: those that compaction wrote, by id */
    size_t compacted_count, compacted_capacity; /* append */
    segment *active;                           /* append: NULL before the first append; always the last but the spare */
    segment *spare;                            /* append: created ahead, empty */
    bool preparing;                            /* append: upkeep is creating the spare */
    atomic_bool due;                           /* there is something for upkeep to do */
    atomic_bool values_refused;                /* written under append */
    bool started;                              /* append: this session has raised the version ceiling durably */
    footer_builder builder;                    /* append: of the active segment */
    mapped_append mapped;                      /* append: likewise */
    _Atomic uint64_t next_place, next_version; /* written under append */
    _Atomic uint64_t appended_bytes;           /* written under append */
    _Atomic uint64_t record_bytes;             /* of all segments */
    _Atomic uint64_t footer_bytes;             /* likewise */
    _Atomic uint64_t output_bytes;             /* of the compacted segment that is being written */
    atomic_bool no_holes;                      /* the file system cannot punch any */
    atomic_bool backing_up;                    /* a backup is under way; one at a time */
    _Atomic uint64_t backup_pinned; /* dead bytes of what it holds: about, as some die while it takes hold or lets go */
    _Atomic uint64_t live_bytes, live_large_bytes; /* sums of what the index names; see vlog_live_add */
    _Atomic uint64_t edge_bytes;                   /* sum of all segments' `edges` */

    os_mutex maintain_lock; /* held by who seals full segments or takes sealed ones out; before append */

    os_mutex manifest_lock;
    manifest manifest;                /* manifest */
    uint64_t resumed_sequence;        /* of the manifest, when this session began with a clean log; else 0 */
    uint64_t next_id;                 /* manifest: below manifest.next_id, which is what no crash forgets */
    _Atomic uint64_t version_ceiling; /* written under manifest: what the durable manifest says */
    _Atomic uint64_t features;        /* likewise */

    os_mutex sync_lock;
    os_cond sync_done;
    bool syncing;                   /* sync: somebody leads one */
    ahead ahead;                    /* see vlog/ahead.h */
    _Atomic uint64_t durable_place; /* written under sync, or before threads run */
    atomic_bool failed;             /* only ever set */
};

void vlog_say(const vlog *log, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vlog_fail(vlog *log);                   /* marks the log failed; CAIRN_FAILED */
int vlog_refuse_failed(cairn_error *error); /* the error of a failed log */

/* All segments, those of the append order first; append lock held, or one thread. */
static inline size_t vlog_segment_count(const vlog *log) { return log->count + log->compacted_count; }
static inline segment *vlog_segment_at(const vlog *log, size_t i) {
    return i < log->count ? log->segments[i] : log->compacted[i - log->count];
}

/* roll.c; append lock held */
int vlog_segments_reserve(vlog *log, cairn_error *error);
void vlog_segments_remove(vlog *log, segment *s); /* out of array and map, file closed, freed */
/* Makes an active segment with room for a record of `units`. */
int vlog_make_room(vlog *log, uint64_t units, cairn_error *error);
/* The active segment, filled up to `from`, takes a record of `units` behind it. */
bool vlog_has_room(const vlog *log, uint64_t from, uint64_t units);
/* How far a segment that becomes active is meant to be filled. */
void vlog_set_target(const vlog *log, segment *s);
/* Writes the active segment's footer; it is then full, and there is no active one. */
int vlog_finish_active(vlog *log, cairn_error *error);

/* Early enough that a writer seldom goes far beyond the target. */
bool vlog_spare_is_due(const vlog *log);

/* roll.c; manifest lock held: raises the ceiling and replaces the manifest. A failed sync fails the log. */
int vlog_store_manifest(vlog *log, cairn_error *error);
/* roll.c; manifest lock not held: makes sure that the durable manifest has these features. */
int vlog_require(vlog *log, uint64_t features, cairn_error *error);
/* Puts what a full segment has become into its row of the manifest. Manifest lock held. */
void vlog_manifest_seal(vlog *log, const segment *s);

/* read.c: segment, file and offset of a location; CAIRN_CORRUPT when no record can be there. Inside the epoch. */
int vlog_locate(vlog *log, location where, segment **s, os_file **file, uint64_t *offset, cairn_error *error);
/* read.c: bytes of records; CAIRN_CORRUPT when the file ends before. */
int vlog_read_exactly(segment *s, os_file *file, void *buf, size_t size, uint64_t offset, cairn_error *error);
/* read_packed.c: as vlog_payload_read, of compressed frames. */
int vlog_packed_read(vlog *log, const vlog_head *head, void *buf, uint64_t size, uint64_t offset, cairn_error *error);

/* packing.c: a dictionary by its id, loaded on first use and kept until the log is closed. */
int vlog_dictionary(vlog *log, uint64_t id, const dictionary **out, cairn_error *error);
void vlog_dictionaries_release(vlog *log);
void vlog_load_current_dictionary(vlog *log);

/* leftovers.c: removes from a store's directory what its manifest does not list; see vlog_remove_leftovers. */
int vlog_remove_unlisted(vlog *log, os_dir *dir, manifest *m, bool (*wanted)(void *ctx, uint64_t id), void *ctx);

/* sync.c: syncs whatever may need it, footers included, also when no record is waiting. */
int vlog_sync_files(vlog *log, cairn_error *error);

/* entries.c: the footer's entry of the record that a walker is on, but for the id of a value file. */
struct walker;
footer_entry vlog_entry_of(const vlog *log, const struct walker *w);
/* entries.c: reads and checks the trailer of a file of that size: 1 usable, 0 damaged or none, or a code. */
int vlog_read_trailer(const segment *s, os_file *file, uint64_t file_size, footer_trailer *t, cairn_error *error);

/* log.c: how far the records of an open segment go, found out at the opening. */
void vlog_set_end(vlog *log, segment *s, uint64_t end);

/* compacted.c: room for one more compacted segment. Append lock held. */
int vlog_compacted_reserve(vlog *log, cairn_error *error);

/* The kind of a record's location. */
static inline location_kind vlog_kind_of(uint8_t type, uint8_t flags) {
    unsigned kind = type == RECORD_STREAM          ? LOCATION_STREAM
                    : (flags & RECORD_PACKED) != 0 ? LOCATION_PACKED
                                                   : LOCATION_VALUE;
    return (location_kind)((flags & RECORD_EXPIRES) != 0 ? kind | LOCATION_EXPIRES : kind);
}

/* A full segment has its footer and takes no more records. Append lock held. */
static inline bool segment_full(const segment *s) { return s->sealed_size != 0; }
static inline uint64_t segment_footer_bytes(const segment *s) {
    return s->sealed_size - min_u64(s->sealed_size, atomic_load(&s->end));
}

#endif

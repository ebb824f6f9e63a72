/* One segment of the log in memory, the table that finds it by address, and the cache of open files.
 *
 * Who guards what:
 *  - identity (id, generation, place in the address space, seed): fixed at creation.
 *  - `state`, `end`, `sealed_size`, `trailer_checksum`, places, lowest version: the log's append lock; once `state` is
 *    SEGMENT_SEALED nothing of them changes any more but size and checksum, when the segment is punched (vlog/punch.h),
 *    which readers of footers take under the lock. `end` is atomic, because statistics read it without the lock.
 *  - `target`, `written`, `written_back`: the append lock.
 *  - `live`, `freed`, `held_bytes`, `holds`, `spoiled`, `no_holes`, `shared`, `scattered`, `edges`: atomic, any thread.
 *    `warm`, `viewed`: see vlog/warm.h and vlog/viewed.h.
 *  - base_granule and granules of a compacted segment: its writer's, until it is published.
 *  - `handle`: published atomically. A user of it is inside the epoch. It is opened on first use and closed, when too
 * many are open, through the epoch (segment_files.lock guards opening and closing). A segment that is not sealed is
 * pinned: its file stays open, because a sync must go through a descriptor that saw every write error.
 */
#ifndef CAIRN_VLOG_SEGMENT_H
#define CAIRN_VLOG_SEGMENT_H

#include "include/cairn.h"
#include "src/base/epoch.h"
#include "src/base/location.h"
#include "src/os/os.h"
#include "src/os/os_thread.h"
#include "vlog/file_name.h"
#include "vlog/manifest.h"
#include "vlog/viewed.h"
#include "vlog/warm.h"

#include <stdatomic.h>

#define SEGMENT_DATA_OFFSET ((uint64_t)4096)
#define GRANULE_UNITS (GRANULE_BYTES / UNIT_BYTES)

typedef struct segment_handle {
    epoch_entry retired;
    os_file *file;
} segment_handle;

typedef struct segment {
    uint64_t id, generation, base_granule, granules, seed;
    bool compacted;         /* fixed: not a part of the append order */
    bool alternate;         /* fixed: the other name, see segment_name_of */
    bool punched;           /* the append lock */
    bool holes_made;        /* whoever compacts, one at a time: this handle has punched all that its footer lists */
    uint64_t kept, gaps;    /* fixed: of a compacted one, bytes of tombstones, and of SKIPs (of earlier builds) */
    uint32_t state;         /* SEGMENT_OPEN, SEGMENT_SEALED */
    bool synced;            /* open, full, and everything in it is synced: may be sealed in the manifest */
    _Atomic uint64_t end;   /* offset behind the last record */
    uint64_t target;        /* active: the log goes on to the next segment from here on, once that is there */
    uint64_t written;       /* active: its file has blocks up to here (vlog/ahead.h); 0: none ahead */
    uint64_t written_back;  /* open: write-back was begun up to here */
    _Atomic uint64_t live;  /* bytes of records that the index names */
    _Atomic uint64_t freed; /* bytes of records whose blocks were given back */
    _Atomic uint64_t held_bytes; /* of records that only snapshots still see */
    _Atomic uint32_t holds;      /* readers and views that have a record of it open */
    atomic_bool spoiled;         /* compaction found damage in it and leaves it alone */
    atomic_bool no_holes;        /* its footer is damaged: what lives in it must be moved */
    atomic_bool shared;          /* a backup had it too when holes were last thought of: it is immutable */
    atomic_bool backed_up;       /* a backup under way holds it: what dies in it is pinned */
    _Atomic uint64_t scattered;  /* dead bytes that the last look found in runs too short for holes, ... */
    _Atomic uint64_t edges;      /* ... and at the edges of holes, in blocks that something else lies in as well */
    uint64_t sealed_size, trailer_checksum, first_place, end_place, lowest_version; /* set when full */
    _Atomic(segment_handle *) handle;
    bool no_window; /* fixed */
    _Atomic(warm_table *) warm;
    _Atomic(viewed_table *) viewed;
    atomic_bool used; /* since the file cache's hand last passed */
    atomic_bool pinned;
} segment;

static inline uint64_t segment_capacity(const segment *s) { return s->granules * GRANULE_BYTES; }
static inline location segment_location(const segment *s, uint64_t offset, uint64_t units, location_kind kind) {
    return location_make(s->base_granule * GRANULE_UNITS + offset / UNIT_BYTES, units, kind);
}
static inline uint64_t segment_offset(const segment *s, location where) {
    return (location_address(where) - s->base_granule * GRANULE_UNITS) * UNIT_BYTES;
}

/* NULL when there is no memory. */
segment *segment_new(const manifest_segment *m, uint64_t salt, bool no_window);
void segment_free(segment *s); /* closes its file; NULL is nothing */

/* The name of its file. A backup that replaces a segment of an earlier one uses suffixes in turn, so that both are
 * there until the manifest says which one counts. */
typedef struct segment_name {
    char text[FILE_NAME_SIZE];
} segment_name;
segment_name segment_name_of(const segment *s);
static inline const char *segment_suffix(bool alternate) { return alternate ? "alt" : "seg"; }

void segment_encode_header(uint8_t block[4096], const segment *s, const uint8_t store_id[16]);
/* Checks the header block of an open file. CAIRN_CORRUPT when it is damaged or another segment's. */
int segment_check_header(const segment *s, os_file *file, const uint8_t store_id[16], cairn_error *error);

/* ---- Open files ---- */

typedef struct segment_files {
    os_dir *dir;
    bool read_only;
    epoch *readers;
    os_mutex lock; /* guards what follows, and the opening and closing of handles; innermost */
    segment **open;
    size_t count, capacity, hand, limit;
} segment_files;

void segment_files_init(segment_files *files, os_dir *dir, bool read_only, epoch *readers, size_t limit);
void segment_files_release(segment_files *files);
/* Creates the file of a new segment with a synced header block, and pins it; its name is not yet durable. On failure
 * nothing is left. */
int segment_files_create(segment_files *files, segment *s, const uint8_t store_id[16], cairn_error *error);
void segment_files_forget(segment_files *files, segment *s); /* closes its file; nobody uses it */
/* The caller is inside the epoch and uses the file only there, unless the segment is pinned. */
int segment_file(segment_files *files, segment *s, os_file **file, cairn_error *error);

/* Reads of records: as os_file_read, from memory where that is warm. `file` is the segment's. */
int segment_read(segment *s, os_file *file, void *buf, size_t size, uint64_t offset, size_t *got);
/* The same when all of it is in memory at this moment: 0, or -EAGAIN and the system was told; see os_file_readv_now. */
int segment_read_now(segment *s, os_file *file, void *buf, size_t size, uint64_t offset);
/* Only from memory, where that is warm, else false; `sum` as of os_window_read. */
bool segment_copy_warm(segment *s, void *buf, size_t size, uint64_t offset, uint64_t *sum);
void segment_count_read(segment *s, os_file *file, uint64_t offset, uint64_t size); /* that was read otherwise */
bool segment_warm(const segment *s, uint64_t offset, uint64_t size);

/* ---- From address to segment ---- */

/* Two levels of 8,192 atomic pointers by granule. Look-ups and reserving take no lock; changes are the append lock's.
 */
typedef struct segment_leaf segment_leaf;
typedef struct segment_map {
    _Atomic(segment_leaf *) *leaves;
} segment_map;

int segment_map_init(segment_map *map); /* CAIRN_OK or CAIRN_NO_MEMORY */
void segment_map_release(segment_map *map);
/* Makes sure that adding it does not fail: CAIRN_OK or CAIRN_NO_MEMORY. */
int segment_map_reserve(segment_map *map, const segment *s);
int segment_map_add(segment_map *map, segment *s); /* CAIRN_OK or CAIRN_NO_MEMORY (nothing changed) */
void segment_map_remove(segment_map *map, const segment *s);
segment *segment_map_find(const segment_map *map, uint64_t address); /* NULL: no segment lies there */

#endif

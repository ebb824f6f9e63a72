/* The manifest: which segments the log consists of. Format: vlog/FORMAT.md. Not thread-safe: vlog/log.h says which lock
 * guards the one that a store holds. */
#ifndef CAIRN_VLOG_MANIFEST_H
#define CAIRN_VLOG_MANIFEST_H

#include "include/cairn.h"
#include "src/os/os.h"

#define MANIFEST_NAME "MANIFEST"
#define MANIFEST_NEW_NAME "MANIFEST.NEW"
#define GRANULE_BYTES ((uint64_t)1 << 20)
#define GRANULE_COUNT ((uint64_t)1 << 26) /* of the whole address space */

enum { SEGMENT_OPEN = 1, SEGMENT_SEALED = 2 };
#define SEGMENT_COMPACTED 1u /* flag: what compaction moved there, not a part of the append order */
#define SEGMENT_PUNCHED 2u   /* flag: its footer may list ranges whose blocks were given back */
#define SEGMENT_ALTERNATE 4u /* flag: the file has its other name */

/* Bits of the incompatible features: each is set durably before the first record that it stands for is written, so a
 * build that does not know it refuses the store instead of misreading it. */
#define FEATURE_ZSTD ((uint64_t)1)       /* codec 1: compressed frames, in records and value files */
#define FEATURE_DICTIONARY ((uint64_t)2) /* codec 2, and dictionary files */
#define FEATURE_EXPIRES ((uint64_t)4)    /* records with an expiry */
#define FEATURE_BATCH ((uint64_t)8)      /* parts of batches, and COMMIT */
#define FEATURE_COMPACTED ((uint64_t)16) /* compacted segments, and segments that are gone */
#define FEATURE_BACKUP ((uint64_t)32)    /* files may have other links; lineage and origin */
#define FEATURE_ON_UNITS ((uint64_t)64)  /* large records that do not begin on a block */
#define FEATURES_KNOWN                                                                                                 \
    (FEATURE_ZSTD | FEATURE_DICTIONARY | FEATURE_EXPIRES | FEATURE_BATCH | FEATURE_COMPACTED | FEATURE_BACKUP |        \
     FEATURE_ON_UNITS)

typedef struct manifest_segment {
    uint64_t id, generation, base_granule, granules;
    uint32_t state;
    uint32_t flags;
    uint64_t sealed_size, trailer_checksum, first_place, end_place, lowest_version, record_end; /* of a sealed one */
    uint64_t kept, gaps; /* of a compacted one: bytes of tombstones in it, and of SKIPs */
} manifest_segment;

typedef struct manifest {
    uint8_t store_id[16];
    uint64_t features, compatible_features, sequence, reclaim_epoch, next_id, version_ceiling, durable_place;
    uint64_t dictionary;        /* id of the dictionary for new values; 0: none */
    uint64_t reclaimed_place;   /* records of the append order below it may be gone; 0: all are there */
    uint64_t next_granule;      /* where the next run is looked for first; 0: behind the youngest segment */
    uint64_t lineage;           /* with FEATURE_BACKUP: of this history, random; else 0 */
    uint64_t origin;            /* likewise: of the store that this is an untouched backup of; 0: none */
    manifest_segment *segments; /* ascending id; owned */
    size_t count, capacity;
} manifest;

void manifest_init(manifest *m, const uint8_t store_id[16]);
void manifest_release(manifest *m);

/* CAIRN_OK; CAIRN_NOT_FOUND: there is no manifest; CAIRN_CORRUPT: damaged, or of another store (the message says what
 * and where); CAIRN_UNSUPPORTED: newer; CAIRN_IO; CAIRN_NO_MEMORY. On failure *m is as after manifest_init. */
int manifest_load(manifest *m, os_dir *dir, const uint8_t store_id[16], uint64_t salt, cairn_error *error);

/* Counts m->sequence up and replaces the file durably. On failure the old file or the new one is there, whole; the
 * sequence is not counted back. *synced_failed (may be NULL) tells whether it was a sync that failed. */
int manifest_store(manifest *m, os_dir *dir, uint64_t salt, bool *sync_failed, cairn_error *error);

/* Room for one more segment, so that the next manifest_add does not fail: CAIRN_OK or CAIRN_NO_MEMORY. */
int manifest_reserve(manifest *m);
manifest_segment *manifest_add(manifest *m, const manifest_segment *segment); /* its id is not there yet */
void manifest_remove(manifest *m, uint64_t id);
manifest_segment *manifest_find(manifest *m, uint64_t id); /* NULL when absent */

/* A free run of granules, next fit. Where segments go as well, next_granule sees to it that addresses are not used
 * again before all others were. CAIRN_FULL when the address space has none; CAIRN_NO_MEMORY. */
int manifest_place_run(const manifest *m, uint64_t granules, uint64_t *base_granule);
/* Before segments go: sees to it that their addresses are not taken for the next run. Likewise to be undone. */
void manifest_keep_addresses(manifest *m);
/* The run is taken; to be undone by setting next_granule to what it was. */
void manifest_run_taken(manifest *m, uint64_t base_granule, uint64_t granules);
/* Sets *id to a segment whose run overlaps another's, or 0. Every run lies in the address space. CAIRN_OK or
 * CAIRN_NO_MEMORY. */
int manifest_find_overlap(const manifest *m, uint64_t *id);

uint64_t manifest_bytes(uint64_t segments); /* of the file with so many, at most */

#endif

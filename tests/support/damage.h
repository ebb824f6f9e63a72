/* Damage to a specimen's files, and what may be lost by it. */
#ifndef CAIRN_TESTS_DAMAGE_H
#define CAIRN_TESTS_DAMAGE_H

#include "tests/support/specimen.h"

typedef enum damage_kind {
    FLIPPED,   /* one bit */
    CUT,       /* to `at` bytes */
    GROWN,     /* by `size` bytes of zeros or noise */
    ZEROED,    /* [at, at + size) */
    NOISE,     /* likewise */
    REMOVED,   /* the file */
    EMPTIED,   /* likewise */
    REPLACED,  /* by a file of its kind of another store, or of this one */
    EXCHANGED, /* with a file of its kind of the same store */
    OUTDATED   /* the checkpoint's root by the first there was */
} damage_kind;
#define DAMAGE_KINDS (OUTDATED + 1)

extern const char *const damage_names[DAMAGE_KINDS];

typedef struct damage {
    damage_kind kind;
    unsigned file;
    uint64_t at, size;
    uint8_t mask; /* of the flipped bit */
    const specimen *donor;
    unsigned donor_file;
} damage;

/* `rng` gives the noise. */
void damage_inflict(const damage *d, const specimen *s, sim_disk *disk, uint64_t *rng);

/* Whether any of these bytes change. */
bool damage_touches(const damage *d, unsigned file, uint64_t begin, uint64_t end);
bool damage_touches_record(const damage *d, const specimen_record *r);

/* The lowest row that may be there. In an open segment a step may be gone when it, or one before it, was hit, and
 * nothing that is whole says that it was durable. */
size_t damage_lowest_row(const damage *d, const specimen *s);

/* Whether the key may give CAIRN_CORRUPT when the store holds that row. */
bool damage_may_fail(const damage *d, const specimen *s, unsigned key, size_t row);

/* Whether verification is to find it when no step is gone. */
bool damage_is_verified(const damage *d, const specimen *s);

static inline bool is_checkpoint(const specimen_file *f) { return f->name[0] == 'C' && f->name[1] == 'H'; }

#endif

/* Small stores on a simulated disk of which every byte's meaning is known: what a test damages, and then compares with
 * what it knows.
 *
 * Row r of `state` is what the store holds after its first r steps: for each key a value, or SPECIMEN_ABSENT. A
 * specimen has sealed segments (each session but the last ended in a kill, and recovery sealed what it left), one open
 * segment, dead and live records of all types, and a checkpoint where the plan wants one. It was closed, or killed with
 * steps behind the last sync. Nothing changes it once it is made; a test works on clones of `disk`.
 */
#ifndef CAIRN_TESTS_SPECIMEN_H
#define CAIRN_TESTS_SPECIMEN_H

#include "include/cairn.h"
#include "tests/support/os_sim.h"

#define SPECIMEN_STORE "s"
#define SPECIMEN_KEYS 10
#define SPECIMEN_STEPS 48
#define SPECIMEN_FILES 16
#define SPECIMEN_ABSENT 0

typedef struct specimen_plan {
    const char *name;
    uint64_t hash_mask;
    bool closed;     /* cleanly; else killed with steps that are not durable */
    bool checkpoint; /* one in mid-history */
    bool large;      /* one value has two frames */
    bool files;      /* some values have files of their own */
} specimen_plan;

typedef struct specimen_value {
    const uint8_t *bytes;
    size_t size;
    char file[SIM_NAME_SIZE]; /* of its own, or empty */
} specimen_value;

typedef struct specimen_key {
    const uint8_t *bytes;
    size_t size;
} specimen_key;

/* What a step appended: [begin, end) of the file. */
typedef struct specimen_record {
    unsigned file; /* index in files */
    unsigned key;
    uint64_t begin, end;
    uint64_t value_begin, value_size; /* the payload: a value, or the name of a value file */
    uint64_t durable_place;           /* that it carries */
    uint64_t next_place;              /* behind it */
} specimen_record;

typedef struct specimen_file {
    char name[SIM_NAME_SIZE];
    uint8_t *bytes;
    size_t size;
    uint64_t id;         /* of a segment or value file, else 0 */
    bool segment, value; /* of the log; of one value */
    bool open;           /* a segment that takes records */
    bool live;           /* a value file that the last row needs */
    uint64_t record_end; /* of a segment */
} specimen_file;

typedef struct specimen {
    specimen_plan plan;
    sim_disk *disk;
    specimen_key keys[SPECIMEN_KEYS];
    specimen_value values[SPECIMEN_STEPS + 1]; /* the first is absence */
    specimen_record records[SPECIMEN_STEPS];   /* of step i */
    uint8_t state[SPECIMEN_STEPS + 1][SPECIMEN_KEYS];
    size_t steps;
    specimen_file files[SPECIMEN_FILES];
    size_t file_count;
    uint64_t manifest_durable, checkpoint_end; /* places known to be durable by these files */
    uint8_t *old_root;                         /* the first CHECKPOINT there was */
    size_t old_root_size;
} specimen;

void specimen_make(specimen *s, const specimen_plan *plan, uint64_t seed);
void specimen_release(specimen *s);

int specimen_open(const specimen *s, sim_disk *disk, bool read_only, cairn **store, cairn_error *error);
/* The record that the byte belongs to, or NULL. */
const specimen_record *specimen_record_at(const specimen *s, unsigned file, uint64_t offset);
bool specimen_same_hash(const specimen *s, unsigned key, unsigned other);

#endif

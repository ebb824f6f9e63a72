/* A simulated disk behind the OS table, for tests: directories and files in memory, with a model of what a power cut
 * leaves of them.
 *
 * The model. Each file has a durable content (as of its last successful sync) and the operations since; each directory
 * has a durable table of names and the name operations since. sim_crash makes of them one state that os.h allows:
 *  - a write, or punch, is taken 512-byte sector by sector: a sector holds what it held in memory at some moment since
 *    the last sync (writes to one sector in order, different sectors in any order). A sector that the file did not have
 *    before holds zeros or stale bytes when it was not written back. A size may be old, new or in between.
 *  - a truncation is applied or not, independently of the data. So is what file_allocate does to the size; its blocks
 *    are given back.
 *  - a name operation is applied or not, but never before an earlier one on the same name; a rename is one step.
 *  - a failed file sync marks what was pending as clean: reads see it, but it never becomes durable unless it is
 *    written again, whatever a later sync returns. (A failed directory sync leaves the names pending: file systems
 *    abort their journal there and do not forget names.)
 *  - a directory's own name is durable once dir_open with OS_CREATE returned 0, or its parent was synced.
 *
 * Operations are the mutating calls: create (of a file, directory or link), write, truncate, punch, sync, dir_sync,
 * rename, unlink. They are counted from 0, also when they fail. dir_open with OS_CREATE is up to two: the creation when
 * it is absent, and the sync of the parent.
 *
 * Limits beyond os.h: names below 48 bytes, paths below 128, files up to 1 GiB, no symbolic links, no clones. A path
 * needs its parent to exist when it names one ("a/b" needs "a"); others are there at once.
 *
 * Costs: content is shared page by page and copied on write, so that a clone or crash of a small store takes a few
 * microseconds. Thread-safe: one mutex a disk; different disks that share content may be used by different threads. A
 * failure of the simulator's own bookkeeping allocations aborts; handles, mappings and listings return -ENOMEM.
 */
#ifndef CAIRN_TESTS_OS_SIM_H
#define CAIRN_TESTS_OS_SIM_H

#include "src/os/os.h"

#define SIM_NAME_SIZE 48

typedef struct sim_disk sim_disk;

sim_disk *sim_new(uint64_t seed); /* an empty disk, time 1,000,000,000,000 ms */
void sim_free(sim_disk *d);       /* NULL is nothing. Handles that are still open leak and must not be used */
os *sim_os(sim_disk *d);          /* belongs to the disk */

void sim_clock_advance(sim_disk *d, uint64_t ms);     /* both clocks; they stand still otherwise */
void sim_set_capacity(sim_disk *d, uint64_t bytes);   /* of allocated 4 KiB blocks; UINT64_MAX (default): no limit */
void sim_allocate_ahead(sim_disk *d);                 /* as much again for files that grow; only file_info tells */
uint64_t sim_operations(sim_disk *d);                 /* so far */
size_t sim_open_handles(sim_disk *d);                 /* directories, files and mappings */
void sim_trace(sim_disk *d, char *text, size_t size); /* the last operations, one a line, for a failure message */
uint64_t sim_fingerprint(sim_disk *d);                /* of all paths, names and bytes as they read now */

/* Called after each operation, outside the disk's lock, on the thread that did it. It may clone the disk. */
typedef void (*sim_operation_hook)(void *ctx, sim_disk *d);
void sim_on_operation(sim_disk *d, sim_operation_hook hook, void *ctx); /* NULL: none */

/* ---- Faults ---- */

enum {
    SIM_WRITE = 1 << 0,
    SIM_TRUNCATE = 1 << 1,
    SIM_PUNCH = 1 << 2,
    SIM_SYNC = 1 << 3,
    SIM_DIR_SYNC = 1 << 4,
    SIM_RENAME = 1 << 5,
    SIM_UNLINK = 1 << 6,
    SIM_CREATE = 1 << 7, /* of a file, directory or link that was absent */
    SIM_MUTATING = (1 << 8) - 1,
    SIM_READ = 1 << 8,
    SIM_OPEN = 1 << 9, /* of a file that exists, or is missing and not to be created */
    SIM_DIR_OPEN = 1 << 10,
    SIM_INFO = 1 << 11,
    SIM_MAP = 1 << 12,
    SIM_LIST = 1 << 13,
    SIM_LOCK = 1 << 14,
    SIM_FLUSH = 1 << 15,
    SIM_FREE_BYTES = 1 << 16,
    SIM_RANDOM = 1 << 17,
    SIM_ALL = (1 << 18) - 1
};

typedef struct sim_fault {
    unsigned kinds; /* which calls count */
    uint64_t nth;   /* the call of these kinds that fails, counted from 0 at sim_fault_set */
    int error;      /* negative errno */
    bool sticky;    /* every later one of these kinds too */
    bool partial;   /* a failing write leaves a prefix of its bytes, else none */
} sim_fault;

void sim_fault_set(sim_disk *d, const sim_fault *fault); /* replaces the plan; NULL: none. Counts begin anew */
uint64_t sim_fault_hits(sim_disk *d);                    /* calls failed by the plan */
uint64_t sim_fault_calls(sim_disk *d);                   /* calls of the plan's kinds */

/* ---- The machine dies ---- */

/* As soon as n operations have been done every call fails with -EIO and changes nothing (closing still frees).
 * UINT64_MAX: never. */
void sim_cut_at(sim_disk *d, uint64_t n);

/* A new disk as it may be after a power cut at this moment. The old machine is dead from then on, but can be crashed
 * again with another seed. seed % 4: 0 nothing pending survives, 1 all of it does, 2 and 3 a random part. No handles,
 * locks, faults, hook or cut carry over; capacity, allocating ahead and clock do; operations begin at 0. */
sim_disk *sim_crash(sim_disk *d, uint64_t seed);

/* A new disk as a killed process leaves it: what was pending is visible and still pending. The rest as sim_crash. */
sim_disk *sim_kill(sim_disk *d);

/* Number i of the states that may be left at this moment: power cuts of each kind in turn, then, at i == cuts, a killed
 * process. The disk goes on. */
sim_disk *sim_left(sim_disk *d, unsigned i, unsigned cuts, uint64_t *rng);

/* An exact copy, with pending operations, fault plan, counters and cut, but without handles, locks and hook. The old
 * disk goes on. */
sim_disk *sim_clone(sim_disk *d);

/* ---- Looking and damaging from outside: no operation, no fault, at once durable ---- */

/* Fills up to `cap` names, sorted; returns how many there are. 0 for a missing directory. */
size_t sim_names(sim_disk *d, const char *path, char (*names)[SIM_NAME_SIZE], size_t cap);
/* How many of its names, of at most 256, contain `part`. */
size_t sim_count(sim_disk *d, const char *path, const char *part);
/* The whole content, for free(); NULL when the file is missing. Non-NULL for an empty file. */
uint8_t *sim_file_read(sim_disk *d, const char *path, const char *name, size_t *size);
/* Replaces the content; makes the file when it is missing. The directory exists. */
void sim_file_write(sim_disk *d, const char *path, const char *name, const void *data, size_t size);
/* These three: false when the file is missing or the offset is not in it. */
bool sim_file_poke(sim_disk *d, const char *path, const char *name, uint64_t offset, uint8_t xor_with);
bool sim_file_resize(sim_disk *d, const char *path, const char *name, uint64_t size);
bool sim_file_remove(sim_disk *d, const char *path, const char *name);

#endif

/* Inside the simulated disk: what its parts share. Everything here is guarded by the disk's mutex; the functions expect
 * it held. */
#ifndef CAIRN_TESTS_OS_SIM_DISK_H
#define CAIRN_TESTS_OS_SIM_DISK_H

#include "src/os/os_thread.h"
#include "tests/support/os_sim.h"
#include "tests/support/os_sim_content.h"

#define SIM_PATH_SIZE 128
#define SIM_STALE_PAGES 8
#define SIM_TRACE_LENGTH 32

/* ---- Randomness: splitmix64 ---- */

static inline uint64_t rng_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
static inline uint64_t rng_below(uint64_t *state, uint64_t limit) { return rng_next(state) % limit; }
static inline bool rng_in_8(uint64_t *state, unsigned chance) { return (rng_next(state) >> 61) < chance; }

/* ---- Files ---- */

typedef enum pending_kind { PENDING_WRITE, PENDING_TRUNCATE, PENDING_PUNCH } pending_kind;

/* Never changed once made, so that clones share it. */
typedef struct sim_pending {
    atomic_uint refs;
    pending_kind kind;
    uint64_t offset, size; /* truncate: offset is the new size */
    uint8_t bytes[];       /* write */
} sim_pending;

/* now     what reads see
 * durable what is certainly on the disk
 * base    what reads saw at the last sync, failed or not: where the pending operations begin. It differs from `durable`
 *         only after a failed sync (`diverged`). */
typedef struct sim_file {
    sim_content *now, *durable, *base;
    sim_pending **pending;
    size_t pending_count, pending_cap;
    bool diverged;
    unsigned refs;         /* entries in both tables of names, pending name operations, handles */
    unsigned names;        /* entries in a directory's present names */
    unsigned handles;      /* open ones */
    uint64_t ahead;        /* bytes allocated beyond the end; a copy has none */
    size_t index;          /* in the disk's list */
    struct sim_file *twin; /* its copy, while a clone or crash is made */
} sim_file;

/* ---- Directories ---- */

typedef struct sim_entry {
    char name[SIM_NAME_SIZE];
    sim_file *file; /* one reference */
} sim_entry;

typedef struct sim_table {
    sim_entry *entry;
    size_t count, cap;
} sim_table;

typedef enum name_op_kind { NAME_CREATE, NAME_UNLINK, NAME_RENAME } name_op_kind;

typedef struct sim_name_op {
    name_op_kind kind;
    char name[SIM_NAME_SIZE];
    char to[SIM_NAME_SIZE]; /* rename; otherwise empty */
    sim_file *file;         /* one reference; NULL for unlink */
} sim_name_op;

typedef struct sim_dir {
    char path[SIM_PATH_SIZE]; /* without trailing slashes */
    bool durable;             /* its own name */
    sim_table now, synced;
    sim_name_op *op;
    size_t op_count, op_cap;
    unsigned shared_locks;
    bool exclusive_lock;
} sim_dir;

/* ---- The disk ---- */

typedef struct sim_traced {
    uint64_t number;
    unsigned kind;
    int result;
    char name[SIM_NAME_SIZE], to[SIM_NAME_SIZE];
    uint64_t offset, size;
} sim_traced;

struct sim_disk {
    os table; /* first: the os is the disk */
    os_mutex mutex;

    sim_dir **dir;
    size_t dir_count;
    sim_file **file;
    size_t file_count, file_cap;
    uint64_t capacity;
    bool allocates_ahead;
    uint64_t allocated;               /* pages in `now` of files that have a name or a handle */
    sim_page *stale[SIM_STALE_PAGES]; /* some that were freed: what a newly allocated block may show */
    size_t stale_next;

    size_t handles;
    uint64_t operations, cut_at;
    bool stopped; /* crashed or killed */
    sim_operation_hook hook;
    void *hook_ctx;
    sim_fault fault;
    uint64_t fault_calls, fault_hits;

    uint64_t clock_ms;
    uint64_t random;  /* for the caller's random bytes */
    uint64_t choices; /* for the simulator's own */
    sim_traced trace[SIM_TRACE_LENGTH];
    size_t traced; /* ever */
};

static inline bool disk_dead(const sim_disk *d) { return d->stopped || d->operations >= d->cut_at; }

/* Strips trailing slashes. -ENOENT for an empty path, -ENAMETOOLONG. */
int disk_path(const char *path, char out[SIM_PATH_SIZE]);
sim_dir *disk_dir(const sim_disk *d, const char *path); /* path as by disk_path; NULL when missing */
/* The directory that a path names before its last slash; NULL when it names none, with *named saying which. */
sim_dir *disk_parent(const sim_disk *d, const char *path, bool *named);
sim_dir *disk_add_dir(sim_disk *d, const char *path);

sim_file *disk_add_file(sim_disk *d); /* empty, no reference yet */
void disk_file_ref(sim_file *f);
void disk_file_unref(sim_disk *d, sim_file *f);
void disk_file_space(sim_disk *d, const sim_file *f, size_t pages_before); /* after f->now changed */
void disk_file_pend(sim_file *f, sim_pending *op);                         /* takes the reference */
void disk_file_forget_pending(sim_file *f);
void disk_keep_stale(sim_disk *d, const sim_content *c, uint64_t from); /* some pages from this offset on */

sim_entry *table_find(const sim_table *t, const char *name);
void table_set(sim_disk *d, sim_table *t, const char *name,
               sim_file *f);                                    /* adds or replaces; takes references itself */
void table_remove(sim_disk *d, sim_table *t, const char *name); /* absent is nothing */
void table_copy(sim_disk *d, sim_table *to, const sim_table *from);

/* The present names change, and the change is pending. unlink: f is NULL. */
void dir_apply(sim_disk *d, sim_dir *dir, name_op_kind kind, const char *name, const char *to, sim_file *f);
void dir_forget_ops(sim_disk *d, sim_dir *dir);

/* All that is pending reaches the durable content, as by a sync that succeeds; it stays listed as pending. */
void file_persist_all(sim_file *f);

/* ---- Handles and calls ---- */

typedef enum lock_held { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE } lock_held;

typedef struct sim_dir_handle {
    os_dir base;
    sim_dir *dir;
    lock_held lock;
} sim_dir_handle;

/* One call on the table. call_enter takes the mutex, whatever it returns; call_leave gives it back and returns
 * `result`. call_enter's result is what the call has to return when it is not 0; `traced` is then NULL if the machine
 * is dead. */
typedef struct call {
    sim_disk *d;
    sim_traced *traced; /* NULL: not an operation */
} call;
int call_enter(call *c, sim_disk *d, unsigned kind, const char *name, uint64_t offset, uint64_t size);
int call_leave(call *c, int result);

int name_check(const char *name); /* a path component, and short enough */
/* A directory may stand where a file's name is looked for. */
bool names_directory(const sim_disk *d, const sim_dir *dir, const char *name);

void sim_os_table(os *table);

int sim_call_open(os_dir *base, const char *name, unsigned flags, os_file **out);
void sim_call_close(os_file *base);
int sim_call_info(os_file *base, os_file_info *info);
int sim_call_readv(os_file *base, const struct iovec *iov, int count, uint64_t offset, size_t *got);
int sim_call_readv_now(os_file *base, const struct iovec *iov, int count, uint64_t offset);
int sim_call_read(os_file *base, void *buf, size_t size, uint64_t offset, size_t *got);
int sim_call_write(os_file *base, const struct iovec *iov, int count, uint64_t offset);
int sim_call_truncate(os_file *base, uint64_t size);
int sim_call_allocate(os_file *base, uint64_t size);
int sim_call_sync(os_file *base);
int sim_call_flush(os_file *base, uint64_t offset, uint64_t size);
void sim_call_will_need(os_file *base, uint64_t offset, uint64_t size);
int sim_call_punch(os_file *base, uint64_t offset, uint64_t size);
int sim_call_clone(os_file *from, os_file *to);
int sim_call_map(os_file *base, uint64_t offset, size_t size, const void **data);
void sim_call_unmap(os_file *base, const void *data, size_t size);
int sim_call_window_open(os_file *base, uint64_t size, unsigned flags, os_window **out);
void sim_call_window_close(os_window *base);
int sim_call_window_load(os_window *base, os_file *file, uint64_t offset, size_t size);
int sim_call_window_show(os_window *base, os_file *file, uint64_t offset, size_t size, const void **data);
int sim_call_window_read(os_window *base, void *buf, size_t size, uint64_t offset, uint64_t *sum);
int sim_call_window_ready(os_window *base, os_file *file, uint64_t offset, size_t size);
int sim_call_window_write(os_window *base, const struct iovec *iov, int count, uint64_t offset);
void sim_call_window_leave(os_window *base, uint64_t until);

#endif

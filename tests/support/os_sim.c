/* The OS table of the simulated disk: every call first passes `enter`, which counts it, lets the fault plan speak and
 * refuses when the machine is dead; mutating calls then pend what they did, and tell the hook. */
#include "tests/support/os_sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FREE_BYTES_UNLIMITED ((uint64_t)1 << 40)

/* ---- The gate ---- */

static sim_traced *trace_begin(sim_disk *d, unsigned kind, const char *name, uint64_t offset, uint64_t size) {
    sim_traced *t = &d->trace[d->traced++ % SIM_TRACE_LENGTH];
    *t = (sim_traced){.number = d->operations, .kind = kind, .offset = offset, .size = size};
    size_t length = strnlen(name, SIM_NAME_SIZE - 1);
    memcpy(t->name, name, length);
    return t;
}

static int judge_fault(sim_disk *d, unsigned kind) {
    if ((d->fault.kinds & kind) == 0) return 0;
    uint64_t number = d->fault_calls++;
    bool hit = d->fault.sticky ? number >= d->fault.nth : number == d->fault.nth;
    if (!hit) return 0;
    d->fault_hits++;
    return d->fault.error;
}

int call_enter(call *c, sim_disk *d, unsigned kind, const char *name, uint64_t offset, uint64_t size) {
    *c = (call){.d = d};
    os_mutex_lock(&d->mutex);
    if (disk_dead(d)) return -EIO;
    if (kind & SIM_MUTATING) {
        c->traced = trace_begin(d, kind, name, offset, size);
        d->operations++;
    }
    return judge_fault(d, kind);
}

int call_leave(call *c, int result) {
    sim_operation_hook hook = c->d->hook;
    void *ctx = c->d->hook_ctx;
    if (c->traced != NULL) c->traced->result = result;
    os_mutex_unlock(&c->d->mutex);
    if (c->traced != NULL && hook != NULL) hook(ctx, c->d);
    return result;
}

int name_check(const char *name) {
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/') != NULL)
        return -EINVAL;
    return strlen(name) < SIM_NAME_SIZE ? 0 : -ENAMETOOLONG;
}

bool names_directory(const sim_disk *d, const sim_dir *dir, const char *name) {
    char path[SIM_PATH_SIZE + SIM_NAME_SIZE + 1];
    size_t length = strlen(dir->path);
    memcpy(path, dir->path, length);
    path[length] = '/';
    memcpy(path + length + 1, name, strlen(name) + 1);
    return d->dir_count > 1 && disk_dir(d, path) != NULL;
}

/* ---- Directories ---- */

static sim_disk *disk_of_dir(os_dir *dir) { return (sim_disk *)dir->os; }

/* Whether the directory is there, could be made (-ENOENT with *makeable), or why not. */
static int find_directory(const sim_disk *d, const char *path, sim_dir **dir, bool *makeable) {
    bool named;
    const sim_dir *parent = disk_parent(d, path, &named);
    *dir = disk_dir(d, path);
    *makeable = false;
    if (*dir != NULL) return 0;
    if (named && parent == NULL) return -ENOENT;
    if (parent != NULL && table_find(&parent->now, strrchr(path, '/') + 1) != NULL) return -ENOTDIR;
    *makeable = true;
    return -ENOENT;
}

/* The steps of dir_open with OS_CREATE, each an operation of its own. */
static int make_directory(sim_disk *d, const char *path, bool exclusive) {
    sim_dir *dir;
    bool makeable;
    os_mutex_lock(&d->mutex);
    int rc = disk_dead(d) ? -EIO : find_directory(d, path, &dir, &makeable);
    os_mutex_unlock(&d->mutex);
    if (rc == 0) return exclusive ? -EEXIST : 0;
    if (rc != -ENOENT || !makeable) return rc;

    call c;
    rc = call_enter(&c, d, SIM_CREATE, path, 0, 0);
    if (rc == 0 && disk_dir(d, path) == NULL) disk_add_dir(d, path);
    return call_leave(&c, rc);
}

static int sync_directory_name(sim_disk *d, const char *path) {
    call c;
    int rc = call_enter(&c, d, SIM_DIR_SYNC, path, 0, 0);
    sim_dir *dir = disk_dir(d, path);
    if (rc == 0 && dir != NULL) dir->durable = true;
    return call_leave(&c, rc);
}

static int sim_dir_open(os *self, const char *spelling, unsigned flags, os_dir **out) {
    sim_disk *d = (sim_disk *)self;
    call c;
    char path[SIM_PATH_SIZE];
    int rc = disk_path(spelling, path);
    if (rc != 0) return rc;
    sim_dir_handle *h = malloc(sizeof *h);
    if (h == NULL) return -ENOMEM;
    if (flags & OS_CREATE) {
        rc = make_directory(d, path, (flags & OS_EXCLUSIVE) != 0);
        if (rc == 0) rc = sync_directory_name(d, path);
        if (rc != 0) goto fail;
    }

    sim_dir *dir = NULL;
    bool makeable;
    rc = call_enter(&c, d, SIM_DIR_OPEN, path, 0, 0);
    if (rc == 0) rc = find_directory(d, path, &dir, &makeable);
    if (rc == 0) d->handles++;
    call_leave(&c, rc);
    if (rc != 0) goto fail;
    *h = (sim_dir_handle){.base = {.os = self}, .dir = dir};
    *out = &h->base;
    return 0;

fail:
    free(h);
    return rc;
}

static void give_lock_back(sim_dir_handle *h) {
    if (h->lock == LOCK_EXCLUSIVE) h->dir->exclusive_lock = false;
    if (h->lock == LOCK_SHARED) h->dir->shared_locks--;
    h->lock = LOCK_NONE;
}

static void sim_dir_close(os_dir *base) {
    sim_dir_handle *h = (sim_dir_handle *)base;
    sim_disk *d = disk_of_dir(base);
    os_mutex_lock(&d->mutex);
    give_lock_back(h);
    d->handles--;
    os_mutex_unlock(&d->mutex);
    free(h);
}

static int sim_dir_lock(os_dir *base, bool exclusive) {
    sim_dir_handle *h = (sim_dir_handle *)base;
    call c;
    int rc = call_enter(&c, disk_of_dir(base), SIM_LOCK, h->dir->path, 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    give_lock_back(h); /* as flock: a conversion gives the old lock up first */
    if (h->dir->exclusive_lock || (exclusive && h->dir->shared_locks > 0)) return call_leave(&c, -EWOULDBLOCK);
    if (exclusive)
        h->dir->exclusive_lock = true;
    else
        h->dir->shared_locks++;
    h->lock = exclusive ? LOCK_EXCLUSIVE : LOCK_SHARED;
    return call_leave(&c, 0);
}

static int sim_dir_sync(os_dir *base) {
    sim_disk *d = disk_of_dir(base);
    sim_dir *dir = ((sim_dir_handle *)base)->dir;
    call c;
    int rc = call_enter(&c, d, SIM_DIR_SYNC, dir->path, 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    table_copy(d, &dir->synced, &dir->now);
    dir_forget_ops(d, dir);
    for (size_t i = 0; i < d->dir_count; i++) {
        bool named;
        if (disk_parent(d, d->dir[i]->path, &named) == dir) d->dir[i]->durable = true;
    }
    return call_leave(&c, 0);
}

/* The names as they are now, each ended with NUL, with an empty one behind the last; NULL when out of memory. */
static char *copy_names(const sim_disk *d, const sim_dir *dir) {
    char *names = calloc(dir->now.count + d->dir_count + 1, SIM_PATH_SIZE);
    if (names == NULL) return NULL;
    char *next = names;
    for (size_t i = 0; i < dir->now.count; i++)
        next = stpcpy(next, dir->now.entry[i].name) + 1;
    for (size_t i = 0; i < d->dir_count; i++) {
        bool named;
        const char *path = d->dir[i]->path;
        if (disk_parent(d, path, &named) == dir) next = stpcpy(next, strrchr(path, '/') + 1) + 1;
    }
    return names;
}

static int sim_dir_list(os_dir *base, os_dir_visit visit, void *ctx) {
    sim_disk *d = disk_of_dir(base);
    const sim_dir *dir = ((sim_dir_handle *)base)->dir;
    call c;
    char *names = NULL;
    int rc = call_enter(&c, d, SIM_LIST, dir->path, 0, 0);
    if (rc == 0 && (names = copy_names(d, dir)) == NULL) rc = -ENOMEM;
    call_leave(&c, rc);
    for (const char *name = names; rc == 0 && *name != '\0'; name += strlen(name) + 1)
        rc = visit(ctx, name);
    free(names);
    return rc;
}

static int sim_dir_free_bytes(os_dir *base, uint64_t *bytes) {
    sim_disk *d = disk_of_dir(base);
    call c;
    int rc = call_enter(&c, d, SIM_FREE_BYTES, "", 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    uint64_t capacity = d->capacity == UINT64_MAX ? d->allocated + FREE_BYTES_UNLIMITED : d->capacity;
    *bytes = capacity > d->allocated ? capacity - d->allocated : 0;
    return call_leave(&c, 0);
}

static int sim_dir_path(os_dir *base, char path[OS_PATH_SIZE]) {
    (void)base, (void)path;
    return -EOPNOTSUPP;
}

static int sim_rename(os_dir *base, const char *from, const char *to) {
    sim_disk *d = disk_of_dir(base);
    sim_dir *dir = ((sim_dir_handle *)base)->dir;
    int rc = name_check(from);
    if (rc == 0) rc = name_check(to);
    if (rc != 0) return rc;
    call c;
    rc = call_enter(&c, d, SIM_RENAME, from, 0, 0);
    if (c.traced != NULL) memcpy(c.traced->to, to, strlen(to));
    if (rc != 0) return call_leave(&c, rc);
    sim_entry *e = table_find(&dir->now, from);
    if (e == NULL) return call_leave(&c, -ENOENT);
    if (names_directory(d, dir, to)) return call_leave(&c, -EISDIR);
    if (strcmp(from, to) != 0) dir_apply(d, dir, NAME_RENAME, from, to, e->file);
    return call_leave(&c, 0);
}

static int sim_unlink(os_dir *base, const char *name) {
    sim_disk *d = disk_of_dir(base);
    sim_dir *dir = ((sim_dir_handle *)base)->dir;
    int rc = name_check(name);
    if (rc != 0) return rc;
    call c;
    rc = call_enter(&c, d, SIM_UNLINK, name, 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    if (names_directory(d, dir, name)) return call_leave(&c, -EISDIR);
    if (table_find(&dir->now, name) == NULL) return call_leave(&c, -ENOENT);
    dir_apply(d, dir, NAME_UNLINK, name, "", NULL);
    return call_leave(&c, 0);
}

static int sim_link(os_dir *from, const char *name, os_dir *to, const char *to_name) {
    sim_disk *d = disk_of_dir(from);
    const sim_dir *source = ((sim_dir_handle *)from)->dir;
    sim_dir *dir = ((sim_dir_handle *)to)->dir;
    int rc = name_check(name);
    if (rc == 0) rc = name_check(to_name);
    if (rc != 0) return rc;
    call c;
    rc = call_enter(&c, d, SIM_CREATE, to_name, 0, 0);
    if (rc != 0) return call_leave(&c, rc);
    sim_entry *e = table_find(&source->now, name);
    if (e == NULL) return call_leave(&c, -ENOENT);
    if (table_find(&dir->now, to_name) != NULL || names_directory(d, dir, to_name)) return call_leave(&c, -EEXIST);
    dir_apply(d, dir, NAME_CREATE, to_name, "", e->file);
    return call_leave(&c, 0);
}

/* ---- Time and secrets ---- */

static uint64_t sim_clock_ms(os *self) {
    sim_disk *d = (sim_disk *)self;
    os_mutex_lock(&d->mutex);
    uint64_t now = d->clock_ms;
    os_mutex_unlock(&d->mutex);
    return now;
}

static uint64_t sim_monotonic_ns(os *self) { return sim_clock_ms(self) * 1000000; }

static int sim_random(os *self, void *buf, size_t size) {
    sim_disk *d = (sim_disk *)self;
    call c;
    int rc = call_enter(&c, d, SIM_RANDOM, "", 0, size);
    for (size_t i = 0; rc == 0 && i < size; i++)
        ((uint8_t *)buf)[i] = (uint8_t)rng_next(&d->random);
    return call_leave(&c, rc);
}

void sim_os_table(os *table) {
    *table = (os){
        .dir_open = sim_dir_open,
        .dir_close = sim_dir_close,
        .dir_lock = sim_dir_lock,
        .dir_sync = sim_dir_sync,
        .dir_list = sim_dir_list,
        .dir_free_bytes = sim_dir_free_bytes,
        .dir_path = sim_dir_path,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .link = sim_link,
        .file_open = sim_call_open,
        .file_close = sim_call_close,
        .file_info = sim_call_info,
        .file_read = sim_call_read,
        .file_readv = sim_call_readv,
        .file_readv_now = sim_call_readv_now,
        .file_write = sim_call_write,
        .file_truncate = sim_call_truncate,
        .file_allocate = sim_call_allocate,
        .file_sync = sim_call_sync,
        .file_flush = sim_call_flush,
        .file_will_need = sim_call_will_need,
        .file_punch = sim_call_punch,
        .file_clone = sim_call_clone,
        .file_map = sim_call_map,
        .file_unmap = sim_call_unmap,
        .window_open = sim_call_window_open,
        .window_close = sim_call_window_close,
        .window_load = sim_call_window_load,
        .window_show = sim_call_window_show,
        .window_read = sim_call_window_read,
        .window_ready = sim_call_window_ready,
        .window_write = sim_call_window_write,
        .window_leave = sim_call_window_leave,
        .clock_ms = sim_clock_ms,
        .monotonic_ns = sim_monotonic_ns,
        .random = sim_random,
    };
}

/* The simulated disk seen from outside: counters, faults, and files looked at and damaged behind the program's back. */
#include "src/base/checksum.h"
#include "tests/support/os_sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counters and plans ---- */

void sim_clock_advance(sim_disk *d, uint64_t ms) {
    os_mutex_lock(&d->mutex);
    d->clock_ms += ms;
    os_mutex_unlock(&d->mutex);
}

void sim_set_capacity(sim_disk *d, uint64_t bytes) {
    os_mutex_lock(&d->mutex);
    d->capacity = bytes;
    os_mutex_unlock(&d->mutex);
}

void sim_allocate_ahead(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    d->allocates_ahead = true;
    os_mutex_unlock(&d->mutex);
}

uint64_t sim_operations(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    uint64_t operations = d->operations;
    os_mutex_unlock(&d->mutex);
    return operations;
}

size_t sim_open_handles(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    size_t handles = d->handles;
    os_mutex_unlock(&d->mutex);
    return handles;
}

void sim_on_operation(sim_disk *d, sim_operation_hook hook, void *ctx) {
    os_mutex_lock(&d->mutex);
    d->hook = hook;
    d->hook_ctx = ctx;
    os_mutex_unlock(&d->mutex);
}

void sim_fault_set(sim_disk *d, const sim_fault *fault) {
    CHECK(fault == NULL || fault->error < 0);
    os_mutex_lock(&d->mutex);
    d->fault = fault != NULL ? *fault : (sim_fault){0};
    d->fault_calls = 0;
    d->fault_hits = 0;
    os_mutex_unlock(&d->mutex);
}

uint64_t sim_fault_hits(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    uint64_t hits = d->fault_hits;
    os_mutex_unlock(&d->mutex);
    return hits;
}

uint64_t sim_fault_calls(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    uint64_t calls = d->fault_calls;
    os_mutex_unlock(&d->mutex);
    return calls;
}

void sim_cut_at(sim_disk *d, uint64_t n) {
    os_mutex_lock(&d->mutex);
    d->cut_at = n;
    os_mutex_unlock(&d->mutex);
}

static const char *operation_name(unsigned kind) {
    switch (kind) {
    case SIM_WRITE:
        return "write";
    case SIM_TRUNCATE:
        return "truncate";
    case SIM_PUNCH:
        return "punch";
    case SIM_SYNC:
        return "sync";
    case SIM_DIR_SYNC:
        return "dir_sync";
    case SIM_RENAME:
        return "rename";
    case SIM_UNLINK:
        return "unlink";
    default:
        return "create";
    }
}

void sim_trace(sim_disk *d, char *text, size_t size) {
    CHECK(size > 0);
    text[0] = '\0';
    os_mutex_lock(&d->mutex);
    size_t first = d->traced > SIM_TRACE_LENGTH ? d->traced - SIM_TRACE_LENGTH : 0;
    for (size_t i = first, used = 0; i < d->traced && used < size; i++) {
        const sim_traced *t = &d->trace[i % SIM_TRACE_LENGTH];
        int n = snprintf(text + used, size - used, "%llu %s %s %s @%llu +%llu = %d\n", (unsigned long long)t->number,
                         operation_name(t->kind), t->name, t->to, (unsigned long long)t->offset,
                         (unsigned long long)t->size, t->result);
        CHECK(n > 0);
        used += (size_t)n;
    }
    os_mutex_unlock(&d->mutex);
}

uint64_t sim_fingerprint(sim_disk *d) {
    uint64_t sum = 0; /* of hashes: the order of names does not matter */
    os_mutex_lock(&d->mutex);
    for (size_t i = 0; i < d->dir_count; i++) {
        const sim_dir *dir = d->dir[i];
        uint64_t path = checksum(dir->path, strlen(dir->path), 0);
        sum += path;
        for (size_t k = 0; k < dir->now.count; k++) {
            const sim_entry *e = &dir->now.entry[k];
            sum += checksum(e->name, strlen(e->name), path ^ content_hash(e->file->now));
        }
    }
    os_mutex_unlock(&d->mutex);
    return sum;
}

/* ---- Files from outside ---- */

/* Locks the disk; NULL when the file is missing. */
static sim_file *lock_file(sim_disk *d, const char *path, const char *name) {
    char clean[SIM_PATH_SIZE];
    os_mutex_lock(&d->mutex);
    if (disk_path(path, clean) != 0) return NULL;
    const sim_dir *dir = disk_dir(d, clean);
    const sim_entry *e = dir != NULL ? table_find(&dir->now, name) : NULL;
    return e != NULL ? e->file : NULL;
}

/* After f->now changed: that is what the disk holds. */
static void settle(sim_disk *d, sim_file *f, size_t pages_before) {
    disk_file_space(d, f, pages_before);
    disk_file_forget_pending(f);
    content_assign(&f->durable, f->now);
    content_assign(&f->base, f->now);
    f->diverged = false;
}

static int compare_names(const void *a, const void *b) { return strcmp(a, b); }

size_t sim_names(sim_disk *d, const char *path, char (*names)[SIM_NAME_SIZE], size_t cap) {
    char clean[SIM_PATH_SIZE];
    os_mutex_lock(&d->mutex);
    const sim_dir *dir = disk_path(path, clean) == 0 ? disk_dir(d, clean) : NULL;
    size_t count = dir != NULL ? dir->now.count : 0;
    char(*all)[SIM_NAME_SIZE] = sim_alloc(count * SIM_NAME_SIZE);
    for (size_t i = 0; i < count; i++)
        memcpy(all[i], dir->now.entry[i].name, SIM_NAME_SIZE);
    os_mutex_unlock(&d->mutex);
    qsort(all, count, SIM_NAME_SIZE, compare_names);
    for (size_t i = 0; i < count && i < cap; i++)
        memcpy(names[i], all[i], SIM_NAME_SIZE);
    free(all);
    return count;
}

size_t sim_count(sim_disk *d, const char *path, const char *part) {
    char names[256][SIM_NAME_SIZE];
    size_t count = sim_names(d, path, names, 256), found = 0;
    CHECK(count <= 256);
    for (size_t i = 0; i < count; i++)
        found += strstr(names[i], part) != NULL;
    return found;
}

uint8_t *sim_file_read(sim_disk *d, const char *path, const char *name, size_t *size) {
    uint8_t *bytes = NULL;
    const sim_file *f = lock_file(d, path, name);
    if (f != NULL) {
        bytes = sim_alloc((size_t)f->now->size);
        *size = content_read(f->now, bytes, (size_t)f->now->size, 0);
    }
    os_mutex_unlock(&d->mutex);
    return bytes;
}

void sim_file_write(sim_disk *d, const char *path, const char *name, const void *data, size_t size) {
    char clean[SIM_PATH_SIZE];
    sim_file *f = lock_file(d, path, name);
    if (f == NULL) {
        CHECK(name_check(name) == 0 && disk_path(path, clean) == 0);
        sim_dir *dir = disk_dir(d, clean);
        CHECK(dir != NULL);
        f = disk_add_file(d);
        f->names = 1;
        table_set(d, &dir->now, name, f);
        table_set(d, &dir->synced, name, f);
    }
    size_t before = f->now->allocated;
    content_truncate(&f->now, 0);
    content_write(&f->now, data, size, 0);
    settle(d, f, before);
    os_mutex_unlock(&d->mutex);
}

bool sim_file_poke(sim_disk *d, const char *path, const char *name, uint64_t offset, uint8_t xor_with) {
    sim_file *f = lock_file(d, path, name);
    uint8_t byte;
    bool there = f != NULL && content_read(f->now, &byte, 1, offset) == 1;
    if (there) {
        size_t before = f->now->allocated;
        byte ^= xor_with;
        content_write(&f->now, &byte, 1, offset);
        settle(d, f, before);
    }
    os_mutex_unlock(&d->mutex);
    return there;
}

bool sim_file_resize(sim_disk *d, const char *path, const char *name, uint64_t size) {
    sim_file *f = lock_file(d, path, name);
    if (f != NULL) {
        CHECK(size <= SIM_FILE_SIZE_MAX);
        size_t before = f->now->allocated;
        content_truncate(&f->now, size);
        settle(d, f, before);
    }
    os_mutex_unlock(&d->mutex);
    return f != NULL;
}

bool sim_file_remove(sim_disk *d, const char *path, const char *name) {
    char clean[SIM_PATH_SIZE];
    const sim_file *f = lock_file(d, path, name);
    bool there = f != NULL;
    if (there) {
        CHECK(disk_path(path, clean) == 0);
        sim_dir *dir = disk_dir(d, clean);
        dir_apply(d, dir, NAME_UNLINK, name, "", NULL);
        table_copy(d, &dir->synced, &dir->now);
        dir_forget_ops(d, dir);
    }
    os_mutex_unlock(&d->mutex);
    return there;
}

/* The simulated disk's files and tables of names, and what makes and frees them; see os_sim_disk.h. */
#include "tests/support/os_sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Making and freeing ---- */

sim_disk *sim_new(uint64_t seed) {
    sim_disk *d = sim_alloc(sizeof *d);
    sim_os_table(&d->table);
    os_mutex_init(&d->mutex);
    d->capacity = UINT64_MAX;
    d->cut_at = UINT64_MAX;
    d->clock_ms = UINT64_C(1000000000000);
    d->random = seed;
    d->choices = ~seed;
    return d;
}

void sim_free(sim_disk *d) {
    if (d == NULL) return;
    for (size_t i = 0; i < d->dir_count; i++) {
        sim_dir *dir = d->dir[i];
        dir_forget_ops(d, dir);
        table_copy(d, &dir->now, &(sim_table){0});
        table_copy(d, &dir->synced, &(sim_table){0});
        free(dir->now.entry);
        free(dir->synced.entry);
        free(dir->op);
        free(dir);
    }
    while (d->file_count > 0) { /* held only by handles that nobody closed */
        d->file[0]->refs = 1;
        disk_file_unref(d, d->file[0]);
    }
    free(d->dir);
    free(d->file);
    for (size_t i = 0; i < SIM_STALE_PAGES; i++)
        page_unref(d->stale[i]);
    os_mutex_destroy(&d->mutex);
    free(d);
}

os *sim_os(sim_disk *d) { return &d->table; }

/* Room for one more element of `size` bytes. */
static void *grow(void *array, size_t count, size_t *cap, size_t size) {
    if (count < *cap) return array;
    *cap = *cap > 0 ? *cap * 2 : 4;
    void *p = realloc(array, *cap * size);
    CHECK(p != NULL);
    return p;
}

/* ---- Paths ---- */

int disk_path(const char *path, char out[SIM_PATH_SIZE]) {
    size_t size = strlen(path);
    while (size > 0 && path[size - 1] == '/')
        size--;
    if (size == 0) return -ENOENT;
    if (size >= SIM_PATH_SIZE) return -ENAMETOOLONG;
    memcpy(out, path, size);
    out[size] = '\0';
    return 0;
}

sim_dir *disk_dir(const sim_disk *d, const char *path) {
    for (size_t i = 0; i < d->dir_count; i++)
        if (strcmp(d->dir[i]->path, path) == 0) return d->dir[i];
    return NULL;
}

sim_dir *disk_parent(const sim_disk *d, const char *path, bool *named) {
    const char *slash = strrchr(path, '/');
    *named = slash != NULL && slash != path;
    if (!*named) return NULL;
    char parent[SIM_PATH_SIZE] = {0};
    memcpy(parent, path, (size_t)(slash - path));
    return disk_dir(d, parent);
}

sim_dir *disk_add_dir(sim_disk *d, const char *path) {
    sim_dir *dir = sim_alloc(sizeof *dir);
    memcpy(dir->path, path, strlen(path) + 1);
    sim_dir **all = realloc(d->dir, (d->dir_count + 1) * sizeof *all);
    CHECK(all != NULL);
    d->dir = all;
    return d->dir[d->dir_count++] = dir;
}

/* ---- Files ---- */

sim_file *disk_add_file(sim_disk *d) {
    sim_file *f = sim_alloc(sizeof *f);
    f->now = content_new();
    f->durable = content_ref(f->now);
    f->base = content_ref(f->now);
    f->index = d->file_count;
    d->file = grow(d->file, d->file_count, &d->file_cap, sizeof *d->file);
    d->file[d->file_count++] = f;
    return f;
}

void disk_file_ref(sim_file *f) { f->refs++; }

void disk_file_unref(sim_disk *d, sim_file *f) {
    if (--f->refs > 0) return;
    disk_file_forget_pending(f);
    free(f->pending);
    content_unref(f->now);
    content_unref(f->durable);
    content_unref(f->base);
    d->file[f->index] = d->file[--d->file_count];
    d->file[f->index]->index = f->index;
    free(f);
}

void disk_file_space(sim_disk *d, const sim_file *f, size_t pages_before) {
    d->allocated += f->now->allocated * SIM_PAGE;
    d->allocated -= pages_before * SIM_PAGE;
}

void disk_file_pend(sim_file *f, sim_pending *op) {
    f->pending = grow(f->pending, f->pending_count, &f->pending_cap, sizeof *f->pending);
    f->pending[f->pending_count++] = op;
}

void disk_file_forget_pending(sim_file *f) {
    for (size_t i = 0; i < f->pending_count; i++)
        if (atomic_fetch_sub_explicit(&f->pending[i]->refs, 1, memory_order_acq_rel) == 1) free(f->pending[i]);
    f->pending_count = 0;
}

void disk_keep_stale(sim_disk *d, const sim_content *c, uint64_t from) {
    unsigned kept = 0;
    for (size_t i = (size_t)(from / SIM_PAGE); i < c->count && kept < 2; i++) {
        if (c->page[i] == NULL) continue;
        page_unref(d->stale[d->stale_next]);
        d->stale[d->stale_next] = page_ref(c->page[i]);
        d->stale_next = (d->stale_next + 1) % SIM_STALE_PAGES;
        kept++;
    }
}

/* ---- Tables of names ---- */

sim_entry *table_find(const sim_table *t, const char *name) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->entry[i].name, name) == 0) return &t->entry[i];
    return NULL;
}

void table_set(sim_disk *d, sim_table *t, const char *name, sim_file *f) {
    disk_file_ref(f);
    sim_entry *e = table_find(t, name);
    if (e != NULL) {
        disk_file_unref(d, e->file);
    } else {
        t->entry = grow(t->entry, t->count, &t->cap, sizeof *t->entry);
        e = &t->entry[t->count++];
        memset(e->name, 0, sizeof e->name);
        memcpy(e->name, name, strlen(name));
    }
    e->file = f;
}

void table_remove(sim_disk *d, sim_table *t, const char *name) {
    sim_entry *e = table_find(t, name);
    if (e == NULL) return;
    disk_file_unref(d, e->file);
    *e = t->entry[--t->count];
}

void table_copy(sim_disk *d, sim_table *to, const sim_table *from) {
    for (size_t i = 0; i < from->count; i++)
        disk_file_ref(from->entry[i].file);
    for (size_t i = 0; i < to->count; i++)
        disk_file_unref(d, to->entry[i].file);
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        to->entry = grow(to->entry, to->count, &to->cap, sizeof *to->entry);
        to->entry[to->count++] = from->entry[i];
    }
}

/* ---- Present names ---- */

/* Before an entry goes: the file may be left without a name, and its space be free. */
static void lose_name(sim_disk *d, const sim_dir *dir, const char *name) {
    sim_entry *e = table_find(&dir->now, name);
    if (e == NULL) return;
    sim_file *f = e->file;
    if (--f->names > 0 || f->handles > 0) return;
    disk_keep_stale(d, f->now, 0);
    d->allocated -= f->now->allocated * SIM_PAGE;
}

void dir_apply(sim_disk *d, sim_dir *dir, name_op_kind kind, const char *name, const char *to, sim_file *f) {
    dir->op = grow(dir->op, dir->op_count, &dir->op_cap, sizeof *dir->op);
    sim_name_op *op = &dir->op[dir->op_count++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    memcpy(op->name, name, strlen(name));
    memcpy(op->to, to, strlen(to));
    op->file = f;
    if (f != NULL) disk_file_ref(f);

    switch (kind) {
    case NAME_CREATE:
        f->names++;
        table_set(d, &dir->now, name, f);
        break;
    case NAME_UNLINK:
        lose_name(d, dir, name);
        table_remove(d, &dir->now, name);
        break;
    case NAME_RENAME: /* the file keeps one name: neither space nor count change for it */
        lose_name(d, dir, to);
        table_remove(d, &dir->now, name);
        table_set(d, &dir->now, to, f);
        break;
    }
}

void dir_forget_ops(sim_disk *d, sim_dir *dir) {
    for (size_t i = 0; i < dir->op_count; i++)
        if (dir->op[i].file != NULL) disk_file_unref(d, dir->op[i].file);
    dir->op_count = 0;
}

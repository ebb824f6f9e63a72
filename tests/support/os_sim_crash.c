/* What is left of a simulated disk: power cut, killed process, copy; and the step from pending to durable.
 *
 * A file's pending operations are walked in order over two contents: `mem` goes from what reads saw at the last sync to
 * what they see now, and `disk` goes from the durable content to the result. When a sector is written back, it is
 * copied from `mem` to `disk` as it is at that moment; so a sector never holds a mixture that memory never held. `disk`
 * may hold sectors behind its size until the walk ends, since the size is written back on its own.
 */
#include "tests/support/os_sim_disk.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

/* Chances are eighths. Before the `turn`-th operation `early` holds, from it on `late`: so 8 and 0 is a prefix. */
typedef struct survival {
    uint64_t *rng;
    size_t turn;
    unsigned early, late;
    unsigned stale; /* that a lost new sector shows stale bytes instead of zeros */
} survival;

typedef struct walk {
    const survival *survival;
    unsigned chance; /* of the operation at hand */
    sim_content *mem, *disk;
    uint64_t low;            /* the least size that the disk has had: blocks behind it are new */
    uint8_t *written;        /* a bit a sector: written back in this walk */
    sim_page *const *stale;  /* SIM_STALE_PAGES of them; NULL for a sync */
    const sim_content *self; /* the file's bytes, another source of stale ones */
} walk;

static bool survives(const walk *w) { return w->chance == 8 || rng_in_8(w->survival->rng, w->chance); }

static survival survival_random(uint64_t *rng, size_t operations) {
    static const uint8_t chances[8] = {0, 0, 1, 4, 4, 7, 8, 8};
    static const uint8_t stale[4] = {0, 0, 4, 8};
    survival s = {.rng = rng, .turn = (size_t)rng_below(rng, operations + 1)};
    s.early = chances[rng_below(rng, 8)];
    s.late = chances[rng_below(rng, 8)];
    s.stale = stale[rng_below(rng, 4)];
    return s;
}

/* ---- One file ---- */

static bool bit_get(const uint8_t *bits, uint64_t i) { return bits[i / 8] & (1u << (i % 8)); }
static void bit_set(uint8_t *bits, uint64_t i) { bits[i / 8] |= (uint8_t)(1u << (i % 8)); }

static void stale_sector(const walk *w, uint8_t out[SIM_SECTOR]) {
    uint64_t *rng = w->survival->rng;
    uint64_t within = rng_below(rng, SIM_PAGE / SIM_SECTOR) * SIM_SECTOR;
    const sim_page *page = w->stale[rng_below(rng, SIM_STALE_PAGES)];
    if (page != NULL) {
        memcpy(out, page->bytes + within, SIM_SECTOR);
        return;
    }
    for (size_t i = 0; i < SIM_SECTOR; i += sizeof(uint64_t)) {
        uint64_t noise = rng_next(rng);
        memcpy(out + i, &noise, sizeof noise);
    }
    if (w->self->size > 0 && rng_in_8(rng, 4)) {
        uint64_t sector = rng_below(rng, w->self->size) / SIM_SECTOR;
        content_read(w->self, out, SIM_SECTOR, sector * SIM_SECTOR);
    }
}

/* The bytes of [from, to), all in one sector, were to be written to a new block and were not. */
static void leave_stale(walk *w, uint64_t from, uint64_t to) {
    uint8_t bytes[SIM_SECTOR];
    from = max_u64(from, w->low);
    if (from >= to || !rng_in_8(w->survival->rng, w->survival->stale)) return;
    stale_sector(w, bytes);
    content_poke(&w->disk, bytes + from % SIM_SECTOR, (size_t)(to - from), from);
}

static void grow_disk(walk *w, uint64_t end) {
    uint64_t *rng = w->survival->rng;
    if (end <= w->disk->size) return;
    uint64_t size = w->disk->size;
    if (survives(w))
        size = end;
    else if (w->chance > 0 && rng_in_8(rng, 4))
        size += rng_below(rng, end - size);
    content_set_size(&w->disk, size);
}

static void walk_range(walk *w, const sim_pending *op) {
    uint64_t end = op->offset + op->size;
    for (uint64_t s = op->offset / SIM_SECTOR; s * SIM_SECTOR < end; s++) {
        if (survives(w)) {
            content_copy_sector(&w->disk, w->mem, s);
            bit_set(w->written, s);
        } else if (op->kind == PENDING_WRITE && !bit_get(w->written, s)) {
            leave_stale(w, max_u64(op->offset, s * SIM_SECTOR), min_u64(end, (s + 1) * SIM_SECTOR));
        }
    }
}

static void walk_operation(walk *w, const sim_pending *op) {
    switch (op->kind) {
    case PENDING_WRITE:
        content_write(&w->mem, op->bytes, (size_t)op->size, op->offset);
        walk_range(w, op);
        grow_disk(w, op->offset + op->size);
        break;
    case PENDING_PUNCH:
        content_zero(&w->mem, op->offset, op->size);
        walk_range(w, op);
        break;
    case PENDING_TRUNCATE:
        content_truncate(&w->mem, op->offset);
        if (!survives(w)) break;
        if (op->offset < w->disk->size)
            content_truncate(&w->disk, op->offset);
        else
            content_set_size(&w->disk, op->offset);
        w->low = min_u64(w->low, op->offset);
        break;
    }
}

/* A new reference to the durable content with the surviving part of what is pending. stale: NULL when all survives. */
static sim_content *walk_file(const sim_file *f, const survival *s, sim_page *const *stale) {
    uint64_t end = 0;
    for (size_t i = 0; i < f->pending_count; i++)
        end = max_u64(end, f->pending[i]->offset + f->pending[i]->size);
    walk w = {
        .survival = s,
        .mem = content_ref(f->base),
        .disk = content_ref(f->durable),
        .low = f->durable->size,
        .written = sim_alloc((size_t)(end / SIM_SECTOR / 8 + 1)),
        .stale = stale,
        .self = f->now,
    };
    for (size_t i = 0; i < f->pending_count; i++) {
        w.chance = i < s->turn ? s->early : s->late;
        walk_operation(&w, f->pending[i]);
    }
    content_truncate(&w.disk, w.disk->size);
    content_unref(w.mem);
    free(w.written);
    return w.disk;
}

static sim_content *all_of_file(const sim_file *f) {
    static const survival all = {.early = 8, .late = 8};
    if (f->pending_count == 0) return content_ref(f->durable);
    return f->diverged ? walk_file(f, &all, NULL) : content_ref(f->now);
}

void file_persist_all(sim_file *f) {
    sim_content *c = all_of_file(f);
    content_unref(f->durable);
    f->durable = c;
}

typedef enum crash_mode { CRASH_NOTHING, CRASH_ALL, CRASH_RANDOM } crash_mode;

typedef struct crash {
    uint64_t rng;
    crash_mode mode;
    const sim_disk *from;
    sim_disk *to;
} crash;

static sim_content *crashed_content(crash *c, const sim_file *f) {
    crash_mode mode = c->mode;
    if (mode == CRASH_RANDOM && f->pending_count > 0) {
        uint64_t choice = rng_below(&c->rng, 8);
        if (choice < 2) mode = choice == 0 ? CRASH_NOTHING : CRASH_ALL;
    }
    if (mode == CRASH_NOTHING || f->pending_count == 0) return content_ref(f->durable);
    if (mode == CRASH_ALL) return all_of_file(f);
    survival s = survival_random(&c->rng, f->pending_count);
    return walk_file(f, &s, c->from->stale);
}

/* The file on the new disk, made when first asked for; all its content is durable there. */
static sim_file *crashed_file(crash *c, sim_file *f) {
    if (f->twin != NULL) return f->twin;
    sim_content *content = crashed_content(c, f);
    sim_file *twin = disk_add_file(c->to);
    content_assign(&twin->now, content);
    content_assign(&twin->durable, content);
    content_assign(&twin->base, content);
    content_unref(content);
    disk_file_ref(twin);
    return f->twin = twin;
}

/* ---- Names ---- */

static bool touches(const sim_name_op *op, const char *name) {
    return strcmp(op->name, name) == 0 || (op->to[0] != '\0' && strcmp(op->to, name) == 0);
}

/* An operation is lost when an earlier one on one of its names was. */
static bool follows_lost(const sim_dir *dir, const bool *lost, size_t i) {
    const sim_name_op *op = &dir->op[i];
    for (size_t k = 0; k < i; k++) {
        if (!lost[k]) continue;
        if (touches(&dir->op[k], op->name) || (op->to[0] != '\0' && touches(&dir->op[k], op->to))) return true;
    }
    return false;
}

static void apply_name(crash *c, sim_table *t, const sim_name_op *op) {
    switch (op->kind) {
    case NAME_CREATE:
        table_set(c->to, t, op->name, crashed_file(c, op->file));
        break;
    case NAME_UNLINK:
        table_remove(c->to, t, op->name);
        break;
    case NAME_RENAME:
        /* First the new name: the old one may hold the only reference. */
        table_set(c->to, t, op->to, crashed_file(c, op->file));
        table_remove(c->to, t, op->name);
        break;
    }
}

static void crashed_names(crash *c, sim_dir *dir, sim_table *t) {
    const sim_table *begin = c->mode == CRASH_ALL ? &dir->now : &dir->synced;
    for (size_t i = 0; i < begin->count; i++)
        table_set(c->to, t, begin->entry[i].name, crashed_file(c, begin->entry[i].file));
    if (c->mode != CRASH_RANDOM || dir->op_count == 0) return;

    survival s = survival_random(&c->rng, dir->op_count);
    bool *lost = sim_alloc(dir->op_count * sizeof *lost);
    for (size_t i = 0; i < dir->op_count; i++) {
        lost[i] = !rng_in_8(&c->rng, i < s.turn ? s.early : s.late) || follows_lost(dir, lost, i);
        if (!lost[i]) apply_name(c, t, &dir->op[i]);
    }
    free(lost);
}

static bool directory_survives(crash *c, const sim_dir *dir) {
    bool named;
    if (disk_parent(c->to, dir->path, &named) == NULL && named) return false;
    if (dir->durable || c->mode == CRASH_ALL) return true;
    return c->mode == CRASH_RANDOM && rng_in_8(&c->rng, 4);
}

/* ---- Disks ---- */

/* The new disk counts names and space when its present names are set. */
static void count_names(sim_disk *d, const sim_table *t) {
    for (size_t i = 0; i < t->count; i++)
        if (t->entry[i].file->names++ == 0) disk_file_space(d, t->entry[i].file, 0);
}

static sim_disk *new_machine(const sim_disk *from) {
    sim_disk *d = sim_new(0);
    d->capacity = from->capacity;
    d->allocates_ahead = from->allocates_ahead;
    d->clock_ms = from->clock_ms;
    d->random = from->random;
    d->choices = from->choices;
    for (size_t i = 0; i < SIM_STALE_PAGES; i++)
        if (from->stale[i] != NULL) d->stale[i] = page_ref(from->stale[i]);
    d->stale_next = from->stale_next;
    return d;
}

/* Twins hold a reference of their own while they may still be asked for. */
static void forget_twins(sim_disk *d, sim_disk *to) {
    for (size_t i = 0; i < d->file_count; i++) {
        if (d->file[i]->twin != NULL) disk_file_unref(to, d->file[i]->twin);
        d->file[i]->twin = NULL;
    }
}

sim_disk *sim_crash(sim_disk *d, uint64_t seed) {
    static const crash_mode modes[4] = {CRASH_NOTHING, CRASH_ALL, CRASH_RANDOM, CRASH_RANDOM};
    os_mutex_lock(&d->mutex);
    d->stopped = true;
    crash c = {.rng = seed, .mode = modes[seed % 4], .from = d, .to = new_machine(d)};
    c.to->random ^= rng_next(&c.rng); /* what the next process draws is not what the last one drew */
    c.to->choices ^= rng_next(&c.rng);
    for (size_t i = 0; i < d->dir_count; i++) {
        if (!directory_survives(&c, d->dir[i])) continue;
        sim_dir *dir = disk_add_dir(c.to, d->dir[i]->path);
        dir->durable = true;
        crashed_names(&c, d->dir[i], &dir->now);
        table_copy(c.to, &dir->synced, &dir->now);
        count_names(c.to, &dir->now);
    }
    forget_twins(d, c.to);
    os_mutex_unlock(&d->mutex);
    return c.to;
}

static sim_file *copied_file(sim_disk *to, sim_file *f) {
    if (f->twin != NULL) return f->twin;
    sim_file *twin = disk_add_file(to);
    content_assign(&twin->now, f->now);
    content_assign(&twin->durable, f->durable);
    content_assign(&twin->base, f->base);
    twin->diverged = f->diverged;
    for (size_t i = 0; i < f->pending_count; i++) {
        atomic_fetch_add_explicit(&f->pending[i]->refs, 1, memory_order_relaxed);
        disk_file_pend(twin, f->pending[i]);
    }
    disk_file_ref(twin);
    return f->twin = twin;
}

static void copy_directory(sim_disk *to, const sim_dir *from) {
    sim_dir *dir = disk_add_dir(to, from->path);
    dir->durable = from->durable;
    for (size_t i = 0; i < from->now.count; i++)
        table_set(to, &dir->now, from->now.entry[i].name, copied_file(to, from->now.entry[i].file));
    for (size_t i = 0; i < from->synced.count; i++)
        table_set(to, &dir->synced, from->synced.entry[i].name, copied_file(to, from->synced.entry[i].file));
    dir->op = sim_alloc(from->op_count * sizeof *dir->op);
    dir->op_count = dir->op_cap = from->op_count;
    for (size_t i = 0; i < from->op_count; i++) {
        dir->op[i] = from->op[i];
        if (from->op[i].file == NULL) continue;
        dir->op[i].file = copied_file(to, from->op[i].file);
        disk_file_ref(dir->op[i].file);
    }
    count_names(to, &dir->now);
}

static sim_disk *copy_disk(sim_disk *d) {
    sim_disk *to = new_machine(d);
    for (size_t i = 0; i < d->dir_count; i++)
        copy_directory(to, d->dir[i]);
    forget_twins(d, to);
    return to;
}

sim_disk *sim_kill(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    d->stopped = true;
    sim_disk *to = copy_disk(d);
    os_mutex_unlock(&d->mutex);
    return to;
}

sim_disk *sim_clone(sim_disk *d) {
    os_mutex_lock(&d->mutex);
    sim_disk *to = copy_disk(d);
    to->operations = d->operations;
    to->cut_at = d->cut_at;
    to->stopped = d->stopped;
    to->fault = d->fault;
    to->fault_calls = d->fault_calls;
    to->fault_hits = d->fault_hits;
    memcpy(to->trace, d->trace, sizeof to->trace);
    to->traced = d->traced;
    os_mutex_unlock(&d->mutex);
    return to;
}

sim_disk *sim_left(sim_disk *d, unsigned i, unsigned cuts, uint64_t *rng) {
    sim_disk *copy = sim_clone(d);
    sim_disk *left = i == cuts ? sim_kill(copy) : sim_crash(copy, random_next(rng) / 4 * 4 + i % 4);
    sim_free(copy);
    return left;
}

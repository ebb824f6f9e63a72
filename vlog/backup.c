#include "vlog/backup.h"

#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/id_list.h"
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "vlog/entries.h"
#include "vlog/log_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vlog_backup {
    vlog *log;
    manifest manifest;  /* of the backup; its segments in the order of ... */
    segment **segments; /* ... these, which are held from `released` on */
    size_t released;
    manifest there; /* of the earlier backup; without one, of nothing */
    bool compared;  /* so that what `there` does not list may go */
    uint64_t kept;  /* bytes that were there */
};

/* ---- The moment ---- */

static int new_lineage(const vlog *log, uint64_t *lineage, cairn_error *error) {
    os *system = log->options.dir->os;
    int rc = system->random(system, lineage, sizeof *lineage);
    *lineage |= 1; /* never 0 */
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "no random bytes");
}

/* A build that does not know of shared files would change them. */
static int become_shareable(vlog *log, cairn_error *error) {
    uint64_t lineage;
    int rc = new_lineage(log, &lineage, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock(&log->manifest_lock);
    manifest *m = &log->manifest;
    uint64_t features = m->features, before = m->lineage;
    if ((features & FEATURE_BACKUP) == 0 || before == 0) {
        m->features |= FEATURE_BACKUP;
        m->lineage = lineage;
        rc = vlog_store_manifest(log, error);
        if (rc != CAIRN_OK) {
            m->features = features;
            m->lineage = before;
        }
    }
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

static uint64_t dead_in(const segment *s) {
    uint64_t bytes = atomic_load(&s->end) - SEGMENT_DATA_OFFSET - atomic_load(&s->freed), live = atomic_load(&s->live);
    return bytes - min_u64(bytes, live);
}

static void hold(vlog *log, segment *s) {
    (void)vlog_hold(s);
    atomic_store(&s->backed_up, true);
    atomic_fetch_add(&log->backup_pinned, dead_in(s));
}

static void release_one(vlog_backup *b) {
    segment *s = b->segments[b->released++];
    uint64_t pinned = atomic_load(&b->log->backup_pinned);
    atomic_store(&s->backed_up, false);
    atomic_fetch_sub(&b->log->backup_pinned, min_u64(pinned, dead_in(s)));
    vlog_release(s);
}

/* Append and manifest lock held. The rows are those of the log, without what belongs to its directory. */
static int take_segments(vlog_backup *b) {
    vlog *log = b->log;
    uint64_t end = max_u64(log->manifest.reclaimed_place, 1);
    b->segments = calloc(vlog_segment_count(log) + 1, sizeof *b->segments);
    if (b->segments == NULL) return CAIRN_NO_MEMORY;
    for (size_t i = 0; i < vlog_segment_count(log); i++) {
        const segment *s = vlog_segment_at(log, i);
        if (s->state != SEGMENT_SEALED) continue;
        manifest_segment row = *manifest_find(&log->manifest, s->id);
        row.flags &= ~SEGMENT_ALTERNATE;
        if (manifest_reserve(&b->manifest) != CAIRN_OK) return CAIRN_NO_MEMORY;
        manifest_add(&b->manifest, &row);
        if (!s->compacted) end = max_u64(end, s->end_place);
    }
    b->manifest.durable_place = end;
    for (size_t i = 0; i < b->manifest.count; i++) {
        const manifest_segment *row = &b->manifest.segments[i];
        b->segments[i] = segment_map_find(&log->map, row->base_granule * GRANULE_UNITS);
        CHECK(b->segments[i] != NULL && b->segments[i]->id == row->id);
        hold(log, b->segments[i]);
    }
    return CAIRN_OK;
}

static int take_moment(vlog_backup *b, cairn_error *error) {
    vlog *log = b->log;
    uint64_t lineage;
    int rc = new_lineage(log, &lineage, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    os_mutex_lock(&log->manifest_lock);
    const manifest *m = &log->manifest;
    b->manifest.features = m->features;
    b->manifest.compatible_features = m->compatible_features;
    b->manifest.sequence = m->sequence;
    b->manifest.reclaim_epoch = m->reclaim_epoch;
    b->manifest.next_id = log->next_id;
    b->manifest.version_ceiling = m->version_ceiling;
    b->manifest.dictionary = m->dictionary;
    b->manifest.reclaimed_place = m->reclaimed_place;
    b->manifest.next_granule = m->next_granule;
    b->manifest.lineage = lineage;
    b->manifest.origin = m->lineage;
    atomic_store(&log->backup_pinned, 0);
    atomic_store(&log->backing_up, true);
    rc = take_segments(b);
    os_mutex_unlock(&log->manifest_lock);
    os_mutex_unlock(&log->append_lock);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory for a backup");
}

int vlog_backup_begin(vlog_backup **out, vlog *log, cairn_error *error) {
    vlog_backup *b = calloc(1, sizeof *b);
    if (b == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a backup");
    b->log = log;
    manifest_init(&b->manifest, log->options.store_id);
    manifest_init(&b->there, log->options.store_id);
    int rc = become_shareable(log, error);
    if (rc == CAIRN_OK) rc = vlog_seal_all(log, error);
    if (rc == CAIRN_OK) rc = take_moment(b, error);
    if (rc != CAIRN_OK) {
        vlog_backup_end(b);
        return rc;
    }
    *out = b;
    return CAIRN_OK;
}

void vlog_backup_end(vlog_backup *b) {
    if (b == NULL) return;
    while (b->segments != NULL && b->released < b->manifest.count && b->segments[b->released] != NULL)
        release_one(b);
    atomic_store(&b->log->backing_up, false);
    free(b->segments);
    manifest_release(&b->manifest);
    manifest_release(&b->there);
    free(b);
}

/* ---- What is there ---- */

int vlog_backup_compare(vlog_backup *b, os_dir *to, bool first, cairn_error *error) {
    const vlog_options *o = &b->log->options;
    int rc = first ? CAIRN_OK : manifest_load(&b->there, to, o->store_id, o->salt, error);
    if (rc == CAIRN_NOT_FOUND) return status_set(error, CAIRN_CORRUPT, "%s is missing in the backup", MANIFEST_NAME);
    if (rc != CAIRN_OK) return rc;
    b->compared = first || b->there.origin == b->manifest.origin;
    if (b->compared) return CAIRN_OK;
    return status_set(error, CAIRN_EXISTS, "%s",
                      b->there.origin == 0 ? "the backup was written to since it was made"
                                           : "the backup is one of another copy of this store");
}

static bool same_rows(const manifest_segment *a, const manifest_segment *b) {
    return a->id == b->id && a->generation == b->generation && a->base_granule == b->base_granule &&
           a->granules == b->granules && a->state == b->state && a->sealed_size == b->sealed_size &&
           (a->flags & ~SEGMENT_ALTERNATE) == (b->flags & ~SEGMENT_ALTERNATE) &&
           a->trailer_checksum == b->trailer_checksum && a->first_place == b->first_place &&
           a->end_place == b->end_place && a->lowest_version == b->lowest_version && a->record_end == b->record_end &&
           a->kept == b->kept && a->gaps == b->gaps;
}

static uint64_t bytes_of(const vlog_backup *b, size_t i) {
    uint64_t bytes = b->manifest.segments[i].sealed_size;
    return bytes - min_u64(bytes, atomic_load(&b->segments[i]->freed));
}

uint64_t vlog_backup_bytes(const vlog_backup *b) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->manifest.count; i++) {
        bytes += bytes_of(b, i);
    }
    return bytes;
}

/* ---- Transferring ---- */

/* *is_there: a file of that name with so many bytes. */
static int look_for(os_dir *dir, const char *name, uint64_t least, bool *is_there, cairn_error *error) {
    os_file_info info;
    int rc = os_info_of(dir, name, &info);
    *is_there = false;
    if (rc == -ENOENT) return CAIRN_OK;
    if (rc != 0) return status_os(error, rc, "cannot look at %s of the backup", name);
    *is_there = info.size >= least;
    return CAIRN_OK;
}

static int transfer(os_transfer *t, const char *name, const char *to_name, uint64_t size, const os_range *holes,
                    size_t hole_count, cairn_error *error) {
    int rc = os_transfer_file(t, name, to_name, size, holes, hole_count);
    if (rc == 0) return CAIRN_OK;
    if (rc == -ECANCELED) return status_set(error, CAIRN_CANCELLED, "the backup was cancelled");
    if (rc == -ENOENT) return status_set(error, CAIRN_CORRUPT, "%s is missing", name);
    return status_os(error, rc, "cannot back up %s", name);
}

static int keep(vlog_backup *b, const os_transfer *t, uint64_t bytes, cairn_error *error) {
    b->kept += bytes;
    if (t->progress == NULL || t->progress(t->ctx, bytes) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_CANCELLED, "the backup was cancelled");
}

/* What its footer says was given back. */
static int holes_of(vlog *log, segment *s, os_range **holes, size_t *count, cairn_error *error) {
    entry_cursor c;
    size_t capacity = 0;
    int rc = entry_cursor_open(&c, log, s, error), next = 1;
    while (rc == CAIRN_OK && (next = entry_cursor_next(&c, error)) == 1) {
        if (c.entry.type != RECORD_FREED) continue;
        os_range r = record_blocks(c.entry.offset, c.entry.offset + c.entry.units * UNIT_BYTES);
        os_range *grown = array_with_room(*holes, &capacity, *count, sizeof *grown, 16);
        if (grown == NULL) rc = status_set(error, CAIRN_NO_MEMORY, "no memory for a backup");
        if (grown != NULL) *holes = grown;
        if (grown != NULL) grown[(*count)++] = r;
    }
    entry_cursor_close(&c);
    if (rc == CAIRN_OK && next < 0) rc = next;
    if (rc != CAIRN_CORRUPT) return rc;
    *count = 0; /* damage is no hole */
    return CAIRN_OK;
}

static int transfer_segment(vlog_backup *b, os_transfer *t, size_t i, cairn_error *error) {
    manifest_segment *row = &b->manifest.segments[i];
    const manifest_segment *there = manifest_find(&b->there, row->id);
    segment *s = b->segments[i];
    os_range *holes = NULL;
    size_t hole_count = 0;
    bool alternate = there != NULL && (there->flags & SEGMENT_ALTERNATE) != 0, is_there = false;
    int rc = CAIRN_OK;
    char name[FILE_NAME_SIZE];
    file_name(name, s->id, segment_suffix(alternate));
    if (there != NULL && same_rows(row, there)) rc = look_for(t->to, name, row->sealed_size, &is_there, error);
    if (there != NULL && !is_there) alternate = !alternate;
    if (alternate) row->flags |= SEGMENT_ALTERNATE;
    if (rc == CAIRN_OK && is_there) return keep(b, t, bytes_of(b, i), error);
    if (rc != CAIRN_OK) return rc;
    if (s->punched) rc = holes_of(b->log, s, &holes, &hole_count, error);
    file_name(name, s->id, segment_suffix(alternate));
    if (rc == CAIRN_OK) rc = transfer(t, segment_name_of(s).text, name, row->sealed_size, holes, hole_count, error);
    free(holes);
    return rc;
}

/* Value files and dictionaries never change, and get their name when they are whole: one that is there is complete. */
static int transfer_constant(vlog_backup *b, os_transfer *t, const char *name, uint64_t id, cairn_error *error) {
    char partial[FILE_NAME_SIZE];
    bool is_there = false;
    os_file_info info;
    int rc = os_info_of(t->from, name, &info);
    if (rc == -ENOENT) return status_set_at(error, CAIRN_CORRUPT, id, 0, "%s is missing", name);
    if (rc != 0) return status_os(error, rc, "cannot look at %s", name);
    rc = look_for(t->to, name, info.size, &is_there, error);
    if (rc == CAIRN_OK && is_there) return keep(b, t, info.size, error);
    if (rc != CAIRN_OK) return rc;
    file_name(partial, id, "tab");
    rc = transfer(t, name, partial, info.size, NULL, 0, error);
    int os_rc = rc == CAIRN_OK ? os_rename(t->to, partial, name) : 0;
    return os_rc == 0 ? rc : status_os(error, os_rc, "cannot name %s of the backup", name);
}

static int transfer_dictionaries(vlog_backup *b, os_transfer *t, cairn_error *error) {
    os_names names;
    int os_rc = os_names_collect(&names, t->from), rc = CAIRN_OK;
    if (os_rc != 0) rc = status_os(error, os_rc, "cannot list the store's directory");
    for (size_t i = 0; rc == CAIRN_OK && i < names.count; i++) {
        uint64_t id;
        char suffix[4];
        if (!file_name_parse(names.list[i], &id, suffix) || strcmp(suffix, "dic") != 0) continue;
        if (id <= b->manifest.dictionary) rc = transfer_constant(b, t, names.list[i], id, error);
    }
    os_names_release(&names);
    return rc;
}

int vlog_backup_transfer(vlog_backup *b, os_transfer *t, const uint64_t *value_files, size_t count, uint64_t *kept,
                         cairn_error *error) {
    int rc = transfer_dictionaries(b, t, error);
    for (size_t i = 0; rc == CAIRN_OK && i < count; i++) {
        char name[FILE_NAME_SIZE];
        file_name(name, value_files[i], "val");
        rc = transfer_constant(b, t, name, value_files[i], error);
    }
    for (size_t i = 0; rc == CAIRN_OK && i < b->manifest.count; i++) {
        rc = transfer_segment(b, t, i, error);
        if (rc == CAIRN_OK) release_one(b);
    }
    *kept = b->kept;
    int os_rc = rc == CAIRN_OK ? os_dir_sync(t->to) : 0;
    return os_rc == 0 ? rc : status_os(error, os_rc, "cannot sync the backup's directory");
}

int vlog_backup_publish(vlog_backup *b, os_dir *to, cairn_error *error) {
    return manifest_store(&b->manifest, to, b->log->options.salt, NULL, error);
}

/* ---- Leftovers ---- */

static bool is_listed(void *ctx, uint64_t id) { return id_list_has(ctx, id); }

static int remove_unlisted(vlog_backup *b, os_dir *to, manifest *m, bool (*wanted)(void *ctx, uint64_t id), void *ctx,
                           cairn_error *error) {
    int rc = vlog_remove_unlisted(b->log, to, m, wanted, ctx);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot remove what the backup does not need");
}

int vlog_backup_clean(vlog_backup *b, os_dir *to, cairn_error *error) {
    if (!b->compared) return CAIRN_OK;
    return remove_unlisted(b, to, &b->there, NULL, NULL, error);
}

int vlog_backup_tidy(vlog_backup *b, os_dir *to, const uint64_t *value_files, size_t count, cairn_error *error) {
    id_list list = {value_files, count};
    return remove_unlisted(b, to, &b->manifest, is_listed, &list, error);
}

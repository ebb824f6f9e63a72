/* From one segment to the next: creating, finishing, sealing. */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/compacted.h"
#include "vlog/log_state.h"

#include <stdlib.h>

int vlog_segments_reserve(vlog *log, cairn_error *error) {
    segment **grown = array_with_room(log->segments, &log->capacity, log->count, sizeof *grown, 16);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for %zu segments", log->count + 1);
    log->segments = grown;
    return CAIRN_OK;
}

void vlog_segments_remove(vlog *log, segment *s) {
    size_t i = log->count;
    while (i > 0 && log->segments[i - 1] != s)
        i--;
    CHECK(i > 0);
    for (; i < log->count; i++) {
        log->segments[i - 1] = log->segments[i];
    }
    log->count--;
    segment_map_remove(&log->map, s);
    segment_files_forget(&log->files, s);
    segment_free(s);
}

int vlog_store_manifest(vlog *log, cairn_error *error) {
    manifest *m = &log->manifest;
    uint64_t ceiling = m->version_ceiling, next_id = m->next_id;
    m->version_ceiling = max_u64(ceiling, atomic_load(&log->next_version) + VERSION_CHUNK);
    m->next_id = log->next_id + FILE_ID_CHUNK;
    m->durable_place = atomic_load(&log->durable_place);
    m->origin = 0; /* it goes its own way from now on */
    bool sync_failed = false;
    int rc = manifest_store(m, log->options.dir, log->options.salt, &sync_failed, error);
    if (rc == CAIRN_OK) {
        atomic_store(&log->version_ceiling, m->version_ceiling);
        atomic_store(&log->features, m->features);
    } else {
        m->version_ceiling = ceiling;
        m->next_id = next_id;
        if (sync_failed) (void)vlog_fail(log);
    }
    return rc;
}

int vlog_require(vlog *log, uint64_t features, cairn_error *error) {
    if ((features & ~atomic_load_explicit(&log->features, memory_order_acquire)) == 0) return CAIRN_OK;
    int rc = CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    uint64_t before = log->manifest.features;
    if ((features & ~before) != 0) {
        log->manifest.features |= features;
        rc = vlog_store_manifest(log, error);
        if (rc != CAIRN_OK) log->manifest.features = before;
    }
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

void vlog_manifest_seal(vlog *log, const segment *s) {
    manifest_segment *row = manifest_find(&log->manifest, s->id);
    CHECK(row != NULL && segment_full(s));
    row->state = SEGMENT_SEALED;
    row->sealed_size = s->sealed_size;
    row->trailer_checksum = s->trailer_checksum;
    row->first_place = s->first_place;
    row->end_place = s->end_place;
    row->lowest_version = s->lowest_version;
    row->record_end = atomic_load(&s->end);
}

/* A segment's size grows with what is live, so that small stores and small disks work, and garbage that is only given
 * back by the segment is a small share. */
uint64_t vlog_segment_target(const vlog *log) {
    uint64_t share = atomic_load(&log->live_bytes) / SEGMENTS_OF_A_STORE;
    return min_u64(max_u64(share, SEGMENT_BYTES_FIRST), log->options.segment_bytes);
}

static bool is_given_back_by_holes(const vlog *log) {
    uint64_t live = atomic_load(&log->live_bytes), large = atomic_load(&log->live_large_bytes);
    return live > 0 && large >= live - live / 8 && !atomic_load(&log->no_holes);
}

/* Of what is appended. Where holes give the garbage back, the length of a segment costs no space: it is sealed when
 * there is some, and nothing is copied. Making one costs durable puts of 1 MiB a fifth of their speed at 4 MiB. */
static uint64_t target_wanted(const vlog *log) {
    uint64_t target = vlog_segment_target(log);
    if (is_given_back_by_holes(log)) target = max_u64(target, SEGMENT_BYTES_LARGE);
    return min_u64(target, log->options.segment_bytes);
}

/* More addresses than the target needs: a writer goes on in its segment while the next one is being created, so it does
 * not wait for the syncs of that. Any record fits: its payload is at most a quarter of segment_bytes. */
static uint64_t granules_wanted(const vlog *log) {
    uint64_t bytes = min_u64(max_u64(target_wanted(log), SEGMENT_RUN_BYTES), log->options.segment_bytes);
    return round_up(bytes, GRANULE_BYTES) / GRANULE_BYTES;
}

void vlog_set_target(const vlog *log, segment *s) { s->target = min_u64(target_wanted(log), segment_capacity(s)); }

/* Creates the file of a new segment and its row, durably, manifest lock held; `discard` (may be NULL), an empty
 * segment, loses its row in the same step. */
static int create_with_row(vlog *log, uint64_t granules, const segment *discard, segment **out, cairn_error *error) {
    manifest_segment row = {.id = log->next_id, .granules = granules, .state = SEGMENT_OPEN};
    int rc = manifest_place_run(&log->manifest, granules, &row.base_granule);
    if (rc != CAIRN_OK) return status_set(error, rc, "the address space of the store is used up");
    if (manifest_reserve(&log->manifest) != CAIRN_OK)
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a segment");
    segment *s = segment_new(&row, log->options.salt, log->options.no_windows);
    if (s == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a segment");
    rc = segment_files_create(&log->files, s, log->options.store_id, error);
    if (rc != CAIRN_OK) goto failed;
    log->next_id++;
    int os_rc = os_dir_sync(log->options.dir);
    if (os_rc != 0) {
        (void)vlog_fail(log);
        rc = status_os(error, os_rc, "cannot sync the store's directory");
        goto failed_file;
    }
    uint64_t next_granule = log->manifest.next_granule;
    manifest_add(&log->manifest, &row);
    manifest_run_taken(&log->manifest, row.base_granule, row.granules);
    manifest_segment discarded = {0};
    if (discard != NULL) {
        discarded = *manifest_find(&log->manifest, discard->id);
        manifest_remove(&log->manifest, discard->id);
    }
    rc = vlog_store_manifest(log, error);
    if (rc == CAIRN_OK) {
        *out = s;
        return CAIRN_OK;
    }
    manifest_remove(&log->manifest, s->id);
    log->manifest.next_granule = next_granule;
    if (discard != NULL) manifest_add(&log->manifest, &discarded);
failed_file:
    /* After a failed sync the new manifest may be the one on disk and list this file, so it stays. */
    if (!vlog_failed(log)) {
        (void)os_unlink(log->options.dir, segment_name_of(s).text);
    }
    segment_files_forget(&log->files, s);
failed:
    segment_free(s);
    return rc;
}

/* Append lock held, room in the array reserved. */
static int adopt(vlog *log, segment *s, cairn_error *error) {
    if (segment_map_add(&log->map, s) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a segment");
    }
    log->segments[log->count++] = s;
    return CAIRN_OK;
}

static void drop_file(vlog *log, segment *s) {
    segment_name name = segment_name_of(s);
    vlog_segments_remove(log, s);
    (void)os_unlink(log->options.dir, name.text); /* a leftover otherwise */
}

static void activate(vlog *log, segment *s) {
    log->active = s;
    vlog_set_target(log, s);
}

static int create_active(vlog *log, cairn_error *error) {
    segment *spare = log->spare, *s = NULL;
    int rc = vlog_segments_reserve(log, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock(&log->manifest_lock);
    rc = create_with_row(log, granules_wanted(log), spare, &s, error);
    os_mutex_unlock(&log->manifest_lock);
    if (rc != CAIRN_OK) return rc;
    if (spare != NULL) {
        log->spare = NULL;
        drop_file(log, spare);
    }
    rc = adopt(log, s, error);
    if (rc != CAIRN_OK) {
        /* Its row stays, as an empty segment that the next open removes. */
        segment_files_forget(&log->files, s);
        segment_free(s);
        return rc;
    }
    activate(log, s);
    log->started = true;
    return CAIRN_OK;
}

int vlog_prepare(vlog *log, cairn_error *error) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    CHECK(log->count == 0);
    int rc = create_active(log, error);
    os_mutex_unlock(&log->append_lock);
    return rc;
}

bool vlog_has_room(const vlog *log, uint64_t from, uint64_t units) {
    const segment *s = log->active;
    uint64_t end = from + units * UNIT_BYTES;
    return end <= s->target || (end <= segment_capacity(s) && log->spare == NULL);
}

int vlog_finish_active(vlog *log, cairn_error *error) {
    segment *s = log->active;
    const uint8_t *bytes = NULL;
    size_t size = 0;
    uint64_t trailer_checksum = 0;
    os_file *file = NULL;
    int rc = footer_build(&log->builder, s->seed, &bytes, &size, &trailer_checksum);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory for the footer of segment %s", segment_name_of(s).text);
    rc = segment_file(&log->files, s, &file, error);
    if (rc == CAIRN_OK) {
        int os_rc = os_file_write(file, bytes, size, atomic_load(&s->end));
        if (os_rc != 0) rc = status_os(error, os_rc, "cannot write the footer of segment %s", segment_name_of(s).text);
    }
    if (rc != CAIRN_OK) return rc;
    s->sealed_size = atomic_load(&s->end) + size;
    mapped_append_end(&log->mapped);
    ahead_cut(s, file, s->sealed_size);
    atomic_fetch_add(&log->footer_bytes, size);
    s->trailer_checksum = trailer_checksum;
    s->first_place = log->builder.first_place;
    s->end_place = log->builder.end_place;
    s->lowest_version = log->builder.lowest_version;
    footer_builder_release(&log->builder);
    footer_builder_init(&log->builder, SEGMENT_DATA_OFFSET);
    log->active = NULL;
    return CAIRN_OK;
}

uint64_t vlog_sealing_bytes(vlog *log) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    uint64_t footer = log->builder.size, segments = vlog_segment_count(log);
    os_mutex_unlock(&log->append_lock);
    return footer + manifest_bytes(segments);
}

int vlog_make_room(vlog *log, uint64_t units, cairn_error *error) {
    int rc = CAIRN_OK;
    for (;;) {
        if (log->active != NULL && vlog_has_room(log, atomic_load(&log->active->end), units)) return CAIRN_OK;
        if (!log->preparing) break;
        /* Others wait with us: the first one goes on to the next segment, the rest find room there. */
        os_cond_wait(&log->prepared, &log->append_lock);
    }
    if (log->active != NULL && atomic_load(&log->active->end) > SEGMENT_DATA_OFFSET) {
        rc = vlog_finish_active(log, error);
        if (rc != CAIRN_OK) return rc;
    }
    if (log->active != NULL) { /* Empty and too small: goes like a spare that is. */
        CHECK(log->spare == NULL);
        log->spare = log->active;
        log->active = NULL;
    }
    if (log->spare != NULL && SEGMENT_DATA_OFFSET + units * UNIT_BYTES <= segment_capacity(log->spare)) {
        activate(log, log->spare);
        log->spare = NULL;
        return CAIRN_OK;
    }
    return create_active(log, error);
}

/* ---- Upkeep ---- */

bool vlog_upkeep_due(const vlog *log) { return atomic_load_explicit(&log->due, memory_order_relaxed); }

bool vlog_spare_is_due(const vlog *log) {
    return log->active != NULL && log->spare == NULL && !log->preparing &&
           atomic_load(&log->active->end) > log->active->target / 8;
}

/* Full, synced segments whose rows do not yet say so: a run in the order of places. Append lock held. */
static void find_sealable(const vlog *log, size_t *first, size_t *end) {
    *first = log->count;
    while (*first > 0 && log->segments[*first - 1]->state == SEGMENT_OPEN)
        (*first)--;
    *end = *first;
    while (*end < log->count && log->segments[*end]->synced)
        (*end)++;
}

/* Append lock held. */
static int take_spare(vlog *log, segment *s, int rc, cairn_error *error) {
    if (rc == CAIRN_OK) rc = vlog_segments_reserve(log, error);
    if (rc == CAIRN_OK) rc = adopt(log, s, error);
    if (rc == CAIRN_OK) {
        log->spare = s;
    } else if (s != NULL) { /* Its row stays, as an empty segment that the next open removes. */
        segment_files_forget(&log->files, s);
        segment_free(s);
    }
    log->preparing = false;
    os_cond_broadcast(&log->prepared);
    return rc;
}

/* A new store's first segment was made before anything was known of its values. Append lock held. */
static void lengthen_active(const vlog *log) {
    segment *s = log->active;
    if (s != NULL && log->spare == NULL && target_wanted(log) > s->target) vlog_set_target(log, s);
}

static int maintain(vlog *log, cairn_error *error) {
    size_t first, end;
    segment *spare = NULL;
    atomic_store(&log->due, false);
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    find_sealable(log, &first, &end);
    lengthen_active(log);
    bool prepare = vlog_spare_is_due(log);
    uint64_t granules = prepare ? granules_wanted(log) : 0;
    if (first == end && !prepare) {
        os_mutex_unlock(&log->append_lock);
        return CAIRN_OK;
    }
    if (prepare) log->preparing = true;
    os_mutex_lock(&log->manifest_lock);
    for (size_t i = first; i < end; i++) {
        vlog_manifest_seal(log, log->segments[i]);
    }
    os_mutex_unlock(&log->append_lock);

    /* One replacement of the manifest for both. */
    int rc = prepare ? create_with_row(log, granules, NULL, &spare, error) : vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);

    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    for (size_t i = first; rc == CAIRN_OK && i < end; i++) {
        log->segments[i]->state = SEGMENT_SEALED;
        atomic_store(&log->segments[i]->pinned, false);
    }
    if (prepare) rc = take_spare(log, spare, rc, error);
    os_mutex_unlock(&log->append_lock);
    return rc;
}

int vlog_maintain(vlog *log, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    os_mutex_lock(&log->maintain_lock);
    int rc = maintain(log, error);
    os_mutex_unlock(&log->maintain_lock);
    return rc;
}

/* Append lock held. */
static bool is_worth_sealing(const vlog *log, uint64_t least, double garbage_ratio) {
    uint64_t bytes = atomic_load(&log->active->end) - SEGMENT_DATA_OFFSET, live = atomic_load(&log->active->live);
    return bytes >= least && live < bytes && (double)(bytes - live) >= garbage_ratio * (double)bytes;
}

/* `all`: whatever it holds. */
static int seal_active(vlog *log, bool all, uint64_t least, double garbage_ratio, cairn_error *error) {
    int rc = CAIRN_OK;
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    while (log->preparing) {
        os_cond_wait(&log->prepared, &log->append_lock);
    }
    bool seals = log->active != NULL && atomic_load(&log->active->end) > SEGMENT_DATA_OFFSET &&
                 (all || is_worth_sealing(log, least, garbage_ratio));
    if (seals) rc = vlog_finish_active(log, error);
    os_mutex_unlock(&log->append_lock);
    if (rc == CAIRN_OK && (seals || all)) rc = vlog_sync_files(log, error);
    return rc == CAIRN_OK ? vlog_maintain(log, error) : rc;
}

int vlog_seal_active(vlog *log, uint64_t least, double garbage_ratio, cairn_error *error) {
    return seal_active(log, false, least, garbage_ratio, error);
}

int vlog_seal_all(vlog *log, cairn_error *error) {
    if (vlog_failed(log)) return vlog_refuse_failed(error);
    return seal_active(log, true, 0, 0, error);
}

/* The cache of open segment files: a second-chance clock over those that are open. */
#include "src/base/array.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/segment.h"
#include "vlog/value_file.h"

#include <errno.h>
#include <stdlib.h>

void segment_files_init(segment_files *files, os_dir *dir, bool read_only, epoch *readers, size_t limit) {
    *files = (segment_files){.dir = dir, .read_only = read_only, .readers = readers, .limit = limit};
    os_mutex_init(&files->lock);
}

void segment_files_release(segment_files *files) {
    os_mutex_destroy(&files->lock);
    free(files->open);
}

static void close_retired(epoch_entry *entry) {
    segment_handle *handle = (segment_handle *)((char *)entry - offsetof(segment_handle, retired));
    os_file_close(handle->file);
    free(handle);
}

/* Takes one file that is neither pinned nor lately used out of the cache. */
static void evict_one(segment_files *files) {
    for (size_t tries = 0; tries < 2 * files->count; tries++) {
        files->hand = (files->hand + 1) % files->count;
        segment *s = files->open[files->hand];
        if (atomic_load(&s->pinned) || atomic_exchange(&s->used, false)) continue;
        segment_handle *handle = atomic_exchange(&s->handle, NULL);
        files->open[files->hand] = files->open[--files->count];
        epoch_retire(files->readers, &handle->retired, close_retired);
        return;
    }
}

/* Takes `file` over on success only. Lock held. */
static int cache_file(segment_files *files, segment *s, os_file *file, cairn_error *error) {
    if (files->count >= files->limit) evict_one(files);
    segment **grown = array_with_room(files->open, &files->capacity, files->count, sizeof *grown, 16);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to open a segment");
    files->open = grown;
    segment_handle *handle = malloc(sizeof *handle);
    if (handle == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to open a segment");
    handle->file = file;
    files->open[files->count++] = s;
    atomic_store(&s->handle, handle);
    return CAIRN_OK;
}

static int open_locked(segment_files *files, segment *s, cairn_error *error) {
    segment_name name = segment_name_of(s);
    os_file *file = NULL;
    int rc = os_file_open(files->dir, name.text, files->read_only ? OS_READ_ONLY : 0, &file);
    if (rc == -ENOENT) return status_set_at(error, CAIRN_CORRUPT, s->id, 0, "segment %s is missing", name.text);
    if (rc != 0) return status_os(error, rc, "cannot open segment %s", name.text);
    rc = cache_file(files, s, file, error);
    if (rc != CAIRN_OK) os_file_close(file);
    return rc;
}

static int write_header(os_file *file, const segment *s, const uint8_t store_id[16]) {
    uint8_t block[SEGMENT_DATA_OFFSET];
    segment_encode_header(block, s, store_id);
    int rc = os_file_write(file, block, sizeof block, 0);
    return rc != 0 ? rc : os_file_sync(file);
}

int segment_files_create(segment_files *files, segment *s, const uint8_t store_id[16], cairn_error *error) {
    segment_name name = segment_name_of(s);
    os_file *file = NULL;
    int rc = os_file_open(files->dir, name.text, OS_CREATE | OS_EXCLUSIVE | OS_GROWS, &file);
    if (rc != 0) return status_os(error, rc, "cannot create segment %s", name.text);
    rc = write_header(file, s, store_id);
    if (rc != 0) {
        rc = status_os(error, rc, "cannot write the header of segment %s", name.text);
    } else {
        atomic_store(&s->pinned, true);
        os_mutex_lock(&files->lock);
        rc = cache_file(files, s, file, error);
        os_mutex_unlock(&files->lock);
    }
    if (rc != CAIRN_OK) {
        os_file_close(file);
        (void)os_unlink(files->dir, name.text);
    }
    return rc;
}

void segment_files_forget(segment_files *files, segment *s) {
    os_mutex_lock(&files->lock);
    for (size_t i = 0; i < files->count; i++) {
        if (files->open[i] != s) continue;
        files->open[i] = files->open[--files->count];
        break;
    }
    segment_handle *handle = atomic_exchange(&s->handle, NULL);
    os_mutex_unlock(&files->lock);
    if (handle != NULL) close_retired(&handle->retired);
}

int segment_file(segment_files *files, segment *s, os_file **file, cairn_error *error) {
    segment_handle *handle = atomic_load_explicit(&s->handle, memory_order_acquire);
    if (handle == NULL) {
        os_mutex_lock(&files->lock);
        int rc = atomic_load(&s->handle) != NULL ? CAIRN_OK : open_locked(files, s, error);
        handle = atomic_load(&s->handle);
        os_mutex_unlock(&files->lock);
        if (rc != CAIRN_OK) return rc;
    }
    if (!atomic_load_explicit(&s->used, memory_order_relaxed)) {
        atomic_store_explicit(&s->used, true, memory_order_relaxed);
    }
    *file = handle->file;
    return CAIRN_OK;
}

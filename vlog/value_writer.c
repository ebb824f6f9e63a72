/* Writing a value file. Format: vlog/FORMAT.md, "Value file".
 *
 * The file is written from front to back, each byte once: header block, frames as they come, table, trailer. Between
 * calls:
 *  1. `end` is a multiple of a block, and the value bytes before it are a multiple of BUFFER_BYTES.
 *  2. `buffer` holds the value's next bytes, fewer than BUFFER_BYTES; its whole frames are in the table already.
 *  3. Entry f of the table is in page f / 511. The first `pages_spilled` pages are sealed in the .tab file, the others
 *     are in `pages`, of which the last may be unsealed.
 * After a failure (`failed`) none of this holds, and only value_writer_abort may come. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/value_format.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER_BYTES ((size_t)1 << 20) /* whole frames */
#define FLUSH_BYTES ((uint64_t)4 << 20)
#define SYNC_BYTES ((uint64_t)32 << 20)
#define FIRST_PAGES 4u

struct value_writer {
    os_dir *dir;
    os_file *file, *table_file; /* table_file: NULL until the table spills */
    uint64_t id, seed;
    uint64_t size;    /* bytes of the value so far */
    uint64_t end;     /* bytes of the file so far */
    uint64_t flushed; /* file bytes whose write-back was started */
    uint64_t synced;
    uint8_t *buffer;
    size_t buffered;
    uint8_t *pages;
    size_t page_capacity, page_max;
    uint64_t pages_spilled;
    uint64_t frames; /* entries in the table */
    bool failed, finished, sync_failed;
};

/* ---- File ---- */

static int sync_file(value_writer *w, cairn_error *error) {
    int rc = os_file_sync(w->file);
    if (rc != 0) {
        w->sync_failed = true;
        return value_os_error(error, rc, w->id, w->synced, "sync");
    }
    w->synced = w->flushed = w->end;
    return CAIRN_OK;
}

static int append(value_writer *w, const void *data, size_t size, cairn_error *error) {
    int rc = os_file_write(w->file, data, size, w->end);
    if (rc != 0) return value_os_error(error, rc, w->id, w->end, "write");
    w->end += size;
    if (w->end - w->synced >= SYNC_BYTES) return sync_file(w, error);
    if (w->end - w->flushed >= FLUSH_BYTES) {
        /* Only a hint: what goes wrong with it is told by the sync. */
        (void)os_file_flush(w->file, w->flushed, w->end - w->flushed);
        w->flushed = w->end;
    }
    return CAIRN_OK;
}

static void remove_file(value_writer *w, const char *suffix) {
    char name[FILE_NAME_SIZE];
    file_name(name, w->id, suffix);
    (void)os_unlink(w->dir, name); /* one that stays is a leftover, which the next open removes */
}

/* ---- Table ---- */

static int table_error(value_writer *w, int rc, const char *what, cairn_error *error) {
    char name[FILE_NAME_SIZE];
    file_name(name, w->id, "tab");
    rc = status_os(error, rc, "%s: cannot %s", name, what);
    if (error != NULL) error->segment = w->id;
    return rc;
}

static void seal_pages(value_writer *w, size_t count) {
    for (size_t i = 0; i < count; i++)
        value_page_seal(w->pages + i * VALUE_TABLE_PAGE_BYTES, w->pages_spilled + i, w->seed);
}

/* Moves all pages, which are full, from memory to the .tab file. */
static int spill_pages(value_writer *w, cairn_error *error) {
    int rc;
    if (w->table_file == NULL) {
        char name[FILE_NAME_SIZE];
        file_name(name, w->id, "tab");
        rc = os_file_open(w->dir, name, OS_CREATE | OS_EXCLUSIVE, &w->table_file);
        if (rc != 0) return table_error(w, rc, "create", error);
    }
    seal_pages(w, w->page_capacity);
    rc = os_file_write(w->table_file, w->pages, w->page_capacity * VALUE_TABLE_PAGE_BYTES,
                       w->pages_spilled * VALUE_TABLE_PAGE_BYTES);
    if (rc != 0) return table_error(w, rc, "write", error);
    w->pages_spilled += w->page_capacity;
    return CAIRN_OK;
}

/* More room for pages, as far as the limit lets it grow. */
static int grow_pages(value_writer *w, cairn_error *error) {
    size_t capacity = min_u64(w->page_capacity == 0 ? FIRST_PAGES : w->page_capacity * 2, w->page_max);
    uint8_t *pages = realloc(w->pages, capacity * VALUE_TABLE_PAGE_BYTES);
    if (pages == NULL) return value_os_error(error, -ENOMEM, w->id, w->end, "grow the table");
    w->pages = pages;
    w->page_capacity = capacity;
    return CAIRN_OK;
}

static int add_frame(value_writer *w, const uint8_t *frame, size_t size, cairn_error *error) {
    uint64_t page = w->frames / VALUE_TABLE_PAGE_FRAMES - w->pages_spilled;
    size_t slot = (size_t)(w->frames % VALUE_TABLE_PAGE_FRAMES);
    if (slot == 0 && page == w->page_capacity) {
        int rc = w->page_capacity < w->page_max ? grow_pages(w, error) : spill_pages(w, error);
        if (rc != CAIRN_OK) return rc;
        page = w->frames / VALUE_TABLE_PAGE_FRAMES - w->pages_spilled;
    }
    uint8_t *bytes = w->pages + page * VALUE_TABLE_PAGE_BYTES;
    if (slot == 0) memset(bytes, 0, VALUE_TABLE_PAGE_BYTES);
    le64_put(value_page_entries(bytes) + 8 * slot, checksum(frame, size, 0));
    w->frames++;
    return CAIRN_OK;
}

/* The spilled pages, through the buffer, which is empty by now. They are verified on their way: the .tab file may have
 * been out of memory. */
static int copy_spilled_pages(value_writer *w, cairn_error *error) {
    const size_t pages_max = BUFFER_BYTES / VALUE_TABLE_PAGE_BYTES;
    for (uint64_t page = 0; page < w->pages_spilled;) {
        size_t count = min_u64(pages_max, w->pages_spilled - page), got = 0;
        size_t bytes = count * VALUE_TABLE_PAGE_BYTES;
        int rc = os_file_read(w->table_file, w->buffer, bytes, page * VALUE_TABLE_PAGE_BYTES, &got);
        if (rc != 0) return table_error(w, rc, "read", error);
        bool valid = got == bytes;
        for (size_t i = 0; i < count && valid; i++)
            valid = value_page_valid(w->buffer + i * VALUE_TABLE_PAGE_BYTES, page + i, w->seed);
        if (!valid) return table_error(w, -EIO, "read back what was written", error);
        rc = append(w, w->buffer, bytes, error);
        if (rc != CAIRN_OK) return rc;
        page += count;
    }
    return CAIRN_OK;
}

static int write_table(value_writer *w, cairn_error *error) {
    int rc = copy_spilled_pages(w, error);
    size_t count = (size_t)(value_table_pages(w->frames) - w->pages_spilled);
    if (rc != CAIRN_OK || count == 0) return rc;
    seal_pages(w, count);
    return append(w, w->pages, count * VALUE_TABLE_PAGE_BYTES, error);
}

/* ---- Opening ---- */

static void release(value_writer *w) {
    if (w->table_file != NULL) os_file_close(w->table_file);
    if (w->file != NULL) os_file_close(w->file);
    free(w->pages);
    free(w->buffer);
    free(w);
}

int value_writer_open(value_writer **out, const value_file_env *env, uint64_t id, size_t table_memory_max,
                      cairn_error *error) {
    *out = NULL;
    value_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return value_os_error(error, -ENOMEM, id, 0, "begin to write");
    *w = (value_writer){.dir = env->dir,
                        .id = id,
                        .seed = file_seed(env->salt, id, 0),
                        .page_max = max_u64(table_memory_max / VALUE_TABLE_PAGE_BYTES, 1)};
    char name[FILE_NAME_SIZE];
    file_name(name, id, "val");
    int rc = CAIRN_OK;
    w->buffer = aligned_alloc(BLOCK_BYTES, BUFFER_BYTES);
    if (w->buffer == NULL) {
        rc = value_os_error(error, -ENOMEM, id, 0, "begin to write");
        goto done;
    }
    rc = os_file_open(w->dir, name, OS_CREATE | OS_EXCLUSIVE, &w->file);
    if (rc != 0) {
        rc = value_os_error(error, rc, id, 0, "create the file");
        goto done;
    }
    file_header header = value_header(env->store_id, id, w->seed);
    file_header_encode(w->buffer, &header);
    rc = append(w, w->buffer, VALUE_FILE_DATA_OFFSET, error);
    if (rc != CAIRN_OK) remove_file(w, "val");
done:
    if (rc == CAIRN_OK) {
        *out = w;
    } else {
        release(w);
    }
    return rc;
}

/* ---- Writing ---- */

/* BUFFER_BYTES of the value, from where they are. A frame is checksummed once; the write then finds it in the cache. */
static int write_frames(value_writer *w, const uint8_t *data, cairn_error *error) {
    for (size_t at = 0; at < BUFFER_BYTES; at += FRAME_BYTES) {
        int rc = add_frame(w, data + at, FRAME_BYTES, error);
        if (rc != CAIRN_OK) return rc;
    }
    w->size += BUFFER_BYTES;
    return append(w, data, BUFFER_BYTES, error);
}

/* At most to the end of the frame that is being filled. */
static int fill_frame(value_writer *w, const uint8_t *data, size_t size, cairn_error *error) {
    memcpy(w->buffer + w->buffered, data, size);
    w->buffered += size;
    w->size += size;
    if (w->buffered % FRAME_BYTES != 0) return CAIRN_OK;
    int rc = add_frame(w, w->buffer + w->buffered - FRAME_BYTES, FRAME_BYTES, error);
    if (rc != CAIRN_OK || w->buffered < BUFFER_BYTES) return rc;
    w->buffered = 0;
    return append(w, w->buffer, BUFFER_BYTES, error);
}

int value_writer_write(value_writer *w, const void *data, size_t size, cairn_error *error) {
    CHECK(!w->failed && !w->finished);
    if (size > CAIRN_VALUE_SIZE_MAX - w->size) {
        w->failed = true;
        return status_set(error, CAIRN_TOO_BIG, "a value has at most 2^56 bytes");
    }
    const uint8_t *next = data;
    int rc = CAIRN_OK;
    while (size > 0 && rc == CAIRN_OK) {
        size_t piece;
        if (w->buffered == 0 && size >= BUFFER_BYTES) {
            piece = BUFFER_BYTES;
            rc = write_frames(w, next, error);
        } else {
            piece = min_u64(size, FRAME_BYTES - w->buffered % FRAME_BYTES);
            rc = fill_frame(w, next, piece, error);
        }
        next += piece;
        size -= piece;
    }
    w->failed = rc != CAIRN_OK;
    return rc;
}

uint64_t value_writer_size(const value_writer *w) { return w->size; }

bool value_writer_sync_failed(const value_writer *w) { return w->sync_failed; }

/* ---- Finishing ---- */

/* What is in the buffer, its last frame short, and zeros to a block. */
static int write_rest(value_writer *w, cairn_error *error) {
    if (w->buffered == 0) return CAIRN_OK;
    size_t last = w->buffered % FRAME_BYTES;
    if (last != 0) {
        int rc = add_frame(w, w->buffer + w->buffered - last, last, error);
        if (rc != CAIRN_OK) return rc;
    }
    size_t padded = (size_t)round_up(w->buffered, BLOCK_BYTES);
    memset(w->buffer + w->buffered, 0, padded - w->buffered);
    w->buffered = 0;
    return append(w, w->buffer, padded, error);
}

static int write_trailer(value_writer *w, const void *key, size_t key_size, value_descriptor *d, cairn_error *error) {
    CHECK(w->end == d->trailer_offset);
    value_trailer_encode(w->buffer, d, key, key_size, w->seed);
    return append(w, w->buffer, (size_t)(d->file_size - d->trailer_offset), error);
}

/* The file and its name, durably. The .tab goes first, so that the same sync covers its removal. */
static int make_durable(value_writer *w, cairn_error *error) {
    int rc = sync_file(w, error);
    if (rc != CAIRN_OK) return rc;
    if (w->table_file != NULL) remove_file(w, "tab");
    rc = os_dir_sync(w->dir);
    if (rc == 0) return CAIRN_OK;
    w->sync_failed = true;
    return value_os_error(error, rc, w->id, 0, "sync the directory of the file");
}

int value_writer_finish(value_writer *w, const void *key, size_t key_size, value_descriptor *d, cairn_error *error) {
    CHECK(!w->failed && !w->finished);
    value_descriptor made = {.id = w->id};
    value_descriptor_layout(&made, w->size, key_size);
    int rc = write_rest(w, error);
    if (rc == CAIRN_OK) rc = write_table(w, error);
    if (rc == CAIRN_OK) rc = write_trailer(w, key, key_size, &made, error);
    if (rc == CAIRN_OK) rc = make_durable(w, error);
    w->failed = rc != CAIRN_OK;
    w->finished = !w->failed;
    if (rc == CAIRN_OK) *d = made;
    return rc;
}

void value_writer_close(value_writer *w) {
    if (w == NULL) return;
    CHECK(w->finished);
    release(w);
}

void value_writer_abort(value_writer *w) {
    if (w == NULL) return;
    if (w->table_file != NULL) remove_file(w, "tab");
    remove_file(w, "val");
    release(w);
}

/* Writing a value file. Format: vlog/FORMAT.md, "Value file".
 *
 * The file is written from front to back, each byte once: header block, frames as they come, table, trailer. Whether
 * the frames are compressed is decided once, by a trial of the value's beginning. Between calls:
 *  1. `end` is a multiple of a block.
 *  2. Undecided: `buffer` begins with all of the value, less than TRIAL_BYTES.
 *  3. Raw: the value bytes before `end` are a multiple of BUFFER_BYTES. `buffer` begins with the next ones, `buffered`,
 *     fewer than BUFFER_BYTES; its whole frames are in the table already.
 *  4. Compressed: `buffer` begins with the next bytes of the value, `buffered`, less than a frame; the part of it from
 *     OUTPUT_AT on begins with `packed` bytes of stored frames, which are in the table already. There is room for one
 *     more frame.
 * After a failure (`failed`) none of this holds, and only value_writer_abort may come. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/status.h"
#include "vlog/pack.h"
#include "vlog/pack_probe.h"
#include "vlog/value_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES ((size_t)1 << 20) /* whole frames */
#define FLUSH_BYTES ((uint64_t)4 << 20)
#define SYNC_BYTES ((uint64_t)32 << 20)
#define TRIAL_FRAMES 4u
#define TRIAL_BYTES (TRIAL_FRAMES * (size_t)FRAME_BYTES)
#define OUTPUT_AT TRIAL_BYTES
#define OUTPUT_BYTES (BUFFER_BYTES - OUTPUT_AT)

struct value_writer {
    value_file_env env;
    os_file *file;
    packer *packer; /* its own, so that what other values were like decides nothing; NULL while raw or undecided */
    pack_options packing;
    uint64_t id, seed;
    uint64_t size;    /* bytes of the value so far */
    uint64_t end;     /* bytes of the file so far */
    uint64_t flushed; /* file bytes whose write-back was started */
    uint64_t synced;
    uint8_t *buffer;
    size_t buffered, packed;
    value_table table; /* its codec is the value's */
    bool undecided, failed, finished, sync_failed;
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

static int write_once(const value_writer *w, const void *data, size_t size) {
    if (w->env.refused != NULL && atomic_load(w->env.refused)) return -ENOSPC;
    return os_file_write(w->file, data, size, w->end);
}

static int write_out(const value_writer *w, const void *data, size_t size) {
    int rc = write_once(w, data, size);
    while ((rc == -ENOSPC || rc == -EDQUOT) && w->env.make_room != NULL && w->env.make_room(w->env.room_ctx)) {
        rc = write_once(w, data, size);
    }
    return rc;
}

static int append(value_writer *w, const void *data, size_t size, cairn_error *error) {
    int rc = write_out(w, data, size);
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

static void remove_file(value_writer *w) {
    char name[FILE_NAME_SIZE];
    file_name(name, w->id, "val");
    (void)os_unlink(w->env.dir, name); /* one that stays is a leftover, which the next open removes */
}

/* ---- Opening ---- */

static void release(value_writer *w) {
    value_table_release(&w->table);
    packer_free(w->packer);
    if (w->file != NULL) os_file_close(w->file);
    free(w->buffer);
    free(w);
}

int value_writer_open(value_writer **out, const value_file_env *env, uint64_t id, size_t table_memory_max,
                      const pack_options *packing, cairn_error *error) {
    CHECK(packing == NULL || (env->packer != NULL && packing->dictionary == NULL));
    *out = NULL;
    value_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return value_os_error(error, -ENOMEM, id, 0, "begin to write");
    *w = (value_writer){.env = *env, .id = id, .seed = file_seed(env->salt, id, 0)};
    w->undecided = packing != NULL;
    if (packing != NULL) w->packing = *packing;
    value_table_begin(&w->table, env, id, table_memory_max);
    char name[FILE_NAME_SIZE];
    file_name(name, id, "val");
    int rc = CAIRN_OK;
    w->buffer = aligned_alloc(BLOCK_BYTES, BUFFER_BYTES);
    if (w->buffer == NULL) {
        rc = value_os_error(error, -ENOMEM, id, 0, "begin to write");
        goto done;
    }
    rc = os_file_open(w->env.dir, name, OS_CREATE | OS_EXCLUSIVE | OS_GROWS, &w->file);
    if (rc != 0) {
        rc = value_os_error(error, rc, id, 0, "create the file");
        goto done;
    }
    file_header header = value_header(env->store_id, id, w->seed);
    file_header_encode(w->buffer, &header);
    rc = append(w, w->buffer, VALUE_FILE_DATA_OFFSET, error);
    if (rc != CAIRN_OK) remove_file(w);
done:
    if (rc == CAIRN_OK) {
        *out = w;
    } else {
        release(w);
    }
    return rc;
}

/* ---- Raw frames ---- */

/* Whole frames, the last may be short. */
static int add_raw(value_writer *w, const uint8_t *data, size_t size, cairn_error *error) {
    for (size_t at = 0; at < size; at += FRAME_BYTES) {
        size_t length = min_u64(FRAME_BYTES, size - at);
        int rc = value_table_add(&w->table, checksum(data + at, length, 0), length, error);
        if (rc != CAIRN_OK) return rc;
    }
    return CAIRN_OK;
}

static int write_raw(value_writer *w, const uint8_t *data, size_t size, size_t *taken, cairn_error *error) {
    if (w->buffered == 0 && size >= BUFFER_BYTES) {
        /* From where they are. A frame is checksummed once; the write then finds it in the cache. */
        *taken = BUFFER_BYTES;
        int rc = add_raw(w, data, BUFFER_BYTES, error);
        return rc == CAIRN_OK ? append(w, data, BUFFER_BYTES, error) : rc;
    }
    *taken = min_u64(size, FRAME_BYTES - w->buffered % FRAME_BYTES);
    memcpy(w->buffer + w->buffered, data, *taken);
    w->buffered += *taken;
    if (w->buffered % FRAME_BYTES != 0) return CAIRN_OK;
    int rc = add_raw(w, w->buffer + w->buffered - FRAME_BYTES, FRAME_BYTES, error);
    if (rc != CAIRN_OK || w->buffered < BUFFER_BYTES) return rc;
    w->buffered = 0;
    return append(w, w->buffer, BUFFER_BYTES, error);
}

/* ---- Compressed frames ---- */

/* Writes the stored frames: whole blocks of them or, at the end of the value, all, and zeros to a block. */
static int write_output(value_writer *w, bool all, cairn_error *error) {
    uint8_t *output = w->buffer + OUTPUT_AT;
    size_t size = w->packed - w->packed % BLOCK_BYTES, rest = w->packed - size;
    if (all && rest > 0) {
        memset(output + w->packed, 0, BLOCK_BYTES - rest);
        size += BLOCK_BYTES;
        rest = 0;
    }
    if (size == 0) return CAIRN_OK;
    int rc = append(w, output, size, error);
    if (rc != CAIRN_OK) return rc;
    memmove(output, output + size, rest);
    w->packed = rest;
    return CAIRN_OK;
}

static int add_packed(value_writer *w, const uint8_t *frame, size_t size, cairn_error *error) {
    uint8_t *out = w->buffer + OUTPUT_AT + w->packed;
    uint32_t stored = pack_frame(w->packer, &w->packing, frame, size, out);
    if (stored == size) memcpy(out, frame, size);
    int rc = value_table_add(&w->table, checksum(frame, size, 0), stored, error);
    w->packed += stored;
    if (rc != CAIRN_OK || w->packed + FRAME_BYTES <= OUTPUT_BYTES) return rc;
    return write_output(w, false, error);
}

static int write_packed(value_writer *w, const uint8_t *data, size_t size, size_t *taken, cairn_error *error) {
    *taken = min_u64(size, FRAME_BYTES - w->buffered);
    if (*taken == FRAME_BYTES) return add_packed(w, data, FRAME_BYTES, error);
    memcpy(w->buffer + w->buffered, data, *taken);
    w->buffered += *taken;
    if (w->buffered < FRAME_BYTES) return CAIRN_OK;
    w->buffered = 0;
    return add_packed(w, w->buffer, FRAME_BYTES, error);
}

/* ---- Deciding ---- */

/* Most values that do not shrink are told by their looks, before there is a context for this value alone. What the
 * looks miss, the store's packer tries as often as it pays. */
static bool looks_compressible(value_writer *w, const uint8_t *data, size_t size) {
    if (size < PACK_PROBE_BYTES_MIN) return false;
    for (uint64_t i = 0; i < frames_of(size); i++) {
        size_t length = value_frame_length(size, i);
        if (length >= PACK_PROBE_BYTES_MIN && pack_probe(data + i * FRAME_BYTES, length)) return true;
    }
    size_t length = value_frame_length(size, 0);
    return pack_frame(w->env.packer, &w->packing, data, length, w->buffer + OUTPUT_AT) < length;
}

/* By the value's first `size` bytes, which are TRIAL_BYTES or all. Compressed, their frames are then in the output. */
static int decide(value_writer *w, const uint8_t *data, size_t size, cairn_error *error) {
    uint8_t *out = w->buffer + OUTPUT_AT;
    uint32_t stored[TRIAL_FRAMES];
    size_t total = 0;
    CHECK(size <= TRIAL_BYTES);
    w->undecided = false;
    if (!looks_compressible(w, data, size)) return CAIRN_OK;
    if (packer_new(&w->packer) != CAIRN_OK) return CAIRN_OK; /* as a frame for which there is no memory */
    for (uint64_t i = 0; i < frames_of(size); i++) {
        const uint8_t *frame = data + i * FRAME_BYTES;
        stored[i] = pack_frame(w->packer, &w->packing, frame, value_frame_length(size, i), out + total);
        total += stored[i];
    }
    if ((size - total) * 8 < size) {
        packer_free(w->packer);
        w->packer = NULL;
        return CAIRN_OK;
    }
    w->table.codec = CODEC_ZSTD;
    int rc = CAIRN_OK;
    for (uint64_t i = 0; i < frames_of(size) && rc == CAIRN_OK; i++) {
        const uint8_t *frame = data + i * FRAME_BYTES;
        size_t length = value_frame_length(size, i);
        if (stored[i] == length) memcpy(out + w->packed, frame, length);
        w->packed += stored[i];
        rc = value_table_add(&w->table, checksum(frame, length, 0), stored[i], error);
    }
    return rc;
}

/* By what is in the buffer, which goes on from there. */
static int decide_by_buffer(value_writer *w, cairn_error *error) {
    int rc = decide(w, w->buffer, w->buffered, error);
    if (rc != CAIRN_OK) return rc;
    if (w->table.codec == CODEC_RAW) return add_raw(w, w->buffer, w->buffered - w->buffered % FRAME_BYTES, error);
    w->buffered = 0;
    return CAIRN_OK;
}

static int write_undecided(value_writer *w, const uint8_t *data, size_t size, size_t *taken, cairn_error *error) {
    if (w->buffered == 0 && size >= TRIAL_BYTES) {
        int rc = decide(w, data, TRIAL_BYTES, error);
        *taken = w->table.codec == CODEC_RAW ? 0 : TRIAL_BYTES;
        return rc;
    }
    *taken = min_u64(size, TRIAL_BYTES - w->buffered);
    memcpy(w->buffer + w->buffered, data, *taken);
    w->buffered += *taken;
    return w->buffered < TRIAL_BYTES ? CAIRN_OK : decide_by_buffer(w, error);
}

/* ---- Writing ---- */

int value_writer_write(value_writer *w, const void *data, size_t size, cairn_error *error) {
    CHECK(!w->failed && !w->finished);
    if (size > CAIRN_VALUE_SIZE_MAX - w->size) {
        w->failed = true;
        return status_set(error, CAIRN_TOO_BIG, "a value has at most 2^56 bytes");
    }
    const uint8_t *next = data;
    int rc = CAIRN_OK;
    while (size > 0 && rc == CAIRN_OK) {
        size_t taken = 0;
        if (w->undecided) {
            rc = write_undecided(w, next, size, &taken, error);
        } else if (w->table.codec == CODEC_RAW) {
            rc = write_raw(w, next, size, &taken, error);
        } else {
            rc = write_packed(w, next, size, &taken, error);
        }
        next += taken;
        size -= taken;
        w->size += taken;
    }
    w->failed = rc != CAIRN_OK;
    return rc;
}

uint64_t value_writer_size(const value_writer *w) { return w->size; }

bool value_writer_sync_failed(const value_writer *w) { return w->sync_failed; }

/* ---- Finishing ---- */

/* What is in the buffer, its last frame short, and zeros to a block. */
static int write_rest(value_writer *w, cairn_error *error) {
    int rc = w->undecided ? decide_by_buffer(w, error) : CAIRN_OK;
    if (rc != CAIRN_OK) return rc;
    if (w->table.codec != CODEC_RAW) {
        if (w->buffered > 0) rc = add_packed(w, w->buffer, w->buffered, error);
        w->buffered = 0;
        return rc == CAIRN_OK ? write_output(w, true, error) : rc;
    }
    if (w->buffered == 0) return CAIRN_OK;
    size_t last = w->buffered % FRAME_BYTES, padded = round_up(w->buffered, BLOCK_BYTES);
    rc = add_raw(w, w->buffer + w->buffered - last, last, error);
    if (rc != CAIRN_OK) return rc;
    memset(w->buffer + w->buffered, 0, padded - w->buffered);
    w->buffered = 0;
    return append(w, w->buffer, padded, error);
}

static int write_table(value_writer *w, cairn_error *error) {
    uint64_t pages = value_table_pages(w->table.codec, w->table.frames);
    for (uint64_t page = 0; page < pages;) {
        const uint8_t *bytes;
        size_t size;
        int rc = value_table_pages_get(&w->table, page, w->buffer, BUFFER_BYTES, &bytes, &size, error);
        if (rc == CAIRN_OK) rc = append(w, bytes, size, error);
        if (rc != CAIRN_OK) return rc;
        page += size / VALUE_TABLE_PAGE_BYTES;
    }
    return CAIRN_OK;
}

static int write_trailer(value_writer *w, const void *key, size_t key_size, value_descriptor *d, cairn_error *error) {
    value_descriptor_layout(d, w->table.codec, w->size, w->table.stored, key_size);
    CHECK(w->end == d->trailer_offset);
    value_trailer_encode(w->buffer, d, key, key_size, w->seed);
    return append(w, w->buffer, (size_t)(d->file_size - d->trailer_offset), error);
}

/* The file and its name, durably, without what is allocated beyond its end. The .tab goes first, so that the same sync
 * covers its removal. */
static int make_durable(value_writer *w, cairn_error *error) {
    int rc = os_file_truncate(w->file, w->end);
    if (rc != 0) return value_os_error(error, rc, w->id, w->end, "write");
    rc = sync_file(w, error);
    if (rc != CAIRN_OK) return rc;
    value_table_remove(&w->table);
    rc = os_dir_sync(w->env.dir);
    if (rc == 0) return CAIRN_OK;
    w->sync_failed = true;
    return value_os_error(error, rc, w->id, 0, "sync the directory of the file");
}

int value_writer_finish(value_writer *w, const void *key, size_t key_size, value_descriptor *d, cairn_error *error) {
    CHECK(!w->failed && !w->finished);
    value_descriptor made = {.id = w->id};
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
    value_table_remove(&w->table);
    remove_file(w);
    release(w);
}

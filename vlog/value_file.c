/* A value file that is there: opened, verified as a whole, mapped. Format: vlog/FORMAT.md, "Value file". */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/value_reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int check_header(value_file *f, cairn_error *error) {
    uint8_t block[VALUE_FILE_DATA_OFFSET];
    int rc = value_read_exactly(f, block, sizeof block, 0, error);
    if (rc != CAIRN_OK) return rc;
    file_header header = value_header(f->store_id, f->d.id, f->seed);
    if (file_header_valid(block, &header)) return CAIRN_OK;
    return value_damaged(error, f->d.id, 0, "damaged header block");
}

static int check_size(value_file *f, cairn_error *error) {
    os_file_info info;
    int rc = os_file_info_get(f->file, &info);
    if (rc != 0) return value_os_error(error, rc, f->d.id, 0, "examine the file");
    if (info.size == f->d.file_size) return CAIRN_OK;
    return value_damaged(error, f->d.id, min_u64(info.size, f->d.file_size), "the file has the wrong size: it differs");
}

int value_file_open(value_file **out, const value_file_env *env, const value_descriptor *d, cairn_error *error) {
    CHECK(d->codec == CODEC_RAW || env->packer != NULL);
    *out = NULL;
    value_file *f = calloc(1, sizeof *f);
    if (f == NULL) return value_os_error(error, -ENOMEM, d->id, 0, "open the file");
    f->d = *d;
    f->packer = env->packer;
    f->seed = file_seed(env->salt, d->id, 0);
    memcpy(f->store_id, env->store_id, sizeof f->store_id);
    char name[FILE_NAME_SIZE];
    file_name(name, d->id, "val");
    int rc = os_file_open(env->dir, name, OS_READ_ONLY, &f->file);
    if (rc == -ENOENT) {
        rc = value_damaged(error, d->id, 0, "the file is missing");
    } else if (rc == -EINVAL) {
        rc = value_damaged(error, d->id, 0, "not a regular file");
    } else if (rc != 0) {
        rc = value_os_error(error, rc, d->id, 0, "open the file");
    } else {
        rc = check_size(f, error);
        if (rc == CAIRN_OK) rc = check_header(f, error);
    }
    if (rc == CAIRN_OK) {
        *out = f;
    } else {
        value_file_close(f);
    }
    return rc;
}

void value_file_close(value_file *f) {
    if (f == NULL) return;
    if (f->file != NULL) os_file_close(f->file);
    free(f);
}

/* ---- Verifying ---- */

/* More bytes of the file were verified. */
static int count_bytes(const value_verify *v, uint64_t bytes, cairn_error *error) {
    *v->bytes += bytes;
    if (v->progress == NULL || v->progress(v->ctx, bytes) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_CANCELLED, "verification was cancelled");
}

static int verify_value(value_file *f, uint8_t *piece, const value_verify *v, cairn_error *error) {
    value_cursor c;
    value_cursor_begin(&c, f);
    int rc = CAIRN_OK;
    for (uint64_t offset = 0; offset < f->d.value_size && rc == CAIRN_OK;) {
        size_t length = min_u64(VALUE_PIECE_BYTES, f->d.value_size - offset);
        uint64_t before = c.done;
        rc = value_cursor_read(&c, piece, length, offset, error);
        if (rc == CAIRN_OK) rc = count_bytes(v, c.done - before, error);
        offset += length;
    }
    value_cursor_end(&c);
    return rc;
}

/* The zeros between the value and the table. Nobody reads them, yet a bit that changed here tells of a bad device. */
static int verify_padding(value_file *f, uint8_t *piece, cairn_error *error) {
    uint64_t offset = VALUE_FILE_DATA_OFFSET + f->d.stored_size;
    size_t length = (size_t)(f->d.table_offset - offset);
    if (length == 0) return CAIRN_OK;
    int rc = value_read_exactly(f, piece, length, offset, error);
    if (rc != CAIRN_OK) return rc;
    for (size_t i = 0; i < length; i++) {
        if (piece[i] != 0) return value_damaged(error, f->d.id, offset + i, "damaged padding");
    }
    return CAIRN_OK;
}

int value_file_verify(value_file *f, const void *key, size_t key_size, const value_verify *v, cairn_error *error) {
    uint8_t *piece = malloc(VALUE_PIECE_BYTES);
    if (piece == NULL) return value_os_error(error, -ENOMEM, f->d.id, 0, "verify");
    size_t trailer_size = (size_t)(f->d.file_size - f->d.trailer_offset);
    CHECK(trailer_size <= VALUE_PIECE_BYTES);
    int rc = check_size(f, error);
    if (rc == CAIRN_OK) rc = check_header(f, error);
    if (rc == CAIRN_OK) rc = verify_value(f, piece, v, error);
    if (rc == CAIRN_OK) rc = verify_padding(f, piece, error);
    if (rc == CAIRN_OK) rc = value_read_exactly(f, piece, trailer_size, f->d.trailer_offset, error);
    if (rc == CAIRN_OK && !value_trailer_valid(piece, &f->d, key, key_size, f->seed))
        rc = value_damaged(error, f->d.id, f->d.trailer_offset, "damaged trailer, or another key's");
    if (rc == CAIRN_OK) rc = count_bytes(v, f->d.file_size - f->d.stored_size, error);
    free(piece);
    return rc;
}

/* ---- Mapping ---- */

static int verify_mapping(value_file *f, const uint8_t *data, cairn_error *error) {
    value_cursor c;
    value_cursor_begin(&c, f);
    int rc = CAIRN_OK;
    for (uint64_t frame = 0, count; frame < f->d.frames && rc == CAIRN_OK; frame += count) {
        const uint8_t *entries;
        uint64_t begin = frame * FRAME_BYTES;
        rc = value_cursor_entries(&c, frame, &entries, &count, error);
        if (rc != CAIRN_OK) break;
        uint64_t length = min_u64(count * FRAME_BYTES, f->d.value_size - begin);
        rc = value_verify_raw(f, entries, data + begin, length, frame, error);
    }
    value_cursor_end(&c);
    return rc;
}

bool value_file_is_raw(const value_file *f) { return f->d.codec == CODEC_RAW; }

int value_file_map(value_file *f, const void **data, cairn_error *error) {
    CHECK(f->d.value_size > 0 && value_file_is_raw(f));
    const void *mapped;
    int rc = check_size(f, error); /* a page beyond the file's end would kill the process */
    if (rc != CAIRN_OK) return rc;
    rc = os_file_map(f->file, VALUE_FILE_DATA_OFFSET, f->d.value_size, &mapped);
    if (rc != 0) return value_os_error(error, rc, f->d.id, VALUE_FILE_DATA_OFFSET, "map");
    rc = verify_mapping(f, mapped, error);
    if (rc != CAIRN_OK) {
        os_file_unmap(f->file, mapped, f->d.value_size);
        return rc;
    }
    *data = mapped;
    return CAIRN_OK;
}

void value_file_unmap(value_file *f, const void *data) { os_file_unmap(f->file, data, f->d.value_size); }

#include "src/cli/transfer.h"

#include "src/cli/interrupt.h"
#include "src/cli/output.h"

#include <errno.h>
#include <stdlib.h>

bool transfer_begin(transfer *t, cairn *store, progress *shown) {
    *t = (transfer){.store = store, .progress = shown, .buffer = malloc(TRANSFER_PIECE + 1)};
    return t->buffer != NULL;
}

void transfer_finish(transfer *t) { free(t->buffer); }

static void reset(transfer *t) {
    t->bytes = 0;
    t->error = 0;
    t->code = CAIRN_OK;
    t->store_error = (cairn_error){0};
}

static void advance(transfer *t, size_t bytes) {
    t->bytes += bytes;
    if (t->progress != NULL) progress_add(t->progress, bytes);
}

static transfer_end file_failed(transfer *t, int error) {
    t->error = error;
    return error == -EINTR && interrupted() ? TRANSFER_INTERRUPTED : TRANSFER_FILE_FAILED;
}

/* Through a writer: `got` bytes are in the buffer, and more are to come. */
static transfer_end put_stream(transfer *t, byte_view key, source_file *source, const cairn_put_options *options,
                               ssize_t got) {
    cairn_writer *writer = NULL;
    t->code = cairn_writer_open(t->store, key.data, key.size, options, &writer, &t->store_error);
    if (t->code != CAIRN_OK) return TRANSFER_STORE_FAILED;
    transfer_end end = TRANSFER_DONE;
    while (got > 0) {
        t->code = cairn_writer_write(writer, t->buffer, (size_t)got, &t->store_error);
        if (t->code != CAIRN_OK) {
            end = TRANSFER_STORE_FAILED;
            goto abort;
        }
        advance(t, (size_t)got);
        got = source_read(source, t->buffer, TRANSFER_PIECE);
    }
    if (got < 0 || interrupted()) {
        end = file_failed(t, got < 0 ? (int)got : -EINTR);
        goto abort;
    }
    t->code = cairn_writer_commit(writer, &t->store_error);
    return t->code == CAIRN_OK ? TRANSFER_DONE : TRANSFER_STORE_FAILED;
abort:
    cairn_writer_abort(writer);
    return end;
}

transfer_end transfer_put(transfer *t, byte_view key, source_file *source, const cairn_put_options *options) {
    reset(t);
    /* One byte beyond the piece tells whether there is more. */
    ssize_t got = source_read(source, t->buffer, TRANSFER_PIECE + 1);
    if (got < 0) return file_failed(t, (int)got);
    if ((size_t)got > TRANSFER_PIECE) return put_stream(t, key, source, options, got);
    t->code = cairn_put(t->store, key.data, key.size, t->buffer, (size_t)got, options, &t->store_error);
    if (t->code != CAIRN_OK) return TRANSFER_STORE_FAILED;
    advance(t, (size_t)got);
    return TRANSFER_DONE;
}

transfer_end transfer_get(transfer *t, cairn_reader *reader, uint64_t offset, uint64_t length, transfer_sink sink,
                          void *ctx) {
    reset(t);
    while (length > 0) {
        if (interrupted()) return TRANSFER_INTERRUPTED;
        size_t wanted = length < TRANSFER_PIECE ? (size_t)length : TRANSFER_PIECE;
        size_t got = 0;
        t->code = cairn_reader_pread(reader, t->buffer, wanted, offset, &got, &t->store_error);
        if (t->code != CAIRN_OK) return TRANSFER_STORE_FAILED;
        if (got == 0) {
            t->code = CAIRN_CORRUPT;
            return TRANSFER_STORE_FAILED;
        }
        int rc = sink(ctx, t->buffer, got);
        if (rc < 0) return file_failed(t, rc);
        advance(t, got);
        offset += got;
        length -= got;
    }
    return TRANSFER_DONE;
}

transfer_end transfer_give(transfer *t, const void *data, size_t size, transfer_sink sink, void *ctx) {
    reset(t);
    if (interrupted()) return TRANSFER_INTERRUPTED;
    int rc = size > 0 ? sink(ctx, data, size) : 0;
    if (rc < 0) return file_failed(t, rc);
    advance(t, size);
    return TRANSFER_DONE;
}

int transfer_to_target(void *ctx, const void *data, size_t size) { return target_write(ctx, data, size); }

int transfer_to_stdout(void *ctx, const void *data, size_t size) {
    (void)ctx;
    return output_data(data, size) ? 0 : -EIO;
}

/* Values between the user's files and the store, a mebibyte at a time whatever their size. */
#ifndef CAIRN_CLI_TRANSFER_H
#define CAIRN_CLI_TRANSFER_H

#include "include/cairn.h"
#include "src/cli/keyenc.h"
#include "src/cli/progress.h"
#include "src/cli/userfile.h"

/* Also the largest value that is put by one call instead of a writer. */
#define TRANSFER_PIECE ((size_t)1 << 20)

typedef enum transfer_end {
    TRANSFER_DONE,
    TRANSFER_FILE_FAILED,  /* `error` is a negative errno of the source or the sink */
    TRANSFER_STORE_FAILED, /* `code` and `store_error` tell */
    TRANSFER_INTERRUPTED
} transfer_end;

typedef struct transfer {
    cairn *store;
    uint8_t *buffer;    /* TRANSFER_PIECE + 1 bytes */
    progress *progress; /* NULL: none */
    /* What the last one came to. */
    uint64_t bytes;
    int error;
    int code;
    cairn_error store_error;
} transfer;

/* False when there is no memory. */
bool transfer_begin(transfer *t, cairn *store, progress *shown);
void transfer_finish(transfer *t);

/* Makes the source, from where it stands to its end, the value of `key`. Unless DONE, the key is as it was. */
transfer_end transfer_put(transfer *t, byte_view key, source_file *source, const cairn_put_options *options);

/* Takes pieces in order. 0 or a negative errno. */
typedef int (*transfer_sink)(void *ctx, const void *data, size_t size);

/* Gives the `length` bytes from `offset` on, which the value must have. The first piece is read, and verified, before
 * the sink gets anything. */
transfer_end transfer_get(transfer *t, cairn_reader *reader, uint64_t offset, uint64_t length, transfer_sink sink,
                          void *ctx);

/* Gives bytes that are in memory already. */
transfer_end transfer_give(transfer *t, const void *data, size_t size, transfer_sink sink, void *ctx);

/* Sinks: ctx is a target_file, or not used. */
int transfer_to_target(void *ctx, const void *data, size_t size);
int transfer_to_stdout(void *ctx, const void *data, size_t size);

#endif

/* A value in a file of its own: values too large for a segment, and streams whose end is not known. Format:
 * vlog/FORMAT.md. Nothing here makes a value visible: the record that names the file does, and is written after
 * value_file_finish returned CAIRN_OK. */
#ifndef CAIRN_VLOG_VALUE_FILE_H
#define CAIRN_VLOG_VALUE_FILE_H

#include "include/cairn.h"
#include "src/os/os.h"
#include "vlog/file_name.h"

#include <stdatomic.h>

struct packer; /* vlog/pack.h */
struct pack_options;

#define VALUE_FILE_DATA_OFFSET ((uint64_t)4096)
#define VALUE_DESCRIPTOR_BYTES 64u
typedef struct value_descriptor {
    uint64_t id, value_size, stored_size, frames, table_offset, trailer_offset, file_size, trailer_checksum;
    uint8_t codec, frame_shift;
} value_descriptor;

void value_descriptor_encode(uint8_t out[VALUE_DESCRIPTOR_BYTES], const value_descriptor *d);
/* value_size comes from the record's header. false: the fields do not agree with each other. */
bool value_descriptor_decode(value_descriptor *d, const uint8_t in[VALUE_DESCRIPTOR_BYTES], uint64_t value_size);

/* What a file of a store is bound to. */
typedef struct value_file_env {
    os_dir *dir;
    const uint8_t *store_id; /* 16 bytes */
    uint64_t salt;
    struct packer *packer; /* NULL: no value file is compressed */
    /* What becomes of a write that finds the disk full. All NULL: it fails. */
    const atomic_bool *refused;   /* no value takes space now, as if it were full */
    bool (*make_room)(void *ctx); /* whether another try is worth it; called without a lock */
    void *room_ctx;
} value_file_env;

/* ---- Writing: one thread at a time; at most 3 MiB of memory (the table spills to a .tab file past table_memory_max)
 * and, as long as frames are compressed, a context of zstd's: 290 KiB at the default level, see vlog/pack.h ---- */
typedef struct value_writer value_writer;
#define VALUE_TABLE_MEMORY_MAX ((size_t)1 << 20)
/* packing: how to compress, without a dictionary; copied. NULL: never. Whether the value is compressed is decided once:
 * its first 256 KiB, or all of it when it is shorter, must save one part in eight. */
int value_writer_open(value_writer **out, const value_file_env *env, uint64_t id, size_t table_memory_max,
                      const struct pack_options *packing, cairn_error *error);
/* Syncs what it wrote every 32 MiB, so that the dirty bytes stay bounded and other syncs do not wait behind them. */
int value_writer_write(value_writer *w, const void *data, size_t size, cairn_error *error);
uint64_t value_writer_size(const value_writer *w);
/* Whether the failure of a call above was that of a sync. */
bool value_writer_sync_failed(const value_writer *w);
/* Writes table and trailer, syncs file and directory. After it only value_writer_close. A failure here or above leaves
 * only value_writer_abort. */
int value_writer_finish(value_writer *w, const void *key, size_t key_size, value_descriptor *d, cairn_error *error);
void value_writer_close(value_writer *w); /* keeps the file; NULL is nothing */
void value_writer_abort(value_writer *w); /* removes it and its .tab, also a finished one; NULL is nothing */

/* ---- Reading: any number of threads on one open file ---- */
typedef struct value_file value_file;
/* Verifies header block and file size. CAIRN_CORRUPT with file and offset when the file is missing, short or another.
 */
int value_file_open(value_file **out, const value_file_env *env, const value_descriptor *d, cairn_error *error);
void value_file_close(value_file *f);
/* Reads [offset, offset + size) of the value, which lies inside it; verifies the frames that it touches, and the table
 * pages for them, and reads no others. Memory: at most 1 MiB, whatever the size. Whole frames go straight into buf. */
int value_file_read(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error);
/* Everything: header, all frames, all table pages, trailer against the descriptor and `key`. */
typedef struct value_verify {
    int (*progress)(void *ctx, uint64_t bytes); /* so many more were verified; non-zero cancels. NULL: nobody asks */
    void *ctx;
    uint64_t *bytes; /* grows by those of the file that were verified */
} value_verify;
int value_file_verify(value_file *f, const void *key, size_t key_size, const value_verify *v, cairn_error *error);
/* The value lies in the file as it is, so that it can be mapped. */
bool value_file_is_raw(const value_file *f);
/* A mapping of the whole value, verified. Unmap with value_file_unmap. The value is raw and not empty. */
int value_file_map(value_file *f, const void **data, cairn_error *error);
void value_file_unmap(value_file *f, const void *data);

#endif

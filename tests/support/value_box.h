/* Value files on a simulated disk, without a store around them. A failing step fails the test. */
#ifndef CAIRN_TESTS_VALUE_BOX_H
#define CAIRN_TESTS_VALUE_BOX_H

#include "tests/support/os_sim.h"
#include "vlog/pack.h"
#include "vlog/value_file.h"

#define VALUE_STORE "store" /* the directory */
#define VALUE_ID 7
#define VALUE_NAME "0000000000000007.val"
#define VALUE_TABLE_NAME "0000000000000007.tab"
#define VALUE_KEY "a key"
#define VALUE_KEY_SIZE (sizeof VALUE_KEY - 1)
#define VALUE_SALT 0x0f1e2d3c4b5a6978u
#define MIB ((size_t)1 << 20)

extern const uint8_t value_store_id[16];

typedef struct value_box {
    sim_disk *disk;
    value_file_env env; /* with a packer, so that compressed files can be read */
} value_box;

void value_box_open(value_box *b, sim_disk *disk); /* takes the disk over */
void value_box_close(value_box *b);                /* nothing of it may be open */
size_t value_box_files(const value_box *b);        /* how many there are */

/* Bytes that differ from one to the next and from frame to frame. All for free(). */
uint8_t *value_make(size_t size);
typedef enum value_kind {
    VALUE_NOISE, /* as value_make */
    VALUE_TEXT,  /* what compresses to a fraction */
    VALUE_MIXED  /* noise, but for the first three frames and every eighth one, which are text */
} value_kind;
uint8_t *value_make_kind(value_kind kind, size_t size);
bool value_frame_is_text(value_kind kind, uint64_t frame);

/* Writes a value as VALUE_KEY's, piece by piece. The first failure, or CAIRN_OK. The writer is gone in any case, and
 * after a failure aborted. */
typedef struct value_writing {
    const uint8_t *value;
    size_t size, piece; /* bytes; of one call */
    size_t table_memory;
    bool packing;     /* compress what is worth it */
    bool sync_failed; /* set: what the writer says */
} value_writing;
int value_write(const value_file_env *env, value_writing *w, value_descriptor *d, cairn_error *error);

value_descriptor value_box_write(value_box *b, const uint8_t *value, size_t size);
/* The same compressed, which it must be worth. */
value_descriptor value_box_pack(value_box *b, const uint8_t *value, size_t size);
value_file *value_box_file(value_box *b, const value_descriptor *d); /* opens it */

/* Verifies it as VALUE_KEY's; *bytes is what was counted, or NULL. */
int value_verify_all(value_file *file, uint64_t *bytes, cairn_error *error);

/* Reads it in every way: whole, in ranges, verified and, when it is raw, mapped. */
void assert_value_reads(value_box *b, const value_descriptor *d, const uint8_t *value, size_t size);
/* Reads ranges of an open one in four threads at once, so many times each, of up to `longest` bytes. */
void assert_value_reads_in_threads(value_file *file, const uint8_t *value, size_t size, unsigned times, size_t longest);
/* A refusal that names the file. */
void assert_value_damaged(int rc, const cairn_error *error);

#endif

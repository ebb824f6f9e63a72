/* What the files that read value files share. A value_file does not change once it is open; what a read needs besides
 * is in a cursor, which is the call's own. So any number of threads read at once, without a lock. Nothing is cached
 * from one call to the next: the page cache has the table, and a page costs one checksum of 4 KiB for 21 to 32 MiB of
 * value.
 */
#ifndef CAIRN_VLOG_VALUE_READING_H
#define CAIRN_VLOG_VALUE_READING_H

#include "vlog/pack.h"
#include "vlog/value_format.h"

/* Read at once: large enough for the device, and still in the cache to be verified. */
#define VALUE_PIECE_FRAMES ((uint64_t)4)
#define VALUE_PIECE_BYTES ((size_t)(VALUE_PIECE_FRAMES * FRAME_BYTES))

struct value_file {
    os_file *file;
    packer *packer; /* NULL: the value is raw */
    uint8_t store_id[16];
    uint64_t seed;
    value_descriptor d;
};

typedef struct value_cursor {
    value_file *file;
    uint64_t page_number; /* of the table page that is here; VALUE_NO_PAGE */
    uint64_t page_end;    /* compressed: where the page's frames end, from byte 4096 of the file */
    uint64_t done;        /* stored bytes of the value up to where the last read ended */
    uint8_t *frame;       /* room for a frame that is wanted in part; NULL until there is one */
    uint8_t *stored;      /* compressed: room for stored frames, `stored_size`; NULL until the first read */
    size_t stored_size;
    uint8_t page[VALUE_TABLE_PAGE_BYTES];
} value_cursor;
#define VALUE_NO_PAGE UINT64_MAX

void value_cursor_begin(value_cursor *c, value_file *f);
void value_cursor_end(value_cursor *c);

/* Reads [offset, offset + size) of the value, which lies inside it; verified. */
int value_cursor_read(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error);

/* The table's entries from `frame` on, and how many of them there are in this page. */
int value_cursor_entries(value_cursor *c, uint64_t frame, const uint8_t **entries, uint64_t *count, cairn_error *error);
/* Room in c->frame. */
int value_cursor_frame(value_cursor *c, cairn_error *error);

/* `size` bytes of a raw value from the beginning of `frame` on, in whole frames that the entries are for. */
int value_verify_raw(value_file *f, const uint8_t *entries, const void *data, uint64_t size, uint64_t frame,
                     cairn_error *error);
/* All of [offset, offset + size) of the file, which the descriptor says is there. */
int value_read_exactly(value_file *f, void *buf, size_t size, uint64_t offset, cairn_error *error);

/* ---- value_packed.c: a value in compressed frames ---- */

/* Verifies the page that is at the cursor, whose checksum is right, against the descriptor and, when it was read right
 * after the page before it, against that one; sets page_end. `before` is the page that was there, or VALUE_NO_PAGE. */
bool value_packed_page_valid(value_cursor *c, uint64_t before);
int value_packed_read(value_cursor *c, uint8_t *buf, size_t size, uint64_t offset, cairn_error *error);

#endif

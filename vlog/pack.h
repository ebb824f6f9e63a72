/* Compression of values, a frame at a time, by zstd. Format: vlog/FORMAT.md, "Record".
 *
 * Each frame of 64 KiB is kept either as one zstd frame (without zstd's own checksum and dictionary id: the record has
 * both) or raw, where compression would save less than one part in eight of it. A value is packed only where the whole
 * saves one part in eight of its record.
 *
 * Bytes that do not compress must cost next to nothing, in a store where a put of 4 KiB takes 4 microseconds. So there
 * are three gates. A probe looks at some sampled bytes (vlog/pack_probe.h). What it approves of is tried by the first
 * frames, which the rest follows only when one of them shrank. And all tries are paid from an account: every value pays
 * a little in, every try in vain is paid out of it, and while it is empty nothing is tried. While it is full, values
 * that the probe refused are tried as well, because it may be wrong; as long as it proves to be, all of them are.
 *
 * A packer is used by any number of threads at once. The account is racy on purpose: a lost update costs one try more
 * or less. Contexts of zstd's are handed out by atomic exchange and kept for the next call: at most PACK_IDLE_CONTEXTS
 * of 290 KiB (default level; 650 KiB at level 3, 1.8 MiB at the slowest ones) to compress, as many of 95 KiB to
 * decompress. Nothing is allocated before the first use.
 */
#ifndef CAIRN_VLOG_PACK_H
#define CAIRN_VLOG_PACK_H

#include "vlog/dictionary.h"

#define PACK_IDLE_CONTEXTS 8
/* Measured on documents and programs (bench/bench_pack.c): -1 leaves 6 to 25 % more bytes and is a quarter faster, 3
 * leaves 1 to 4 % less and takes a third more time. With a dictionary 3 leaves a tenth less than 1, in the time that 1
 * takes without one. */
#define PACK_LEVEL_DEFAULT 1
#define PACK_LEVEL_DICTIONARY 3

typedef struct packer packer;

int packer_new(packer **out); /* CAIRN_OK or CAIRN_NO_MEMORY */
void packer_free(packer *p);  /* nobody uses it any more; NULL is nothing */

typedef struct pack_options {
    int level;                    /* of zstd's, valid by pack_level_valid; 0: one of those above */
    const dictionary *dictionary; /* for values up to DICTIONARY_VALUE_MAX; NULL: none */
} pack_options;

bool pack_level_valid(int level);

/* ---- Whole values ---- */

typedef struct packed {
    uint8_t codec;     /* CODEC_*; raw: store the value as it is, and the rest is NULL and 0 */
    uint8_t *bytes;    /* stored frames, one behind the other; owned */
    uint64_t size;     /* of them together */
    uint32_t *lengths; /* of each; owned */
    uint64_t frames;
} packed;

/* CAIRN_OK or CAIRN_NO_MEMORY. *out is to be released in both cases. Takes up to the value's size of memory. */
int pack_value(packer *p, const pack_options *options, const void *value, uint64_t size, packed *out);
void packed_release(packed *v);

/* ---- Frame by frame, for streams ---- */

/* Returns the stored length. When that is `size` the frame is to be stored raw, as it is, and what `out` (capacity:
 * `size`) holds means nothing. size <= FRAME_BYTES. No dictionary is used. Where there is no memory, the frame stays
 * raw. */
uint32_t pack_frame(packer *p, const pack_options *options, const void *frame, size_t size, void *out);

/* The opposite: fills out[size]. `dictionary`: the one that the record names, or NULL. Whatever the stored bytes are,
 * it reads and writes nothing else; CAIRN_CORRUPT when they are not a frame of this length, CAIRN_NO_MEMORY. CAIRN_OK
 * says only that they could be one: the caller verifies the result's checksum. */
int unpack_frame(packer *p, const dictionary *dictionary, const void *stored, size_t stored_size, void *out,
                 size_t size);

#endif

/* Dictionaries: what many small values have in common, kept once, so that each of them compresses better. Format of the
 * file: vlog/FORMAT.md, "Dictionary".
 *
 * A dictionary never changes: neither its file nor, once it is loaded, the object, which any number of threads use at
 * once. Records name it by the id of its file, which is kept as long as one of them does.
 *
 * Memory: twice the content and 30 KiB; from the first value on that is compressed with it, the content once more and
 * 50 (level 1) to 400 KiB (level 3, the default).
 */
#ifndef CAIRN_VLOG_DICTIONARY_H
#define CAIRN_VLOG_DICTIONARY_H

#include "vlog/value_file.h"

#define DICTIONARY_SUFFIX "dic"
#define DICTIONARY_CONTENT_MAX ((size_t)1 << 20)
#define DICTIONARY_CONTENT_MIN ((size_t)256)
/* What a dictionary is trained to: more of it hardly helps values of this size, and falls out of the processor's cache.
 */
#define DICTIONARY_CONTENT_DEFAULT ((size_t)112640)
/* Larger values are compressed without one. It takes a quarter to a third off the stored bytes of documents of 1 KiB, a
 * sixth at 4 KiB, a tenth at 8, 7 % at 16 KiB; of programs a tenth at 1 KiB and from 4 KiB on nothing. */
#define DICTIONARY_VALUE_MAX ((uint64_t)16384)

typedef struct dictionary dictionary;
struct ZSTD_CDict_s;
struct ZSTD_DDict_s;

/* CAIRN_CORRUPT, naming file and offset, when the file is missing, damaged or another's; CAIRN_NO_MEMORY, CAIRN_IO. */
int dictionary_load(dictionary **out, const value_file_env *env, uint64_t id, cairn_error *error);
void dictionary_free(dictionary *d); /* nobody uses it any more; NULL is nothing */
uint64_t dictionary_id(const dictionary *d);

/* Writes the file; when it returns CAIRN_OK, file and name are durable. On failure nothing is left. *sync_failed (may
 * be NULL): the failure was that of a sync. CAIRN_INVALID when the content is no dictionary of zstd's. */
int dictionary_store(const value_file_env *env, uint64_t id, const void *content, size_t size, bool *sync_failed,
                     cairn_error *error);

/* Makes a dictionary of up to `capacity` bytes (DICTIONARY_CONTENT_MIN to _MAX) out of samples that lie one behind the
 * other. Takes seconds for tens of MiB of them, and about ten times their memory. CAIRN_UNSUPPORTED, with a message
 * that says what is missing, when they are too few or too small, or have nothing in common. */
int dictionary_train(const void *samples, const size_t *sizes, unsigned count, void *out, size_t capacity, size_t *size,
                     cairn_error *error);

/* For vlog/pack.c. The first is made by its first use, for the level of that use, and serves every other level as well;
 * NULL: no memory. */
const struct ZSTD_CDict_s *dictionary_compressor(const dictionary *d, int level);
const struct ZSTD_DDict_s *dictionary_decompressor(const dictionary *d);

#endif

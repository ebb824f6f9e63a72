/* Dictionary files and what is made of them.
 *
 * Nothing of a file reaches zstd before its checksum is verified. The compressing half is made late, because a store
 * that is only read needs none; threads that want it at the same moment each make one, and the first stays. */
#include "vlog/dictionary.h"

#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "vlog/file_header.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

enum field { /* behind the header block */
             AT_CHECKSUM = 0,
             AT_MAGIC = 8,
             AT_SIZE = 16,
             AT_ZSTD_ID = 24,
             AT_CONTENT = 32
};
#define FILE_FIXED_BYTES (BLOCK_BYTES + AT_CONTENT)

static const char content_magic[8] = {'C', 'A', 'I', 'R', 'N', 'D', 'C', 'T'};

typedef struct compressor {
    _Atomic(ZSTD_CDict *) made; /* NULL until first used */
} compressor;

struct dictionary {
    uint64_t id;
    uint8_t *file; /* its bytes */
    size_t content_size;
    compressor *compressor;
    ZSTD_DDict *decompressor;
};

/* ---- Errors that name file and offset ---- */

static int damaged(cairn_error *error, uint64_t id, uint64_t offset, const char *what) {
    return file_damaged(error, id, DICTIONARY_SUFFIX, offset, what);
}

static int os_failure(cairn_error *error, int negative_errno, uint64_t id, const char *what) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, DICTIONARY_SUFFIX);
    int code = status_os(error, negative_errno, "%s: cannot %s", name, what);
    if (error != NULL) error->segment = id;
    return code;
}

/* ---- The file ---- */

static uint64_t content_checksum(const uint8_t *file, size_t content_size, uint64_t seed) {
    return checksum(file + BLOCK_BYTES + AT_MAGIC, AT_CONTENT - AT_MAGIC + content_size, seed + 1);
}

static file_header header_of(const value_file_env *env, uint64_t id) {
    return (file_header){.magic = "CAIRNDIC", .store_id = env->store_id, .id = id, .seed = file_seed(env->salt, id, 0)};
}

static void encode(uint8_t *file, const value_file_env *env, uint64_t id, const void *content, size_t size) {
    file_header header = header_of(env, id);
    file_header_encode(file, &header);
    uint8_t *fields = file + BLOCK_BYTES;
    memset(fields, 0, AT_CONTENT);
    memcpy(fields + AT_MAGIC, content_magic, sizeof content_magic);
    le64_put(fields + AT_SIZE, size);
    le32_put(fields + AT_ZSTD_ID, ZSTD_getDictID_fromDict(content, size));
    memcpy(fields + AT_CONTENT, content, size);
    le64_put(fields + AT_CHECKSUM, content_checksum(file, size, header.seed));
}

/* The file's bytes are what its name, its store and its size say. */
static int check(const uint8_t *file, size_t content_size, const value_file_env *env, uint64_t id, cairn_error *error) {
    file_header header = header_of(env, id);
    if (!file_header_valid(file, &header)) return damaged(error, id, 0, "damaged header block");
    const uint8_t *fields = file + BLOCK_BYTES;
    if (le64_get(fields + AT_CHECKSUM) != content_checksum(file, content_size, header.seed))
        return damaged(error, id, BLOCK_BYTES, "wrong checksum");
    if (memcmp(fields + AT_MAGIC, content_magic, sizeof content_magic) != 0)
        return damaged(error, id, BLOCK_BYTES + AT_MAGIC, "wrong magic");
    if (le64_get(fields + AT_SIZE) != content_size)
        return damaged(error, id, BLOCK_BYTES + AT_SIZE, "the size does not fit the file's");
    uint32_t zstd_id = ZSTD_getDictID_fromDict(fields + AT_CONTENT, content_size);
    if (zstd_id == 0 || zstd_id != le32_get(fields + AT_ZSTD_ID))
        return damaged(error, id, BLOCK_BYTES + AT_ZSTD_ID, "not the dictionary that it says");
    return CAIRN_OK;
}

/* Fills d->file and d->content_size. */
static int read_file(dictionary *d, os_file *file, cairn_error *error) {
    os_file_info info;
    int rc = os_file_info_get(file, &info);
    if (rc != 0) return os_failure(error, rc, d->id, "examine the file");
    if (info.size < FILE_FIXED_BYTES + DICTIONARY_CONTENT_MIN) return damaged(error, d->id, info.size, "cut short");
    if (info.size > FILE_FIXED_BYTES + DICTIONARY_CONTENT_MAX)
        return damaged(error, d->id, FILE_FIXED_BYTES + DICTIONARY_CONTENT_MAX, "the file is too long");
    d->file = malloc(info.size);
    if (d->file == NULL) return os_failure(error, -ENOMEM, d->id, "load the dictionary");
    d->content_size = info.size - FILE_FIXED_BYTES;
    size_t got = 0;
    rc = os_file_read(file, d->file, info.size, 0, &got);
    if (rc != 0) return os_failure(error, rc, d->id, "read");
    return got == info.size ? CAIRN_OK : damaged(error, d->id, got, "cut short");
}

static int open_file(os_file **file, os_dir *dir, uint64_t id, cairn_error *error) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, DICTIONARY_SUFFIX);
    int rc = os_file_open(dir, name, OS_READ_ONLY, file);
    if (rc == 0) return CAIRN_OK;
    if (rc == -ENOENT) return damaged(error, id, 0, "the file is missing");
    if (rc == -EINVAL) return damaged(error, id, 0, "not a regular file");
    return os_failure(error, rc, id, "open the file");
}

/* ---- Loading ---- */

static const uint8_t *content_of(const dictionary *d) { return d->file + FILE_FIXED_BYTES; }

/* Bytes that carry a dictionary's magic but are none: CAIRN_INVALID. */
static int check_content(const void *content, size_t size) {
    size_t rc = ZDICT_getDictHeaderSize(content, size);
    if (!ZDICT_isError(rc)) return CAIRN_OK;
    return ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? CAIRN_NO_MEMORY : CAIRN_INVALID;
}

static int make_decompressor(dictionary *d, cairn_error *error) {
    int rc = check_content(content_of(d), d->content_size);
    if (rc == CAIRN_INVALID) return damaged(error, d->id, FILE_FIXED_BYTES, "not a dictionary of zstd's");
    if (rc == CAIRN_OK) d->decompressor = ZSTD_createDDict(content_of(d), d->content_size);
    d->compressor = calloc(1, sizeof *d->compressor);
    if (d->decompressor == NULL || d->compressor == NULL)
        return os_failure(error, -ENOMEM, d->id, "load the dictionary");
    return CAIRN_OK;
}

int dictionary_load(dictionary **out, const value_file_env *env, uint64_t id, cairn_error *error) {
    *out = NULL;
    os_file *file = NULL;
    dictionary *d = calloc(1, sizeof *d);
    if (d == NULL) return os_failure(error, -ENOMEM, id, "load the dictionary");
    d->id = id;
    int rc = open_file(&file, env->dir, id, error);
    if (rc == CAIRN_OK) {
        rc = read_file(d, file, error);
        os_file_close(file);
    }
    if (rc == CAIRN_OK) rc = check(d->file, d->content_size, env, id, error);
    if (rc == CAIRN_OK) rc = make_decompressor(d, error);
    if (rc == CAIRN_OK) {
        *out = d;
    } else {
        dictionary_free(d);
    }
    return rc;
}

void dictionary_free(dictionary *d) {
    if (d == NULL) return;
    if (d->compressor != NULL) ZSTD_freeCDict(atomic_load(&d->compressor->made));
    ZSTD_freeDDict(d->decompressor);
    free(d->compressor);
    free(d->file);
    free(d);
}

uint64_t dictionary_id(const dictionary *d) { return d->id; }

const struct ZSTD_CDict_s *dictionary_compressor(const dictionary *d, int level) {
    ZSTD_CDict *made = atomic_load_explicit(&d->compressor->made, memory_order_acquire);
    if (made != NULL) return made;
    ZSTD_CDict *mine = ZSTD_createCDict(content_of(d), d->content_size, level);
    if (mine == NULL || atomic_compare_exchange_strong(&d->compressor->made, &made, mine)) return mine;
    ZSTD_freeCDict(mine);
    return made;
}

const struct ZSTD_DDict_s *dictionary_decompressor(const dictionary *d) { return d->decompressor; }

/* ---- Storing ---- */

static int write_file(os_dir *dir, uint64_t id, const uint8_t *bytes, size_t size, bool *sync_failed,
                      cairn_error *error) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, DICTIONARY_SUFFIX);
    os_file *file = NULL;
    int rc = os_file_open(dir, name, OS_CREATE | OS_EXCLUSIVE, &file);
    if (rc != 0) return os_failure(error, rc, id, "create the file");
    rc = os_file_write(file, bytes, size, 0);
    if (rc != 0) {
        rc = os_failure(error, rc, id, "write");
    } else if ((rc = os_file_sync(file)) != 0) {
        *sync_failed = true;
        rc = os_failure(error, rc, id, "sync");
    } else if ((rc = os_dir_sync(dir)) != 0) {
        *sync_failed = true;
        rc = os_failure(error, rc, id, "sync its directory");
    }
    os_file_close(file);
    if (rc != CAIRN_OK) (void)os_unlink(dir, name); /* one that stays is a leftover */
    return rc;
}

int dictionary_store(const value_file_env *env, uint64_t id, const void *content, size_t size, bool *sync_failed,
                     cairn_error *error) {
    bool ignored;
    if (sync_failed == NULL) sync_failed = &ignored;
    *sync_failed = false;
    if (size < DICTIONARY_CONTENT_MIN || size > DICTIONARY_CONTENT_MAX) {
        return status_set(error, CAIRN_INVALID, "a dictionary has %zu to %zu bytes, not %zu", DICTIONARY_CONTENT_MIN,
                          DICTIONARY_CONTENT_MAX, size);
    }
    int rc = ZSTD_getDictID_fromDict(content, size) == 0 ? CAIRN_INVALID : check_content(content, size);
    if (rc == CAIRN_INVALID) return status_set(error, rc, "these %zu bytes are not a dictionary of zstd's", size);
    uint8_t *file = rc == CAIRN_OK ? malloc(FILE_FIXED_BYTES + size) : NULL;
    if (file == NULL) return os_failure(error, -ENOMEM, id, "write");
    encode(file, env, id, content, size);
    rc = write_file(env->dir, id, file, FILE_FIXED_BYTES + size, sync_failed, error);
    free(file);
    return rc;
}

/* ---- Training ---- */

/* zstd trains on the first three quarters of the samples and tries the result on the rest. Up to 1.5.4 at least it
 * reads beyond its memory where those three quarters are a few bytes, so they must not be. */
#define TRAINING_COUNT_MIN 16u
#define TRAINING_BYTES_MIN ((size_t)8192)

static size_t bytes_of(const size_t *sizes, unsigned count) {
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += sizes[i];
    return total;
}

int dictionary_train(const void *samples, const size_t *sizes, unsigned count, void *out, size_t capacity, size_t *size,
                     cairn_error *error) {
    CHECK(capacity >= DICTIONARY_CONTENT_MIN && capacity <= DICTIONARY_CONTENT_MAX);
    *size = 0;
    size_t total = bytes_of(sizes, count);
    if (count < TRAINING_COUNT_MIN || bytes_of(sizes, count - count / 4 - 1) < TRAINING_BYTES_MIN) {
        return status_set(error, CAIRN_UNSUPPORTED,
                          "%u values with %zu bytes are too few for a dictionary: it takes %u values, and %zu bytes in "
                          "the first three quarters of them",
                          count, total, TRAINING_COUNT_MIN, TRAINING_BYTES_MIN);
    }
    size_t rc = ZDICT_trainFromBuffer(out, capacity, samples, sizes, count);
    if (!ZDICT_isError(rc) && rc >= DICTIONARY_CONTENT_MIN) {
        *size = rc;
        return CAIRN_OK;
    }
    if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
        return status_set(error, CAIRN_NO_MEMORY, "no memory to train a dictionary on %zu bytes", total);
    return status_set(
        error, CAIRN_UNSUPPORTED,
        "%u values with %zu bytes make no dictionary: they are too small, too uniform, or have too little in common",
        count, total);
}

/* A plain map: what a store must hold. Keys are numbers, from which their bytes follow; values are windows of a pool
 * (tests/support/rung.h, tests/support/text.h), so that the map needs no memory for them. Not thread-safe. */
#ifndef CAIRN_TESTS_MODEL_H
#define CAIRN_TESTS_MODEL_H

#include "include/cairn.h"
#include "tests/support/finding.h"

typedef struct model_value {
    const uint8_t *bytes;
    size_t size;
    uint64_t version;       /* also of a value that expired and is absent */
    uint64_t stored_size;   /* as the store told */
    uint64_t expires_at_ms; /* 0: never */
} model_value;

typedef struct model {
    size_t key_count;
    model_value *values; /* bytes == NULL: the key is absent */
    size_t present;
} model;

void model_init(model *m, size_t key_count);
void model_copy(model *to, const model *from);
void model_release(model *m);
void model_put(model *m, size_t key, const model_value *v);
void model_delete(model *m, size_t key);
/* What expires by then is absent from now on. */
void model_expire(model *m, uint64_t now_ms);

#define MODEL_KEY_SIZE_MAX CAIRN_KEY_SIZE_MAX
/* The bytes of a key, in `small` or valid until the thread has asked for two more. Keys 0 to 255 have one byte, of the
 * others one in 64 has more than 4 KiB. */
size_t model_key(size_t key, const uint8_t **bytes, uint8_t small[8]);
/* The key of these bytes, or SIZE_MAX. */
size_t model_key_number(const model *m, const void *bytes, size_t size);

/* Whether a scan, of the store or of a snapshot of it (NULL: none), gives what is in the map, each once. */
bool model_scan_agrees(const model *m, cairn *store, cairn_snapshot *snapshot, finding *f);
/* The entry that a stat gave. */
bool model_entry_agrees(const model *m, size_t key, int rc, const cairn_entry *entry, finding *f);
/* Whether a scan, a stat of every key and the statistics agree with the map, and a verification finds nothing. */
bool model_agrees(const model *m, cairn *store, finding *f);

#endif

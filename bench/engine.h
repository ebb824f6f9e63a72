/* A key-value store as bench_space drives it, so that others run beside cairn. A call that fails ends the program. */
#ifndef CAIRN_BENCH_ENGINE_H
#define CAIRN_BENCH_ENGINE_H

#include <stddef.h>

typedef struct engine {
    const char *name;
    void *(*open)(const char *path); /* a new store in a directory that is not there yet */
    void (*put)(void *store, const char *key, size_t key_size, const void *value, size_t value_size);
    size_t (*get)(void *store, const char *key, size_t key_size, void *buffer, size_t cap); /* the value's size */
    void (*close)(void *store); /* without waiting for compaction that is under way */
} engine;

extern const engine engine_rocksdb; /* where it is installed: BENCH_ROCKSDB */

#endif

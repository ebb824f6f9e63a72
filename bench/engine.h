/* A key-value store as bench_peers and bench_space drive it, so that others run beside cairn. A call that fails ends
 * the program.
 *
 * A store is opened, synced and closed by one thread. Each thread that puts or gets has a session of its own, which
 * ends before the store is closed.
 */
#ifndef CAIRN_BENCH_ENGINE_H
#define CAIRN_BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_CACHE_BYTES ((size_t)256 << 20) /* of every cache that an engine has; values of cairn have none */
#define ENGINE_ABSENT SIZE_MAX

/* All-zero: the engine's default of durability, which is to survive the death of the process and not a power cut. */
typedef struct engine_setup {
    bool durable;  /* each put is safe from a power cut when it returns */
    bool compress; /* values too, by what the engine has for that; nothing where it has nothing */
    /* For plain files, which have no index of their own: the size of every value, and how many keys there are at
     * most, in all and from one session. */
    size_t value_size;
    uint64_t keys, keys_a_session;
} engine_setup;

/* A buffer begins on a page and takes whole pages, as O_DIRECT wants it. */
typedef struct engine_get {
    const char *key;
    size_t key_size;
    void *buffer;
    size_t cap, size;
} engine_get;

typedef struct engine_view {
    const void *data;
    size_t size;
    void *handle; /* the engine's */
} engine_view;

/* Of a scan: `value` is NULL when only keys were asked for; all is there until it returns. false ends the scan. */
typedef bool engine_visit(void *ctx, const char *key, size_t key_size, const void *value, size_t value_size);

typedef enum engine_kind { ENGINE_CAIRN, ENGINE_PEER, ENGINE_RAW } engine_kind;

/* What an engine takes part in. */
enum {
    PART_FILL = 1,
    PART_WARM = 2,
    PART_COLD = 4,
    PART_OVERWRITE = 8,
    PART_DURABLE = 16,
    PART_KEYS = 32,
    PART_MIXED = 64,
    PART_SCAN = 128,
    PART_ALL = 255
};

typedef struct engine {
    const char *name;
    engine_kind kind;
    unsigned parts; /* PART_* */
    bool syncs;     /* by itself, so that a power cut takes the puts of some tenths of a second at most */

    void *(*open)(const char *path, const engine_setup *setup); /* makes it when it is not there */
    void (*close)(void *store);                                 /* without waiting for compaction that is under way */

    /* Both NULL: the store is the session. */
    void *(*session)(void *store);
    void (*session_end)(void *session);

    void (*put)(void *session, const char *key, size_t key_size, const void *value, size_t value_size);
    size_t (*get)(void *session, const char *key, size_t key_size, void *buffer, size_t cap); /* or ENGINE_ABSENT */
    void (*sync)(void *session); /* what was put before is safe from a power cut */

    /* NULL where the engine has no such thing. A session has one view at a time; a view's key is there. */
    engine_view (*view)(void *session, const char *key, size_t key_size);
    void (*view_end)(void *session, const engine_view *view);
    void (*get_many)(void *session, engine_get *gets, size_t count); /* all are there */
    /* In the order of keys from `from` on, to the end or until it is told to stop. */
    void (*scan)(void *session, const char *from, size_t from_size, bool values, engine_visit *visit, void *ctx);
    /* A value of `pieces` times the same piece, durable at return; and `size` bytes of one. */
    void (*stream)(void *session, const char *key, size_t key_size, const void *piece, size_t size, uint64_t pieces);
    void (*stream_read)(void *session, const char *key, size_t key_size, uint64_t offset, void *buffer, size_t size);
} engine;

static inline void *engine_session(const engine *e, void *store) {
    return e->session != NULL ? e->session(store) : store;
}

static inline void engine_session_end(const engine *e, void *session) {
    if (e->session_end != NULL) e->session_end(session);
}

extern const engine engine_cairn;
extern const engine engine_cairn_off;          /* so much space allowed that nothing is ever compacted */
extern const engine engine_lmdb;               /* the others where they are installed: BENCH_LMDB, */
extern const engine engine_rocksdb;            /* BENCH_ROCKSDB, */
extern const engine engine_rocksdb_unverified; /* which does not look at checksums, */
extern const engine engine_leveldb;            /* BENCH_LEVELDB, */
extern const engine engine_wiredtiger;         /* BENCH_WIREDTIGER */
extern const engine engine_raw;                /* plain files through the page cache, */
extern const engine engine_raw_direct;         /* read past it, */
extern const engine engine_raw_early;          /* written back before the sync, */
extern const engine engine_raw_over;           /* and with writes that go to blocks which are there */

#endif

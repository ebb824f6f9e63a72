/* The files of engine_raw.c: one for each session that puts, and the table of where values are. */
#ifndef CAIRN_BENCH_RAW_FILES_H
#define CAIRN_BENCH_RAW_FILES_H

#include "bench/engine.h"
#include "bench/raw_ring.h"

#include <pthread.h>

#define RAW_FILES_MAX 32
#define RING_DEPTH 32

/* A place is the number of a file and an offset below 2^40, and 1. */
#define RAW_FILE_SHIFT 40
#define RAW_OFFSETS (((uint64_t)1 << RAW_FILE_SHIFT) - 1)

typedef enum raw_way {
    RAW_PLAIN,
    RAW_DIRECT, /* reads go past the page cache */
    RAW_EARLY,  /* write-back begins before the sync */
    RAW_OVER    /* a session's file is written before its first put */
} raw_way;

typedef struct raw {
    engine_setup setup;
    raw_way way;
    size_t stride;     /* from a value to the next */
    int folder, files; /* `files` under the lock */
    int writing[RAW_FILES_MAX], reading[RAW_FILES_MAX];
    uint64_t *places; /* of each key; 0: none. Mapped from a file */
    pthread_mutex_t lock;
} raw;

typedef struct raw_session {
    raw *of;
    int file;            /* -1: nothing put so far */
    uint64_t end, begun; /* write-back began up to there */
    raw_ring *ring;      /* NULL: none */
} raw_session;

void *raw_files_open(const char *path, const engine_setup *setup, raw_way way);
void raw_files_close(void *store);
void *raw_session_begin(void *store);
void raw_session_end(void *session);

void raw_file_new(raw_session *s);                          /* the session's */
int raw_open_at(const raw *r, const char *name, int flags); /* -1: it is not there */
void raw_write_at(const raw *r, int file, const void *data, size_t size, uint64_t offset);

#endif

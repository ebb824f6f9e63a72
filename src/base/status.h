/* Results: the public codes and the filling of a cairn_error. */
#ifndef CAIRN_BASE_STATUS_H
#define CAIRN_BASE_STATUS_H

#include "include/cairn.h"

/* Every code with its text; cairn_strerror and the program are made from it. */
#define STATUS_LIST(X)                                                                                                 \
    X(CAIRN_OK, "ok")                                                                                                  \
    X(CAIRN_DONE, "done")                                                                                              \
    X(CAIRN_NOT_FOUND, "no such key")                                                                                  \
    X(CAIRN_EXISTS, "condition does not hold")                                                                         \
    X(CAIRN_INVALID, "invalid argument")                                                                               \
    X(CAIRN_TOO_BIG, "key or value too big")                                                                           \
    X(CAIRN_TOO_SMALL, "buffer too small")                                                                             \
    X(CAIRN_NO_STORE, "no store")                                                                                      \
    X(CAIRN_BUSY, "busy")                                                                                              \
    X(CAIRN_FULL, "no space")                                                                                          \
    X(CAIRN_IO, "input/output error")                                                                                  \
    X(CAIRN_CORRUPT, "stored data is damaged")                                                                         \
    X(CAIRN_NO_MEMORY, "out of memory")                                                                                \
    X(CAIRN_READ_ONLY, "store is open read-only")                                                                      \
    X(CAIRN_UNSUPPORTED, "not supported")                                                                              \
    X(CAIRN_CANCELLED, "cancelled")                                                                                    \
    X(CAIRN_FAILED, "an earlier sync failed; reopen the store")

/* Fills *error (may be NULL) and returns `code`. */
int status_set(cairn_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Like status_set, with the file of the value log and the offset that the message is about. */
int status_set_at(cairn_error *error, int code, uint64_t segment, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Fills in "WHAT: 'KEY'", without a format, for what is no rarity: `what` is short. */
int status_set_key(cairn_error *error, int code, const char *what, const void *key, size_t key_size);

/* From a negative errno: picks the code (no space, no memory, read-only file system, else CAIRN_IO), appends the
 * system's text and sets sys_errno. Returns the code. */
int status_os(cairn_error *error, int negative_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A key for a message: valid printable ASCII as it is, other bytes as \xNN, cut with "..." at the buffer's end. */
#define KEY_TEXT_SIZE 96
const char *key_text(char text[KEY_TEXT_SIZE], const void *key, size_t key_size);

#endif

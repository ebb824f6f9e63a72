/* The user's own files: read as the source of values, written from values. Never a store's files.
 *
 * A source is read to its end, whatever its size was said to be. A target appears under its name whole or not at all:
 * it is written under a temporary name beside it and renamed by target_commit, so that a failure leaves an earlier file
 * as it was. Only what is there and is no regular file (a device, a FIFO) is written in place.
 *
 * Results: 0 or a negative errno; -EINTR once interrupted.
 */
#ifndef CAIRN_CLI_USERFILE_H
#define CAIRN_CLI_USERFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Descriptors 0 to 2 that are closed are filled, so that no file that is opened later takes the place of a stream;
 * using them fails as it should. Call first of all. */
void userfile_guard_streams(void);
/* Closes standard output, for what only a close tells. */
int userfile_close_output(void);

/* Which directory a path leads to. */
typedef struct directory_id {
    dev_t device;
    ino_t inode;
} directory_id;
int directory_identify(const char *path, directory_id *out);
int directory_identify_fd(int fd, directory_id *out);
static inline bool directory_same(directory_id a, directory_id b) { return a.device == b.device && a.inode == b.inode; }

/* ---- Sources ---- */

typedef struct source_file {
    int fd;
    bool owned;    /* closed by source_close */
    bool waits;    /* a read may block for long: no regular file */
    uint64_t size; /* when opened; UINT64_MAX where that says nothing */
    struct timespec modified;
} source_file;

#define SOURCE_SIZE_UNKNOWN UINT64_MAX

int source_open(source_file *source, const char *path); /* -EISDIR for a directory */
void source_stdin(source_file *source);
/* A regular file, no symbolic link followed: -ELOOP, and -EINVAL for what is neither. */
int source_open_at(source_file *source, int directory, const char *name);
/* Fills `buffer` as far as the source goes: less than `size` only at its end. */
ssize_t source_read(source_file *source, void *buffer, size_t size);
/* Whether size or modification time differ from what they were at the opening. */
bool source_changed(const source_file *source);
void source_close(source_file *source);

/* ---- Targets ---- */

#define TARGET_TEMPORARY_SIZE 40

typedef struct target_file {
    int fd;
    int directory; /* of the name; -1 when written in place */
    bool owns_directory;
    char *name; /* own */
    char temporary[TARGET_TEMPORARY_SIZE];
} target_file;

int target_create(target_file *target, const char *path); /* a symbolic link stays, and what it leads to is written */
/* `directory` stays open until the end of the target. What is there under the name must be a regular file: -EEXIST. */
int target_create_at(target_file *target, int directory, const char *name);
int target_write(target_file *target, const void *data, size_t size);
/* Both end the target. */
int target_commit(target_file *target);
void target_discard(target_file *target);

#endif

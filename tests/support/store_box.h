/* A store on the real file system in a folder of its own, for tests of the public API. A failing step fails the test.
 * Values above 256 KiB have files of their own, so that both kinds are met with little data. */
#ifndef CAIRN_TESTS_STORE_BOX_H
#define CAIRN_TESTS_STORE_BOX_H

#include "include/cairn.h"
#include "src/os/os.h"
#include "tests/support/contents.h"
#include "tests/support/real_folder.h"

#define BOX_SEGMENT_BYTES ((uint64_t)1 << 20)
#define BOX_PAYLOAD_MAX ((size_t)256 << 10) /* the largest value that lies in the log */

typedef struct box {
    char path[REAL_PATH_SIZE];
    cairn_options options; /* of every opening */
    os *system;            /* the real one, at first */
    cairn *store;          /* NULL: closed */
} box;

/* For cmocka: *state is an open box; the teardown closes it when it is open and removes it. */
int box_setup(void **state);
int box_teardown(void **state);

void box_open(box *b);
void box_close(box *b); /* nothing when it is closed */
void box_reopen(box *b);
/* Reopens it without threads of its own, so that nothing changes a file but a call. */
void box_quiet(box *b);
/* Goes on in what a kill -9 now would leave: a copy of the files as they are. The box is quiet. */
void box_crash(box *b);

/* Opens or fails the test with the reason. */
cairn *store_open_or_fail(const char *path, const cairn_options *options);
cairn *store_open_on_or_fail(os *system, const char *path, const cairn_options *options);

/* The real system, but for syncs, which do nothing: for tests of thousands of openings that no power cut is part of. */
os *os_without_syncs(void);

/* Expects a refusal whose message holds `text`. */
void expect_refused(const char *path, const cairn_options *o, int code, const char *text);

#endif

/* A store on a simulated disk, for tests of the public API that move the clock, count or fail file calls, or kill the
 * process. No threads of its own unless a test wants them, so nothing happens but by a call. Values above 256 KiB have
 * files of their own. A failing step fails the test. */
#ifndef CAIRN_TESTS_SIM_BOX_H
#define CAIRN_TESTS_SIM_BOX_H

#include "include/cairn.h"
#include "tests/support/contents.h"
#include "tests/support/os_sim.h"

#define SIM_BOX_STORE "store" /* the directory */
#define SIM_BOX_SEGMENT_BYTES ((uint64_t)1 << 20)
#define SIM_BOX_PAYLOAD_MAX ((size_t)256 << 10) /* the largest value that lies in the log */

typedef struct sim_box {
    sim_disk *disk;
    cairn_options options; /* of every opening */
    uint64_t hash_mask;    /* likewise; UINT64_MAX at first */
    cairn *store;          /* NULL: closed */
} sim_box;

/* For cmocka: *state is an open box; the teardown closes it when it is open. */
int sim_box_setup(void **state);
int sim_box_teardown(void **state);

void sim_box_open(sim_box *b);
void sim_box_close(sim_box *b); /* nothing when it is closed */
void sim_box_reopen(sim_box *b);
void sim_box_reopen_read_only(sim_box *b); /* and so from then on */
/* Goes on in what a kill -9 now leaves; sim_box_crash: in what a power cut may leave (seeds as sim_crash). */
void sim_box_kill(sim_box *b);
void sim_box_crash(sim_box *b, uint64_t seed);
/* The index is made from the log alone: closes, removes the checkpoint, opens. */
void sim_box_rebuild(sim_box *b);

size_t sim_box_files(const sim_box *b, const char *suffix); /* how many have names that end so */
/* The name of the only file with this suffix. */
void sim_box_file(const sim_box *b, const char *suffix, char name[SIM_NAME_SIZE]);
/* The file and offset of bytes that are stored once in all files with this suffix. */
void sim_box_locate(const sim_box *b, const char *suffix, const void *bytes, size_t size, char name[SIM_NAME_SIZE],
                    uint64_t *offset);
uint64_t sim_box_features(const sim_box *b); /* incompatible ones, as MANIFEST has them */

/* Calls of the disk that read, list, open or map, since the last sim_box_count; nothing may fail by plan meanwhile. */
void sim_box_count(sim_box *b, unsigned kinds);
uint64_t sim_box_counted(const sim_box *b);

#endif

/* For the tests of the simulated disk's crashes: a disk with one durable directory "s", files in it, and what copies of
 * the disk hold after a power cut. */
#ifndef CAIRN_TESTS_OS_SIM_LAWS_H
#define CAIRN_TESTS_OS_SIM_LAWS_H

#include "tests/support/os_promises.h"
#include "tests/support/os_sim.h"

#define STATES 400 /* seeds that a law is tried on */
#define SECTOR 512

typedef struct sim_laws {
    sim_disk *disk;
    os_dir *dir;
} sim_laws;

int laws_setup(void **state);
int laws_teardown(void **state); /* fails when a handle is open */
#define ON_LAWS(name) cmocka_unit_test_setup_teardown(name, laws_setup, laws_teardown)

os_file *laws_open(const sim_laws *f, const char *name, unsigned flags);
void laws_fill(os_file *file, uint64_t offset, size_t size, char with);
/* A file of that size and byte, with content and name synced; left open. */
os_file *laws_durable_file(const sim_laws *f, const char *name, size_t size, char with);
void laws_fail_next(const sim_laws *f, unsigned kinds, int error);

sim_disk *laws_crash_copy(const sim_laws *f, uint64_t seed);
/* Content after a crash of a copy, for free(); NULL when the name is gone. */
uint8_t *laws_after_crash(const sim_laws *f, uint64_t seed, const char *name, size_t *size);
bool all_are(const uint8_t *bytes, size_t size, int with);

#endif

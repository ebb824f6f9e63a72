/* See os_sim_laws.h. */
#include "tests/support/os_sim_laws.h"

#include <stdlib.h>
#include <string.h>

int laws_setup(void **state) {
    sim_laws *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    f->disk = sim_new(1);
    *state = f;
    return sim_os(f->disk)->dir_open(sim_os(f->disk), "s", OS_CREATE, &f->dir);
}

int laws_teardown(void **state) {
    sim_laws *f = *state;
    os_dir_close(f->dir);
    bool leaked = sim_open_handles(f->disk) != 0;
    sim_free(f->disk);
    free(f);
    return leaked ? -1 : 0;
}

os_file *laws_open(const sim_laws *f, const char *name, unsigned flags) {
    os_file *file;
    assert_int_equal(os_file_open(f->dir, name, flags, &file), 0);
    return file;
}

void laws_fill(os_file *file, uint64_t offset, size_t size, char with) {
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    memset(bytes, with, size);
    assert_int_equal(os_file_write(file, bytes, size, offset), 0);
    free(bytes);
}

os_file *laws_durable_file(const sim_laws *f, const char *name, size_t size, char with) {
    os_file *file = laws_open(f, name, OS_CREATE);
    laws_fill(file, 0, size, with);
    assert_int_equal(os_file_sync(file), 0);
    assert_int_equal(os_dir_sync(f->dir), 0);
    return file;
}

void laws_fail_next(const sim_laws *f, unsigned kinds, int error) {
    sim_fault_set(f->disk, &(sim_fault){.kinds = kinds, .error = error});
}

sim_disk *laws_crash_copy(const sim_laws *f, uint64_t seed) {
    sim_disk *copy = sim_clone(f->disk);
    sim_disk *crashed = sim_crash(copy, seed);
    sim_free(copy);
    return crashed;
}

uint8_t *laws_after_crash(const sim_laws *f, uint64_t seed, const char *name, size_t *size) {
    sim_disk *crashed = laws_crash_copy(f, seed);
    uint8_t *bytes = sim_file_read(crashed, "s", name, size);
    sim_free(crashed);
    return bytes;
}

bool all_are(const uint8_t *bytes, size_t size, int with) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != with) return false;
    return true;
}

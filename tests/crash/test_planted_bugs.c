/* Bugs planted under the store, by changing calls of the simulated disk's table: each must be found by the rung of
 * power cuts, or that of faults, within a few histories, and the same histories must pass without them. A rung that no
 * longer sees one of them has lost its teeth. */
#include "src/base/check.h"
#include "tests/support/fault_run.h"
#include "tests/support/rung.h"
#include "tests/support/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIRST_SEED 1000u
#define HISTORIES_MAX 60u
#define FAULTED_HISTORIES 6u

/* ---- What the planted calls know ---- */

static os real; /* the simulated disk's own calls */

/* Names of open files, by handle. */
#define OPENED_MAX 1024
static struct {
    const os_file *file;
    char name[SIM_NAME_SIZE];
} opened[OPENED_MAX];

static int open_and_remember(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    int rc = real.file_open(dir, name, flags, out);
    if (rc != 0) return rc;
    size_t i = 0;
    while (i < OPENED_MAX && opened[i].file != NULL)
        i++;
    CHECK(i < OPENED_MAX);
    opened[i].file = *out;
    (void)strncpy(opened[i].name, name, SIM_NAME_SIZE - 1);
    return 0;
}

static void close_and_forget(os_file *file) {
    for (size_t i = 0; i < OPENED_MAX; i++) {
        if (opened[i].file == file) opened[i].file = NULL;
    }
    real.file_close(file);
}

static bool name_ends(const char *name, const char *end) {
    size_t size = strlen(name), wanted = strlen(end);
    return size >= wanted && strcmp(name + size - wanted, end) == 0;
}

static const char *name_of(const os_file *file) {
    for (size_t i = 0; i < OPENED_MAX; i++) {
        if (opened[i].file == file) return opened[i].name;
    }
    return "";
}
static bool is_named(const os_file *file, const char *end) { return name_ends(name_of(file), end); }

static void plant_names(os *system) {
    system->file_open = open_and_remember;
    system->file_close = close_and_forget;
}

/* ---- The bugs ---- */

static int never_sync(os_file *file) {
    (void)file;
    return 0;
}
static void no_sync(os *system) { system->file_sync = never_sync; }

static int never_dir_sync(os_dir *dir) {
    (void)dir;
    return 0;
}
static void no_dir_sync(os *system) { system->dir_sync = never_dir_sync; }

static int sync_but_segments(os_file *file) { return is_named(file, ".seg") ? 0 : real.file_sync(file); }
static void no_sync_of_segments(os *system) {
    plant_names(system);
    system->file_sync = sync_but_segments;
}

static int sync_but_manifest(os_file *file) { return is_named(file, "MANIFEST.NEW") ? 0 : real.file_sync(file); }
static void no_sync_of_the_manifest(os *system) {
    plant_names(system);
    system->file_sync = sync_but_manifest;
}

static int sync_but_identity(os_file *file) { return is_named(file, "CAIRN.NEW") ? 0 : real.file_sync(file); }
static void no_sync_of_the_identity(os *system) {
    plant_names(system);
    system->file_sync = sync_but_identity;
}

static int sync_but_values(os_file *file) { return is_named(file, ".val") ? 0 : real.file_sync(file); }
static void no_sync_of_value_files(os *system) {
    plant_names(system);
    system->file_sync = sync_but_values;
}

/* Only the newest of a disk's open segments is synced: what was written before a roll is forgotten. */
static int sync_newest_segment(os_file *file) {
    const char *name = name_of(file);
    for (size_t i = 0; i < OPENED_MAX && name_ends(name, ".seg"); i++) {
        if (opened[i].file == NULL || opened[i].file->os != file->os) continue;
        if (name_ends(opened[i].name, ".seg") && strcmp(opened[i].name, name) > 0) return 0;
    }
    return real.file_sync(file);
}
static void no_sync_of_segments_before_the_newest(os *system) {
    plant_names(system);
    system->file_sync = sync_newest_segment;
}

static int sync_sometimes(os_file *file) {
    static unsigned calls;
    return ++calls % 4 == 0 ? 0 : real.file_sync(file);
}
static void one_sync_in_four_is_left_out(os *system) { system->file_sync = sync_sometimes; }

static int dir_sync_sometimes(os_dir *dir) {
    static unsigned calls;
    return ++calls % 3 == 0 ? 0 : real.dir_sync(dir);
}
static void one_dir_sync_in_three_is_left_out(os *system) { system->dir_sync = dir_sync_sometimes; }

static int never_truncate(os_file *file, uint64_t size) {
    (void)file;
    (void)size;
    return 0;
}
static void no_truncation_of_the_torn_tail(os *system) { system->file_truncate = never_truncate; }

/* The new name appears before the old one goes. */
static int rename_in_two_steps(os_dir *dir, const char *from, const char *to) {
    (void)real.unlink(dir, to);
    return real.rename(dir, from, to);
}
static void rename_over_an_unlinked_name(os *system) { system->rename = rename_in_two_steps; }

static int sync_before_rename(os_dir *dir, const char *from, const char *to) {
    int rc = real.dir_sync(dir);
    return rc == 0 ? real.rename(dir, from, to) : rc;
}
static void dir_sync_before_the_rename_instead_of_after(os *system) {
    system->rename = sync_before_rename;
    system->dir_sync = never_dir_sync;
}

static int forget_manifest(os_dir *dir, const char *from, const char *to) {
    static unsigned calls;
    if (strcmp(to, "MANIFEST") != 0 || ++calls % 5 != 0) return real.rename(dir, from, to);
    return real.unlink(dir, from);
}
static void a_new_manifest_is_sometimes_dropped(os *system) { system->rename = forget_manifest; }

static int keep_name(os_dir *dir, const char *name) { return name_ends(name, ".val") ? 0 : real.unlink(dir, name); }
static void dead_value_files_stay(os *system) { system->unlink = keep_name; }

static int lose_tail(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (count < 2 || !is_named(file, ".seg")) return real.file_write(file, iov, count, offset);
    return real.file_write(file, iov, count - 1, offset);
}
static void the_last_piece_of_a_write_is_lost(os *system) {
    plant_names(system);
    system->file_write = lose_tail;
}

/* A write waits in the process until the next call on any file: a kill loses what was acknowledged. */
typedef struct held_write {
    os_file *file; /* NULL: none is held */
    uint8_t *bytes;
    size_t size;
    uint64_t offset;
} held_write;
static held_write held;

static int let_go(void) {
    held_write w = held; /* the write's hook may open stores, which hold writes themselves */
    if (w.file == NULL) return 0;
    held.file = NULL;
    struct iovec iov = {w.bytes, w.size};
    int rc = real.file_write(w.file, &iov, 1, w.offset);
    free(w.bytes);
    return rc;
}

static int write_later(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    int rc = let_go();
    if (rc != 0 || !is_named(file, ".seg")) return rc != 0 ? rc : real.file_write(file, iov, count, offset);
    held_write w = {.file = file, .offset = offset};
    for (int i = 0; i < count; i++)
        w.size += iov[i].iov_len;
    w.bytes = malloc(w.size);
    CHECK(w.bytes != NULL);
    for (size_t used = 0, i = 0; i < (size_t)count; used += iov[i++].iov_len) {
        memcpy(w.bytes + used, iov[i].iov_base, iov[i].iov_len);
    }
    held = w;
    return 0;
}

static int read_after_writes(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    if (held.file == file) (void)let_go();
    return real.file_read(file, buf, size, offset, got);
}
static int readv_after_writes(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    if (held.file == file) (void)let_go();
    return real.file_readv(file, iov, count, offset, got);
}
static int sync_before_the_held_write(os_file *file) {
    int rc = real.file_sync(file);
    if (held.file == file) (void)let_go();
    return rc;
}
static int truncate_after_writes(os_file *file, uint64_t size) {
    if (held.file == file) (void)let_go();
    return real.file_truncate(file, size);
}
static void close_after_writes(os_file *file) {
    if (held.file == file) (void)let_go();
    close_and_forget(file);
}
static void writes_are_held_back_past_their_sync(os *system) {
    plant_names(system);
    system->file_write = write_later;
    system->file_read = read_after_writes;
    system->file_readv = readv_after_writes;
    system->file_sync = sync_before_the_held_write;
    system->file_truncate = truncate_after_writes;
    system->file_close = close_after_writes;
}

/* ---- Bugs that only faults show ---- */

static int swallow_sync(os_file *file) {
    (void)real.file_sync(file);
    return 0;
}
static void failed_syncs_are_ignored(os *system) { system->file_sync = swallow_sync; }

static int retry_sync(os_file *file) {
    int rc = real.file_sync(file);
    return rc == 0 ? 0 : real.file_sync(file);
}
static void failed_syncs_are_retried(os *system) { system->file_sync = retry_sync; }

static int swallow_dir_sync(os_dir *dir) {
    (void)real.dir_sync(dir);
    return 0;
}
static void failed_dir_syncs_are_ignored(os *system) { system->dir_sync = swallow_dir_sync; }

static int swallow_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    (void)real.file_write(file, iov, count, offset);
    return 0;
}
static void failed_writes_are_ignored(os *system) { system->file_write = swallow_write; }

static int swallow_rename(os_dir *dir, const char *from, const char *to) {
    (void)real.rename(dir, from, to);
    return 0;
}
static void failed_renames_are_ignored(os *system) { system->rename = swallow_rename; }

static int swallow_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    (void)real.file_read(file, buf, size, offset, got);
    return 0;
}
static int swallow_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    *got = 0;
    (void)real.file_readv(file, iov, count, offset, got);
    return 0;
}
static void failed_reads_look_like_the_end_of_the_file(os *system) {
    system->file_read = swallow_read;
    system->file_readv = swallow_readv;
}

/* ---- Finding them ---- */

static bool sweep_finds(void (*plant)(os *system), finding *f) {
    sweep s = {.finding = f, .plant = plant, .crashes = 5, .nested_one_in = 40, .onward_one_in = 6};
    *f = (finding){0};
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES_MAX && !f->found; seed++) {
        (void)sweep_history(&s, seed);
    }
    sweep_release(&s);
    if (held.file != NULL) free(held.bytes);
    held.file = NULL;
    memset(opened, 0, sizeof opened);
    return f->found;
}

static bool faults_find(void (*plant)(os *system), finding *f) {
    fault_run run = {.finding = f, .plant = plant};
    *f = (finding){0};
    for (uint64_t seed = 1; seed <= FAULTED_HISTORIES && !f->found; seed++) {
        (void)fault_run_all(&run, seed, NULL);
    }
    return f->found;
}

typedef struct planted {
    void (*plant)(os *system);
    bool by_faults; /* found by the rung of faults, else by that of power cuts */
} planted;

static void is_found(void **state) {
    const planted *p = *state;
    static finding f;
    if (!(p->by_faults ? faults_find(p->plant, &f) : sweep_finds(p->plant, &f))) fail_msg("it is not found");
    char *end = strchr(f.text, '\n');
    if (end != NULL) *end = '\0';
    print_message("  found: %.160s\n", f.text);
}

static void nothing_is_found_where_nothing_is_planted(void **state) {
    (void)state;
    static finding f;
    sweep s = {.finding = &f, .crashes = 5, .nested_one_in = 40, .onward_one_in = 6};
    uint64_t histories = rung_choose(10, 1, 10);
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + histories && !f.found; seed++) {
        (void)sweep_history(&s, seed);
    }
    sweep_release(&s);
    if (f.found) fail_msg("%.900s", f.text);
}

#define BY_POWER_CUTS(name)                                                                                            \
    {                                                                                                                  \
#name, is_found, NULL, NULL, &(planted) { name, false }                                                        \
    }
#define BY_FAULTS(name)                                                                                                \
    {                                                                                                                  \
#name, is_found, NULL, NULL, &(planted) { name, true }                                                         \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        BY_POWER_CUTS(no_sync),
        BY_POWER_CUTS(no_dir_sync),
        BY_POWER_CUTS(no_sync_of_segments),
        BY_POWER_CUTS(no_sync_of_segments_before_the_newest),
        BY_POWER_CUTS(no_sync_of_the_manifest),
        BY_POWER_CUTS(no_sync_of_the_identity),
        BY_POWER_CUTS(no_sync_of_value_files),
        BY_POWER_CUTS(one_sync_in_four_is_left_out),
        BY_POWER_CUTS(one_dir_sync_in_three_is_left_out),
        BY_POWER_CUTS(no_truncation_of_the_torn_tail),
        BY_POWER_CUTS(rename_over_an_unlinked_name),
        BY_POWER_CUTS(dir_sync_before_the_rename_instead_of_after),
        BY_POWER_CUTS(a_new_manifest_is_sometimes_dropped),
        BY_POWER_CUTS(dead_value_files_stay),
        BY_POWER_CUTS(the_last_piece_of_a_write_is_lost),
        BY_POWER_CUTS(writes_are_held_back_past_their_sync),
        BY_FAULTS(failed_syncs_are_ignored),
        BY_FAULTS(failed_syncs_are_retried),
        BY_FAULTS(failed_dir_syncs_are_ignored),
        BY_FAULTS(failed_writes_are_ignored),
        BY_FAULTS(failed_renames_are_ignored),
        BY_FAULTS(failed_reads_look_like_the_end_of_the_file),
        cmocka_unit_test(nothing_is_found_where_nothing_is_planted),
    };
    sim_disk *disk = sim_new(0);
    real = *sim_os(disk);
    sim_free(disk);
    return cmocka_run_group_tests_name("planted_bugs", tests, NULL, NULL);
}

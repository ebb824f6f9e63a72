/* Bugs planted under the store, by changing calls of the simulated disk's table: each must be found by the rung of
 * power cuts, or that of faults, within a few histories, and the same histories must pass without them. A rung that no
 * longer sees one of them has lost its teeth. */
#include "src/base/check.h"
#include "tests/support/fault_run.h"
#include "tests/support/os_wrap.h"
#include "tests/support/planted.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIRST_SEED 7000u
#define HISTORIES_MAX 60u
#define FAULTED_HISTORIES 6u

/* ---- What the planted calls know ---- */

static const os *real; /* the simulated disk's own calls */

/* Names of open files, by handle. */
#define OPENED_MAX 1024
static struct {
    const os_file *file;
    char name[SIM_NAME_SIZE];
} opened[OPENED_MAX];

static int open_and_remember(os_dir *dir, const char *name, unsigned flags, os_file **out) {
    int rc = real->file_open(dir, name, flags, out);
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
    real->file_close(file);
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

/* ---- The bugs ---- */

static int never_sync(os_file *file) {
    (void)file;
    return 0;
}
static int never_dir_sync(os_dir *dir) {
    (void)dir;
    return 0;
}

static int sync_but_segments(os_file *file) { return is_named(file, ".seg") ? 0 : real->file_sync(file); }
static int sync_but_manifest(os_file *file) { return is_named(file, "MANIFEST.NEW") ? 0 : real->file_sync(file); }
static int sync_but_identity(os_file *file) { return is_named(file, "CAIRN.NEW") ? 0 : real->file_sync(file); }
static int sync_but_values(os_file *file) { return is_named(file, ".val") ? 0 : real->file_sync(file); }

/* Only the newest of a disk's open segments is synced: what was written before a roll is forgotten. */
static int sync_newest_segment(os_file *file) {
    const char *name = name_of(file);
    for (size_t i = 0; i < OPENED_MAX && name_ends(name, ".seg"); i++) {
        if (opened[i].file == NULL || opened[i].file->os != file->os) continue;
        if (name_ends(opened[i].name, ".seg") && strcmp(opened[i].name, name) > 0) return 0;
    }
    return real->file_sync(file);
}

static int sync_sometimes(os_file *file) {
    static unsigned calls;
    return ++calls % 4 == 0 ? 0 : real->file_sync(file);
}

static int dir_sync_sometimes(os_dir *dir) {
    static unsigned calls;
    return ++calls % 3 == 0 ? 0 : real->dir_sync(dir);
}

static int never_truncate(os_file *file, uint64_t size) {
    (void)file;
    (void)size;
    return 0;
}

/* The new name appears before the old one goes. */
static int rename_in_two_steps(os_dir *dir, const char *from, const char *to) {
    (void)real->unlink(dir, to);
    return real->rename(dir, from, to);
}

static int sync_before_rename(os_dir *dir, const char *from, const char *to) {
    int rc = real->dir_sync(dir);
    return rc == 0 ? real->rename(dir, from, to) : rc;
}

static int forget_manifest(os_dir *dir, const char *from, const char *to) {
    static unsigned calls;
    if (strcmp(to, "MANIFEST") != 0 || ++calls % 5 != 0) return real->rename(dir, from, to);
    return real->unlink(dir, from);
}

static int keep_name(os_dir *dir, const char *name) { return name_ends(name, ".val") ? 0 : real->unlink(dir, name); }

static int lose_tail(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    if (count < 2 || !is_named(file, ".seg")) return real->file_write(file, iov, count, offset);
    return real->file_write(file, iov, count - 1, offset);
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
    int rc = real->file_write(w.file, &iov, 1, w.offset);
    free(w.bytes);
    return rc;
}

static int write_later(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    int rc = let_go();
    if (rc != 0 || !is_named(file, ".seg")) return rc != 0 ? rc : real->file_write(file, iov, count, offset);
    held_write w = {.file = file, .offset = offset, .size = os_pieces_bytes(iov, count)};
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
    return real->file_read(file, buf, size, offset, got);
}
static int readv_after_writes(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    if (held.file == file) (void)let_go();
    return real->file_readv(file, iov, count, offset, got);
}
static int sync_before_the_held_write(os_file *file) {
    int rc = real->file_sync(file);
    if (held.file == file) (void)let_go();
    return rc;
}
static int truncate_after_writes(os_file *file, uint64_t size) {
    if (held.file == file) (void)let_go();
    return real->file_truncate(file, size);
}
static void close_after_writes(os_file *file) {
    if (held.file == file) (void)let_go();
    close_and_forget(file);
}

/* ---- Bugs that only faults show ---- */

static int swallow_sync(os_file *file) {
    (void)real->file_sync(file);
    return 0;
}

static int retry_sync(os_file *file) {
    int rc = real->file_sync(file);
    return rc == 0 ? 0 : real->file_sync(file);
}

static int swallow_dir_sync(os_dir *dir) {
    (void)real->dir_sync(dir);
    return 0;
}

static int swallow_write(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    (void)real->file_write(file, iov, count, offset);
    return 0;
}

static int swallow_rename(os_dir *dir, const char *from, const char *to) {
    (void)real->rename(dir, from, to);
    return 0;
}

static int swallow_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    (void)real->file_read(file, buf, size, offset, got);
    return 0;
}
static int swallow_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    *got = 0;
    (void)real->file_readv(file, iov, count, offset, got);
    return 0;
}

/* ---- Finding them ---- */

static void sweep_finds(const os *plant, finding *f) {
    *f = (finding){0};
    planted_sweep(plant, FIRST_SEED, HISTORIES_MAX, f);
    if (held.file != NULL) free(held.bytes);
    held.file = NULL;
    memset(opened, 0, sizeof opened);
}

static void faults_find(const os *plant, unsigned kinds, finding *f) {
    fault_run run = {.finding = f, .plant = plant, .only = kinds};
    *f = (finding){0};
    for (uint64_t seed = 1; seed <= FAULTED_HISTORIES && !f->found; seed++) {
        (void)fault_run_all(&run, seed, NULL);
    }
}

typedef struct planted {
    os calls;
    unsigned faults; /* in calls of these kinds, by which that rung finds it; 0: that of power cuts does */
} planted;

static void is_found(void **state) {
    const planted *p = *state;
    static finding f;
    if (p->faults != 0) {
        faults_find(&p->calls, p->faults, &f);
    } else {
        sweep_finds(&p->calls, &f);
    }
    planted_expect_found(&f);
}

static void nothing_is_found_where_nothing_is_planted(void **state) {
    (void)state;
    static finding f;
    planted_sweep(NULL, FIRST_SEED, rung_choose(10, 1, 10), &f);
    if (f.found) fail_msg("%.900s", f.text);
}

static struct CMUnitTest bug(const char *what, planted *p) {
    return (struct CMUnitTest){.name = what, .test_func = is_found, .initial_state = p};
}
#define BY_POWER_CUTS(what, ...) bug(#what, &(planted){.calls = {__VA_ARGS__}})
#define BY_FAULTS(kinds, what, ...) bug(#what, &(planted){.calls = {__VA_ARGS__}, .faults = kinds})
#define WITH_NAMES .file_open = open_and_remember, .file_close = close_and_forget

int main(void) {
    const struct CMUnitTest tests[] = {
        BY_POWER_CUTS(no_sync, .file_sync = never_sync),
        BY_POWER_CUTS(no_dir_sync, .dir_sync = never_dir_sync),
        BY_POWER_CUTS(no_sync_of_segments, WITH_NAMES, .file_sync = sync_but_segments),
        BY_POWER_CUTS(no_sync_of_segments_before_the_newest, WITH_NAMES, .file_sync = sync_newest_segment),
        BY_POWER_CUTS(no_sync_of_the_manifest, WITH_NAMES, .file_sync = sync_but_manifest),
        BY_POWER_CUTS(no_sync_of_the_identity, WITH_NAMES, .file_sync = sync_but_identity),
        BY_POWER_CUTS(no_sync_of_value_files, WITH_NAMES, .file_sync = sync_but_values),
        BY_POWER_CUTS(one_sync_in_four_is_left_out, .file_sync = sync_sometimes),
        BY_POWER_CUTS(one_dir_sync_in_three_is_left_out, .dir_sync = dir_sync_sometimes),
        BY_POWER_CUTS(no_truncation_of_the_torn_tail, .file_truncate = never_truncate),
        BY_POWER_CUTS(rename_over_an_unlinked_name, .rename = rename_in_two_steps),
        BY_POWER_CUTS(dir_sync_before_the_rename_instead_of_after, .rename = sync_before_rename,
                      .dir_sync = never_dir_sync),
        BY_POWER_CUTS(a_new_manifest_is_sometimes_dropped, .rename = forget_manifest),
        BY_POWER_CUTS(dead_value_files_stay, .unlink = keep_name),
        BY_POWER_CUTS(the_last_piece_of_a_write_is_lost, WITH_NAMES, .file_write = lose_tail),
        BY_POWER_CUTS(writes_are_held_back_past_their_sync, .file_open = open_and_remember, .file_write = write_later,
                      .file_read = read_after_writes, .file_readv = readv_after_writes,
                      .file_sync = sync_before_the_held_write, .file_truncate = truncate_after_writes,
                      .file_close = close_after_writes),
        BY_FAULTS(SIM_SYNC, failed_syncs_are_ignored, .file_sync = swallow_sync),
        BY_FAULTS(SIM_ALL, failed_syncs_are_retried, .file_sync = retry_sync),
        BY_FAULTS(SIM_DIR_SYNC, failed_dir_syncs_are_ignored, .dir_sync = swallow_dir_sync),
        BY_FAULTS(SIM_WRITE, failed_writes_are_ignored, .file_write = swallow_write),
        BY_FAULTS(SIM_RENAME, failed_renames_are_ignored, .rename = swallow_rename),
        BY_FAULTS(SIM_READ, failed_reads_look_like_the_end_of_the_file, .file_read = swallow_read,
                  .file_readv = swallow_readv),
        cmocka_unit_test(nothing_is_found_where_nothing_is_planted),
    };
    real = sim_calls();
    return cmocka_run_group_tests_name("planted_bugs", tests, NULL, NULL);
}

/* Bugs planted into backups by the linker (tests/CMakeLists.txt, --wrap): each must be found by the sweep of
 * tests/support/backup_sweep.h within a few histories; without them nothing is found (test_backup_crash.c). */
#include "index/checkpoint.h"
#include "tests/support/backup_sweep.h"
#include "tests/support/os_wrap.h"
#include "tests/support/planted.h"
#include "vlog/backup.h"
#include "vlog/compacted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIRST_SEED 3110u
#define HISTORIES_MAX 60u

typedef enum bug {
    NO_BUG,
    PUBLISHED_TOO_EARLY,
    COPIES_ARE_NOT_SYNCED,
    NAMES_ARE_NOT_SYNCED,
    THE_OLD_CHECKPOINT_STAYS,
    THE_NEW_CHECKPOINT_COMES_FIRST,
    SHARED_FILES_ARE_PUNCHED,
    THE_END_IS_NOT_SEALED,
    WHAT_IS_NEEDED_GOES
} bug;
static bug planted;
static bool transferring;

int __real_vlog_backup_transfer(vlog_backup *b, os_transfer *t, const uint64_t *value_files, size_t count,
                                uint64_t *kept, cairn_error *error);
int __wrap_vlog_backup_transfer(vlog_backup *b, os_transfer *t, const uint64_t *value_files, size_t count,
                                uint64_t *kept, cairn_error *error);
int __real_vlog_backup_publish(vlog_backup *b, os_dir *to, cairn_error *error);
int __wrap_vlog_backup_publish(vlog_backup *b, os_dir *to, cairn_error *error);
int __real_vlog_backup_tidy(vlog_backup *b, os_dir *to, const uint64_t *value_files, size_t count, cairn_error *error);
int __wrap_vlog_backup_tidy(vlog_backup *b, os_dir *to, const uint64_t *value_files, size_t count, cairn_error *error);
int __real_checkpoint_withdraw(os_dir *dir, cairn_error *error);
int __wrap_checkpoint_withdraw(os_dir *dir, cairn_error *error);
int __real_vlog_note_shared(vlog *log, segment *s, bool *shared, cairn_error *error);
int __wrap_vlog_note_shared(vlog *log, segment *s, bool *shared, cairn_error *error);
int __real_vlog_seal_all(vlog *log, cairn_error *error);
int __wrap_vlog_seal_all(vlog *log, cairn_error *error);

int __wrap_vlog_backup_transfer(vlog_backup *b, os_transfer *t, const uint64_t *value_files, size_t count,
                                uint64_t *kept, cairn_error *error) {
    int rc = planted == PUBLISHED_TOO_EARLY ? __real_vlog_backup_publish(b, t->to, error) : CAIRN_OK;
    transferring = true;
    if (rc == CAIRN_OK) rc = __real_vlog_backup_transfer(b, t, value_files, count, kept, error);
    transferring = false;
    os_file *file = NULL;
    bool onto_another = os_file_open(t->to, "CAIRN", OS_READ_ONLY, &file) == 0;
    if (onto_another) os_file_close(file);
    if (rc == CAIRN_OK && planted == WHAT_IS_NEEDED_GOES && onto_another) {
        rc = __real_vlog_backup_tidy(b, t->to, value_files, count, error);
    }
    return rc;
}

int __wrap_vlog_backup_publish(vlog_backup *b, os_dir *to, cairn_error *error) {
    if (planted != THE_NEW_CHECKPOINT_COMES_FIRST) return __real_vlog_backup_publish(b, to, error);
    int rc = checkpoint_install(to, error);
    if (rc == CAIRN_OK) rc = __real_vlog_backup_publish(b, to, error);
    os_file *file = NULL; /* so that there is something to put in its place afterwards */
    if (rc == CAIRN_OK && os_link(to, CHECKPOINT_ROOT_NAME, to, CHECKPOINT_ROOT_NEW_NAME) != 0) {
        if (os_file_open(to, CHECKPOINT_ROOT_NEW_NAME, OS_CREATE, &file) == 0) os_file_close(file);
    }
    return rc;
}

int __wrap_vlog_backup_tidy(vlog_backup *b, os_dir *to, const uint64_t *value_files, size_t count, cairn_error *error) {
    return __real_vlog_backup_tidy(b, to, value_files, count, error);
}

int __wrap_checkpoint_withdraw(os_dir *dir, cairn_error *error) {
    return planted == THE_OLD_CHECKPOINT_STAYS ? CAIRN_OK : __real_checkpoint_withdraw(dir, error);
}

int __wrap_vlog_note_shared(vlog *log, segment *s, bool *shared, cairn_error *error) {
    int rc = __real_vlog_note_shared(log, s, shared, error);
    if (planted == SHARED_FILES_ARE_PUNCHED) {
        *shared = false;
        atomic_store(&s->shared, false);
    }
    return rc;
}

int __wrap_vlog_seal_all(vlog *log, cairn_error *error) {
    return planted == THE_END_IS_NOT_SEALED ? CAIRN_OK : __real_vlog_seal_all(log, error);
}

static int careless_file_sync(os_file *file) {
    return planted == COPIES_ARE_NOT_SYNCED && transferring ? 0 : sim_calls()->file_sync(file);
}
static int careless_dir_sync(os_dir *dir) {
    return planted == NAMES_ARE_NOT_SYNCED && transferring ? 0 : sim_calls()->dir_sync(dir);
}

static void expect_found(bug which) {
    planted_skip_sanitized();
    static finding f;
    const os careless = {.file_sync = careless_file_sync, .dir_sync = careless_dir_sync};
    f = (finding){0};
    backup_sweep s = {.finding = &f, .plant = &careless, .crashes = 5, .redo_one_in = 30};
    planted = which;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES_MAX && !f.found; seed++) {
        (void)backup_sweep_run(&s, seed);
    }
    planted = NO_BUG;
    planted_expect_found(&f);
}

static void a_manifest_that_lists_what_is_not_there_yet(void **state) {
    (void)state;
    expect_found(PUBLISHED_TOO_EARLY);
}
static void copies_that_are_not_synced(void **state) {
    (void)state;
    expect_found(COPIES_ARE_NOT_SYNCED);
}
static void names_that_are_not_synced(void **state) {
    (void)state;
    expect_found(NAMES_ARE_NOT_SYNCED);
}
static void the_end_of_the_log_left_out(void **state) {
    (void)state;
    expect_found(THE_END_IS_NOT_SEALED);
}
static void holes_in_files_of_both_stores(void **state) {
    (void)state;
    expect_found(SHARED_FILES_ARE_PUNCHED);
}
static void a_new_checkpoint_over_an_old_manifest(void **state) {
    (void)state;
    expect_found(THE_NEW_CHECKPOINT_COMES_FIRST);
}
static void an_old_checkpoint_under_a_new_manifest(void **state) {
    (void)state;
    expect_found(THE_OLD_CHECKPOINT_STAYS);
}
static void files_that_go_while_the_old_manifest_lists_them(void **state) {
    (void)state;
    expect_found(WHAT_IS_NEEDED_GOES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_that_lists_what_is_not_there_yet),
        cmocka_unit_test(copies_that_are_not_synced),
        cmocka_unit_test(names_that_are_not_synced),
        cmocka_unit_test(the_end_of_the_log_left_out),
        cmocka_unit_test(holes_in_files_of_both_stores),
        cmocka_unit_test(a_new_checkpoint_over_an_old_manifest),
        cmocka_unit_test(an_old_checkpoint_under_a_new_manifest),
        cmocka_unit_test(files_that_go_while_the_old_manifest_lists_them),
    };
    return cmocka_run_group_tests_name("planted_backup_bugs", tests, NULL, NULL);
}

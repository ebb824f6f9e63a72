/* The laws of the simulated disk's crashes, of names: which of the pending creations, renames and unlinks are kept, and
 * in which company. */
#include "tests/support/os_sim_laws.h"

#include <errno.h>
#include <stdlib.h>

/* How often each name is there after a crash. */
static void count_names(const sim_laws *f, const char *a, const char *b, int seen[2][2]) {
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *first = laws_after_crash(f, seed, a, &size), *second = laws_after_crash(f, seed, b, &size);
        seen[first != NULL][second != NULL]++;
        free(first);
        free(second);
    }
}

static void a_file_sync_does_not_persist_the_name(void **state) {
    const sim_laws *f = *state;
    os_file *a = laws_open(f, "a", OS_CREATE), *b = laws_open(f, "b", OS_CREATE);
    laws_fill(a, 0, 100, 'x');
    assert_int_equal(os_file_sync(a), 0);
    int seen[2][2] = {{0}};
    count_names(f, "a", "b", seen);
    assert_true(seen[0][0] > 0 && seen[0][1] > 0 && seen[1][0] > 0 && seen[1][1] > 0);
    os_file_close(a);
    os_file_close(b);
}

static void a_synced_name_stays_and_its_unsynced_content_may_not(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_open(f, "a", OS_CREATE);
    laws_fill(file, 0, 100, 'x');
    assert_int_equal(os_dir_sync(f->dir), 0);
    bool empty = false, whole = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_non_null(bytes);
        empty |= size == 0;
        whole |= size == 100 && all_are(bytes, size, 'x');
        free(bytes);
    }
    assert_true(empty && whole);
    os_file_close(file);
}

static void a_rename_is_old_or_new(void **state) {
    const sim_laws *f = *state;
    os_file *old = laws_durable_file(f, "m", 10, 'o');
    os_file *new = laws_open(f, "t", OS_CREATE);
    laws_fill(new, 0, 10, 'n');
    assert_int_equal(os_file_sync(new), 0);
    assert_int_equal(os_rename(f->dir, "t", "m"), 0);
    bool was_old = false, was_new = false, beside = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *m = laws_after_crash(f, seed, "m", &size);
        assert_non_null(m);
        assert_int_equal(size, 10);
        assert_true(all_are(m, size, m[0]) && (m[0] == 'o' || m[0] == 'n'));
        uint8_t *t = laws_after_crash(f, seed, "t", &size);
        assert_true(m[0] == 'o' || t == NULL);
        was_old |= m[0] == 'o';
        was_new |= m[0] == 'n';
        beside |= t != NULL;
        free(m);
        free(t);
    }
    assert_true(was_old && was_new && beside);
    assert_int_equal(os_dir_sync(f->dir), 0);
    int seen[2][2] = {{0}};
    count_names(f, "m", "t", seen);
    assert_int_equal(seen[1][0], STATES);
    os_file_close(old);
    os_file_close(new);
}

static void a_lost_unlink_brings_the_file_back_with_its_content(void **state) {
    const sim_laws *f = *state;
    os_file_close(laws_durable_file(f, "a", 3000, 'o'));
    assert_int_equal(os_unlink(f->dir, "a"), 0);
    bool back = false, gone = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        back |= bytes != NULL;
        gone |= bytes == NULL;
        if (bytes != NULL) assert_true(size == 3000 && all_are(bytes, size, 'o'));
        free(bytes);
    }
    assert_true(back && gone);
    assert_int_equal(os_dir_sync(f->dir), 0);
    int seen[2][2] = {{0}};
    count_names(f, "a", "b", seen);
    assert_int_equal(seen[0][0], STATES);
}

static void operations_on_one_name_keep_their_order(void **state) {
    const sim_laws *f = *state;
    os_file_close(laws_durable_file(f, "a", 10, '1'));
    assert_int_equal(os_unlink(f->dir, "a"), 0);
    os_file *second = laws_open(f, "a", OS_CREATE);
    laws_fill(second, 0, 10, '2');
    assert_int_equal(os_file_sync(second), 0);
    assert_int_equal(os_rename(f->dir, "a", "b"), 0);
    bool first_seen = false, none_seen = false, second_seen = false, moved_seen = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *a = laws_after_crash(f, seed, "a", &size), *b = laws_after_crash(f, seed, "b", &size);
        assert_true(a == NULL || b == NULL); /* b is there only once a has been unlinked, made and renamed */
        if (b != NULL) assert_int_equal(b[0], '2');
        first_seen |= a != NULL && a[0] == '1';
        second_seen |= a != NULL && a[0] == '2';
        none_seen |= a == NULL && b == NULL;
        moved_seen |= b != NULL;
        free(a);
        free(b);
    }
    assert_true(first_seen && none_seen && second_seen && moved_seen);
    os_file_close(second);
}

static void an_unlink_is_not_kept_without_the_rename_before_it(void **state) {
    const sim_laws *f = *state;
    os_file_close(laws_durable_file(f, "m", 10, 'o'));
    os_file_close(laws_durable_file(f, "t", 10, 'n'));
    assert_int_equal(os_rename(f->dir, "t", "m"), 0);
    assert_int_equal(os_unlink(f->dir, "m"), 0);
    int seen[2][2] = {{0}};
    count_names(f, "m", "t", seen);
    assert_int_equal(seen[0][1], 0);
    assert_true(seen[1][1] > 0 && seen[1][0] > 0 && seen[0][0] > 0);
}

static void names_stay_pending_when_a_directory_sync_fails(void **state) {
    const sim_laws *f = *state;
    os_file *a = laws_open(f, "a", OS_CREATE);
    laws_fail_next(f, SIM_DIR_SYNC, -EIO);
    assert_int_equal(os_dir_sync(f->dir), -EIO);
    int before[2][2] = {{0}}, after[2][2] = {{0}};
    count_names(f, "a", "b", before);
    assert_true(before[0][0] > 0 && before[1][0] > 0);
    assert_int_equal(os_dir_sync(f->dir), 0);
    count_names(f, "a", "b", after);
    assert_int_equal(after[1][0], STATES);
    os_file_close(a);
}

static bool directory_after_crash(const sim_laws *f, const char *path, uint64_t seed) {
    sim_disk *crashed = laws_crash_copy(f, seed);
    os_dir *dir;
    int rc = sim_os(crashed)->dir_open(sim_os(crashed), path, 0, &dir);
    if (rc == 0) os_dir_close(dir);
    sim_free(crashed);
    return rc == 0;
}

static void a_directory_stays_once_its_parent_was_synced(void **state) {
    const sim_laws *f = *state;
    os *o = sim_os(f->disk);
    os_dir *dir;
    laws_fail_next(f, SIM_DIR_SYNC, -EIO);
    assert_int_equal(o->dir_open(o, "s/sub", OS_CREATE, &dir), -EIO);
    int there = 0;
    for (uint64_t seed = 0; seed < STATES; seed++)
        there += directory_after_crash(f, "s/sub", seed);
    assert_in_range(there, 1, STATES - 1);
    assert_int_equal(o->dir_open(o, "s/sub", OS_CREATE, &dir), 0);
    os_dir_close(dir);
    for (uint64_t seed = 0; seed < STATES; seed++)
        assert_true(directory_after_crash(f, "s/sub", seed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_LAWS(a_file_sync_does_not_persist_the_name),
        ON_LAWS(a_synced_name_stays_and_its_unsynced_content_may_not),
        ON_LAWS(a_rename_is_old_or_new),
        ON_LAWS(a_lost_unlink_brings_the_file_back_with_its_content),
        ON_LAWS(operations_on_one_name_keep_their_order),
        ON_LAWS(an_unlink_is_not_kept_without_the_rename_before_it),
        ON_LAWS(names_stay_pending_when_a_directory_sync_fails),
        ON_LAWS(a_directory_stays_once_its_parent_was_synced),
    };
    return cmocka_run_group_tests_name("crashes of the simulated disk: names", tests, NULL, NULL);
}

/* What os.h promises of directories and names. */
#include "tests/support/os_promises_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- Directories ---- */

static int open_below(const os_promises *p, const char *below, unsigned flags) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", p->root, below);
    os_dir *dir;
    int rc = p->os->dir_open(p->os, path, flags, &dir);
    if (rc == 0) os_dir_close(dir);
    return rc;
}

static void a_directory_is_made_only_when_asked_for(void **state) {
    const os_promises *p = *state;
    assert_int_equal(open_below(p, "d", 0), -ENOENT);
    assert_int_equal(open_below(p, "d", OS_CREATE | OS_EXCLUSIVE), 0);
    assert_int_equal(open_below(p, "d", 0), 0);
    assert_int_equal(open_below(p, "d", OS_CREATE), 0);
    assert_int_equal(open_below(p, "d", OS_CREATE | OS_EXCLUSIVE), -EEXIST);
    assert_int_equal(open_below(p, "e/f", OS_CREATE), -ENOENT);
    assert_int_equal(open_below(p, "e", 0), -ENOENT);
}

static void trailing_slashes_of_a_path_do_not_matter(void **state) {
    const os_promises *p = *state;
    assert_int_equal(open_below(p, "d/", OS_CREATE), 0);
    assert_int_equal(open_below(p, "d", 0), 0);
    assert_int_equal(open_below(p, "d//", OS_CREATE), 0);
    assert_int_equal(open_below(p, "d/e//", OS_CREATE), 0);
    assert_int_equal(open_below(p, "d/e", 0), 0);
}

static void a_file_is_no_directory(void **state) {
    const os_promises *p = *state;
    os_dir *root = open_root(p);
    make_closed_file(root, "f", "x");
    assert_int_equal(open_below(p, "f", 0), -ENOTDIR);
    assert_int_equal(open_below(p, "f", OS_CREATE), -ENOTDIR);
    os_dir_close(root);
}

static void an_empty_path_is_missing(void **state) {
    const os_promises *p = *state;
    os_dir *dir;
    assert_int_equal(p->os->dir_open(p->os, "", 0, &dir), -ENOENT);
    assert_int_equal(p->os->dir_open(p->os, "", OS_CREATE, &dir), -ENOENT);
}

static void a_lock_is_refused_within_one_process(void **state) {
    const os_promises *p = *state;
    os_dir *a = open_root(p), *b = open_root(p), *c = open_root(p);
    assert_int_equal(os_dir_lock(a, true), 0);
    assert_int_equal(os_dir_lock(a, true), 0);
    assert_int_equal(os_dir_lock(b, true), -EWOULDBLOCK);
    assert_int_equal(os_dir_lock(b, false), -EWOULDBLOCK);
    os_dir_close(a);
    assert_int_equal(os_dir_lock(b, false), 0);
    assert_int_equal(os_dir_lock(c, false), 0);
    a = open_root(p);
    assert_int_equal(os_dir_lock(a, true), -EWOULDBLOCK);
    os_dir_close(b);
    assert_int_equal(os_dir_lock(a, true), -EWOULDBLOCK);
    os_dir_close(c);
    assert_int_equal(os_dir_lock(a, true), 0);
    os_dir_close(a);
}

typedef struct listing {
    os_dir *dir; /* not NULL: each name is unlinked when it is seen */
    int stop_after, count;
    char seen[8];
} listing;

static int list_visit(void *ctx, const char *name) {
    listing *l = ctx;
    assert_int_equal(strlen(name), 1);
    l->seen[name[0] - 'a']++;
    if (l->dir != NULL) assert_int_equal(os_unlink(l->dir, name), 0);
    return ++l->count == l->stop_after ? 77 : 0;
}

static void a_listing_gives_every_name_once_and_can_be_stopped(void **state) {
    os_dir *root = open_root(*state);
    make_closed_file(root, "a", "1");
    make_closed_file(root, "b", "2");
    make_closed_file(root, "c", "3");
    assert_int_equal(open_below(*state, "d", OS_CREATE), 0);
    listing all = {0};
    assert_int_equal(os_dir_list(root, list_visit, &all), 0);
    assert_memory_equal(all.seen, "\1\1\1\1\0\0\0\0", 8);
    listing again = {0};
    assert_int_equal(os_dir_list(root, list_visit, &again), 0);
    assert_int_equal(again.count, 4);
    listing stopped = {.stop_after = 2};
    assert_int_equal(os_dir_list(root, list_visit, &stopped), 77);
    assert_int_equal(stopped.count, 2);
    os_dir_close(root);
}

static void names_may_be_unlinked_while_they_are_listed(void **state) {
    os_dir *root = open_root(*state);
    make_closed_file(root, "a", "1");
    make_closed_file(root, "b", "2");
    listing l = {.dir = root};
    assert_int_equal(os_dir_list(root, list_visit, &l), 0);
    assert_int_equal(l.count, 2);
    listing rest = {0};
    assert_int_equal(os_dir_list(root, list_visit, &rest), 0);
    assert_int_equal(rest.count, 0);
    os_dir_close(root);
}

static void free_bytes_are_told(void **state) {
    os_dir *root = open_root(*state);
    uint64_t bytes;
    assert_int_equal(os_dir_free_bytes(root, &bytes), 0);
    assert_true(bytes > 0);
    os_dir_close(root);
}

static void a_directory_has_a_path_or_says_that_it_has_none(void **state) {
    os_dir *root = open_root(*state);
    char path[OS_PATH_SIZE];
    int rc = os_dir_path(root, path);
    assert_true(rc == -EOPNOTSUPP || (rc == 0 && memchr(path, '\0', OS_PATH_SIZE) != NULL));
    os_dir_close(root);
}

/* ---- Names ---- */

static void a_name_is_one_component(void **state) {
    static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a/", "../a"};
    os_dir *root = open_root(*state);
    make_closed_file(root, "a", "1");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        os_file *file;
        assert_int_equal(os_file_open(root, bad[i], OS_CREATE, &file), -EINVAL);
        assert_int_equal(os_unlink(root, bad[i]), -EINVAL);
        assert_int_equal(os_rename(root, "a", bad[i]), -EINVAL);
        assert_int_equal(os_rename(root, bad[i], "b"), -EINVAL);
    }
    assert_file(root, "a", "1");
    os_dir_close(root);
}

static void a_file_is_made_only_when_asked_for(void **state) {
    os_dir *root = open_root(*state);
    os_file *file;
    assert_missing(root, "f");
    assert_int_equal(os_file_open(root, "f", OS_CREATE | OS_EXCLUSIVE, &file), 0);
    os_file_close(file);
    assert_int_equal(os_file_open(root, "f", OS_CREATE | OS_EXCLUSIVE, &file), -EEXIST);
    make_closed_file(root, "f", "kept");
    assert_int_equal(os_file_open(root, "f", OS_CREATE, &file), 0);
    assert_text(file, "kept");
    os_file_close(file);
    os_dir_close(root);
}

static void a_directory_is_not_opened_as_a_file(void **state) {
    os_dir *root = open_root(*state);
    os_file *file;
    assert_int_equal(open_below(*state, "d", OS_CREATE), 0);
    assert_int_equal(os_file_open(root, "d", 0, &file), -EINVAL);
    assert_int_equal(os_file_open(root, "d", OS_READ_ONLY, &file), -EINVAL);
    assert_int_equal(os_file_open(root, "d", OS_CREATE, &file), -EINVAL);
    os_dir_close(root);
}

static void a_rename_replaces_and_handles_follow_the_file(void **state) {
    os_dir *root = open_root(*state);
    os_file *old = make_file(root, "m", "old");
    os_file *new = make_file(root, "t", "new");
    assert_int_equal(os_rename(root, "t", "m"), 0);
    assert_missing(root, "t");
    assert_file(root, "m", "new");
    assert_text(old, "old");
    assert_int_equal(info_of(old).links, 0);
    assert_int_equal(info_of(new).links, 1);
    assert_int_equal(os_file_write(new, "NEW", 3, 0), 0);
    assert_file(root, "m", "NEW");
    assert_int_equal(os_rename(root, "m", "m"), 0);
    assert_file(root, "m", "NEW");
    assert_int_equal(os_rename(root, "t", "m"), -ENOENT);
    assert_file(root, "m", "NEW");
    os_file_close(old);
    os_file_close(new);
    os_dir_close(root);
}

static void a_link_is_a_second_name_for_the_same_file(void **state) {
    const os_promises *p = *state;
    os_dir *root = open_root(p), *other;
    char path[128];
    snprintf(path, sizeof path, "%s/d", p->root);
    assert_int_equal(p->os->dir_open(p->os, path, OS_CREATE, &other), 0);
    os_file *file = make_file(root, "f", "text");
    assert_int_equal(os_link(root, "f", other, "g"), 0);
    assert_int_equal(info_of(file).links, 2);
    assert_int_equal(os_file_write(file, "TEXT", 4, 0), 0);
    assert_file(other, "g", "TEXT");
    assert_int_equal(os_link(root, "f", other, "g"), -EEXIST);
    assert_int_equal(os_link(root, "missing", other, "h"), -ENOENT);
    assert_int_equal(os_link(root, "f", other, "../h"), -EINVAL);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_missing(root, "f");
    assert_int_equal(info_of(file).links, 1);
    assert_file(other, "g", "TEXT");
    os_file_close(file);
    os_dir_close(other);
    os_dir_close(root);
}

/* Not everywhere; where not, the file stays empty. */
static void a_clone_has_the_same_content_and_goes_its_own_way(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text"), *clone = make_file(root, "c", "");
    int rc = os_file_clone(file, clone);
    if (rc == 0) {
        assert_text(clone, "text");
        assert_int_equal(os_file_write(clone, "own", 3, 0), 0);
        assert_text(file, "text");
    } else {
        assert_true(rc == -EOPNOTSUPP || rc == -EXDEV || rc == -EINVAL);
        assert_text(clone, "");
    }
    os_file_close(file);
    os_file_close(clone);
    os_dir_close(root);
}

static void an_unlinked_file_stays_readable_through_its_handle(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text");
    assert_int_equal(info_of(file).links, 1);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_missing(root, "f");
    assert_text(file, "text");
    assert_int_equal(info_of(file).links, 0);
    assert_int_equal(os_unlink(root, "f"), -ENOENT);
    make_closed_file(root, "f", "other");
    assert_text(file, "text");
    os_file_close(file);
    os_dir_close(root);
}

const os_promise os_promises_names[] = {
    PROMISE(a_directory_is_made_only_when_asked_for),
    PROMISE(trailing_slashes_of_a_path_do_not_matter),
    PROMISE(a_file_is_no_directory),
    PROMISE(an_empty_path_is_missing),
    PROMISE(a_lock_is_refused_within_one_process),
    PROMISE(a_listing_gives_every_name_once_and_can_be_stopped),
    PROMISE(names_may_be_unlinked_while_they_are_listed),
    PROMISE(free_bytes_are_told),
    PROMISE(a_directory_has_a_path_or_says_that_it_has_none),
    PROMISE(a_name_is_one_component),
    PROMISE(a_file_is_made_only_when_asked_for),
    PROMISE(a_directory_is_not_opened_as_a_file),
    PROMISE(a_rename_replaces_and_handles_follow_the_file),
    PROMISE(a_link_is_a_second_name_for_the_same_file),
    PROMISE(a_clone_has_the_same_content_and_goes_its_own_way),
    PROMISE(an_unlinked_file_stays_readable_through_its_handle),
    {0},
};

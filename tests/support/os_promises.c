/* The promises of src/os/os.h; see os_promises.h. */
#include "tests/support/os_promises.h"

#include "src/os/os_thread.h"
#include "tests/support/window_signal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 4096

static os_dir *open_root(const os_promises *p) {
    os_dir *dir;
    assert_int_equal(p->os->dir_open(p->os, p->root, 0, &dir), 0);
    return dir;
}

static os_file *make_file(os_dir *dir, const char *name, const char *text) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, OS_CREATE, &file), 0);
    assert_int_equal(os_file_write(file, text, strlen(text), 0), 0);
    return file;
}

static void make_closed_file(os_dir *dir, const char *name, const char *text) {
    os_file_close(make_file(dir, name, text));
}

static void assert_text(os_file *file, const char *text) {
    char buf[64];
    size_t got;
    assert_int_equal(os_file_read(file, buf, sizeof buf, 0, &got), 0);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(buf, text, got);
}

static void assert_file(os_dir *dir, const char *name, const char *text) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, OS_READ_ONLY, &file), 0);
    assert_text(file, text);
    os_file_close(file);
}

static void assert_missing(os_dir *dir, const char *name) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, 0, &file), -ENOENT);
}

static os_file_info info_of(os_file *file) {
    os_file_info info;
    assert_int_equal(os_file_info_get(file, &info), 0);
    return info;
}

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

/* ---- Content ---- */

static void a_read_is_short_only_at_the_end(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "0123456789");
    char buf[16];
    size_t got;
    assert_int_equal(os_file_read(file, buf, 4, 3, &got), 0);
    assert_int_equal(got, 4);
    assert_memory_equal(buf, "3456", 4);
    assert_int_equal(os_file_read(file, buf, 16, 7, &got), 0);
    assert_int_equal(got, 3);
    assert_int_equal(os_file_read(file, buf, 16, 10, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(os_file_read(file, buf, 16, 1000000, &got), 0);
    assert_int_equal(got, 0);
    uint8_t one[3], other[20];
    struct iovec parts[] = {{one, sizeof one}, {other, 0}, {other, sizeof other}};
    assert_int_equal(os_file_readv(file, parts, 3, 1, &got), 0);
    assert_int_equal(got, 9);
    assert_int_equal(os_file_read(file, buf, 9, 1, &got), 0);
    assert_memory_equal(one, buf, 3);
    assert_memory_equal(other, buf + 3, 6);
    os_file_close(file);
    os_dir_close(root);
}

/* Retried, because what was just written may have left memory. */
static int read_now(os_file *file, const struct iovec *iov, int count, uint64_t offset) {
    int rc = -EAGAIN;
    for (int i = 0; rc != 0 && i < 100; i++) {
        char buf[64];
        size_t got;
        assert_int_equal(os_file_read(file, buf, sizeof buf, 0, &got), 0);
        rc = os_file_readv_now(file, iov, count, offset);
    }
    return rc;
}

static void what_is_in_memory_is_read_now_or_refused_as_a_whole(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "0123456789");
    char one[3], other[6], buf[16];
    struct iovec parts[] = {{one, sizeof one}, {other, 0}, {other, sizeof other}};
    assert_int_equal(read_now(file, parts, 3, 1), 0);
    assert_memory_equal(one, "123", 3);
    assert_memory_equal(other, "456789", 6);
    assert_int_equal(os_file_read_now(file, buf, 4, 7), -EAGAIN); /* one byte more than there is */
    assert_int_equal(os_file_read_now(file, buf, 1, 10), -EAGAIN);
    assert_int_equal(os_file_read_now(file, buf, 1, UINT64_MAX), -EAGAIN);
    assert_text(file, "0123456789");
    os_file_close(file);
    os_dir_close(root);
}

static void a_write_takes_all_its_pieces_and_leaves_zeros_before_it(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "begin");
    uint8_t piece[OS_PIECES_MAX][500], expected[30000] = {0}, found[30000];
    struct iovec iov[OS_PIECES_MAX];
    memcpy(expected, "begin", 5);
    size_t at = 3000;
    for (int i = 0; i < OS_PIECES_MAX; i++) {
        size_t size = i % 5 == 0 ? 0 : (size_t)i * 7;
        memset(piece[i], 'A' + i, size);
        memset(expected + at, 'A' + i, size);
        iov[i] = (struct iovec){.iov_base = piece[i], .iov_len = size};
        at += size;
    }
    assert_int_equal(os_file_writev(file, iov, OS_PIECES_MAX, 3000), 0);
    assert_int_equal(info_of(file).size, at);
    size_t got;
    assert_int_equal(os_file_read(file, found, sizeof found, 0, &got), 0);
    assert_int_equal(got, at);
    assert_memory_equal(found, expected, at);
    assert_int_equal(os_file_writev(file, iov, 1, 100000), 0); /* an empty piece */
    assert_int_equal(info_of(file).size, at);
    os_file_close(file);
    os_dir_close(root);
}

static void a_cut_file_grows_with_zeros(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "0123456789");
    assert_int_equal(os_file_truncate(file, 4), 0);
    assert_text(file, "0123");
    assert_int_equal(os_file_truncate(file, 8), 0);
    char buf[16];
    size_t got;
    assert_int_equal(os_file_read(file, buf, sizeof buf, 0, &got), 0);
    assert_int_equal(got, 8);
    assert_memory_equal(buf, "0123\0\0\0\0", 8);
    os_file_close(file);
    os_dir_close(root);
}

static void an_allocation_takes_space_and_reads_zeros_until_it_is_cut_off(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text");
    char found[8], expected[8] = "text";
    size_t got;
    assert_int_equal(os_file_allocate(file, 20 * BLOCK), 0);
    assert_int_equal(info_of(file).size, 20 * BLOCK);
    assert_true(info_of(file).allocated >= 20 * BLOCK);
    assert_int_equal(os_file_allocate(file, BLOCK), 0); /* it is longer already */
    assert_int_equal(info_of(file).size, 20 * BLOCK);
    assert_int_equal(os_file_read(file, found, sizeof found, 0, &got), 0);
    assert_memory_equal(found, expected, sizeof found);
    memset(expected, 0, sizeof expected);
    assert_int_equal(os_file_read(file, found, sizeof found, 19 * BLOCK, &got), 0);
    assert_memory_equal(found, expected, sizeof found);
    assert_int_equal(os_file_truncate(file, BLOCK), 0);
    assert_true(info_of(file).allocated < 20 * BLOCK);
    assert_true(os_file_allocate(file, UINT64_MAX) < 0);
    os_file_close(file);
    os_dir_close(root);
}

static void a_punched_range_reads_zeros_and_gives_blocks_back(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    static uint8_t full[8 * BLOCK], found[8 * BLOCK];
    memset(full, 'x', sizeof full);
    assert_int_equal(os_file_write(file, full, sizeof full, 0), 0);
    assert_int_equal(os_file_sync(file), 0);
    os_file_info before = info_of(file);
    assert_true(before.allocated >= sizeof full);

    assert_int_equal(os_file_punch(file, BLOCK - 100, 4 * BLOCK + 200), 0);
    memset(full + BLOCK - 100, 0, 4 * BLOCK + 200);
    assert_int_equal(os_file_punch(file, 0, 0), 0);
    assert_int_equal(os_file_punch(file, 20 * BLOCK, BLOCK), 0);
    size_t got;
    assert_int_equal(os_file_read(file, found, sizeof found, 0, &got), 0);
    assert_int_equal(got, sizeof full);
    assert_memory_equal(found, full, sizeof full);
    os_file_info after = info_of(file);
    assert_int_equal(after.size, before.size);
    assert_int_equal(after.allocated, before.allocated - 4 * BLOCK);
    os_file_close(file);
    os_dir_close(root);
}

static void a_read_only_handle_does_not_write(void **state) {
    os_dir *root = open_root(*state);
    make_closed_file(root, "f", "text");
    os_file *file;
    assert_int_equal(os_file_open(root, "f", OS_READ_ONLY, &file), 0);
    assert_true(os_file_write(file, "x", 1, 0) < 0);
    assert_true(os_file_truncate(file, 0) < 0);
    assert_true(os_file_allocate(file, 100) < 0);
    assert_true(os_file_punch(file, 0, 1) < 0);
    assert_text(file, "text");
    os_file_close(file);
    os_dir_close(root);
}

static void ranges_beyond_the_largest_offset_are_refused(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text");
    assert_true(os_file_write(file, "ab", 2, UINT64_MAX - 1) < 0);
    assert_true(os_file_write(file, "ab", 2, INT64_MAX) < 0);
    assert_true(os_file_truncate(file, UINT64_MAX) < 0);
    assert_true(os_file_punch(file, UINT64_MAX, 2) < 0);
    const void *data;
    assert_true(os_file_map(file, UINT64_MAX, 2, &data) < 0);
    assert_text(file, "text");
    os_file_close(file);
    os_dir_close(root);
}

static void syncs_and_flushes_succeed(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text");
    assert_int_equal(os_file_flush(file, 0, 4), 0);
    assert_int_equal(os_file_flush(file, 2, 0), 0);
    assert_int_equal(os_file_sync(file), 0);
    assert_int_equal(os_dir_sync(root), 0);
    assert_text(file, "text");
    os_file_close(file);
    os_dir_close(root);
}

static void a_hint_of_what_will_be_read_changes_nothing(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "text");
    os_file_will_need(file, 0, 4);
    os_file_will_need(file, 2, 0);
    os_file_will_need(file, 100, 100); /* behind the end */
    os_file_will_need(file, UINT64_MAX, 2);
    assert_text(file, "text");
    os_file_close(file);
    os_dir_close(root);
}

static void a_mapping_begins_at_any_offset_and_outlives_the_name(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    static uint8_t bytes[3 * BLOCK];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(os_file_write(file, bytes, sizeof bytes, 0), 0);
    static const struct {
        uint64_t offset;
        size_t size;
    } ranges[] = {{0, sizeof bytes}, {1, 1}, {BLOCK - 1, 2}, {BLOCK + 77, BLOCK}, {sizeof bytes - 1, 1}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const void *data;
        assert_int_equal(os_file_map(file, ranges[i].offset, ranges[i].size, &data), 0);
        assert_memory_equal(data, bytes + ranges[i].offset, ranges[i].size);
        os_file_unmap(file, data, ranges[i].size);
    }
    const void *data;
    assert_int_equal(os_file_map(file, 100, BLOCK, &data), 0);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_memory_equal(data, bytes + 100, BLOCK);
    os_file_unmap(file, data, BLOCK);
    os_file_close(file);
    os_dir_close(root);
}

static void bytes_that_do_not_exist_are_not_mapped(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "0123456789");
    const void *data = NULL;
    assert_int_equal(os_file_map(file, 0, 11, &data), -EIO);
    assert_int_equal(os_file_map(file, 10 * BLOCK, 1, &data), -EIO);
    assert_int_equal(os_file_map(file, 0, 0, &data), -EINVAL);
    assert_null(data);
    os_file_close(file);
    os_dir_close(root);
}

/* ---- Windows ---- */

static void a_window_shows_what_the_file_holds_as_it_grows_and_outlives_handle_and_name(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t bytes[3 * BLOCK], seen[3 * BLOCK];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 5 + i / 256);
    assert_int_equal(os_window_open(file, 0, 0, &window), -EINVAL);
    assert_int_equal(os_window_open(file, 64 * BLOCK, OS_ONLY_WHAT_IS_NEAR, &window), 0);
    for (size_t end = 0; end < sizeof bytes; end += BLOCK / 2) {
        assert_int_equal(os_file_write(file, bytes + end, BLOCK / 2, end), 0);
        assert_int_equal(os_window_load(window, file, end, BLOCK / 2), 0);
        assert_true(os_window_read(window, seen, end + BLOCK / 2, 0) >= 0);
        assert_memory_equal(seen, bytes, end + BLOCK / 2);
    }
    assert_true(os_window_read(window, seen, BLOCK, 77) >= 0);
    assert_memory_equal(seen, bytes + 77, BLOCK);
    os_file_close(file);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_true(os_window_read(window, seen, sizeof seen, 0) >= 0);
    assert_memory_equal(seen, bytes, sizeof bytes);
    os_window_close(window);
    os_dir_close(root);
}

static void a_window_shows_bytes_that_exist_at_its_address_and_keeps_them(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t bytes[3 * BLOCK];
    const void *first = NULL, *later = NULL;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 3 + i / 256);
    assert_int_equal(os_window_open(file, 64 * BLOCK, 0, &window), 0);
    assert_int_equal(os_file_write(file, bytes, BLOCK, 0), 0);
    assert_int_equal(os_window_show(window, file, 0, BLOCK, &first), 0);
    assert_int_equal(os_window_show(window, file, 0, BLOCK + 1, &later), -EIO);
    assert_null(later);
    assert_int_equal(os_file_write(file, bytes + BLOCK, 2 * BLOCK, BLOCK), 0);
    assert_int_equal(os_window_show(window, file, BLOCK + 7, BLOCK, &later), 0);
    assert_ptr_equal(later, (const uint8_t *)first + BLOCK + 7);
    os_file_close(file);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_memory_equal(first, bytes, BLOCK);
    assert_memory_equal(later, bytes + BLOCK + 7, BLOCK);
    os_window_close(window);
    os_dir_close(root);
}

static void what_does_not_exist_is_not_loaded_and_what_was_cut_off_is_an_error(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t bytes[3 * BLOCK], seen[3 * BLOCK];
    assert_int_equal(os_file_write(file, bytes, sizeof bytes, 0), 0);
    assert_int_equal(os_window_open(file, 64 * BLOCK, OS_ONLY_WHAT_IS_NEAR, &window), 0);
    assert_int_equal(os_window_load(window, file, 0, sizeof bytes + 1), -EIO);
    assert_int_equal(os_window_load(window, file, 0, sizeof bytes), 0);
    assert_int_equal(os_file_truncate(file, BLOCK), 0);
    assert_int_equal(os_window_read(window, seen, 1, BLOCK), -EIO);
    assert_int_equal(os_window_read(window, seen, 2 * BLOCK, 0), -EIO);
    assert_true(os_window_read(window, seen, BLOCK, 0) >= 0);
    os_window_close(window);
    os_file_close(file);
    os_dir_close(root);
}

/* ---- Time, secrets, threads ---- */

static void time_does_not_run_back_and_random_bytes_differ(void **state) {
    os *o = ((os_promises *)*state)->os;
    uint64_t before = o->monotonic_ns(o);
    assert_true(o->clock_ms(o) > UINT64_C(900000000000)); /* after 1998 */
    assert_true(o->monotonic_ns(o) >= before);
    uint8_t a[1000] = {0}, b[1000] = {0};
    assert_int_equal(o->random(o, a, sizeof a), 0);
    assert_int_equal(o->random(o, b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 500, b + 500, 500);
}

typedef struct lane {
    os_thread thread;
    os_file *file;
    uint64_t offset;
    int failed;
} lane;

static void *lane_run(void *arg) {
    lane *l = arg;
    uint8_t out[512], in[512];
    for (int i = 0; i < 50; i++) {
        memset(out, (int)l->offset + i, sizeof out);
        size_t got = 0;
        if (os_file_write(l->file, out, sizeof out, l->offset * 512) != 0) l->failed++;
        if (os_file_read(l->file, in, sizeof in, l->offset * 512, &got) != 0) l->failed++;
        if (got != sizeof in || memcmp(in, out, sizeof in) != 0) l->failed++;
        if (i % 10 == 0 && os_file_sync(l->file) != 0) l->failed++;
    }
    return NULL;
}

static void many_threads_use_one_handle(void **state) {
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    lane lanes[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        lanes[i].file = file;
        lanes[i].offset = i;
        assert_int_equal(os_thread_start(&lanes[i].thread, lane_run, &lanes[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        os_thread_join(&lanes[i].thread);
        assert_int_equal(lanes[i].failed, 0);
    }
    os_file_close(file);
    os_dir_close(root);
}

#define PROMISE(name)                                                                                                  \
    { #name, name, setup, teardown, NULL }

int os_promises_run(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown) {
    const struct CMUnitTest tests[] = {
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
        PROMISE(a_read_is_short_only_at_the_end),
        PROMISE(what_is_in_memory_is_read_now_or_refused_as_a_whole),
        PROMISE(a_write_takes_all_its_pieces_and_leaves_zeros_before_it),
        PROMISE(a_cut_file_grows_with_zeros),
        PROMISE(an_allocation_takes_space_and_reads_zeros_until_it_is_cut_off),
        PROMISE(a_punched_range_reads_zeros_and_gives_blocks_back),
        PROMISE(a_read_only_handle_does_not_write),
        PROMISE(ranges_beyond_the_largest_offset_are_refused),
        PROMISE(syncs_and_flushes_succeed),
        PROMISE(a_hint_of_what_will_be_read_changes_nothing),
        PROMISE(a_mapping_begins_at_any_offset_and_outlives_the_name),
        PROMISE(bytes_that_do_not_exist_are_not_mapped),
        PROMISE(a_window_shows_what_the_file_holds_as_it_grows_and_outlives_handle_and_name),
        PROMISE(a_window_shows_bytes_that_exist_at_its_address_and_keeps_them),
        PROMISE(what_does_not_exist_is_not_loaded_and_what_was_cut_off_is_an_error),
        PROMISE(time_does_not_run_back_and_random_bytes_differ),
        PROMISE(many_threads_use_one_handle),
    };
    return _cmocka_run_group_tests(group, tests, sizeof tests / sizeof tests[0], NULL, NULL);
}

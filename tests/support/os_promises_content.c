/* What os.h promises of the content of files. */
#include "tests/support/os_promises_parts.h"

#include <errno.h>
#include <string.h>

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

const os_promise os_promises_content[] = {
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
    {0},
};

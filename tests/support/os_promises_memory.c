/* What os.h promises of mappings and windows. */
#include "src/base/checksum.h"
#include "tests/support/os_promises_parts.h"
#include "tests/support/window_signal.h"

#include <errno.h>
#include <string.h>

/* ---- Mappings ---- */

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
        assert_true(os_window_read(window, seen, end + BLOCK / 2, 0, NULL) >= 0);
        assert_memory_equal(seen, bytes, end + BLOCK / 2);
    }
    uint64_t sum = 0;
    memset(seen, 0, sizeof seen);
    assert_true(os_window_read(window, seen, BLOCK, 77, &sum) >= 0);
    assert_memory_equal(seen, bytes + 77, BLOCK);
    assert_true(sum == checksum(bytes + 77, BLOCK, 0));
    os_file_close(file);
    assert_int_equal(os_unlink(root, "f"), 0);
    assert_true(os_window_read(window, seen, sizeof seen, 0, NULL) >= 0);
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
    assert_int_equal(os_window_read(window, seen, 1, BLOCK, NULL), -EIO);
    uint64_t sum;
    assert_int_equal(os_window_read(window, seen, 2 * BLOCK, 0, NULL), -EIO);
    assert_int_equal(os_window_read(window, seen, 2 * BLOCK, 0, &sum), -EIO);
    assert_true(os_window_read(window, seen, BLOCK, 0, NULL) >= 0);
    os_window_close(window);
    os_file_close(file);
    os_dir_close(root);
}

static void what_a_window_writes_is_what_the_file_holds_and_survives_a_sync(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t zeros[4 * BLOCK], seen[4 * BLOCK];
    uint8_t expected[4 * BLOCK] = {0}, bytes[BLOCK + 100];
    size_t got = 0;
    memset(bytes, 'b', sizeof bytes);
    assert_int_equal(os_file_write(file, zeros, sizeof zeros, 0), 0);
    assert_int_equal(os_window_open(file, 64 * BLOCK, OS_TO_WRITE, &window), 0);
    assert_int_equal(os_window_ready(window, file, 77, 2 * BLOCK), 0);
    assert_int_equal(os_window_ready(window, file, 77 + 2 * BLOCK, 2 * BLOCK - 77), 0);
    struct iovec pieces[] = {{bytes, 100}, {bytes, 0}, {bytes + 100, BLOCK}};
    for (unsigned i = 0; i < 3; i++) { /* after a sync as before */
        uint64_t at = 77 + i * (BLOCK + 150);
        assert_int_equal(os_window_write(window, pieces, 3, at), 0);
        memset(expected + at, 'b', sizeof bytes);
        assert_int_equal(os_file_read(file, seen, sizeof seen, 0, &got), 0);
        assert_int_equal(got, sizeof seen);
        assert_memory_equal(seen, expected, sizeof seen);
        assert_int_equal(os_file_sync(file), 0);
    }
    os_file_close(file);
    os_window_close(window);
    assert_int_equal(os_file_open(root, "f", OS_READ_ONLY, &file), 0);
    assert_int_equal(os_file_read(file, seen, sizeof seen, 0, &got), 0);
    assert_memory_equal(seen, expected, sizeof seen);
    os_file_close(file);
    os_dir_close(root);
}

static void what_a_window_leaves_the_file_keeps_and_the_rest_is_written_as_before(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t zeros[8 * BLOCK], seen[8 * BLOCK], expected[8 * BLOCK];
    size_t got = 0;
    memset(expected, 'c', 6 * BLOCK);
    assert_int_equal(os_file_write(file, zeros, sizeof zeros, 0), 0);
    assert_int_equal(os_window_open(file, 64 * BLOCK, OS_TO_WRITE, &window), 0);
    assert_int_equal(os_window_ready(window, file, 0, sizeof zeros), 0);
    for (unsigned i = 0; i < 6; i++) {
        struct iovec piece = {expected, BLOCK};
        assert_int_equal(os_window_write(window, &piece, 1, i * BLOCK), 0);
        os_window_leave(window, (i + 1) * BLOCK);
    }
    os_window_leave(window, 20 * BLOCK); /* more than was ready */
    assert_int_equal(os_file_write(file, zeros, sizeof zeros, 20 * BLOCK), 0);
    assert_int_equal(os_window_ready(window, file, 20 * BLOCK, BLOCK), 0);
    struct iovec one = {expected, 1};
    assert_int_equal(os_window_write(window, &one, 1, 20 * BLOCK), 0);
    assert_int_equal(os_file_read(file, seen, sizeof seen, 0, &got), 0);
    assert_memory_equal(seen, expected, sizeof seen);
    assert_int_equal(os_file_read(file, seen, 1, 20 * BLOCK, &got), 0);
    assert_int_equal(seen[0], 'c');
    os_window_close(window);
    os_file_close(file);
    os_dir_close(root);
}

static void what_does_not_exist_is_not_ready_and_what_was_cut_off_is_not_written(void **state) {
    window_signal_restore();
    os_dir *root = open_root(*state);
    os_file *file = make_file(root, "f", "");
    os_window *window = NULL;
    static uint8_t bytes[3 * BLOCK];
    os_file_info info;
    struct iovec piece = {bytes, 2 * BLOCK}, one = {bytes, 1};
    assert_int_equal(os_file_write(file, bytes, sizeof bytes, 0), 0);
    assert_int_equal(os_window_open(file, 64 * BLOCK, OS_TO_WRITE, &window), 0);
    assert_int_equal(os_window_ready(window, file, 0, sizeof bytes + 1), -EIO);
    assert_int_equal(os_window_ready(window, file, 0, sizeof bytes), 0);
    assert_int_equal(os_file_truncate(file, BLOCK), 0);
    assert_int_equal(os_window_write(window, &piece, 1, 0), -EIO);
    assert_int_equal(os_window_write(window, &one, 1, BLOCK), -EIO);
    assert_int_equal(os_window_write(window, &one, 1, 0), 0);
    assert_int_equal(os_file_info_get(file, &info), 0);
    assert_int_equal(info.size, BLOCK);
    os_window_close(window);
    os_file_close(file);
    os_dir_close(root);
}

const os_promise os_promises_memory[] = {
    PROMISE(a_mapping_begins_at_any_offset_and_outlives_the_name),
    PROMISE(bytes_that_do_not_exist_are_not_mapped),
    PROMISE(a_window_shows_what_the_file_holds_as_it_grows_and_outlives_handle_and_name),
    PROMISE(a_window_shows_bytes_that_exist_at_its_address_and_keeps_them),
    PROMISE(what_does_not_exist_is_not_loaded_and_what_was_cut_off_is_an_error),
    PROMISE(what_a_window_writes_is_what_the_file_holds_and_survives_a_sync),
    PROMISE(what_a_window_leaves_the_file_keeps_and_the_rest_is_written_as_before),
    PROMISE(what_does_not_exist_is_not_ready_and_what_was_cut_off_is_not_written),
    {0},
};

/* Windows of the real system: what happens where a page can not be had, and whose signal it is. What both systems
 * promise of windows is in tests/support/os_promises_memory.c. */
#include "src/base/check.h"
#include "src/os/os.h"
#include "src/os/os_thread.h"
#include "tests/support/real_folder.h"
#include "tests/support/window_signal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_BYTES ((size_t)100 * 4096)

static uint8_t content[FILE_BYTES], buffer[FILE_BYTES];

typedef struct opened {
    os_dir *dir;
    os_file *file;
    os_window *window;
} opened;

static void open_window(opened *o, const char *folder) {
    window_signal_restore();
    for (size_t i = 0; i < FILE_BYTES; i++)
        content[i] = (uint8_t)(i * 31 + i / 4096);
    real_file_save(folder, "f", content, FILE_BYTES);
    assert_int_equal(os_posix()->dir_open(os_posix(), folder, 0, &o->dir), 0);
    assert_int_equal(os_file_open(o->dir, "f", 0, &o->file), 0);
    assert_int_equal(os_window_open(o->file, 4 * FILE_BYTES, OS_ONLY_WHAT_IS_NEAR, &o->window), 0);
    assert_int_equal(os_window_load(o->window, o->file, 0, FILE_BYTES), 0);
}

/* Another one in its place, for writes. */
static void open_to_write(opened *o) {
    os_window_close(o->window);
    assert_int_equal(os_window_open(o->file, 4 * FILE_BYTES, OS_TO_WRITE, &o->window), 0);
}

static void close_window(opened *o) {
    os_window_close(o->window);
    os_file_close(o->file);
    os_dir_close(o->dir);
}

static void a_page_that_is_gone_is_an_error_every_time_and_the_others_stay_readable(void **state) {
    opened o;
    uint64_t sum;
    open_window(&o, *state);
    assert_int_equal(os_file_truncate(o.file, FILE_BYTES / 2), 0);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(os_window_read(o.window, buffer, FILE_BYTES, 0, NULL), -EIO);
        assert_int_equal(os_window_read(o.window, buffer, FILE_BYTES, 0, &sum), -EIO);
        assert_int_equal(os_window_read(o.window, buffer, 1, FILE_BYTES - 1, NULL), -EIO);
        assert_true(os_window_read(o.window, buffer, FILE_BYTES / 2, 0, NULL) >= 0);
        assert_memory_equal(buffer, content, FILE_BYTES / 2);
    }
    close_window(&o);
}

/* ---- Who gets which signal: in a process of its own, which has not yet opened a window ---- */

#define HANDLED 42
#define SURVIVED 7

static void handle(int number) {
    (void)number;
    _exit(HANDLED);
}

/* Reads through a window where nothing is, which is answered by an error; then touches a mapping of the application's
 * where nothing is. */
static int touch_what_is_gone(const char *folder, bool with_handler) {
    opened o;
    const void *data;
    if (with_handler) CHECK(signal(SIGBUS, handle) != SIG_ERR);
    open_window(&o, folder);
    CHECK(os_file_map(o.file, 0, FILE_BYTES, &data) == 0);
    CHECK(os_file_truncate(o.file, 0) == 0);
    CHECK(os_window_read(o.window, buffer, 1, 0, NULL) == -EIO);
    (void)*(const volatile uint8_t *)data;
    return SURVIVED;
}

/* The exit status of this program, run anew. */
static int run_anew(const char *mode, const char *folder) {
    char self[REAL_PATH_SIZE];
    int status = 0;
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_in_range(size, 1, sizeof self - 2);
    self[size] = '\0';
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execl(self, self, mode, folder, (char *)NULL);
        _exit(98);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void a_handler_from_before_gets_every_other_sigbus(void **state) {
    int status = run_anew("with handler", *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), HANDLED);
}

static void where_there_was_none_any_other_sigbus_ends_the_process(void **state) {
    int status = run_anew("without handler", *state);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != SURVIVED); /* a sanitizer's handler exits */
}

static void where_the_application_took_the_signal_nothing_is_ready(void **state) {
    opened o;
    open_window(&o, *state);
    assert_true(signal(SIGBUS, handle) != SIG_ERR);
    assert_int_equal(os_window_load(o.window, o.file, 0, 4096), -EOPNOTSUPP);
    open_to_write(&o);
    assert_int_equal(os_window_ready(o.window, o.file, 0, 4096), -EOPNOTSUPP);
    close_window(&o);
}

static void a_page_that_is_gone_is_an_error_of_a_write_too_every_time(void **state) {
    opened o;
    open_window(&o, *state);
    open_to_write(&o);
    assert_int_equal(os_window_ready(o.window, o.file, 0, FILE_BYTES), 0);
    assert_int_equal(os_file_truncate(o.file, FILE_BYTES / 2), 0);
    for (unsigned i = 0; i < 50; i++) {
        struct iovec all = {content, FILE_BYTES}, half = {content + i, FILE_BYTES / 2};
        assert_int_equal(os_window_write(o.window, &all, 1, 0), -EIO);
        assert_int_equal(os_window_write(o.window, &half, 1, 0), 0);
        size_t got = 0;
        assert_int_equal(os_file_read(o.file, buffer, FILE_BYTES, 0, &got), 0);
        assert_int_equal(got, FILE_BYTES / 2);
        assert_memory_equal(buffer, content + i, got);
    }
    close_window(&o);
}

/* KiB of file pages in this process. */
static unsigned long mapped_kib(void) {
    char line[128];
    unsigned long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "RssFile: %lu kB", &kib) == 1) break;
    }
    fclose(status);
    return kib;
}

/* Bytes before `end` of the file "f" that this process can write by an access. */
static uint64_t writable_before(uint64_t end) {
    char line[512], access[8];
    uint64_t sum = 0;
    unsigned long long first, last, offset;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "/f\n") == NULL) continue;
        assert_int_equal(sscanf(line, "%llx-%llx %7s %llx", &first, &last, access, &offset), 4);
        if (access[1] == 'w' && offset < end) sum += min_u64(last - first, end - offset);
    }
    fclose(maps);
    return sum;
}

static void what_a_writer_has_left_behind_is_out_of_the_processs_reach_and_memory(void **state) {
    enum { STEP = 64 << 10, STEPS = 32 << 4, LEFT_MAX = 3 << 20 }; /* 32 MiB */
    opened o;
    open_window(&o, *state);
    os_window_close(o.window);
    assert_int_equal(os_window_open(o.file, (uint64_t)STEPS * STEP, OS_TO_WRITE, &o.window), 0);
    unsigned long before = mapped_kib();
    for (uint64_t at = 0; at < (uint64_t)STEPS * STEP; at += STEP) {
        struct iovec piece = {content, STEP};
        assert_int_equal(os_file_write(o.file, buffer, STEP, at), 0);
        assert_int_equal(os_window_ready(o.window, o.file, at, STEP), 0);
        assert_int_equal(os_window_write(o.window, &piece, 1, at), 0);
        assert_true(mapped_kib() < before + 8 * 1024);
        assert_in_range(writable_before(at), min_u64(at, 1 << 20), LEFT_MAX);
    }
    for (uint64_t at = 0; at < (uint64_t)STEPS * STEP; at += STEP) {
        size_t got = 0;
        assert_int_equal(os_file_read(o.file, buffer, STEP, at, &got), 0);
        assert_memory_equal(buffer, content, STEP);
    }
    close_window(&o);
}

static void what_a_writer_leaves_is_out_of_reach_at_once_and_the_rest_stays_ready(void **state) {
    enum { PAGE = 4096, SIZE = 100 * PAGE };
    opened o;
    struct iovec piece = {content, 3 * PAGE};
    open_window(&o, *state);
    open_to_write(&o);
    assert_int_equal(os_window_ready(o.window, o.file, 0, SIZE), 0);
    const uint64_t until[] = {0, 7, 40 * PAGE, 40 * PAGE + 1, 39 * PAGE, 80 * PAGE};
    uint64_t reached = 0;
    for (size_t i = 0; i < sizeof until / sizeof *until; i++) {
        os_window_leave(o.window, until[i]);
        reached = max_u64(reached, until[i] / PAGE * PAGE); /* never nearer again */
        assert_int_equal(writable_before(SIZE), SIZE - reached);
        assert_int_equal(os_window_write(o.window, &piece, 1, reached), 0);
        size_t got = 0;
        assert_int_equal(os_file_read(o.file, buffer, 3 * PAGE, reached, &got), 0);
        assert_memory_equal(buffer, content, 3 * PAGE);
    }
    close_window(&o);
}

static void a_process_has_a_limited_number_of_windows(void **state) {
    static os_window *windows[20000];
    opened o;
    size_t count = 0;
    int rc = 0;
    open_window(&o, *state);
    while (count < 20000 && (rc = os_window_open(o.file, 4096, OS_ONLY_WHAT_IS_NEAR, &windows[count])) == 0)
        count++;
    assert_int_equal(rc, -EOPNOTSUPP);
    assert_in_range(count, 1000, 19999);
    while (count > 0)
        os_window_close(windows[--count]);
    assert_int_equal(os_window_open(o.file, 4096, OS_ONLY_WHAT_IS_NEAR, &windows[0]), 0);
    os_window_close(windows[0]);
    close_window(&o);
}

static void *use_with_the_signal_blocked(void *arg) {
    const opened *o = arg;
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGBUS) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    struct iovec piece = {content, 1};
    CHECK(os_window_read(o->window, buffer, 1, 0, NULL) == -EOPNOTSUPP);
    CHECK(os_window_write(o->window, &piece, 1, 0) == -EOPNOTSUPP);
    return NULL;
}

static void a_thread_that_blocks_the_signal_uses_no_window(void **state) {
    opened o;
    os_thread thread;
    open_window(&o, *state);
    assert_int_equal(os_thread_start(&thread, use_with_the_signal_blocked, &o), 0);
    os_thread_join(&thread);
    close_window(&o);
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_page_that_is_gone_is_an_error_every_time_and_the_others_stay_readable),
        TEST(a_page_that_is_gone_is_an_error_of_a_write_too_every_time),
        TEST(what_a_writer_has_left_behind_is_out_of_the_processs_reach_and_memory),
        TEST(what_a_writer_leaves_is_out_of_reach_at_once_and_the_rest_stays_ready),
        TEST(a_handler_from_before_gets_every_other_sigbus),
        TEST(where_there_was_none_any_other_sigbus_ends_the_process),
        TEST(where_the_application_took_the_signal_nothing_is_ready),
        TEST(a_thread_that_blocks_the_signal_uses_no_window),
        TEST(a_process_has_a_limited_number_of_windows),
    };
    if (argc == 3) return touch_what_is_gone(argv[2], strcmp(argv[1], "with handler") == 0);
    return cmocka_run_group_tests_name("os_window", tests, NULL, NULL);
}

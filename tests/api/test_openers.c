/* One store and several openers: handles, processes, forked children. */
#include "include/cairn.h"
#include "tests/support/every_call.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const cairn_options reading = {.struct_size = sizeof reading, .read_only = true};

/* ---- Locking ---- */

static void a_second_opening_in_this_process_is_busy(void **state) {
    box *b = *state;
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
    expect_refused(b->path, &reading, CAIRN_BUSY, b->path);
    put_text(b->store, "k", "v", 1);
    box_reopen(b);
    expect_get(b->store, "k", 1, "v", 1);
}

/* A process that holds the store until it is killed. */
static pid_t hold(const char *path, const cairn_options *o) {
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cairn *s = NULL;
        byte = cairn_open(&s, path, o, NULL) == CAIRN_OK ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void kill_and_wait(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void a_store_held_by_another_process_is_busy_until_that_dies(void **state) {
    box *b = *state;
    put_text(b->store, "k", "v", 1);
    box_close(b);
    pid_t child = hold(b->path, &b->options);
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
    expect_refused(b->path, &reading, CAIRN_BUSY, b->path);
    kill_and_wait(child);
    box_open(b);
    expect_get(b->store, "k", 1, "v", 1);
}

static void readers_share_a_store_and_keep_writers_out(void **state) {
    box *b = *state;
    put_text(b->store, "k", "v", 1);
    box_close(b);
    pid_t child = hold(b->path, &reading);
    cairn *first = store_open_or_fail(b->path, &reading), *second = store_open_or_fail(b->path, &reading);
    expect_get(first, "k", 1, "v", 1);
    expect_get(second, "k", 1, "v", 1);
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
    assert_int_equal(cairn_close(first), CAIRN_OK);
    expect_get(second, "k", 1, "v", 1);
    assert_int_equal(cairn_close(second), CAIRN_OK);
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
    kill_and_wait(child);
    box_open(b);
}

/* ---- Forking ---- */

/* The exit status of a child that tries. */
static int use_after_fork(const handles *h) {
    cairn_error error = {0};
    const char *other = every_call_but(h, CAIRN_FAILED, &error);
    bool told = error.code == CAIRN_FAILED && strstr(error.message, "fork") != NULL;
    if (other != NULL || !told) (void)fprintf(stderr, "%s: %s\n", other != NULL ? other : "put", error.message);
    return other != NULL || !told;
}

static void a_forked_child_cannot_use_the_handle_and_the_parent_goes_on(void **state) {
    box *b = *state;
    cairn_writer *w = NULL;
    cairn_reader *r = NULL;
    cairn_scan *scan = NULL;
    put_text(b->store, "k", "v", 1);
    assert_int_equal(cairn_writer_open(b->store, "w", 1, NULL, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, random_pool(), BOX_PAYLOAD_MAX * 2, NULL), CAIRN_OK);
    assert_int_equal(cairn_reader_open(b->store, "k", 1, &r, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
    assert_int_equal(cairn_scan_next(scan, NULL), CAIRN_OK);
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(use_after_fork(&(handles){b->store, w, r, scan}));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    assert_int_equal(cairn_writer_write(w, "tail", 4, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    size_t got;
    char buf[8];
    assert_int_equal(cairn_reader_pread(r, buf, 8, 0, &got, NULL), CAIRN_OK);
    assert_int_equal(got, 1);
    cairn_reader_close(r);
    cairn_scan_close(scan);
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
    box_reopen(b);
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_stat(b->store, "w", 1, &entry, NULL), CAIRN_OK);
    assert_int_equal(entry.value_size, BOX_PAYLOAD_MAX * 2 + 4);
    assert_int_equal(cairn_stat(b->store, "refused", 7, &entry, NULL), CAIRN_NOT_FOUND);
}

static void a_close_gives_the_lock_back_though_a_forked_child_lives(void **state) {
    box *b = *state;
    put_text(b->store, "k", "v", 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (;;)
            pause();
    }
    box_reopen(b);
    expect_get(b->store, "k", 1, "v", 1);
    kill_and_wait(child);
    expect_refused(b->path, &b->options, CAIRN_BUSY, b->path);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_second_opening_in_this_process_is_busy),
        TEST(a_store_held_by_another_process_is_busy_until_that_dies),
        TEST(readers_share_a_store_and_keep_writers_out),
        TEST(a_forked_child_cannot_use_the_handle_and_the_parent_goes_on),
        TEST(a_close_gives_the_lock_back_though_a_forked_child_lives),
    };
    return cmocka_run_group_tests_name("openers", tests, NULL, NULL);
}

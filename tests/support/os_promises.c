/* The promises of src/os/os.h; see os_promises.h. Here those of time, secrets and threads, and how all are run. */
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/os_promises_parts.h"

#include <errno.h>
#include <string.h>

/* ---- What the parts share ---- */

os_dir *open_root(const os_promises *p) {
    os_dir *dir;
    assert_int_equal(p->os->dir_open(p->os, p->root, 0, &dir), 0);
    return dir;
}

os_file *make_file(os_dir *dir, const char *name, const char *text) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, OS_CREATE, &file), 0);
    assert_int_equal(os_file_write(file, text, strlen(text), 0), 0);
    return file;
}

void make_closed_file(os_dir *dir, const char *name, const char *text) { os_file_close(make_file(dir, name, text)); }

void assert_text(os_file *file, const char *text) {
    char buf[64];
    size_t got;
    assert_int_equal(os_file_read(file, buf, sizeof buf, 0, &got), 0);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(buf, text, got);
}

void assert_file(os_dir *dir, const char *name, const char *text) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, OS_READ_ONLY, &file), 0);
    assert_text(file, text);
    os_file_close(file);
}

void assert_missing(os_dir *dir, const char *name) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, 0, &file), -ENOENT);
}

os_file_info info_of(os_file *file) {
    os_file_info info;
    assert_int_equal(os_file_info_get(file, &info), 0);
    return info;
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

static const os_promise others[] = {
    PROMISE(time_does_not_run_back_and_random_bytes_differ),
    PROMISE(many_threads_use_one_handle),
    {0},
};

/* ---- All of them ---- */

#define PROMISES_MAX 64u

int os_promises_run(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown) {
    const os_promise *const parts[] = {os_promises_names, os_promises_content, os_promises_memory, others};
    struct CMUnitTest tests[PROMISES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (const os_promise *p = parts[i]; p->name != NULL; p++) {
            CHECK(count < PROMISES_MAX);
            tests[count++] = (struct CMUnitTest){p->name, p->test, setup, teardown, NULL};
        }
    }
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}

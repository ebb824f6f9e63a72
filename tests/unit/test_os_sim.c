/* The simulated disk: the promises of os.h, its faults and cuts, its capacity, and what tests look at from outside. Its
 * crashes are in test_os_sim_crash.c. */
#include "src/os/os_thread.h"
#include "tests/support/os_promises.h"
#include "tests/support/os_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- The promises of os.h ---- */

static int make_promises(void **state) {
    os_promises *p = calloc(1, sizeof *p);
    if (p == NULL) return -1;
    p->os = sim_os(sim_new(1));
    memcpy(p->root, "root", 4);
    *state = p;
    os_dir *dir;
    int rc = p->os->dir_open(p->os, p->root, OS_CREATE, &dir);
    if (rc == 0) os_dir_close(dir);
    return rc;
}

static int free_promises(void **state) {
    os_promises *p = *state;
    sim_disk *d = (sim_disk *)p->os;
    bool leaked = sim_open_handles(d) != 0;
    sim_free(d);
    free(p);
    return leaked ? -1 : 0;
}

/* ---- A disk with directory "s" and file "a" of 5000 bytes 'x' ---- */

typedef struct fixture {
    sim_disk *disk;
    os_dir *dir;
    os_file *file;
} fixture;

static int setup(void **state) {
    static char bytes[5000];
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    f->disk = sim_new(1);
    os *o = sim_os(f->disk);
    *state = f;
    if (o->dir_open(o, "s", OS_CREATE, &f->dir) != 0) return -1;
    if (os_file_open(f->dir, "a", OS_CREATE, &f->file) != 0) return -1;
    memset(bytes, 'x', sizeof bytes);
    return os_file_write(f->file, bytes, sizeof bytes, 0);
}

static int teardown(void **state) {
    fixture *f = *state;
    os_file_close(f->file);
    os_dir_close(f->dir);
    bool leaked = sim_open_handles(f->disk) != 0;
    sim_free(f->disk);
    free(f);
    return leaked ? -1 : 0;
}

/* One call of each kind. Those that open something close it again. */
static int stop_listing(void *ctx, const char *name) {
    (void)ctx;
    (void)name;
    return 0;
}

static int do_open(const fixture *f, const char *name, unsigned flags) {
    os_file *file;
    int rc = os_file_open(f->dir, name, flags, &file);
    if (rc == 0) os_file_close(file);
    return rc;
}

static int do_dir_open(const fixture *f) {
    os_dir *dir;
    int rc = sim_os(f->disk)->dir_open(sim_os(f->disk), "s", 0, &dir);
    if (rc == 0) os_dir_close(dir);
    return rc;
}

static int do_map(const fixture *f) {
    const void *data;
    int rc = os_file_map(f->file, 0, 100, &data);
    if (rc == 0) os_file_unmap(f->file, data, 100);
    return rc;
}

static int do_call(const fixture *f, unsigned kind) {
    char buf[10];
    size_t got;
    uint64_t bytes;
    os_file_info info;
    switch (kind) {
    case SIM_WRITE:
        return os_file_write(f->file, "yyyyyyyy", 8, 0);
    case SIM_TRUNCATE:
        return os_file_truncate(f->file, 3000);
    case SIM_PUNCH:
        return os_file_punch(f->file, 0, 1000);
    case SIM_SYNC:
        return os_file_sync(f->file);
    case SIM_DIR_SYNC:
        return os_dir_sync(f->dir);
    case SIM_RENAME:
        return os_rename(f->dir, "a", "b");
    case SIM_UNLINK:
        return os_unlink(f->dir, "a");
    case SIM_CREATE:
        return do_open(f, "new", OS_CREATE);
    case SIM_READ:
        return os_file_read(f->file, buf, sizeof buf, 0, &got);
    case SIM_OPEN:
        return do_open(f, "a", OS_CREATE);
    case SIM_DIR_OPEN:
        return do_dir_open(f);
    case SIM_INFO:
        return os_file_info_get(f->file, &info);
    case SIM_MAP:
        return do_map(f);
    case SIM_LIST:
        return os_dir_list(f->dir, stop_listing, NULL);
    case SIM_LOCK:
        return os_dir_lock(f->dir, false);
    case SIM_FLUSH:
        return os_file_flush(f->file, 0, 100);
    case SIM_FREE_BYTES:
        return os_dir_free_bytes(f->dir, &bytes);
    default:
        return sim_os(f->disk)->random(sim_os(f->disk), buf, sizeof buf);
    }
}

/* ---- Faults ---- */

static void every_kind_of_call_can_be_failed_and_then_changes_nothing(void **state) {
    const fixture *f = *state;
    uint64_t before = sim_fingerprint(f->disk);
    for (unsigned kind = 1; kind < SIM_ALL; kind <<= 1) {
        sim_fault_set(f->disk, &(sim_fault){.kinds = kind, .error = -EDQUOT, .sticky = true});
        uint64_t operations = sim_operations(f->disk);
        assert_int_equal(do_call(f, kind), -EDQUOT);
        assert_int_equal(do_call(f, kind), -EDQUOT);
        assert_int_equal(sim_fault_hits(f->disk), 2);
        assert_int_equal(sim_operations(f->disk) - operations, kind & SIM_MUTATING ? 2 : 0);
        assert_int_equal(sim_fingerprint(f->disk), before);
    }
    sim_fault_set(f->disk, NULL);
    for (unsigned kind = SIM_ALL / 2 + 1; kind > 0; kind >>= 1)
        if (kind != SIM_UNLINK) assert_int_equal(do_call(f, kind), 0);
}

static void the_nth_call_fails_once_or_for_good(void **state) {
    const fixture *f = *state;
    sim_fault_set(f->disk, &(sim_fault){.kinds = SIM_WRITE | SIM_SYNC, .nth = 2, .error = -EIO});
    assert_int_equal(do_call(f, SIM_WRITE), 0);
    assert_int_equal(do_call(f, SIM_READ), 0);
    assert_int_equal(do_call(f, SIM_SYNC), 0);
    assert_int_equal(do_call(f, SIM_WRITE), -EIO);
    assert_int_equal(do_call(f, SIM_WRITE), 0);
    assert_int_equal(sim_fault_calls(f->disk), 4);
    assert_int_equal(sim_fault_hits(f->disk), 1);

    sim_fault_set(f->disk, &(sim_fault){.kinds = SIM_WRITE, .nth = 1, .error = -ENOSPC, .sticky = true});
    assert_int_equal(do_call(f, SIM_WRITE), 0);
    assert_int_equal(do_call(f, SIM_WRITE), -ENOSPC);
    assert_int_equal(do_call(f, SIM_WRITE), -ENOSPC);
    sim_fault_set(f->disk, NULL);
    assert_int_equal(do_call(f, SIM_WRITE), 0);
}

static void a_partial_write_leaves_a_prefix(void **state) {
    const fixture *f = *state;
    bool none = false, some = false;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(os_file_write(f->file, "xxxxxxxx", 8, 0), 0);
        sim_fault_set(f->disk, &(sim_fault){.kinds = SIM_WRITE, .error = -EIO, .partial = true});
        struct iovec iov[2] = {{(void *)"yyy", 3}, {(void *)"yyyyy", 5}};
        assert_int_equal(os_file_writev(f->file, iov, 2, 0), -EIO);
        char buf[8];
        size_t got, written = 0;
        assert_int_equal(os_file_read(f->file, buf, 8, 0, &got), 0);
        while (written < 8 && buf[written] == 'y')
            written++;
        assert_true(written < 8);
        for (size_t k = written; k < 8; k++)
            assert_int_equal(buf[k], 'x');
        none |= written == 0;
        some |= written > 0;
    }
    assert_true(none && some);
}

/* ---- The cut ---- */

static void after_the_cut_every_call_fails_and_changes_nothing(void **state) {
    const fixture *f = *state;
    uint64_t begin = sim_operations(f->disk);
    sim_cut_at(f->disk, begin + 2);
    assert_int_equal(do_call(f, SIM_WRITE), 0);
    assert_int_equal(do_call(f, SIM_READ), 0);
    assert_int_equal(do_call(f, SIM_SYNC), 0);
    uint64_t before = sim_fingerprint(f->disk);
    for (unsigned kind = 1; kind < SIM_ALL; kind <<= 1)
        assert_int_equal(do_call(f, kind), -EIO);
    assert_int_equal(sim_fingerprint(f->disk), before);
    assert_int_equal(sim_operations(f->disk), begin + 2);
}

static void making_a_directory_is_two_operations(void **state) {
    const fixture *f = *state;
    os *o = sim_os(f->disk);
    os_dir *dir;
    uint64_t begin = sim_operations(f->disk);
    sim_disk *copy = sim_clone(f->disk);
    sim_cut_at(copy, begin + 1);
    assert_int_equal(sim_os(copy)->dir_open(sim_os(copy), "t", OS_CREATE, &dir), -EIO);
    sim_disk *with = sim_crash(copy, 1), *without = sim_crash(copy, 0);
    assert_int_equal(sim_os(with)->dir_open(sim_os(with), "t", 0, &dir), 0);
    os_dir_close(dir);
    assert_int_equal(sim_os(without)->dir_open(sim_os(without), "t", 0, &dir), -ENOENT);
    sim_free(with);
    sim_free(without);
    sim_free(copy);
    assert_int_equal(o->dir_open(o, "t", OS_CREATE, &dir), 0);
    os_dir_close(dir);
    assert_int_equal(sim_operations(f->disk), begin + 2);
}

static void count_and_clone(void *ctx, sim_disk *d) {
    uint64_t *calls = ctx;
    sim_disk *copy = sim_clone(d);
    sim_disk *crashed = sim_crash(copy, ++*calls);
    sim_free(crashed);
    sim_free(copy);
}

static void the_hook_is_called_after_each_operation_and_may_clone(void **state) {
    const fixture *f = *state;
    uint64_t calls = 0, begin = sim_operations(f->disk);
    sim_on_operation(f->disk, count_and_clone, &calls);
    for (unsigned kind = SIM_ALL / 2 + 1; kind > 0; kind >>= 1)
        do_call(f, kind);
    os_dir *dir;
    assert_int_equal(sim_os(f->disk)->dir_open(sim_os(f->disk), "t", OS_CREATE, &dir), 0);
    os_dir_close(dir);
    assert_int_equal(calls, 10);
    assert_int_equal(sim_operations(f->disk), begin + calls);
    sim_on_operation(f->disk, NULL, NULL);
}

/* ---- Space ---- */

static void a_full_disk_takes_part_of_a_write(void **state) {
    const fixture *f = *state;
    static char bytes[5 * 4096];
    uint64_t left;
    os_file_info info;
    sim_set_capacity(f->disk, 4 * 4096); /* two blocks are taken */
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, 2 * 4096);
    memset(bytes, 'y', sizeof bytes);
    assert_int_equal(os_file_write(f->file, bytes, sizeof bytes, 4096), -ENOSPC);
    assert_int_equal(os_file_info_get(f->file, &info), 0);
    assert_int_equal(info.size, 4 * 4096);
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, 0);

    assert_int_equal(os_file_write(f->file, bytes, 4 * 4096, 0), 0); /* over blocks that it has */
    assert_int_equal(os_file_write(f->file, bytes, 1, 4 * 4096), -ENOSPC);
    assert_int_equal(os_file_truncate(f->file, 100 * 4096), 0); /* a hole takes none */
    assert_int_equal(os_file_punch(f->file, 0, 4096), 0);
    assert_int_equal(os_file_write(f->file, bytes, 1, 50 * 4096), 0);
    assert_int_equal(os_file_write(f->file, bytes, 1, 60 * 4096), -ENOSPC);
}

static void space_comes_back_when_name_and_handles_are_gone(void **state) {
    const fixture *f = *state;
    uint64_t before, left;
    os_file *file;
    sim_set_capacity(f->disk, 1 << 20);
    assert_int_equal(os_dir_free_bytes(f->dir, &before), 0);
    assert_int_equal(os_file_open(f->dir, "b", OS_CREATE, &file), 0);
    assert_int_equal(os_file_write(file, "y", 1, 100000), 0);
    assert_int_equal(os_unlink(f->dir, "b"), 0);
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, before - 4096);
    os_file_close(file);
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, before);
    sim_file_write(f->disk, "s", "b", "bytes", 5);
    sim_file_write(f->disk, "s", "c", "bytes", 5);
    assert_int_equal(os_rename(f->dir, "b", "c"), 0);
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, before - 4096);
    assert_int_equal(os_unlink(f->dir, "c"), 0);
    assert_int_equal(os_dir_free_bytes(f->dir, &left), 0);
    assert_int_equal(left, before);
    sim_disk *copy = sim_clone(f->disk);
    os_dir *dir;
    assert_int_equal(sim_os(copy)->dir_open(sim_os(copy), "s", 0, &dir), 0);
    assert_int_equal(os_dir_free_bytes(dir, &left), 0);
    assert_int_equal(left, before);
    os_dir_close(dir);
    sim_free(copy);
}

/* ---- From outside ---- */

static void files_are_damaged_behind_the_programs_back(void **state) {
    const fixture *f = *state;
    size_t size;
    assert_true(sim_file_poke(f->disk, "s", "a", 4999, 0xff));
    assert_false(sim_file_poke(f->disk, "s", "a", 5000, 0xff));
    assert_false(sim_file_poke(f->disk, "s", "none", 0, 0xff));
    sim_file_write(f->disk, "s", "b", "bytes", 5);
    assert_true(sim_file_resize(f->disk, "s", "b", 3));
    assert_false(sim_file_resize(f->disk, "s", "none", 3));
    for (uint64_t seed = 0; seed < 8; seed++) { /* durable, names too */
        sim_disk *crashed = sim_crash(f->disk, seed);
        uint8_t *bytes = sim_file_read(crashed, "s", "b", &size);
        assert_int_equal(size, 3);
        assert_memory_equal(bytes, "byt", 3);
        free(bytes);
        sim_free(crashed);
    }
    uint8_t *bytes = sim_file_read(f->disk, "s", "a", &size);
    assert_int_equal(size, 5000);
    assert_int_equal(bytes[4998], 'x');
    assert_int_equal(bytes[4999], 'x' ^ 0xff);
    free(bytes);
    char names[4][SIM_NAME_SIZE];
    assert_int_equal(sim_names(f->disk, "s", names, 4), 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_true(sim_file_remove(f->disk, "s/", "b"));
    assert_false(sim_file_remove(f->disk, "s", "b"));
    assert_null(sim_file_read(f->disk, "s", "b", &size));
    assert_int_equal(sim_names(f->disk, "s", names, 0), 1);
    assert_int_equal(sim_names(f->disk, "none", names, 4), 0);
}

static void time_stands_still_until_it_is_moved(void **state) {
    const fixture *f = *state;
    os *o = sim_os(f->disk);
    uint64_t wall = o->clock_ms(o), monotonic = o->monotonic_ns(o);
    assert_int_equal(o->clock_ms(o), wall);
    sim_clock_advance(f->disk, 250);
    assert_int_equal(o->clock_ms(o), wall + 250);
    assert_int_equal(o->monotonic_ns(o), monotonic + 250000000);
}

static void random_bytes_follow_the_seed(void **state) {
    (void)state;
    uint8_t bytes[3][16];
    static const uint64_t seeds[3] = {5, 5, 6};
    for (int i = 0; i < 3; i++) {
        sim_disk *d = sim_new(seeds[i]);
        assert_int_equal(sim_os(d)->random(sim_os(d), bytes[i], 16), 0);
        sim_free(d);
    }
    assert_memory_equal(bytes[0], bytes[1], 16);
    assert_memory_not_equal(bytes[0], bytes[2], 16);
}

static void the_trace_tells_the_last_operations(void **state) {
    const fixture *f = *state;
    char text[4096];
    for (int i = 0; i < 100; i++)
        assert_int_equal(do_call(f, SIM_WRITE), 0);
    assert_int_equal(do_call(f, SIM_RENAME), 0);
    assert_int_equal(do_call(f, SIM_RENAME), -ENOENT);
    sim_trace(f->disk, text, sizeof text);
    assert_non_null(strstr(text, " write a  @0 +8 = 0\n"));
    assert_non_null(strstr(text, " rename a b @0 +0 = 0\n"));
    assert_non_null(strstr(text, " rename a b @0 +0 = -2\n"));
    sim_trace(f->disk, text, 10);
    assert_true(strlen(text) < 10);
}

/* ---- Threads ---- */

typedef struct writer {
    os_thread thread;
    const fixture *f;
    char name[2];
    int failed;
} writer;

static void *writer_run(void *arg) {
    writer *w = arg;
    os_file *file;
    if (os_file_open(w->f->dir, w->name, OS_CREATE, &file) != 0) return NULL;
    for (unsigned i = 0; i < 100; i++) {
        if (os_file_write(file, w->name, 1, i * 777) != 0) w->failed++;
        if (i % 7 == 0 && os_file_sync(file) != 0) w->failed++;
        if (i % 20 == 0) os_dir_sync(w->f->dir);
    }
    os_file_close(file);
    return NULL;
}

static void *cloner_run(void *arg) {
    const fixture *f = arg;
    for (uint64_t i = 0; i < 100; i++) {
        sim_disk *copy = sim_clone(f->disk);
        sim_disk *crashed = sim_crash(copy, i);
        sim_fingerprint(crashed);
        sim_file_poke(crashed, "s", "a", i, 1);
        sim_free(crashed);
        sim_free(copy);
    }
    return NULL;
}

static void threads_write_while_others_take_copies(void **state) {
    fixture *f = *state;
    writer writers[3] = {0};
    os_thread cloner;
    for (unsigned i = 0; i < 3; i++) {
        writers[i].f = f;
        writers[i].name[0] = (char)('b' + i);
        assert_int_equal(os_thread_start(&writers[i].thread, writer_run, &writers[i]), 0);
    }
    assert_int_equal(os_thread_start(&cloner, cloner_run, f), 0);
    os_thread_join(&cloner);
    for (unsigned i = 0; i < 3; i++) {
        os_thread_join(&writers[i].thread);
        assert_int_equal(writers[i].failed, 0);
        size_t size;
        uint8_t *bytes = sim_file_read(f->disk, "s", writers[i].name, &size);
        assert_int_equal(size, 99 * 777 + 1);
        free(bytes);
    }
}

#define ON_DISK(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_DISK(every_kind_of_call_can_be_failed_and_then_changes_nothing),
        ON_DISK(the_nth_call_fails_once_or_for_good),
        ON_DISK(a_partial_write_leaves_a_prefix),
        ON_DISK(after_the_cut_every_call_fails_and_changes_nothing),
        ON_DISK(making_a_directory_is_two_operations),
        ON_DISK(the_hook_is_called_after_each_operation_and_may_clone),
        ON_DISK(a_full_disk_takes_part_of_a_write),
        ON_DISK(space_comes_back_when_name_and_handles_are_gone),
        ON_DISK(files_are_damaged_behind_the_programs_back),
        ON_DISK(time_stands_still_until_it_is_moved),
        cmocka_unit_test(random_bytes_follow_the_seed),
        ON_DISK(the_trace_tells_the_last_operations),
        ON_DISK(threads_write_while_others_take_copies),
    };
    int failed = os_promises_run("promises of os.h, simulated disk", make_promises, free_promises);
    return failed + cmocka_run_group_tests_name("simulated disk", tests, NULL, NULL);
}

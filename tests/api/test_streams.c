/* Values as streams: writers, readers, views; what they see, what they hold, what an abort leaves. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (KIB * 1024)

/* Byte `i` of every stream here is byte i of the pool, again and again, from `seed` on: so any part of a value of any
 * size can be checked without holding it. */
#define PERIOD (POOL_BYTES / 2)
static const uint8_t *stream_bytes(uint64_t seed, uint64_t offset, size_t *run) {
    uint64_t at = (seed * 4099 + offset) % PERIOD;
    *run = PERIOD - at;
    return random_pool() + at;
}

static void write_stream(cairn_writer *w, uint64_t seed, uint64_t size, size_t piece) {
    for (uint64_t offset = 0; offset < size;) {
        size_t run;
        const uint8_t *bytes = stream_bytes(seed, offset, &run);
        run = min_u64(min_u64(run, piece), size - offset);
        CHECK(cairn_writer_write(w, bytes, run, NULL) == CAIRN_OK);
        offset += run;
    }
}

static bool is_stream(const uint8_t *bytes, uint64_t seed, uint64_t offset, size_t size) {
    while (size > 0) {
        size_t run;
        const uint8_t *expected = stream_bytes(seed, offset, &run);
        run = min_u64(run, size);
        if (memcmp(bytes, expected, run) != 0) return false;
        bytes += run;
        offset += run;
        size -= run;
    }
    return true;
}

static void check_reader(cairn_reader *r, uint64_t seed, uint64_t size, size_t piece) {
    uint8_t *buf = malloc(piece);
    CHECK(buf != NULL && cairn_reader_size(r) == size);
    for (uint64_t offset = 0;; offset += piece) {
        size_t got = 0;
        CHECK(cairn_reader_pread(r, buf, piece, offset, &got, NULL) == CAIRN_OK);
        CHECK(got == (offset >= size ? 0 : min_u64(piece, size - offset)));
        CHECK(is_stream(buf, seed, offset, got));
        if (got == 0) break;
    }
    free(buf);
}

static cairn_writer *begin(cairn *s, const char *key) {
    cairn_writer *w = NULL;
    assert_int_equal(cairn_writer_open(s, key, strlen(key), NULL, &w, NULL), CAIRN_OK);
    return w;
}

static cairn_reader *read_of(cairn *s, const char *key) {
    cairn_reader *r = NULL;
    assert_int_equal(cairn_reader_open(s, key, strlen(key), &r, NULL), CAIRN_OK);
    return r;
}

static cairn_view *view_of(cairn *s, const char *key) {
    cairn_view *v = NULL;
    assert_int_equal(cairn_view_open(s, key, strlen(key), &v, NULL), CAIRN_OK);
    return v;
}

static size_t count_files(const char *path, const char *suffix) {
    size_t count, found = 0;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(path, &count);
    for (size_t i = 0; i < count; i++)
        found += strstr(names[i], suffix) != NULL;
    free(names);
    return found;
}

static void stream_and_check(cairn *s, uint64_t size, size_t piece) {
    cairn_writer *w = begin(s, "k");
    write_stream(w, size, size, piece);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    cairn_reader *r = read_of(s, "k");
    check_reader(r, size, size, 3 * KIB * 100 + 1);
    cairn_reader_close(r);
    void *value;
    size_t got;
    assert_int_equal(cairn_get(s, "k", 1, &value, &got, NULL), CAIRN_OK);
    assert_int_equal(got, size);
    assert_true(is_stream(value, size, 0, size));
    cairn_free(value);
    cairn_view *v = view_of(s, "k");
    assert_int_equal(cairn_view_size(v), size);
    assert_true(is_stream(cairn_view_data(v), size, 0, size));
    cairn_view_close(v);
}

/* A writer's buffer is 4 MiB or a quarter of a segment, whichever is less. */
static void streams_around_every_limit_come_back_whole(void **state) {
    box *b = *state;
    const uint64_t segments[] = {1 * MIB, 8 * MIB, 64 * MIB};
    const size_t pieces[] = {1000, 64 * KIB, 300 * KIB, 5 * MIB};
    for (size_t i = 0; i < 3; i++) {
        uint64_t quarter = segments[i] / 4, limit = min_u64(quarter, 4 * MIB);
        const uint64_t sizes[] = {0, 1, limit - 1, limit, limit + 1, quarter, segments[i] / 2 + 1, segments[i] + 5};
        b->options.segment_bytes = segments[i];
        box_reopen(b);
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            if (sizes[j] <= 20 * MIB) stream_and_check(b->store, sizes[j], pieces[(i + j) % 4]);
        }
        cairn_entry before = {.struct_size = sizeof before}, after = before;
        assert_int_equal(cairn_stat(b->store, "k", 1, &before, NULL), CAIRN_OK);
        box_reopen(b);
        assert_int_equal(cairn_stat(b->store, "k", 1, &after, NULL), CAIRN_OK);
        assert_memory_equal(&before, &after, sizeof before);
        cairn_reader *r = read_of(b->store, "k");
        check_reader(r, after.value_size, after.value_size, MIB);
        cairn_reader_close(r);
    }
}

static void a_stream_of_single_bytes_is_a_value_like_another(void **state) {
    box *b = *state;
    stream_and_check(b->store, BOX_PAYLOAD_MAX + 70000, 1);
    stream_and_check(b->store, 70000, 1);
}

/* ---- Visibility ---- */

static void nothing_is_visible_before_the_commit_and_nothing_after_an_abort(void **state) {
    box *b = *state;
    const size_t sizes[] = {0, 10, BOX_PAYLOAD_MAX, BOX_PAYLOAD_MAX + 1, 3 * MIB};
    for (size_t i = 0; i < 5; i++) {
        cairn_writer *w = begin(b->store, "new"), *over = begin(b->store, "old");
        put_text(b->store, "old", "before", 6);
        write_stream(w, 1, sizes[i], 100 * KIB);
        write_stream(over, 1, sizes[i], 100 * KIB);
        expect_absent(b->store, "new");
        expect_get(b->store, "old", 3, "before", 6);
        cairn_writer_abort(w);
        cairn_writer_abort(over);
        expect_absent(b->store, "new");
        expect_get(b->store, "old", 3, "before", 6);
        assert_int_equal(count_files(b->path, ".val"), 0);
        box_reopen(b);
        expect_absent(b->store, "new");
        expect_get(b->store, "old", 3, "before", 6);
    }
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(b->store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.streams, 0);
}

static void a_crash_in_the_middle_leaves_nothing_of_a_stream(void **state) {
    box *b = *state;
    box_quiet(b);
    cairn_writer *w = begin(b->store, "cut");
    write_stream(w, 1, 3 * MIB, MIB);
    put_text(b->store, "k", "v", 1);
    char copy[REAL_PATH_SIZE];
    real_folder_duplicate(b->path, copy);
    assert_int_equal(count_files(copy, ".val"), 1);
    cairn_writer_abort(w);
    cairn *s = store_open_or_fail(copy, &b->options);
    expect_absent(s, "cut");
    expect_get(s, "k", 1, "v", 1);
    assert_int_equal(count_files(copy, ".val"), 0);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    real_folder_remove(copy);
}

static void the_last_of_several_commits_on_a_key_wins(void **state) {
    box *b = *state;
    cairn_writer *first = begin(b->store, "k"), *second = begin(b->store, "k");
    write_stream(second, 2, MIB, MIB);
    write_stream(first, 1, 2 * MIB, MIB);
    assert_int_equal(cairn_writer_commit(second, NULL), CAIRN_OK);
    uint64_t version = version_of(b->store, "k");
    assert_int_equal(cairn_writer_commit(first, NULL), CAIRN_OK);
    assert_true(version_of(b->store, "k") > version);
    cairn_reader *r = read_of(b->store, "k");
    check_reader(r, 1, 2 * MIB, MIB);
    cairn_reader_close(r);
    box_reopen(b);
    assert_int_equal(count_files(b->path, ".val"), 1);
}

static void many_writers_fill_their_values_in_turns(void **state) {
    box *b = *state;
    enum { WRITERS = 12 };
    cairn_writer *w[WRITERS];
    char key[8];
    box_quiet(b);
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        w[i] = begin(b->store, key);
    }
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < WRITERS; i++) {
            for (uint64_t offset = round * i * 7000; offset < (round + 1) * i * 7000;) {
                size_t run;
                const uint8_t *bytes = stream_bytes(i, offset, &run);
                run = min_u64(run, (round + 1) * i * 7000 - offset);
                assert_int_equal(cairn_writer_write(w[i], bytes, run, NULL), CAIRN_OK);
                offset += run;
            }
        }
    }
    for (unsigned i = WRITERS; i-- > 0;)
        assert_int_equal(cairn_writer_commit(w[i], NULL), CAIRN_OK);
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < WRITERS; i++) {
            (void)snprintf(key, sizeof key, "k%u", i);
            cairn_reader *r = read_of(b->store, key);
            check_reader(r, i, (uint64_t)i * 70000, 99999);
            cairn_reader_close(r);
        }
        box_crash(b);
    }
}

/* ---- What is held ---- */

static void readers_views_and_scans_keep_what_they_saw(void **state) {
    box *b = *state;
    const size_t sizes[] = {0, 100, 100000, BOX_PAYLOAD_MAX + 100000};
    for (size_t i = 0; i < 4; i++) {
        cairn_writer *w = begin(b->store, "k");
        write_stream(w, 5, sizes[i], 50000);
        assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
        cairn_reader *r = read_of(b->store, "k");
        cairn_view *v = view_of(b->store, "k");
        cairn_scan *scan = NULL;
        assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
        for (int step = 0; step < 4; step++) {
            switch (step) {
            case 0:
                put_text(b->store, "k", random_pool() + 11, 70000);
                break;
            case 1:
                put_text(b->store, "k", random_pool() + 11, BOX_PAYLOAD_MAX + 1);
                break;
            case 2:
                assert_int_equal(cairn_delete(b->store, "k", 1, NULL, NULL), CAIRN_OK);
                break;
            default: /* Segments roll and are sealed meanwhile. */
                for (int n = 0; n < 8; n++)
                    put_text(b->store, "other", random_pool(), BOX_PAYLOAD_MAX);
                assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
            }
            check_reader(r, 5, sizes[i], 33333);
            assert_int_equal(cairn_view_size(v), sizes[i]);
            assert_true(is_stream(cairn_view_data(v), 5, 0, sizes[i]));
        }
        bool seen = false;
        int rc;
        while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
            size_t key_size, size;
            const void *value;
            if (memcmp(cairn_scan_key(scan, &key_size), "k", 1) != 0 || key_size != 1) continue;
            assert_int_equal(cairn_scan_value_size(scan), sizes[i]);
            assert_int_equal(cairn_scan_value(scan, &value, &size, NULL), CAIRN_OK);
            assert_true(is_stream(value, 5, 0, size));
            seen = true;
        }
        assert_int_equal(rc, CAIRN_DONE);
        assert_true(seen);
        cairn_scan_close(scan);
        cairn_view_close(v);
        cairn_reader_close(r);
    }
}

static void close_is_busy_while_children_live_and_does_nothing(void **state) {
    box *b = *state;
    put_text(b->store, "k", "v", 1);
    cairn_writer *w = begin(b->store, "w");
    cairn_reader *r = read_of(b->store, "k");
    cairn_view *v = view_of(b->store, "k");
    cairn_scan *scan = NULL;
    assert_int_equal(cairn_scan_open(b->store, NULL, &scan, NULL), CAIRN_OK);
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    put_text(b->store, "l", "still open", 10);
    cairn_scan_close(scan);
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    cairn_view_close(v);
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    cairn_reader_close(r);
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    assert_int_equal(cairn_writer_write(w, "x", 1, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    w = begin(b->store, "w");
    assert_int_equal(cairn_close(b->store), CAIRN_BUSY);
    cairn_writer_abort(w);
    box_reopen(b);
    expect_get(b->store, "w", 1, "x", 1);
    expect_get(b->store, "l", 1, "still open", 10);
}

/* ---- Larger than memory ---- */

typedef struct beside {
    cairn *store;
    atomic_bool stop;
    atomic_uint puts;
} beside;

static void *put_beside(void *arg) {
    beside *b = arg;
    uint8_t back[4096];
    while (!atomic_load(&b->stop)) {
        unsigned n = atomic_fetch_add(&b->puts, 1);
        char key[16];
        size_t got = 0;
        int length = snprintf(key, sizeof key, "small %u", n % 50);
        CHECK(cairn_put(b->store, key, (size_t)length, random_pool() + n % 1000, sizeof back, NULL, NULL) == CAIRN_OK);
        CHECK(cairn_get_into(b->store, key, (size_t)length, back, sizeof back, &got, NULL) == CAIRN_OK);
        CHECK(got == sizeof back && memcmp(back, random_pool() + n % 1000, got) == 0);
        usleep(500);
    }
    return NULL;
}

static size_t peak_resident(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (size_t)usage.ru_maxrss * KIB;
}

/* Streams one value through a store in this process, with puts beside it; exits with what is wrong. */
static _Noreturn void stream_in_this_process(const char *path, uint64_t size) {
    const cairn_options o = {.struct_size = sizeof o, .create = true};
    beside b = {.store = NULL};
    os_thread thread;
    cairn_writer *w = NULL;
    cairn_reader *r = NULL;
    (void)random_pool();
    if (cairn_open(&b.store, path, &o, NULL) != CAIRN_OK) _exit(2);
    CHECK(cairn_put(b.store, "k", 1, random_pool(), 4096, NULL, NULL) == CAIRN_OK);
    size_t before = peak_resident();
    CHECK(os_thread_start(&thread, put_beside, &b) == 0);
    CHECK(cairn_writer_open(b.store, "big", 3, NULL, &w, NULL) == CAIRN_OK);
    unsigned puts_before = atomic_load(&b.puts);
    write_stream(w, 77, size, 100000);
    if (atomic_load(&b.puts) - puts_before < 10) _exit(3);
    CHECK(cairn_writer_commit(w, NULL) == CAIRN_OK);
    CHECK(cairn_reader_open(b.store, "big", 3, &r, NULL) == CAIRN_OK);
    check_reader(r, 77, size, 100000);
    cairn_reader_close(r);
    atomic_store(&b.stop, true);
    os_thread_join(&thread);
    size_t grown = peak_resident() - before;
    if (cairn_close(b.store) != CAIRN_OK) _exit(4);
    printf("a stream of %llu MiB: peak resident memory grew by %zu KiB beside %u puts\n",
           (unsigned long long)(size / MIB), grown / KIB, atomic_load(&b.puts));
    fflush(stdout);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (grown >= 64 * MIB) _exit(5);
#endif
    _exit(0);
}

/* In a process of its own, because the peak of resident memory is one of a process. */
static void a_stream_of_200_MiB_takes_little_memory_and_lets_puts_go_on(void **state) {
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) stream_in_this_process(*state, rung_choose(200, 40, 3072) * MIB);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stream_of_200_MiB_takes_little_memory_and_lets_puts_go_on, real_folder_setup,
                                        real_folder_teardown),
        TEST(streams_around_every_limit_come_back_whole),
        TEST(a_stream_of_single_bytes_is_a_value_like_another),
        TEST(nothing_is_visible_before_the_commit_and_nothing_after_an_abort),
        TEST(a_crash_in_the_middle_leaves_nothing_of_a_stream),
        TEST(the_last_of_several_commits_on_a_key_wins),
        TEST(many_writers_fill_their_values_in_turns),
        TEST(readers_views_and_scans_keep_what_they_saw),
        TEST(close_is_busy_while_children_live_and_does_nothing),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}

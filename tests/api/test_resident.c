/* Values in RAM: what is resident costs no file call, a budget is kept, and what was overwritten, deleted or has
 * expired is never served. Called with the name of a folder the program is the one that strace watches. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"
#include "tests/support/store_box.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const size_t sizes[] = {0, 1, 4096, 65536, 200000, SIM_BOX_PAYLOAD_MAX + 9};
#define SIZES (sizeof sizes / sizeof sizes[0])
#define WAYS 5u

static void key_of(char key[16], unsigned i) { (void)snprintf(key, 16, "key %u", i); }

/* One way of reading; every one must give these bytes. */
static void read_by(cairn *store, unsigned way, const char *key, const uint8_t *value, size_t size) {
    static uint8_t buf[SIM_BOX_PAYLOAD_MAX + 100];
    size_t got;
    cairn_view *view;
    cairn_entry entry = {.struct_size = sizeof entry};
    switch (way % WAYS) {
    case 0:
        expect_get(store, key, strlen(key), value, size);
        break;
    case 1:
        assert_int_equal(cairn_get_into(store, key, strlen(key), buf, sizeof buf, &got, NULL), CAIRN_OK);
        assert_int_equal(got, size);
        assert_memory_equal(buf, value, size);
        break;
    case 2:
        assert_int_equal(cairn_read(store, key, strlen(key), size / 2, buf, sizeof buf, &got, NULL), CAIRN_OK);
        assert_int_equal(got, size - size / 2);
        assert_memory_equal(buf, value + size / 2, got);
        break;
    case 3:
        assert_int_equal(cairn_view_open(store, key, strlen(key), &view, NULL), CAIRN_OK);
        assert_int_equal(cairn_view_size(view), size);
        assert_memory_equal(cairn_view_data(view), value, size);
        cairn_view_close(view);
        break;
    default:
        assert_int_equal(cairn_stat(store, key, strlen(key), &entry, NULL), CAIRN_OK);
        assert_int_equal(entry.value_size, size);
    }
}

static int setup_resident(void **state) {
    int rc = sim_box_setup(state);
    sim_box *b = *state;
    b->options.cache_bytes = UINT64_MAX;
    sim_box_reopen(b);
    return rc;
}

/* ---- All resident ---- */

/* The first way of a value's first use, then all ways: no call at all after the first. */
static void after_its_first_use_a_value_costs_no_file_call(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < SIZES; i++) {
        char key[16];
        key_of(key, i);
        put_text(b->store, key, random_pool() + i, sizes[i]);
    }
    for (unsigned first = 0; first < 4; first++) { /* a stat alone brings nothing in */
        sim_box_reopen(b);
        for (unsigned i = 0; i < SIZES; i++) {
            char key[16];
            key_of(key, i);
            sim_box_count(b, SIM_ALL);
            read_by(b->store, first, key, random_pool() + i, sizes[i]);
            /* (A part that begins at the end of an empty value is known without it.) */
            if (sizes[i] > 0) assert_true(sim_box_counted(b) > 0);
            read_by(b->store, 0, key, random_pool() + i, sizes[i]);
            sim_box_count(b, SIM_ALL);
            for (unsigned way = 0; way < WAYS; way++)
                read_by(b->store, way, key, random_pool() + i, sizes[i]);
            assert_int_equal(sim_box_counted(b), 0);
        }
        sim_fault_set(b->disk, NULL);
    }
}

static void what_is_put_is_resident_at_once(void **state) {
    sim_box *b = *state;
    for (int compression = CAIRN_COMPRESSION_NONE; compression <= CAIRN_COMPRESSION_ZSTD; compression++) {
        b->options.compression = compression;
        sim_box_reopen(b);
        for (unsigned round = 0; round < 3; round++) {
            static const char text[] = "again and again and again and again and again and again and again and again";
            const size_t some[] = {0, 1, sizeof text, 4096, 200000};
            for (unsigned i = 0; i < 5; i++) {
                const uint8_t *value = i == 2 ? (const uint8_t *)text : random_pool() + round;
                put_text(b->store, "k", value, some[i]);
                sim_box_count(b, SIM_ALL);
                for (unsigned way = 0; way < WAYS; way++)
                    read_by(b->store, way, "k", value, some[i]);
                assert_int_equal(sim_box_counted(b), 0);
            }
        }
        sim_fault_set(b->disk, NULL);
    }
}

static void the_entry_of_a_resident_value_is_that_of_its_record(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < SIZES; i++) {
        put_for(b->store, "k", random_pool(), sizes[i], i % 2 == 0 ? 0 : 100000);
        read_by(b->store, 0, "k", random_pool(), sizes[i]);
        cairn_entry cached = entry_of(b->store, "k");
        b->options.cache_bytes = 0;
        sim_box_reopen(b);
        cairn_entry plain = entry_of(b->store, "k");
        assert_int_equal(cached.value_size, plain.value_size);
        assert_int_equal(cached.stored_size, plain.stored_size);
        assert_int_equal(cached.version, plain.version);
        assert_int_equal(cached.expires_at_ms, plain.expires_at_ms);
        b->options.cache_bytes = UINT64_MAX;
        sim_box_reopen(b);
    }
}

static void batches_and_streams_are_resident_after_their_first_read(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    cairn_writer *w;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, "batch", 5, random_pool(), 5000), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    assert_int_equal(cairn_writer_open(b->store, "stream", 6, NULL, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, random_pool(), 300000 - 40000, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    read_by(b->store, 0, "batch", random_pool(), 5000);
    read_by(b->store, 3, "stream", random_pool(), 260000);
    sim_box_count(b, SIM_ALL);
    for (unsigned way = 0; way < WAYS; way++) {
        read_by(b->store, way, "batch", random_pool(), 5000);
        read_by(b->store, way, "stream", random_pool(), 260000);
    }
    assert_int_equal(sim_box_counted(b), 0);
    sim_fault_set(b->disk, NULL);
}

static void figures_count_hits_misses_and_bytes(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", random_pool(), 100000);
    put_text(b->store, "l", random_pool(), 50000);
    sim_box_reopen(b);
    cairn_stats s = stats_of(b->store);
    assert_int_equal(s.cache_hits, 0);
    assert_true(s.cache_bytes < 50000);
    read_by(b->store, 0, "k", random_pool(), 100000);
    s = stats_of(b->store);
    assert_true(s.cache_misses >= 1 && s.cache_hits == 0);
    assert_true(s.cache_bytes > 100000);
    uint64_t misses = s.cache_misses;
    for (unsigned i = 0; i < 10; i++)
        read_by(b->store, i, "k", random_pool(), 100000);
    s = stats_of(b->store);
    assert_int_equal(s.cache_hits, 10);
    assert_int_equal(s.cache_misses, misses);
    delete_text(b->store, "k");
    assert_true(stats_of(b->store).cache_bytes < 50000);
}

static void a_view_outlives_what_it_shows(void **state) {
    sim_box *b = *state;
    cairn_view *view;
    for (unsigned i = 0; i < SIZES; i++) {
        put_for(b->store, "k", random_pool(), sizes[i], 100);
        read_by(b->store, 0, "k", random_pool(), sizes[i]);
        assert_int_equal(cairn_view_open(b->store, "k", 1, &view, NULL), CAIRN_OK);
        if (i % 3 == 0) put_text(b->store, "k", "other", 5);
        if (i % 3 == 1) delete_text(b->store, "k");
        if (i % 3 == 2) sim_clock_advance(b->disk, 100);
        for (unsigned n = 0; n < 50; n++) /* whatever was freed is used again */
            put_text(b->store, "more", random_pool() + 999, sizes[i]);
        assert_memory_equal(cairn_view_data(view), random_pool(), sizes[i]);
        cairn_view_close(view);
    }
}

static void a_damaged_value_is_not_kept(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    put_text(b->store, "k", random_pool() + 77, 5000);
    sim_box_close(b);
    sim_box_locate(b, ".seg", random_pool() + 77, 5000, name, &offset);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset + 4999, 1));
    sim_box_open(b);
    for (int i = 0; i < 3; i++) {
        void *value;
        size_t size;
        cairn_error error;
        assert_int_equal(cairn_get(b->store, "k", 1, &value, &size, &error), CAIRN_CORRUPT);
        assert_non_null(strstr(error.message, name));
        assert_true(stats_of(b->store).cache_bytes < 4000);
    }
}

/* ---- Never what is not there any more ---- */

#define MODEL_KEYS 20u

typedef struct model_value {
    unsigned number; /* 0: absent */
    uint64_t until;  /* 0: for ever */
} model_value;

static const uint8_t *value_of(unsigned number, size_t *size) {
    *size = number % 31 == 5 ? SIM_BOX_PAYLOAD_MAX + number % 90 : number % 7 == 2 ? 60000 : number % 3000;
    return random_pool() + number;
}

static void write_some(sim_box *b, model_value model[MODEL_KEYS], unsigned *number, uint64_t now, uint64_t *rng) {
    unsigned k = (unsigned)random_below(rng, MODEL_KEYS);
    char key[16];
    size_t size;
    key_of(key, k);
    uint64_t kind = random_below(rng, 6), ttl = random_one_in(rng, 3) ? 1 + random_below(rng, 30) : 0;
    if (kind == 0) {
        delete_text(b->store, key);
        model[k] = (model_value){0};
        return;
    }
    const uint8_t *value = value_of(++*number, &size);
    model[k] = (model_value){*number, ttl == 0 ? 0 : now + ttl};
    if (kind > 1) {
        put_for(b->store, key, value, size, ttl);
        return;
    }
    cairn_batch *batch;
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = ttl};
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_put(batch, key, strlen(key), value, size), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, batch, &o, NULL), CAIRN_OK);
    cairn_batch_free(batch);
}

static void read_some(sim_box *b, const model_value model[MODEL_KEYS], uint64_t now, uint64_t *rng) {
    unsigned k = (unsigned)random_below(rng, MODEL_KEYS);
    char key[16];
    size_t size;
    key_of(key, k);
    if (model[k].number == 0 || (model[k].until != 0 && model[k].until <= now)) {
        cairn_entry entry = {.struct_size = sizeof entry};
        void *value;
        assert_int_equal(cairn_get(b->store, key, strlen(key), &value, &size, NULL), CAIRN_NOT_FOUND);
        assert_int_equal(cairn_stat(b->store, key, strlen(key), &entry, NULL), CAIRN_NOT_FOUND);
        return;
    }
    const uint8_t *value = value_of(model[k].number, &size);
    read_by(b->store, (unsigned)random_below(rng, WAYS), key, value, size);
}

static void run_model(sim_box *b, uint64_t budget, uint64_t hash_mask) {
    model_value model[MODEL_KEYS] = {{0}};
    unsigned number = 0;
    uint64_t rng = budget, now = 0;
    sim_box_close(b);
    b->options.cache_bytes = budget;
    b->hash_mask = hash_mask;
    sim_box_open(b);
    for (uint64_t step = 0; step < rung_choose(4000, 1200, 200000); step++) {
        if (random_one_in(&rng, 4)) {
            write_some(b, model, &number, now, &rng);
        } else {
            read_some(b, model, now, &rng);
        }
        if (random_one_in(&rng, 9)) sim_clock_advance(b->disk, 3);
        if (rng % 9 == 0) assert_true(stats_of(b->store).cache_bytes <= budget);
        now = sim_os(b->disk)->clock_ms(sim_os(b->disk)) - 1000000000000u;
        if (random_one_in(&rng, 900)) sim_box_kill(b);
    }
    assert_true(stats_of(b->store).cache_hits > 0);
}

static void nothing_stale_is_served_where_all_is_resident(void **state) { run_model(*state, UINT64_MAX, UINT64_MAX); }
static void nothing_stale_is_served_within_a_budget(void **state) { run_model(*state, 600000, UINT64_MAX); }
static void nothing_stale_is_served_within_a_tiny_budget(void **state) { run_model(*state, 50000, UINT64_MAX); }
static void nothing_stale_is_served_where_hashes_collide(void **state) { run_model(*state, UINT64_MAX, 3); }

static void no_cache_keeps_nothing(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", random_pool(), 5000);
    for (unsigned i = 0; i < 20; i++)
        read_by(b->store, i, "k", random_pool(), 5000);
    cairn_stats s = stats_of(b->store);
    assert_int_equal(s.cache_bytes + s.cache_hits + s.cache_misses, 0);
}

static void a_budget_holds_whatever_is_read(void **state) {
    sim_box *b = *state;
    uint64_t budget = 1 << 20;
    b->options.cache_bytes = budget;
    sim_box_reopen(b);
    for (unsigned i = 0; i < 300; i++) {
        char key[16];
        key_of(key, i);
        put_text(b->store, key, random_pool() + i, i % 5 == 0 ? 60000 : 9000);
    }
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 300; i++) {
            char key[16];
            key_of(key, i);
            read_by(b->store, round, key, random_pool() + i, i % 5 == 0 ? 60000 : 9000);
            if (i % 20 == 0) assert_true(stats_of(b->store).cache_bytes <= budget);
        }
    }
    /* What is read again and again costs nothing in the end. */
    for (unsigned n = 0; n < 5; n++)
        read_by(b->store, 0, "key 7", random_pool() + 7, 9000);
    sim_box_count(b, SIM_ALL);
    read_by(b->store, 0, "key 7", random_pool() + 7, 9000);
    assert_int_equal(sim_box_counted(b), 0);
    sim_fault_set(b->disk, NULL);
}

/* ---- Under strace ---- */

#define WATCHED_KEYS 200u
#define MARK "/the-gets-begin-or-end-here"

static void mark(void) { CHECK(access(MARK, F_OK) != 0); }

static void watched_gets(cairn *store) {
    static uint8_t buf[4096];
    for (unsigned i = 0; i < WATCHED_KEYS; i++) {
        char key[16];
        size_t size;
        void *value;
        key_of(key, i);
        CHECK(cairn_get(store, key, strlen(key), &value, &size, NULL) == CAIRN_OK && size == 4096);
        cairn_free(value);
        CHECK(cairn_get_into(store, key, strlen(key), buf, sizeof buf, &size, NULL) == CAIRN_OK);
        CHECK(memcmp(buf, random_pool() + i, 4096) == 0);
    }
}

static int be_watched(const char *folder) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true, .cache_bytes = UINT64_MAX};
    cairn *store = NULL;
    CHECK(cairn_open(&store, folder, &o, NULL) == CAIRN_OK);
    for (unsigned i = 0; i < WATCHED_KEYS; i++) {
        char key[16];
        key_of(key, i);
        CHECK(cairn_put(store, key, strlen(key), random_pool() + i, 4096, NULL, NULL) == CAIRN_OK);
    }
    CHECK(cairn_close(store) == CAIRN_OK);
    CHECK(cairn_open(&store, folder, &o, NULL) == CAIRN_OK);
    watched_gets(store);
    mark();
    for (int round = 0; round < 5; round++)
        watched_gets(store);
    mark();
    CHECK(cairn_close(store) == CAIRN_OK);
    _exit(0); /* a leak checker does not work under strace */
}

/* Lines between the marks that are calls on files; memory is another matter. */
static unsigned calls_between_marks(const char *trace) {
    FILE *f = fopen(trace, "r");
    char line[1024];
    unsigned marks = 0, calls = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strstr(line, MARK) != NULL) {
            marks++;
        } else if (marks == 1 && strstr(line, "MAP_ANONYMOUS") == NULL && strstr(line, "munmap") == NULL) {
            print_message("%s", line);
            calls++;
        }
    }
    (void)fclose(f);
    assert_int_equal(marks, 2);
    return calls;
}

static void strace_sees_no_call_on_a_file(void **state) {
    char trace[REAL_PATH_SIZE], folder[REAL_PATH_SIZE], self[REAL_PATH_SIZE] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    real_path(trace, *state, "trace");
    real_path(folder, *state, "store");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0) (void)dup2(null, STDERR_FILENO);
        (void)execlp("strace", "strace", "-f", "-o", trace, "-e", "trace=%file,%desc", self, folder, (char *)NULL);
        _exit(77);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) skip(); /* no strace, or no right to trace */
    assert_int_equal(calls_between_marks(trace), 0);
    real_folder_remove(folder);
}

int main(int argc, char **argv) {
    if (argc == 2) return be_watched(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_resident, sim_box_teardown)
#define PLAIN_TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(after_its_first_use_a_value_costs_no_file_call),
        TEST(what_is_put_is_resident_at_once),
        TEST(the_entry_of_a_resident_value_is_that_of_its_record),
        TEST(batches_and_streams_are_resident_after_their_first_read),
        TEST(figures_count_hits_misses_and_bytes),
        TEST(a_view_outlives_what_it_shows),
        TEST(a_damaged_value_is_not_kept),
        PLAIN_TEST(nothing_stale_is_served_where_all_is_resident),
        PLAIN_TEST(nothing_stale_is_served_within_a_budget),
        PLAIN_TEST(nothing_stale_is_served_within_a_tiny_budget),
        PLAIN_TEST(nothing_stale_is_served_where_hashes_collide),
        PLAIN_TEST(no_cache_keeps_nothing),
        PLAIN_TEST(a_budget_holds_whatever_is_read),
        cmocka_unit_test_setup_teardown(strace_sees_no_call_on_a_file, real_folder_setup, real_folder_teardown),
    };
    return cmocka_run_group_tests_name("resident", tests, NULL, NULL);
}

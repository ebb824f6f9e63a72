/* Many threads on one store. Every value says whose it is and carries its own checksum by being a known window of a
 * pool, so a torn or foreign one is seen at once. Threads other than the test's own use CHECK: a failed one ends the
 * program. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS 48u
#define THREADS_MAX 8u
#define HEAD_BYTES 24u

typedef struct contest {
    cairn *store;
    uint64_t ops; /* of each thread */
    _Atomic uint64_t next_value;
    atomic_bool stop; /* for those that run until the others are done */
} contest;

typedef struct runner {
    contest *race;
    uint64_t rng;
    uint64_t seen[KEYS]; /* highest version that this thread saw of a key */
    uint8_t *buffer;     /* VALUE_MAX */
    os_thread thread;
} runner;

/* ---- Values that tell what they are ---- */

#define VALUE_MAX (BOX_PAYLOAD_MAX + 200000)

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "key %u", i); }

static const uint8_t *body_of(uint64_t seed, size_t size) { return random_window(&seed, size); }

/* Head: key, seed, size of the whole; then a window of the pool. */
static size_t make_value(uint8_t *out, unsigned key, uint64_t seed) {
    uint64_t rng = seed, kind = random_below(&rng, 40);
    size_t size = HEAD_BYTES + (kind == 0  ? BOX_PAYLOAD_MAX + random_below(&rng, 100000)
                                : kind < 5 ? random_below(&rng, 200000)
                                           : random_below(&rng, 3000));
    memcpy(out, &(uint64_t){key}, 8);
    memcpy(out + 8, &seed, 8);
    memcpy(out + 16, &(uint64_t){size}, 8);
    memcpy(out + HEAD_BYTES, body_of(seed, size - HEAD_BYTES), size - HEAD_BYTES);
    return size;
}

static void check_value(const uint8_t *value, size_t size, unsigned key) {
    uint64_t head[3];
    CHECK(size >= HEAD_BYTES);
    memcpy(head, value, HEAD_BYTES);
    CHECK(head[0] == key);
    CHECK(head[2] == size);
    CHECK(memcmp(value + HEAD_BYTES, body_of(head[1], size - HEAD_BYTES), size - HEAD_BYTES) == 0);
}

/* ---- Writing ---- */

static void stream(runner *r, const char *key, size_t key_size, size_t size) {
    cairn_writer *w = NULL;
    CHECK(cairn_writer_open(r->race->store, key, key_size, NULL, &w, NULL) == CAIRN_OK);
    for (size_t done = 0; done < size;) {
        size_t piece = min_u64(size - done, 1 + random_below(&r->rng, 100000));
        CHECK(cairn_writer_write(w, r->buffer + done, piece, NULL) == CAIRN_OK);
        done += piece;
    }
    if (random_one_in(&r->rng, 4)) {
        cairn_writer_abort(w);
    } else {
        CHECK(cairn_writer_commit(w, NULL) == CAIRN_OK);
    }
}

static void write_once(runner *r) {
    char key[16];
    unsigned i = (unsigned)random_below(&r->rng, KEYS);
    size_t key_size = key_of(key, i);
    cairn *s = r->race->store;
    cairn_put_options o = {.struct_size = sizeof o};
    uint64_t kind = random_below(&r->rng, 16);
    if (kind == 0) {
        int rc = cairn_delete(s, key, key_size, NULL, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
        return;
    }
    size_t size = make_value(r->buffer, i, atomic_fetch_add(&r->race->next_value, 1));
    if (kind == 1) {
        stream(r, key, key_size, size);
    } else if (kind == 2) {
        o.if_absent = true;
        int rc = cairn_put(s, key, key_size, r->buffer, size, &o, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_EXISTS);
    } else if (kind == 3) {
        cairn_entry entry = {.struct_size = sizeof entry};
        if (cairn_stat(s, key, key_size, &entry, NULL) != CAIRN_OK) return;
        o.if_version = entry.version;
        int rc = cairn_put(s, key, key_size, r->buffer, size, &o, NULL);
        CHECK(rc == CAIRN_OK || rc == CAIRN_EXISTS);
    } else {
        CHECK(cairn_put(s, key, key_size, r->buffer, size, NULL, NULL) == CAIRN_OK);
    }
}

static void *run_writer(void *arg) {
    runner *r = arg;
    for (uint64_t i = 0; i < r->race->ops; i++)
        write_once(r);
    return NULL;
}

/* ---- Reading ---- */

static void read_by_get(runner *r, const char *key, size_t key_size, unsigned i) {
    void *value;
    size_t size;
    int rc = cairn_get(r->race->store, key, key_size, &value, &size, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc == CAIRN_OK) check_value(value, size, i);
    cairn_free(value);
}

static void read_by_get_into(runner *r, const char *key, size_t key_size, unsigned i) {
    size_t size = 0;
    int rc = cairn_get_into(r->race->store, key, key_size, r->buffer, VALUE_MAX, &size, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc == CAIRN_OK) check_value(r->buffer, size, i);
}

static void read_by_reader(runner *r, const char *key, size_t key_size, unsigned i) {
    cairn_reader *reader;
    int rc = cairn_reader_open(r->race->store, key, key_size, &reader, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc != CAIRN_OK) return;
    size_t size = cairn_reader_size(reader), done = 0;
    while (done < size) {
        size_t got = 0, piece = 1 + random_below(&r->rng, 150000);
        CHECK(cairn_reader_pread(reader, r->buffer + done, piece, done, &got, NULL) == CAIRN_OK);
        CHECK(got == min_u64(piece, size - done));
        done += got;
    }
    cairn_reader_close(reader);
    check_value(r->buffer, size, i);
}

static void read_by_view(runner *r, const char *key, size_t key_size, unsigned i) {
    cairn_view *view;
    int rc = cairn_view_open(r->race->store, key, key_size, &view, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc != CAIRN_OK) return;
    check_value(cairn_view_data(view), cairn_view_size(view), i);
    cairn_view_close(view);
}

/* Versions of a key only ascend for everybody who looks. */
static void read_by_stat(runner *r, const char *key, size_t key_size, unsigned i) {
    cairn_entry entry = {.struct_size = sizeof entry};
    int rc = cairn_stat(r->race->store, key, key_size, &entry, NULL);
    CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
    if (rc != CAIRN_OK) return;
    CHECK(entry.version >= r->seen[i]);
    r->seen[i] = entry.version;
}

static void read_by_scan(runner *r) {
    cairn_scan *scan;
    bool met[KEYS] = {false};
    int rc;
    CHECK(cairn_scan_open(r->race->store, NULL, &scan, NULL) == CAIRN_OK);
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
        size_t key_size, size;
        const void *value;
        const void *bytes = cairn_scan_key(scan, &key_size);
        char key[16] = "";
        CHECK(key_size < sizeof key);
        memcpy(key, bytes, key_size);
        unsigned i = (unsigned)strtoul(key + 4, NULL, 10);
        CHECK(i < KEYS && !met[i]);
        met[i] = true;
        CHECK(cairn_scan_value(scan, &value, &size, NULL) == CAIRN_OK);
        check_value(value, size, i);
    }
    CHECK(rc == CAIRN_DONE);
    cairn_scan_close(scan);
}

static void *run_reader(void *arg) {
    runner *r = arg;
    for (uint64_t n = 0; n < r->race->ops * 2; n++) {
        char key[16];
        unsigned i = (unsigned)random_below(&r->rng, KEYS);
        size_t key_size = key_of(key, i);
        switch (random_below(&r->rng, 5)) {
        case 0:
            read_by_get(r, key, key_size, i);
            break;
        case 1:
            read_by_get_into(r, key, key_size, i);
            break;
        case 2:
            read_by_reader(r, key, key_size, i);
            break;
        case 3:
            read_by_view(r, key, key_size, i);
            break;
        default:
            read_by_stat(r, key, key_size, i);
        }
        if (n % 100 == 50) read_by_scan(r);
    }
    return NULL;
}

/* Everything that looks after the store, until the others are done. */
static void *run_upkeep(void *arg) {
    runner *r = arg;
    cairn *s = r->race->store;
    for (unsigned n = 0; !atomic_load(&r->race->stop); n++) {
        cairn_stats stats = {.struct_size = sizeof stats};
        cairn_verify_result result = {.struct_size = sizeof result};
        CHECK(cairn_checkpoint(s, NULL) == CAIRN_OK);
        CHECK(cairn_sync(s, NULL) == CAIRN_OK);
        CHECK(cairn_stats_get(s, &stats, NULL) == CAIRN_OK);
        CHECK(stats.keys <= KEYS);
        if (n % 4 == 0) {
            CHECK(cairn_verify(s, NULL, &result, NULL) == CAIRN_OK);
            CHECK(result.damaged == 0);
        }
        usleep(2000);
    }
    return NULL;
}

/* ---- Races ---- */

static void start(runner *r, contest *race, uint64_t seed, void *(*run)(void *)) {
    *r = (runner){.race = race, .rng = seed, .buffer = malloc(VALUE_MAX + 200000)};
    CHECK(r->buffer != NULL);
    CHECK(os_thread_start(&r->thread, run, r) == 0);
}

static void finish(runner *r) {
    os_thread_join(&r->thread);
    free(r->buffer);
}

static void run_race(contest *race, unsigned threads) {
    static runner writers[THREADS_MAX], readers[THREADS_MAX], upkeep;
    uint64_t seed = 1000 * threads;
    (void)random_pool();
    for (unsigned i = 0; i < threads; i++) {
        start(&writers[i], race, seed++, run_writer);
        start(&readers[i], race, seed++, run_reader);
    }
    start(&upkeep, race, seed, run_upkeep);
    for (unsigned i = 0; i < threads; i++) {
        finish(&writers[i]);
        finish(&readers[i]);
    }
    atomic_store(&race->stop, true);
    finish(&upkeep);
}

typedef struct last_seen {
    uint64_t version, seed; /* 0: absent */
    size_t size;
} last_seen;

static void look(cairn *store, last_seen seen[KEYS]) {
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        size_t key_size = key_of(key, i), size;
        void *value;
        seen[i] = (last_seen){0};
        int rc = cairn_get(store, key, key_size, &value, &size, NULL);
        if (rc == CAIRN_NOT_FOUND) continue;
        assert_int_equal(rc, CAIRN_OK);
        check_value(value, size, i);
        seen[i].version = version_of(store, key);
        memcpy(&seen[i].seed, (uint8_t *)value + 8, 8);
        seen[i].size = size;
        cairn_free(value);
    }
}

/* After the race the index is made from the log alone, in three ways. For every key the log's last word must be what
 * the index said before. */
static void expect_log_and_index_to_agree(box *b) {
    last_seen before[KEYS], after[KEYS];
    look(b->store, before);
    for (int way = 0; way < 3; way++) {
        box_close(b);
        if (way == 1) real_file_remove(b->path, "CHECKPOINT.DATA");
        if (way == 2) {
            real_file_remove(b->path, "CHECKPOINT");
            real_file_remove(b->path, "CHECKPOINT.DATA");
        }
        box_open(b);
        look(b->store, after);
        assert_memory_equal(before, after, sizeof before);
        cairn_verify_result result = {.struct_size = sizeof result};
        assert_int_equal(cairn_verify(b->store, NULL, &result, NULL), CAIRN_OK);
        assert_int_equal(result.damaged, 0);
    }
}

static void race_and_recover(box *b, unsigned threads, uint64_t ops) {
    contest r = {.store = b->store, .ops = rung_choose(ops, ops / 4, ops * 20), .next_value = 1};
    run_race(&r, threads);
    expect_log_and_index_to_agree(b);
}

static void one_writer_and_one_reader_never_see_a_torn_value(void **state) { race_and_recover(*state, 1, 1200); }
static void two_writers_and_two_readers_never_see_a_torn_value(void **state) { race_and_recover(*state, 2, 800); }
static void eight_writers_and_eight_readers_never_see_a_torn_value(void **state) { race_and_recover(*state, 8, 300); }

static void threads_look_after_a_store_that_has_none_of_its_own(void **state) {
    box *b = *state;
    box_quiet(b);
    race_and_recover(b, 8, 200);
}

/* ---- One key ---- */

static void *run_on_one_key(void *arg) {
    runner *r = arg;
    for (uint64_t i = 0; i < r->race->ops; i++) {
        if (random_one_in(&r->rng, 10)) {
            int rc = cairn_delete(r->race->store, "key 0", 5, NULL, NULL);
            CHECK(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
            continue;
        }
        size_t size = make_value(r->buffer, 0, atomic_fetch_add(&r->race->next_value, 1));
        size = size > 5000 ? make_value(r->buffer, 0, 40 /* a short one */) : size;
        CHECK(cairn_put(r->race->store, "key 0", 5, r->buffer, size, NULL, NULL) == CAIRN_OK);
    }
    return NULL;
}

static void puts_of_one_key_have_the_same_order_in_log_and_index(void **state) {
    box *b = *state;
    static runner writers[THREADS_MAX];
    uint64_t rounds = rung_choose(10, 3, 500);
    (void)random_pool();
    for (uint64_t round = 0; round < rounds; round++) {
        contest r = {.store = b->store, .ops = 100, .next_value = 1 + round * 1000};
        for (unsigned i = 0; i < THREADS_MAX; i++)
            start(&writers[i], &r, round * 100 + i, run_on_one_key);
        for (unsigned i = 0; i < THREADS_MAX; i++)
            finish(&writers[i]);
        expect_log_and_index_to_agree(b);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_writer_and_one_reader_never_see_a_torn_value),
        TEST(two_writers_and_two_readers_never_see_a_torn_value),
        TEST(eight_writers_and_eight_readers_never_see_a_torn_value),
        TEST(threads_look_after_a_store_that_has_none_of_its_own),
        TEST(puts_of_one_key_have_the_same_order_in_log_and_index),
    };
    return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}

/* A process that commits batches of 10,000 puts, one round after the other, is killed at a random moment, again and
 * again, on the same store. Whatever the moment was, all keys are of one round: the last that was acknowledged, or the
 * one that was begun. Another thread puts single keys meanwhile; what it acknowledged is there.
 *
 * CAIRN_RUNG=full kills 1,000 times; CAIRN_SEED=n repeats the choices, though not the moments, of one run. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PUTS 10000u
#define FILE_KEY 5000u /* its value has a file of its own */
#define FILE_BYTES 300000u
#define SMALL_MAX 120u
#define SINGLES 40u
#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define STORE_BYTES_MAX ((uint64_t)150 << 20) /* then the next one is begun */

/* ---- The pipe ---- */

enum { ROUND_BEGUN, ROUND_DONE, SINGLE_BEGUN, SINGLE_DONE };
typedef struct note {
    uint32_t what;
    uint32_t number; /* of the round, or of the single put */
} note;

/* The latest that was heard of. 0: nothing yet. */
typedef struct progress {
    uint32_t begun, done;
} progress;

typedef struct murder {
    uint64_t rng;
    char folder[REAL_PATH_SIZE];
    progress rounds, singles;
    uint64_t acknowledged, stores;
} murder;

/* A value begins with its number. */
static void fill_value(uint8_t *value, uint32_t key, uint32_t number, size_t *size) {
    uint64_t state = (uint64_t)number * PUTS + key;
    *size = key == FILE_KEY ? FILE_BYTES : sizeof number + (size_t)random_below(&state, SMALL_MAX);
    memcpy(value, random_window(&state, *size), *size);
    memcpy(value, &number, sizeof number);
}

/* ---- The process that is killed ---- */

typedef struct child {
    cairn *store;
    int pipe;
    uint32_t next_round, next_single;
    os_thread thread;
} child;

static void tell(const child *c, uint32_t what, uint32_t number) {
    note n = {what, number};
    CHECK(write(c->pipe, &n, sizeof n) == (ssize_t)sizeof n);
}

static void *put_singles(void *arg) {
    child *c = arg;
    for (uint32_t number = c->next_single;; number++) {
        char key[24];
        uint8_t value[sizeof number + SMALL_MAX];
        size_t size;
        int key_size = snprintf(key, sizeof key, "single %u", number % SINGLES);
        fill_value(value, 0, number, &size);
        tell(c, SINGLE_BEGUN, number);
        CHECK(cairn_put(c->store, key, (size_t)key_size, value, size, NULL, NULL) == CAIRN_OK);
        tell(c, SINGLE_DONE, number);
        os_yield();
    }
    return NULL;
}

static void commit_round(const child *c, uint32_t round) {
    static uint8_t value[FILE_BYTES];
    cairn_batch *batch = NULL;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (uint32_t key = 0; key < PUTS; key++) {
        size_t size;
        fill_value(value, key, round, &size);
        CHECK(cairn_batch_put(batch, &key, sizeof key, value, size) == CAIRN_OK);
    }
    CHECK((round % 2 == 0 ? cairn_batch_put(batch, "even", 4, "", 0) : cairn_batch_delete(batch, "even", 4)) ==
          CAIRN_OK);
    tell(c, ROUND_BEGUN, round);
    CHECK(cairn_batch_commit(c->store, batch, NULL, NULL) == CAIRN_OK);
    tell(c, ROUND_DONE, round);
    cairn_batch_free(batch);
    if (round % 5 == 0) CHECK(cairn_checkpoint(c->store, NULL) == CAIRN_OK);
}

static cairn_options options_of(uint64_t rng) {
    static const int compressions[] = {CAIRN_COMPRESSION_NONE, CAIRN_COMPRESSION_ZSTD};
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = true,
                           .segment_bytes = SEGMENT_BYTES,
                           .sync_interval_ms = 10,
                           .no_background = random_one_in(&rng, 4),
                           .durability = (int)random_below(&rng, 3),
                           .compression = compressions[random_below(&rng, 2)]};
}

/* Never returns: it writes until it is killed, or until a call fails. */
static _Noreturn void write_until_killed(const murder *m, int pipe_end) {
    cairn_options o = options_of(m->rng);
    cairn_error error;
    child c = {.pipe = pipe_end, .next_round = m->rounds.begun + 1, .next_single = m->singles.begun + 1};
    if (cairn_open(&c.store, m->folder, &o, &error) != CAIRN_OK) {
        fprintf(stderr, "the child cannot open the store: %s\n", error.message);
        _exit(3);
    }
    CHECK(os_thread_start(&c.thread, put_singles, &c) == 0);
    for (uint32_t round = c.next_round;; round++)
        commit_round(&c, round);
}

/* ---- Killing ---- */

static void hear(murder *m, const note *n) {
    progress *p = n->what <= ROUND_DONE ? &m->rounds : &m->singles;
    if (n->what % 2 == 0) {
        p->begun = n->number;
    } else {
        p->done = n->number;
        m->acknowledged++;
    }
}

static uint64_t now_us(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Listens until `deadline`, or to the end. false: the other end is closed. */
static bool listen_until(murder *m, int fd, uint64_t deadline) {
    for (;;) {
        note notes[64];
        uint64_t now = now_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= deadline) return true;
        struct timespec wait = {.tv_sec = (time_t)((deadline - now) / 1000000),
                                .tv_nsec = (long)((deadline - now) % 1000000 * 1000)};
        int ready = ppoll(&p, 1, deadline == UINT64_MAX ? NULL : &wait, NULL);
        CHECK(ready >= 0 || errno == EINTR);
        if (ready <= 0) continue;
        ssize_t n = read(fd, notes, sizeof notes);
        CHECK(n >= 0 && n % (ssize_t)sizeof(note) == 0);
        if (n == 0) return false;
        for (size_t i = 0; i < (size_t)n / sizeof(note); i++)
            hear(m, &notes[i]);
    }
}

static void run_and_kill(murder *m) {
    int ends[2], status = 0;
    uint64_t delay = random_one_in(&m->rng, 5) ? random_below(&m->rng, 20000) : random_below(&m->rng, 300000);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        write_until_killed(m, ends[1]);
    }
    close(ends[1]);
    bool alive = listen_until(m, ends[0], now_us() + delay);
    assert_int_equal(kill(pid, SIGKILL), 0);
    if (alive) assert_false(listen_until(m, ends[0], UINT64_MAX));
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) fail_msg("the child ended by itself: status %x", status);
    (void)random_next(&m->rng);
}

/* ---- Looking ---- */

/* The number of the value; 0 when the key is absent. The value is the one of that number. */
static uint32_t number_at(cairn *store, const void *key, size_t key_size, uint32_t seed_key) {
    static uint8_t got[FILE_BYTES], expected[FILE_BYTES];
    size_t got_size = 0, size;
    uint32_t number;
    cairn_error error = {0};
    int rc = cairn_get_into(store, key, key_size, got, sizeof got, &got_size, &error);
    if (rc == CAIRN_NOT_FOUND) return 0;
    if (rc != CAIRN_OK || got_size < sizeof number) fail_msg("get: %d %s", rc, error.message);
    memcpy(&number, got, sizeof number);
    fill_value(expected, seed_key, number, &size);
    if (size != got_size || memcmp(got, expected, size) != 0) fail_msg("a value of round %u is another one", number);
    return number;
}

static void look_at_round(murder *m, cairn *store) {
    uint32_t first = 0, round = 0;
    for (uint32_t key = 0; key < PUTS; key++) {
        round = number_at(store, &key, sizeof key, key);
        if (key == 0) first = round;
        if (round != first) fail_msg("half a batch: key 0 of round %u, key %u of round %u", first, key, round);
    }
    if (round != m->rounds.done && round != m->rounds.begun) {
        fail_msg("round %u, where %u was acknowledged and %u begun", round, m->rounds.done, m->rounds.begun);
    }
    cairn_entry entry = {.struct_size = sizeof entry};
    int rc = cairn_stat(store, "even", 4, &entry, NULL);
    assert_int_equal(rc, round != 0 && round % 2 == 0 ? CAIRN_OK : CAIRN_NOT_FOUND);
    m->rounds.begun = m->rounds.done = round;
}

static void look_at_singles(murder *m, cairn *store) {
    uint32_t newest = 0;
    for (uint32_t i = 0; i < SINGLES; i++) {
        char key[24];
        int key_size = snprintf(key, sizeof key, "single %u", i);
        uint32_t number = number_at(store, key, (size_t)key_size, 0);
        if (number > newest) newest = number;
        /* Numbers go round: the last one that was acknowledged here, or the one that was begun. */
        if (number + SINGLES <= m->singles.done)
            fail_msg("%s is of %u, with %u acknowledged", key, number, m->singles.done);
    }
    if (newest != m->singles.done && newest != m->singles.begun) {
        fail_msg("single put %u, where %u was acknowledged", newest, m->singles.done);
    }
    m->singles.begun = m->singles.done = newest;
}

static void look(murder *m, bool thoroughly) {
    cairn_options o = options_of(m->rng);
    cairn *store = NULL;
    cairn_error error;
    int rc = cairn_open(&store, m->folder, &o, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_open: %d %s", rc, error.message);
    look_at_round(m, store);
    look_at_singles(m, store);
    if (thoroughly) {
        cairn_verify_result result = {.struct_size = sizeof result};
        assert_int_equal(cairn_verify(store, NULL, &result, &error), CAIRN_OK);
        assert_int_equal(result.damaged, 0);
    }
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

static void begin_store(murder *m) {
    real_folder_remove(m->folder);
    real_folder_make(m->folder);
    real_folder_remove(m->folder); /* the first child creates it, and may be killed at that */
    m->rounds = m->singles = (progress){0};
    m->stores++;
}

static void a_batch_of_ten_thousand_puts_is_there_wholly_or_not_after_kill_9(void **state) {
    (void)state;
    static murder m;
    uint64_t seed = (uint64_t)time(NULL), kills = rung_choose(20, 5, 1000);
    (void)rung_seed(&seed);
    m.rng = seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    (void)random_pool();
    begin_store(&m);
    for (uint64_t i = 1; i <= kills; i++) {
        run_and_kill(&m);
        look(&m, i % 8 == 0 || i == kills);
        if (real_folder_bytes(m.folder) > STORE_BYTES_MAX) begin_store(&m);
    }
    print_message("%llu kills, %llu acknowledged calls, %llu stores\n", (unsigned long long)kills,
                  (unsigned long long)m.acknowledged, (unsigned long long)m.stores);
    real_folder_remove(m.folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_of_ten_thousand_puts_is_there_wholly_or_not_after_kill_9)};
    return cmocka_run_group_tests_name("kill9_batch", tests, NULL, NULL);
}

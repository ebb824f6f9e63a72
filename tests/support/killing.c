#include "tests/support/killing.h"

#include "src/base/check.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct run {
    const killing *k;
    uint64_t rng;
    char folder[REAL_PATH_SIZE];
    uint64_t acknowledged, stores;
} run;

/* ---- The process that is killed ---- */

void killing_tell(int pipe, const void *note, size_t size) {
    CHECK(size <= KILLING_NOTE_MAX && write(pipe, note, size) == (ssize_t)size);
}

static _Noreturn void write_until_killed(const run *r, int pipe_end) {
    uint64_t rng = r->rng;
    cairn_options o = r->k->options(&rng);
    cairn *store = NULL;
    cairn_error error;
    if (cairn_open(&store, r->folder, &o, &error) != CAIRN_OK) {
        fprintf(stderr, "the child cannot open the store: %s\n", error.message);
        _exit(3);
    }
    r->k->write(r->k->ctx, store, pipe_end, rng);
    _exit(4);
}

/* ---- Killing ---- */

static uint64_t now_us(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Listens until `deadline`, or to the end. false: the other end is closed. */
static bool listen_until(run *r, int fd, uint64_t deadline) {
    const size_t note_size = r->k->note_size;
    for (;;) {
        _Alignas(max_align_t) uint8_t notes[64 * KILLING_NOTE_MAX];
        uint64_t now = now_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= deadline) return true;
        struct timespec wait = {.tv_sec = (time_t)((deadline - now) / 1000000),
                                .tv_nsec = (long)((deadline - now) % 1000000 * 1000)};
        int ready = ppoll(&p, 1, deadline == UINT64_MAX ? NULL : &wait, NULL);
        CHECK(ready >= 0 || errno == EINTR);
        if (ready <= 0) continue;
        ssize_t n = read(fd, notes, 64 * note_size);
        CHECK(n >= 0 && (size_t)n % note_size == 0);
        if (n == 0) return false;
        for (size_t at = 0; at < (size_t)n; at += note_size)
            r->acknowledged += r->k->hear(r->k->ctx, notes + at);
    }
}

static void run_and_kill(run *r) {
    int ends[2], status = 0;
    bool early = random_one_in(&r->rng, r->k->early_one_in);
    uint64_t delay = random_below(&r->rng, early ? r->k->early_max : r->k->delay_max);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        write_until_killed(r, ends[1]);
    }
    close(ends[1]);
    bool alive = listen_until(r, ends[0], now_us() + delay);
    assert_int_equal(kill(child, SIGKILL), 0);
    if (alive) assert_false(listen_until(r, ends[0], UINT64_MAX));
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) fail_msg("the child ended by itself: status %x", status);
    (void)random_next(&r->rng);
}

/* ---- Looking ---- */

static void look(const run *r, bool thoroughly) {
    uint64_t rng = r->rng;
    cairn_options o = r->k->options(&rng);
    cairn *store = NULL;
    cairn_error error;
    int rc = cairn_open(&store, r->folder, &o, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_open: %d %s", rc, error.message);
    r->k->look(r->k->ctx, store);
    if (thoroughly) {
        cairn_verify_result result = {.struct_size = sizeof result};
        assert_int_equal(cairn_verify(store, NULL, &result, &error), CAIRN_OK);
        assert_int_equal(result.damaged, 0);
    }
    assert_int_equal(cairn_close(store), CAIRN_OK);
}

/* The next writer recovers unobserved, and may be killed at that too. */
static bool stays_unseen(run *r) {
    return r->k->unseen_one_in != 0 && random_one_in(&r->rng, r->k->unseen_one_in) &&
           real_file_is_there(r->folder, "CAIRN");
}

static void begin_store(run *r) {
    real_folder_remove(r->folder);
    real_folder_make(r->folder);
    real_folder_remove(r->folder); /* the first child creates it, and may be killed at that */
    r->k->begin(r->k->ctx);
    r->stores++;
}

void killing_run(const killing *k, uint64_t kills) {
    run r = {.k = k, .rng = (uint64_t)time(NULL)};
    CHECK(k->note_size > 0 && k->note_size <= KILLING_NOTE_MAX);
    (void)rung_seed(&r.rng);
    print_message("seed %llu\n", (unsigned long long)r.rng);
    (void)random_pool(); /* once, not in every child */
    begin_store(&r);
    for (uint64_t i = 1; i <= kills; i++) {
        run_and_kill(&r);
        if (i < kills && stays_unseen(&r)) continue;
        look(&r, i % 8 == 0 || i == kills);
        if (real_folder_bytes(r.folder) > k->store_bytes_max) begin_store(&r);
    }
    print_message("%llu kills, %llu acknowledged calls, %llu stores\n", (unsigned long long)kills,
                  (unsigned long long)r.acknowledged, (unsigned long long)r.stores);
    real_folder_remove(r.folder);
}

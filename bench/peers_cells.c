#include "bench/peers.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const engine *const engines_known[] = {
    &engine_cairn,
#ifdef BENCH_LMDB
    &engine_lmdb,
#endif
#ifdef BENCH_ROCKSDB
    &engine_rocksdb,    &engine_rocksdb_unverified,
#endif
#ifdef BENCH_LEVELDB
    &engine_leveldb,
#endif
#ifdef BENCH_WIREDTIGER
    &engine_wiredtiger,
#endif
    &engine_raw,        &engine_raw_direct,         &engine_raw_early, &engine_raw_over,
};
const size_t engines_known_count = sizeof engines_known / sizeof engines_known[0];

/* ---- Processes ---- */

static pid_t running; /* the step's; 0: none */
static atomic_bool ending;

/* Leaves the process to the thread that waits for it. */
static void kill_running(void) {
    siginfo_t ended;
    if (running <= 0) return;
    atomic_store(&ending, true);
    (void)kill(running, SIGKILL);
    (void)waitid(P_PID, (id_t)running, &ended, WEXITED | WNOWAIT);
}

static _Noreturn void child(cell_step *step, cell *c, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    step(c);
    _exit(0);
}

static void run_step(cell_step *step, cell *c, bool is_killed) {
    int status = 0;
    pid_t self = getpid();
    flush_rows();
    running = fork();
    if (running < 0) die("fork", strerror(errno));
    if (running == 0) child(step, c, self);
    if (waitpid(running, &status, 0) != running) die("waitpid", strerror(errno));
    while (atomic_load(&ending)) {
        pause(); /* a signal ends the program */
    }
    running = 0;
    if (is_killed ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status != 0)
        die(c->engine->name, "its process failed");
}

/* For figures; shared with every step's process. */
static double *shared_figures(void) {
    static double *shared;
    if (shared != NULL) return shared;
    shared = mmap(NULL, FIGURES_MAX * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap", strerror(errno));
    if (atexit(kill_running) != 0) die("atexit", "failed");
    return shared;
}

/* ---- Turns ---- */

/* On a terminal, where the tables come late. */
static void show_progress(const cell *c, const char *workload, const char *row) {
    char line[80];
    if (!isatty(STDERR_FILENO)) return;
    int size = snprintf(line, sizeof line, "%s, %s, %d: %s", workload, row, c->repetition + 1, c->engine->name);
    fprintf(stderr, "%-*s\r", (int)sizeof line - 1, size > 0 ? line : "");
}

static void run_cell(const cell_kind *kind, const cell *like, const engine *e, int repetition, const char *row) {
    cell c = *like;
    c.engine = e;
    c.repetition = repetition;
    c.parts = c.plan->parts & e->parts & kind->parts;
    c.out = shared_figures();
    if (c.parts == 0) return;
    show_progress(&c, kind->figures[0].workload, row);
    for (size_t i = 0; i < FIGURES_MAX; i++) {
        c.out[i] = NAN;
    }
    for (size_t i = 0; kind->steps[i] != NULL; i++) {
        run_step(kind->steps[i], &c, kind->steps[i] == kind->killed);
    }
    for (size_t i = 0; i < kind->figure_count; i++) {
        results_add(&kind->figures[i], row, e, repetition, c.out[i]);
    }
    folder_remove(STORE);
    sync(); /* so that nobody pays for the write-back of the one before */
}

void cells_run(const cell_kind *kind, const cell *like, const char *row) {
    const plan *p = like->plan;
    for (int i = 0; i < p->repetitions; i++) {
        for (size_t j = 0; j < p->engine_count; j++) {
            run_cell(kind, like, p->engines[(j + (size_t)i) % p->engine_count], i, row);
        }
    }
}

/* ---- What steps use ---- */

uint64_t count_of(const plan *p, size_t value_size, uint64_t bytes) {
    uint64_t count = (bytes < p->bytes ? bytes : p->bytes) / value_size;
    if (count < 2) count = 2;
    return count < COUNT_MAX ? count : COUNT_MAX;
}

void *store_open_as(const cell *c, bool durable, uint64_t keys, uint64_t keys_a_session) {
    engine_setup setup = {.durable = durable,
                          .compress = c->half,
                          .value_size = c->value_size,
                          .keys = keys,
                          .keys_a_session = keys_a_session};
    return c->engine->open(STORE, &setup);
}

const char *size_name(size_t bytes, char buffer[24]) {
    bool mib = bytes >= MIB && bytes % MIB == 0, kib = bytes % KIB == 0;
    size_t number = mib ? bytes / MIB : kib ? bytes / KIB : bytes;
    (void)snprintf(buffer, 24, "%zu %s", number, mib ? "MiB" : kib ? "KiB" : "bytes");
    return buffer;
}

/* The POSIX implementation: the promises of os.h on a real directory, what only a real system can show (links, FIFOs,
 * modes, processes), and the thread layer. */
#include "src/os/os.h"
#include "src/os/os_thread.h"
#include "tests/support/os_promises.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- A directory for each test ---- */

static int make_root(void **state) {
    os_promises *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");
    if (p == NULL) return -1;
    p->os = os_posix();
    int n = snprintf(p->root, sizeof p->root, "%s/cairn-os-XXXXXX", tmp != NULL && strlen(tmp) < 32 ? tmp : "/tmp");
    if (n < 0 || mkdtemp(p->root) == NULL) return -1;
    *state = p;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state) {
    os_promises *p = *state;
    int rc = nftw(p->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(p);
    return rc;
}

static os_dir *open_path(const os_promises *p, const char *path, unsigned flags) {
    os_dir *dir;
    assert_int_equal(p->os->dir_open(p->os, path, flags, &dir), 0);
    return dir;
}

static void path_below(const os_promises *p, const char *name, char path[128]) {
    snprintf(path, 128, "%s/%s", p->root, name);
}

/* Runs in a child; the exit code says whether all went well. */
static void assert_child(bool (*run)(void *arg), void *arg) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(run(arg) ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- What is not a regular file ---- */

static void assert_refused(os_dir *dir, const char *name) {
    os_file *file;
    assert_int_equal(os_file_open(dir, name, 0, &file), -EINVAL);
    assert_int_equal(os_file_open(dir, name, OS_READ_ONLY, &file), -EINVAL);
    assert_int_equal(os_file_open(dir, name, OS_CREATE, &file), -EINVAL);
    assert_int_equal(os_file_open(dir, name, OS_CREATE | OS_EXCLUSIVE, &file), -EEXIST);
}

static void a_symbolic_link_is_not_followed(void **state) {
    os_dir *root = open_path(*state, ((os_promises *)*state)->root, 0);
    char path[128];
    os_file *file;
    assert_int_equal(os_file_open(root, "target", OS_CREATE, &file), 0);
    os_file_close(file);
    path_below(*state, "good", path);
    assert_int_equal(symlink("target", path), 0);
    path_below(*state, "dangling", path);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_refused(root, "good");
    assert_refused(root, "dangling");
    path_below(*state, "nowhere", path);
    assert_int_equal(access(path, F_OK), -1);
    os_dir_close(root);
}

static void a_fifo_or_socket_is_refused_without_waiting(void **state) {
    os_dir *root = open_path(*state, ((os_promises *)*state)->root, 0);
    char path[128];
    path_below(*state, "fifo", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(root, "fifo");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(fd >= 0);
    path_below(*state, "socket", path);
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_refused(root, "socket");
    close(fd);
    os_dir_close(root);
}

static void files_and_directories_are_private(void **state) {
    char path[128];
    struct stat st;
    path_below(*state, "d", path);
    os_dir *dir = open_path(*state, path, OS_CREATE);
    os_file *file;
    assert_int_equal(os_file_open(dir, "f", OS_CREATE, &file), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    path_below(*state, "d/f", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    os_file_close(file);
    os_dir_close(dir);
}

/* ---- Paths ---- */

static void the_path_of_an_open_directory_follows_it(void **state) {
    char old_path[128], new_path[128], path[OS_PATH_SIZE], below[OS_PATH_SIZE + 2];
    os_file *file;
    path_below(*state, "old", old_path);
    path_below(*state, "new", new_path);
    os_dir *dir = open_path(*state, old_path, OS_CREATE);
    assert_int_equal(os_file_open(dir, "f", OS_CREATE, &file), 0);
    os_file_close(file);
    assert_int_equal(os_dir_path(dir, path), 0);
    assert_int_equal(rename(old_path, new_path), 0);
    snprintf(below, sizeof below, "%s/f", path);
    assert_int_equal(access(below, F_OK), 0);
    os_dir_close(dir);
    assert_int_equal(access(below, F_OK), -1);
}

static bool open_relative_paths(void *arg) {
    static const char *const paths[] = {"here", "here/", "./here/there/", ".", "here/..", "/"};
    const os_promises *p = arg;
    bool ok = chdir(p->root) == 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        os_dir *dir;
        if (p->os->dir_open(p->os, paths[i], OS_CREATE, &dir) == 0)
            os_dir_close(dir);
        else
            ok = false;
    }
    return ok && access("here/there", F_OK) == 0;
}

static void a_relative_path_can_be_made(void **state) { assert_child(open_relative_paths, *state); }

static void the_path_of_a_directory_may_go_through_links(void **state) {
    char path[128];
    path_below(*state, "link", path);
    assert_int_equal(symlink(".", path), 0);
    os_dir_close(open_path(*state, path, 0));
    os_dir_close(open_path(*state, path, OS_CREATE));
}

static bool open_below_searchable(void *arg) {
    const os_promises *p = arg;
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return false;
    char path[128];
    os_dir *dir;
    path_below(p, "closed/open", path);
    if (p->os->dir_open(p->os, path, OS_CREATE, &dir) != 0) return false;
    os_dir_close(dir);
    return true;
}

static void the_parent_need_not_be_readable(void **state) {
    char path[128];
    assert_int_equal(chmod(((os_promises *)*state)->root, 0711), 0);
    path_below(*state, "closed", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_below(*state, "closed/open", path);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chmod(path, 0777), 0);
    path_below(*state, "closed", path);
    assert_int_equal(chmod(path, 0311), 0);
    assert_child(open_below_searchable, *state);
    assert_int_equal(chmod(path, 0700), 0);
}

/* ---- Processes ---- */

static bool try_lock(void *arg) {
    const os_promises *p = arg;
    os_dir *dir;
    if (p->os->dir_open(p->os, p->root, 0, &dir) != 0) return false;
    bool refused = os_dir_lock(dir, true) == -EWOULDBLOCK;
    os_dir_close(dir);
    return refused;
}

static void another_process_is_refused_the_lock(void **state) {
    os_dir *dir = open_path(*state, ((os_promises *)*state)->root, 0);
    assert_int_equal(os_dir_lock(dir, true), 0);
    assert_child(try_lock, *state);
    os_dir_close(dir);
}

static bool close_inherited(void *arg) {
    os_dir_close(arg);
    return true;
}

static void a_child_that_closes_does_not_unlock_the_parent(void **state) {
    os_dir *dir = open_path(*state, ((os_promises *)*state)->root, 0);
    os_dir *other = open_path(*state, ((os_promises *)*state)->root, 0);
    assert_int_equal(os_dir_lock(dir, true), 0);
    assert_child(close_inherited, dir);
    assert_int_equal(os_dir_lock(other, true), -EWOULDBLOCK);
    os_dir_close(dir);
    os_dir_close(other);
}

/* A child that lives, with a copy of every descriptor that is open now. */
static pid_t start_sleeper(void) {
    pid_t child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
    assert_true(child > 0);
    return child;
}

static void end_sleeper(pid_t child) {
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void closing_unlocks_although_a_child_lives_on(void **state) {
    os_dir *dir = open_path(*state, ((os_promises *)*state)->root, 0);
    os_dir *other = open_path(*state, ((os_promises *)*state)->root, 0);
    assert_int_equal(os_dir_lock(dir, true), 0);
    pid_t child = start_sleeper();
    os_dir_close(dir);
    int rc = os_dir_lock(other, true);
    end_sleeper(child);
    assert_int_equal(rc, 0);
    os_dir_close(other);
}

static void the_lock_of_a_killed_process_is_free(void **state) {
    const os_promises *p = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        os_dir *dir;
        if (p->os->dir_open(p->os, p->root, 0, &dir) != 0 || os_dir_lock(dir, true) != 0) _exit(1);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;)
            pause();
    }
    char byte;
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    os_dir *dir = open_path(p, p->root, 0);
    int held = os_dir_lock(dir, true);
    end_sleeper(child);
    assert_int_equal(held, -EWOULDBLOCK);
    assert_int_equal(os_dir_lock(dir, true), 0);
    os_dir_close(dir);
}

static bool generation_is_next(void *arg) { return os_fork_generation() == *(unsigned *)arg + 1; }

static void a_forked_child_is_another_generation(void **state) {
    (void)state;
    unsigned before = os_fork_generation();
    assert_child(generation_is_next, &before);
    assert_int_equal(os_fork_generation(), before);
}

/* ---- A real short write ---- */

static bool write_over_limit(void *arg) {
    const os_promises *p = arg;
    struct rlimit limit = {.rlim_cur = 10000, .rlim_max = 10000};
    static uint8_t bytes[6000];
    memset(bytes, 'x', sizeof bytes);
    struct iovec iov[3] = {{bytes, 6000}, {bytes, 3000}, {bytes, 6000}};
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    os_dir *dir;
    os_file *file;
    os_file_info info;
    if (p->os->dir_open(p->os, p->root, 0, &dir) != 0 || os_file_open(dir, "f", OS_CREATE, &file) != 0) return false;
    bool ok = os_file_writev(file, iov, 3, 0) == -EFBIG;
    ok = ok && os_file_info_get(file, &info) == 0 && info.size == 10000;
    os_file_close(file);
    os_dir_close(dir);
    return ok;
}

static void a_short_write_goes_on_until_its_error(void **state) { assert_child(write_over_limit, *state); }

/* ---- Threads ---- */

static void *report_blocked(void *arg) {
    sigset_t mask;
    int *blocked = arg;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    *blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1);
    return NULL;
}

static void a_thread_takes_no_signals_and_its_starter_keeps_them(void **state) {
    (void)state;
    os_thread thread;
    int blocked = 0;
    assert_int_equal(os_thread_start(&thread, report_blocked, &blocked), 0);
    os_thread_join(&thread);
    assert_true(blocked);
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGINT));
}

static void a_wait_ends_after_its_time(void **state) {
    os *o = ((os_promises *)*state)->os;
    os_mutex mutex;
    os_cond cond;
    os_mutex_init(&mutex);
    os_cond_init(&cond);
    os_mutex_lock(&mutex);
    uint64_t before = o->monotonic_ns(o), after;
    do {
        os_cond_wait_ms(&cond, &mutex, 20);
        after = o->monotonic_ns(o);
    } while (after - before < 19000000);
    assert_true(after - before < UINT64_C(5000000000));
    os_mutex_unlock(&mutex);
    os_cond_destroy(&cond);
    os_mutex_destroy(&mutex);
}

typedef struct signalled {
    os_mutex mutex;
    os_cond cond;
    bool flag;
} signalled;

static void *raise_flag(void *arg) {
    signalled *s = arg;
    os_mutex_lock(&s->mutex);
    s->flag = true;
    os_cond_signal(&s->cond);
    os_mutex_unlock(&s->mutex);
    return NULL;
}

static void a_signal_ends_an_endless_wait(void **state) {
    (void)state;
    signalled s = {.flag = false};
    os_thread thread;
    os_mutex_init(&s.mutex);
    os_cond_init(&s.cond);
    os_mutex_lock(&s.mutex);
    assert_int_equal(os_thread_start(&thread, raise_flag, &s), 0);
    while (!s.flag)
        os_cond_wait_ms(&s.cond, &s.mutex, UINT64_MAX);
    os_mutex_unlock(&s.mutex);
    os_thread_join(&thread);
    os_cond_destroy(&s.cond);
    os_mutex_destroy(&s.mutex);
}

#define ON_ROOT(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_ROOT(a_symbolic_link_is_not_followed),
        ON_ROOT(a_fifo_or_socket_is_refused_without_waiting),
        ON_ROOT(files_and_directories_are_private),
        ON_ROOT(the_path_of_an_open_directory_follows_it),
        ON_ROOT(a_relative_path_can_be_made),
        ON_ROOT(the_path_of_a_directory_may_go_through_links),
        ON_ROOT(the_parent_need_not_be_readable),
        ON_ROOT(another_process_is_refused_the_lock),
        ON_ROOT(a_child_that_closes_does_not_unlock_the_parent),
        ON_ROOT(closing_unlocks_although_a_child_lives_on),
        ON_ROOT(the_lock_of_a_killed_process_is_free),
        cmocka_unit_test(a_forked_child_is_another_generation),
        ON_ROOT(a_short_write_goes_on_until_its_error),
        cmocka_unit_test(a_thread_takes_no_signals_and_its_starter_keeps_them),
        ON_ROOT(a_wait_ends_after_its_time),
        cmocka_unit_test(a_signal_ends_an_endless_wait),
    };
    int failed = os_promises_run("promises of os.h, POSIX", make_root, remove_root);
    return failed + cmocka_run_group_tests_name("POSIX", tests, NULL, NULL);
}

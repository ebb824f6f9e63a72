/* A power cut at any moment: what LMDB and we write to the file is recorded on its way to the system, and after every
 * step the states that a cut could leave are opened. Each is what some commit left, not older than the last absorb that
 * returned. A state that was not even opened would be built anew; here none is.
 *
 * A cut keeps what was synced, and any part of the rest, sector by sector. Beside it, calls that fail.
 */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "tests/support/ordered_box.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECTOR 512u
#define FILE_MAX ((size_t)4 << 20)
#define BATCH_MAX 50u

/* ---- Recording ---- */

typedef enum event_kind { EVENT_WRITE, EVENT_SYNCED_WRITE, EVENT_LENGTH, EVENT_SYNC } event_kind;

typedef struct event {
    event_kind kind;
    uint64_t offset; /* or length */
    size_t size;
    uint8_t *bytes;
    uint64_t returned; /* place of the last absorb that had returned */
} event;

static struct {
    bool on;
    ino_t file;
    event *events;
    size_t count, capacity;
    uint64_t returned;
} trace;

/* The call on the file, counted from 1, that fails, and whether it is a sync; 0: none. */
static struct {
    uint64_t at, calls;
    int error;
    bool of_syncs;
} fault;

static bool fails(int fd, bool sync) {
    struct stat info;
    if (fault.at == 0 || sync != fault.of_syncs || fstat(fd, &info) != 0 || info.st_ino != trace.file) return false;
    if (++fault.calls != fault.at) return false;
    errno = fault.error;
    return true;
}

static void record(int fd, event_kind kind, const void *bytes, size_t size, uint64_t offset) {
    struct stat info;
    if (!trace.on || fstat(fd, &info) != 0 || info.st_ino != trace.file) return;
    if (trace.count == trace.capacity) {
        trace.capacity = 2 * trace.capacity + 256;
        trace.events = realloc(trace.events, trace.capacity * sizeof trace.events[0]);
        CHECK(trace.events != NULL);
    }
    if (kind == EVENT_WRITE && (fcntl(fd, F_GETFL) & O_DSYNC)) kind = EVENT_SYNCED_WRITE;
    event *e = &trace.events[trace.count++];
    *e = (event){.kind = kind, .offset = offset, .size = size, .returned = trace.returned};
    if (bytes == NULL) return;
    e->bytes = malloc(size);
    CHECK(e->bytes != NULL);
    memcpy(e->bytes, bytes, size);
}

static void record_pieces(int fd, const struct iovec *iov, int count, off_t offset) {
    for (int i = 0; i < count; i++) {
        record(fd, EVENT_WRITE, iov[i].iov_base, iov[i].iov_len, (uint64_t)offset);
        offset += (off_t)iov[i].iov_len;
    }
}

/* In place of the C library's, for this program and the libraries that it loads. */
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    if (fails(fd, false)) return -1;
    record(fd, EVENT_WRITE, bytes, size, (uint64_t)offset);
    return syscall(SYS_pwrite64, fd, bytes, size, offset);
}
ssize_t writev(int fd, const struct iovec *iov, int count) {
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (fails(fd, false)) return -1;
    record_pieces(fd, iov, count, offset);
    return syscall(SYS_writev, fd, iov, count);
}
ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset) {
    record_pieces(fd, iov, count, offset);
    return syscall(SYS_pwritev, fd, iov, count, offset, 0);
}
int ftruncate(int fd, off_t length) {
    record(fd, EVENT_LENGTH, NULL, 0, (uint64_t)length);
    return (int)syscall(SYS_ftruncate, fd, length);
}
int fdatasync(int fd) {
    if (fails(fd, true)) return -1;
    int rc = (int)syscall(SYS_fdatasync, fd);
    record(fd, EVENT_SYNC, NULL, 0, 0);
    return rc;
}

/* ---- The history ---- */

typedef struct moment {
    uint64_t keys, sum;
} moment;

/* After the absorb of each place. */
static moment *history;

static int look(const ordered_box *b, moment *m) {
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count;
    int code;
    *m = (moment){0};
    CHECK(ordered_cursor_open(&cursor, b->index, &(key_range){0}, NULL) == CAIRN_OK);
    while ((code = ordered_next(cursor, ORDERED_BATCH_KEYS, &keys, &count, NULL)) == CAIRN_OK) {
        for (size_t i = 0; i < count; i++)
            m->sum = checksum(keys[i].bytes, keys[i].size, m->sum);
        m->keys += count;
    }
    ordered_cursor_close(cursor);
    return code;
}

static moment moment_of(const ordered_box *b) {
    moment m;
    CHECK(look(b, &m) == CAIRN_DONE && m.keys == ordered_keys(b->index));
    return m;
}

static void absorb_random(ordered_box *b, uint64_t place) {
    static uint8_t keys[BATCH_MAX][1100];
    ordered_change changes[BATCH_MAX];
    uint64_t rng = place;
    size_t count = 1 + random_below(&rng, BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t size = random_one_in(&rng, 6) ? 500 + random_below(&rng, 600) : 30;
        memset(keys[i], 'x', size);
        le16_put(keys[i] + size - 2, (uint16_t)random_below(&rng, 600));
        changes[i] = (ordered_change){
            .key = keys[i], .size = size, .erase = random_below(&rng, 10) < (place / 16 % 2 == 0 ? 3 : 6)};
    }
    CHECK(ordered_absorb(b->index, changes, count, place, NULL) == CAIRN_OK);
}

/* ---- The disk ---- */

typedef struct disk {
    uint8_t *synced;
    size_t synced_size;
    const event **pending;
    size_t count;
} disk;

static void write_part(uint8_t *file, size_t *size, const event *e, size_t from, size_t to) {
    CHECK(e->offset + e->size <= FILE_MAX);
    memcpy(file + e->offset + from, e->bytes + from, to - from);
    if (e->offset + to > *size) *size = e->offset + to;
}

static void write_event(uint8_t *file, size_t *size, const event *e) {
    if (e->kind == EVENT_LENGTH) {
        CHECK(e->offset >= *size && e->offset <= FILE_MAX);
        *size = e->offset;
    } else {
        write_part(file, size, e, 0, e->size);
    }
}

static void disk_take(disk *d, const event *e) {
    if (e->kind == EVENT_SYNC) {
        for (size_t i = 0; i < d->count; i++)
            write_event(d->synced, &d->synced_size, d->pending[i]);
        d->count = 0;
    } else if (e->kind == EVENT_SYNCED_WRITE) {
        write_event(d->synced, &d->synced_size, e);
    } else {
        d->pending[d->count++] = e;
    }
}

/* keep: of 4 parts of what is pending; with `sectors` of each write by itself. `last` is a write under way, or NULL. */
static size_t disk_cut(const disk *d, const event *last, uint8_t *file, uint64_t *rng, uint64_t keep, bool sectors) {
    size_t size = d->synced_size;
    memcpy(file, d->synced, FILE_MAX);
    for (size_t i = 0; i < d->count + (last != NULL); i++) {
        const event *e = i < d->count ? d->pending[i] : last;
        if (!sectors || e->kind == EVENT_LENGTH) {
            if (random_below(rng, 4) < keep) write_event(file, &size, e);
            continue;
        }
        for (size_t from = 0; from < e->size;) {
            size_t to = from + SECTOR - (e->offset + from) % SECTOR;
            if (to > e->size) to = e->size;
            if (random_below(rng, 4) < keep) write_part(file, &size, e, from, to);
            from = to;
        }
    }
    return size;
}

/* ---- Opening ---- */

static int open_and_compare(const char *folder, uint64_t returned, uint64_t begun, bool read_only) {
    ordered_box b = {.folder = folder};
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &b.dir) == 0);
    int code = ordered_box_reopen(&b, read_only);
    if (code != CAIRN_OK) return 10;
    uint64_t place = ordered_place(b.index);
    if (place < returned || place > begun) return 11;
    moment m = moment_of(&b);
    if (m.keys != history[place].keys || m.sum != history[place].sum) return 12;
    if (!read_only) {
        absorb_random(&b, place + 1);
        m = moment_of(&b);
        if (m.keys != history[place + 1].keys || m.sum != history[place + 1].sum) return 13;
    }
    ordered_box_close(&b);
    return 0;
}

static void try_cuts(const char *folder, const disk *d, const event *next, uint64_t seed) {
    static const struct {
        uint64_t keep;
        bool sectors;
    } ways[] = {{0, false}, {4, false}, {2, false}, {2, true}, {1, true}, {3, true}};
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t *file = malloc(FILE_MAX);
        CHECK(file != NULL);
        trace.on = false;
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
            uint64_t rng = seed + i;
            const event *last = next->kind == EVENT_SYNC ? NULL : next;
            size_t size = disk_cut(d, last, file, &rng, ways[i].keep, ways[i].sectors);
            real_file_save(folder, ORDERED_NAME, file, size);
            int wrong = open_and_compare(folder, next->returned, next->returned + 1, true);
            if (wrong == 0 && random_one_in(&rng, 24)) {
                wrong = open_and_compare(folder, next->returned, next->returned + 1, false);
            }
            if (wrong != 0) _exit(wrong);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) print_error("seed %llu: status %#x\n", (unsigned long long)seed, (unsigned)status);
    assert_int_equal(status, 0);
}

/* ---- Tests ---- */

static void watch_file(const char *folder) {
    struct stat info;
    char path[REAL_PATH_SIZE];
    real_path(path, folder, ORDERED_NAME);
    assert_int_equal(stat(path, &info), 0);
    trace.file = info.st_ino;
}

static void every_state_that_a_power_cut_leaves_is_that_of_a_commit(void **state) {
    ordered_box b;
    const uint64_t places = rung_choose(40, 12, 2000);
    ordered_box_open(&b, *state, true);
    disk d = {.synced = calloc(1, FILE_MAX)};
    history = calloc(places + 2, sizeof *history);
    uint8_t *begun = real_file_load(*state, ORDERED_NAME, &d.synced_size);
    assert_true(d.synced != NULL && history != NULL);
    memcpy(d.synced, begun, d.synced_size);
    free(begun);
    watch_file(*state);
    for (uint64_t place = 1; place <= places + 1; place++) {
        trace.on = place <= places;
        absorb_random(&b, place);
        history[place] = moment_of(&b);
        trace.returned = place;
    }
    ordered_box_close(&b);

    d.pending = calloc(trace.count, sizeof d.pending[0]);
    assert_true(d.pending != NULL);
    size_t heads = 0;
    for (size_t i = 0; i < trace.count; i++)
        heads += trace.events[i].kind == EVENT_SYNCED_WRITE;
    assert_int_equal(heads, places); /* of LMDB's commits: the recording is complete */
    for (size_t i = 0; i < trace.count; i++) {
        try_cuts(*state, &d, &trace.events[i], i);
        disk_take(&d, &trace.events[i]);
    }
    for (size_t i = 0; i < trace.count; i++)
        free(trace.events[i].bytes);
    free(trace.events);
    free(d.pending);
    free(d.synced);
    free(history);
}

#define MANY 3000u /* enough for several writes */

static int absorb_many(ordered_box *b, uint64_t place) {
    static uint8_t keys[MANY][16];
    static ordered_change changes[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        le64_put(keys[i], mix(i));
        le64_put(keys[i] + 8, place);
        changes[i] = (ordered_change){.key = keys[i], .size = 16};
    }
    return ordered_absorb(b->index, changes, MANY, place, NULL);
}

/* A write of the head that fails is the end even for walks. */
static void check_keys(const ordered_box *b, uint64_t place, bool may_be_lost) {
    moment m;
    int code = look(b, &m);
    if (code == CAIRN_FAILED && may_be_lost) return;
    assert_int_equal(code, CAIRN_DONE);
    assert_int_equal(m.keys, MANY * place);
    assert_int_equal(ordered_place(b->index), place);
}

/* Returns whether a call failed. */
static bool absorb_with_fault(const char *folder, uint64_t at, int system_error, bool of_syncs) {
    ordered_box b;
    ordered_box_open(&b, folder, true);
    watch_file(folder);
    assert_int_equal(absorb_many(&b, 1), CAIRN_OK);
    fault.calls = 0, fault.at = at, fault.error = system_error, fault.of_syncs = of_syncs;
    int code = absorb_many(&b, 2);
    bool failed = fault.calls >= at;
    fault.at = 0;
    assert_true(failed || code == CAIRN_OK);
    assert_true(code == CAIRN_OK || code == (system_error == ENOSPC ? CAIRN_FULL : CAIRN_IO));
    check_keys(&b, code == CAIRN_OK ? 2 : 1, code != CAIRN_OK);
    int again = absorb_many(&b, 2);
    assert_true(again == CAIRN_OK || (code != CAIRN_OK && again == CAIRN_FAILED));
    if (code == CAIRN_IO) assert_int_equal(again, CAIRN_FAILED);
    check_keys(&b, again == CAIRN_OK ? 2 : 1, again != CAIRN_OK);
    assert_int_equal(ordered_box_reopen(&b, false), CAIRN_OK);
    check_keys(&b, again == CAIRN_OK ? 2 : 1, false);
    assert_int_equal(absorb_many(&b, 2), CAIRN_OK);
    check_keys(&b, 2, false);
    ordered_box_close(&b);
    return failed;
}

static void an_absorb_whose_write_or_sync_fails_is_not_in(void **state) {
    uint64_t writes = 1, syncs = 1;
    while (absorb_with_fault(*state, writes, ENOSPC, false))
        writes++;
    while (absorb_with_fault(*state, syncs, EIO, true))
        syncs++;
    for (uint64_t i = 1; i < writes; i++)
        (void)absorb_with_fault(*state, i, EIO, false);
    assert_true(writes > 3 && syncs > 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_state_that_a_power_cut_leaves_is_that_of_a_commit, real_folder_setup,
                                        real_folder_teardown),
        cmocka_unit_test_setup_teardown(an_absorb_whose_write_or_sync_fails_is_not_in, real_folder_setup,
                                        real_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

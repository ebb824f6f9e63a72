/* The bound on disk space holds at every moment while values are replaced without a pause, by a store with threads of
 * its own, also where syncs take long. */
#include "src/os/os_thread.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LIVE_BYTES ((uint64_t)16 << 20)
#define SLACK_MIN ((uint64_t)8 << 20)
#define SLOW_SYNC_US 30000u
#define ROUNDS 4u

static int sync_slowly(os_file *file) {
    os_nap_us(SLOW_SYNC_US);
    return os_posix()->file_sync(file);
}

static uint64_t largest;

static int note_size(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)path, (void)where;
    uint64_t bytes = type == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
    if (bytes > largest) largest = bytes;
    return 0;
}

/* A segment gets larger where the next one is long in coming. */
static uint64_t two_segments(const box *b) {
    largest = 0;
    assert_int_equal(nftw(b->path, note_size, 16, FTW_PHYS), 0);
    return 2 * largest;
}

static void expect_bound(const box *b, double amp) {
    uint64_t slack = two_segments(b); /* first: they may go meanwhile */
    cairn_stats s = stats_of(b->store);
    double bound = amp * (double)s.live_bytes + (double)(slack > SLACK_MIN ? slack : SLACK_MIN);
    if ((double)s.allocated_bytes <= bound) return;
    fail_msg("%llu bytes on disk, %llu live, %llu dead", (unsigned long long)s.allocated_bytes,
             (unsigned long long)s.live_bytes, (unsigned long long)s.dead_bytes);
}

static void replace_all(box *b, size_t size, double amp) {
    uint64_t seed = 1, keys = LIVE_BYTES / size;
    char key[24];
    for (uint64_t i = 0; i < ROUNDS * keys; i++) {
        uint64_t k = i < keys ? i : random_below(&seed, keys);
        (void)snprintf(key, sizeof key, "k%llu", (unsigned long long)k);
        put_text(b->store, key, random_pool() + i % 4096, size);
        if (i % (keys / 64) == 0) expect_bound(b, amp);
    }
}

static void small_values_stay_within_the_bound(void **state) { replace_all(*state, 4096, 1.25); }
static void large_values_stay_within_the_bound(void **state) { replace_all(*state, 65536, 1.10); }

static void fill_all(box *b, unsigned round) {
    char key[24];
    for (uint64_t k = 0; k < LIVE_BYTES / 4096; k++) {
        (void)snprintf(key, sizeof key, "k%llu", (unsigned long long)k);
        put_text(b->store, key, random_pool() + k % 4096 + round, 4096);
    }
}

static void what_a_snapshot_held_comes_back_by_itself_when_it_is_closed(void **state) {
    box *b = *state;
    cairn_snapshot *snapshot;
    fill_all(b, 0);
    assert_int_equal(cairn_snapshot_open(b->store, &snapshot, NULL), CAIRN_OK);
    fill_all(b, 1);
    fill_all(b, 2);
    uint64_t before = stats_of(b->store).allocated_bytes;
    assert_true(stats_of(b->store).pinned_bytes >= LIVE_BYTES);
    cairn_snapshot_close(snapshot);
    unsigned waited = 0;
    while (waited < 6000 && stats_of(b->store).allocated_bytes > before - LIVE_BYTES / 2) {
        os_nap_us(10000);
        waited++;
    }
    assert_in_range(waited, 0, 5999);
}

static void on_slow_syncs(box *b) {
    static os slow;
    slow = os_posix_with(&(os){.file_sync = sync_slowly});
    box_close(b);
    b->system = &slow;
    box_open(b);
}

static void small_values_stay_within_the_bound_where_syncs_are_slow(void **state) {
    on_slow_syncs(*state);
    replace_all(*state, 4096, 1.25);
}

static void large_values_stay_within_the_bound_where_syncs_are_slow(void **state) {
    on_slow_syncs(*state);
    replace_all(*state, 65536, 1.10);
}

static int setup(void **state) {
    if (box_setup(state) != 0) return -1;
    box *b = *state;
    box_close(b);
    b->options.segment_bytes = 0;
    box_open(b);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(small_values_stay_within_the_bound),
        TEST(large_values_stay_within_the_bound),
        TEST(what_a_snapshot_held_comes_back_by_itself_when_it_is_closed),
        TEST(small_values_stay_within_the_bound_where_syncs_are_slow),
        TEST(large_values_stay_within_the_bound_where_syncs_are_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

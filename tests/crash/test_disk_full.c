/* A disk that is full at any moment: what does not fit is refused and leaves no trace, the rest stays and can be read,
 * and once there is space the store goes on. Disks of every number of 4 KiB blocks, from too few for a store to enough
 * for the whole history. */
#include "src/store/store.h"
#include "tests/support/history.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define STEPS 40u
#define BLOCK 4096u
#define BLOCKS_MIN 8u
#define BLOCKS_MAX 500u

/* Steps may fail; nothing is injected. */
static const sim_fault no_fault = {.kinds = 0, .error = -1};

static void begin(history *h, sim_disk *disk, uint64_t seed) {
    uint64_t rng = seed;
    history_profile profile = history_profile_random(&rng);
    profile.durability = (int)(seed % 3);
    profile.bulk_one_in = seed % 2 == 0 ? 4 : 0;
    profile.file_one_in = seed % 3 == 0 ? 6 : 0;
    history_init(h, disk, &profile, seed);
    history_set_faults(h, &no_fault);
}

/* Opens a copy of the disk as it is, which is full or not. */
static bool opens(const history *h, sim_disk *disk, bool read_only, size_t low, finding *f) {
    cairn_error error = {0};
    cairn *store = NULL;
    cairn_options options = history_options(&h->profile, false);
    size_t row;
    options.read_only = read_only;
    int rc = store_open_on(&store, sim_os(disk), HISTORY_STORE, &options, h->profile.hash_mask, &error);
    /* Recovery needs a little space; a reader needs none. */
    if (rc == CAIRN_FULL && !read_only) return true;
    if (rc != CAIRN_OK) return finding_note(f, "open%s: %d %s", read_only ? " of a reader" : "", rc, error.message);
    bool good = history_check(h, store, low, history_high(h), &row, f);
    (void)cairn_close(store);
    return good;
}

static bool check_copies(const history *h, size_t killed_low, finding *f) {
    bool good = true;
    for (uint64_t seed = 0; good && seed < 4; seed++) {
        sim_disk *copy = sim_clone(h->disk);
        sim_disk *now = seed == 3 ? sim_kill(copy) : sim_crash(copy, seed);
        size_t low = seed == 3 ? killed_low : h->durable;
        good = opens(h, now, true, low, f) && opens(h, now, false, low, f);
        sim_set_capacity(now, UINT64_MAX);
        good = good && opens(h, now, false, low, f);
        sim_free(copy);
        sim_free(now);
    }
    return good;
}

/* There is space again: the handle, or a new one, takes the next put. */
static bool goes_on(history *h, finding *f) {
    sim_set_capacity(h->disk, UINT64_MAX);
    h->in_flight = false;
    if (h->store == NULL && !history_open(h, f)) return false;
    return history_put(h, f) && history_close(h, f) && opens(h, h->disk, false, h->done, f);
}

static bool fill(history *h, finding *f) {
    cairn_error error = {0};
    int rc = history_try_open(h, &error);
    if (rc == CAIRN_FULL) return true;
    if (rc != CAIRN_OK) return finding_note(f, "open: %d %s", rc, error.message);
    for (size_t i = 0; i < STEPS && h->store != NULL; i++) {
        if (!history_take_step(h, f)) return false;
        if (h->failed) return finding_note(f, "a full disk fails the handle at step %zu", h->done);
    }
    if (!check_copies(h, h->done, f)) return false;
    if (h->store == NULL || random_one_in(&h->rng, 2)) return true;
    rc = history_try_close(h);
    if (rc != CAIRN_OK && rc != CAIRN_FULL) return finding_note(f, "close: %d", rc);
    h->durable = h->done; /* a close that finds no room for a checkpoint has synced the log */
    return check_copies(h, h->done, f);
}

static void a_full_disk_refuses_what_does_not_fit_and_loses_nothing(void **state) {
    (void)state;
    static finding f;
    uint64_t first = 1, histories = rung_choose(8, 1, 400);
    if (rung_seed(&first)) histories = 1;
    for (uint64_t seed = first; seed < first + histories; seed++) {
        for (unsigned blocks = BLOCKS_MIN; blocks < BLOCKS_MAX; blocks += blocks < 64 ? 1 : 5) {
            history h;
            sim_disk *disk = sim_new(seed);
            sim_set_capacity(disk, (uint64_t)blocks * BLOCK);
            begin(&h, disk, seed);
            bool good = fill(&h, &f) && goes_on(&h, &f);
            if (!good) history_describe(&h, &f);
            history_abandon(&h);
            if (good && sim_open_handles(disk) != 0) finding_note(&f, "%zu handles leak", sim_open_handles(disk));
            sim_free(disk);
            if (!f.found) continue;
            fputs(f.text, stderr);
            fail_msg("%u blocks; replay: CAIRN_SEED=%llu", blocks, (unsigned long long)seed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_refuses_what_does_not_fit_and_loses_nothing),
    };
    return cmocka_run_group_tests_name("disk_full", tests, NULL, NULL);
}

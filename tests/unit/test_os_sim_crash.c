/* The laws of the simulated disk's crashes, of content: what must survive does in every state, and what may be lost is
 * lost in some state and kept in another. Names are in test_os_sim_names.c. */
#include "tests/support/os_sim_laws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Content ---- */

static void what_was_synced_survives_every_crash(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 5000, 'x');
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_non_null(bytes);
        assert_int_equal(size, 5000);
        assert_true(all_are(bytes, size, 'x'));
        free(bytes);
    }
    os_file_close(file);
}

static void an_overwrite_is_kept_sector_by_sector(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 8 * SECTOR, 'o');
    laws_fill(file, 0, 8 * SECTOR, 'n');
    bool none = false, all = false, mixed = false, later_only = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size, new = 0;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_int_equal(size, 8 * SECTOR);
        for (size_t s = 0; s < 8; s++) {
            assert_true(all_are(bytes + s * SECTOR, SECTOR, 'o') || all_are(bytes + s * SECTOR, SECTOR, 'n'));
            if (bytes[s * SECTOR] == 'n') new ++;
        }
        none |= new == 0;
        all |= new == 8;
        mixed |= new > 0 && new < 8;
        later_only |= bytes[0] == 'o' && bytes[7 * SECTOR] == 'n';
        free(bytes);
    }
    assert_true(none && all && mixed && later_only);
    os_file_close(file);
}

static void an_append_may_grow_by_part_with_zeros_or_stale_bytes(void **state) {
    const sim_laws *f = *state;
    os_file *freed = laws_durable_file(f, "freed", 4096, 'S');
    os_file_close(freed);
    assert_int_equal(os_unlink(f->dir, "freed"), 0);
    assert_int_equal(os_dir_sync(f->dir), 0);
    os_file *file = laws_durable_file(f, "a", 1000, 'o');
    laws_fill(file, 1000, 5000, 'n');
    bool old_size = false, new_size = false, between = false, zeros = false, stale = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_in_range(size, 1000, 6000);
        assert_true(all_are(bytes, 1000, 'o'));
        old_size |= size == 1000;
        new_size |= size == 6000;
        between |= size > 1000 && size < 6000;
        for (size_t i = 1000; i < size; i++) {
            assert_true(bytes[i] == 'n' || bytes[i] == 0 || bytes[i] == 'S' || seed % 4 >= 2);
            zeros |= bytes[i] == 0;
            stale |= bytes[i] == 'S';
        }
        free(bytes);
    }
    assert_true(old_size && new_size && between && zeros && stale);
    os_file_close(file);
}

static void nothing_stale_shows_inside_the_old_size(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_open(f, "a", OS_CREATE);
    assert_int_equal(os_file_truncate(file, 16 * SECTOR), 0); /* a hole, durable */
    assert_int_equal(os_file_sync(file), 0);
    assert_int_equal(os_dir_sync(f->dir), 0);
    laws_fill(file, 0, 16 * SECTOR, 'n');
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_int_equal(size, 16 * SECTOR);
        for (size_t s = 0; s < 16; s++)
            assert_true(all_are(bytes + s * SECTOR, SECTOR, 0) || all_are(bytes + s * SECTOR, SECTOR, 'n'));
        free(bytes);
    }
    os_file_close(file);
}

static void a_sector_never_holds_what_memory_never_held(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", SECTOR, 'o');
    laws_fill(file, 0, 100, '1');
    laws_fill(file, 100, 100, '2');
    laws_fill(file, 50, 100, '3');
    bool seen[4] = {false};
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size, steps = 0;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        if (bytes[0] == '1') steps = 1;
        if (bytes[199] == '2') steps = 2;
        if (bytes[50] == '3') steps = 3;
        seen[steps] = true;
        assert_int_equal(bytes[0], steps >= 1 ? '1' : 'o');
        assert_int_equal(bytes[199], steps >= 2 ? '2' : 'o');
        assert_int_equal(bytes[120], steps >= 3 ? '3' : steps >= 2 ? '2' : 'o');
        assert_int_equal(bytes[200], 'o');
        free(bytes);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    os_file_close(file);
}

static void a_truncation_is_applied_or_not(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 5000, 'o');
    assert_int_equal(os_file_truncate(file, 700), 0);
    bool old_size = false, new_size = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_true(size == 700 || size == 5000);
        assert_true(all_are(bytes, size, 'o'));
        old_size |= size == 5000;
        new_size |= size == 700;
        free(bytes);
    }
    assert_true(old_size && new_size);
    os_file_close(file);
}

/* Enough of them that stale bytes come from nowhere else: 'S'. */
static void free_pages(const sim_laws *f) {
    for (int i = 0; i < 4; i++) {
        os_file_close(laws_durable_file(f, "freed", 8192, 'S'));
        assert_true(sim_file_remove(f->disk, "s", "freed"));
    }
}

static void new_blocks_of_a_cut_file_may_show_stale_bytes(void **state) {
    const sim_laws *f = *state;
    free_pages(f);
    os_file *file = laws_durable_file(f, "a", 8 * SECTOR, 'o');
    assert_int_equal(os_file_truncate(file, 0), 0);
    laws_fill(file, 0, 8 * SECTOR, 'n');
    bool stale = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        for (size_t i = 0; i < size; i++)
            stale |= bytes[i] == 'S';
        free(bytes);
    }
    assert_true(stale);
    os_file_close(file);
}

static void a_sector_that_was_written_back_shows_nothing_stale(void **state) {
    const sim_laws *f = *state;
    free_pages(f);
    os_file *file = laws_durable_file(f, "a", 0, 'o');
    laws_fill(file, 0, 100, '1');
    laws_fill(file, 100, 100, '2');
    bool stale = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        for (size_t i = 100; i < size; i++) {
            if (bytes[0] == '1') assert_true(bytes[i] == '2' || bytes[i] == 0);
            stale |= bytes[i] == 'S';
        }
        free(bytes);
    }
    assert_true(stale);
    os_file_close(file);
}

static void what_lies_behind_the_size_never_comes_back(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 1000, 'o');
    laws_fill(file, 1000, 5000, 'n');
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size, grown;
        sim_disk *crashed = laws_crash_copy(f, seed);
        free(sim_file_read(crashed, "s", "a", &size));
        assert_true(sim_file_resize(crashed, "s", "a", 8000));
        uint8_t *bytes = sim_file_read(crashed, "s", "a", &grown);
        assert_int_equal(grown, 8000);
        assert_true(all_are(bytes + size, grown - size, 0));
        free(bytes);
        sim_free(crashed);
    }
    os_file_close(file);
}

static void an_old_tail_may_outlive_a_truncation_and_the_write_behind_it(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 4 * SECTOR, 'o');
    assert_int_equal(os_file_truncate(file, SECTOR), 0);
    laws_fill(file, SECTOR, SECTOR, 'n');
    bool tail = false, gone = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        bool new = size >= 2 * SECTOR &&bytes[SECTOR] == 'n';
        tail |= new &&size == 4 * SECTOR &&bytes[3 * SECTOR] == 'o';
        gone |= new &&size == 2 * SECTOR;
        free(bytes);
    }
    assert_true(tail && gone);
    os_file_close(file);
}

static void a_punch_frees_any_of_its_sectors(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 16 * SECTOR, 'o');
    assert_int_equal(os_file_punch(file, 4 * SECTOR, 8 * SECTOR), 0);
    bool none = false, all = false, part = false;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size, freed = 0;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_int_equal(size, 16 * SECTOR);
        assert_true(all_are(bytes, 4 * SECTOR, 'o') && all_are(bytes + 12 * SECTOR, 4 * SECTOR, 'o'));
        for (size_t s = 4; s < 12; s++)
            if (bytes[s * SECTOR] == 0) freed++;
        none |= freed == 0;
        all |= freed == 8;
        part |= freed > 0 && freed < 8;
        free(bytes);
    }
    assert_true(none && all && part);
    os_file_close(file);
}

/* ---- Failed syncs ---- */

static void a_sync_that_succeeds_after_a_failed_one_saves_nothing_of_it(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 4 * SECTOR, 'o');
    laws_fill(file, 0, SECTOR, 'n');              /* overwrites */
    laws_fill(file, 4 * SECTOR, 2 * SECTOR, 'n'); /* appends */
    laws_fail_next(f, SIM_SYNC, -EIO);
    assert_int_equal(os_file_sync(file), -EIO);
    assert_int_equal(os_file_sync(file), 0);

    size_t size;
    uint8_t *now = sim_file_read(f->disk, "s", "a", &size);
    assert_int_equal(size, 6 * SECTOR); /* reads see it */
    assert_int_equal(now[0], 'n');
    free(now);
    laws_fill(file, 2 * SECTOR, SECTOR, 'l'); /* what comes later is saved, and only that */
    assert_int_equal(os_file_sync(file), 0);
    for (uint64_t seed = 0; seed < STATES; seed++) {
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_int_equal(size, 4 * SECTOR);
        assert_true(all_are(bytes, 2 * SECTOR, 'o'));
        assert_true(all_are(bytes + 2 * SECTOR, SECTOR, 'l'));
        free(bytes);
    }
    os_file_close(file);
}

static void what_a_failed_sync_lost_is_saved_when_written_again(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", SECTOR, 'o');
    laws_fill(file, 0, 4 * SECTOR, 'n');
    laws_fail_next(f, SIM_SYNC, -EIO);
    assert_int_equal(os_file_sync(file), -EIO);
    laws_fill(file, 0, 4 * SECTOR, 'n');
    assert_int_equal(os_file_sync(file), 0);
    for (uint64_t seed = 0; seed < STATES; seed++) {
        size_t size;
        uint8_t *bytes = laws_after_crash(f, seed, "a", &size);
        assert_int_equal(size, 4 * SECTOR);
        assert_true(all_are(bytes, size, 'n'));
        free(bytes);
    }
    os_file_close(file);
}

static void a_killed_process_does_not_mend_a_failed_sync(void **state) {
    sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", SECTOR, 'o');
    laws_fill(file, 0, SECTOR, 'n');
    laws_fail_next(f, SIM_SYNC, -EIO);
    assert_int_equal(os_file_sync(file), -EIO);
    os_file_close(file);
    sim_disk *killed = sim_kill(f->disk);
    os *o = sim_os(killed);
    os_dir *dir;
    assert_int_equal(o->dir_open(o, "s", 0, &dir), 0);
    assert_int_equal(os_file_open(dir, "a", 0, &file), 0);
    char byte;
    size_t got, size;
    assert_int_equal(os_file_read(file, &byte, 1, 0, &got), 0);
    assert_int_equal(byte, 'n');
    assert_int_equal(os_file_sync(file), 0);
    os_file_close(file);
    os_dir_close(dir);
    sim_disk *crashed = sim_crash(killed, 1);
    uint8_t *bytes = sim_file_read(crashed, "s", "a", &size);
    assert_true(all_are(bytes, size, 'o'));
    free(bytes);
    sim_free(crashed);
    sim_free(killed);
}

/* ---- States as a whole ---- */

static void the_seed_says_what_survives(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 3000, 'o');
    uint64_t nothing = sim_fingerprint(f->disk);
    laws_fill(file, 1000, 5000, 'n');
    os_file *other = laws_open(f, "b", OS_CREATE);
    laws_fill(other, 100, 100, 'n');
    assert_int_equal(os_file_punch(file, 0, 700), 0);
    assert_int_equal(os_rename(f->dir, "b", "c"), 0);
    assert_int_equal(os_file_truncate(file, 5000), 0);
    uint64_t all = sim_fingerprint(f->disk);
    unsigned other_states = 0;
    for (uint64_t seed = 0; seed < STATES; seed++) {
        sim_disk *first = laws_crash_copy(f, seed), *again = laws_crash_copy(f, seed);
        uint64_t found = sim_fingerprint(first);
        assert_int_equal(found, sim_fingerprint(again));
        if (seed % 4 == 0) assert_int_equal(found, nothing);
        if (seed % 4 == 1) assert_int_equal(found, all);
        other_states += found != nothing && found != all;
        sim_free(first);
        sim_free(again);
    }
    assert_true(other_states > STATES / 4);
    assert_int_equal(sim_fingerprint(f->disk), all);
    os_file_close(file);
    os_file_close(other);
}

static void a_state_after_a_crash_is_durable(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 3000, 'o');
    laws_fill(file, 1000, 5000, 'n');
    for (uint64_t seed = 0; seed < 50; seed++) {
        sim_disk *first = laws_crash_copy(f, seed);
        uint64_t before = sim_fingerprint(first);
        for (uint64_t next = 0; next < 8; next++) {
            sim_disk *second = sim_crash(first, next);
            assert_int_equal(sim_fingerprint(second), before);
            sim_free(second);
        }
        sim_free(first);
    }
    os_file_close(file);
}

static void the_crashed_machine_is_dead_and_its_handles_close(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 100, 'o'), *unused;
    assert_int_equal(os_dir_lock(f->dir, true), 0);
    sim_disk *after = sim_crash(f->disk, 1);
    uint64_t before = sim_fingerprint(f->disk), operations = sim_operations(f->disk);
    assert_int_equal(os_file_write(file, "x", 1, 0), -EIO);
    assert_int_equal(os_file_sync(file), -EIO);
    assert_int_equal(os_unlink(f->dir, "a"), -EIO);
    assert_int_equal(os_dir_sync(f->dir), -EIO);
    assert_int_equal(os_file_open(f->dir, "b", OS_CREATE, &unused), -EIO);
    assert_int_equal(sim_fingerprint(f->disk), before);
    assert_int_equal(sim_operations(f->disk), operations);
    os_file_close(file);

    os_dir *dir; /* the lock did not carry over */
    assert_int_equal(sim_os(after)->dir_open(sim_os(after), "s", 0, &dir), 0);
    assert_int_equal(os_dir_lock(dir, true), 0);
    os_dir_close(dir);
    sim_free(after);
}

static void a_killed_process_leaves_all_and_all_still_pending(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 3000, 'o');
    laws_fill(file, 0, 4000, 'n');
    assert_int_equal(os_rename(f->dir, "a", "b"), 0);
    assert_int_equal(os_dir_lock(f->dir, true), 0);
    uint64_t before = sim_fingerprint(f->disk);
    sim_disk *killed = sim_kill(f->disk);
    assert_int_equal(sim_fingerprint(killed), before);
    os_dir *dir;
    assert_int_equal(sim_os(killed)->dir_open(sim_os(killed), "s", 0, &dir), 0);
    assert_int_equal(os_dir_lock(dir, true), 0);
    os_dir_close(dir);
    sim_disk *crashed = sim_crash(killed, 0);
    size_t size;
    uint8_t *bytes = sim_file_read(crashed, "s", "a", &size);
    assert_true(bytes != NULL && size == 3000 && all_are(bytes, size, 'o'));
    free(bytes);
    sim_free(crashed);
    sim_free(killed);
    assert_int_equal(os_file_sync(file), -EIO);
    os_file_close(file);
}

/* ---- Random operations against plain arrays: what reads see, and what is durable ---- */

#define PLAIN_SIZE 20000

typedef struct plain {
    uint8_t now[PLAIN_SIZE], durable[PLAIN_SIZE];
    size_t now_size, durable_size;
} plain;

static uint64_t draw(uint64_t *rng, uint64_t limit) {
    *rng = *rng * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*rng >> 33) % limit;
}

static void plain_step(plain *p, os_file *file, uint64_t *rng) {
    static uint8_t bytes[PLAIN_SIZE];
    size_t offset = (size_t)draw(rng, PLAIN_SIZE / 2), size = (size_t)draw(rng, PLAIN_SIZE / 2);
    switch (draw(rng, 6)) {
    case 0:
        assert_int_equal(os_file_sync(file), 0);
        memcpy(p->durable, p->now, PLAIN_SIZE);
        p->durable_size = p->now_size;
        break;
    case 1:
        assert_int_equal(os_file_truncate(file, size), 0);
        memset(p->now + size, 0, PLAIN_SIZE - size);
        p->now_size = size;
        break;
    case 2:
        assert_int_equal(os_file_punch(file, offset, size), 0);
        memset(p->now + offset, 0, size);
        break;
    default:
        memset(bytes, (int)draw(rng, 256), size);
        assert_int_equal(os_file_write(file, bytes, size, offset), 0);
        memcpy(p->now + offset, bytes, size);
        if (size > 0 && offset + size > p->now_size) p->now_size = offset + size;
    }
}

static void assert_content(sim_disk *d, const uint8_t *bytes, size_t size) {
    size_t found_size;
    uint8_t *found = sim_file_read(d, "s", "a", &found_size);
    assert_int_equal(found_size, size);
    assert_memory_equal(found, bytes, size);
    free(found);
}

static void random_operations_agree_with_plain_arrays(void **state) {
    const sim_laws *f = *state;
    os_file *file = laws_durable_file(f, "a", 0, 'x');
    plain *p = calloc(1, sizeof *p);
    assert_non_null(p);
    uint64_t rng = 7;
    for (int i = 0; i < 600; i++) {
        sim_disk *before = sim_clone(f->disk);
        uint64_t fingerprint = sim_fingerprint(before);
        plain_step(p, file, &rng);
        assert_int_equal(sim_fingerprint(before), fingerprint); /* a copy is not touched */
        sim_free(before);
        assert_content(f->disk, p->now, p->now_size);
        sim_disk *nothing = laws_crash_copy(f, 0), *all = laws_crash_copy(f, 1), *some = laws_crash_copy(f, rng | 2);
        assert_content(nothing, p->durable, p->durable_size);
        assert_content(all, p->now, p->now_size);
        assert_int_equal(sim_fingerprint(all), sim_fingerprint(f->disk));
        sim_free(nothing);
        sim_free(all);
        sim_free(some);
    }
    free(p);
    os_file_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_LAWS(what_was_synced_survives_every_crash),
        ON_LAWS(an_overwrite_is_kept_sector_by_sector),
        ON_LAWS(an_append_may_grow_by_part_with_zeros_or_stale_bytes),
        ON_LAWS(nothing_stale_shows_inside_the_old_size),
        ON_LAWS(a_sector_never_holds_what_memory_never_held),
        ON_LAWS(a_truncation_is_applied_or_not),
        ON_LAWS(new_blocks_of_a_cut_file_may_show_stale_bytes),
        ON_LAWS(a_sector_that_was_written_back_shows_nothing_stale),
        ON_LAWS(what_lies_behind_the_size_never_comes_back),
        ON_LAWS(an_old_tail_may_outlive_a_truncation_and_the_write_behind_it),
        ON_LAWS(a_punch_frees_any_of_its_sectors),
        ON_LAWS(a_sync_that_succeeds_after_a_failed_one_saves_nothing_of_it),
        ON_LAWS(what_a_failed_sync_lost_is_saved_when_written_again),
        ON_LAWS(a_killed_process_does_not_mend_a_failed_sync),
        ON_LAWS(the_seed_says_what_survives),
        ON_LAWS(a_state_after_a_crash_is_durable),
        ON_LAWS(the_crashed_machine_is_dead_and_its_handles_close),
        ON_LAWS(a_killed_process_leaves_all_and_all_still_pending),
        ON_LAWS(random_operations_agree_with_plain_arrays),
    };
    return cmocka_run_group_tests_name("crashes of the simulated disk: content", tests, NULL, NULL);
}

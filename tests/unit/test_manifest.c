/* The manifest: what is stored comes back, what is damaged is refused, and a replacement is old or new at any crash. */
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "tests/support/os_sim.h"
#include "vlog/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SALT 0x5a175a175a175a17u
#define STORE "store"
#define HEADER 128
#define ENTRY 96

static const uint8_t store_id[16] = "0123456789abcde";
static const uint8_t other_id[16] = "another store's";

typedef struct fixture {
    sim_disk *disk;
    os_dir *dir;
} fixture;

static void open_dir(fixture *f, sim_disk *disk) {
    f->disk = disk;
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), STORE, OS_CREATE, &f->dir), 0);
}

static void close_disk(fixture *f) {
    os_dir_close(f->dir);
    assert_int_equal(sim_open_handles(f->disk), 0);
    sim_free(f->disk);
}

static void add(manifest *m, uint64_t id, uint64_t base, uint64_t granules, uint32_t state) {
    manifest_segment s = {.id = id, .generation = id % 3, .base_granule = base, .granules = granules, .state = state};
    if (state == SEGMENT_SEALED) {
        s.sealed_size = granules * GRANULE_BYTES;
        s.trailer_checksum = id * 0x9e3779b97f4a7c15u;
        s.first_place = id * 100;
        s.end_place = id * 100 + 50;
        s.lowest_version = id * 7;
        s.record_end = s.sealed_size - 4096;
    }
    assert_int_equal(manifest_reserve(m), CAIRN_OK);
    manifest_add(m, &s);
}

/* Three segments, the addresses not in order of the ids. */
static void fill(manifest *m) {
    manifest_init(m, store_id);
    m->compatible_features = 5;
    m->reclaim_epoch = 9;
    m->next_id = 12;
    m->version_ceiling = 1 << 20;
    m->durable_place = 333;
    add(m, 3, 100, 4, SEGMENT_SEALED);
    add(m, 7, 0, 100, SEGMENT_SEALED);
    add(m, 11, 104, 256, SEGMENT_OPEN);
}

static void assert_same(const manifest *a, const manifest *b) {
    assert_memory_equal(a->store_id, b->store_id, 16);
    assert_int_equal(a->compatible_features, b->compatible_features);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->reclaim_epoch, b->reclaim_epoch);
    assert_int_equal(a->next_id, b->next_id);
    assert_int_equal(a->version_ceiling, b->version_ceiling);
    assert_int_equal(a->durable_place, b->durable_place);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const manifest_segment *x = &a->segments[i], *y = &b->segments[i];
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->generation, y->generation);
        assert_int_equal(x->base_granule, y->base_granule);
        assert_int_equal(x->granules, y->granules);
        assert_int_equal(x->state, y->state);
        assert_int_equal(x->sealed_size, y->sealed_size);
        assert_int_equal(x->trailer_checksum, y->trailer_checksum);
        assert_int_equal(x->first_place, y->first_place);
        assert_int_equal(x->end_place, y->end_place);
        assert_int_equal(x->lowest_version, y->lowest_version);
        assert_int_equal(x->record_end, y->record_end);
    }
}

static int load(os_dir *dir, manifest *m, cairn_error *error) {
    int rc = manifest_load(m, dir, store_id, SALT, error);
    if (rc != CAIRN_OK) {
        manifest empty;
        manifest_init(&empty, store_id);
        assert_same(m, &empty);
        assert_null(m->segments);
        assert_int_equal(error->code, rc);
        assert_non_null(strstr(error->message, MANIFEST_NAME));
    }
    return rc;
}

/* A disk with the manifest of fill(), durable. */
static void store_filled(fixture *f) {
    open_dir(f, sim_new(1));
    manifest m;
    fill(&m);
    assert_int_equal(manifest_store(&m, f->dir, SALT, NULL, NULL), CAIRN_OK);
    manifest_release(&m);
}

static void what_is_stored_comes_back(void **state) {
    (void)state;
    fixture f;
    open_dir(&f, sim_new(1));
    manifest m, loaded;
    cairn_error error;
    assert_int_equal(load(f.dir, &loaded, &error), CAIRN_NOT_FOUND);

    manifest_init(&m, store_id);
    assert_int_equal(manifest_store(&m, f.dir, SALT, NULL, &error), CAIRN_OK);
    assert_int_equal(m.sequence, 1);
    assert_int_equal(load(f.dir, &loaded, &error), CAIRN_OK);
    assert_same(&m, &loaded);
    manifest_release(&loaded);

    fill(&m);
    m.sequence = 41;
    assert_int_equal(manifest_store(&m, f.dir, SALT, NULL, &error), CAIRN_OK);
    assert_int_equal(m.sequence, 42);
    assert_int_equal(load(f.dir, &loaded, &error), CAIRN_OK);
    assert_same(&m, &loaded);
    char names[4][SIM_NAME_SIZE];
    assert_int_equal(sim_names(f.disk, STORE, names, 4), 1);
    manifest_release(&loaded);
    manifest_release(&m);
    close_disk(&f);
}

static void a_real_file_system_serves_as_well(void **state) {
    (void)state;
    char path[256];
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(path, sizeof path, "%s/cairn-manifest-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    os_dir *dir;
    assert_int_equal(os_posix()->dir_open(os_posix(), path, 0, &dir), 0);
    manifest m, loaded;
    cairn_error error;
    fill(&m);
    assert_int_equal(manifest_store(&m, dir, SALT, NULL, &error), CAIRN_OK);
    assert_int_equal(load(dir, &loaded, &error), CAIRN_OK);
    assert_same(&m, &loaded);
    assert_int_equal(os_unlink(dir, MANIFEST_NAME), 0);
    assert_int_equal(os_unlink(dir, MANIFEST_NEW_NAME), -ENOENT);
    os_dir_close(dir);
    assert_int_equal(rmdir(path), 0);
    manifest_release(&loaded);
    manifest_release(&m);
}

/* ---- Damage ---- */

static void reseal(uint8_t *bytes, size_t size) { le64_put(bytes, checksum(bytes + 8, size - 8, SALT)); }

static int load_bytes(fixture *f, const uint8_t *bytes, size_t size, cairn_error *error) {
    manifest m;
    sim_file_write(f->disk, STORE, MANIFEST_NAME, bytes, size);
    int rc = load(f->dir, &m, error);
    manifest_release(&m);
    return rc;
}

static void every_flipped_bit_is_refused(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, STORE, MANIFEST_NAME, &size);
    assert_int_equal(size, HEADER + 3 * ENTRY);
    for (size_t bit = 0; bit < size * 8; bit++) {
        cairn_error error;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = load_bytes(&f, bytes, size, &error);
        bool newer = (bit / 8 == 16 && bit % 8 != 0) || bit / 8 == 17; /* the major version grew */
        assert_int_equal(rc, newer ? CAIRN_UNSUPPORTED : CAIRN_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
    close_disk(&f);
}

static void every_truncation_and_extension_is_refused(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    size_t size;
    cairn_error error;
    uint8_t *bytes = sim_file_read(f.disk, STORE, MANIFEST_NAME, &size);
    uint8_t *longer = calloc(1, size + ENTRY);
    memcpy(longer, bytes, size);
    for (size_t cut = 0; cut < size + ENTRY; cut++) {
        if (cut != size) assert_int_equal(load_bytes(&f, longer, cut, &error), CAIRN_CORRUPT);
        if (cut < HEADER || cut == size) continue;
        reseal(longer, cut); /* the count alone is left to tell */
        assert_int_equal(load_bytes(&f, longer, cut, &error), CAIRN_CORRUPT);
        assert_int_equal(error.offset, 88);
    }
    free(longer);
    free(bytes);
    close_disk(&f);
}

typedef struct poke {
    size_t at, size;
    uint64_t value;
    int code;
    uint64_t named; /* offset in the error */
} poke;

#define SECOND (HEADER + ENTRY)
static const poke pokes[] = {
    {8, 1, 'X', CAIRN_CORRUPT, 8},
    {16, 2, 0, CAIRN_CORRUPT, 16},
    {16, 2, 2, CAIRN_UNSUPPORTED, 16},
    {20, 4, 127, CAIRN_CORRUPT, 20},
    {24, 1, 'X', CAIRN_CORRUPT, 24},
    {40, 8, 1, CAIRN_UNSUPPORTED, 40},
    {40, 8, (uint64_t)1 << 63, CAIRN_UNSUPPORTED, 40},
    {72, 8, 0, CAIRN_CORRUPT, 72},
    {72, 8, 11, CAIRN_CORRUPT, HEADER + 2 * ENTRY}, /* the third id is 11 */
    {88, 8, 2, CAIRN_CORRUPT, 88},
    {88, 8, 4, CAIRN_CORRUPT, 88},
    {88, 8, UINT64_MAX, CAIRN_CORRUPT, 88},
    {88, 8, (uint64_t)1 << 59 | 3, CAIRN_CORRUPT, 88}, /* times 96 wraps to the true size */
    {HEADER, 8, 0, CAIRN_CORRUPT, HEADER},
    {SECOND, 8, 3, CAIRN_CORRUPT, SECOND}, /* twice */
    {SECOND, 8, 2, CAIRN_CORRUPT, SECOND}, /* descending */
    {SECOND, 8, UINT64_MAX, CAIRN_CORRUPT, SECOND},
    {SECOND + 16, 8, 1, CAIRN_CORRUPT, SECOND + 16}, /* overlaps the first */
    {SECOND + 16, 8, GRANULE_COUNT - 99, CAIRN_CORRUPT, SECOND + 16},
    {SECOND + 16, 8, UINT64_MAX - 50, CAIRN_CORRUPT, SECOND + 16}, /* the end wraps */
    {SECOND + 24, 8, 0, CAIRN_CORRUPT, SECOND + 16},
    {SECOND + 24, 8, 101, CAIRN_CORRUPT, SECOND + 16},
    {SECOND + 24, 8, UINT64_MAX, CAIRN_CORRUPT, SECOND + 16},
    {SECOND + 32, 4, 0, CAIRN_CORRUPT, SECOND + 32},
    {SECOND + 32, 4, 3, CAIRN_CORRUPT, SECOND + 32},
    {SECOND + 40, 8, 0, CAIRN_CORRUPT, SECOND + 40},
    {SECOND + 40, 8, 4096, CAIRN_CORRUPT, SECOND + 40},
    {SECOND + 56, 8, 751, CAIRN_CORRUPT, SECOND + 56},
};

static void hostile_fields_are_refused_and_named_also_under_a_right_checksum(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    size_t size;
    uint8_t *bytes = sim_file_read(f.disk, STORE, MANIFEST_NAME, &size);
    for (size_t i = 0; i < sizeof pokes / sizeof *pokes; i++) {
        uint8_t *hostile = malloc(size), value[8];
        memcpy(hostile, bytes, size);
        le64_put(value, pokes[i].value);
        memcpy(hostile + pokes[i].at, value, pokes[i].size);
        reseal(hostile, size);
        cairn_error error;
        int rc = load_bytes(&f, hostile, size, &error);
        if (rc != pokes[i].code || error.offset != pokes[i].named)
            fail_msg("poke %zu at %zu: %d at %llu: %s", i, pokes[i].at, rc, (unsigned long long)error.offset,
                     error.message);
        free(hostile);
    }
    free(bytes);
    close_disk(&f);
}

static void a_newer_major_is_refused_as_newer_whatever_else_is_wrong(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    size_t size;
    cairn_error error;
    uint8_t *bytes = sim_file_read(f.disk, STORE, MANIFEST_NAME, &size);
    bytes[16] = 2;
    memset(bytes + 18, 0xee, size - 18);
    assert_int_equal(load_bytes(&f, bytes, size, &error), CAIRN_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    free(bytes);
    close_disk(&f);
}

static void a_newer_minor_is_no_obstacle(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    size_t size;
    cairn_error error;
    uint8_t *bytes = sim_file_read(f.disk, STORE, MANIFEST_NAME, &size);
    bytes[18] = 9;
    bytes[110] = 1; /* reserved */
    reseal(bytes, size);
    assert_int_equal(load_bytes(&f, bytes, size, &error), CAIRN_OK);
    free(bytes);
    close_disk(&f);
}

static void another_stores_manifest_is_refused(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    manifest m;
    cairn_error error;
    assert_int_equal(manifest_load(&m, f.dir, other_id, SALT, &error), CAIRN_CORRUPT);
    assert_int_equal(error.offset, 24);
    assert_int_equal(manifest_load(&m, f.dir, store_id, SALT + 1, &error), CAIRN_CORRUPT);
    assert_int_equal(error.offset, 0);
    assert_int_equal(manifest_load(&m, f.dir, store_id, SALT, NULL), CAIRN_OK);
    manifest_release(&m);
    close_disk(&f);
}

/* ---- Crashes and faults ---- */

static void replace_with_next(os_dir *dir, int expected, bool *sync_failed) {
    manifest m;
    cairn_error error;
    fill(&m);
    m.sequence = 1;
    m.next_id = 99;
    for (uint64_t id = 20; id < 60; id++)
        add(&m, id, 1000 + id, 1, SEGMENT_SEALED);
    int rc = manifest_store(&m, dir, SALT, sync_failed, &error);
    if (expected == CAIRN_OK) assert_int_equal(rc, CAIRN_OK);
    if (rc != CAIRN_OK) assert_non_null(strstr(error.message, MANIFEST_NAME));
    manifest_release(&m);
}

/* The old manifest, of sequence 1, or the new one, of sequence 2: whole. */
static uint64_t sequence_on(os_dir *dir) {
    manifest m;
    cairn_error error = {0};
    if (load(dir, &m, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_true(m.sequence == 1 || m.sequence == 2);
    assert_int_equal(m.count, m.sequence == 1 ? 3 : 43);
    uint64_t sequence = m.sequence;
    manifest_release(&m);
    return sequence;
}

static void a_crash_at_any_operation_leaves_the_old_or_the_new(void **state) {
    (void)state;
    uint64_t seen[3] = {0};
    for (uint64_t operation = 0;; operation++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            fixture f, after;
            store_filled(&f);
            /* A leftover of a crash before, longer than what comes. */
            static const uint8_t junk[9000] = {1, 2, 3};
            sim_file_write(f.disk, STORE, MANIFEST_NEW_NAME, junk, sizeof junk);
            uint64_t before = sim_operations(f.disk);
            sim_cut_at(f.disk, before + operation);
            replace_with_next(f.dir, CAIRN_FAILED, NULL);
            bool done = sim_operations(f.disk) < before + operation;
            open_dir(&after, sim_crash(f.disk, seed));
            uint64_t sequence = sequence_on(after.dir);
            if (done) assert_int_equal(sequence, 2);
            seen[sequence]++;
            replace_with_next(after.dir, CAIRN_OK, NULL);
            assert_int_equal(sequence_on(after.dir), 2);
            close_disk(&after);
            close_disk(&f);
            if (done && seed == 39) {
                assert_true(seen[1] > 40 && seen[2] > 40);
                return;
            }
        }
    }
}

static void a_call_that_fails_leaves_the_old_or_the_new_and_tells_of_a_sync(void **state) {
    (void)state;
    const int errors[] = {-EIO, -ENOSPC};
    for (size_t e = 0; e < 2; e++) {
        for (unsigned kind = 1; kind < SIM_ALL; kind <<= 1) {
            for (uint64_t nth = 0;; nth++) {
                fixture f;
                store_filled(&f);
                sim_fault fault = {.kinds = kind, .nth = nth, .error = errors[e], .partial = true};
                sim_fault_set(f.disk, &fault);
                bool sync_failed = false;
                replace_with_next(f.dir, CAIRN_FAILED, &sync_failed);
                bool hit = sim_fault_hits(f.disk) > 0;
                sim_fault_set(f.disk, NULL);
                bool a_sync = (kind & (SIM_SYNC | SIM_DIR_SYNC)) != 0;
                assert_int_equal(sync_failed, hit && a_sync);
                (void)sequence_on(f.dir);
                if (hit && !a_sync) {
                    replace_with_next(f.dir, CAIRN_OK, &sync_failed);
                    assert_int_equal(sequence_on(f.dir), 2);
                }
                close_disk(&f);
                if (!hit) break;
            }
        }
    }
}

static void a_read_that_fails_is_not_taken_for_damage(void **state) {
    (void)state;
    const unsigned kinds[] = {SIM_OPEN, SIM_INFO, SIM_READ};
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        store_filled(&f);
        manifest m;
        cairn_error error;
        sim_fault fault = {.kinds = kinds[i], .error = -EIO};
        sim_fault_set(f.disk, &fault);
        assert_int_equal(load(f.dir, &m, &error), CAIRN_IO);
        assert_int_equal(error.sys_errno, EIO);
        sim_fault_set(f.disk, NULL);
        close_disk(&f);
    }
}

/* ---- In memory ---- */

static void segments_are_found_and_removed_by_id(void **state) {
    (void)state;
    manifest m;
    manifest_init(&m, store_id);
    assert_null(manifest_find(&m, 1));
    for (uint64_t id = 1; id <= 100; id++)
        add(&m, id * 2, id, 1, SEGMENT_OPEN);
    for (uint64_t id = 0; id <= 202; id++) {
        manifest_segment *found = manifest_find(&m, id);
        assert_int_equal(found != NULL, id >= 2 && id <= 200 && id % 2 == 0);
        if (found != NULL) assert_int_equal(found->base_granule, id / 2);
    }
    for (uint64_t id = 2; id <= 200; id += 4)
        manifest_remove(&m, id);
    assert_int_equal(m.count, 50);
    for (uint64_t id = 2; id <= 200; id += 2)
        assert_int_equal(manifest_find(&m, id) != NULL, id % 4 == 0);
    manifest_release(&m);
}

static uint64_t place(const manifest *m, uint64_t granules) {
    uint64_t base = 12345;
    assert_int_equal(manifest_place_run(m, granules, &base), CAIRN_OK);
    return base;
}

static void runs_are_handed_out_in_turn_and_wrap_around(void **state) {
    (void)state;
    manifest m;
    uint64_t base;
    manifest_init(&m, store_id);
    assert_int_equal(place(&m, 4), 0);
    assert_int_equal(place(&m, GRANULE_COUNT), 0);
    assert_int_equal(manifest_place_run(&m, GRANULE_COUNT + 1, &base), CAIRN_FULL);
    add(&m, 1, 0, 4, SEGMENT_OPEN);
    add(&m, 2, 100, 50, SEGMENT_OPEN);
    assert_int_equal(place(&m, 10), 150); /* behind the youngest, not in the gap before it */
    add(&m, 3, GRANULE_COUNT - 5, 3, SEGMENT_OPEN);
    assert_int_equal(place(&m, 2), GRANULE_COUNT - 2);
    assert_int_equal(place(&m, 3), 4); /* wraps into the first gap */
    assert_int_equal(place(&m, 96), 4);
    assert_int_equal(place(&m, 97), 150);
    manifest_remove(&m, 1);
    assert_int_equal(place(&m, 100), 0); /* used again */
    assert_int_equal(manifest_place_run(&m, GRANULE_COUNT - 154, &base), CAIRN_FULL);
    assert_int_equal(place(&m, GRANULE_COUNT - 155), 150);
    manifest_release(&m);
}

static void the_youngest_at_the_very_end_wraps_to_the_beginning(void **state) {
    (void)state;
    manifest m;
    uint64_t base;
    manifest_init(&m, store_id);
    add(&m, 1, 1, GRANULE_COUNT - 1, SEGMENT_OPEN);
    assert_int_equal(place(&m, 1), 0);
    assert_int_equal(manifest_place_run(&m, 2, &base), CAIRN_FULL);
    add(&m, 2, 0, 1, SEGMENT_OPEN);
    assert_int_equal(manifest_place_run(&m, 1, &base), CAIRN_FULL);
    manifest_release(&m);
}

static void placed_runs_never_overlap(void **state) {
    (void)state;
    manifest m;
    uint64_t x = 88172645463325252u, overlapping, id = 0;
    manifest_init(&m, store_id);
    for (int round = 0; round < 3000; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (m.count > 40 || (m.count > 0 && x % 3 == 0)) {
            manifest_remove(&m, m.segments[(x >> 8) % m.count].id);
            continue;
        }
        uint64_t base, granules = 1 + (x >> 8) % (GRANULE_COUNT / 40);
        int rc = manifest_place_run(&m, granules, &base);
        if (rc == CAIRN_FULL) continue;
        assert_int_equal(rc, CAIRN_OK);
        assert_true(base + granules <= GRANULE_COUNT);
        add(&m, ++id, base, granules, SEGMENT_OPEN);
        assert_int_equal(manifest_find_overlap(&m, &overlapping), CAIRN_OK);
        assert_int_equal(overlapping, 0);
    }
    assert_true(id > 500);
    manifest_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_comes_back),
        cmocka_unit_test(a_real_file_system_serves_as_well),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_truncation_and_extension_is_refused),
        cmocka_unit_test(hostile_fields_are_refused_and_named_also_under_a_right_checksum),
        cmocka_unit_test(a_newer_major_is_refused_as_newer_whatever_else_is_wrong),
        cmocka_unit_test(a_newer_minor_is_no_obstacle),
        cmocka_unit_test(another_stores_manifest_is_refused),
        cmocka_unit_test(a_crash_at_any_operation_leaves_the_old_or_the_new),
        cmocka_unit_test(a_call_that_fails_leaves_the_old_or_the_new_and_tells_of_a_sync),
        cmocka_unit_test(a_read_that_fails_is_not_taken_for_damage),
        cmocka_unit_test(segments_are_found_and_removed_by_id),
        cmocka_unit_test(runs_are_handed_out_in_turn_and_wrap_around),
        cmocka_unit_test(the_youngest_at_the_very_end_wraps_to_the_beginning),
        cmocka_unit_test(placed_runs_never_overlap),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}

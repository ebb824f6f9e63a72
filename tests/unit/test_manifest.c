/* The manifest: what is stored comes back, what is damaged is refused, and a replacement is old or new at any crash. */
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"
#include "tests/support/os_sim.h"
#include "tests/support/real_folder.h"
#include "vlog/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

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
    uint8_t *bytes; /* of the manifest of fill(), where it was stored */
    size_t size;
} fixture;

static void open_dir(fixture *f, sim_disk *disk) {
    *f = (fixture){.disk = disk};
    assert_int_equal(sim_os(disk)->dir_open(sim_os(disk), STORE, OS_CREATE, &f->dir), 0);
}

static void close_disk(fixture *f) {
    free(f->bytes);
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
    m->features = FEATURE_ZSTD | FEATURE_EXPIRES;
    m->dictionary = 6;
    m->reclaimed_place = 300;
    m->next_granule = 360;
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
    assert_int_equal(a->features, b->features);
    assert_int_equal(a->dictionary, b->dictionary);
    assert_int_equal(a->reclaimed_place, b->reclaimed_place);
    assert_int_equal(a->next_granule, b->next_granule);
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
    f->bytes = sim_file_read(f->disk, STORE, MANIFEST_NAME, &f->size);
    assert_int_equal(f->size, HEADER + 3 * ENTRY);
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
    os_dir *dir;
    assert_int_equal(os_posix()->dir_open(os_posix(), *state, 0, &dir), 0);
    manifest m, loaded;
    cairn_error error;
    fill(&m);
    assert_int_equal(manifest_store(&m, dir, SALT, NULL, &error), CAIRN_OK);
    assert_int_equal(load(dir, &loaded, &error), CAIRN_OK);
    assert_same(&m, &loaded);
    assert_int_equal(os_unlink(dir, MANIFEST_NAME), 0);
    assert_int_equal(os_unlink(dir, MANIFEST_NEW_NAME), -ENOENT);
    os_dir_close(dir);
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
    for (size_t bit = 0; bit < f.size * 8; bit++) {
        cairn_error error;
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = load_bytes(&f, f.bytes, f.size, &error);
        bool newer = (bit / 8 == 16 && bit % 8 != 0) || bit / 8 == 17; /* the major version grew */
        assert_int_equal(rc, newer ? CAIRN_UNSUPPORTED : CAIRN_CORRUPT);
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    close_disk(&f);
}

static void every_truncation_and_extension_is_refused(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    cairn_error error;
    uint8_t *longer = calloc(1, f.size + ENTRY);
    memcpy(longer, f.bytes, f.size);
    for (size_t cut = 0; cut < f.size + ENTRY; cut++) {
        if (cut != f.size) assert_int_equal(load_bytes(&f, longer, cut, &error), CAIRN_CORRUPT);
        if (cut < HEADER || cut == f.size) continue;
        reseal(longer, cut); /* the count alone is left to tell */
        assert_int_equal(load_bytes(&f, longer, cut, &error), CAIRN_CORRUPT);
        assert_int_equal(error.offset, 88);
    }
    free(longer);
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
    {40, 8, 32, CAIRN_CORRUPT, 20}, /* its header is longer */
    {40, 8, 128, CAIRN_UNSUPPORTED, 40},
    {40, 8, (uint64_t)1 << 63, CAIRN_UNSUPPORTED, 40},
    {40, 8, FEATURES_KNOWN | FEATURES_KNOWN << 1, CAIRN_UNSUPPORTED, 40},
    {56, 8, (uint64_t)1 << 63, CAIRN_CORRUPT, 56},
    {72, 8, 0, CAIRN_CORRUPT, 72},
    {72, 8, 11, CAIRN_CORRUPT, HEADER + 2 * ENTRY}, /* the third id is 11 */
    {88, 8, 2, CAIRN_CORRUPT, 88},
    {88, 8, 4, CAIRN_CORRUPT, 88},
    {88, 8, UINT64_MAX, CAIRN_CORRUPT, 88},
    {88, 8, (uint64_t)1 << 59 | 3, CAIRN_CORRUPT, 88}, /* times 96 wraps to the true size */
    {104, 8, (uint64_t)1 << 63, CAIRN_CORRUPT, 104},
    {104, 8, UINT64_MAX, CAIRN_CORRUPT, 104},
    {112, 8, (uint64_t)1 << 63, CAIRN_CORRUPT, 112},
    {120, 8, GRANULE_COUNT + 1, CAIRN_CORRUPT, 120},
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
    {SECOND + 36, 4, 8, CAIRN_CORRUPT, SECOND + 36},
    {SECOND + ENTRY + 36, 4, 1, CAIRN_CORRUPT, SECOND + ENTRY + 36}, /* open and compacted */
    {SECOND + 40, 8, 0, CAIRN_CORRUPT, SECOND + 40},
    {SECOND + 40, 8, 4096, CAIRN_CORRUPT, SECOND + 40},
    {SECOND + 56, 8, 751, CAIRN_CORRUPT, SECOND + 56},
};

static void hostile_fields_are_refused_and_named_also_under_a_right_checksum(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    for (size_t i = 0; i < sizeof pokes / sizeof *pokes; i++) {
        uint8_t *hostile = malloc(f.size), value[8];
        memcpy(hostile, f.bytes, f.size);
        le64_put(value, pokes[i].value);
        memcpy(hostile + pokes[i].at, value, pokes[i].size);
        reseal(hostile, f.size);
        cairn_error error;
        int rc = load_bytes(&f, hostile, f.size, &error);
        if (rc != pokes[i].code || error.offset != pokes[i].named)
            fail_msg("poke %zu at %zu: %d at %llu: %s", i, pokes[i].at, rc, (unsigned long long)error.offset,
                     error.message);
        free(hostile);
    }
    close_disk(&f);
}

static void a_newer_major_is_refused_as_newer_whatever_else_is_wrong(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    cairn_error error;
    f.bytes[16] = 2;
    memset(f.bytes + 18, 0xee, f.size - 18);
    assert_int_equal(load_bytes(&f, f.bytes, f.size, &error), CAIRN_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    close_disk(&f);
}

static void a_newer_minor_is_no_obstacle(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    cairn_error error;
    f.bytes[18] = 9;
    f.bytes[120] = 1; /* reserved */
    reseal(f.bytes, f.size);
    assert_int_equal(load_bytes(&f, f.bytes, f.size, &error), CAIRN_OK);
    close_disk(&f);
}

static void every_set_of_known_features_comes_back_and_no_other(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    for (unsigned bit = 0; bit < 64; bit++) {
        manifest m;
        cairn_error error;
        uint64_t features = (uint64_t)1 << bit | FEATURE_BATCH;
        le64_put(f.bytes + 40, features);
        reseal(f.bytes, f.size);
        sim_file_write(f.disk, STORE, MANIFEST_NAME, f.bytes, f.size);
        bool known = (features & ~FEATURES_KNOWN) == 0;
        if (features & FEATURE_BACKUP) continue; /* a longer header: below */
        assert_int_equal(load(f.dir, &m, &error), known ? CAIRN_OK : CAIRN_UNSUPPORTED);
        if (known) assert_int_equal(m.features, features);
        manifest_release(&m);
    }
    close_disk(&f);
}

static void lineage_and_origin_come_back_and_lengthen_the_header(void **state) {
    (void)state;
    fixture f;
    store_filled(&f);
    manifest m;
    cairn_error error;
    assert_int_equal(load(f.dir, &m, &error), CAIRN_OK);
    assert_int_equal(m.lineage, 0);
    m.features |= FEATURE_BACKUP;
    m.lineage = 7;
    m.origin = 5;
    m.segments[0].flags |= SEGMENT_ALTERNATE;
    assert_int_equal(manifest_store(&m, f.dir, SALT, NULL, &error), CAIRN_OK);
    size_t count = m.count, size;
    manifest_release(&m);
    free(sim_file_read(f.disk, STORE, MANIFEST_NAME, &size));
    assert_int_equal(size, HEADER + 16 + count * ENTRY);
    assert_int_equal(load(f.dir, &m, &error), CAIRN_OK);
    assert_int_equal(m.lineage, 7);
    assert_int_equal(m.origin, 5);
    assert_int_equal(m.count, count);
    assert_int_equal(m.segments[0].flags & SEGMENT_ALTERNATE, SEGMENT_ALTERNATE);
    manifest_release(&m);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_comes_back),
        cmocka_unit_test_setup_teardown(a_real_file_system_serves_as_well, real_folder_setup, real_folder_teardown),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_truncation_and_extension_is_refused),
        cmocka_unit_test(hostile_fields_are_refused_and_named_also_under_a_right_checksum),
        cmocka_unit_test(a_newer_major_is_refused_as_newer_whatever_else_is_wrong),
        cmocka_unit_test(a_newer_minor_is_no_obstacle),
        cmocka_unit_test(every_set_of_known_features_comes_back_and_no_other),
        cmocka_unit_test(lineage_and_origin_come_back_and_lengthen_the_header),
        cmocka_unit_test(another_stores_manifest_is_refused),
        cmocka_unit_test(a_crash_at_any_operation_leaves_the_old_or_the_new),
        cmocka_unit_test(a_call_that_fails_leaves_the_old_or_the_new_and_tells_of_a_sync),
        cmocka_unit_test(a_read_that_fails_is_not_taken_for_damage),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}

/* Bugs planted into compaction by the linker (tests/CMakeLists.txt, --wrap): each must be found by the rung of power
 * cuts within a few histories, or by what is made for it here; and without them nothing is found. */
#include "src/base/check.h"
#include "src/store/compact.h"
#include "src/store/tombstones.h"
#include "tests/support/os_sim.h"
#include "tests/support/planted.h"
#include "tests/support/rung.h"
#include "vlog/compacted.h"
#include "vlog/entries.h"
#include "vlog/punch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIRST_SEED 5000u
#define HISTORIES_MAX 80u
#define STORE "s"
#define VALUE_BYTES ((size_t)200000)
#define KEYS 8u

typedef enum bug {
    NO_BUG,
    REMOVED_BEFORE_THE_CHECKPOINT,
    DELETIONS_GO_TOO_EARLY,
    PINNED_SEGMENTS_GO,
    COMMITS_GO,
    MOVED_RECORDS_COUNT_LAST,
    FILES_OF_SNAPSHOTS_GO,
    INDEX_IS_CHANGED_BLINDLY,
    EPOCH_IS_NOT_RAISED,
    HOLES_BEFORE_THEY_ARE_LISTED,
    HOLES_IN_WHAT_IS_HELD
} bug;
static bug planted;
static bool choosing;                    /* segments, and not recovering */
static void (*at_publishing)(void *ctx); /* happens once, when all is copied and the index knows nothing of it */
static void *at_publishing_ctx;

/* ---- The linker's wrappers ---- */

int __real_store_checkpoint(cairn *store, bool closing, cairn_error *error);
int __wrap_store_checkpoint(cairn *store, bool closing, cairn_error *error);
bool __real_tombstones_is_needed(const tombstones *t, key_hash hash, uint64_t version);
bool __wrap_tombstones_is_needed(const tombstones *t, key_hash hash, uint64_t version);
bool __real_vlog_is_empty(const segment *s);
bool __wrap_vlog_is_empty(const segment *s);
int __real_vlog_space_list(vlog *log, vlog_space **list, size_t *count);
int __wrap_vlog_space_list(vlog *log, vlog_space **list, size_t *count);
int __real_vlog_recover(vlog *log, const vlog_start *start, vlog_apply apply, void *ctx, vlog_recovered *result,
                        cairn_error *error);
int __wrap_vlog_recover(vlog *log, const vlog_start *start, vlog_apply apply, void *ctx, vlog_recovered *result,
                        cairn_error *error);
int __real_entry_cursor_next(entry_cursor *c, cairn_error *error);
int __wrap_entry_cursor_next(entry_cursor *c, cairn_error *error);
int __real_entry_merge_peek(entry_merge *m, uint64_t *version, cairn_error *error);
int __wrap_entry_merge_peek(entry_merge *m, uint64_t *version, cairn_error *error);
uint64_t __real_store_snapshots_oldest(cairn *store, bool of_scans);
uint64_t __wrap_store_snapshots_oldest(cairn *store, bool of_scans);
bool __real_hash_index_holds(const hash_index *h, uint64_t hash, location where);
bool __wrap_hash_index_holds(const hash_index *h, uint64_t hash, location where);
void __real_hash_index_replace(hash_index *h, uint64_t hash, location from, location to);
void __wrap_hash_index_replace(hash_index *h, uint64_t hash, location from, location to);
int __real_holes_punch(compaction *c, double ratio, uint64_t enough, uint64_t *gained, cairn_error *error);
int __wrap_holes_punch(compaction *c, double ratio, uint64_t enough, uint64_t *gained, cairn_error *error);
int __real_vlog_punch_publish(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch,
                              cairn_error *error);
int __wrap_vlog_punch_publish(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch,
                              cairn_error *error);
bool __real_vlog_is_held(const segment *s);
bool __wrap_vlog_is_held(const segment *s);
int __real_vlog_output_publish(vlog_output *o, segment **published, cairn_error *error);
int __wrap_vlog_output_publish(vlog_output *o, segment **published, cairn_error *error);
int __real_vlog_remove(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch,
                       void (*wait)(void *ctx), void *ctx, uint64_t *freed, cairn_error *error);
int __wrap_vlog_remove(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch,
                       void (*wait)(void *ctx), void *ctx, uint64_t *freed, cairn_error *error);

/* cairn_checkpoint's own call is not one that the linker sees. */
int __wrap_store_checkpoint(cairn *store, bool closing, cairn_error *error) {
    if (planted != REMOVED_BEFORE_THE_CHECKPOINT || closing) return __real_store_checkpoint(store, closing, error);
    atomic_store(&store->covered_place, vlog_next_place(store->log));
    return CAIRN_OK;
}

bool __wrap_tombstones_is_needed(const tombstones *t, key_hash hash, uint64_t version) {
    return planted != DELETIONS_GO_TOO_EARLY && __real_tombstones_is_needed(t, hash, version);
}

bool __wrap_vlog_is_empty(const segment *s) { return planted == PINNED_SEGMENTS_GO || __real_vlog_is_empty(s); }

int __wrap_vlog_space_list(vlog *log, vlog_space **list, size_t *count) {
    choosing = true;
    int rc = __real_vlog_space_list(log, list, count);
    for (size_t i = 0; rc == CAIRN_OK && planted == HOLES_IN_WHAT_IS_HELD && i < *count; i++) {
        (*list)[i].held = false;
    }
    return rc;
}

int __wrap_vlog_recover(vlog *log, const vlog_start *start, vlog_apply apply, void *ctx, vlog_recovered *result,
                        cairn_error *error) {
    choosing = false;
    return __real_vlog_recover(log, start, apply, ctx, result, error);
}

int __wrap_entry_cursor_next(entry_cursor *c, cairn_error *error) {
    int rc = __real_entry_cursor_next(c, error);
    if (planted == COMMITS_GO && choosing && rc == 1 && c->entry.type == RECORD_COMMIT) c->entry.batch = c->entry.place;
    return rc;
}

int __wrap_entry_merge_peek(entry_merge *m, uint64_t *version, cairn_error *error) {
    int rc = __real_entry_merge_peek(m, version, error);
    if (planted == MOVED_RECORDS_COUNT_LAST && rc == CAIRN_OK && *version != UINT64_MAX) *version = UINT64_MAX - 1;
    return rc;
}

uint64_t __wrap_store_snapshots_oldest(cairn *store, bool of_scans) {
    return planted == FILES_OF_SNAPSHOTS_GO ? UINT64_MAX : __real_store_snapshots_oldest(store, of_scans);
}

bool __wrap_hash_index_holds(const hash_index *h, uint64_t hash, location where) {
    return planted == INDEX_IS_CHANGED_BLINDLY || __real_hash_index_holds(h, hash, where);
}

/* Whatever is there. */
void __wrap_hash_index_replace(hash_index *h, uint64_t hash, location from, location to) {
    location there = from;
    if (planted == INDEX_IS_CHANGED_BLINDLY && !__real_hash_index_holds(h, hash, from)) {
        if (hash_index_collect(h, hash, &there, 1) != 1) return;
    }
    __real_hash_index_replace(h, hash, there, to);
}

/* Only for the bugs that are planted there; for the others everything is moved. */
int __wrap_holes_punch(compaction *c, double ratio, uint64_t enough, uint64_t *gained, cairn_error *error) {
    *gained = 0;
    if (planted != HOLES_BEFORE_THEY_ARE_LISTED && planted != HOLES_IN_WHAT_IS_HELD) return CAIRN_OK;
    return __real_holes_punch(c, ratio, enough, gained, error);
}

int __wrap_vlog_punch_publish(vlog *log, vlog_punch *const *punches, size_t count, uint64_t reclaim_epoch,
                              cairn_error *error) {
    if (planted == HOLES_BEFORE_THEY_ARE_LISTED) return CAIRN_OK;
    return __real_vlog_punch_publish(log, punches, count, reclaim_epoch, error);
}

bool __wrap_vlog_is_held(const segment *s) { return planted != HOLES_IN_WHAT_IS_HELD && __real_vlog_is_held(s); }

int __wrap_vlog_output_publish(vlog_output *o, segment **published, cairn_error *error) {
    void (*run)(void *ctx) = at_publishing;
    at_publishing = NULL;
    if (run != NULL) run(at_publishing_ctx);
    return __real_vlog_output_publish(o, published, error);
}

int __wrap_vlog_remove(vlog *log, segment *const *segments, size_t count, uint64_t reclaim_epoch,
                       void (*wait)(void *ctx), void *ctx, uint64_t *freed, cairn_error *error) {
    if (planted == EPOCH_IS_NOT_RAISED) reclaim_epoch = vlog_reclaim_epoch(log);
    return __real_vlog_remove(log, segments, count, reclaim_epoch, wait, ctx, freed, error);
}

/* ---- Finding them ---- */

static void open_masked(cairn **store, sim_disk *disk, uint64_t hash_mask) {
    cairn_options o = {
        .struct_size = sizeof o, .create = true, .no_background = true, .segment_bytes = (uint64_t)1 << 20};
    CHECK(store_open_on(store, sim_os(disk), STORE, &o, hash_mask, NULL) == CAIRN_OK);
}

static void open_on(cairn **store, sim_disk *disk) { open_masked(store, disk, UINT64_MAX); }

static void put(cairn *store, uint8_t key, unsigned value) {
    CHECK(cairn_put(store, &key, 1, random_pool() + value, VALUE_BYTES, NULL, NULL) == CAIRN_OK);
}

static void compact_all(cairn *store, finding *f) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    int rc = cairn_compact(store, &o, NULL, NULL);
    if (rc != CAIRN_OK) (void)finding_note(f, "compact: %d", rc);
}

static void expect(cairn *store, uint8_t key, unsigned value, finding *f) {
    void *got = NULL;
    size_t size = 0;
    cairn_error error = {0};
    int rc = cairn_get(store, &key, 1, &got, &size, &error);
    if (rc != CAIRN_OK) {
        (void)finding_note(f, "get of key %u: %d %s", key, rc, error.message);
    } else if (size != VALUE_BYTES || memcmp(got, random_pool() + value, size) != 0) {
        (void)finding_note(f, "another value than was put last");
    }
    cairn_free(got);
}

static void put_all_again(void *ctx) {
    for (uint8_t key = 1; key < KEYS; key++) {
        put(ctx, key, 100u + key);
    }
}

/* Everything is put again between its copy and the change of the index. */
static void overwrite_what_is_moved(finding *f) {
    cairn *store;
    sim_disk *disk = sim_new(1);
    open_on(&store, disk);
    for (uint8_t key = 0; key < KEYS; key++) {
        put(store, key, key);
    }
    put(store, 0, 99);
    at_publishing = put_all_again;
    at_publishing_ctx = store;
    compact_all(store, f);
    CHECK(at_publishing == NULL);
    expect(store, 0, 99, f);
    for (uint8_t key = 1; key < KEYS; key++) {
        expect(store, key, 100u + key, f);
    }
    planted = NO_BUG; /* what is wrong is wrong by now */
    (void)cairn_close(store);
    sim_free(disk);
}

/* An older checkpoint is put back after segments that it names have gone. */
static void put_checkpoint_back(finding *f) {
    static const char *const names[2] = {"CHECKPOINT", "CHECKPOINT.DATA"};
    uint8_t *saved[2];
    size_t sizes[2];
    cairn *store;
    sim_disk *disk = sim_new(1);
    open_on(&store, disk);
    for (uint8_t key = 0; key < KEYS; key++) {
        put(store, key, key);
    }
    CHECK(cairn_checkpoint(store, NULL) == CAIRN_OK);
    for (unsigned i = 0; i < 2; i++) {
        saved[i] = sim_file_read(disk, STORE, names[i], &sizes[i]);
    }
    put(store, 0, 99);
    compact_all(store, f);
    sim_disk *next = sim_kill(disk);
    (void)cairn_close(store);
    sim_free(disk);
    for (unsigned i = 0; i < 2; i++) {
        sim_file_write(next, STORE, names[i], saved[i], sizes[i]);
        free(saved[i]);
    }
    open_on(&store, next);
    expect(store, 0, 99, f);
    for (uint8_t key = 1; key < KEYS; key++) {
        expect(store, key, key, f);
    }
    (void)cairn_close(store);
    sim_free(next);
}

static void remove_checkpoint(sim_disk *disk) {
    (void)sim_file_remove(disk, STORE, "CHECKPOINT");
    (void)sim_file_remove(disk, STORE, "CHECKPOINT.DATA");
}

/* A batch over several segments, of which only the one with the COMMIT has garbage; then an index from the log alone.
 */
static void rebuild_after_a_long_batch(finding *f) {
    cairn *store;
    cairn_batch *batch;
    sim_disk *disk = sim_new(1);
    open_on(&store, disk);
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (uint8_t key = 0; key < KEYS; key++) {
        CHECK(cairn_batch_put(batch, &key, 1, random_pool() + key, VALUE_BYTES) == CAIRN_OK);
    }
    CHECK(cairn_batch_commit(store, batch, NULL, NULL) == CAIRN_OK);
    cairn_batch_free(batch);
    put(store, KEYS - 1, 99);
    compact_all(store, f);
    CHECK(cairn_close(store) == CAIRN_OK);
    remove_checkpoint(disk);
    open_on(&store, disk);
    for (uint8_t key = 0; key < KEYS - 1; key++) {
        expect(store, key, key, f);
    }
    expect(store, KEYS - 1, 99, f);
    (void)cairn_close(store);
    sim_free(disk);
}

/* A snapshot sees a value that has a file of its own, which is deleted. */
static void look_for_a_file_in_a_snapshot(finding *f) {
    cairn *store;
    cairn_snapshot *snapshot;
    void *got = NULL;
    size_t size = 0;
    sim_disk *disk = sim_new(1);
    open_on(&store, disk);
    CHECK(cairn_put(store, "file", 4, random_pool(), 2 * VALUE_BYTES, NULL, NULL) == CAIRN_OK);
    CHECK(cairn_snapshot_open(store, &snapshot, NULL) == CAIRN_OK);
    CHECK(cairn_delete(store, "file", 4, NULL, NULL) == CAIRN_OK);
    compact_all(store, f);
    int rc = cairn_snapshot_get(snapshot, "file", 4, &got, &size, NULL);
    if (rc != CAIRN_OK || size != 2 * VALUE_BYTES) (void)finding_note(f, "get in a snapshot: %d", rc);
    cairn_free(got);
    cairn_snapshot_close(snapshot);
    (void)cairn_close(store);
    sim_free(disk);
}

static void expect_in_snapshot(cairn_snapshot *snapshot, uint8_t key, finding *f) {
    void *got = NULL;
    size_t size = 0;
    int rc = cairn_snapshot_get(snapshot, &key, 1, &got, &size, NULL);
    if (rc != CAIRN_OK || size != VALUE_BYTES || memcmp(got, random_pool() + key, size) != 0) {
        (void)finding_note(f, "get of key %u in a snapshot: %d", key, rc);
    }
    cairn_free(got);
}

/* Keys with one hash, of which a snapshot has saved all locations because one of them changed; then others move. */
static void look_for_moved_records_in_a_snapshot(finding *f) {
    cairn *store;
    cairn_snapshot *snapshot;
    sim_disk *disk = sim_new(1);
    open_masked(&store, disk, 0);
    for (uint8_t key = 0; key < KEYS; key++) {
        put(store, key, key);
    }
    for (uint8_t key = 1; key < 4; key++) {
        CHECK(cairn_delete(store, &key, 1, NULL, NULL) == CAIRN_OK);
    }
    CHECK(cairn_snapshot_open(store, &snapshot, NULL) == CAIRN_OK);
    put(store, KEYS - 1, 99);
    compact_all(store, f);
    expect_in_snapshot(snapshot, 0, f);
    expect_in_snapshot(snapshot, KEYS - 1, f);
    cairn_snapshot_close(snapshot);
    (void)cairn_close(store);
    sim_free(disk);
}

static void look_for_dead_records_in_a_snapshot(finding *f) {
    cairn *store;
    cairn_snapshot *snapshot;
    sim_disk *disk = sim_new(1);
    open_on(&store, disk);
    for (uint8_t key = 0; key < KEYS; key++) {
        put(store, key, key);
    }
    CHECK(cairn_snapshot_open(store, &snapshot, NULL) == CAIRN_OK);
    for (uint8_t key = 0; key < 3; key++) {
        put(store, key, 99);
    }
    compact_all(store, f);
    for (uint8_t key = 0; key < KEYS; key++) {
        expect_in_snapshot(snapshot, key, f);
    }
    cairn_snapshot_close(snapshot);
    (void)cairn_close(store);
    sim_free(disk);
}

static void expect_found(bug what, void (*by)(finding *f)) {
    planted_skip_sanitized();
    static finding f;
    f = (finding){0};
    planted = what;
    if (by != NULL) {
        by(&f);
    } else {
        planted_sweep(NULL, FIRST_SEED, HISTORIES_MAX, &f);
    }
    planted = NO_BUG;
    planted_expect_found(&f);
}

static void segments_that_go_before_the_checkpoint(void **state) {
    (void)state;
    expect_found(REMOVED_BEFORE_THE_CHECKPOINT, NULL);
}
static void deletions_that_go_while_an_older_value_stays(void **state) {
    (void)state;
    expect_found(DELETIONS_GO_TOO_EARLY, NULL);
}
static void segments_that_go_though_a_snapshot_needs_them(void **state) {
    (void)state;
    expect_found(PINNED_SEGMENTS_GO, look_for_moved_records_in_a_snapshot);
}
static void a_commit_that_goes_while_parts_of_its_batch_stay(void **state) {
    (void)state;
    expect_found(COMMITS_GO, rebuild_after_a_long_batch);
}
static void moved_records_that_count_as_the_newest(void **state) {
    (void)state;
    expect_found(MOVED_RECORDS_COUNT_LAST, NULL);
}
static void value_files_that_go_though_a_snapshot_needs_them(void **state) {
    (void)state;
    expect_found(FILES_OF_SNAPSHOTS_GO, look_for_a_file_in_a_snapshot);
}
static void an_index_that_is_changed_whatever_it_names(void **state) {
    (void)state;
    expect_found(INDEX_IS_CHANGED_BLINDLY, overwrite_what_is_moved);
}
static void a_checkpoint_of_before_that_is_still_believed(void **state) {
    (void)state;
    expect_found(EPOCH_IS_NOT_RAISED, put_checkpoint_back);
}

static void nothing_is_found_where_nothing_is_planted(void **state) {
    (void)state;
    static finding f;
    planted_sweep(NULL, FIRST_SEED, rung_choose(5, 1, 20), &f);
    rebuild_after_a_long_batch(&f);
    look_for_a_file_in_a_snapshot(&f);
    overwrite_what_is_moved(&f);
    put_checkpoint_back(&f);
    if (f.found) fail_msg("%.900s", f.text);
}

static void holes_that_no_footer_lists(void **state) {
    (void)state;
    expect_found(HOLES_BEFORE_THEY_ARE_LISTED, NULL);
}
static void holes_in_what_a_snapshot_sees(void **state) {
    (void)state;
    expect_found(HOLES_IN_WHAT_IS_HELD, look_for_dead_records_in_a_snapshot);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_that_go_before_the_checkpoint),
        cmocka_unit_test(deletions_that_go_while_an_older_value_stays),
        cmocka_unit_test(segments_that_go_though_a_snapshot_needs_them),
        cmocka_unit_test(a_commit_that_goes_while_parts_of_its_batch_stay),
        cmocka_unit_test(moved_records_that_count_as_the_newest),
        cmocka_unit_test(value_files_that_go_though_a_snapshot_needs_them),
        cmocka_unit_test(an_index_that_is_changed_whatever_it_names),
        cmocka_unit_test(a_checkpoint_of_before_that_is_still_believed),
        cmocka_unit_test(holes_that_no_footer_lists),
        cmocka_unit_test(holes_in_what_a_snapshot_sees),
        cmocka_unit_test(nothing_is_found_where_nothing_is_planted),
    };
    return cmocka_run_group_tests_name("planted_compaction_bugs", tests, NULL, NULL);
}

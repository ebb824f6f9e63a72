/* Random operations on a store with an ordered index, against a sorted map: puts, deletions, batches, streams, times to
 * live; scans of every kind, half-finished ones that stay open while the store goes on, of now and of snapshots that
 * are held for long. In between the index is dropped, added and rebuilt, the store compacted, checkpointed, reopened,
 * killed, opened read-only, and the index's file is lost, cut short, overwritten or an older one. The test moves the
 * clock.
 *
 * CAIRN_RUNG=full makes a hundred times as many; CAIRN_SEED replays the seed that a failure named. */
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/far_reads.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/sorted_walk.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK 5000u /* operations on one store */
#define WALKS 6u
#define SNAPSHOTS 4u
#define BATCH_MAX 300u

typedef struct setting {
    const char *name;
    uint64_t operations;
    uint64_t hash_mask;
    size_t keys;
    bool threads; /* now and then the store's own */
} setting;

typedef struct held_snapshot {
    cairn_snapshot *snapshot; /* NULL: none */
    sorted_map then;
    uint64_t now_ms;
    bool has_order;
} held_snapshot;

typedef struct run {
    const setting *setting;
    char path[REAL_PATH_SIZE], older[REAL_PATH_SIZE]; /* older: a folder with an ORDERED file of some time before */
    cairn_options options;
    cairn *store;
    uint64_t rng;
    sorted_keys keys;
    sorted_map map, older_map; /* older_map: when the older file was kept */
    bool has_index;
    sorted_walk walks[WALKS];
    held_snapshot snapshots[SNAPSHOTS];
    const char *operation;
} run;

static finding found;

/* ---- The clock and the system ---- */

static _Atomic uint64_t clock_now_ms = 1000000;

static uint64_t clock_of_the_test(os *self) {
    (void)self;
    return atomic_load(&clock_now_ms);
}

static uint64_t secrets; /* the same for a seed, hash functions and so collisions among them */

static int random_of_the_test(os *self, void *buf, size_t size) {
    (void)self;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buf)[i] = (uint8_t)random_next(&secrets);
    return 0;
}

static os *system_of_the_test(void) {
    static os table;
    table = *os_without_syncs();
    table.clock_ms = clock_of_the_test;
    table.random = random_of_the_test;
    far_reads_put(&table, READS_BY_TURNS); /* scans go from key to key and ahead */
    return &table;
}

static bool is_code(int rc, int expected, const char *call, const cairn_error *error) {
    return rc == expected || finding_note(&found, "%s: %d instead of %d: %s", call, rc, expected, error->message);
}

/* ---- Opening and closing ---- */

static bool open_store(run *r) {
    static const uint64_t caches[] = {0, 0, (uint64_t)64 << 10, UINT64_MAX};
    cairn_error error = {0};
    r->options.cache_bytes = caches[random_below(&r->rng, 4)];
    r->options.no_background = !r->setting->threads || random_one_in(&r->rng, 2);
    int rc = store_open_on(&r->store, system_of_the_test(), r->path, &r->options, r->setting->hash_mask, &error);
    return is_code(rc, CAIRN_OK, "open", &error);
}

static bool close_store(run *r) {
    cairn_error error = {0};
    int rc = cairn_close(r->store);
    r->store = NULL;
    return is_code(rc, CAIRN_OK, "close", &error);
}

static void close_snapshot(held_snapshot *h) {
    if (h->snapshot == NULL) return;
    cairn_snapshot_close(h->snapshot);
    sorted_map_free(&h->then);
    *h = (held_snapshot){0};
}

static bool is_used(const run *r, const held_snapshot *h) {
    for (size_t i = 0; i < WALKS; i++) {
        if (r->walks[i].scan != NULL && r->walks[i].query.options.snapshot == h->snapshot) return true;
    }
    return false;
}

/* Some walks go to their end first. */
static bool let_go(run *r) {
    bool good = true;
    for (size_t i = 0; i < WALKS; i++) {
        if (good && r->walks[i].scan != NULL && random_one_in(&r->rng, 3))
            good = sorted_walk_to_end(&r->walks[i], &found);
        sorted_walk_close(&r->walks[i]);
    }
    for (size_t i = 0; i < SNAPSHOTS; i++)
        close_snapshot(&r->snapshots[i]);
    return good;
}

static sorted_moment moment_now(const run *r) {
    return (sorted_moment){.map = &r->map, .now_ms = atomic_load(&clock_now_ms), .has_order = r->has_index};
}

static bool scan_agrees(run *r, const sorted_moment *m, const scan_query *q) {
    sorted_walk w;
    if (!sorted_walk_open(&w, r->store, q, m, &found)) return false;
    bool good = w.scan == NULL || sorted_walk_to_end(&w, &found);
    sorted_walk_close(&w);
    return good;
}

/* Everything, both ways. */
static bool all_agrees(run *r) {
    sorted_moment now = moment_now(r);
    scan_query forward = {.options = {.struct_size = sizeof forward.options}}, backward = forward;
    backward.options.reverse = true;
    return scan_agrees(r, &now, &forward) && scan_agrees(r, &now, &backward);
}

/* ---- Changes ---- */

static size_t any_key(run *r) {
    size_t keys = r->keys.count;
    if (random_one_in(&r->rng, 3)) keys = keys / 8 + 1; /* so that some are written again and again */
    return (size_t)(mix(random_below(&r->rng, keys)) % r->keys.count);
}

static sorted_value any_value(run *r, bool small) {
    uint64_t roll = random_below(&r->rng, 400);
    size_t size = (size_t)random_below(&r->rng, 100);
    if (roll == 0 && !small) size = BOX_PAYLOAD_MAX + (size_t)random_below(&r->rng, 1000);
    if (roll >= 1 && roll < 5 && !small) size = (size_t)random_below(&r->rng, 30000);
    return (sorted_value){.bytes = random_window(&r->rng, size), .size = size};
}

static uint64_t any_ttl(run *r) { return random_one_in(&r->rng, 5) ? 1 + random_below(&r->rng, 400) : 0; }

static void keep(run *r, size_t key, sorted_value v, uint64_t ttl_ms) {
    if (ttl_ms != 0) v.expires_at_ms = atomic_load(&clock_now_ms) + ttl_ms;
    r->map.values[key] = v;
}

static bool do_put(run *r) {
    size_t key = any_key(r);
    const sorted_key *k = &r->keys.list[key];
    cairn_error error = {0};
    sorted_value v = any_value(r, false);
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = any_ttl(r), .if_absent = random_one_in(&r->rng, 10)};
    bool there = sorted_map_has(&r->map, key, atomic_load(&clock_now_ms));
    int rc = cairn_put(r->store, k->bytes, k->size, v.bytes, v.size, &o, &error);
    if (!is_code(rc, o.if_absent && there ? CAIRN_EXISTS : CAIRN_OK, "put", &error)) return false;
    if (rc == CAIRN_OK) keep(r, key, v, o.ttl_ms);
    return true;
}

static bool do_stream(run *r) {
    size_t key = any_key(r);
    const sorted_key *k = &r->keys.list[key];
    cairn_error error = {0};
    cairn_writer *writer = NULL;
    sorted_value v = any_value(r, false);
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = any_ttl(r)};
    int rc = cairn_writer_open(r->store, k->bytes, k->size, &o, &writer, &error);
    if (rc == CAIRN_OK) rc = cairn_writer_write(writer, v.bytes, v.size, &error);
    if (rc == CAIRN_OK && random_one_in(&r->rng, 4)) {
        cairn_writer_abort(writer);
        return true;
    }
    if (rc == CAIRN_OK) rc = cairn_writer_commit(writer, &error);
    if (rc == CAIRN_OK) keep(r, key, v, o.ttl_ms);
    return is_code(rc, CAIRN_OK, "stream", &error);
}

static bool do_delete(run *r) {
    size_t key = any_key(r);
    const sorted_key *k = &r->keys.list[key];
    cairn_error error = {0};
    bool there = sorted_map_has(&r->map, key, atomic_load(&clock_now_ms));
    int rc = cairn_delete(r->store, k->bytes, k->size, NULL, &error);
    r->map.values[key] = (sorted_value){0};
    return is_code(rc, there ? CAIRN_OK : CAIRN_NOT_FOUND, "delete", &error);
}

static bool do_batch(run *r) {
    static size_t keys[BATCH_MAX];
    static sorted_value values[BATCH_MAX];
    size_t count = (size_t)random_below(&r->rng, random_one_in(&r->rng, 8) ? BATCH_MAX : 8);
    cairn_batch *batch = NULL;
    cairn_error error = {0};
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = any_ttl(r)};
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    uint64_t deletes_of_3 = random_below(&r->rng, 4);
    for (size_t i = 0; i < count; i++) {
        keys[i] = i > 0 && random_one_in(&r->rng, 6) ? keys[i - 1] : any_key(r);
        const sorted_key *k = &r->keys.list[keys[i]];
        values[i] = random_below(&r->rng, 3) < deletes_of_3 ? (sorted_value){0} : any_value(r, true);
        int rc = values[i].bytes == NULL ? cairn_batch_delete(batch, k->bytes, k->size)
                                         : cairn_batch_put(batch, k->bytes, k->size, values[i].bytes, values[i].size);
        CHECK(rc == CAIRN_OK);
    }
    int rc = cairn_batch_commit(r->store, batch, &o, &error);
    cairn_batch_free(batch);
    for (size_t i = 0; rc == CAIRN_OK && i < count; i++)
        keep(r, keys[i], values[i], values[i].bytes != NULL ? o.ttl_ms : 0);
    return is_code(rc, CAIRN_OK, "batch", &error);
}

/* What a limit leaves depends on the order, so there is one only with an index. */
static bool do_delete_range(run *r) {
    scan_query q;
    cairn_error error = {0};
    uint64_t deleted = 0, now = atomic_load(&clock_now_ms), left, expected;
    scan_query_make(&q, &r->keys, &r->rng);
    if (!r->has_index) q.options.limit = 0;
    sorted_moment m = moment_now(r);
    bool supported = r->has_index || !scan_query_needs_order(&q.options);
    expected = left = supported ? sorted_moment_count(&m, &q.options) : 0;
    int rc = cairn_delete_range(r->store, &q.options, NULL, &deleted, &error);
    for (size_t i = 0; i < r->keys.count && left > 0; i++) {
        size_t key = q.options.reverse ? r->keys.count - 1 - i : i;
        const sorted_key *k = &r->keys.list[key];
        if (!sorted_map_has(&r->map, key, now) || !scan_query_asks_for(&q.options, k->bytes, k->size)) continue;
        r->map.values[key] = (sorted_value){0};
        left--;
    }
    scan_query_free(&q);
    if (!is_code(rc, supported ? CAIRN_OK : CAIRN_UNSUPPORTED, "delete_range", &error)) return false;
    return deleted == expected || finding_note(&found, "delete_range deletes %llu keys instead of %llu",
                                               (unsigned long long)deleted, (unsigned long long)expected);
}

static bool do_wait(run *r) {
    atomic_fetch_add(&clock_now_ms, 1 + random_below(&r->rng, 200));
    return !random_one_in(&r->rng, 3) || stats_of(r->store).keys <= r->keys.count; /* which looks for what expired */
}

/* ---- Looking ---- */

static held_snapshot *any_snapshot(run *r) {
    held_snapshot *h = &r->snapshots[random_below(&r->rng, SNAPSHOTS)];
    return h->snapshot != NULL ? h : NULL;
}

static sorted_moment any_moment(run *r) {
    const held_snapshot *h = random_one_in(&r->rng, 2) ? any_snapshot(r) : NULL;
    if (h == NULL) return moment_now(r);
    return (sorted_moment){&h->then, h->snapshot, h->now_ms, h->has_order};
}

static bool do_get(run *r) {
    size_t key = any_key(r), size = 0;
    const sorted_key *k = &r->keys.list[key];
    sorted_moment m = any_moment(r);
    const sorted_value *v = &m.map->values[key];
    cairn_error error = {0};
    void *value = NULL;
    int rc = m.snapshot != NULL ? cairn_snapshot_get(m.snapshot, k->bytes, k->size, &value, &size, &error)
                                : cairn_get(r->store, k->bytes, k->size, &value, &size, &error);
    bool there = sorted_map_has(m.map, key, m.now_ms);
    bool good = is_code(rc, there ? CAIRN_OK : CAIRN_NOT_FOUND, "get", &error);
    if (good && there && (size != v->size || (size > 0 && memcmp(value, v->bytes, size) != 0))) {
        good = finding_note(&found, "get gives another value");
    }
    cairn_free(value);
    return good;
}

static bool do_scan(run *r) {
    scan_query q;
    scan_query_make(&q, &r->keys, &r->rng);
    sorted_moment m = any_moment(r);
    sorted_walk w;
    if (!m.has_order) q.options.limit = 0; /* of any keys: which ones is not said */
    if (!sorted_walk_open(&w, r->store, &q, &m, &found)) return false;
    bool good = w.scan == NULL || sorted_walk_to_end(&w, &found);
    sorted_walk_close(&w);
    return good;
}

static bool do_walk(run *r) {
    sorted_walk *w = &r->walks[random_below(&r->rng, WALKS)];
    bool more = true, good = true;
    if (w->scan == NULL) {
        scan_query q;
        scan_query_make(&q, &r->keys, &r->rng);
        sorted_moment m = any_moment(r);
        if (!m.has_order) q.options.limit = 0;
        return sorted_walk_open(w, r->store, &q, &m, &found);
    }
    uint64_t steps = random_below(&r->rng, random_one_in(&r->rng, 8) ? 200 : 12);
    for (uint64_t i = 0; good && more && i < steps; i++)
        good = sorted_walk_next(w, &more, &found);
    if (good && !more && !w->failed) sorted_walk_close(w);
    if (good && random_one_in(&r->rng, 40)) sorted_walk_close(w);
    return good;
}

static bool do_snapshot(run *r) {
    held_snapshot *h = &r->snapshots[random_below(&r->rng, SNAPSHOTS)];
    cairn_error error = {0};
    if (h->snapshot != NULL) {
        if (!is_used(r, h)) close_snapshot(h);
        return true;
    }
    int rc = cairn_snapshot_open(r->store, &h->snapshot, &error);
    if (!is_code(rc, CAIRN_OK, "snapshot", &error)) return false;
    sorted_map_copy(&h->then, &r->map);
    h->now_ms = atomic_load(&clock_now_ms);
    h->has_order = r->has_index;
    return true;
}

/* ---- Upkeep ---- */

static bool do_compact(run *r) {
    cairn_error error = {0};
    cairn_compact_options o = {.struct_size = sizeof o, .full = random_one_in(&r->rng, 2), .min_garbage_ratio = 0.05};
    return is_code(cairn_compact(r->store, &o, NULL, &error), CAIRN_OK, "compact", &error);
}

static bool do_sync(run *r) {
    cairn_error error = {0};
    bool only_sync = random_one_in(&r->rng, 4);
    return is_code(only_sync ? cairn_sync(r->store, &error) : cairn_checkpoint(r->store, &error), CAIRN_OK,
                   "checkpoint", &error);
}

static int cancel(const cairn_progress *progress, void *ctx) {
    (void)progress;
    (void)ctx;
    return 1;
}

static void lose_order(run *r) {
    for (size_t i = 0; i < WALKS; i++)
        if (r->walks[i].scan != NULL) r->walks[i].index_is_gone = true;
    for (size_t i = 0; i < SNAPSHOTS; i++)
        r->snapshots[i].has_order = false;
    r->has_index = false;
}

static bool do_index(run *r) {
    cairn_error error = {0};
    cairn_index_options o = {.struct_size = sizeof o, .progress = random_one_in(&r->rng, 4) ? cancel : NULL};
    int done = o.progress != NULL ? CAIRN_CANCELLED : CAIRN_OK;
    if (random_one_in(&r->rng, 2)) {
        int rc = cairn_index_rebuild(r->store, &o, &error);
        return is_code(rc, r->has_index ? done : CAIRN_NOT_FOUND, "index_rebuild", &error);
    }
    if (r->has_index && random_one_in(&r->rng, 2)) {
        if (!is_code(cairn_index_add(r->store, &o, &error), CAIRN_EXISTS, "index_add", &error)) return false;
        lose_order(r);
        return is_code(cairn_index_drop(r->store, &error), CAIRN_OK, "index_drop", &error);
    }
    if (r->has_index) return true;
    int rc = cairn_index_add(r->store, &o, &error);
    r->has_index = rc == CAIRN_OK;
    return is_code(rc, done, "index_add", &error);
}

/* ---- Reopening ---- */

static void keep_older_file(run *r) {
    if (!real_file_is_there(r->path, ORDERED_NAME)) return;
    real_file_copy(r->path, r->older, ORDERED_NAME);
    sorted_map_free(&r->older_map);
    sorted_map_copy(&r->older_map, &r->map);
}

/* What expires leaves no record in the log, by which a file from before could be told. */
static bool has_expired_since(const run *r) {
    for (size_t key = 0; key < r->keys.count; key++) {
        if (r->older_map.values[key].bytes != NULL && !sorted_map_has(&r->older_map, key, atomic_load(&clock_now_ms)))
            return true;
    }
    return false;
}

static void put_older_file_back(const run *r) {
    if (!real_file_is_there(r->older, ORDERED_NAME) || has_expired_since(r)) return;
    real_file_copy(r->older, r->path, ORDERED_NAME);
}

static void spoil_file(run *r) {
    uint64_t roll = random_below(&r->rng, 12);
    size_t size;
    if (!real_file_is_there(r->path, ORDERED_NAME)) return;
    free(real_file_load(r->path, ORDERED_NAME, &size));
    if (roll == 0) real_file_remove(r->path, ORDERED_NAME);
    if (roll == 1) real_file_cut(r->path, ORDERED_NAME, (size_t)random_below(&r->rng, size + 1));
    if (roll == 2) real_file_save(r->path, ORDERED_NAME, random_window(&r->rng, size), size);
    if (roll > 2 && roll < 6) put_older_file_back(r);
}

static bool look_read_only(run *r) {
    bool create = r->options.create;
    r->options.create = false;
    r->options.read_only = true;
    bool good = open_store(r);
    for (unsigned i = 0; good && i < 3; i++)
        good = do_scan(r);
    good = good && all_agrees(r);
    if (r->store != NULL) good = close_store(r) && good;
    r->options.create = create;
    r->options.read_only = false;
    return good;
}

static bool do_reopen(run *r) {
    bool killed = r->options.no_background && random_one_in(&r->rng, 2);
    char next[REAL_PATH_SIZE];
    if (!let_go(r)) return false;
    if (killed) real_folder_duplicate(r->path, next);
    if (!close_store(r)) return false;
    if (killed) {
        real_folder_remove(r->path);
        memcpy(r->path, next, sizeof next);
    }
    spoil_file(r);
    if (random_one_in(&r->rng, 4) && !look_read_only(r)) return false;
    if (!open_store(r)) return false;
    return random_one_in(&r->rng, 2) || all_agrees(r);
}

/* ---- Running ---- */

typedef struct operation {
    const char *name;
    bool (*run)(run *r);
    unsigned weight; /* of a thousand and some */
} operation;

static const operation operations[] = {
    {"put", do_put, 330},
    {"stream", do_stream, 15},
    {"delete", do_delete, 170},
    {"batch", do_batch, 50},
    {"delete_range", do_delete_range, 2},
    {"wait", do_wait, 15},
    {"get", do_get, 100},
    {"scan", do_scan, 30},
    {"walk", do_walk, 200},
    {"snapshot", do_snapshot, 30},
    {"compact", do_compact, 1},
    {"checkpoint", do_sync, 6},
    {"index", do_index, 4},
    {"reopen", do_reopen, 3},
};
#define OPERATIONS (sizeof operations / sizeof operations[0])

static bool step(run *r) {
    unsigned all = 0;
    for (size_t i = 0; i < OPERATIONS; i++)
        all += operations[i].weight;
    uint64_t roll = random_below(&r->rng, all);
    size_t i = 0;
    for (; roll >= operations[i].weight; i++)
        roll -= operations[i].weight;
    r->operation = operations[i].name;
    if (random_one_in(&r->rng, 500)) keep_older_file(r);
    return operations[i].run(r);
}

static void begin(run *r, const setting *s, uint64_t seed) {
    *r = (run){.setting = s, .rng = seed, .has_index = true};
    secrets = seed;
    atomic_store(&clock_now_ms, 1000000);
    r->options = (cairn_options){.struct_size = sizeof r->options,
                                 .create = true,
                                 .durability = (int)(seed % 3),
                                 .segment_bytes = BOX_SEGMENT_BYTES};
    sorted_keys_make(&r->keys, s->keys, seed / 4);
    sorted_map_init(&r->map, &r->keys);
    real_folder_make(r->path);
    real_folder_make(r->older);
    (void)open_store(r);
}

static void end(run *r) {
    sorted_keys_free(&r->keys);
    sorted_map_free(&r->map);
    sorted_map_free(&r->older_map);
    real_folder_remove(r->path);
    real_folder_remove(r->older);
}

static void run_chunk(const void *of_setting, uint64_t seed, uint64_t count) {
    const setting *s = of_setting;
    run r;
    found = (finding){0};
    begin(&r, s, seed);
    uint64_t i = 0;
    for (; i < count && !found.found; i++)
        (void)step(&r);
    if (!found.found && let_go(&r) && all_agrees(&r)) (void)close_store(&r);
    if (found.found) {
        real_folder_remove(r.path);
        real_folder_remove(r.older);
        fail_msg("%s, operation %llu (%s): %s; replay: CAIRN_SEED=%llu", s->name, (unsigned long long)i, r.operation,
                 found.text, (unsigned long long)seed);
    }
    end(&r);
}

static void ordered_scans_agree_with_a_sorted_map(void **state) {
    const setting *s = *state;
    rung_run_chunks(s->name, s->operations, CHUNK, run_chunk, s);
}

int main(void) {
    static setting settings[] = {
        {.name = "no threads", .operations = 50000, .hash_mask = UINT64_MAX, .keys = 400},
        {.name = "own threads", .operations = 30000, .hash_mask = UINT64_MAX, .keys = 400, .threads = true},
        {.name = "hashes of two bits", .operations = 10000, .hash_mask = 3, .keys = 60},
        {.name = "many keys", .operations = 10000, .hash_mask = UINT64_MAX, .keys = 3000},
    };
#define SETTING(i, name)                                                                                               \
    { name, ordered_scans_agree_with_a_sorted_map, NULL, NULL, &settings[i] }
    const struct CMUnitTest tests[] = {
        SETTING(0, "ordered_scans_agree_with_a_sorted_map"),
        SETTING(1, "they_do_with_threads_of_its_own"),
        SETTING(2, "they_do_where_hashes_collide"),
        SETTING(3, "they_do_with_many_keys"),
    };
    return cmocka_run_group_tests_name("ordered_model", tests, NULL, NULL);
}

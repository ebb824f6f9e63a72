/* A process that puts, deletes and commits batches, with times to live among them, while another of its threads
 * rebuilds, drops and adds the ordered index and writes checkpoints, is killed at a random moment, again and again, on
 * the same store. Whatever the moment was, ordered scans list, both ways, just the keys that a look-up of every
 * candidate finds, and these are as what was acknowledged says.
 *
 * CAIRN_RUNG=full kills 5,000 times; CAIRN_SEED=n repeats the choices, though not the moments, of one run. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/killing.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WRITERS 2u
#define KEYS_EACH 200u
#define KEYS (WRITERS * KEYS_EACH)
#define KEY_MAX ((size_t)700)
#define BATCH_MAX 30u
#define TTL_MAX_MS 30u
#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define STORE_BYTES_MAX ((uint64_t)60 << 20) /* then the next one is begun */

/* ---- The pipe ---- */

enum { BEGUN, DONE };
enum { ABSENT = 1, PRESENT = 2 }; /* what may be; also of the index */
typedef struct note {
    uint32_t what, first, count; /* keys; count 0: the index */
    uint32_t may_be;             /* afterwards */
} note;

typedef struct heard {
    uint32_t keys[KEYS], index;
} heard;

static size_t key_of(char key[KEY_MAX], unsigned i) {
    size_t size = (size_t)snprintf(key, KEY_MAX, "%03u", i);
    if (i % 10 != 3) return size;
    memset(key + size, 'k', 600);
    return size + 600;
}

static void forget(void *ctx) {
    heard *h = ctx;
    for (unsigned i = 0; i < KEYS; i++)
        h->keys[i] = ABSENT;
    h->index = PRESENT;
}

static bool hear(void *ctx, const void *told) {
    heard *h = ctx;
    const note *n = told;
    CHECK(n->first + n->count <= KEYS);
    for (uint32_t i = n->first; i < n->first + n->count; i++)
        h->keys[i] = n->may_be | (n->what == BEGUN ? h->keys[i] : 0);
    if (n->count == 0) h->index = n->may_be | (n->what == BEGUN ? h->index : 0);
    return n->what == DONE;
}

/* ---- The process that is killed ---- */

typedef struct worker {
    cairn *store;
    uint64_t rng;
    unsigned number;
    int pipe;
    os_thread thread;
} worker;

static note tell(const worker *w, uint32_t first, uint32_t count, uint32_t may_be) {
    note n = {BEGUN, first, count, may_be};
    killing_tell(w->pipe, &n, sizeof n);
    n.what = DONE;
    return n;
}

static void commit_batch(worker *w, uint32_t first, bool put, const cairn_put_options *o) {
    cairn_batch *batch;
    char key[KEY_MAX];
    uint32_t count = 1 + (uint32_t)random_below(&w->rng, BATCH_MAX);
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (uint32_t i = first; i < first + count; i++) {
        size_t size = key_of(key, i);
        CHECK((put ? cairn_batch_put(batch, key, size, key, 3) : cairn_batch_delete(batch, key, size)) == CAIRN_OK);
    }
    note n = tell(w, first, count, !put ? ABSENT : o->ttl_ms != 0 ? ABSENT | PRESENT : PRESENT);
    CHECK(cairn_batch_commit(w->store, batch, o, NULL) == CAIRN_OK);
    killing_tell(w->pipe, &n, sizeof n);
    cairn_batch_free(batch);
}

static void change_key(worker *w, uint32_t i, bool put, const cairn_put_options *o) {
    char key[KEY_MAX];
    size_t size = key_of(key, i);
    note n = tell(w, i, 1, !put ? ABSENT : o->ttl_ms != 0 ? ABSENT | PRESENT : PRESENT);
    int rc = put ? cairn_put(w->store, key, size, random_pool(), random_below(&w->rng, 2000), o, NULL)
                 : cairn_delete(w->store, key, size, NULL, NULL);
    CHECK(rc == CAIRN_OK || (!put && rc == CAIRN_NOT_FOUND));
    killing_tell(w->pipe, &n, sizeof n);
}

static void *work(void *arg) {
    worker *w = arg;
    for (;;) {
        uint32_t i = w->number * KEYS_EACH + (uint32_t)random_below(&w->rng, KEYS_EACH - BATCH_MAX);
        cairn_put_options o = {.struct_size = sizeof o};
        bool put = random_one_in(&w->rng, 2);
        if (put && random_one_in(&w->rng, 6)) o.ttl_ms = 1 + random_below(&w->rng, TTL_MAX_MS);
        if (random_one_in(&w->rng, 5)) {
            commit_batch(w, i, put, &o);
        } else {
            change_key(w, i, put, &o);
        }
    }
    return NULL;
}

static void change_index(worker *w) {
    cairn_stats stats = {.struct_size = sizeof stats};
    CHECK(cairn_stats_get(w->store, &stats, NULL) == CAIRN_OK);
    if (stats.ordered && !random_one_in(&w->rng, 4)) {
        CHECK(cairn_index_rebuild(w->store, NULL, NULL) == CAIRN_OK);
        return;
    }
    note n = tell(w, 0, 0, stats.ordered ? ABSENT : PRESENT);
    CHECK((stats.ordered ? cairn_index_drop(w->store, NULL) : cairn_index_add(w->store, NULL, NULL)) == CAIRN_OK);
    killing_tell(w->pipe, &n, sizeof n);
}

static void *keep_up(void *arg) {
    worker *w = arg;
    for (;;) {
        uint64_t roll = random_below(&w->rng, 8);
        if (roll < 3) change_index(w);
        if (roll == 3) CHECK(cairn_checkpoint(w->store, NULL) == CAIRN_OK);
        if (roll == 4) CHECK(cairn_compact(w->store, NULL, NULL, NULL) == CAIRN_OK);
        os_nap_us(random_below(&w->rng, 5000));
    }
    return NULL;
}

static void write_until_killed(void *ctx, cairn *store, int pipe, uint64_t rng) {
    static worker workers[WRITERS + 1];
    (void)ctx;
    for (unsigned i = 0; i <= WRITERS; i++)
        workers[i] = (worker){.store = store, .rng = random_next(&rng), .number = i, .pipe = pipe};
    for (unsigned i = 1; i < WRITERS; i++)
        CHECK(os_thread_start(&workers[i].thread, work, &workers[i]) == 0);
    CHECK(os_thread_start(&workers[WRITERS].thread, keep_up, &workers[WRITERS]) == 0);
    (void)work(&workers[0]);
}

static cairn_options options_of(uint64_t *rng) {
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = true,
                           .segment_bytes = SEGMENT_BYTES,
                           .sync_interval_ms = 10,
                           .no_background = random_one_in(rng, 3),
                           .durability = (int)random_below(rng, 3)};
}

/* ---- Looking ---- */

static uint32_t look_up(cairn *store, unsigned i) {
    char key[KEY_MAX];
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    int rc = cairn_stat(store, key, key_of(key, i), &entry, &error);
    if (rc != CAIRN_OK && rc != CAIRN_NOT_FOUND) fail_msg("key %u: %s", i, error.message);
    return rc == CAIRN_OK ? PRESENT : ABSENT;
}

/* What a scan lists is what look-ups find, now that nothing expires any more. */
static void look_at_scan(cairn *store, bool ordered, bool reverse) {
    cairn_scan_options o = {.struct_size = sizeof o, .reverse = reverse, .keys_only = reverse};
    cairn_error error = {0};
    cairn_scan *scan;
    bool seen[KEYS] = {false};
    unsigned last = KEYS;
    int rc = cairn_scan_open(store, &o, &scan, &error);
    if (!ordered && reverse) {
        assert_int_equal(rc, CAIRN_UNSUPPORTED);
        return;
    }
    if (rc != CAIRN_OK) fail_msg("scan_open: %d %s", rc, error.message);
    while ((rc = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        char expected[KEY_MAX];
        size_t size;
        unsigned i = KEYS;
        const char *key = cairn_scan_key(scan, &size);
        assert_int_equal(sscanf(key, "%3u", &i), 1);
        assert_true(i < KEYS && !seen[i] && size == key_of(expected, i) && memcmp(key, expected, size) == 0);
        assert_true(!ordered || last == KEYS || (reverse ? i < last : i > last));
        seen[i] = true;
        last = i;
    }
    if (rc != CAIRN_DONE) fail_msg("scan_next: %d %s", rc, error.message);
    cairn_scan_close(scan);
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t found = look_up(store, i);
        if (seen[i] != (found == PRESENT)) fail_msg("key %u is %s, and not so listed", i, seen[i] ? "absent" : "there");
    }
}

static void change_some(heard *h, cairn *store) {
    char key[KEY_MAX];
    for (unsigned i = 0; i < KEYS; i += 11) {
        size_t size = key_of(key, i);
        bool put = h->keys[i] == ABSENT;
        int rc = put ? cairn_put(store, key, size, "look", 4, NULL, NULL) : cairn_delete(store, key, size, NULL, NULL);
        assert_int_equal(rc, CAIRN_OK);
        h->keys[i] = put ? PRESENT : ABSENT;
    }
}

static void look(void *ctx, cairn *store) {
    heard *h = ctx;
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(store, &stats, NULL), CAIRN_OK);
    assert_true((h->index & (stats.ordered ? PRESENT : ABSENT)) != 0);
    h->index = stats.ordered ? PRESENT : ABSENT;
    os_nap_us(2000 * TTL_MAX_MS);
    for (unsigned round = 0; round < 2; round++) {
        look_at_scan(store, stats.ordered, true);
        look_at_scan(store, stats.ordered, false);
        for (unsigned i = 0; i < KEYS; i++) {
            uint32_t found = look_up(store, i);
            if ((h->keys[i] & found) == 0) fail_msg("key %u is %s", i, found == PRESENT ? "there" : "absent");
            h->keys[i] = found;
        }
        if (round == 0) change_some(h, store);
    }
}

static void ordered_scans_list_what_is_there_after_kill_9(void **state) {
    (void)state;
    static heard h;
    const killing k = {.ctx = &h,
                       .note_size = sizeof(note),
                       .options = options_of,
                       .begin = forget,
                       .write = write_until_killed,
                       .hear = hear,
                       .look = look,
                       .delay_max = 120000,
                       .early_one_in = 5,
                       .early_max = 10000,
                       .unseen_one_in = 4,
                       .store_bytes_max = STORE_BYTES_MAX};
    killing_run(&k, rung_choose(60, 15, 5000));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ordered_scans_list_what_is_there_after_kill_9)};
    return cmocka_run_group_tests_name("kill9_ordered", tests, NULL, NULL);
}

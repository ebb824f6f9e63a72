/* Threads that push, one that absorbs into a file played by an array, and some that walk: each reads the file, later
 * the overlay, page by page, and must find what was there when its snapshot was opened. */
#include "index/overlay.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PUSHERS 2u
#define WALKERS 2u
#define KEYS_EACH 300u
#define KEYS (PUSHERS * KEYS_EACH)

typedef struct key_state {
    bool there;
    uint64_t changes;
} key_state;

typedef struct race {
    overlay *o;
    os_mutex stripe[PUSHERS];
    key_state now[KEYS]; /* the stripe of its pusher */
    os_mutex file_lock;
    bool file[KEYS];
    os_mutex snapshots;
    uint64_t open[WALKERS], last; /* snapshots; open: 0: none */
    _Atomic uint64_t newest;
    atomic_uint walks;
    atomic_bool stop;
} race;

typedef struct runner {
    race *race;
    unsigned number;
    uint64_t rng;
    os_thread thread;
} runner;

static size_t key_of(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "%05u", i); }

static unsigned number_of(const void *key) {
    char text[6] = {0};
    memcpy(text, key, 5);
    return (unsigned)strtoul(text, NULL, 10);
}

/* ---- Pushing and absorbing ---- */

static void push_one(runner *r) {
    race *a = r->race;
    char key[16];
    unsigned i = r->number * KEYS_EACH + (unsigned)random_below(&r->rng, KEYS_EACH);
    key_change *c = key_change_new(key, key_of(key, i));
    CHECK(c != NULL);
    os_mutex_lock(&a->stripe[r->number]);
    uint64_t snapshot = atomic_load(&a->newest);
    a->now[i].there = !a->now[i].there;
    a->now[i].changes++;
    overlay_push(a->o, c, !a->now[i].there, snapshot);
    os_mutex_unlock(&a->stripe[r->number]);
}

static void *push_until_stopped(void *arg) {
    runner *r = arg;
    for (unsigned n = 0; !atomic_load(&r->race->stop); n++) {
        push_one(r);
        if (n % 64 == 0) os_yield();
    }
    return NULL;
}

static void quiesce(race *a) {
    for (unsigned i = 0; i < PUSHERS; i++) {
        os_mutex_lock(&a->stripe[i]);
        os_mutex_unlock(&a->stripe[i]);
    }
}

static void absorb_once(race *a, bool fails) {
    overlay_batch b;
    quiesce(a);
    CHECK(overlay_take(a->o, &b) == CAIRN_OK);
    os_mutex_lock(&a->file_lock);
    for (size_t i = 0; i < b.count; i++) {
        if (i > 0) CHECK(memcmp(b.changes[i - 1].key, b.changes[i].key, 5) < 0);
        if (!fails || i % 2 == 0) a->file[number_of(b.changes[i].key)] = !b.changes[i].erase;
    }
    os_mutex_unlock(&a->file_lock);
    if (fails) {
        overlay_give_back(a->o, &b);
        return;
    }
    uint64_t newest = atomic_load(&a->newest);
    os_mutex_lock(&a->snapshots);
    uint64_t last = a->last;
    os_mutex_unlock(&a->snapshots);
    overlay_absorbed(a->o, &b, newest, last);
}

static void *absorb_until_stopped(void *arg) {
    runner *r = arg;
    while (!atomic_load(&r->race->stop))
        absorb_once(r->race, random_one_in(&r->rng, 5));
    return NULL;
}

/* ---- Walking ---- */

typedef struct walk {
    key_state then[KEYS];
    bool file[KEYS], in_page[KEYS], erased[KEYS];
} walk;

static void set_newest(race *a) {
    uint64_t newest = 0;
    for (unsigned i = 0; i < WALKERS; i++)
        newest = max_u64(newest, a->open[i]);
    atomic_store(&a->newest, newest);
}

/* Its moment is while all stripes are held. */
static void open_snapshot(runner *r, walk *w) {
    race *a = r->race;
    for (unsigned i = 0; i < PUSHERS; i++)
        os_mutex_lock(&a->stripe[i]);
    os_mutex_lock(&a->snapshots);
    a->open[r->number] = ++a->last;
    set_newest(a);
    os_mutex_unlock(&a->snapshots);
    memcpy(w->then, a->now, sizeof w->then);
    for (unsigned i = 0; i < PUSHERS; i++)
        os_mutex_unlock(&a->stripe[i]);
}

static void close_snapshot(runner *r) {
    race *a = r->race;
    uint64_t oldest = UINT64_MAX;
    os_mutex_lock(&a->snapshots);
    a->open[r->number] = 0;
    set_newest(a);
    for (unsigned i = 0; i < WALKERS; i++)
        if (a->open[i] != 0) oldest = min_u64(oldest, a->open[i]);
    if (oldest == UINT64_MAX) oldest = a->last + 1; /* of those that are open now, not then */
    os_mutex_unlock(&a->snapshots);
    overlay_sweep(a->o, oldest);
}

static void read_overlay(runner *r, walk *w, bool reverse) {
    static _Thread_local overlay_page page;
    key_bound position = {0}, none = {0};
    unsigned last = 0;
    bool any = false;
    do {
        CHECK(overlay_list(r->race->o, &position, &none, reverse, &page) == CAIRN_OK);
        for (size_t i = 0; i < page.count; i++) {
            unsigned n = number_of(page.keys[i].bytes);
            CHECK(!any || (reverse ? n < last : n > last));
            w->in_page[n] = any = true;
            w->erased[n] = page.keys[i].erased;
            last = n;
        }
        if (page.count == 0) break;
        const overlay_key *end = &page.keys[page.count - 1];
        CHECK(key_bound_set(&position, end->bytes, end->size, true) == CAIRN_OK);
        if (random_one_in(&r->rng, 2)) os_yield();
    } while (page.more);
    key_bound_release(&position);
    overlay_page_release(&page);
}

/* What changed since is the side table's business, if the walk meets the key at all. */
static void check_walk(race *a, const walk *w) {
    for (unsigned i = 0; i < KEYS; i++) {
        os_mutex_lock(&a->stripe[i / KEYS_EACH]);
        bool same = a->now[i].changes == w->then[i].changes;
        os_mutex_unlock(&a->stripe[i / KEYS_EACH]);
        bool found = w->in_page[i] ? !w->erased[i] : w->file[i];
        CHECK(!same || found == w->then[i].there);
        CHECK(!w->then[i].there || w->in_page[i] || w->file[i]);
    }
}

static void *walk_until_stopped(void *arg) {
    runner *r = arg;
    race *a = r->race;
    walk *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    while (!atomic_load(&a->stop)) {
        memset(w, 0, sizeof *w);
        open_snapshot(r, w);
        os_mutex_lock(&a->file_lock);
        memcpy(w->file, a->file, sizeof w->file);
        os_mutex_unlock(&a->file_lock);
        if (random_one_in(&r->rng, 3)) os_nap_us(random_below(&r->rng, 500));
        read_overlay(r, w, random_one_in(&r->rng, 2));
        check_walk(a, w);
        close_snapshot(r);
        CHECK(overlay_pending_bytes(a->o) <= UINT32_MAX && overlay_bytes(a->o) <= UINT32_MAX); /* not below 0 */
        atomic_fetch_add(&a->walks, 1);
    }
    free(w);
    return NULL;
}

static void start(runner *r, race *a, unsigned number, uint64_t seed, void *(*run)(void *)) {
    *r = (runner){.race = a, .number = number, .rng = seed};
    assert_int_equal(os_thread_start(&r->thread, run, r), 0);
}

static void walks_beside_pushing_and_absorbing_find_their_moments(void **state) {
    static race a;
    static runner pushers[PUSHERS], walkers[WALKERS], absorber;
    (void)state;
    assert_int_equal(overlay_new(&a.o), CAIRN_OK);
    os_mutex_init(&a.file_lock);
    os_mutex_init(&a.snapshots);
    for (unsigned i = 0; i < PUSHERS; i++)
        os_mutex_init(&a.stripe[i]);
    for (unsigned i = 0; i < PUSHERS; i++)
        start(&pushers[i], &a, i, i, push_until_stopped);
    for (unsigned i = 0; i < WALKERS; i++)
        start(&walkers[i], &a, i, 10 + i, walk_until_stopped);
    start(&absorber, &a, 0, 20, absorb_until_stopped);
    for (unsigned walks = (unsigned)rung_choose(3000, 300, 300000); atomic_load(&a.walks) < walks;)
        os_nap_us(1000);
    atomic_store(&a.stop, true);
    for (unsigned i = 0; i < PUSHERS; i++)
        os_thread_join(&pushers[i].thread);
    for (unsigned i = 0; i < WALKERS; i++)
        os_thread_join(&walkers[i].thread);
    os_thread_join(&absorber.thread);
    absorb_once(&a, false);
    overlay_sweep(a.o, UINT64_MAX); /* what was kept when the last snapshot had just closed */
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(a.file[i], a.now[i].there);
    assert_int_equal(overlay_pending(a.o) + overlay_pending_bytes(a.o) + overlay_bytes(a.o), 0);
    overlay_free(a.o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_beside_pushing_and_absorbing_find_their_moments),
    };
    return cmocka_run_group_tests_name("overlay_threads", tests, NULL, NULL);
}

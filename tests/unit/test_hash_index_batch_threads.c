/* Several stripes at once, and changes that appear at one moment, among threads. */
#include "include/cairn.h"
#include "index/hash_index.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t hash_in(unsigned shard) { return (uint64_t)shard << 54 | 5; }

/* ---- Stripes ---- */

/* Plain numbers, one for each stripe: whoever holds it adds to it twice, so that two holders at a time are seen here by
 * an odd number or a wrong sum, and by the thread sanitizer in any case. */
typedef struct guarded {
    hash_index *index;
    uint64_t counters[HASH_INDEX_SHARDS];
    _Atomic uint64_t added, odd;
} guarded;

typedef struct locker {
    guarded *g;
    uint64_t seed;
    unsigned rounds;
} locker;

static void touch(guarded *g, unsigned shard) {
    if (g->counters[shard] % 2 != 0) atomic_fetch_add(&g->odd, 1);
    g->counters[shard]++;
    atomic_signal_fence(memory_order_seq_cst);
    if (g->counters[shard] % 16 == 1) os_yield(); /* somebody else's turn, in the worst moment */
    g->counters[shard]++;
    atomic_fetch_add_explicit(&g->added, 2, memory_order_relaxed);
}

/* The stripes are near one another, so that sets overlap. */
static void touch_some(guarded *g, uint64_t seed, unsigned count) {
    hash_index_stripes set = {0};
    for (unsigned i = 0; i < count; i++)
        hash_index_stripes_add(&set, hash_in((unsigned)(mix(seed + i) % (3 * count)) % HASH_INDEX_SHARDS));
    hash_index_lock_stripes(g->index, &set);
    for (unsigned shard = 0; shard < HASH_INDEX_SHARDS; shard++) {
        if (set.bits[shard / 64] >> shard % 64 & 1) touch(g, shard);
    }
    hash_index_unlock_stripes(g->index, &set);
}

static void *lock_at_random(void *arg) {
    locker *l = arg;
    guarded *g = l->g;
    for (uint64_t round = 0; round < l->rounds; round++) {
        uint64_t dice = mix(l->seed * 1000003 + round);
        unsigned shard = (unsigned)(dice >> 32) % 8;
        if (dice % 64 == 0) {
            hash_index_quiesce(g->index);
        } else if (dice % 64 == 1) {
            hash_index_lock_all(g->index);
            for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
                touch(g, i);
            hash_index_unlock_all(g->index);
        } else if (dice % 64 == 2) {
            touch_some(g, dice, 400); /* more than a few */
        } else if (dice % 2 == 0) {
            touch_some(g, dice, 1 + (unsigned)(dice >> 16) % 40);
        } else {
            hash_index_lock(g->index, hash_in(shard));
            touch(g, shard);
            hash_index_unlock(g->index, hash_in(shard));
        }
    }
    return NULL;
}

static void a_stripe_has_one_holder_however_it_is_taken(void **state) {
    (void)state;
    static guarded g;
    epoch *readers = NULL;
    locker lockers[4];
    os_thread threads[4];
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&g.index, readers), CAIRN_OK);
    for (unsigned i = 0; i < 4; i++) {
        lockers[i] = (locker){.g = &g, .seed = i + 1, .rounds = 3000};
        assert_int_equal(os_thread_start(&threads[i], lock_at_random, &lockers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        os_thread_join(&threads[i]);
    uint64_t sum = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
        sum += g.counters[i];
    assert_int_equal(atomic_load(&g.odd), 0);
    assert_int_equal(sum, atomic_load(&g.added));
    hash_index_free(g.index);
    epoch_free(readers);
}

typedef struct other_stripe {
    hash_index *index;
    unsigned shard;
} other_stripe;

static void *take_and_leave(void *arg) {
    other_stripe *o = arg;
    hash_index_lock(o->index, hash_in(o->shard));
    hash_index_unlock(o->index, hash_in(o->shard));
    return NULL;
}

static void stripes_that_are_not_in_the_set_stay_free(void **state) {
    (void)state;
    epoch *readers = NULL;
    other_stripe o = {.shard = 64};
    os_thread thread;
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&o.index, readers), CAIRN_OK);
    hash_index_stripes set = {0};
    for (unsigned i = 0; i < 20; i++)
        hash_index_stripes_add(&set, hash_in(i * 50 + 13));
    hash_index_lock_stripes(o.index, &set);
    assert_int_equal(os_thread_start(&thread, take_and_leave, &o), 0);
    os_thread_join(&thread); /* never, if it were held */
    hash_index_unlock_stripes(o.index, &set);
    hash_index_stripes none = {0};
    hash_index_lock_stripes(o.index, &none);
    hash_index_unlock_stripes(o.index, &none);
    hash_index_free(o.index);
    epoch_free(readers);
}

/* ---- Publications ---- */

/* Each publisher owns a group of keys and sets all of them to its next version in one publication. A location is
 * version << 20 | number of the key in its group. */
#define GROUPS 2u
#define GROUP_KEYS 40u /* over as many shards; groups share them */
#define VERSIONS 3000u

typedef struct published {
    epoch *readers;
    hash_index *index;
    _Atomic int stop;
    _Atomic uint64_t torn, lookups, steps;
} published;

typedef struct party {
    published *p;
    unsigned group;
    uint64_t seed;
} party;

static uint64_t key_hash_in(unsigned group, unsigned key) { return (uint64_t)key << 54 | (group + 1); }
static location version_location(uint64_t version, unsigned key) { return version << 20 | (key + 1); }

static int match_any(void *ctx, location candidate) {
    (void)ctx;
    (void)candidate;
    return 1;
}

static uint64_t version_of(published *p, unsigned group, unsigned key) {
    location found = LOCATION_NONE;
    epoch_guard guard = epoch_enter(p->readers);
    hash_index_reader_wait(p->index);
    int answer = hash_index_find(p->index, key_hash_in(group, key), match_any, NULL, &found);
    epoch_exit(p->readers, guard);
    return answer == 1 ? found >> 20 : 0;
}

static void lock_group(published *p, unsigned group, hash_index_stripes *set) {
    for (unsigned key = 0; key < GROUP_KEYS; key++)
        hash_index_stripes_add(set, key_hash_in(group, key));
    hash_index_lock_stripes(p->index, set);
}

static void *publish(void *arg) {
    party *me = arg;
    published *p = me->p;
    for (uint64_t version = 1; version < VERSIONS; version++) {
        hash_index_stripes set = {0};
        lock_group(p, me->group, &set);
        hash_index_publish_begin(p->index);
        for (unsigned key = 0; key < GROUP_KEYS; key++) {
            hash_index_replace(p->index, key_hash_in(me->group, key), version_location(version, key),
                               version_location(version + 1, key));
        }
        hash_index_publish_end(p->index);
        hash_index_unlock_stripes(p->index, &set);
    }
    return NULL;
}

/* What was seen of a group must never be older in a later look-up, whatever the key. */
static void *watch(void *arg) {
    party *me = arg;
    published *p = me->p;
    uint64_t last[GROUPS] = {0}, n = 0;
    while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
        uint64_t dice = mix(me->seed + n++);
        unsigned group = (unsigned)dice % GROUPS;
        uint64_t version = version_of(p, group, (unsigned)(dice >> 20) % GROUP_KEYS);
        if (version < last[group]) atomic_fetch_add(&p->torn, 1);
        if (version > last[group]) atomic_fetch_add(&p->steps, 1);
        last[group] = version;
    }
    atomic_fetch_add(&p->lookups, n);
    return NULL;
}

static void nobody_sees_half_of_a_publication(void **state) {
    (void)state;
    published p = {0};
    party publishers[GROUPS], watchers[2];
    os_thread publishing[GROUPS], watching[2];
    assert_int_equal(epoch_new(&p.readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&p.index, p.readers), CAIRN_OK);
    for (unsigned i = 0; i < GROUPS * GROUP_KEYS; i++) {
        uint64_t hash = key_hash_in(i / GROUP_KEYS, i % GROUP_KEYS);
        assert_int_equal(hash_index_reserve(p.index, hash), CAIRN_OK);
        hash_index_insert(p.index, hash, version_location(1, i % GROUP_KEYS));
    }
    for (unsigned i = 0; i < 2; i++) {
        watchers[i] = (party){.p = &p, .seed = i * 7919};
        assert_int_equal(os_thread_start(&watching[i], watch, &watchers[i]), 0);
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        publishers[i] = (party){.p = &p, .group = i};
        assert_int_equal(os_thread_start(&publishing[i], publish, &publishers[i]), 0);
    }
    for (unsigned i = 0; i < GROUPS; i++)
        os_thread_join(&publishing[i]);
    atomic_store(&p.stop, 1);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&watching[i]);
    assert_int_equal(atomic_load(&p.torn), 0);
    assert_true(atomic_load(&p.lookups) > 0);
    for (unsigned i = 0; i < GROUPS * GROUP_KEYS; i++)
        assert_int_equal(version_of(&p, i / GROUP_KEYS, i % GROUP_KEYS), VERSIONS);
    hash_index_free(p.index);
    epoch_free(p.readers);
}

typedef struct crowd {
    hash_index *index;
    _Atomic int stop;
} crowd;

/* Publications without a pause: with several of these the counter would hardly ever be 0 if they did not let readers
 * go first. */
static void *publish_without_pause(void *arg) {
    crowd *c = arg;
    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        hash_index_publish_begin(c->index);
        for (unsigned i = 0; i < 100; i++)
            os_relax();
        hash_index_publish_end(c->index);
    }
    return NULL;
}

static void a_reader_is_let_in_between_endless_publications(void **state) {
    (void)state;
    crowd c = {0};
    epoch *readers = NULL;
    os_thread threads[4];
    assert_int_equal(epoch_new(&readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&c.index, readers), CAIRN_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(os_thread_start(&threads[i], publish_without_pause, &c), 0);
    for (unsigned i = 0; i < 300; i++)
        hash_index_reader_wait(c.index); /* never returns, if it were not */
    atomic_store(&c.stop, 1);
    for (unsigned i = 0; i < 4; i++)
        os_thread_join(&threads[i]);
    hash_index_reader_wait(c.index);
    hash_index_free(c.index);
    epoch_free(readers);
}

/* ---- One entry, without a lock ---- */

typedef struct beside {
    epoch *readers;
    hash_index *index;
    _Atomic int stop;
    _Atomic uint64_t missed, ghosts, asked;
} beside;

#define STAYING 64u

static uint64_t hash_beside(uint64_t key) { return mix(key) >> 10; }

static void *ask(void *arg) {
    beside *b = arg;
    uint64_t n = 0;
    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        epoch_guard guard = epoch_enter(b->readers);
        for (uint64_t key = 1; key <= STAYING; key++, n++) {
            if (!hash_index_holds(b->index, hash_beside(key), key)) atomic_fetch_add(&b->missed, 1);
        }
        uint64_t key = 1 + n % (STAYING - 1);
        if (hash_index_holds(b->index, hash_beside(key), key + 1)) atomic_fetch_add(&b->ghosts, 1);
        epoch_exit(b->readers, guard);
    }
    atomic_fetch_add(&b->asked, n);
    return NULL;
}

/* Keeps the one shard just below the load at which it grows, so that insertions displace. */
static void *push(void *arg) {
    beside *b = arg;
    for (uint64_t key = 1000; key < 400000; key++) {
        uint64_t oldest = key - 60, hash = hash_beside(key);
        hash_index_lock(b->index, hash);
        if (oldest >= 1000) hash_index_remove(b->index, hash_beside(oldest), oldest);
        if (hash_index_reserve(b->index, hash) == CAIRN_OK) hash_index_insert(b->index, hash, key);
        hash_index_unlock(b->index, hash);
    }
    return NULL;
}

static void an_entry_is_held_while_it_is_displaced(void **state) {
    (void)state;
    beside b = {0};
    os_thread asking[2], pushing;
    assert_int_equal(epoch_new(&b.readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&b.index, b.readers), CAIRN_OK);
    for (uint64_t key = 1; key <= STAYING; key++) {
        assert_int_equal(hash_index_reserve(b.index, hash_beside(key)), CAIRN_OK);
        hash_index_insert(b.index, hash_beside(key), key);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&asking[i], ask, &b), 0);
    assert_int_equal(os_thread_start(&pushing, push, &b), 0);
    os_thread_join(&pushing);
    atomic_store(&b.stop, 1);
    for (unsigned i = 0; i < 2; i++)
        os_thread_join(&asking[i]);
    assert_int_equal(atomic_load(&b.missed), 0);
    assert_int_equal(atomic_load(&b.ghosts), 0);
    assert_true(atomic_load(&b.asked) > 0);
    hash_index_free(b.index);
    epoch_free(b.readers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stripe_has_one_holder_however_it_is_taken),
        cmocka_unit_test(stripes_that_are_not_in_the_set_stay_free),
        cmocka_unit_test(nobody_sees_half_of_a_publication),
        cmocka_unit_test(a_reader_is_let_in_between_endless_publications),
        cmocka_unit_test(an_entry_is_held_while_it_is_displaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Epochs: nothing is freed under a reader, everything is freed at last. */
#include "include/cairn.h"
#include "src/base/epoch.h"
#include "src/os/os_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALIVE 0x5eed5eed5eed5eedull

typedef struct object {
    epoch_entry entry;
    uint64_t mark;
} object;

static _Atomic int released_count;

static void release_object(epoch_entry *entry) {
    object *o = (object *)entry; /* its first member */
    o->mark = 0;
    atomic_fetch_add(&released_count, 1);
    free(o);
}

static object *object_new(void) {
    object *o = malloc(sizeof *o);
    assert_non_null(o);
    o->mark = ALIVE;
    return o;
}

static epoch *setup_epoch(void) {
    epoch *e = NULL;
    assert_int_equal(epoch_new(&e), CAIRN_OK);
    atomic_store(&released_count, 0);
    return e;
}

static void without_readers_a_retired_object_is_released_at_once(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    epoch_retire(e, &object_new()->entry, release_object);
    assert_int_equal(atomic_load(&released_count), 1);
    epoch_free(e);
}

static void a_reader_inside_delays_the_release_until_it_leaves(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    epoch_guard guard = epoch_enter(e);
    epoch_retire(e, &object_new()->entry, release_object);
    for (int i = 0; i < 10; i++)
        epoch_poll(e);
    assert_int_equal(atomic_load(&released_count), 0);
    epoch_exit(e, guard);
    epoch_poll(e);
    assert_int_equal(atomic_load(&released_count), 1);
    epoch_free(e);
}

static void a_reader_that_came_later_does_not_delay_the_release(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    epoch_guard early = epoch_enter(e);
    epoch_retire(e, &object_new()->entry, release_object);
    epoch_guard late = epoch_enter(e);
    epoch_exit(e, early);
    epoch_poll(e);
    assert_int_equal(atomic_load(&released_count), 1);
    epoch_exit(e, late);
    epoch_free(e);
}

/* Whatever the parity at which a reader entered, it protects what is retired while it is inside. */
static void readers_of_either_parity_protect(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    for (int round = 0; round < 6; round++) {
        int before = atomic_load(&released_count);
        epoch_guard guard = epoch_enter(e);
        epoch_retire(e, &object_new()->entry, release_object);
        epoch_retire(e, &object_new()->entry, release_object);
        assert_int_equal(atomic_load(&released_count), before);
        epoch_exit(e, guard);
        epoch_poll(e);
        assert_int_equal(atomic_load(&released_count), before + 2);
    }
    epoch_free(e);
}

static void guards_are_given_back_in_any_order(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    epoch_guard first = epoch_enter(e), second = epoch_enter(e);
    epoch_retire(e, &object_new()->entry, release_object);
    epoch_exit(e, first);
    epoch_poll(e);
    assert_int_equal(atomic_load(&released_count), 0);
    epoch_exit(e, second);
    epoch_poll(e);
    assert_int_equal(atomic_load(&released_count), 1);
    epoch_free(e);
}

static void freeing_the_epoch_releases_what_is_left(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    epoch_guard guard = epoch_enter(e);
    epoch_retire(e, &object_new()->entry, release_object);
    epoch_retire(e, &object_new()->entry, release_object);
    epoch_exit(e, guard);
    epoch_free(e);
    assert_int_equal(atomic_load(&released_count), 2);
}

typedef struct visit {
    epoch *e;
    epoch_guard guard;
} visit;

static void *come_and_stay(void *arg) {
    visit *v = arg;
    v->guard = epoch_enter(v->e);
    return NULL;
}

/* There are 64 slots; threads that come later share them. */
static void each_of_a_hundred_threads_delays_the_release(void **state) {
    (void)state;
    epoch *e = setup_epoch();
    for (int i = 0; i < 100; i++) {
        visit v = {.e = e};
        os_thread thread;
        assert_int_equal(os_thread_start(&thread, come_and_stay, &v), 0);
        os_thread_join(&thread);
        epoch_retire(e, &object_new()->entry, release_object);
        assert_int_equal(atomic_load(&released_count), i);
        epoch_exit(e, v.guard);
        epoch_poll(e);
        assert_int_equal(atomic_load(&released_count), i + 1);
    }
    epoch_free(e);
}

typedef struct race {
    epoch *e;
    _Atomic(object *) current;
    _Atomic int stop, bad;
} race;

static void *race_reader(void *arg) {
    race *r = arg;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        epoch_guard guard = epoch_enter(r->e);
        for (int i = 0; i < 4; i++) {
            object *o = atomic_load_explicit(&r->current, memory_order_acquire);
            if (o->mark != ALIVE) atomic_store(&r->bad, 1);
        }
        epoch_exit(r->e, guard);
    }
    return NULL;
}

static void *race_writer(void *arg) {
    race *r = arg;
    for (int i = 0; i < 5000; i++) {
        object *o = malloc(sizeof *o);
        if (o == NULL) break;
        o->mark = ALIVE;
        object *old = atomic_exchange_explicit(&r->current, o, memory_order_acq_rel);
        epoch_retire(r->e, &old->entry, release_object);
    }
    return NULL;
}

static void readers_never_see_a_released_object(void **state) {
    (void)state;
    race r = {.e = setup_epoch()};
    atomic_store(&r.current, object_new());
    os_thread readers[3], writers[2];
    for (int i = 0; i < 3; i++)
        assert_int_equal(os_thread_start(&readers[i], race_reader, &r), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&writers[i], race_writer, &r), 0);
    for (int i = 0; i < 2; i++)
        os_thread_join(&writers[i]);
    atomic_store(&r.stop, 1);
    for (int i = 0; i < 3; i++)
        os_thread_join(&readers[i]);
    assert_int_equal(atomic_load(&r.bad), 0);
    epoch_poll(r.e);
    assert_int_equal(atomic_load(&released_count), 10000);
    free(atomic_load(&r.current));
    epoch_free(r.e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_readers_a_retired_object_is_released_at_once),
        cmocka_unit_test(a_reader_inside_delays_the_release_until_it_leaves),
        cmocka_unit_test(a_reader_that_came_later_does_not_delay_the_release),
        cmocka_unit_test(readers_of_either_parity_protect),
        cmocka_unit_test(guards_are_given_back_in_any_order),
        cmocka_unit_test(freeing_the_epoch_releases_what_is_left),
        cmocka_unit_test(each_of_a_hundred_threads_delays_the_release),
        cmocka_unit_test(readers_never_see_a_released_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

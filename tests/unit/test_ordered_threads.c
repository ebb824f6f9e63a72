/* One thread absorbs, and the map grows under it; others walk: each sees all that stays, in order and once. */
#include "src/base/codec.h"
#include "src/os/os_thread.h"
#include "tests/support/ordered_box.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STAYING 3000u
#define FLEETING 400u
#define LONG_PREFIX 520u
#define KEY_SIZE (LONG_PREFIX + 5)

typedef struct race {
    ordered_box box;
    atomic_uint walks;
    atomic_bool stop;
} race;

/* Staying keys have even numbers, fleeting ones odd. Every third key is a long one. */
static size_t key_make(uint8_t key[KEY_SIZE], uint32_t number) {
    size_t prefix = number / 2 % 3 == 0 ? LONG_PREFIX : 1;
    memset(key, prefix == 1 ? 'a' : 'x', prefix);
    for (unsigned i = 0; i < 4; i++)
        key[prefix + i] = (uint8_t)(number >> (24 - 8 * i));
    return prefix + 4;
}

static uint32_t number_of(const ordered_key *k) {
    const uint8_t *end = (const uint8_t *)k->bytes + k->size - 4;
    return (uint32_t)end[0] << 24 | (uint32_t)end[1] << 16 | (uint32_t)end[2] << 8 | end[3];
}

static void absorb_range(ordered *o, uint32_t from, uint32_t count, uint32_t odd, bool erase, uint64_t place) {
    ordered_change *changes = malloc(count * sizeof *changes);
    uint8_t(*keys)[KEY_SIZE] = malloc(count * sizeof *keys);
    CHECK(changes != NULL && keys != NULL);
    for (uint32_t i = 0; i < count; i++)
        changes[i] = (ordered_change){.key = keys[i], .size = key_make(keys[i], 2 * (from + i) + odd), .erase = erase};
    CHECK(ordered_absorb(o, changes, count, place, NULL) == CAIRN_OK);
    free(changes);
    free(keys);
}

static void walk_once(ordered *o, bool reverse) {
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count, staying = 0, last_size = 0;
    uint8_t last[KEY_SIZE];
    int code;
    CHECK(ordered_cursor_open(&cursor, o, &(key_range){.reverse = reverse}, NULL) == CAIRN_OK);
    while ((code = ordered_next(cursor, 50, &keys, &count, NULL)) == CAIRN_OK) {
        for (size_t i = 0; i < count; i++) {
            int order = plain_key_compare(last, last_size, keys[i].bytes, keys[i].size);
            CHECK(last_size == 0 || (reverse ? order > 0 : order < 0));
            staying += number_of(&keys[i]) % 2 == 0;
            memcpy(last, keys[i].bytes, last_size = keys[i].size);
        }
    }
    CHECK(code == CAIRN_DONE && staying == STAYING);
    ordered_cursor_close(cursor);
}

static void *walk_until_stopped(void *arg) {
    race *r = arg;
    while (!atomic_load(&r->stop)) {
        walk_once(r->box.index, atomic_fetch_add(&r->walks, 1) % 2);
        CHECK(ordered_keys(r->box.index) >= STAYING && ordered_bytes(r->box.index) > 0);
    }
    return NULL;
}

static void walks_beside_absorbing_see_all_that_stays(void **state) {
    race r = {0};
    os_thread walkers[2];
    uint64_t place = 1;
    uint32_t rounds = (uint32_t)rung_choose(60, 25, 2000);
    ordered_box_open(&r.box, *state, true);
    absorb_range(r.box.index, 0, STAYING, 0, false, place++);
    r.box.map_bytes = 1;
    assert_int_equal(ordered_box_reopen(&r.box, false), CAIRN_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&walkers[i], walk_until_stopped, &r), 0);
    for (uint32_t round = 0; round < rounds || atomic_load(&r.walks) < 6; round++) {
        uint32_t from = (uint32_t)mix(round) % STAYING;
        absorb_range(r.box.index, from, FLEETING, 1, false, place++);
        if (round % 4 != 0) absorb_range(r.box.index, from, FLEETING, 1, true, place++);
    }
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < 2; i++)
        os_thread_join(&walkers[i]);
    assert_int_equal(ordered_place(r.box.index), place - 1);
    ordered_box_close(&r.box);
}

static void *absorb_own_keys(void *arg) {
    race *r = arg;
    uint32_t from = STAYING * (1 + atomic_fetch_add(&r->walks, 1));
    for (uint32_t i = 0; i < 10; i++)
        absorb_range(r->box.index, from + 20 * i, 20, 0, false, i);
    return NULL;
}

static void two_that_absorb_take_turns(void **state) {
    race r = {0};
    os_thread threads[2];
    ordered_box_open(&r.box, *state, true);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(os_thread_start(&threads[i], absorb_own_keys, &r), 0);
    for (size_t i = 0; i < 2; i++)
        os_thread_join(&threads[i]);
    assert_int_equal(ordered_keys(r.box.index), 400);
    ordered_box_close(&r.box);
}

static void *meet_damage(void *arg) {
    race *r = arg;
    ordered_cursor *cursor;
    const ordered_key *keys;
    size_t count;
    cairn_error error = {0};
    if (atomic_fetch_add(&r->walks, 1) % 2 == 0) {
        CHECK(ordered_absorb(r->box.index, &(ordered_change){"k", 1, false}, 1, 9, &error) == CAIRN_CORRUPT);
    } else {
        CHECK(ordered_cursor_open(&cursor, r->box.index, &(key_range){0}, NULL) == CAIRN_OK);
        CHECK(ordered_next(cursor, 1, &keys, &count, &error) == CAIRN_CORRUPT);
        ordered_cursor_close(cursor);
    }
    CHECK(error.code == CAIRN_CORRUPT && error.message[0] != 0);
    return NULL;
}

/* The root of the free pages' tree, which no walk would read. */
static void damage(const char *folder) {
    size_t size;
    uint8_t *bytes = real_file_load(folder, ORDERED_NAME, &size);
    size_t page = le32_get(bytes + 40);
    const uint8_t *newest = le64_get(bytes + 144) > le64_get(bytes + page + 144) ? bytes : bytes + page;
    size_t root = le64_get(newest + 80);
    CHECK(root < size / page);
    memset(bytes + root * page + page - 64, 0xff, 64);
    real_file_save(folder, ORDERED_NAME, bytes, size);
    free(bytes);
}

static void all_who_come_to_a_damaged_file_are_told(void **state) {
    race r = {0};
    os_thread threads[4];
    ordered_box_open(&r.box, *state, true);
    absorb_range(r.box.index, 0, STAYING, 0, false, 1);
    absorb_range(r.box.index, 0, STAYING, 1, false, 2);
    ordered_close(r.box.index);
    r.box.index = NULL;
    damage(r.box.folder);
    assert_int_equal(ordered_box_reopen(&r.box, false), CAIRN_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(os_thread_start(&threads[i], meet_damage, &r), 0);
    for (size_t i = 0; i < 4; i++)
        os_thread_join(&threads[i]);
    ordered_box_close(&r.box);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(walks_beside_absorbing_see_all_that_stays, real_folder_setup,
                                        real_folder_teardown),
        cmocka_unit_test_setup_teardown(two_that_absorb_take_turns, real_folder_setup, real_folder_teardown),
        cmocka_unit_test_setup_teardown(all_who_come_to_a_damaged_file_are_told, real_folder_setup,
                                        real_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

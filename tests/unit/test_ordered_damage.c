/* A damaged file is refused, or opened and used; it never ends the process. Each attempt is a process of its own. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "tests/support/ordered_box.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD_USED 160u   /* what LMDB uses of a page of the head */
#define HEAD_SEALED 272u /* with the seal */
#define KEYS 1500u
#define PLACE 6u

typedef struct victim {
    const char *folder;
    uint8_t *bytes; /* of the whole file */
    size_t size, page;
} victim;

/* Several commits, so that both halves of the head are in use, there are free pages and long keys. */
static void victim_make(victim *v, const char *folder) {
    ordered_box b;
    ordered_box_open(&b, folder, true);
    for (uint64_t round = 0; round < PLACE; round++) {
        static uint8_t keys[KEYS][600];
        static ordered_change changes[KEYS];
        for (uint64_t i = 0; i < KEYS; i++) {
            size_t size = i % 100 == 0 ? 600 : 16;
            memset(keys[i], 'x', size);
            le64_put(keys[i] + size - 8, mix(i));
            changes[i] = (ordered_change){.key = keys[i], .size = size, .erase = (i + round) % 5 == 0};
        }
        CHECK(ordered_absorb(b.index, changes, KEYS, round + 1, NULL) == CAIRN_OK);
    }
    ordered_box_close(&b);
    v->folder = folder;
    v->bytes = real_file_load(folder, ORDERED_NAME, &v->size);
    v->page = le32_get(v->bytes + 40);
}

static int use(ordered *o) {
    const ordered_key *keys;
    size_t count;
    ordered_cursor *cursor;
    const ordered_change changes[] = {{"new", 3, false}, {"newer", 5, false}, {"new", 3, true}};
    if (ordered_cursor_open(&cursor, o, &(key_range){0}, NULL) != CAIRN_OK) return 1;
    while (ordered_next(cursor, ORDERED_BATCH_KEYS, &keys, &count, NULL) == CAIRN_OK)
        if (count == 0) return 1;
    ordered_cursor_close(cursor);
    (void)ordered_absorb(o, changes, 3, 99, NULL);
    return 0;
}

/* In the child: the code of the opening. What opens is not an older state either. */
static int attempt(const char *folder, bool read_only) {
    ordered_box b = {.folder = folder};
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &b.dir) == 0);
    int code = ordered_box_reopen(&b, read_only);
    if (code == CAIRN_OK && (ordered_place(b.index) != PLACE || use(b.index) != 0)) return 1;
    if (code != CAIRN_OK) b.index = NULL;
    ordered_box_close(&b);
    return code;
}

/* The attempts `from` to `to`, in one child. */
static void try_in_a_child(const victim *v, size_t from, size_t to, bool (*damage)(const victim *v, size_t number)) {
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        for (size_t i = from; i < to; i++) {
            real_file_save(v->folder, ORDERED_NAME, v->bytes, v->size);
            bool must_be_refused = damage(v, i);
            int code = attempt(v->folder, true);
            if (code == CAIRN_OK && must_be_refused) _exit(2);
            if (code == CAIRN_OK) code = attempt(v->folder, false);
            if (code != CAIRN_OK && code != CAIRN_CORRUPT) _exit(3);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) print_error("attempts %zu to %zu: status %#x\n", from, to, (unsigned)status);
    assert_int_equal(status, 0);
}

static void try_all(const victim *v, size_t count, bool (*damage)(const victim *v, size_t number)) {
    const size_t at_once = 16;
    for (size_t i = 0; i < count; i += at_once)
        try_in_a_child(v, i, i + at_once < count ? i + at_once : count, damage);
}

static bool flip_used_bit(const victim *v, size_t number) {
    size_t page = number / (8 * HEAD_USED), byte = number / 8 % HEAD_USED;
    real_file_flip(v->folder, ORDERED_NAME, page * v->page + byte, number % 8);
    return false;
}

static bool invert_byte(const victim *v, size_t number) {
    size_t page = number / HEAD_SEALED, byte = number % HEAD_SEALED;
    uint8_t *bytes = malloc(v->size);
    CHECK(bytes != NULL);
    memcpy(bytes, v->bytes, v->size);
    bytes[page * v->page + byte] ^= 0xff;
    real_file_save(v->folder, ORDERED_NAME, bytes, v->size);
    free(bytes);
    return false;
}

static bool flip_unused_bit(const victim *v, size_t number) {
    size_t per_page = v->page - HEAD_USED;
    real_file_flip(v->folder, ORDERED_NAME, number / per_page * v->page + HEAD_USED + number % per_page, number % 8);
    return false;
}

static bool flip_unused_bit_of_some(const victim *v, size_t number) { return flip_unused_bit(v, number * 97); }

static bool garble_a_field(const victim *v, size_t number) {
    uint64_t rng = number;
    uint8_t *bytes = malloc(v->size);
    CHECK(bytes != NULL);
    memcpy(bytes, v->bytes, v->size);
    size_t at = random_below(&rng, 2) * v->page + 8 * random_below(&rng, HEAD_USED / 8);
    le64_put(bytes + at, random_next(&rng) >> random_below(&rng, 64));
    real_file_save(v->folder, ORDERED_NAME, bytes, v->size);
    free(bytes);
    return false;
}

/* By little, so that the other half looks like the newest, or the older one does. */
static bool change_the_number_of_a_commit(const victim *v, size_t number) {
    uint8_t *bytes = malloc(v->size);
    CHECK(bytes != NULL);
    memcpy(bytes, v->bytes, v->size);
    uint8_t *at = bytes + number % 2 * v->page + 144;
    le64_put(at, le64_get(at) + number / 2 - 4);
    real_file_save(v->folder, ORDERED_NAME, bytes, v->size);
    free(bytes);
    return number / 2 != 4;
}

static void every_bit_of_the_head_may_be_wrong(void **state) {
    victim v;
    victim_make(&v, *state);
    const size_t unused = 2 * (v.page - HEAD_USED);
    if (rung_choose(1, 0, 1) == 1) try_all(&v, (size_t)8 * 2 * HEAD_USED, flip_used_bit);
    try_all(&v, (size_t)2 * HEAD_SEALED, invert_byte);
    try_all(&v, 18, change_the_number_of_a_commit);
    try_all(&v, rung_choose(400, 50, 100000), garble_a_field);
    if (rung_is_full()) {
        try_all(&v, unused, flip_unused_bit);
    } else {
        try_all(&v, unused / 97, flip_unused_bit_of_some);
    }
    free(v.bytes);
}

static bool cut_pages(const victim *v, size_t number) {
    real_file_cut(v->folder, ORDERED_NAME, number * v->page);
    return true;
}

static bool cut_bytes(const victim *v, size_t number) {
    real_file_cut(v->folder, ORDERED_NAME, v->size - 1 - mix(number) % (v->size - 1));
    return true;
}

static bool cut_in_the_head(const victim *v, size_t number) {
    real_file_cut(v->folder, ORDERED_NAME, number);
    return true;
}

static void a_file_cut_short_is_refused(void **state) {
    victim v;
    victim_make(&v, *state);
    assert_int_equal(v.size % v.page, 0);
    try_all(&v, v.size / v.page, cut_pages);
    try_all(&v, rung_choose(300, 50, 100000), cut_bytes);
    try_all(&v, HEAD_USED, cut_in_the_head);
    free(v.bytes);
}

static bool be_something_else(const victim *v, size_t number) {
    uint64_t rng = number;
    size_t size = random_below(&rng, 100000);
    uint8_t *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next(&rng);
    real_file_save(v->folder, ORDERED_NAME, number % 2 == 0 ? bytes : memset(bytes, 0, size), size);
    free(bytes);
    return true;
}

static void a_file_of_noise_or_zeros_is_refused(void **state) {
    victim v;
    victim_make(&v, *state);
    try_all(&v, 64, be_something_else);
    free(v.bytes);
}

static void the_meta_record_is_checked(void **state) {
    victim v;
    victim_make(&v, *state);
    size_t found = 0;
    for (size_t at = 0; at + 64 <= v.size; at++) {
        if (memcmp(v.bytes + at, "cairn-or", 8) != 0) continue;
        found++;
        v.bytes[at + 33] ^= 1;
    }
    assert_true(found > 0);
    real_file_save(v.folder, ORDERED_NAME, v.bytes, v.size);
    assert_int_equal(attempt(v.folder, true), CAIRN_CORRUPT);
    free(v.bytes);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, real_folder_setup, real_folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(every_bit_of_the_head_may_be_wrong),
        IN_A_FOLDER(a_file_cut_short_is_refused),
        IN_A_FOLDER(a_file_of_noise_or_zeros_is_refused),
        IN_A_FOLDER(the_meta_record_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The check of the whole file of the ordered index: sound files of every kind pass, and what passes with damage in it
 * is no danger: it lists the right keys, in order, and takes changes. Each attempt on a damaged file is made in a
 * child, with a limit of time. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "tests/support/ordered_box.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_MAX ORDERED_KEY_MAX
#define BATCH 16000u

/* ---- Changes ---- */

/* A batch of changes that is made to the set as well, when the index has absorbed it. */
typedef struct batch {
    ordered_change changes[BATCH];
    size_t count;
} batch;

static void batch_add(batch *b, const void *key, size_t size, bool erase) {
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL && b->count < BATCH);
    memcpy(copy, key, size);
    b->changes[b->count++] = (ordered_change){.key = copy, .size = size, .erase = erase};
}

static void batch_free(batch *b) {
    for (size_t i = 0; i < b->count; i++)
        free((void *)(uintptr_t)b->changes[i].key);
    free(b);
}

static batch *batch_new(void) {
    batch *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    return b;
}

static void absorb(ordered_box *box, key_set *set, batch *b) {
    CHECK(ordered_absorb(box->index, b->changes, b->count, ordered_place(box->index) + 1, NULL) == CAIRN_OK);
    for (size_t i = 0; i < b->count; i++)
        key_set_apply(set, &b->changes[i]);
    batch_free(b);
}

/* A key that follows from a number, of `size` bytes; those of more than 40 have most of them in common. */
static size_t key_make(uint8_t *key, uint64_t number, size_t size) {
    memset(key, 'k', size);
    if (size > 40) memset(key, 'a' + (int)(mix(number) % 3), size - 40);
    for (size_t at = size > 40 ? size - 40 : 0; at < size; at += 8) {
        uint8_t bytes[8];
        le64_put(bytes, mix(number + at));
        memcpy(key + at, bytes, size - at < 8 ? size - at : 8);
    }
    return size;
}

static void insert_numbers(ordered_box *box, key_set *set, uint64_t from, uint64_t to, size_t size) {
    static uint8_t key[KEY_MAX];
    batch *b = batch_new();
    for (uint64_t i = from; i < to; i++)
        batch_add(b, key, key_make(key, i, size), false);
    absorb(box, set, b);
}

/* One in `share` stays. */
static void erase_most(ordered_box *box, key_set *set, uint64_t share, uint64_t seed) {
    batch *b = batch_new();
    for (size_t i = 0; i < set->count && b->count < BATCH; i++)
        if (!random_one_in(&seed, share)) batch_add(b, set->keys[i].bytes, set->keys[i].size, true);
    absorb(box, set, b);
}

/* Opened again, so that the file is checked again, and used. */
static void expect_sound(ordered_box *box, const key_set *set) {
    for (unsigned read_only = 2; read_only-- > 0;) {
        assert_int_equal(ordered_box_reopen(box, read_only != 0), CAIRN_OK);
        ordered_box_check(box, set);
    }
}

static unsigned tree_depth(const char *folder, size_t at, uint64_t *overflow) {
    size_t size;
    uint8_t *bytes = real_file_load(folder, ORDERED_NAME, &size);
    size_t page = le32_get(bytes + 40);
    const uint8_t *newest = le64_get(bytes + 144) > le64_get(bytes + page + 144) ? bytes : bytes + page;
    unsigned depth = le16_get(newest + at + 6);
    *overflow = le64_get(newest + at + 24);
    free(bytes);
    return depth;
}

/* ---- Sound files ---- */

static void few_keys_and_none_pass(void **state) {
    ordered_box box;
    key_set set = {0};
    ordered_box_open(&box, *state, true);
    expect_sound(&box, &set);
    insert_numbers(&box, &set, 0, 3, 12);
    expect_sound(&box, &set);
    erase_most(&box, &set, UINT64_MAX, 1);
    expect_sound(&box, &set);
    ordered_box_close(&box);
    key_set_free(&set);
}

static void a_file_that_was_built_passes(void **state) {
    static uint8_t key[KEY_MAX];
    ordered_box box;
    key_set set = {0};
    ordered_box_open(&box, *state, true);
    ordered_close(box.index);
    box.index = NULL;
    for (uint64_t i = 0; i < 6000; i++) {
        size_t size = i % 50 == 0 ? 400 + mix(i) % 2000 : 1 + mix(i) % 100;
        key_set_apply(&set, &(ordered_change){.key = key, .size = key_make(key, i, size)});
    }
    ordered_box_build(&box, &set, 7);
    expect_sound(&box, &set);
    ordered_box_close(&box);
    key_set_free(&set);
}

static void many_keys_in_many_commits_over_several_levels_pass(void **state) {
    ordered_box box;
    key_set set = {0};
    ordered_box_open(&box, *state, true);
    for (uint64_t i = 0; i < 40; i++)
        insert_numbers(&box, &set, i * 100, i * 100 + 100, 480);
    expect_sound(&box, &set);
    for (uint64_t i = 0; i < 10; i++) {
        erase_most(&box, &set, 2, i);
        insert_numbers(&box, &set, i * 5000, i * 5000 + 700, 30);
        expect_sound(&box, &set);
    }
    ordered_box_close(&box);
    key_set_free(&set);
}

static void long_keys_with_tails_pass(void **state) {
    static const size_t sizes[] = {509, 510, 511, 512, 1011, 1012, 1013, 1014, 1015, 5000, KEY_MAX};
    ordered_box box;
    key_set set = {0};
    ordered_box_open(&box, *state, true);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        insert_numbers(&box, &set, 0, 20, sizes[i]);
        expect_sound(&box, &set);
    }
    for (unsigned i = 0; i < 5; i++) {
        erase_most(&box, &set, 2, i);
        expect_sound(&box, &set);
    }
    ordered_box_close(&box);
    key_set_free(&set);
}

static void big_lists_of_free_pages_pass(void **state) {
    ordered_box box;
    key_set set = {0};
    uint64_t overflow, most = 0;
    ordered_box_open(&box, *state, true);
    box.map_bytes = 65536; /* so that it grows, too */
    assert_int_equal(ordered_box_reopen(&box, false), CAIRN_OK);
    insert_numbers(&box, &set, 0, 12000, 300);
    for (unsigned i = 0; i < 6; i++) {
        erase_most(&box, &set, 3, i);
        expect_sound(&box, &set);
        (void)tree_depth(*state, 40, &overflow);
        most = overflow > most ? overflow : most;
        insert_numbers(&box, &set, i * 100, i * 100 + 3000, 300);
        expect_sound(&box, &set);
    }
    assert_true(most > 0);
    ordered_box_close(&box);
    key_set_free(&set);
}

static void random_batch(batch *b, const key_set *set, uint64_t *rng) {
    static uint8_t key[KEY_MAX];
    size_t count = 1 + random_below(rng, random_one_in(rng, 4) ? 3000 : 50);
    bool mostly_erases = random_one_in(rng, 3);
    while (b->count < count) {
        if (set->count > 0 && random_one_in(rng, 4) != mostly_erases) {
            const ordered_key *k = &set->keys[random_below(rng, set->count)];
            batch_add(b, k->bytes, k->size, true);
        } else {
            size_t size = random_one_in(rng, 20) ? 300 + random_below(rng, 2500) : 1 + random_below(rng, 300);
            batch_add(b, key, key_make(key, random_below(rng, 10000), size), false);
        }
    }
}

static void files_of_random_histories_pass(void **state) {
    uint64_t first, cases = rung_choose(3, 1, 100);
    if (rung_seed(&first)) {
        cases = 1;
    } else {
        first = 1;
    }
    for (uint64_t seed = first; seed < first + cases; seed++) {
        uint64_t rng = seed;
        ordered_box box;
        key_set set = {0};
        print_message("seed %llu\n", (unsigned long long)seed);
        ordered_box_open(&box, *state, true);
        for (unsigned i = 0; i < 60; i++) {
            batch *b = batch_new();
            random_batch(b, &set, &rng);
            absorb(&box, &set, b);
            if (i % 3 == 0) expect_sound(&box, &set);
        }
        ordered_box_close(&box);
        key_set_free(&set);
    }
}

/* ---- Damage ---- */

typedef struct victim {
    const char *folder;
    uint8_t *bytes; /* of the whole file */
    size_t size, page;
    size_t *used; /* numbers of the pages without which the file is not sound */
    size_t used_count;
    key_set keys, later; /* before and behind `changes` */
    batch *changes;
} victim;

typedef struct tally {
    uint64_t noticed, harmless;
} tally;

/* What an attempt found. */
enum { NOTICED, HARMLESS, WRONG };

static bool is_sound(const char *folder) {
    const ordered_key *keys;
    ordered_cursor *cursor;
    size_t count;
    ordered_box box = {.folder = folder};
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &box.dir) == 0);
    int code = ordered_box_reopen(&box, true);
    if (code == CAIRN_OK) {
        CHECK(ordered_cursor_open(&cursor, box.index, &(key_range){0}, NULL) == CAIRN_OK);
        code = ordered_next(cursor, 1, &keys, &count, NULL);
        ordered_cursor_close(cursor);
    } else {
        box.index = NULL;
    }
    ordered_box_close(&box);
    return code == CAIRN_OK;
}

static void find_used_pages(victim *v) {
    uint8_t *bytes = malloc(v->size);
    v->used = calloc(v->size / v->page, sizeof v->used[0]);
    CHECK(bytes != NULL && v->used != NULL);
    for (size_t i = 0; i < v->size / v->page; i++) {
        memcpy(bytes, v->bytes, v->size);
        memset(bytes + i * v->page, 0, v->page);
        real_file_save(v->folder, ORDERED_NAME, bytes, v->size);
        if (!is_sound(v->folder)) v->used[v->used_count++] = i;
    }
    free(bytes);
}

static void victim_take(victim *v, ordered_box *box, key_set *set) {
    uint64_t rng = 5;
    v->folder = box->folder;
    v->keys = *set;
    for (size_t i = 0; i < set->count; i++)
        key_set_apply(&v->later, &(ordered_change){.key = set->keys[i].bytes, .size = set->keys[i].size});
    ordered_box_close(box);
    v->bytes = real_file_load(v->folder, ORDERED_NAME, &v->size);
    v->page = le32_get(v->bytes + 40);
    find_used_pages(v);
    v->changes = batch_new();
    random_batch(v->changes, &v->keys, &rng);
    for (size_t i = 0; i < v->keys.count; i += 3)
        batch_add(v->changes, v->keys.keys[i].bytes, v->keys.keys[i].size, true);
    for (size_t i = 0; i < v->changes->count; i++)
        key_set_apply(&v->later, &v->changes->changes[i]);
}

/* Three levels, tails, several commits with pages that are free. */
static void victim_make(victim *v, const char *folder) {
    ordered_box box;
    key_set set = {0};
    *v = (victim){0};
    ordered_box_open(&box, folder, true);
    for (uint64_t i = 0; i < 8; i++)
        insert_numbers(&box, &set, i * 150, i * 150 + 150, 330);
    insert_numbers(&box, &set, 0, 40, 2600);
    insert_numbers(&box, &set, 0, 300, 20);
    erase_most(&box, &set, 2, 3);
    insert_numbers(&box, &set, 2000, 2300, 330);
    victim_take(v, &box, &set);
}

/* A list of free pages on pages of its own. */
static void victim_make_sparse(victim *v, const char *folder) {
    ordered_box box;
    key_set set = {0};
    *v = (victim){0};
    ordered_box_open(&box, folder, true);
    insert_numbers(&box, &set, 0, 8000, 330);
    erase_most(&box, &set, 40, 3);
    victim_take(v, &box, &set);
}

static void victim_free(victim *v) {
    free(v->bytes);
    free(v->used);
    key_set_free(&v->keys);
    key_set_free(&v->later);
    batch_free(v->changes);
}

/* HARMLESS: the walk gives the set, and nothing else. */
static int compare_walk(ordered *o, const key_set *set, bool reverse) {
    static uint8_t before[KEY_MAX];
    size_t before_size = 0, at = 0, count;
    const ordered_key *keys;
    ordered_cursor *cursor;
    int code, result = HARMLESS;
    CHECK(ordered_cursor_open(&cursor, o, &(key_range){.reverse = reverse}, NULL) == CAIRN_OK);
    while ((code = ordered_next(cursor, ORDERED_BATCH_KEYS, &keys, &count, NULL)) == CAIRN_OK) {
        for (size_t i = 0; i < count; i++, at++) {
            int order = plain_key_compare(before, before_size, keys[i].bytes, keys[i].size);
            if (at == set->count || (at > 0 && (reverse ? order <= 0 : order >= 0))) _exit(WRONG);
            memcpy(before, keys[i].bytes, before_size = keys[i].size);
            const ordered_key *own = &set->keys[reverse ? set->count - 1 - at : at];
            if (plain_key_compare(own->bytes, own->size, keys[i].bytes, keys[i].size) != 0) result = WRONG;
        }
    }
    ordered_cursor_close(cursor);
    if (code == CAIRN_CORRUPT) return NOTICED;
    return code == CAIRN_DONE && at == set->count ? result : WRONG;
}

static int look(ordered_box *box, const key_set *set, bool read_only) {
    int code = ordered_box_reopen(box, read_only);
    if (code != CAIRN_OK) box->index = NULL;
    if (code != CAIRN_OK) return code == CAIRN_CORRUPT ? NOTICED : WRONG;
    int forth = compare_walk(box->index, set, false);
    int back = compare_walk(box->index, set, true);
    return forth == back ? forth : WRONG;
}

static int change(ordered_box *box, const victim *v) {
    int code = ordered_box_reopen(box, false);
    if (code == CAIRN_OK) code = ordered_absorb(box->index, v->changes->changes, v->changes->count, 99, NULL);
    if (code == CAIRN_CORRUPT && box->index != NULL) {
        /* It stays so, for whoever comes next. */
        if (ordered_absorb(box->index, v->changes->changes, 1, 99, NULL) != CAIRN_CORRUPT) return WRONG;
    }
    return code == CAIRN_OK ? HARMLESS : code == CAIRN_CORRUPT ? NOTICED : WRONG;
}

/* In the child. Reader and writer find the same. What passes takes changes, and passes with them. */
static int attempt(const victim *v) {
    ordered_box box = {.folder = v->folder};
    CHECK(os_posix()->dir_open(os_posix(), v->folder, 0, &box.dir) == 0);
    int found = look(&box, &v->keys, true), changed = change(&box, v);
    if ((found == NOTICED) != (changed == NOTICED) || changed == WRONG) found = WRONG;
    if (found == HARMLESS) found = look(&box, &v->later, false);
    ordered_box_close(&box);
    return found;
}

typedef void (*damager)(const victim *v, uint8_t *bytes, uint64_t number);

static void try_in_a_child(const victim *v, uint64_t from, uint64_t to, damager damage, tally *t) {
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t *bytes = malloc(v->size);
        CHECK(bytes != NULL);
        (void)alarm(120);
        for (uint64_t i = from; i < to; i++) {
            memcpy(bytes, v->bytes, v->size);
            damage(v, bytes, i);
            real_file_save(v->folder, ORDERED_NAME, bytes, v->size);
            int found = attempt(v);
            if (found == WRONG) {
                print_error("seed %llu: wrong\n", (unsigned long long)i);
                _exit(WRONG);
            }
            t->noticed += found == NOTICED;
            t->harmless += found == HARMLESS;
        }
        free(bytes);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) print_error("seeds %llu on: status %#x\n", (unsigned long long)from, (unsigned)status);
    assert_int_equal(status, 0);
}

static tally try_all(const victim *v, uint64_t count, damager damage, const char *what) {
    const uint64_t at_once = 64;
    uint64_t seed;
    tally *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    if (rung_seed(&seed)) {
        try_in_a_child(v, seed, seed + 1, damage, shared);
    } else {
        for (uint64_t i = 0; i < count; i += at_once)
            try_in_a_child(v, i, i + at_once < count ? i + at_once : count, damage, shared);
    }
    tally t = *shared;
    CHECK(munmap(shared, sizeof *shared) == 0);
    print_message("%s, seeds 0 to %llu: %llu noticed, %llu harmless\n", what, (unsigned long long)count - 1,
                  (unsigned long long)t.noticed, (unsigned long long)t.harmless);
    return t;
}

static void zero_a_page(const victim *v, uint8_t *bytes, uint64_t number) {
    memset(bytes + number * v->page, 0, v->page);
}

static void fill_a_page(uint8_t *page, size_t from, size_t to, uint64_t seed) {
    for (size_t i = from; i < to; i++)
        page[i] = (uint8_t)random_next(&seed);
}

static size_t used_page(const victim *v, uint64_t number) { return v->used[number % v->used_count] * v->page; }

static void garble_a_page(const victim *v, uint8_t *bytes, uint64_t number) {
    fill_a_page(bytes + used_page(v, number), 0, v->page, number);
}

static void garble_a_page_behind_its_head(const victim *v, uint8_t *bytes, uint64_t number) {
    fill_a_page(bytes + used_page(v, number), 16, v->page, number);
}

static void cut_a_hole(const victim *v, uint8_t *bytes, uint64_t number) {
    memset(bytes + used_page(v, number) + v->page / 8 * (1 + mix(number) % 7), 0, v->page / 8);
}

static void flip_a_bit(const victim *v, uint8_t *bytes, uint64_t number) {
    uint64_t rng = number, bit = random_below(&rng, 8 * v->size);
    if (number % 4 != 0) bit = 8 * used_page(v, random_next(&rng)) + random_below(&rng, 8 * v->page);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* Where LMDB has what it believes: in the first bytes of a page, and in the heads of nodes. */
static void flip_a_bit_that_matters(const victim *v, uint8_t *bytes, uint64_t number) {
    uint64_t rng = number;
    uint8_t *page = bytes + used_page(v, random_next(&rng));
    size_t at = random_below(&rng, 56);
    unsigned lower = le16_get(page + 12);
    if (at >= 40 && lower > 16 && lower < v->page) {
        at = le16_get(page + 16 + 2 * random_below(&rng, (lower - 16) / 2)) % v->page + random_below(&rng, 8);
    }
    if (at < v->page) page[at] ^= (uint8_t)(1u << random_below(&rng, 8));
}

static void garble_a_number(const victim *v, uint8_t *bytes, uint64_t number) {
    uint64_t rng = number;
    size_t width = (size_t)1 << random_below(&rng, 4);
    size_t at = used_page(v, random_next(&rng)) + width * random_below(&rng, v->page / width);
    if (random_one_in(&rng, 2)) at = at / v->page * v->page + at % 64;
    uint8_t value[8];
    le64_put(value, random_next(&rng) >> random_below(&rng, 64));
    memcpy(bytes + at, value, width);
}

/* As where a write went astray, or was lost. */
static void put_another_page(const victim *v, uint8_t *bytes, uint64_t number) {
    uint64_t rng = number, pages = v->size / v->page;
    uint64_t from = random_below(&rng, pages) * v->page, to = used_page(v, random_next(&rng));
    memcpy(bytes + to, v->bytes + from, v->page);
    if (number % 4 != 0) le64_put(bytes + to, to / v->page);
}

static void flip_a_bit_of_a_far_list(const victim *v, uint8_t *bytes, uint64_t number) {
    uint64_t rng = number, page = 2;
    while (le64_get(v->bytes + page * v->page) != page || le16_get(v->bytes + page * v->page + 10) != 4)
        page++;
    uint64_t bit = random_below(&rng, 8 * (random_one_in(&rng, 3) ? 32 : v->page));
    bytes[page * v->page + bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void any_page_may_be_lost(void **state) {
    victim v;
    victim_make(&v, *state);
    uint64_t pages = v.size / v.page, many = rung_choose(1, 1, 10) * v.used_count;
    print_message("%zu keys, %zu of %llu pages used\n", v.keys.count, v.used_count, (unsigned long long)pages);
    tally t = try_all(&v, pages, zero_a_page, "pages of zeros");
    assert_int_equal(t.noticed, v.used_count);
    t = try_all(&v, many, garble_a_page, "pages of noise");
    assert_int_equal(t.noticed, many);
    t = try_all(&v, many, garble_a_page_behind_its_head, "noise behind a head");
    assert_int_equal(t.noticed, many);
    (void)try_all(&v, many, cut_a_hole, "pages with a hole");
    victim_free(&v);
}

static void any_bit_may_flip(void **state) {
    victim v;
    victim_make(&v, *state);
    tally t = try_all(&v, rung_choose(1500, 200, 200000), flip_a_bit, "flipped bits");
    assert_true(t.noticed > 0 && t.harmless > 0);
    t = try_all(&v, rung_choose(2000, 200, 200000), flip_a_bit_that_matters, "flipped bits that matter");
    assert_true(t.noticed > 0);
    victim_free(&v);
}

static void any_number_may_be_wrong(void **state) {
    victim v;
    victim_make(&v, *state);
    (void)try_all(&v, rung_choose(800, 150, 200000), garble_a_number, "wrong numbers");
    victim_free(&v);
}

static void any_page_may_be_another_one(void **state) {
    victim v;
    victim_make(&v, *state);
    (void)try_all(&v, rung_choose(600, 100, 100000), put_another_page, "pages in place of others");
    victim_free(&v);
}

static void lists_of_free_pages_may_be_damaged(void **state) {
    victim v;
    victim_make_sparse(&v, *state);
    tally t = try_all(&v, rung_choose(300, 50, 20000), flip_a_bit_of_a_far_list, "bits of a list");
    assert_true(t.noticed > 0);
    (void)try_all(&v, rung_choose(100, 30, 20000), flip_a_bit, "bits of a file that is mostly free");
    victim_free(&v);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, real_folder_setup, real_folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(few_keys_and_none_pass),
        IN_A_FOLDER(a_file_that_was_built_passes),
        IN_A_FOLDER(many_keys_in_many_commits_over_several_levels_pass),
        IN_A_FOLDER(long_keys_with_tails_pass),
        IN_A_FOLDER(big_lists_of_free_pages_pass),
        IN_A_FOLDER(files_of_random_histories_pass),
        IN_A_FOLDER(any_page_may_be_lost),
        IN_A_FOLDER(any_bit_may_flip),
        IN_A_FOLDER(any_number_may_be_wrong),
        IN_A_FOLDER(any_page_may_be_another_one),
        IN_A_FOLDER(lists_of_free_pages_may_be_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Walking a tree of LMDB's page by page, without LMDB: the same records as by LMDB, nothing from a page that does not
 * fit, and leaves asked for before they are read. */
#include "index/ordered_env.h"
#include "index/ordered_pages.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "tests/support/ordered_box.h"
#include "tests/support/os_wrap.h"
#include "tests/support/real_folder.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 4000u
#define KEY_SIZE 200u
#define LONG_EVERY 40u /* one in so many is longer than a record */
#define LONG_SIZE 2600u
#define LEVELS 4 /* of the tree of keys */

typedef struct place {
    os_dir *dir;
    ordered_env env;
    page_source source;
    size_t pages;
} place;

static size_t key_make(uint8_t key[LONG_SIZE], uint64_t number) {
    size_t size = number % LONG_EVERY == 0 ? LONG_SIZE : KEY_SIZE;
    memset(key, 'k', size);
    le64_put(key + (size == LONG_SIZE ? LONG_SIZE - 8 : 0), mix(number));
    return size;
}

static void absorb_keys(ordered *o, bool erase, uint64_t step, uint64_t until) {
    static uint8_t keys[KEYS][LONG_SIZE];
    static ordered_change changes[KEYS];
    size_t count = 0;
    for (uint64_t i = 0; i < KEYS; i += step, count++)
        changes[count] = (ordered_change){.key = keys[count], .size = key_make(keys[count], i), .erase = erase};
    CHECK(ordered_absorb(o, changes, count, until, NULL) == CAIRN_OK);
}

/* A file of several levels, with tails and pages that are free, and its checksums. */
static void make_file(const char *folder) {
    ordered_box box;
    ordered_box_open(&box, folder, true);
    absorb_keys(box.index, false, 1, 1);
    absorb_keys(box.index, true, 7, 2);
    ordered_leave_sums(box.index, box.dir);
    ordered_box_close(&box);
}

static int setup(void **state) {
    if (real_folder_setup(state) != 0) return 1;
    make_file(*state);
    return 0;
}

static void place_open(place *p, const char *folder) {
    ordered_options options = ordered_box_options(&(ordered_box){0});
    *p = (place){0};
    CHECK(os_posix()->dir_open(os_posix(), folder, 0, &p->dir) == 0);
    CHECK(ordered_env_open(&p->env, p->dir, ORDERED_NAME, MDB_RDONLY | MDB_NOLOCK, 0, NULL) == CAIRN_OK);
    p->source = (page_source){.file = p->env.file, .page_bytes = p->env.page_bytes};
    p->source.sums = page_sums_load(p->dir, options.store_id, &p->env.found.head);
    assert_non_null(p->source.sums);
    p->pages = (size_t)p->source.sums->count;
    assert_int_equal(p->env.found.keys.depth, LEVELS);
    assert_true(p->env.found.tails.depth >= 2);
}

static void place_close(place *p) {
    free(p->source.sums);
    ordered_env_close(&p->env);
    os_dir_close(p->dir);
}

/* ---- The same as LMDB ---- */

typedef struct pair {
    page_cursor own;
    MDB_cursor *lmdb;
    bool stands; /* the last call found something */
} pair;

/* One step of both. */
static void get_both(pair *p, const void *bytes, size_t size, MDB_cursor_op op) {
    MDB_val key = {size, (void *)(uintptr_t)bytes}, value = {0}, its_key = key, its_value = {0};
    int rc = page_cursor_get(&p->own, &key, &value, op), its = mdb_cursor_get(p->lmdb, &its_key, &its_value, op);
    assert_int_equal(rc, its);
    p->stands = rc == 0;
    if (rc != 0) return;
    assert_int_equal(key.mv_size, its_key.mv_size);
    assert_memory_equal(key.mv_data, its_key.mv_data, key.mv_size);
    assert_int_equal(value.mv_size, its_value.mv_size);
    assert_memory_equal(value.mv_data, its_value.mv_data, value.mv_size);
}

/* A record of the tree, near one of it, or anything. */
static size_t some_key(uint8_t key[LMDB_KEY_MAX], uint64_t *rng, pair *p) {
    MDB_val met = {0}, value;
    size_t size = 1 + random_below(rng, LMDB_KEY_MAX);
    for (size_t i = 0; i < size; i++)
        key[i] = (uint8_t)random_next(rng);
    if (random_one_in(rng, 4)) return size;
    met = (MDB_val){size, key};
    if (mdb_cursor_get(p->lmdb, &met, &value, MDB_SET_RANGE) != 0) return size;
    memcpy(key, met.mv_data, size = met.mv_size);
    if (random_one_in(rng, 2)) key[random_below(rng, size)] ^= (uint8_t)random_next(rng);
    if (random_one_in(rng, 4)) size = 1 + random_below(rng, size);
    return size;
}

static void walk_at_random(place *p, const lmdb_tree *tree, MDB_dbi table, uint64_t seed) {
    static const MDB_cursor_op seeks[] = {MDB_SET, MDB_SET_RANGE, MDB_SET_RANGE, MDB_FIRST, MDB_LAST};
    MDB_txn *txn;
    pair both = {0};
    uint8_t key[LMDB_KEY_MAX];
    CHECK(mdb_txn_begin(p->env.env, NULL, MDB_RDONLY, &txn) == 0 && mdb_cursor_open(txn, table, &both.lmdb) == 0);
    page_cursor_open(&both.own, &p->source, tree, seed % 2 != 0, NULL);
    for (uint64_t i = 0; i < rung_choose(3000, 600, 300000); i++) {
        size_t size = some_key(key, &seed, &both);
        get_both(&both, key, size, seeks[random_below(&seed, 5)]);
        MDB_cursor_op step = random_one_in(&seed, 2) ? MDB_NEXT : MDB_PREV;
        for (uint64_t left = random_below(&seed, 60); both.stands && left > 0; left--)
            get_both(&both, NULL, 0, random_one_in(&seed, 20) ? MDB_PREV : step);
    }
    page_cursor_close(&both.own);
    mdb_cursor_close(both.lmdb);
    mdb_txn_abort(txn);
}

static void it_finds_what_lmdb_finds_wherever_it_goes(void **state) {
    place p;
    place_open(&p, *state);
    walk_at_random(&p, &p.env.found.keys, p.env.keys, 1);
    walk_at_random(&p, &p.env.found.tails, p.env.tails, 2);
    place_close(&p);
}

static void an_empty_tree_has_nothing(void **state) {
    (void)state;
    page_source none = {0};
    page_cursor c;
    MDB_val key = {1, "k"}, value;
    page_cursor_open(&c, &none, &(lmdb_tree){.root = LMDB_ROOT_NONE}, false, NULL);
    assert_int_equal(page_cursor_get(&c, &key, &value, MDB_FIRST), MDB_NOTFOUND);
    assert_int_equal(page_cursor_get(&c, &key, &value, MDB_SET_RANGE), MDB_NOTFOUND);
    page_cursor_close(&c);
}

/* ---- Which pages are asked for, and read ---- */

static struct {
    uint8_t *asked, *read; /* how often, of each page */
    uint64_t pages, page_bytes, unasked;
} watched;

static void count_need(os_file *file, uint64_t offset, uint64_t size) {
    (void)file;
    assert_int_equal(size, watched.page_bytes);
    watched.asked[offset / watched.page_bytes]++;
}

static int count_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    uint64_t page = offset / watched.page_bytes;
    watched.read[page]++;
    watched.unasked += watched.asked[page] == 0;
    return os_posix()->file_read(file, buf, size, offset, got);
}

static void watch_begin(place *p, os *table) {
    *table = os_posix_with(&(os){.file_will_need = count_need, .file_read = count_read});
    CHECK(os_file_open(p->dir, ORDERED_NAME, OS_READ_ONLY, &p->source.file) == 0);
    p->source.file->os = table;
    watched.pages = p->pages;
    watched.page_bytes = p->source.page_bytes;
    watched.asked = calloc(p->pages, 1);
    watched.read = calloc(p->pages, 1);
    watched.unasked = 0;
    CHECK(watched.asked != NULL && watched.read != NULL);
}

static void watch_end(place *p) {
    p->source.file->os = os_posix();
    os_file_close(p->source.file);
    free(watched.asked);
    free(watched.read);
}

/* ---- Damage ---- */

/* A sum of all records of both trees, or 0: there is a page that does not fit. */
static uint64_t sum_up(place *p, uint64_t most) {
    const lmdb_tree *const trees[] = {&p->env.found.keys, &p->env.found.tails};
    uint64_t sum = 1;
    for (unsigned i = 0; i < 2; i++) {
        page_cursor c;
        MDB_val key = {0}, value;
        page_cursor_open(&c, &p->source, trees[i], false, NULL);
        int rc = page_cursor_get(&c, &key, &value, MDB_FIRST);
        for (; rc == 0 && most > 0; most--) {
            sum = checksum(value.mv_data, value.mv_size, checksum(key.mv_data, key.mv_size, sum));
            rc = page_cursor_get(&c, &key, &value, MDB_NEXT);
        }
        page_cursor_close(&c);
        if (rc != 0 && rc != MDB_NOTFOUND) {
            assert_int_equal(rc, MDB_CORRUPTED);
            return 0;
        }
    }
    return sum;
}

/* The file is changed behind the back of who reads it. Returns the page. */
static uint64_t flip(const char *folder, const place *p, uint64_t number) {
    uint64_t rng = number, page = LMDB_FIRST_PAGE + random_below(&rng, p->pages - LMDB_FIRST_PAGE);
    uint64_t byte = page * p->source.page_bytes + random_below(&rng, p->source.page_bytes);
    real_file_flip(folder, ORDERED_NAME, byte, (unsigned)random_below(&rng, 8));
    return page;
}

static void every_flipped_bit_of_a_page_that_is_met_is_noticed(void **state) {
    place p;
    os table;
    unsigned noticed = 0;
    place_open(&p, *state);
    watch_begin(&p, &table);
    uint64_t sum = sum_up(&p, UINT64_MAX);
    assert_true(sum > 1);
    uint8_t *met = malloc(p.pages);
    CHECK(met != NULL);
    memcpy(met, watched.read, p.pages);
    for (uint64_t n = 0; n < rung_choose(600, 100, 100000); n++) {
        bool is_met = met[flip(*state, &p, n)] > 0;
        assert_true(sum_up(&p, UINT64_MAX) == (is_met ? 0 : sum));
        noticed += is_met;
        (void)flip(*state, &p, n);
        if (n % 200 == 0) assert_true(sum_up(&p, UINT64_MAX) == sum);
    }
    assert_in_range(noticed, 10, UINT64_MAX);
    free(met);
    watch_end(&p);
    place_close(&p);
}

/* Whoever can write the file can write its checksums. */
static void a_damaged_page_whose_checksum_was_forged_leads_nowhere(void **state) {
    place p;
    place_open(&p, *state);
    size_t size = p.source.page_bytes;
    uint8_t *page = malloc(size);
    CHECK(page != NULL);
    for (uint64_t n = 0; n < rung_choose(1000, 100, 100000); n++) {
        uint64_t rng = n, number = LMDB_FIRST_PAGE + random_below(&rng, p.pages - LMDB_FIRST_PAGE), sum;
        size_t got, at = random_one_in(&rng, 2) ? random_below(&rng, 64) : random_below(&rng, size);
        os_file *file;
        CHECK(os_file_open(p.dir, ORDERED_NAME, 0, &file) == 0);
        CHECK(os_file_read(file, page, size, number * size, &got) == 0 && got == size);
        uint8_t before = page[at];
        page[at] = (uint8_t)random_next(&rng);
        CHECK(os_file_write(file, page + at, 1, number * size + at) == 0);
        sum = p.source.sums->of[number];
        p.source.sums->of[number] = checksum(page, size, number);
        (void)sum_up(&p, 100 * KEYS); /* and it ends, by what a walk does about the order of keys */
        p.source.sums->of[number] = sum;
        CHECK(os_file_write(file, &before, 1, number * size + at) == 0);
        os_file_close(file);
    }
    free(page);
    place_close(&p);
}

static void a_page_in_the_place_of_another_is_noticed(void **state) {
    place p;
    size_t size;
    place_open(&p, *state);
    uint8_t *bytes = real_file_load(*state, ORDERED_NAME, &size);
    size_t root = (size_t)p.env.found.keys.root * p.source.page_bytes;
    for (uint64_t n = LMDB_FIRST_PAGE; n < p.pages; n++) {
        if (n == p.env.found.keys.root) continue;
        memcpy(bytes + root, bytes + n * p.source.page_bytes, p.source.page_bytes);
        le64_put(bytes + root, p.env.found.keys.root); /* with the right number, too */
        real_file_save(*state, ORDERED_NAME, bytes, size);
        assert_true(sum_up(&p, UINT64_MAX) == 0);
    }
    free(bytes);
    place_close(&p);
}

/* ---- Asking ahead ---- */

static unsigned most_of(const uint8_t *counts) {
    unsigned most = 0;
    for (uint64_t i = 0; i < watched.pages; i++)
        most = counts[i] > most ? counts[i] : most;
    return most;
}

static void walk_all(place *p, MDB_cursor_op first, MDB_cursor_op next) {
    page_cursor c;
    MDB_val key = {0}, value;
    page_cursor_open(&c, &p->source, &p->env.found.keys, first == MDB_LAST, NULL);
    assert_int_equal(page_cursor_get(&c, &key, &value, first), 0);
    while (page_cursor_get(&c, &key, &value, next) == 0) {
    }
    page_cursor_close(&c);
    uint64_t leaves = p->env.found.keys.leaves, branches = p->env.found.keys.branches;
    uint64_t cost = atomic_load(&p->source.cost), awaited = (cost - leaves) / (PAGE_COST_AWAITED - PAGE_COST_ASKED);
    assert_in_range(awaited, 1, 2 * branches + 1);
    assert_int_equal(most_of(watched.read), 1);
    assert_int_equal(most_of(watched.asked), 1);
    assert_int_equal(watched.unasked, awaited + branches);
}

static void a_walk_asks_once_for_each_leaf_before_it_reads_it(void **state) {
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        place p;
        os table;
        place_open(&p, *state);
        watch_begin(&p, &table);
        walk_all(&p, reverse ? MDB_LAST : MDB_FIRST, reverse ? MDB_PREV : MDB_NEXT);
        watch_end(&p);
        place_close(&p);
    }
}

/* The records between two keys, both ways; each is a key of the tree. */
static void walk_between(place *p, const key_bound *from, const key_bound *to, bool reverse) {
    page_cursor c;
    MDB_val key = {from->size, from->bytes}, value;
    page_cursor_open(&c, &p->source, &p->env.found.keys, reverse, to);
    c.leaves_expected = 32;
    assert_int_equal(page_cursor_get(&c, &key, &value, MDB_SET), 0);
    while (key_compare(key.mv_data, key.mv_size, to->bytes, to->size) != 0)
        assert_int_equal(page_cursor_get(&c, &key, &value, reverse ? MDB_PREV : MDB_NEXT), 0);
    page_cursor_close(&c);
}

static key_bound nth_key(place *p, unsigned n) {
    page_cursor c;
    key_bound b = {0};
    MDB_val key = {0}, value;
    page_cursor_open(&c, &p->source, &p->env.found.keys, false, NULL);
    assert_int_equal(page_cursor_get(&c, &key, &value, MDB_FIRST), 0);
    while (n-- > 0)
        assert_int_equal(page_cursor_get(&c, &key, &value, MDB_NEXT), 0);
    assert_int_equal(key_bound_set(&b, key.mv_data, key.mv_size, false), CAIRN_OK);
    page_cursor_close(&c);
    return b;
}

static void a_walk_to_a_bound_asks_at_once_for_the_leaves_up_to_it(void **state) {
    for (unsigned n = 0; n < 40; n++) {
        place p;
        os table;
        place_open(&p, *state);
        key_bound from = nth_key(&p, 50 * n), to = nth_key(&p, 50 * n + 10 + 7 * n);
        bool reverse = n % 2 != 0;
        watch_begin(&p, &table);
        walk_between(&p, reverse ? &to : &from, reverse ? &from : &to, reverse);
        uint64_t awaited = 0, beyond = 0;
        for (uint64_t i = 0; i < p.pages; i++) {
            awaited += watched.read[i] > watched.asked[i];
            beyond += watched.asked[i] > watched.read[i];
        }
        assert_in_range(beyond, 0, 1); /* where the first key of a leaf was erased */
        /* The path to the first leaf, and that to the first one below each other node that is met. */
        assert_in_range(awaited, LEVELS, LEVELS + 2 * (LEVELS - 1));
        watch_end(&p);
        place_close(&p);
        key_bound_release(&from);
        key_bound_release(&to);
    }
}

static void a_look_at_one_key_asks_for_nothing_and_again_reads_nothing(void **state) {
    place p;
    os table;
    page_cursor c;
    MDB_val key = {0}, value;
    place_open(&p, *state);
    watch_begin(&p, &table);
    page_cursor_open(&c, &p.source, &p.env.found.keys, false, NULL);
    assert_int_equal(page_cursor_get(&c, &key, &value, MDB_FIRST), 0);
    uint8_t copy[LMDB_KEY_MAX];
    size_t size = key.mv_size;
    memcpy(copy, key.mv_data, size);
    for (unsigned i = 0; i < 5; i++) {
        key = (MDB_val){size, copy};
        assert_int_equal(page_cursor_get(&c, &key, &value, MDB_SET), 0);
    }
    assert_int_equal(most_of(watched.asked), 0);
    assert_int_equal(watched.unasked, LEVELS);
    page_cursor_close(&c);
    watch_end(&p);
    place_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_finds_what_lmdb_finds_wherever_it_goes, setup, real_folder_teardown),
        cmocka_unit_test(an_empty_tree_has_nothing),
        cmocka_unit_test_setup_teardown(every_flipped_bit_of_a_page_that_is_met_is_noticed, setup,
                                        real_folder_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_page_whose_checksum_was_forged_leads_nowhere, setup,
                                        real_folder_teardown),
        cmocka_unit_test_setup_teardown(a_page_in_the_place_of_another_is_noticed, setup, real_folder_teardown),
        cmocka_unit_test_setup_teardown(a_walk_asks_once_for_each_leaf_before_it_reads_it, setup, real_folder_teardown),
        cmocka_unit_test_setup_teardown(a_walk_to_a_bound_asks_at_once_for_the_leaves_up_to_it, setup,
                                        real_folder_teardown),
        cmocka_unit_test_setup_teardown(a_look_at_one_key_asks_for_nothing_and_again_reads_nothing, setup,
                                        real_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

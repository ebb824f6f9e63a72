/* Walking within a leaf of LMDB's without LMDB: what it finds, and that a damaged page leads nowhere. */
#include "index/ordered_walk.h"
#include "src/os/os_memory.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096u
#define NODES 50u
#define DATA_BYTES 8u

typedef struct leaf {
    uint8_t *page; /* an allocation of just that size, which ASan watches */
    ordered_env env;
    walk walk;
    char keys[NODES][16];
} leaf;

/* Nodes are made in an order of their own, as LMDB's are. */
static void fill(leaf *l) {
    size_t upper = PAGE;
    for (unsigned made = 0; made < NODES; made++) {
        unsigned i = made * 7 % NODES;
        int size = snprintf(l->keys[i], sizeof l->keys[i], "key %03u", i);
        upper -= LMDB_NODE_HEAD + (size_t)size + size % 2 + DATA_BYTES;
        uint8_t *node = l->page + upper;
        le32_put(node, DATA_BYTES);
        le16_put(node + 6, (uint16_t)size);
        memcpy(node + LMDB_NODE_HEAD, l->keys[i], (size_t)size);
        le16_put(l->page + LMDB_PAGE_HEAD + 2 * i, (uint16_t)upper);
    }
    le16_put(l->page + 10, LMDB_LEAF);
    le16_put(l->page + 12, LMDB_PAGE_HEAD + 2 * NODES);
    le16_put(l->page + 14, (uint16_t)upper);
}

static void stand_on(leaf *l, unsigned i, bool reverse) {
    lmdb_key key = lmdb_node_get(l->page, i).key;
    l->walk = (walk){.env = &l->env, .reverse = reverse, .key = key.bytes, .size = key.size};
}

static int setup(void **state) {
    leaf *l = calloc(1, sizeof *l);
    CHECK(l != NULL && (l->page = aligned_alloc(PAGE, PAGE)) != NULL);
    memset(l->page, 0, PAGE);
    l->env.page_bytes = PAGE;
    fill(l);
    *state = l;
    return 0;
}

static int teardown(void **state) {
    leaf *l = *state;
    free(l->page);
    free(l);
    return 0;
}

static void all_keys_follow_from_any_one_in_both_directions(void **state) {
    leaf *l = *state;
    for (unsigned from = 0; from < NODES; from++) {
        for (int reverse = 0; reverse < 2; reverse++) {
            walk_page p;
            lmdb_key key;
            stand_on(l, from, reverse);
            assert_true(walk_page_enter(&l->walk, &p));
            unsigned last = reverse ? 0 : NODES - 1;
            assert_true(walk_page_last(&l->walk, &p, &key));
            assert_memory_equal(key.bytes, l->keys[last], key.size);
            for (unsigned i = from; i != last;) {
                i = reverse ? i - 1 : i + 1;
                assert_true(walk_page_next(&l->walk, &p, &key));
                assert_int_equal(key.size, strlen(l->keys[i]));
                assert_memory_equal(key.bytes, l->keys[i], key.size);
            }
            assert_false(walk_page_next(&l->walk, &p, &key));
        }
    }
}

static void a_key_that_is_more_than_one_record_is_left_to_a_step(void **state) {
    leaf *l = *state;
    walk_page p;
    lmdb_key key;
    uint8_t *longest = l->page + lmdb_node_place(l->page, 0); /* made first, at the end of the page; made longer */
    memmove(longest - TREE_CHUNK_FIRST, longest, LMDB_NODE_HEAD);
    le16_put(longest - TREE_CHUNK_FIRST + 6, TREE_CHUNK_FIRST);
    le16_put(l->page + LMDB_PAGE_HEAD, (uint16_t)(longest - TREE_CHUNK_FIRST - l->page));
    stand_on(l, 1, true);
    assert_true(walk_page_enter(&l->walk, &p));
    assert_false(walk_page_last(&l->walk, &p, &key));
    assert_false(walk_page_next(&l->walk, &p, &key));
}

static void only_leaves_that_are_no_larger_than_pages_of_the_machine_are_entered(void **state) {
    leaf *l = *state;
    walk_page p;
    stand_on(l, 3, false);
    assert_true(walk_page_enter(&l->walk, &p));
    l->walk.level = 1;
    assert_false(walk_page_enter(&l->walk, &p));
    l->walk.level = 0;
    l->walk.joined = (uint8_t *)l->walk.key; /* only compared */
    assert_false(walk_page_enter(&l->walk, &p));
    l->walk.joined = NULL;
    l->env.page_bytes = 2 * os_page_bytes();
    assert_false(walk_page_enter(&l->walk, &p));
    l->env.page_bytes = PAGE;
    le16_put(l->page + 10, LMDB_BRANCH);
    assert_false(walk_page_enter(&l->walk, &p));
}

static void walk_through(leaf *l) {
    walk_page p;
    lmdb_key key;
    if (!walk_page_enter(&l->walk, &p)) return;
    bool in_page =
        !walk_page_last(&l->walk, &p, &key) || (key.bytes >= l->page && key.bytes + key.size <= l->page + PAGE);
    unsigned met = 0;
    for (; in_page && walk_page_next(&l->walk, &p, &key); met++) {
        in_page = key.bytes >= l->page && key.bytes + key.size <= l->page + PAGE;
    }
    assert_true(in_page && met < PAGE / 2);
}

static void nothing_beyond_the_page_is_a_key_whatever_is_damaged(void **state) {
    leaf *l = *state;
    uint64_t rng = 1;
    for (size_t at = 0; at < PAGE; at++) {
        uint8_t was = l->page[at];
        const uint8_t values[] = {0, 1, 0x7F, 0xFF, (uint8_t)(was ^ 1), (uint8_t)random_below(&rng, 256)};
        for (size_t i = 0; i < sizeof values; i++) {
            for (int reverse = 0; reverse < 2; reverse++) {
                stand_on(l, NODES / 2, reverse);
                l->page[at] = values[i];
                walk_through(l);
                l->page[at] = was;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(all_keys_follow_from_any_one_in_both_directions),
        TEST(a_key_that_is_more_than_one_record_is_left_to_a_step),
        TEST(only_leaves_that_are_no_larger_than_pages_of_the_machine_are_entered),
        TEST(nothing_beyond_the_page_is_a_key_whatever_is_damaged),
    };
    return cmocka_run_group_tests_name("ordered page", tests, NULL, NULL);
}

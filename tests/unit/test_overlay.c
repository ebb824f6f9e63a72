/* The overlay of the ordered index against what its header promises: order and pages, one node a key, taking, absorbing
 * and giving back, and what is kept for which snapshot. The file is played by the test. */
#include "index/overlay.h"
#include "src/base/check.h"
#include "tests/support/ordered_box.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int overlay_setup(void **state) {
    overlay *o = NULL;
    int rc = overlay_new(&o);
    *state = o;
    return rc;
}

/* Whatever a test leaves in it: clearing takes all, and the counters are at 0 again. */
static int overlay_teardown(void **state) {
    overlay *o = *state;
    overlay_clear(o);
    bool empty = overlay_pending(o) == 0 && overlay_pending_bytes(o) == 0 && overlay_bytes(o) == 0;
    overlay_free(o);
    return empty ? 0 : 1;
}

/* ---- Changes ---- */

static void push_bytes(overlay *o, const void *key, size_t size, bool erase, uint64_t snapshot) {
    key_change *c = key_change_new(key, size);
    CHECK(c != NULL);
    overlay_push(o, c, erase, snapshot);
}

static void comes(overlay *o, const char *key, uint64_t snapshot) { push_bytes(o, key, strlen(key), false, snapshot); }
static void goes(overlay *o, const char *key, uint64_t snapshot) { push_bytes(o, key, strlen(key), true, snapshot); }

static overlay_batch taken(overlay *o) {
    overlay_batch b = {0};
    assert_int_equal(overlay_take(o, &b), CAIRN_OK);
    return b;
}

static void absorb(overlay *o, uint64_t newest_open, uint64_t last_given) {
    overlay_batch b = taken(o);
    overlay_absorbed(o, &b, newest_open, last_given);
    assert_null(b.changes);
    assert_null(b.taken);
}

/* ---- What a walk finds ---- */

/* The keys as text, those that went with a minus, and `more` at a cut: "+a -b ...". */
static void write_page(const overlay_page *page, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < page->count; i++) {
        const overlay_key *k = &page->keys[i];
        int n = snprintf(text + used, size - used, "%s%c%.*s", i > 0 ? " " : "", k->erased ? '-' : '+', (int)k->size,
                         (const char *)k->bytes);
        CHECK(n > 0 && (size_t)n < size - used);
        used += (size_t)n;
    }
    if (page->more) (void)snprintf(text + used, size - used, " ...");
}

static key_bound at(const char *key, bool exclusive) {
    if (key == NULL) return (key_bound){0};
    return (key_bound){(uint8_t *)(uintptr_t)key, strlen(key), exclusive}; /* only read */
}

static void expect_between(overlay *o, key_bound start, key_bound end, bool reverse, const char *expected) {
    overlay_page page = {.count = 0};
    char text[8192];
    assert_int_equal(overlay_list(o, &start, &end, reverse, &page), CAIRN_OK);
    write_page(&page, text, sizeof text);
    overlay_page_release(&page);
    assert_string_equal(text, expected);
}

static void expect_keys(overlay *o, const char *expected) {
    expect_between(o, at(NULL, false), at(NULL, false), false, expected);
}

static void expect_absorbed(overlay *o, uint64_t newest_open, uint64_t last_given, const char *expected) {
    absorb(o, newest_open, last_given);
    expect_keys(o, expected);
}

static void expect_swept(overlay *o, uint64_t oldest_open, const char *expected) {
    overlay_sweep(o, oldest_open);
    expect_keys(o, expected);
}

/* ---- Order ---- */

static void keys_are_in_order_whenever_they_came(void **state) {
    overlay *o = *state;
    expect_keys(o, "");
    comes(o, "b", 0);
    comes(o, "ab", 0);
    expect_keys(o, "+ab +b");
    goes(o, "c", 0);
    comes(o, "a", 0);
    comes(o, "\xff", 0);
    expect_keys(o, "+a +ab +b -c +\xff");
    expect_between(o, at(NULL, false), at(NULL, false), true, "+\xff -c +b +ab +a");
}

static void a_zero_byte_is_a_byte_and_the_shorter_key_comes_first(void **state) {
    overlay *o = *state;
    overlay_page page = {.count = 0};
    key_bound none = {0};
    push_bytes(o, "a\0b", 3, false, 0);
    push_bytes(o, "a", 1, false, 0);
    push_bytes(o, "a\0", 2, false, 0);
    assert_int_equal(overlay_list(o, &none, &none, false, &page), CAIRN_OK);
    assert_int_equal(page.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(page.keys[i].size, i + 1);
    overlay_page_release(&page);
}

static void bounds_cut_at_the_key_itself_or_beside_it(void **state) {
    overlay *o = *state;
    for (const char *const *key = (const char *const[]){"b", "d", "f", NULL}; *key != NULL; key++)
        comes(o, *key, 0);
    expect_between(o, at("b", false), at("f", false), false, "+b +d +f");
    expect_between(o, at("b", true), at("f", true), false, "+d");
    expect_between(o, at("c", true), at("e", true), false, "+d");
    expect_between(o, at("a", false), at("z", false), false, "+b +d +f");
    expect_between(o, at("f", true), at(NULL, false), false, "");
    expect_between(o, at("e", false), at("c", false), false, "");
    expect_between(o, at("", false), at("", false), false, "");
    expect_between(o, at("d", true), at("d", false), false, "");
    expect_between(o, at("f", false), at("b", false), true, "+f +d +b");
    expect_between(o, at("f", true), at("b", true), true, "+d");
    expect_between(o, at("e", false), at("c", false), true, "+d");
    expect_between(o, at("z", true), at("a", true), true, "+f +d +b");
    expect_between(o, at("b", true), at(NULL, false), true, "");
    expect_between(o, at("a", false), at(NULL, false), true, "");
    expect_between(o, at("", true), at(NULL, false), true, "");
}

/* ---- One node a key ---- */

static void the_last_change_of_a_key_counts(void **state) {
    overlay *o = *state;
    comes(o, "k", 0);
    goes(o, "k", 0);
    expect_keys(o, "-k");
    comes(o, "k", 0);
    goes(o, "k", 0);
    comes(o, "k", 0);
    expect_keys(o, "+k");
    assert_int_equal(overlay_pending(o), 1);
    goes(o, "k", 0);
    overlay_batch b = taken(o);
    assert_int_equal(b.count, 1);
    assert_true(b.changes[0].erase);
    overlay_absorbed(o, &b, 0, 0);
}

static void the_counters_tell_of_changes_and_their_memory(void **state) {
    overlay *o = *state;
    comes(o, "some key", 0);
    uint64_t one = overlay_bytes(o);
    assert_true(one > 8 && overlay_pending_bytes(o) == one && overlay_pending(o) == 1);
    goes(o, "some key", 0); /* two until somebody looks */
    assert_int_equal(overlay_pending(o), 2);
    assert_int_equal(overlay_bytes(o), 2 * one);
    expect_keys(o, "-some key");
    assert_true(overlay_pending(o) == 1 && overlay_bytes(o) == one);
    absorb(o, 5, 5); /* kept: memory, but not pending */
    assert_true(overlay_pending(o) == 0 && overlay_pending_bytes(o) == 0 && overlay_bytes(o) == one);
    comes(o, "some key", 5);
    expect_keys(o, "+some key");
    assert_true(overlay_pending(o) == 1 && overlay_pending_bytes(o) == one && overlay_bytes(o) == one);
    absorb(o, 0, 5);
    assert_true(overlay_pending(o) == 0 && overlay_bytes(o) == 0);
}

/* ---- Pages ---- */

static size_t numbered(char key[16], unsigned i) { return (size_t)snprintf(key, 16, "%06u", i); }

/* Walks all of it page by page, as scans do. */
static size_t walk_numbers(overlay *o, unsigned count, bool reverse, size_t most) {
    overlay_page page = {.count = 0};
    key_bound position = {0}, none = {0};
    size_t pages = 0;
    unsigned next = 0;
    do {
        assert_int_equal(overlay_list(o, &position, &none, reverse, &page), CAIRN_OK);
        assert_true(page.count <= most && (page.count > 0 || !page.more));
        for (size_t i = 0; i < page.count; i++, next++) {
            char key[16];
            size_t size = numbered(key, reverse ? count - 1 - next : next);
            assert_true(page.keys[i].size >= size);
            assert_memory_equal(page.keys[i].bytes, key, size);
        }
        pages++;
        if (page.count == 0) break;
        const overlay_key *last = &page.keys[page.count - 1];
        assert_int_equal(key_bound_set(&position, last->bytes, last->size, true), CAIRN_OK);
    } while (page.more);
    assert_int_equal(next, count);
    key_bound_release(&position);
    overlay_page_release(&page);
    return pages;
}

static void a_page_has_256_keys_at_most(void **state) {
    overlay *o = *state;
    char key[16];
    for (unsigned i = 0; i < 2 * OVERLAY_PAGE_KEYS; i++)
        push_bytes(o, key, numbered(key, i * 7 % 512), i % 3 == 0, 0);
    assert_int_equal(walk_numbers(o, 512, false, OVERLAY_PAGE_KEYS), 2); /* full, and nothing behind it */
    push_bytes(o, key, numbered(key, 512), false, 0);
    assert_int_equal(walk_numbers(o, 513, false, OVERLAY_PAGE_KEYS), 3);
    assert_int_equal(walk_numbers(o, 513, true, OVERLAY_PAGE_KEYS), 3);
}

static void a_page_has_64_kib_of_keys_at_most_and_at_least_one_key(void **state) {
    overlay *o = *state;
    static uint8_t key[ORDERED_KEY_MAX];
    for (unsigned i = 0; i < 9; i++) {
        (void)numbered((char *)key, i);
        push_bytes(o, key, i < 3 ? ORDERED_KEY_MAX : ORDERED_KEY_MAX / 2, false, 0);
    }
    assert_int_equal(walk_numbers(o, 9, false, 2), 6);
    assert_int_equal(walk_numbers(o, 9, true, 2), 6);
}

static void a_page_stays_as_it_was_when_the_overlay_changes(void **state) {
    overlay *o = *state;
    overlay_page page = {.count = 0};
    key_bound none = {0};
    char text[64];
    comes(o, "a", 0);
    goes(o, "b", 0);
    assert_int_equal(overlay_list(o, &none, &none, false, &page), CAIRN_OK);
    goes(o, "a", 0);
    expect_absorbed(o, 0, 0, "");
    write_page(&page, text, sizeof text);
    assert_string_equal(text, "+a -b");
    assert_int_equal(overlay_list(o, &none, &none, false, &page), CAIRN_OK);
    assert_true(page.count == 0 && !page.more);
    overlay_page_release(&page);
    overlay_page_release(&page);
}

/* ---- Absorbing ---- */

static void what_is_taken_is_in_order_and_stays_where_walks_see_it(void **state) {
    overlay *o = *state;
    comes(o, "c", 0);
    goes(o, "a", 0);
    comes(o, "b", 0);
    overlay_batch b = taken(o);
    assert_int_equal(b.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(b.changes[i].size, 1);
        assert_int_equal(*(const char *)b.changes[i].key, 'a' + (int)i);
        assert_int_equal(b.changes[i].erase, i == 0);
    }
    expect_keys(o, "-a +b +c");
    assert_int_equal(overlay_pending(o), 3);
    overlay_batch none = taken(o); /* nothing twice */
    assert_int_equal(none.count, 0);
    overlay_give_back(o, &none);
    overlay_absorbed(o, &b, 0, 0);
    expect_keys(o, "");
    assert_int_equal(overlay_bytes(o), 0);
}

static void a_change_made_while_its_key_is_taken_is_pending_behind_it(void **state) {
    overlay *o = *state;
    comes(o, "k", 0);
    comes(o, "other", 0);
    overlay_batch b = taken(o);
    goes(o, "k", 0);
    assert_false(b.changes[0].erase);
    expect_keys(o, "-k +other");
    assert_false(b.changes[0].erase); /* as it was taken, whoever looked meanwhile */
    overlay_absorbed(o, &b, 0, 0);
    expect_keys(o, "-k");
    assert_int_equal(overlay_pending(o), 1);
    b = taken(o);
    assert_true(b.count == 1 && b.changes[0].erase);
    overlay_absorbed(o, &b, 0, 0);
    expect_keys(o, "");
}

static void a_change_pushed_before_the_end_of_an_absorption_is_not_lost_unseen(void **state) {
    overlay *o = *state;
    comes(o, "k", 0);
    overlay_batch b = taken(o);
    goes(o, "k", 0); /* and nobody looks */
    overlay_absorbed(o, &b, 0, 0);
    assert_int_equal(overlay_pending(o), 1);
    expect_keys(o, "-k");
}

static void what_is_given_back_is_pending_again(void **state) {
    overlay *o = *state;
    comes(o, "a", 0);
    goes(o, "b", 0);
    overlay_batch b = taken(o);
    goes(o, "a", 0);
    overlay_give_back(o, &b);
    expect_keys(o, "-a -b");
    assert_int_equal(overlay_pending(o), 2);
    b = taken(o);
    assert_true(b.count == 2 && b.changes[0].erase && b.changes[1].erase);
    overlay_absorbed(o, &b, 0, 0);
    assert_int_equal(overlay_bytes(o), 0);
}

/* ---- What is kept ---- */

static void nothing_is_kept_while_no_snapshot_is_open(void **state) {
    overlay *o = *state;
    comes(o, "came", 3); /* there was one then */
    goes(o, "went", 3);
    expect_absorbed(o, 0, 9, "");
}

static void a_key_that_went_is_kept_until_every_snapshot_closed_that_was_open(void **state) {
    overlay *o = *state;
    goes(o, "went", 5);
    expect_absorbed(o, 5, 7, "-went");
    overlay_sweep(o, 5);
    expect_swept(o, 7, "-went"); /* 7 was open, or closed before: it may have been */
    expect_swept(o, 8, "");
}

static void a_key_that_came_is_kept_only_when_a_snapshot_was_opened_since(void **state) {
    overlay *o = *state;
    comes(o, "before 6", 5);
    comes(o, "after 6", 6);
    expect_absorbed(o, 6, 6, "+before 6");
    expect_swept(o, 7, "");
    comes(o, "with none open", 0);
    expect_absorbed(o, 7, 7, "+with none open");
    expect_swept(o, UINT64_MAX, "");
}

/* Of 7, which has read the file without the key and looks here after the absorption. */
static void a_key_that_came_went_and_came_is_kept_for_who_saw_it_come_first(void **state) {
    overlay *o = *state;
    comes(o, "k", 0);
    goes(o, "k", 7);
    comes(o, "k", 7);
    expect_absorbed(o, 7, 7, "+k");
    expect_swept(o, 8, "");
    comes(o, "k", 0);
    expect_keys(o, "+k"); /* in whatever steps they are brought into order */
    goes(o, "k", 9);
    expect_keys(o, "-k");
    comes(o, "k", 9);
    expect_absorbed(o, 9, 9, "+k");
}

/* Of 7, which saw it before it went. A file that was built while it was gone lacks it. */
static void a_key_that_went_and_came_is_kept_for_who_saw_it_go(void **state) {
    overlay *o = *state;
    goes(o, "k", 7);
    comes(o, "k", 7);
    expect_absorbed(o, 7, 7, "+k");
    expect_swept(o, 8, "");
}

static void a_key_kept_as_gone_that_comes_again_is_kept_once_more(void **state) {
    overlay *o = *state;
    goes(o, "k", 5);
    absorb(o, 5, 5);
    comes(o, "k", 5);
    expect_keys(o, "+k");
    expect_swept(o, UINT64_MAX, "+k"); /* pending: no snapshot's business */
    absorb(o, 6, 6);
    expect_swept(o, 6, "+k");
    expect_swept(o, 7, "");
}

static void a_change_made_while_taken_or_given_back_is_kept_with_what_was_absorbed(void **state) {
    overlay *o = *state;
    comes(o, "changed", 5);
    overlay_batch b = taken(o);
    goes(o, "changed", 6);
    comes(o, "changed", 6);
    overlay_absorbed(o, &b, 6, 6);
    comes(o, "given back", 6);
    b = taken(o);
    overlay_give_back(o, &b);
    expect_absorbed(o, 6, 6, "+changed +given back");
    expect_swept(o, 7, "");
}

static void sweeping_takes_what_is_old_enough_only(void **state) {
    overlay *o = *state;
    goes(o, "a", 1);
    absorb(o, 1, 1);
    goes(o, "b", 2);
    absorb(o, 2, 2);
    goes(o, "c", 2);
    absorb(o, 2, 4);
    goes(o, "pending", 4);
    expect_swept(o, 2, "-b -c -pending");
    expect_swept(o, 4, "-c -pending");
    expect_swept(o, UINT64_MAX, "-pending");
}

static void clearing_drops_what_was_pushed_pending_and_kept(void **state) {
    overlay *o = *state;
    goes(o, "kept", 1);
    absorb(o, 1, 1);
    comes(o, "pending", 1);
    expect_keys(o, "-kept +pending");
    comes(o, "pushed", 1);
    overlay_clear(o);
    expect_keys(o, "");
    assert_true(overlay_pending(o) == 0 && overlay_pending_bytes(o) == 0 && overlay_bytes(o) == 0);
    comes(o, "new", 1);
    expect_keys(o, "+new");
    overlay_sweep(o, UINT64_MAX);
    expect_absorbed(o, 0, 1, "");
}

/* ---- Against a plain model ---- */

#define MODEL_KEYS 24u

/* What a snapshot must find here where it has read the file before. */
typedef struct moment {
    uint64_t number; /* 0: closed */
    bool had[MODEL_KEYS];
    bool file[MODEL_KEYS]; /* as it was when the walk read it */
} moment;

typedef struct rehearsal {
    overlay *o;
    bool now[MODEL_KEYS], file[MODEL_KEYS];
    moment open[4];
    uint64_t last, seed, rng;
    overlay_batch taken;
    bool taking;
    bool building, built[MODEL_KEYS]; /* another file, of a moment that has passed */
} rehearsal;

static uint64_t newest_open(const rehearsal *r) {
    uint64_t newest = 0;
    for (size_t i = 0; i < 4; i++)
        if (r->open[i].number > newest) newest = r->open[i].number;
    return newest;
}

static void close_moment(rehearsal *r, moment *m) {
    uint64_t oldest = UINT64_MAX;
    m->number = 0;
    for (size_t i = 0; i < 4; i++)
        if (r->open[i].number != 0 && r->open[i].number < oldest) oldest = r->open[i].number;
    overlay_sweep(r->o, oldest);
}

static void open_moment(rehearsal *r, moment *m) {
    m->number = ++r->last;
    memcpy(m->had, r->now, sizeof m->had);
    memcpy(m->file, r->file, sizeof m->file);
}

static void change_key(rehearsal *r) {
    char key[16];
    unsigned i = (unsigned)random_below(&r->rng, MODEL_KEYS);
    r->now[i] = !r->now[i];
    push_bytes(r->o, key, numbered(key, i), !r->now[i], newest_open(r));
}

static void take_or_absorb(rehearsal *r) {
    if (r->building) return;
    if (!r->taking) {
        r->taken = taken(r->o);
        r->taking = true;
        return;
    }
    r->taking = false;
    bool fails = random_one_in(&r->rng, 4);
    for (size_t i = 0; i < r->taken.count; i++) {
        if (fails && random_one_in(&r->rng, 2)) continue; /* some of it was absorbed all the same */
        char text[16] = {0};
        memcpy(text, r->taken.changes[i].key, r->taken.changes[i].size);
        r->file[strtoul(text, NULL, 10)] = !r->taken.changes[i].erase;
    }
    if (fails) {
        overlay_give_back(r->o, &r->taken);
    } else {
        overlay_absorbed(r->o, &r->taken, newest_open(r), r->last);
    }
}

/* Nothing is absorbed meanwhile. */
static void build(rehearsal *r) {
    if (r->taking) return;
    if (r->building) memcpy(r->file, r->built, sizeof r->file);
    if (!r->building) memcpy(r->built, r->now, sizeof r->built);
    r->building = !r->building;
}

/* Who has read the file at some moment and reads the overlay now finds all that was there, and what differs now. */
static void look(const rehearsal *r) {
    overlay_page page = {.count = 0};
    key_bound none = {0};
    bool in_page[MODEL_KEYS] = {false}, present[MODEL_KEYS];
    memcpy(present, r->file, sizeof present);
    assert_int_equal(overlay_list(r->o, &none, &none, false, &page), CAIRN_OK);
    assert_false(page.more);
    for (size_t i = 0; i < page.count; i++) {
        char text[16] = {0};
        memcpy(text, page.keys[i].bytes, page.keys[i].size);
        unsigned long n = strtoul(text, NULL, 10);
        in_page[n] = true;
        present[n] = !page.keys[i].erased;
    }
    overlay_page_release(&page);
    assert_memory_equal(present, r->now, sizeof present);
    for (size_t m = 0; m < 4; m++) {
        for (unsigned i = 0; r->open[m].number != 0 && i < MODEL_KEYS; i++)
            if (r->open[m].had[i] && !r->open[m].file[i] && !in_page[i])
                fail_msg("key %u of snapshot %llu is in neither; CAIRN_SEED=%llu", i,
                         (unsigned long long)r->open[m].number, (unsigned long long)r->seed);
        for (unsigned i = 0; r->open[m].number != 0 && i < MODEL_KEYS; i++)
            if (r->open[m].file[i] && !r->now[i] && !in_page[i])
                fail_msg("key %u, which went, seems to be there; CAIRN_SEED=%llu", i, (unsigned long long)r->seed);
    }
}

static void every_walk_finds_what_it_needs_in_random_order_of_events(void **state) {
    rehearsal r = {.o = *state, .seed = 1};
    (void)rung_seed(&r.seed);
    r.rng = r.seed;
    for (uint64_t i = 0, steps = rung_choose(200000, 20000, 20000000); i < steps; i++) {
        uint64_t roll = random_below(&r.rng, 20);
        moment *m = &r.open[random_below(&r.rng, 4)];
        if (roll < 10) change_key(&r);
        if (roll >= 10 && roll < 14) take_or_absorb(&r);
        if (roll == 14) look(&r);
        if (roll == 15) build(&r);
        if (roll < 16) continue;
        if (m->number == 0) {
            open_moment(&r, m);
        } else if (roll < 18) {
            memcpy(m->file, r.file, sizeof m->file); /* another walk of it */
        } else {
            close_moment(&r, m);
        }
    }
    if (r.building) build(&r);
    if (r.taking) take_or_absorb(&r);
    for (size_t i = 0; i < 4; i++)
        close_moment(&r, &r.open[i]);
    absorb(r.o, 0, r.last);
    assert_int_equal(overlay_bytes(r.o), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, overlay_setup, overlay_teardown)
    const struct CMUnitTest tests[] = {
        TEST(keys_are_in_order_whenever_they_came),
        TEST(a_zero_byte_is_a_byte_and_the_shorter_key_comes_first),
        TEST(bounds_cut_at_the_key_itself_or_beside_it),
        TEST(the_last_change_of_a_key_counts),
        TEST(the_counters_tell_of_changes_and_their_memory),
        TEST(a_page_has_256_keys_at_most),
        TEST(a_page_has_64_kib_of_keys_at_most_and_at_least_one_key),
        TEST(a_page_stays_as_it_was_when_the_overlay_changes),
        TEST(what_is_taken_is_in_order_and_stays_where_walks_see_it),
        TEST(a_change_made_while_its_key_is_taken_is_pending_behind_it),
        TEST(a_change_pushed_before_the_end_of_an_absorption_is_not_lost_unseen),
        TEST(what_is_given_back_is_pending_again),
        TEST(nothing_is_kept_while_no_snapshot_is_open),
        TEST(a_key_that_went_is_kept_until_every_snapshot_closed_that_was_open),
        TEST(a_key_that_came_is_kept_only_when_a_snapshot_was_opened_since),
        TEST(a_key_that_came_went_and_came_is_kept_for_who_saw_it_come_first),
        TEST(a_key_that_went_and_came_is_kept_for_who_saw_it_go),
        TEST(a_key_kept_as_gone_that_comes_again_is_kept_once_more),
        TEST(a_change_made_while_taken_or_given_back_is_kept_with_what_was_absorbed),
        TEST(sweeping_takes_what_is_old_enough_only),
        TEST(clearing_drops_what_was_pushed_pending_and_kept),
        TEST(every_walk_finds_what_it_needs_in_random_order_of_events),
    };
    return cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
}

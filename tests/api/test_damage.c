/* A store whose files were cut, removed, flipped or swapped for old ones: it is refused as a whole, or opens and every
 * value outside the damage is there; a wrong value is never returned, and a refused opening changes nothing. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 48u
#define GARBAGE 777u

static const cairn_options reading = {.struct_size = sizeof reading, .read_only = true};

/* ---- What is stored ---- */

/* Key i has its value number `generation`, or is deleted. */
typedef struct content {
    unsigned generation[KEYS];
    bool there[KEYS];
} content;

static void key_of(char key[16], unsigned i) { (void)snprintf(key, 16, "key %u", i); }

static const uint8_t *value_of(unsigned i, unsigned generation, size_t *size) {
    uint64_t state = i * 1000 + generation;
    /* Small, many frames, and a file of its own. */
    *size = i % 16 == 3 ? BOX_PAYLOAD_MAX + 100000 : i % 4 == 1 ? 150000 + i : random_below(&state, 5000);
    return random_window(&state, *size);
}

static void change(cairn *s, content *c, unsigned i, bool put) {
    char key[16];
    size_t size;
    key_of(key, i);
    if (put) {
        const uint8_t *value = value_of(i, ++c->generation[i], &size);
        put_text(s, key, value, size);
    } else {
        assert_int_equal(cairn_delete(s, key, strlen(key), NULL, NULL), CAIRN_OK);
    }
    c->there[i] = put;
}

/* Sealed segments, an open one, files of one value, and a checkpoint in the middle. */
static void fill(box *b, content *c) {
    b->system = os_without_syncs();
    box_quiet(b);
    for (unsigned i = 0; i < KEYS; i++) {
        change(b->store, c, i, true);
        if (i == KEYS / 2) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    }
    for (unsigned i = 0; i < KEYS; i += 6)
        change(b->store, c, i, true);
    for (unsigned i = 2; i < KEYS; i += 9)
        change(b->store, c, i, false);
    /* The last record says in its header that everything before it is durable. */
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    put_text(b->store, "the last one", "tail", 4);
}

/* ---- Damage ---- */

typedef struct damage {
    const char *folder, *name; /* NULL: none */
    bool is_cache;             /* CHECKPOINT*: nothing may be lost */
    bool tail_is_gone;         /* with all that told how far the log was durable: an older state is legal */
    uint64_t id;               /* of a segment or value file; else 0 */
    char what[160];
} damage;

static damage damage_of(const char *folder, const char *name, const char *what) {
    damage d = {.folder = folder, .name = name, .is_cache = strncmp(name, "CHECKPOINT", 10) == 0};
    if (strstr(name, ".seg") != NULL || strstr(name, ".val") != NULL) d.id = strtoull(name, NULL, 16);
    (void)snprintf(d.what, sizeof d.what, "%s %s", name, what);
    return d;
}

/* Whether key i has a value that it had before. */
static bool is_older(unsigned i, const content *c, const void *got, size_t got_size) {
    for (unsigned g = 1; g <= c->generation[i]; g++) {
        size_t size;
        const uint8_t *value = value_of(i, g, &size);
        if (size == got_size && memcmp(value, got, size) == 0) return true;
    }
    return false;
}

/* 1: the value is damaged. It then lies in the damaged file, and the error says so. */
static unsigned check_key(cairn *s, const content *c, const damage *d, unsigned i) {
    char key[16];
    void *got = NULL;
    size_t size, got_size = 0;
    cairn_error error = {0};
    key_of(key, i);
    const uint8_t *value = value_of(i, c->generation[i], &size);
    int rc = cairn_get(s, key, strlen(key), &got, &got_size, &error);
    if (rc == CAIRN_OK) {
        bool whole = c->there[i] && got_size == size && memcmp(got, value, size) == 0;
        if (!whole && !(d->tail_is_gone && is_older(i, c, got, got_size)))
            fail_msg("%s: '%s' has a wrong value of %zu bytes", d->what, key, got_size);
    } else if (rc == CAIRN_NOT_FOUND) {
        if (c->there[i] && !d->tail_is_gone) fail_msg("%s: '%s' is lost", d->what, key);
    } else if (rc != CAIRN_CORRUPT || d->id == 0 || error.segment != d->id) {
        fail_msg("%s: '%s': %d %s", d->what, key, rc, error.message);
    }
    cairn_free(got);
    return rc == CAIRN_CORRUPT;
}

/* Counts the values that are damaged. */
static unsigned check_content(cairn *s, const content *c, const damage *d) {
    unsigned damaged = 0;
    for (unsigned i = 0; i < KEYS; i++)
        damaged += check_key(s, c, d, i);
    return damaged;
}

static void expect_sound_refusal(const damage *d, int rc, const cairn_error *error) {
    bool code_fits = rc == CAIRN_CORRUPT;
    if (strcmp(d->name, "CAIRN") == 0) code_fits = code_fits || rc == CAIRN_NO_STORE || rc == CAIRN_UNSUPPORTED;
    if (strcmp(d->name, "MANIFEST") == 0) code_fits = code_fits || rc == CAIRN_UNSUPPORTED;
    if (!code_fits || d->is_cache) fail_msg("%s: refused with %d %s", d->what, rc, error->message);
    char number[20];
    (void)snprintf(number, sizeof number, "%016llx", (unsigned long long)d->id);
    /* The version in CAIRN says nothing of a file, and an absent CAIRN is an absent store. */
    bool named = d->id != 0 ? strstr(error->message, number) != NULL && error->segment == d->id
                            : strstr(error->message, d->name) != NULL || strcmp(d->name, "CAIRN") == 0;
    if (!named) fail_msg("%s: the message names no file: %s", d->what, error->message);
}

/* true: it opened. */
static bool open_damaged(cairn **s, const damage *d, const cairn_options *o) {
    cairn_error error = {0};
    char *before = real_folder_describe(d->folder);
    int rc = store_open_on(s, os_without_syncs(), d->folder, o, UINT64_MAX, &error);
    char *after = real_folder_describe(d->folder);
    if (rc != CAIRN_OK) expect_sound_refusal(d, rc, &error);
    if ((rc != CAIRN_OK || o->read_only) && strcmp(before, after) != 0) {
        fail_msg("%s: the opening (%d) changed files:\n%s\n%s", d->what, rc, before, after);
    }
    free(before);
    free(after);
    return rc == CAIRN_OK;
}

/* Values can be overwritten, damaged ones too, and the store lives on. */
static void expect_life(cairn *s, const damage *d, const cairn_options *o) {
    for (unsigned i = 0; i < KEYS; i += 5) {
        char key[16];
        key_of(key, i);
        put_text(s, key, "a new life", 10);
    }
    assert_int_equal(cairn_close(s), CAIRN_OK);
    s = store_open_on_or_fail(os_without_syncs(), d->folder, o);
    for (unsigned i = 0; i < KEYS; i += 5) {
        char key[16];
        key_of(key, i);
        expect_get(s, key, strlen(key), "a new life", 10);
    }
    assert_int_equal(cairn_close(s), CAIRN_OK);
}

static void expect_sound(const damage *d, const content *c, const cairn_options *o, const char *whole, bool live_on) {
    cairn *s = NULL;
    if (open_damaged(&s, d, &reading)) {
        (void)check_content(s, c, d);
        assert_int_equal(cairn_close(s), CAIRN_OK);
    }
    if (open_damaged(&s, d, o)) {
        cairn_verify_result result = {.struct_size = sizeof result};
        unsigned damaged = check_content(s, c, d);
        assert_int_equal(cairn_verify(s, NULL, &result, NULL), CAIRN_OK);
        if (result.damaged < damaged)
            fail_msg("%s: verify found %llu of %u", d->what, (long long)result.damaged, damaged);
        if (live_on) expect_life(s, d, o);
        if (!live_on) assert_int_equal(cairn_close(s), CAIRN_OK);
        return;
    }
    /* Nothing was changed: with the file as it was, everything is there. */
    real_file_copy(whole, d->folder, d->name);
    damage none = damage_of(d->folder, d->name, "put back");
    none.id = 0;
    s = store_open_on_or_fail(os_without_syncs(), d->folder, o);
    assert_int_equal(check_content(s, c, &none), 0);
    assert_int_equal(cairn_close(s), CAIRN_OK);
}

/* ---- Every file in every way ---- */

enum { REMOVED, EMPTY, HALVED, ONE_SHORT, GROWN, FLIPPED }; /* and more flips behind */

static void inflict(damage *d, unsigned kind, bool killed, bool newest, uint64_t *rng) {
    size_t size;
    char what[64];
    uint8_t *bytes = real_file_load(d->folder, d->name, &size);
    size_t cut = kind == EMPTY ? 0 : kind == HALVED ? size / 2 : size - 1, at = 0;
    switch (kind) {
    case REMOVED:
        (void)snprintf(what, sizeof what, "removed");
        real_file_remove(d->folder, d->name);
        break;
    case EMPTY:
    case HALVED:
    case ONE_SHORT:
        (void)snprintf(what, sizeof what, "cut from %zu to %zu bytes", size, cut);
        real_file_cut(d->folder, d->name, cut);
        break;
    case GROWN:
        (void)snprintf(what, sizeof what, "grown");
        bytes = realloc(bytes, size + GARBAGE);
        CHECK(bytes != NULL);
        memset(bytes + size, 0xa5, GARBAGE);
        real_file_save(d->folder, d->name, bytes, size + GARBAGE);
        break;
    default: /* Beginnings and ends are where the formats are; most of the middle is payload. */
        at = kind % 3 == 0 ? random_below(rng, size) : random_below(rng, min_u64(size, 5000));
        if (kind % 3 == 2) at = size - 1 - at;
        (void)snprintf(what, sizeof what, "flipped at byte %zu of %zu", at, size);
        real_file_flip(d->folder, d->name, at, (unsigned)random_below(rng, 8));
    }
    free(bytes);
    *d = damage_of(d->folder, d->name, what);
    d->tail_is_gone = killed && newest && kind == HALVED;
}

/* The segment with the last of the records. */
static size_t newest_segment(const char *folder, char (*names)[REAL_NAME_SIZE], size_t count) {
    size_t newest = 0, size;
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") == NULL) continue;
        free(real_file_load(folder, names[i], &size));
        if (size > 4096) newest = i;
    }
    return newest;
}

static void damage_everything(box *b, const content *c, const char *whole, bool killed) {
    size_t count;
    uint64_t rng = 11;
    unsigned kinds = FLIPPED + (unsigned)rung_choose(10, 3, 400), every = (unsigned)rung_choose(1, 5, 1);
    char folder[REAL_PATH_SIZE];
    real_path(folder, b->path, "damaged");
    char(*names)[REAL_NAME_SIZE] = real_folder_names(whole, &count);
    assert_true(count >= 8);
    for (size_t i = 0; i < count; i++) {
        bool newest = i == newest_segment(whole, names, count);
        for (unsigned kind = (unsigned)i % every; kind < kinds; kind += every) {
            damage d = {.folder = folder, .name = names[i]};
            real_folder_copy(whole, folder);
            inflict(&d, kind, killed, newest, &rng);
            expect_sound(&d, c, &b->options, whole, kind % 3 == 0);
            real_folder_remove(folder);
        }
    }
    free(names);
}

/* `whole` is below the box's folder, which the teardown removes. */
static void copy_whole(box *b, char whole[REAL_PATH_SIZE]) {
    char outside[REAL_PATH_SIZE];
    real_folder_duplicate(b->path, outside);
    box_close(b);
    real_folder_remove(b->path);
    real_folder_make(b->path);
    real_path(whole, b->path, "whole");
    real_folder_copy(outside, whole);
    real_folder_remove(outside);
}

enum { CLOSED, KILLED, WITHOUT_CHECKPOINT };

static void damage_everything_of(box *b, int how) {
    content c = {0};
    char whole[REAL_PATH_SIZE];
    fill(b, &c);
    if (how != KILLED) box_close(b);
    copy_whole(b, whole);
    if (how == WITHOUT_CHECKPOINT) real_file_remove(whole, "CHECKPOINT");
    damage_everything(b, &c, whole, how == KILLED);
}

static void damage_to_a_cleanly_closed_store_is_told_and_nothing_else_is_lost(void **state) {
    damage_everything_of(*state, CLOSED);
}
static void damage_to_a_killed_store_is_told_and_nothing_else_is_lost(void **state) {
    damage_everything_of(*state, KILLED);
}
static void damage_to_a_store_without_a_checkpoint_is_told_and_nothing_else_is_lost(void **state) {
    damage_everything_of(*state, WITHOUT_CHECKPOINT);
}

/* The empty segment that was prepared behind it was once blamed. */
static void a_damaged_first_record_is_blamed_on_its_own_segment(void **state) {
    box *b = *state;
    content c = {0};
    size_t count;
    fill(b, &c);
    box_close(b);
    real_file_remove(b->path, "CHECKPOINT");
    char(*names)[REAL_NAME_SIZE] = real_folder_names(b->path, &count);
    const char *name = names[newest_segment(b->path, names, count)];
    real_file_flip(b->path, name, 4096 + 20, 0);
    cairn_error error = {0};
    assert_int_equal(cairn_open(&b->store, b->path, &b->options, &error), CAIRN_CORRUPT);
    assert_int_equal(error.segment, strtoull(name, NULL, 16));
    assert_int_equal(error.offset, 4096);
    free(names);
}

/* ---- Checkpoints ---- */

typedef struct seen {
    uint64_t version[KEYS];
    content content;
} seen;

static void note_versions(cairn *s, seen *n) {
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        key_of(key, i);
        n->version[i] = n->content.there[i] ? version_of(s, key) : 0;
    }
}

static void expect_seen(box *b, const seen *n, const char *what) {
    damage none = {.what = "none"};
    seen now = *n;
    (void)snprintf(none.what, sizeof none.what, "%s", what);
    assert_int_equal(check_content(b->store, &n->content, &none), 0);
    note_versions(b->store, &now);
    assert_memory_equal(n->version, now.version, sizeof now.version);
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t keys = 1; /* the last one of fill */
    for (unsigned i = 0; i < KEYS; i++)
        keys += n->content.there[i];
    assert_int_equal(cairn_stats_get(b->store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, keys);
}

static void go_on(box *b, seen *n, uint64_t *rng) {
    for (int i = 0; i < 30; i++) {
        unsigned key = (unsigned)random_below(rng, KEYS);
        change(b->store, &n->content, key, !n->content.there[key] || !random_one_in(rng, 3));
    }
}

static void an_old_checkpoint_put_back_gives_the_same_content(void **state) {
    box *b = *state;
    seen n = {.content = {.there = {false}}};
    uint64_t rng = 5;
    char old[3][REAL_PATH_SIZE];
    fill(b, &n.content);
    for (int i = 0; i < 3; i++) { /* of a closed store, of one that goes on, and of a crashed one */
        go_on(b, &n, &rng);
        if (i == 0) box_reopen(b);
        if (i > 0) assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
        real_folder_make(old[i]);
        real_file_copy(b->path, old[i], "CHECKPOINT");
        real_file_copy(b->path, old[i], "CHECKPOINT.DATA");
        go_on(b, &n, &rng);
        if (i == 2) box_crash(b);
    }
    go_on(b, &n, &rng);
    note_versions(b->store, &n);
    for (unsigned i = 0; i < 9; i++) {
        box_close(b);
        if (i / 3 != 1) real_file_copy(old[i % 3], b->path, "CHECKPOINT");
        if (i / 3 != 2) real_file_copy(old[i % 3], b->path, "CHECKPOINT.DATA");
        box_open(b);
        expect_seen(b, &n, i / 3 == 0 ? "old pair" : i / 3 == 1 ? "old data" : "old root");
    }
    for (int i = 0; i < 3; i++)
        real_folder_remove(old[i]);
    /* And life goes on from there: versions are not given out again. */
    uint64_t last = 0;
    for (unsigned i = 0; i < KEYS; i++)
        last = max_u64(last, n.version[i]);
    put_text(b->store, "new", "v", 1);
    assert_true(version_of(b->store, "new") > last);
}

/* A checkpoint of another store, with the same keys. */
static void a_foreign_checkpoint_is_not_used(void **state) {
    box *b = *state;
    seen n = {.content = {.there = {false}}};
    char other[REAL_PATH_SIZE];
    fill(b, &n.content);
    note_versions(b->store, &n);
    real_folder_make(other);
    box twin = {.options = b->options, .system = b->system};
    memcpy(twin.path, other, sizeof other);
    box_open(&twin);
    content same = {0};
    fill(&twin, &same);
    box_close(&twin);
    box_close(b);
    real_file_copy(other, b->path, "CHECKPOINT");
    real_file_copy(other, b->path, "CHECKPOINT.DATA");
    box_open(b);
    expect_seen(b, &n, "foreign checkpoint");
    real_folder_remove(other);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(damage_to_a_cleanly_closed_store_is_told_and_nothing_else_is_lost),
        TEST(damage_to_a_killed_store_is_told_and_nothing_else_is_lost),
        TEST(damage_to_a_store_without_a_checkpoint_is_told_and_nothing_else_is_lost),
        TEST(a_damaged_first_record_is_blamed_on_its_own_segment),
        TEST(an_old_checkpoint_put_back_gives_the_same_content),
        TEST(a_foreign_checkpoint_is_not_used),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}

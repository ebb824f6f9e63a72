/* Opening, creating, closing, reading only. Several openers are test_openers.c's, damaged files test_damage.c's. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const cairn_options reading = {.struct_size = sizeof reading, .read_only = true};
static const cairn_options creating = {.struct_size = sizeof creating, .create = true};

/* ---- What is no store ---- */

static void a_missing_path_is_no_store_unless_it_may_be_created(void **state) {
    char path[REAL_PATH_SIZE], below[REAL_PATH_SIZE];
    real_path(path, *state, "new");
    real_path(below, path, "deeper");
    expect_refused(path, NULL, CAIRN_NO_STORE, path);
    expect_refused(path, &reading, CAIRN_NO_STORE, path);
    expect_refused(below, &creating, CAIRN_NO_STORE, below);
    assert_false(real_file_is_there(*state, "new"));
    cairn *s = store_open_or_fail(path, &creating);
    put_text(s, "k", "v", 1);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    s = store_open_or_fail(path, NULL);
    expect_get(s, "k", 1, "v", 1);
    assert_int_equal(cairn_close(s), CAIRN_OK);
}

static void a_file_is_no_store(void **state) {
    char path[REAL_PATH_SIZE];
    real_path(path, *state, "file");
    real_file_save(*state, "file", "text", 4);
    expect_refused(path, NULL, CAIRN_NO_STORE, "not a directory");
    expect_refused(path, &creating, CAIRN_NO_STORE, "not a directory");
    expect_refused(path, &reading, CAIRN_NO_STORE, path);
    size_t size;
    uint8_t *bytes = real_file_load(*state, "file", &size);
    assert_int_equal(size, 4);
    free(bytes);
}

static void a_foreign_directory_is_refused_and_left_alone(void **state) {
    real_file_save(*state, "letter.txt", "dear", 4);
    char *before = real_folder_describe(*state);
    expect_refused(*state, NULL, CAIRN_NO_STORE, *state);
    expect_refused(*state, &creating, CAIRN_NO_STORE, "letter.txt");
    expect_refused(*state, &reading, CAIRN_NO_STORE, *state);
    char *after = real_folder_describe(*state);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_directory_with_a_foreign_file_named_CAIRN_is_refused(void **state) {
    real_file_save(*state, "CAIRN", "a heap of stones", 16);
    expect_refused(*state, &creating, CAIRN_NO_STORE, "CAIRN");
    real_file_cut(*state, "CAIRN", 0);
    expect_refused(*state, &creating, CAIRN_NO_STORE, "CAIRN");
    real_file_remove(*state, "CAIRN");
    char path[REAL_PATH_SIZE];
    real_path(path, *state, "CAIRN");
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refused(*state, &creating, CAIRN_NO_STORE, "CAIRN");
}

/* ---- Creating ---- */

static void an_empty_directory_becomes_a_store(void **state) {
    cairn *s = store_open_or_fail(*state, &creating);
    assert_int_equal(stats_of(s).keys, 0);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    s = store_open_or_fail(*state, &creating);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    struct stat info;
    char path[REAL_PATH_SIZE];
    real_path(path, *state, "CAIRN");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void create_new_refuses_a_store_that_is_there(void **state) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .create_new = true};
    cairn *s = store_open_or_fail(*state, &o);
    put_text(s, "k", "v", 1);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    char *before = real_folder_describe(*state);
    expect_refused(*state, &o, CAIRN_EXISTS, *state);
    char *after = real_folder_describe(*state);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_creation_that_was_interrupted_is_done_again(void **state) {
    static const char *const left[][3] = {{"MANIFEST"},
                                          {"MANIFEST.NEW"},
                                          {"CAIRN.NEW"},
                                          {"MANIFEST", "CAIRN.NEW"},
                                          {"MANIFEST", "MANIFEST.NEW", "CAIRN.NEW"}};
    char whole[REAL_PATH_SIZE], part[REAL_PATH_SIZE];
    real_path(whole, *state, "whole");
    cairn *s = store_open_or_fail(whole, &creating);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        real_path(part, *state, "part");
        assert_int_equal(mkdir(part, 0700), 0);
        for (size_t j = 0; j < 3 && left[i][j] != NULL; j++) {
            size_t size;
            uint8_t *bytes = real_file_load(whole, strncmp(left[i][j], "CAIRN", 5) == 0 ? "CAIRN" : "MANIFEST", &size);
            real_file_save(part, left[i][j], bytes, j == 2 ? size / 2 : size);
            free(bytes);
        }
        expect_refused(part, NULL, CAIRN_NO_STORE, part);
        expect_refused(part, &reading, CAIRN_NO_STORE, part);
        for (int pass = 0; pass < 2; pass++) {
            s = store_open_or_fail(part, &creating);
            if (pass == 0) put_text(s, "k", "v", 1);
            expect_get(s, "k", 1, "v", 1);
            assert_int_equal(cairn_close(s), CAIRN_OK);
        }
        real_folder_remove(part);
    }
}

static void options_that_contradict_or_are_unknown_are_refused(void **state) {
    char path[REAL_PATH_SIZE];
    real_path(path, *state, "none");
#define REFUSED(wanted, ...)                                                                                           \
    do {                                                                                                               \
        cairn_options o_ = {.struct_size = sizeof o_, __VA_ARGS__};                                                    \
        expect_refused(path, &o_, wanted, "");                                                                         \
        assert_false(real_file_is_there(*state, "none"));                                                              \
    } while (0)
    REFUSED(CAIRN_INVALID, .create = true, .read_only = true);
    REFUSED(CAIRN_INVALID, .create = true, .segment_bytes = (1 << 20) - 1);
    REFUSED(CAIRN_INVALID, .create = true, .segment_bytes = UINT64_MAX);
    REFUSED(CAIRN_INVALID, .create = true, .durability = 3);
    REFUSED(CAIRN_INVALID, .create = true, .durability = -1);
    REFUSED(CAIRN_INVALID, .create = true, .ordered_index = 3);
    REFUSED(CAIRN_INVALID, .create = true, .compression = 3);
    REFUSED(CAIRN_INVALID, .create = true, .compression = CAIRN_COMPRESSION_ZSTD, .compression_level = 1000);
#undef REFUSED
}

static void ordered_is_as_it_was_at_creation(void **state) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .ordered_index = CAIRN_ORDERED_OFF};
    cairn *s = store_open_or_fail(*state, &o);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    o.ordered_index = CAIRN_ORDERED_ON;
    expect_refused(*state, &o, CAIRN_UNSUPPORTED, "ordered");
    o.ordered_index = CAIRN_ORDERED_AUTO;
    s = store_open_or_fail(*state, &o);
    assert_int_equal(cairn_close(s), CAIRN_OK);
}

/* ---- Newer formats ---- */

static void a_store_of_a_newer_format_is_refused_as_such(void **state) {
    const cairn_options *const how[] = {NULL, &reading, &creating};
    cairn *s = store_open_or_fail(*state, &creating);
    put_text(s, "k", "v", 1);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    real_file_flip(*state, "CAIRN", 8, 1); /* major 1 becomes 3 */
    for (int i = 0; i < 3; i++)
        expect_refused(*state, how[i], CAIRN_UNSUPPORTED, "3.0");
    real_file_flip(*state, "CAIRN", 8, 1);
    real_file_flip(*state, "MANIFEST", 16, 1);
    for (int i = 0; i < 3; i++)
        expect_refused(*state, how[i], CAIRN_UNSUPPORTED, "MANIFEST");
    real_file_flip(*state, "MANIFEST", 16, 1);
    s = store_open_or_fail(*state, &reading);
    expect_get(s, "k", 1, "v", 1);
    assert_int_equal(cairn_close(s), CAIRN_OK);
}

static void a_manifest_with_an_unknown_feature_is_refused_as_newer(void **state) {
    size_t size, identity_size;
    cairn *s = store_open_or_fail(*state, &creating);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    uint8_t *identity = real_file_load(*state, "CAIRN", &identity_size);
    uint8_t *manifest = real_file_load(*state, "MANIFEST", &size);
    manifest[47] = 4;
    le64_put(manifest, checksum(manifest + 8, size - 8, le64_get(identity + 48)));
    real_file_save(*state, "MANIFEST", manifest, size);
    expect_refused(*state, NULL, CAIRN_UNSUPPORTED, "MANIFEST");
    manifest[47] = 0;
    manifest[18] = 9; /* a higher minor version is no obstacle */
    le64_put(manifest, checksum(manifest + 8, size - 8, le64_get(identity + 48)));
    real_file_save(*state, "MANIFEST", manifest, size);
    s = store_open_or_fail(*state, NULL);
    assert_int_equal(cairn_close(s), CAIRN_OK);
    free(identity);
    free(manifest);
}

/* ---- Reading only ---- */

static void expect_writes_refused(cairn *s) {
    cairn_error error;
    cairn_writer *w = NULL;
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, NULL, &error), CAIRN_READ_ONLY);
    assert_int_equal(error.code, CAIRN_READ_ONLY);
    assert_int_equal(cairn_delete(s, "k", 1, NULL, NULL), CAIRN_READ_ONLY);
    assert_int_equal(cairn_writer_open(s, "k", 1, NULL, &w, NULL), CAIRN_READ_ONLY);
    assert_null(w);
    assert_int_equal(cairn_sync(s, NULL), CAIRN_READ_ONLY);
    assert_int_equal(cairn_checkpoint(s, NULL), CAIRN_READ_ONLY);
}

static void fill(cairn *s) {
    char key[16];
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "key %u", i);
        put_text(s, key, random_pool() + i, i * 3000);
    }
    put_text(s, "large", random_pool(), BOX_PAYLOAD_MAX * 2);
    put_text(s, "replaced", random_pool(), BOX_PAYLOAD_MAX * 2);
    put_text(s, "replaced", "small", 5);
    for (unsigned i = 0; i < 40; i += 5) {
        (void)snprintf(key, sizeof key, "key %u", i);
        assert_int_equal(cairn_delete(s, key, strlen(key), NULL, NULL), CAIRN_OK);
    }
}

static void expect_filled(cairn *s) {
    char key[16];
    cairn_entry entry = {.struct_size = sizeof entry};
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "key %u", i);
        if (i % 5 == 0) {
            assert_int_equal(cairn_stat(s, key, strlen(key), &entry, NULL), CAIRN_NOT_FOUND);
        } else {
            expect_get(s, key, strlen(key), random_pool() + i, i * 3000);
        }
    }
    expect_get(s, "large", 5, random_pool(), BOX_PAYLOAD_MAX * 2);
    expect_get(s, "replaced", 8, "small", 5);
    assert_int_equal(stats_of(s).keys, 34);
    cairn_verify_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_verify(s, NULL, &result, NULL), CAIRN_OK);
    assert_int_equal(result.damaged, 0);
}

/* A clean store, one without a checkpoint, and one that was killed with a torn tail, a stream begun and leftovers. */
static void reading_only_replays_in_memory_and_writes_nothing_at_all(void **state) {
    box *b = *state;
    box_quiet(b);
    fill(b->store);
    for (int kind = 0; kind < 3; kind++) {
        char copy[REAL_PATH_SIZE];
        if (kind == 1) box_close(b);
        real_folder_duplicate(b->path, copy);
        if (kind == 0) {
            size_t count, size;
            char(*names)[REAL_NAME_SIZE] = real_folder_names(copy, &count);
            for (size_t i = count; i-- > 0;) { /* the newest segment */
                if (strstr(names[i], ".seg") == NULL) continue;
                uint8_t *bytes = real_file_load(copy, names[i], &size);
                bytes = realloc(bytes, size + 1000);
                assert_non_null(bytes);
                memset(bytes + size, 0xa5, 1000);
                real_file_save(copy, names[i], bytes, size + 1000);
                free(bytes);
                break;
            }
            free(names);
            real_file_save(copy, "00000000000fffff.val", "half", 4);
            real_file_save(copy, "MANIFEST.NEW", "half", 4);
        } else if (kind == 2) {
            real_file_remove(copy, "CHECKPOINT");
            real_file_remove(copy, "CHECKPOINT.DATA");
        }
        char *before = real_folder_describe(copy);
        for (int pass = 0; pass < 2; pass++) {
            cairn *s = store_open_or_fail(copy, &reading);
            expect_filled(s);
            expect_writes_refused(s);
            assert_int_equal(cairn_close(s), CAIRN_OK);
        }
        char *after = real_folder_describe(copy);
        assert_string_equal(before, after);
        free(before);
        free(after);
        cairn *s = store_open_or_fail(copy, &b->options);
        expect_filled(s);
        assert_int_equal(cairn_close(s), CAIRN_OK);
        real_folder_remove(copy);
    }
}

/* ---- Closing ---- */

static void a_clean_close_leaves_nothing_to_replay(void **state) {
    box *b = *state;
    fill(b->store);
    assert_true(stats_of(b->store).replay_records >= 51);
    for (int i = 0; i < 3; i++) {
        cairn_stats before = stats_of(b->store);
        box_reopen(b);
        cairn_stats after = stats_of(b->store);
        assert_int_equal(after.replay_records, 0);
        assert_int_equal(after.replay_bytes, 0);
        assert_int_equal(after.keys, before.keys);
        assert_int_equal(after.live_bytes, before.live_bytes);
        assert_int_equal(after.streams, before.streams);
        expect_filled(b->store);
    }
    put_text(b->store, "k", "v", 1);
    assert_int_equal(stats_of(b->store).replay_records, 1);
    assert_int_equal(cairn_checkpoint(b->store, NULL), CAIRN_OK);
    assert_int_equal(stats_of(b->store).replay_records, 0);
}

static void opening_and_closing_without_a_change_keeps_the_log_as_it_is(void **state) {
    box *b = *state;
    fill(b->store);
    box_reopen(b);
    uint64_t segments = stats_of(b->store).segments;
    uint64_t bytes = real_folder_bytes(b->path);
    for (int i = 0; i < 5; i++)
        box_reopen(b);
    assert_int_equal(stats_of(b->store).segments, segments);
    assert_true(real_folder_bytes(b->path) <= bytes + 65536);
}

int main(void) {
#define FOLDER(name) cmocka_unit_test_setup_teardown(name, real_folder_setup, real_folder_teardown)
#define BOX(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        FOLDER(a_missing_path_is_no_store_unless_it_may_be_created),
        FOLDER(a_file_is_no_store),
        FOLDER(a_foreign_directory_is_refused_and_left_alone),
        FOLDER(a_directory_with_a_foreign_file_named_CAIRN_is_refused),
        FOLDER(an_empty_directory_becomes_a_store),
        FOLDER(create_new_refuses_a_store_that_is_there),
        FOLDER(a_creation_that_was_interrupted_is_done_again),
        FOLDER(options_that_contradict_or_are_unknown_are_refused),
        FOLDER(ordered_is_as_it_was_at_creation),
        FOLDER(a_store_of_a_newer_format_is_refused_as_such),
        FOLDER(a_manifest_with_an_unknown_feature_is_refused_as_newer),
        BOX(reading_only_replays_in_memory_and_writes_nothing_at_all),
        BOX(a_clean_close_leaves_nothing_to_replay),
        BOX(opening_and_closing_without_a_change_keeps_the_log_as_it_is),
    };
    return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}

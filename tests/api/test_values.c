/* The laws of single values: put, get, get_into, read, delete, stat, versions and conditions. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/rung.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAME ((size_t)65536)
#define KEY_MAX CAIRN_KEY_SIZE_MAX

/* ---- Presence ---- */

static void absent_empty_and_failed_are_different(void **state) {
    cairn *s = ((box *)*state)->store;
    void *value = (void *)1;
    size_t size = 9;
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error;
    char buf[4];
    assert_int_equal(cairn_get(s, "k", 1, &value, &size, &error), CAIRN_NOT_FOUND);
    assert_null(value);
    assert_int_equal(error.code, CAIRN_NOT_FOUND);
    assert_non_null(strstr(error.message, "'k'"));
    assert_int_equal(cairn_get_into(s, "k", 1, buf, sizeof buf, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_read(s, "k", 1, 0, buf, sizeof buf, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_stat(s, "k", 1, &entry, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_delete(s, "k", 1, NULL, NULL), CAIRN_NOT_FOUND);
    cairn_view *view = NULL;
    cairn_reader *reader = NULL;
    assert_int_equal(cairn_view_open(s, "k", 1, &view, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_reader_open(s, "k", 1, &reader, NULL), CAIRN_NOT_FOUND);
    assert_null(view);
    assert_null(reader);

    assert_int_equal(cairn_put(s, "k", 1, NULL, 0, NULL, NULL), CAIRN_OK);
    expect_get(s, "k", 1, "", 0);
    size = 9;
    assert_int_equal(cairn_get_into(s, "k", 1, NULL, 0, &size, NULL), CAIRN_OK);
    assert_int_equal(size, 0);
    assert_int_equal(cairn_read(s, "k", 1, 0, buf, sizeof buf, &size, NULL), CAIRN_OK);
    assert_int_equal(size, 0);
    assert_int_equal(cairn_stat(s, "k", 1, &entry, NULL), CAIRN_OK);
    assert_int_equal(entry.value_size, 0);
    assert_int_equal(cairn_view_open(s, "k", 1, &view, NULL), CAIRN_OK);
    assert_non_null(cairn_view_data(view));
    assert_int_equal(cairn_view_size(view), 0);
    cairn_view_close(view);
    assert_int_equal(cairn_reader_open(s, "k", 1, &reader, NULL), CAIRN_OK);
    assert_int_equal(cairn_reader_size(reader), 0);
    assert_int_equal(cairn_reader_pread(reader, buf, 4, 0, &size, NULL), CAIRN_OK);
    assert_int_equal(size, 0);
    cairn_reader_close(reader);

    assert_int_equal(cairn_delete(s, "k", 1, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_get(s, "k", 1, &value, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_delete(s, "k", 1, NULL, NULL), CAIRN_NOT_FOUND);
}

/* ---- Keys ---- */

static void keys_are_any_bytes_from_1_to_64_KiB(void **state) {
    box *b = *state;
    static uint8_t key[KEY_MAX];
    const size_t sizes[] = {1, 2, 15, 16, 17, 431, 432, 433, 4096, 65535, 65536};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char value[32];
            int length = snprintf(value, sizeof value, "value of %zu", sizes[i]);
            if (pass == 0) {
                assert_int_equal(cairn_put(b->store, key, sizes[i], value, (size_t)length, NULL, NULL), CAIRN_OK);
            }
            expect_get(b->store, key, sizes[i], value, (size_t)length);
        }
        box_reopen(b);
    }
    /* A key that differs in its last byte only is another one. */
    key[KEY_MAX - 1] = 1;
    void *value;
    size_t size;
    assert_int_equal(cairn_get(b->store, key, KEY_MAX, &value, &size, NULL), CAIRN_NOT_FOUND);
    key[KEY_MAX - 1] = 0;
    assert_int_equal(cairn_delete(b->store, key, KEY_MAX, NULL, NULL), CAIRN_OK);
    expect_get(b->store, key, KEY_MAX - 1, "value of 65535", 14);
}

/* What every call says to a key of this size. */
static void expect_key_refused(cairn *s, const void *key, size_t key_size, int code) {
    void *value;
    size_t size;
    char buf[8];
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    cairn_writer *writer = NULL;
    cairn_reader *reader = NULL;
    cairn_view *view = NULL;
    assert_int_equal(cairn_put(s, key, key_size, "v", 1, NULL, &error), code);
    assert_int_equal(error.code, code);
    assert_true(error.message[0] != '\0');
    assert_int_equal(cairn_get(s, key, key_size, &value, &size, NULL), code);
    assert_int_equal(cairn_get_into(s, key, key_size, buf, 8, &size, NULL), code);
    assert_int_equal(cairn_read(s, key, key_size, 0, buf, 8, &size, NULL), code);
    assert_int_equal(cairn_delete(s, key, key_size, NULL, NULL), code);
    assert_int_equal(cairn_stat(s, key, key_size, &entry, NULL), code);
    assert_int_equal(cairn_writer_open(s, key, key_size, NULL, &writer, NULL), code);
    assert_int_equal(cairn_reader_open(s, key, key_size, &reader, NULL), code);
    assert_int_equal(cairn_view_open(s, key, key_size, &view, NULL), code);
    assert_true(writer == NULL && reader == NULL && view == NULL);
}

static void a_key_of_0_bytes_is_invalid_and_one_above_64_KiB_too_big(void **state) {
    cairn *s = ((box *)*state)->store;
    static uint8_t key[KEY_MAX + 1];
    expect_key_refused(s, key, 0, CAIRN_INVALID);
    expect_key_refused(s, NULL, 0, CAIRN_INVALID);
    expect_key_refused(s, NULL, 5, CAIRN_INVALID);
    expect_key_refused(s, key, KEY_MAX + 1, CAIRN_TOO_BIG);
    expect_key_refused(s, key, SIZE_MAX, CAIRN_TOO_BIG);
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(s, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, 0);
}

static void a_value_above_2_to_the_56_is_too_big(void **state) {
    cairn *s = ((box *)*state)->store;
    assert_int_equal(cairn_put(s, "k", 1, "v", CAIRN_VALUE_SIZE_MAX + 1, NULL, NULL), CAIRN_TOO_BIG);
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_stat(s, "k", 1, &entry, NULL), CAIRN_NOT_FOUND);
}

/* ---- Reading ---- */

static void expect_range(cairn *s, cairn_reader *reader, const uint8_t *value, size_t size, uint64_t offset,
                         size_t len) {
    size_t expected = offset >= size ? 0 : min_u64(len, size - offset), got = 1234567;
    uint8_t *buf = malloc(len + 1);
    assert_non_null(buf);
    memset(buf, 0xaa, len + 1);
    assert_int_equal(cairn_read(s, "k", 1, offset, buf, len, &got, NULL), CAIRN_OK);
    assert_int_equal(got, expected);
    if (expected > 0) assert_memory_equal(buf, value + offset, expected);
    assert_int_equal(buf[len], 0xaa);
    memset(buf, 0, len + 1);
    got = 1234567;
    assert_int_equal(cairn_reader_pread(reader, buf, len, offset, &got, NULL), CAIRN_OK);
    assert_int_equal(got, expected);
    if (expected > 0) assert_memory_equal(buf, value + offset, expected);
    free(buf);
}

static void expect_ranges(cairn *s, const uint8_t *value, size_t size) {
    const size_t edges[] = {0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME};
    cairn_reader *reader = NULL;
    assert_int_equal(cairn_reader_open(s, "k", 1, &reader, NULL), CAIRN_OK);
    assert_int_equal(cairn_reader_size(reader), size);
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            expect_range(s, reader, value, size, edges[i], edges[j]);
            if (size >= edges[i]) expect_range(s, reader, value, size, size - edges[i], edges[j]);
        }
    }
    expect_range(s, reader, value, size, 0, size + 100);
    expect_range(s, reader, value, size, size + 1, 10);
    expect_range(s, reader, value, size, UINT64_MAX, 10);
    expect_range(s, reader, value, size, UINT64_MAX - 5, 10);
    for (uint64_t i = 0, rng = size; i < 20; i++) {
        uint64_t offset = random_below(&rng, size + 1);
        expect_range(s, reader, value, size, offset, random_below(&rng, size + 2));
    }
    cairn_reader_close(reader);
}

static void expect_whole(cairn *s, const uint8_t *value, size_t size) {
    expect_get(s, "k", 1, value, size);
    uint8_t *buf = malloc(size + 1);
    size_t got = 0;
    assert_non_null(buf);
    assert_int_equal(cairn_get_into(s, "k", 1, buf, size, &got, NULL), CAIRN_OK);
    assert_int_equal(got, size);
    if (size > 0) assert_memory_equal(buf, value, size);
    free(buf);
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_stat(s, "k", 1, &entry, NULL), CAIRN_OK);
    assert_int_equal(entry.value_size, size);
    assert_true(entry.stored_size > size);
    assert_int_equal(entry.expires_at_ms, 0);
    cairn_view *view = NULL;
    assert_int_equal(cairn_view_open(s, "k", 1, &view, NULL), CAIRN_OK);
    assert_int_equal(cairn_view_size(view), size);
    if (size > 0) assert_memory_equal(cairn_view_data(view), value, size);
    cairn_view_close(view);
}

static void values_of_every_shape_come_back_whole_and_in_ranges(void **state) {
    box *b = *state;
    const size_t sizes[] = {0,      1,      47,      48,      49,      4095,    4096,           65535,
                            65536,  65537,  131071,  131072,  131073,  196608,  262143,         262144,
                            262145, 327680, 1048575, 1048576, 1048577, 1310721, 1048576 * 2 + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const uint8_t *value = random_pool() + 1000 * i;
        assert_int_equal(cairn_put(b->store, "k", 1, value, sizes[i], NULL, NULL), CAIRN_OK);
        expect_whole(b->store, value, sizes[i]);
        expect_ranges(b->store, value, sizes[i]);
        if (i % 4 != 0) continue;
        box_reopen(b);
        expect_whole(b->store, value, sizes[i]);
        expect_ranges(b->store, value, sizes[i]);
    }
}

static void too_small_a_buffer_is_left_untouched_and_told_the_size(void **state) {
    cairn *s = ((box *)*state)->store;
    const size_t sizes[] = {1, 100, 16000, 17000, 70000, 262144, 300000}, missing[] = {1, 63, 4096, SIZE_MAX};
    static uint8_t buf[300000];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        put_text(s, "k", random_pool(), sizes[i]);
        for (size_t j = 0; j < 4; j++) {
            size_t size = 0, cap = sizes[i] - min_u64(missing[j], sizes[i]);
            cairn_error error;
            memset(buf, 0x55, sizeof buf);
            assert_int_equal(cairn_get_into(s, "k", 1, buf, cap, &size, &error), CAIRN_TOO_SMALL);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(error.code, CAIRN_TOO_SMALL);
            for (size_t at = 0; at < sizeof buf; at++) {
                if (buf[at] != 0x55) fail_msg("byte %zu of a buffer of %zu for %zu was touched", at, cap, size);
            }
        }
        size_t size = 0;
        assert_int_equal(cairn_get_into(s, "k", 1, NULL, 0, &size, NULL), CAIRN_TOO_SMALL);
        assert_int_equal(size, sizes[i]);
    }
}

static void an_overwrite_replaces_whatever_was_there(void **state) {
    box *b = *state;
    uint64_t rng = 3;
    const size_t sizes[] = {0, 10, 70000, 262144, 262145, 600000};
    for (unsigned i = 0; i < 60; i++) {
        size_t size = sizes[random_below(&rng, 6)];
        const uint8_t *value = random_window(&rng, size);
        uint64_t before = i == 0 ? 0 : version_of(b->store, "k");
        put_text(b->store, "k", value, size);
        assert_true(version_of(b->store, "k") > before);
        expect_get(b->store, "k", 1, value, size);
        if (i % 13 == 12) {
            box_reopen(b);
            expect_get(b->store, "k", 1, value, size);
        }
    }
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(b->store, &stats, NULL), CAIRN_OK);
    assert_int_equal(stats.keys, 1);
}

/* ---- Versions ---- */

static void versions_ascend_over_keys_deletes_and_clean_reopens(void **state) {
    box *b = *state;
    uint64_t last = 0;
    for (int session = 0; session < 5; session++) {
        for (int i = 0; i < 20; i++) {
            char key[8];
            (void)snprintf(key, sizeof key, "k%d", i % 7);
            put_text(b->store, key, "v", 1);
            uint64_t now = version_of(b->store, key);
            assert_true(now > last);
            last = now;
            if (i % 3 == 0) assert_int_equal(cairn_delete(b->store, key, strlen(key), NULL, NULL), CAIRN_OK);
        }
        box_reopen(b);
    }
}

static void a_version_given_out_before_a_crash_is_never_given_out_again(void **state) {
    box *b = *state;
    uint64_t last = 0;
    box_quiet(b);
    for (int crash = 0; crash < 5; crash++) {
        put_text(b->store, "k", "v", 1);
        uint64_t now = version_of(b->store, "k");
        assert_true(now > last);
        last = now;
        if (crash % 2 == 1) assert_int_equal(cairn_delete(b->store, "k", 1, NULL, NULL), CAIRN_OK);
        box_crash(b);
    }
}

/* ---- Conditions ---- */

static int put_if(cairn *s, bool absent, uint64_t version, cairn_error *error) {
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = absent, .if_version = version};
    return cairn_put(s, "k", 1, "new", 3, &o, error);
}

static int delete_if(cairn *s, uint64_t version) {
    cairn_put_options o = {.struct_size = sizeof o, .if_version = version};
    return cairn_delete(s, "k", 1, &o, NULL);
}

static void conditions_hold_or_nothing_changes(void **state) {
    cairn *s = ((box *)*state)->store;
    cairn_error error;
    assert_int_equal(put_if(s, false, 7, &error), CAIRN_EXISTS);
    assert_int_equal(error.code, CAIRN_EXISTS);
    assert_non_null(strstr(error.message, "'k'"));
    assert_int_equal(delete_if(s, 7), CAIRN_EXISTS);
    assert_int_equal(put_if(s, true, 0, NULL), CAIRN_OK);
    assert_int_equal(put_if(s, true, 0, &error), CAIRN_EXISTS);
    assert_non_null(strstr(error.message, "'k'"));
    assert_int_equal(put_if(s, true, 1, NULL), CAIRN_INVALID);

    uint64_t first = version_of(s, "k");
    assert_int_equal(put_if(s, false, first + 1, NULL), CAIRN_EXISTS);
    assert_int_equal(put_if(s, false, first, NULL), CAIRN_OK);
    assert_int_equal(put_if(s, false, first, NULL), CAIRN_EXISTS);
    uint64_t second = version_of(s, "k");
    assert_int_equal(delete_if(s, first), CAIRN_EXISTS);
    expect_get(s, "k", 1, "new", 3);
    assert_int_equal(delete_if(s, second), CAIRN_OK);
    assert_int_equal(delete_if(s, second), CAIRN_EXISTS);
    assert_int_equal(put_if(s, true, 0, NULL), CAIRN_OK);
}

/* Values above 256 KiB are written to a file of their own before the condition is judged. */
static void a_refused_condition_leaves_nothing_of_a_large_value(void **state) {
    box *b = *state;
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true};
    put_text(b->store, "k", "old", 3);
    assert_int_equal(cairn_put(b->store, "k", 1, random_pool(), 400000, &o, NULL), CAIRN_EXISTS);
    expect_get(b->store, "k", 1, "old", 3);
    cairn_writer *w = NULL;
    assert_int_equal(cairn_writer_open(b->store, "k", 1, &o, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, random_pool(), 400000, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_EXISTS);
    expect_get(b->store, "k", 1, "old", 3);
    size_t count;
    char(*names)[REAL_NAME_SIZE] = real_folder_names(b->path, &count);
    for (size_t i = 0; i < count; i++)
        assert_null(strstr(names[i], ".val"));
    free(names);
}

static void a_writers_condition_is_judged_at_its_commit(void **state) {
    cairn *s = ((box *)*state)->store;
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true};
    cairn_writer *w = NULL;
    assert_int_equal(cairn_writer_open(s, "k", 1, &o, &w, NULL), CAIRN_OK);
    put_text(s, "k", "between", 7);
    assert_int_equal(cairn_writer_write(w, "late", 4, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_EXISTS);
    expect_get(s, "k", 1, "between", 7);
    assert_int_equal(cairn_writer_open(s, "k", 1, &o, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_delete(s, "k", 1, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, "late", 4, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    expect_get(s, "k", 1, "late", 4);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(absent_empty_and_failed_are_different),
        TEST(keys_are_any_bytes_from_1_to_64_KiB),
        TEST(a_key_of_0_bytes_is_invalid_and_one_above_64_KiB_too_big),
        TEST(a_value_above_2_to_the_56_is_too_big),
        TEST(values_of_every_shape_come_back_whole_and_in_ranges),
        TEST(too_small_a_buffer_is_left_untouched_and_told_the_size),
        TEST(an_overwrite_replaces_whatever_was_there),
        TEST(versions_ascend_over_keys_deletes_and_clean_reopens),
        TEST(a_version_given_out_before_a_crash_is_never_given_out_again),
        TEST(conditions_hold_or_nothing_changes),
        TEST(a_refused_condition_leaves_nothing_of_a_large_value),
        TEST(a_writers_condition_is_judged_at_its_commit),
    };
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}

/* What the calls take and refuse: options, structs of other sizes, NULL; and what they say when they fail. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/base/status.h"
#include "tests/support/every_call.h"
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

static void options_that_mean_nothing_here_are_refused(void **state) {
    cairn *s = ((box *)*state)->store;
    put_text(s, "k", "v", 1);
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true};
    assert_int_equal(cairn_delete(s, "k", 1, &o, NULL), CAIRN_INVALID);
    o = (cairn_put_options){.struct_size = sizeof o, .ttl_ms = 5};
    assert_int_equal(cairn_delete(s, "k", 1, &o, NULL), CAIRN_INVALID);
    expect_get(s, "k", 1, "v", 1);
}

static void sync_options_are_accepted(void **state) {
    cairn *s = ((box *)*state)->store;
    cairn_put_options o = {.struct_size = sizeof o, .sync = true};
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o, NULL), CAIRN_OK);
    assert_int_equal(cairn_put(s, "l", 1, random_pool(), 400000, &o, NULL), CAIRN_OK);
    assert_int_equal(cairn_delete(s, "k", 1, &o, NULL), CAIRN_OK);
    assert_int_equal(cairn_sync(s, NULL), CAIRN_OK);
    assert_int_equal(cairn_checkpoint(s, NULL), CAIRN_OK);
    expect_get(s, "l", 1, random_pool(), 400000);
}

/* ---- Structs ---- */

/* A struct of this library with room behind it, as a newer program would pass it. */
typedef struct tailed_put {
    cairn_put_options options;
    uint64_t tail[2];
} tailed_put;

static void option_structs_may_be_smaller_or_have_a_zero_tail(void **state) {
    cairn *s = ((box *)*state)->store;
    tailed_put o = {.options = {.struct_size = 0}};
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_delete(s, "k", 1, &o.options, NULL), CAIRN_INVALID);
    for (uint32_t size = 1; size < 4; size++) {
        o.options.struct_size = size;
        assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_INVALID);
    }
    o.options.struct_size = 4;
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_OK);
    /* What lies behind struct_size is not looked at: here a condition that would not hold. */
    o.options.if_version = 99;
    o.options.struct_size = offsetof(cairn_put_options, if_version);
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_OK);
    o.options.struct_size = offsetof(cairn_put_options, ttl_ms);
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_EXISTS);

    o.options = (cairn_put_options){.struct_size = sizeof o};
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_OK);
    o.tail[1] = (uint64_t)1 << 63;
    cairn_error error;
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, &error), CAIRN_INVALID);
    assert_true(error.message[0] != '\0');
    o.options.struct_size = sizeof o.options;
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o.options, NULL), CAIRN_OK);
}

typedef struct tailed_entry {
    cairn_entry entry;
    uint64_t tail[2];
} tailed_entry;

static void result_structs_are_filled_as_far_as_they_go(void **state) {
    cairn *s = ((box *)*state)->store;
    put_text(s, "k", "value", 5);
    tailed_entry e = {.entry = {.struct_size = 0}};
    assert_int_equal(cairn_stat(s, "k", 1, &e.entry, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_stat(s, "k", 1, NULL, NULL), CAIRN_INVALID);

    memset(&e, 0xff, sizeof e);
    e.entry.struct_size = offsetof(cairn_entry, stored_size);
    assert_int_equal(cairn_stat(s, "k", 1, &e.entry, NULL), CAIRN_OK);
    assert_int_equal(e.entry.value_size, 5);
    assert_int_equal(e.entry.stored_size, UINT64_MAX);
    assert_int_equal(e.entry.struct_size, offsetof(cairn_entry, stored_size));

    memset(&e, 0xff, sizeof e);
    e.entry.struct_size = sizeof e;
    assert_int_equal(cairn_stat(s, "k", 1, &e.entry, NULL), CAIRN_OK);
    assert_int_equal(e.entry.struct_size, sizeof e);
    assert_int_equal(e.entry.value_size, 5);
    assert_true(e.entry.version != 0 && e.entry.version != UINT64_MAX);
    assert_int_equal(e.tail[0], 0);
    assert_int_equal(e.tail[1], 0);
}

static void conditions_that_exclude_each_other_are_invalid(void **state) {
    cairn *s = ((box *)*state)->store;
    cairn_put_options o = {.struct_size = sizeof o, .if_absent = true, .if_version = 1};
    cairn_writer *w = NULL;
    assert_int_equal(cairn_put(s, "k", 1, "v", 1, &o, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_writer_open(s, "k", 1, &o, &w, NULL), CAIRN_INVALID);
    assert_null(w);
}

static void every_struct_needs_its_size(void **state) {
    box *b = *state;
    cairn_scan_options scan = {.struct_size = 0};
    cairn_verify_options verify = {.struct_size = 0};
    cairn_verify_result result = {.struct_size = 0};
    cairn_stats stats = {.struct_size = 0};
    cairn_options open = {.struct_size = 0};
    cairn_scan *s = NULL;
    cairn *other = (cairn *)1;
    assert_int_equal(cairn_scan_open(b->store, &scan, &s, NULL), CAIRN_INVALID);
    assert_null(s);
    assert_int_equal(cairn_verify(b->store, NULL, &result, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_verify(b->store, NULL, NULL, NULL), CAIRN_INVALID);
    result.struct_size = sizeof result;
    assert_int_equal(cairn_verify(b->store, &verify, &result, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_verify(b->store, NULL, &result, NULL), CAIRN_OK);
    assert_int_equal(cairn_stats_get(b->store, &stats, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_stats_get(b->store, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_open(&other, b->path, &open, NULL), CAIRN_INVALID);
    assert_null(other);
    cairn_train_options train = {.struct_size = 0};
    cairn_train_result trained = {.struct_size = 0};
    cairn_put_options put = {.struct_size = 0};
    cairn_entry entry = {.struct_size = 0};
    cairn_batch *batch = NULL;
    cairn_snapshot *snapshot = NULL;
    assert_int_equal(cairn_train(b->store, NULL, &trained, NULL), CAIRN_INVALID);
    trained.struct_size = sizeof trained;
    assert_int_equal(cairn_train(b->store, &train, &trained, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    assert_int_equal(cairn_batch_commit(b->store, batch, &put, NULL), CAIRN_INVALID);
    cairn_batch_free(batch);
    put_text(b->store, "k", "v", 1);
    assert_int_equal(cairn_snapshot_open(b->store, &snapshot, NULL), CAIRN_OK);
    assert_int_equal(cairn_snapshot_stat(snapshot, "k", 1, &entry, NULL), CAIRN_INVALID);
    cairn_snapshot_close(snapshot);
}

/* ---- NULL ---- */

static void a_null_handle_is_invalid_to_every_call(void **state) {
    (void)state;
    cairn_error error;
    const char *other = every_call_but(&(handles){.store = NULL}, CAIRN_INVALID, &error);
    if (other != NULL) fail_msg("%s", other);
    assert_int_equal(error.code, CAIRN_INVALID);
    cairn_writer_abort(NULL);
    cairn_view_close(NULL);
    cairn_snapshot_close(NULL);
    cairn_batch_free(NULL);
    cairn_free(NULL);
}

static void a_null_place_for_a_result_is_invalid(void **state) {
    box *b = *state;
    cairn *s = b->store;
    void *value;
    size_t size;
    char buf[4];
    put_text(s, "k", "v", 1);
    assert_int_equal(cairn_get(s, "k", 1, NULL, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_get(s, "k", 1, &value, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_get_into(s, "k", 1, buf, 4, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_get_into(s, "k", 1, NULL, 4, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_read(s, "k", 1, 0, NULL, 4, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_read(s, "k", 1, 0, buf, 4, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_read(s, "k", 1, 0, NULL, 0, &size, NULL), CAIRN_OK);
    assert_int_equal(cairn_put(s, "k", 1, NULL, 4, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_writer_open(s, "k", 1, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_reader_open(s, "k", 1, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_view_open(s, "k", 1, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_scan_open(s, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_open(s, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_batch_new(NULL), CAIRN_INVALID);
    assert_int_equal(cairn_batch_commit(s, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_train(s, NULL, NULL, NULL), CAIRN_INVALID);
    cairn_snapshot *snapshot = NULL;
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_snapshot_open(s, &snapshot, NULL), CAIRN_OK);
    assert_int_equal(cairn_snapshot_get(snapshot, "k", 1, NULL, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_get(snapshot, "k", 1, &value, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_get(snapshot, "", 0, &value, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_get(NULL, "k", 1, &value, &size, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_stat(snapshot, "k", 1, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_snapshot_stat(NULL, "k", 1, &entry, NULL), CAIRN_INVALID);
    cairn_snapshot_close(snapshot);
    assert_int_equal(cairn_open(NULL, b->path, NULL, NULL), CAIRN_INVALID);
    cairn *other = NULL;
    assert_int_equal(cairn_open(&other, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_open(&other, "", NULL, NULL), CAIRN_INVALID);
    cairn_writer *w = NULL;
    assert_int_equal(cairn_writer_open(s, "k", 1, NULL, &w, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_write(w, NULL, 4, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_writer_write(w, NULL, 0, NULL), CAIRN_OK);
    assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
    expect_get(s, "k", 1, "", 0);
}

/* ---- Texts ---- */

static void every_code_has_a_text_of_its_own(void **state) {
    (void)state;
    static const int codes[] = {
#define CODE(name, text) name,
        STATUS_LIST(CODE)
#undef CODE
    };
    assert_int_equal(sizeof codes / sizeof codes[0], 17);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const char *text = cairn_strerror(codes[i]);
        assert_non_null(text);
        assert_string_not_equal(text, cairn_strerror(12345));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(text, cairn_strerror(codes[j]));
    }
    assert_non_null(cairn_strerror(-16));
    assert_non_null(cairn_strerror(2));
    unsigned major, minor, patch;
    assert_int_equal(sscanf(cairn_version(), "%u.%u.%u", &major, &minor, &patch), 3);
}

static void a_damaged_value_is_named_by_key_file_and_offset_and_never_returned(void **state) {
    box *b = *state;
    const size_t sizes[] = {100, 70000, 200000, 500000};
    for (size_t i = 0; i < 4; i++) {
        size_t count, damaged = 0;
        put_text(b->store, "the key", random_pool() + i * 5, sizes[i]);
        box_close(b);
        /* The value's last byte, wherever it lies. */
        char(*names)[REAL_NAME_SIZE] = real_folder_names(b->path, &count);
        for (size_t n = 0; n < count && damaged == 0; n++) {
            size_t size;
            uint8_t *bytes = real_file_load(b->path, names[n], &size);
            uint8_t *at = memmem(bytes, size, random_pool() + i * 5, sizes[i]);
            if (at != NULL) real_file_flip(b->path, names[n], (size_t)(at - bytes) + sizes[i] - 1, 3);
            damaged += at != NULL;
            free(bytes);
        }
        free(names);
        assert_int_equal(damaged, 1);
        box_open(b);
        void *value = (void *)1;
        size_t size;
        cairn_error error;
        cairn_view *view = NULL;
        assert_int_equal(cairn_get(b->store, "the key", 7, &value, &size, &error), CAIRN_CORRUPT);
        assert_null(value);
        assert_int_equal(error.code, CAIRN_CORRUPT);
        assert_true(error.segment != 0 && error.offset >= 4096);
        char name[20];
        (void)snprintf(name, sizeof name, "%016llx", (unsigned long long)error.segment);
        assert_non_null(strstr(error.message, name));
        if (sizes[i] <= 262144) assert_non_null(strstr(error.message, "'the key'"));
        assert_int_equal(cairn_view_open(b->store, "the key", 7, &view, NULL), CAIRN_CORRUPT);
        if (sizes[i] > FRAME) { /* The first frame is whole. */
            uint8_t buf[100];
            assert_int_equal(cairn_read(b->store, "the key", 7, 50, buf, 100, &size, NULL), CAIRN_OK);
            assert_memory_equal(buf, random_pool() + i * 5 + 50, 100);
        }
        assert_int_equal(cairn_delete(b->store, "the key", 7, NULL, NULL), CAIRN_OK);
    }
}

static void a_message_names_the_key_in_printable_characters(void **state) {
    cairn *s = ((box *)*state)->store;
    cairn_error error;
    void *value;
    size_t size;
    assert_int_equal(cairn_get(s, "a\0b\n\xff", 5, &value, &size, &error), CAIRN_NOT_FOUND);
    assert_non_null(strstr(error.message, "'a\\x00b\\x0a\\xff'"));
    static char key[KEY_MAX];
    memset(key, 'x', sizeof key);
    assert_int_equal(cairn_get(s, key, sizeof key, &value, &size, &error), CAIRN_NOT_FOUND);
    assert_non_null(strstr(error.message, "xxx..."));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(options_that_mean_nothing_here_are_refused),
        TEST(sync_options_are_accepted),
        TEST(option_structs_may_be_smaller_or_have_a_zero_tail),
        TEST(result_structs_are_filled_as_far_as_they_go),
        TEST(conditions_that_exclude_each_other_are_invalid),
        TEST(every_struct_needs_its_size),
        TEST(a_null_handle_is_invalid_to_every_call),
        TEST(a_null_place_for_a_result_is_invalid),
        TEST(every_code_has_a_text_of_its_own),
        TEST(a_damaged_value_is_named_by_key_file_and_offset_and_never_returned),
        TEST(a_message_names_the_key_in_printable_characters),
    };
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}

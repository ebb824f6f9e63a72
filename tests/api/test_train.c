/* Dictionaries: made from the store's own small values, used for the next ones, kept for as long as the store, and
 * missed only by the values that need them. */
#include "include/cairn.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VALUES 600u
#define VALUE_BYTES 1024u

/* Records of one shape with different fields: what a dictionary is for. `kind` makes other shapes. */
static size_t record_text(char out[VALUE_BYTES], unsigned kind, unsigned i) {
    uint64_t rng = kind * 100000 + i;
    size_t at = 0;
    for (unsigned field = 0; at + 120 < VALUE_BYTES; field++) {
        static const char *const names[][4] = {{"customer-name", "street-address", "telephone", "order-total"},
                                               {"temperature", "barometric-pressure", "wind-direction", "humidity"}};
        at += (size_t)snprintf(out + at, VALUE_BYTES - at, "<%s id=\"%u\">%llu</%s>\n", names[kind][field % 4],
                               field * 7, (unsigned long long)random_below(&rng, 1000000), names[kind][field % 4]);
    }
    return at;
}

static void key_of(char key[24], unsigned kind, unsigned i) { (void)snprintf(key, 24, "%u-%u", kind, i); }

static void put_records(cairn *store, unsigned kind, unsigned begin, unsigned end) {
    char key[24], text[VALUE_BYTES];
    for (unsigned i = begin; i < end; i++) {
        key_of(key, kind, i);
        put_text(store, key, text, record_text(text, kind, i));
    }
}

static void expect_records(cairn *store, unsigned kind, unsigned begin, unsigned end) {
    char key[24], text[VALUE_BYTES];
    for (unsigned i = begin; i < end; i++) {
        key_of(key, kind, i);
        expect_get(store, key, strlen(key), text, record_text(text, kind, i));
    }
}

static uint64_t stored(cairn *store, unsigned kind, unsigned i) {
    char key[24];
    key_of(key, kind, i);
    return entry_of(store, key).stored_size;
}

static cairn_train_result train(cairn *store) {
    cairn_train_options o = {.struct_size = sizeof o, .dictionary_bytes = 8192};
    cairn_train_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    int rc = cairn_train(store, &o, &result, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_train: %d, %s", rc, error.message);
    return result;
}

static cairn_train_result train_on_records(sim_box *b, unsigned kind) {
    put_records(b->store, kind, 0, VALUES);
    cairn_train_result result = train(b->store);
    assert_true(result.installed);
    return result;
}

static void reopen_with(sim_box *b, int compression) {
    b->options.compression = compression;
    sim_box_reopen(b);
}

/* ---- What it gains ---- */

static void new_values_use_it_unless_compression_is_off(void **state) {
    sim_box *b = *state;
    cairn_train_result result = train_on_records(b, 0);
    assert_true(result.id != 0);
    assert_true(result.samples >= VALUES / 10 && result.samples <= VALUES / 2);
    assert_true(result.plain_bytes < result.value_bytes);
    assert_true(result.dictionary_bytes < result.plain_bytes / 2);
    uint64_t raw = stored(b->store, 0, 0);
    assert_true(raw >= 900);
    put_records(b->store, 0, VALUES, VALUES + 10);
    assert_true(stored(b->store, 0, VALUES) < raw / 2);
    reopen_with(b, CAIRN_COMPRESSION_ZSTD);
    put_records(b->store, 0, VALUES + 10, VALUES + 20);
    assert_true(stored(b->store, 0, VALUES + 10) < raw / 2);
    reopen_with(b, CAIRN_COMPRESSION_NONE);
    put_records(b->store, 0, VALUES + 20, VALUES + 30);
    assert_true(stored(b->store, 0, VALUES + 20) >= 900);
    expect_records(b->store, 0, 0, VALUES + 30);
    sim_box_kill(b);
    expect_records(b->store, 0, 0, VALUES + 30);
    sim_box_rebuild(b);
    expect_records(b->store, 0, 0, VALUES + 30);
    assert_int_equal(verify_damage(b->store), 0);
    assert_int_equal(sim_box_files(b, ".dic"), 1);
}

static void only_small_values_are_for_it(void **state) {
    sim_box *b = *state;
    char text[VALUE_BYTES];
    size_t size = record_text(text, 0, 1), large = 40 * size;
    uint8_t *many = malloc(large);
    for (unsigned i = 0; i < 40; i++)
        memcpy(many + i * size, text, size);
    (void)train_on_records(b, 0);
    put_text(b->store, "large", many, large);
    assert_true(entry_of(b->store, "large").stored_size > large);
    expect_everywhere(b->store, "large", many, large);
    put_text(b->store, "small", text, size);
    expect_everywhere(b->store, "small", text, size);
    put_text(b->store, "empty", "", 0);
    expect_everywhere(b->store, "empty", "", 0);
    put_text(b->store, "noise", random_pool(), 1000);
    assert_true(entry_of(b->store, "noise").stored_size > 1000);
    free(many);
}

static void a_second_training_replaces_the_first_and_keeps_it_for_its_values(void **state) {
    sim_box *b = *state;
    cairn_train_result first = train_on_records(b, 0);
    put_records(b->store, 0, VALUES, VALUES + 20);
    for (unsigned i = 0; i < VALUES; i++) {
        char key[24];
        key_of(key, 0, i);
        delete_text(b->store, key);
    }
    cairn_train_result second = train_on_records(b, 1);
    assert_true(second.id > first.id);
    assert_int_equal(sim_box_files(b, ".dic"), 2);
    put_records(b->store, 1, VALUES, VALUES + 20);
    assert_true(stored(b->store, 1, VALUES) < stored(b->store, 1, 0));
    for (int way = 0; way < 3; way++) {
        expect_records(b->store, 0, VALUES, VALUES + 20);
        expect_records(b->store, 1, 0, VALUES + 20);
        if (way == 0) sim_box_kill(b);
        if (way == 1) sim_box_reopen_read_only(b);
    }
    assert_int_equal(sim_box_files(b, ".dic"), 2);
}

static void what_gains_nothing_is_not_installed(void **state) {
    sim_box *b = *state;
    for (unsigned i = 0; i < VALUES; i++) {
        char key[24];
        key_of(key, 9, i);
        put_text(b->store, key, random_pool() + i * 1024, 1024);
    }
    cairn_train_result result = {.struct_size = sizeof result};
    int rc = cairn_train(b->store, NULL, &result, NULL);
    assert_true(rc == CAIRN_OK || rc == CAIRN_UNSUPPORTED);
    assert_false(result.installed);
    assert_int_equal(result.id, 0);
    assert_int_equal(sim_box_files(b, ".dic"), 0);
    assert_int_equal(sim_box_features(b), 0);
}

/* ---- What it takes ---- */

static void too_few_values_are_unsupported_and_change_nothing(void **state) {
    sim_box *b = *state;
    cairn_train_result result = {.struct_size = sizeof result};
    cairn_error error;
    for (int values = 0; values < 3; values++) {
        assert_int_equal(cairn_train(b->store, NULL, &result, &error), CAIRN_UNSUPPORTED);
        assert_true(error.message[0] != '\0');
        put_records(b->store, 0, 0, 5);                                     /* too few */
        if (values == 1) put_text(b->store, "file", random_pool(), 400000); /* too large */
    }
    assert_int_equal(sim_box_files(b, ".dic"), 0);
    assert_int_equal(sim_box_features(b), 0);
    expect_records(b->store, 0, 0, 5);
}

static void arguments_are_checked(void **state) {
    sim_box *b = *state;
    cairn_train_options o = {.struct_size = sizeof o};
    cairn_train_result result = {.struct_size = sizeof result}, none = {.struct_size = 0};
    put_records(b->store, 0, 0, VALUES);
    assert_int_equal(cairn_train(NULL, NULL, &result, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_train(b->store, NULL, NULL, NULL), CAIRN_INVALID);
    assert_int_equal(cairn_train(b->store, NULL, &none, NULL), CAIRN_INVALID);
    o.struct_size = 0;
    assert_int_equal(cairn_train(b->store, &o, &result, NULL), CAIRN_INVALID);
    const uint32_t wrong[] = {1, 255, (1u << 20) + 1, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        o = (cairn_train_options){.struct_size = sizeof o, .dictionary_bytes = wrong[i]};
        assert_int_equal(cairn_train(b->store, &o, &result, NULL), CAIRN_INVALID);
    }
    sim_box_reopen_read_only(b);
    assert_int_equal(cairn_train(b->store, NULL, &result, NULL), CAIRN_READ_ONLY);
}

static void the_features_are_set_with_the_dictionary(void **state) {
    sim_box *b = *state;
    put_records(b->store, 0, 0, VALUES);
    assert_int_equal(sim_box_features(b), 0);
    (void)train(b->store);
    assert_int_equal(sim_box_features(b) & 2, 2);
    assert_int_equal(sim_box_features(b) & ~(uint64_t)3, 0);
    sim_box_kill(b);
    assert_int_equal(sim_box_features(b) & 2, 2);
}

/* ---- Failures ---- */

/* Some values that need the dictionary, and some that do not; closed. */
static void make_both(sim_box *b, char name[SIM_NAME_SIZE]) {
    (void)train_on_records(b, 0);
    put_records(b->store, 0, VALUES, VALUES + 20);
    sim_box_close(b);
    sim_box_file(b, ".dic", name);
}

static void expect_only_those_fail_that_need_it(sim_box *b, const char *name) {
    expect_records(b->store, 0, 0, VALUES);
    for (unsigned i = VALUES; i < VALUES + 20; i++) {
        char key[24], buf[16];
        void *value;
        size_t size;
        cairn_error error = {0};
        key_of(key, 0, i);
        assert_int_equal(cairn_get(b->store, key, strlen(key), &value, &size, &error), CAIRN_CORRUPT);
        if (strstr(error.message, name) == NULL) fail_msg("%s is not in '%s'", name, error.message);
        assert_int_equal(cairn_read(b->store, key, strlen(key), 0, buf, 16, &size, NULL), CAIRN_CORRUPT);
        assert_true(entry_of(b->store, key).value_size > 0); /* what is in the header is known */
    }
    assert_true(verify_damage(b->store) >= 20);
    put_records(b->store, 0, VALUES + 20, VALUES + 40); /* without it */
    expect_records(b->store, 0, VALUES + 20, VALUES + 40);
}

static void a_missing_dictionary_is_missed_by_the_values_that_need_it_only(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    make_both(b, name);
    assert_true(sim_file_remove(b->disk, SIM_BOX_STORE, name));
    sim_box_open(b);
    expect_only_those_fail_that_need_it(b, name);
    (void)train(b->store); /* and another one can be made */
    put_records(b->store, 0, VALUES + 40, VALUES + 50);
    expect_records(b->store, 0, VALUES + 40, VALUES + 50);
}

static void a_damaged_dictionary_is_never_used(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    make_both(b, name);
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, SIM_BOX_STORE, name, &size);
    uint64_t rng = 5;
    for (uint64_t i = 0; i < rung_choose(40, 10, 2000); i++) {
        sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
        if (i % 4 == 3) {
            assert_true(sim_file_resize(c.disk, SIM_BOX_STORE, name, random_below(&rng, size)));
        } else {
            uint64_t at = i % 4 == 0 ? random_below(&rng, 60) : 4096 + random_below(&rng, size - 4096);
            assert_true(sim_file_poke(c.disk, SIM_BOX_STORE, name, at, (uint8_t)(1 + random_below(&rng, 255))));
        }
        sim_box_open(&c);
        expect_only_those_fail_that_need_it(&c, name);
        sim_box_close(&c);
        sim_free(c.disk);
    }
    free(bytes);
    sim_box_open(b);
    expect_records(b->store, 0, 0, VALUES + 20);
}

/* Acknowledged puts behind the last sync are not cut off by a recovery that has no dictionary to check them with. */
static void a_kill_without_the_dictionary_loses_no_record(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    b->options.durability = CAIRN_DURABILITY_NONE;
    sim_box_reopen(b);
    (void)train_on_records(b, 0);
    put_records(b->store, 0, VALUES, VALUES + 20);
    sim_box_file(b, ".dic", name);
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, SIM_BOX_STORE, name, &size);
    sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
    assert_true(sim_file_remove(c.disk, SIM_BOX_STORE, name));
    sim_box_open(&c);
    expect_only_those_fail_that_need_it(&c, name);
    sim_box_close(&c);
    sim_file_write(c.disk, SIM_BOX_STORE, name, bytes, size); /* found again */
    free(bytes);
    sim_box_open(&c);
    expect_records(c.store, 0, 0, VALUES + 40);
    assert_int_equal(verify_damage(c.store), 0);
    sim_box_close(&c);
    sim_free(c.disk);
}

static void a_training_that_dies_leaves_nothing_behind(void **state) {
    sim_box *b = *state;
    put_records(b->store, 0, 0, VALUES);
    assert_int_equal(cairn_sync(b->store, NULL), CAIRN_OK);
    uint64_t with = 0, without = 0;
    bool done = false;
    for (uint64_t n = 0; !done; n++) {
        sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
        cairn_train_result result = {.struct_size = sizeof result};
        sim_box_open(&c);
        sim_cut_at(c.disk, sim_operations(c.disk) + n);
        done = cairn_train(c.store, NULL, &result, NULL) == CAIRN_OK;
        if (n % 3 == 0) {
            sim_box_kill(&c);
        } else {
            sim_box_crash(&c, n);
        }
        size_t files = sim_box_files(&c, ".dic");
        assert_int_equal(files, (sim_box_features(&c) & 2) != 0);
        with += files == 1;
        without += files == 0;
        if (done) assert_int_equal(files, 1);
        put_records(c.store, 0, VALUES, VALUES + 5);
        expect_records(c.store, 0, 0, VALUES + 5);
        if (files == 1) assert_true(stored(c.store, 0, VALUES) < stored(c.store, 0, 0));
        sim_box_close(&c);
        sim_free(c.disk);
    }
    assert_true(with >= 1 && without >= 3);
}

static void a_training_that_fails_changes_nothing(void **state) {
    sim_box *b = *state;
    put_records(b->store, 0, 0, VALUES);
    for (uint64_t nth = 0;; nth++) {
        sim_fault fault = {.kinds = SIM_WRITE | SIM_CREATE, .nth = nth, .error = -ENOSPC, .partial = true};
        cairn_train_result result = {.struct_size = sizeof result};
        sim_fault_set(b->disk, &fault);
        int rc = cairn_train(b->store, NULL, &result, NULL);
        bool hit = sim_fault_hits(b->disk) > 0;
        sim_fault_set(b->disk, NULL);
        if (!hit) {
            assert_int_equal(rc, CAIRN_OK);
            assert_true(result.installed && nth > 2);
            break;
        }
        assert_int_equal(rc, CAIRN_FULL);
        assert_false(result.installed);
        sim_box_kill(b);
        assert_int_equal(sim_box_files(b, ".dic"), 0);
        expect_records(b->store, 0, 0, VALUES);
    }
    assert_int_equal(sim_box_files(b, ".dic"), 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(new_values_use_it_unless_compression_is_off),
        TEST(only_small_values_are_for_it),
        TEST(a_second_training_replaces_the_first_and_keeps_it_for_its_values),
        TEST(what_gains_nothing_is_not_installed),
        TEST(too_few_values_are_unsupported_and_change_nothing),
        TEST(arguments_are_checked),
        TEST(the_features_are_set_with_the_dictionary),
        TEST(a_missing_dictionary_is_missed_by_the_values_that_need_it_only),
        TEST(a_damaged_dictionary_is_never_used),
        TEST(a_kill_without_the_dictionary_loses_no_record),
        TEST(a_training_that_dies_leaves_nothing_behind),
        TEST(a_training_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}

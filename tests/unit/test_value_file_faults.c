/* Value files that are aborted or refused, or while calls of the disk fail and the power is cut: a value is whole or
 * its writing failed, and nothing is left of what failed. */
#include "src/base/status.h"
#include "tests/support/value_damage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- What does not become a value ---- */

static void an_aborted_value_leaves_nothing(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    uint8_t *value = value_make(70 * MIB);
    value_writer *w;
    value_descriptor d;
    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, 1, NULL, NULL), CAIRN_OK);
    assert_int_equal(value_writer_write(w, value, 70 * MIB, NULL), CAIRN_OK);
    assert_int_equal(value_box_files(&f), 2);
    value_writer_abort(w);
    assert_int_equal(value_box_files(&f), 0);

    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, 1, NULL, NULL), CAIRN_OK);
    assert_int_equal(value_writer_finish(w, VALUE_KEY, VALUE_KEY_SIZE, &d, NULL), CAIRN_OK);
    assert_int_equal(value_box_files(&f), 1);
    value_writer_abort(w);
    assert_int_equal(value_box_files(&f), 0);
    value_writer_abort(NULL);
    value_writer_close(NULL);
    value_file_close(NULL);
    free(value);
    value_box_close(&f);
}

static void a_value_above_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    value_writer *w;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, 1, NULL, &error), CAIRN_OK);
    assert_int_equal(value_writer_write(w, "x", CAIRN_VALUE_SIZE_MAX + 1, &error), CAIRN_TOO_BIG);
    value_writer_abort(w);
    value_box_close(&f);
}

static void an_existing_file_is_never_overwritten(void **state) {
    (void)state;
    value_box f;
    value_box_open(&f, sim_new(1));
    sim_file_write(f.disk, VALUE_STORE, VALUE_NAME, "abc", 3);
    value_writer *w;
    cairn_error error;
    assert_int_equal(value_writer_open(&w, &f.env, VALUE_ID, 1, NULL, &error), CAIRN_IO);
    assert_int_equal(error.sys_errno, EEXIST);
    assert_int_equal(error.segment, VALUE_ID);
    assert_int_equal(value_box_files(&f), 1);
    value_box_close(&f);
}

/* ---- Calls that fail ---- */

static void every_failing_call_fails_the_value_and_leaves_nothing_for(value_kind kind, bool packing) {
    const size_t size = 37 * MIB;
    const unsigned kinds[] = {SIM_CREATE, SIM_WRITE, SIM_SYNC, SIM_DIR_SYNC, SIM_READ, SIM_FLUSH, SIM_UNLINK};
    uint8_t *value = value_make_kind(kind, size);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint64_t nth = 0;; nth += nth < 4 || nth > 33 ? 1 : 29) { /* the writes in the middle are all alike */
            value_box f;
            value_box_open(&f, sim_new(1));
            sim_fault fault = {.kinds = kinds[k], .nth = nth, .error = -ENOSPC, .partial = nth % 2 == 0};
            sim_fault_set(f.disk, &fault);
            value_descriptor d;
            cairn_error error = {0};
            value_writing w = {.value = value, .size = size, .piece = MIB, .table_memory = 1, .packing = packing};
            int rc = value_write(&f.env, &w, &d, &error);
            bool hit = sim_fault_hits(f.disk) > 0;
            bool hint = kinds[k] == SIM_FLUSH || kinds[k] == SIM_UNLINK; /* what only helps may fail */
            assert_int_equal(rc, hit && !hint ? CAIRN_FULL : CAIRN_OK);
            assert_int_equal(w.sync_failed, hit && (kinds[k] == SIM_SYNC || kinds[k] == SIM_DIR_SYNC));
            if (rc != CAIRN_OK) {
                assert_int_equal(error.segment, VALUE_ID);
                assert_non_null(strstr(error.message, "0000000000000007."));
                assert_int_equal(value_box_files(&f), 0);
            }
            sim_fault_set(f.disk, NULL);
            if (rc == CAIRN_OK && hit) assert_value_reads(&f, &d, value, size);
            value_box_close(&f);
            if (!hit) break;
        }
    }
    free(value);
}

static void every_failing_call_fails_the_value_and_leaves_nothing(void **state) {
    (void)state;
    every_failing_call_fails_the_value_and_leaves_nothing_for(VALUE_NOISE, false);
    every_failing_call_fails_the_value_and_leaves_nothing_for(VALUE_MIXED, true);
}

static void a_read_that_fails_is_not_taken_for_damage_in(value_box *f, const value_descriptor *d) {
    uint8_t *buf = malloc(d->value_size);
    const unsigned kinds[] = {SIM_OPEN, SIM_INFO, SIM_READ, SIM_MAP};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint64_t nth = 0;; nth++) {
            sim_fault fault = {.kinds = kinds[k], .nth = nth, .error = -EIO};
            sim_fault_set(f->disk, &fault);
            value_file *file;
            cairn_error error = {0};
            const void *data;
            int rc = value_file_open(&file, &f->env, d, &error);
            if (rc == CAIRN_OK) {
                rc = value_file_read(file, buf, 299000, 500, &error);
                if (rc == CAIRN_OK) rc = value_verify_all(file, NULL, &error);
                if (rc == CAIRN_OK && value_file_is_raw(file) && (rc = value_file_map(file, &data, &error)) == CAIRN_OK)
                    value_file_unmap(file, data);
                value_file_close(file);
            }
            bool hit = sim_fault_hits(f->disk) > 0;
            assert_int_equal(rc, hit ? CAIRN_IO : CAIRN_OK);
            if (hit) assert_int_equal(error.sys_errno, EIO);
            if (!hit) break;
        }
    }
    sim_fault_set(f->disk, NULL);
    free(buf);
}

static void a_read_that_fails_is_not_taken_for_damage(void **state) {
    (void)state;
    for (int packing = 0; packing < 2; packing++) {
        value_box f;
        value_box_open(&f, sim_new(1));
        uint8_t *value = value_make_kind(VALUE_MIXED, 300000);
        value_descriptor d = packing ? value_box_pack(&f, value, 300000) : value_box_write(&f, value, 300000);
        a_read_that_fails_is_not_taken_for_damage_in(&f, &d);
        free(value);
        value_box_close(&f);
    }
}

/* ---- Power cuts ---- */

static void a_finished_value_survives_every_power_cut(void **state) {
    (void)state;
    const size_t size = 400000;
    uint8_t *value = value_make_kind(VALUE_MIXED, size);
    for (uint64_t seed = 0; seed < 80; seed++) {
        value_box f, after;
        value_box_open(&f, sim_new(1));
        value_descriptor d = seed % 2 ? value_box_pack(&f, value, size) : value_box_write(&f, value, size);
        value_box_open(&after, sim_crash(f.disk, seed / 2));
        assert_int_equal(value_box_files(&after), 1);
        assert_value_reads(&after, &d, value, size);
        value_box_close(&after);
        value_box_close(&f);
    }
    free(value);
}

/* Nothing says that the value is there before finish returned; but whatever is on the disk, a reader is safe. */
static void a_value_cut_off_at_any_operation_is_whole_or_refused_when(bool packing) {
    const size_t size = 200000;
    uint8_t *value = value_make_kind(VALUE_MIXED, size);
    value_box whole;
    value_box_open(&whole, sim_new(1));
    value_descriptor d = packing ? value_box_pack(&whole, value, size) : value_box_write(&whole, value, size);
    uint64_t operations = sim_operations(whole.disk);
    value_box_close(&whole);
    uint64_t refused = 0;
    for (uint64_t cut = 0; cut <= operations; cut++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            value_box f, after;
            value_descriptor unused;
            cairn_error error;
            sim_disk *disk = sim_new(1);
            value_box_open(&f, disk);
            if (cut < sim_operations(disk)) {
                value_box_close(&f);
                break;
            }
            sim_cut_at(disk, cut);
            value_writing w = {.value = value, .size = size, .piece = 50000, .table_memory = 1, .packing = packing};
            int rc = value_write(&f.env, &w, &unused, &error);
            assert_int_equal(rc == CAIRN_OK, cut == operations);
            value_box_open(&after, sim_crash(disk, seed));
            bool verified;
            refused += !value_is_right_or_refused(&after, &d, value, &verified);
            if (rc == CAIRN_OK) assert_true(verified);
            value_box_close(&after);
            value_box_close(&f);
        }
    }
    assert_true(refused > 50);
    free(value);
}

static void a_value_cut_off_at_any_operation_is_whole_or_refused(void **state) {
    (void)state;
    a_value_cut_off_at_any_operation_is_whole_or_refused_when(false);
    a_value_cut_off_at_any_operation_is_whole_or_refused_when(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aborted_value_leaves_nothing),
        cmocka_unit_test(a_value_above_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(an_existing_file_is_never_overwritten),
        cmocka_unit_test(every_failing_call_fails_the_value_and_leaves_nothing),
        cmocka_unit_test(a_read_that_fails_is_not_taken_for_damage),
        cmocka_unit_test(a_finished_value_survives_every_power_cut),
        cmocka_unit_test(a_value_cut_off_at_any_operation_is_whole_or_refused),
    };
    return cmocka_run_group_tests_name("value_file_faults", tests, NULL, NULL);
}

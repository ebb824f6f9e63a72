/* Compressed values: the same bytes by every call, less of them on disk, and damage is seen where it is. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"
#include "tests/support/value_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAME ((size_t)65536)

static void compress_with(sim_box *b, int compression, int level) {
    b->options.compression = compression;
    b->options.compression_level = level;
    sim_box_reopen(b);
}

static int setup(void **state) {
    int rc = sim_box_setup(state);
    if (rc == 0) compress_with(*state, CAIRN_COMPRESSION_ZSTD, 0);
    return rc;
}

static const size_t sizes[] = {0,
                               1,
                               63,
                               64,
                               100,
                               1000,
                               FRAME - 1,
                               FRAME,
                               FRAME + 1,
                               3 * FRAME + 77,
                               SIM_BOX_PAYLOAD_MAX,
                               SIM_BOX_PAYLOAD_MAX + 1,
                               9 * FRAME + 5};
#define SIZES (sizeof sizes / sizeof sizes[0])
#define KINDS (VALUE_MIXED + 1)

static void key_of(char key[24], unsigned kind, size_t size) { (void)snprintf(key, 24, "%u of %zu", kind, size); }

static void expect_all(sim_box *b) {
    for (unsigned i = 0; i < SIZES; i++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            char key[24];
            uint8_t *value = value_make_kind((value_kind)kind, sizes[i]);
            key_of(key, kind, sizes[i]);
            expect_everywhere(b->store, key, value, sizes[i]);
            free(value);
        }
    }
    assert_int_equal(verify_damage(b->store), 0);
}

static void put_all(sim_box *b, bool by_stream) {
    for (unsigned i = 0; i < SIZES; i++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            char key[24];
            uint8_t *value = value_make_kind((value_kind)kind, sizes[i]);
            key_of(key, kind, sizes[i]);
            if (by_stream) {
                cairn_writer *w;
                assert_int_equal(cairn_writer_open(b->store, key, strlen(key), NULL, &w, NULL), CAIRN_OK);
                for (size_t done = 0; done < sizes[i]; done += 50000)
                    assert_int_equal(
                        cairn_writer_write(w, value + done, sizes[i] - done < 50000 ? sizes[i] - done : 50000, NULL),
                        CAIRN_OK);
                assert_int_equal(cairn_writer_commit(w, NULL), CAIRN_OK);
            } else {
                put_text(b->store, key, value, sizes[i]);
            }
            free(value);
        }
    }
}

/* A handle that compresses nothing reads all the same. */
static void values_of_every_size_and_kind_come_back_by_every_call(void **state) {
    sim_box *b = *state;
    put_all(b, false);
    expect_all(b);
    sim_box_kill(b);
    expect_all(b);
    compress_with(b, CAIRN_COMPRESSION_NONE, 0);
    expect_all(b);
    sim_box_rebuild(b);
    sim_box_reopen_read_only(b);
    expect_all(b);
}

static void so_do_streams(void **state) {
    sim_box *b = *state;
    put_all(b, true);
    expect_all(b);
    sim_box_kill(b);
    expect_all(b);
}

static void so_do_batches(void **state) {
    sim_box *b = *state;
    cairn_batch *batch;
    assert_int_equal(cairn_batch_new(&batch), CAIRN_OK);
    for (unsigned i = 0; i < SIZES; i++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            char key[24];
            uint8_t *value = value_make_kind((value_kind)kind, sizes[i]);
            key_of(key, kind, sizes[i]);
            assert_int_equal(cairn_batch_put(batch, key, strlen(key), value, sizes[i]), CAIRN_OK);
            free(value);
        }
    }
    assert_int_equal(cairn_batch_commit(b->store, batch, NULL, NULL), CAIRN_OK);
    cairn_batch_free(batch);
    expect_all(b);
    sim_box_kill(b);
    expect_all(b);
}

static uint64_t stored(cairn *store, const char *key) { return entry_of(store, key).stored_size; }

static void text_takes_a_fraction_and_noise_what_it_takes_raw(void **state) {
    sim_box *b = *state;
    const size_t some[] = {100, 1000, 5000, FRAME, 200000, 600000};
    for (unsigned i = 0; i < 6; i++) {
        uint64_t taken[2][2];
        for (int packing = 0; packing < 2; packing++) {
            compress_with(b, packing ? CAIRN_COMPRESSION_ZSTD : CAIRN_COMPRESSION_NONE, 0);
            for (int text = 0; text < 2; text++) {
                uint8_t *value = value_make_kind(text ? VALUE_TEXT : VALUE_NOISE, some[i]);
                put_text(b->store, "k", value, some[i]);
                free(value);
                taken[packing][text] = stored(b->store, "k");
            }
        }
        assert_int_equal(taken[0][0], taken[0][1]);
        assert_int_equal(taken[1][0], taken[0][0]);
        /* A value file has four blocks besides its frames. */
        if (some[i] > 100) assert_true(taken[1][1] <= taken[0][1] / 4 || taken[1][1] < 6 * 4096);
        assert_true(taken[1][1] <= taken[0][1]);
    }
    assert_int_equal(stats_of(b->store).live_bytes, stored(b->store, "k"));
}

static void every_level_writes_what_every_handle_reads(void **state) {
    sim_box *b = *state;
    const int levels[] = {-7, -1, 1, 3, 12, 22};
    uint8_t *value = value_make_kind(VALUE_TEXT, 150000);
    for (unsigned i = 0; i < 6; i++) {
        char key[24];
        compress_with(b, CAIRN_COMPRESSION_ZSTD, levels[i]);
        key_of(key, i, 0);
        put_text(b->store, key, value, 150000);
        assert_true(stored(b->store, key) < 30000);
    }
    for (unsigned i = 0; i < 6; i++) {
        char key[24];
        key_of(key, i, 0);
        expect_get(b->store, key, strlen(key), value, 150000);
    }
    free(value);
}

static void the_default_compresses_nothing_without_a_dictionary(void **state) {
    sim_box *b = *state;
    uint8_t *value = value_make_kind(VALUE_TEXT, 5000);
    compress_with(b, CAIRN_COMPRESSION_DEFAULT, 0);
    put_text(b->store, "k", value, 5000);
    assert_true(stored(b->store, "k") > 5000);
    assert_int_equal(sim_box_features(b), 0);
    free(value);
}

static void the_feature_is_set_with_the_first_compressed_value_and_not_before(void **state) {
    sim_box *b = *state;
    for (int file = 0; file < 2; file++) {
        size_t size = file ? 500000 : 5000;
        uint8_t *noise = value_make_kind(VALUE_NOISE, size), *text = value_make_kind(VALUE_TEXT, size);
        sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
        sim_box_open(&c);
        put_text(c.store, "k", noise, size);
        put_text(c.store, "short", "short", 5);
        assert_int_equal(sim_box_features(&c), 0);
        put_text(c.store, "k", text, size);
        assert_int_equal(sim_box_features(&c), 1);
        sim_box_kill(&c);
        assert_int_equal(sim_box_features(&c), 1);
        expect_get(c.store, "k", 1, text, size);
        sim_box_close(&c);
        sim_free(c.disk);
        free(noise);
        free(text);
    }
    assert_int_equal(sim_box_features(b), 0);
}

/* ---- Ranges ---- */

static _Atomic uint64_t bytes_read;

static int counted_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    atomic_fetch_add(&bytes_read, size);
    return sim_calls()->file_read(file, buf, size, offset, got);
}

static int counted_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    for (int i = 0; i < count; i++)
        atomic_fetch_add(&bytes_read, iov[i].iov_len);
    return sim_calls()->file_readv(file, iov, count, offset, got);
}

/* Frames of noise among frames of text, so that a frame too many would be seen. */
static void a_range_fetches_only_the_frames_that_it_touches(void **state) {
    sim_box *b = *state;
    const size_t both[] = {4 * FRAME, 40 * FRAME};
    os_override(sim_os(b->disk), &(os){.file_read = counted_read, .file_readv = counted_readv});
    for (int i = 0; i < 2; i++) {
        uint8_t buf[100], *value = value_make_kind(VALUE_MIXED, both[i]);
        put_text(b->store, "k", value, both[i]);
        assert_true(stored(b->store, "k") < both[i] - both[i] / 8);
        for (size_t frame = 0; frame < both[i] / FRAME; frame++) {
            size_t got, from = frame * FRAME + 1000;
            atomic_store(&bytes_read, 0);
            assert_int_equal(cairn_read(b->store, "k", 1, from, buf, sizeof buf, &got, NULL), CAIRN_OK);
            assert_int_equal(got, sizeof buf);
            assert_memory_equal(buf, value + from, sizeof buf);
            uint64_t most = value_frame_is_text(VALUE_MIXED, frame) ? 2000 : FRAME;
            assert_true(atomic_load(&bytes_read) <= most + 16384); /* header, descriptor, table page */
        }
        free(value);
    }
}

/* ---- Damage ---- */

/* One byte of the frame of noise that `frame` is in the value of VALUE_MIXED. */
static void damage_frame(sim_box *b, const char *suffix, const uint8_t *value, size_t frame, char name[SIM_NAME_SIZE]) {
    uint64_t offset;
    sim_box_close(b);
    sim_box_locate(b, suffix, value + frame * FRAME + 100, 60000, name, &offset);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset + 30000, 4));
    sim_box_open(b);
}

static void expect_corrupt(cairn *store, const char *key, const char *name) {
    cairn_error error = {0};
    void *value = (void *)1;
    size_t size;
    cairn_view *view;
    assert_int_equal(cairn_get(store, key, strlen(key), &value, &size, &error), CAIRN_CORRUPT);
    assert_null(value);
    assert_true(error.offset >= 4096 && error.segment != 0);
    if (strstr(error.message, name) == NULL) fail_msg("%s is not in '%s'", name, error.message);
    assert_int_equal(cairn_view_open(store, key, strlen(key), &view, NULL), CAIRN_CORRUPT);
    assert_null(view);
}

static void damage_to_one_frame_hides_no_other_and_no_neighbour(void **state) {
    sim_box *b = *state;
    for (int file = 0; file < 2; file++) {
        const size_t size = (file ? 12 : 4) * FRAME, bad = file ? 5 : 3;
        char name[SIM_NAME_SIZE];
        uint8_t buf[50], *value = value_make_kind(VALUE_MIXED, size);
        size_t got;
        put_text(b->store, "before", value, 5000);
        put_text(b->store, "the key", value, size);
        put_text(b->store, "behind", value + FRAME, 9000);
        damage_frame(b, file ? ".val" : ".seg", value, bad, name);
        expect_corrupt(b->store, "the key", name);
        for (size_t frame = 0; frame < size / FRAME; frame++) {
            int rc = cairn_read(b->store, "the key", 7, frame * FRAME + 9, buf, sizeof buf, &got, NULL);
            assert_int_equal(rc, frame == bad ? CAIRN_CORRUPT : CAIRN_OK);
            if (rc == CAIRN_OK) assert_memory_equal(buf, value + frame * FRAME + 9, sizeof buf);
        }
        expect_everywhere(b->store, "before", value, 5000);
        expect_get(b->store, "behind", 6, value + FRAME, 9000);
        assert_int_equal(verify_damage(b->store), 1 + file); /* the first one still lies in the log */
        put_text(b->store, "the key", value, size);          /* and it can be put right */
        expect_everywhere(b->store, "the key", value, size);
        delete_text(b->store, "the key");
        free(value);
    }
}

/* Every bit of a small compressed value, frame table and number of the codec included. */
static void every_flipped_bit_of_a_compressed_record_is_seen(void **state) {
    sim_box *b = *state;
    static const uint8_t frame_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    char name[SIM_NAME_SIZE];
    uint64_t offset;
    uint8_t *value = value_make_kind(VALUE_TEXT, 4000);
    put_text(b->store, "k", value, 4000);
    put_text(b->store, "neighbour", "n", 1);
    size_t bytes = 112 + 40; /* header, and the beginning of the frame */
    sim_box_close(b);
    sim_box_locate(b, ".seg", frame_magic, sizeof frame_magic, name, &offset);
    for (size_t bit = 0; bit < bytes * 8; bit += rung_choose(3, 7, 1)) {
        sim_box c = {.disk = sim_clone(b->disk), .options = b->options, .hash_mask = UINT64_MAX};
        assert_true(sim_file_poke(c.disk, SIM_BOX_STORE, name, offset - 112 + bit / 8, (uint8_t)(1u << bit % 8)));
        sim_box_open(&c);
        expect_corrupt(c.store, "k", name);
        expect_text(c.store, "neighbour", "n");
        assert_true(verify_damage(c.store) >= 1);
        sim_box_close(&c);
        sim_free(c.disk);
    }
    free(value);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sim_box_teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_of_every_size_and_kind_come_back_by_every_call),
        TEST(so_do_streams),
        TEST(so_do_batches),
        TEST(text_takes_a_fraction_and_noise_what_it_takes_raw),
        TEST(every_level_writes_what_every_handle_reads),
        TEST(the_default_compresses_nothing_without_a_dictionary),
        TEST(the_feature_is_set_with_the_first_compressed_value_and_not_before),
        TEST(a_range_fetches_only_the_frames_that_it_touches),
        TEST(damage_to_one_frame_hides_no_other_and_no_neighbour),
        TEST(every_flipped_bit_of_a_compressed_record_is_seen),
    };
    return cmocka_run_group_tests_name("compression", tests, NULL, NULL);
}

/* Dictionaries: training, their files on a simulated disk under damage, failing calls and power cuts, and what is
 * packed with them. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/os/os_thread.h"
#include "tests/support/value_box.h"
#include "vlog/dictionary.h"
#include "vlog/pack.h"
#include "vlog/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID 0x2a
#define NAME "000000000000002a.dic"
#define FIELDS ((size_t)BLOCK_BYTES) /* offset of the fields behind the header block */
#define CONTENT (FIELDS + 32)

static const uint8_t other_store[16] = "0123456789abcdf";

/* ---- Samples, and a dictionary made of them ---- */

#define SAMPLES 400u
#define SAMPLE_BYTES 200u

/* Records of one kind, as a store might hold them: they have much in common with each other, and little with
 * themselves. */
static void fill_sample(uint8_t out[SAMPLE_BYTES], uint64_t i) {
    char text[SAMPLE_BYTES + 1];
    uint64_t x = (i + 1) * 6364136223846793005u;
    int n =
        snprintf(text, sizeof text,
                 "{\"invoice\":%llu,\"customer\":{\"name\":\"nr %llx\",\"town\":\"Bern\"},\"currency\":\"CHF\","
                 "\"amount\":%llu,\"paid\":%s,\"remark\":\"%016llx\",\"warehouse\":\"north\",\"shipped_by\":\"rail\"}",
                 (unsigned long long)i, (unsigned long long)(x >> 40), (unsigned long long)(x >> 50),
                 x >> 63 ? "true" : "false", (unsigned long long)x);
    assert_true(n > 0);
    memset(out, ' ', SAMPLE_BYTES);
    memcpy(out, text, min_u64((uint64_t)n, SAMPLE_BYTES));
}

typedef struct content {
    uint8_t bytes[4096];
    size_t size;
} content;

static const content *trained(void) {
    static content c;
    if (c.size > 0) return &c;
    static uint8_t samples[SAMPLES * SAMPLE_BYTES];
    static size_t sizes[SAMPLES];
    for (unsigned i = 0; i < SAMPLES; i++) {
        fill_sample(samples + i * SAMPLE_BYTES, i);
        sizes[i] = SAMPLE_BYTES;
    }
    cairn_error error;
    if (dictionary_train(samples, sizes, SAMPLES, c.bytes, sizeof c.bytes, &c.size, &error) != CAIRN_OK)
        fail_msg("%s", error.message);
    return &c;
}

/* ---- A disk with a store on it ---- */

/* With the dictionary in file NAME. */
static void box_make(value_box *b) {
    value_box_open(b, sim_new(1));
    cairn_error error;
    bool sync_failed = true;
    if (dictionary_store(&b->env, ID, trained()->bytes, trained()->size, &sync_failed, &error) != CAIRN_OK)
        fail_msg("%s", error.message);
    assert_false(sync_failed);
}

static dictionary *load(const value_box *b) {
    dictionary *d;
    cairn_error error;
    if (dictionary_load(&d, &b->env, ID, &error) != CAIRN_OK) fail_msg("%s", error.message);
    assert_int_equal(dictionary_id(d), ID);
    return d;
}

static void assert_refused(const value_box *b) {
    dictionary *d;
    cairn_error error;
    assert_int_equal(dictionary_load(&d, &b->env, ID, &error), CAIRN_CORRUPT);
    assert_null(d);
    assert_int_equal(error.code, CAIRN_CORRUPT);
    assert_int_equal(error.segment, ID);
    assert_non_null(strstr(error.message, NAME));
    assert_non_null(strstr(error.message, "offset"));
}

/* ---- What it is good for ---- */

static packed pack_with(packer *p, const dictionary *d, const uint8_t *value, size_t size) {
    packed v;
    pack_options o = {.dictionary = d};
    assert_int_equal(pack_value(p, &o, value, size, &v), CAIRN_OK);
    return v;
}

static void small_values_shrink_more_with_a_dictionary_and_come_back(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    dictionary *d = load(&b);
    packer *p = b.env.packer;
    for (uint64_t i = SAMPLES; i < 2 * SAMPLES; i++) { /* not the ones that it was trained on */
        uint8_t value[SAMPLE_BYTES], out[SAMPLE_BYTES];
        fill_sample(value, i);
        packed with = pack_with(p, d, value, sizeof value), without = pack_with(p, NULL, value, sizeof value);
        assert_int_equal(with.codec, CODEC_ZSTD_DICTIONARY);
        assert_true(with.size < sizeof value / 2);
        if (without.codec != CODEC_RAW) assert_true(with.size < without.size);
        assert_int_equal(unpack_frame(p, d, with.bytes, with.size, out, sizeof out), CAIRN_OK);
        assert_memory_equal(out, value, sizeof value);
        int rc = unpack_frame(p, NULL, with.bytes, with.size, out, sizeof out);
        assert_true(rc == CAIRN_CORRUPT || memcmp(out, value, sizeof value) != 0);
        packed_release(&with);
        packed_release(&without);
    }
    dictionary_free(d);
    /* The packer's contexts know nothing of it any more. */
    uint8_t value[SAMPLE_BYTES * 4], out[sizeof value];
    for (uint64_t i = 0; i < 4; i++)
        fill_sample(value + i * SAMPLE_BYTES, i);
    packed v = pack_with(p, NULL, value, sizeof value);
    assert_int_equal(v.codec, CODEC_ZSTD);
    assert_int_equal(unpack_frame(p, NULL, v.bytes, v.size, out, sizeof out), CAIRN_OK);
    assert_memory_equal(out, value, sizeof value);
    packed_release(&v);
    value_box_close(&b);
}

static void larger_values_do_without_the_dictionary(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    dictionary *d = load(&b);
    packer *p = b.env.packer;
    const size_t sizes[] = {DICTIONARY_VALUE_MAX - 1, DICTIONARY_VALUE_MAX, DICTIONARY_VALUE_MAX + 1, 3 * FRAME_BYTES};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t *value = malloc(sizes[s] + SAMPLE_BYTES);
        for (size_t at = 0; at < sizes[s]; at += SAMPLE_BYTES)
            fill_sample(value + at, at);
        packed v = pack_with(p, d, value, sizes[s]);
        assert_int_equal(v.codec, sizes[s] <= DICTIONARY_VALUE_MAX ? CODEC_ZSTD_DICTIONARY : CODEC_ZSTD);
        packed_release(&v);
        free(value);
    }
    dictionary_free(d);
    value_box_close(&b);
}

static void damaged_values_with_a_dictionary_do_no_harm(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    dictionary *d = load(&b);
    packer *p = b.env.packer;
    uint8_t value[SAMPLE_BYTES];
    fill_sample(value, 77);
    packed v = pack_with(p, d, value, sizeof value);
    for (size_t bit = 0; bit < 8 * v.size; bit++) {
        uint8_t *in = malloc(v.size), *out = malloc(sizeof value);
        memcpy(in, v.bytes, v.size);
        in[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = unpack_frame(p, d, in, v.size, out, sizeof value);
        assert_true(rc == CAIRN_OK || rc == CAIRN_CORRUPT);
        free(in);
        free(out);
    }
    packed_release(&v);
    dictionary_free(d);
    value_box_close(&b);
}

/* ---- Threads ---- */

typedef struct worker {
    packer *p;
    const dictionary *d;
    uint64_t first;
} worker;

static void *use_dictionary(void *arg) {
    worker *w = arg;
    for (uint64_t i = w->first; i < w->first + 100; i++) {
        uint8_t value[SAMPLE_BYTES], out[SAMPLE_BYTES];
        fill_sample(value, i);
        packed v = pack_with(w->p, w->d, value, sizeof value);
        assert_int_equal(v.codec, CODEC_ZSTD_DICTIONARY);
        assert_int_equal(unpack_frame(w->p, w->d, v.bytes, v.size, out, sizeof out), CAIRN_OK);
        assert_memory_equal(out, value, sizeof value);
        packed_release(&v);
    }
    return NULL;
}

static void threads_share_a_dictionary_from_its_first_use_on(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    for (int round = 0; round < 5; round++) {
        dictionary *d = load(&b);
        packer *p;
        assert_int_equal(packer_new(&p), CAIRN_OK);
        os_thread threads[4];
        worker workers[4];
        for (unsigned t = 0; t < 4; t++) {
            workers[t] = (worker){.p = p, .d = d, .first = t * 1000};
            assert_int_equal(os_thread_start(&threads[t], use_dictionary, &workers[t]), 0);
        }
        for (unsigned t = 0; t < 4; t++)
            os_thread_join(&threads[t]);
        packer_free(p);
        dictionary_free(d);
    }
    value_box_close(&b);
}

/* ---- Damage ---- */

static void every_flipped_byte_of_the_file_is_noticed(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    size_t size;
    free(sim_file_read(b.disk, VALUE_STORE, NAME, &size));
    assert_int_equal(size, CONTENT + trained()->size);
    for (size_t at = 0; at < size; at++) {
        const uint8_t flip = (uint8_t)(1 << at % 8);
        assert_true(sim_file_poke(b.disk, VALUE_STORE, NAME, at, flip));
        assert_refused(&b);
        assert_true(sim_file_poke(b.disk, VALUE_STORE, NAME, at, flip));
    }
    dictionary_free(load(&b));
    value_box_close(&b);
}

static void a_file_of_another_length_is_refused(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    size_t size;
    uint8_t *bytes = sim_file_read(b.disk, VALUE_STORE, NAME, &size);
    for (size_t cut = 0; cut < size; cut += cut < FIELDS - 4 ? 61 : 1) {
        assert_true(sim_file_resize(b.disk, VALUE_STORE, NAME, cut));
        assert_refused(&b);
        sim_file_write(b.disk, VALUE_STORE, NAME, bytes, size);
    }
    const size_t longer[] = {1, 8, 4096, 2 * DICTIONARY_CONTENT_MAX, (size_t)900 << 20};
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        assert_true(sim_file_resize(b.disk, VALUE_STORE, NAME, size + longer[i]));
        assert_refused(&b);
    }
    assert_true(sim_file_remove(b.disk, VALUE_STORE, NAME));
    assert_refused(&b);
    free(bytes);
    value_box_close(&b);
}

static void a_file_of_another_store_salt_or_id_is_refused(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    b.env.store_id = other_store;
    assert_refused(&b);
    b.env.store_id = value_store_id;
    b.env.salt ^= 1;
    assert_refused(&b);
    b.env.salt ^= 1;
    assert_int_equal(dictionary_store(&b.env, ID + 1, trained()->bytes, trained()->size, NULL, NULL), CAIRN_OK);
    assert_int_equal(os_rename(b.env.dir, "000000000000002b.dic", NAME), 0);
    assert_refused(&b);
    value_box_close(&b);
}

/* Fields that do not fit each other under a checksum that does: only this store's own writer could make them. */
static void fields_that_disagree_are_refused(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    size_t size;
    uint8_t *bytes = sim_file_read(b.disk, VALUE_STORE, NAME, &size);
    const struct {
        size_t at;
        uint8_t flip;
    } forgeries[] = {{FIELDS + 8, 1},  {FIELDS + 16, 1},    {FIELDS + 23, 0x80},  {FIELDS + 24, 1},   {CONTENT, 1},
                     {CONTENT + 4, 1}, {CONTENT + 8, 0xff}, {CONTENT + 12, 0xff}, {CONTENT + 9, 0x7f}};
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        uint8_t *forged = malloc(size);
        memcpy(forged, bytes, size);
        forged[forgeries[i].at] ^= forgeries[i].flip;
        le64_put(forged + FIELDS, checksum(forged + FIELDS + 8, size - FIELDS - 8, file_seed(VALUE_SALT, ID, 0) + 1));
        sim_file_write(b.disk, VALUE_STORE, NAME, forged, size);
        free(forged);
        assert_refused(&b);
    }
    sim_file_write(b.disk, VALUE_STORE, NAME, bytes, size);
    dictionary_free(load(&b));
    free(bytes);
    value_box_close(&b);
}

static void what_is_no_dictionary_is_not_stored(void **state) {
    (void)state;
    value_box b;
    value_box_open(&b, sim_new(1));
    content c = *trained();
    cairn_error error;
    assert_int_equal(dictionary_store(&b.env, ID, c.bytes, DICTIONARY_CONTENT_MIN - 1, NULL, &error), CAIRN_INVALID);
    assert_int_equal(dictionary_store(&b.env, ID, c.bytes, DICTIONARY_CONTENT_MAX + 1, NULL, &error), CAIRN_INVALID);
    c.bytes[0] ^= 1;
    assert_int_equal(dictionary_store(&b.env, ID, c.bytes, c.size, NULL, &error), CAIRN_INVALID);
    c.bytes[0] ^= 1;
    memset(c.bytes + 8, 0xff, 64);
    assert_int_equal(dictionary_store(&b.env, ID, c.bytes, c.size, NULL, &error), CAIRN_INVALID);
    assert_int_equal(value_box_files(&b), 0);
    value_box_close(&b);
}

/* ---- Calls that fail, and power cuts ---- */

static void every_failing_call_fails_the_storing_and_leaves_nothing(void **state) {
    (void)state;
    const unsigned kinds[] = {SIM_CREATE, SIM_WRITE, SIM_SYNC, SIM_DIR_SYNC};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int partial = 0; partial < 2; partial++) {
            value_box b;
            value_box_open(&b, sim_new(1));
            sim_fault fault = {.kinds = kinds[k], .error = -ENOSPC, .partial = partial != 0};
            sim_fault_set(b.disk, &fault);
            bool sync_failed = false;
            cairn_error error;
            int rc = dictionary_store(&b.env, ID, trained()->bytes, trained()->size, &sync_failed, &error);
            assert_int_equal(sim_fault_hits(b.disk), 1);
            assert_int_equal(rc, CAIRN_FULL);
            assert_int_equal(sync_failed, kinds[k] == SIM_SYNC || kinds[k] == SIM_DIR_SYNC);
            assert_int_equal(error.segment, ID);
            assert_non_null(strstr(error.message, NAME));
            assert_int_equal(value_box_files(&b), 0);
            value_box_close(&b);
        }
    }
}

static void an_existing_file_is_never_overwritten(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    cairn_error error;
    assert_int_equal(dictionary_store(&b.env, ID, trained()->bytes, trained()->size, NULL, &error), CAIRN_IO);
    assert_int_equal(error.sys_errno, EEXIST);
    dictionary_free(load(&b));
    value_box_close(&b);
}

static void a_read_that_fails_is_not_taken_for_damage(void **state) {
    (void)state;
    value_box b;
    box_make(&b);
    const unsigned kinds[] = {SIM_OPEN, SIM_INFO, SIM_READ};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        sim_fault fault = {.kinds = kinds[k], .error = -EIO};
        sim_fault_set(b.disk, &fault);
        dictionary *d;
        cairn_error error;
        assert_int_equal(dictionary_load(&d, &b.env, ID, &error), CAIRN_IO);
        assert_int_equal(error.sys_errno, EIO);
        assert_int_equal(error.segment, ID);
        assert_null(d);
    }
    sim_fault_set(b.disk, NULL);
    value_box_close(&b);
}

static void a_stored_dictionary_survives_every_power_cut_and_a_cut_off_one_is_whole_or_refused(void **state) {
    (void)state;
    value_box whole;
    box_make(&whole);
    const uint64_t operations = sim_operations(whole.disk);
    value_box_close(&whole);
    unsigned refused = 0;
    for (uint64_t cut = 2; cut <= operations; cut++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            value_box b, after;
            value_box_open(&b, sim_new(1));
            sim_cut_at(b.disk, cut);
            int rc = dictionary_store(&b.env, ID, trained()->bytes, trained()->size, NULL, NULL);
            assert_int_equal(rc == CAIRN_OK, cut == operations);
            value_box_open(&after, sim_crash(b.disk, seed));
            dictionary *d;
            int found = dictionary_load(&d, &after.env, ID, NULL);
            assert_true(found == CAIRN_OK || (found == CAIRN_CORRUPT && rc != CAIRN_OK));
            refused += found != CAIRN_OK;
            dictionary_free(d);
            value_box_close(&after);
            value_box_close(&b);
        }
    }
    assert_true(refused > 40);
}

/* ---- Training ---- */

static int train(const uint8_t *samples, const size_t *sizes, unsigned count, size_t capacity, cairn_error *error) {
    uint8_t *out = malloc(capacity);
    size_t size;
    int rc = dictionary_train(samples, sizes, count, out, capacity, &size, error);
    if (rc == CAIRN_OK) {
        value_box b;
        value_box_open(&b, sim_new(1));
        assert_true(size >= DICTIONARY_CONTENT_MIN && size <= capacity);
        assert_int_equal(dictionary_store(&b.env, ID, out, size, NULL, error), CAIRN_OK);
        dictionary_free(load(&b));
        value_box_close(&b);
    } else {
        assert_int_equal(size, 0);
    }
    free(out);
    return rc;
}

static void too_few_or_too_small_samples_are_refused_with_a_reason(void **state) {
    (void)state;
    static uint8_t samples[100 * 1000];
    static size_t sizes[10000];
    for (size_t i = 0; i < sizeof samples; i++)
        samples[i] = (uint8_t)(i * i >> 7);
    const struct {
        unsigned count;
        size_t each;
    } cases[] = {{0, 0}, {1, 50000}, {7, 8}, {8, 1}, {15, 5000}, {16, 1}, {16, 7}, {16, 600}, {1000, 7}, {10000, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned s = 0; s < cases[i].count; s++)
            sizes[s] = cases[i].each;
        cairn_error error;
        int rc = train(samples, sizes, cases[i].count, 4096, &error);
        assert_int_equal(rc, CAIRN_UNSUPPORTED);
        assert_non_null(strstr(error.message, "too few"));
    }
    /* Nothing in the three quarters that zstd trains on. */
    for (unsigned s = 0; s < 100; s++)
        sizes[s] = s < 80 ? 0 : 4000;
    cairn_error error;
    assert_int_equal(train(samples, sizes, 100, 4096, &error), CAIRN_UNSUPPORTED);
    assert_int_equal(error.code, CAIRN_UNSUPPORTED);
}

static void odd_samples_make_a_dictionary_or_none_but_never_a_broken_one(void **state) {
    (void)state;
    static uint8_t samples[200 * 1000];
    static size_t sizes[4000];
    const size_t capacities[] = {DICTIONARY_CONTENT_MIN, 20000, DICTIONARY_CONTENT_DEFAULT};
    for (unsigned kind = 0; kind < 5; kind++) {
        uint64_t x = kind;
        for (size_t i = 0; i < sizeof samples; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            const uint8_t bytes[5] = {0, (uint8_t)(x >> 56), (uint8_t)(i % 50), (uint8_t)(x >> 63),
                                      (uint8_t)(i / 1000)};
            samples[i] = bytes[kind];
        }
        for (unsigned mix = 0; mix < 3; mix++) {
            const unsigned count = mix == 0 ? 16 : 4000;
            for (unsigned s = 0; s < count; s++)
                sizes[s] = mix == 0 ? 1000 : mix == 1 ? 50 : s % 10 == 0 ? 400 : 0;
            cairn_error error;
            int rc = train(samples, sizes, count, capacities[(kind + mix) % 3], &error);
            assert_true(rc == CAIRN_OK || rc == CAIRN_UNSUPPORTED);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_shrink_more_with_a_dictionary_and_come_back),
        cmocka_unit_test(larger_values_do_without_the_dictionary),
        cmocka_unit_test(damaged_values_with_a_dictionary_do_no_harm),
        cmocka_unit_test(threads_share_a_dictionary_from_its_first_use_on),
        cmocka_unit_test(every_flipped_byte_of_the_file_is_noticed),
        cmocka_unit_test(a_file_of_another_length_is_refused),
        cmocka_unit_test(a_file_of_another_store_salt_or_id_is_refused),
        cmocka_unit_test(fields_that_disagree_are_refused),
        cmocka_unit_test(what_is_no_dictionary_is_not_stored),
        cmocka_unit_test(every_failing_call_fails_the_storing_and_leaves_nothing),
        cmocka_unit_test(an_existing_file_is_never_overwritten),
        cmocka_unit_test(a_read_that_fails_is_not_taken_for_damage),
        cmocka_unit_test(a_stored_dictionary_survives_every_power_cut_and_a_cut_off_one_is_whole_or_refused),
        cmocka_unit_test(too_few_or_too_small_samples_are_refused_with_a_reason),
        cmocka_unit_test(odd_samples_make_a_dictionary_or_none_but_never_a_broken_one),
    };
    return cmocka_run_group_tests_name("dictionary", tests, NULL, NULL);
}

/* Compression of values and frames: what goes in comes out, what does not compress stays raw and is soon left alone,
 * and damaged bytes do no harm. */
#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/os/os_thread.h"
#include "tests/support/rung.h"
#include "vlog/pack.h"
#include "vlog/pack_probe.h"
#include "vlog/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB ((size_t)1 << 20)

/* ---- Values ---- */

typedef enum kind { TEXT, ZEROS, NOISE, MIXED, KINDS } kind;

static void fill_noise(uint8_t *out, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)random_next(&seed);
}

static void fill_text(uint8_t *out, size_t size, uint64_t seed) {
    static const char *const words[] = {"stone ", "cairn ", "of ", "the ", "record ", "marks ", "a ", "path, "};
    const char *word = "";
    for (size_t i = 0; i < size; i++) {
        if (*word == '\0') word = words[random_next(&seed) % 8];
        out[i] = (uint8_t)*word++;
    }
}

/* MIXED: each third frame is text, the others are noise. A byte more, so that it is never NULL. */
static uint8_t *make(kind k, size_t size, uint64_t seed) {
    uint8_t *value = calloc(1, size + 1);
    CHECK(value != NULL);
    if (k == TEXT) fill_text(value, size, seed);
    if (k == NOISE || k == MIXED) fill_noise(value, size, seed);
    for (size_t at = 0; k == MIXED && at < size; at += 3 * FRAME_BYTES)
        fill_text(value + at, min_u64(FRAME_BYTES, size - at), seed);
    return value;
}

/* Its sampled bytes look like those of text, but it does not shrink: noise with some text where the probe looks. */
static uint8_t *make_fooling(size_t size) {
    uint8_t *value = make(NOISE, size, size);
    memcpy(value + size / 4 + 512, value + size / 4, 64);
    assert_true(pack_probe(value, size));
    return value;
}

static packer *new_packer(void) {
    packer *p;
    assert_int_equal(packer_new(&p), CAIRN_OK);
    return p;
}

static packed pack_at(packer *p, int level, const uint8_t *value, size_t size) {
    packed v;
    pack_options o = {.level = level};
    assert_int_equal(pack_value(p, &o, value, size, &v), CAIRN_OK);
    return v;
}

/* Whether the value is packed at all. */
static bool packs(packer *p, const uint8_t *value, size_t size) {
    packed v = pack_at(p, 0, value, size);
    bool is_packed = v.codec != CODEC_RAW;
    packed_release(&v);
    return is_packed;
}

/* The frames are as the format says, and decode to the value. Each from a buffer of its own size, so that a sanitizer
 * sees a read behind it. */
static void assert_unpacks(packer *p, const packed *v, const uint8_t *value, size_t size) {
    assert_int_equal(v->frames, frames_of(size));
    uint64_t at = 0;
    for (uint64_t i = 0; i < v->frames; i++) {
        size_t length = v->lengths[i], piece = min_u64(FRAME_BYTES, size - i * FRAME_BYTES);
        assert_true(length == piece || length <= piece - piece / 8);
        uint8_t *stored = malloc(length), *out = malloc(piece);
        memcpy(stored, v->bytes + at, length);
        if (length < piece) assert_int_equal(stored[4] & 7, 0); /* neither checksum nor dictionary id */
        assert_int_equal(unpack_frame(p, NULL, stored, length, out, piece), CAIRN_OK);
        assert_memory_equal(out, value + i * FRAME_BYTES, piece);
        free(stored);
        free(out);
        at += length;
    }
    assert_int_equal(at, v->size);
}

static void values_of_every_size_and_kind_come_back(void **state) {
    (void)state;
    const size_t sizes[] = {0,
                            1,
                            63,
                            64,
                            65,
                            127,
                            128,
                            1000,
                            4 * KIB,
                            FRAME_BYTES - 1,
                            FRAME_BYTES,
                            FRAME_BYTES + 1,
                            FRAME_BYTES + 63,
                            FRAME_BYTES + 64,
                            3 * FRAME_BYTES - 1,
                            3 * MIB + 1};
    packer *p = new_packer();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (kind k = 0; k < KINDS; k++) {
            size_t size = sizes[s];
            uint8_t *value = make(k, size, s + 1);
            packed v = pack_at(p, 0, value, size);
            bool shrinks = k == TEXT || k == ZEROS || (k == MIXED && size != FRAME_BYTES + 63);
            if (k == NOISE || size < 64) assert_int_equal(v.codec, CODEC_RAW);
            if (shrinks && size >= 1000) assert_int_equal(v.codec, CODEC_ZSTD);
            if (v.codec == CODEC_RAW) {
                assert_null(v.bytes);
                assert_null(v.lengths);
            } else {
                assert_true(v.size <= size - size / 8);
                assert_unpacks(p, &v, value, size);
            }
            packed_release(&v);
            free(value);
        }
    }
    packer_free(p);
    packer_free(NULL);
}

static void frames_that_do_not_shrink_are_raw_among_others_that_do(void **state) {
    (void)state;
    packer *p = new_packer();
    const size_t size = 7 * FRAME_BYTES + 100;
    uint8_t *value = make(MIXED, size, 1);
    packed v = pack_at(p, 0, value, size);
    assert_int_equal(v.codec, CODEC_ZSTD);
    for (uint64_t i = 0; i + 1 < v.frames; i++)
        assert_int_equal(v.lengths[i] < FRAME_BYTES, i % 3 == 0);
    assert_unpacks(p, &v, value, size);
    packed_release(&v);
    free(value);
    packer_free(p);
}

static void a_value_that_saves_less_than_one_part_in_eight_stays_raw(void **state) {
    (void)state;
    packer *p = new_packer();
    const size_t size = 12 * FRAME_BYTES;
    for (size_t text = 1; text <= 3; text++) { /* frames of twelve */
        uint8_t *value = make(NOISE, size, text);
        fill_text(value + 6 * FRAME_BYTES, text * FRAME_BYTES, 1);
        assert_int_equal(packs(p, value, size), text >= 2);
        free(value);
    }
    packer_free(p);
}

static void every_level_packs(void **state) {
    (void)state;
    const int levels[] = {-131072, -7, -1, 1, 2, 3, 9, 15, 19, 22};
    const size_t size = FRAME_BYTES + 5000;
    packer *p = new_packer();
    uint8_t *value = make(TEXT, size, 1);
    memset(value + 2000, 0, 30000);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        assert_true(pack_level_valid(levels[i]));
        packed v = pack_at(p, levels[i], value, size);
        if (levels[i] >= -7) assert_int_equal(v.codec, CODEC_ZSTD);
        if (v.codec == CODEC_ZSTD) assert_unpacks(p, &v, value, size);
        packed_release(&v);
    }
    assert_true(pack_level_valid(0));
    assert_false(pack_level_valid(23));
    assert_false(pack_level_valid(-131073));
    free(value);
    packer_free(p);
}

static void frames_of_a_stream_come_back(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 200, 4096, FRAME_BYTES};
    packer *p = new_packer();
    pack_options o = {.level = 1};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (kind k = 0; k < MIXED; k++) {
            size_t size = sizes[s];
            uint8_t *frame = make(k, size, s), *stored = malloc(size + 1), *out = malloc(size + 1);
            uint32_t length = pack_frame(p, &o, frame, size, stored);
            if (k == NOISE || size < 64) assert_int_equal(length, size);
            if (k != NOISE && size >= 200) assert_true(length < size);
            const uint8_t *from = length < size ? stored : frame;
            assert_int_equal(unpack_frame(p, NULL, from, length, out, size), CAIRN_OK);
            assert_memory_equal(out, frame, size);
            free(out);
            free(stored);
            free(frame);
        }
    }
    packer_free(p);
}

/* ---- The gates ---- */

static void the_probe_knows_noise(void **state) {
    (void)state;
    const size_t sizes[] = {1024, 4096, 16384, FRAME_BYTES};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        unsigned approved = 0;
        for (uint64_t seed = 0; seed < 300; seed++) {
            uint8_t *value = make(NOISE, sizes[s], seed);
            approved += pack_probe(value, sizes[s]);
            free(value);
        }
        assert_true(approved <= 3);
    }
}

static void the_probe_approves_of_what_shrinks(void **state) {
    (void)state;
    for (size_t size = PACK_PROBE_BYTES_MIN; size <= FRAME_BYTES; size += size / 3) {
        uint8_t *text = make(TEXT, size, 1), *zeros = make(ZEROS, size, 1), *few = make(NOISE, size, 1);
        for (size_t i = 0; i < size; i++)
            few[i] &= 31; /* 5 bits of entropy: only frequencies */
        assert_true(pack_probe(text, size));
        assert_true(pack_probe(zeros, size));
        if (size > 128) assert_true(pack_probe(few, size));
        free(text);
        free(zeros);
        free(few);
    }
}

/* Noise that comes again after `period` bytes. */
static uint8_t *make_periodic(size_t size, size_t period, uint64_t seed) {
    uint8_t *value = make(NOISE, size, seed);
    for (size_t i = period; i < size; i++)
        value[i] = value[i - period];
    return value;
}

static void the_probe_sees_repeats(void **state) {
    (void)state;
    const size_t periods[] = {24, 52, 100, 128, 256, 512, 1024};
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++) {
        uint8_t *value = make_periodic(4096, periods[i], i);
        assert_true(pack_probe(value, 4096));
        free(value);
    }
}

#define FAR_PERIOD 777 /* repeats that the probe does not see */

static void what_the_probe_refuses_is_tried_now_and_then_and_always_once_that_helps(void **state) {
    (void)state;
    packer *p = new_packer();
    uint8_t *noise = make(NOISE, 4096, 1);
    for (int i = 0; i < 10; i++)
        assert_false(packs(p, noise, 4096));
    uint8_t *far = make_periodic(4096, FAR_PERIOD, 1);
    assert_false(pack_probe(far, 4096));
    int first = 0;
    while (!packs(p, far, 4096))
        assert_true(++first < 4000);
    assert_true(first > 100); /* it had just been tried in vain */
    for (int i = 0; i < 500; i++)
        assert_true(packs(p, far, 4096));
    free(far);
    free(noise);
    packer_free(p);
}

static void tries_in_vain_become_rare_and_a_success_brings_them_back(void **state) {
    (void)state;
    const size_t size = FRAME_BYTES;
    packer *p = new_packer();
    uint8_t *fooling = make_fooling(size), *text = make(TEXT, size, 1);
    for (int i = 0; i < 50; i++) { /* among others that shrink, all are tried */
        assert_false(packs(p, fooling, size));
        assert_true(packs(p, text, size));
    }
    for (int i = 0; i < 200; i++)
        assert_false(packs(p, fooling, size));
    int first = 0;
    while (!packs(p, text, size))
        assert_true(++first < 2000);
    assert_true(first > 0);
    for (int i = 0; i < 500; i++)
        assert_true(packs(p, text, size));
    free(fooling);
    free(text);
    packer_free(p);
}

/* ---- Damage ---- */

/* A small frame, as stored. */
typedef struct sample {
    packer *p;
    uint8_t value[300];
    uint8_t stored[300];
    size_t size, stored_size;
} sample;

static sample sample_make(void) {
    sample s = {.p = new_packer(), .size = sizeof s.value};
    pack_options o = {.level = 1};
    fill_text(s.value, s.size, 3);
    s.stored_size = pack_frame(s.p, &o, s.value, s.size, s.stored);
    assert_true(s.stored_size < s.size);
    return s;
}

/* Decodes it in buffers of just the right sizes. A right result is right, whatever the bytes were. */
static int unpack_exactly(packer *p, const void *stored, size_t stored_size, size_t size, uint8_t *copy) {
    uint8_t *in = malloc(stored_size + !stored_size), *out = malloc(size + !size);
    memcpy(in, stored, stored_size);
    int rc = unpack_frame(p, NULL, in, stored_size, out, size);
    if (rc == CAIRN_OK && copy != NULL) memcpy(copy, out, size);
    free(in);
    free(out);
    return rc;
}

static void a_flipped_bit_is_refused_or_decodes_to_other_bytes(void **state) {
    (void)state;
    sample s = sample_make();
    unsigned refused = 0, same = 0;
    for (size_t bit = 0; bit < 8 * s.stored_size; bit++) {
        uint8_t out[sizeof s.value];
        s.stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = unpack_exactly(s.p, s.stored, s.stored_size, s.size, out);
        assert_true(rc == CAIRN_OK || rc == CAIRN_CORRUPT);
        refused += rc != CAIRN_OK;
        same += rc == CAIRN_OK && memcmp(out, s.value, s.size) == 0;
        s.stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > 32 && same < 20); /* bits without a meaning; equal words elsewhere */
    assert_int_equal(unpack_exactly(s.p, s.stored, s.stored_size, s.size, NULL), CAIRN_OK);
    packer_free(s.p);
}

static void wrong_lengths_are_refused(void **state) {
    (void)state;
    sample s = sample_make();
    for (size_t cut = 0; cut < s.stored_size; cut++)
        assert_int_equal(unpack_exactly(s.p, s.stored, cut, s.size, NULL), CAIRN_CORRUPT);
    for (size_t size = 0; size < 2 * s.size; size++) {
        if (size == s.size || size == s.stored_size) continue;
        assert_int_equal(unpack_exactly(s.p, s.stored, s.stored_size, size, NULL), CAIRN_CORRUPT);
    }
    assert_true(s.stored_size < sizeof s.stored - 1); /* zeros follow */
    assert_int_equal(unpack_exactly(s.p, s.stored, s.stored_size + 1, s.size, NULL), CAIRN_CORRUPT);
    packer_free(s.p);
}

static void only_one_frame_of_the_present_format_is_decoded(void **state) {
    (void)state;
    sample s = sample_make();
    uint8_t two[2 * sizeof s.stored + 16] = {0};
    const size_t n = s.stored_size;
    memcpy(two, s.stored, n);
    le32_put(two + n, 0x184d2a50); /* a frame to be skipped, empty, behind it */
    assert_int_equal(unpack_exactly(s.p, two, n + 8, s.size, NULL), CAIRN_CORRUPT);
    le32_put(two, 0x184d2a50); /* and before it */
    le32_put(two + 4, 0);
    memcpy(two + 8, s.stored, n);
    assert_int_equal(unpack_exactly(s.p, two, n + 8, s.size, NULL), CAIRN_CORRUPT);
    memcpy(two, s.stored, n); /* twice itself */
    memcpy(two + n, s.stored, n);
    assert_int_equal(unpack_exactly(s.p, two, 2 * n, s.size, NULL), CAIRN_CORRUPT);
    assert_int_equal(unpack_exactly(s.p, two, 2 * n, 2 * s.size, NULL), CAIRN_CORRUPT);
    for (uint32_t old = 0; old < 16; old++) { /* formats from before 1.0 */
        le32_put(s.stored, 0xfd2fb520 + old);
        if (old != 8) assert_int_equal(unpack_exactly(s.p, s.stored, n, s.size, NULL), CAIRN_CORRUPT);
    }
    packer_free(s.p);
}

static void damage_anywhere_in_a_large_frame_does_no_harm(void **state) {
    (void)state;
    packer *p = new_packer();
    pack_options o = {.level = 3};
    uint8_t *frame = make(TEXT, FRAME_BYTES, 1), *stored = malloc(FRAME_BYTES), *out = malloc(FRAME_BYTES);
    fill_noise(frame + 20000, 1000, 1);
    size_t length = pack_frame(p, &o, frame, FRAME_BYTES, stored);
    uint64_t random = 1;
    for (int i = 0; i < 2000; i++) {
        uint8_t *damaged = malloc(length);
        memcpy(damaged, stored, length);
        for (uint64_t n = random_next(&random) % 8 + 1; n > 0; n--) /* the headers more often */
            damaged[random_next(&random) % (i % 2 ? 64 : length)] = (uint8_t)random_next(&random);
        int rc = unpack_frame(p, NULL, damaged, length, out, FRAME_BYTES);
        assert_true(rc == CAIRN_OK || rc == CAIRN_CORRUPT);
        free(damaged);
    }
    assert_int_equal(unpack_frame(p, NULL, stored, length, out, FRAME_BYTES), CAIRN_OK);
    assert_memory_equal(out, frame, FRAME_BYTES);
    free(out);
    free(stored);
    free(frame);
    packer_free(p);
}

/* ---- Threads ---- */

#define THREADS (PACK_IDLE_CONTEXTS + 4)

typedef struct worker {
    packer *p;
    uint64_t seed;
    unsigned packed;
} worker;

static void *pack_and_unpack(void *arg) {
    worker *w = arg;
    for (int i = 0; i < 30; i++) {
        size_t size = 1000 + random_next(&w->seed) % (3 * FRAME_BYTES);
        uint8_t *value = make((kind)(i % KINDS), size, w->seed);
        packed v = pack_at(w->p, i % 3, value, size);
        if (v.codec != CODEC_RAW) {
            assert_unpacks(w->p, &v, value, size);
            w->packed++;
        }
        packed_release(&v);
        free(value);
    }
    return NULL;
}

static void threads_share_a_packer(void **state) {
    (void)state;
    packer *p = new_packer();
    os_thread threads[THREADS];
    worker workers[THREADS];
    for (unsigned t = 0; t < THREADS; t++) {
        workers[t] = (worker){.p = p, .seed = t};
        assert_int_equal(os_thread_start(&threads[t], pack_and_unpack, &workers[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        os_thread_join(&threads[t]);
        assert_true(workers[t].packed >= 15);
    }
    packer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_size_and_kind_come_back),
        cmocka_unit_test(frames_that_do_not_shrink_are_raw_among_others_that_do),
        cmocka_unit_test(a_value_that_saves_less_than_one_part_in_eight_stays_raw),
        cmocka_unit_test(every_level_packs),
        cmocka_unit_test(frames_of_a_stream_come_back),
        cmocka_unit_test(the_probe_knows_noise),
        cmocka_unit_test(the_probe_approves_of_what_shrinks),
        cmocka_unit_test(the_probe_sees_repeats),
        cmocka_unit_test(what_the_probe_refuses_is_tried_now_and_then_and_always_once_that_helps),
        cmocka_unit_test(tries_in_vain_become_rare_and_a_success_brings_them_back),
        cmocka_unit_test(a_flipped_bit_is_refused_or_decodes_to_other_bytes),
        cmocka_unit_test(wrong_lengths_are_refused),
        cmocka_unit_test(only_one_frame_of_the_present_format_is_decoded),
        cmocka_unit_test(damage_anywhere_in_a_large_frame_does_no_harm),
        cmocka_unit_test(threads_share_a_packer),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}

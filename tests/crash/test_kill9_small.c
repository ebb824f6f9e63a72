/* A process that puts small values without a pause, which are then copied into a mapping (vlog/mapped_append.h), is
 * killed at a random moment, again and again, on the same store. Each put that returned is there, byte by byte.
 *
 * CAIRN_RUNG=full kills 5,000 times; CAIRN_SEED=n repeats the choices, though not the moments, of one run. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/killing.h"
#include "tests/support/rung.h"
#include "tests/support/window_signal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define STORE_BYTES_MAX ((uint64_t)100 << 20) /* then the next one is begun */
#define A_LOOK_EVERY 500u                     /* puts of the child's: whether there is a mapping now */

typedef struct note {
    uint64_t put; /* its number: it has returned */
    uint64_t mapped;
} note;

typedef struct heard {
    uint64_t returned;       /* puts */
    uint64_t looked;         /* of these were there */
    uint64_t mapped, stores; /* notes that told of a mapping; stores begun */
} heard;

static size_t key_of(char key[24], uint64_t i) { return (size_t)snprintf(key, 24, "%llu", (unsigned long long)i); }

static const uint8_t *value_of(const heard *h, uint64_t i, size_t *size) {
    uint64_t state = h->stores << 32 ^ i;
    *size = 500 + random_below(&state, 4000);
    return random_window(&state, *size);
}

static void forget(void *ctx) {
    heard *h = ctx;
    h->returned = h->looked = 0;
    h->stores++;
}

static bool hear(void *ctx, const void *told) {
    heard *h = ctx;
    const note *n = told;
    CHECK(n->put == h->returned);
    h->returned++;
    h->mapped += n->mapped;
    return true;
}

static cairn_options options_of(uint64_t *rng) {
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = true,
                           .no_background = random_one_in(rng, 4),
                           .durability = random_one_in(rng, 2) ? CAIRN_DURABILITY_NONE : CAIRN_DURABILITY_DEFAULT};
}

/* A segment is mapped to be written. */
static bool is_mapped(void) {
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (!found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, " rw-s ") != NULL && strstr(line, ".seg\n") != NULL;
    fclose(maps);
    return found;
}

static void write_until_killed(void *ctx, cairn *store, int pipe, uint64_t rng) {
    const heard *h = ctx;
    (void)rng;
    for (uint64_t i = h->returned;; i++) {
        char key[24];
        size_t size, key_size = key_of(key, i);
        const uint8_t *bytes = value_of(h, i, &size);
        CHECK(cairn_put(store, key, key_size, bytes, size, NULL, NULL) == CAIRN_OK);
        note n = {i, i % A_LOOK_EVERY == 0 && is_mapped()};
        killing_tell(pipe, &n, sizeof n);
    }
}

static void look(void *ctx, cairn *store) {
    heard *h = ctx;
    for (; h->looked < h->returned; h->looked++) {
        char key[24];
        void *bytes = NULL;
        size_t got = 0, size;
        cairn_error error;
        const uint8_t *expected = value_of(h, h->looked, &size);
        if (cairn_get(store, key, key_of(key, h->looked), &bytes, &got, &error) != CAIRN_OK) {
            fail_msg("put %llu of %llu: %s", (unsigned long long)h->looked, (unsigned long long)h->returned,
                     error.message);
        }
        assert_int_equal(got, size);
        assert_memory_equal(bytes, expected, size);
        cairn_free(bytes);
    }
}

static void every_small_put_that_returned_survives_kill_9(void **state) {
    (void)state;
    static heard h;
    window_signal_restore();
    const killing k = {.ctx = &h,
                       .note_size = sizeof(note),
                       .options = options_of,
                       .begin = forget,
                       .write = write_until_killed,
                       .hear = hear,
                       .look = look,
                       .delay_max = 120000,
                       .early_one_in = 6,
                       .early_max = 6000,
                       .unseen_one_in = 4,
                       .store_bytes_max = STORE_BYTES_MAX};
    killing_run(&k, rung_choose(40, 15, 5000));
    assert_true(h.mapped > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_small_put_that_returned_survives_kill_9)};
    return cmocka_run_group_tests_name("kill9_small", tests, NULL, NULL);
}

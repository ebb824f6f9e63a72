/* A process that commits batches of 10,000 puts, one round after the other, is killed at a random moment, again and
 * again, on the same store. Whatever the moment was, all keys are of one round: the last that was acknowledged, or the
 * one that was begun. Another thread puts single keys meanwhile; what it acknowledged is there.
 *
 * CAIRN_RUNG=full kills 1,000 times; CAIRN_SEED=n repeats the choices, though not the moments, of one run. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "src/os/os_thread.h"
#include "tests/support/killing.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PUTS 10000u
#define FILE_KEY 5000u /* its value has a file of its own */
#define FILE_BYTES 300000u
#define SMALL_MAX 120u
#define SINGLES 40u
#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define STORE_BYTES_MAX ((uint64_t)150 << 20) /* then the next one is begun */

/* ---- The pipe ---- */

enum { ROUND_BEGUN, ROUND_DONE, SINGLE_BEGUN, SINGLE_DONE };
typedef struct note {
    uint32_t what;
    uint32_t number; /* of the round, or of the single put */
} note;

/* The latest that was heard of. 0: nothing yet. */
typedef struct progress {
    uint32_t begun, done;
} progress;

typedef struct heard {
    progress rounds, singles;
} heard;

/* A value begins with its number. */
static void fill_value(uint8_t *value, uint32_t key, uint32_t number, size_t *size) {
    uint64_t state = (uint64_t)number * PUTS + key;
    *size = key == FILE_KEY ? FILE_BYTES : sizeof number + (size_t)random_below(&state, SMALL_MAX);
    memcpy(value, random_window(&state, *size), *size);
    memcpy(value, &number, sizeof number);
}

/* ---- The process that is killed ---- */

typedef struct child {
    cairn *store;
    int pipe;
    uint32_t next_round, next_single;
    os_thread thread;
} child;

static void tell(const child *c, uint32_t what, uint32_t number) {
    note n = {what, number};
    killing_tell(c->pipe, &n, sizeof n);
}

static void *put_singles(void *arg) {
    child *c = arg;
    for (uint32_t number = c->next_single;; number++) {
        char key[24];
        uint8_t value[sizeof number + SMALL_MAX];
        size_t size;
        int key_size = snprintf(key, sizeof key, "single %u", number % SINGLES);
        fill_value(value, 0, number, &size);
        tell(c, SINGLE_BEGUN, number);
        CHECK(cairn_put(c->store, key, (size_t)key_size, value, size, NULL, NULL) == CAIRN_OK);
        tell(c, SINGLE_DONE, number);
        os_yield();
    }
    return NULL;
}

static void commit_round(const child *c, uint32_t round) {
    static uint8_t value[FILE_BYTES];
    cairn_batch *batch = NULL;
    CHECK(cairn_batch_new(&batch) == CAIRN_OK);
    for (uint32_t key = 0; key < PUTS; key++) {
        size_t size;
        fill_value(value, key, round, &size);
        CHECK(cairn_batch_put(batch, &key, sizeof key, value, size) == CAIRN_OK);
    }
    CHECK((round % 2 == 0 ? cairn_batch_put(batch, "even", 4, "", 0) : cairn_batch_delete(batch, "even", 4)) ==
          CAIRN_OK);
    tell(c, ROUND_BEGUN, round);
    CHECK(cairn_batch_commit(c->store, batch, NULL, NULL) == CAIRN_OK);
    tell(c, ROUND_DONE, round);
    cairn_batch_free(batch);
    if (round % 5 == 0) CHECK(cairn_checkpoint(c->store, NULL) == CAIRN_OK);
}

static void write_until_killed(void *ctx, cairn *store, int pipe, uint64_t rng) {
    const heard *h = ctx;
    (void)rng;
    child c = {.store = store, .pipe = pipe, .next_round = h->rounds.begun + 1, .next_single = h->singles.begun + 1};
    CHECK(os_thread_start(&c.thread, put_singles, &c) == 0);
    for (uint32_t round = c.next_round;; round++)
        commit_round(&c, round);
}

static cairn_options options_of(uint64_t *rng) {
    static const int compressions[] = {CAIRN_COMPRESSION_NONE, CAIRN_COMPRESSION_ZSTD};
    return (cairn_options){.struct_size = sizeof(cairn_options),
                           .create = true,
                           .segment_bytes = SEGMENT_BYTES,
                           .sync_interval_ms = 10,
                           .no_background = random_one_in(rng, 4),
                           .durability = (int)random_below(rng, 3),
                           .compression = compressions[random_below(rng, 2)]};
}

/* ---- What was heard ---- */

static void forget(void *ctx) { *(heard *)ctx = (heard){0}; }

static bool hear(void *ctx, const void *told) {
    heard *h = ctx;
    const note *n = told;
    progress *p = n->what <= ROUND_DONE ? &h->rounds : &h->singles;
    bool done = n->what % 2 != 0;
    *(done ? &p->done : &p->begun) = n->number;
    return done;
}

/* ---- Looking ---- */

/* The number of the value; 0 when the key is absent. The value is the one of that number. */
static uint32_t number_at(cairn *store, const void *key, size_t key_size, uint32_t seed_key) {
    static uint8_t got[FILE_BYTES], expected[FILE_BYTES];
    size_t got_size = 0, size;
    uint32_t number;
    cairn_error error = {0};
    int rc = cairn_get_into(store, key, key_size, got, sizeof got, &got_size, &error);
    if (rc == CAIRN_NOT_FOUND) return 0;
    if (rc != CAIRN_OK || got_size < sizeof number) fail_msg("get: %d %s", rc, error.message);
    memcpy(&number, got, sizeof number);
    fill_value(expected, seed_key, number, &size);
    if (size != got_size || memcmp(got, expected, size) != 0) fail_msg("a value of round %u is another one", number);
    return number;
}

static void look_at_round(heard *h, cairn *store) {
    uint32_t first = 0, round = 0;
    for (uint32_t key = 0; key < PUTS; key++) {
        round = number_at(store, &key, sizeof key, key);
        if (key == 0) first = round;
        if (round != first) fail_msg("half a batch: key 0 of round %u, key %u of round %u", first, key, round);
    }
    if (round != h->rounds.done && round != h->rounds.begun) {
        fail_msg("round %u, where %u was acknowledged and %u begun", round, h->rounds.done, h->rounds.begun);
    }
    cairn_entry entry = {.struct_size = sizeof entry};
    int rc = cairn_stat(store, "even", 4, &entry, NULL);
    assert_int_equal(rc, round != 0 && round % 2 == 0 ? CAIRN_OK : CAIRN_NOT_FOUND);
    h->rounds.begun = h->rounds.done = round;
}

static void look_at_singles(heard *h, cairn *store) {
    uint32_t newest = 0;
    for (uint32_t i = 0; i < SINGLES; i++) {
        char key[24];
        int key_size = snprintf(key, sizeof key, "single %u", i);
        uint32_t number = number_at(store, key, (size_t)key_size, 0);
        if (number > newest) newest = number;
        /* Numbers go round: the last one that was acknowledged here, or the one that was begun. */
        if (number + SINGLES <= h->singles.done)
            fail_msg("%s is of %u, with %u acknowledged", key, number, h->singles.done);
    }
    if (newest != h->singles.done && newest != h->singles.begun) {
        fail_msg("single put %u, where %u was acknowledged", newest, h->singles.done);
    }
    h->singles.begun = h->singles.done = newest;
}

static void look(void *ctx, cairn *store) {
    look_at_round(ctx, store);
    look_at_singles(ctx, store);
}

static void a_batch_of_ten_thousand_puts_is_there_wholly_or_not_after_kill_9(void **state) {
    (void)state;
    static heard h;
    const killing k = {.ctx = &h,
                       .note_size = sizeof(note),
                       .options = options_of,
                       .begin = forget,
                       .write = write_until_killed,
                       .hear = hear,
                       .look = look,
                       .delay_max = 300000,
                       .early_one_in = 5,
                       .early_max = 20000,
                       .store_bytes_max = STORE_BYTES_MAX};
    killing_run(&k, rung_choose(20, 5, 1000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_of_ten_thousand_puts_is_there_wholly_or_not_after_kill_9)};
    return cmocka_run_group_tests_name("kill9_batch", tests, NULL, NULL);
}

#include "tests/support/starved.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/starved_acts.h"

#include <string.h>

#define LONG_KEY_BYTES ((size_t)3000)

/* ---- The store ---- */

void starved_open(starved *b) {
    cairn_error error = {0};
    int rc = specimen_open(b->s, b->disk, false, &b->store, &error);
    if (rc != CAIRN_OK) finding_note(b->f, "open with enough memory: %d %s", rc, error.message);
}

void starved_init(starved *b, const specimen *s, uint64_t seed, finding *f) {
    *b = (starved){.s = s, .disk = sim_clone(s->disk), .rng = seed, .f = f};
    memory_fence(b->disk);
    memory_plan(0, 0);
    memcpy(b->keys, s->keys, sizeof s->keys);
    for (unsigned k = SPECIMEN_KEYS; k < STARVED_KEYS; k++) {
        size_t size = k + 1 == STARVED_KEYS ? LONG_KEY_BYTES : 8 + k;
        b->keys[k] = (specimen_key){.bytes = random_window(&b->rng, size), .size = size};
    }
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        if (s->state[s->steps][k] != SPECIMEN_ABSENT) b->model[k] = s->values[s->state[s->steps][k]];
    }
}

/* Whether the open store holds what the model says. */
void starved_compare(starved *b, const char *when) {
    cairn_error error = {0};
    for (unsigned k = 0; k < STARVED_KEYS && !b->f->found && b->store != NULL; k++) {
        void *bytes = NULL;
        size_t size = 0;
        int rc = cairn_get(b->store, b->keys[k].bytes, b->keys[k].size, &bytes, &size, &error);
        bool absent = b->model[k].bytes == NULL;
        bool good = absent ? rc == CAIRN_NOT_FOUND
                           : rc == CAIRN_OK && size == b->model[k].size && memcmp(bytes, b->model[k].bytes, size) == 0;
        cairn_free(bytes);
        if (!good) finding_note(b->f, "%s: key %u is not as it should be: get gives %d, %zu bytes", when, k, rc, size);
    }
}

static void starved_verify(starved *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_stats stats = {.struct_size = sizeof stats};
    uint64_t keys = 0;
    if (b->f->found) return;
    for (unsigned k = 0; k < STARVED_KEYS; k++)
        keys += b->model[k].bytes != NULL;
    int rc = cairn_verify(b->store, NULL, &result, NULL);
    if (rc != CAIRN_OK || result.damaged != 0) {
        finding_note(b->f, "verify: %d, %llu damaged", rc, (unsigned long long)result.damaged);
    }
    rc = cairn_stats_get(b->store, &stats, NULL);
    if (rc != CAIRN_OK || stats.keys != keys) {
        finding_note(b->f, "stats: %d, %llu keys for %llu", rc, (unsigned long long)stats.keys,
                     (unsigned long long)keys);
    }
}

void starved_close(starved *b) {
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    b->store = NULL;
    if (rc != CAIRN_OK) finding_note(b->f, "close: %d", rc);
    if (sim_open_handles(b->disk) != 0) finding_note(b->f, "files are left open");
}

/* The process dies and comes again. */
void starved_kill(starved *b) {
    sim_disk *old = b->disk;
    b->disk = sim_kill(old);
    memory_fence(b->disk);
    if (b->store != NULL) (void)cairn_close(b->store);
    b->store = NULL;
    sim_free(old);
}

void starved_finish(starved *b, bool kill) {
    memory_plan(0, 0);
    if (b->store == NULL) starved_open(b);
    starved_compare(b, "afterwards");
    if (kill) {
        starved_kill(b);
    } else {
        starved_close(b);
    }
    if (!b->f->found) starved_open(b);
    starved_compare(b, kill ? "after a kill" : "after a close");
    if (!b->f->found) starved_verify(b);
    starved_close(b);
    sim_free(b->disk);
}

/* An act while memory fails, and again with enough of it. */
void starved_perform(starved *b, const act *a) {
    if (b->store == NULL) starved_open(b);
    if (b->f->found) return;
    uint64_t failures = memory_failures();
    int rc = a->run(b);
    bool failed = memory_failures() > failures;
    if (rc != CAIRN_OK && !(rc == CAIRN_NO_MEMORY && failed)) {
        finding_note(b->f, "%s: %d after %llu failures", a->name, rc, (unsigned long long)memory_failures());
    }
}

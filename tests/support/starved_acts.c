/* What one may do to a store as a whole while allocations fail; and the list of all acts. */
#include "tests/support/starved_acts.h"

#include "src/store/store.h"
#include "tests/support/rung.h"
#include "tests/support/text.h"

static int checkpoint_store(starved *b) {
    memory_counted();
    return memory_uncounted(cairn_checkpoint(b->store, NULL));
}

static int sync_store(starved *b) {
    memory_counted();
    return memory_uncounted(cairn_sync(b->store, NULL));
}

static int verify(starved *b) {
    cairn_verify_result result = {.struct_size = sizeof result};
    memory_counted();
    int rc = memory_uncounted(cairn_verify(b->store, NULL, &result, NULL));
    return rc == CAIRN_OK && result.damaged != 0 ? starved_wrong(b, "verify") : rc;
}

static int stats(starved *b) {
    cairn_stats result = {.struct_size = sizeof result};
    memory_counted();
    return memory_uncounted(cairn_stats_get(b->store, &result, NULL));
}

/* Frees the handle whatever it returns. */
static int close_store(starved *b) {
    memory_counted();
    int rc = memory_uncounted(cairn_close(b->store));
    b->store = NULL;
    return rc;
}

static int open_store(starved *b) {
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, false, &b->store, NULL));
    if (rc != CAIRN_OK && (b->store != NULL || sim_open_handles(b->disk) != 0)) {
        finding_note(b->f, "a failed open leaves something open");
    }
    return rc;
}

static int reopen(starved *b) {
    int rc = close_store(b);
    return rc == CAIRN_OK ? open_store(b) : rc;
}

static int open_after_kill(starved *b) {
    starved_kill(b);
    return open_store(b);
}

static int open_read_only(starved *b) {
    starved_close(b);
    uint64_t before = sim_fingerprint(b->disk);
    memory_counted();
    int rc = memory_uncounted(specimen_open(b->s, b->disk, true, &b->store, NULL));
    starved_compare(b, "read-only");
    if (rc == CAIRN_OK) starved_close(b);
    if (sim_fingerprint(b->disk) != before) finding_note(b->f, "a read-only open has changed the disk");
    return rc;
}

/* A session that compresses and keeps all values in memory. */
static int open_packing(starved *b) {
    cairn_options o = {.struct_size = sizeof o,
                       .no_background = true,
                       .compression = CAIRN_COMPRESSION_ZSTD,
                       .cache_bytes = UINT64_MAX,
                       .segment_bytes = MEGABYTE};
    starved_close(b);
    memory_counted();
    int rc =
        memory_uncounted(store_open_on(&b->store, sim_os(b->disk), SPECIMEN_STORE, &o, b->s->plan.hash_mask, NULL));
    if (rc != CAIRN_OK) return rc;
    unsigned k = starved_any_key(b);
    for (size_t size = 3000; rc == CAIRN_OK && size < MEGABYTE; size *= 100) {
        const uint8_t *value = text_window(&b->rng, size);
        memory_counted();
        rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, size, NULL, NULL));
        starved_learn(b, rc, k, value, size);
        if (rc == CAIRN_OK) rc = act_get(b);
        if (rc == CAIRN_OK) rc = act_view(b);
        if (rc == CAIRN_OK) rc = act_read_part(b);
    }
    if (rc == CAIRN_OK) rc = act_commit_small(b);
    starved_close(b);
    return rc;
}

static int open_new(starved *b, cairn **store) {
    cairn_options o = {.struct_size = sizeof o, .create = true, .no_background = true};
    return store_open_on(store, sim_os(b->disk), "new", &o, UINT64_MAX, NULL);
}

/* All garbage, of which there is more now. */
static int compact_store(starved *b) {
    cairn_compact_options o = {.struct_size = sizeof o, .full = true};
    for (unsigned i = 0; i < 3; i++) {
        unsigned k = starved_any_key(b);
        const uint8_t *value = random_window(&b->rng, 1000);
        int rc = cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, 1000, NULL, NULL);
        starved_learn(b, rc, k, value, 1000);
    }
    memory_counted();
    return memory_uncounted(cairn_compact(b->store, &o, NULL, NULL));
}

/* A first one, or one onto it. */
static int back_up(starved *b) {
    cairn_backup_options o = {.struct_size = sizeof o, .copy = random_one_in(&b->rng, 2)};
    memory_counted();
    return memory_uncounted(cairn_backup(b->store, "backup", &o, NULL));
}

/* A new store and its first put, which makes its first segment. */
static int create(starved *b) {
    cairn *other = NULL;
    char got = 0;
    size_t size = 0;
    memory_counted();
    int rc = memory_uncounted(open_new(b, &other));
    if (rc != CAIRN_OK) return rc;
    memory_counted();
    rc = memory_uncounted(cairn_put(other, "k", 1, "v", 1, NULL, NULL));
    if (rc != CAIRN_OK && cairn_put(other, "k", 1, "v", 1, NULL, NULL) != CAIRN_OK)
        (void)starved_wrong(b, "a second put");
    if (cairn_close(other) != CAIRN_OK || open_new(b, &other) != CAIRN_OK) return starved_wrong(b, "a new store");
    if (cairn_get_into(other, "k", 1, &got, 1, &size, NULL) != CAIRN_OK || got != 'v')
        (void)starved_wrong(b, "get_into");
    if (cairn_close(other) != CAIRN_OK) (void)starved_wrong(b, "close");
    return rc;
}

static int grow_shard(starved *b) {
    int worst = CAIRN_OK;
    for (uint32_t i = 0; i < 3700; i++) {
        if (i >= 3200) memory_counted();
        int rc = memory_uncounted(cairn_put(b->store, &i, sizeof i, &i, sizeof i, NULL, NULL));
        if (rc != CAIRN_OK) {
            worst = rc;
            rc = cairn_put(b->store, &i, sizeof i, &i, sizeof i, NULL, NULL);
        }
        if (rc != CAIRN_OK) finding_note(b->f, "put %u, again: %d", i, rc);
    }
    for (uint32_t i = 0; i < 3700; i++) {
        uint32_t value = 0;
        size_t size = 0;
        int rc = cairn_get_into(b->store, &i, sizeof i, &value, sizeof value, &size, NULL);
        if (rc != CAIRN_OK || value != i) finding_note(b->f, "get %u: %d", i, rc);
        if (cairn_delete(b->store, &i, sizeof i, NULL, NULL) != CAIRN_OK) finding_note(b->f, "delete %u", i);
    }
    return worst;
}

#define LESSONS 300u
#define LESSON_BYTES 400u

/* A dictionary, values that are compressed with it, and an opening that loads it. */
static int train(starved *b) {
    cairn_train_options o = {.struct_size = sizeof o, .dictionary_bytes = 512};
    cairn_train_result result = {.struct_size = sizeof result};
    for (uint32_t i = 0; i < LESSONS; i++) {
        const uint8_t *lesson = text_window(&b->rng, LESSON_BYTES);
        int rc = cairn_put(b->store, &i, sizeof i, lesson, LESSON_BYTES, NULL, NULL);
        if (rc != CAIRN_OK) finding_note(b->f, "put of a lesson: %d", rc);
    }
    memory_counted();
    int rc = memory_uncounted(cairn_train(b->store, &o, &result, NULL));
    unsigned k = starved_any_key(b);
    const uint8_t *value = text_window(&b->rng, 2000);
    memory_counted();
    int put_rc = memory_uncounted(cairn_put(b->store, b->keys[k].bytes, b->keys[k].size, value, 2000, NULL, NULL));
    starved_learn(b, put_rc, k, value, 2000);
    if (rc == CAIRN_OK) rc = put_rc;
    if (rc == CAIRN_OK) rc = act_get(b);
    if (rc == CAIRN_OK) rc = reopen(b);
    if (b->store == NULL) starved_open(b);
    for (uint32_t i = 0; i < LESSONS && b->store != NULL; i++) {
        if (cairn_delete(b->store, &i, sizeof i, NULL, NULL) != CAIRN_OK) finding_note(b->f, "delete of lesson %u", i);
    }
    return rc;
}

const act acts[ACTS] = {[ACT_PUT_NEW] = {"put of a new key", act_put_new},
                        [ACT_PUT_MUCH] = {"put of much", act_put_bulk},
                        {"put", act_put_small},
                        {"put of a long key", act_put_long_key},
                        {"put of a value file", act_put_in_file},
                        {"synced put", act_put_synced},
                        {"expiring put", act_put_expiring},
                        {"delete", act_delete_any},
                        {"batch", act_commit_small},
                        {"expiring batch", act_commit_expiring},
                        {"batch with value files", act_commit_large},
                        {"short writer", act_write_short},
                        {"long writer", act_write_long},
                        {"get", act_get},
                        {"get_into", act_get_into},
                        {"get_many", act_get_many},
                        {"read", act_read_part},
                        {"stat", act_stat_key},
                        {"reader", act_read_stream},
                        {"view", act_view},
                        {"scan", act_scan},
                        {"snapshot", act_use_snapshot},
                        {"checkpoint", checkpoint_store},
                        {"sync", sync_store},
                        {"compaction", compact_store},
                        {"backup", back_up},
                        {"verify", verify},
                        {"stats", stats},
                        {"reopen", reopen},
                        {"open after a kill", open_after_kill},
                        {"open read-only", open_read_only},
                        {"open with compression and cache", open_packing},
                        {"create", create}};
const act act_growth = {"growth", grow_shard};
const act act_train = {"train", train};

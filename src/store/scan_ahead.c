#include "src/store/scan_ahead.h"

#include "src/base/check.h"
#include "src/os/os_memory.h"
#include "src/store/read_ahead.h"

#include <stdlib.h>
#include <string.h>

#define ASKED_OF 16u    /* from key to key one of so many records is asked about, the first one included */
#define NEAR_ENOUGH 64u /* records in a row in memory: from key to key again */
#define REACH_FIRST 8u

/* Short records in any order cost a read each. When so many were read that all of the log would have been read
 * meanwhile in its own order, and that finds room in memory, each further one brings its neighbours along, until all of
 * them are there. */
#define SHORT_BYTES ((uint64_t)32 << 10)
#define FAR_BYTES ((uint64_t)64 << 10)     /* of the log, read in its order in the time of one record */
#define AROUND_BYTES ((uint64_t)256 << 10) /* from a multiple of this to the next */
#define FAR_MIN 16u                        /* records */
#define MEMORY_SHARE 4u                    /* the log takes a quarter at most */

typedef struct found_key {
    scan_key key;
    uint8_t *copy; /* NULL: the key is the walk's, for as long as that does not go on */
} found_key;

struct scan_queue {
    size_t reach;  /* keys that it holds at most */
    unsigned near; /* records in a row that were in memory */
    int failed;    /* of the walk, behind the keys; CAIRN_OK: nothing */
    cairn_error why;
    uint8_t *given; /* copy of the key that was given last */
    read_ahead ahead;
    found_key keys[READ_AHEAD_RECORDS];
};

static bool is_empty(const scan_queue *q) { return read_ahead_count(&q->ahead) == 0; }

/* There is something to be given before the walk goes on: a key, or a failure. */
static bool has_some(const scan_queue *q) { return q != NULL && (!is_empty(q) || q->failed != CAIRN_OK); }

static bool brings_neighbours(const scan_ahead *a, uint64_t bytes) {
    if (bytes > SHORT_BYTES || a->far < FAR_MIN) return false;
    uint64_t log_bytes = vlog_usage_get(a->store->log).record_bytes;
    return a->far >= log_bytes / FAR_BYTES && log_bytes <= os_memory_bytes() / MEMORY_SHARE;
}

/* Bytes that the system was asked for, because they are not in memory; 0: none. */
static uint64_t ask_for(scan_ahead *a, const scan_key *key, bool whole) {
    uint64_t hash = store_hash(a->store, key->bytes, key->size).index, bytes = 0;
    epoch_guard guard = epoch_enter(a->store->readers);
    location where = read_ahead_place(a->store, a->moment, hash);
    if (where != LOCATION_NONE) {
        bytes = min_u64(location_units(where) * UNIT_BYTES, whole ? READ_AHEAD_RECORD_BYTES : BLOCK_BYTES);
        if (vlog_is_near(a->store->log, where, bytes)) bytes = 0;
        a->far += bytes > 0;
        bool around = whole && bytes > 0 && brings_neighbours(a, bytes);
        if (around) vlog_read_around(a->store->log, where, AROUND_BYTES);
    }
    epoch_exit(a->store->readers, guard);
    return bytes;
}

/* Before the walk goes on: the key that it found last is copied. false: no memory, so that it has to wait. */
static bool keep_last(scan_queue *q) {
    if (is_empty(q)) return true;
    found_key *last = &q->keys[(q->ahead.behind - 1) % READ_AHEAD_RECORDS];
    if (last->copy != NULL) return true;
    last->copy = malloc(last->key.size);
    if (last->copy == NULL) return false;
    memcpy(last->copy, last->key.bytes, last->key.size);
    last->key.bytes = last->copy;
    return true;
}

static void add_key(scan_ahead *a, const scan_key *key, uint64_t bytes) {
    scan_queue *q = a->queue;
    q->keys[read_ahead_add(&q->ahead, bytes)] = (found_key){.key = *key};
    q->near = bytes > 0 ? 0 : q->near + 1;
    if (q->near == NEAR_ENOUGH) a->is_on = false;
}

static bool goes_on(const scan_ahead *a, uint64_t left) {
    const scan_queue *q = a->queue;
    return a->is_on && q->failed == CAIRN_OK && read_ahead_count(&q->ahead) < min_u64(q->reach, left) &&
           !read_ahead_is_full(&q->ahead);
}

static void go_on(scan_ahead *a, uint64_t left, bool whole) {
    scan_queue *q = a->queue;
    scan_key key;
    while (goes_on(a, left) && keep_last(q)) {
        q->failed = ordered_scan_next(a->walk, &key, &q->why);
        if (q->failed == CAIRN_OK) add_key(a, &key, ask_for(a, &key, whole));
    }
}

/* From now on it goes ahead, of the key that it found last and whose record is not in memory. Without memory for that
 * it does not. */
static void begin(scan_ahead *a, const scan_key *key, uint64_t bytes) {
    if (a->queue == NULL) {
        a->queue = calloc(1, sizeof *a->queue);
        if (a->queue == NULL) return;
        a->queue->reach = REACH_FIRST;
    }
    a->is_on = true;
    add_key(a, key, bytes);
}

/* From key to key. Unless it begins to go ahead, the key is the next one. */
static int next_in_turn(scan_ahead *a, bool whole, scan_key *key, cairn_error *error) {
    int rc = ordered_scan_next(a->walk, key, error);
    if (rc != CAIRN_OK || a->passed++ % ASKED_OF != 0) return rc;
    uint64_t bytes = ask_for(a, key, whole);
    if (bytes > 0) begin(a, key, bytes);
    return rc;
}

static int give_failure(scan_queue *q, cairn_error *error) {
    int rc = q->failed;
    CHECK(rc != CAIRN_OK);
    q->failed = CAIRN_OK;
    if (rc < 0 && error != NULL) *error = q->why;
    return rc;
}

static void give_first(scan_queue *q, scan_key *key) {
    found_key *first = &q->keys[read_ahead_take(&q->ahead)];
    *key = first->key;
    q->given = first->copy;
    q->reach = min_u64(2 * q->reach, READ_AHEAD_RECORDS);
}

int scan_ahead_next(scan_ahead *a, uint64_t left, bool whole, scan_key *key, cairn_error *error) {
    if (a->queue != NULL) {
        free(a->queue->given);
        a->queue->given = NULL;
    }
    if (!a->is_on && !has_some(a->queue)) {
        int rc = next_in_turn(a, whole, key, error);
        if (!a->is_on) return rc;
    }
    go_on(a, left, whole);
    if (is_empty(a->queue)) return give_failure(a->queue, error);
    give_first(a->queue, key);
    return CAIRN_OK;
}

void scan_ahead_release(scan_ahead *a) {
    scan_queue *q = a->queue;
    if (q == NULL) return;
    while (!is_empty(q)) {
        free(q->keys[read_ahead_take(&q->ahead)].copy);
    }
    free(q->given);
    free(q);
}

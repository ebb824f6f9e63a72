#include "src/store/replay_queue.h"

#include "src/base/check.h"
#include "src/os/os_thread.h"

#include <stdlib.h>
#include <string.h>

/* A batch: of larger ones more of each shard is met in the cache, but the batch itself is not in it any more. */
#define RECORDS_MIN 4096u
#define RECORDS_MAX ((uint64_t)128 << 10)
#define SHARE 8u           /* of the records */
#define AHEAD 8u           /* records: what the index looks at is brought nearer within a shard as well */
#define THREAD_FROM 65536u /* records */

typedef struct batch {
    vlog_event *events; /* in the order in which they came */
    size_t count;
    uint32_t of_shard[HASH_INDEX_SHARDS]; /* how many */
    uint32_t *order;                      /* by shard */
} batch;

struct replay_queue {
    replay_queue_options options;
    size_t capacity; /* of a batch */
    batch batches[2];
    batch *filling; /* the caller's; the other one is the thread's while it is `given` */
    bool has_thread;
    os_thread thread;
    os_mutex lock;
    os_cond changed;
    batch *given; /* lock: to be applied by the thread; NULL: nothing is */
    bool ends;    /* lock */
    int rc;       /* lock: the first failure */
    cairn_error error;
};

/* ---- A batch ---- */

static int batch_make(batch *b, size_t capacity) {
    *b = (batch){.events = malloc(capacity * sizeof *b->events), .order = malloc(capacity * sizeof *b->order)};
    return b->events != NULL && b->order != NULL ? CAIRN_OK : CAIRN_NO_MEMORY;
}

static void batch_release(batch *b) {
    free(b->events);
    free(b->order);
}

static unsigned shard_of(const vlog_event *e) { return hash_index_shard_of(e->hash); }

static void sort(batch *b) {
    uint32_t next[HASH_INDEX_SHARDS], begin = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        next[i] = begin;
        begin += b->of_shard[i];
    }
    for (uint32_t i = 0; i < b->count; i++) {
        b->order[next[shard_of(&b->events[i])]++] = i;
    }
}

static void bring_nearer(const replay_queue *q, const batch *b, size_t at) {
    if (at + AHEAD < b->count) __builtin_prefetch(&b->events[b->order[at + AHEAD]]);
    if (at < b->count) hash_index_prefetch(q->options.index, b->events[b->order[at]].hash);
}

/* An epoch for each shard: what it outgrows meanwhile is to be freed. */
static int apply_shard(replay_queue *q, const batch *b, size_t begin, size_t end, cairn_error *error) {
    int rc = CAIRN_OK;
    uint64_t hash = b->events[b->order[begin]].hash;
    epoch_guard guard = epoch_enter(q->options.readers);
    hash_index_lock(q->options.index, hash);
    for (size_t i = begin; rc == CAIRN_OK && i < end; i++) {
        bring_nearer(q, b, i + AHEAD);
        rc = q->options.apply(q->options.ctx, &b->events[b->order[i]], error);
    }
    hash_index_unlock(q->options.index, hash);
    epoch_exit(q->options.readers, guard);
    return rc;
}

static int apply_batch(replay_queue *q, batch *b, cairn_error *error) {
    int rc = CAIRN_OK;
    sort(b);
    for (size_t i = 0, begin = 0; rc == CAIRN_OK && i < HASH_INDEX_SHARDS; begin += b->of_shard[i++]) {
        if (b->of_shard[i] > 0) rc = apply_shard(q, b, begin, begin + b->of_shard[i], error);
    }
    b->count = 0;
    memset(b->of_shard, 0, sizeof b->of_shard);
    return rc;
}

/* ---- The thread ---- */

static void *run(void *arg) {
    replay_queue *q = arg;
    cairn_error error;
    os_mutex_lock(&q->lock);
    while (!q->ends) {
        if (q->given == NULL) {
            os_cond_wait(&q->changed, &q->lock);
            continue;
        }
        os_mutex_unlock(&q->lock);
        int rc = apply_batch(q, q->given, &error);
        os_mutex_lock(&q->lock);
        if (rc != CAIRN_OK && q->rc == CAIRN_OK) {
            q->rc = rc;
            q->error = error;
        }
        q->given = NULL;
        os_cond_broadcast(&q->changed);
    }
    os_mutex_unlock(&q->lock);
    return NULL;
}

/* Lock held: the thread has nothing to do. Its failure, if there was one. */
static int wait_for_thread(replay_queue *q, cairn_error *error) {
    while (q->given != NULL) {
        os_cond_wait(&q->changed, &q->lock);
    }
    if (q->rc != CAIRN_OK && error != NULL) *error = q->error;
    return q->rc;
}

/* What was collected is applied, or on its way. */
static int pass_on(replay_queue *q, cairn_error *error) {
    if (!q->has_thread) return apply_batch(q, q->filling, error);
    os_mutex_lock(&q->lock);
    int rc = wait_for_thread(q, error);
    if (rc == CAIRN_OK) {
        q->given = q->filling;
        q->filling = q->filling == &q->batches[0] ? &q->batches[1] : &q->batches[0];
        os_cond_broadcast(&q->changed);
    }
    os_mutex_unlock(&q->lock);
    return rc;
}

static void end_thread(replay_queue *q) {
    if (!q->has_thread) return;
    os_mutex_lock(&q->lock);
    q->ends = true;
    os_cond_broadcast(&q->changed);
    os_mutex_unlock(&q->lock);
    os_thread_join(&q->thread);
}

/* ---- The queue ---- */

int replay_queue_new(replay_queue **out, const replay_queue_options *options) {
    replay_queue *q = *out = calloc(1, sizeof *q);
    if (q == NULL) return CAIRN_NO_MEMORY;
    q->options = *options;
    q->capacity = min_u64(max_u64(options->records / SHARE, RECORDS_MIN), RECORDS_MAX);
    q->filling = &q->batches[0];
    os_mutex_init(&q->lock);
    os_cond_init(&q->changed);
    bool wants_thread = !options->no_thread && options->records >= THREAD_FROM;
    int rc = batch_make(&q->batches[0], q->capacity);
    if (rc == CAIRN_OK && wants_thread) rc = batch_make(&q->batches[1], q->capacity);
    if (rc == CAIRN_OK) {
        q->has_thread = wants_thread && os_thread_start(&q->thread, run, q) == 0;
        return CAIRN_OK;
    }
    replay_queue_free(q);
    *out = NULL;
    return rc;
}

void replay_queue_free(replay_queue *q) {
    if (q == NULL) return;
    end_thread(q);
    for (int i = 0; i < 2; i++) {
        batch_release(&q->batches[i]);
    }
    os_cond_destroy(&q->changed);
    os_mutex_destroy(&q->lock);
    free(q);
}

int replay_queue_add(replay_queue *q, const vlog_event *e, cairn_error *error) {
    batch *b = q->filling;
    CHECK(b->count < q->capacity);
    b->events[b->count++] = *e;
    b->of_shard[shard_of(e)]++;
    return b->count == q->capacity ? pass_on(q, error) : CAIRN_OK;
}

int replay_queue_finish(replay_queue *q, cairn_error *error) {
    int rc = pass_on(q, error);
    if (rc != CAIRN_OK || !q->has_thread) return rc;
    os_mutex_lock(&q->lock);
    rc = wait_for_thread(q, error);
    os_mutex_unlock(&q->lock);
    return rc;
}

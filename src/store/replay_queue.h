/* Records on their way from the log to the index.
 *
 * One by one, each waits for memory: its two buckets lie anywhere in the index. So they are collected, put in the order
 * of the index's shards, and applied shard by shard, whose buckets then are in the processor's cache: radix
 * partitioning (Boncz, Manegold, Kersten, "Database Architecture Optimized for the New Bottleneck: Memory Access",
 * VLDB 1999). Records of one shard keep their order, those of different shards do not depend on one another, so the
 * result is that of one by one. While the queue's own thread applies what was collected, the caller collects more.
 *
 * One caller at a time.
 */
#ifndef CAIRN_STORE_REPLAY_QUEUE_H
#define CAIRN_STORE_REPLAY_QUEUE_H

#include "index/hash_index.h"
#include "vlog/log.h"

/* With the stripe of the record's hash held, inside the epoch; perhaps on the queue's thread, one at a time. CAIRN_OK
 * or a code, with which the replay ends. */
typedef int (*replay_apply)(void *ctx, const vlog_event *e, cairn_error *error);

typedef struct replay_queue_options {
    hash_index *index;
    epoch *readers;
    uint64_t records; /* that will come, about */
    bool no_thread;   /* the caller applies them; so he does where there is little to do, or no thread to be had */
    replay_apply apply;
    void *ctx;
} replay_queue_options;

typedef struct replay_queue replay_queue;

int replay_queue_new(replay_queue **out, const replay_queue_options *options); /* CAIRN_OK or CAIRN_NO_MEMORY */
void replay_queue_free(replay_queue *q); /* NULL is fine; what waits is not applied */

/* Applied by the end of replay_queue_finish. A code that is returned may be that of a record before; after it only
 * replay_queue_free may come. */
int replay_queue_add(replay_queue *q, const vlog_event *e, cairn_error *error);
int replay_queue_finish(replay_queue *q, cairn_error *error); /* everything that was added is applied */

#endif

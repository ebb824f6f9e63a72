/* What recover.c finds and repair.c makes durable. For these two files only. One thread. */
#ifndef CAIRN_VLOG_RECOVER_H
#define CAIRN_VLOG_RECOVER_H

#include "vlog/entries.h"
#include "vlog/held.h"
#include "vlog/log_state.h"

/* An open segment under recovery. */
typedef struct tail {
    segment *segment;
    os_file *file;
    uint64_t end;      /* behind the last record that stays */
    uint64_t doubtful; /* offset of the first record that may not have reached the disk; UINT64_MAX: none */
    footer_builder builder;
} tail;

typedef struct recovery {
    vlog *log;
    vlog_start start;
    vlog_apply apply;
    void *ctx;
    vlog_recovered *result;
    tail *tails;
    size_t tail_count;
    const tail *last;      /* that holds the last record whose place runs on */
    const segment *broken; /* where the records first do not run on, in a segment that is not sealed; NULL: nowhere */
    uint64_t broken_at;    /* and at which offset */
    uint64_t durable;      /* known durable place */
    uint64_t expected;     /* place that runs on behind the last valid header */
    uint64_t next_place;   /* behind the last record that stays */
    uint8_t *scratch;      /* IO_PIECE_BYTES */
    entry_merge moved;     /* of compacted segments, where they are wanted */
    held_parts held;       /* parts of batches whose COMMIT is still to come */
} recovery;

/* Makes the log end where recovery found that it does, durably. */
int vlog_repair(recovery *r, cairn_error *error);

#endif

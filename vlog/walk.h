/* Walking a segment record by record, by the lengths in the headers. Reads no payload beyond what comes along in its
 * buffer. One thread. */
#ifndef CAIRN_VLOG_WALK_H
#define CAIRN_VLOG_WALK_H

#include "vlog/record.h"
#include "vlog/segment.h"

typedef struct walker {
    const segment *segment;
    os_file *file;
    uint64_t offset; /* of the current record; where there is none, of the place that holds no valid record */
    uint64_t limit;  /* records end here at most */
    record_header header;
    const uint8_t *bytes; /* header->header_size bytes of the current record; valid until the next call */
    uint8_t *buffer;
    uint64_t buffer_offset;
    size_t buffer_have;
    uint64_t next;
} walker;

/* limit: the size of the file is taken into account as well. */
int walker_init(walker *w, const segment *s, os_file *file, uint64_t from, uint64_t limit, cairn_error *error);
void walker_release(walker *w);
/* 1: on a record. 0: no valid record at w->offset (the end, or damage). Negative: a code. */
int walker_next(walker *w, cairn_error *error);
/* From w->offset on, looks for the next offset that holds a valid record: as walker_next. For what comes behind damage.
 */
int walker_resync(walker *w, cairn_error *error);

#endif

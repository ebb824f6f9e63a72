/* Appending: a record gets its place, version and offset, and is written, under one lock.
 *
 * Threads that meet at the lock are served by the one that has it: each hangs its request into log->waiting and tries
 * for the lock; the holder takes all that hang there and writes them with one call, which costs little more than
 * writing one, and gives the page cache larger pages. (Combining: Hendler, Incze, Shavit, Tzafrir, "Flat combining and
 * the synchronization-parallelism tradeoff", 2010.) A request that nobody served yet is served by its own thread, so
 * none waits for another's courtesy.
 */
#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

/* A value may hold up the others for the time of one write: some 10 milliseconds at this size. */
#define PAYLOAD_MAX ((uint64_t)32 << 20)
#define FRAMES_MAX (PAYLOAD_MAX / FRAME_BYTES)

/* One write of many records: no more pieces than the system takes, and no longer than a large value alone. */
#define BATCH_MAX 16
#define BATCH_BYTES ((uint64_t)1 << 20)

struct append_request {
    const vlog_record *record;
    record_header header;
    const uint64_t *frames;
    uint8_t *encoded;     /* header_size bytes */
    uint64_t gap, offset; /* what a SKIP fills before it; where it begins */
    uint8_t skip[RECORD_SKIP_HEADER_BYTES];
    vlog_appended *out;
    cairn_error *error;
    int rc;
    atomic_bool done; /* rc and *out are set; the request is its thread's again */
    append_request *next;
};

typedef struct batch {
    append_request *requests[BATCH_MAX];
    size_t count;
    struct iovec iov[OS_PIECES_MAX];
    int pieces;
    uint64_t end, place, version; /* behind the last request */
} batch;

uint64_t vlog_payload_max(const vlog *log) { return min_u64(PAYLOAD_MAX, log->options.segment_bytes / 4); }

/* The first append of a session makes sure that no version of it can have been given out before, nor will be again. */
static int start_session(vlog *log, cairn_error *error) {
    if (log->started) return CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    if (rc == CAIRN_OK) log->started = true;
    return rc;
}

static int raise_ceiling(vlog *log, cairn_error *error) {
    if (atomic_load(&log->next_version) + BATCH_MAX <= atomic_load(&log->version_ceiling)) return CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

/* A failed write is undone; where even that fails, nothing more can be appended safely. */
static int cut_back(vlog *log, os_file *file, int write_rc, cairn_error *error) {
    segment *s = log->active;
    int rc = status_os(error, write_rc, "cannot append to segment %016llx.seg at offset %llu",
                       (unsigned long long)s->id, (unsigned long long)atomic_load(&s->end));
    if (error != NULL) {
        error->segment = s->id;
        error->offset = atomic_load(&s->end);
    }
    if (os_file_truncate(file, atomic_load(&s->end)) != 0) (void)vlog_fail(log);
    return rc;
}

/* ---- A batch ---- */

static uint8_t zeros[BLOCK_BYTES]; /* never written */

static uint64_t padding_of(const append_request *q) {
    return q->header.units * UNIT_BYTES - q->header.header_size - q->record->payload_size;
}

static int pieces_of(const append_request *q) { return 4 + (int)(padding_of(q) / sizeof zeros + 1); }

static void add_piece(batch *b, const void *bytes, uint64_t size) {
    if (size > 0) b->iov[b->pieces++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* Gives the request its numbers, and adds [SKIP and its gap] header payload padding to what is written. */
static void batch_add(vlog *log, batch *b, append_request *q) {
    const segment *s = log->active;
    record_header *h = &q->header;
    CHECK(b->count < BATCH_MAX && b->pieces + pieces_of(q) <= OS_PIECES_MAX);
    uint64_t durable = atomic_load(&log->durable_place);
    q->offset = record_align(b->end, h->units);
    q->gap = q->offset - b->end;
    if (q->gap > 0) record_encode_skip(q->skip, q->gap / UNIT_BYTES, b->place++, durable, s->seed + b->end);
    h->place = b->place++;
    h->version = b->version++;
    h->durable_place = durable;
    record_encode(q->encoded, h, q->record->key, q->frames, s->seed + q->offset);
    if (q->gap > 0) {
        add_piece(b, q->skip, sizeof q->skip);
        add_piece(b, zeros, q->gap - sizeof q->skip);
    }
    add_piece(b, q->encoded, h->header_size);
    add_piece(b, q->record->payload, q->record->payload_size);
    for (uint64_t padding = padding_of(q); padding > 0;) {
        uint64_t piece = min_u64(padding, sizeof zeros);
        add_piece(b, zeros, piece);
        padding -= piece;
    }
    b->end = q->offset + h->units * UNIT_BYTES;
    b->requests[b->count++] = q;
}

static bool batch_takes(const vlog *log, const batch *b, const append_request *q) {
    uint64_t bytes = b->end - atomic_load(&log->active->end) + q->header.units * UNIT_BYTES;
    return b->count < BATCH_MAX && b->pieces + pieces_of(q) <= OS_PIECES_MAX && bytes <= BATCH_BYTES &&
           vlog_has_room(log, b->end, q->header.units);
}

static int batch_write(vlog *log, const batch *b, cairn_error *error) {
    os_file *file = NULL;
    if (footer_builder_reserve(&log->builder, 2 * b->count) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for the footer");
    }
    int rc = segment_file(&log->files, log->active, &file, error);
    if (rc != CAIRN_OK) return rc;
    int os_rc = os_file_writev(file, b->iov, b->pieces, atomic_load(&log->active->end));
    return os_rc == 0 ? CAIRN_OK : cut_back(log, file, os_rc, error);
}

static void note_in_footer(vlog *log, const append_request *q) {
    const record_header *h = &q->header;
    if (q->gap > 0) {
        footer_builder_add(&log->builder, &(footer_entry){.type = RECORD_SKIP,
                                                          .offset = q->offset - q->gap,
                                                          .units = q->gap / UNIT_BYTES,
                                                          .place = h->place - 1});
    }
    footer_builder_add(&log->builder, &(footer_entry){.type = h->type,
                                                      .flags = h->flags,
                                                      .hash = q->record->hash,
                                                      .offset = q->offset,
                                                      .units = h->units,
                                                      .place = h->place,
                                                      .version = h->version,
                                                      .value_file = q->record->value_file});
}

/* What is written becomes part of the log. */
static void batch_commit(vlog *log, const batch *b) {
    segment *s = log->active;
    for (size_t i = 0; i < b->count; i++) {
        const append_request *q = b->requests[i];
        location_kind kind = q->record->type == RECORD_STREAM ? LOCATION_STREAM : LOCATION_VALUE;
        note_in_footer(log, q);
        *q->out =
            (vlog_appended){q->header.place, q->header.version, segment_location(s, q->offset, q->header.units, kind)};
    }
    atomic_fetch_add(&log->appended_bytes, b->end - atomic_load(&s->end));
    atomic_store(&s->end, b->end);
    atomic_store(&log->next_version, b->version);
    atomic_store(&log->next_place, b->place);
    if (vlog_spare_is_due(log)) atomic_store_explicit(&log->due, true, memory_order_relaxed);
}

/* ---- Requests: append lock held ---- */

static void finish(append_request *q, int rc) {
    q->rc = rc;
    atomic_store_explicit(&q->done, true, memory_order_release);
}

static int prepare(vlog *log, const append_request *q) {
    if (vlog_failed(log)) return vlog_refuse_failed(q->error);
    int rc = vlog_make_room(log, q->header.units, q->error);
    if (rc == CAIRN_OK) rc = start_session(log, q->error);
    return rc == CAIRN_OK ? raise_ceiling(log, q->error) : rc;
}

/* Writes the first request, and as many behind it as one write takes if `many`. Returns the first one left. What is
 * finished is not touched any more: it may be gone. */
static append_request *append_some(vlog *log, append_request *first, bool many) {
    append_request *next = first->next;
    int rc = prepare(log, first);
    if (rc != CAIRN_OK) {
        finish(first, rc);
        return next;
    }
    batch b; /* large: its arrays are not cleared */
    b.count = 0;
    b.pieces = 0;
    b.end = atomic_load(&log->active->end);
    b.place = atomic_load(&log->next_place);
    b.version = atomic_load(&log->next_version);
    batch_add(log, &b, first);
    while (many && next != NULL && batch_takes(log, &b, next)) {
        batch_add(log, &b, next);
        next = next->next;
    }
    rc = batch_write(log, &b, first->error);
    if (rc == CAIRN_OK) {
        batch_commit(log, &b);
    } else if (b.count > 1) {
        return append_some(log, first, false); /* what does not fit together may fit alone */
    }
    for (size_t i = 0; i < b.count; i++) {
        finish(b.requests[i], rc);
    }
    return next;
}

static void append_all(vlog *log, append_request *first) {
    while (first != NULL) {
        first = append_some(log, first, true);
    }
    if (log->onlookers > 0) os_cond_broadcast(&log->served);
}

/* All that wait, the one that came first in front. */
static append_request *take_waiting(vlog *log) {
    append_request *last = atomic_exchange_explicit(&log->waiting, NULL, memory_order_acquire), *first = NULL;
    while (last != NULL) {
        append_request *before = last->next;
        last->next = first;
        first = last;
        last = before;
    }
    return first;
}

static void hang_in(vlog *log, append_request *q) {
    q->next = atomic_load_explicit(&log->waiting, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&log->waiting, &q->next, q, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

static void append_request_now(vlog *log, append_request *q) {
    hang_in(log, q);
    if (os_mutex_lock_unless(&log->append_lock, &q->done)) {
        append_all(log, take_waiting(log));
        os_mutex_unlock(&log->append_lock);
    }
    if (atomic_load_explicit(&q->done, memory_order_acquire)) return;
    /* Somebody took it before we had the lock, and gave the lock away while he waits for the next segment. */
    os_mutex_lock(&log->append_lock);
    log->onlookers++;
    while (!atomic_load_explicit(&q->done, memory_order_acquire)) {
        os_cond_wait(&log->served, &log->append_lock);
    }
    log->onlookers--;
    os_mutex_unlock(&log->append_lock);
}

int vlog_append(vlog *log, const vlog_record *r, vlog_appended *out, cairn_error *error) {
    CHECK(r->payload_size <= vlog_payload_max(log) && r->key_size >= 1 && r->key_size <= RECORD_KEY_MAX);
    uint64_t frames[FRAMES_MAX];
    uint8_t small[BLOCK_BYTES];
    append_request q = {.record = r, .frames = frames, .encoded = small, .out = out, .error = error};
    frames_compute(frames, r->payload, r->payload_size);
    q.header = (record_header){.type = r->type,
                               .flags = r->flags,
                               .key_size = r->key_size,
                               .value_size = r->value_size,
                               .stored_size = r->payload_size};
    record_layout(&q.header);
    if (q.header.header_size > sizeof small) q.encoded = malloc(q.header.header_size);
    if (q.encoded == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the header of a record");
    append_request_now(log, &q);
    if (q.encoded != small) free(q.encoded);
    return q.rc;
}

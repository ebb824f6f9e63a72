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

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A value may hold up the others for the time of one write: some 10 milliseconds at this size. */
#define PAYLOAD_MAX ((uint64_t)32 << 20)
#define FRAMES_MAX (PAYLOAD_MAX / FRAME_BYTES)

/* One write of many records: no more pieces than the system takes, and no longer than a large value alone. */
#define GROUP_MAX 16
#define GROUP_BYTES ((uint64_t)1 << 20)

struct append_request {
    const vlog_record *record;
    record_header header;
    const uint64_t *frames;
    uint8_t *encoded;  /* header_size bytes */
    uint64_t features; /* that the manifest must have first */
    uint64_t offset;   /* where it begins */
    vlog_appended *out;
    cairn_error *error;
    int rc;
    atomic_bool done; /* rc and *out are set; the request is its thread's again */
    append_request *next;
};

typedef struct group {
    append_request *requests[GROUP_MAX];
    size_t count;
    struct iovec iov[OS_PIECES_MAX];
    int pieces;
    uint64_t end, place, version; /* behind the last request */
} group;

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
    if (atomic_load(&log->next_version) + GROUP_MAX <= atomic_load(&log->version_ceiling)) return CAIRN_OK;
    os_mutex_lock(&log->manifest_lock);
    int rc = vlog_store_manifest(log, error);
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

/* A failed write is undone; where even that fails, nothing more can be appended safely. */
static int cut_back(vlog *log, os_file *file, int write_rc, cairn_error *error) {
    segment *s = log->active;
    int rc = status_os(error, write_rc, "cannot append to segment %s at offset %llu", segment_name_of(s).text,
                       (unsigned long long)atomic_load(&s->end));
    if (error != NULL) {
        error->segment = s->id;
        error->offset = atomic_load(&s->end);
    }
    s->written = 0;
    mapped_append_end(&log->mapped);
    if (os_file_truncate(file, atomic_load(&s->end)) != 0) (void)vlog_fail(log);
    return rc;
}

/* ---- A group ---- */

static uint8_t zeros[BLOCK_BYTES]; /* never written */

static uint64_t padding_of(const append_request *q) {
    return q->header.units * UNIT_BYTES - q->header.header_size - q->record->payload_size;
}

static int pieces_of(const append_request *q) { return 2 + (int)(padding_of(q) / sizeof zeros + 1); }

static void add_piece(group *g, const void *bytes, uint64_t size) {
    if (size > 0) g->iov[g->pieces++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* Gives the request its numbers, and adds header, payload and padding to what is written. */
static void group_add(vlog *log, group *g, append_request *q) {
    const segment *s = log->active;
    record_header *h = &q->header;
    CHECK(g->count < GROUP_MAX && g->pieces + pieces_of(q) <= OS_PIECES_MAX);
    uint64_t durable = atomic_load(&log->durable_place);
    q->offset = g->end;
    h->place = g->place++;
    h->version = g->version++;
    h->durable_place = durable;
    if ((h->flags & RECORD_BATCH) != 0) h->batch = q->record->batch != 0 ? q->record->batch : h->place;
    record_encode(q->encoded, h, q->record->key, q->frames, q->record->lengths, s->seed + q->offset);
    add_piece(g, q->encoded, h->header_size);
    add_piece(g, q->record->payload, q->record->payload_size);
    for (uint64_t padding = padding_of(q); padding > 0;) {
        uint64_t piece = min_u64(padding, sizeof zeros);
        add_piece(g, zeros, piece);
        padding -= piece;
    }
    g->end = q->offset + h->units * UNIT_BYTES;
    g->requests[g->count++] = q;
}

static bool group_takes(const vlog *log, const group *g, const append_request *q) {
    uint64_t bytes = g->end - atomic_load(&log->active->end) + q->header.units * UNIT_BYTES;
    return g->count < GROUP_MAX && g->pieces + pieces_of(q) <= OS_PIECES_MAX && bytes <= GROUP_BYTES &&
           (q->features & ~atomic_load(&log->features)) == 0 && vlog_has_room(log, g->end, q->header.units);
}

/* At the segment's end, with zeros behind where they make it cheaper; where there is no room for them, without. */
static int write_pieces(vlog *log, group *g, os_file *file, uint64_t at, uint64_t unsynced) {
    segment *s = log->active;
    struct iovec rest = {0};
    if (unsynced >= MAPPED_AFTER_BYTES && g->pieces < OS_PIECES_MAX) rest = ahead_rest(s, g->end);
    if (rest.iov_len > 0) {
        g->iov[g->pieces] = rest;
        s->written = g->end + rest.iov_len; /* or a part of it, which is cut off */
        int rc = os_file_writev(file, g->iov, g->pieces + 1, at);
        if (rc != -ENOSPC && rc != -EDQUOT) return rc;
        mapped_append_end(&log->mapped);
        ahead_cut(s, file, at);
    }
    return os_file_writev(file, g->iov, g->pieces, at);
}

static int group_write(vlog *log, group *g, cairn_error *error) {
    os_file *file = NULL;
    if (footer_builder_reserve(&log->builder, g->count) != CAIRN_OK) {
        return status_set(error, CAIRN_NO_MEMORY, "no memory for the footer");
    }
    int rc = segment_file(&log->files, log->active, &file, error);
    if (rc != CAIRN_OK) return rc;
    uint64_t at = atomic_load(&log->active->end), unsynced = atomic_load(&log->appended_bytes) - log->ahead.appended;
    if (mapped_append_write(&log->mapped, log->options.dir, log->active, file, g->iov, g->pieces, g->end - at,
                            unsynced))
        return CAIRN_OK;
    int os_rc = write_pieces(log, g, file, at, unsynced);
    if (os_rc != 0) return cut_back(log, file, os_rc, error);
    ahead_write(&log->ahead, log->options.dir, log->active, file, g->end);
    return CAIRN_OK;
}

static void note_in_footer(vlog *log, const append_request *q) {
    footer_entry e = footer_entry_of(&q->header, q->offset);
    e.hash = q->record->hash;
    e.value_file = q->record->value_file;
    footer_builder_add(&log->builder, &e);
}

/* What is written becomes part of the log. */
static void group_commit(vlog *log, const group *g) {
    segment *s = log->active;
    for (size_t i = 0; i < g->count; i++) {
        const append_request *q = g->requests[i];
        location_kind kind = vlog_kind_of(q->header.type, q->header.flags);
        note_in_footer(log, q);
        *q->out =
            (vlog_appended){q->header.place, q->header.version, segment_location(s, q->offset, q->header.units, kind)};
    }
    atomic_fetch_add(&log->appended_bytes, g->end - atomic_load(&s->end));
    atomic_fetch_add(&log->record_bytes, g->end - atomic_load(&s->end));
    atomic_store(&s->end, g->end);
    atomic_store(&log->next_version, g->version);
    atomic_store(&log->next_place, g->place);
    if (vlog_spare_is_due(log)) atomic_store_explicit(&log->due, true, memory_order_relaxed);
}

/* ---- Requests: append lock held ---- */

static void finish(append_request *q, int rc) {
    q->rc = rc;
    atomic_store_explicit(&q->done, true, memory_order_release);
}

static bool is_refused(const vlog *log, const append_request *q) {
    bool is_value = q->header.type == RECORD_PUT || q->header.type == RECORD_STREAM;
    return is_value && atomic_load(&log->values_refused);
}

static int prepare(vlog *log, const append_request *q) {
    if (vlog_failed(log)) return vlog_refuse_failed(q->error);
    if (is_refused(log, q)) return status_os(q->error, -ENOSPC, "no room for a value until space is freed");
    int rc = vlog_make_room(log, q->header.units, q->error);
    if (rc == CAIRN_OK) rc = start_session(log, q->error);
    if (rc == CAIRN_OK) rc = vlog_require(log, q->features, q->error);
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
    group g; /* large: its arrays are not cleared */
    g.count = 0;
    g.pieces = 0;
    g.end = atomic_load(&log->active->end);
    g.place = atomic_load(&log->next_place);
    g.version = atomic_load(&log->next_version);
    group_add(log, &g, first);
    while (many && next != NULL && !is_refused(log, next) && group_takes(log, &g, next)) {
        group_add(log, &g, next);
        next = next->next;
    }
    rc = group_write(log, &g, first->error);
    if (rc == CAIRN_OK) {
        group_commit(log, &g);
    } else if (g.count > 1) {
        return append_some(log, first, false); /* what does not fit together may fit alone */
    }
    for (size_t i = 0; i < g.count; i++) {
        finish(g.requests[i], rc);
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

/* Returns when the request, which hangs in log->waiting, is done. */
static void see_to(vlog *log, append_request *q) {
    if (os_mutex_lock_unless(&log->append_lock, &q->done, &log->append_sleepers)) {
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

void vlog_refuse_values(vlog *log, bool refuse) {
    os_mutex_lock_eagerly(&log->append_lock, &log->append_sleepers);
    atomic_store(&log->values_refused, refuse);
    os_mutex_unlock(&log->append_lock);
}

void vlog_give_way(const vlog *log) { os_mutex_give_way(&log->append_sleepers); }

static record_header header_of(const vlog_record *r) {
    record_header h = {.type = r->type,
                       .flags = r->flags,
                       .codec = r->codec,
                       .key_size = r->key_size,
                       .value_size = r->value_size,
                       .stored_size = r->payload_size,
                       .expires_at_ms = r->expires_at_ms,
                       .dictionary = r->dictionary,
                       .replaces = r->replaces};
    if (r->codec != CODEC_RAW) h.flags |= RECORD_PACKED;
    if (r->expires_at_ms != 0) h.flags |= RECORD_EXPIRES;
    record_layout(&h);
    return h;
}

static uint64_t features_of(const record_header *h, const vlog_record *r) {
    uint64_t features = 0;
    if (h->codec != CODEC_RAW || r->file_packed) features |= FEATURE_ZSTD;
    if (h->codec == CODEC_ZSTD_DICTIONARY) features |= FEATURE_DICTIONARY;
    if ((h->flags & RECORD_EXPIRES) != 0) features |= FEATURE_EXPIRES;
    if ((h->flags & RECORD_BATCH) != 0) features |= FEATURE_BATCH;
    if (h->units * UNIT_BYTES >= RECORD_LARGE_BYTES) features |= FEATURE_ON_UNITS;
    return features;
}

uint64_t vlog_record_bytes(const vlog_record *r) { return header_of(r).units * UNIT_BYTES; }

/* A request in memory of its own: `bytes` has room for request_bytes. */
typedef struct request_memory {
    append_request request;
    uint8_t bytes[]; /* checksums of the frames, then the encoded header */
} request_memory;

static size_t request_bytes(const record_header *h) {
    return 8 * frames_of(record_content_size(h)) + round_up(h->header_size, 8);
}

static void request_fill(vlog *log, append_request *q, const vlog_record *r, vlog_appended *out, cairn_error *error,
                         uint64_t *frames, uint8_t *encoded) {
    uint64_t content = record_content_size(&q->header);
    CHECK(content <= vlog_payload_max(log));
    q->record = r;
    q->features = features_of(&q->header, r);
    q->frames = frames;
    q->encoded = encoded;
    q->out = out;
    q->error = error;
    frames_compute(frames, r->codec == CODEC_RAW ? r->payload : r->value, content);
}

int vlog_append(vlog *log, const vlog_record *r, vlog_appended *out, cairn_error *error) {
    uint64_t frames[FRAMES_MAX];
    uint8_t small[BLOCK_BYTES], *encoded = small;
    append_request q = {.header = header_of(r)};
    if (q.header.header_size > sizeof small) encoded = malloc(q.header.header_size);
    if (encoded == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the header of a record");
    request_fill(log, &q, r, out, error, frames, encoded);
    hang_in(log, &q);
    see_to(log, &q);
    if (encoded != small) free(encoded);
    return q.rc;
}

static request_memory *request_new(vlog *log, const vlog_record *r, vlog_appended *out, cairn_error *error) {
    record_header h = header_of(r);
    request_memory *m = malloc(sizeof *m + request_bytes(&h));
    if (m == NULL) return NULL;
    m->request = (append_request){.header = h};
    uint64_t *frames = (uint64_t *)(void *)m->bytes;
    request_fill(log, &m->request, r, out, error, frames, m->bytes + 8 * frames_of(record_content_size(&h)));
    return m;
}

int vlog_append_many(vlog *log, const vlog_record *records, size_t count, vlog_appended *out, cairn_error *error) {
    request_memory *m[VLOG_APPEND_MANY];
    size_t made = 0;
    int rc = CAIRN_OK;
    CHECK(count <= VLOG_APPEND_MANY);
    while (made < count && (m[made] = request_new(log, &records[made], &out[made], error)) != NULL)
        made++;
    if (made < count) {
        rc = status_set(error, CAIRN_NO_MEMORY, "no memory for the headers of records");
    } else {
        for (size_t i = 0; i < count; i++) {
            hang_in(log, &m[i]->request);
        }
        for (size_t i = 0; i < count; i++) {
            see_to(log, &m[i]->request);
            if (rc == CAIRN_OK) rc = m[i]->request.rc;
        }
    }
    for (size_t i = 0; i < made; i++) {
        free(m[i]);
    }
    return rc;
}

#include "tests/support/every_call.h"

#include <stddef.h>

#define EXPECT(call)                                                                                                   \
    do {                                                                                                               \
        if ((call) != code) return #call;                                                                              \
    } while (0)

/* The item's code, where the call has one for it. */
static int calls_of_get_many(cairn *s) {
    cairn_get_item item = {.key = "k", .key_size = 1};
    int rc = cairn_get_many(s, &item, sizeof item, 1, NULL, NULL);
    cairn_free(item.value);
    return rc == CAIRN_OK ? item.code : rc;
}

static const char *calls_of_store(cairn *s, int code) {
    char buf[8];
    void *value;
    size_t size;
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_stats stats = {.struct_size = sizeof stats};
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_writer *writer;
    cairn_reader *reader;
    cairn_view *view;
    cairn_scan *scan;
    cairn_snapshot *snapshot;
    cairn_train_result trained = {.struct_size = sizeof trained};
    EXPECT(cairn_get(s, "k", 1, &value, &size, NULL));
    EXPECT(cairn_get_into(s, "k", 1, buf, sizeof buf, &size, NULL));
    EXPECT(calls_of_get_many(s));
    EXPECT(cairn_read(s, "k", 1, 0, buf, sizeof buf, &size, NULL));
    EXPECT(cairn_delete(s, "k", 1, NULL, NULL));
    EXPECT(cairn_stat(s, "k", 1, &entry, NULL));
    EXPECT(cairn_writer_open(s, "k", 1, NULL, &writer, NULL));
    EXPECT(cairn_reader_open(s, "k", 1, &reader, NULL));
    EXPECT(cairn_view_open(s, "k", 1, &view, NULL));
    EXPECT(cairn_scan_open(s, NULL, &scan, NULL));
    EXPECT(cairn_snapshot_open(s, &snapshot, NULL));
    EXPECT(cairn_train(s, NULL, &trained, NULL));
    EXPECT(cairn_sync(s, NULL));
    EXPECT(cairn_checkpoint(s, NULL));
    EXPECT(cairn_verify(s, NULL, &result, NULL));
    EXPECT(cairn_stats_get(s, &stats, NULL));
    return NULL;
}

static const char *calls_of_batch(cairn *s, int code) {
    cairn_batch *batch;
    if (cairn_batch_new(&batch) != CAIRN_OK) return "cairn_batch_new";
    int rc = cairn_batch_put(batch, "k", 1, "v", 1);
    if (rc == CAIRN_OK) rc = cairn_batch_commit(s, batch, NULL, NULL);
    cairn_batch_free(batch);
    return rc == code ? NULL : "cairn_batch_commit";
}

const char *every_call_but(const handles *h, int code, cairn_error *error) {
    char buf[8];
    size_t size;
    const void *p;
    EXPECT(cairn_put(h->store, "refused", 7, "v", 1, NULL, error));
    const char *other = calls_of_store(h->store, code);
    if (other == NULL) other = calls_of_batch(h->store, code);
    if (other != NULL) return other;
    EXPECT(cairn_writer_write(h->writer, "x", 1, NULL));
    EXPECT(cairn_reader_pread(h->reader, buf, sizeof buf, 0, &size, NULL));
    EXPECT(cairn_scan_next(h->scan, NULL));
    EXPECT(cairn_scan_value(h->scan, &p, &size, NULL));
    EXPECT(cairn_writer_commit(h->writer, NULL));
    cairn_reader_close(h->reader);
    cairn_scan_close(h->scan);
    EXPECT(cairn_close(h->store));
    return NULL;
}

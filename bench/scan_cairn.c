/* cairn with every default: the ordered index is one of them. */
#include "bench/bench_common.h"
#include "bench/scan_engine.h"

#include <stdio.h>

static void tell(void *ctx, int level, const char *message) {
    (void)ctx;
    if (level <= CAIRN_LOG_WARNING) fprintf(stderr, "bench_scan: cairn says: %s\n", message);
}

static void *open_store(const char *path) {
    cairn *store = NULL;
    cairn_error error;
    cairn_options options = {.struct_size = sizeof options, .create = true, .log = tell};
    must(cairn_open(&store, path, &options, &error), "open", &error);
    return store;
}

static void put(void *store, const char *key, size_t key_size, const void *value, size_t value_size) {
    cairn_error error;
    must(cairn_put(store, key, key_size, value, value_size, NULL, &error), "put", &error);
}

/* All that is due is done by the close that follows. */
static void settle(void *store) {
    cairn_error error;
    must(cairn_sync(store, &error), "sync", &error);
}

static cairn_scan *begin(cairn *store, const scan_query *q) {
    cairn_error error;
    cairn_scan *scan = NULL;
    cairn_scan_options options = {.struct_size = sizeof options, .keys_only = !q->values, .reverse = q->reverse};
    if (q->like_size != 0) {
        options.like = q->like;
        options.like_size = q->like_size;
    } else if (q->is_prefix) {
        options.prefix = q->lower;
        options.prefix_size = q->lower_size;
    } else {
        options.lower = q->lower_size != 0 ? q->lower : NULL;
        options.lower_size = q->lower_size;
        options.upper = q->upper_size != 0 ? q->upper : NULL;
        options.upper_size = q->upper_size;
        options.upper_exclusive = true;
    }
    must(cairn_scan_open(store, &options, &scan, &error), "scan", &error);
    return scan;
}

static void scan_store(void *store, const scan_query *q, scan_sum *sum) {
    int code;
    size_t size;
    cairn_error error;
    cairn_scan *scan = begin(store, q);
    while ((code = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        const void *key = cairn_scan_key(scan, &size), *value;
        scan_add_key(sum, key, size);
        if (!q->values) continue;
        must(cairn_scan_value(scan, &value, &size, &error), "value", &error);
        scan_add_value(sum, value, size);
    }
    if (code != CAIRN_DONE) must(code, "scan", &error);
    cairn_scan_close(scan);
}

static void close_store(void *store) {
    int code = cairn_close(store);
    if (code != CAIRN_OK) die("close", cairn_strerror(code));
}

const scan_engine scan_cairn = {
    .name = "cairn", .open = open_store, .put = put, .settle = settle, .scan = scan_store, .close = close_store};

#include "tests/support/sorted_walk.h"

#include "src/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* ---- What is wrong ---- */

static bool wrong(const sorted_walk *w, finding *f, const char *what) {
    char text[512];
    scan_query_write(&w->query.options, text, sizeof text);
    return finding_note(f, "%s; after %llu keys of %s%s", what, (unsigned long long)w->given, text,
                        w->ordered ? "" : ", in any order");
}

static bool wrong_code(const sorted_walk *w, finding *f, const char *call, int rc, const cairn_error *error) {
    char what[400];
    (void)snprintf(what, sizeof what, "%s: %d %s", call, rc, error->message);
    return wrong(w, f, what);
}

/* ---- What is expected ---- */

static bool is_expected(const sorted_walk *w, size_t key) {
    const sorted_key *k = &w->then.keys->list[key];
    return sorted_map_has(&w->then, key, w->now_ms) && scan_query_asks_for(&w->query.options, k->bytes, k->size);
}

/* The next key in order, SIZE_MAX at the end. */
static size_t next_expected(sorted_walk *w) {
    size_t count = w->then.keys->count;
    if (w->query.options.limit != 0 && w->given == w->query.options.limit) return SIZE_MAX;
    while (w->next < count) {
        size_t key = w->query.options.reverse ? count - 1 - w->next : w->next;
        w->next++;
        if (is_expected(w, key)) return key;
    }
    return SIZE_MAX;
}

uint64_t sorted_moment_count(const sorted_moment *m, const cairn_scan_options *o) {
    uint64_t count = 0;
    for (size_t key = 0; key < m->map->keys->count; key++) {
        const sorted_key *k = &m->map->keys->list[key];
        count += sorted_map_has(m->map, key, m->now_ms) && scan_query_asks_for(o, k->bytes, k->size);
    }
    return o->limit != 0 ? min_u64(count, o->limit) : count;
}

/* ---- The walk ---- */

bool sorted_walk_open(sorted_walk *w, cairn *store, const scan_query *query, const sorted_moment *moment, finding *f) {
    cairn_error error = {0};
    *w = (sorted_walk){.query = *query, .now_ms = moment->now_ms, .ordered = moment->has_order};
    w->query.options.snapshot = moment->snapshot;
    bool supported = moment->has_order || !scan_query_needs_order(&query->options);
    int rc = cairn_scan_open(store, &w->query.options, &w->scan, &error);
    if (rc != (supported ? CAIRN_OK : CAIRN_UNSUPPORTED)) {
        (void)wrong_code(w, f, "scan_open", rc, &error);
        sorted_walk_close(w);
        scan_query_free(&w->query);
        return false;
    }
    if (!supported) {
        scan_query_free(&w->query);
        return w->scan == NULL || finding_note(f, "a scan that was refused is not NULL");
    }
    sorted_map_copy(&w->then, moment->map);
    w->seen = calloc(w->then.keys->count, sizeof *w->seen);
    CHECK(w->seen != NULL);
    return true;
}

void sorted_walk_close(sorted_walk *w) {
    if (w->scan == NULL) return;
    cairn_scan_close(w->scan);
    scan_query_free(&w->query);
    sorted_map_free(&w->then);
    free(w->seen);
    *w = (sorted_walk){0};
}

static bool value_agrees(sorted_walk *w, size_t key, finding *f) {
    const sorted_value *v = &w->then.values[key];
    const void *bytes = NULL;
    size_t size = 0;
    cairn_error error = {0};
    if (cairn_scan_value_size(w->scan) != v->size) return wrong(w, f, "another value's size");
    int rc = cairn_scan_value(w->scan, &bytes, &size, &error);
    if (w->query.options.keys_only) return rc == CAIRN_INVALID || wrong_code(w, f, "scan_value", rc, &error);
    if (rc != CAIRN_OK) return wrong_code(w, f, "scan_value", rc, &error);
    if (size == v->size && (size == 0 || memcmp(bytes, v->bytes, size) == 0)) return true;
    return wrong(w, f, "another value");
}

static bool given_in_order(sorted_walk *w, const void *bytes, size_t size, size_t *key, finding *f) {
    *key = next_expected(w);
    if (*key == SIZE_MAX) return wrong(w, f, "a key behind the last one");
    const sorted_key *k = &w->then.keys->list[*key];
    if (k->size == size && memcmp(k->bytes, bytes, size) == 0) return true;
    char what[100];
    (void)snprintf(what, sizeof what, "key %zd in the place of key %zu",
                   (ssize_t)sorted_keys_find(w->then.keys, bytes, size), *key);
    return wrong(w, f, what);
}

static bool given_in_any_order(sorted_walk *w, const void *bytes, size_t size, size_t *key, finding *f) {
    *key = sorted_keys_find(w->then.keys, bytes, size);
    if (*key == SIZE_MAX) return wrong(w, f, "an unknown key");
    if (!is_expected(w, *key) || w->seen[*key]) return wrong(w, f, "a key that was not there, or twice");
    w->seen[*key] = true;
    return true;
}

static bool ends_rightly(sorted_walk *w, finding *f) {
    sorted_moment m = {.map = &w->then, .now_ms = w->now_ms};
    if (w->failed) return wrong(w, f, "an end behind a failure");
    if (w->given == sorted_moment_count(&m, &w->query.options)) return true;
    return wrong(w, f, "the end too early");
}

bool sorted_walk_next(sorted_walk *w, bool *more, finding *f) {
    cairn_error error = {0};
    size_t size = 0, key;
    int rc = cairn_scan_next(w->scan, &error);
    *more = rc == CAIRN_OK;
    if (rc == CAIRN_DONE) return ends_rightly(w, f);
    if (rc == CAIRN_UNSUPPORTED && w->index_is_gone && w->ordered) {
        w->failed = true;
        return true;
    }
    if (rc != CAIRN_OK) return wrong_code(w, f, "scan_next", rc, &error);
    if (w->failed) return wrong(w, f, "a key behind a failure");
    const void *bytes = cairn_scan_key(w->scan, &size);
    bool good = (w->ordered ? given_in_order : given_in_any_order)(w, bytes, size, &key, f);
    w->given += good;
    return good && value_agrees(w, key, f);
}

bool sorted_walk_to_end(sorted_walk *w, finding *f) {
    bool more = true, good = true;
    while (good && more)
        good = sorted_walk_next(w, &more, f);
    return good;
}

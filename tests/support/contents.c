#include "tests/support/contents.h"

#include "src/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Changes ---- */

void put_text(cairn *store, const char *key, const void *value, size_t size) {
    cairn_error error = {0};
    int rc = cairn_put(store, key, strlen(key), value, size, NULL, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_put: %d, %s", rc, error.message);
}

void put_for(cairn *store, const char *key, const void *value, size_t size, uint64_t ttl_ms) {
    cairn_put_options o = {.struct_size = sizeof o, .ttl_ms = ttl_ms};
    cairn_error error = {0};
    int rc = cairn_put(store, key, strlen(key), value, size, &o, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_put: %d, %s", rc, error.message);
}

void delete_text(cairn *store, const char *key) {
    int rc = cairn_delete(store, key, strlen(key), NULL, NULL);
    assert_true(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND);
}

/* ---- What a store says of itself ---- */

cairn_stats stats_of(cairn *store) {
    cairn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(cairn_stats_get(store, &stats, NULL), CAIRN_OK);
    return stats;
}

cairn_entry entry_of(cairn *store, const char *key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    int rc = cairn_stat(store, key, strlen(key), &entry, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_stat: %d, %s", rc, error.message);
    return entry;
}

uint64_t version_of(cairn *store, const char *key) {
    cairn_entry entry = {.struct_size = sizeof entry};
    assert_int_equal(cairn_stat(store, key, strlen(key), &entry, NULL), CAIRN_OK);
    assert_true(entry.version != 0);
    return entry.version;
}

size_t keys_by_scan(cairn *store, cairn_snapshot *snapshot) {
    cairn_scan_options o = {.struct_size = sizeof o, .keys_only = true, .snapshot = snapshot};
    cairn_scan *scan;
    size_t count = 0;
    int rc;
    assert_int_equal(cairn_scan_open(store, &o, &scan, NULL), CAIRN_OK);
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK)
        count++;
    assert_int_equal(rc, CAIRN_DONE);
    cairn_scan_close(scan);
    return count;
}

uint64_t verify_damage(cairn *store) {
    cairn_verify_result result = {.struct_size = sizeof result};
    assert_int_equal(cairn_verify(store, NULL, &result, NULL), CAIRN_OK);
    return result.damaged;
}

/* ---- What it gives ---- */

void expect_get(cairn *store, const void *key, size_t key_size, const void *value, size_t size) {
    void *got = NULL;
    size_t got_size = 77;
    cairn_error error = {0};
    int rc = cairn_get(store, key, key_size, &got, &got_size, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_get: %d, %s", rc, error.message);
    assert_non_null(got);
    assert_int_equal(got_size, size);
    if (size > 0) assert_memory_equal(got, value, size);
    cairn_free(got);
}

void expect_text(cairn *store, const char *key, const char *value) {
    expect_get(store, key, strlen(key), value, strlen(value));
}

/* What a scan says of one key: how often it is listed, and whether with these bytes. */
static unsigned listed(cairn *store, const char *key, const void *value, size_t size) {
    cairn_scan *scan;
    unsigned met = 0;
    int rc;
    assert_int_equal(cairn_scan_open(store, NULL, &scan, NULL), CAIRN_OK);
    while ((rc = cairn_scan_next(scan, NULL)) == CAIRN_OK) {
        size_t key_size, value_size;
        const void *bytes = cairn_scan_key(scan, &key_size), *data;
        if (key_size != strlen(key) || memcmp(bytes, key, key_size) != 0) continue;
        met++;
        if (value == NULL) continue;
        assert_int_equal(cairn_scan_value_size(scan), size);
        assert_int_equal(cairn_scan_value(scan, &data, &value_size, NULL), CAIRN_OK);
        assert_int_equal(value_size, size);
        assert_memory_equal(data, value, size);
    }
    assert_int_equal(rc, CAIRN_DONE);
    cairn_scan_close(scan);
    return met;
}

void expect_absent(cairn *store, const char *key) {
    size_t n = strlen(key), size = 7;
    void *value = (void *)1;
    char buf[8];
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_reader *reader;
    cairn_view *view;
    cairn_snapshot *snapshot;
    assert_int_equal(cairn_get(store, key, n, &value, &size, NULL), CAIRN_NOT_FOUND);
    assert_null(value);
    assert_int_equal(cairn_get_into(store, key, n, buf, sizeof buf, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_read(store, key, n, 0, buf, sizeof buf, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_stat(store, key, n, &entry, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_reader_open(store, key, n, &reader, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_view_open(store, key, n, &view, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(listed(store, key, NULL, 0), 0);
    assert_int_equal(cairn_snapshot_open(store, &snapshot, NULL), CAIRN_OK);
    assert_int_equal(cairn_snapshot_get(snapshot, key, n, &value, &size, NULL), CAIRN_NOT_FOUND);
    assert_int_equal(cairn_snapshot_stat(snapshot, key, n, &entry, NULL), CAIRN_NOT_FOUND);
    cairn_snapshot_close(snapshot);
}

static void expect_parts(cairn *store, const char *key, const uint8_t *value, size_t size) {
    const size_t n = strlen(key),
                 cuts[] = {0, 1, size / 3, size / 2, size - size / 4, size - (size > 0), size, size + 9};
    uint8_t *buf = malloc(size + 1);
    cairn_reader *reader;
    size_t got;
    CHECK(buf != NULL);
    assert_int_equal(cairn_reader_open(store, key, n, &reader, NULL), CAIRN_OK);
    assert_int_equal(cairn_reader_size(reader), size);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        size_t from = cuts[i], length = i % 2 == 0 ? size / 2 + 1 : 5;
        size_t expected = from < size ? (length < size - from ? length : size - from) : 0;
        assert_int_equal(cairn_read(store, key, n, from, buf, length, &got, NULL), CAIRN_OK);
        assert_int_equal(got, expected);
        if (expected > 0) assert_memory_equal(buf, value + from, expected);
        assert_int_equal(cairn_reader_pread(reader, buf, length, from, &got, NULL), CAIRN_OK);
        assert_int_equal(got, expected);
        if (expected > 0) assert_memory_equal(buf, value + from, expected);
    }
    cairn_reader_close(reader);
    assert_int_equal(cairn_get_into(store, key, n, buf, size + 1, &got, NULL), CAIRN_OK);
    assert_int_equal(got, size);
    assert_memory_equal(buf, value, size);
    if (size > 0) assert_int_equal(cairn_get_into(store, key, n, buf, size - 1, &got, NULL), CAIRN_TOO_SMALL);
    free(buf);
}

void expect_everywhere(cairn *store, const char *key, const void *value, size_t size) {
    cairn_view *view;
    cairn_snapshot *snapshot;
    void *copy;
    size_t copied;
    expect_get(store, key, strlen(key), value, size);
    expect_parts(store, key, value, size);
    assert_int_equal(entry_of(store, key).value_size, size);
    assert_int_equal(listed(store, key, value, size), 1);
    assert_int_equal(cairn_view_open(store, key, strlen(key), &view, NULL), CAIRN_OK);
    assert_int_equal(cairn_view_size(view), size);
    assert_memory_equal(cairn_view_data(view), value, size);
    cairn_view_close(view);
    assert_int_equal(cairn_snapshot_open(store, &snapshot, NULL), CAIRN_OK);
    assert_int_equal(cairn_snapshot_get(snapshot, key, strlen(key), &copy, &copied, NULL), CAIRN_OK);
    assert_int_equal(copied, size);
    assert_memory_equal(copy, value, size);
    cairn_free(copy);
    cairn_snapshot_close(snapshot);
}

cairn_snapshot *snapshot_of(cairn *store) {
    cairn_snapshot *s = NULL;
    assert_int_equal(cairn_snapshot_open(store, &s, NULL), CAIRN_OK);
    assert_non_null(s);
    return s;
}

void expect_in(cairn_snapshot *s, const char *key, const void *value, size_t size) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    void *got = NULL;
    size_t got_size = 0;
    int rc = cairn_snapshot_get(s, key, strlen(key), &got, &got_size, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_snapshot_get: %d, %s", rc, error.message);
    assert_int_equal(got_size, size);
    assert_memory_equal(got, value, size);
    cairn_free(got);
    assert_int_equal(cairn_snapshot_stat(s, key, strlen(key), &entry, NULL), CAIRN_OK);
    assert_int_equal(entry.value_size, size);
}

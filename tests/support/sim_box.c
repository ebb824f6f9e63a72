#include "tests/support/sim_box.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/store/store.h"
#include "tests/support/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- The box ---- */

void sim_box_open(sim_box *b) {
    cairn_error error = {0};
    int rc = store_open_on(&b->store, sim_os(b->disk), SIM_BOX_STORE, &b->options, b->hash_mask, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_open: %d, %s", rc, error.message);
}

void sim_box_close(sim_box *b) {
    if (b->store != NULL) assert_int_equal(cairn_close(b->store), CAIRN_OK);
    b->store = NULL;
}

void sim_box_reopen(sim_box *b) {
    sim_box_close(b);
    sim_box_open(b);
}

void sim_box_reopen_read_only(sim_box *b) {
    sim_box_close(b);
    b->options.create = false;
    b->options.read_only = true;
    sim_box_open(b);
}

int sim_box_setup(void **state) {
    sim_box *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->disk = sim_new(1);
    b->hash_mask = UINT64_MAX;
    b->options = (cairn_options){.struct_size = sizeof b->options,
                                 .create = true,
                                 .no_background = true,
                                 .segment_bytes = SIM_BOX_SEGMENT_BYTES};
    sim_box_open(b);
    *state = b;
    return 0;
}

int sim_box_teardown(void **state) {
    sim_box *b = *state;
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    size_t open = sim_open_handles(b->disk);
    sim_free(b->disk);
    free(b);
    return rc != CAIRN_OK || open > 0;
}

/* The dead machine's handle is closed on it, where that changes nothing. */
static void go_on_with(sim_box *b, sim_disk *next) {
    sim_cut_at(b->disk, 0);
    if (b->store != NULL) (void)cairn_close(b->store);
    sim_free(b->disk);
    b->disk = next;
    sim_box_open(b);
}

void sim_box_kill(sim_box *b) { go_on_with(b, sim_kill(b->disk)); }
void sim_box_crash(sim_box *b, uint64_t seed) { go_on_with(b, sim_crash(b->disk, seed)); }

void sim_box_rebuild(sim_box *b) {
    sim_box_close(b);
    (void)sim_file_remove(b->disk, SIM_BOX_STORE, "CHECKPOINT");
    (void)sim_file_remove(b->disk, SIM_BOX_STORE, "CHECKPOINT.DATA");
    sim_box_open(b);
}

/* ---- Its files ---- */

#define NAMES_MAX 256

static bool ends_so(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

static size_t names_of(const sim_box *b, const char *suffix, char (*names)[SIM_NAME_SIZE]) {
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, NAMES_MAX), kept = 0;
    CHECK(count <= NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!ends_so(names[i], suffix)) continue;
        if (kept != i) memcpy(names[kept], names[i], SIM_NAME_SIZE);
        kept++;
    }
    return kept;
}

size_t sim_box_files(const sim_box *b, const char *suffix) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    return names_of(b, suffix, names);
}

void sim_box_file(const sim_box *b, const char *suffix, char name[SIM_NAME_SIZE]) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    assert_int_equal(names_of(b, suffix, names), 1);
    memcpy(name, names[0], SIM_NAME_SIZE);
}

void sim_box_locate(const sim_box *b, const char *suffix, const void *bytes, size_t size, char name[SIM_NAME_SIZE],
                    uint64_t *offset) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    size_t count = names_of(b, suffix, names), found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length;
        uint8_t *content = sim_file_read(b->disk, SIM_BOX_STORE, names[i], &length);
        const uint8_t *at = memmem(content, length, bytes, size);
        if (at != NULL) {
            found++;
            *offset = (uint64_t)(at - content);
            memcpy(name, names[i], SIM_NAME_SIZE);
        }
        free(content);
    }
    assert_int_equal(found, 1);
}

uint64_t sim_box_features(const sim_box *b) {
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, SIM_BOX_STORE, "MANIFEST", &size);
    assert_true(bytes != NULL && size >= 128);
    uint64_t features = le64_get(bytes + 40);
    free(bytes);
    return features;
}

void sim_box_count(sim_box *b, unsigned kinds) {
    sim_fault never = {.kinds = kinds, .nth = UINT64_MAX, .error = -1};
    sim_fault_set(b->disk, &never);
}

uint64_t sim_box_counted(const sim_box *b) { return sim_fault_calls(b->disk); }

/* ---- What a store holds ---- */

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

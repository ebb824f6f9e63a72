#include "tests/support/second_store.h"

#include "src/base/checksum.h"
#include "src/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int contents_sum(cairn *store, uint64_t *sum, cairn_error *error) {
    cairn_scan *scan = NULL;
    *sum = 0;
    int rc = cairn_scan_open(store, NULL, &scan, error);
    while (rc == CAIRN_OK && (rc = cairn_scan_next(scan, error)) == CAIRN_OK) {
        size_t key_size;
        uint64_t bytes[4];
        cairn_entry e = {.struct_size = sizeof e};
        const void *key = cairn_scan_key(scan, &key_size);
        void *value;
        size_t value_size;
        rc = cairn_get(store, key, key_size, &value, &value_size, error);
        if (rc != CAIRN_OK) break;
        rc = cairn_stat(store, key, key_size, &e, error);
        bytes[0] = checksum(key, key_size, 1);
        bytes[1] = checksum(value, value_size, 2);
        bytes[2] = e.version;
        bytes[3] = e.expires_at_ms;
        *sum += checksum(bytes, sizeof bytes, 3);
        cairn_free(value);
    }
    cairn_scan_close(scan);
    return rc == CAIRN_DONE ? CAIRN_OK : rc;
}

uint64_t contents_fingerprint(cairn *store) {
    cairn_error error = {0};
    uint64_t sum;
    int rc = contents_sum(store, &sum, &error);
    if (rc != CAIRN_OK) fail_msg("looking at a store: %d, %s", rc, error.message);
    return sum;
}

int backup_with(sim_box *b, bool copy, cairn_backup_result *result, cairn_error *error) {
    cairn_backup_options o = {.struct_size = sizeof o, .copy = copy, .result = result};
    if (result != NULL) *result = (cairn_backup_result){.struct_size = sizeof *result};
    return cairn_backup(b->store, SECOND_STORE, &o, error);
}

cairn_backup_result backup_now(sim_box *b, bool copy) {
    cairn_backup_result result;
    cairn_error error = {0};
    int rc = backup_with(b, copy, &result, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_backup: %d, %s", rc, error.message);
    assert_int_equal(result.bytes, result.bytes_kept + result.bytes_shared + result.bytes_copied);
    return result;
}

int second_try(sim_disk *d, bool read_only, cairn **store, cairn_error *error) {
    cairn_options o = {
        .struct_size = sizeof o, .read_only = read_only, .no_background = true, .segment_bytes = SIM_BOX_SEGMENT_BYTES};
    return store_open_on(store, sim_os(d), SECOND_STORE, &o, UINT64_MAX, error);
}

cairn *second_open(sim_disk *d, bool read_only) {
    cairn *store = NULL;
    cairn_error error = {0};
    int rc = second_try(d, read_only, &store, &error);
    if (rc != CAIRN_OK) fail_msg("opening the second store: %d, %s", rc, error.message);
    return store;
}

static uint64_t look_at(sim_disk *d, bool read_only) {
    cairn *store = second_open(d, read_only);
    uint64_t sum = contents_fingerprint(store);
    assert_int_equal(verify_damage(store), 0);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    return sum;
}

uint64_t second_fingerprint(sim_disk *d) {
    uint64_t sum = look_at(d, true);
    sim_disk *other = sim_clone(d);
    (void)sim_file_remove(other, SECOND_STORE, "CHECKPOINT");
    assert_int_equal(look_at(other, true), sum);
    size_t files = second_files(other, "");
    assert_int_equal(look_at(other, false), sum);
    assert_true(second_files(other, "") <= files + 2); /* a checkpoint */
    assert_int_equal(second_files(other, ".NEW") + second_files(other, ".tab"), 0);
    sim_free(other);
    return sum;
}

size_t second_files(sim_disk *d, const char *part) { return sim_count(d, SECOND_STORE, part); }

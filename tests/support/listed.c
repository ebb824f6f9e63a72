#include "tests/support/listed.h"

#include "src/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX ((size_t)65536)

void put_keys(cairn *store, const char *keys) {
    for (const char *end; *keys != '\0'; keys = *end == '\0' ? end : end + 1) {
        end = strchrnul(keys, ' ');
        size_t size = (size_t)(end - keys);
        assert_int_equal(cairn_put(store, keys, size, keys, size, NULL, NULL), CAIRN_OK);
    }
}

cairn_scan *scan_of(cairn *store, const cairn_scan_options *options) {
    cairn_scan *scan = NULL;
    cairn_error error = {0};
    int rc = cairn_scan_open(store, options, &scan, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_scan_open: %d, %s", rc, error.message);
    return scan;
}

void expect_next(cairn_scan *scan, const char *key) {
    cairn_error error = {0};
    size_t size;
    int rc = cairn_scan_next(scan, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_scan_next: %d, %s", rc, error.message);
    const void *bytes = cairn_scan_key(scan, &size);
    if (size != strlen(key) || memcmp(bytes, key, size) != 0)
        fail_msg("'%.*s' is listed in the place of '%s'", (int)size, (const char *)bytes, key);
}

void expect_rest(cairn_scan *scan, const char *keys) {
    static char text[TEXT_MAX];
    cairn_error error = {0};
    size_t used = 0;
    int rc;
    while ((rc = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        size_t size;
        const void *bytes = cairn_scan_key(scan, &size);
        CHECK(used + size + 2 < TEXT_MAX);
        if (used > 0) text[used++] = ' ';
        memcpy(text + used, bytes, size);
        used += size;
    }
    text[used] = '\0';
    cairn_scan_close(scan);
    if (rc != CAIRN_DONE) fail_msg("cairn_scan_next: %d, %s", rc, error.message);
    assert_string_equal(text, keys);
}

void expect_keys(cairn *store, const cairn_scan_options *options, const char *keys) {
    expect_rest(scan_of(store, options), keys);
}

uint64_t count_keys(cairn *store, const cairn_scan_options *options) {
    cairn_scan *scan = scan_of(store, options);
    cairn_error error = {0};
    uint64_t count = 0;
    int rc;
    while ((rc = cairn_scan_next(scan, &error)) == CAIRN_OK)
        count++;
    cairn_scan_close(scan);
    if (rc != CAIRN_DONE) fail_msg("cairn_scan_next: %d, %s", rc, error.message);
    return count;
}

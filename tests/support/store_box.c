#include "tests/support/store_box.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/os_wrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

cairn *store_open_on_or_fail(os *system, const char *path, const cairn_options *options) {
    cairn *store = NULL;
    cairn_error error = {0};
    int rc = store_open_on(&store, system, path, options, UINT64_MAX, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_open(%s): %d, %s", path, rc, error.message);
    return store;
}

cairn *store_open_or_fail(const char *path, const cairn_options *options) {
    return store_open_on_or_fail(os_posix(), path, options);
}

static int sync_no_file(os_file *file) {
    (void)file;
    return 0;
}

static int sync_no_dir(os_dir *dir) {
    (void)dir;
    return 0;
}

os *os_without_syncs(void) {
    static os table;
    table = os_posix_with(&(os){.file_sync = sync_no_file, .dir_sync = sync_no_dir});
    return &table;
}

void box_open(box *b) { b->store = store_open_on_or_fail(b->system, b->path, &b->options); }

void box_close(box *b) {
    if (b->store != NULL) assert_int_equal(cairn_close(b->store), CAIRN_OK);
    b->store = NULL;
}

void box_reopen(box *b) {
    box_close(b);
    box_open(b);
}

int box_setup(void **state) {
    box *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    real_folder_make(b->path);
    b->system = os_posix();
    b->options = (cairn_options){.struct_size = sizeof b->options, .create = true, .segment_bytes = BOX_SEGMENT_BYTES};
    box_open(b);
    *state = b;
    return 0;
}

int box_teardown(void **state) {
    box *b = *state;
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    real_folder_remove(b->path);
    free(b);
    return rc;
}

void box_quiet(box *b) {
    b->options.no_background = true;
    box_reopen(b);
}

void box_crash(box *b) {
    CHECK(b->options.no_background);
    char next[REAL_PATH_SIZE];
    real_folder_duplicate(b->path, next);
    box_close(b);
    real_folder_remove(b->path);
    memcpy(b->path, next, sizeof next);
    box_open(b);
}

void expect_refused(const char *path, const cairn_options *o, int code, const char *text) {
    cairn *store = (cairn *)1;
    cairn_error error = {0};
    int rc = cairn_open(&store, path, o, &error);
    if (rc != code) fail_msg("cairn_open: %d, not %d: %s", rc, code, rc == CAIRN_OK ? "opened" : error.message);
    assert_null(store);
    assert_int_equal(error.code, code);
    if (strstr(error.message, text) == NULL) fail_msg("'%s' is not in the message '%s'", text, error.message);
}

/* The ordered index where it is not built in: there never is one, so that the calls on one are never made. */
#include "index/ordered.h"
#include "src/base/check.h"
#include "src/base/status.h"

bool ordered_is_built_in(void) { return false; }

static int unsupported(cairn_error *error) {
    return status_set(error, CAIRN_UNSUPPORTED, "built without the ordered index");
}

int ordered_check_support(os_dir *dir, cairn_error *error) {
    (void)dir;
    return unsupported(error);
}

int ordered_open(ordered **out, os_dir *dir, const ordered_options *options, cairn_error *error) {
    (void)out, (void)dir, (void)options;
    return unsupported(error);
}

int ordered_drop(os_dir *dir, cairn_error *error) {
    (void)dir;
    return unsupported(error);
}

int ordered_build_begin(ordered_build **out, os_dir *dir, const ordered_options *options, cairn_error *error) {
    (void)out, (void)dir, (void)options;
    return unsupported(error);
}

int ordered_build_add(ordered_build *b, const void *key, size_t size, cairn_error *error) {
    (void)b, (void)key, (void)size;
    return unsupported(error);
}

int ordered_build_finish(ordered_build *b, uint64_t place, cairn_error *error) {
    (void)b, (void)place;
    return unsupported(error);
}

void ordered_build_abort(ordered_build *b) { CHECK(b == NULL); }

int ordered_absorb(ordered *o, const ordered_change *changes, size_t count, uint64_t place, cairn_error *error) {
    (void)o, (void)changes, (void)count, (void)place;
    return unsupported(error);
}

void ordered_leave_sums(ordered *o, os_dir *dir) { (void)o, (void)dir; }

int ordered_verify(ordered *o, cairn_error *error) {
    (void)o;
    return unsupported(error);
}

int ordered_cursor_open(ordered_cursor **out, ordered *o, const key_range *range, cairn_error *error) {
    (void)out, (void)o, (void)range;
    return unsupported(error);
}

int ordered_next(ordered_cursor *c, size_t max, const ordered_key **keys, size_t *count, cairn_error *error) {
    (void)c, (void)max, (void)keys, (void)count;
    return unsupported(error);
}

void ordered_cursor_close(ordered_cursor *c) { CHECK(c == NULL); }
void ordered_close(ordered *o) { CHECK(o == NULL); }

uint64_t ordered_keys(ordered *o) {
    (void)o;
    return 0;
}
uint64_t ordered_place(ordered *o) {
    (void)o;
    return 0;
}
uint64_t ordered_bytes(ordered *o) {
    (void)o;
    return 0;
}

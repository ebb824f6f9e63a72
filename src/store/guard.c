/* What every call checks first, and the handling of structs that grow at their tail. */
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int store_check_failed(const cairn *store, cairn_error *error) {
    if (store == NULL) return status_set(error, CAIRN_INVALID, "the store handle is NULL");
    return status_set(error, CAIRN_FAILED, "the store was opened before a fork: a child opens its own handle");
}

int store_check_write(const cairn *store, cairn_error *error) {
    int rc = store_check(store, error);
    if (rc != CAIRN_OK) return rc;
    if (!store->options.read_only) return CAIRN_OK;
    return status_set(error, CAIRN_READ_ONLY, "the store is open read-only");
}

int store_check_key(const void *key, size_t key_size, cairn_error *error) {
    if (key == NULL || key_size == 0) return status_set(error, CAIRN_INVALID, "a key has at least 1 byte");
    if (key_size <= CAIRN_KEY_SIZE_MAX) return CAIRN_OK;
    return status_set(error, CAIRN_TOO_BIG, "a key of %zu bytes: at most %zu", key_size, CAIRN_KEY_SIZE_MAX);
}

int store_copy_options(void *to, size_t size, const void *from, cairn_error *error) {
    memset(to, 0, size);
    if (from == NULL) return CAIRN_OK;
    uint32_t theirs;
    memcpy(&theirs, from, sizeof theirs);
    if (theirs < sizeof theirs) return status_set(error, CAIRN_INVALID, "struct_size of the options is not set");
    for (size_t i = size; i < theirs; i++) {
        if (((const unsigned char *)from)[i] == 0) continue;
        return status_set(error, CAIRN_INVALID, "the options set a field that this version does not know");
    }
    memcpy(to, from, theirs < size ? theirs : size);
    return CAIRN_OK;
}

int store_copy_result(void *to, const void *from, size_t size, cairn_error *error) {
    uint32_t theirs = 0;
    if (to != NULL) memcpy(&theirs, to, sizeof theirs);
    if (theirs < sizeof theirs) return status_set(error, CAIRN_INVALID, "struct_size of the result is not set");
    memcpy((char *)to + sizeof theirs, (const char *)from + sizeof theirs,
           (theirs < size ? theirs : size) - sizeof theirs);
    if (theirs > size) memset((char *)to + size, 0, theirs - size);
    return CAIRN_OK;
}

void store_say(const cairn *store, int level, const char *format, ...) {
    if (store->options.log == NULL) return;
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    store->options.log(store->options.log_ctx, level, text);
}

const char *cairn_version(void) { return CAIRN_VERSION; }

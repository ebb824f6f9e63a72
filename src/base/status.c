#include "src/base/status.h"

#include "src/base/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 5, 0))) static void fill(cairn_error *error, int code, uint64_t segment, uint64_t offset,
                                                       const char *format, va_list args) {
    *error = (cairn_error){.code = code, .segment = segment, .offset = offset};
    (void)vsnprintf(error->message, sizeof error->message, format, args);
}

int status_set(cairn_error *error, int code, const char *format, ...) {
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        fill(error, code, 0, 0, format, args);
        va_end(args);
    }
    return code;
}

int status_set_at(cairn_error *error, int code, uint64_t segment, uint64_t offset, const char *format, ...) {
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        fill(error, code, segment, offset, format, args);
        va_end(args);
    }
    return code;
}

int status_set_key(cairn_error *error, int code, const char *what, const void *key, size_t key_size) {
    if (error == NULL) return code;
    size_t used = strlen(what);
    CHECK(used + KEY_TEXT_SIZE + sizeof ": ''" <= sizeof error->message);
    *error = (cairn_error){.code = code};
    memcpy(error->message, what, used);
    memcpy(error->message + used, ": '", 3);
    used += 3;
    used += strlen(key_text(error->message + used, key, key_size));
    memcpy(error->message + used, "'", sizeof "'");
    return code;
}

static int code_of_errno(int number) {
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CAIRN_FULL;
    case ENOMEM:
        return CAIRN_NO_MEMORY;
    case EROFS:
        return CAIRN_READ_ONLY;
    default:
        return CAIRN_IO;
    }
}

int status_os(cairn_error *error, int negative_errno, const char *format, ...) {
    int code = code_of_errno(-negative_errno);
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        fill(error, code, 0, 0, format, args);
        va_end(args);
        error->sys_errno = -negative_errno;
        size_t used = strlen(error->message);
        char text[64];
        const char *system_text = strerror_r(-negative_errno, text, sizeof text) /* the GNU one */;
        (void)snprintf(error->message + used, sizeof error->message - used, ": %s", system_text);
    }
    return code;
}

const char *key_text(char text[KEY_TEXT_SIZE], const void *key, size_t key_size) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = key;
    size_t used = 0;
    for (size_t i = 0; i < key_size; i++) {
        if (used + 4 + sizeof "..." > KEY_TEXT_SIZE) {
            memcpy(text + used, "...", 3);
            used += 3;
            break;
        }
        if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\') {
            text[used++] = (char)bytes[i];
        } else {
            text[used++] = '\\';
            text[used++] = 'x';
            text[used++] = digits[bytes[i] >> 4];
            text[used++] = digits[bytes[i] & 15];
        }
    }
    text[used] = '\0';
    return text;
}

const char *cairn_strerror(int code) {
    switch (code) {
#define TEXT(name, text)                                                                                               \
    case name:                                                                                                         \
        return text;
        STATUS_LIST(TEXT)
#undef TEXT
    default:
        return "unknown code";
    }
}

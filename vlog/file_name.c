/* Names of the numbered files of a store. Strict, so that no other program's file is ever taken for one. */
#include "vlog/file_name.h"

#include "src/base/check.h"
#include "src/base/status.h"

#include <string.h>

#define ID_DIGITS 16
#define SUFFIX_LETTERS 3

static const char digits[] = "0123456789abcdef";

void file_name(char name[FILE_NAME_SIZE], uint64_t id, const char *suffix) {
    CHECK(strlen(suffix) == SUFFIX_LETTERS);
    for (int i = 0; i < ID_DIGITS; i++)
        name[i] = digits[(id >> (4 * (ID_DIGITS - 1 - i))) & 15];
    name[ID_DIGITS] = '.';
    memcpy(name + ID_DIGITS + 1, suffix, SUFFIX_LETTERS + 1);
}

bool file_name_parse(const char *name, uint64_t *id, char suffix[4]) {
    if (strlen(name) != ID_DIGITS + 1 + SUFFIX_LETTERS || name[ID_DIGITS] != '.') return false;
    uint64_t value = 0;
    for (int i = 0; i < ID_DIGITS; i++) {
        const char *digit = strchr(digits, name[i]);
        if (digit == NULL) return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    static const char *const known[] = {"seg", "alt", "val", "tab", "dic"};
    const char *letters = name + ID_DIGITS + 1;
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        is_known = is_known || strcmp(letters, known[i]) == 0;
    }
    if (!is_known) return false;
    *id = value;
    memcpy(suffix, letters, SUFFIX_LETTERS + 1);
    return true;
}

int file_damaged(cairn_error *error, uint64_t id, const char *suffix, uint64_t offset, const char *what) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, suffix);
    return status_set_at(error, CAIRN_CORRUPT, id, offset, "%s: %s at offset %llu", name, what,
                         (unsigned long long)offset);
}

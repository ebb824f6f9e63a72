/* Every call of cairn.h that can be refused for the sake of its handle. */
#ifndef CAIRN_TESTS_EVERY_CALL_H
#define CAIRN_TESTS_EVERY_CALL_H

#include "include/cairn.h"

typedef struct handles {
    cairn *store;
    cairn_writer *writer;
    cairn_reader *reader;
    cairn_scan *scan;
} handles;

/* Makes each call, with arguments that are right but for the handle; commits and closes come last, and the handles are
 * gone after it. The text of the first call that does not return `code`, or NULL. `error` is what a put gave. */
const char *every_call_but(const handles *h, int code, cairn_error *error);

#endif

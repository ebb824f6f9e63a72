/* What a checking function found wrong: the first thing only. Checks return false once something is found, so that a
 * test can run on states by the thousand and a planted bug can be told from a failed test. */
#ifndef CAIRN_TESTS_FINDING_H
#define CAIRN_TESTS_FINDING_H

#include <stdbool.h>

typedef struct finding {
    bool found;
    char text[8192];
} finding;

/* Always false. */
bool finding_note(finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds to what was noted: where and when. */
void finding_add(finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

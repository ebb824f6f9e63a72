#include "tests/support/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool finding_note(finding *f, const char *format, ...) {
    if (f->found) return false;
    f->found = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return false;
}

void finding_add(finding *f, const char *format, ...) {
    size_t used = strlen(f->text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->text + used, sizeof f->text - used, format, args);
    va_end(args);
}

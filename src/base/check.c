#include "src/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "cairn: %s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

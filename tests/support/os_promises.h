/* The promises of src/os/os.h as tests that hold for every implementation. The state of each test is an os_promises. */
#ifndef CAIRN_TESTS_OS_PROMISES_H
#define CAIRN_TESTS_OS_PROMISES_H

#include "src/os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* clang-format off: cmocka.h needs all of the above before it */
#include <cmocka.h>
/* clang-format on */

typedef struct os_promises {
    os *os;
    char root[64]; /* an empty directory */
} os_promises;

/* Runs the tests as a cmocka group of that name; returns the number that failed. Setup and teardown run once a test. */
int os_promises_run(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown);

#endif

/* The parts of os_promises.h, each a file of its own, and what they share. */
#ifndef CAIRN_TESTS_OS_PROMISES_PARTS_H
#define CAIRN_TESTS_OS_PROMISES_PARTS_H

#include "tests/support/os_promises.h"

#define BLOCK 4096

typedef struct os_promise {
    const char *name;
    CMUnitTestFunction test;
} os_promise;

#define PROMISE(name)                                                                                                  \
    { #name, name }

/* Ended by one without a name. */
extern const os_promise os_promises_names[], os_promises_content[], os_promises_memory[];

os_dir *open_root(const os_promises *p);
os_file *make_file(os_dir *dir, const char *name, const char *text);
void make_closed_file(os_dir *dir, const char *name, const char *text);
void assert_text(os_file *file, const char *text);
void assert_file(os_dir *dir, const char *name, const char *text);
void assert_missing(os_dir *dir, const char *name);
os_file_info info_of(os_file *file);

#endif

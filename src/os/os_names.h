/* The names in a directory, collected, so that a caller may open and remove files while it goes through them. */
#ifndef CAIRN_OS_NAMES_H
#define CAIRN_OS_NAMES_H

#include "src/os/os.h"

typedef struct os_names {
    char **list; /* owned */
    size_t count, capacity;
} os_names;

int os_names_collect(os_names *names, os_dir *dir); /* 0 or negative errno; to be released in both cases */
void os_names_release(os_names *names);

/* Of a file by its name. 0, or negative errno as file_open and file_info. */
int os_info_of(os_dir *dir, const char *name, os_file_info *info);

#endif

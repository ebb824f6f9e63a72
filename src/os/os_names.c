#include "src/os/os_names.h"

#include "src/base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_name(void *ctx, const char *name) {
    os_names *names = ctx;
    char **grown = array_with_room(names->list, &names->capacity, names->count, sizeof *grown, 32);
    if (grown == NULL) return -ENOMEM;
    names->list = grown;
    char *copy = strdup(name);
    if (copy == NULL) return -ENOMEM;
    names->list[names->count++] = copy;
    return 0;
}

int os_names_collect(os_names *names, os_dir *dir) {
    *names = (os_names){0};
    return os_dir_list(dir, add_name, names);
}

void os_names_release(os_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i]);
    }
    free(names->list);
    *names = (os_names){0};
}

int os_info_of(os_dir *dir, const char *name, os_file_info *info) {
    os_file *file = NULL;
    int rc = os_file_open(dir, name, OS_READ_ONLY, &file);
    if (rc != 0) return rc;
    rc = os_file_info_get(file, info);
    os_file_close(file);
    return rc;
}

#include "src/os/os_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_name(void *ctx, const char *name) {
    os_names *names = ctx;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 32 : names->capacity * 2;
        char **grown = realloc(names->list, capacity * sizeof *grown);
        if (grown == NULL) return -ENOMEM;
        names->list = grown;
        names->capacity = capacity;
    }
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

/* A program outside the repository: it knows the installed header only. Argument: a directory that it may fill. */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    cairn *store = NULL;
    cairn_options options;
    cairn_error error;
    void *value = NULL;
    size_t size = 0;
    int same;

    if (argc != 2) return 2;
    memset(&options, 0, sizeof options);
    options.struct_size = (uint32_t)sizeof options;
    options.create = true;
    if (cairn_open(&store, argv[1], &options, &error) != CAIRN_OK) {
        fprintf(stderr, "open: %s\n", error.message);
        return 1;
    }
    if (cairn_put(store, "key", 3, "a value", 7, NULL, &error) != CAIRN_OK ||
        cairn_get(store, "key", 3, &value, &size, &error) != CAIRN_OK) {
        fprintf(stderr, "put and get: %s\n", error.message);
        cairn_close(store);
        return 1;
    }
    same = size == 7 && memcmp(value, "a value", 7) == 0;
    cairn_free(value);
    if (cairn_close(store) != CAIRN_OK || !same) return 1;
    printf("%s\n", cairn_version());
    return 0;
}

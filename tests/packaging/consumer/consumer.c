/* A program outside the repository: it knows the installed header only. Argument: a directory that it may fill. The
 * value is compressed, so that what the library links privately is really there. */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    static char text[100000];
    cairn *store = NULL;
    cairn_options options;
    cairn_entry entry;
    cairn_error error;
    void *value = NULL;
    size_t size = 0;
    int same;

    if (argc != 2) return 2;
    memset(text, 't', sizeof text);
    memset(&entry, 0, sizeof entry);
    entry.struct_size = (uint32_t)sizeof entry;
    memset(&options, 0, sizeof options);
    options.struct_size = (uint32_t)sizeof options;
    options.create = true;
    options.compression = CAIRN_COMPRESSION_ZSTD;
    if (cairn_open(&store, argv[1], &options, &error) != CAIRN_OK) {
        fprintf(stderr, "open: %s\n", error.message);
        return 1;
    }
    if (cairn_put(store, "key", 3, text, sizeof text, NULL, &error) != CAIRN_OK ||
        cairn_stat(store, "key", 3, &entry, &error) != CAIRN_OK ||
        cairn_get(store, "key", 3, &value, &size, &error) != CAIRN_OK) {
        fprintf(stderr, "put, stat and get: %s\n", error.message);
        cairn_close(store);
        return 1;
    }
    same = size == sizeof text && memcmp(value, text, size) == 0;
    cairn_free(value);
    if (cairn_close(store) != CAIRN_OK || !same) return 1;
    if (entry.stored_size > size / 10) {
        fprintf(stderr, "stored in %llu bytes\n", (unsigned long long)entry.stored_size);
        return 1;
    }
    printf("%s\n", cairn_version());
    return 0;
}

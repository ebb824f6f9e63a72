/* The smallest blob store: blob_store STORE KEY TEXT keeps the text, blob_store STORE KEY prints it.
 *
 *     cc -o blob_store blob_store.c $(pkg-config --cflags --libs cairn)
 */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    cairn_options options = {.struct_size = sizeof options, .create = true};
    cairn_error error = {0};
    cairn *store = NULL;
    void *text = NULL;
    size_t size = 0;
    if (argc < 3 || argc > 4) return 2;
    int rc = cairn_open(&store, argv[1], &options, &error);
    if (rc == CAIRN_OK && argc == 4)
        rc = cairn_put(store, argv[2], strlen(argv[2]), argv[3], strlen(argv[3]), NULL, &error);
    else if (rc == CAIRN_OK && (rc = cairn_get(store, argv[2], strlen(argv[2]), &text, &size, &error)) == CAIRN_OK)
        printf("%.*s\n", (int)size, (const char *)text);
    if (rc != CAIRN_OK) fprintf(stderr, "%s\n", error.message);
    cairn_free(text);
    if (store != NULL && cairn_close(store) != CAIRN_OK) rc = CAIRN_IO;
    return rc != CAIRN_OK;
}

/* A listing: listing STORE prints the size and the key of every value, in no order, and reads none of them.
 *
 *     cc -o listing listing.c $(pkg-config --cflags --libs cairn)
 */
#include <cairn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    cairn_options options = {.struct_size = sizeof options, .read_only = true};
    cairn_scan_options keys = {.struct_size = sizeof keys, .keys_only = true};
    cairn_error error = {0};
    cairn *store = NULL;
    cairn_scan *scan = NULL;
    if (argc != 2) return 2;
    int rc = cairn_open(&store, argv[1], &options, &error);
    if (rc == CAIRN_OK) rc = cairn_scan_open(store, &keys, &scan, &error);
    while (rc == CAIRN_OK && (rc = cairn_scan_next(scan, &error)) == CAIRN_OK) {
        size_t size;
        const char *key = cairn_scan_key(scan, &size);
        printf("%12llu %.*s\n", (unsigned long long)cairn_scan_value_size(scan), (int)size, key);
    }
    if (rc != CAIRN_DONE) fprintf(stderr, "%s\n", error.message);
    if (scan != NULL) cairn_scan_close(scan);
    if (store != NULL && cairn_close(store) != CAIRN_OK) rc = CAIRN_IO;
    return rc != CAIRN_DONE;
}

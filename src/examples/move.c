/* A batch and a snapshot: move STORE FROM TO gives a value another key, in one step, and prints what a snapshot from
 * before it still sees. Nobody ever finds the value under both keys or under neither, whatever crashes.
 *
 *     cc -o move move.c $(pkg-config --cflags --libs cairn)
 */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

static int move(cairn *store, const char *from, const char *to, cairn_error *error) {
    cairn_put_options durably = {.struct_size = sizeof durably, .sync = true};
    cairn_batch *batch = NULL;
    void *value = NULL;
    size_t size;
    int rc = cairn_get(store, from, strlen(from), &value, &size, error);
    if (rc == CAIRN_OK) rc = cairn_batch_new(&batch);
    if (rc == CAIRN_OK) rc = cairn_batch_put(batch, to, strlen(to), value, size);
    if (rc == CAIRN_OK) rc = cairn_batch_delete(batch, from, strlen(from));
    if (rc == CAIRN_OK) rc = cairn_batch_commit(store, batch, &durably, error);
    cairn_batch_free(batch);
    cairn_free(value);
    return rc;
}

int main(int argc, char **argv) {
    cairn_options options = {.struct_size = sizeof options};
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    cairn *store = NULL;
    cairn_snapshot *before = NULL;
    if (argc != 4) return 2;
    int rc = cairn_open(&store, argv[1], &options, &error);
    if (rc == CAIRN_OK) rc = cairn_snapshot_open(store, &before, &error);
    if (rc == CAIRN_OK) rc = move(store, argv[2], argv[3], &error);
    if (rc == CAIRN_OK) rc = cairn_snapshot_stat(before, argv[2], strlen(argv[2]), &entry, &error);
    if (rc == CAIRN_OK) printf("%s had %llu bytes\n", argv[2], (unsigned long long)entry.value_size);
    if (rc != CAIRN_OK) fprintf(stderr, "%s\n", error.code == rc ? error.message : cairn_strerror(rc));
    cairn_snapshot_close(before);
    if (store != NULL && cairn_close(store) != CAIRN_OK) rc = CAIRN_IO;
    return rc != CAIRN_OK;
}

/* A streaming upload: upload STORE KEY keeps standard input under KEY, whatever its length, in the memory of one
 * buffer. Nothing is visible before the commit, and nothing is left of an upload that breaks off.
 *
 *     cc -o upload upload.c $(pkg-config --cflags --libs cairn)
 */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

static int copy(cairn_writer *writer, FILE *from, cairn_error *error) {
    static char buffer[1 << 20];
    size_t size;
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK && (size = fread(buffer, 1, sizeof buffer, from)) > 0)
        rc = cairn_writer_write(writer, buffer, size, error);
    if (rc == CAIRN_OK && ferror(from)) {
        snprintf(error->message, sizeof error->message, "cannot read standard input");
        rc = CAIRN_IO;
    }
    return rc;
}

int main(int argc, char **argv) {
    cairn_options options = {.struct_size = sizeof options, .create = true};
    cairn_put_options durably = {.struct_size = sizeof durably, .sync = true};
    cairn_error error = {0};
    cairn *store = NULL;
    cairn_writer *writer = NULL;
    if (argc != 3) return 2;
    int rc = cairn_open(&store, argv[1], &options, &error);
    if (rc == CAIRN_OK) rc = cairn_writer_open(store, argv[2], strlen(argv[2]), &durably, &writer, &error);
    if (rc == CAIRN_OK) {
        rc = copy(writer, stdin, &error);
        if (rc == CAIRN_OK)
            rc = cairn_writer_commit(writer, &error); /* frees the writer, whatever it returns */
        else
            cairn_writer_abort(writer);
    }
    if (rc != CAIRN_OK) fprintf(stderr, "%s\n", error.message);
    if (store != NULL && cairn_close(store) != CAIRN_OK) rc = CAIRN_IO;
    return rc != CAIRN_OK;
}
